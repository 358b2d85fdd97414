package dnsx

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// The answers have the forms of the registries that they are named after; their
// content is made up.
var registries = map[string]map[string]string{
	"whois.iana.org": {
		"example.com": "% IANA WHOIS server\n\nrefer:        whois.verisign-grs.com\n\ndomain:       COM\norganisation: VeriSign Global Registry Services\ncreated:      1985-01-01\nnserver:      A.GTLD-SERVERS.NET 192.5.6.30\nstatus:       ACTIVE\n",
		"192.0.2.1":   "refer:        whois.arin.net\n\ninetnum:      192.0.0.0 - 192.255.255.255\norganisation: Administered by ARIN\n",
		"free.com":    "refer: whois.verisign-grs.com\ndomain: COM\ncreated: 1985-01-01\n",
		"loop.test":   "refer: a.test\n",
		"mail.test":   "refer: whois://mail.test:25\n",
		"long.test":   strings.Repeat("x", 1<<20),
		"latin.test":  "domain: latin.test\nregistrar: Espa\xf1a Dominios\n",
	},
	"whois.verisign-grs.com": {
		"example.com": "   Domain Name: EXAMPLE.COM\r\n   Registrar WHOIS Server: whois.registrar.example\r\n   Registrar URL: http://registrar.example\r\n   Updated Date: 2024-08-14T07:01:34Z\r\n   Creation Date: 1995-08-14T04:00:00Z\r\n   Registry Expiry Date: 2025-08-13T04:00:00Z\r\n   Registrar: Example Registrar, Inc.\r\n   Domain Status: clientDeleteProhibited https://icann.org/epp#clientDeleteProhibited\r\n   Domain Status: clientTransferProhibited https://icann.org/epp#clientTransferProhibited\r\n   Name Server: NS1.EXAMPLE.COM\r\n   Name Server: NS2.EXAMPLE.COM\r\n>>> Last update of whois database: 2024-10-01T00:00:00Z <<<\r\n",
		"free.com":    "No match for \"FREE.COM\".\n",
	},
	"whois.registrar.example": {
		"example.com": "Domain Name: example.com\nRegistrar WHOIS Server: whois.registrar.example\nUpdated Date: 2024-08-20\nRegistrant Organization: Ana García\n",
	},
	"whois.arin.net": {
		"192.0.2.1": "NetRange:       192.0.2.0 - 192.0.2.255\nOrgName:        Example Org\nRegDate:        2009-06-29\nUpdated:        2009-06-30\n\nReferralServer: rwhois://rwhois.example:4321\n",
	},
	"a.test": {"loop.test": "refer: b.test\n"},
	"b.test": {"loop.test": "refer: c.test\n"},
	"c.test": {"loop.test": "refer: whois.iana.org\n"},
}

