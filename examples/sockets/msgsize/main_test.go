package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server", "-technique", "eof"}, []string{"server", "-technique", "length"})
}

var techniques = []string{"eof", "length"}

func start(t *testing.T, technique string, more ...string) *clitest.Process {
	t.Helper()
	return clitest.Start(t, append([]string{"server", "-port", "0", "-technique", technique}, more...)...)
}

func TestSizes(t *testing.T) {
	for _, technique := range techniques {
		for _, host := range []string{"127.0.0.1", "::1"} {
			t.Run(technique+" "+host, func(t *testing.T) {
				clitest.NeedHost(t, host)
				srv := start(t, technique, "-host", host)
				for _, text := range []string{
					"", "x", "¡Hola, Zócalo!", "two\nlines\n", "\x00\xff\x1b[2J",
					strings.Repeat("0123456789", 10_000),
				} {
					got := clitest.Run(t, text, "client", "-host", host, "-port", srv.Port(), "-technique", technique)
					require.Equal(t, cli.OK, got.Status, got.Stderr)
					own, _, _ := strings.Cut(strings.TrimPrefix(got.Stdout, "from "), " to ")
					require.Equal(t, fmt.Sprintf("from %s to %s\nsent %d bytes, the answer is \"%s sent %d bytes\"\n",
						own, srv.Addr, len(text), own, len(text)), got.Stdout)
					if len(text) <= headSize {
						srv.Stdout.WaitFor(t, fmt.Sprintf("%s: %d bytes: %q\n", own, len(text), text))
					} else {
						srv.Stdout.WaitFor(t, fmt.Sprintf("%s: %d bytes: %q…\n", own, len(text), text[:headSize]))
					}
				}
			})
		}
	}
}

// TestDialogue has several messages on one connection, which only the lengths
// keep apart.
func TestDialogue(t *testing.T) {
	srv := start(t, "length")
	conn := clitest.Dial(t, srv.Addr)
	write(t, conn, "\x00\x00\x00\x04hola\x00\x00\x00\x00\x00\x00\x00\x01x")
	require.NoError(t, conn.CloseWrite())
	requireReplies(t, conn, " sent 4 bytes", " sent 0 bytes", " sent 1 bytes")
}

// TestPieces sends each byte of a message by itself; half of the length too is
// but a part of the stream.
func TestPieces(t *testing.T) {
	for _, technique := range techniques {
		srv := start(t, technique)
		conn := clitest.Dial(t, srv.Addr)
		require.NoError(t, conn.SetNoDelay(true))
		for _, b := range []byte(wire(technique, "in pieces")) {
			write(t, conn, string(b))
		}
		require.NoError(t, conn.CloseWrite())
		requireReply(t, technique, conn, conn.LocalAddr().String()+" sent 9 bytes")
	}
}

// TestLarge passes a message through the server that is larger than it would
// take into memory, and one over the client's own limit.
func TestLarge(t *testing.T) {
	const size = 100 << 20
	for _, technique := range techniques {
		srv := start(t, technique)
		conn := clitest.Dial(t, srv.Addr)
		if technique == "length" {
			write(t, conn, string(binary.BigEndian.AppendUint32(nil, size)))
		}
		_, err := io.CopyN(conn, zeros{}, size)
		require.NoError(t, err)
		require.NoError(t, conn.CloseWrite())
		requireReply(t, technique, conn, fmt.Sprintf("%s sent %d bytes", conn.LocalAddr(), size))
	}
	srv := start(t, "length")
	got := clitest.Run(t, "0123456789", "client", "-port", srv.Port(), "-max", "9")
	require.Equal(t, cli.Failure, got.Status)
	require.Equal(t, "msgsize: reading the message: more than the 9 bytes that -max allows\n", got.Stderr)
	got = clitest.Run(t, "012345678", "client", "-port", srv.Port(), "-max", "9")
	require.Equal(t, cli.OK, got.Status)
}

