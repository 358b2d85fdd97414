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
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-blocks", "-answer"})
}

func start(t *testing.T, more ...string) *clitest.Process {
	t.Helper()
	return clitest.Start(t, append([]string{"server", "-port", "0"}, more...)...)
}

var whole = strings.Join(verses, "")

// TestStream plays client and server in every mode: what was sent arrives, in
// order and complete.
func TestStream(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, mode := range [][]string{nil, {"-blocks"}, {"-answer"}, {"-blocks", "-answer"}} {
			t.Run(fmt.Sprint(host, mode), func(t *testing.T) {
				clitest.NeedHost(t, host)
				srv := start(t, append([]string{"-host", host}, mode...)...)
				client := append([]string{"client", "-host", host, "-port", srv.Port(), "-pause", "1ms"}, mode...)
				for _, c := range []struct {
					stdin string
					args  []string
					want  string
				}{
					{"", nil, whole},
					{"", []string{"¡hola!", ""}, "¡hola!\n\n"},
					{"from\nstdin", []string{"-"}, "from\nstdin\n"},
					{"", []string{"-"}, ""},
				} {
					got := clitest.Run(t, c.stdin, append(client, c.args...)...)
					require.Equal(t, cli.OK, got.Status, got.Stderr)
					srv.Stdout.WaitFor(t, fmt.Sprintf(": the message, %d bytes: %q\n", len(c.want), c.want))
					if len(mode) > 0 && mode[len(mode)-1] == "-answer" {
						require.Contains(t, got.Stdout, fmt.Sprintf("the answer is \"received %d bytes\"\n", len(c.want)))
					}
				}
			})
		}
	}
}

// TestChunks sends each piece only when the server has shown the one before,
// and nothing comes back but the end of the server's stream.
func TestChunks(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		srv := start(t, flags(blocks)...)
		conn := clitest.Dial(t, srv.Addr)
		requireReply(t, conn, "") // the server has closed its direction already
		name := conn.LocalAddr().String()
		for i, text := range []string{"uno", "dos, tres", "¡fin!"} {
			write(t, conn, wire(blocks, text))
			shown := fmt.Sprintf("%s: received %d bytes\n", name, len(text))
			if blocks {
				shown = fmt.Sprintf("%s: received a block of %d bytes\n", name, len(text))
			}
			out := srv.Stdout.WaitFor(t, shown)
			require.Equal(t, i+1, strings.Count(out, ": received "))
		}
		if blocks {
			write(t, conn, wire(blocks, ""))
			srv.Stdout.WaitFor(t, name+": received an empty block: end of message\n")
		} else {
			require.NoError(t, conn.CloseWrite())
			srv.Stdout.WaitFor(t, name+": received zero bytes: end of file\n")
		}
		srv.Stdout.WaitFor(t, name+`: the message, 18 bytes: "unodos, tres¡fin!"`)
	}
}

// TestSplitBlock sends the bytes of a block one by one.
func TestSplitBlock(t *testing.T) {
	srv := start(t, "-blocks", "-answer")
	conn := clitest.Dial(t, srv.Addr)
	require.NoError(t, conn.SetNoDelay(true))
	for _, b := range []byte(wire(true, "one by one") + wire(true, "")) {
		write(t, conn, string([]byte{b}))
	}
	// No half-close was needed: the empty block says it all.
	requireReply(t, conn, wire(true, "received 10 bytes"))
	srv.Stdout.WaitFor(t, "received a block of 10 bytes")
}

// TestEnds is the table of the command ends.
func TestEnds(t *testing.T) {
	got := clitest.Run(t, "", "ends")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	lines := strings.Split(got.Stdout, "\n")
	require.Len(t, lines, 5)
	require.Regexp(t, `^shutdown +FIN  +EOF  +the peer gets it$`, lines[1])
	require.Regexp(t, `^close +FIN, then RST to what we send  EOF  +fails: (broken pipe|reset)$`, lines[2])
	require.Regexp(t, `^reset +RST  +reset +fails: (broken pipe|reset)$`, lines[3])
}

