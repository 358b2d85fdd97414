package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

// The parts of a message follow each other without gaps and say together what
// the message says.
func whole(t *testing.T, m *message) []byte {
	t.Helper()
	at, all := m.start.at, []byte(nil)
	for _, p := range append(m.lines(), m.body...) {
		require.Equal(t, at, p.at, p.name)
		at, all = p.end(), append(all, p.text...)
	}
	require.Equal(t, at, m.end())
	return all
}

func TestQuestions(t *testing.T) {
	got := clitest.Run(t, "", "questions")
	require.Zero(t, got.Status, got.Stderr)
	for _, answer := range []string{
		"http://gaia.cs.umass.edu/cs453/index.html (field Host, bytes 32–56; target, bytes 4–20)",
		"HTTP/1.1 (version, bytes 22–29)",
		"yes: Connection: keep-alive",
		"not in the message",
		"Netscape/7.2 (ax)",
		"427, of which 0 are user data",
		"200 OK, sent Tue, 07 Mar 2006 12:39:45 GMT",
		"Sat, 10 Dec 2005 18:27:46 GMT",
		"3874 bytes; the first five are <!doc (field Content-Length, bytes 182–203; body, bytes 308–312)",
		"Keep-Alive, and closed when it has been idle for 15 s",
		"308 of header and 3874 of user data: 4182; the capture ends after 617",
	} {
		assert.Contains(t, got.Stdout, answer)
	}
	// Where an answer is said to stand, it stands.
	request, response, err := captured()
	require.NoError(t, err)
	require.Equal(t, "Host: gaia.cs.umass.edu\r", string(capturedRequest[32:56]))
	require.Equal(t, "/cs453/index.html", string(capturedRequest[4:21]))
	require.Equal(t, "<!doc", string(capturedResponse[308:313]))
	require.Equal(t, capturedRequest, whole(t, request))
	require.Equal(t, capturedResponse, whole(t, response))
	require.True(t, request.complete())
	require.False(t, response.complete(), "the capture has not all of the body")
}

// Apache 2.0 made its entity tags of the file's inode number, its size and the
// time of its last change in microseconds, of which 32 bits were left. So the
// tag vouches for two lines of the capture that were restored.
func TestTagVouches(t *testing.T) {
	_, response, err := captured()
	require.NoError(t, err)
	changed, err := http.ParseTime(response.get("Last-Modified").value)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(`"526c3-%x-%x"`, response.announce, uint32(changed.UnixMicro())), response.get("ETag").value)
	// The date of the reply has the day of the week that its year wants; 2008,
	// which the book prints, has another.
	for date, right := range map[string]bool{response.get("Date").value: true, "Tue, 07 Mar 2008 12:39:45 GMT": false} {
		sent, err := http.ParseTime(date)
		require.NoError(t, err)
		require.Equal(t, right, strings.HasPrefix(date, sent.Format("Mon")), date)
	}
}

