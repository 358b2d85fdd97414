package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-naive"})
}

func TestTexts(t *testing.T) {
	for _, text := range []string{greeting, farewell, complaint} {
		require.Len(t, text, size)
	}
}

func TestExchange(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			clitest.NeedHost(t, host)
			srv := clitest.Start(t, "server", "-host", host, "-port", "0")
			got := clitest.Run(t, "", "client", "-host", host, "-port", srv.Port())
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			require.Contains(t, got.Stdout, `the answer is "Farewell, client"`)

			// Both ends have both names, each the other way round.
			_, after, _ := strings.Cut(got.Stdout, "this end is ")
			name, _, _ := strings.Cut(after, ",")
			require.Contains(t, got.Stdout, "this end is "+name+", the other "+srv.Addr+"\n")
			out := srv.Stdout.WaitFor(t, name+": goodbye\n")
			require.Contains(t, out, "this end is "+srv.Addr+", the other "+name+"\n")
			require.Contains(t, out, name+`: the message is "Hi there, server"`+"\n")
		})
	}
}

func TestOctetsAreNotCharacters(t *testing.T) {
	const text = "¡Hola, servidor!" // sixteen characters, and the first has two octets
	got := clitest.Run(t, "", "client", "-port", "9", "-text", text)
	require.Equal(t, cli.BadUsage, got.Status)
	require.Contains(t, got.Stderr, "-text has 17 octets, not 16")
}

// TestPieces sends a message in two pieces, the second of which leaves only
// when the server has shown the first.
func TestPieces(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	conn := clitest.Dial(t, srv.Addr)
	write(t, conn, greeting[:7])
	srv.Stdout.WaitFor(t, "a Read gave 7: 7 of 16 octets\n")
	write(t, conn, greeting[7:])
	srv.Stdout.WaitFor(t, "a Read gave 9: 16 of 16 octets\n")
	requireReply(t, conn, farewell)
	srv.Stdout.WaitFor(t, `the message is "Hi there, server"`)
}

// TestNaive shows what the same two pieces do to a server that reads once.
func TestNaive(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-naive")
	conn := clitest.Dial(t, srv.Addr)
	write(t, conn, greeting[:7])
	srv.Stdout.WaitFor(t, `the message is "Hi ther", or is it? That is 7 of 16 octets`)
	write(t, conn, greeting[7:])
	requireReply(t, conn, farewell)
}

func TestDribble(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-dribble", "1", "-pause", "1ms", "-text", "0123456789abcdef")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	srv.Stdout.WaitFor(t, `the message is "0123456789abcdef"`)
}

// A bad client breaks the rules on conn; want is what the server says of it.
type badClient struct {
	name  string
	do    func(t *testing.T, conn *net.TCPConn)
	reply string
	want  string
}

var badClients = []badClient{
	{"nothing, then the end", func(t *testing.T, conn *net.TCPConn) {
		require.NoError(t, conn.CloseWrite())
	}, complaint, "hung up without a message"},
	{"seven octets, then the end", func(t *testing.T, conn *net.TCPConn) {
		write(t, conn, greeting[:7])
		require.NoError(t, conn.CloseWrite())
	}, complaint, "hung up inside the message, after 7 of 16 octets"},
	{"seven octets, then gone", func(t *testing.T, conn *net.TCPConn) {
		write(t, conn, greeting[:7])
		require.NoError(t, conn.Close())
	}, "", "hung up inside the message, after 7 of 16 octets"},
	{"a seventeenth octet", func(t *testing.T, conn *net.TCPConn) {
		write(t, conn, greeting+"!")
	}, farewell, "sent more than 16 octets: at least 17"},
	{"a second message", func(t *testing.T, conn *net.TCPConn) {
		write(t, conn, greeting+greeting)
	}, farewell, "sent more than 16 octets: at least 32"},
	{"a claim of 4 GiB, which means nothing here", func(t *testing.T, conn *net.TCPConn) {
		write(t, conn, "\xff\xff\xff\xff")
		require.NoError(t, conn.CloseWrite())
	}, complaint, "hung up inside the message, after 4 of 16 octets"},
}

func TestBadClients(t *testing.T) {
	// No limit of time plays a part here.
	srv := clitest.Start(t, "server", "-port", "0", "-timeout", "1h")
	for _, bad := range badClients {
		t.Run(bad.name, func(t *testing.T) {
			conn := clitest.Dial(t, srv.Addr)
			name := conn.LocalAddr().String()
			bad.do(t, conn)
			if bad.reply != "" {
				requireReply(t, conn, bad.reply)
			}
			srv.Stdout.WaitFor(t, name+": error: "+bad.want+"\n")
			requireServed(t, srv)
		})
	}
	t.Run("a reset", func(t *testing.T) {
		conn := clitest.Dial(t, srv.Addr)
		name := conn.LocalAddr().String()
		write(t, conn, greeting[:7])
		srv.Stdout.WaitFor(t, name+": a Read gave 7: 7 of 16 octets\n")
		reset(t, conn)
		srv.Stdout.WaitFor(t, name+": error: broke the connection off, after 7 of 16 octets\n")
		requireServed(t, srv)
	})
	t.Run("none is reported twice", func(t *testing.T) {
		require.Equal(t, len(badClients)+1, strings.Count(srv.Stdout.String(), "error: "))
	})
	require.Equal(t, cli.OK, srv.Stop())
}

