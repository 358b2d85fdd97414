package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestConsole(t *testing.T) {
	for _, test := range []struct {
		args, stdin string
		want        string // the lines after the first, without what stands for space
	}{
		{"", "www.EXAMPLE.com.\n", `www.example.com: asked whois.iana.org → whois.nic.com → whois.registrador.com
			domain example.com
			registrar Registrador Ejemplo, S.A.
			holder Example Company
			updated 2026-01-09`},
		{"", "\n  zocalo-labs.com\r\n", `zocalo-labs.com: asked whois.iana.org → whois.nic.com
			domain zocalo-labs.com
			registrar Dominios Baratos
			created 2026-01-20
			updated 2026-01-20
			expires 2027-01-20
			name servers ns1.zocalo-labs.com ns2.zocalo-labs.com`},
		{"", "::ffff:10.53.10.20", `10.53.10.20: asked whois.iana.org → whois.rir.net
			network 10.53.10.0/24
			holder Example Company
			created 2009-06-29
			updated 2025-06-30`},
		{"", "2001:db8:53::1", `2001:db8:53::1: asked whois.iana.org → whois.rir.net
			network 2001:db8:53::/48
			holder Example Company
			created 2012-06-06
			updated 2025-06-30`},
		{"", "españa.es", `españa.es (xn--espaa-rta.es): asked whois.iana.org
			domain es
			holder Registry of es
			created 1988-04-14
			status ACTIVE`},
		{"", "free.com", `free.com: asked whois.iana.org → whois.nic.com
			no field that is known here; whois.nic.com:43 says:
			| No match for this domain.
			| >>> Last update of whois database: 2026-02-01T00:00:00Z <<<`},
		{"", "loop.com", `loop.com: asked whois.iana.org → whois.nic.com → whois.registrador.com
			(whois.registrador.com:43 refers back to whois.nic.com:43: they go round in circles)
			domain loop.com
			registrar Registrador Ejemplo, S.A.`},
		{"-server whois.rir.net", "example.com", `example.com: asked whois.rir.net
			no field that is known here; whois.rir.net:43 says:
			| %ERROR:101: no entries found`},
		{"-text -server whois.registrador.com:43", "loop.com", `--- whois.registrador.com:43 says:
			| Domain Name: loop.com
			| Whois Server: whois.nic.com
			--- whois.nic.com:43 says:
			| Domain Name: LOOP.COM
			| Registrar WHOIS Server: whois.registrador.com
			| Registrar: Registrador Ejemplo, S.A.
			loop.com: asked whois.registrador.com → whois.nic.com
			(whois.nic.com:43 refers back to whois.registrador.com:43: they go round in circles)
			domain loop.com
			registrar Registrador Ejemplo, S.A.`},
		{"", "a..b\nana@example.com\n999.1.1.1\n.\n\x00\x1b[2J\ncom\ne\nexample.com\n", `"a..b" is neither a name nor an address
			"ana@example.com" is neither a name nor an address
			"999.1.1.1" is neither a name nor an address: no top-level domain is a number
			"." is neither a name nor an address
			"\x00\x1b[2J" is neither a name nor an address
			com: asked whois.iana.org → whois.nic.com
			domain com
			holder Registry of com
			created 1985-01-01
			status ACTIVE`},
	} {
		t.Run(test.args+" "+strings.TrimSpace(test.stdin), func(t *testing.T) {
			got := clitest.Run(t, test.stdin, strings.Fields(test.args)...)
			require.Zero(t, got.Status, got.Stderr)
			require.Empty(t, got.Stderr)
			require.Equal(t, strings.Fields("domain or address (e exits): "+test.want), strings.Fields(got.Stdout))
			require.Equal(t, strings.Count(test.want, "\n")+2, strings.Count(got.Stdout, "\n"), got.Stdout)
		})
	}
}

