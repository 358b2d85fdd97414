package dnstest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/zocalo-go/zocalo/dnsx"
)

// The zones of the world, one file each.
//
//go:embed world/*.zone
var world embed.FS

// A Config says where an [Internet] is.
type Config struct {
	// Port is the port of every server, for UDP and TCP. 0 means a free one on
	// the machine's own sockets, and 53 on a simulated network.
	Port uint16

	// Network opens the sockets; nil means the machine's loopback, 127.0.0.0/8.
	// Get one for a simulated network from [On].
	Network *Network

	// Trace, if not nil, is told of every query that a server receives, before
	// it is answered. Functions are called by many goroutines at a time.
	Trace func(server netip.Addr, e dnsx.Exchange)
}

// An Internet is a set of name servers, started. Its methods may be called by
// several goroutines at a time.
type Internet struct {
	network *Network
	trace   func(netip.Addr, dnsx.Exchange)
	move    *strings.Replacer
	first   byte // of every address
	alone   bool // this machine has one loopback address: each server has a port of its own there
	port    uint16

	mu      sync.Mutex
	closed  bool
	zones   map[string]*zone // by origin
	servers map[netip.Addr]*server
	guests  map[netip.Addr]string // sockets that Listen opened, where the machine has one address
	wg      sync.WaitGroup
}

// A zone is one that is served here.
type zone struct {
	text    string
	servers []netip.Addr // where SetZone put it; none: where its NS records lead
	bare    *dnsx.Zone   // what text says
	added   []string     // by Add
	more    string       // those, and delegations and PTR records
	whole   *dnsx.Zone   // with them
}

// A server is one name server.
type server struct {
	addr    netip.Addr
	at      string // its socket
	dns     *dnsx.Server
	fault   atomic.Pointer[Fault]
	queries atomic.Int64
}

// deepest is how many zones lie below each other under deep.test.
const deepest = 40

// Start starts the name servers of the world described in the package
// documentation.
func Start(c Config) (*Internet, error) {
	if c.Network == nil {
		c.Network = loopback()
		return start(c, 127)
	}
	if c.Port == 0 {
		c.Port = 53
	}
	return start(c, 10)
}

// start is Start with the first octet of all addresses.
func start(c Config, octet byte) (*Internet, error) {
	in := &Internet{network: c.Network, trace: c.Trace, first: octet, port: c.Port}
	first := strconv.Itoa(int(in.first))
	in.move = strings.NewReplacer("127.53.", first+".53.", ".53.127.in-addr.arpa", ".53."+first+".in-addr.arpa", " 53.127.in-addr.arpa", " 53."+first+".in-addr.arpa")
	var err error
	for range 8 { // a port that is free at one address may be taken at another
		in.zones, in.servers, in.guests = map[string]*zone{}, map[netip.Addr]*server{}, map[netip.Addr]string{}
		if err = in.begin(); err == nil {
			return in, nil
		}
		in.stop()
		if in.port = c.Port; c.Port != 0 {
			break
		}
	}
	return nil, fmt.Errorf("dnstest: %w", err)
}

// begin starts everything.
func (in *Internet) begin() error {
	files, err := world.ReadDir("world")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := world.ReadFile("world/" + f.Name())
		if err != nil {
			return err
		}
		if err := in.addZone(string(text)); err != nil {
			return err
		}
	}
	name := "deep.test."
	for range deepest {
		text := fmt.Sprintf("$ORIGIN %s\n$TTL 3600\n@ IN SOA ns hostmaster 1 7200 3600 1209600 300\n@ IN NS ns\nns IN A 127.53.21.2\nwww IN A 127.53.30.21\n", name)
		if err := in.addZone(text); err != nil {
			return err
		}
		name = "a." + name
	}
	if err := in.build(); err != nil {
		return err
	}
	for i, f := range []Fault{
		Silent(), Slow(slowness), Lame(), Refusing(), Failing(), Garbage(), Truncating(),
		Forging(
			dnsx.Record{Name: "www.example.com.", Type: dnsx.A, TTL: forgedTTL, Data: in.Addr(66, 6).String()},
			dnsx.Record{Name: "com.", Type: dnsx.NS, TTL: forgedTTL, Data: "ns1.forging.test."},
		), WrongID(),
	} {
		in.SetFault(in.Addr(20, byte(i+1)), f)
	}
	return nil
}

// Close stops all servers and waits for them.
func (in *Internet) Close() error {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.stop()
	return nil
}

func (in *Internet) stop() {
	in.mu.Lock()
	servers := slices.Collect(maps.Values(in.servers))
	in.mu.Unlock() // a fault or a trace that must end may be about to take it
	for _, s := range servers {
		s.dns.Close()
	}
	in.wg.Wait()
}

// Port returns the port of every server.
func (in *Internet) Port() uint16 { return in.port }

