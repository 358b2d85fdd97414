package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
)

// frame puts a message into the protocol's frame.
func frame(message string) string {
	b, err := framing.Append(format, nil, []byte(message))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// sumOf returns the SHA-256 of a text in hexadecimal digits.
func sumOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// A peer that breaks the rules gets a clear refusal, nothing of what it sends
// is stored, and others are served after it.
func TestServerAgainstBadClients(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a", []byte("hola"))
	patient := clitest.Start(t, "server", "-tcp", "-port", "0", "-dir", dir, "-max", "1000")
	hasty := clitest.Start(t, "server", "-tcp", "-port", "0", "-dir", dir, "-timeout", "200ms")
	put := frame(`{"op":"put","name":"x"}`)
	plan := frame(`{"size":4}`)
	for _, c := range []struct{ name, stream, answer, says string }{
		{"text", "GET / HTTP/1.1\r\n\r\n", "", "exceed"},
		{"huge", "\xff\xff\xff\xff\xff\xff\xff\xff", "", "failed"},
		{"large note", frame(`{"op":"` + strings.Repeat("x", maxNote) + `"}`), "", "exceed"},
		{"no JSON", frame("hola"), "that is no note", "that is no note"},
		{"JSON of another kind", frame(`[1]`), "that is no note", "that is no note"},
		{"no operation", frame(`{"name":"a"}`), "neither get nor put", `"" is neither get nor put`},
		{"unknown operation", frame(`{"op":"delete","name":"a"}`), "neither get nor put", `"delete" is neither get nor put`},
		{"bad name", frame(`{"op":"get","name":"../a"}`), "is not the name", "is not the name"},
		{"silence", "", "", "no answer from "},
		{"half a note", put[:12], "", "no answer"},
		{"negative", frame(`{"op":"get","name":"a"}`) + frame(`{"have":-1}`), "negative", "negative"},
		{"have too much", frame(`{"op":"get","name":"a"}`) + frame(`{"have":1000}`), `"size":4`, "no answer from "},
		{"early answer", frame(`{"op":"get","name":"a"}`) + frame(`{}`) + frame(`{"sha256":"x"}`), "", "failed"},
		{"error", frame(`{"op":"get","name":"a"}`) + frame(`{"error":"no\u001b[2J"}`), "", `refuses: "no\x1b[2J"`},
		{"begins elsewhere", put + frame(`{"size":4,"from":2}`), "nobody asked", "nobody asked"},
		{"shorter than its beginning", put + frame(`{"size":-4}`), "negative", "negative"},
		{"too large", put + frame(`{"size":1001}`), "1001 bytes are more than the 1000", "1001 bytes are more"},
		{"another length", put + plan + frame("hol"), "3 bytes follow where 4 were announced", "3 bytes follow"},
		{"too long", put + plan + frame("hola!"), "5 bytes follow where 4 were announced", "5 bytes follow"},
		{"short stream", put + plan + frame("hola")[:10], "", "no answer"},
		{"no sum", put + plan + frame("hola"), "", "no answer from "},
		{"wrong sum", put + plan + frame("hola") + frame(`{"sha256":"`+sumOf("adios")+`"}`), sumOf("hola"), "was damaged on its way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := patient
			if strings.HasPrefix(c.says, "no answer") {
				srv = hasty
			}
			before := strings.Count(srv.Stdout.String(), ": failed: ")
			conn := clitest.Dial(t, srv.Addr)
			_, err := io.WriteString(conn, c.stream)
			require.NoError(t, err)
			answer, _ := io.ReadAll(conn) // the server may reset what it does not read
			require.Contains(t, string(answer), c.answer)
			out := srv.Stdout.WaitForCount(t, ": failed: ", before+1)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			require.Contains(t, lines[len(lines)-1], c.says)
			require.NotContains(t, out, "\x1b")
			require.NotContains(t, inside(t, dir), "x")
		})
	}
	got := clitest.Run(t, "", "get", "-tcp", "-port", hasty.Port(), "-o", filepath.Join(t.TempDir(), "b"), "a")
	require.Zero(t, got.Status, got.Stderr)
}

// What is wrong is not kept for another try; what is only not all of it is.
func TestPartAfterBadSender(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-tcp", "-port", "0", "-dir", dir)
	for _, c := range []struct {
		stream string
		left   []string
	}{
		{frame("hola")[:10], []string{".x.part"}},
		{frame("hola") + frame(`{"sha256":"x"}`), []string{}},
		{"", []string{}},
	} {
		before := strings.Count(srv.Stdout.String(), ": failed: ")
		conn := clitest.Dial(t, srv.Addr)
		_, err := io.WriteString(conn, frame(`{"op":"put","name":"x"}`)+frame(`{"size":4}`)+c.stream)
		require.NoError(t, err)
		require.NoError(t, conn.CloseWrite())
		_, _ = io.ReadAll(conn)
		srv.Stdout.WaitForCount(t, ": failed: ", before+1)
		require.Equal(t, c.left, inside(t, dir))
	}
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-tcp", "-port", "0", "-dir", dir)
	first := clitest.Dial(t, srv.Addr)
	_, err := io.WriteString(first, frame(`{"op":"put","name":"x"}`))
	require.NoError(t, err)
	_, err = io.ReadFull(first, make([]byte, 8)) // it has the part now
	require.NoError(t, err)
	got := clitest.Run(t, "", "put", "-tcp", "-port", srv.Port(), "-name", "x", write(t, t.TempDir(), "y", []byte("hola")))
	requireFails(t, got, "is being received from somebody else")
}