// TestOwnEnds has our client end its stream in each way. Only the blocks tell
// a message from one whose sender died; shutdown and close look the same.
func TestOwnEnds(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		srv := start(t, flags(blocks)...)
		for end, want := range map[string]string{
			"shutdown": `: the message, 9 bytes: "shutdown\n"`,
			"close":    `: the message, 6 bytes: "close\n"`,
			"reset":    ": error: reset: the client broke the connection off (the 6 bytes that came are no message)\n",
		} {
			args := append([]string{"client", "-port", srv.Port(), "-end", end}, flags(blocks)...)
			got := clitest.Run(t, "", append(args, end)...)
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			srv.Stdout.WaitFor(t, want)
		}
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-answer", "-end", "close")
		require.Equal(t, cli.BadUsage, got.Status)
		require.Equal(t, cli.OK, srv.Stop())
	}
}

// TestKilled kills a client in the middle of its message. Its kernel closes
// the connection as if it had come to its end: only the blocks show the loss.
func TestKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows breaks the connections of a killed program off")
	}
	for _, blocks := range []bool{false, true} {
		srv := start(t, flags(blocks)...)
		client := clitest.StartClient(t, "", append([]string{"client", "-port", srv.Port(), "-pause", "1h"}, flags(blocks)...)...)
		srv.Stdout.WaitFor(t, ": received ")
		client.Signal(os.Kill)
		if blocks {
			srv.Stdout.WaitFor(t, ": error: end of file without the empty block (the 30 bytes that came are no message)\n")
		} else {
			srv.Stdout.WaitFor(t, fmt.Sprintf(": the message, 30 bytes: %q\n", verses[0]))
		}
	}
}

// What a bad client sends before the end of its stream, and the verdict.
var badClients = []struct {
	blocks     bool
	name, wire string
	open       bool // the client does not end its stream
	want       string
	came       int
}{
	{false, "over the limit", strings.Repeat("x", 101), true, "more than the 100 bytes allowed", 101},
	{true, "4 GiB claimed", "\xff\xff\xff\xffxyz", true, "more than the 100 bytes allowed", 0},
	{true, "one block over the limit", wire(true, strings.Repeat("x", 101)), true, "more than the 100 bytes allowed", 0},
	{true, "two blocks over the limit", wire(true, strings.Repeat("x", 51)) + wire(true, strings.Repeat("x", 50)), true, "more than the 100 bytes allowed", 51},
	{true, "no empty block", wire(true, "hola"), false, "end of file without the empty block", 4},
	{true, "nothing", "", false, "end of file without the empty block", 0},
	{true, "cut inside the length", wire(true, "hola") + "\x00\x00", false, "end of file inside a block", 4},
	{true, "cut after the length", "\x00\x00\x00\x05", false, "end of file inside a block", 0},
	{true, "cut inside a block", wire(true, "hola") + "\x00\x00\x00\x05hol", false, "end of file inside a block", 4},
	{true, "no length at all", "hola", true, "more than the 100 bytes allowed", 0},
}

func TestBadClients(t *testing.T) {
	for _, answer := range []bool{false, true} {
		servers := map[bool]*clitest.Process{}
		for _, blocks := range []bool{false, true} {
			more := append(flags(blocks), "-max", "100", "-timeout", "1h")
			if answer {
				more = append(more, "-answer")
			}
			servers[blocks] = start(t, more...)
		}
		for _, bad := range badClients {
			t.Run(fmt.Sprintf("%s, answer=%v", bad.name, answer), func(t *testing.T) {
				srv := servers[bad.blocks]
				conn := clitest.Dial(t, srv.Addr)
				write(t, conn, bad.wire)
				if !bad.open {
					require.NoError(t, conn.CloseWrite())
				}
				if answer {
					requireReply(t, conn, wire(bad.blocks, complaint+bad.want))
				}
				srv.Stdout.WaitFor(t, fmt.Sprintf("%s: error: %s (the %d bytes that came are no message)\n", conn.LocalAddr(), bad.want, bad.came))
				if !answer && bad.open {
					// The server could say nothing any more, but it has
					// broken the connection off: writing fails.
					var err error
					for err == nil {
						_, err = io.WriteString(conn, "x")
					}
					require.Contains(t, []cli.Cause{cli.Reset, cli.HungUp}, cli.CauseOf(err), "%v", err)
				}
				requireServed(t, srv, bad.blocks)
			})
		}
		for blocks, srv := range servers {
			t.Run(fmt.Sprintf("a reset, blocks=%v, answer=%v", blocks, answer), func(t *testing.T) {
				conn := clitest.Dial(t, srv.Addr)
				write(t, conn, wire(blocks, "hola"))
				srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": received ")
				require.NoError(t, conn.SetLinger(0)) // Close will send RST, not FIN
				require.NoError(t, conn.Close())
				srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": error: reset: the client broke the connection off (the 4 bytes that came are no message)\n")
				requireServed(t, srv, blocks)
				require.Equal(t, cli.OK, srv.Stop())
			})
		}
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	for _, blocks := range []bool{false, true} {
		srv := start(t, append(flags(blocks), "-timeout", "500ms", "-answer")...)
		for _, sent := range []string{"", "hola"} {
			conn := clitest.Dial(t, srv.Addr)
			if sent != "" {
				write(t, conn, wire(blocks, sent))
			}
			requireReply(t, conn, wire(blocks, complaint+"silence for too long"))
			srv.Stdout.WaitFor(t, fmt.Sprintf("%s: error: silence for too long (the %d bytes that came are no message)\n", conn.LocalAddr(), len(sent)))
			requireServed(t, srv, blocks)
		}
	}
}

