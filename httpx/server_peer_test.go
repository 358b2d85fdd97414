package httpx

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/internal/testcert"
)

// listen serves on loopback and returns the address.
func listen(t testing.TB, s interface {
	Serve(ctx context.Context, ln net.Listener) error
	Close() error
},
) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return ln.Addr().String()
}

// A stdServer is net/http's server in the shape of ours.
type stdServer struct{ http.Server }

func (s *stdServer) Serve(_ context.Context, ln net.Listener) error { return s.Server.Serve(ln) }

// talk sends text and sums up what comes back until the connection ends: for each
// response its status, its body and whether it says that it is the last. If end is
// set the client ends its side first, which tells a server that works for it that
// it has gone.
func talk(t testing.TB, addr, text string, end bool) []string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	_, _ = io.WriteString(nc, text) // a server that has enough may have closed
	if end {
		_ = nc.(*net.TCPConn).CloseWrite()
	}
	var answers []string
	for br := bufio.NewReader(nc); ; {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return answers
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode >= 400 {
			body = nil // the words are each server's own
		}
		answers = append(answers, fmt.Sprintf("%d %q close=%t", resp.StatusCode, body, resp.Close))
	}
}

// The same bytes go to net/http's server and to ours. What differs is listed, and
// has a reason; in nothing are we the more lenient about where a message ends.
func TestLikeNetHTTP(t *testing.T) {
	limits := &Server{Handler: http.MaxBytesHandler(&echo{}, 1000), Limits: Limits{MaxHeader: 1 << 16}}
	theirs := &stdServer{http.Server{Handler: http.MaxBytesHandler(&echo{}, 1000), MaxHeaderBytes: 1 << 16}}
	ourAddr, theirAddr := listen(t, limits), listen(t, theirs)

	for _, text := range []string{
		getClose("/"),
		get("/1") + get("/2") + getClose("/3"),
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + getClose("/2"),
		"GET / HTTP/1.2\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET http://b/c?d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET //b/c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET /%41?%zz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"M-SEARCH / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + getClose("/2"),
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\nhello" + getClose("/2"),
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + getClose("/2"),
		chunkedPost + "5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n" + getClose("/2"),
		chunkedPost + "A\r\n0123456789\r\na\r\n0123456789\r\n00\r\n\r\n" + getClose("/2"),
		"GET / HTTP/1.1\r\nHost: a\r\nX:\t  b \t\r\nX-Empty:\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\nConnection: close\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 5\r\n\r\nhello",
		"GET / HTTP/1.1\r\nHost: a:b\r\nConnection: x,CLOSE\r\n\r\n"[:len(get("/"))-2] + "Connection: x,CLOSE\r\n\r\n",
	} {
		require.Equal(t, talk(t, theirAddr, text, false), talk(t, ourAddr, text, false), "%q", text)
	}

	// Refused by both, though not always with the same status: ours is the one of
	// the RFC, or by us alone. The list is of the latter.
	onlyOurs := map[string]string{
		"end of the line without CR":      "RFC 9112 section 2.2 permits a lone LF; readers that differ about it can be played against each other",
		"LF ends a field":                 "the same",
		"LF ends the header":              "the same",
		"obs-fold":                        "section 5.2: a server must refuse it or make it spaces",
		"not ASCII in the target":         "RFC 3986 section 2: it must be percent-encoded",
		"long line":                       "net/http bounds the header as a whole",
		"one field too much":              "net/http adds 4,096 bytes to its bound",
		"long field":                      "net/http adds 4,096 bytes to its bound",
		"version 2 preface":               "net/http lets a handler take it over",
		"fragment in the target":          "section 3.2: a target has none",
		"Host with a wrong port":          "TCP has no such port",
		"Host with a named port":          "a port is digits",
		"Host without a bracket":          "RFC 3986 section 3.2.2",
		"Host with two ports":             "the same",
		"absolute-form with a user":       "RFC 9110 section 4.2.4: treat it as an error",
		"absolute-form with a wrong port": "there is no such port",
		"absolute-form without a host":    "RFC 9110 section 4.2.1: it must be refused",
		"opaque target":                   "section 3.2: no form of a target",
		"CONNECT without a port":          "section 3.2.3: the port is required",
		"CONNECT to a path":               "the same",
		"CONNECT to port 0":               "there is no such port",
		"GET *":                           "section 3.2.4: only for OPTIONS",
		"GET host:port":                   "section 3.2.3: only for CONNECT",
		"one length twice":                "section 6.3 permits it; a sender that does so is confused",
		"length and chunked":              "section 6.3: ought to be handled as an error",
		"chunked in HTTP/1.0":             "section 6.1: its framing is faulty",
		"space behind the size":           "section 7.1: white space only in front of an extension",
		"many fields":                     "net/http bounds bytes alone",
		"long extension":                  "net/http permits 4,096 bytes",
	}
	var differ []string
	check := func(name, text string) {
		answers := talk(t, ourAddr, text, true)
		require.Len(t, answers, 1, name)
		require.Contains(t, answers[0], "close=true", name)
		require.Regexp(t, "^[45]", answers[0], name)
		theirs := talk(t, theirAddr, text, true)
		if len(theirs) > 0 && theirs[0][0] == '2' && !strings.HasPrefix(theirs[0], `200 ""`) { // echo says something
			differ = append(differ, name)
		}
	}
	for _, c := range refusedRequests {
		if !strings.Contains(c.name, "beyond the limit") {
			check(c.name, c.text)
		}
	}
	for _, c := range brokenBodies {
		if !strings.Contains(c.name, "beyond the limit") {
			check(c.name, chunkedPost+c.text)
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(onlyOurs)), differ)
}

