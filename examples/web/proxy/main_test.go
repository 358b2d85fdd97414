package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"origin"}) }

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-forward", "-reverse", "http://127.0.0.1:1"}, {"-reverse", "127.0.0.1"}, {"-reverse", "ftp://a"}, {"-forward", "-cache-bytes", "0"},
	} {
		got := clitest.Run(t, "", append([]string{"-listen", "127.0.0.1:0"}, args...)...)
		require.Equal(t, 2, got.Status, "%v: %+v", args, got)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}

// seen is what an origin of the test got.
func seen(t *testing.T) (origin *httptest.Server, requests chan *http.Request) {
	t.Helper()
	requests = make(chan *http.Request, 10)
	origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Set("Test-Body", string(body))
		requests <- r
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "gone")
		w.Header().Set("X-Other", "stays")
		io.WriteString(w, "from the origin")
	}))
	t.Cleanup(origin.Close)
	return origin, requests
}

func do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: clitest.Limit}
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

func newRequest(t *testing.T, method, url, body string, fields ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestReverse(t *testing.T) {
	origin, requests := seen(t)
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-reverse", origin.URL)
	// Every method passes, with its body and with fields that nobody knows.
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "M-SEARCH"} {
		do(t, newRequest(t, method, "http://"+p.Addr+"/a%2Fb?x=1&&y", "sent", "Req-Num: 7", "X-Odd_Name: ä b", "Connection: X-Mine", "X-Mine: gone", "Te: trailers"))
		r := <-requests
		require.Equal(t, method, r.Method)
		require.Equal(t, "/a%2Fb?x=1&&y", r.RequestURI)
		require.Equal(t, "sent", r.Header.Get("Test-Body"))
		require.Equal(t, "7", r.Header.Get("Req-Num"))
		require.Equal(t, "ä b", r.Header.Get("X-Odd_Name"))
		require.Empty(t, r.Header.Get("X-Mine"))
		require.Contains(t, r.Header.Get("Via"), "1.1 zocalo")
		require.Equal(t, strings.TrimPrefix(origin.URL, "http://"), r.Host)
	}
	for i := range 3 {
		resp, body := do(t, newRequest(t, "GET", "http://"+p.Addr+"/page", ""))
		require.Equal(t, "from the origin", body)
		require.Equal(t, "stays", resp.Header.Get("X-Other"))
		require.Empty(t, resp.Header.Get("X-Hop"))
		if i == 0 {
			<-requests
		} else {
			require.Contains(t, resp.Header.Get("Cache-Status"), "hit")
			require.NotEmpty(t, resp.Header.Get("Age"))
		}
	}
	p.Stdout.WaitFor(t, "/page: zocalo; hit; ttl=")
	require.Empty(t, requests)
	require.Zero(t, p.Stop())
}

func TestOriginIsGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := ln.Addr().String()
	ln.Close()
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-reverse", "http://"+addr)
	resp, body := do(t, newRequest(t, "GET", "http://"+p.Addr+"/", ""))
	require.Equal(t, 502, resp.StatusCode)
	require.NotContains(t, body, addr, "what is behind the proxy is not a stranger's business")
}

func TestForwardOnlyToThePublic(t *testing.T) {
	origin, requests := seen(t)
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-forward")
	raw := func(request string) string {
		c := clitest.Dial(t, p.Addr)
		_, err := io.WriteString(c, request)
		require.NoError(t, err)
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		return string(answer)
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(origin.URL, "http://"))
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"} {
		got := raw(fmt.Sprintf("GET http://%s:%s/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", host, port))
		require.True(t, strings.HasPrefix(got, "HTTP/1.1 403 "), "%s: %.100s", host, got)
		got = raw(fmt.Sprintf("CONNECT %s:%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", host, port))
		require.True(t, strings.HasPrefix(got, "HTTP/1.1 403 "), "%s: %.100s", host, got)
	}
	require.True(t, strings.HasPrefix(raw("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 400 "))
	require.Empty(t, requests)
}

func TestForward(t *testing.T) {
	origin, requests := seen(t)
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-forward", "-allow-loopback")
	curl := interop.Program(t, "curl", "curl")
	ctx, cancel := context.WithTimeout(t.Context(), clitest.Limit)
	defer cancel()
	for range 2 {
		out, err := exec.CommandContext(ctx, curl, "-sS", "--noproxy", "", "-x", "http://"+p.Addr, origin.URL+"/x").CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, "from the origin", string(out))
	}
	require.Len(t, requests, 1)

	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "secret") }))
	defer secure.Close()
	out, err := exec.CommandContext(ctx, curl, "-sSk", "--noproxy", "", "-x", "http://"+p.Addr, secure.URL).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "secret", string(out))
	require.NotContains(t, p.Stdout.String(), "secret")
}

