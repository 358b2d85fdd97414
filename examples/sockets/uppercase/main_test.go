package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-udp"})
}

// transports runs a test over TCP and over UDP.
func transports(t *testing.T, test func(t *testing.T, network string, flags ...string)) {
	t.Run("tcp", func(t *testing.T) { test(t, "tcp") })
	t.Run("udp", func(t *testing.T) { test(t, "udp", "-udp") })
}

// with returns words followed by flags.
func with(flags []string, words ...string) []string { return append(words, flags...) }

// dial connects to a server, with a deadline for all that follows.
func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
	return conn
}

func TestUpper(t *testing.T) {
	for line, want := range map[string]string{
		"":                 "",
		"hola":             "HOLA",
		"¡Hola, Zócalo! 1": "¡HOLA, ZÓCALO! 1",
		"ñandú žluťoučký":  "ÑANDÚ ŽLUŤOUČKÝ",
		"ελληνικά":         "ΕΛΛΗΝΙΚΆ",
		"привет":           "ПРИВЕТ",
		"ǆ":                "Ǆ",      // not Ǆ's title case ǅ
		"ı":                "I",      // two bytes become one
		"ɐ":                "Ɐ",      // two bytes become three
		"𐐨":                "𐐀",      // outside the first plane of Unicode
		"straße":           "STRAßE", // one letter at a time: no SS
		"日本 🙂\r":           "日本 🙂\r", // nothing to change, CR included
		"a\xffb":           "error: byte 2, 0xff, is not UTF-8",
		"caf\xe9":          "error: byte 4, 0xe9, is not UTF-8", // Latin-1
		"\ufffd":           "\ufffd",                            // the character itself is valid
	} {
		require.Equal(t, want, upper([]byte(line)), "%q", line)
	}
}

func FuzzUpper(f *testing.F) {
	f.Add([]byte("¡Hola, Zócalo!"))
	f.Add([]byte("\xff\xc3"))
	f.Add([]byte("ɐßŉ"))
	f.Fuzz(func(t *testing.T, line []byte) {
		answer := upper(line)
		if bad := invalid(line); bad >= 0 {
			require.True(t, strings.HasPrefix(answer, complaint))
			return
		}
		require.False(t, strings.HasPrefix(answer, complaint), "no answer can be taken for a complaint")
		require.LessOrEqual(t, 2*len(answer), 3*len(line), "upper case is half as long again at most")
		require.Equal(t, answer, upper([]byte(answer)), "upper case stays as it is")
	})
}

func TestExchange(t *testing.T) {
	transports(t, func(t *testing.T, network string, flags ...string) {
		srv := clitest.Start(t, with(flags, "server", "-port", "0")...)
		got := clitest.Run(t, "¡hola!\n\nñandú", with(flags, "client", "-port", srv.Port())...)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, "¡HOLA!\n\nÑANDÚ\n", got.Stdout)
		srv.Stdout.WaitFor(t, `: "ñandú" → "ÑANDÚ"`)
		got = clitest.Run(t, "not this", with(flags, "client", "-port", srv.Port(), "-text", "this")...)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, "THIS\n", got.Stdout)
	})
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	transports(t, func(t *testing.T, network string, flags ...string) {
		srv := clitest.Start(t, with(flags, "server", "-host", "::1", "-port", "0")...)
		require.Equal(t, "::1", srv.Host())
		got := clitest.Run(t, "hola\n", with(flags, "client", "-host", "::1", "-port", srv.Port())...)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, "HOLA\n", got.Stdout)
	})
}

