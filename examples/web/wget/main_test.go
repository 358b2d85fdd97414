package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-o", "x"},
		{"-o", "x", "http://a", "http://b"},
		{"ftp://a/b"},
		{"http://"},
		{"http://a b/"},
		{"-timeout", "0s", "http://a"},
		{"-timeout", "soon", "http://a"},
		{"-redirects", "-1", "http://a"},
		{"-max", "0", "http://a"},
		{"-proxy", "127.0.0.1:80", "http://a"},
		{"-proxy", "ftp://127.0.0.1", "http://a"},
		{"-no-such-flag", "http://a"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q: %s", args, got.Stderr)
	}
}

// text is what the servers of the tests have.
var text = strings.Repeat("0123456789\n", 10_000)

// wget runs the program in a folder of its own and returns what it saved.
type download struct {
	dir    string
	file   string
	status int
	out    string // both streams
}

func newDownload(t *testing.T) *download {
	dir := t.TempDir()
	return &download{dir: dir, file: filepath.Join(dir, "saved")}
}

func (d *download) get(t *testing.T, url string, flags ...string) *download {
	t.Helper()
	got := clitest.Run(t, "", append(flags, "-o", d.file, url)...)
	d.status, d.out = got.Status, got.Stdout+got.Stderr
	if d.status != 0 {
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	return d
}

func (d *download) saved(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(d.file)
	require.NoError(t, err)
	return string(content)
}

func (d *download) whole(t *testing.T) {
	t.Helper()
	require.Zero(t, d.status, d.out)
	require.True(t, text == d.saved(t), "the file is not what the server has")
	require.NoFileExists(t, d.file+".partial")
}

func TestFetch(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }) // in chunks
	mux.HandleFunc("/length", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader(text))
	})
	mux.HandleFunc("/old", func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n"+text) // to the end of the connection
			c.Close()
		}
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		fmt.Fprint(w, name, "+", password)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		mux.HandleFunc(fmt.Sprint("/", status), func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "text?a=b#fragment", status)
		})
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, path := range []string{"/text", "/length", "/old", "/301", "/302", "/303", "/307", "/308"} {
		newDownload(t).get(t, server.URL+path).whole(t)
	}
	d := newDownload(t).get(t, strings.TrimPrefix(server.URL, "http://")+"/302")
	d.whole(t)
	headers, err := os.ReadFile(d.file + ".headers")
	require.NoError(t, err)
	require.Regexp(t, `(?s)^# connection 1 to 127.0.0.1:\d+, after \d+\.\d ms\n# GET http://[\d.:]+/302\nHTTP/1.1 302 Found\n.*\nLocation: /text\?a=b#fragment\n\n# GET http://[\d.:]+/text\?a=b\nHTTP/1.1 200 OK\n`, string(headers))

	d = newDownload(t).get(t, server.URL+"/empty")
	require.Zero(t, d.status)
	require.Empty(t, d.saved(t))
	d.get(t, strings.Replace(server.URL, "http://", "http://susana:se%20cret@", 1)+"/who")
	require.Equal(t, "susana+se cret", d.saved(t))
	require.NotContains(t, d.out, "cret")

	got := clitest.Run(t, "", "-o", os.DevNull, server.URL+"/text")
	require.Zero(t, got.Status, got.Stderr)
	require.NoFileExists(t, os.DevNull+".headers")

	d = newDownload(t).get(t, server.URL+"/text", "-progress")
	d.whole(t)
	require.Contains(t, d.out, "saved")

	t.Chdir(t.TempDir())
	for path, name := range map[string]string{"/length?a=b": "length", "": "index.html"} {
		clitest.Run(t, "", server.URL+path)
		require.FileExists(t, name+".headers")
	}
}

