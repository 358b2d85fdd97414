package dnstest

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
)

// Where 127.0.0.1 is the only address, each server gets a port of its own
// there, and Dial finds it.
func TestOneAddress(t *testing.T) {
	real := loopback()
	asked := make(chan netip.Addr, 1)
	in, err := start(Config{
		Network: &Network{
			Listen: func(network, address string) (net.Listener, error) {
				if netip.MustParseAddrPort(address).Addr() != onlyAddr {
					return nil, &net.OpError{Op: "listen", Err: syscall.EADDRNOTAVAIL}
				}
				return net.Listen(network, address)
			},
			ListenPacket: net.ListenPacket,
			Dial:         real.Dial,
		},
		Trace: func(server netip.Addr, _ dnsx.Exchange) { asked <- server },
	}, 127)
	require.NoError(t, err)
	defer in.Close()
	require.True(t, in.alone)
	pc, ln, err := in.Listen(in.Addr(50, 1))
	require.NoError(t, err)
	defer pc.Close()
	defer ln.Close()
	conn, err := in.Dial(t.Context(), "tcp", netip.AddrPortFrom(in.Addr(50, 1), in.Port()).String())
	require.NoError(t, err)
	require.Equal(t, ln.Addr().String(), conn.RemoteAddr().String())
	require.NoError(t, conn.Close())
	for _, server := range []netip.Addr{in.Addr(0, 1), in.Addr(10, 1), in.Addr(10, 2)} {
		conn, err := in.Dial(t.Context(), "udp", netip.AddrPortFrom(server, in.Port()).String())
		require.NoError(t, err)
		query, err := dnsx.NewQuery("www.example.com", dnsx.A).Pack()
		require.NoError(t, err)
		_, err = conn.Write(query)
		require.NoError(t, err)
		require.Equal(t, server, <-asked)
		require.NoError(t, conn.Close())
	}
}

// Every address of a host leads to a name, and every name server of the world
// that has an address is there.
func TestWorldIsWhole(t *testing.T) {
	in, err := Start(Config{})
	require.NoError(t, err)
	defer in.Close()
	names := map[string]bool{}
	for _, z := range in.zones {
		for r := range z.whole.Records() {
			if r.Type == dnsx.PTR {
				names[r.Name] = true
			}
		}
	}
	bare := map[string]*dnsx.Zone{}
	for origin, z := range in.zones {
		bare[origin] = z.bare
	}
	addrs := addresses(bare)
	hosts := 0
	for origin, z := range in.zones {
		for r := range z.bare.Records() {
			addr, err := netip.ParseAddr(r.Data)
			if (r.Type == dnsx.A || r.Type == dnsx.AAAA) && err == nil && !strings.HasPrefix(r.Name, "*") {
				hosts++
				require.True(t, names[dnsx.ReverseName(addr)], "%s has no PTR record", r)
			}
			if r.Type == dnsx.NS && r.Name == origin {
				for _, addr := range addrs[r.Data] {
					require.NotNil(t, in.servers[addr], r)
				}
			}
		}
		if origin != "example.org." { // the odd cases
			require.Empty(t, z.bare.Warnings(), origin)
		}
	}
	require.Greater(t, hosts, 60)
}