// TestPatience runs on virtual time: silence is what counts, not how long a
// stream takes altogether.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, peer := net.Pipe()
		defer here.Close()
		defer peer.Close()
		const pieces = 1000
		go func() {
			for range pieces {
				time.Sleep(29 * time.Second)
				if _, err := io.WriteString(peer, "x"); err != nil {
					return
				}
			}
		}()
		s := service{max: pieces, timeout: 30 * time.Second, out: io.Discard}
		begin := time.Now()
		message, err := s.stream(t.Context(), framing.NewConn(here, format(false), nil))
		require.Equal(t, cli.TimedOut, cli.CauseOf(err))
		require.Len(t, message, pieces)
		require.Equal(t, pieces*29*time.Second+30*time.Second, time.Since(begin))
	})
}

// TestServedMeanwhile has clients in the middle of their streams, for as long
// as they like, while others come and go.
func TestServedMeanwhile(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		srv := start(t, append(flags(blocks), "-timeout", "1h")...)
		message := wire(blocks, "slowly")
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
			defer srv.Stdout.WaitFor(t, conn.LocalAddr().String()+`: the message, 4 bytes: "good"`)
			wg.Go(func() { errs[i] = sendGood(conn, blocks) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		requireServed(t, srv, blocks)
		for n, conn := range slow { // and in the end they too are served
			write(t, conn, message[n:])
			if blocks {
				write(t, conn, wire(blocks, ""))
			}
			require.NoError(t, conn.CloseWrite())
			srv.Stdout.WaitFor(t, conn.LocalAddr().String()+`: the message, 6 bytes: "slowly"`)
		}
	}
}

// TestClients holds the only place; the next client is served when it is free.
func TestClients(t *testing.T) {
	srv := start(t, "-clients", "1", "-timeout", "1h")
	first, second := clitest.Dial(t, srv.Addr), clitest.Dial(t, srv.Addr)
	write(t, second, "second")
	require.NoError(t, second.CloseWrite())
	srv.Stdout.WaitFor(t, first.LocalAddr().String()+": connected")
	require.NoError(t, first.CloseWrite())
	out := srv.Stdout.WaitFor(t, `6 bytes: "second"`)
	require.Less(t, strings.Index(out, first.LocalAddr().String()+": the message, 0 bytes"), strings.Index(out, second.LocalAddr().String()+": connected"))
}

// TestStop ends the server while one client has sent nothing yet and others
// are in the middle of their streams.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, blocks := range []bool{false, true} {
		srv := start(t, append(flags(blocks), "-timeout", "1h")...)
		clitest.Dial(t, srv.Addr)
		conn := clitest.Dial(t, srv.Addr)
		write(t, conn, wire(blocks, "hola"))
		srv.Stdout.WaitFor(t, ": received ")
		write(t, clitest.Dial(t, srv.Addr), wire(blocks, "hola")[:2])
		requireServed(t, srv, blocks)
		require.Equal(t, cli.OK, srv.Stop())
		require.Empty(t, srv.Stderr.String())
		require.NotContains(t, srv.Stdout.String(), "error")
	}
}

