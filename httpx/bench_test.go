package httpx

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// browserGet is what a browser sends, more or less.
const browserGet = "GET /course/notes/http.html HTTP/1.1\r\nHost: www.zocalo.example:8080\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: es,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"

func BenchmarkReadRequest(b *testing.B) {
	for name, read := range map[string]func(br *bufio.Reader) (*http.Request, error){
		"httpx":    func(br *bufio.Reader) (*http.Request, error) { return ReadRequest(br, nil) },
		"net-http": http.ReadRequest,
	} {
		b.Run(name, func(b *testing.B) {
			in := strings.NewReader(browserGet)
			br := bufio.NewReader(in)
			b.SetBytes(int64(len(browserGet)))
			b.ReportAllocs()
			for b.Loop() {
				in.Reset(browserGet)
				br.Reset(in)
				if _, err := read(br); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadChunked(b *testing.B) {
	wire := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
		strings.Repeat("1000\r\n"+strings.Repeat("a", 1<<12)+"\r\n", 256) + "0\r\n\r\n"
	in := strings.NewReader(wire)
	br := bufio.NewReader(in)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		in.Reset(wire)
		br.Reset(in)
		r, err := ReadRequest(br, nil)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r.Body); n != 1<<20 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// One connection over loopback, one request after another, of 1 KiB.
func BenchmarkServer(b *testing.B) {
	body := make([]byte, 1024)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "1024")
		_, _ = w.Write(body)
	})
	for name, s := range map[string]interface {
		Serve(ctx context.Context, ln net.Listener) error
		Close() error
	}{
		"httpx":    &Server{Handler: h},
		"net-http": &stdServer{http.Server{Handler: h}},
	} {
		b.Run(name, func(b *testing.B) {
			nc, err := net.Dial("tcp", listen(b, s))
			require.NoError(b, err)
			defer nc.Close()
			br := bufio.NewReader(nc)
			b.SetBytes(1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.WriteString(nc, browserGet); err != nil {
					b.Fatal(err)
				}
				for line := ""; line != "\r\n"; {
					if line, err = br.ReadString('\n'); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := br.Discard(1024); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
