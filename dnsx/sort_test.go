package dnsx

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func addrList(text string) []netip.Addr {
	var list []netip.Addr
	for _, field := range strings.Fields(text) {
		list = append(list, netip.MustParseAddr(field))
	}
	return list
}

// The examples of RFC 6724 section 10.2 that need no more than addresses, and the
// cases of our own that they leave out.
func TestSortAddrs(t *testing.T) {
	for _, test := range []struct{ name, own, want string }{
		{"matching scope", "2001:db8::2 fe80::1 169.254.13.78", "2001:db8::1 198.51.100.121"},
		{"matching scope, IPv4", "fe80::1 198.51.100.117", "198.51.100.121 2001:db8::1"},
		{"higher precedence", "2001:db8::2 fe80::1 10.1.2.4", "2001:db8::1 10.1.2.3"},
		{"smaller scope", "2001:db8::2 fe80::2", "fe80::1 2001:db8::1"},
		{"longest prefix", "2001:db8::2 2001:db8:3f44::2 fe80::2", "2001:db8::1 2001:db8:3ffe::1"},
		{"matching label", "2002:c633:6401::2 fe80::2", "2002:c633:6401::1 2001:db8:1::1"},
		{"higher precedence than a tunnel", "2002:c633:6401::2 2001:db8:1::2 fe80::2", "2001:db8:1::1 2002:c633:6401::1"},

		{"usable first", "10.1.2.4", "198.51.100.121 2001:db8::1"},
		{"none usable", "", "2001:db8::1 198.51.100.121"},
		{"loopback", "::1 127.0.0.1 192.0.2.7", "::1 127.0.0.1"},
		{"unique local only", "fd00::2 192.0.2.7", "192.0.2.1 2001:db8::1"},
		{"unique local at home", "fd00::2 2001:db8::2", "2001:db8::1 fd00::1"},
		{"site-local goes last", "2001:db8::2 fec0::2", "2001:db8::1 fec0::1"},
		{"multicast by scope", "2001:db8::2 fe80::2", "ff02::1 ff0e::1"},
		{"mapped is IPv4", "2001:db8::2 192.0.2.7", "2001:db8::1 ::ffff:192.0.2.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := addrList(test.want)
			backwards := slices.Clone(want)
			slices.Reverse(backwards)
			SortAddrs(backwards, SourceFrom(addrList(test.own)...))
			require.Equal(t, want, backwards)
			again := slices.Clone(want)
			SortAddrs(again, SourceFrom(addrList(test.own)...))
			require.Equal(t, want, again)
		})
	}
	// IPv4 addresses of one host keep the order in which the DNS rotated them.
	rotated := addrList("203.0.113.1 192.0.2.9 198.51.100.1")
	kept := slices.Clone(rotated)
	SortAddrs(kept, SourceFrom(addrList("192.0.2.7")...))
	require.Equal(t, rotated, kept)
}

// The examples of RFC 6724 section 10.1.
func TestSourceFrom(t *testing.T) {
	for _, test := range []struct{ name, dst, own, want string }{
		{"appropriate scope", "2001:db8:1::1", "2001:db8:3::1 fe80::1", "2001:db8:3::1"},
		{"appropriate scope, site", "ff05::1", "2001:db8:3::1 fe80::1", "2001:db8:3::1"},
		{"same address", "2001:db8:1::1", "2001:db8:1::1 2001:db8:2::1", "2001:db8:1::1"},
		{"scope of the link", "fe80::1", "fe80::2 2001:db8:1::1", "fe80::2"},
		{"longest prefix", "2001:db8:1::1", "2001:db8:1::2 2001:db8:3::2", "2001:db8:1::2"},
		{"matching label", "2002:c633:6401::1", "2002:c633:6401::2 2001:db8:1::2", "2002:c633:6401::2"},
		{"family", "192.0.2.1", "2001:db8::1 10.0.0.1", "10.0.0.1"},
		{"loopback reaches nobody else", "192.0.2.1", "127.0.0.1 ::1", ""},
		{"to ourselves", "127.0.0.1", "192.0.2.7 127.0.0.1", "127.0.0.1"},
		{"only the link", "2001:db8::1", "fe80::1", "fe80::1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var want netip.Addr
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			own := addrList(test.own)
			require.Equal(t, want, SourceFrom(own...)(netip.MustParseAddr(test.dst)))
			slices.Reverse(own)
			require.Equal(t, want, SourceFrom(own...)(netip.MustParseAddr(test.dst)))
		})
	}
}

// The kernel knows the way to this machine.
func TestKernelSource(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	require.Equal(t, loopback, kernelSource(loopback))
}

// Sorting is a total order on whatever a server says: no panic, nothing lost.
func FuzzSortAddrs(f *testing.F) {
	f.Add([]byte("\x20\x01\x0d\xb8............\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x01"), "2001:db8::2 10.0.0.1")
	f.Fuzz(func(t *testing.T, data []byte, own string) {
		var sources []netip.Addr
		for _, field := range strings.Fields(own) {
			if addr, err := netip.ParseAddr(field); err == nil {
				sources = append(sources, addr)
			}
		}
		var addrs []netip.Addr
		for chunk := range slices.Chunk(data, 16) {
			if len(chunk) == 16 {
				addrs = append(addrs, netip.AddrFrom16([16]byte(chunk)), netip.AddrFrom4([4]byte(chunk[12:])))
			}
		}
		sorted := slices.Clone(addrs)
		SortAddrs(sorted, SourceFrom(sources...))
		require.ElementsMatch(t, addrs, sorted)
		again := slices.Clone(sorted)
		SortAddrs(again, SourceFrom(sources...))
		require.Equal(t, sorted, again)
	})
}
