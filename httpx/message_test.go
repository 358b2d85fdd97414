package httpx

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// refusedRequests are requests that must not be believed, with the status that
// says so. Whatever follows them on the connection might be a smuggled request.
var refusedRequests = []struct {
	name   string
	text   string
	status int
}{
	{"no request", "hola\r\n", 400},
	{"end of the line without CR", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
	{"HTTP/0.9", "GET /\r\n", 400},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"a tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space behind", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space in front", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"three empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
	{"method no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"NUL in the target", "GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CR in the target", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"not ASCII in the target", "GET /año HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"escape that is none", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"relative target", "GET a.html HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"lower case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
	{"long version", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
	{"version 0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
	{"version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	{"version 2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"long line", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
	{"endless line", "GET /" + strings.Repeat("a", 9000), 414},
	{"endless method", strings.Repeat("G", 9000), 501},

	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	{"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
	{"Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
	{"Host with a wrong port", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
	{"Host with a named port", "GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400},
	{"Host without a bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
	{"Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400},
	{"absolute-form without a host", "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute-form with a user", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute-form with a wrong port", "GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute-form, but no Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400},
	{"opaque target", "GET mailto:a@b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CONNECT without a port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CONNECT to a path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CONNECT to port 0", "CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"GET *", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"GET host:port", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},

	{"space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
	{"obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400},
	{"space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nGET /", 400},
	{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
	{"no name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400},
	{"name no token", "GET / HTTP/1.1\r\nHost: a\r\nX\x00Y: x\r\n\r\n", 400},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400},
	{"CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 5\r\n\r\n", 400},
	{"LF ends a field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", 400},
	{"LF ends the header", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"long field", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 1<<16) + "\r\n\r\n", 431},
	{"endless field", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 1<<16), 431},
	{"one field too much", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 1<<16-12) + "\r\nY: a\r\n\r\n", 431},
	{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: a\r\n", 300) + "\r\n", 431},

	{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400},
	{"one length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
	{"list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400},
	{"signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400},
	{"negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400},
	{"hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400},
	{"empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", 400},
	{"length beyond numbers", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", 413},
	{"length beyond the limit", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413},
	{"length and chunked", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked in two fields", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400},
	{"not chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400},
	{"nearly chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400},
	{"chunked with a parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400},
	{"empty coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n", 400},
	{"unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
}

// brokenBodies are chunked bodies that must not be believed.
var brokenBodies = []struct {
	name   string
	text   string
	status int
}{
	{"no size", "\r\nhello\r\n0\r\n\r\n", 400},
	{"size no number", "g\r\nhello\r\n0\r\n\r\n", 400},
	{"negative size", "-5\r\nhello\r\n0\r\n\r\n", 400},
	{"0x", "0x5\r\nhello\r\n0\r\n\r\n", 400},
	{"space before the size", " 5\r\nhello\r\n0\r\n\r\n", 400},
	{"space behind the size", "5 \r\nhello\r\n0\r\n\r\n", 400},
	{"size overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n", 400},
	{"size nearly overflows", "8000000000000000\r\nhello\r\n0\r\n\r\n", 400},
	{"size of many zeros", "00000000000000005\r\nhello\r\n0\r\n\r\n", 400},
	{"too short a size", "4\r\nhello\r\n0\r\n\r\n", 400},
	{"LF behind the size", "5\nhello\r\n0\r\n\r\n", 400},
	{"LF behind the chunk", "5\r\nhello\n0\r\n\r\n", 400},
	{"LF at the end", "5\r\nhello\r\n0\n\n", 400},
	{"CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", 400},
	{"long extension", "5;" + strings.Repeat("a", 2000) + "\r\nhello\r\n0\r\n\r\n", 400},
	{"endless size", strings.Repeat("0", 2000), 400},
	{"many extensions", strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 70) + "0\r\n\r\n", 400},
	{"beyond the limit", "3e8\r\n" + strings.Repeat("a", 1000) + "\r\n1\r\nb\r\n0\r\n\r\n", 413},
	{"far beyond the limit", "fffffffff\r\n", 413},
	{"trailer no field", "0\r\nhello\r\n\r\n", 400},
	{"long trailer", "0\r\nX: " + strings.Repeat("a", 1<<16) + "\r\n\r\n", 431},
}

const chunkedPost = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

func readRequest(text string) (*http.Request, *bufio.Reader, error) {
	br := bufio.NewReader(strings.NewReader(text))
	r, err := ReadRequest(br, &Limits{MaxBody: 1000})
	return r, br, err
}

func requireStatus(t *testing.T, status int, err error) {
	t.Helper()
	pe, ok := errors.AsType[*ProtocolError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, status, pe.Status, "%v", err)
}

func TestRefusedRequests(t *testing.T) {
	for _, c := range refusedRequests {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := readRequest(c.text)
			requireStatus(t, c.status, err)
		})
	}
}

func TestBrokenBodies(t *testing.T) {
	for _, c := range brokenBodies {
		t.Run(c.name, func(t *testing.T) {
			r, _, err := readRequest(chunkedPost + c.text)
			require.NoError(t, err)
			_, err = io.ReadAll(r.Body)
			requireStatus(t, c.status, err)
			_, again := r.Body.Read(make([]byte, 1))
			require.Equal(t, err, again, "what comes behind a broken body must not be read")
		})
	}
}

// What is cut off anywhere is an error, and never a shorter message.
func TestTruncated(t *testing.T) {
	for _, whole := range []string{
		"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		chunkedPost + "5;x=y\r\nhello\r\n0\r\nX: 1\r\n\r\n",
	} {
		for n := range len(whole) {
			r, _, err := readRequest(whole[:n])
			if err == nil {
				_, err = io.ReadAll(r.Body)
			}
			if n == 0 {
				require.Equal(t, io.EOF, err)
				continue
			}
			require.Equal(t, io.ErrUnexpectedEOF, err, "%q", whole[:n])
		}
	}
}

func TestReadRequest(t *testing.T) {
	r, br, err := readRequest("\r\nPOST /a%20b?c&d HTTP/1.1\r\nhost: zocalo.example:8080\r\nACCEPT-language:\t es \r\naccept-Language: en\r\n" +
		"Trailer: Checksum, content-length\r\nTransfer-Encoding: Chunked\r\n\r\n" +
		"5\r\nhello\r\n6 ;name=\"value\"\r\n world\r\n000\r\nchecksum: 1\r\nContent-Length: 5\r\nHost: b\r\n\r\nnext")
	require.NoError(t, err)
	require.Equal(t, "POST", r.Method)
	require.Equal(t, "/a%20b?c&d", r.RequestURI)
	require.Equal(t, "/a b", r.URL.Path)
	require.Equal(t, "c&d", r.URL.RawQuery)
	require.Equal(t, "zocalo.example:8080", r.Host)
	require.Equal(t, http.Header{"Accept-Language": {"es", "en"}}, r.Header)
	require.Equal(t, http.Header{"Checksum": nil}, r.Trailer)
	require.Equal(t, int64(-1), r.ContentLength)
	require.Equal(t, []string{"chunked"}, r.TransferEncoding)
	require.False(t, r.Close)
	body, err := io.ReadAll(iotest.OneByteReader(r.Body))
	require.NoError(t, err)
	require.Equal(t, "hello world", string(body))
	require.Equal(t, http.Header{"Checksum": {"1"}}, r.Trailer, "a trailer must not change how the message was read")
	rest, err := io.ReadAll(br)
	require.NoError(t, err)
	require.Equal(t, "next", string(rest))
}

func TestTargets(t *testing.T) {
	for _, c := range []struct{ line, url, host string }{
		{"GET /", "/", "a"},
		{"GET //b/c", "//b/c", "a"},
		{"GET /?", "/?", "a"},
		{"GET /a%2fb?c%20d", "/a%2fb?c%20d", "a"},
		{"GET /buscar?a|b", "/buscar?a|b", "a"},
		{"GET http://b:80/c?d", "http://b:80/c?d", "b:80"},
		{"GET http://b", "http://b", "b"},
		{"GET http://[::1]:8080/", "http://[::1]:8080/", "[::1]:8080"},
		{"OPTIONS *", "*", "a"},
		{"CONNECT b:443", "//b:443", "b:443"},
		{"CONNECT [::1]:443", "//[::1]:443", "[::1]:443"},
	} {
		r, _, err := readRequest(c.line + " HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err, c.line)
		require.Equal(t, c.url, r.URL.String())
		require.Equal(t, c.host, r.Host)
	}
}

func TestPersistence(t *testing.T) {
	for _, c := range []struct {
		version, connection string
		close               bool
	}{
		{"1.1", "", false},
		{"1.1", "close", true},
		{"1.1", "x, Close", true},
		{"1.1", "keep-alive", false},
		{"1.1", "closed", false},
		{"1.0", "", true},
		{"1.0", "Keep-Alive", false},
		{"1.0", "keep-alive, close", true},
		{"1.2", "", false},
	} {
		text := "GET / HTTP/" + c.version + "\r\nHost: a\r\n"
		if c.connection != "" {
			text += "Connection: " + c.connection + "\r\n"
		}
		r, _, err := readRequest(text + "\r\n")
		require.NoError(t, err)
		require.Equal(t, c.close, r.Close, "%+v", c)
	}
}

func readResponse(method, text string) (*http.Response, string, error) {
	br := bufio.NewReader(strings.NewReader(text))
	resp, err := ReadResponse(br, &http.Request{Method: method}, nil)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestReadResponse(t *testing.T) {
	for _, c := range []struct {
		name, method, text, body string
		length                   int64
		close                    bool
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", "hello", 5, false},
		{"no body", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx", "", 0, false},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nx", "hello", -1, false},
		{"to the end", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", "hello", -1, true},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, true},
		{"HTTP/1.0 kept alive", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, false},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx", "", 5, false},
		{"HEAD, chunked", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx", "", -1, false},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\nx", "", 0, false},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nx", "", 5, false},
		{"103", "GET", "HTTP/1.1 103 Early Hints\r\n\r\nx", "", 0, false},
		{"CONNECT", "CONNECT", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx", "", 0, false},
		{"no reason", "GET", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, false},
		{"obs-fold", "GET", "HTTP/1.1 200 OK\r\nX: a\r\n  b \r\nContent-Length: 5\r\n\r\nhello", "hello", 5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body, err := readResponse(c.method, c.text)
			require.NoError(t, err)
			require.Equal(t, c.body, body)
			require.Equal(t, c.length, resp.ContentLength)
			require.Equal(t, c.close, resp.Close)
			if c.name == "obs-fold" {
				require.Equal(t, "a  b", resp.Header.Get("X"))
			}
		})
	}
}

// The limit holds however the end of a body is known.
func TestResponseBodyLimit(t *testing.T) {
	for _, framed := range []string{
		"Content-Length: 6\r\n\r\nhello!",
		"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n3\r\nlo!\r\n0\r\n\r\n",
		"\r\nhello!",
	} {
		read := func(limit int64) (string, error) {
			br := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\n" + framed))
			resp, err := ReadResponse(br, nil, &Limits{MaxBody: limit})
			if err != nil {
				return "", err
			}
			body, err := io.ReadAll(resp.Body)
			return string(body), err
		}
		body, err := read(6)
		require.NoError(t, err, framed)
		require.Equal(t, "hello!", body, framed)
		body, err = read(5)
		requireStatus(t, 502, err)
		require.LessOrEqual(t, len(body), 5, framed)
	}
}

func TestRefusedResponses(t *testing.T) {
	for _, text := range []string{
		"hola\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1 +20 OK\r\n\r\n",
		"HTTP/1.1 099 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n",
		"HTTP/1.1 200 O\x00K\r\n\r\n",
		"HTTP/1.1 200 OK\n\r\n",
		"HTTP/1.1 200 " + strings.Repeat("a", 9000),
		"HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: a\r\n b\x00\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 1<<16),
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: a\r\n", 300),
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
	} {
		_, _, err := readResponse("GET", text)
		requireStatus(t, 502, err)
	}
}

func TestWriteRequest(t *testing.T) {
	write := func(r *http.Request, toProxy bool) string {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		require.NoError(t, WriteRequest(w, r, toProxy))
		require.NoError(t, w.Flush())
		return out.String()
	}
	r, err := http.NewRequest("GET", "http://a:80/b?c", nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "*/*")
	require.Equal(t, "GET /b?c HTTP/1.1\r\nHost: a:80\r\nAccept: */*\r\n\r\n", write(r, false))
	require.Equal(t, "GET http://a:80/b?c HTTP/1.1\r\nHost: a:80\r\nAccept: */*\r\n\r\n", write(r, true))

	r, err = http.NewRequest("OPTIONS", "http://a", nil)
	require.NoError(t, err)
	r.URL.Path = "*"
	require.Equal(t, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", write(r, false))
	require.Equal(t, "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", write(r, true))

	r, err = http.NewRequest("POST", "http://a", strings.NewReader("hello"))
	require.NoError(t, err)
	r.Header.Set("Content-Length", "7") // a lie that is not sent
	r.Header.Set("Transfer-Encoding", "gzip")
	require.Equal(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", write(r, false))

	r, err = http.NewRequest("POST", "http://a", struct{ io.Reader }{strings.NewReader("hello")})
	require.NoError(t, err)
	r.Header["content-length"] = []string{"7"} // nor in small letters
	r.Trailer = http.Header{"Checksum": {"1"}}
	require.Equal(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Checksum\r\n\r\n"+
		"5\r\nhello\r\n0\r\nChecksum: 1\r\n\r\n", write(r, false))
}

// Nothing that a program puts into a message can make two of it.
func TestWriteRefuses(t *testing.T) {
	w := bufio.NewWriter(io.Discard)
	for name, change := range map[string]func(r *http.Request){
		"method": func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX:" },
		"host":   func(r *http.Request) { r.Host = "a\r\nX: b" },
		"target": func(r *http.Request) { r.URL.Opaque = "/ HTTP/1.1\r\nX:" },
		"name":   func(r *http.Request) { r.Header["A\r\nX"] = []string{"b"} },
		"value":  func(r *http.Request) { r.Header["A"] = []string{"b\nX: c"} },
		"trailer": func(r *http.Request) {
			r.Trailer = http.Header{"A": {"b\r\n\r\nGET / HTTP/1.1"}}
		},
		"longer body":  func(r *http.Request) { r.ContentLength, r.Body = 4, io.NopCloser(strings.NewReader("hello")) },
		"shorter body": func(r *http.Request) { r.ContentLength, r.Body = 6, io.NopCloser(strings.NewReader("hello")) },
	} {
		r, err := http.NewRequest("GET", "http://a/", nil)
		require.NoError(t, err)
		change(r)
		require.Error(t, WriteRequest(w, r, false), name)
	}
	require.Error(t, WriteResponse(w, &http.Response{StatusCode: 99}))
	require.Error(t, WriteResponse(w, &http.Response{StatusCode: 200, Header: http.Header{"A": {"b\r\nX: c"}}}))
}

func TestWriteResponse(t *testing.T) {
	write := func(r *http.Response) string {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		require.NoError(t, WriteResponse(w, r))
		require.NoError(t, w.Flush())
		return out.String()
	}
	hello := func() io.ReadCloser { return io.NopCloser(strings.NewReader("hello")) }
	require.Equal(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
		write(&http.Response{StatusCode: 200, Header: http.Header{"X": {"y"}}, ContentLength: 5, Body: hello()}))
	require.Equal(t, "HTTP/1.1 404 Not here\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		write(&http.Response{StatusCode: 404, Status: "404 Not here", ContentLength: -1, Body: hello()}))
	require.Equal(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		write(&http.Response{StatusCode: 200, ContentLength: 5, Body: hello(), Request: &http.Request{Method: "HEAD"}}))
	require.Equal(t, "HTTP/1.1 304 Not Modified\r\n\r\n", write(&http.Response{StatusCode: 304}))
	require.Equal(t, "HTTP/1.1 204 No Content\r\n\r\n", write(&http.Response{StatusCode: 204}))
	require.Equal(t, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
		write(&http.Response{StatusCode: 200, ContentLength: -1, Body: hello(), Request: &http.Request{Method: "GET", ProtoMajor: 1}}))
}