// startRegistries serves registries over a simulated network and returns a way
// to them.
func startRegistries(t *testing.T) func(ctx context.Context, network, address string) (net.Conn, error) {
	nw := &simnet.Network{Link: simnet.Link{Delay: 10 * ms}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	addrs := map[string]netip.Addr{}
	for name, answers := range registries {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(len(addrs) + 1)})
		addrs[name] = addr
		ln, err := nw.Host(addr).Listen("tcp", ":43")
		require.NoError(t, err)
		s := &WhoisServer{Answer: func(_ context.Context, query string) string { return answers[query] }}
		go func() { done <- s.Serve(ctx, ln) }()
	}
	t.Cleanup(func() {
		cancel()
		for range registries {
			require.ErrorIs(t, <-done, context.Canceled)
		}
	})
	us := nw.Host(netip.MustParseAddr("10.0.1.1"))
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		addr, ok := addrs[host]
		if !ok {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return us.DialContext(ctx, network, net.JoinHostPort(addr.String(), port))
	}
}

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func TestWhois(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Whois{Dial: startRegistries(t)}

		r, err := w.Lookup(t.Context(), "example.com")
		require.NoError(t, err)
		var servers []string
		for _, reply := range r.Replies {
			servers = append(servers, reply.Server+" → "+reply.Refer)
			require.NotContains(t, reply.Text, "\r")
		}
		require.Equal(t, []string{
			"whois.iana.org:43 → whois.verisign-grs.com:43",
			"whois.verisign-grs.com:43 → whois.registrar.example:43",
			"whois.registrar.example:43 → whois.registrar.example:43",
		}, servers)
		r.Replies = nil
		require.Equal(t, &WhoisRecord{
			Query: "example.com", Domain: "example.com", Registrar: "Example Registrar, Inc.", Holder: "Ana García",
			Created:     time.Date(1995, 8, 14, 4, 0, 0, 0, time.UTC),
			Updated:     day(2024, 8, 20),
			Expires:     time.Date(2025, 8, 13, 4, 0, 0, 0, time.UTC),
			NameServers: []string{"ns1.example.com", "ns2.example.com"},
			Status:      []string{"clientDeleteProhibited", "clientTransferProhibited"},
		}, r)

		r, err = w.Lookup(t.Context(), " 192.0.2.1\n")
		require.NoError(t, err)
		require.Len(t, r.Replies, 2)
		require.Empty(t, r.Replies[1].Refer, "rwhois is another protocol")
		r.Replies = nil
		require.Equal(t, &WhoisRecord{
			Query: "192.0.2.1", Domain: "192.0.2.0 - 192.0.2.255", Holder: "Example Org",
			Created: day(2009, 6, 29), Updated: day(2009, 6, 30),
		}, r)

		// The top-level domain was created long before; nobody has this one.
		r, err = w.Lookup(t.Context(), "free.com")
		require.NoError(t, err)
		require.Contains(t, r.Replies[1].Text, "No match")
		require.Zero(t, r.Created)
		require.Empty(t, r.Domain)

		r, err = w.Lookup(t.Context(), "latin.test")
		require.NoError(t, err)
		require.Equal(t, "Espa\uFFFDa Dominios", r.Registrar)
	})
}

func TestWhoisReferrals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := startRegistries(t)

		// Back to the first: everybody has been asked once.
		r, err := (&Whois{Dial: dial}).Lookup(t.Context(), "loop.test")
		require.NoError(t, err)
		require.Len(t, r.Replies, 4)

		r, err = (&Whois{Dial: dial, MaxReferrals: 2}).Lookup(t.Context(), "loop.test")
		require.ErrorIs(t, err, ErrWhoisRefers)
		require.Len(t, r.Replies, 3)

		r, err = (&Whois{Dial: dial, MaxReferrals: -1}).Lookup(t.Context(), "loop.test")
		require.NoError(t, err)
		require.Len(t, r.Replies, 1)
		require.Equal(t, "a.test:43", r.Replies[0].Refer)

		r, err = (&Whois{Dial: dial}).Lookup(t.Context(), "mail.test")
		require.NoError(t, err)
		require.Empty(t, r.Replies[0].Refer, "a mail server would take the query for a command")

		// A server that cannot be asked: what came before is kept.
		broken := func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "whois.registrar.example:43" {
				return nil, syscall.ECONNREFUSED
			}
			return dial(ctx, network, address)
		}
		r, err = (&Whois{Dial: broken}).Lookup(t.Context(), "example.com")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "whois.registrar.example:43")
		require.Equal(t, "Example Registrar, Inc.", r.Registrar)
	})
}

func TestWhoisRefused(t *testing.T) {
	w := &Whois{Dial: func(context.Context, string, string) (net.Conn, error) { panic("must not dial") }}
	for _, query := range []string{"", " ", "a\r\nb", "a\nQUIT", "españa.es", "\x00", strings.Repeat("a", 256)} {
		_, err := w.Lookup(t.Context(), query)
		require.ErrorIs(t, err, ErrWhoisQuery, "%q", query)
	}
	for _, server := range []string{"a..b", "whois.test:99999", "whois.test:http", "http://whois.test", ":43", "a b"} {
		w.Server = server
		_, err := w.Lookup(t.Context(), "example.com")
		require.Error(t, err, server)
	}
}

