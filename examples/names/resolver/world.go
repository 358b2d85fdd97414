package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A world is the Internet in memory, whose servers this program may change and
// silence, with the queries counted at each level of the tree.
type world struct {
	*dnstest.Internet
	network *simnet.Network
	roots   []dnsx.NameServer
	queries [levels]atomic.Int64
}

// The levels of the tree.
const (
	root = iota
	topLevel
	zones
	levels
)

// newWorld starts the servers. They must be closed.
func newWorld() (*world, error) {
	w := &world{network: &simnet.Network{}}
	var err error
	w.Internet, err = dnstest.Start(dnstest.Config{
		Network: dnstest.On(w.network.Host),
		Trace:   func(server netip.Addr, _ dnsx.Exchange) { w.queries[level(server)].Add(1) },
	})
	if err != nil {
		return nil, err
	}
	w.roots, err = dnsx.ParseHints(strings.NewReader(w.RootHints()))
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// level says at which level of the tree a server is: those of the root have
// addresses in 10.53.0, those of top-level domains in 10.53.1.
func level(server netip.Addr) int { return min(int(server.As4()[2]), zones) }

// iterative returns a resolver that knows nothing but the root.
func (w *world) iterative() *dnsx.Iterative {
	return &dnsx.Iterative{Roots: w.roots, Port: w.Port(), Client: dnsx.Client{Dial: w.Dial}}
}

// count returns the queries at each level since the last call.
func (w *world) count() (n [levels]int64) {
	for i := range n {
		n[i] = w.queries[i].Swap(0)
	}
	return n
}

// serve runs a recursive server at an address of the network until ctx ends;
// wait waits for its end.
func (w *world) serve(ctx context.Context, addr netip.AddrPort, s *dnsx.Server) (wait func(), err error) {
	host := w.network.Host(addr.Addr())
	pc, err := host.ListenPacket("udp", addr.String())
	if err != nil {
		return nil, err
	}
	ln, err := host.Listen("tcp", addr.String())
	if err != nil {
		pc.Close()
		return nil, err
	}
	s.AllowRecursion = func(netip.Addr) bool { return true } // nobody else is on this network
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx, pc, ln)
	}()
	return func() { <-done }, nil
}

// shop is the zone file of a small domain.
func shop(name string, number int) string {
	return fmt.Sprintf(`$ORIGIN %s
$TTL 3600
@	IN SOA	ns hostmaster 1 7200 3600 1209600 300
@	IN NS	ns
ns	IN A	127.53.40.%[2]d
www	IN A	127.53.41.%[2]d
mail	IN A	127.53.42.%[2]d
`, name, number)
}
