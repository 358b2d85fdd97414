package dnsx

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// What an Iterative remembers is bounded: so many zones, so many servers and
// so many addresses of servers.
const (
	maxRemembered = 10_000
	maxServers    = 26 // of one zone
	maxAddrs      = 8  // of one server
	longestTTL    = 24 * time.Hour

	firstPatience = 500 * time.Millisecond // with a server that is not known yet
	maxPatience   = 5 * time.Second
	downFor       = 10 * time.Second
)

// A zoneCut is a zone as the one above describes it in a referral.
type zoneCut struct {
	zone    string
	servers []NameServer
	records []Record // NS
	ttl     time.Duration
	expires time.Time
}

// server finds a server by its name in lower case.
func (z *zoneCut) server(name string) *NameServer {
	for i := range z.servers {
		if z.servers[i].Name == name {
			return &z.servers[i]
		}
	}
	return nil
}

// infrastructure is what an Iterative knows about zones and their servers. The
// zero value knows nothing.
type infrastructure struct {
	mu      sync.Mutex
	cuts    map[string]*zoneCut
	hosts   map[string]hostEntry
	servers map[netip.Addr]serverState
}

type hostEntry struct {
	addrs   []netip.Addr
	expires time.Time
}

// A serverState is experience with one server.
type serverState struct {
	rtt    time.Duration // smoothed; 0 means not known
	silent int           // questions without an answer, in a row
	down   time.Time     // not to be asked before, unless there is no other
	plain  bool          // it does not understand EDNS
}

// put adds an entry to a map of bounded size; an arbitrary one makes room.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	if _, ok := (*m)[key]; !ok && len(*m) >= maxRemembered {
		for old := range *m {
			delete(*m, old)
			break
		}
	}
	(*m)[key] = value
}

// closest returns the zone closest above name whose servers are known. A DS
// record is kept by the zone above.
func (r *Iterative) closest(name string, typ Type) *zoneCut {
	if typ == Type(dns.TypeDS) {
		name = ParentName(name)
	}
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	for ; name != "."; name = ParentName(name) {
		cut, ok := r.memory.cuts[name]
		if ok && time.Now().Before(cut.expires) {
			return cut
		}
		if ok {
			delete(r.memory.cuts, name)
		}
	}
	return &zoneCut{zone: ".", servers: r.Roots}
}

// targets gives the addresses of a server with their port.
func (r *Iterative) targets(server NameServer) []target {
	port := r.Port
	if port == 0 {
		port = 53
	}
	list := make([]target, len(server.Addrs))
	for i, addr := range server.Addrs {
		list[i] = target{name: server.Name, addr: netip.AddrPortFrom(addr, port)}
	}
	return list
}

func (m *infrastructure) learn(cut *zoneCut) {
	if cut.ttl == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	cut.expires = time.Now().Add(min(cut.ttl, longestTTL))
	put(&m.cuts, cut.zone, cut)
}

func (m *infrastructure) forget(cut *zoneCut) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cuts[cut.zone] == cut {
		delete(m.cuts, cut.zone)
	}
}

func (m *infrastructure) learnHost(name string, addrs []netip.Addr, ttl time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	put(&m.hosts, name, hostEntry{addrs, time.Now().Add(min(ttl, longestTTL))})
}

func (m *infrastructure) host(name string) ([]netip.Addr, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry, ok := m.hosts[name]
	return entry.addrs, ok && time.Now().Before(entry.expires)
}

// order sorts targets: new ones first, so that all are tried once; then the
// fastest, with some chance for those that are hardly slower; at the end those that were
// silent lately.
func (m *infrastructure) order(targets []target) {
	if len(targets) < 2 {
		return
	}
	rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	scores := make(map[netip.AddrPort]float64, len(targets))
	for _, t := range targets {
		state := m.servers[t.addr.Addr()]
		score := float64(state.rtt) * (1 + rand.Float64()/2)
		if state.rtt == 0 && t.addr.Addr().Is6() {
			score = 1 // IPv4 first, while nothing is known
		}
		score += float64(state.silent) * float64(firstPatience)
		if now.Before(state.down) {
			score += float64(time.Hour)
		}
		scores[t.addr] = score
	}
	slices.SortStableFunc(targets, func(a, b target) int { return cmp.Compare(scores[a.addr], scores[b.addr]) })
}

// patience says how long to wait for a server, and whether to use EDNS.
func (m *infrastructure) patience(server netip.Addr, round int) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.servers[server]
	return min(max(firstPatience, 3*state.rtt)<<round, maxPatience), !state.plain && round < rounds-1
}

// answered notes the time that a server took, in the manner of RFC 6298.
func (m *infrastructure) answered(server netip.Addr, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.servers[server]
	if state.rtt == 0 {
		state.rtt = took
	}
	state.rtt = max(1, (7*state.rtt+took)/8)
	state.silent, state.down = 0, time.Time{}
	put(&m.servers, server, state)
}

// failed notes that a server did not answer. Who cannot be reached at all, or
// was silent several times, is left alone for a while.
func (m *infrastructure) failed(server netip.Addr, silent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.servers[server]
	state.silent++
	if !silent || state.silent >= rounds {
		state.down = time.Now().Add(downFor)
	}
	put(&m.servers, server, state)
}

func (m *infrastructure) isDown(server netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.servers[server].down)
}

// plain notes that a server does not understand EDNS.
func (m *infrastructure) plain(server netip.Addr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.servers[server]
	state.plain = true
	put(&m.servers, server, state)
}
