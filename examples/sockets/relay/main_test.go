package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

// A client speaks the protocol byte by byte.
type client struct {
	*net.TCPConn
	t *testing.T
}

func dial(t *testing.T, addr string) client {
	t.Helper()
	return client{clitest.Dial(t, addr), t}
}

func framed(text string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}

func (c client) say(wire string) {
	c.t.Helper()
	_, err := io.WriteString(c, wire)
	require.NoError(c.t, err)
}

// hear expects one message.
func (c client) hear(want string) {
	c.t.Helper()
	got := make([]byte, len(framed(want)))
	_, err := io.ReadFull(c, got)
	require.NoError(c.t, err)
	require.Equal(c.t, framed(want), string(got))
}

// ends expects the end of the stream.
func (c client) ends() {
	c.t.Helper()
	rest, err := io.ReadAll(c)
	require.NoError(c.t, err)
	require.Empty(c.t, rest)
}

func TestWire(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, text := range []string{"hola", "", "¡Hola, Zócalo!\n", "\x00\xff", strings.Repeat("x", maxText)} {
		receiver, sender := dial(t, srv.Addr), dial(t, srv.Addr)
		receiver.say("\x00\x00\x00\x01R")
		srv.Stdout.WaitFor(t, receiver.LocalAddr().String()+" waits for a message\n")
		sender.say(framed("S" + text))
		receiver.hear("M" + text)
		receiver.say("\x00\x00\x00\x01K")
		sender.hear("D")
		receiver.ends() // the server closes both
		sender.ends()
		srv.Stdout.WaitFor(t, fmt.Sprintf("%s → %s: %d bytes delivered\n", sender.LocalAddr(), receiver.LocalAddr(), len(text)))
	}
}

func TestPrograms(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	const text = "¡Hola,\nZócalo!\n"

	receiver := clitest.StartClient(t, "", "receiver", "-port", srv.Port())
	srv.Stdout.WaitFor(t, "waits for a message")
	got := clitest.Run(t, text, "sender", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "\n17 bytes delivered\n")
	require.Equal(t, 0, receiver.Wait(), receiver.Stderr.String())
	require.True(t, strings.HasSuffix(receiver.Stdout.String(), "\n"+text+"\n"), receiver.Stdout.String())

	// The sender first: it waits.
	sender := clitest.StartClient(t, "not this", "sender", "-port", srv.Port(), "-text", "this")
	srv.Stdout.WaitFor(t, "has a message of 4 bytes, and there is no receiver yet\n")
	got = clitest.Run(t, "", "receiver", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "\nthis\n")
	require.Equal(t, 0, sender.Wait(), sender.Stderr.String())
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0")
	receiver := clitest.StartClient(t, "", "receiver", "-host", "::1", "-port", srv.Port())
	srv.Stdout.WaitFor(t, "waits for a message")
	got := clitest.Run(t, "", "sender", "-host", "::1", "-port", srv.Port(), "-text", "hola")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 0, receiver.Wait())
	require.Contains(t, receiver.Stdout.String(), "\nhola\n")
}

// Both sides are served in the order in which they came.
func TestOrder(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	first, second := dial(t, srv.Addr), dial(t, srv.Addr)
	for _, receiver := range []client{first, second} {
		receiver.say(framed("R"))
		srv.Stdout.WaitFor(t, receiver.LocalAddr().String()+" waits")
	}
	for i, receiver := range []client{first, second} {
		sender := dial(t, srv.Addr)
		sender.say(framed(fmt.Sprint("S", i)))
		receiver.hear(fmt.Sprint("M", i))
		receiver.say(framed("K"))
		sender.hear("D")
	}
	var senders []client
	for i := range 3 {
		sender := dial(t, srv.Addr)
		sender.say(framed(fmt.Sprint("S", i)))
		srv.Stdout.WaitFor(t, sender.LocalAddr().String()+" has a message")
		senders = append(senders, sender)
	}
	for i, sender := range senders {
		receiver := dial(t, srv.Addr)
		receiver.say(framed("R"))
		receiver.hear(fmt.Sprint("M", i))
		receiver.say(framed("K"))
		sender.hear("D")
	}
}

