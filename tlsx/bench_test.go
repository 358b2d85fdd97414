package tlsx_test

import (
	"crypto/x509"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

func BenchmarkVerify(b *testing.B) {
	w := theWorld()
	certs := chain(b, w.server)
	opts := tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Name: "localhost", Time: noon}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tlsx.Verify(certs, opts); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	w := theWorld()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.intermediate.Issue(tlsx.Template{Names: serverNames, NotBefore: noon}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseClientHello(b *testing.B) {
	b.SetBytes(int64(len(chromish)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tlsx.ParseClientHello([]byte(chromish)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTap: what listening costs on top of copying.
func BenchmarkTap(b *testing.B) {
	var tap tlsx.Tap
	to := tap.Server()
	record := append([]byte("\x17\x03\x03\x40\x00"), make([]byte, 1<<14)...)
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	for b.Loop() {
		to.Write(record)
	}
}

// BenchmarkHandshake compares a handshake of ours, which can explain itself,
// with one of crypto/tls.
func BenchmarkHandshake(b *testing.B) {
	w := theWorld()
	c, s := clientOf(w), serverOf(w, w.server)
	for name, plain := range map[string]bool{"tlsx": false, "crypto": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x, y := net.Pipe()
				cc, err := c.Conn(x)
				require.NoError(b, err)
				sc, err := s.Conn(y)
				require.NoError(b, err)
				var client, server interface{ Handshake() error } = cc, sc
				if plain {
					client, server = cc.Conn, sc.Conn
				}
				var wg sync.WaitGroup
				wg.Go(func() { err = server.Handshake() })
				require.NoError(b, client.Handshake())
				wg.Wait()
				require.NoError(b, err)
			}
		})
	}
}