// script is a server that reads a request and says the given things.
func script(says string, more ...func(conn net.Conn, over <-chan struct{})) func(net.Conn, <-chan struct{}) {
	return func(conn net.Conn, over <-chan struct{}) {
		messages := framing.NewReader(conn, format)
		if _, err := messages.ReadMessage(); err != nil {
			return
		}
		io.WriteString(conn, says)
		for _, f := range more {
			f(conn, over)
		}
	}
}

// patience is the -timeout of a client that is to say so.
func patience(says string) string {
	if strings.HasPrefix(says, "no answer") || says == "timed out" {
		return "300ms"
	}
	return "20s"
}

func stay(_ net.Conn, over <-chan struct{}) { <-over }

func drain(conn net.Conn, _ <-chan struct{}) { io.Copy(io.Discard, conn) }

func TestGetFromBadServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		server func(net.Conn, <-chan struct{})
		says   string
		left   []string
	}{
		{"closes", script(""), "", []string{}},
		{"silent", script("", stay), "no answer from ", []string{}},
		{"text", script("HTTP/1.1 400 Bad Request\r\n\r\n", stay), "exceed", []string{}},
		{"error", script(frame(`{"error":"not \u001b[2J today"}`), stay), `refuses: "not \x1b[2J today"`, []string{}},
		{"begins elsewhere", script(frame(`{"size":4,"from":2}`), stay), "nobody asked", []string{}},
		{"short", script(frame(`{"size":4}`) + frame("hola")[:10]), "", []string{".b.part"}},
		{"stalls", script(frame(`{"size":4}`)+frame("hola")[:10], stay), "timed out", []string{".b.part"}},
		{"over-long", script(frame(`{"size":4}`)+frame("hola!"), drain), "5 bytes follow where 4", []string{}},
		{"wrong sum", script(frame(`{"size":4}`)+frame("hola")+frame(`{"sha256":"00"}`), drain), "was damaged on its way", []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			_, port := clitest.Stranger(t, c.server)
			got := clitest.Run(t, "", "get", "-tcp", "-port", port, "-timeout", patience(c.says), "-o", filepath.Join(dir, "b"), "a")
			requireFails(t, got, c.says)
			require.Empty(t, got.Stdout)
			require.Equal(t, c.left, inside(t, dir))
		})
	}
}

func TestPutToBadServers(t *testing.T) {
	t.Parallel()
	big := write(t, t.TempDir(), "big", make([]byte, 30_000_000))
	for _, c := range []struct {
		name   string
		server func(net.Conn, <-chan struct{})
		says   string
	}{
		{"closes", script(""), ""},
		{"silent", script("", stay), "no answer from "},
		{"does not read", script(frame(`{}`), stay), "timed out"},
		{"refuses half-way", script(frame(`{}`)+frame(`{"error":"the disk is full"}`), drain), "the disk is full"},
		{"thanks half-way", script(frame(`{}`)+frame(`{"sha256":"x"}`), drain), "an answer before the end of the file"},
		{"closes half-way", script(frame(`{}`), func(conn net.Conn, _ <-chan struct{}) { io.CopyN(io.Discard, conn, 1000) }), ""},
		{"no answer", script(frame(`{}`), drain), "no answer from "},
		{"wrong sum", func(conn net.Conn, _ <-chan struct{}) {
			messages := framing.NewReader(conn, format)
			messages.ReadMessage() // the request
			io.WriteString(conn, frame(`{}`))
			messages.ReadMessage() // the size
			messages.Next()        // the file, skipped
			messages.ReadMessage() // its sum
			io.WriteString(conn, frame(`{"sha256":"x"}`))
			drain(conn, nil)
		}, "was damaged on its way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, port := clitest.Stranger(t, c.server)
			requireFails(t, clitest.Run(t, "", "put", "-tcp", "-port", port, "-timeout", patience(c.says), big), c.says)
		})
	}
}

func TestFileThatShrinks(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go io.Copy(theirs, strings.NewReader(frame(`{}`)))
	go io.Copy(io.Discard, theirs)
	_, err := newWire(ours, clitest.Limit, unseen{}).send(t.Context(), strings.NewReader("hola"), 5)
	require.EqualError(t, err, "the file has become shorter while it was sent")
}

func FuzzHear(f *testing.F) {
	for _, message := range []string{`{}`, `{"have":1,"sha256":"x"}`, `{"error":"x"}`, `{"size":-1}`, `[]`, `{"size":1e99}`, "\xff"} {
		f.Add([]byte(frame(message)))
	}
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		n, err := newWire(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(stream), io.Discard}, clitest.Limit, unseen{}).hear(t.Context())
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(n.Name)+len(n.SHA256), maxNote)
		require.False(t, n.Have < 0 || n.Size < 0 || n.From < 0)
		_, err = json.Marshal(n)
		require.NoError(t, err)
	})
}