func TestWget(t *testing.T) {
	wget := interop.Program(t, "wget", "wget")
	origin, requests := seen(t)
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-forward", "-allow-loopback")
	for range 2 {
		cmd := exec.CommandContext(t.Context(), wget, "-q", "-O", "-", "-e", "use_proxy=on", "-e", "http_proxy=http://"+p.Addr, "-e", "no_proxy=", origin.URL+"/x")
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, "from the origin", string(out))
	}
	require.Len(t, requests, 1)
}

// A tunnel carries what it is given, both ways, and ends with either end.
func TestTunnel(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	target := strings.TrimPrefix(secure.URL, "https://")
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-forward", "-allow-loopback")
	c := clitest.Dial(t, p.Addr)
	_, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	require.NoError(t, err)
	head := make([]byte, len("HTTP/1.1 200 OK\r\n\r\n"))
	_, err = io.ReadFull(c, head)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 200 OK\r\n\r\n", string(head))
	conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, conn.Handshake())
	_, err = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(answer), "HTTP/1.0 404 "), "%.100s", answer)
}

// Chromium loads a page with pictures twice. The second time only the page is
// asked for, and that under a condition.
func TestBrowser(t *testing.T) {
	chromium := interop.Program(t, "chromium", "chromium")
	server := clitest.Start(t, "origin", "-port", "0")
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-forward", "-allow-loopback")
	load := func(profile string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		dir := filepath.Join(t.TempDir(), profile) // a browser's own cache would help it
		out, err := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
			"--user-data-dir="+dir, "--proxy-server=http://"+p.Addr, "--proxy-bypass-list=<-loopback>", "--dump-dom",
			"http://"+server.Addr+"/").Output()
		require.NoError(t, err)
		return string(out)
	}
	require.Contains(t, load("first"), "A page with pictures")
	server.Stdout.WaitFor(t, `asked for GET "/dos.svg"`)
	require.Contains(t, load("second"), "A page with pictures")
	asked := server.Stdout.String()
	require.Equal(t, 1, strings.Count(asked, `"/uno.svg"`), asked)
	require.Equal(t, 1, strings.Count(asked, `"/dos.svg"`), asked)
	require.Equal(t, 1, strings.Count(asked, `GET "/", if it is not "page-1"`), asked)
}

// A hostile origin: what it sends that is no HTTP becomes a 502, an endless
// body passes and is not kept.
func TestHostileOrigin(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":        "SSH-2.0-x\r\n",
		"two lengths":    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"split response": "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
		"silence":        "",
	} {
		addr, _ := clitest.Stranger(t, func(c net.Conn, _ <-chan struct{}) {
			c.Read(make([]byte, 4096))
			io.WriteString(c, answer)
		})
		p := clitest.Start(t, "-listen", "127.0.0.1:0", "-reverse", "http://"+addr)
		resp, _ := do(t, newRequest(t, "GET", "http://"+p.Addr+"/", ""))
		require.Equal(t, 502, resp.StatusCode, name)
	}
	cut, _ := clitest.Stranger(t, func(c net.Conn, _ <-chan struct{}) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nonly this")
	})
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-reverse", "http://"+cut)
	resp, err := http.Get("http://" + p.Addr + "/")
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	require.Error(t, err, "a body that was cut off must not look whole")
}

// The contract's cache-bytes bounds what is stored.
func TestCacheBytes(t *testing.T) {
	origin, requests := seen(t)
	p := clitest.Start(t, "-listen", "127.0.0.1:0", "-reverse", origin.URL, "-cache-bytes", "1")
	for range 2 {
		do(t, newRequest(t, "GET", "http://"+p.Addr+"/", ""))
		<-requests
	}
}

func TestDemo(t *testing.T) {
	got := clitest.Run(t, "", "demo")
	require.Zero(t, got.Status, got.Stderr)
	require.Equal(t, 2, strings.Count(got.Stdout, "zocalo; hit"))
	require.Equal(t, 1, strings.Count(got.Stdout, "fwd-status=304"))
}
