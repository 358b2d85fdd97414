package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

func TestEmote(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		":)":                         "🙂",
		"hola :) ¿qué tal? :-D":      "hola 🙂 ¿qué tal? 😀",
		":'( :( ;) :P :O :| :/ :*":   "😢 🙁 😉 😛 😮 😐 😕 😘",
		"<3 </3 XD B-) \\o/":         "❤️ 💔 😆 😎 🙌",
		"sí :), no :(.":              "sí 🙂, no 🙁.",
		"http://example.org":         "http://example.org",
		"see http:/ and a:) and 8:0": "see http:/ and a:) and 8:0",
		":):)":                       ":):)",
		":)x":                        ":)x",
		"(see above :)":              "(see above 🙂",
		"\t:)\n:D":                   "\t🙂\n😀",
		"\xff :) \xff":               "\xff 🙂 \xff",
		":-(":                        "🙁",
		"x <3":                       "x ❤️",
		"x<3":                        "x<3",
	} {
		require.Equal(t, want, emote(text), "%q", text)
	}
	for _, e := range emoticons {
		require.Equal(t, e.drawn+" x "+e.drawn+"!", emote(e.typed+" x "+e.typed+"!"))
	}
}

func FuzzEmote(f *testing.F) {
	f.Add("hola :) http://x <3")
	f.Add(":-):-) \xff :'(")
	f.Fuzz(func(t *testing.T, text string) {
		once := emote(text)
		require.Equal(t, once, emote(once), "nothing is left to replace")
		require.LessOrEqual(t, len(once), 3*len(text)+1)
		require.NotContains(t, printable(once), "\n")
	})
}

func TestNicks(t *testing.T) {
	for _, good := range []string{"Ana", "Žofie", "王小明", "x-1_2", strings.Repeat("ñ", maxNick)} {
		require.NoError(t, checkNick(good), "%q", good)
	}
	for _, bad := range []string{"", "Ana Bea", "Ana:", "a\nb", "\x1b[2J", "\xff", "a\u200fb", "a\u00a0b", strings.Repeat("ñ", maxNick+1)} {
		require.Error(t, checkNick(bad), "%q", bad)
	}
}

// Both ends show the same conversation, whatever the format.
func TestChat(t *testing.T) {
	for _, format := range []string{"json", "msgpack", "gob"} {
		t.Run(format, func(t *testing.T) {
			srv := clitest.Start(t, "server", "-port", "0", "-codec", format, "-nick", "Ana", "-say", "¡hola! :)\n\nhttp://x :P\nnever said")
			got := clitest.Run(t, "hi :D\nsecond\n\x1b[2J \xff\nBye\nnever said\n", "client", "-port", srv.Port(), "-codec", format, "-nick", "Bea")
			require.Equal(t, 0, got.Status, got.Stderr)
			const talk = "Bea: hi 😀\nAna: ¡hola! 🙂\nBea: second\nAna: \nBea:  [2J \ufffd\nAna: http://x 😛\nBea: bye\n"
			require.Equal(t, "you chat with Ana, and you begin\n"+talk, got.Stdout)
			require.True(t, strings.HasSuffix(srv.Stdout.WaitFor(t, "Bea: bye\n"), " and begins\n"+talk), srv.Stdout.String())
			require.Zero(t, srv.Stop())
		})
	}
}

// The server's user is the one who ends it, and with that the server.
func TestServerEnds(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-nick", "Ana", "-say", "hola")
	got := clitest.Run(t, "one\ntwo\nthree\n", "client", "-port", srv.Port(), "-nick", "Bea")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "you chat with Ana, and you begin\nBea: one\nAna: hola\nBea: two\nAna: bye\n", got.Stdout)
	require.Zero(t, srv.Wait())
}

// A bye that the user types ends the chat, and the server waits for another.
func TestNextChat(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-nick", "Ana", "-say", "bye\nhola again\nbye")
	got := clitest.Run(t, "one\n", "client", "-port", srv.Port(), "-nick", "Bea")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "Bea: one\nAna: bye\n")
	got = clitest.Run(t, "two\n", "client", "-port", srv.Port(), "-nick", "Cruz")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "you chat with Ana, and you begin\nCruz: two\nAna: hola again\nCruz: bye\n", got.Stdout)
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0")
	got := clitest.Run(t, "hola\n", "client", "-host", "::1", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "client: hola\nserver: bye\n")
}