func TestServeTLS(t *testing.T) {
	cfg, roots := testcert.Server(t, "127.0.0.1")
	cfg.NextProtos = []string{"h2", "http/1.1"}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s over TLS %t", r.Proto, r.TLS.HandshakeComplete)
	})
	addr := listen(t, &Server{Handler: h, TLS: cfg})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for range 2 {
		resp, err := client.Get("https://" + addr)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, "HTTP/1.1 over TLS true", string(body))
	}
	resp, err := http.Get("http://" + addr)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, "400 Bad Request: this port speaks TLS: use https\n", string(body))
	require.Empty(t, talk(t, addr, "hola\r\n", true))
}

// A large body over TLS, where there is no sendfile.
func TestLargeOverTLS(t *testing.T) {
	cfg, roots := testcert.Server(t, "127.0.0.1")
	addr := listen(t, &Server{TLS: cfg, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(w, r.Body)
		require.NoError(t, err)
	})})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer tr.CloseIdleConnections()
	text := strings.Repeat("0123456789abcdef", 1<<16)
	resp, err := (&http.Client{Transport: tr}).Post("https://"+addr, "text/plain", strings.NewReader(text))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, text == string(body))
}

// What a handler that failed has written must not look like all of it, also where
// the end of the connection is the end of the body.
func TestCutOffOverTLS(t *testing.T) {
	cfg, roots := testcert.Server(t, "127.0.0.1")
	addr := listen(t, &Server{TLS: cfg, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})})
	nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots})
	require.NoError(t, err)
	defer nc.Close()
	_, err = io.WriteString(nc, "GET / HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	_, err = io.ReadAll(nc)
	require.Error(t, err)
}

// net/http's own proxy runs on our server, and tells its client when the origin
// breaks off in the middle.
func TestReverseProxy(t *testing.T) {
	origin := listen(t, &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/break" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		(&echo{}).ServeHTTP(w, r)
	})})
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: origin})
	tr := &http.Transport{}
	proxy.Transport, proxy.ErrorLog = tr, log.New(io.Discard, "", 0)
	defer tr.CloseIdleConnections()
	addr := listen(t, &Server{Handler: proxy})
	require.Equal(t, []string{`200 "POST / \"hello\"" close=false`, `200 "GET /2 \"\"" close=true`},
		talk(t, addr, chunkedPost+"5\r\nhello\r\n0\r\n\r\n"+getClose("/2"), false))
	for _, version := range []string{"1.0", "1.1"} {
		nc, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer nc.Close()
		_, err = fmt.Fprintf(nc, "GET /break HTTP/%s\r\nHost: a\r\n\r\n", version)
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		require.NoError(t, err)
		_, err = io.ReadAll(resp.Body)
		require.Error(t, err, "the half must not look like the whole")
	}
}

// Many who send garbage or nothing do not keep others from being served.
func TestFlood(t *testing.T) {
	s := &Server{Handler: &echo{}, MaxConns: 50}
	inServerLab(t, s, func(t *testing.T, l *serverLab) {
		var wg sync.WaitGroup
		defer wg.Wait()
		garbage := []string{"", "GET", "\x16\x03\x01", "hola\r\n", get("/"), strings.Repeat("A", 1<<17), chunkedPost + "ffffffff\r\n" + strings.Repeat("a", 1<<16)}
		for i := range 300 {
			nc := l.dial()
			wg.Go(func() {
				_, _ = io.WriteString(nc, garbage[i%len(garbage)])
				_, _ = io.Copy(io.Discard, nc)
				nc.Close()
			})
			if i%10 == 0 {
				require.Contains(t, l.ask(getClose("/good")), "/good")
				require.LessOrEqual(t, s.Stats().Open, 50)
			}
		}
	})
}

// curl speaks to the server: a body in chunks, a range of one connection, an
// upload that waits to be asked, HTTP/1.0, HEAD.
func TestCurl(t *testing.T) {
	curl := interop.Program(t, "curl", "curl")
	addr := listen(t, &Server{Handler: &echo{}})
	big := strings.Repeat("a", 1<<20)
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"http://" + addr + "/1", "http://" + addr + "/2"}, `GET /1 ""GET /2 ""`},
		{"", []string{"-0", "http://" + addr + "/"}, `GET / ""`},
		{"hello", []string{"-T", "-", "http://" + addr + "/up"}, `PUT /up "hello"`},
		{big, []string{"--data-binary", "@-", "-H", "Expect: 100-continue", "http://" + addr + "/"}, `POST / "` + big + `"`},
		{"", []string{"-I", "-o", "/dev/null", "-w", "%{http_code} %header{content-length}", "http://" + addr + "/"}, `200 9`},
		{"", []string{"-o", "/dev/null", "-w", "%{num_connects} ", "http://" + addr + "/", "-o", "/dev/null", "http://" + addr + "/"}, `1 0 `},
	} {
		cmd := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--max-time", "20"}, c.args...)...)
		cmd.Stdin = strings.NewReader(c.stdin)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v: %.200s", c.args, out)
		require.True(t, c.want == string(out), "%v: %.200s", c.args, out)
	}
}
