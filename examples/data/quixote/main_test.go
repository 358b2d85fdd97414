package main

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	t.Setenv("ZOCALO_DATA", "")
	clitest.Conventions(t, []string{"server"}, []string{"server", "-opening"})
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-timeout", "0s"},
		{"client", "-lines", "-1"},
		{"client", "-max", "0"},
		{"client", "latin1"},
		{"server", "-port", "0", "-opening", "-file", "x"},
		{"server", "-port", "0", "-from", "klingon"},
		{"guess"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
}

// write puts a file into a folder of the test's own and returns its name.
func write(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

// must returns text in an encoding.
func must(t testing.TB, encoding, text string) string {
	t.Helper()
	c, err := codec.Lookup(encoding)
	require.NoError(t, err)
	out, err := c.Encode([]byte(text))
	require.NoError(t, err)
	return string(out)
}

// Every encoding that holds the opening brings it, saved as it came, shown decoded.
func TestEncodings(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-opening")
	for _, encoding := range append(codec.Names(), "zip", "ISO-8859-1", "cp1252", "Base64") {
		file := filepath.Join(t.TempDir(), "out")
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-encoding", encoding, "-o", file)
		if encoding == "ascii" || encoding == "idna" {
			require.Equal(t, 1, got.Status, encoding)
			require.Empty(t, got.Stdout)
			require.Contains(t, got.Stderr, "quixote: "+srv.Addr+" refuses: "+encoding+" cannot hold the text: byte ")
			require.NoFileExists(t, file)
			continue
		}
		require.Equal(t, 0, got.Status, got.Stderr)
		_, shown, _ := strings.Cut(got.Stdout, "the SHA-256 is the same\n")
		require.Equal(t, string(opening), shown, encoding)
		saved, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, must(t, encoding, string(opening)), string(saved), encoding)
		srv.Stdout.WaitFor(t, fmt.Sprintf(": %d bytes\n", len(saved))[1:])
	}
	require.Zero(t, srv.Stop())
}

// Without -o the file has a name of our own list, in the current folder.
func TestDefaultName(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-opening")
	cmd := clitest.Command(t, "client", "-port", srv.Port(), "-encoding", "zip", "-lines", "3")
	cmd.Dir = t.TempDir()
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(out), "… and 33 lines more\n"))
	entries, err := os.ReadDir(cmd.Dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file stays")
	require.Equal(t, "quijote.zlib", entries[0].Name())
}

func TestRefused(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-opening")
	file := filepath.Join(t.TempDir(), "out")
	for encoding, want := range map[string]string{
		"klingon":                  `unknown encoding "klingon"; there are utf-8, base64, idna, latin1, windows-1252, zip`,
		"":                         `unknown encoding ""; there are`,
		"\x1b[2J":                  `unknown encoding "\x1b[2J"; there are`,
		strings.Repeat("utf", 300): `unknown encoding "` + strings.Repeat("utf", 20) + `"…; there are`,
		"ascii":                    "ascii cannot hold the text: byte 3: it has no 'í' (U+00ED)",
	} {
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-encoding", encoding, "-o", file)
		require.Equal(t, 1, got.Status, "%q", encoding)
		require.Contains(t, got.Stderr, "quixote: "+srv.Addr+" refuses: "+want, "%q", encoding)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q", got.Stderr)
		require.NoFileExists(t, file)
	}
}