// RootHints returns a root hints file: the name servers of the root and their
// addresses.
func (in *Internet) RootHints() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var b strings.Builder
	for r := range in.zones["."].bare.Records() {
		if r.Type == dnsx.NS && r.Name == "." || r.Type == dnsx.A {
			fmt.Fprintln(&b, r)
		}
	}
	return b.String()
}

// Addr returns the address that stands for 127.53.a.b: that itself on the
// machine's loopback, 10.53.a.b on a simulated network.
func (in *Internet) Addr(a, b byte) netip.Addr { return netip.AddrFrom4([4]byte{in.first, 53, a, b}) }

// Dial connects to an address as net.Dialer.DialContext does, on the network
// of the servers. Give it to a resolver, and programs work also on systems whose only
// loopback address is 127.0.0.1, such as macOS: there each server has a port of
// its own, which Dial knows.
func (in *Internet) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if in.alone {
		if ap, err := netip.ParseAddrPort(address); err == nil {
			in.mu.Lock()
			if s := in.servers[ap.Addr()]; s != nil && ap.Port() == in.port {
				address = s.at
			} else if at := in.guests[ap.Addr()]; at != "" && ap.Port() == in.port {
				address = at
			} else if ap.Addr().IsLoopback() {
				address = netip.AddrPortFrom(onlyAddr, ap.Port()).String()
			}
			in.mu.Unlock()
		}
	}
	return in.network.Dial(ctx, network, address)
}

// Listen opens a UDP socket and a TCP listener at an address of this Internet
// where it has no server, with the port that all servers have: for a
// server of one's own, which [Internet.Dial] finds.
func (in *Internet) Listen(addr netip.Addr) (net.PacketConn, net.Listener, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, nil, fmt.Errorf("dnstest: %w", net.ErrClosed)
	}
	pc, ln, err := in.listen(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("dnstest: %w", err)
	}
	in.guests[addr] = ln.Addr().String()
	return pc, ln, nil
}

// SetZone serves a zone, given as a zone file. A zone of the same name is
// replaced. The servers are those given or, without any, those where the
// zone's NS records lead; they are started if need be. The zone is delegated, too: its NS
// records, and the addresses that it has for them, are put into the zone above, unless
// that has NS records for it already. Addresses in text that begin with 127.53.
// are moved as [Internet.Addr] says.
func (in *Internet) SetZone(text string, servers ...netip.Addr) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return fmt.Errorf("dnstest: %w", net.ErrClosed)
	}
	if err := in.addZone(text, servers...); err != nil {
		return fmt.Errorf("dnstest: %w", err)
	}
	if err := in.build(); err != nil {
		return fmt.Errorf("dnstest: %w", err)
	}
	return nil
}

// Add adds records to a zone that is served here: the delegation, say, of a
// zone whose server is not one of these. The zone keeps them when it is replaced.
func (in *Internet) Add(origin string, records ...dnsx.Record) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	z := in.zones[origin]
	switch {
	case in.closed:
		return fmt.Errorf("dnstest: %w", net.ErrClosed)
	case z == nil:
		return fmt.Errorf("dnstest: there is no zone %q here", origin)
	}
	before := z.added
	for _, r := range records {
		z.added = append(z.added, r.String())
	}
	if err := in.build(); err != nil {
		z.added = before
		return fmt.Errorf("dnstest: %w", err)
	}
	return nil
}

func parse(text string) (*dnsx.Zone, error) {
	return dnsx.ParseZone(strings.NewReader(text), "", "")
}

func (in *Internet) addZone(text string, servers ...netip.Addr) error {
	text = in.move.Replace(text)
	z, err := parse(text)
	if err != nil {
		return err
	}
	added := &zone{text: text, servers: servers, bare: z, whole: z}
	if old := in.zones[z.Origin()]; old != nil {
		added.added = old.added
	}
	in.zones[z.Origin()] = added
	return nil
}

// SetFault makes a server misbehave; nil makes it honest again. A server that
// does not exist yet is started.
func (in *Internet) SetFault(addr netip.Addr, f Fault) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	s, err := in.server(addr)
	if err != nil {
		return fmt.Errorf("dnstest: %w", err)
	}
	s.fault.Store(&f)
	return nil
}

// Queries returns how many queries a server has received.
func (in *Internet) Queries(addr netip.Addr) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if s := in.servers[addr]; s != nil {
		return int(s.queries.Load())
	}
	return 0
}

// server returns the server at an address; in.mu is held, or in is not shared yet.
func (in *Internet) server(addr netip.Addr) (*server, error) {
	if s := in.servers[addr]; s != nil {
		return s, nil
	}
	if in.closed {
		return nil, net.ErrClosed
	}
	pc, ln, err := in.listen(addr)
	if err != nil {
		return nil, err
	}
	s := &server{addr: addr, at: ln.Addr().String()}
	s.dns = &dnsx.Server{Rewrite: func(ctx context.Context, e dnsx.Exchange, query, answer []byte) [][]byte {
		s.queries.Add(1)
		if in.trace != nil {
			in.trace(addr, e)
		}
		if f := s.fault.Load(); f != nil && *f != nil {
			return (*f)(ctx, e.Server.Network(), query, answer)
		}
		return [][]byte{answer}
	}}
	in.servers[addr] = s
	in.wg.Go(func() { _ = s.dns.Serve(context.Background(), pc, ln) })
	return s, nil
}

