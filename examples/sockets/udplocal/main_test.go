package main

import (
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

func TestLines(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	got := clitest.Run(t, "hola\n\n¡Zócalo!\r\nno end", "client", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
	lines := strings.Split(got.Stdout, "\n")
	from := regexp.MustCompile(`^from 127\.0\.0\.1:(\d+) to ` + regexp.QuoteMeta(srv.Addr) + `$`).FindStringSubmatch(lines[0])
	require.NotNil(t, from, got.Stdout)
	require.Equal(t, []string{
		`sent 4 bytes, answer "4"`,
		`sent 0 bytes, answer "0"`,
		`sent 10 bytes, answer "10"`,
		`sent 6 bytes, answer "6"`,
		"",
	}, lines[1:])
	srv.Stdout.WaitFor(t, "(6 bytes)\n")
	require.Equal(t, fmt.Sprintf(`listening on %[1]s
address 127.0.0.1, port %[2]s: "hola" (4 bytes)
address 127.0.0.1, port %[2]s: "" (0 bytes)
address 127.0.0.1, port %[2]s: "¡Zócalo!" (10 bytes)
address 127.0.0.1, port %[2]s: "no end" (6 bytes)
`, srv.Addr, from[1]), srv.Stdout.String())
	require.Zero(t, srv.Stop())
}

func TestText(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, text := range []string{"hola", "", "two\nlines"} {
		got := clitest.Run(t, "not this", "client", "-port", srv.Port(), "-text", text)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, fmt.Sprintf("sent %d bytes, answer \"%[1]d\"\n", len(text)))
		srv.Stdout.WaitFor(t, fmt.Sprintf("%q (%d bytes)\n", text, len(text)))
	}
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0")
	require.True(t, strings.HasPrefix(srv.Addr, "[::1]:"), srv.Addr)
	got := clitest.Run(t, "", "client", "-host", "[::1]", "-port", srv.Port(), "-text", "hola")
	require.Equal(t, 0, got.Status, got.Stderr)
	srv.Stdout.WaitFor(t, "address ::1, port ")

	// A socket for all addresses hears IPv4 clients too, and calls them by
	// their IPv4 addresses.
	srv = clitest.Start(t, "server", "-host", "::", "-port", "0")
	got = clitest.Run(t, "", "client", "-host", "127.0.0.1", "-port", srv.Port(), "-text", "hola")
	if got.Status != 0 {
		t.Skipf("IPv6 sockets of this machine do not take IPv4: %s", got.Stderr)
	}
	srv.Stdout.WaitFor(t, "address 127.0.0.1, port ")
}

// One socket serves all clients: each gets its own answers.
func TestManyClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	const clients, rounds = 50, 20
	var wg sync.WaitGroup
	problems := make(chan error, clients)
	for i := range clients {
		wg.Go(func() { problems <- talk(srv.Addr, i+1, rounds) })
	}
	wg.Wait()
	for range clients {
		require.NoError(t, <-problems)
	}
}

// talk sends datagrams of one length and expects that length each time.
func talk(addr string, length, rounds int) error {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(clitest.Limit)); err != nil {
		return err
	}
	buf := make([]byte, 64)
	for range rounds {
		if _, err := conn.Write(make([]byte, length)); err != nil {
			return err
		}
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if string(buf[:n]) != strconv.Itoa(length) {
			return fmt.Errorf("%q is the answer to %d bytes", buf[:n], length)
		}
	}
	return nil
}

// The largest datagram of all comes through whole; one byte more cannot be sent.
func TestLargest(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	line := strings.Repeat("x", maxPayload)
	got := clitest.Run(t, line+"\n", "client", "-port", srv.Port())
	if got.Status != 0 && strings.Contains(got.Stderr, "too long") {
		t.Skipf("this system sends no datagrams of %d bytes: %s", maxPayload, got.Stderr) // macOS: 9216 unless told otherwise
	}
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "sent 65507 bytes, answer \"65507\"\n")

	got = clitest.Run(t, line+"x\n", "client", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Equal(t, "udplocal: line 1 of the input is longer than 65507 bytes\n", got.Stderr)
	got = clitest.Run(t, "", "client", "-port", srv.Port(), "-text", line+"x")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "udplocal: cannot send 65508 bytes: a UDP datagram carries at most 65507\n", got.Stderr)
}

// What a client sends cannot command the server's terminal.
func TestControlCharacters(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	got := clitest.Run(t, "\x1b[2J\x07\xff\n", "client", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
	srv.Stdout.WaitFor(t, `"\x1b[2J\a\xff" (6 bytes)`)
}

func TestNobodyListens(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(t, err)
	conn.Close()
	got := clitest.Run(t, "hola\n", "client", "-port", port)
	require.Equal(t, 1, got.Status)
	require.Regexp(t, `^udplocal: cannot (read from|send to) 127\.0\.0\.1:`+port+` over udp: (refused: no program listens there|reset: .*)\n$`, got.Stderr)
}

// A server that listens and says nothing is another matter than none.
func TestSilentServer(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(t, err)
	got := clitest.Run(t, "hola\n", "client", "-port", port, "-timeout", "50ms")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "udplocal: no answer from 127.0.0.1:"+port+" within 50ms: the line, its answer or the server got lost, UDP does not say which\n", got.Stderr)
}

func TestWrongCount(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		conn.SetReadDeadline(time.Now().Add(clitest.Limit))
		if _, client, err := conn.ReadFrom(make([]byte, 100)); err == nil {
			conn.WriteTo([]byte("3"), client)
		}
	})
	addr := conn.LocalAddr().String()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	got := clitest.Run(t, "hola\n", "client", "-port", port)
	require.Equal(t, 1, got.Status)
	require.Equal(t, "udplocal: "+addr+" received 3 bytes of 4\n", got.Stderr)
}

func TestClientUsage(t *testing.T) {
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-timeout", "0s"},
		{"client", "-timeout", "soon"},
		{"client", "hola"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
	got := clitest.Run(t, "hola\n", "client", "-host", "no such name", "-port", "9")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "udplocal: cannot look up no such name: ")
}

// pythonServer speaks as the course's server does, except that the system
// picks its port and that it ends after two clients.
const pythonServer = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
s.settimeout(30)
print("listening on %s:%d" % s.getsockname(), flush=True)
for _ in range(2):
    data, address = s.recvfrom(65535)
    print(address[0], repr(data), flush=True)
    s.sendto(("%d bytes came" % len(data)).encode(), address)
`

func TestPythonServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", pythonServer)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var addr string
	_, err = fmt.Fscanf(out, "listening on %s\n", &addr)
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	got := clitest.Run(t, "¡Zócalo!\n\n", "client", "-port", port)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "sent 10 bytes, answer \"10 bytes came\"\nsent 0 bytes, answer \"0 bytes came\"\n")
	require.NoError(t, cmd.Wait())
}

// pythonClient asks with an unconnected socket, as the course's does.
const pythonClient = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(30)
for text in ("hola", "", "¡Zócalo!", "x" * 8000):
    s.sendto(text.encode("utf-8"), ("127.0.0.1", int(sys.argv[1])))
    data, address = s.recvfrom(65535)
    assert address == ("127.0.0.1", int(sys.argv[1])), address
    assert int(data) == len(text.encode("utf-8")), data
print(s.getsockname()[1])
`

func TestPythonClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	out, err := exec.CommandContext(t.Context(), interop.Python(t), "-c", pythonClient, srv.Port()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	srv.Stdout.WaitFor(t, fmt.Sprintf("address 127.0.0.1, port %s: \"hola\" (4 bytes)\n", strings.TrimSpace(string(out))))
}
