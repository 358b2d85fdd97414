package httpx

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/testcert"
)

// newClient returns a client on tr. At the end of the test it must have closed
// or given back all its connections.
func newClient(t testing.TB, tr *Transport) *http.Client {
	t.Helper()
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		require.Equal(t, TransportStats{Requests: tr.Stats().Requests, Dialled: tr.Stats().Dialled, Retried: tr.Stats().Retried}, tr.Stats(),
			"connections left open")
	})
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// strange serves each connection with f, which plays a server by hand. n counts
// the connections, from 1.
func strange(t testing.TB, f func(n int, c net.Conn, br *bufio.Reader)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				f(n, c, bufio.NewReader(c))
			})
		}
	})
	return ln.Addr().String()
}

// answering returns a server for strange that answers each request with text.
func answering(text string) func(int, net.Conn, *bufio.Reader) {
	return func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			r, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

func readAll(t testing.TB, resp *http.Response, err error) string {
	t.Helper()
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

// Whatever net/http's transport makes of a server, ours does too.
func TestTransportLikeNetHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Got", fmt.Sprintln(r.Method, r.Host, r.RequestURI, r.ContentLength, r.TransferEncoding, r.Header["X-A"]))
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Trailer", fmt.Sprint(r.Trailer))
		w.Write(body)
	})
	mux.HandleFunc("/chunks", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for i := range 5 {
			fmt.Fprintf(w, "piece %d,", i)
			http.NewResponseController(w).Flush()
		}
		w.Header().Set("X-Sum", "five")
		w.Header().Set(http.TrailerPrefix+"X-Late", "too")
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, bigText) })
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscan(r.URL.RawQuery, &status)
		w.WriteHeader(status)
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		io.WriteString(w, "after hints")
	})
	mux.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "bye")
	})
	mux.HandleFunc("/toclose", func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			io.WriteString(c, "HTTP/1.0 200 OK\r\nA: b\r\n\r\nto the end")
			c.Close()
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	ours, theirs := newClient(t, new(Transport)), &http.Client{Transport: &http.Transport{DisableCompression: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer theirs.CloseIdleConnections()

	type request struct {
		method, target string
		body           func() io.Reader
		header         http.Header
		change         func(*http.Request)
	}
	text := func(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }
	stream := func(s string) func() io.Reader { // of unknown length
		return func() io.Reader { return io.MultiReader(strings.NewReader(s)) }
	}
	var requests []request
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		for _, target := range []string{"/echo?a=b&c", "/chunks", "/big", "/hints", "/close", "/toclose", "/none", "/status?204", "/status?304", "/status?205", "/status?500"} {
			requests = append(requests, request{method: method, target: target}, request{method: method, target: target, header: http.Header{"X-A": {"1", "2 "}}})
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "GET"} {
		requests = append(requests,
			request{method: method, target: "/echo", body: text("hello")},
			request{method: method, target: "/echo", body: stream("hello")},
			request{method: method, target: "/echo", body: text(bigText)},
			request{method: method, target: "/echo", body: stream(bigText)},
			request{method: method, target: "/echo", body: text(bigText), header: http.Header{"Expect": {"100-continue"}}},
			request{method: method, target: "/echo", body: stream("x"), change: func(r *http.Request) { r.Trailer = http.Header{"X-T": {"at the end"}} }},
		)
	}
	requests = append(requests,
		request{method: "GET", target: "/echo", change: func(r *http.Request) { r.Host = "other.example" }},
		request{method: "GET", target: "/echo", change: func(r *http.Request) { r.Close = true }},
		request{method: "GET", target: "/a%2fb%20c"},
		request{method: "GET", target: "/status?700"},
	)
	for _, c := range requests {
		var results []string
		for _, client := range []*http.Client{theirs, ours} {
			var body io.Reader
			if c.body != nil {
				body = c.body()
			}
			r, err := http.NewRequestWithContext(t.Context(), c.method, server.URL+c.target, body)
			require.NoError(t, err)
			for key, values := range c.header {
				r.Header[key] = values
			}
			r.Header.Set("User-Agent", "same")
			if c.change != nil {
				c.change(r)
			}
			resp, err := client.Do(r)
			require.NoError(t, err, "%s %s", c.method, c.target)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err, "%s %s", c.method, c.target)
			require.NoError(t, resp.Body.Close())
			if resp.StatusCode == http.StatusNotModified {
				resp.ContentLength = 0 // not known is -1 with us
			}
			resp.Header.Del("Date")
			resp.Header.Del("Connection") // net/http takes "close" away: it is in resp.Close
			results = append(results, fmt.Sprint(resp.Status, resp.Proto, resp.ContentLength, resp.TransferEncoding, resp.Close, resp.Uncompressed, resp.Header, resp.Trailer, len(got), string(got)))
		}
		require.Equal(t, results[0], results[1], "%s %s %v", c.method, c.target, c.header)
	}
}

func TestTransportReuse(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", len(r.URL.Path)))
	}))
	defer server.Close()
	tr := new(Transport)
	client := newClient(t, tr)
	for i := range 20 {
		resp, err := client.Get(server.URL + "/" + strings.Repeat("a", i))
		require.Len(t, readAll(t, resp, err), i+1)
	}
	resp, err := client.Get(server.URL + "/not-read")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close(), "what has come already is read away")
	require.NoError(t, resp.Body.Close(), "twice is once")
	_, err = resp.Body.Read(make([]byte, 1))
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
	require.Equal(t, TransportStats{Requests: 21, Dialled: 1, Open: 1, Idle: 1}, tr.Stats())
}

