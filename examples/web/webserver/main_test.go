package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestWrongUsage(t *testing.T) {
	dir := site(t)
	for _, args := range [][]string{
		{"-listen", "80"},
		{"-header-timeout", "0s"},
		{"-idle-timeout", "-1s"},
		{"-body-timeout", "soon"},
		{"-writable", ".."},
		{"-writable", "/box"},
		{"-writable", "box/"},
		{"-no-such-flag"},
		{"argument"},
	} {
		got := clitest.Run(t, "", append([]string{"-root", dir}, args...)...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout)
	}
	for _, args := range [][]string{
		{"-root", filepath.Join(dir, "none")},
		{"-root", filepath.Join(dir, "index.html")},
		{"-root", dir, "-writable", "none"},
		{"-root", dir, "-writable", "index.html"},
		{"-root", dir, "-listen", "192.0.2.1:0"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status, "%q", args)
		require.Empty(t, got.Stdout)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}

// big does not fit in any buffer.
var big = strings.Repeat("0123456789\n", 30_000)

// site makes a folder to show.
func site(t *testing.T) string {
	above := t.TempDir()
	for name, text := range map[string]string{
		"www/index.html":         "<h1>Zoo</h1>",
		"www/big.txt":            big,
		"www/animals/ape.txt":    "One line.\nMonkeys eat BANANAS & <i>more</i>.\n",
		"www/animals/bear.html":  "bears eat honey, monkeys eat bananas",
		"www/animals/bear.bin":   "monkeys bananas",
		"www/animals/.hide.txt":  "monkeys bananas",
		"www/.git/note.txt":      "monkeys bananas",
		"www/box/.keep":          "",
		"secret.txt":             "secret monkeys bananas",
		"www/animals/a b&c.html": "nothing",
	} {
		name = filepath.Join(above, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o666))
	}
	return filepath.Join(above, "www")
}

func start(t *testing.T, dir string, flags ...string) *clitest.Process {
	return clitest.Start(t, append([]string{"-listen", "127.0.0.1:0", "-root", dir}, flags...)...)
}

// do sends text, whose lines end in "\n", and returns the first answer and
// whether the connection lives on.
func do(t *testing.T, addr, text string) (*http.Response, string, bool) {
	t.Helper()
	conn := clitest.Dial(t, addr)
	_, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	require.NoError(t, err)
	br := bufio.NewReader(conn)
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	require.NoError(t, err, text)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_, _ = io.WriteString(conn, "GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n")
	second, err := http.ReadResponse(br, nil)
	if err == nil {
		require.Equal(t, 200, second.StatusCode, "after %q", text)
	}
	return resp, string(body), err == nil
}

