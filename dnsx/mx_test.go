package dnsx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// tell gives a route and its error as one line: hosts with their addresses, or
// what went wrong.
func tell(route *MailRoute, err error) string {
	if err != nil {
		e, ok := errors.AsType[*MailError](err)
		if !ok {
			return "not a MailError"
		}
		if e.Temporary() != errors.Is(err, ErrTemporary) {
			return "Temporary and ErrTemporary disagree"
		}
		if e.Temporary() {
			return "temporary"
		}
		return string(e.Reason)
	}
	var parts []string
	for _, h := range route.Hosts {
		var addrs []string
		for _, a := range h.Addresses {
			addrs = append(addrs, a.String())
		}
		slices.Sort(addrs)
		parts = append(parts, fmt.Sprintf("%d %s %s", h.Preference, h.Name, strings.Join(addrs, ",")))
	}
	return strings.Join(parts, "; ")
}

func TestMailHosts(t *testing.T) {
	for _, test := range []struct {
		name   string
		book   string
		domain string // example.com if empty
		local  string // fields
		want   string
	}{
		// Explicit exchangers.
		{name: "one", book: "example.com. MX 10 m.example.\nm.example. A 192.0.2.1", want: "10 m.example. 192.0.2.1"},
		{name: "in order of preference, as numbers", book: `
			example.com. MX 100 c.example.
			example.com. MX 9 a.example.
			example.com. MX 20 b.example.
			a.example. A 192.0.2.1
			b.example. A 192.0.2.2
			c.example. A 192.0.2.3`, want: "9 a.example. 192.0.2.1; 20 b.example. 192.0.2.2; 100 c.example. 192.0.2.3"},
		{name: "IPv6 only", book: "example.com. MX 10 m.example.\nm.example. AAAA 2001:db8::1", want: "10 m.example. 2001:db8::1"},
		{name: "every address", book: `
			example.com. MX 10 m.example.
			m.example. A 192.0.2.1
			m.example. A 192.0.2.2
			m.example. AAAA 2001:db8::1`, want: "10 m.example. 192.0.2.1,192.0.2.2,2001:db8::1"},
		{name: "one family fails", book: "example.com. MX 10 m.example.\nm.example. A 192.0.2.1\nm.example. AAAA !", want: "10 m.example. 192.0.2.1"},
		{name: "one family fails, the other has none", book: "example.com. MX 10 m.example.\nm.example. A !", want: "temporary"},
		{name: "both families fail", book: "example.com. MX 10 m.example.\nm.example. A !\nm.example. AAAA !", want: "temporary"},
		{name: "no exchanger has an address", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nn.example. TXT x", want: "no-usable-host"},
		{name: "one has none, one fails", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nn.example. A !", want: "temporary"},
		{name: "one has none, one has", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nn.example. A 192.0.2.2", want: "20 n.example. 192.0.2.2"},
		{name: "one fails, one has", book: "example.com. MX 10 m.example.\nm.example. A !\nexample.com. MX 20 n.example.\nn.example. A 192.0.2.2", want: "20 n.example. 192.0.2.2"},
		{name: "exchangers that fail are no reason for the address of the domain", book: "example.com. MX 10 m.example.\nexample.com. A 192.0.2.9", want: "no-usable-host"},
		{name: "the lookup fails", book: "example.com. MX !\nexample.com. A 192.0.2.9", want: "temporary"},
		{name: "twice the same, the better one counts", book: `
			example.com. MX 30 m.example.
			example.com. MX 20 n.example.
			example.com. MX 10 M.Example.
			m.example. A 192.0.2.1
			n.example. A 192.0.2.2`, want: "10 m.example. 192.0.2.1; 20 n.example. 192.0.2.2"},
		{name: "an address as exchanger", book: "example.com. MX 10 192.0.2.1.", want: "no-usable-host"},
		{name: "an IPv6 address as exchanger", book: "example.com. MX 10 2001:db8::1.", want: "no-usable-host"},
		{name: "an address beside a name", book: "example.com. MX 10 192.0.2.1.\nexample.com. MX 20 n.example.\nn.example. A 192.0.2.2", want: "20 n.example. 192.0.2.2"},
		{name: "an exchanger that is an alias", book: "example.com. MX 10 m.example.\nm.example. CNAME n.example.\nn.example. A 192.0.2.2", want: "10 m.example. 192.0.2.2"},
		{name: "an exchanger whose aliases loop", book: "example.com. MX 10 m.example.\nm.example. CNAME n.example.\nn.example. CNAME m.example.", want: "temporary"},
		{name: "no data of an MX record", book: "example.com. MX ten m.example.\nm.example. A 192.0.2.1", want: "temporary"},

		// Null MX.
		{name: "null MX", book: "example.com. MX 0 .\nexample.com. A 192.0.2.9", want: "null-mx"},
		{name: "null MX twice", book: "example.com. MX 0 .\nexample.com. MX 0 .", want: "null-mx"},
		{name: "null MX beside another", book: "example.com. MX 0 .\nexample.com. MX 10 m.example.\nm.example. A 192.0.2.1", want: "10 m.example. 192.0.2.1"},
		{name: "null MX beside one without address", book: "example.com. MX 0 .\nexample.com. MX 10 m.example.", want: "no-usable-host"},
		{name: "null MX beside one that fails", book: "example.com. MX 0 .\nexample.com. MX 10 m.example.\nm.example. A !", want: "temporary"},
		{name: "the root with another preference", book: "example.com. MX 10 .", want: "no-usable-host"},

		// Implicit.
		{name: "implicit", book: "example.com. A 192.0.2.9", want: "0 example.com. 192.0.2.9"},
		{name: "implicit, IPv6", book: "example.com. AAAA 2001:db8::9", want: "0 example.com. 2001:db8::9"},
		{name: "implicit, one family fails", book: "example.com. A 192.0.2.9\nexample.com. AAAA !", want: "0 example.com. 192.0.2.9"},
		{name: "implicit, one family fails, the other has none", book: "example.com. TXT x\nexample.com. AAAA !", want: "temporary"},
		{name: "implicit, both fail", book: "example.com. A !\nexample.com. AAAA !", want: "temporary"},
		{name: "no address", book: "example.com. TXT x", want: "no-mail-host"},
		{name: "no such domain", book: "example.org. A 192.0.2.9", want: "no-such-domain"},

		// Aliases.
		{name: "alias", book: "example.com. CNAME a.example.\na.example. MX 10 m.example.\nm.example. A 192.0.2.1", want: "10 m.example. 192.0.2.1"},
		{name: "alias of an implicit one", book: "example.com. CNAME a.example.\na.example. A 192.0.2.1", want: "0 a.example. 192.0.2.1"},
		{name: "alias of nothing", book: "example.com. CNAME a.example.", want: "no-such-domain"},
		{name: "alias of one that fails", book: "example.com. CNAME a.example.\na.example. MX !", want: "temporary"},
		{name: "alias loop", book: "example.com. CNAME a.example.\na.example. CNAME example.com.", want: "temporary"},
		{name: "alias of a null MX", book: "example.com. CNAME a.example.\na.example. MX 0 .", want: "null-mx"},

		// Ourselves.
		{name: "we are the only one", book: "example.com. MX 10 m.example.\nm.example. A 192.0.2.1", local: "m.example", want: "loop"},
		{name: "case does not matter", book: "example.com. MX 10 m.example.\nm.example. A 192.0.2.1", local: "M.Example.", want: "loop"},
		{name: "by address", book: "example.com. MX 10 m.example.\nm.example. A 192.0.2.1", local: "192.0.2.1", want: "loop"},
		{name: "by one of several addresses", book: "example.com. MX 10 m.example.\nm.example. A 192.0.2.1\nm.example. AAAA 2001:db8::1", local: "198.51.100.1 2001:DB8::1", want: "loop"},
		{name: "by mapped address", book: "example.com. MX 10 m.example.\nm.example. A 192.0.2.1", local: "::ffff:192.0.2.1", want: "loop"},
		{name: "by literal", book: "example.com. MX 10 m.example.\nm.example. AAAA 2001:db8::1", local: "[IPv6:2001:db8::1]", want: "loop"},
		{name: "by name, without an address", book: "example.com. MX 10 m.example.", local: "m.example", want: "loop"},
		{name: "by name, the lookup fails", book: "example.com. MX 10 m.example.\nm.example. A !", local: "m.example", want: "loop"},
		{name: "we are the second of three", book: threeHosts, local: "b.example", want: "10 a.example. 192.0.2.1"},
		{name: "we are the second of three, by address", book: threeHosts, local: "192.0.2.2", want: "10 a.example. 192.0.2.1"},
		{name: "we are the third of three", book: threeHosts, local: "192.0.2.3", want: "10 a.example. 192.0.2.1; 20 b.example. 192.0.2.2"},
		{name: "we are the first of three", book: threeHosts, local: "a.example", want: "loop"},
		{name: "we are first and third", book: threeHosts, local: "a.example 192.0.2.3", want: "loop"},
		{name: "we are second and third", book: threeHosts, local: "192.0.2.3 b.example", want: "10 a.example. 192.0.2.1"},
		{name: "one as good as we are is no help", book: threeHosts + "\nexample.com. MX 10 d.example.\nd.example. A 192.0.2.4", local: "d.example", want: "loop"},
		{name: "as good, by address", book: threeHosts + "\nexample.com. MX 10 d.example.\nd.example. A 192.0.2.4", local: "192.0.2.4", want: "loop"},
		{name: "as good in the middle", book: threeHosts + "\nexample.com. MX 20 d.example.\nd.example. A 192.0.2.4", local: "192.0.2.4", want: "10 a.example. 192.0.2.1"},
		{name: "as good, and its lookup fails", book: "example.com. MX 10 m.example.\nexample.com. MX 10 n.example.\nm.example. A 192.0.2.1\nn.example. A !", local: "m.example", want: "loop"},
		{name: "a better one fails for now", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nm.example. A !\nn.example. A 192.0.2.2", local: "n.example", want: "temporary"},
		{name: "a better one fails for now, by address", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nm.example. AAAA !\nn.example. A 192.0.2.2", local: "192.0.2.2", want: "temporary"},
		{name: "a better one has no address", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nn.example. A 192.0.2.2", local: "n.example", want: "loop"},
		{name: "a better one is an address", book: "example.com. MX 10 192.0.2.7.\nexample.com. MX 20 n.example.\nn.example. A 192.0.2.2", local: "n.example", want: "loop"},
		{name: "a worse one fails", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nm.example. A 192.0.2.1\nn.example. A !", local: "m.example", want: "loop"},
		{name: "a better one fails, another better one has", book: threeHosts + "\nexample.com. MX 5 d.example.\nd.example. A !", local: "b.example", want: "10 a.example. 192.0.2.1"},
		{name: "we are the implicit one", book: "example.com. A 192.0.2.9", local: "example.com", want: "loop"},
		{name: "we are the implicit one, by address", book: "example.com. A 192.0.2.9", local: "192.0.2.9", want: "loop"},
		{name: "an alias of ours", book: "example.com. MX 10 m.example.\nm.example. CNAME n.example.\nn.example. A 192.0.2.2", local: "n.example", want: "loop"},
		{name: "an alias of ours after a better one", book: threeHosts + "\nexample.com. MX 20 m.example.\nm.example. CNAME n.example.\nn.example. A 192.0.2.5", local: "n.example", want: "10 a.example. 192.0.2.1"},
		{name: "an alias in the middle is ours", book: "example.com. MX 10 m.example.\nm.example. CNAME n.example.\nn.example. CNAME o.example.\no.example. A 192.0.2.2", local: "n.example", want: "loop"},
		{name: "an alias in the middle, of an implicit one", book: "example.com. CNAME m.example.\nm.example. CNAME n.example.\nn.example. A 192.0.2.2", local: "m.example", want: "loop"},
		{name: "we are the implicit one, by our alias", book: "example.com. CNAME a.example.\na.example. A 192.0.2.1", local: "example.com", want: "loop"},
		{name: "we are the implicit one, by what our alias leads to", book: "example.com. CNAME a.example.\na.example. A 192.0.2.1", local: "a.example", want: "loop"},
		{name: "we are the literal", domain: "[192.0.2.1]", local: "192.0.2.1", want: "loop"},
		{name: "we are listed twice", book: "example.com. MX 10 m.example.\nexample.com. MX 20 n.example.\nexample.com. MX 5 n.example.\nm.example. A 192.0.2.1\nn.example. A 192.0.2.2", local: "n.example", want: "loop"},
		{name: "we are not there", book: threeHosts, local: "z.example 198.51.100.1", want: "10 a.example. 192.0.2.1; 20 b.example. 192.0.2.2; 30 c.example. 192.0.2.3"},

		// The domain.
		{name: "dot at the end and capitals", domain: "EXAMPLE.com.", book: "example.com. A 192.0.2.9", want: "0 example.com. 192.0.2.9"},
		{name: "internationalised", domain: "España.es", book: "xn--espaa-rta.es. A 192.0.2.9", want: "0 xn--espaa-rta.es. 192.0.2.9"},
		{name: "one label", domain: "es", book: "es. A 192.0.2.9", want: "0 es. 192.0.2.9"},
		{name: "literal", domain: "[192.0.2.1]", want: "0 [192.0.2.1] 192.0.2.1"},
		{name: "IPv6 literal", domain: "[IPv6:2001:db8::1]", want: "0 [IPv6:2001:db8::1] 2001:db8::1"},
		{name: "tag in small letters", domain: "[ipv6:2001:db8::1]", want: "0 [ipv6:2001:db8::1] 2001:db8::1"},
		{name: "IPv6 literal without tag", domain: "[2001:db8::1]", want: "bad-name"},
		{name: "IPv4 with the tag", domain: "[IPv6:192.0.2.1]", want: "bad-name"},
		{name: "zone in a literal", domain: "[IPv6:fe80::1%eth0]", want: "bad-name"},
		{name: "literal not closed", domain: "[192.0.2.1", want: "bad-name"},
		{name: "empty literal", domain: "[]", want: "bad-name"},
		{name: "one bracket", domain: "[", want: "bad-name"},
		{name: "literal of something else", domain: "[X400:c=es]", want: "bad-name"},
		{name: "bare address", domain: "192.0.2.1", want: "bad-name"},
		{name: "bare IPv6 address", domain: "2001:db8::1", want: "bad-name"},
		{name: "empty", domain: " ", want: "bad-name"},
		{name: "the root", domain: ".", want: "bad-name"},
		{name: "empty label", domain: "a..example", want: "bad-name"},
		{name: "dot first", domain: ".example", want: "bad-name"},
		{name: "underscore", domain: "a_b.example", want: "bad-name"},
		{name: "hyphen first", domain: "-a.example", want: "bad-name"},
		{name: "hyphen last", domain: "a-.example", want: "bad-name"},
		{name: "whole mail address", domain: "ana@example.com", want: "bad-name"},
		{name: "label too long", domain: strings.Repeat("a", 64) + ".example", want: "bad-name"},
		{name: "name too long", domain: strings.Repeat("abcdefg.", 32) + "example", want: "bad-name"},
		{name: "not IDNA", domain: "a\u0301\u200d.example", want: "bad-name"},
		{name: "end of line", domain: "example.com\n", want: "bad-name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			domain := test.domain
			if domain == "" {
				domain = "example.com"
			}
			route, err := MailHosts(t.Context(), newBook(t, test.book), domain, strings.Fields(test.local)...)
			require.Equal(t, test.want, tell(route, err), "%v", err)
		})
	}
}

const threeHosts = `
	example.com. MX 20 b.example.
	example.com. MX 30 c.example.
	example.com. MX 10 a.example.
	a.example. A 192.0.2.1
	b.example. A 192.0.2.2
	c.example. A 192.0.2.3`

func TestMailRoute(t *testing.T) {
	b := newBook(t, `
		example.com. CNAME a.example.
		a.example. MX 10 m.example.
		a.example. MX 0 .
		a.example. MX 20 n.example.
		a.example. MX 30 o.example.
		a.example. MX 40 us.example.
		a.example. MX 50 p.example.
		m.example. A 192.0.2.1
		m.example. AAAA !
		o.example. A !
		p.example. A 192.0.2.5`)
	route, err := MailHosts(t.Context(), b, "Example.COM", "us.example")
	require.NoError(t, err)
	require.Equal(t, "example.com.", route.Domain)
	require.Equal(t, "a.example.", route.Canonical)
	require.False(t, route.Implicit)
	require.Len(t, route.Hosts, 1)
	require.ErrorIs(t, route.Hosts[0].Err, ErrTemporary, "addresses may be missing")
	var skipped []string
	for _, h := range route.Skipped {
		require.Empty(t, h.Addresses)
		skipped = append(skipped, fmt.Sprintf("%s %v", h.Name, h.Err))
	}
	require.Equal(t, []string{
		". " + errIsRoot.Error(),
		"n.example. " + errNoAddress.Error(),
		"o.example. dnsx: o.example. A: " + ErrTemporary.Error(),
		"us.example. " + errIsUs.Error(),
		"p.example. " + errIsUs.Error(),
	}, skipped)

	route, err = MailHosts(t.Context(), newBook(t, "example.com. TXT x"), "example.com")
	require.Error(t, err)
	require.True(t, route.Implicit)
}

func TestMailLocalWrong(t *testing.T) {
	for _, local := range []string{"", "a..b", "[192.0.2.1", "[]"} {
		_, err := MailHosts(t.Context(), book{}, "example.com", local)
		require.ErrorIs(t, err, ErrName, local)
	}
}

// Equal preferences are tried in random order, each about as often first.
func TestMailEqualPreferences(t *testing.T) {
	b := newBook(t, `
		example.com. MX 10 a.example.
		example.com. MX 10 b.example.
		example.com. MX 10 c.example.
		a.example. A 192.0.2.1
		b.example. A 192.0.2.2
		c.example. A 192.0.2.3`)
	first := map[string]int{}
	for range 600 {
		route, err := MailHosts(t.Context(), b, "example.com")
		require.NoError(t, err)
		require.Len(t, route.Hosts, 3)
		first[route.Hosts[0].Name]++
	}
	for name, n := range first {
		require.Greater(t, n, 120, name) // 200 expected; 120 is seven standard deviations away
	}
	require.Len(t, first, 3)
}

// One message can name thousands of exchangers. The best are looked up.
func TestMailManyExchangers(t *testing.T) {
	b := book{}
	for i := range 3000 {
		b.add("example.com.", MX, fmt.Sprintf("%d m%d.example.", i, i))
	}
	counted := &counter{Resolver: b}
	route, err := MailHosts(t.Context(), counted, "example.com")
	require.Equal(t, "temporary", tell(route, err), "there may be a good one among those that were not looked up")
	require.ErrorIs(t, err, ErrLimit)
	require.Equal(t, 1+2*maxHosts, counted.n)
	b.add("m99.example.", A, "192.0.2.1")
	route, err = MailHosts(t.Context(), b, "example.com")
	require.Equal(t, "99 m99.example. 192.0.2.1", tell(route, err))
}

func TestMailContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	route, err := MailHosts(ctx, newBook(t, "example.com. A 192.0.2.1"), "example.com")
	require.Equal(t, "temporary", tell(route, err))
	require.ErrorIs(t, err, context.Canceled)
}

// TestMailRandom compares MailHosts with the rules written down once more, in
// another way, on random worlds: above all, temporary is never told as permanent,
// nor the reverse.
func TestMailRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	outcomes := map[string]int{}
	for i := range 5000 {
		b, local := randomWorld(rnd)
		want := oracle(b, local)
		route, err := MailHosts(t.Context(), b, "example.com", local...)
		got := tell(route, err)
		if err == nil {
			parts := strings.Split(got, "; ")
			require.True(t, slices.IsSortedFunc(route.Hosts, func(a, b MailHost) int { return int(a.Preference) - int(b.Preference) }))
			slices.Sort(parts)
			got = strings.Join(parts, "; ")
		}
		require.Equal(t, want, got, "world %d: %v local %v: %v", i, b, local, err)
		if err == nil {
			got = "ok"
		}
		outcomes[got]++
	}
	for _, outcome := range []string{"ok", "temporary", "null-mx", "no-such-domain", "no-mail-host", "no-usable-host", "loop"} {
		require.Greater(t, outcomes[outcome], 25, outcome)
	}
}

// randomWorld makes up to four exchangers that have addresses, have none, or fail.
func randomWorld(rnd *rand.Rand) (book, []string) {
	b := book{}
	domain := "example.com."
	if rnd.IntN(8) == 0 {
		b.add(domain, CNAME, "alias.example.")
		domain = "alias.example."
	}
	switch rnd.IntN(12) {
	case 0:
		b.add(domain, MX, "!")
	case 1:
		b.add(domain, TXT, "x")
	case 2: // nothing
	case 3:
		b.add(domain, MX, "0 .")
	case 4:
		b.add(domain, A, []string{"!", "192.0.2.100"}[rnd.IntN(2)])
	case 5:
		b.add(domain, AAAA, []string{"!", "2001:db8::100"}[rnd.IntN(2)])
	default:
		if rnd.IntN(4) == 0 {
			b.add(domain, MX, "0 .")
		}
		for range 1 + rnd.IntN(4) {
			b.add(domain, MX, fmt.Sprintf("%d h%d.example.", rnd.IntN(3)*10, 1+rnd.IntN(5)))
		}
	}
	for h := 1; h < 6; h++ {
		name := fmt.Sprintf("h%d.example.", h)
		for typ, addr := range map[Type]string{A: fmt.Sprintf("192.0.2.%d", h), AAAA: fmt.Sprintf("2001:db8::1:%d", h)} {
			switch rnd.IntN(5) {
			case 0:
				b.add(name, typ, "!")
			case 1:
				b.add(name, typ, addr)
			}
		}
	}
	var local []string
	if rnd.IntN(2) == 0 {
		h := 1 + rnd.IntN(5)
		local = append(local, []string{fmt.Sprintf("h%d.example", h), fmt.Sprintf("192.0.2.%d", h), fmt.Sprintf("2001:db8::1:%d", h)}[rnd.IntN(3)])
	}
	return b, local
}

// oracle says what MailHosts must find in a world of randomWorld. Hosts are
// sorted as text.
func oracle(b book, local []string) string {
	domain := "example.com."
	if b[domain][CNAME] != nil {
		domain = "alias.example."
	}
	if slices.Contains(b[domain][MX], "!") {
		return "temporary"
	}
	if b[domain] == nil {
		return "no-such-domain"
	}
	pref := map[string]int{}
	for _, data := range b[domain][MX] {
		var p int
		var name string
		fmt.Sscan(data, &p, &name)
		if old, ok := pref[name]; !ok || p < old {
			pref[name] = p
		}
	}
	none := "no-usable-host"
	if len(pref) == 0 {
		pref[domain], none = 0, "no-mail-host"
	} else if _, null := pref["."]; null && len(pref) == 1 {
		return "null-mx"
	}
	addrs := func(name string) (found []string, failed bool) {
		for _, typ := range []Type{A, AAAA} {
			for _, data := range b[name][typ] {
				if data == "!" {
					failed = true
				} else {
					found = append(found, data)
				}
			}
		}
		return found, failed
	}
	ours := 1 << 16
	for name, p := range pref {
		found, _ := addrs(name)
		for _, l := range local {
			if name == l+"." || slices.Contains(found, l) {
				ours = min(ours, p)
			}
		}
	}
	var hosts []string
	temporary := false
	for name, p := range pref {
		if p >= ours {
			continue
		}
		found, failed := addrs(name)
		if len(found) > 0 {
			hosts = append(hosts, fmt.Sprintf("%d %s %s", p, name, strings.Join(found, ",")))
		} else if failed {
			temporary = true
		}
	}
	slices.Sort(hosts)
	switch {
	case len(hosts) > 0:
		return strings.Join(hosts, "; ")
	case temporary:
		return "temporary"
	case ours < 1<<16:
		return "loop"
	}
	return none
}

// A counter counts the questions to a Resolver.
type counter struct {
	Resolver
	mu sync.Mutex
	n  int
}

func (c *counter) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Resolver.Resolve(ctx, name, typ)
}

func FuzzMailDomain(f *testing.F) {
	for _, seed := range []string{"example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "españa.es", "a..b", "[", `a\.b.c`, "1.2.3.4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, domain string) {
		route, err := MailHosts(t.Context(), book{}, domain)
		switch got := tell(route, err); got {
		case "bad-name":
			require.ErrorIs(t, err, ErrName)
		case "no-such-domain": // a name: it is the same once more
			again, err := mailName(route.Domain)
			require.NoError(t, err)
			require.Equal(t, route.Domain, again)
		default:
			require.True(t, strings.HasPrefix(domain, "["), got)
			require.Len(t, route.Hosts, 1)
			require.True(t, route.Hosts[0].Addresses[0].IsValid())
		}
	})
}

func BenchmarkMailHosts(b *testing.B) {
	world := newBook(b, threeHosts)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := MailHosts(b.Context(), world, "example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