// zeros is an endless stream.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// What a bad client sends, and what it is told.
var badClients = []struct{ technique, name, wire, want string }{
	{"eof", "over the limit", strings.Repeat("x", 101), "more than the 100 bytes allowed"},
	{"eof", "far over the limit", strings.Repeat("x", 1<<20), "more than the 100 bytes allowed"},
	{"length", "4 GiB claimed", "\xff\xff\xff\xffxyz", "4294967295 bytes are announced, 100 allowed"},
	{"length", "over the limit", "\x00\x00\x00\x65" + strings.Repeat("x", 101), "101 bytes are announced, 100 allowed"},
	{"length", "far over the limit", "\x00\x10\x00\x00" + strings.Repeat("x", 1<<20), "1048576 bytes are announced, 100 allowed"},
	{"length", "cut inside the length", "\x00\x00", "the message is cut inside its length"},
	{"length", "cut after the length", "\x00\x00\x00\x05", "the message is cut after 0 of 5 bytes"},
	{"length", "cut in the middle", "\x00\x00\x00\x05hol", "the message is cut after 3 of 5 bytes"},
	{"length", "cut far behind the head", "\x00\x00\x00\x64" + strings.Repeat("x", 99), "the message is cut after 99 of 100 bytes"},
	{"length", "no length at all", "hola, servidor", "1752132705 bytes are announced, 100 allowed"},
}

func TestBadClients(t *testing.T) {
	servers := map[string]*clitest.Process{}
	for _, technique := range techniques {
		servers[technique] = start(t, technique, "-max", "100", "-timeout", "1h")
	}
	for _, bad := range badClients {
		t.Run(bad.technique+", "+bad.name, func(t *testing.T) {
			srv := servers[bad.technique]
			conn := clitest.Dial(t, srv.Addr)
			write(t, conn, bad.wire)
			if strings.Contains(bad.name, "cut") {
				require.NoError(t, conn.CloseWrite())
			}
			requireReply(t, bad.technique, conn, complaint+bad.want)
			srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": error: "+bad.want+"\n")
			requireServed(t, bad.technique, srv)
		})
	}
	for technique, srv := range servers {
		t.Run("a reset, "+technique, func(t *testing.T) {
			before := strings.Count(srv.Stdout.String(), "error: ")
			conn := clitest.Dial(t, srv.Addr)
			write(t, conn, wire(technique, "hola, servidor")[:6])
			require.NoError(t, conn.SetLinger(0)) // Close will send RST, not FIN
			require.NoError(t, conn.Close())
			out := srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": error: the connection was broken off after ")
			require.Equal(t, before+1, strings.Count(out, "error: "))
			requireServed(t, technique, srv)
			require.Equal(t, cli.OK, srv.Stop())
		})
	}
}

// TestEndless has a client that never stops sending what the server has
// refused, and reads away for a second only.
func TestEndless(t *testing.T) {
	t.Parallel()
	srv := start(t, "eof", "-max", "100")
	cmd := clitest.Command(t, "client", "-port", srv.Port(), "-technique", "eof")
	cmd.Stdin = zeros{}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	status, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, cli.Failure, status.ExitCode())
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
	if runtime.GOOS == "linux" { // elsewhere a reset may destroy what came before it
		require.Equal(t, fmt.Sprintf("msgsize: %s refuses the message: \"more than the 100 bytes allowed\"\n", srv.Addr), stderr.String())
	}
	requireServed(t, "eof", srv)
}

func TestSilence(t *testing.T) {
	t.Parallel()
	for _, technique := range techniques {
		for _, c := range []struct{ sent, eof, length string }{
			{"", "after 0 bytes", "after 0 bytes"},
			{wire(technique, "x"), "after 1 bytes", ""},
			{wire(technique, "hola")[:len(wire(technique, "hola"))-1], "after 3 bytes", "after 3 of 4 bytes"},
		} {
			want := map[string]string{"eof": c.eof, "length": c.length}[technique]
			if want == "" {
				continue
			}
			srv := start(t, technique, "-timeout", "500ms")
			conn := clitest.Dial(t, srv.Addr)
			write(t, conn, c.sent)
			requireReply(t, technique, conn, complaint+"silence for too long "+want)
			srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": error: silence for too long "+want+"\n")
			requireServed(t, technique, srv)
		}
	}
}