// A peer speaks the protocol byte by byte.
type peer struct {
	net.Conn
	t testing.TB
	r *framing.Reader
}

func dial(t *testing.T, addr string) peer {
	t.Helper()
	conn := clitest.Dial(t, addr)
	return peer{conn, t, framing.NewReader(conn, nil)}
}

func framed(text string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}

// say sends a message, type and payload in one.
func (p peer) say(kind, payload string) {
	p.t.Helper()
	text, err := json.Marshal(map[string]string{"type": kind, "payload": payload})
	require.NoError(p.t, err)
	p.raw(framed(string(text)))
}

func (p peer) raw(wire string) {
	p.t.Helper()
	_, err := io.WriteString(p, wire)
	require.NoError(p.t, err)
}

func (p peer) hear(kind, payload string) {
	p.t.Helper()
	msg, err := p.r.ReadMessage()
	require.NoError(p.t, err)
	var got map[string]string
	require.NoError(p.t, json.Unmarshal(msg, &got))
	require.Equal(p.t, map[string]string{"type": kind, "payload": payload}, got)
}

func (p peer) ends() {
	p.t.Helper()
	_, err := p.r.ReadMessage()
	require.Equal(p.t, io.EOF, err)
}

// The bytes on the wire, for whoever writes the other end.
func TestWire(t *testing.T) {
	for format, hello := range map[string]string{
		"json":    `{"type":"nick","payload":"Bea"}`,
		"msgpack": "\x82\xa4type\xa4nick\xa7payload\xa3Bea",
	} {
		srv := clitest.Start(t, "server", "-port", "0", "-codec", format, "-nick", "Ana")
		p := dial(t, srv.Addr)
		p.raw(framed(hello))
		msg, err := p.r.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, strings.Replace(hello, "Bea", "Ana", 1), string(msg))
	}
}

// Somebody else who calls is told so; one who only connects keeps nobody out.
func TestBusy(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-nick", "Ana", "-say", "hola")
	dial(t, srv.Addr) // and says nothing
	first := dial(t, srv.Addr)
	first.say(nick, "Bea")
	first.hear(nick, "Ana")
	got := clitest.Run(t, "hola\n", "client", "-port", srv.Port(), "-nick", "Cruz")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "turnchat: "+srv.Addr+": bye at once: Ana is talking with somebody else\n", got.Stderr)
	srv.Stdout.WaitFor(t, "and must come another time\n")
	first.say(normal, "hi")
	first.hear(normal, "hola")
	first.say(bye, "see you")
	first.ends()
	srv.Stdout.WaitFor(t, "Bea: bye: see you\n")
}

