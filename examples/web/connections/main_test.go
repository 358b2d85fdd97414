package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/httpx"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

// On virtual time every way takes exactly the round trips of its formula.
func TestRoundTrips(t *testing.T) {
	for _, w := range ways {
		for _, n := range []int{0, 1, 3, 5, 8, 13} {
			for _, parallel := range []int{1, 2, 5} {
				t.Run(fmt.Sprintf("%s/%d objects/%d", w.name, n, parallel), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						const rtt = 100 * time.Millisecond
						b, stop := virtual(t, simnet.Link{Delay: rtt / 2}, site(n, 500))
						defer stop()
						b.parallel = parallel
						start := time.Now()
						require.NoError(t, w.fetch(t.Context(), b, "/"))
						trips := float64(time.Since(start)) / float64(rtt)
						require.Equal(t, w.rounds(n, parallel), int(math.Round(trips)), "%.4f", trips)
						require.InDelta(t, math.Round(trips), trips, 0.001)
						require.EqualValues(t, w.handshakes(n, parallel), b.connections.Load())
						require.EqualValues(t, 1+n, b.requests.Load())
						require.EqualValues(t, len(document(n))+500*n, b.received.Load())
					})
				})
			}
		}
	}
}

// virtual serves handler on a network in memory and returns a browser on the
// other side of it. It must be called in a bubble.
func virtual(t *testing.T, link simnet.Link, handler http.Handler) (_ *browser, stop func()) {
	t.Helper()
	network := &simnet.Network{Link: link}
	near, far := network.Host(netip.MustParseAddr("10.0.0.1")), network.Host(netip.MustParseAddr("10.0.0.2"))
	ln, err := far.Listen("tcp", ":80")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	s := &httpx.Server{Handler: handler}
	go func() {
		defer close(over)
		s.Serve(ctx, ln)
	}()
	b := &browser{host: siteName, parallel: 5, timeout: time.Hour}
	b.dial = func(ctx context.Context) (net.Conn, error) { return near.DialContext(ctx, "tcp", "10.0.0.2:80") }
	return b, func() {
		cancel()
		<-over
		s.Close()
		network.Close()
	}
}

// With a rate, sending the bytes is what the formula adds; what it leaves out
// are the headers, and that waiting for one answer may overlap with the
// sending of another.
func TestSending(t *testing.T) {
	const rtt, rate, n, size = 20 * time.Millisecond, 1_000_000, 8, 2000
	p := path{rtt: rtt, rate: rate, control: 320}
	for _, w := range ways {
		synctest.Test(t, func(t *testing.T) {
			b, stop := virtual(t, simnet.Link{Delay: rtt / 2, Rate: rate}, site(n, size))
			defer stop()
			start := time.Now()
			require.NoError(t, w.fetch(t.Context(), b, "/"))
			elapsed := time.Since(start)
			estimate := p.estimate(w, n, b.parallel, len(document(n)), size)
			sending := time.Duration(8 * n * size * int(time.Second) / rate)
			require.Greater(t, elapsed, sending)
			require.InDelta(t, 1, float64(elapsed)/float64(estimate), 0.1, "%s: %v, by the formula %v", w.title, elapsed, estimate)
		})
	}
}

func TestFormula(t *testing.T) {
	// Round trips for 8 and 13 objects, five connections, as the textbook has them.
	for name, want := range map[string][2]int{"one": {18, 28}, "parallel": {6, 8}, "persistent": {10, 15}, "pipelined": {3, 3}, "both": {5, 6}} {
		for _, w := range ways {
			if w.name == name {
				require.Equal(t, want, [2]int{w.rounds(8, 5), w.rounds(13, 5)}, name)
			}
		}
	}
	// A line of 150 bit/s, 100,000 bits an object, 200 bits a packet without
	// one: a handshake and a request are 4 seconds, an object is 666.67.
	got := clitest.Run(t, "", "formula", "-objects", "10", "-rate", "150", "-control", "200", "-page", "12500", "-size", "12500", "-rtt", "1ms", "-dns", "0")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "DNS +  22 RTT + sending = 2h2m57.355333s")
	require.Contains(t, got.Stdout, "DNS +  12 RTT + sending = 2h2m30.678667s")
}

func TestMeasure(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "chart.svg")
	got := clitest.Run(t, "", "measure", "-objects", "3", "-rtt", "10ms", "-dns", "5ms", "-svg", svg)
	require.Zero(t, got.Status, got.Stderr)
	for _, w := range ways {
		require.Contains(t, got.Stdout, w.title)
	}
	picture, err := os.ReadFile(svg)
	require.NoError(t, err)
	require.Contains(t, string(picture), "A page with 3 objects")
	require.Contains(t, string(picture), "measured")
}

func TestFetch(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-objects", "4", "-size", "100000")
	for _, w := range ways {
		got := clitest.Run(t, "", "fetch", "-port", srv.Port(), "-how", w.name)
		require.Zero(t, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, fmt.Sprintf("connections %d, requests 5, bytes %d", w.handshakes(4, 5), 400_000+len(document(4))))
		got = clitest.Run(t, "", "fetch", "-port", srv.Port(), "-how", w.name, "/none")
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, "the server answers 404 Not Found")
	}
	for _, bad := range [][]string{{"none"}, {"/a", "/b"}, {""}} {
		require.Equal(t, 2, clitest.Run(t, "", append([]string{"fetch", "-port", "1"}, bad...)...).Status)
	}
}

// A server that lies, stalls or floods: one line, status 1, in time.
func TestHostileServer(t *testing.T) {
	const page = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n<img src=\"/1.gif\">\r\n"
	for name, say := range map[string]string{
		"no HTTP":        "220 mail.test\r\n\r\n",
		"short body":     "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nabc",
		"an object less": page,
		"huge body":      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"silence":        "",
	} {
		t.Run(name, func(t *testing.T) {
			for _, w := range ways {
				_, port := clitest.Stranger(t, func(c net.Conn, over <-chan struct{}) {
					c.Read(make([]byte, 4096))
					io.WriteString(c, say)
					if name == "silence" {
						<-over
					}
				})
				got := clitest.Run(t, "", "fetch", "-port", port, "-how", w.name, "-timeout", "300ms")
				require.Equal(t, 1, got.Status, "%s: %+v", w.name, got)
				require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
			}
		})
	}
}