// Whatever is typed, the answer is the one that the RFCs name, and a connection
// goes on only if the next request is surely the next request.
func TestAnswers(t *testing.T) {
	server := start(t, site(t), "-writable", "box")
	const host = "Host: x\n"
	for _, c := range []struct {
		status int
		alive  bool
		text   string
	}{
		{200, true, "GET / HTTP/1.1\n" + host + "\n"},
		{200, true, "HEAD /big.txt HTTP/1.1\n" + host + "\n"},
		{200, true, "GET http://x/animals/ HTTP/1.1\n" + host + "\n"},
		{200, true, "OPTIONS * HTTP/1.1\n" + host + "\n"},
		{200, false, "GET / HTTP/1.0\n\n"},
		{200, false, "GET / HTTP/1.1\n" + host + "Connection: close\n\n"},
		{206, true, "GET /big.txt HTTP/1.1\n" + host + "Range: bytes=-5\n\n"},
		{301, true, "GET /animals HTTP/1.1\n" + host + "\n"},
		{304, true, "GET /big.txt HTTP/1.1\n" + host + "If-None-Match: *\n\n"},
		{400, true, "GET /..%2fsecret.txt HTTP/1.1\n" + host + "\n"},
		{400, false, "GET / HTTP/1.1\n\n"},
		{400, false, "GET / HTTP/1.1\n" + host + host + "\n"},
		{400, false, "GET / HTTP/1.1\n" + host + "A : b\n\n"},
		{400, false, "GET / HTTP/1.1\n" + host + "A: b\n c\n\n"},
		{400, false, "GET /\x00 HTTP/1.1\n" + host + "\n"},
		{400, false, "hola\n\n"},
		{400, false, "POST / HTTP/1.1\n" + host + "Content-Length: 1\nContent-Length: 2\n\nab"},
		{400, false, "POST / HTTP/1.1\n" + host + "Content-Length: 3\nTransfer-Encoding: chunked\n\n0\n\n"},
		{404, true, "GET /none HTTP/1.1\n" + host + "\n"},
		{404, true, "GET /.git/note.txt HTTP/1.1\n" + host + "\n"},
		{405, true, "POST / HTTP/1.1\n" + host + "Content-Length: 2\n\nab"},
		{405, true, "DELETE /index.html HTTP/1.1\n" + host + "\n"},
		{405, true, "PUT /buscar HTTP/1.1\n" + host + "Content-Length: 0\n\n"},
		{412, true, "GET / HTTP/1.1\n" + host + "If-Match: \"x\"\n\n"},
		{414, false, "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\n" + host + "\n"},
		{416, true, "GET /big.txt HTTP/1.1\n" + host + "Range: bytes=999999-\n\n"},
		{431, false, "GET / HTTP/1.1\n" + host + "A: " + strings.Repeat("a", 100_000) + "\n\n"},
		{501, false, "GET / HTTP/1.1\n" + host + "Transfer-Encoding: gzip, chunked\n\n0\n\n"},
		{505, false, "GET / HTTP/2.0\n" + host + "\n"},
		{201, true, "PUT /box/a.txt HTTP/1.1\n" + host + "Content-Length: 5\n\nhola!"},
		{204, true, "PUT /box/a.txt HTTP/1.1\n" + host + "Transfer-Encoding: chunked\n\n3\nabc\n0\n\n"},
		{409, true, "PUT /box/none/a.txt HTTP/1.1\n" + host + "Content-Length: 1\n\na"},
		{204, true, "DELETE /box/a.txt HTTP/1.1\n" + host + "\n"},
		{404, true, "DELETE /box/a.txt HTTP/1.1\n" + host + "\n"},
	} {
		resp, body, alive := do(t, server.Addr, c.text)
		require.Equal(t, c.status, resp.StatusCode, "%.80q: %s", c.text, body)
		require.Equal(t, c.alive, alive, "%.80q", c.text)
		require.NotContains(t, body, "secret monkeys")
		switch {
		case !alive:
			require.Empty(t, resp.Header.Get("Keep-Alive"))
		case resp.StatusCode != 200 || !strings.Contains(c.text, "*"):
			require.Equal(t, "timeout=5", resp.Header.Get("Keep-Alive"), "%.80q", c.text)
		}
		if resp.StatusCode == 405 {
			require.NotEmpty(t, resp.Header.Get("Allow"))
		}
	}
	resp, body, _ := do(t, server.Addr, "GET /none/<b> HTTP/1.1\nHost: x\n\n")
	require.Contains(t, resp.Header.Get("Content-Type"), "text/html")
	require.Contains(t, body, "There is nothing with this address here.")
	require.NotContains(t, body, "<b>d")
	require.Zero(t, server.Stop())
}