// Whoever does not keep to the protocol hears why, and the server stays.
func TestRudeClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-nick", "Ana", "-timeout", "300ms", "-idle", "300ms", "-say", "hola")
	for _, test := range []struct {
		name string
		do   func(p peer)
		why  string // they hear
		log  string // the server prints; ADDR is their address
	}{
		{
			"no nick", func(p peer) { p.say(normal, "hola") },
			`nicks come first, and this is a message of the type "normal"`, `ADDR: nicks come first, and this is a message of the type "normal"`,
		},
		{"bad nick", func(p peer) { p.say(nick, "\x1b[2J") }, "the nick has a space, a colon or a control character", "ADDR: the nick has a space, a colon or a control character"},
		{"our nick", func(p peer) { p.say(nick, "Ana") }, "both have the same nick, Ana", "ADDR: both have the same nick, Ana"},
		{"silent", func(peer) {}, "no nick came within 300ms", "ADDR: no nick came within 300ms"},
		{
			"nick again", func(p peer) { p.say(nick, "Bea"); p.hear(nick, "Ana"); p.say(nick, "Cruz") },
			`Bea sends a message of the type "nick" in the middle of the chat`, `ADDR: Bea sends a message of the type "nick" in the middle of the chat`,
		},
		{
			"no such type", func(p peer) { p.say(nick, "Bea"); p.hear(nick, "Ana"); p.say("sh\x1bout", "x") },
			`Bea sends a message of the type "sh\x1bout" in the middle of the chat`, `ADDR: Bea sends a message of the type "sh\x1bout" in the middle of the chat`,
		},
		{
			"too much", func(p peer) { p.say(nick, "Bea"); p.hear(nick, "Ana"); p.say(normal, strings.Repeat("x", 4*maxLine+1)) },
			"Bea says more than 16384 bytes in one turn", "ADDR: Bea says more than 16384 bytes in one turn",
		},
		{"says nothing", func(p peer) { p.say(nick, "Bea"); p.hear(nick, "Ana") }, "Bea has said nothing for 300ms", "ADDR: Bea has said nothing for 300ms"},
		{
			"not JSON", func(p peer) { p.raw(framed("hola")) },
			"your message is not in the format that I was told, or no message at all", "ADDR sends what is no message of ours, as if its -codec were another (json: ",
		},
		{
			"cut JSON", func(p peer) { p.say(nick, "Bea"); p.hear(nick, "Ana"); p.raw(framed(`{"type":"no`)) },
			"your message is not in the format that I was told, or no message at all", "ADDR sends what is no message of ours, as if its -codec were another (json: ",
		},
		{"empty", func(p peer) { p.raw(framed("")) }, "your message is not in the format that I was told, or no message at all", "ADDR sends what is no message of ours"},
		{"4 GiB claimed", func(p peer) { p.raw("\xff\xff\xff\xff") }, "", "message of 4294967295 bytes or more exceeds the limit of 32768"},
		{"hangs up", func(p peer) { p.Conn.(*net.TCPConn).CloseWrite() }, "", "no nick came: the other side has closed the connection"},
		{
			"goes", func(p peer) { p.say(nick, "Bea"); p.hear(nick, "Ana"); p.Conn.(*net.TCPConn).CloseWrite() },
			"", "Bea has gone without a bye",
		},
		{
			"is cut", func(p peer) {
				p.say(nick, "Bea")
				p.hear(nick, "Ana")
				p.raw("\x00\x00\x00\x10{")
				p.Conn.(*net.TCPConn).CloseWrite()
			},
			"", "the other side closed the connection in the middle of a message",
		},
		{"bye at once", func(p peer) { p.say(bye, "wrong number\x07") }, "", `ADDR: bye at once: wrong number`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := dial(t, srv.Addr)
			test.do(p)
			if test.why != "" {
				p.hear(bye, test.why)
			}
			p.ends()
			srv.Stdout.WaitFor(t, strings.ReplaceAll(test.log, "ADDR", p.LocalAddr().String()))
		})
	}
	reset := dial(t, srv.Addr)
	reset.say(nick, "Bea")
	reset.hear(nick, "Ana")
	require.NoError(t, reset.Conn.(*net.TCPConn).SetLinger(0))
	require.NoError(t, reset.Close())
	srv.Stdout.WaitFor(t, "reset: the other side broke the connection off\n")

	require.NotContains(t, srv.Stdout.String(), "\x1b")
	got := clitest.Run(t, "hola\nbye\n", "client", "-port", srv.Port(), "-nick", "Bea")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "you chat with Ana, and you begin\nBea: hola\nAna: hola\nBea: bye\n", got.Stdout)
}

// To speak twice is noticed when our user is still thinking.
func TestOutOfTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c, done := talk(t, nil)
		p.say(normal, "one")
		p.say(normal, "two")
		require.Error(t, <-done)
		p.hear(bye, "Bea speaks out of turn")
		require.Equal(t, "Bea: one\n", c.out.(*strings.Builder).String())
	})
}

// talk starts the chat of a server's user called Ana, who says what comes over
// lines, with Bea, who has just come. Times are virtual.
func talk(t *testing.T, lines chan string) (p peer, c *chat, done chan error) {
	here, there := net.Pipe()
	c = &chat{
		stream: codec.NewStream[Message, Message](framing.NewConn(here, nil, &framing.Config{IdleTimeout: -1}), nil),
		me:     "Ana", them: "Bea", lines: lines, idle: time.Minute, timeout: 10 * time.Second, out: &strings.Builder{},
	}
	done = make(chan error, 1)
	go func() {
		err := c.talk(t.Context())
		done <- err
		if err != nil {
			c.part(t.Context(), err)
		}
		here.Close()
	}()
	t.Cleanup(func() { there.Close() })
	return peer{there, t, framing.NewReader(there, nil)}, c, done
}

