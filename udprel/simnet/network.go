package simnet

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of a network; doc.go states them.
const (
	maxFlight = 256 << 20 // bytes on the way on one directed link
	maxSpare  = 4096      // packets kept for reuse
)

// A Network joins hosts by links. Its zero value is ready to use: perfect
// links and seed zero. Set the exported fields before first use. All methods
// may be called by several goroutines at a time.
//
// A network uses the clock of package time, and so runs on virtual time inside
// a testing/synctest bubble; one network must not be used both inside and
// outside. It runs no goroutine while nothing is on its way, and one that is no
// longer used needs no Close.
type Network struct {
	// Seed decides the dice of every link, together with the link's two
	// addresses.
	Seed uint64
	// Link is every directed link that [Network.SetLink] has not changed. It
	// does not apply to packets that a host sends to itself.
	Link Link
	// UserTimeout is how long a stream bears that its peer acknowledges
	// nothing before it fails with ETIMEDOUT, and how long it tries to
	// connect. Zero means one minute.
	UserTimeout time.Duration
	// Lose, if not nil, is asked about every packet that enters a link. True
	// loses it, as the dice of [Link.Loss] would. The rules for callbacks of
	// [Trace] apply.
	Lose func(Packet) bool
	// Trace, if not nil, is told what happens to every packet.
	Trace *Trace

	mu     sync.Mutex
	start  time.Time // times inside are counted from here
	closed bool
	hosts  map[netip.Addr]*Host
	wires  map[direction]*wire
	rules  []rule
	groups map[netip.Addr]int // nil: no partition

	offered []*packet // datagrams sent in this instant
	dirty   []*Conn   // streams with something to do since this instant
	events  agenda[event]
	last    time.Duration // when the latest event took place
	timer   *time.Timer
	wake    time.Duration // when timer fires; 0: not set
	spare   *packet       // list of packets to reuse
	spares  int
}

// A direction names a directed link.
type direction struct{ from, to netip.Addr }

// A rule is one call of SetLink. An invalid address stands for every address.
type rule struct {
	direction
	link Link
}

func (r rule) matches(d direction) bool {
	return (!r.from.IsValid() || r.from == d.from) && (!r.to.IsValid() || r.to == d.to)
}

// Host returns the host with this address and gives it the others as well; it
// is made if there is none yet. Addresses are plain IPv4 or IPv6 addresses: not
// unspecified, loopback or multicast (every host has a loopback of its own).
// Host panics if an address cannot be a host's or is another host's.
func (n *Network) Host(addr netip.Addr, more ...netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[addr.Unmap().WithZone("")]
	if h == nil {
		h = &Host{
			n: n, udp: make(map[netip.AddrPort]*PacketConn), gone: make(map[netip.AddrPort]bool),
			tcp: make(map[netip.AddrPort]*Listener), conns: make(map[*Conn]bool),
		}
	}
	for _, a := range append([]netip.Addr{addr}, more...) {
		if !n.give(h, a) {
			panic("simnet: " + a.String() + " cannot be an address of this host")
		}
	}
	return h
}

// give makes a an address of h, if possible.
func (n *Network) give(h *Host, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return false
	}
	if owner := n.hosts[a]; owner != nil {
		return owner == h
	}
	if n.hosts == nil {
		n.hosts = make(map[netip.Addr]*Host)
	}
	n.hosts[a] = h
	h.addrs = append(h.addrs, a)
	return true
}

// SetLink makes l the link for packets from one address to another, and only
// in that direction. The zero [netip.Addr] stands for every address. The last
// call that matches decides. It may be called at any time; packets on their
// way keep their times, unless l is down, which loses them.
func (n *Network) SetLink(from, to netip.Addr, l Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := rule{direction{from.Unmap().WithZone(""), to.Unmap().WithZone("")}, l}
	n.rules = slices.DeleteFunc(n.rules, func(old rule) bool { return old.direction == r.direction })
	n.rules = append(n.rules, r)
	var busy []*wire
	for d, w := range n.wires {
		if l := n.linkFor(d); l != w.model.link {
			w.model.SetLink(l)
			if len(w.waiting) > 0 {
				busy = append(busy, w)
			}
		}
	}
	// Perhaps those have room now. A map has no order, but events must.
	slices.SortFunc(busy, func(a, b *wire) int {
		return cmp.Or(a.direction.from.Compare(b.direction.from), a.direction.to.Compare(b.direction.to))
	})
	now := n.now()
	for _, w := range busy {
		w.retry = now + 1
		n.schedule(w.retry, now, event{wire: w})
	}
}

// LinkFor returns the link for packets from one address to another, so that
// one knob of it can be changed and given to [Network.SetLink].
func (n *Network) LinkFor(from, to netip.Addr) Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.linkFor(direction{from.Unmap().WithZone(""), to.Unmap().WithZone("")})
}

func (n *Network) linkFor(d direction) Link {
	own := n.hosts[d.from] != nil && n.hosts[d.from] == n.hosts[d.to]
	for _, r := range slices.Backward(n.rules) {
		if r.matches(d) && (!own || r.direction == d) {
			return r.link
		}
	}
	if own {
		return Link{}
	}
	return n.Link
}

// Partition splits the network: packets pass only between addresses of one
// group. Addresses in no group form one more group. Packets on their way across
// are lost. Each call takes the place of the one before. For a cut in one
// direction only, set [Link.Down].
func (n *Network) Partition(groups ...[]netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups = make(map[netip.Addr]int)
	for i, g := range groups {
		for _, a := range g {
			n.groups[a.Unmap().WithZone("")] = i + 1
		}
	}
	n.split()
}

// Heal ends the partition.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups = nil
	n.split()
}

func (n *Network) split() {
	for d, w := range n.wires {
		w.model.blocked = n.groups[d.from] != n.groups[d.to]
	}
}

// Stats returns the counters of the link from one address to another.
func (n *Network) Stats(from, to netip.Addr) Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.wires[direction{from.Unmap().WithZone(""), to.Unmap().WithZone("")}]; w != nil {
		return w.model.Stats()
	}
	return Stats{}
}

// Close closes every socket on the network; later calls on them, and attempts
// to open more, fail with [net.ErrClosed]. Streams end without a word to their
// peer. Close is idempotent and returns nil.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, h := range n.hosts {
		h.closeAll()
	}
	n.events, n.offered, n.dirty = agenda[event]{}, nil, nil
	if n.timer != nil {
		n.timer.Stop()
	}
	return nil
}

// wireBetween returns the wire from host h, sending from address from, to
// address to. It is nil if no host has that address.
func (n *Network) wireBetween(h *Host, from, to netip.Addr) *wire {
	if to.IsLoopback() { // every host has its own: name it by the host's address
		from, to = h.addrs[0], h.addrs[0]
	}
	d := direction{from, to}
	if w := n.wires[d]; w != nil {
		return w
	}
	far := n.hosts[to]
	if far == nil {
		return nil
	}
	// One generator for each directed link: traffic elsewhere, and the order
	// in which links are first used, never change its dice.
	hash := fnv.New64a()
	for _, a := range []netip.Addr{from, to} {
		b := a.As16()
		hash.Write(b[:])
	}
	w := &wire{direction: d, to: far, model: NewModel(n.linkFor(d), n.Seed, hash.Sum64())}
	w.model.blocked = n.groups[from] != n.groups[to]
	if n.wires == nil {
		n.wires = make(map[direction]*wire)
	}
	n.wires[d] = w
	return w
}