func TestReplace(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-file", write(t, "text", "—¡5 €!—\n"))
	for encoding, want := range map[string]string{
		"ascii":        "?",
		"latin1":       "?",
		"windows-1252": "—",
		"utf-8":        "—",
	} {
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-encoding", encoding, "-replace", "-o", filepath.Join(t.TempDir(), "out"))
		require.Equal(t, 0, got.Status, got.Stderr)
		lines := strings.Split(got.Stdout, "\n")
		switch encoding {
		case "ascii":
			require.Equal(t, "4 characters are not those of the server's text: ascii does not have them", lines[1])
			require.Equal(t, "??5 ?!?", lines[2])
		case "latin1":
			require.Equal(t, "3 characters are not those of the server's text: latin1 does not have them", lines[1])
			require.Equal(t, "?¡5 ?!?", lines[2])
		default:
			require.Equal(t, "decoded it is the server's text: the SHA-256 is the same", lines[1])
			require.Equal(t, "—¡5 €!—", lines[2])
		}
		require.True(t, strings.HasPrefix(lines[2], want))
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"señor.quijote.example":                   "xn--seor-hqa.quijote.example",
		"SEÑOR.example":                           "xn--seor-hqa.example",
		strings.Repeat("a", 63):                   strings.Repeat("a", 63),
		strings.Repeat("a", 64) + ".example":      "byte 0: a label of 64 octets in ASCII, more than 63",
		"x." + strings.Repeat("ñandú", 13) + ".x": "byte 2: a label of 74 octets in ASCII, more than 63",
		"don quijote":                             "U+0020",
		"un..lugar":                               "byte 3: an empty label: each has 1 to 63 octets",
	} {
		srv := clitest.Start(t, "server", "-port", "0", "-file", write(t, "name", text))
		file := filepath.Join(t.TempDir(), "out")
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-encoding", "idna", "-o", file)
		if saved, err := os.ReadFile(file); err == nil {
			require.Equal(t, 0, got.Status, got.Stderr)
			require.Equal(t, want, string(saved))
			continue
		}
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, "refuses: idna cannot hold the text: ")
		require.Contains(t, got.Stderr, want)
	}
}

// The server finds out what its file is written in, or is told.
func TestServerFiles(t *testing.T) {
	const text = "Con estas razones perdía el pobre caballero el juicio, y desvelábase por entenderlas.\n"
	for encoding, said := range map[string]string{
		"utf-8": "utf-8 (", "latin1": "latin1 or windows-1252 (", "utf-16": "utf-16 (", "utf-16be": "utf-16be (",
		"base64-mime": "base64-mime of utf-8 (", "zip": "zlib of utf-8 (", "gzip": "gzip of utf-8 (",
	} {
		srv := clitest.Start(t, "server", "-port", "0", "-file", write(t, "text", must(t, encoding, text)))
		srv.Stdout.WaitFor(t, ": "+said+"more than 99 % sure): 86 characters, 88 bytes in UTF-8\n")
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-o", filepath.Join(t.TempDir(), "out"))
		require.Equal(t, 0, got.Status, got.Stderr)
		require.True(t, strings.HasSuffix(got.Stdout, text), "%s: %s", encoding, got.Stdout)
	}
	srv := clitest.Start(t, "server", "-port", "0", "-from", "cp1252", "-file", write(t, "text", must(t, "utf-8", "Más")))
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-o", filepath.Join(t.TempDir(), "out"))
	require.True(t, strings.HasSuffix(got.Stdout, "MÃ¡s\n"), "a wrong -from is believed: %s", got.Stdout)

	empty := clitest.Start(t, "server", "-port", "0", "-file", write(t, "text", ""))
	got = clitest.Run(t, "", "client", "-port", empty.Port(), "-o", filepath.Join(t.TempDir(), "out"))
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "0 characters in 0 bytes")

	for want, args := range map[string][]string{
		"is no regular file":                              {"-file", t.TempDir()},
		"cannot be read: binary: bytes without meaning":   {"-file", write(t, "noise", noise(200))},
		"is not in utf-8: byte 1: ":                       {"-file", write(t, "text", "M\xe1s"), "-from", "utf-8"},
		"is not in zlib: ":                                {"-file", write(t, "text", must(t, "zip", text)[:30]), "-from", "zip"},
		"what it holds in base64 is no text in UTF-8":     {"-file", write(t, "text", "////"), "-from", "base64"},
		"has more than 10 bytes, the most that -max allo": {"-file", write(t, "text", text), "-max", "10"},
		"no such file":                                    {"-file", filepath.Join(t.TempDir(), "none")},
	} {
		got := clitest.Run(t, "", append([]string{"server", "-port", "0"}, args...)...)
		require.Equal(t, 1, got.Status, "%v", args)
		require.Empty(t, got.Stdout)
		if runtime.GOOS != "windows" || want != "no such file" {
			require.Contains(t, got.Stderr, want)
		}
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}

