package dnsx

import (
	"strings"

	"github.com/miekg/dns"
)

// Names in wire form: each label after its length, a zero octet at the end.
// In lower case, as strings, they are keys of maps: a query's name needs no
// conversion to be looked up.

// wireName converts a valid absolute name to lower-case wire form.
func wireName(name string) string {
	var buf [maxName]byte
	n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
	if err != nil {
		return ""
	}
	lowerWire(buf[:n])
	return string(buf[:n])
}

// lowerWire folds ASCII capitals. Lengths of labels are at most 63, below 'A', so that it
// need not tell them from letters.
func lowerWire(name []byte) {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
}

// parentWire removes the first label. The root has no parent.
func parentWire(name string) string { return name[1+int(name[0]):] }

// withinWire reports whether a name is zone or below it.
func withinWire(name, zone string) bool {
	for {
		if len(name) <= len(zone) {
			return name == zone
		}
		name = parentWire(name)
	}
}

// wildcard puts the label "*" before a name.
func wildcard(name string) string { return "\x01*" + name }

// compareWire compares in canonical order (RFC 4034 section 6.1): by the last
// label first.
func compareWire(a, b string) int {
	la, lb := labels(a), labels(b)
	for i, j := len(la)-1, len(lb)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		if c := strings.Compare(la[i], lb[j]); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

// labels cuts a name in wire form into its labels, without the empty one.
func labels(name string) (list []string) {
	for name[0] != 0 {
		list = append(list, name[1:1+name[0]])
		name = parentWire(name)
	}
	return list
}

// textName converts a name in wire form to text. The name must be valid.
func textName(wire []byte) string {
	s, _, err := dns.UnpackDomainName(wire, 0)
	if err != nil {
		return "?"
	}
	return s
}