// A request is sent again only if that is safe, and once.
func TestTransportRetry(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, c := range []struct {
		name, method string
		body         func() io.Reader
		second       string // what the first connection answers to its second request
		again        bool
	}{
		{"get", "GET", nil, "", true},
		{"head", "HEAD", nil, "", true},
		{"put from memory", "PUT", func() io.Reader { return strings.NewReader("x") }, "", true},
		{"put of a stream", "PUT", func() io.Reader { return io.MultiReader(strings.NewReader("x")) }, "", false},
		{"post", "POST", nil, "", false},
		{"post from memory", "POST", func() io.Reader { return strings.NewReader("x") }, "", false},
		{"a byte came", "GET", nil, "H", false},
		{"nonsense came", "GET", nil, "hola\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var served atomic.Int64
			addr := strange(t, func(n int, conn net.Conn, br *bufio.Reader) {
				for i := 1; ; i++ {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					served.Add(1)
					if n == 1 && i == 2 {
						io.WriteString(conn, c.second)
						return
					}
					answer := ok
					if r.Method == "HEAD" {
						answer = strings.TrimSuffix(ok, "ok")
					}
					io.WriteString(conn, answer)
				}
			})
			tr := new(Transport)
			client := newClient(t, tr)
			resp, err := client.Get("http://" + addr)
			readAll(t, resp, err)
			var body io.Reader
			if c.body != nil {
				body = c.body()
			}
			r, err := http.NewRequest(c.method, "http://"+addr, body)
			require.NoError(t, err)
			resp, err = client.Do(r)
			if !c.again {
				require.Error(t, err)
				require.Zero(t, tr.Stats().Retried)
				require.EqualValues(t, 2, served.Load())
				return
			}
			readAll(t, resp, err)
			require.EqualValues(t, 1, tr.Stats().Retried)
			require.EqualValues(t, 3, served.Load())
		})
	}
	t.Run("once", func(t *testing.T) {
		addr := strange(t, func(n int, conn net.Conn, br *bufio.Reader) {
			if _, err := http.ReadRequest(br); err == nil && n == 1 {
				io.WriteString(conn, ok)
				http.ReadRequest(br)
			}
		})
		tr := new(Transport)
		client := newClient(t, tr)
		resp, err := client.Get("http://" + addr)
		readAll(t, resp, err)
		_, err = client.Get("http://" + addr)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.EqualValues(t, 1, tr.Stats().Retried)
		require.EqualValues(t, 2, tr.Stats().Dialled)
	})
}