// noise is n bytes of no meaning, always the same.
func noise(n int) string {
	var b []byte
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		b = append(b, sum[:]...)
	}
	return string(b[:n])
}

func TestWholeBook(t *testing.T) {
	dir := interop.Data(t)
	book, err := os.ReadFile(filepath.Join(dir, "quijote.txt"))
	require.NoError(t, err)
	srv := clitest.Start(t, "server", "-port", "0") // ZOCALO_DATA is in its environment
	srv.Stdout.WaitFor(t, "quijote.txt: utf-8 (more than 99 % sure): 2110737 characters, 2168320 bytes in UTF-8\n")
	for _, encoding := range []string{"utf-8", "base64", "windows-1252", "zip"} {
		file := filepath.Join(t.TempDir(), "out")
		got := clitest.Run(t, "", "client", "-timeout", "1m", "-port", srv.Port(), "-encoding", encoding, "-lines", "1", "-o", file)
		require.Equal(t, 0, got.Status, got.Stderr)
		saved, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, must(t, encoding, string(book)), string(saved))
	}
	got := clitest.Run(t, "", "client", "-timeout", "1m", "-port", srv.Port(), "-encoding", "latin1", "-o", filepath.Join(t.TempDir(), "out"))
	require.Contains(t, got.Stderr, "latin1 cannot hold the text: byte 21407: it has no '—' (U+2014)")
}

// frame puts the length before a message.
func frame(msg string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(msg)))) + msg
}

// message reads one.
func message(t *testing.T, r io.Reader) string {
	t.Helper()
	var size uint32
	require.NoError(t, binary.Read(r, binary.BigEndian, &size))
	require.Less(t, size, uint32(maxText))
	msg := make([]byte, size)
	_, err := io.ReadFull(r, msg)
	require.NoError(t, err)
	return string(msg)
}

// What is wrong with one request is told to its sender; the next of the same
// connection, and other clients, are served.
func TestBadRequests(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-opening")
	conn, other := clitest.Dial(t, srv.Addr), clitest.Dial(t, srv.Addr)
	for request, want := range map[string]string{
		``:                           "no request: ",
		`klingon`:                    "no request: ",
		`{"encoding":"utf-8"`:        "no request: ",
		"{\"encoding\":\"\xff\"}":    "no request: byte 13: the text is not UTF-8",
		`{"encoding":"\ud800"}`:      "no request: byte 13: \\ud800 is half a surrogate pair",
		`{"encoding":7}`:             "no request: ",
		`[[[[[[]]]]]]`:               "no request: byte 4: nested more than 4 deep",
		`{"encoding":"utf-8"} x`:     "no request: ",
		`{}`:                         `unknown encoding ""`,
		strings.Repeat("x", 1025):    "a request has 1024 bytes at most",
		strings.Repeat("x", 1<<20):   "a request has 1024 bytes at most",
		`{"encoding":"ascii"}`:       "ascii cannot hold the text: byte 3: it has no 'í' (U+00ED)",
		`{"encoding":"\u001b[2J\n"}`: `unknown encoding "\x1b[2J\n"`,
	} {
		_, err := io.WriteString(conn, frame(request))
		require.NoError(t, err)
		var head Head
		require.NoError(t, json.Unmarshal([]byte(message(t, conn)), &head))
		require.Contains(t, head.Error, want, "%.40q", request)
		_, err = io.WriteString(conn, frame(`{"encoding":"utf-8"}`))
		require.NoError(t, err)
		require.Contains(t, message(t, conn), `"encoding":"utf-8","size":2430`)
		require.Equal(t, string(opening), message(t, conn), "after %.40q", request)
	}
	// A byte at a time.
	for _, b := range []byte(frame(`{"encoding":"latin1"}`)) {
		_, err := other.Write([]byte{b})
		require.NoError(t, err)
	}
	message(t, other)
	require.Equal(t, must(t, "latin1", string(opening)), message(t, other))
	require.NotContains(t, srv.Stdout.WaitFor(t, `[2J`), "\x1b")
}