// TestBadServers has servers that break the rules, and what the client says.
func TestBadServers(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		name string
		do   func(conn *net.TCPConn, gone <-chan struct{}) // then the connection is closed; gone: the client has ended
		args []string
		want string
	}{
		{"no answer", func(*net.TCPConn, <-chan struct{}) {}, []string{"-answer"}, "%s has closed its direction without an answer (was it started with -answer?)"},
		{"no answer, blocks", func(*net.TCPConn, <-chan struct{}) {}, []string{"-answer", "-blocks"}, "%s has closed its direction without an answer (was it started with -answer?)"},
		{"reset", func(conn *net.TCPConn, _ <-chan struct{}) { conn.SetLinger(0) }, []string{"-answer"}, "no answer from %s: reset: the other side broke the connection off"},
		{"silent", func(_ *net.TCPConn, gone <-chan struct{}) { <-gone }, []string{"-answer"}, "no answer from %s: timed out: no answer came"},
		{"cut", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, "\x00\x00\x00\x05rec") }, []string{"-answer", "-blocks"}, "no answer from %s: the other side closed the connection in the middle of a message"},
		{"4 GiB claimed", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, "\xff\xff\xff\xffx") }, []string{"-answer", "-blocks"}, "no answer from %s: it has more than 4096 bytes"},
		{"endless", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, strings.Repeat("x", 5000)) }, []string{"-answer"}, "no answer from %s: it has more than 4096 bytes"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served, gone := make(chan error, 1), make(chan struct{})
			go func() {
				conn, err := ln.Accept()
				if err == nil {
					conn.SetDeadline(time.Now().Add(clitest.Limit))
					_, err = io.Copy(io.Discard, conn) // what is left unread would turn our close into a reset
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
			got := clitest.Run(t, "", append([]string{"client", "-port", port, "-pause", "0s", "-timeout", timeout}, bad.args...)...)
			close(gone)
			require.NoError(t, ln.Close())
			require.NoError(t, <-served)
			require.Equal(t, cli.Failure, got.Status)
			require.Equal(t, "streamer: "+fmt.Sprintf(bad.want, ln.Addr())+"\n", got.Stderr)
		})
	}
	// A server that breaks off while the client sends.
	for _, more := range [][]string{nil, {"-blocks"}} {
		srv := start(t, append([]string{"-max", "10"}, more...)...)
		got := clitest.Run(t, strings.Repeat("x\n", 1000), append([]string{"client", "-port", srv.Port(), "-pause", "5ms"}, append(more, "-")...)...)
		require.Equal(t, cli.Failure, got.Status)
		require.Regexp(t, `^streamer: cannot send to [^ ]+ over tcp: (reset: |the other side has closed).*\n$`, got.Stderr)
	}
}

// TestInput has a line of the input that is too long, which is not the
// network's fault.
func TestInput(t *testing.T) {
	srv := start(t, "-answer")
	got := clitest.Run(t, "short\n"+strings.Repeat("x", maxLine+1), "client", "-port", srv.Port(), "-answer", "-pause", "0s", "-")
	require.Equal(t, cli.Failure, got.Status)
	require.Equal(t, "streamer: reading the lines: line 2 of the input is longer than 1048576 bytes\n", got.Stderr)
	got = clitest.Run(t, "", "client", "-port", srv.Port(), "-", "-answer")
	require.Equal(t, cli.BadUsage, got.Status)
}

// FuzzBlocks sends the server any bytes at all as blocks.
func FuzzBlocks(f *testing.F) {
	for _, bad := range badClients {
		f.Add([]byte(bad.wire))
	}
	f.Add([]byte(wire(true, "hola") + wire(true, "") + "more"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		const limit = 100
		var want []byte
		ended, rest := false, stream
		for len(rest) >= 4 && !ended {
			n := binary.BigEndian.Uint32(rest)
			if int64(n) > int64(min(len(rest)-4, limit-len(want))) {
				break
			}
			want, rest, ended = append(want, rest[4:4+n]...), rest[4+n:], n == 0
		}
		s := service{blocks: true, max: limit, out: io.Discard}
		c := framing.NewConn(input{bytes.NewReader(stream)}, format(true), &framing.Config{MaxSize: limit})
		got, err := s.listBlocks(t.Context(), c)
		require.Equal(t, string(want), string(got))
		require.Equal(t, ended, err == nil, "%v", err)
	})
}