// They may think for a minute each time; we as long as they let us.
func TestThinking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := make(chan string)
		p, c, done := talk(t, lines)
		for range 3 {
			time.Sleep(59 * time.Second)
			p.say(normal, "hi")
			time.Sleep(time.Hour)
			go func() { lines <- "hola" }()
			p.hear(normal, "hola")
		}
		began := time.Now()
		require.ErrorContains(t, <-done, "Bea has said nothing for 1m0s")
		require.Equal(t, time.Minute, time.Since(began))
		p.hear(bye, "Bea has said nothing for 1m0s")
		require.Equal(t, strings.Repeat("Bea: hi\nAna: hola\n", 3), c.out.(*strings.Builder).String())
	})
}

// A bye comes through when it is not one's turn, and whoever says it does not
// wait for ever for the other's end.
func TestByeAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, done := talk(t, nil)
		p.say(normal, "hi")
		p.say(bye, "")
		require.NoError(t, <-done)
	})
	synctest.Test(t, func(t *testing.T) {
		lines := make(chan string)
		p, c, done := talk(t, lines)
		p.say(normal, "hi")
		close(lines)
		p.hear(bye, "")
		began := time.Now()
		p.say(normal, "too late") // and the connection stays open
		require.NoError(t, <-done)
		require.Equal(t, time.Second, time.Since(began))
		require.True(t, c.finished)
		require.Equal(t, "Bea: hi\nAna: bye\n", c.out.(*strings.Builder).String())
	})
}

// Whatever comes in a chat, it ends, and nothing reaches the terminal that could
// command it or put words in another's mouth.
func FuzzTalk(f *testing.F) {
	f.Add([]byte(framed(`{"type":"normal","payload":"hola :)"}`) + framed(`{"type":"bye","payload":"x\ny"}`)))
	f.Add([]byte(framed(`{"type":"nick","payload":"\u001b"}`)))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte(framed("") + framed("{}")))
	f.Fuzz(func(t *testing.T, wire []byte) {
		synctest.Test(t, func(t *testing.T) {
			p, c, done := talk(t, nil)
			go func() {
				p.Write(wire)
				p.Close()
			}()
			<-done
			for line := range strings.Lines(c.out.(*strings.Builder).String()) {
				require.True(t, strings.HasPrefix(line, "Bea: "), "%q", line)
				require.NotContains(t, line, "\x1b")
			}
		})
	})
}

func TestStopsWhileTalking(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-nick", "Ana")
	p := dial(t, srv.Addr)
	p.say(nick, "Bea")
	p.hear(nick, "Ana")
	srv.Stdout.WaitFor(t, "and begins")
	require.Zero(t, srv.Stop())
	if msg, err := p.r.ReadMessage(); err == nil { // Windows has no SIGTERM
		require.JSONEq(t, `{"type":"bye","payload":"interrupted"}`, string(msg))
	}
}

// stranger serves one connection with f and returns its address.
func stranger(t *testing.T, f func(p peer, over <-chan struct{})) (addr, port string) {
	t.Helper()
	return clitest.Stranger(t, func(conn net.Conn, over <-chan struct{}) {
		f(peer{conn, t, framing.NewReader(conn, nil)}, over)
	})
}

func TestRudeServers(t *testing.T) {
	const hello = `{"type":"nick","payload":"Ana"}`
	for _, test := range []struct {
		name string
		do   func(p peer, over <-chan struct{})
		why  string
	}{
		{"silent", func(_ peer, over <-chan struct{}) { <-over }, "ADDR: no nick came within 300ms"},
		{"hangs up", func(p peer, _ <-chan struct{}) { p.r.ReadMessage() }, "no nick came: the other side has closed the connection"},
		{"another format", func(p peer, _ <-chan struct{}) {
			io.WriteString(p, framed("\x82\xa4type\xa4nick\xa7payload\xa3Ana"))
			p.r.ReadMessage()
			p.r.ReadMessage()
		}, "ADDR sends what is no message of ours, as if its -codec were another (json: decode: "},
		{"4 GiB claimed", func(p peer, _ <-chan struct{}) {
			p.r.ReadMessage()
			io.WriteString(p, "\xff\xff\xff\xff")
			p.r.ReadMessage()
		}, "exceeds the limit of 32768"},
		{"goes", func(p peer, _ <-chan struct{}) {
			io.WriteString(p, framed(hello))
			p.r.ReadMessage()
			p.r.ReadMessage()
		}, "Ana has gone without a bye"},
		{"never answers", func(p peer, over <-chan struct{}) { io.WriteString(p, framed(hello)); <-over }, "ADDR: Ana has said nothing for 300ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, port := stranger(t, test.do)
			got := clitest.Run(t, "hola\nhola\n", "client", "-port", port, "-timeout", "300ms", "-idle", "300ms")
			require.Equal(t, 1, got.Status, got.Stdout)
			require.Contains(t, got.Stderr, strings.ReplaceAll(test.why, "ADDR", addr))
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		})
	}
}