func TestRefusals(t *testing.T) {
	mux := http.NewServeMux()
	redirect := func(from, to string) {
		mux.HandleFunc(from, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Location"] = []string{to}
			w.WriteHeader(http.StatusFound)
		})
	}
	redirect("/circle", "/circle2")
	redirect("/circle2", "circle")
	redirect("/self", "/self#again")
	redirect("/nowhere", "")
	redirect("/ftp", "ftp://127.0.0.1/x")
	redirect("/file", "file:///etc/passwd")
	redirect("/bad", "http://[::1/")
	mux.HandleFunc("/count/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.PathValue("n"), &n)
		http.Redirect(w, r, fmt.Sprint("/count/", n+1), http.StatusFound)
	})
	mux.HandleFunc("/500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	mux.HandleFunc("/part", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-3/10")
		w.WriteHeader(http.StatusPartialContent)
		io.WriteString(w, "part")
	})
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, reason := range map[string]string{
		"/circle":  "in a circle",
		"/self":    "in a circle",
		"/nowhere": "without saying where to",
		"/ftp":     "not of HTTP",
		"/file":    "not of HTTP",
		"/bad":     "without saying where to",
		"/count/0": "more than 10 redirections",
		"/500":     "500 Internal Server Error",
		"/none":    "404 Not Found",
		"/part":    "another part",
	} {
		d := newDownload(t)
		require.NoError(t, os.WriteFile(d.file, []byte("what was there"), 0o666))
		d.get(t, server.URL+path)
		require.Equal(t, 1, d.status, path)
		require.Contains(t, d.out, reason, path)
		require.Equal(t, "what was there", d.saved(t), path)
	}
	d := newDownload(t).get(t, server.URL+"/text", "-max", "1000")
	require.Equal(t, 1, d.status)
	require.Contains(t, d.out, "more than -max 1000 bytes")
	d = newDownload(t).get(t, server.URL+"/count/0", "-redirects", "3")
	require.Contains(t, d.out, "more than 3 redirections; the last leads to "+server.URL+"/count/4")

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln.Close()
	d = newDownload(t).get(t, "http://"+ln.Addr().String())
	require.Equal(t, 1, d.status)
	require.Contains(t, d.out, "refused: no program listens there")
	require.NoFileExists(t, d.file)
}

// What a hostile or broken server sends is never taken for the whole document.
func TestStrangeServers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, answer := range map[string]string{
		"nothing":           "",
		"not http":          "hola",
		"http 0.9":          "<html>hola</html>\r\n",
		"cut header":        ok + "Content-Len",
		"cut body":          ok + "Content-Length: 10\r\n\r\n12345",
		"cut chunks":        ok + "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
		"bad chunks":        ok + "Transfer-Encoding: chunked\r\n\r\nhola\r\n",
		"two lengths":       ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n12",
		"length and chunks": ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"endless header":    ok + strings.Repeat("A: b\r\n", 100_000),
		"endless field":     ok + "A: " + strings.Repeat("b", 1<<20),
		"split":             ok + "A: b\nSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
		"switch":            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := clitest.Stranger(t, func(conn net.Conn, _ <-chan struct{}) {
				io.ReadAtLeast(conn, make([]byte, 4096), 1)
				io.WriteString(conn, answer)
			})
			d := newDownload(t).get(t, "http://"+addr)
			require.Equal(t, 1, d.status, d.out)
		})
	}
	for name, answer := range map[string]string{"before": "", "in the header": ok, "in the body": ok + "Content-Length: 10\r\n\r\n12345"} {
		t.Run("silence "+name, func(t *testing.T) {
			addr, _ := clitest.Stranger(t, func(conn net.Conn, over <-chan struct{}) {
				io.WriteString(conn, answer)
				<-over
			})
			d := newDownload(t).get(t, "http://"+addr, "-timeout", "200ms")
			require.Equal(t, 1, d.status)
			require.Contains(t, d.out, "timed out")
		})
	}
}

