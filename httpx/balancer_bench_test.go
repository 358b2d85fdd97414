package httpx

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkBalance is a request of one connection through a proxy with a
// balancer, to a node over loopback; beside it the standard library's
// httputil.ReverseProxy on its own server.
func BenchmarkBalance(b *testing.B) {
	const size = 1024
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		return ln
	}
	body := []byte(strings.Repeat("x", size))
	node := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write(body)
	})}
	nodeAt := listen()
	go node.Serve(b.Context(), nodeAt)
	defer node.Close()
	target := &url.URL{Scheme: "http", Host: nodeAt.Addr().String()}
	for _, way := range []string{"ours", "httputil"} {
		b.Run(way, func(b *testing.B) {
			ln := listen()
			if way == "ours" {
				balancer := new(Balancer)
				defer balancer.Close()
				require.NoError(b, balancer.Add(target, 1))
				s := &Server{Handler: &Proxy{Origin: target, Transport: balancer}}
				go s.Serve(b.Context(), ln)
				defer s.Close()
			} else {
				s := &http.Server{Handler: httputil.NewSingleHostReverseProxy(target)}
				go s.Serve(ln)
				defer s.Close()
			}
			conn, err := net.Dial("tcp", ln.Addr().String())
			require.NoError(b, err)
			defer conn.Close()
			in := bufio.NewReader(conn)
			b.ReportAllocs()
			for b.Loop() {
				if err := askOnce(conn, in, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// askOnce sends a GET and reads a response with a body of so many bytes.
func askOnce(conn net.Conn, in *bufio.Reader, size int) error {
	if _, err := conn.Write([]byte("GET /object HTTP/1.1\r\nHost: a.test\r\n\r\n")); err != nil {
		return err
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 { // the end of the header
			_, err = in.Discard(size)
			return err
		}
	}
}