// Servers that never answer, never end, or send too much.
func TestWhoisBadServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			serve func(conn net.Conn)
			want  error
		}{
			"silent":  {func(conn net.Conn) { io.Copy(io.Discard, conn) }, context.DeadlineExceeded},
			"endless": {func(conn net.Conn) { go io.Copy(io.Discard, conn); writeFor(conn, "a: b\n", 0) }, ErrWhoisSize},
			"slow":    {func(conn net.Conn) { go io.Copy(io.Discard, conn); writeFor(conn, "a", time.Second) }, context.DeadlineExceeded},
		} {
			t.Log(name)
			var servers sync.WaitGroup
			w := &Whois{Dial: func(context.Context, string, string) (net.Conn, error) {
				conn, other := net.Pipe()
				servers.Go(func() { test.serve(other); other.Close() })
				return conn, nil
			}}
			start := time.Now()
			_, err := w.Lookup(t.Context(), "example.com")
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, "whois.iana.org:43")
			require.LessOrEqual(t, time.Since(start), 10*time.Second)

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = w.Lookup(ctx, "example.com")
			require.ErrorIs(t, err, context.Canceled)
			servers.Wait()
		}
	})
}

// writeFor writes text until it fails.
func writeFor(conn net.Conn, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// Clients that say nothing, too much, or never take the answer, and more of them
// than are served at a time.
func TestWhoisServerBadClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nw := &simnet.Network{}
		server, client := nw.Host(netip.MustParseAddr("10.0.0.1")), nw.Host(netip.MustParseAddr("10.0.0.2"))
		ln, err := server.Listen("tcp", ":43")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		s := &WhoisServer{Answer: func(_ context.Context, q string) string { return "you said " + q + "\n" }}
		go func() { done <- s.Serve(ctx, ln) }()

		var idle []net.Conn
		for range 100 { // they say nothing
			conn, err := client.Dial("tcp", "10.0.0.1:43")
			require.NoError(t, err)
			idle = append(idle, conn)
		}
		_, err = io.WriteString(idle[0], strings.Repeat("x", 300))
		require.NoError(t, err)
		_, err = idle[0].Read(make([]byte, 1))
		require.Error(t, err, "too long a line ends the connection")

		// Who waits behind them is served once their time is over.
		w := &Whois{Dial: client.DialContext, Server: "10.0.0.1", Timeout: time.Minute}
		r, err := w.Lookup(t.Context(), "hola")
		require.NoError(t, err)
		require.Equal(t, "you said hola\n", r.Replies[0].Text)

		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		for _, conn := range idle {
			conn.Close()
		}
	})
}

func TestWhoisDates(t *testing.T) {
	for text, want := range map[string]time.Time{
		"1995-08-14T04:00:00Z":        time.Date(1995, 8, 14, 4, 0, 0, 0, time.UTC),
		"1995-08-14T04:00:00+02:00":   time.Date(1995, 8, 14, 2, 0, 0, 0, time.UTC),
		"1995-08-14T04:00:00.0Z":      time.Date(1995, 8, 14, 4, 0, 0, 0, time.UTC),
		"1995-08-14T04:00:00+0200":    time.Date(1995, 8, 14, 2, 0, 0, 0, time.UTC),
		"1995-08-14 04:00:00 (UTC+0)": time.Date(1995, 8, 14, 4, 0, 0, 0, time.UTC),
		"1995-08-14":                  day(1995, 8, 14),
		"1995.08.14":                  day(1995, 8, 14),
		"1995/08/14":                  day(1995, 8, 14),
		"19950814 #12345":             day(1995, 8, 14),
		"14.08.1995":                  day(1995, 8, 14),
		"14-Aug-1995":                 day(1995, 8, 14),
		"14-aug-1995":                 day(1995, 8, 14),
		"before Aug-1996":             {},
		"":                            {},
		"ana@example.com 19950814":    {},
	} {
		var got time.Time
		setDate(&got, text)
		require.Equal(t, want, got, text)
	}
}

func FuzzParseWhois(f *testing.F) {
	for _, answers := range registries {
		for _, text := range answers {
			f.Add(text[:min(len(text), 2000)])
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, refer := parseWhois(text)
		require.LessOrEqual(t, len(r.NameServers), maxValues)
		require.LessOrEqual(t, len(r.Status), maxValues)
		if refer != "" { // it is a server, and stays the same
			again, err := whoisServer(refer)
			require.NoError(t, err)
			require.Equal(t, refer, again)
		}
		record := WhoisRecord{Query: "example.com"}
		require.Equal(t, refer, record.add(text))
		require.Equal(t, "example.com", record.Query)
	})
}

func BenchmarkParseWhois(b *testing.B) {
	text := registries["whois.verisign-grs.com"]["example.com"]
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if r, _ := parseWhois(text); r.Domain == "" {
			b.Fatal(fmt.Sprint(r))
		}
	}
}
