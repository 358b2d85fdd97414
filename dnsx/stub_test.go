package dnsx_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
)

// serve starts a recursive server at the address that stands for 127.53.a.b,
// and returns its address.
func (l *lab) serve(t *testing.T, a, b byte, resolver dnsx.Resolver) netip.AddrPort {
	t.Helper()
	addr := netip.AddrPortFrom(l.Addr(a, b), 53)
	host := l.network.Host(addr.Addr())
	pc, err := host.ListenPacket("udp", addr.String())
	require.NoError(t, err)
	ln, err := host.Listen("tcp", addr.String())
	require.NoError(t, err)
	server := &dnsx.Server{Resolver: resolver, AllowRecursion: func(netip.Addr) bool { return true }}
	done := make(chan error, 1)
	go func() { done <- server.Serve(t.Context(), pc, ln) }()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return addr
}

func TestStub(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		server := l.serve(t, 99, 1, &dnsx.Cache{Resolver: l.resolver})
		stub := &dnsx.Stub{Servers: []netip.AddrPort{server}, Client: dnsx.Client{Dial: l.Dial, Timeout: 20 * time.Second}}
		for _, test := range []struct {
			name   string
			typ    dnsx.Type
			status dnsx.Status
		}{
			{"www.example.com.", dnsx.A, dnsx.OK},
			{"www.old.example.org.", dnsx.A, dnsx.OK},
			{"alias.example.org", dnsx.MX, dnsx.OK},
			{"big.example.com.", dnsx.TXT, dnsx.OK},
			{"example.com.", dnsx.SRV, dnsx.NoData},
			{"nobody.example.com.", dnsx.A, dnsx.NXDomain},
			{"dangling.example.org.", dnsx.A, dnsx.NXDomain},
		} {
			want, err := l.resolver.Resolve(t.Context(), test.name, test.typ)
			require.NoError(t, err)
			for range 2 { // from the server's resolver, then from its cache
				a, err := stub.Resolve(t.Context(), test.name, test.typ)
				require.NoError(t, err, test.name)
				require.Equal(t, test.status, a.Status, test.name)
				require.Equal(t, want.Canonical, a.Canonical, test.name)
				require.ElementsMatch(t, data(want), data(a), test.name)
				require.Equal(t, a.Status == dnsx.OK, a.SOA == nil)
			}
		}
		_, err := stub.Resolve(t.Context(), "www.failing.test.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrTemporary)
		require.ErrorContains(t, err, "SERVFAIL")
	})
}

// A server that is silent, refuses, or does not do the work is no reason to
// give up while there are others.
func TestStubAsksTheNext(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		good := l.serve(t, 99, 1, l.resolver)
		at := func(a, b byte) netip.AddrPort { return netip.AddrPortFrom(l.Addr(a, b), 53) }
		for _, bad := range []struct {
			name string
			addr netip.AddrPort
			took time.Duration
		}{
			{"silent", at(20, 1), 5 * time.Second},
			{"refusing", at(20, 4), 0},
			{"failing", at(20, 5), 0},
			{"garbage", at(20, 6), 5 * time.Second},
			{"nobody", at(99, 99), 5 * time.Second},
			{"not recursive", at(0, 1), 0},
		} {
			stub := &dnsx.Stub{Servers: []netip.AddrPort{bad.addr, good}, Client: dnsx.Client{Dial: l.Dial}}
			began := time.Now()
			a, err := stub.Resolve(t.Context(), "www.example.com.", dnsx.A)
			require.NoError(t, err, bad.name)
			require.Equal(t, []string{"www.example.com. A 10.53.10.10"}, data(a))
			require.GreaterOrEqual(t, time.Since(began), bad.took, "virtual time: %s", bad.name)

			stub.Servers = stub.Servers[:1]
			began = time.Now()
			_, err = stub.Resolve(t.Context(), "www.example.com.", dnsx.A)
			require.ErrorIs(t, err, dnsx.ErrTemporary, bad.name)
			require.GreaterOrEqual(t, time.Since(began), 2*bad.took, "two attempts: %s", bad.name)
			typed, ok := errors.AsType[*dnsx.Error](err)
			require.True(t, ok)
			require.Equal(t, bad.addr, typed.Server)
		}
		_, err := new(dnsx.Stub).Resolve(t.Context(), "www.example.com.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrTemporary)
	})
}

