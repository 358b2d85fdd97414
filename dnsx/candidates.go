package dnsx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ErrNotFound says that a host has no address of the wanted kind, and that this
// is certain. (That it is not known for now is [ErrTemporary].)
var ErrNotFound = errors.New("no such host, or it has no such address")

// A Candidate is one way to reach a host: what getaddrinfo puts into one struct
// addrinfo. The family is that of the address.
type Candidate struct {
	Network   string         // "tcp" or "udp": the socket type and the protocol
	Addr      netip.AddrPort // may have a zone: "[fe80::1%eth0]:25"
	Canonical string         // the host's own name, absolute; empty unless [Hints.CanonicalName]
}

// Hints say which candidates are wanted. They are the argument of the same name
// of getaddrinfo [RFC 3493 section 6.1], and the zero Hints want them all.
//
// [RFC 3493 section 6.1]: https://www.rfc-editor.org/rfc/rfc3493#section-6.1
type Hints struct {
	// Network limits the family, the type, or both: "tcp", "tcp4", "tcp6",
	// "udp", "udp4", "udp6", "ip4", "ip6"; empty or "ip" limits nothing.
	Network string

	Passive        bool // without a host: the addresses to listen on, not those to connect to
	CanonicalName  bool // tell the name that aliases lead to
	NumericHost    bool // the host must be an address: nobody is asked
	NumericService bool // the service must be a number
	V4Mapped       bool // with a network ending in 6: if there is no IPv6 address, ::ffff:a.b.c.d
	All            bool // with V4Mapped: these too, if there are IPv6 addresses
	AddrConfig     bool // only what this machine has an address to send from, so a way to

	// Source is that of [SortAddrs]; nil asks the kernel.
	Source func(dst netip.Addr) netip.Addr
}

// Candidates returns the ways to reach a service of a host, the most promising
// first [RFC 6724]. The host is a name, an address, or empty: this machine. The
// service is a name such as "smtp", which the file /etc/services or a short list
// built in explains, a number, or empty: port 0.
//
// The name "localhost" is never asked for [RFC 6761 section 6.3]. An error
// matches [ErrNotFound], [ErrTemporary] or [ErrName], or is about a wrong
// argument. If only one family could be looked up, its addresses are returned.
//
// [RFC 6724]: https://www.rfc-editor.org/rfc/rfc6724
// [RFC 6761 section 6.3]: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
func (h Hints) Candidates(ctx context.Context, r Resolver, host, service string) ([]Candidate, error) {
	four, six, ok := families(h.Network)
	if !ok {
		return nil, net.UnknownNetworkError(h.Network)
	}
	if host == "" && service == "" {
		return nil, errors.New("dnsx: neither a host nor a service")
	}
	ports, err := h.ports(ctx, service)
	if err != nil {
		return nil, err
	}
	addrs, canonical, err := h.addrs(ctx, r, host, four, six)
	if err != nil {
		return nil, err
	}
	source := h.Source
	if source == nil {
		source = kernelSource
	}
	if h.AddrConfig {
		addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !source(a.Unmap()).IsValid() })
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("dnsx: %s: %w", host, ErrNotFound)
	}
	SortAddrs(addrs, source)
	if !h.CanonicalName {
		canonical = ""
	}
	var list []Candidate
	for _, addr := range addrs {
		for _, p := range ports {
			list = append(list, Candidate{p.network, netip.AddrPortFrom(addr, p.port), canonical})
		}
	}
	return list, nil
}

// families reports which families a network of [Hints] or [Dialer] takes.
func families(network string) (four, six, ok bool) {
	switch network {
	case "", "ip", "tcp", "udp":
		return true, true, true
	case "ip4", "tcp4", "udp4":
		return true, false, true
	case "ip6", "tcp6", "udp6":
		return false, true, true
	}
	return false, false, false
}

// A port is where a service is found over one protocol: the number need not be
// the same for all of them.
type port struct {
	network string
	port    uint16
}

// ports returns the ports of a service over the protocols that are wanted.
func (h Hints) ports(ctx context.Context, service string) ([]port, error) {
	networks := []string{"tcp", "udp"}
	if base := strings.TrimRight(h.Network, "46"); base == "tcp" || base == "udp" {
		networks = []string{base}
	}
	var list []port
	var first error
	for _, network := range networks {
		n, err := servicePort(ctx, network, service, h.NumericService)
		if err == nil {
			list = append(list, port{network, n})
		} else if first == nil {
			first = err
		}
	}
	if len(list) == 0 {
		return nil, first
	}
	return list, nil
}

// servicePort returns the number of a service; the empty one is 0.
func servicePort(ctx context.Context, network, service string, numeric bool) (uint16, error) {
	if service == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(service, 10, 16); err == nil {
		return uint16(n), nil
	}
	if numeric {
		return 0, fmt.Errorf("dnsx: service %q is not a number from 0 to 65535", service)
	}
	// Package net reads /etc/services and knows a few names by itself.
	n, err := (&net.Resolver{PreferGo: true}).LookupPort(ctx, network, service)
	if err != nil {
		return 0, fmt.Errorf("dnsx: no service %q over %s is known here", service, network)
	}
	return uint16(n), nil
}

// addrs returns the addresses of a host in no particular order, and its
// canonical name.
func (h Hints) addrs(ctx context.Context, r Resolver, host string, four, six bool) ([]netip.Addr, string, error) {
	mapped := h.V4Mapped && six && !four
	known := knownHost(host, h.Passive)
	if known == nil && h.NumericHost {
		return nil, "", fmt.Errorf("dnsx: %q is not an address", host)
	}
	answers := [2]family{{typ: AAAA}, {typ: A}}
	var wg sync.WaitGroup
	for i, wanted := range []bool{six, four || mapped} {
		f := &answers[i]
		switch {
		case !wanted:
		case known != nil:
			f.addrs = slices.DeleteFunc(slices.Clone(known), func(a netip.Addr) bool { return a.Is4() != (f.typ == A) })
		default:
			wg.Go(func() { f.addrs, f.answer, f.err = addressesOf(ctx, r, host, f.typ) })
		}
	}
	wg.Wait()

	addrs := answers[0].addrs
	if !mapped {
		addrs = append(addrs, answers[1].addrs...)
	} else if h.All || len(addrs) == 0 && answers[0].err == nil {
		for _, a := range answers[1].addrs {
			addrs = append(addrs, netip.AddrFrom16(a.As16()))
		}
	}
	if len(addrs) == 0 {
		return nil, "", errors.Join(answers[0].err, answers[1].err)
	}
	canonical := host
	for _, f := range answers {
		if f.answer != nil {
			canonical = f.answer.Canonical
		}
	}
	return addrs, canonical, nil
}

// A family is the result of one of the two lookups for a host.
type family struct {
	typ    Type
	addrs  []netip.Addr
	answer *Answer
	err    error
}

// knownHost returns the addresses of hosts that need no lookup; nil for others.
func knownHost(host string, passive bool) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}
	}
	if host == "" && passive {
		return []netip.Addr{netip.IPv6Unspecified(), netip.IPv4Unspecified()}
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return nil
}