// TestSilence has clients that say nothing, or nothing more, or do not hang up.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, naive := range []bool{false, true} {
		t.Run(fmt.Sprintf("naive=%v", naive), func(t *testing.T) {
			args := []string{"server", "-port", "0", "-timeout", "500ms"}
			if naive {
				args = append(args, "-naive")
			}
			srv := clitest.Start(t, args...)
			conn := clitest.Dial(t, srv.Addr)
			if !naive {
				requireReply(t, conn, complaint)
			}
			srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": error: silent for too long, after 0 of 16 octets\n")
			if naive {
				return
			}
			conn = clitest.Dial(t, srv.Addr)
			write(t, conn, greeting[:7])
			requireReply(t, conn, complaint)
			srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": error: silent for too long, after 7 of 16 octets\n")

			conn = clitest.Dial(t, srv.Addr)
			write(t, conn, greeting)
			requireReply(t, conn, farewell)
			srv.Stdout.WaitFor(t, conn.LocalAddr().String()+": error: has its answer, but does not hang up\n")
		})
	}
}

// TestServedMeanwhile has clients in the middle of their messages, for as long
// as they like, while others come and go.
func TestServedMeanwhile(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-timeout", "1h")
	var slow []*net.TCPConn
	for n := range size {
		conn := clitest.Dial(t, srv.Addr)
		write(t, conn, greeting[:n])
		slow = append(slow, conn)
	}
	requireServed(t, srv)
	var wg sync.WaitGroup
	replies := make([]string, 40)
	for i := range replies {
		conn := clitest.Dial(t, srv.Addr)
		wg.Go(func() {
			if _, err := io.WriteString(conn, greeting); err != nil {
				replies[i] = err.Error()
				return
			}
			reply, err := io.ReadAll(conn)
			replies[i] = fmt.Sprint(string(reply), err)
		})
	}
	wg.Wait()
	for _, reply := range replies {
		require.Equal(t, farewell+"<nil>", reply)
	}
	for n, conn := range slow { // and in the end they too are served
		write(t, conn, greeting[n:])
		requireReply(t, conn, farewell)
	}
}

// TestClients holds the only place; the next client is served when it is free.
func TestClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-clients", "1", "-timeout", "1h")
	first, second := clitest.Dial(t, srv.Addr), clitest.Dial(t, srv.Addr)
	write(t, second, greeting)
	require.NoError(t, second.CloseWrite())
	write(t, first, greeting)
	requireReply(t, first, farewell)
	require.NoError(t, first.Close())
	requireReply(t, second, farewell)
	out := srv.Stdout.WaitFor(t, second.LocalAddr().String()+": goodbye")
	require.Less(t, strings.Index(out, first.LocalAddr().String()+": goodbye"), strings.Index(out, second.LocalAddr().String()+": connected"))
}

// TestStop ends the server while clients have said nothing yet, or are in the
// middle of their messages.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, mode := range [][]string{nil, {"-naive"}} {
		srv := clitest.Start(t, append([]string{"server", "-port", "0", "-timeout", "1h"}, mode...)...)
		idle, slow := clitest.Dial(t, srv.Addr), clitest.Dial(t, srv.Addr)
		srv.Stdout.WaitFor(t, idle.LocalAddr().String()+": connected")
		srv.Stdout.WaitFor(t, slow.LocalAddr().String()+": connected")
		if mode == nil {
			write(t, slow, greeting[:7])
			srv.Stdout.WaitFor(t, "7 of 16")
		}
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
		want string
	}{
		{"hangs up", func(*net.TCPConn, <-chan struct{}) {}, "no answer: %s hung up without a message"},
		{"nine octets", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, farewell[:9]) }, "no answer: %s hung up inside the message, after 9 of 16 octets"},
		{"seventeen octets", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, farewell+"!") }, "%s sent more than 16 octets"},
		{"complains", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, complaint) }, "%s refuses the message: I want 16 octets"},
		{"reset", func(conn *net.TCPConn, _ <-chan struct{}) { conn.SetLinger(0) }, "no answer: %s broke the connection off, after 0 of 16 octets"},
		{"silent", func(_ *net.TCPConn, gone <-chan struct{}) { <-gone }, "no answer: %s silent for too long, after 0 of 16 octets"},
		{"silent after the answer", func(conn *net.TCPConn, gone <-chan struct{}) { io.WriteString(conn, farewell); <-gone }, "%s has answered, but does not hang up"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served, gone := make(chan error, 1), make(chan struct{})
			go func() {
				conn, err := ln.Accept()
				if err == nil {
					conn.SetDeadline(time.Now().Add(clitest.Limit))
					if _, err = io.ReadFull(conn, make([]byte, size)); err == nil {
						// The client's end of stream too: no octet is left
						// unread that would turn our close into a reset.
						_, err = io.Copy(io.Discard, conn)
					}
					bad.do(conn.(*net.TCPConn), gone)
					conn.Close()
				}
				served <- err
			}()
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			timeout := "1h"
			if strings.HasPrefix(bad.name, "silent") {
				timeout = "500ms"
			}
			got := clitest.Run(t, "", "client", "-port", port, "-timeout", timeout)
			close(gone)
			require.NoError(t, ln.Close())
			require.NoError(t, <-served)
			require.Equal(t, cli.Failure, got.Status)
			require.Equal(t, "sixteen: "+fmt.Sprintf(bad.want, ln.Addr())+"\n", got.Stderr)
		})
	}
	t.Run("nobody", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		require.NoError(t, ln.Close())
		got := clitest.Run(t, "", "client", "-port", port)
		require.Equal(t, cli.Failure, got.Status)
		require.Contains(t, got.Stderr, "refused: no program listens there")
	})
}