func TestSearch(t *testing.T) {
	server := start(t, site(t), "-v")
	const both = "<h1>2 with “monkeys” and “bananas”</h1>"
	form := func(body string) string {
		return fmt.Sprintf("POST /buscar HTTP/1.1\nHost: x\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\nContent-Length: %d\n\n%s", len(body), body)
	}
	for _, text := range []string{
		"GET /buscar?monkeys&bananas HTTP/1.1\nHost: x\n\n",
		"GET /buscar?q=Monkeys+BANANAS HTTP/1.1\nHost: x\n\n",
		"GET /buscar?a=monkeys&b=%62ananas HTTP/1.1\nHost: x\n\n",
		form("q=monkeys+bananas"),
		form("monkeys&bananas"),
	} {
		resp, body, alive := do(t, server.Addr, text)
		require.Equal(t, 200, resp.StatusCode)
		require.True(t, alive)
		require.Contains(t, body, both, text)
		require.Contains(t, body, `<a href="/animals/ape.txt">animals/ape.txt</a>: Monkeys eat BANANAS &amp; &lt;i&gt;more&lt;/i&gt;.`)
		require.Contains(t, body, "bear.html")
		require.NotContains(t, body, "bear.bin")
		require.NotContains(t, body, "hide")
		require.NotContains(t, body, ".git")
	}
	server.Stdout.WaitFor(t, "GET /buscar?monkeys&bananas 200, ")
	for _, c := range []struct {
		status int
		text   string
		want   string
	}{
		{200, "GET /buscar HTTP/1.1\nHost: x\n\n", `<form action="/buscar" method="post">`},
		{200, "GET /buscar?unicorn HTTP/1.1\nHost: x\n\n", "0 with “unicorn”"},
		{200, "GET /buscar?%3Cscript%3E HTTP/1.1\nHost: x\n\n", "&lt;script&gt;"},
		{200, "GET /buscar?a=&b=&&= HTTP/1.1\nHost: x\n\n", "<form"},
		{400, "GET /buscar?%zz HTTP/1.1\nHost: x\n\n", "escaped"},
		{400, "GET /buscar?" + strings.Repeat("a&", 11) + " HTTP/1.1\nHost: x\n\n", "ten words"},
		{413, form(strings.Repeat("a", 20_000)), "So many words"},
		{415, "POST /buscar HTTP/1.1\nHost: x\nContent-Type: text/plain\nContent-Length: 1\n\na", "form"},
	} {
		resp, body, _ := do(t, server.Addr, c.text)
		require.Equal(t, c.status, resp.StatusCode, "%.60q", c.text)
		require.Contains(t, body, c.want)
	}
}

// Hundreds of connections that say nothing, or half, keep nobody else waiting,
// and are closed when their time is over.
func TestSlowClients(t *testing.T) {
	server := start(t, site(t), "-header-timeout", "1s", "-idle-timeout", "1s", "-body-timeout", "1s", "-writable", "box")
	var silent []*net.TCPConn
	for range 100 {
		silent = append(silent, clitest.Dial(t, server.Addr))
	}
	type slow struct {
		conn   net.Conn
		answer string
	}
	halfway := map[string]slow{}
	for name, c := range map[string]struct{ text, answer string }{
		"header": {"GET / HTTP/1.1\r\nHost: x\r\nA: ", "HTTP/1.1 408 "},
		"body":   {"PUT /box/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 408 "},
		"form":   {"POST /buscar HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\nabc", "HTTP/1.1 408 "},
		"idle":   {"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 "},
	} {
		conn := clitest.Dial(t, server.Addr)
		_, err := io.WriteString(conn, c.text)
		require.NoError(t, err)
		resp, _, _ := do(t, server.Addr, "GET / HTTP/1.1\nHost: x\n\n")
		require.Equal(t, 200, resp.StatusCode, "meanwhile")
		halfway[name] = slow{conn, c.answer}
	}
	for name, c := range halfway {
		answer, err := io.ReadAll(c.conn) // until the server closes
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(answer), c.answer), "%s: %s", name, answer)
	}
	for _, conn := range silent {
		_, err := io.ReadAll(conn)
		require.NoError(t, err, "closed by the server")
	}
	resp, _, _ := do(t, server.Addr, "GET /box/x HTTP/1.1\nHost: x\n\n")
	require.Equal(t, 404, resp.StatusCode, "half a file is none")
}

func TestStops(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		server := start(t, site(t))
		clitest.Dial(t, server.Addr)
		server.Signal(sig)
		require.Zero(t, server.Wait())
		require.Empty(t, server.Stderr.String())
	}
}

func FuzzWords(f *testing.F) {
	f.Add("monkeys&bananas")
	f.Add("q=a+b&%zz=")
	files := &searcher{files: fstest.MapFS{"a.txt": {Data: []byte("monkeys")}}, turns: make(chan struct{}, 1)}
	f.Fuzz(func(t *testing.T, query string) {
		words, problem := wordsOf(query)
		if problem != "" {
			return
		}
		require.LessOrEqual(t, len(words), maxWords)
		if len(words) == 0 {
			return
		}
		list, err := files.find(t.Context(), words)
		require.NoError(t, err)
		for _, file := range list {
			require.Contains(t, strings.ToLower(file.Line), words[0])
		}
	})
}
