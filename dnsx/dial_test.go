package dnsx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// slow delays the lookups of a type.
type slow struct {
	Resolver
	delay map[Type]time.Duration
}

func (s slow) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	select {
	case <-time.After(s.delay[typ]):
		return s.Resolver.Resolve(ctx, name, typ)
	case <-ctx.Done():
		return nil, &Error{Name: name, Type: typ, Err: errors.Join(ErrTemporary, context.Cause(ctx))}
	}
}

const ms = time.Millisecond

// TestDial plays Happy Eyeballs on virtual time: what happens, at which
// millisecond. The host www.example has the addresses 2001:db8::1, 2001:db8::2,
// 192.0.2.1 and 192.0.2.2.
func TestDial(t *testing.T) {
	for _, test := range []struct {
		name    string
		network string            // "tcp" if empty
		host    string            // www.example if empty
		a, aaaa time.Duration     // how long the lookups take
		book    string            // lines that replace the usual ones
		peers   map[string]string // "refuses", "silent", or "a connection takes so long"; others answer at once
		limit   time.Duration     // of the context; 0 means none
		set     func(*Dialer)
		want    string
	}{
		{name: "all is well", want: "0 AAAA; 0 try 2001:db8::1; 0 A; 0 won 2001:db8::1"},
		{name: "IPv6 answers first", a: 30 * ms, want: "0 AAAA; 0 try 2001:db8::1; 0 won 2001:db8::1"},
		{name: "IPv4 waits a little for IPv6", aaaa: 30 * ms, want: "0 A; 30 AAAA; 30 try 2001:db8::1; 30 won 2001:db8::1"},
		{name: "but not for long", aaaa: 300 * ms, want: "0 A; 50 try 192.0.2.1; 50 won 192.0.2.1"},
		{name: "and not if there is none", aaaa: 20 * ms, book: "www.example. A 192.0.2.1", want: "0 A; 20 AAAA; 20 try 192.0.2.1; 20 won 192.0.2.1"},
		{name: "and not if its lookup fails", aaaa: 20 * ms, book: "www.example. A 192.0.2.1\nwww.example. AAAA !", want: "0 A; 20 AAAA fails; 20 try 192.0.2.1; 20 won 192.0.2.1"},
		{name: "another resolution delay", aaaa: 300 * ms, set: func(d *Dialer) { d.ResolutionDelay = 200 * ms }, want: "0 A; 200 try 192.0.2.1; 200 won 192.0.2.1"},
		{name: "no resolution delay", aaaa: 300 * ms, set: func(d *Dialer) { d.ResolutionDelay = -1 }, want: "0 A; 0 try 192.0.2.1; 0 won 192.0.2.1"},
		{
			name: "IPv6 is broken", peers: map[string]string{"2001:db8::1": "silent", "2001:db8::2": "silent"},
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 250 try 192.0.2.1; 250 won 192.0.2.1",
		},
		{
			name: "another attempt delay", peers: map[string]string{"2001:db8::1": "silent"}, set: func(d *Dialer) { d.AttemptDelay = 100 * ms },
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 100 try 192.0.2.1; 100 won 192.0.2.1",
		},
		{
			name: "no flood of attempts", peers: map[string]string{"2001:db8::1": "silent", "192.0.2.1": "silent"}, set: func(d *Dialer) { d.AttemptDelay = 1 },
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 10 try 192.0.2.1; 20 try 2001:db8::2; 20 won 2001:db8::2",
		},
		{
			name: "who is refused tries on at once", peers: map[string]string{"2001:db8::1": "refuses"},
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 0 lost 2001:db8::1; 0 try 192.0.2.1; 0 won 192.0.2.1",
		},
		{
			name: "a slow one may still win", peers: map[string]string{"2001:db8::1": "300ms", "192.0.2.1": "400ms"},
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 250 try 192.0.2.1; 300 won 2001:db8::1",
		},
		{
			name: "families take turns", peers: map[string]string{"2001:db8::1": "silent", "192.0.2.1": "silent", "2001:db8::2": "silent"},
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 250 try 192.0.2.1; 500 try 2001:db8::2; 750 try 192.0.2.2; 750 won 192.0.2.2",
		},
		{
			name: "addresses that come late", aaaa: 300 * ms, peers: map[string]string{"192.0.2.1": "silent", "192.0.2.2": "silent"},
			want: "0 A; 50 try 192.0.2.1; 300 AAAA; 300 try 2001:db8::1; 300 won 2001:db8::1",
		},
		{
			name: "all refuse", book: "www.example. A 192.0.2.1\nwww.example. AAAA 2001:db8::1", peers: map[string]string{"2001:db8::1": "refuses", "192.0.2.1": "refuses"},
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 0 lost 2001:db8::1; 0 try 192.0.2.1; 0 lost 192.0.2.1; 0 refused 2",
		},
		{
			name: "all are silent", book: "www.example. A 192.0.2.1\nwww.example. AAAA 2001:db8::1", peers: map[string]string{"2001:db8::1": "silent", "192.0.2.1": "silent"},
			want: "0 AAAA; 0 try 2001:db8::1; 0 A; 250 try 192.0.2.1; 60000 lost 2001:db8::1; 60250 lost 192.0.2.1; 60250 timed out 2",
		},
		{
			name: "the context ends", book: "www.example. A 192.0.2.1", peers: map[string]string{"192.0.2.1": "silent"}, limit: time.Second,
			want: "0 AAAA; 0 A; 0 try 192.0.2.1; 1000 lost 192.0.2.1; 1000 deadline 1",
		},
		{name: "the context ends before a lookup", a: time.Minute, aaaa: time.Minute, limit: time.Second, want: "1000 deadline 0"},
		{name: "no such name", host: "nothing.example", want: "0 AAAA; 0 A; 0 not found 0"},
		{name: "no address", book: "www.example. TXT x", want: "0 AAAA; 0 A; 0 not found 0"},
		{name: "the name service fails", book: "www.example. A !\nwww.example. AAAA !", want: "0 AAAA fails; 0 A fails; 0 temporary 0"},
		{name: "the name service fails for one family, the other has none", book: "www.example. A !", want: "0 AAAA; 0 A fails; 0 temporary 0"},
		{
			name: "the name service fails for one family, the other refuses", book: "www.example. A !\nwww.example. AAAA 2001:db8::1", peers: map[string]string{"2001:db8::1": "refuses"},
			want: "0 AAAA; 0 try 2001:db8::1; 0 A fails; 0 lost 2001:db8::1; 0 refused 1",
		},
		{name: "IPv4 only", network: "tcp4", want: "0 A; 0 try 192.0.2.1; 0 won 192.0.2.1"},
		{name: "IPv6 only", network: "tcp6", want: "0 AAAA; 0 try 2001:db8::1; 0 won 2001:db8::1"},
		{name: "an address", host: "192.0.2.2", want: "0 try 192.0.2.2; 0 won 192.0.2.2"},
		{name: "an address of the wrong family", network: "tcp6", host: "192.0.2.2", want: "0 not found 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := test.network
				if network == "" {
					network = "tcp"
				}
				host := test.host
				if host == "" {
					host = "www.example"
				}
				lines := test.book
				if lines == "" {
					lines = "www.example. A 192.0.2.1\nwww.example. A 192.0.2.2\nwww.example. AAAA 2001:db8::1\nwww.example. AAAA 2001:db8::2"
				}
				start := time.Now()
				var events []string
				event := func(format string, args ...any) {
					events = append(events, fmt.Sprint(time.Since(start).Milliseconds(), " ", fmt.Sprintf(format, args...)))
				}
				var closed atomic.Int32
				d := &Dialer{
					// The nanosecond puts what happens in one instant in order.
					Resolver: slow{newBook(t, lines), map[Type]time.Duration{A: test.a + 1, AAAA: test.aaaa}},
					Source:   SourceFrom(addrList("2001:db8::7 192.0.2.7")...),
					Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
						addr := netip.MustParseAddrPort(address)
						require.EqualValues(t, 80, addr.Port())
						fail := func(err error) (net.Conn, error) {
							return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(addr), Err: err}
						}
						wait := 2 * time.Nanosecond // after both lookups
						switch how := test.peers[addr.Addr().String()]; how {
						case "", "refuses":
						case "silent":
							wait = time.Minute
						default:
							wait, _ = time.ParseDuration(how)
						}
						select {
						case <-time.After(wait):
						case <-ctx.Done():
							return fail(ctx.Err())
						}
						if test.peers[addr.Addr().String()] == "refuses" {
							return fail(syscall.ECONNREFUSED)
						}
						if wait == time.Minute {
							return fail(syscall.ETIMEDOUT)
						}
						conn, other := net.Pipe()
						go func() { io.Copy(io.Discard, other); closed.Add(1) }()
						return conn, nil
					},
					Trace: &DialTrace{
						Resolved: func(typ Type, answer *Answer, err error) {
							if err != nil {
								event("%s fails", typ)
							} else {
								event("%s", answer.Type)
							}
						},
						Started: func(a netip.AddrPort) { event("try %s", a.Addr()) },
						Failed:  func(a netip.AddrPort, err error) { event("lost %s", a.Addr()) },
						Won:     func(a netip.AddrPort) { event("won %s", a.Addr()) },
					},
				}
				if test.set != nil {
					test.set(d)
				}
				ctx, cancel := context.WithCancel(t.Context())
				if test.limit > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), test.limit)
				}
				defer cancel()
				conn, err := d.DialContext(ctx, network, net.JoinHostPort(host, "http"))
				if err != nil {
					e, ok := errors.AsType[*DialError](err)
					require.True(t, ok, "%v", err)
					for what, sentinel := range map[string]error{
						"not found": ErrNotFound, "deadline": context.DeadlineExceeded,
						"refused": syscall.ECONNREFUSED, "timed out": syscall.ETIMEDOUT,
					} {
						if errors.Is(err, sentinel) {
							event("%s %d", what, len(e.Attempts))
						}
					}
					if len(e.Attempts) == 0 && errors.Is(err, ErrTemporary) {
						event("temporary 0")
					}
				} else {
					require.NoError(t, conn.Close())
					synctest.Wait()
					require.EqualValues(t, 1, closed.Load(), "every other connection has been closed, too")
				}
				require.Equal(t, test.want, strings.Join(events, "; "), "%v", err)
			})
		})
	}
}