func TestClientsThatLeave(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-opening", "-idle", "100ms")
	cut := clitest.Dial(t, srv.Addr)
	_, err := io.WriteString(cut, frame(`{"encoding":"latin1"}`)[:9])
	require.NoError(t, err)
	require.NoError(t, cut.CloseWrite())
	srv.Stdout.WaitFor(t, cut.LocalAddr().String()+": ended: the other side closed the connection in the middle of a message\n")
	for _, text := range []string{"", frame(`{"encoding":"latin1"}`)[:9]} {
		silent := clitest.Dial(t, srv.Addr)
		_, err := io.WriteString(silent, text)
		require.NoError(t, err)
		srv.Stdout.WaitFor(t, silent.LocalAddr().String()+": ended: timed out")
	}
	reset := clitest.Dial(t, srv.Addr)
	_, err = io.WriteString(reset, frame(`{"encoding":"klingon"}`))
	require.NoError(t, err)
	message(t, reset)
	require.NoError(t, reset.SetLinger(0)) // closing sends a reset
	require.NoError(t, reset.Close())
	srv.Stdout.WaitFor(t, reset.LocalAddr().String()+": ended: reset")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-o", filepath.Join(t.TempDir(), "out"))
	require.Equal(t, 0, got.Status, got.Stderr)
}

func TestManyClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-opening")
	var want []string
	for _, encoding := range codec.Names() {
		if encoding != "ascii" && encoding != "idna" {
			want = append(want, encoding, must(t, encoding, string(opening)))
		}
	}
	problems := make(chan error, 50)
	var wg sync.WaitGroup
	for i := range 50 {
		encoding, body := want[2*i%len(want)], want[2*i%len(want)+1]
		wg.Go(func() {
			problems <- func() error {
				conn, err := net.Dial("tcp", srv.Addr)
				if err != nil {
					return err
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(clitest.Limit))
				if _, err := io.WriteString(conn, frame(`{"encoding":"`+encoding+`"}`)); err != nil {
					return err
				}
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					return err
				}
				all, err := io.ReadAll(conn)
				if err != nil {
					return err
				}
				if !strings.HasSuffix(string(all), frame(body)) {
					return fmt.Errorf("%s: %d bytes", encoding, len(all))
				}
				return nil
			}()
		})
	}
	wg.Wait()
	for range 50 {
		require.NoError(t, <-problems)
	}
}

// headOf is a true answer for a text in an encoding.
func headOf(encoding, text, body string) string {
	out, _ := json.Marshal(Head{
		Encoding: encoding, Size: len(body), Characters: len([]rune(text)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text))),
	})
	return string(out)
}

// answerOnce is a server that answers the first request with bytes of the
// test's choice, and closes.
func answerOnce(t *testing.T, answer string) (addr, port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(clitest.Limit))
		var size uint32
		if binary.Read(conn, binary.BigEndian, &size) != nil {
			return
		}
		io.CopyN(io.Discard, conn, int64(size))
		io.WriteString(conn, answer)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	_, port, err = net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	return ln.Addr().String(), port
}

// bomb is a zlib stream of so many zeros.
func bomb(size int) string {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed) // there is such a level
	w.Write(make([]byte, size))
	w.Close()
	return b.String()
}

