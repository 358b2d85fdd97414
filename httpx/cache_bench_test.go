package httpx

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkProxyHit is a fresh hit of 1 KiB over one connection of the loopback
// interface, request and response.
func BenchmarkProxyHit(b *testing.B) {
	const size = 1024
	o := &fakeOrigin{answer: func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, strings.Repeat("x", size), "Cache-Control: max-age=3600", "Content-Type: text/plain"), nil
	}}
	cache := &Cache{Transport: o}
	defer cache.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	s := &Server{Handler: &Proxy{Origin: &url.URL{Scheme: "http", Host: "origin.test"}, Transport: cache}}
	go s.Serve(b.Context(), ln)
	defer s.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(b, err)
	defer conn.Close()
	in := bufio.NewReader(conn)
	require.NoError(b, askOnce(conn, in, size)) // a miss, which fills the cache
	b.ReportAllocs()
	for b.Loop() {
		if err := askOnce(conn, in, size); err != nil {
			b.Fatal(err)
		}
	}
	require.EqualValues(b, 1, o.asked.Load())
}