// Two connections come about in the same instant: one is returned, the other one
// closed.
func TestDialTie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var opened, closed atomic.Int32
		d := &Dialer{
			Resolver: newBook(t, "www.example. A 192.0.2.1\nwww.example. AAAA 2001:db8::1"),
			Source:   SourceFrom(addrList("2001:db8::7 192.0.2.7")...),
			Dial: func(context.Context, string, string) (net.Conn, error) {
				time.Sleep(time.Until(start.Add(time.Second))) // whatever the context says
				conn, other := net.Pipe()
				opened.Add(1)
				go func() { io.Copy(io.Discard, other); closed.Add(1) }()
				return conn, nil
			},
		}
		conn, err := d.DialContext(t.Context(), "tcp", "www.example:80")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []int32{2, 1}, []int32{opened.Load(), closed.Load()})
		conn.Close()
	})
}

// The same over a simulated network: IPv6 loses every packet on its way.
func TestDialSimnet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := &simnet.Network{Link: simnet.Link{Delay: 20 * ms}}
		our, their := addrList("192.0.2.7 2001:db8::7"), addrList("192.0.2.1 2001:db8::1")
		us, them := nw.Host(our[0], our[1]), nw.Host(their[0], their[1])
		nw.SetLink(our[1], their[1], simnet.Link{Down: true})
		ln, err := them.Listen("tcp", ":80")
		require.NoError(t, err)
		defer ln.Close()
		start := time.Now()
		d := &Dialer{
			Resolver: newBook(t, "www.example. A 192.0.2.1\nwww.example. AAAA 2001:db8::1"),
			Source:   SourceFrom(our...),
			Dial:     us.DialContext,
		}
		conn, err := d.DialContext(t.Context(), "tcp", "www.example:80")
		require.NoError(t, err)
		defer conn.Close()
		require.Equal(t, "192.0.2.1:80", conn.RemoteAddr().String())
		require.Equal(t, 290*ms, time.Since(start).Truncate(ms), "a quarter of a second, and a round trip")
	})
}