// The client believes nothing that it can check, and saves nothing that is wrong.
func TestForgedAnswers(t *testing.T) {
	packed := must(t, "zip", "hola")
	big := bomb(17 << 20)
	for name, test := range map[string]struct{ encoding, answer, want string }{
		"nothing":             {"utf-8", "", "no answer from ADDR: the other side has closed the connection"},
		"half an answer":      {"utf-8", frame(headOf("utf-8", "hola", "hola"))[:20], "the other side closed the connection in the middle of a message"},
		"no text":             {"utf-8", frame(headOf("utf-8", "hola", "hola")), "no text from ADDR: the other side closed the connection in the middle of a message"},
		"half a text":         {"utf-8", frame(headOf("utf-8", "hola", "hola")) + frame("hola")[:6], "in the middle of a message"},
		"no JSON":             {"utf-8", frame("ok") + frame("hola"), "ADDR sends what cannot be: no answer in JSON: "},
		"not UTF-8":           {"utf-8", frame("{\"error\":\"\xff\"}"), "ADDR sends what cannot be: no answer in JSON: byte 10: the text is not UTF-8"},
		"long answer":         {"utf-8", frame(`{"error":"` + strings.Repeat("x", maxHead) + `"}`), "ADDR sends what cannot be: no answer in JSON: "},
		"deep answer":         {"utf-8", frame(strings.Repeat("[", 4000)), "ADDR sends what cannot be: no answer in JSON: "},
		"gigabytes announced": {"utf-8", "\xff\xff\xff\xff", "message of 4294967295 bytes or more exceeds the limit of 16777216"},
		"command in an error": {"utf-8", frame(`{"error":"\u001b[2Jno\u0007"}`), "ADDR refuses: [2Jno\n"},
		"another encoding":    {"utf-8", frame(headOf("latin1", "hola", "hola")) + frame("hola"), `ADDR sends what cannot be: "latin1", where utf-8 was asked for`},
		"a path":              {"utf-8", frame(headOf("../../x", "hola", "hola")) + frame("hola"), `ADDR sends what cannot be: "../../x", where utf-8 was asked for`},
		"another size":        {"utf-8", frame(headOf("utf-8", "hola", "holas")) + frame("hola"), "ADDR sends what cannot be: 4 bytes, where 5 were announced"},
		"negative size":       {"utf-8", frame(`{"encoding":"utf-8","size":-1}`) + frame("hola"), "ADDR sends what cannot be: -1 bytes, 0 characters, 0 changed"},
		"too large":           {"utf-8", frame(`{"encoding":"utf-8","size":99999999}`), "ADDR has a text of 99999999 bytes, more than the 16777216 that -max allows"},
		"changed":             {"latin1", frame(`{"encoding":"latin1","size":4,"characters":4,"changed":1}`) + frame("hol?"), "ADDR sends what cannot be: 1 characters are changed, which was not asked for"},
		"another text":        {"utf-8", frame(headOf("utf-8", "hola", "hole")) + frame("hole"), "ADDR sends what cannot be: the text is not the one announced: its SHA-256 differs"},
		"other characters":    {"utf-8", frame(headOf("utf-8", "hola", "ñññ2")) + frame("ñ2x"), "ADDR sends what cannot be: "},
		"invalid UTF-8":       {"utf-8", frame(headOf("utf-8", "hola", "h\xf3la")) + frame("h\xf3la"), "ADDR sends what cannot be: no utf-8: byte 1: "},
		"undefined byte":      {"windows-1252", frame(headOf("windows-1252", "hola", "h\x81la")) + frame("h\x81la"), "ADDR sends what cannot be: no windows-1252: byte 1: 0x81 has no character in Windows-1252"},
		"half a surrogate":    {"utf-16le", frame(headOf("utf-16le", "ho", "\x00\xd8h\x00")) + frame("\x00\xd8h\x00"), "ADDR sends what cannot be: no utf-16le: byte 0: half a surrogate pair"},
		"bad base64":          {"base64", frame(headOf("base64", "hola", "aG9sYQ=!")) + frame("aG9sYQ=!"), "ADDR sends what cannot be: no base64: byte "},
		"binary in base64":    {"base64", frame(headOf("base64", "hola", "////")) + frame("////"), "ADDR sends what cannot be: bytes in base64 that are no text"},
		"truncated zip":       {"zip", frame(headOf("zlib", "hola", packed[:8])) + frame(packed[:8]), "ADDR sends what cannot be: no zlib: byte 8: the data ends too early"},
		"damaged zip":         {"zip", frame(headOf("zlib", "hola", packed)) + frame(packed[:len(packed)-1]+"\x00"), "ADDR sends what cannot be: no zlib: "},
		"more after the zip":  {"zip", frame(headOf("zlib", "hola", packed+"x")) + frame(packed+"x"), "ADDR sends what cannot be: no zlib: "},
		"a bomb":              {"zip", frame(headOf("zlib", "hola", big)) + frame(big), fmt.Sprintf("ADDR has a text of more than the 16777216 bytes that -max allows, packed into %d", len(big))},
		"a name that is none": {"idna", frame(headOf("idna", "ñ", "xn--a-0000")) + frame("xn--a-0000"), "ADDR sends what cannot be: no idna: byte 0: "},
		"unknown to us":       {"klingon", frame(headOf("klingon", "hola", "hola")) + frame("hola"), `ADDR knows an encoding "klingon", which this client does not`},
	} {
		t.Run(name, func(t *testing.T) {
			addr, port := answerOnce(t, test.answer)
			dir := t.TempDir()
			got := clitest.Run(t, "", "client", "-port", port, "-encoding", test.encoding, "-o", filepath.Join(dir, "out"))
			require.Equal(t, 1, got.Status)
			require.Empty(t, got.Stdout)
			require.Contains(t, got.Stderr, strings.ReplaceAll(test.want, "ADDR", addr))
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, entries, "nothing is saved")
		})
	}
	t.Run("control characters in the text", func(t *testing.T) {
		const text = "\x1b[2Jhola\x07\tmundo\r\n\n"
		_, port := answerOnce(t, frame(headOf("utf-8", text, text))+frame(text))
		got := clitest.Run(t, "", "client", "-port", port, "-o", filepath.Join(t.TempDir(), "out"))
		require.Equal(t, 0, got.Status, got.Stderr)
		require.True(t, strings.HasSuffix(got.Stdout, "the same\n[2Jhola\tmundo\n\n"), "%q", got.Stdout)
	})
}

func TestNetworkErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	require.NoError(t, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "out")
	got := clitest.Run(t, "", "client", "-port", port, "-timeout", "50ms", "-o", file)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, ln.Addr().String())
	require.Contains(t, got.Stderr, "no message within 50ms")
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)

	require.NoError(t, ln.Close())
	got = clitest.Run(t, "", "client", "-port", port, "-o", file)
	require.Equal(t, 1, got.Status)
	require.Regexp(t, `^quixote: cannot connect to 127\.0\.0\.1:`+port+` over tcp: refused`, got.Stderr)
	got = clitest.Run(t, "", "client", "-host", "no such name", "-port", port, "-o", file)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "quixote: cannot look up no such name: ")
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	require.NoError(t, save(name, []byte("one")))
	require.NoError(t, save(name, []byte("two")))
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "two", string(data))
	require.ErrorContains(t, save(dir, []byte("three")), "is no regular file")
	require.ErrorContains(t, save(os.DevNull, []byte("three")), "is no regular file")
	require.Error(t, save(filepath.Join(dir, "none", "a"), []byte("four")))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestDiffering(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"ñu", "?u", 1}, {"ñu", "ñu", 0}, {"a", "abc", 2}, {"ñandú", "", 5}} {
		require.Equal(t, test.want, differing([]byte(test.a), []byte(test.b)))
	}
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0", "-opening")
	got := clitest.Run(t, "", "client", "-host", "::1", "-port", srv.Port(), "-o", filepath.Join(t.TempDir(), "out"))
	require.Equal(t, 0, got.Status, got.Stderr)
}

