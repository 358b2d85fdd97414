package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

// ask asks a server that a test has started.
func ask(t *testing.T, server, name string, typ dnsx.Type) *dnsx.Message {
	t.Helper()
	client := &dnsx.Client{Timeout: clitest.Limit}
	m, err := client.Exchange(t.Context(), netip.MustParseAddrPort(server), dnsx.NewQuery(name, typ))
	require.NoError(t, err)
	return m
}

func TestServer(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, test := range []struct {
		name string
		typ  string
		data string
	}{
		{"mail.brotes.com.", "A", "127.53.50.20"},
		{"mail.brotes.com.", "AAAA", "2001:db8:53:50::20"},
		{"brotes.com.", "NS", "ns1.brotes.com."},
		{"brotes.com.", "MX", "10 mail.brotes.com."},
		{"shop.brotes.com.", "CNAME", "www.brotes.com."},
		{"brotes.com.", "TXT", `"v=spf1 mx -all"`},
		{"brotes.com.", "LOC", "19 19 30.000 N 99 11 20.000 W 2240m 30m 10m 10m"},
		{"ana.brotes.com.", "CERT", "PGP 0 0 bGxhdmUgZGUgQW5h"},
		{"viveros.brotes.com.", "DNAME", "brotes.com."},
		{"mail.viveros.brotes.com.", "CNAME", "mail.brotes.com."},
		{"20.50.53.127.in-addr.arpa.", "PTR", "mail.brotes.com."},
	} {
		typ, err := dnsx.ParseType(test.typ)
		require.NoError(t, err)
		m := ask(t, srv.Addr, test.name, typ)
		require.True(t, m.Authoritative, test.name)
		var list []string
		for _, r := range m.Answer {
			list = append(list, r.Data)
		}
		require.Contains(t, list, test.data)
	}
	require.Equal(t, dnsx.RcodeNXDomain, ask(t, srv.Addr, "nothing.brotes.com.", dnsx.A).Rcode)
	require.Equal(t, dnsx.RcodeRefused, ask(t, srv.Addr, "www.example.com.", dnsx.A).Rcode)
	out := srv.Stdout.WaitFor(t, " A over udp: REFUSED, 44 octets\n")
	require.Contains(t, strings.ToLower(out), " nothing.brotes.com. a over udp: nxdomain, ")
}

func TestHits(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-quiet")
	got := clitest.Run(t, "", "hits", "-server", srv.Addr, "-n", "40", "www.brotes.com")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 4, strings.Count(got.Stdout, "     10  ####"), got.Stdout)
	got = clitest.Run(t, "", "hits", "-server", srv.Addr, "-n", "3", "nothing.brotes.com")
	require.Equal(t, "  no address           3  ########################################\n", got.Stdout)
}

func TestRegistrar(t *testing.T) {
	got := clitest.Run(t, "", "registrar")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "for brotes.com., to be put into the zone above it:\n")
	require.Contains(t, got.Stdout, "  ns1.brotes.com.\t300\tIN\tA\t127.53.50.1\n")
	require.Equal(t, 6, strings.Count(got.Stdout, "\tIN\t"))
}

// write makes a zone file.
func write(t *testing.T, name, text string) {
	t.Helper()
	// Written aside and renamed: nobody shall read half of it.
	require.NoError(t, os.WriteFile(name+".new", []byte(text), 0o666))
	require.NoError(t, os.Rename(name+".new", name))
}

const small = "$ORIGIN z.test.\n$TTL 60\n@ SOA ns h 1 3600 600 604800 60\n@ NS ns\nns A 127.0.0.1\n"

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "z.zone")
	for _, test := range [][2]string{
		{small + "www A 127.0.0\n", "dnsx: z.zone:6: bad A A: \"127.0.0\"\n"},
		{small + "www CNAME ns\nwww A 127.0.0.1\n", "dnsx: z.zone:7: www.z.test. A: beside a CNAME record\n"},
		{"", "dnsx: z.zone: no records\n"},
		{strings.Repeat("\xff", 100), "dnsx: z.zone:1: "},
	} {
		write(t, file, test[0])
		for _, command := range [][]string{{"check", file}, {"server", "-port", "0", "-zone", file}, {"registrar", "-zone", file}} {
			got := clitest.Run(t, "", command...)
			require.Equal(t, 1, got.Status)
			require.Contains(t, got.Stderr, test[1])
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"))
			require.Empty(t, got.Stdout)
		}
	}
	write(t, file, small+"sub NS ns.sub\n")
	got := clitest.Run(t, "", "check", file)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "warning: z.zone: sub.z.test. NS: no glue")
	require.Contains(t, got.Stdout, "zone z.test., serial 1, 4 records\n")
	got = clitest.Run(t, "", "check", filepath.Join(dir, "none"))
	require.Equal(t, 1, got.Status)
}