// Fifty clients at a time: all connected before the first one asks.
func TestManyClients(t *testing.T) {
	transports(t, func(t *testing.T, network string, flags ...string) {
		srv := clitest.Start(t, with(flags, "server", "-port", "0")...)
		const clients, rounds = 50, 10
		conns := make([]net.Conn, clients)
		for i := range conns {
			conns[i] = dial(t, network, srv.Addr)
		}
		problems := make(chan error, clients)
		var wg sync.WaitGroup
		for i, conn := range conns {
			wg.Go(func() {
				problems <- func() error {
					in := bufio.NewReader(conn)
					for round := range rounds {
						fmt.Fprintf(conn, "client %d, línea %d\n", i, round)
						got, err := in.ReadString('\n')
						if err != nil {
							return err
						}
						if want := fmt.Sprintf("CLIENT %d, LÍNEA %d\n", i, round); got != want {
							return fmt.Errorf("%q instead of %q", got, want)
						}
					}
					return nil
				}()
			})
		}
		wg.Wait()
		for range clients {
			require.NoError(t, <-problems)
		}
	})
}

// What goes wrong with one line is told to its sender; the next line of the
// same connection and other clients are served.
func TestBadLines(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-max", "100")
	other := dial(t, "tcp", srv.Addr)
	conn := dial(t, "tcp", srv.Addr)
	in := bufio.NewReader(conn)
	for _, test := range [][2]string{
		{"before\n", "BEFORE\n"},
		{strings.Repeat("x", 100) + "\n", strings.Repeat("X", 100) + "\n"},
		{strings.Repeat("x", 101) + "\n", "error: a line may have 100 bytes at most\n"},
		{strings.Repeat("x", 1<<20) + "\n", "error: a line may have 100 bytes at most\n"},
		{"caf\xe9\n", "error: byte 4, 0xe9, is not UTF-8\n"},
		{"\n", "\n"},
		{"\x00\n", "\x00\n"},
		{"with CR\r\n", "WITH CR\r\n"},
		{"after\n", "AFTER\n"},
	} {
		_, err := io.WriteString(conn, test[0])
		require.NoError(t, err)
		got, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, test[1], got)
	}
	fmt.Fprintln(other, "me too")
	got, err := bufio.NewReader(other).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ME TOO\n", got)
}

// TCP carries bytes: lines may come byte by byte or many at once.
func TestPieces(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	conn := dial(t, "tcp", srv.Addr)
	in := bufio.NewReader(conn)
	for _, b := range []byte("¡ñandú!\n") {
		_, err := conn.Write([]byte{b})
		require.NoError(t, err)
	}
	got, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "¡ÑANDÚ!\n", got)

	_, err = io.WriteString(conn, "one\ntwo\nthree\n")
	require.NoError(t, err)
	for _, want := range []string{"ONE\n", "TWO\n", "THREE\n"} {
		got, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestEndOfStream(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, test := range [][2]string{
		{"", ""},
		{"whole\n", "WHOLE\n"},
		{"whole\ncut", "WHOLE\nerror: the last line has no end\n"},
	} {
		conn := dial(t, "tcp", srv.Addr)
		_, err := io.WriteString(conn, test[0])
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, test[1], string(all))
	}
}

// A client that breaks off is reported and forgotten.
func TestReset(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	conn := dial(t, "tcp", srv.Addr)
	fmt.Fprintln(conn, "hola")
	srv.Stdout.WaitFor(t, `"HOLA"`)
	require.NoError(t, conn.(*net.TCPConn).SetLinger(0)) // closing sends a reset
	require.NoError(t, conn.Close())
	srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": ended: reset")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-text", "next")
	require.Equal(t, "NEXT\n", got.Stdout, got.Stderr)
}

// A peer that is silent, or stops inside a line, does not stay for ever.
func TestSilentClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-idle", "100ms")
	for _, text := range []string{"", "half a li"} {
		conn := dial(t, "tcp", srv.Addr)
		_, err := io.WriteString(conn, text)
		require.NoError(t, err)
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Empty(t, all)
		srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": ended: timed out")
	}
}

// A line that is being sent when the server is told to stop is answered still.
func TestStopsWithClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	idle := dial(t, "tcp", srv.Addr)
	fmt.Fprintln(idle, "hola")
	got, err := bufio.NewReader(idle).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HOLA\n", got)
	require.Zero(t, srv.Stop())
	all, err := io.ReadAll(idle)
	if err == nil { // a reset is how Windows tells it
		require.Empty(t, all)
	}
}