func TestManyPairs(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	const pairs = 40
	var wg sync.WaitGroup
	texts := make(chan string, pairs)
	for i := range pairs {
		receiver, sender := dial(t, srv.Addr), dial(t, srv.Addr)
		wg.Go(func() {
			fmt.Fprint(receiver, framed("R"))
			msg, err := framing.NewReader(receiver, nil).ReadMessage()
			if err == nil {
				fmt.Fprint(receiver, framed("K"))
				texts <- string(msg)
			}
		})
		wg.Go(func() {
			fmt.Fprint(sender, framed(fmt.Sprint("S", i)))
			io.Copy(io.Discard, sender)
		})
	}
	wg.Wait()
	close(texts)
	seen := map[string]bool{}
	for text := range texts {
		seen[text] = true
	}
	require.Len(t, seen, pairs, "each message came once")
}

// A receiver that has left gets nothing: the message is for the next.
func TestReceiverLeaves(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, leave := range []func(client){
		func(c client) { c.Close() },
		func(c client) { c.SetLinger(0); c.Close() }, // a reset
	} {
		gone := dial(t, srv.Addr)
		gone.say(framed("R"))
		srv.Stdout.WaitFor(t, gone.LocalAddr().String()+" waits")
		leave(gone)
		srv.Stdout.WaitFor(t, gone.LocalAddr().String()+": error: it ")
		sender, receiver := dial(t, srv.Addr), dial(t, srv.Addr)
		sender.say(framed("Shola"))
		srv.Stdout.WaitFor(t, sender.LocalAddr().String()+" has a message")
		receiver.say(framed("R"))
		receiver.hear("Mhola")
		receiver.say(framed("K"))
		sender.hear("D")
	}
}

// What a receiver does not say that it has, its sender is not told is there.
func TestNotKept(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-timeout", "300ms")
	for _, test := range []struct {
		name string
		then func(client)
		why  string
	}{
		{"leaves", func(c client) { c.Close() }, "it has left"},
		{"breaks off", func(c client) { c.SetLinger(0); c.Close() }, "it broke the connection off"},
		{"says something else", func(c client) { c.say(framed("Kept")) }, "it was to say that it has the message, and said something else"},
		{"is silent", func(client) {}, "it has not said within 300ms that it has the message"},
		{"stops in the middle", func(c client) { c.say("\x00\x00\x00\x01"); c.CloseWrite() }, "its message is cut"},
	} {
		t.Run(test.name, func(t *testing.T) {
			receiver, sender := dial(t, srv.Addr), dial(t, srv.Addr)
			receiver.say(framed("R"))
			srv.Stdout.WaitFor(t, receiver.LocalAddr().String()+" waits")
			sender.say(framed("Shola"))
			receiver.hear("Mhola")
			test.then(receiver)
			sender.hear(fmt.Sprintf("Ethe receiver %s may not have got the message: %s", receiver.LocalAddr(), test.why))
			sender.ends()
		})
	}
}

// A sender may go, or close its direction, when it has said what it had to say.
func TestSenderLeaves(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, test := range []struct {
		leave func(client) error
		told  bool
	}{
		{func(c client) error { return c.CloseWrite() }, true},
		{func(c client) error { return c.Close() }, false},
	} {
		sender := dial(t, srv.Addr)
		sender.say(framed("Shola"))
		srv.Stdout.WaitFor(t, sender.LocalAddr().String()+" has a message")
		require.NoError(t, test.leave(sender))
		receiver := dial(t, srv.Addr)
		receiver.say(framed("R"))
		receiver.hear("Mhola")
		receiver.say(framed("K"))
		receiver.ends()
		if test.told {
			sender.hear("D")
			sender.ends()
		}
	}
}

