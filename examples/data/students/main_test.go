package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-codec", "protobuf"})
}

// formats runs f for each format.
func formats(t *testing.T, f func(t *testing.T, name string)) {
	for _, name := range formatNames {
		t.Run(name, func(t *testing.T) { f(t, name) })
	}
}

func TestDialogue(t *testing.T) {
	formats(t, func(t *testing.T, name string) {
		srv := clitest.Start(t, "server", "-port", "0", "-codec", name)
		got := clitest.Run(t, "王小明\nOLENA\n  sofía ñúñez \nSofi\u0301a N\u0303u\u0301n\u0303ez\nDon Quijote\n\nAna López\n",
			"client", "-port", srv.Port(), "-codec", name)
		require.Equal(t, 0, got.Status, got.Stderr)
		var lines []string
		for line := range strings.Lines(got.Stdout) {
			text, rest, _ := strings.Cut(line, " (")
			require.Regexp(t, `^\d+ bytes of `+name+`\)\n$`, rest)
			lines = append(lines, text)
		}
		require.Equal(t, []string{
			`"王小明", id 20220105, phone "+886 2 2345 6789"`,
			`"no student is called \"OLENA\""`,
			`"Sofía Ñúñez", id 20200907, phone "+52 81 2468 1357"`,
			`"Sofía Ñúñez", id 20200907, phone "+52 81 2468 1357"`,
			`"no student is called \"Don Quijote\""`,
		}, lines)
		srv.Stdout.WaitFor(t, ": the end, by an empty message\n")
		require.NotContains(t, srv.Stdout.String(), "Ana", "nothing is asked after an empty line")

		got = clitest.Run(t, "not this", "client", "-port", srv.Port(), "-codec", name, "-name", "ана")
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, "no student is called")
	})
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0")
	got := clitest.Run(t, "Ana López", "client", "-host", "::1", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "id 20190311")
}

