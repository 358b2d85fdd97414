package dnsx

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// Sizes on the wire [RFC 1035 section 2.3.4].
//
// [RFC 1035 section 2.3.4]: https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
const (
	maxLabel = 63
	maxName  = 255
)

// lookup is idna.Lookup for names that need not be those of hosts: service
// names have underscores.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// ParseName returns a name in the form that this package uses: absolute, with
// the dot at the end, every octet that could be misread escaped as in a zone
// file (\. or \032), the case as it was. Words that are not ASCII become
// A-labels as [RFC 5891] and UTS 46 say: "españa.es" is "xn--espaa-rta.es.".
// What DNS cannot hold gives [ErrName].
//
// Names are octets and more than host names: "_sip._tcp.example.com" is one.
//
// [RFC 5891]: https://www.rfc-editor.org/rfc/rfc5891
func ParseName(s string) (string, error) {
	if plainName(s) {
		return s, nil
	}
	// Longer than any spelling of 255 octets, four characters each.
	if len(s) > 4*maxName {
		return "", fmt.Errorf("dnsx: a text of %d bytes: %w", len(s), ErrName)
	}
	if s == "" {
		return "", fmt.Errorf("dnsx: an empty text: %w", ErrName)
	}
	ascii := s
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
		var err error
		ascii, err = lookup.ToASCII(strings.TrimSuffix(s, "."))
		if err != nil {
			return "", fmt.Errorf("dnsx: %q: %w: %v", s, ErrName, err)
		}
	}
	// To the wire and back: that knows the limits and every escape.
	var wire [maxName + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(ascii), wire[:], 0, nil, false)
	if err != nil || n > maxName {
		return "", fmt.Errorf("dnsx: %q: %w", s, ErrName)
	}
	name, _, err := dns.UnpackDomainName(wire[:n], 0)
	if err != nil {
		return "", fmt.Errorf("dnsx: %q: %w", s, ErrName)
	}
	return name, nil
}

// plainName reports whether s already is as ParseName would return it, and
// lower case. It does not know every such name, only the usual ones.
func plainName(s string) bool {
	if s == "." {
		return true
	}
	if len(s) < 2 || len(s) > maxName-1 || s[len(s)-1] != '.' {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
			if label > maxLabel {
				return false
			}
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return true
}

// foldName is ParseName in lower case, as names are compared.
func foldName(s string) (string, error) {
	if plainName(s) {
		return s, nil
	}
	name, err := ParseName(s)
	return dns.CanonicalName(name), err
}

// EqualNames reports whether two absolute names are the same; the case of
// letters does not matter [RFC 4343].
//
// [RFC 4343]: https://www.rfc-editor.org/rfc/rfc4343
func EqualNames(a, b string) bool {
	return len(a) == len(b) && strings.EqualFold(a, b)
}

// InZone reports whether an absolute name is that of a zone or below it. Labels
// are compared, not letters: "notexample.com." is not in "example.com.".
func InZone(name, zone string) bool {
	at := len(name) - len(zone)
	switch {
	case zone == ".":
		return true
	case at <= 0:
		return EqualNames(name, zone)
	case name[at-1] != '.' || !strings.EqualFold(name[at:], zone):
		return false
	}
	// The dot ends a label unless it is escaped, and the backslash is not.
	escapes := at - 1 - len(strings.TrimRight(name[:at-1], `\`))
	return escapes%2 == 0
}

// ParentName returns name without its first label. The root has itself.
func ParentName(name string) string {
	if i, end := dns.NextLabel(name, 0); !end {
		return name[i:]
	}
	return "."
}

// UnicodeName returns name for people: A-labels as letters, without the dot at
// the end. A name that is not proper IDNA stays as it is.
func UnicodeName(name string) string {
	text := strings.TrimSuffix(name, ".")
	if text == "" {
		return "."
	}
	if u, err := lookup.ToUnicode(text); err == nil {
		return u
	}
	return text
}

// ReverseName returns the name under which PTR records of an address are kept:
// below in-addr.arpa for IPv4 [RFC 1035 section 3.5], one label a digit below
// ip6.arpa for IPv6 [RFC 3596 section 2.5]. An IPv4-mapped IPv6 address counts
// as IPv4; the zero Addr has no name, "".
//
// [RFC 1035 section 3.5]: https://www.rfc-editor.org/rfc/rfc1035#section-3.5
// [RFC 3596 section 2.5]: https://www.rfc-editor.org/rfc/rfc3596#section-2.5
func ReverseName(addr netip.Addr) string {
	addr = addr.Unmap()
	switch {
	case addr.Is4():
		b := addr.As4()
		return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa.", b[3], b[2], b[1], b[0])
	case addr.Is6():
		const digits = "0123456789abcdef"
		b := addr.As16()
		name := make([]byte, 0, 73)
		for i := len(b) - 1; i >= 0; i-- {
			name = append(name, digits[b[i]&15], '.', digits[b[i]>>4], '.')
		}
		return string(name) + "ip6.arpa."
	}
	return ""
}

// ReverseAddr is the inverse of [ReverseName]. It reports false for a name
// that belongs to no address, or to a whole network.
func ReverseAddr(name string) (netip.Addr, bool) {
	name = strings.ToLower(name)
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		parts := strings.Split(rest, ".")
		if len(parts) != 4 {
			return netip.Addr{}, false
		}
		var b [4]byte
		for i, part := range parts {
			n, err := strconv.ParseUint(part, 10, 8)
			if err != nil {
				return netip.Addr{}, false
			}
			b[3-i] = byte(n)
		}
		addr := netip.AddrFrom4(b)
		return addr, ReverseName(addr) == name
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if !ok || len(rest) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		n, err := strconv.ParseUint(rest[2*i:2*i+1], 16, 4)
		if err != nil {
			return netip.Addr{}, false
		}
		b[15-i/2] |= byte(n) << (4 * (i % 2))
	}
	addr := netip.AddrFrom16(b)
	return addr, ReverseName(addr) == name
}
