package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"internet"}) }

func TestQuestions(t *testing.T) {
	for _, test := range []struct {
		args string
		want []string
	}{
		{"www.example.com", []string{"status: NOERROR", "flags: qr rd ra;", "ANSWER: 1,", "www.example.com.\t3600\tIN\tA\t127.53.10.10\n", "(UDP)"}},
		{"mx example.com", []string{"IN\tMX\t10 mail.example.com.\n"}},
		{"example.com MX", []string{"IN\tMX\t10 mail.example.com.\n"}},
		{"-tcp ftp.example.com", []string{"ftp.example.com.\t3600\tIN\tCNAME\twww.example.com.\n", "(TCP)"}},
		{"-tls example.net mx", []string{"IN\tMX\t0 .\n", "(TLS)"}},
		{"-x 127.53.10.10", []string{";10.10.53.127.in-addr.arpa.\t\tIN\tPTR\n", "IN\tPTR\texample.com.\n"}},
		{"-x 2001:db8:53:12::10", []string{"IN\tPTR\texample.org.\n"}},
		{"nothing.example.com", []string{"status: NXDOMAIN", ";; AUTHORITY SECTION:\nexample.com.\t300\tIN\tSOA\t"}},
		{"six.example.com A", []string{"status: NOERROR", "ANSWER: 0,"}},
		{"españa.es mx", []string{";xn--espaa-rta.es.\t\tIN\tMX\n", "10 xn--buzn-sqa.xn--espaa-rta.es."}},
		{"-norec -server 127.53.0.1 www.example.com", []string{"flags: qr;", "com.\t86400\tIN\tNS\ta.gtld-servers.net.\n", ";; ADDITIONAL SECTION:"}},
		{"-norec -server 127.53.10.1 www.example.com", []string{"flags: qr aa;"}},
		{"-server 127.53.10.1 www.example.org", []string{"status: REFUSED"}},
		{"-server 127.53.10.1 -bufsize 512 big.example.com TXT", []string{"once more, over TCP", "(TCP)"}},
		{"-server 127.53.10.1 -bufsize 0 www.example.com", []string{"ADDITIONAL: 0\n"}},
		{"-dnssec www.example.com", []string{"flags: do;"}},
		{"www.refusing.test", []string{"status: SERVFAIL"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := clitest.Run(t, "", strings.Fields(test.args)...)
			require.Equal(t, 0, got.Status, got.Stderr)
			for _, want := range test.want {
				require.Contains(t, got.Stdout, want)
			}
		})
	}
}

func TestWire(t *testing.T) {
	got := clitest.Run(t, "", "-wire", "-server", "127.53.10.1", "www.example.com")
	require.Equal(t, 0, got.Status, got.Stderr)
	for _, want := range []string{
		";; query, 44 octets\n", ";; answer, 60 octets\n",
		"   2  01 00                    flags, bit by bit:\n      0...............         QR: a query\n",
		"   2  85 00                    flags, bit by bit:\n      1...............         QR: a response\n",
		"      .....1..........         AA: the server has this zone\n",
		"  12  03 77 77 77              QNAME: a label of 3, \"www\"\n",
		"  33  c0 0c                    NAME goes on at octet 12\n",
		"  45  7f 35 0a 0a              RDATA 127.53.10.10\n",
		"                 TYPE OPT\n", "CLASS, in OPT: takes datagrams of 1232 octets\n",
	} {
		require.Contains(t, got.Stdout, want)
	}
	require.NotContains(t, got.Stdout, "makes no sense")
}

// Faults of servers are told in one line, with status 1.
func TestFaults(t *testing.T) {
	for _, test := range [][2]string{
		{"-timeout 200ms -server 127.53.20.1 www.silent.test", "no answer in time"},
		{"-timeout 200ms -server 127.53.20.6 www.garbage.test", "no answer in time"},
		{"-timeout 200ms -server 127.53.20.9 www.wrongid.test", "no answer in time"},
		{"-server 127.53.20.2 -timeout 100ms www.slow.test", "no answer in time"},
	} {
		t.Run(test[0], func(t *testing.T) {
			got := clitest.Run(t, "", strings.Fields(test[0])...)
			require.Equal(t, 1, got.Status)
			require.Contains(t, got.Stderr, test[1])
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		})
	}
	got := clitest.Run(t, "", "-timeout", "200ms", "-server", "127.53.20.9", "www.wrongid.test")
	require.Equal(t, 2, strings.Count(got.Stdout, ";; ignored: "), got.Stdout)
	// Somebody who knows nothing of TLS, and somebody who is not who he should be.
	addr, _ := clitest.Stranger(t, func(conn net.Conn, _ <-chan struct{}) { io.WriteString(conn, "220 mail\r\n") })
	got = clitest.Run(t, "", "-tls", "-server", addr, "www.example.com")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "tls")
}