// What could be misunderstood is refused, and never taken for a part of the next
// answer.
func TestHostileResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, text := range map[string]string{
		"not http":               "hola\r\n\r\n",
		"http 2":                 "HTTP/2.0 200 OK\r\n\r\n",
		"no status":              "HTTP/1.1 \r\n\r\n",
		"status of four digits":  "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		"two lengths":            ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"length and chunks":      ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"negative length":        ok + "Content-Length: -1\r\n\r\n",
		"length with a plus":     ok + "Content-Length: +1\r\n\r\nx",
		"endless length":         ok + "Content-Length: 99999999999999999999\r\n\r\nx",
		"space before colon":     ok + "Content-Length : 1\r\n\r\nx",
		"bare LF":                "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
		"CR in a field":          ok + "A: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
		"NUL in a field":         ok + "A: b\x00c\r\nContent-Length: 0\r\n\r\n",
		"endless line":           "HTTP/1.1 200 " + strings.Repeat("a", 10_000) + "\r\n\r\n",
		"endless field":          ok + "A: " + strings.Repeat("a", 100_000) + "\r\n\r\n",
		"endless fields":         ok + strings.Repeat("A: b\r\n", 10_000) + "\r\n",
		"endless interim":        strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 30) + ok + "Content-Length: 0\r\n\r\n",
		"switch without asking":  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"unknown coding":         ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunk size not hex":     ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
		"chunk longer than said": ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
		"endless chunk size":     ok + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 10_000) + "1\r\na\r\n0\r\n\r\n",
		"chunk size overflow":    ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n0\r\n\r\n",
		"endless trailer":        ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 10_000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			tr := new(Transport)
			client := newClient(t, tr)
			resp, err := client.Get("http://" + strange(t, answering(text)))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			bad, ok := errors.AsType[*ProtocolError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 502, bad.Status)
			require.Zero(t, tr.Stats().Idle)
		})
	}
	// The answer is right, and what follows it is not ours.
	for name, text := range map[string]string{
		"bytes behind the length":    ok + "Content-Length: 2\r\n\r\nok" + ok + "Content-Length: 6\r\n\r\nforged",
		"bytes behind the chunks":    ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + ok + "Content-Length: 6\r\n\r\nforged",
		"a body where there is none": "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nforged",
		"a body behind not modified": "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\nforged",
		"to the end":                 ok + "Connection: close\r\nContent-Length: 2\r\n\r\nok",
		"old":                        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			tr := new(Transport)
			client := newClient(t, tr)
			addr := strange(t, answering(text))
			for range 3 {
				resp, err := client.Get("http://" + addr)
				require.Contains(t, []string{"ok", ""}, readAll(t, resp, err))
			}
			require.EqualValues(t, 3, tr.Stats().Dialled)
		})
	}
	for name, text := range map[string]string{
		"length":      ok + "Content-Length: 5\r\n\r\nabc",
		"chunk":       ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"no last one": ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"trailer":     ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n",
	} {
		t.Run("cut short: "+name, func(t *testing.T) {
			addr := strange(t, func(_ int, c net.Conn, br *bufio.Reader) {
				http.ReadRequest(br)
				io.WriteString(c, text)
			})
			resp, err := newClient(t, new(Transport)).Get("http://" + addr)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, "abc", string(body))
			_, err = resp.Body.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "and so it stays")
		})
	}
}