// pythonClient asks for the text in all encodings and decodes them with what
// Python has.
const pythonClient = `
import base64, gzip, hashlib, json, socket, struct, sys, zlib

def exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        assert more, "cut"
        data += more
    return data

def receive(sock):
    return exactly(sock, struct.unpack(">I", exactly(sock, 4))[0])

decode = {
    "base64": base64.b64decode, "base64url": base64.urlsafe_b64decode, "base64-mime": base64.decodebytes,
    "zip": zlib.decompress, "gzip": gzip.decompress,
}
seen = set()
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=30) as sock:
    for name in sys.argv[3:]:
        ask = json.dumps({"encoding": name}).encode()
        sock.sendall(struct.pack(">I", len(ask)) + ask)
        head = json.loads(receive(sock))
        assert "error" not in head, head
        body = receive(sock)
        assert len(body) == head["size"]
        text = decode[name](body).decode("utf-8") if name in decode else body.decode(name)
        assert len(text) == head["characters"], name
        assert hashlib.sha256(text.encode()).hexdigest() == head["sha256"], name
        seen.add(text)
assert len(seen) == 1
sys.stdout.buffer.write(seen.pop().encode())
`

func TestPythonClient(t *testing.T) {
	python := interop.Python(t)
	srv := clitest.Start(t, "server", "-port", "0", "-opening")
	args := []string{"-c", pythonClient, srv.Host(), srv.Port()}
	for _, name := range append(codec.Names(), "zip") {
		if name != "ascii" && name != "idna" && name != "zlib" {
			args = append(args, name)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, args...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, problems.String())
	require.Equal(t, string(opening), strings.ReplaceAll(string(out), "\r\n", "\n"))
}

// pythonServer serves one client, in any character set that Python knows.
const pythonServer = `
import hashlib, json, socket, struct
text = "El ingenioso hidalgo don Quijote de la Mancha, ñandú, 5 €\n"
with socket.create_server(("127.0.0.1", 0)) as ln:
    ln.settimeout(30)
    print("listening on %s:%d" % ln.getsockname(), flush=True)
    conn, _ = ln.accept()
    conn.settimeout(30)
    with conn, conn.makefile("rwb") as f:
        size, = struct.unpack(">I", f.read(4))
        ask = json.loads(f.read(size))
        body = text.encode(ask["encoding"])
        head = json.dumps({"encoding": ask["encoding"], "size": len(body), "characters": len(text),
                           "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()
        f.write(struct.pack(">I", len(head)) + head + struct.pack(">I", len(body)) + body)
        f.flush()
        assert not f.read(1)
`

func TestPythonServer(t *testing.T) {
	python := interop.Python(t)
	for _, encoding := range []string{"utf-8", "windows-1252", "utf-16", "utf-16be"} {
		cmd := exec.CommandContext(t.Context(), python, "-c", pythonServer)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var addr string
		_, err = fmt.Fscanf(out, "listening on %s\n", &addr)
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		got := clitest.Run(t, "", "client", "-port", port, "-encoding", encoding, "-o", filepath.Join(t.TempDir(), "out"))
		require.Equal(t, 0, got.Status, got.Stderr)
		require.True(t, strings.HasSuffix(got.Stdout, "\nEl ingenioso hidalgo don Quijote de la Mancha, ñandú, 5 €\n"), got.Stdout)
		require.NoError(t, cmd.Wait())
	}
}

// The bytes that Python makes are those of the program.
func TestBase64IsStandard(t *testing.T) {
	require.Equal(t, base64.StdEncoding.EncodeToString(opening), must(t, "base64", string(opening)))
}
