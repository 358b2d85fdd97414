package dnsx

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLookupAddr(t *testing.T) {
	for _, test := range []struct {
		name, book, addr string
		status           Status
		want             string // of the names: + confirmed, - not, ? not known
		fails            bool
	}{
		{name: "confirmed", book: "1.2.0.192.in-addr.arpa. PTR a.example.\na.example. A 192.0.2.1", addr: "192.0.2.1", want: "+a.example."},
		{name: "mapped", book: "1.2.0.192.in-addr.arpa. PTR a.example.\na.example. A 192.0.2.1", addr: "::ffff:192.0.2.1", want: "+a.example."},
		{
			name: "IPv6", addr: "2001:db8::1", want: "+a.example.",
			book: "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR a.example.\na.example. AAAA 2001:db8::1",
		},
		{name: "a name that anybody could claim", book: "1.2.0.192.in-addr.arpa. PTR bank.example.\nbank.example. A 192.0.2.7", addr: "192.0.2.1", want: "-bank.example."},
		{name: "a name that does not exist", book: "1.2.0.192.in-addr.arpa. PTR a.example.", addr: "192.0.2.1", want: "-a.example."},
		{name: "not a name at all", book: "1.2.0.192.in-addr.arpa. PTR a..b.", addr: "192.0.2.1", want: "-a..b."},
		{name: "one of two", book: "1.2.0.192.in-addr.arpa. PTR a.example.\n1.2.0.192.in-addr.arpa. PTR b.example.\nb.example. A 192.0.2.1", addr: "192.0.2.1", want: "-a.example.+b.example."},
		{name: "one of two, the other fails", book: "1.2.0.192.in-addr.arpa. PTR a.example.\n1.2.0.192.in-addr.arpa. PTR b.example.\nb.example. A 192.0.2.1\na.example. A !", addr: "192.0.2.1", want: "?a.example.+b.example."},
		{name: "none, and one fails", book: "1.2.0.192.in-addr.arpa. PTR a.example.\n1.2.0.192.in-addr.arpa. PTR b.example.\na.example. A !", addr: "192.0.2.1", want: "?a.example.-b.example.", fails: true},
		{name: "classless delegation", book: "1.2.0.192.in-addr.arpa. CNAME 1.0-127.2.0.192.in-addr.arpa.\n1.0-127.2.0.192.in-addr.arpa. PTR a.example.\na.example. A 192.0.2.1", addr: "192.0.2.1", want: "+a.example."},
		{name: "the name is an alias", book: "1.2.0.192.in-addr.arpa. PTR a.example.\na.example. CNAME b.example.\nb.example. A 192.0.2.1", addr: "192.0.2.1", want: "+a.example."},
		{name: "no names", book: "1.2.0.192.in-addr.arpa. TXT x", addr: "192.0.2.1", status: NoData},
		{name: "nothing", addr: "192.0.2.1", status: NXDomain},
		{name: "the lookup fails", book: "1.2.0.192.in-addr.arpa. PTR !", addr: "192.0.2.1", fails: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			reverse, err := LookupAddr(t.Context(), newBook(t, test.book), netip.MustParseAddr(test.addr))
			if test.fails {
				require.ErrorIs(t, err, ErrTemporary)
			} else {
				require.NoError(t, err)
				require.Equal(t, test.status, reverse.Status)
			}
			if reverse == nil {
				require.True(t, test.fails)
				return
			}
			got := ""
			for _, name := range reverse.Names {
				switch {
				case name.Confirmed:
					got += "+" + name.Name
				case name.Err != nil:
					got += "?" + name.Name
				default:
					got += "-" + name.Name
				}
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestLookupAddrBounds(t *testing.T) {
	_, err := LookupAddr(t.Context(), book{}, netip.Addr{})
	require.ErrorIs(t, err, ErrName)

	b := book{}
	for i := range 3000 {
		b.add("1.2.0.192.in-addr.arpa.", PTR, fmt.Sprintf("h%d.example.", i))
	}
	counted := &counter{Resolver: b}
	reverse, err := LookupAddr(t.Context(), counted, netip.MustParseAddr("192.0.2.1"))
	require.ErrorIs(t, err, ErrLimit, "a name that was not looked up could be the true one")
	require.Len(t, reverse.Names, 3000)
	require.Equal(t, 1+maxHosts, counted.n)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = LookupAddr(ctx, b, netip.MustParseAddr("192.0.2.1"))
	require.ErrorIs(t, err, context.Canceled)
}