// listen opens the sockets of the server at an address. The first of all
// chooses the port.
func (in *Internet) listen(addr netip.Addr) (net.PacketConn, net.Listener, error) {
	if in.alone {
		return in.network.listen(netip.AddrPortFrom(onlyAddr, 0))
	}
	pc, ln, err := in.network.listen(netip.AddrPortFrom(addr, in.port))
	if err != nil && in.first == 127 && len(in.servers) == 0 && errors.Is(err, syscall.EADDRNOTAVAIL) {
		in.alone = true
		if pc, ln, err = in.network.listen(netip.AddrPortFrom(onlyAddr, in.port)); err != nil {
			return nil, nil, err
		}
	}
	if err == nil && in.port == 0 {
		in.port = uint16(ln.Addr().(*net.TCPAddr).Port)
	}
	return pc, ln, err
}

// build adds delegations and PTR records to the zones and hands them to their
// servers.
func (in *Internet) build() error {
	bare := map[string]*dnsx.Zone{}
	for origin, z := range in.zones {
		bare[origin] = z.bare
	}
	origins := slices.Sorted(maps.Keys(in.zones))
	addresses := addresses(bare)
	more := map[string][]string{}
	for _, origin := range origins {
		if up := above(bare, origin); up != "" {
			more[up] = append(more[up], delegation(bare[origin], bare[up])...)
		}
	}
	addPointers(bare, origins, more)
	for _, origin := range origins {
		z := in.zones[origin]
		if lines := strings.Join(append(more[origin], z.added...), "\n"); lines != z.more {
			whole, err := parse(z.text + "\n" + lines + "\n")
			if err != nil {
				return err
			}
			z.more, z.whole = lines, whole
		}
		servers := z.servers
		if len(servers) == 0 {
			for r := range z.bare.Records() {
				if r.Type == dnsx.NS && strings.EqualFold(r.Name, origin) {
					servers = append(servers, addresses[strings.ToLower(r.Data)]...)
				}
			}
		}
		for _, addr := range servers {
			s, err := in.server(addr)
			if err != nil {
				return err
			}
			s.dns.SetZone(z.whole)
		}
	}
	return nil
}

// addresses collects the IPv4 addresses of every name.
func addresses(zones map[string]*dnsx.Zone) map[string][]netip.Addr {
	found := map[string][]netip.Addr{}
	for _, z := range zones {
		for r := range z.Records() {
			if addr, err := netip.ParseAddr(r.Data); r.Type == dnsx.A && err == nil {
				name := strings.ToLower(r.Name)
				if !slices.Contains(found[name], addr) {
					found[name] = append(found[name], addr)
				}
			}
		}
	}
	return found
}

// above returns the lowest zone that a zone lies in; "" for the root.
func above(zones map[string]*dnsx.Zone, origin string) string {
	for name := origin; name != "."; {
		name = dnsx.ParentName(name)
		if zones[name] != nil {
			return name
		}
	}
	return ""
}

// delegation returns the lines that the zone above needs.
func delegation(z, up *dnsx.Zone) (lines []string) {
	for r := range up.Records() {
		if r.Type == dnsx.NS && strings.EqualFold(r.Name, z.Origin()) {
			return nil // it has its own idea
		}
	}
	servers := map[string]bool{}
	for r := range z.Records() {
		if r.Type == dnsx.NS && strings.EqualFold(r.Name, z.Origin()) {
			lines = append(lines, r.String())
			servers[strings.ToLower(r.Data)] = true
		}
	}
	for r := range z.Records() {
		if (r.Type == dnsx.A || r.Type == dnsx.AAAA) && servers[strings.ToLower(r.Name)] {
			lines = append(lines, r.String())
		}
	}
	return lines
}

// addPointers adds PTR records for the addresses that have none.
func addPointers(zones map[string]*dnsx.Zone, origins []string, more map[string][]string) {
	has := map[string]bool{}
	for _, z := range zones {
		for r := range z.Records() {
			if r.Type == dnsx.PTR {
				has[r.Name] = true
			}
		}
	}
	for _, origin := range origins {
		for r := range zones[origin].Records() {
			addr, err := netip.ParseAddr(r.Data)
			if err != nil || r.Type != dnsx.A && r.Type != dnsx.AAAA || strings.HasPrefix(r.Name, "*") {
				continue
			}
			name := dnsx.ReverseName(addr)
			zone := above(zones, name)
			if has[name] || strings.Count(zone, ".") < 4 { // in a zone for a network, not in one above
				continue
			}
			has[name] = true
			more[zone] = append(more[zone], dnsx.Record{Name: name, Type: dnsx.PTR, TTL: pointerTTL, Data: r.Name}.String())
		}
	}
}