func TestDialArguments(t *testing.T) {
	d := &Dialer{}
	for _, test := range [][3]string{
		{"udp", "www.example:80", "unknown network udp"},
		{"", "www.example:80", "unknown network "},
		{"tcp", "www.example", "missing port"},
		{"tcp", "www.example:no-such-service", "no service"},
		{"tcp", "www.example:80", "without a Resolver"},
	} {
		_, err := d.DialContext(t.Context(), test[0], test[1])
		require.ErrorContains(t, err, test[2])
	}
}

// A name may have thousands of addresses; not all are tried.
func TestDialManyAddresses(t *testing.T) {
	b := book{}
	for i := range 2000 {
		b.add("www.example.", A, fmt.Sprintf("10.0.%d.%d", i/250, i%250))
		b.add("www.example.", AAAA, fmt.Sprintf("2001:db8::%d", i))
	}
	d := &Dialer{
		Resolver: b,
		Source:   SourceFrom(addrList("2001:db8::7 10.9.9.9")...),
		Dial:     func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
	}
	_, err := d.DialContext(t.Context(), "tcp", "www.example:80")
	e, ok := errors.AsType[*DialError](err)
	require.True(t, ok)
	require.Len(t, e.Attempts, maxAttempts)
	require.NotContains(t, err.Error(), "\n")
}

// On real sockets, nothing is given: addresses need no Resolver.
func TestDialLoopback(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	conn, err := new(Dialer).DialContext(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	require.NoError(t, err)
	require.Equal(t, ln.Addr().String(), conn.RemoteAddr().String())
	conn.Close()
}