func TestDissect(t *testing.T) {
	for _, test := range []struct {
		name, stream, method string
		framing              string
		content              string
		end                  int // -1 for all of it
	}{
		{"a GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "", "none: a request with neither", "", 27},
		{"a POST", "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nholaGET", "", "Content-Length: 4 bytes", "hola", 42},
		{"cut off", "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nho", "", "cut off here", "ho", -1},
		{"no end of header", "GET / HTTP/1.1\r\nHost: a\r\n", "", "the header is not over: cut off here", "", -1},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nuno\r\nA\r\n0123456789\r\n0\r\nSum: 1\r\n\r\nHTTP", "GET", "chunks", "uno0123456789", 87},
		{"chunks cut off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nun", "GET", "cut off here", "un", -1},
		{"no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nuno", "GET", "cut off here", "", -1},
		{"huge size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nuno", "GET", "cut off here", "", 67},
		{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nuno", "GET", "until the connection is closed", "uno", -1},
		{"to the end", "HTTP/1.0 200 OK\r\n\r\nuno\ndos", "GET", "until the connection is closed", "uno\ndos", -1},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", "none: the answer to HEAD", "", -1},
		{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", "none: status 304", "", -1},
		{"both", "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", "chunks", "", -1},
		{"not chunked", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nxyz", "", "not to be known", "", 44},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "GET", "Content-Length: 0", "", -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := dissect([]byte(test.stream), 0, test.method)
			require.NoError(t, err)
			assert.Contains(t, m.framing, test.framing)
			assert.Equal(t, test.content, string(m.content()))
			if test.end < 0 {
				test.end = len(test.stream)
			}
			assert.Equal(t, test.end, m.end())
			assert.Equal(t, test.stream[:test.end], string(whole(t, m)))
			assert.Equal(t, !strings.Contains(test.framing, cutOff) && !strings.HasSuffix(m.framing, cutOff), m.complete())
			var out strings.Builder
			m.show(&out)
			assert.Contains(t, out.String(), plural(m.end(), "byte")+": ")
		})
	}
}

func TestRemarks(t *testing.T) {
	m, err := dissect([]byte("\r\nGET / HTTP/1.1\nHost : a\r\nnonsense\r\nContent-Length: x\r\n\r\n"), 0, "")
	require.NoError(t, err)
	require.Len(t, m.remarks, 5)
	all := strings.Join(m.remarks, "\n")
	for _, part := range []string{"byte 0 is empty", "byte 2 ends with", "byte 17 has white space", "byte 27 has no colon", "byte 37 has no number"} {
		require.Contains(t, all, part)
	}
	for _, stream := range []string{"", "hola\r\n", "\x16\x03\x01", "HTTP/1.1\r\n\r\n", "GET /\r\n\r\n", "GET  HTTP/1.1\r\n"} {
		_, err := dissect([]byte(stream), 7, "")
		var not *notHTTP
		require.ErrorAs(t, err, &not, "%q", stream)
		require.Equal(t, 7, not.line.at)
	}
}

func FuzzDissect(f *testing.F) {
	f.Add(capturedRequest, "")
	f.Add(capturedResponse, "GET")
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nuno\r\n0\r\na: b\r\n\r\n"), "GET")
	f.Add([]byte("POST / HTTP/1.1\nContent-Length: 3\n\nunoGET / HTTP/1.0\n\n"), "")
	f.Fuzz(func(t *testing.T, stream []byte, method string) {
		var all []byte
		for m, err := range messages(stream, []string{method, method}) {
			if err != nil {
				break
			}
			if len(m.remarks) == 0 { // without empty lines before it
				all = append(all, whole(t, m)...)
				require.True(t, bytes.HasPrefix(stream[m.start.at:], whole(t, m)))
			}
			m.show(io.Discard)
		}
		require.LessOrEqual(t, len(all), len(stream))
	})
}

func TestExplain(t *testing.T) {
	got := clitest.Run(t, "", "explain")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "427 bytes: 32 request line + 393 in 8 fields + 2 empty line + 0 body\n")
	require.Contains(t, got.Stdout, "body: Content-Length: 3874 bytes: cut off here\n")

	name := filepath.Join(t.TempDir(), "bad.http")
	require.NoError(t, os.WriteFile(name, []byte("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n\x1b[31m"), 0o600))
	got = clitest.Run(t, "", "explain", name)
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "to be answered with status 400: ")
	require.NotContains(t, got.Stdout, "\x1b")

	for status, args := range map[int][]string{2: {"a", "b"}, 1: {filepath.Join(t.TempDir(), "none")}} {
		got := clitest.Run(t, "", append([]string{"explain"}, args...)...)
		require.Equal(t, status, got.Status)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	big := filepath.Join(t.TempDir(), "big")
	require.NoError(t, os.WriteFile(big, make([]byte, maxStream+1), 0o600))
	require.Equal(t, 1, clitest.Run(t, "", "explain", big).Status)
}

func TestTyped(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-header-timeout", "300ms")
	for _, test := range []struct {
		name, typed string
		says        []string
	}{
		{"a page", "GET / HTTP/1.1\nHost: a\n\n", []string{"200", fmt.Sprintf("Content-Length: %d", len(page)), "A socket, and a square."}},
		{"chunks", "GET /slowly HTTP/1.1\nHost: a\n\n", []string{"chunk size", `4\r\n`, `uno\n`, "end of chunk", "chunks, until one of size 0"}},
		{"two at once", "HEAD / HTTP/1.1\nHost: a\n\nGET /none HTTP/1.1\nHost: a\n\n", []string{"none: the answer to HEAD has no body", "404"}},
		{"hola", "hola\n", []string{`byte 0: hola\r\n is no start line of HTTP`, "to be answered with status 400", "400 Bad Request", "Connection: close"}},
		{"no Host", "GET / HTTP/1.1\n\n", []string{"to be answered with status 400", "400 Bad Request"}},
		{"the future", "GET / HTTP/3.0\nHost: a\n\n", []string{"505"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := clitest.Run(t, test.typed, "client", "-port", srv.Port())
			require.Zero(t, got.Status, got.Stderr)
			for _, part := range test.says {
				require.Contains(t, got.Stdout, part)
			}
		})
	}
	got := clitest.Run(t, "GET / HTTP/1.0\r\n\r\n", "client", "-raw", "-port", srv.Port())
	require.Contains(t, got.Stdout, "A socket, and a square.")
	// Who begins and goes quiet is told after the server's time for a header.
	slow := clitest.Dial(t, srv.Addr)
	_, err := slow.Write([]byte("GET / HT"))
	require.NoError(t, err)
	answer, err := io.ReadAll(slow)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")), "%q", answer)
	require.Zero(t, srv.Stop())
}

// A server that is none, one that says nothing, and one that never ends.
func TestHostileServer(t *testing.T) {
	for _, test := range []struct {
		name string
		play func(c net.Conn)
		flag string
		want int
		says string
	}{
		{"another protocol", func(c net.Conn) { io.WriteString(c, "220 mail.test \x1b]0;x\x07 ready\r\n") }, "10s", 0, "is no start line of HTTP"},
		{"hangs up", func(net.Conn) {}, "10s", 0, "received\n  nothing"},
		{"never ends", func(c net.Conn) {
			for {
				if _, err := c.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}, "10s", 1, "is longer than"},
		{"says nothing", nil, "50ms", 1, "timed out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, port := clitest.Stranger(t, func(c net.Conn, over <-chan struct{}) {
				if test.play == nil {
					<-over
					return
				}
				io.ReadAll(io.LimitReader(c, 18)) // the request, so that closing is no reset
				test.play(c)
			})
			got := clitest.Run(t, "GET / HTTP/1.0\n\n", "client", "-port", port, "-timeout", test.flag)
			require.Equal(t, test.want, got.Status, got.Stderr)
			require.Contains(t, got.Stdout+got.Stderr, test.says)
			require.NotContains(t, got.Stdout, "\x1b")
		})
	}
}