// A client speaks the protocol byte by byte.
type peer struct {
	*net.TCPConn
	t *testing.T
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

func (p peer) say(wire string) {
	p.t.Helper()
	_, err := io.WriteString(p, wire)
	require.NoError(p.t, err)
}

func (p peer) hear() string {
	p.t.Helper()
	msg, err := p.r.ReadMessage()
	require.NoError(p.t, err)
	return string(msg)
}

func (p peer) ends() {
	p.t.Helper()
	_, err := p.r.ReadMessage()
	require.Equal(p.t, io.EOF, err)
}

// The bytes on the wire, for whoever writes the other end.
func TestWire(t *testing.T) {
	golden := map[string]string{
		"json": hex.EncodeToString([]byte(`{"student":{"name":"Ana López","id":20190311,"phone":"+52 33 1234 5678"}}`)),
		"xml":  hex.EncodeToString([]byte(`<Answer><student><name>Ana López</name><id>20190311</id><phone>+52 33 1234 5678</phone></student></Answer>`)),
		"msgpack": "81" + "a7" + hex.EncodeToString([]byte("student")) + "83" +
			"a4" + hex.EncodeToString([]byte("name")) + "aa" + hex.EncodeToString([]byte("Ana López")) +
			"a2" + hex.EncodeToString([]byte("id")) + "ce01341467" +
			"a5" + hex.EncodeToString([]byte("phone")) + "b0" + hex.EncodeToString([]byte("+52 33 1234 5678")),
		"protobuf": "0a23" + "0a0a" + hex.EncodeToString([]byte("Ana López")) + "10e7a8d009" + "1a10" + hex.EncodeToString([]byte("+52 33 1234 5678")),
	}
	formats(t, func(t *testing.T, name string) {
		srv := clitest.Start(t, "server", "-port", "0", "-codec", name)
		p := dial(t, srv.Addr)
		p.say(framed("Ana López"))
		got := p.hear()
		if want, ok := golden[name]; ok { // gob numbers its types as it meets them
			require.Equal(t, want, hex.EncodeToString([]byte(got)))
		}
		p.say(framed("no\xffbody"))
		c, err := lookup(name)
		require.NoError(t, err)
		var a Answer
		require.NoError(t, c.Unmarshal([]byte(p.hear()), &a))
		require.Equal(t, Answer{Error: "the name is not UTF-8"}, a)
		p.say(framed(""))
		p.ends()
	})
}

// Both ends must have been told the same format; each pair that has not gets a
// clear error.
func TestMismatch(t *testing.T) {
	for _, theirs := range formatNames {
		srv := clitest.Start(t, "server", "-port", "0", "-codec", theirs)
		for _, ours := range formatNames {
			for _, name := range []string{"Ana López", "Don Quijote"} {
				got := clitest.Run(t, name, "client", "-port", srv.Port(), "-codec", ours)
				if ours == theirs {
					require.Equal(t, 0, got.Status, got.Stderr)
					continue
				}
				require.Equal(t, 1, got.Status, "%s taken for %s: %s", theirs, ours, got.Stdout)
				require.Regexp(t, "^students: "+srv.Addr+" answers with what is not the "+ours+` of an answer \(.+\): it may have been started with another -codec`+"\n$", got.Stderr)
			}
		}
	}
}

// What one client does wrong ends its own dialogue, with a reason where it can
// hear one, and no other.
func TestBadClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-idle", "300ms")
	ended := func(p peer, how string) {
		t.Helper()
		srv.Stdout.WaitFor(t, p.LocalAddr().String()+": "+how+"\n")
	}
	for _, wire := range []string{"\xff\xff\xff\xff", framed(strings.Repeat("x", maxName+1)), "GET / HTTP/1.1\r\n\r\n"} {
		p := dial(t, srv.Addr)
		p.say(wire)
		require.Equal(t, `{"error":"a name may have 1024 bytes at most"}`, p.hear())
		p.ends()
		ended(p, "ended: the name is too long")
	}
	long := dial(t, srv.Addr)
	long.say(framed(strings.Repeat("x", maxName)))
	require.Contains(t, long.hear(), "no student is called")

	gone := dial(t, srv.Addr)
	require.NoError(t, gone.CloseWrite())
	gone.ends()
	ended(gone, "gone without an empty message")

	cut := dial(t, srv.Addr)
	cut.say(framed("Ana López")[:8])
	require.NoError(t, cut.CloseWrite())
	cut.ends()
	ended(cut, "ended: the other side closed the connection in the middle of a message")

	silent := dial(t, srv.Addr)
	silent.ends()
	ended(silent, "ended: timed out: no answer came")

	reset := dial(t, srv.Addr)
	reset.say(framed("Ana López"))
	reset.hear()
	require.NoError(t, reset.SetLinger(0))
	require.NoError(t, reset.Close())
	ended(reset, "ended: reset: the other side broke the connection off")

	// A name cannot command the server's terminal.
	rude := dial(t, srv.Addr)
	rude.say(framed("\x1b[2J"))
	require.Equal(t, `{"error":"no student is called \"\\x1b[2J\""}`, rude.hear())
	srv.Stdout.WaitFor(t, `: "\x1b[2J": an error in `)
}

func TestManyClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-codec", "msgpack")
	c, err := lookup("msgpack")
	require.NoError(t, err)
	var wg sync.WaitGroup
	problems := make(chan error, 50)
	for range cap(problems) {
		p := dial(t, srv.Addr)
		wg.Go(func() {
			problems <- func() error {
				for range 20 {
					if _, err := io.WriteString(p, framed("王小明")); err != nil {
						return err
					}
					msg, err := p.r.ReadMessage()
					if err != nil {
						return err
					}
					var a Answer
					if err := c.Unmarshal(msg, &a); err != nil || a.Student == nil || a.Student.ID != 20220105 {
						return fmt.Errorf("%+v, %w", a, err)
					}
				}
				return nil
			}()
		})
	}
	wg.Wait()
	for range cap(problems) {
		require.NoError(t, <-problems)
	}
}

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
		{"silent", func(_ net.Conn, over <-chan struct{}) { <-over }, "no message within 300ms: cannot read from ADDR over tcp: timed out: no answer came"},
		{"hangs up", answer(""), "no answer from ADDR: the other side has closed the connection"},
		{"cut", answer(framed(`{"error":"x"}`)[:9]), "the other side closed the connection in the middle of a message"},
		{"4 GiB claimed", answer("\xff\xff\xff\xff"), "exceeds the limit of 65536"},
		{"empty", answer(framed("")), "ADDR answers with what is not the json of an answer"},
		{"cut JSON", answer(framed(`{"student":{"na`)), "ADDR answers with what is not the json of an answer"},
		{"nothing in it", answer(framed("{}")), "it must hold either a record or an error"},
		{"both in it", answer(framed(`{"student":{},"error":"x"}`)), "it must hold either a record or an error"},
		{"wrong type", answer(framed(`{"student":{"id":"1"}}`)), "ADDR answers with what is not the json of an answer"},
		{"goes on", answer(framed(`{"error":"x"}`) + framed("more")), "ADDR goes on after the end of the dialogue"},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, port := clitest.Stranger(t, test.serve)
			got := clitest.Run(t, "Ana", "client", "-port", port, "-timeout", "300ms")
			require.Equal(t, 1, got.Status)
			require.Contains(t, got.Stderr, strings.ReplaceAll(test.why, "ADDR", addr))
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		})
	}
	_, port := clitest.Stranger(t, func(c net.Conn, _ <-chan struct{}) {
		r := framing.NewReader(c, nil)
		r.ReadMessage()
		io.WriteString(c, framed(`{"student":{"name":"\u001b[2J","id":1,"phone":"\u0007"}}`))
		r.ReadMessage()
	})
	got := clitest.Run(t, "Ana", "client", "-port", port)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, `"\x1b[2J", id 1, phone "\a"`)
}