// Fields that would split a request are refused before a byte is sent.
func TestTransportBadRequests(t *testing.T) {
	client := newClient(t, new(Transport))
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for name, change := range map[string]func(*http.Request){
		"value":   func(r *http.Request) { r.Header["A"] = []string{"b\r\nC: d"} },
		"name":    func(r *http.Request) { r.Header["A B"] = []string{"c"} },
		"host":    func(r *http.Request) { r.Host = "a b" },
		"method":  func(r *http.Request) { r.Method = "GET /x" },
		"trailer": func(r *http.Request) { r.Trailer = http.Header{"A\n": {"b"}} },
		"scheme":  func(r *http.Request) { r.URL.Scheme = "gopher" },
		"no host": func(r *http.Request) { r.URL.Host = ":80" },
		"idna":    func(r *http.Request) { r.URL.Host = "a\u2028b.example" },
	} {
		r, err := http.NewRequest("POST", server.URL, &closeCounter{Reader: strings.NewReader("x")})
		require.NoError(t, err)
		change(r)
		_, err = client.Transport.RoundTrip(r)
		require.Error(t, err, name)
		require.Equal(t, 1, r.Body.(*closeCounter).count(), "%s: the body is closed", name)
	}
}

type closeCounter struct {
	io.Reader
	n atomic.Int64
}

func (c *closeCounter) Close() error { c.n.Add(1); return nil }
func (c *closeCounter) count() int   { return int(c.n.Load()) }

func TestTransportHosts(t *testing.T) {
	hosts := make(chan string, 1)
	dialled := make(chan string, 1)
	addr := strange(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if r, err := http.ReadRequest(br); err == nil {
			hosts <- r.Host
			io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		}
	})
	client := newClient(t, &Transport{Dial: func(ctx context.Context, network, name string) (net.Conn, error) {
		dialled <- name
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	for _, c := range []struct{ host, dial, field string }{
		{"Example.com", "example.com:80", "Example.com"},
		{"example.com:8080", "example.com:8080", "example.com:8080"},
		{"[::1]:81", "[::1]:81", "[::1]:81"},
		{"[fe80::1%25eth0]:81", "[fe80::1%eth0]:81", "[fe80::1]:81"},
		{"m\u00fcnchen.example", "xn--mnchen-3ya.example:80", "xn--mnchen-3ya.example"},
	} {
		resp, err := client.Get("http://" + c.host + "/")
		readAll(t, resp, err)
		require.Equal(t, c.dial, <-dialled)
		require.Equal(t, c.field, <-hosts)
	}
}

func TestTransportTLS(t *testing.T) {
	serverTLS, roots := testcert.Server(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.TLS.NegotiatedProtocol, " ", r.TLS.ServerName, " ", r.Proto)
	}))
	server.TLS = serverTLS
	server.TLS.NextProtos = []string{"h2", "http/1.1"} // the first is not taken
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is no news
	server.StartTLS()
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	tr := &Transport{TLS: &tls.Config{RootCAs: roots}}
	client := newClient(t, tr)
	for range 3 {
		resp, err := client.Get("https://localhost:" + port)
		require.Equal(t, "http/1.1 localhost HTTP/1.1", readAll(t, resp, err))
		require.Equal(t, "localhost", resp.TLS.ServerName)
	}
	require.EqualValues(t, 1, tr.Stats().Dialled)
	_, err = newClient(t, new(Transport)).Get("https://localhost:" + port)
	unknown, ok := errors.AsType[*tls.CertificateVerificationError](err)
	require.True(t, ok, "%v %v", err, unknown)
	require.Empty(t, tr.TLS.ServerName, "the caller's configuration stays as it is")
}