// TestServedMeanwhile has clients in the middle of their messages, for as long
// as they like, while others come and go.
func TestServedMeanwhile(t *testing.T) {
	for _, technique := range techniques {
		srv := start(t, technique, "-timeout", "1h")
		message := wire(technique, "slowly")
		var slow []*net.TCPConn
		for n := range message {
			conn := clitest.Dial(t, srv.Addr)
			write(t, conn, message[:n])
			slow = append(slow, conn)
		}
		var wg sync.WaitGroup
		errs := make([]error, 40)
		for i := range errs {
			conn := clitest.Dial(t, srv.Addr)
			wg.Go(func() { errs[i] = exchange(technique, conn) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		for n, conn := range slow { // and in the end they too are served
			write(t, conn, message[n:])
			require.NoError(t, conn.CloseWrite())
			requireReply(t, technique, conn, conn.LocalAddr().String()+" sent 6 bytes")
		}
	}
}

// TestClients holds the only place; the next client is served when it is free.
func TestClients(t *testing.T) {
	srv := start(t, "eof", "-clients", "1", "-timeout", "1h")
	first, second := clitest.Dial(t, srv.Addr), clitest.Dial(t, srv.Addr)
	write(t, second, "second")
	require.NoError(t, second.CloseWrite())
	write(t, first, "first")
	require.NoError(t, first.CloseWrite())
	requireReply(t, "eof", first, first.LocalAddr().String()+" sent 5 bytes")
	require.NoError(t, first.Close())
	requireReply(t, "eof", second, second.LocalAddr().String()+" sent 6 bytes")
	out := srv.Stdout.WaitFor(t, `"second"`)
	require.Less(t, strings.Index(out, `"first"`), strings.Index(out, `"second"`))
}

// TestStop ends the server while one client has said nothing yet and another
// is in the middle of its message.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, technique := range techniques {
		srv := start(t, technique, "-timeout", "1h")
		clitest.Dial(t, srv.Addr)
		conn := clitest.Dial(t, srv.Addr)
		write(t, conn, wire(technique, "hola")[:3])
		requireServed(t, technique, srv)
		require.Equal(t, cli.OK, srv.Stop())
		require.Empty(t, srv.Stderr.String())
		require.NotContains(t, srv.Stdout.String(), "error")
	}
}

// TestWrongTechnique has the two ends disagree.
func TestWrongTechnique(t *testing.T) {
	srv := start(t, "length")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-technique", "eof", "-text", "hola")
	require.Contains(t, got.Stdout, `error: 1752132705 bytes are announced, 1073741824 allowed`) // "hola", read as a number
	srv = start(t, "eof", "-timeout", "100ms")
	got = clitest.Run(t, "", "client", "-port", srv.Port(), "-technique", "length", "-text", "hola")
	require.Equal(t, cli.Failure, got.Status)
	// "erro", the beginning of an answer without a length, read as one.
	require.Equal(t, fmt.Sprintf("msgsize: no answer from %s: it has more than 4096 bytes\n", srv.Addr), got.Stderr)
	got = clitest.Run(t, "", "client", "-port", srv.Port(), "-technique", "eof", "-claim", "3")
	require.Equal(t, cli.BadUsage, got.Status)
}

// TestClaim has our own client lie.
func TestClaim(t *testing.T) {
	srv := start(t, "length")
	for claim, want := range map[string]string{
		"4294967295": "4294967295 bytes are announced, 1073741824 allowed",
		"5":          "the message is cut after 4 of 5 bytes",
	} {
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-claim", claim, "-text", "hola")
		require.Equal(t, cli.Failure, got.Status)
		require.Equal(t, fmt.Sprintf("msgsize: %s refuses the message: %q\n", srv.Addr, want), got.Stderr)
	}
}

// TestBadServers has servers that break the rules, and what the client says.
func TestBadServers(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		technique, name string
		do              func(conn *net.TCPConn, gone <-chan struct{}) // then the connection is closed; gone: the client has ended
		want            string
	}{
		{"eof", "hangs up", func(*net.TCPConn, <-chan struct{}) {}, "no answer from %s: the other side has closed the connection"},
		{"length", "hangs up", func(*net.TCPConn, <-chan struct{}) {}, "no answer from %s: the other side has closed the connection"},
		{"length", "cut", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, "\x00\x00\x00\x05hol") }, "no answer from %s: the other side closed the connection in the middle of a message"},
		{"length", "4 GiB claimed", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, "\xff\xff\xff\xffx") }, "no answer from %s: it has more than 4096 bytes"},
		{"eof", "over the limit", func(conn *net.TCPConn, _ <-chan struct{}) { io.CopyN(conn, zeros{}, 5000) }, "no answer from %s: it has more than 4096 bytes"},
		{"eof", "reset", func(conn *net.TCPConn, _ <-chan struct{}) { conn.SetLinger(0) }, "no answer from %s: reset: the other side broke the connection off"},
		{"length", "reset", func(conn *net.TCPConn, _ <-chan struct{}) { conn.SetLinger(0) }, "no answer from %s: reset: the other side broke the connection off"},
		{"eof", "silent", func(_ *net.TCPConn, gone <-chan struct{}) { <-gone }, "no answer from %s: timed out: no answer came"},
		{"length", "silent", func(_ *net.TCPConn, gone <-chan struct{}) { <-gone }, "no answer from %s: timed out: no answer came"},
		{"length", "miscounts", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, "\x00\x00\x00\x10you sent 5 bytes") }, "%s received 5 bytes of 4"},
	} {
		t.Run(bad.technique+", "+bad.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served, gone := make(chan error, 1), make(chan struct{})
			go func() {
				conn, err := ln.Accept()
				if err == nil {
					conn.SetDeadline(time.Now().Add(clitest.Limit))
					want := make([]byte, len(wire(bad.technique, "hola")))
					_, err = io.ReadFull(conn, want)
					if bad.technique == "eof" && err == nil {
						// The client's end of stream too: what is left unread
						// would turn our close into a reset.
						_, err = io.Copy(io.Discard, conn)
					}
					bad.do(conn.(*net.TCPConn), gone)
					conn.Close()
				}
				served <- err
			}()
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			timeout := "1h"
			if bad.name == "silent" {
				timeout = "300ms"
			}
			got := clitest.Run(t, "", "client", "-port", port, "-technique", bad.technique, "-text", "hola", "-timeout", timeout)
			close(gone)
			require.NoError(t, ln.Close())
			require.NoError(t, <-served)
			require.Equal(t, cli.Failure, got.Status)
			require.Equal(t, "msgsize: "+fmt.Sprintf(bad.want, ln.Addr())+"\n", got.Stderr)
		})
	}
}