func TestUsage(t *testing.T) {
	for _, args := range []string{
		"hits", "hits www.brotes.com", "hits -server here www.brotes.com", "hits -server 127.0.0.1:1 a..b", "check",
		"secondary", "secondary -primary 127.0.0.1:1 a..b", "secondary brotes.com", "server -notify x", "server -reload -1s",
	} {
		got := clitest.Run(t, "", strings.Fields(args)...)
		require.Equal(t, 2, got.Status, "%s: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}

// A file that changes becomes a new zone at the primary and, by NOTIFY, at the
// secondary; one that is wrong changes nothing.
func TestPrimaryAndSecondary(t *testing.T) {
	file := filepath.Join(t.TempDir(), "z.zone")
	write(t, file, small)
	// The secondary has to be known to the primary, and the primary to the secondary: one port is found first.
	pc, ln, err := dnsx.Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	at := ln.Addr().String()
	require.NoError(t, errors.Join(pc.Close(), ln.Close()))
	primary := clitest.Start(t, "server", "-port", "0", "-zone", file, "-transfer", "-reload", "20ms", "-notify", at)
	_, port, _ := net.SplitHostPort(at)
	second := clitest.Start(t, "secondary", "-primary", primary.Addr, "-port", port, "z.test")
	second.Stdout.WaitFor(t, "transferred z.test. serial 1: 3 records\n")
	require.Equal(t, dnsx.RcodeNXDomain, ask(t, second.Addr, "www.z.test.", dnsx.A).Rcode)

	write(t, file, strings.Replace(small, "h 1 ", "h 2 ", 1)+"www A 127.0.0.9\n")
	primary.Stdout.WaitFor(t, "zone z.test. serial 2\n")
	out := second.Stdout.WaitFor(t, "transferred z.test. serial 2: 4 records\n")
	require.Contains(t, out, "the primary says that the zone has changed\n")
	m := ask(t, second.Addr, "www.z.test.", dnsx.A)
	require.True(t, m.Authoritative)
	require.Equal(t, "127.0.0.9", m.Answer[0].Data)

	write(t, file, small+"www A\n") // longer than the first, so that its time or size differ
	primary.Stdout.WaitFor(t, "not taken: dnsx: z.zone:6: www.z.test. A: no data\n")
	require.Equal(t, "127.0.0.9", ask(t, primary.Addr, "www.z.test.", dnsx.A).Answer[0].Data)
	write(t, file, strings.Replace(small, "h 1 ", "h 2 ", 1))
	primary.Stdout.WaitFor(t, "still has the serial 2")
	require.Equal(t, 0, second.Stop())
	require.Equal(t, 0, primary.Stop())
}

func TestSecondaryRefused(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0") // without -transfer
	got := clitest.Run(t, "", "secondary", "-primary", srv.Addr, "-port", "0", "brotes.com")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "transfer of brotes.com.: the primary says REFUSED")
	got = clitest.Run(t, "", "secondary", "-primary", srv.Addr, "-port", "0", "example.com")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "does not have the zone example.com.: REFUSED")
}

// A primary that sends nonsense, stops in between or never ends gives an error.
func TestBadTransfers(t *testing.T) {
	soa := dnsx.Record{Name: "z.test.", Type: dnsx.SOA, TTL: time.Minute, Data: "ns.z.test. h.z.test. 1 2 3 4 5"}
	ns := dnsx.Record{Name: "z.test.", Type: dnsx.NS, TTL: time.Minute, Data: "ns.z.test."}
	pack := func(rcode dnsx.Rcode, records ...dnsx.Record) []byte {
		wire, err := (&dnsx.Message{Header: dnsx.Header{Response: true, Rcode: rcode}, Answer: records}).Pack()
		require.NoError(t, err)
		return wire
	}
	for _, test := range []struct {
		name string
		sent [][]byte
		want string
	}{
		{"nothing", nil, "unexpected EOF"},
		{"garbage", [][]byte{[]byte("hello")}, "message of 5 octets"},
		{"no SOA first", [][]byte{pack(0, ns)}, "does not begin with a SOA record"},
		{"no end", [][]byte{pack(0, soa, ns)}, "unexpected EOF"},
		{"no records", [][]byte{pack(0, soa), pack(0)}, "a message without records"},
		{"a zone that is none", [][]byte{pack(0, soa, soa)}, "has no NS record"},
		{"an error later", [][]byte{pack(0, soa), pack(dnsx.RcodeServFail)}, "SERVFAIL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				c := framing.NewConn(theirs, framing.Prefix{Width: 2}, nil)
				defer c.Close()
				if _, err := c.Receive(t.Context()); err != nil {
					return
				}
				for _, msg := range test.sent {
					if c.Send(t.Context(), msg) != nil {
						return
					}
				}
			}()
			_, err := transfer(t.Context(), ours, "z.test.")
			require.ErrorContains(t, err, test.want)
			<-done
		})
	}
}

// Without a word of the primary the zone is asked for again and again, and in
// the end given up: what is so old may be wrong.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no way") }
		var out strings.Builder
		c := newCopy("z.test.", netip.MustParseAddrPort("192.0.2.1:53"), silent, &out)
		var err error
		c.zone, err = dnsx.ParseZone(strings.NewReader(small), "", "")
		require.NoError(t, err)
		start := time.Now()
		require.ErrorContains(t, c.keep(t.Context()), "has expired")
		require.InDelta(t, 604800, time.Since(start).Seconds(), 600)
		require.Equal(t, (604800-3600)/600+1, strings.Count(out.String(), "no news: "))
	})
}

// BIND's dig gets the whole zone from us, and the same answers.
func TestDig(t *testing.T) {
	dig := interop.Program(t, "bind9-dnsutils", "dig")
	srv := clitest.Start(t, "server", "-port", "0", "-transfer", "-quiet")
	run := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), dig, append([]string{"@" + srv.Host(), "-p", srv.Port()}, args...)...).Output()
		require.NoError(t, err)
		return string(out)
	}
	out := run("brotes.com", "AXFR")
	require.Contains(t, out, ";; XFR size: 22 records (messages 1, ")
	require.Contains(t, out, "IN\tLOC\t19 19 30.000 N 99 11 20.000 W 2240.00m 30m 10m 10m\n")
	require.Equal(t, "brotes.com.\nmail.brotes.com.\n127.53.50.20\n", run("+short", "mail.viveros.brotes.com"))
	require.Equal(t, "mail.brotes.com.\n", run("+short", "-x", "127.53.50.20"))
}