// Each mistake ends its own connection with one reason, and the two who do it
// right are served all the while.
func TestBadClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-max", "100", "-timeout", "300ms")
	waiting := dial(t, srv.Addr)
	waiting.say(framed("R"))
	srv.Stdout.WaitFor(t, waiting.LocalAddr().String()+" waits")
	for _, test := range []struct{ name, wire, why string }{
		{"no kind", framed(""), "a message without a kind"},
		{"no such kind", framed("Xhola"), "no message begins with the kind 'X'"},
		{"the server's kind", framed("Mhola"), "no message begins with the kind 'M'"},
		{"a text with R", framed("Rhola"), "a text together with the kind 'R'"},
		{"too long", framed("S" + strings.Repeat("x", 101)), "a text of 101 bytes, and 100 are allowed"},
		{"4 GiB claimed", "\xff\xff\xff\xffS", "a text of 4294967294 bytes, and 100 are allowed"},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", "a text of 1195725855 bytes, and 100 are allowed"},
		{"silent", "", "it has said nothing for 300ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, srv.Addr)
			c.say(test.wire)
			c.hear("E" + test.why)
			c.ends()
			srv.Stdout.WaitFor(t, c.LocalAddr().String()+": error: "+test.why+"\n")
		})
	}
	for _, test := range []struct{ name, wire, why string }{
		{"leaves at once", "", "it left without a word"},
		{"cut in the length", "\x00\x00", "its message is cut"},
		{"cut in the text", framed("Shola")[:7], "its message is cut"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, srv.Addr)
			c.say(test.wire)
			require.NoError(t, c.CloseWrite())
			c.hear("E" + test.why)
			c.ends()
		})
	}
	t.Run("K too early", func(t *testing.T) {
		c := dial(t, srv.Addr)
		c.say(framed("R") + framed("K"))
		c.hear("Eit says that it has the message, and there was none")
		c.ends()
	})
	t.Run("stops in the length", func(t *testing.T) {
		c := dial(t, srv.Addr)
		c.say("\x00\x00")
		srv.Stdout.WaitFor(t, c.LocalAddr().String()+": error: it ") // has said nothing, or stopped
		all, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "Eit ", string(all[4:8]))
	})
	reset := dial(t, srv.Addr)
	reset.say("\x00")
	require.NoError(t, reset.SetLinger(0))
	require.NoError(t, reset.Close())
	srv.Stdout.WaitFor(t, reset.LocalAddr().String()+": error: it ")

	sender := dial(t, srv.Addr)
	sender.say(framed("S" + strings.Repeat("x", 100)))
	waiting.hear("M" + strings.Repeat("x", 100))
	waiting.say(framed("K"))
	sender.hear("D")
}

// The limits of waiting, on virtual time.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		for _, test := range []struct{ first, why string }{
			{"R", "no message came within 30s"},
			{"Shola", "no receiver came within 30s"},
		} {
			client := serve(t, s)
			began := time.Now()
			_, err := io.WriteString(client, framed(test.first))
			require.NoError(t, err)
			msg, err := framing.NewReader(client, nil).ReadMessage()
			require.NoError(t, err)
			require.Equal(t, "E"+test.why, string(msg))
			require.Equal(t, 30*time.Second, time.Since(began))
			client.Close()
			synctest.Wait()
			require.Empty(t, s.receivers)
			require.Empty(t, s.senders)
		}
	})
}

// At the very moment when a wait ends the other side comes. Whatever happens,
// both hear the same.
func TestLastMoment(t *testing.T) {
	for _, first := range []string{"R", "S"} {
		for range 20 {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				early := serve(t, s)
				fmt.Fprint(early, framed(first))
				answers := make(chan string, 2)
				talk := func(c net.Conn) {
					r := framing.NewReader(c, nil)
					msg, _ := r.ReadMessage()
					if strings.HasPrefix(string(msg), "M") {
						fmt.Fprint(c, framed("K"))
					}
					answers <- string(msg)
				}
				go talk(early)
				time.Sleep(s.wait)
				late := serve(t, s)
				fmt.Fprint(late, framed(map[string]string{"R": "S", "S": "R"}[first]))
				go talk(late)
				got := []string{<-answers, <-answers}
				if got[0][0] == kindError {
					require.Equal(t, byte(kindError), got[1][0], "%q", got)
				} else {
					require.ElementsMatch(t, []string{"M", "D"}, got)
				}
				early.Close()
				late.Close()
			})
		}
	}
}

func newService(t testing.TB) *service {
	return &service{wait: 30 * time.Second, timeout: 10 * time.Second, max: 1000, ctx: t.Context(), out: io.Discard}
}