// TestMeasure reads messages as they may arrive: byte by byte, with the end
// beside the last of them, or broken off.
func TestMeasure(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	for name, r := range map[string]io.Reader{
		"at once":             strings.NewReader(text),
		"one byte":            iotest.OneByteReader(strings.NewReader(text)),
		"half":                iotest.HalfReader(strings.NewReader(text)),
		"end beside the data": iotest.DataErrReader(strings.NewReader(text)),
	} {
		size, head, err := measure(r, 10_000)
		require.NoError(t, err, name)
		require.EqualValues(t, 10_000, size, name)
		require.Equal(t, text[:headSize], string(head), name)
	}
	size, _, err := measure(strings.NewReader(text), 9_999)
	require.EqualError(t, err, "more than the 9999 bytes allowed")
	require.EqualValues(t, 10_000, size)
	for _, n := range []int{0, 3, headSize, 9000} {
		broken := errors.New("broken")
		size, _, err := measure(io.MultiReader(strings.NewReader(text[:n]), iotest.ErrReader(broken)), 10_000)
		require.ErrorIs(t, err, broken)
		require.EqualValues(t, n, size)
	}
}

// TestInterrupted cancels a client that waits for its input: reading it cannot
// be interrupted, waiting for it can.
func TestInterrupted(t *testing.T) {
	srv := start(t, "eof")
	ctx, cancel := context.WithCancel(t.Context())
	stdin, w := io.Pipe()
	defer w.Close()
	var stdout, stderr bytes.Buffer
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"client", "-port", srv.Port(), "-technique", "eof"}, stdin, &stdout, &stderr)
	}()
	_, err := w.Write([]byte("hol")) // it is being read
	require.NoError(t, err)
	cancel()
	require.Equal(t, cli.Interrupted, <-done)
	require.Equal(t, "msgsize: interrupted\n", stderr.String())
}