func TestSearchList(t *testing.T) {
	stub := &dnsx.Stub{Search: []string{"cs.unizocalo.es.", "example.com.", "example.com."}}
	for _, test := range []struct {
		name  string
		ndots int
		want  []string
	}{
		{"www.", 0, []string{"www."}},
		{"www", 0, []string{"www.cs.unizocalo.es.", "www.example.com.", "www."}},
		{"WWW.old", 0, []string{"www.old.", "www.old.cs.unizocalo.es.", "www.old.example.com."}},
		{"www.old", 2, []string{"www.old.cs.unizocalo.es.", "www.old.example.com.", "www.old."}},
		{strings.Repeat("a.", 121) + "a", 0, []string{strings.Repeat("a.", 122)}}, // no room below
		{`a\.b`, 0, []string{`a\.b.cs.unizocalo.es.`, `a\.b.example.com.`, `a\.b.`}},
	} {
		stub.Ndots = test.ndots
		got, err := stub.Candidates(test.name)
		require.NoError(t, err)
		require.Equal(t, test.want, got)
	}
	_, err := stub.Candidates("a..b")
	require.ErrorIs(t, err, dnsx.ErrName)

	inLab(t, func(t *testing.T, l *lab) {
		stub := &dnsx.Stub{
			Servers: []netip.AddrPort{l.serve(t, 99, 1, l.resolver)},
			Client:  dnsx.Client{Dial: l.Dial, Timeout: 20 * time.Second},
			Search:  []string{"nowhere.example.net.", "example.com."},
		}
		a, err := stub.Resolve(t.Context(), "www", dnsx.A)
		require.NoError(t, err)
		require.Equal(t, "www.example.com.", a.Name)
		a, err = stub.Resolve(t.Context(), "nobody", dnsx.A)
		require.NoError(t, err)
		require.Equal(t, "nobody.", a.Name)
		require.Equal(t, dnsx.NXDomain, a.Status)

		// One that cannot be asked might have known: that is not "no".
		stub.Search = []string{"failing.test.", "example.net."}
		_, err = stub.Resolve(t.Context(), "nobody", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrTemporary)
	})
}

func TestParseResolvConf(t *testing.T) {
	stub, err := dnsx.ParseResolvConf(strings.NewReader(`
# a comment
; another
domain old.example.com
nameserver 192.0.2.1 # the first
nameserver
nameserver not-an-address
nameserver fe80::1%eth0
nameserver 2001:db8::53
nameserver 192.0.2.4
search example.com Example.ORG. bad..name
options ndots:3 timeout:7 attempts:99 rotate use-vc trust-ad unknown:1 ndots:x
sortlist 130.155.160.0/255.255.240.0
`))
	require.NoError(t, err)
	require.Equal(t, &dnsx.Stub{
		Servers: []netip.AddrPort{
			netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 0),
			netip.AddrPortFrom(netip.MustParseAddr("fe80::1%eth0"), 0),
			netip.AddrPortFrom(netip.MustParseAddr("2001:db8::53"), 0),
		},
		Client: dnsx.Client{Timeout: 7 * time.Second, TCP: true},
		Search: []string{"example.com.", "example.org."},
		Ndots:  3, Attempts: 5, Rotate: true, TrustAD: true,
	}, stub)

	stub, err = dnsx.ParseResolvConf(strings.NewReader(""))
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:0", stub.Servers[0].String())

	_, err = dnsx.ParseResolvConf(strings.NewReader(strings.Repeat("x", 1<<17)))
	require.Error(t, err)
	_, err = dnsx.ParseHosts(strings.NewReader(strings.Repeat("127.0.0.1 x\n", 1<<21)))
	require.ErrorContains(t, err, "too long")
}

func TestHosts(t *testing.T) {
	hosts, err := dnsx.ParseHosts(strings.NewReader(`
127.0.0.1	localhost
127.0.1.1	Machine.example.com machine # this one
::1		localhost ip6-localhost
192.0.2.9	server server.example.com
2001:db8::9	server
192.0.2.10	server
not-an-address	nobody
192.0.2.11	bad..name good
`))
	require.NoError(t, err)
	stub := &dnsx.Stub{Hosts: hosts}
	for _, test := range []struct {
		name      string
		typ       dnsx.Type
		status    dnsx.Status
		canonical string
		want      []string
	}{
		{"localhost", dnsx.A, dnsx.OK, "localhost.", []string{"localhost. A 127.0.0.1"}},
		{"localhost", dnsx.AAAA, dnsx.OK, "localhost.", []string{"localhost. AAAA ::1"}},
		{"www.localhost.", dnsx.AAAA, dnsx.OK, "www.localhost.", []string{"www.localhost. AAAA ::1"}},
		{"machine", dnsx.A, dnsx.OK, "machine.example.com.", []string{"machine. CNAME machine.example.com.", "machine.example.com. A 127.0.1.1"}},
		{"machine", dnsx.AAAA, dnsx.NoData, "machine.example.com.", []string{"machine. CNAME machine.example.com."}},
		{"SERVER.", dnsx.A, dnsx.OK, "server.", []string{"server. A 192.0.2.9", "server. A 192.0.2.10"}},
		{"good", dnsx.A, dnsx.OK, "good.", []string{"good. A 192.0.2.11"}},
		{"9.2.0.192.in-addr.arpa.", dnsx.PTR, dnsx.OK, "9.2.0.192.in-addr.arpa.", []string{"9.2.0.192.in-addr.arpa. PTR server."}},
	} {
		a, err := stub.Resolve(t.Context(), test.name, test.typ)
		require.NoError(t, err, test.name)
		require.Equal(t, test.status, a.Status, test.name)
		require.Equal(t, test.canonical, a.Canonical, test.name)
		require.Equal(t, test.want, data(a), test.name)
	}
	for _, name := range []string{"nobody", "8.2.0.192.in-addr.arpa."} {
		_, err := stub.Resolve(t.Context(), name, dnsx.PTR)
		require.ErrorIs(t, err, dnsx.ErrTemporary, "there is no server to ask")
	}
}
