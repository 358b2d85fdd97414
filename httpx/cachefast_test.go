package httpx

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// The short way of a hit says what the long one says.
func TestHitTheShortWay(t *testing.T) {
	o := &fakeOrigin{answer: func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, "for "+r.Header.Get("X-Forwarded-Host"), "Cache-Control: max-age=3600", "Content-Type: text/plain", `Etag: "a"`,
			"Via: 1.1 before", "Set-Cookie: a=1", "Set-Cookie: b=2", "Connection: X-Hop", "X-Hop: gone"), nil
	}}
	c := &Cache{Transport: o}
	defer c.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Handler: &Proxy{Origin: &url.URL{Scheme: "http", Host: "origin.test", Path: "/base"}, Transport: c, Name: "p"}}
	go s.Serve(t.Context(), ln)
	defer s.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask := func(host, fields string) (*http.Response, string) {
		_, err := fmt.Fprintf(conn, "GET /x?y HTTP/1.1\r\nHost: %s\r\n%s\r\n", host, fields)
		require.NoError(t, err)
		resp, err := http.ReadResponse(in, &http.Request{Method: "GET"})
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Header.Del("Age") // a second may have passed
		resp.Header.Del("Cache-Status")
		return resp, string(body)
	}
	ask("shop.test", "")
	long, want := ask("shop.test", "Pragma: nothing\r\n") // goes the long way
	short, got := ask("shop.test", "")
	require.Equal(t, "for shop.test", got)
	require.Equal(t, want, got)
	require.Equal(t, long.Header, short.Header)
	require.Equal(t, long.Status, short.Status)
	require.EqualValues(t, 1, o.asked.Load())
	require.EqualValues(t, 2, c.Stats().Hits)

	// What is for one host is not for another, and conditions count.
	_, got = ask("bank.test", "")
	require.Equal(t, "for bank.test", got)
	resp, got := ask("shop.test", "If-None-Match: \"a\"\r\n")
	require.Equal(t, 304, resp.StatusCode)
	require.Empty(t, got)
	resp, got = ask("shop.test", "Range: bytes=0-2\r\n")
	require.Equal(t, 206, resp.StatusCode)
	require.Equal(t, "for", got)
	_, got = ask("shop.test", "")
	require.Equal(t, "for shop.test", got)
}