// FuzzAnswer sends the server any bytes at all: it answers each whole message,
// complains at most once, last, and comes to an end.
func FuzzAnswer(f *testing.F) {
	for _, bad := range badClients {
		if len(bad.wire) < 1000 {
			f.Add(bad.technique == "eof", []byte(bad.wire))
		}
	}
	f.Add(false, []byte("\x00\x00\x00\x01x\x00\x00\x00\x00\x00\x00\x00\x02yz"))
	f.Fuzz(func(t *testing.T, eof bool, stream []byte) {
		technique := "length"
		if eof {
			technique = "eof"
		}
		const limit = 100
		conn := &recorded{Reader: bytes.NewReader(stream)}
		var log strings.Builder
		answer(t.Context(), framing.NewConn(conn, format(technique), nil), limit, &log)
		_, problem, bad := strings.Cut(log.String(), "[::1]:1: error: ")

		replies := framing.NewReader(&conn.written, format(technique))
		rest := stream
		for {
			var message []byte
			whole, end := false, false
			if eof {
				message, whole = rest, len(rest) <= limit // the only one
			} else if end = len(rest) == 0; len(rest) >= 4 {
				n := binary.BigEndian.Uint32(rest)
				if whole = n <= limit && int(n) <= len(rest)-4; whole {
					message, rest = rest[4:4+n], rest[4+n:]
				}
			}
			reply, replyErr := replies.ReadMessage()
			switch {
			case whole && !end:
				require.NoError(t, replyErr)
				require.Equal(t, fmt.Sprintf("%s sent %d bytes", conn.RemoteAddr(), len(message)), string(reply))
				if eof {
					require.False(t, bad, problem)
					return
				}
			case end:
				require.Equal(t, io.EOF, replyErr)
				require.False(t, bad, problem)
				return
			default:
				require.NoError(t, replyErr)
				require.Equal(t, complaint+problem, string(reply)+"\n")
				_, replyErr = replies.ReadMessage()
				require.Equal(t, io.EOF, replyErr)
				return
			}
		}
	})
}

// recorded is a stream that keeps what is written to it.
type recorded struct {
	io.Reader
	written bytes.Buffer
}

func (r *recorded) Write(p []byte) (int, error) { return r.written.Write(p) }

func (r *recorded) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv6loopback, Port: 1} }

// The course's clients and servers, in Python as there: the first technique
// with recv, the second through makefile.

const pythonClient = `
import socket, struct, sys
sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=20)
technique, message = sys.argv[2], sys.argv[3].encode()
print('%s:%d' % sock.getsockname())
if technique == 'eof':
    sock.sendall(message)
    sock.shutdown(socket.SHUT_WR)
    reply = b''
    while True:
        more = sock.recv(4096)
        if not more:
            break
        reply += more
else:
    sock.sendall(struct.pack('>I', len(message)) + message)
    with sock.makefile('rb') as stream:
        length, = struct.unpack('>I', stream.read(4))
        reply = stream.read(length)
print(reply.decode())
sock.close()
`

