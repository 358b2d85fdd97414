package dnsx

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCandidates(t *testing.T) {
	b := newBook(t, `
		both.example. A 192.0.2.1
		both.example. A 192.0.2.2
		both.example. AAAA 2001:db8::1
		four.example. A 192.0.2.1
		six.example. AAAA 2001:db8::1
		none.example. TXT x
		alias.example. CNAME both.example.
		half.example. A 192.0.2.1
		half.example. AAAA !
		broken.example. A !
		onlybroken.example. AAAA !
		loop.example. CNAME loop.example.`)
	source := SourceFrom(addrList("2001:db8::7 192.0.2.7 ::1 127.0.0.1")...)
	for _, test := range []struct {
		name          string
		hints         Hints
		host, service string
		want          string // an error's text, or its sentinel
	}{
		{"everything", Hints{}, "both.example", "53", "tcp [2001:db8::1]:53 udp [2001:db8::1]:53 tcp 192.0.2.1:53 udp 192.0.2.1:53 tcp 192.0.2.2:53 udp 192.0.2.2:53"},
		{"tcp", Hints{Network: "tcp"}, "both.example", "53", "tcp [2001:db8::1]:53 tcp 192.0.2.1:53 tcp 192.0.2.2:53"},
		{"udp4", Hints{Network: "udp4"}, "both.example", "53", "udp 192.0.2.1:53 udp 192.0.2.2:53"},
		{"ip6", Hints{Network: "ip6"}, "both.example", "", "tcp [2001:db8::1]:0 udp [2001:db8::1]:0"},
		{"service by name", Hints{Network: "tcp"}, "six.example", "smtp", "tcp [2001:db8::1]:25"},
		{"service by name for both", Hints{}, "six.example", "domain", "tcp [2001:db8::1]:53 udp [2001:db8::1]:53"},
		{"service unknown", Hints{}, "six.example", "no-such-service", "dnsx: no service \"no-such-service\" over tcp is known here"},
		{"service out of range", Hints{}, "six.example", "65536", "no service"},
		{"service must be a number", Hints{NumericService: true}, "six.example", "smtp", "dnsx: service \"smtp\" is not a number from 0 to 65535"},
		{"host must be an address", Hints{NumericHost: true}, "six.example", "25", "dnsx: \"six.example\" is not an address"},
		{"an address", Hints{NumericHost: true, Network: "tcp"}, "192.0.2.9", "25", "tcp 192.0.2.9:25"},
		{"an address with a zone", Hints{Network: "tcp"}, "fe80::1%eth0", "25", "tcp [fe80::1%eth0]:25"},
		{"an address of the wrong family", Hints{Network: "tcp6"}, "192.0.2.9", "25", ErrNotFound.Error()},
		{"canonical name", Hints{Network: "tcp4", CanonicalName: true}, "alias.example", "25", "tcp 192.0.2.1:25 both.example. tcp 192.0.2.2:25 both.example."},
		{"canonical name not asked for", Hints{Network: "tcp6"}, "alias.example", "25", "tcp [2001:db8::1]:25"},
		{"mapped where there is no IPv6", Hints{Network: "tcp6", V4Mapped: true}, "four.example", "25", "tcp [::ffff:192.0.2.1]:25"},
		{"not mapped where there is", Hints{Network: "tcp6", V4Mapped: true}, "both.example", "25", "tcp [2001:db8::1]:25"},
		{"mapped, all", Hints{Network: "tcp6", V4Mapped: true, All: true}, "both.example", "25", "tcp [2001:db8::1]:25 tcp [::ffff:192.0.2.1]:25 tcp [::ffff:192.0.2.2]:25"},
		{"mapped needs a network of IPv6", Hints{Network: "tcp", V4Mapped: true}, "four.example", "25", "tcp 192.0.2.1:25"},
		{"a mapped address", Hints{Network: "tcp6", V4Mapped: true}, "192.0.2.9", "25", "tcp [::ffff:192.0.2.9]:25"},
		{"not mapped while IPv6 is not known", Hints{Network: "tcp6", V4Mapped: true}, "half.example", "25", ErrTemporary.Error()},
		{"no host", Hints{Network: "tcp"}, "", "25", "tcp [::1]:25 tcp 127.0.0.1:25"},
		{"passive", Hints{Network: "tcp4", Passive: true}, "", "25", "tcp 0.0.0.0:25"},
		{"passive with a host", Hints{Network: "tcp4", Passive: true}, "four.example", "25", "tcp 192.0.2.1:25"},
		{"localhost is never asked for", Hints{Network: "tcp"}, "LOCALHOST.", "25", "tcp [::1]:25 tcp 127.0.0.1:25"},
		{"below localhost", Hints{Network: "tcp4"}, "a.localhost", "25", "tcp 127.0.0.1:25"},
		{"neither", Hints{}, "", "", "dnsx: neither a host nor a service"},
		{"network unknown", Hints{Network: "sctp"}, "six.example", "25", net.UnknownNetworkError("sctp").Error()},
		{"no address", Hints{}, "none.example", "25", ErrNotFound.Error()},
		{"no such name", Hints{}, "nothing.example", "25", ErrNotFound.Error()},
		{"one family fails", Hints{Network: "tcp"}, "half.example", "25", "tcp 192.0.2.1:25"},
		{"all fails", Hints{Network: "tcp"}, "broken.example", "25", ErrTemporary.Error()},
		{"one fails, the other has none", Hints{Network: "tcp"}, "onlybroken.example", "25", ErrTemporary.Error()},
		{"alias loop", Hints{Network: "tcp"}, "loop.example", "25", ErrLoop.Error()},
		{"no name", Hints{}, "a..b", "25", ErrNotFound.Error()},
		{"only what can be reached", Hints{Network: "tcp", AddrConfig: true, Source: SourceFrom(addrList("192.0.2.7")...)}, "both.example", "25", "tcp 192.0.2.1:25 tcp 192.0.2.2:25"},
		{"nothing can be reached", Hints{Network: "tcp", AddrConfig: true, Source: SourceFrom()}, "both.example", "25", ErrNotFound.Error()},
		{"another order", Hints{Network: "tcp", Source: SourceFrom(addrList("fe80::7 192.0.2.7")...)}, "both.example", "25", "tcp 192.0.2.1:25 tcp 192.0.2.2:25 tcp [2001:db8::1]:25"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.hints.Source == nil {
				test.hints.Source = source
			}
			list, err := test.hints.Candidates(t.Context(), b, test.host, test.service)
			if err != nil {
				require.ErrorContains(t, err, test.want)
				require.Empty(t, list)
				return
			}
			var got []string
			for _, c := range list {
				got = append(got, c.Network, c.Addr.String())
				if c.Canonical != "" {
					got = append(got, c.Canonical)
				}
			}
			require.Equal(t, test.want, strings.Join(got, " "))
		})
	}
}

func TestCandidatesContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Hints{}.Candidates(ctx, book{}, "www.example", "80")
	require.ErrorIs(t, err, context.Canceled)
}