// Over TLS the end of the connection ends a body only if the server itself says
// so: anybody between may cut the TCP below.
func TestTransportTLSCut(t *testing.T) {
	serverTLS, roots := testcert.Server(t)
	for _, farewell := range []bool{true, false} {
		addr := strange(t, func(_ int, c net.Conn, _ *bufio.Reader) {
			tc := tls.Server(c, serverTLS)
			http.ReadRequest(bufio.NewReader(tc))
			io.WriteString(tc, "HTTP/1.1 200 OK\r\n\r\nabc")
			if farewell {
				tc.CloseWrite()
			}
			c.(*net.TCPConn).CloseWrite() // an end, no reset
			io.Copy(io.Discard, c)
		})
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		resp, err := newClient(t, &Transport{TLS: &tls.Config{RootCAs: roots}}).Get("https://localhost:" + port)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.Equal(t, "abc", string(body))
		if farewell {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
	}
}

// A proxy that net/http's transport can use, ours can too.
func TestTransportProxy(t *testing.T) {
	serverTLS, roots := testcert.Server(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "plain ", r.Host) }))
	defer origin.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "secure ", r.RequestURI) }))
	secure.TLS = serverTLS
	secure.StartTLS()
	defer secure.Close()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "Basic bWU6cGFzcw==" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != "CONNECT" {
			fmt.Fprint(w, "proxied ", r.RequestURI)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n") // the length means nothing here
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(to, c); to.(*net.TCPConn).CloseWrite() })
		io.Copy(c, to)
		c.Close()
		wg.Wait()
	})
	for _, scheme := range []string{"http", "https"} {
		proxy := httptest.NewUnstartedServer(handler)
		if scheme == "https" {
			proxy.TLS = serverTLS.Clone()
			proxy.StartTLS()
		} else {
			proxy.Start()
		}
		defer proxy.Close()
		_, port, _ := net.SplitHostPort(proxy.Listener.Addr().String())
		user := url.UserPassword("me", "pass")
		tr := &Transport{TLS: &tls.Config{RootCAs: roots}, Proxy: func(*http.Request) (*url.URL, error) {
			return &url.URL{Scheme: scheme, User: user, Host: "localhost:" + port}, nil
		}}
		client := newClient(t, tr)
		for range 2 {
			resp, err := client.Get(origin.URL + "/a?b")
			require.Equal(t, "proxied "+origin.URL+"/a?b", readAll(t, resp, err))
			resp, err = client.Get("http://other.invalid/c") // the name is the proxy's to look up
			require.Equal(t, "proxied http://other.invalid/c", readAll(t, resp, err))
			resp, err = client.Get(secure.URL + "/d")
			require.Equal(t, "secure /d", readAll(t, resp, err))
		}
		require.EqualValues(t, 2, tr.Stats().Dialled, "one for all of http, one tunnel")
		tr.CloseIdleConnections()
		user = url.UserPassword("me", "wrong")
		resp, err := client.Get(origin.URL)
		readAll(t, resp, err)
		require.Equal(t, 407, resp.StatusCode)
		_, err = client.Get(secure.URL)
		require.ErrorContains(t, err, "407 Proxy Authentication Required")
	}
}

// What a proxy says in front of a tunnel must be an answer, and nothing more: the
// bytes behind it could be taken for the host's.
func TestTransportProxyAnswers(t *testing.T) {
	for name, c := range map[string]struct{ answer, reason string }{
		"refused":          {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403 Forbidden"},
		"bytes behind":     {"HTTP/1.1 200 OK\r\n\r\nforged", "bytes behind its answer"},
		"nothing":          {"", "unexpected EOF"},
		"not http":         {"SSH-2.0-x\r\n", "no status line"},
		"endless interim":  {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), "interim"},
		"an endless field": {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", 1<<20), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := strange(t, func(_ int, conn net.Conn, br *bufio.Reader) {
				http.ReadRequest(br)
				io.WriteString(conn, c.answer)
			})
			client := newClient(t, &Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr})})
			_, err := client.Get("https://origin.invalid/")
			failure, ok := errors.AsType[*TransportError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, "dial", failure.Op)
			require.ErrorContains(t, err, c.reason)
		})
	}
	_, err := newClient(t, &Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5", Host: "127.0.0.1:1"})}).Get("http://origin.invalid/")
	require.ErrorContains(t, err, "socks5")
}

// A proxy of httputil's hears of interim responses in the way of net/http.
func TestTransportInterim(t *testing.T) {
	addr := strange(t, answering("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	var heard []string
	enough := errors.New("enough")
	var stop error
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		heard = append(heard, fmt.Sprint(code, header["Link"]))
		return stop
	}})
	client := newClient(t, new(Transport))
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr, nil)
	require.NoError(t, err)
	resp, err := client.Do(r)
	require.Equal(t, "ok", readAll(t, resp, err))
	require.Equal(t, []string{"103 [</a>]"}, heard)
	stop = enough
	_, err = client.Do(r)
	require.ErrorIs(t, err, enough)
}