func TestPythonClient(t *testing.T) {
	for _, technique := range techniques {
		srv := start(t, technique)
		for _, text := range []string{"hola", "¡Hola!", ""} {
			p := python(t, pythonClient, srv.Port(), technique, text)
			own, reply := p.line(t), p.line(t)
			require.Equal(t, fmt.Sprintf("%s sent %d bytes", own, len(text)), reply)
			require.NoError(t, p.cmd.Wait())
			srv.Stdout.WaitFor(t, fmt.Sprintf("%s: %d bytes: %q\n", own, len(text), text))
		}
	}
}

const pythonServer = `
import socket, struct, sys
listener = socket.create_server(('127.0.0.1', 0))
listener.settimeout(20)
print(listener.getsockname()[1], flush=True)
sock, peer = listener.accept()
sock.settimeout(20)
with sock.makefile('rb') as stream:
    if sys.argv[1] == 'eof':
        message = stream.read()
    else:
        length, = struct.unpack('>I', stream.read(4))
        message = stream.read(length)
reply = ('%s:%d sent %d bytes' % (peer[0], peer[1], len(message))).encode()
print(reply.decode(), flush=True)
if sys.argv[1] == 'length':
    reply = struct.pack('>I', len(reply)) + reply
sock.sendall(reply)
sock.close()
`

func TestPythonServer(t *testing.T) {
	for _, technique := range techniques {
		for _, text := range []string{"hola", "", strings.Repeat("ñ", 100_000)} {
			p := python(t, pythonServer, technique)
			port := p.line(t)
			got := clitest.Run(t, text, "client", "-port", port, "-technique", technique)
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			reply := p.line(t)
			require.Contains(t, reply, fmt.Sprintf(" sent %d bytes", len(text)))
			require.Contains(t, got.Stdout, fmt.Sprintf("the answer is %q\n", reply))
			require.NoError(t, p.cmd.Wait())
		}
	}
}

// A peer is a Python program; read its output to the end before Wait.
type peer struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func python(t *testing.T, script string, args ...string) *peer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), interop.Python(t), append([]string{"-X", "utf8", "-c", script}, args...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &peer{cmd, bufio.NewReader(out)}
}

func (p *peer) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

// wire is a message as it is sent, made without package framing.
func wire(technique, text string) string {
	if technique == "eof" {
		return text
	}
	return string([]byte{byte(len(text) >> 24), byte(len(text) >> 16), byte(len(text) >> 8), byte(len(text))}) + text
}

// requireReply reads what the server sends until it closes its direction.
func requireReply(t *testing.T, technique string, conn net.Conn, want string) {
	t.Helper()
	reply, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, wire(technique, want), string(reply))
}

// requireReplies reads answers with lengths, each the client's name and what
// is given.
func requireReplies(t *testing.T, conn net.Conn, wants ...string) {
	t.Helper()
	var all string
	for _, want := range wants {
		all += wire("length", conn.LocalAddr().String()+want)
	}
	reply, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, all, string(reply))
}

// exchange plays a good client.
func exchange(technique string, conn *net.TCPConn) error {
	if _, err := io.WriteString(conn, wire(technique, "good")); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	reply, err := io.ReadAll(conn)
	if want := wire(technique, conn.LocalAddr().String()+" sent 4 bytes"); err == nil && string(reply) != want {
		err = fmt.Errorf("%q is not %q", reply, want)
	}
	return err
}

// requireServed sees that the server answers another client.
func requireServed(t *testing.T, technique string, srv *clitest.Process) {
	t.Helper()
	conn := clitest.Dial(t, srv.Addr)
	require.NoError(t, exchange(technique, conn))
	require.NoError(t, conn.Close())
}