func TestFile(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "list.json")
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	srv := clitest.Start(t, "server", "-port", "0", "-codec", "xml", "-file", file(`[{"name":"A & <B>","id":-1,"phone":""}]`))
	got := clitest.Run(t, "a & <b>", "client", "-port", srv.Port(), "-codec", "xml")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, `"A & <B>", id -1, phone ""`)

	for text, why := range map[string]string{
		`{"name":"A"}`:        "the list of students: ",
		`[{"name":"A"},null]`: "the list of students: student 2 has no name",
		`[{"name":" "}]`:      "the list of students: student 1 has no name",
		`[{"name":"É","id":1},{"name":"e\u0301","id":2}]`: "the list of students: students 1 and 2 are both called \"e\u0301\"",
		"[{\"name\":\"caf\xe9\"}]":                        "the list of students: codec: json: decode: byte 13: the text is not UTF-8",
		``:                                                "the list of students: ",
	} {
		got := clitest.Run(t, "", "server", "-port", "0", "-file", file(text))
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, why)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	got = clitest.Run(t, "", "server", "-port", "0", "-file", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, got.Status)
}

func TestFailures(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	got := clitest.Run(t, strings.Repeat("x", maxName+1), "client", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Equal(t, "students: line 1 of the input is longer than 1024 bytes\n", got.Stderr)
	require.Zero(t, srv.Stop())
	got = clitest.Run(t, "Ana", "client", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Equal(t, "students: cannot connect to "+srv.Addr+" over tcp: refused: no program listens there\n", got.Stderr)
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-codec", "pickle"},
		{"server", "-codec", ""},
		{"sizes", "-count", "0"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
}

func TestSizes(t *testing.T) {
	got := clitest.Run(t, "", "sizes", "-count", "10")
	require.Equal(t, 0, got.Status, got.Stderr)
	for _, want := range []string{`json +79 +48 `, `msgpack +62 +43 `, `xml +112 +74 `, `protobuf +42 +36 `} {
		require.Regexp(t, `\n *`+want, got.Stdout)
	}
	require.Contains(t, got.Stdout, "  0a 28 0a 0f 53 6f 66 c3 ad 61 20 c3 91 c3 ba c3  .(..Sof..a .....\n")
}

var samples = []Answer{
	{Student: &Student{"Ana López", 20190311, "+52 33 1234 5678"}},
	{Student: &Student{"", -1 << 63, ""}},
	{Student: &Student{"<&>\"'\n\t", 1<<63 - 1, "😀"}},
	{Student: &Student{}},
	{Error: "no student is called \"x\""},
	{Student: &Student{Name: "both"}, Error: "both"},
	{},
}

func TestRoundTrip(t *testing.T) {
	formats(t, func(t *testing.T, name string) {
		c, err := lookup(name)
		require.NoError(t, err)
		require.Equal(t, name, c.Name())
		for _, want := range samples {
			msg, err := c.Marshal(&want)
			require.NoError(t, err)
			var got Answer
			require.NoError(t, c.Unmarshal(msg, &got), "%x", msg)
			require.Equal(t, want, got)
		}
		require.Error(t, c.Unmarshal([]byte("\xff"), new(Answer)))
	})
	_, err := lookup("pickle")
	require.Error(t, err)
}

// What follows the document is not overlooked, and a schema is held to.
func TestStrict(t *testing.T) {
	for _, bad := range []string{
		"", "<Answer>", "<Answer></answer>", "<Student/>", "<Answer/><Answer/>", "<Answer/>x", "x<Answer/>", "<Answer/></Answer>", "<Answer/><!",
		"<Answer><student><id>x</id></student></Answer>", "<Answer>\xff</Answer>", "<Answer>&nbsp;</Answer>",
	} {
		require.Error(t, xmlCodec{}.Unmarshal([]byte(bad), new(Answer)), "%q", bad)
	}
	require.NoError(t, xmlCodec{}.Unmarshal([]byte("<?xml version=\"1.0\"?>\n<Answer/>\n<!-- end -->\n"), new(Answer)))

	p, err := newProtobuf()
	require.NoError(t, err)
	for _, bad := range []string{
		"\x0a", "\x0a\x05ab", "\x12\xff\xff\xff\xff\x0f", "\x12\x01\xff", "\x00", "\x08\x01", "\x0a\x02\x0a\xff", "\x1a\x01x",
		strings.Repeat("\x0b", 50),
	} {
		require.Error(t, p.Unmarshal([]byte(bad), new(Answer)), "%q", bad)
	}
	var a Answer
	require.NoError(t, p.Unmarshal([]byte("\x12\x01x\x1a\x03new"), &a), "a field of the future is skipped")
	require.Equal(t, Answer{Error: "x"}, a)
	require.Error(t, p.Unmarshal(nil, new(Student)))
	_, err = p.Marshal(Student{})
	require.Error(t, err)
}

// Whatever a server sends, the client's formats end with an error or with an
// answer that survives the way there and back.
func FuzzFormats(f *testing.F) {
	for i, name := range formatNames {
		c, err := lookup(name)
		require.NoError(f, err)
		for _, a := range samples[:5] {
			msg, err := c.Marshal(&a)
			require.NoError(f, err)
			f.Add(uint8(i), msg)
		}
		f.Add(uint8(i), []byte("\xff\xff\xff\xff"))
	}
	f.Fuzz(func(t *testing.T, format uint8, msg []byte) {
		c, err := lookup(formatNames[int(format)%len(formatNames)])
		require.NoError(t, err)
		var a, again Answer
		if c.Unmarshal(msg, &a) != nil {
			return
		}
		out, err := c.Marshal(&a)
		require.NoError(t, err)
		require.NoError(t, c.Unmarshal(out, &again), "%q", out)
		if c.Name() == "xml" {
			return // CR and what XML cannot hold come back as something else
		}
		require.Equal(t, a, again)
	})
}

func FuzzQuestion(f *testing.F) {
	students, err := newRegistry(embedded)
	require.NoError(f, err)
	f.Add([]byte("Ana López"))
	f.Add([]byte("\xff"))
	f.Add([]byte(" ANA LO\u0301PEZ"))
	f.Fuzz(func(t *testing.T, name []byte) {
		a := students.answer(name)
		require.NotEqual(t, a.Student == nil, a.Error == "")
		for _, format := range formatNames {
			c, err := lookup(format)
			require.NoError(t, err)
			_, err = c.Marshal(a)
			require.NoError(t, err)
		}
	})
}

// pythonTools decode an answer with what every Python has, and by hand where
// that is nothing: these are second implementations of the formats.
const pythonTools = `
import json, socket, struct, sys
import xml.etree.ElementTree as ET

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

def msgpack(b):
    def value(i):
        c = b[i]
        i += 1
        if c < 0x80: return c, i
        if c < 0x90:
            m = {}
            for _ in range(c & 15):
                k, i = value(i)
                m[k], i = value(i)
            return m, i
        if 0xa0 <= c < 0xc0: return b[i:i+(c&31)].decode(), i+(c&31)
        if c == 0xd9: return b[i+1:i+1+b[i]].decode(), i+1+b[i]
        if c == 0xcc: return b[i], i+1
        if c == 0xcd: return struct.unpack(">H", b[i:i+2])[0], i+2
        if c == 0xce: return struct.unpack(">I", b[i:i+4])[0], i+4
        assert False, hex(c)
    v, i = value(0)
    assert i == len(b)
    return v

def fields(b):
    def varint(i):
        n = shift = 0
        while True:
            n |= (b[i] & 127) << shift
            shift += 7
            i += 1
            if b[i-1] < 128: return n, i
    i, out = 0, {}
    while i < len(b):
        tag, i = varint(i)
        if tag & 7 == 0:
            out[tag >> 3], i = varint(i)
        else:
            assert tag & 7 == 2
            n, i = varint(i)
            out[tag >> 3] = b[i:i+n]
            i += n
    return out

def protobuf(b):
    f = fields(b)
    out = {}
    if 1 in f:
        s = fields(f[1])
        out["student"] = {"name": s[1].decode(), "id": s[2], "phone": s[3].decode()}
    if 2 in f:
        out["error"] = f[2].decode()
    return out

def xml(b):
    root = ET.fromstring(b)
    assert root.tag == "Answer"
    out = {}
    if (s := root.find("student")) is not None:
        out["student"] = {"name": s.findtext("name"), "id": int(s.findtext("id")), "phone": s.findtext("phone")}
    if (e := root.findtext("error")) is not None:
        out["error"] = e
    return out

decode = {"json": json.loads, "xml": xml, "msgpack": msgpack, "protobuf": protobuf}
`

func TestPythonClient(t *testing.T) {
	python := interop.Python(t)
	for _, name := range []string{"json", "xml", "msgpack", "protobuf"} { // gob is Go's own
		t.Run(name, func(t *testing.T) {
			srv := clitest.Start(t, "server", "-port", "0", "-codec", name)
			out, err := exec.CommandContext(t.Context(), python, "-c", pythonTools+`
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
answers = []
for name in ("Олена Шевченко", "Don Quijote"):
    put(s, name.encode())
    answers.append(decode[sys.argv[2]](get(s)))
put(s, b"")
assert s.recv(1) == b""
assert answers == [
    {"student": {"name": "Олена Шевченко", "id": 20170628, "phone": "+380 44 279 0000"}},
    {"error": 'no student is called "Don Quijote"'},
], answers
`, srv.Port(), name).CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

// pythonServer is the course's with JSON, and XML beside it.
const pythonServer = pythonTools + `
ln = socket.create_server(("127.0.0.1", 0))
ln.settimeout(30)
print("listening on %s:%d" % ln.getsockname(), flush=True)
conn, _ = ln.accept()
conn.settimeout(30)
while name := get(conn):
    if name.decode() == "Zoë":
        put(conn, {
            "json": json.dumps({"student": {"name": "Zoë", "id": 7, "phone": "1"}}).encode(),
            "xml": "<?xml version='1.0'?>\n<Answer>\n  <student><name>Zoë</name><phone>1</phone><id>7</id></student>\n</Answer>\n".encode(),
            "msgpack": b"\x81\xa7student\x83\xa4name\xa4Zo\xc3\xab\xa2id\x07\xa5phone\xa11",
            "protobuf": b"\x0a\x0b\x1a\x011\x0a\x04Zo\xc3\xab\x10\x07",
        }[sys.argv[1]])
    else:
        put(conn, {"json": b'{"error": "unknown"}', "xml": b"<Answer><error>unknown</error></Answer>",
            "msgpack": b"\x81\xa5error\xa7unknown", "protobuf": b"\x12\x07unknown"}[sys.argv[1]])
`

func TestPythonServer(t *testing.T) {
	python := interop.Python(t)
	for _, name := range []string{"json", "xml", "msgpack", "protobuf"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), python, "-c", pythonServer, name)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			var addr string
			_, err = fmt.Fscanf(out, "listening on %s\n", &addr)
			require.NoError(t, err)
			_, port, err := net.SplitHostPort(addr)
			require.NoError(t, err)
			got := clitest.Run(t, "Zoë\nx\n", "client", "-port", port, "-codec", name)
			require.Equal(t, 0, got.Status, got.Stderr)
			require.Regexp(t, `^"Zoë", id 7, phone "1" \(\d+ bytes of `+name+`\)\n"unknown" `, got.Stdout)
			require.NoError(t, cmd.Wait())
		})
	}
}