// A server that speaks although it is our user's turn, who is still thinking.
func TestServerSpeaksFirst(t *testing.T) {
	addr, port := stranger(t, func(p peer, _ <-chan struct{}) {
		io.WriteString(p, framed(`{"type":"nick","payload":"Ana"}`)+framed(`{"type":"normal","payload":"me first"}`))
		io.Copy(io.Discard, p)
	})
	cmd := clitest.Command(t, "client", "-port", port)
	keyboard, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer keyboard.Close()
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, "you chat with Ana, and you begin\nturnchat: "+addr+": Ana speaks out of turn\n", string(out))
}

func TestMismatch(t *testing.T) {
	formats := []string{"json", "msgpack", "gob"}
	for _, theirs := range formats {
		srv := clitest.Start(t, "server", "-port", "0", "-codec", theirs)
		for _, ours := range formats {
			if ours == theirs {
				continue
			}
			got := clitest.Run(t, "hola\n", "client", "-port", srv.Port(), "-codec", ours)
			require.Equal(t, 1, got.Status)
			require.Contains(t, got.Stderr, "turnchat: "+srv.Addr+" sends what is no message of ours, as if its -codec were another (")
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		}
	}
}

func TestFailures(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-say", "hola")
	got := clitest.Run(t, strings.Repeat("x", maxLine)+"\n"+strings.Repeat("x", maxLine+1)+"\n", "client", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Equal(t, "turnchat: line 2 of the input is longer than 4096 bytes\n", got.Stderr)
	srv.Stdout.WaitFor(t, "client: bye\n")
	require.Zero(t, srv.Stop())
	got = clitest.Run(t, "", "client", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Equal(t, "turnchat: cannot connect to "+srv.Addr+" over tcp: refused: no program listens there\n", got.Stderr)
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-nick", ""},
		{"server", "-nick", "Ana Bea"},
		{"server", "-codec", "xml"},
		{"client", "-idle", "0s"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
}

// pythonTools are all that the protocol takes.
const pythonTools = `
import json, socket, struct, sys

def recvall(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        assert more, "cut"
        data += more
    return data

def get(s):
    (length,) = struct.unpack("!I", recvall(s, 4))
    return json.loads(recvall(s, length))

def put(s, type, payload):
    data = json.dumps({"type": type, "payload": payload}).encode()
    s.sendall(struct.pack("!I", len(data)) + data)
`

func TestPythonClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-nick", "Ana", "-say", "¡hola! :)\nagain <3")
	out, err := exec.CommandContext(t.Context(), interop.Python(t), "-c", pythonTools+`
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
put(s, "nick", "Guido")
assert get(s) == {"type": "nick", "payload": "Ana"}
put(s, "normal", "hej :D \N{SNAKE}")
assert get(s) == {"type": "normal", "payload": "¡hola! \N{SLIGHTLY SMILING FACE}"}
put(s, "normal", "")
assert get(s) == {"type": "normal", "payload": "again \N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}"}
put(s, "bye", "")
assert s.recv(1) == b""
`, srv.Port()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	srv.Stdout.WaitFor(t, "Guido: hej 😀 🐍\nAna: ¡hola! 🙂\nGuido: \nAna: again ❤️\nGuido: bye\n")
}

func TestPythonServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", pythonTools+`
ln = socket.create_server(("127.0.0.1", 0))
ln.settimeout(30)
print("listening on %s:%d" % ln.getsockname(), flush=True)
s, _ = ln.accept()
s.settimeout(30)
assert get(s) == {"type": "nick", "payload": "Bea"}
put(s, "nick", "Guido")
assert get(s)["payload"] == "hola \N{WINKING FACE}"
put(s, "normal", "hej :(")
assert get(s)["type"] == "bye"
`)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var addr string
	_, err = fmt.Fscanf(out, "listening on %s\n", &addr)
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	got := clitest.Run(t, "hola ;)\n", "client", "-port", port, "-nick", "Bea")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "you chat with Guido, and you begin\nBea: hola 😉\nGuido: hej 🙁\nBea: bye\n", got.Stdout)
	require.NoError(t, cmd.Wait())
}