func TestDatagrams(t *testing.T) {
	srv := clitest.Start(t, "server", "-udp", "-port", "0", "-max", "65507")
	conn := dial(t, "udp", srv.Addr)
	buf := make([]byte, 64<<10)
	ask := func(text string) string {
		t.Helper()
		_, err := io.WriteString(conn, text)
		require.NoError(t, err)
		n, err := conn.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	require.Empty(t, ask(""), "an empty datagram is a message")
	require.Equal(t, "TWO\nLINES", ask("two\nlines"), "a datagram is one message, whatever is in it")
	require.Equal(t, "error: byte 1, 0xff, is not UTF-8", ask("\xff"))
	if _, err := io.WriteString(conn, strings.Repeat("x", maxPayload)); err != nil {
		t.Skipf("this system sends no datagrams of %d bytes: %v", maxPayload, err) // macOS: 9216 unless told otherwise
	}
	n, err := conn.Read(buf)
	require.NoError(t, err)
	require.Equal(t, maxPayload, n)
	require.Equal(t, strings.Repeat("X", maxPayload), string(buf[:n]))
	require.Equal(t, "error: the answer of 90000 bytes fits in no datagram", ask(strings.Repeat("ɐ", 30000)))
	require.Equal(t, "STILL HERE", ask("still here"))

	srv = clitest.Start(t, "server", "-udp", "-port", "0", "-max", "10")
	conn = dial(t, "udp", srv.Addr)
	require.Equal(t, "0123456789", ask("0123456789"))
	require.Equal(t, "error: a line may have 10 bytes at most", ask("0123456789a"))
}

func TestClientFailures(t *testing.T) {
	transports(t, func(t *testing.T, network string, flags ...string) {
		srv := clitest.Start(t, with(flags, "server", "-port", "0", "-max", "10")...)
		got := clitest.Run(t, "one\nmuch too long\nthree\n", with(flags, "client", "-port", srv.Port())...)
		require.Equal(t, 1, got.Status)
		require.Equal(t, "ONE\n", got.Stdout)
		require.Equal(t, "uppercase: "+srv.Addr+" refuses the line: a line may have 10 bytes at most\n", got.Stderr)

		got = clitest.Run(t, strings.Repeat("x", maxPayload+1), with(flags, "client", "-port", srv.Port())...)
		require.Equal(t, 1, got.Status)
		require.Equal(t, "uppercase: line 1 of the input is longer than 65507 bytes\n", got.Stderr)

		require.Zero(t, srv.Stop())
		got = clitest.Run(t, "one\n", with(flags, "client", "-port", srv.Port())...)
		require.Equal(t, 1, got.Status)
		require.Regexp(t, `^uppercase: cannot (connect to|read from|send to) `+srv.Addr+` over `+network+`: (refused: no program listens there|reset: .*)\n$`, got.Stderr)

		got = clitest.Run(t, "", with(flags, "client", "-port", "0")...)
		require.Equal(t, 2, got.Status)
	})
	srv := clitest.Start(t, "server", "-port", "0")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-text", "two\nlines")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, `it contains the delimiter "\n"`)
}

// A server that accepts and says nothing is left after the time given.
func TestSilentServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	got := clitest.Run(t, "hola\n", "client", "-port", port, "-timeout", "50ms")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, ln.Addr().String())
	require.Contains(t, got.Stderr, "no message within 50ms")
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)

	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	_, port, _ = net.SplitHostPort(conn.LocalAddr().String())
	got = clitest.Run(t, "hola\n", "client", "-udp", "-port", port, "-timeout", "50ms")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "no answer from "+conn.LocalAddr().String()+" within 50ms")
}