// TestSlowClient is told that the server's patience is over although it finds
// that out by a failed Write.
func TestSlowClient(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			io.WriteString(conn, complaint)
			err = conn.Close()
		}
		served <- err
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	got := clitest.Run(t, "", "client", "-port", port, "-dribble", "1", "-pause", "20ms")
	require.NoError(t, <-served)
	require.Equal(t, cli.Failure, got.Status)
	if runtime.GOOS == "linux" { // elsewhere a reset may destroy what came before it
		require.Contains(t, got.Stderr, complaint)
	}
}

// The course's client and server, in Python as there.

const pythonClient = `
import socket, sys
sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=20)
names = sock.getsockname()[1], sock.getpeername()[1]
if sys.argv[2] == 'pieces':
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in b'Hi there, server':
        sock.sendall(bytes([octet]))
else:
    sock.sendall(sys.argv[2].encode())
    sock.shutdown(socket.SHUT_WR)
reply = b''
while len(reply) < 16:
    more = sock.recv(16 - len(reply))
    if not more:
        sys.exit('cut after %d octets' % len(reply))
    reply += more
print(*names, reply.decode())
sock.close()
`

func TestPythonClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, c := range []struct{ send, reply, says string }{
		{"A Python client!", farewell, `the message is "A Python client!"`},
		{"pieces", farewell, `the message is "Hi there, server"`},
		{"Hi", complaint, "error: hung up inside the message, after 2 of 16 octets"},
	} {
		p := python(t, pythonClient, srv.Port(), c.send)
		line, err := p.out.ReadString('\n')
		require.NoError(t, err)
		own, rest, _ := strings.Cut(line, " ")
		require.Equal(t, srv.Port()+" "+c.reply+"\n", rest)
		require.NoError(t, p.cmd.Wait())
		srv.Stdout.WaitFor(t, "127.0.0.1:"+own+": "+c.says+"\n")
	}
}

const pythonServer = `
import socket, sys
listener = socket.create_server(('127.0.0.1', 0))
listener.settimeout(20)
print(listener.getsockname()[1], flush=True)
sock, peer = listener.accept()
sock.settimeout(20)
message = b''
while len(message) < 16:
    more = sock.recv(16 - len(message))
    if not more:
        sys.exit('cut after %d octets' % len(message))
    message += more
print(sock.getsockname()[1], sock.getpeername()[1], message.decode(), flush=True)
sock.sendall(b'Farewell, client')
sock.close()
`

func TestPythonServer(t *testing.T) {
	for _, more := range [][]string{nil, {"-dribble", "3", "-pause", "1ms"}} {
		p := python(t, pythonServer)
		port, err := p.out.ReadString('\n')
		require.NoError(t, err)
		port = strings.TrimSpace(port)
		got := clitest.Run(t, "", append([]string{"client", "-port", port}, more...)...)
		require.Equal(t, cli.OK, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, `the answer is "Farewell, client"`)
		line, err := p.out.ReadString('\n')
		require.NoError(t, err)
		var here, there int
		_, err = fmt.Sscan(line, &here, &there)
		require.NoError(t, err, line)
		require.Equal(t, fmt.Sprintf("%s %d %s\n", port, there, greeting), line)
		require.Contains(t, got.Stdout, fmt.Sprintf("this end is 127.0.0.1:%d, the other 127.0.0.1:%s\n", there, port))
		require.NoError(t, p.cmd.Wait())
	}
}

// A peer is a Python program; read its output to the end before Wait.
type peer struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func python(t *testing.T, script string, args ...string) *peer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), interop.Python(t), append([]string{"-c", script}, args...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return &peer{cmd, bufio.NewReader(out)}
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
}

// reset breaks conn off: no FIN, but a segment with RST.
func reset(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	require.NoError(t, conn.SetLinger(0))
	require.NoError(t, conn.Close())
}

// requireReply reads what the server sends until it closes its direction.
func requireReply(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	reply, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, want, string(reply))
}

// requireServed sees that the server answers another client.
func requireServed(t *testing.T, srv *clitest.Process) {
	t.Helper()
	conn := clitest.Dial(t, srv.Addr)
	write(t, conn, greeting)
	require.NoError(t, conn.CloseWrite())
	requireReply(t, conn, farewell)
	require.NoError(t, conn.Close())
}
