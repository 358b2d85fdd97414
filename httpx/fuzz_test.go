package httpx

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func addSeeds(f *testing.F) {
	for _, c := range refusedRequests {
		if len(c.text) < 5000 {
			f.Add([]byte(c.text))
		}
	}
	for _, c := range brokenBodies {
		if len(c.text) < 5000 {
			f.Add([]byte(chunkedPost + c.text))
		}
	}
	for _, text := range []string{
		get("/a?b") + get("/c"),
		getClose("http://b:80/c"),
		"OPTIONS * HTTP/1.0\r\n\r\n",
		"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabcGET",
		chunkedPost + "3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\nGET",
	} {
		f.Add([]byte(text))
	}
}

// What we accept net/http accepts too, and takes it for the same message with the
// same end; and written again it means the same.
func FuzzRequest(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, wire []byte) {
		br := bufio.NewReader(bytes.NewReader(wire))
		r, err := ReadRequest(br, nil)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(br)

		br = bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(wire, []byte("\r\n"))))
		std, err := http.ReadRequest(br)
		require.NoError(t, err)
		stdBody, err := io.ReadAll(std.Body)
		require.NoError(t, err)
		stdRest, _ := io.ReadAll(br)
		require.Equal(t, std.Method, r.Method)
		require.Equal(t, std.RequestURI, r.RequestURI)
		require.Equal(t, std.URL.String(), r.URL.String())
		require.Equal(t, std.Host, r.Host)
		require.Equal(t, std.ContentLength, r.ContentLength)
		require.Equal(t, string(stdBody), string(body))
		require.Equal(t, string(stdRest), string(rest))
		require.Equal(t, std.Close, r.Close)
		header := r.Header.Clone()
		for _, h := range []http.Header{std.Header, header} {
			h.Del("Cache-Control") // net/http adds it to Pragma: no-cache
			h.Del("Connection")    // and takes close out of it
		}
		require.Equal(t, std.Header, header)

		if r.URL.IsAbs() && r.URL.Path == "" {
			r.URL.Path = "/" // an empty path is written so
		}
		if r.ContentLength != 0 {
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		require.NoError(t, WriteRequest(w, r, r.URL.IsAbs()))
		require.NoError(t, w.Flush())
		again, err := ReadRequest(bufio.NewReader(&out), nil)
		require.NoError(t, err)
		againBody, err := io.ReadAll(again.Body)
		require.NoError(t, err)
		require.Equal(t, string(body), string(againBody))
		require.Equal(t, r.Method, again.Method)
		require.Equal(t, r.URL.String(), again.URL.String())
		require.Equal(t, r.Host, again.Host)
		require.Equal(t, r.Trailer, again.Trailer)
		for _, h := range []http.Header{r.Header, again.Header} {
			h.Del("Content-Length") // of 0 bytes, or with zeros in front
			h.Del("Connection")     // HTTP/1.0 becomes HTTP/1.1
		}
		require.Equal(t, r.Header, again.Header)
	})
}

func FuzzResponse(f *testing.F) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nA: b\r\n\r\nHTTP",
		"HTTP/1.0 200\r\nX: a\r\n b\r\n\r\nhello",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello",
	} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, head bool) {
		r := &http.Request{Method: "GET"}
		if head {
			r.Method = "HEAD"
		}
		br := bufio.NewReader(bytes.NewReader(wire))
		resp, err := ReadResponse(br, r, nil)
		if err != nil {
			return
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return
		}
		rest, _ := io.ReadAll(br)

		br = bufio.NewReader(bytes.NewReader(wire))
		std, err := http.ReadResponse(br, r)
		require.NoError(t, err)
		stdBody, err := io.ReadAll(std.Body)
		require.NoError(t, err)
		stdRest, _ := io.ReadAll(br)
		require.Equal(t, std.StatusCode, resp.StatusCode)
		require.Equal(t, string(stdBody), string(body))
		require.Equal(t, string(stdRest), string(rest))

		resp.Body = io.NopCloser(bytes.NewReader(body))
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		require.NoError(t, WriteResponse(w, resp))
		require.NoError(t, w.Flush())
		again, err := ReadResponse(bufio.NewReader(&out), r, nil)
		require.NoError(t, err)
		againBody, err := io.ReadAll(again.Body)
		require.NoError(t, err)
		require.Equal(t, string(body), string(againBody))
		require.Equal(t, resp.StatusCode, again.StatusCode)
		require.Equal(t, resp.Trailer, again.Trailer)
		for _, h := range []http.Header{resp.Header, again.Header} {
			for _, name := range []string{"Content-Length", "Connection", "Host"} {
				h.Del(name)
			}
		}
		require.Equal(t, resp.Header, again.Header)
	})
}

// A fuzzConn is a client that has said all it will say.
type fuzzConn struct {
	net.Conn // nil: the rest is not called
	in       io.Reader
	out      bytes.Buffer
}

func (c *fuzzConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *fuzzConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *fuzzConn) Close() error                     { return nil }
func (c *fuzzConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *fuzzConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fuzzConn) SetWriteDeadline(time.Time) error { return nil }

var (
	dateLine     = regexp.MustCompile(`Date: .*\r\n`)
	continueHead = regexp.MustCompile(`HTTP/1.1 100 Continue\r\n\r\n`)
)

// Anything is said to a server, at once and byte by byte: the answers are the same,
// and the requests that its handler sees are those that net/http reads.
func FuzzServer(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		var outs [2]string
		var seen []string
		for i, client := range []io.Reader{bytes.NewReader(in), iotest.OneByteReader(bytes.NewReader(in))} {
			seen = nil
			s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				(&echo{}).ServeHTTP(rec, r)
				if rec.Body.Len() > 0 {
					seen = append(seen, rec.Body.String())
					_, _ = io.WriteString(w, rec.Body.String())
				}
			})}
			s.mu.Lock()
			s.prepare()
			s.mu.Unlock()
			nc := &fuzzConn{in: client}
			newConn(t.Context(), s, nc).serve()
			outs[i] = dateLine.ReplaceAllString(continueHead.ReplaceAllString(nc.out.String(), ""), "")
		}
		require.Equal(t, outs[0], outs[1])

		br := bufio.NewReader(bytes.NewReader(in))
		for _, want := range seen {
			if start, _ := br.Peek(2); string(start) == "\r\n" {
				_, _ = br.Discard(2)
			}
			r, err := http.ReadRequest(br)
			for err == nil && r.RequestURI == "*" { // not for the handler
				r, err = http.ReadRequest(br)
			}
			require.NoError(t, err)
			rec := httptest.NewRecorder()
			(&echo{}).ServeHTTP(rec, r)
			require.Equal(t, want, rec.Body.String())
		}
	})
}
