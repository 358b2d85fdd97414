package dnsx

import (
	"cmp"
	"math/bits"
	"net"
	"net/netip"
	"slices"
)

// A policy is a line of the table that says which addresses go together (equal
// labels) and which are better (higher precedence) [RFC 6724 section 2.1].
//
// [RFC 6724 section 2.1]: https://www.rfc-editor.org/rfc/rfc6724#section-2.1
type policy struct {
	prefix     netip.Prefix
	precedence int
	label      int
}

// policies is the default table. The longest prefix that matches counts, so that
// longer ones stand first. IPv4 is looked up as ::ffff:a.b.c.d.
var policies = []policy{
	{netip.MustParsePrefix("::1/128"), 50, 0},
	{netip.MustParsePrefix("::ffff:0:0/96"), 35, 4},
	{netip.MustParsePrefix("::/96"), 1, 3},
	{netip.MustParsePrefix("2001::/32"), 5, 5},
	{netip.MustParsePrefix("2002::/16"), 30, 2},
	{netip.MustParsePrefix("3ffe::/16"), 1, 12},
	{netip.MustParsePrefix("fec0::/10"), 1, 11},
	{netip.MustParsePrefix("fc00::/7"), 3, 13},
	{netip.MustParsePrefix("::/0"), 40, 1},
}

func policyOf(addr netip.Addr) policy {
	addr = netip.AddrFrom16(addr.As16()) // IPv4 mapped, no zone
	for _, p := range policies {
		// Prefix.Contains takes a mapped address for IPv4, and finds it nowhere.
		if commonBits(addr, p.prefix.Addr()) >= p.prefix.Bits() {
			return p
		}
	}
	return policies[len(policies)-1]
}

// commonBits returns how many leading bits are equal in two addresses, an IPv4
// address taken as mapped.
func commonBits(a, b netip.Addr) int {
	x, y := a.As16(), b.As16()
	for i := range x {
		if x[i] != y[i] {
			return 8*i + bits.LeadingZeros8(x[i]^y[i])
		}
	}
	return 128
}

// The scopes that matter, numbered as in a multicast address [RFC 4291 section
// 2.7].
//
// [RFC 4291 section 2.7]: https://www.rfc-editor.org/rfc/rfc4291#section-2.7
const (
	scopeLink   = 0x2
	scopeSite   = 0x5
	scopeGlobal = 0xe
)

// scopeOf returns how far an address reaches [RFC 6724 sections 3.1 and 3.2].
// Private IPv4 addresses are global: they are translated on their way.
//
// [RFC 6724 sections 3.1 and 3.2]: https://www.rfc-editor.org/rfc/rfc6724#section-3.1
func scopeOf(addr netip.Addr) int {
	addr = addr.Unmap()
	switch {
	case addr.Is6() && addr.IsMulticast():
		return int(addr.As16()[1] & 15)
	case addr.IsLoopback(), addr.IsLinkLocalUnicast():
		return scopeLink
	case addr.Is6() && commonBits(addr, netip.AddrFrom16([16]byte{0xfe, 0xc0})) >= 10:
		return scopeSite
	}
	return scopeGlobal
}

// SortAddrs puts addresses of one host into the order in which to try them [RFC
// 6724 section 6]. The function source says from which of our addresses we would
// send to one of theirs, and gives the zero Addr if there is no way; nil asks the
// kernel, which sends nothing for that. What is equal keeps its order.
//
// Rules 3, 4 and 7 are not applied: that an address is deprecated, a home address
// or behind a tunnel, only the kernel knows. Rule 9, the longest common prefix,
// is applied to IPv6 only, as most systems do: IPv4 addresses that are close to
// ours in number are seldom close in the network.
//
// [RFC 6724 section 6]: https://www.rfc-editor.org/rfc/rfc6724#section-6
func SortAddrs(addrs []netip.Addr, source func(dst netip.Addr) netip.Addr) {
	if source == nil {
		source = kernelSource
	}
	type facts struct {
		dst, src   netip.Addr
		scope      int
		sameScope  bool
		sameLabel  bool
		precedence int
	}
	all := make([]facts, len(addrs))
	for i, dst := range addrs {
		f := facts{dst: dst, src: source(dst.Unmap()), scope: scopeOf(dst)}
		p := policyOf(dst)
		f.precedence = p.precedence
		if f.src.IsValid() {
			f.sameScope = f.scope == scopeOf(f.src)
			f.sameLabel = p.label == policyOf(f.src).label
		}
		all[i] = f
	}
	slices.SortStableFunc(all, func(a, b facts) int {
		rules := []int{
			firstTrue(a.src.IsValid(), b.src.IsValid()), // 1: usable
			firstTrue(a.sameScope, b.sameScope),         // 2
			firstTrue(a.sameLabel, b.sameLabel),         // 5
			cmp.Compare(b.precedence, a.precedence),     // 6
			cmp.Compare(a.scope, b.scope),               // 8: the smaller one
		}
		if a.src.Is6() && b.src.Is6() { // 9
			rules = append(rules, cmp.Compare(prefixWith(b.dst, b.src), prefixWith(a.dst, a.src)))
		}
		return cmp.Or(rules...)
	})
	for i, f := range all {
		addrs[i] = f.dst
	}
}

// firstTrue compares so that true comes first.
func firstTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// prefixWith returns how many leading bits dst has in common with our address
// src, up to the length of src's network, taken as 64 [RFC 6724 section 2.2].
//
// [RFC 6724 section 2.2]: https://www.rfc-editor.org/rfc/rfc6724#section-2.2
func prefixWith(dst, src netip.Addr) int { return min(commonBits(dst, src), 64) }

// kernelSource asks the kernel from which address it would send to dst. To
// connect a UDP socket chooses a route and sends nothing.
func kernelSource(dst netip.Addr) netip.Addr {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// SourceFrom returns a source for [SortAddrs] on a machine that has the addresses
// own and routes to everywhere. It chooses as a kernel does [RFC 6724 section 5],
// by the rules that need no more than addresses: 1, 2, 6 and 8.
//
// [RFC 6724 section 5]: https://www.rfc-editor.org/rfc/rfc6724#section-5
func SourceFrom(own ...netip.Addr) func(dst netip.Addr) netip.Addr {
	return func(dst netip.Addr) netip.Addr {
		var best netip.Addr
		for _, src := range own {
			if src.Is4() != dst.Is4() || src.IsLoopback() != dst.IsLoopback() {
				continue
			}
			if !best.IsValid() || betterSource(src, best, dst) {
				best = src
			}
		}
		return best
	}
}

// betterSource reports whether to send to dst from a rather than from b.
func betterSource(a, b, dst netip.Addr) bool {
	if a == dst || b == dst {
		return a == dst // 1
	}
	if x, y := scopeOf(a), scopeOf(b); x != y { // 2: the smallest that reaches
		if x < y {
			return x >= scopeOf(dst)
		}
		return y < scopeOf(dst)
	}
	label := policyOf(dst).label
	if x, y := policyOf(a).label == label, policyOf(b).label == label; x != y {
		return x // 6
	}
	return prefixWith(dst, a) > prefixWith(dst, b) // 8
}