// A server that hangs up, and one that commands the terminal.
func TestStrangeServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	answer := func(text string) {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(clitest.Limit))
		bufio.NewReader(conn).ReadString('\n')
		io.WriteString(conn, text)
	}
	var wg sync.WaitGroup
	defer wg.Wait()

	wg.Go(func() { answer("") })
	got := clitest.Run(t, "hola\n", "client", "-port", port)
	require.Equal(t, 1, got.Status)
	require.Equal(t, "uppercase: no answer from "+ln.Addr().String()+": the other side has closed the connection\n", got.Stderr)

	wg.Go(func() { answer("\x1b[2JHOLA\x07\n") })
	got = clitest.Run(t, "hola\n", "client", "-port", port)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "[2JHOLA\n", got.Stdout)

	wg.Go(func() { answer(strings.Repeat("X", 2<<20) + "\n") })
	got = clitest.Run(t, "hola\n", "client", "-port", port)
	require.Equal(t, 1, got.Status)
	require.Empty(t, got.Stdout)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
}

// pythonServer serves one TCP connection or three datagrams.
const pythonServer = `
import socket, sys
if sys.argv[1] == "tcp":
    ln = socket.create_server(("127.0.0.1", 0))
    ln.settimeout(30)
    print("listening on %s:%d" % ln.getsockname(), flush=True)
    conn, _ = ln.accept()
    conn.settimeout(30)
    lines = conn.makefile("rw", encoding="utf-8", newline="\n")
    for line in lines:
        lines.write(line.upper())
        lines.flush()
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    s.settimeout(30)
    print("listening on %s:%d" % s.getsockname(), flush=True)
    for _ in range(3):
        data, address = s.recvfrom(65535)
        s.sendto(data.decode("utf-8").upper().encode("utf-8"), address)
`

func TestPythonServer(t *testing.T) {
	python := interop.Python(t)
	transports(t, func(t *testing.T, network string, flags ...string) {
		cmd := exec.CommandContext(t.Context(), python, "-c", pythonServer, network)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var addr string
		_, err = fmt.Fscanf(out, "listening on %s\n", &addr)
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		got := clitest.Run(t, "¡hola!\n\nñandú\n", with(flags, "client", "-port", port)...)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, "¡HOLA!\n\nÑANDÚ\n", got.Stdout)
		require.NoError(t, cmd.Wait())
	})
}

// pythonClient compares every letter whose upper case is one letter with what
// Python makes of it, in lines of a few thousand bytes. Python's Unicode may
// be older or newer than Go's: what either does not know, it leaves alone.
const pythonClient = `
import socket, sys
letters = [chr(c) for c in range(0x20, 0x20000) if not 0xd800 <= c < 0xe000]
letters = [c for c in letters if len(c.upper()) == 1 and c.upper() != c]
lines = ["".join(letters[i:i+500]) for i in range(0, len(letters), 500)]
network, port = sys.argv[1], int(sys.argv[2])
kind = socket.SOCK_STREAM if network == "tcp" else socket.SOCK_DGRAM
s = socket.socket(socket.AF_INET, kind)
s.settimeout(30)
s.connect(("127.0.0.1", port))
if network == "tcp":
    stream = s.makefile("rw", encoding="utf-8", newline="\n")
differ = []
for line in lines:
    if network == "tcp":
        stream.write(line + "\n")
        stream.flush()
        answer = stream.readline().removesuffix("\n")
    else:
        s.send(line.encode("utf-8"))
        answer = s.recv(65535).decode("utf-8")
    assert len(answer) == len(line), (line, answer)
    differ += [c for c, up in zip(line, answer) if up != c.upper() and up != c]
assert not differ, differ
print(len(letters))
`

func TestPythonClient(t *testing.T) {
	python := interop.Python(t)
	transports(t, func(t *testing.T, network string, flags ...string) {
		srv := clitest.Start(t, with(flags, "server", "-port", "0")...)
		out, err := exec.CommandContext(t.Context(), python, "-c", pythonClient, network, srv.Port()).CombinedOutput()
		require.NoError(t, err, "%s", out)
		var letters int
		_, err = fmt.Sscan(string(out), &letters)
		require.NoError(t, err)
		require.Greater(t, letters, 1000)
	})
}