func TestContinue(t *testing.T) {
	origin := &cutting{version: `"one"`}
	server := httptest.NewServer(origin)
	defer server.Close()
	interrupted := func(t *testing.T) *download {
		origin.set(`"one"`, 5000)
		d := newDownload(t).get(t, server.URL)
		require.Equal(t, 1, d.status)
		require.Equal(t, text[:5000], d.saved(t))
		origin.set(`"one"`, 0)
		return d
	}
	t.Run("rest", func(t *testing.T) {
		interrupted(t).get(t, server.URL, "-continue").whole(t)
		require.Equal(t, []string{`GET bytes=5000- "one"`}, origin.requests())
	})
	t.Run("without the flag", func(t *testing.T) {
		interrupted(t).get(t, server.URL).whole(t)
		require.Equal(t, []string{"GET  "}, origin.requests())
	})
	t.Run("another version", func(t *testing.T) {
		d := interrupted(t)
		origin.set(`"two"`, 0)
		require.NoError(t, os.WriteFile(d.file, []byte(strings.Repeat("old", 5000/3)), 0o666))
		d.get(t, server.URL, "-continue").whole(t)
	})
	t.Run("a weak validator", func(t *testing.T) {
		d := interrupted(t)
		require.NoError(t, os.WriteFile(d.file+".partial", nil, 0o666))
		d.get(t, server.URL, "-continue").whole(t)
		require.Equal(t, []string{"GET  "}, origin.requests(), "nobody knows of which version the part is")
	})
	t.Run("a part by another program", func(t *testing.T) {
		origin.set(`"one"`, 0)
		d := newDownload(t)
		require.NoError(t, os.WriteFile(d.file, []byte(text[:77]), 0o666))
		d.get(t, server.URL, "-continue").whole(t)
		require.Equal(t, []string{"GET bytes=77- "}, origin.requests())
	})
	t.Run("nothing there", func(t *testing.T) {
		newDownload(t).get(t, server.URL, "-continue").whole(t)
	})
	t.Run("all there", func(t *testing.T) {
		origin.set(`"one"`, 0)
		d := newDownload(t)
		require.NoError(t, os.WriteFile(d.file, []byte(text), 0o666))
		d.get(t, server.URL, "-continue").whole(t)
		require.Contains(t, d.out, "has all 110000 bytes already")
		require.Equal(t, []string{"GET bytes=110000- ", "HEAD  "}, origin.requests())
	})
	t.Run("longer than the original", func(t *testing.T) {
		d := newDownload(t)
		require.NoError(t, os.WriteFile(d.file, []byte(text+"more"), 0o666))
		d.get(t, server.URL, "-continue").whole(t)
	})
	t.Run("cut twice", func(t *testing.T) {
		d := interrupted(t)
		origin.set(`"one"`, 3000)
		d.get(t, server.URL, "-continue") // this server ignores the range, and is cut again
		require.Equal(t, 1, d.status)
		d.get(t, server.URL, "-continue").whole(t)
	})
	t.Run("a part of another version", func(t *testing.T) {
		d := interrupted(t)
		wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-Range") // which it does not know
			w.Header().Set("ETag", `"two"`)
			http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader(text))
		}))
		defer wrong.Close()
		d.get(t, wrong.URL, "-continue")
		require.Equal(t, 1, d.status)
		require.Contains(t, d.out, "a part of another version")
		require.Equal(t, text[:5000], d.saved(t), "as it was")
	})
	t.Run("a version with a weak name", func(t *testing.T) {
		origin.set(`W/"one"`, 5000)
		d := newDownload(t).get(t, server.URL)
		require.Equal(t, 1, d.status)
		d.get(t, server.URL, "-continue").whole(t)
		require.Equal(t, "GET  ", origin.requests()[1], "the rest might not fit")
	})
	for name, field := range map[string]string{"elsewhere": "bytes 4000-109999/110000", "unknown size": "bytes 5000-109999/*", "not to the end": "bytes 5000-6000/110000", "none": "", "too large": "bytes 5000-99999999999999999999/110000"} {
		t.Run("wrong part "+name, func(t *testing.T) {
			d := interrupted(t)
			wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Range", field)
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, text[4000:])
			}))
			defer wrong.Close()
			d.get(t, wrong.URL, "-continue")
			require.Equal(t, 1, d.status)
			require.Contains(t, d.out, "another part")
			require.Equal(t, text[:5000], d.saved(t), "as it was")
		})
	}
}

// cutting has text in some version, and cuts its next answer after so many bytes.
type cutting struct {
	mu      sync.Mutex
	version string
	cut     int
	asked   []string
}

func (c *cutting) set(version string, cut int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version, c.cut, c.asked = version, cut, nil
}

func (c *cutting) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *cutting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, r.Method+" "+r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
	w.Header().Set("ETag", c.version)
	if c.cut > 0 {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		io.WriteString(w, text[:c.cut])
		http.NewResponseController(w).Flush()
		c.cut = 0
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader(text))
}

func TestHTTPSAndProxy(t *testing.T) {
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
	origin.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is no news
	origin.StartTLS()
	defer origin.Close()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }))
	defer plain.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pemOf(origin.Certificate()), 0o666))

	d := newDownload(t).get(t, origin.URL)
	require.Equal(t, 1, d.status)
	require.Contains(t, d.out, "certificate")
	newDownload(t).get(t, origin.URL, "-ca", ca).whole(t)
	d = newDownload(t).get(t, origin.URL, "-ca", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, d.status)

	asked := make(chan string, 10)
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.RequestURI + " " + r.Header.Get("Proxy-Authorization")
		if r.Method != "CONNECT" {
			forward.ServeHTTP(w, r)
			return
		}
		tunnel(w, r.Host)
	}))
	defer proxy.Close()
	newDownload(t).get(t, plain.URL+"/a?b", "-proxy", proxy.URL).whole(t)
	require.Equal(t, "GET "+plain.URL+"/a?b ", <-asked)
	newDownload(t).get(t, origin.URL, "-ca", ca, "-proxy", strings.Replace(proxy.URL, "//", "//a:b@", 1)).whole(t)
	require.Equal(t, "CONNECT "+strings.TrimPrefix(origin.URL, "https://")+" Basic YTpi", <-asked)
	d = newDownload(t).get(t, "https://127.0.0.1:1/", "-proxy", proxy.URL)
	require.Equal(t, 1, d.status)
	require.Contains(t, d.out, "502 Bad Gateway")
}

func tunnel(w http.ResponseWriter, addr string) {
	to, err := net.Dial("tcp", addr)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(to, from)
		to.Close()
	}()
	io.Copy(from, to)
}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