func TestUsage(t *testing.T) {
	for _, args := range []string{
		"a b c", "-x 1.2.3", "-x 127.0.0.1 mx", "-x fe80::1%lo", "a..b", strings.Repeat("a", 64) + ".test", "-server here www.example.com",
		"-name x www.example.com", "-bufsize 65536 x.", "-timeout 0 x.", "system", "system a b", "system a..b", "-", "internet -host here",
	} {
		got := clitest.Run(t, "", strings.Fields(args)...)
		require.Equal(t, 2, got.Status, "%s: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	got := clitest.Run(t, "", "-tls", "-ca", filepath.Join(t.TempDir(), "none"), "www.example.com")
	require.Equal(t, 1, got.Status)
}

func TestSystem(t *testing.T) {
	dir := t.TempDir()
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	require.NoError(t, os.WriteFile(hosts, []byte("127.0.0.1 localhost\n192.0.2.7 printer printer.lab # upstairs\n"), 0o666))
	require.NoError(t, os.WriteFile(resolv, []byte("nameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch lab.example example\n"), 0o666))
	ask := func(name string) string {
		got := clitest.Run(t, "", "system", "-hosts", hosts, "-resolv", resolv, name)
		require.Equal(t, 0, got.Status, got.Stderr)
		return got.Stdout
	}
	require.Contains(t, ask("Printer"), "192.0.2.7 printer printer.lab   <- the search ends here\n")
	require.Contains(t, ask("www"), "says nothing of www\n")
	require.Contains(t, ask("www"), "server 192.0.2.53\n   server 192.0.2.54\n")
	require.True(t, strings.HasSuffix(ask("www"), "search lab.example. example.)\n   www.lab.example.\n   www.example.\n   www.\n"), ask("www"))
	require.True(t, strings.HasSuffix(ask("www.x"), "\n   www.x.\n   www.x.lab.example.\n   www.x.example.\n"), ask("www.x"))
	require.True(t, strings.HasSuffix(ask("www.x."), ")\n   www.x.\n"))
	got := clitest.Run(t, "", "system", "-hosts", filepath.Join(dir, "none"), "-resolv", filepath.Join(dir, "none"), "www.x")
	require.Contains(t, got.Stdout, "server 127.0.0.1\n")
}

// sections takes from dig's output what a server said.
func sections(out string) (lines []string) {
	space := regexp.MustCompile(`[ \t]+`)
	for line := range strings.Lines(out) {
		line = space.ReplaceAllString(strings.TrimSpace(line), " ")
		if line != "" && (!strings.HasPrefix(line, ";") || strings.HasPrefix(line, ";; flags")) {
			lines = append(lines, strings.ToLower(line))
		}
	}
	return lines
}

// BIND's dig and ours print the same of the same answers.
func TestAsDig(t *testing.T) {
	theirs := interop.Program(t, "bind9-dnsutils", "dig")
	server := clitest.Start(t, "internet", "-port", "0")
	for _, question := range []string{
		"www.example.com A", "example.com MX", "txt.example.com TXT", "nothing.example.org A", "old.example.org DNAME",
		"_sip._tcp.example.com SRV", "ftp.example.com AAAA", "example.com SOA", ". NS",
	} {
		args := []string{"@" + server.Host(), "-p", server.Port(), "+nocookie", "+noad"}
		out, err := exec.CommandContext(t.Context(), theirs, append(args, strings.Fields(question)...)...).Output()
		require.NoError(t, err)
		got := clitest.Run(t, "", append([]string{"-server", server.Addr}, strings.Fields(question)...)...)
		require.Equal(t, 0, got.Status, got.Stderr)
		want := sections(string(out))
		require.NotEmpty(t, want)
		require.ElementsMatch(t, want, sections(got.Stdout), question)
	}
}

// The Internet of the program is one for others, too: they get its hints.
func TestInternet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hints")
	server := clitest.Start(t, "internet", "-port", "0", "-hints", file)
	out := server.Stdout.WaitFor(t, "port ")
	require.Contains(t, out, "TLS on 127.0.0.1:")
	text, err := os.Open(file)
	require.NoError(t, err)
	defer text.Close()
	hints, err := dnsx.ParseHints(text)
	require.NoError(t, err)
	require.Equal(t, netip.MustParseAddr("127.53.0.1"), hints[0].Addrs[0])
}

// Whatever a message is, it is printed without a panic and to its end.
func FuzzPrintWire(f *testing.F) {
	query, err := dnsx.NewQuery("www.example.com", dnsx.A).Pack()
	require.NoError(f, err)
	f.Add(query)
	for _, text := range []string{"", "00", "000084000001000000000000c00c00010001", "0000840000010001000000000161016200000100010161c00c000100010000003c0004"} {
		wire, err := hex.DecodeString(text)
		require.NoError(f, err)
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var b strings.Builder
		printWire(&b, "message", wire)
		require.True(t, strings.HasPrefix(b.String(), fmt.Sprintf(";; message, %d octets\n", len(wire))))
		if m, err := dnsx.ParseMessage(wire); err == nil {
			printMessage(&b, m)
		}
	})
}