// input is a stream on which nothing is sent.
type input struct{ io.Reader }

func (input) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (input) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func TestWatch(t *testing.T) {
	w := &watch{out: io.Discard, more: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	fmt.Fprint(w, "one two one")
	require.NoError(t, w.wait(ctx, "one"))
	require.NoError(t, w.wait(ctx, "one"))
	go fmt.Fprint(w, "three")
	require.NoError(t, w.wait(ctx, "three"))
	cancel()
	require.ErrorIs(t, w.wait(ctx, "one"), context.Canceled)
}

// The course's streamer and its blocks, in Python as there.

const pythonClient = `
import socket, struct, sys
sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=20)
sock.shutdown(socket.SHUT_RD)
print('%s:%d' % sock.getsockname())
for text in sys.argv[3:]:
    data = text.encode()
    sock.sendall(struct.pack('>I', len(data)) + data if sys.argv[2] == 'blocks' else data)
if sys.argv[2] == 'blocks':
    sock.sendall(struct.pack('>I', 0))
sock.close()
`

func TestPythonClient(t *testing.T) {
	for _, mode := range []string{"stream", "blocks"} {
		srv := start(t, flags(mode == "blocks")...)
		p := python(t, pythonClient, srv.Port(), mode, verses[0], "¡y más!\n", verses[2])
		own := p.line(t)
		require.NoError(t, p.cmd.Wait())
		want := verses[0] + "¡y más!\n" + verses[2]
		srv.Stdout.WaitFor(t, fmt.Sprintf("%s: the message, %d bytes: %q\n", own, len(want), want))
	}
}

const pythonServer = `
import socket, struct, sys
listener = socket.create_server(('127.0.0.1', 0))
listener.settimeout(20)
print(listener.getsockname()[1], flush=True)
sock, peer = listener.accept()
sock.settimeout(20)
if sys.argv[2] != 'answer':
    sock.shutdown(socket.SHUT_WR)
def exactly(n):
    data = b''
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            sys.exit('cut after %d of %d bytes' % (len(data), n))
        data += more
    return data
message = b''
while True:
    if sys.argv[1] == 'blocks':
        length, = struct.unpack('>I', exactly(4))
        more = exactly(length)
    else:
        more = sock.recv(8192)
    if not more:
        break
    message += more
if sys.argv[2] == 'answer':
    reply = b'received %d bytes' % len(message)
    sock.sendall(struct.pack('>I', len(reply)) + reply if sys.argv[1] == 'blocks' else reply)
sock.close()
print(message.hex())
`

func TestPythonServer(t *testing.T) {
	for _, mode := range []string{"stream", "blocks"} {
		for _, answer := range []bool{false, true} {
			args := append(flags(mode == "blocks"), "-pause", "0s")
			says := "mute"
			if answer {
				args, says = append(args, "-answer"), "answer"
			}
			p := python(t, pythonServer, mode, says)
			port := p.line(t)
			got := clitest.Run(t, "", append([]string{"client", "-port", port}, args...)...)
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			require.Equal(t, fmt.Sprintf("%x", whole), p.line(t))
			require.NoError(t, p.cmd.Wait())
			require.Equal(t, answer, strings.Contains(got.Stdout, fmt.Sprintf("the answer is \"received %d bytes\"\n", len(whole))))
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

func flags(blocks bool) []string {
	if blocks {
		return []string{"-blocks"}
	}
	return nil
}

// wire is a piece as it is sent, made without package framing.
func wire(blocks bool, text string) string {
	if !blocks {
		return text
	}
	n := len(text)
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + text
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

// requireReply reads what the server sends until it closes its direction.
func requireReply(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	reply, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, want, string(reply))
}

// sendGood plays a good client.
func sendGood(conn *net.TCPConn, blocks bool) error {
	text := wire(blocks, "go") + wire(blocks, "od")
	if blocks {
		text += wire(blocks, "")
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	return conn.CloseWrite()
}

// requireServed sees that the server listens to another client.
func requireServed(t *testing.T, srv *clitest.Process, blocks bool) {
	t.Helper()
	conn := clitest.Dial(t, srv.Addr)
	require.NoError(t, sendGood(conn, blocks))
	srv.Stdout.WaitFor(t, conn.LocalAddr().String()+`: the message, 4 bytes: "good"`)
	require.NoError(t, conn.Close())
}