// serve has s serve the other end of the connection that it returns.
func serve(t testing.TB, s *service) net.Conn {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		s.serve(t.Context(), framing.NewConn(server, nil, &framing.Config{
			MaxSize: s.max + 1, IdleTimeout: -1, ReadTimeout: s.timeout, WriteTimeout: s.timeout,
		}))
	}()
	return client
}

// Whatever a client sends, the server answers with messages that have a kind,
// ends, and keeps nothing.
func FuzzServer(f *testing.F) {
	f.Add([]byte(framed("R")), []byte(framed("Shola")))
	f.Add([]byte(framed("R")+framed("K")), []byte(framed("S")))
	f.Add([]byte(framed("Rx")), []byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x00"), []byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			var wg sync.WaitGroup
			for _, wire := range [][]byte{first, second} {
				client := serve(t, s)
				wg.Go(func() { client.Write(wire) })
				wg.Go(func() {
					var all bytes.Buffer
					io.Copy(&all, client)
					for msg, err := range framing.NewReader(&all, nil).Messages() {
						require.NoError(t, err)
						require.Contains(t, "MDE", string(msg[0]))
					}
					client.Close()
				})
				synctest.Wait()
			}
			wg.Wait()
			synctest.Wait()
			require.Empty(t, s.receivers)
			require.Empty(t, s.senders)
		})
	})
}

// A server that stops lets nobody hang.
func TestStopsWhileWaiting(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	receiver := clitest.StartClient(t, "", "receiver", "-port", srv.Port())
	srv.Stdout.WaitFor(t, "waits for a message")
	require.Zero(t, srv.Stop())
	require.Equal(t, 1, receiver.Wait())
	require.Equal(t, "relay: no answer from "+srv.Addr+": the other side has closed the connection\n", receiver.Stderr.String())
}

// Whatever a server does, a client ends with one line.
func TestBadServers(t *testing.T) {
	answer := func(wire string) func(net.Conn, <-chan struct{}) {
		return func(c net.Conn, _ <-chan struct{}) {
			framing.NewReader(c, nil).ReadMessage()
			io.WriteString(c, wire)
		}
	}
	for _, test := range []struct {
		name  string
		serve func(net.Conn, <-chan struct{})
		why   string
	}{
		{"silent", func(_ net.Conn, over <-chan struct{}) { <-over }, "nothing from ADDR within 300ms"},
		{"hangs up", answer(""), "no answer from ADDR: the other side has closed the connection"},
		{"cut", answer(framed("Mhola")[:6]), "framing: receive ADDR: the stream ends inside a message, after 2 of 5 bytes: the other side closed the connection in the middle of a message"},
		{"4 GiB claimed", answer("\xff\xff\xff\xff"), "ADDR has a longer message than -max allows"},
		{"empty", answer(framed("")), `ADDR sends "" instead of a message of the kind 'KIND'`},
		{"another kind", answer(framed("Zoo\x1b")), `ADDR sends "Zoo\x1b" instead of a message of the kind 'KIND'`},
		{"an error for the terminal", answer(framed("Eno\x1b[2J")), "ADDR: no[2J"},
	} {
		for command, kind := range map[string]string{"sender": "D", "receiver": "M"} {
			t.Run(test.name+" "+command, func(t *testing.T) {
				addr, port := clitest.Stranger(t, test.serve)
				got := clitest.Run(t, "hola", command, "-port", port, "-wait", "300ms")
				require.Equal(t, 1, got.Status)
				require.Equal(t, "relay: "+strings.NewReplacer("ADDR", addr, "KIND", kind).Replace(test.why)+"\n", got.Stderr)
			})
		}
	}
}

// What a message holds cannot command the receiver's terminal.
func TestControlCharacters(t *testing.T) {
	_, port := clitest.Stranger(t, func(c net.Conn, _ <-chan struct{}) {
		r := framing.NewReader(c, nil)
		r.ReadMessage()
		io.WriteString(c, framed("M\x1b[2Ja\tb\r\nc\x07\u009b"))
		r.ReadMessage()
	})
	got := clitest.Run(t, "", "receiver", "-port", port)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.True(t, strings.HasSuffix(got.Stdout, "\n[2Ja\tb\nc\n"), "%q", got.Stdout)
}