func TestTransportLimits(t *testing.T) {
	addr := strange(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n"))
	resp, err := newClient(t, &Transport{Limits: Limits{MaxBody: 10}}).Get("http://" + addr)
	require.Equal(t, "1234512345", readAll(t, resp, err))
	resp, err = newClient(t, &Transport{Limits: Limits{MaxBody: 9}}).Get("http://" + addr)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	bad, ok := errors.AsType[*ProtocolError](err)
	require.True(t, ok, "%v %v", err, bad)
	_, err = newClient(t, &Transport{Limits: Limits{MaxFields: 1, MaxHeader: 10}}).Get("http://" + addr)
	require.ErrorContains(t, err, "longer than 10 bytes")
}

func TestTransportUpgrade(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		if r.Method == "CONNECT" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nfirst ")
		} else {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst ")
		}
		io.Copy(c, rw)
	}))
	defer server.Close()
	tr := new(Transport)
	client := newClient(t, tr)
	for _, method := range []string{"GET", "CONNECT"} {
		r, err := http.NewRequest(method, server.URL, nil)
		require.NoError(t, err)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "echo")
		resp, err := client.Do(r)
		require.NoError(t, err)
		require.Contains(t, []int{101, 200}, resp.StatusCode)
		stream := resp.Body.(io.ReadWriteCloser)
		_, err = io.WriteString(stream, "and second")
		require.NoError(t, err)
		got := make([]byte, len("first and second"))
		_, err = io.ReadFull(stream, got)
		require.NoError(t, err)
		require.Equal(t, "first and second", string(got))
		require.NoError(t, stream.Close())
	}
	require.Zero(t, tr.Stats().Open)
}

// A server that has seen enough answers before the body is over.
func TestTransportEarlyResponse(t *testing.T) {
	addr := strange(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
		}
		io.Copy(io.Discard, br)
	})
	tr := new(Transport)
	client := newClient(t, tr)
	body, feed := io.Pipe()
	defer feed.Close()
	resp, err := client.Post("http://"+addr, "text/plain", body)
	require.Equal(t, "no!", readAll(t, resp, err))
	_, err = feed.Write([]byte("x"))
	require.ErrorIs(t, err, io.ErrClosedPipe, "nobody wants the rest")
	require.Zero(t, tr.Stats().Idle)

	// Asked first, such a server never gets the body at all.
	r, err := http.NewRequest("PUT", "http://"+addr, &closeCounter{Reader: failing{}})
	require.NoError(t, err)
	r.Header.Set("Expect", "100-continue")
	resp, err = client.Do(r)
	require.Equal(t, "no!", readAll(t, resp, err))
}

// A body that fails is the caller's fault: the request is not taken for whole.
func TestTransportBodyFails(t *testing.T) {
	whole := make(chan bool, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		whole <- err == nil
	}))
	defer server.Close()
	client := newClient(t, new(Transport))
	_, err := client.Post(server.URL, "text/plain", io.MultiReader(strings.NewReader("half"), failing{}))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.False(t, <-whole)
	r, err := http.NewRequest("POST", server.URL, io.MultiReader(strings.NewReader("0123456789")))
	require.NoError(t, err)
	r.ContentLength = 20
	_, err = client.Do(r)
	require.ErrorIs(t, err, errBodyLength)
	require.False(t, <-whole)
}

// Both directions can be open at once.
func TestTransportFullDuplex(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		lines := bufio.NewScanner(r.Body)
		control.Flush()
		for lines.Scan() {
			fmt.Fprintln(w, strings.ToUpper(lines.Text()))
			control.Flush()
		}
	}))
	defer server.Close()
	tr := new(Transport)
	client := newClient(t, tr)
	body, feed := io.Pipe()
	resp, err := client.Post(server.URL, "text/plain", body)
	require.NoError(t, err)
	defer resp.Body.Close()
	back := bufio.NewReader(resp.Body)
	for i := range 5 {
		fmt.Fprintf(feed, "line %d\n", i)
		line, err := back.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("LINE %d\n", i), line)
	}
	feed.Close()
	rest, err := io.ReadAll(back)
	require.NoError(t, err)
	require.Empty(t, rest)
}