// A registrar that is switched off: what the registry has said is shown, and the
// console goes on.
func TestSilentRegistrar(t *testing.T) {
	got := clitest.Run(t, "silent.com\nexample.com\n", "-timeout", "1s")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "registrar     Silencio\n")
	require.Contains(t, got.Stdout, "silent.com: no answer in time: dnsx: whois silent.com at silent.registrador.com:43")
	require.Contains(t, got.Stdout, "registrar     Registrador Ejemplo, S.A.\n")
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"-server", "a b"}, {"-server", "a..b"}, {"-server", "x:0"}, {"-server", "x:99999"}, {"-server", "1.2.3"}, {"-timeout", "0s"}, {"example.com"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout)
	}
	got := clitest.Run(t, strings.Repeat("x", 100_000), "-real")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "line 1 of the input is longer than 65536 bytes")
}

// Servers of this machine that do not do what a whois server should. The second
// question meets nobody any more: the console is still there.
func TestBadServers(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(conn net.Conn, over <-chan struct{})
		want  string
	}{
		"silent": {func(_ net.Conn, over <-chan struct{}) { <-over }, "example.com: no answer in time: "},
		"empty":  {func(conn net.Conn, _ <-chan struct{}) { ask(conn) }, " has said nothing\n"},
		"endless": {func(conn net.Conn, _ <-chan struct{}) {
			for {
				if _, err := conn.Write(make([]byte, 10_000)); err != nil {
					return
				}
			}
		}, "whois answer too long: over 262144 bytes\n"},
		"web": {func(conn net.Conn, _ <-chan struct{}) {
			ask(conn)
			fmt.Fprint(conn, "HTTP/1.1 400 Bad Request\r\n\r\n<h1>what?</h1>")
		}, "  no field that is known here; 127.0.0.1:PORT says:\n  | HTTP/1.1 400 Bad Request\n  | <h1>what?</h1>\n"},
		"terminal": {func(conn net.Conn, _ <-chan struct{}) {
			ask(conn)
			fmt.Fprint(conn, "domain: example.com\nregistrar: \x1b[2J\u202eEvil\xff\n")
		}, "  registrar     \uFFFD[2J\uFFFDEvil\uFFFD\n"},
		"binary": {func(conn net.Conn, _ <-chan struct{}) {
			ask(conn)
			conn.Write([]byte{0, 1, 2, 0x80, 0xff, 'x'})
		}, "  | \uFFFD\uFFFD\uFFFD\uFFFDx\n"},
		"self": {func(conn net.Conn, _ <-chan struct{}) {
			ask(conn)
			fmt.Fprintf(conn, "domain: example.com\nrefer: %s\n", conn.LocalAddr())
		}, "  domain        example.com\n"},
		"elsewhere": {func(conn net.Conn, _ <-chan struct{}) { // a mail server, it would seem
			ask(conn)
			fmt.Fprint(conn, "domain: example.com\nrefer: 127.0.0.1:25\n")
		}, "  domain        example.com\n"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, port := clitest.Stranger(t, test.serve)
			got := clitest.Run(t, "example.com\na..b\n", "-real", "-timeout", "1s", "-server", addr)
			require.Zero(t, got.Status, got.Stderr)
			require.Empty(t, got.Stderr)
			require.Contains(t, got.Stdout, strings.ReplaceAll(test.want, "PORT", port))
			require.True(t, strings.HasSuffix(got.Stdout, "\"a..b\" is neither a name nor an address\n"), got.Stdout)
			require.Less(t, len(got.Stdout), 1000)
		})
	}
	got := clitest.Run(t, "example.com\n", "-real", "-server", closedPort(t))
	require.Zero(t, got.Status)
	require.Contains(t, got.Stdout, "refused: no program listens there")
}

// ask reads the line that a client sends.
func ask(conn net.Conn) { bufio.NewReader(conn).ReadString('\n') }

// closedPort returns an address at which nobody listens.
func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}