func TestClientFailures(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-max", "10")
	got := clitest.Run(t, "eleven byte", "sender", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Equal(t, "relay: "+srv.Addr+": a text of 11 bytes, and 10 are allowed\n", got.Stderr)
	got = clitest.Run(t, strings.Repeat("x", 1<<20), "sender", "-port", srv.Port(), "-max", "2000000")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "relay: "+srv.Addr+": a text of 1048576 bytes, and 10 are allowed\n", got.Stderr)
	got = clitest.Run(t, "eleven byte", "sender", "-port", srv.Port(), "-max", "10")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "relay: reading the message: more than the 10 bytes that -max allows\n", got.Stderr)

	require.Zero(t, srv.Stop())
	for _, command := range []string{"sender", "receiver"} {
		got = clitest.Run(t, "", command, "-port", srv.Port())
		require.Equal(t, 1, got.Status)
		require.Equal(t, "relay: cannot connect to "+srv.Addr+" over tcp: refused: no program listens there\n", got.Stderr)
		got = clitest.Run(t, "", command, "-port", "0")
		require.Equal(t, 2, got.Status)
		got = clitest.Run(t, "", command, "-wait", "soon")
		require.Equal(t, 2, got.Status)
	}
}

// pythonPeers are a receiver and a sender, the server's two clients.
const pythonPeers = `
import socket, struct, sys, threading

def recvall(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        assert more, "cut"
        data += more
    return data

def get(s):
    (length,) = struct.unpack("!I", recvall(s, 4))
    return recvall(s, length)

def put(s, data):
    s.sendall(struct.pack("!I", len(data)) + data)

def connect(port):
    return socket.create_connection(("127.0.0.1", int(port)), timeout=30)
`

func TestPythonClients(t *testing.T) {
	python := interop.Python(t)
	srv := clitest.Start(t, "server", "-port", "0")
	const text = "¡Hola, Zócalo!"

	receiver := clitest.StartClient(t, "", "receiver", "-port", srv.Port())
	srv.Stdout.WaitFor(t, "waits for a message")
	out, err := exec.CommandContext(t.Context(), python, "-c", pythonPeers+`
s = connect(sys.argv[1])
put(s, b"S" + "`+text+`".encode())
assert get(s) == b"D"
assert s.recv(1) == b""
`, srv.Port()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, 0, receiver.Wait(), receiver.Stderr.String())
	require.Contains(t, receiver.Stdout.String(), "\n"+text+"\n")

	sender := clitest.StartClient(t, text, "sender", "-port", srv.Port())
	out, err = exec.CommandContext(t.Context(), python, "-c", pythonPeers+`
s = connect(sys.argv[1])
put(s, b"R")
message = get(s)
put(s, b"K")
assert s.recv(1) == b""
assert message[:1] == b"M", message
print(message[1:].decode())
`, srv.Port()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, text+"\n", string(out))
	require.Equal(t, 0, sender.Wait(), sender.Stderr.String())
}

// pythonServer serves one receiver and then one sender, as the course's does.
const pythonServer = pythonPeers + `
ln = socket.create_server(("127.0.0.1", 0))
ln.settimeout(30)
print("listening on %s:%d" % ln.getsockname(), flush=True)
receiver, _ = ln.accept()
receiver.settimeout(30)
assert get(receiver) == b"R"
print("ready", flush=True)
sender, _ = ln.accept()
sender.settimeout(30)
message = get(sender)
put(receiver, b"M" + message[1:])
assert get(receiver) == b"K"
put(sender, b"D")
`

func TestPythonServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", pythonServer)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var addr, ready string
	_, err = fmt.Fscanf(out, "listening on %s\n", &addr)
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	receiver := clitest.StartClient(t, "", "receiver", "-port", port)
	_, err = fmt.Fscanln(out, &ready)
	require.NoError(t, err)
	got := clitest.Run(t, "¡Hola!", "sender", "-port", port)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 0, receiver.Wait(), receiver.Stderr.String())
	require.Contains(t, receiver.Stdout.String(), "\n¡Hola!\n")
	require.NoError(t, cmd.Wait())
}