func TestTransportTrace(t *testing.T) {
	addr := strange(t, answering("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"))
	var events []string
	var last Exchange
	note := func(format string, args ...any) { events = append(events, fmt.Sprintf(format, args...)) }
	tr := &Transport{Trace: &TransportTrace{
		Dialled:  func(d DialInfo) { note("dialled %d %t %v", d.Conn, d.Addr == addr, d.Err) },
		Sent:     func(x *Exchange) { note("sent %d bytes on %d", x.BytesOut, x.Conn) },
		Interim:  func(_ *Exchange, r *http.Response) { note("interim %d", r.StatusCode) },
		Received: func(x *Exchange) { note("received %d, %d bytes", x.Status, x.HeaderIn) },
		Done:     func(x *Exchange) { note("done %d bytes, reused %t, %v", x.BytesIn, x.Reused, x.Err); last = *x },
	}}
	client := newClient(t, tr)
	for range 2 {
		resp, err := client.Get("http://" + addr + "/x")
		readAll(t, resp, err)
	}
	sent := fmt.Sprintf("sent %d bytes on 1", len("GET /x HTTP/1.1\r\nHost: \r\n\r\n")+len(addr))
	require.Equal(t, []string{
		"dialled 1 true <nil>", sent, "interim 103", "received 200, 66 bytes", "done 70 bytes, reused false, <nil>",
		sent, "interim 103", "received 200, 66 bytes", "done 70 bytes, reused true, <nil>",
	}, events)
	times := []int64{last.Started.UnixNano(), last.Connected.UnixNano(), last.Sent.UnixNano(), last.FirstByte.UnixNano(), last.Header.UnixNano(), last.Done.UnixNano()}
	require.IsIncreasing(t, times)
}

// Many at once: no answer goes to the wrong request, and the connections stay
// within their number.
func TestTransportAtOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	}))
	defer server.Close()
	tr := &Transport{MaxConns: 3}
	client := newClient(t, tr)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 20 {
				path, text := fmt.Sprintf("/%d/%d", i, j), strings.Repeat("x", i*j*50)
				resp, err := client.Post(server.URL+path, "text/plain", strings.NewReader(text))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(got) != path+" "+text {
					t.Errorf("%s: %v, %d bytes", path, err, len(got))
				}
				if open := tr.Stats().Open; open > 3 {
					t.Errorf("%d connections", open)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, tr.Stats().Dialled, int64(3))
}

// FuzzTransport gives the client whatever bytes as an answer, then a good one to
// another request: the second must never be made of the first.
func FuzzTransport(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\nx",
		"HTTP/1.0 200 OK\r\n\r\nto the end",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		dials := 0
		tr := &Transport{Dial: func(context.Context, string, string) (net.Conn, error) {
			dials++
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				br := bufio.NewReader(theirs)
				for {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					text := answer
					if r.URL.Path == "/second" {
						text = []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
					}
					theirs.Write(text)
					if r.URL.Path == "/first" && !bytes.Contains(answer, []byte("keep")) {
						return
					}
				}
			}()
			return ours, nil
		}}
		client := &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		defer tr.CloseIdleConnections()
		if resp, err := client.Get("http://x/first"); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		resp, err := client.Get("http://x/second")
		require.Equal(t, "second", readAll(t, resp, err))
		require.LessOrEqual(t, dials, 2)
	})
}

// BenchmarkTransport is a small GET, with ours and with net/http's transport.
func BenchmarkTransport(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer server.Close()
	ours, theirs := new(Transport), new(http.Transport)
	defer ours.CloseIdleConnections()
	defer theirs.CloseIdleConnections()
	for name, rt := range map[string]http.RoundTripper{"ours": ours, "net-http": theirs} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequest("GET", server.URL, nil)
				if err != nil {
					b.Fatal(err)
				}
				resp, err := rt.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
