package simnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

var (
	alice = netip.MustParseAddr("10.0.0.1")
	bob   = netip.MustParseAddr("10.0.0.2")
	carol = netip.MustParseAddr("10.0.0.3")
	six   = netip.MustParseAddr("2001:db8::6")
	seven = netip.MustParseAddr("2001:db8::7")
)

// link reads a link or ends the test.
func link(t testing.TB, text string) simnet.Link {
	t.Helper()
	l, err := simnet.ParseLink(text)
	require.NoError(t, err)
	return l
}

// pair connects a stream from alice to bob, port 80.
func pair(t testing.TB, n *simnet.Network) (client, server *simnet.Conn) {
	t.Helper()
	l, err := n.Host(bob).Listen("tcp", ":80")
	require.NoError(t, err)
	defer l.Close()
	n.Host(alice)
	var g sync.WaitGroup
	g.Go(func() {
		c, err := l.Accept()
		if err == nil {
			server = c.(*simnet.Conn)
		}
	})
	c, err := n.Host(alice).Dial("tcp", "10.0.0.2:80")
	require.NoError(t, err)
	g.Wait()
	require.NotNil(t, server)
	return c.(*simnet.Conn), server
}

// TestNettest runs the suite that every net.Conn should pass, in real time,
// over links from perfect to bad, over IPv4 and IPv6.
func TestNettest(t *testing.T) {
	for text, addr := range map[string]netip.Addr{
		"": bob, "delay=100us,jitter=100us": six, "rate=400mbit,delay=200us,dup=2%,reorder=5%,reorderby=1ms": bob,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				n := &simnet.Network{Link: link(t, text)}
				l, err := n.Host(addr).Listen("tcp", ":0")
				if err != nil {
					return nil, nil, nil, err
				}
				c, err := n.Host(alice, seven).Dial("tcp", netip.AddrPortFrom(addr, uint16(l.Addr().(*net.TCPAddr).Port)).String())
				if err != nil {
					return nil, nil, nil, err
				}
				s, err := l.Accept()
				return c, s, func() { n.Close() }, err
			})
		})
	}
}

// TestBulk moves a megabyte each way over every kind of bad link.
func TestBulk(t *testing.T) {
	for _, text := range []string{
		"", "delay=40ms", "rate=20mbit,queue=100kb,delay=10ms", "rate=20mbit,queue=1", "loss=5%,delay=10ms",
		"loss=20%,burst=8,delay=10ms,jitter=30ms", "dup=30%,reorder=30%,reorderby=20ms,delay=5ms",
		"rate=10mbit,loss=3%,dup=2%,reorder=2%,jitter=1ms,delay=30ms,queue=64kb", "mtu=100,delay=1ms",
	} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &simnet.Network{Seed: 7, Link: link(t, text)}
				client, server := pair(t, n)
				data := make([]byte, 1<<20)
				rng := rand.NewChaCha8([32]byte{1})
				rng.Read(data)
				var g sync.WaitGroup
				for _, c := range []*simnet.Conn{client, server} {
					g.Go(func() {
						k, err := c.Write(data)
						require.NoError(t, err)
						require.Equal(t, len(data), k)
						require.NoError(t, c.CloseWrite())
					})
					g.Go(func() {
						got, err := io.ReadAll(c)
						require.NoError(t, err)
						require.True(t, bytes.Equal(data, got), "data differ")
					})
				}
				start := time.Now()
				g.Wait()
				t.Logf("1 MiB each way in %v of the network's time", time.Since(start))
				require.NoError(t, client.Close())
				require.NoError(t, server.Close())
			})
		})
	}
}

// TestHTTP runs net/http's server and client over a bad link in a bubble.
func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "rate=10mbit,delay=50ms,loss=2%")}
		l, err := n.Host(bob).Listen("tcp", ":80")
		require.NoError(t, err)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(w, io.TeeReader(r.Body, io.Discard))
			io.WriteString(w, strings.Repeat("x", 100_000))
		})}
		var served, g sync.WaitGroup
		served.Go(func() { srv.Serve(l) })
		tr := &http.Transport{DialContext: n.Host(alice).DialContext}
		client := &http.Client{Transport: tr, Timeout: time.Minute}
		for range 20 {
			g.Go(func() {
				for range 3 {
					resp, err := client.Post("http://10.0.0.2/", "text/plain", strings.NewReader("hello"))
					require.NoError(t, err)
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Len(t, body, 100_005)
					resp.Body.Close()
				}
			})
		}
		g.Wait()
		tr.CloseIdleConnections()
		require.NoError(t, srv.Shutdown(t.Context()))
		served.Wait()
	})
}

// readAll reads c to its end and closes it.
func readAll(t testing.TB, c net.Conn) string {
	t.Helper()
	all, err := io.ReadAll(c)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	return string(all)
}

// TestRoundTrips counts what a request costs: one round trip to connect, one
// for the answer, and the bits at the rate.
func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=50ms")}
		n.SetLink(bob, alice, link(t, "delay=50ms,rate=12mbit"))
		l, err := n.Host(bob).Listen("tcp", ":80")
		require.NoError(t, err)
		var g sync.WaitGroup
		g.Go(func() {
			c, err := l.Accept()
			require.NoError(t, err)
			io.ReadFull(c, make([]byte, 3))
			c.Write(make([]byte, 146_000)) // 100 full segments
			c.Close()
		})
		start := time.Now()
		c, err := n.Host(alice).Dial("tcp", "10.0.0.2:80")
		require.NoError(t, err)
		// The answer to the SYN is 40 bytes at 12 Mbit/s.
		require.InDelta(t, 100e6+40*8e9/12e6, float64(time.Since(start)), 10)
		c.Write([]byte("GET"))
		require.Len(t, readAll(t, c), 146_000)
		// 100 ms more, 1 ms for each segment, one end, two acknowledgements.
		require.InDelta(t, 300*time.Millisecond, time.Since(start), float64(200*time.Microsecond))
		g.Wait()
	})
}

func TestDialErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=10ms")}
		h := n.Host(alice)
		n.Host(bob)
		start := time.Now()
		_, err := h.Dial("tcp", "10.0.0.2:80")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, "dial tcp 10.0.0.2:80: connect: connection refused", err.Error())
		require.Equal(t, 20*time.Millisecond, time.Since(start).Round(time.Millisecond))

		// No such host: SYN after SYN, until the user time-out.
		start = time.Now()
		_, err = h.Dial("tcp", "10.0.0.99:80")
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		timeout, ok := errors.AsType[net.Error](err)
		require.True(t, ok && timeout.Timeout())
		require.Equal(t, time.Minute, time.Since(start).Round(time.Millisecond))

		// Or until the context ends.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start = time.Now()
		_, err = h.DialContext(ctx, "tcp", "10.0.0.99:80")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(start))
		_, err = h.DialContext(ctx, "tcp", "10.0.0.2:80")
		require.ErrorIs(t, err, context.DeadlineExceeded, "it had ended before")
		gone := errors.New("gone")
		ctx2, cancel2 := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel2(gone) })
		_, err = h.DialContext(ctx2, "tcp", "10.0.0.99:80")
		require.ErrorIs(t, err, gone)

		// A partition that heals in time costs time only.
		l, err := n.Host(bob).Listen("tcp", ":80")
		require.NoError(t, err)
		n.Partition([]netip.Addr{bob})
		time.AfterFunc(5*time.Second, n.Heal)
		start = time.Now()
		c, err := h.Dial("tcp", "10.0.0.2:80")
		require.NoError(t, err)
		require.Equal(t, 7*time.Second, time.Since(start).Truncate(time.Second), "SYN at 0, 1, 3, 7 s")
		s, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.Empty(t, readAll(t, c))
	})
}

// TestGivingUpInTime shows that a dial that ended early leaves nothing behind
// at the server: its answer is refused.
func TestGivingUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=1s")}
		l, err := n.Host(bob).Listen("tcp", ":80")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		_, err = n.Host(alice).DialContext(ctx, "tcp", "10.0.0.2:80")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, l.SetDeadline(time.Now().Add(5*time.Minute)))
		_, err = l.Accept()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		sent := n.Stats(bob, alice).Packets
		time.Sleep(time.Hour)
		require.Equal(t, sent, n.Stats(bob, alice).Packets)
		require.LessOrEqual(t, sent, int64(4))
	})
}

// TestBacklog fills the queue of a listener that does not accept.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		l, err := n.Host(bob).Listen("tcp", ":80")
		require.NoError(t, err)
		var conns []net.Conn
		dial := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			c, err := n.Host(alice).DialContext(ctx, "tcp", "10.0.0.2:80")
			if err == nil {
				conns = append(conns, c)
			}
			return err
		}
		for range 128 {
			require.NoError(t, dial())
		}
		require.ErrorIs(t, dial(), context.DeadlineExceeded)
		_, err = l.Accept()
		require.NoError(t, err)
		require.NoError(t, dial())

		// Closing the listener resets those nobody has accepted.
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		_, err = conns[100].Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.ErrorIs(t, dial(), syscall.ECONNREFUSED)
		conns[0].SetReadDeadline(time.Now().Add(time.Hour))
		_, err = conns[0].Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "the accepted one goes on")
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = n.Host(bob).Listen("tcp", ":80")
		require.NoError(t, err, "the port is free again")
	})
}

// TestHalfClose sends a request whose end is the end of the stream.
func TestHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, &simnet.Network{Link: link(t, "delay=10ms,loss=20%")})
		var g sync.WaitGroup
		g.Go(func() {
			all, err := io.ReadAll(server)
			require.NoError(t, err)
			server.Write([]byte(strings.ToUpper(string(all))))
			server.Close()
		})
		client.Write([]byte("hola"))
		require.NoError(t, client.CloseWrite())
		require.NoError(t, client.CloseWrite())
		_, err := client.Write([]byte("more"))
		require.ErrorIs(t, err, syscall.EPIPE)
		require.Equal(t, "HOLA", readAll(t, client))
		require.NoError(t, client.Close())
		require.ErrorIs(t, client.CloseWrite(), net.ErrClosed)
		g.Wait()
	})
}

// TestBackPressure shows that a writer stops when the reader does, at the sum
// of both buffers, and goes on when the reader does.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, &simnet.Network{Link: link(t, "delay=10ms")})
		require.NoError(t, client.SetWriteBuffer(30_000))
		require.NoError(t, server.SetReadBuffer(20_000)) // the 256 KiB already told stay told
		client.SetWriteDeadline(time.Now().Add(time.Minute))
		data := bytes.Repeat([]byte("0123456789"), 200_000)
		k, err := client.Write(data)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 256<<10+30_000, k)

		var got bytes.Buffer
		var g sync.WaitGroup
		g.Go(func() {
			_, err := io.Copy(&got, server)
			require.NoError(t, err)
		})
		client.SetWriteDeadline(time.Time{})
		_, err = client.Write(data[k:])
		require.NoError(t, err)
		require.NoError(t, client.Close())
		g.Wait()
		require.True(t, bytes.Equal(data, got.Bytes()))
	})
}

// TestWindowLimits shows that a stream carries a window per round trip, or a
// little less: as in TCP, small openings of the window are not worth telling.
func TestWindowLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, window := range []int{0, 1 << 20} {
			client, server := pair(t, &simnet.Network{Link: link(t, "delay=50ms")})
			round := 256 << 10
			if window > 0 {
				round = window
				require.NoError(t, client.SetWriteBuffer(window))
				require.NoError(t, server.SetReadBuffer(window))
				time.Sleep(time.Second) // until the client knows
			}
			start := time.Now()
			var g sync.WaitGroup
			g.Go(func() {
				client.Write(make([]byte, 10*round-50_000))
				client.Close()
			})
			require.Len(t, readAll(t, server), 10*round-50_000)
			require.Equal(t, 950*time.Millisecond, time.Since(start).Round(time.Millisecond))
			g.Wait()
		}
	})
}

// TestWindowOpeningLost loses the news that the reader reads again: the
// sender's probes find out.
func TestWindowOpeningLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=10ms")}
		client, server := pair(t, n)
		var g sync.WaitGroup
		g.Go(func() {
			client.Write(make([]byte, 1<<20))
			client.Close()
		})
		// The reader takes an hour off; nobody gives up on it meanwhile.
		time.Sleep(time.Hour)
		n.SetLink(bob, alice, simnet.Link{Down: true})
		k, err := io.ReadFull(server, make([]byte, 256<<10))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		n.SetLink(bob, alice, simnet.Link{})
		require.Len(t, readAll(t, server), 1<<20-k)
		g.Wait()
	})
}

// TestPartitionStalls cuts a stream in one direction or both, for less and for
// more than the user time-out.
func TestPartitionStalls(t *testing.T) {
	for name, cut := range map[string]func(n *simnet.Network, down bool){
		"there": func(n *simnet.Network, down bool) { n.SetLink(alice, bob, simnet.Link{Down: down}) },
		"back":  func(n *simnet.Network, down bool) { n.SetLink(bob, alice, simnet.Link{Down: down}) },
		"both": func(n *simnet.Network, down bool) {
			n.Heal()
			if down {
				n.Partition([]netip.Addr{alice}, []netip.Addr{bob})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &simnet.Network{UserTimeout: 20 * time.Second}
				client, server := pair(t, n)
				cut(n, true)
				start := time.Now()
				time.AfterFunc(10*time.Second, func() { cut(n, false) })
				_, err := client.Write([]byte("late"))
				require.NoError(t, err)
				_, err = io.ReadFull(server, make([]byte, 4))
				require.NoError(t, err)
				client.SetReadDeadline(time.Now().Add(time.Minute))
				server.Write([]byte("x"))
				_, err = client.Read(make([]byte, 1))
				require.NoError(t, err)
				require.WithinRange(t, time.Now(), start.Add(10*time.Second), start.Add(15*time.Second))

				time.Sleep(time.Second) // until all is acknowledged
				cut(n, true)
				start = time.Now()
				client.Write([]byte("too late"))
				_, err = client.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ETIMEDOUT)
				require.InDelta(t, 20*time.Second, time.Since(start), float64(time.Millisecond))
				_, err = client.Write([]byte("x"))
				require.ErrorIs(t, err, syscall.ETIMEDOUT)

				// The other end does not know, until it says something.
				cut(n, false)
				server.SetReadDeadline(time.Now().Add(time.Second))
				io.ReadFull(server, make([]byte, 8))
				server.SetReadDeadline(time.Now().Add(time.Hour))
				server.Write([]byte("hello?"))
				_, err = server.Read(make([]byte, 1))
				require.ErrorIs(t, err, syscall.ECONNRESET)
			})
		})
	}
}

// TestIdleStreamOutlivesPartition: who says nothing notices nothing.
func TestIdleStreamOutlivesPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		client, server := pair(t, n)
		n.Partition([]netip.Addr{alice})
		time.Sleep(24 * time.Hour)
		n.Heal()
		client.Write([]byte("still here"))
		client.Close()
		require.Equal(t, "still here", readAll(t, server))
	})
}

func TestReset(t *testing.T) {
	for name, end := range map[string]func(c *simnet.Conn){
		"Reset":     func(c *simnet.Conn) { c.Reset() },
		"SetLinger": func(c *simnet.Conn) { c.SetLinger(0); c.Close() },
		"unread data": func(c *simnet.Conn) {
			io.ReadFull(c, make([]byte, 2))
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := pair(t, &simnet.Network{Link: link(t, "delay=10ms")})
				client.Write([]byte("first"))
				time.Sleep(time.Second)
				server.Write([]byte("arrives"))
				time.Sleep(time.Second)
				end(server)
				require.NoError(t, server.Close())
				time.Sleep(time.Second)
				buf := make([]byte, 100)
				k, err := client.Read(buf)
				require.NoError(t, err, "what had arrived can be read")
				require.Equal(t, "arrives", string(buf[:k]))
				_, err = client.Read(buf)
				require.ErrorIs(t, err, syscall.ECONNRESET)
				_, err = client.Write(buf)
				require.ErrorIs(t, err, syscall.ECONNRESET)
				require.ErrorIs(t, client.CloseWrite(), syscall.ECONNRESET)
				_, err = server.Read(buf)
				require.ErrorIs(t, err, net.ErrClosed)
				_, err = server.Write(buf)
				require.ErrorIs(t, err, net.ErrClosed)
			})
		})
	}
}

// TestCloseBeforeTheRestArrives: bytes for a closed end make it refuse.
func TestCloseBeforeTheRestArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t, &simnet.Network{Link: link(t, "delay=10ms")})
		server.Close()
		require.Eventually(t, func() bool {
			_, err := client.Write([]byte("anybody?"))
			return errors.Is(err, syscall.ECONNRESET)
		}, time.Minute, 5*time.Millisecond)
		// What came before the reset can still be read: here, the end.
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

// TestEveryPacketLostOnce loses each packet of a conversation in turn, and then
// each pair of neighbours: every time all bytes arrive.
func TestEveryPacketLostOnce(t *testing.T) {
	for run := range int64(3) {
		for lose := int64(0); ; lose++ {
			var packets atomic.Int64
			synctest.Test(t, func(t *testing.T) {
				n := &simnet.Network{Link: link(t, "delay=10ms"), Lose: func(simnet.Packet) bool {
					k := packets.Add(1)
					return k > lose && k <= lose+run
				}}
				client, server := pair(t, n)
				var g sync.WaitGroup
				g.Go(func() {
					client.Write(make([]byte, 5000))
					client.CloseWrite()
					require.Len(t, readAll(t, client), 3000)
				})
				g.Go(func() {
					server.Write(make([]byte, 3000))
					server.CloseWrite()
					require.Len(t, readAll(t, server), 5000)
				})
				g.Wait()
				before := packets.Load()
				time.Sleep(2 * time.Minute)
				require.LessOrEqual(t, packets.Load()-before, int64(12), "it comes to rest")
			})
			if run == 0 || lose >= packets.Load() {
				break
			}
		}
	}
}

// FuzzStream loses the packets whose bits are set: whatever the pattern, both
// directions arrive complete, and the network comes to rest.
func FuzzStream(f *testing.F) {
	f.Add([]byte{}, uint16(5000), uint16(0), byte(0))
	f.Add([]byte{0b0110_1101, 0xff, 0x0f}, uint16(20_000), uint16(9), byte(3))
	f.Add(bytes.Repeat([]byte{0b1010_1010}, 30), uint16(1), uint16(60_000), byte(40))
	f.Fuzz(func(t *testing.T, pattern []byte, there, back uint16, reorder byte) {
		synctest.Test(t, func(t *testing.T) {
			var k atomic.Int64
			n := &simnet.Network{
				Link: simnet.Link{Delay: 10 * time.Millisecond, Reorder: float64(reorder) / 512, Duplicate: float64(reorder) / 512},
				Lose: func(p simnet.Packet) bool {
					i := int(k.Add(1)) - 1
					return i/8 < min(len(pattern), 64) && pattern[i/8]&(1<<(i%8)) != 0
				},
				UserTimeout: 24 * time.Hour,
			}
			l, err := n.Host(bob).Listen("tcp", ":80")
			require.NoError(t, err)
			data := make([]byte, 1<<16)
			rand.NewChaCha8([32]byte{}).Read(data)
			var g sync.WaitGroup
			talk := func(c net.Conn, err error, send, want uint16) {
				require.NoError(t, err)
				var w sync.WaitGroup
				w.Go(func() {
					c.Write(data[:send])
					c.(*simnet.Conn).CloseWrite()
				})
				got, err := io.ReadAll(c)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data[:want], got))
				w.Wait()
				require.NoError(t, c.Close())
			}
			g.Go(func() {
				c, err := n.Host(alice).Dial("tcp", "10.0.0.2:80")
				talk(c, err, there, back)
			})
			g.Go(func() {
				c, err := l.Accept()
				talk(c, err, back, there)
			})
			g.Wait()
			time.Sleep(time.Hour)
			before := k.Load()
			time.Sleep(24 * time.Hour)
			require.Equal(t, before, k.Load(), "it is at rest")
		})
	})
}

// TestFairShares lets five streams share one link.
func TestFairShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=10ms")}
		n.SetLink(alice, bob, link(t, "delay=10ms,rate=10mbit,queue=60kb"))
		var g sync.WaitGroup
		var got [5]int
		var clients, servers [5]*simnet.Conn
		for i := range got {
			clients[i], servers[i] = pair(t, n)
		}
		for i := range got {
			client, server := clients[i], servers[i]
			g.Go(func() {
				client.SetWriteDeadline(time.Now().Add(10 * time.Second))
				client.Write(make([]byte, 1<<24))
				client.Reset()
			})
			g.Go(func() {
				server.SetReadDeadline(time.Now().Add(10 * time.Second))
				k, _ := io.Copy(io.Discard, server)
				got[i] = int(k)
				server.Reset()
			})
		}
		// A datagram finds the other half of the queue free.
		u, d := listen(t, n.Host(alice), ":1"), listen(t, n.Host(bob), ":1")
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			send(t, u, strings.Repeat("x", 1000), at(bob, 1))
			receive(t, d)
		}
		g.Wait()
		total := 0
		for _, k := range got {
			require.InEpsilon(t, got[0], k, 0.02)
			total += k
		}
		require.InEpsilon(t, 10e6/8*10*1460/1500, total, 0.03)
		require.Zero(t, n.Stats(alice, bob).TailDropped)
		require.LessOrEqual(t, n.Stats(alice, bob).QueueDelayMax, 25*time.Millisecond)
	})
}

// TestMTUOfStream shrinks the path in the middle of a transfer.
func TestMTUOfStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var largest atomic.Int64
		n := &simnet.Network{
			Link:  link(t, "delay=10ms,rate=10mbit,loss=1%"),
			Trace: &simnet.Trace{Sent: func(p simnet.Packet) { largest.Store(max(largest.Load(), int64(p.Size))) }},
		}
		client, server := pair(t, n)
		var g sync.WaitGroup
		g.Go(func() {
			client.Write(make([]byte, 1_000_000))
			client.Close()
		})
		g.Go(func() { require.Len(t, readAll(t, server), 1_000_000) })
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 1500, largest.Load())
		l := n.LinkFor(alice, bob)
		l.MTU = 600
		n.SetLink(alice, bob, l)
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		largest.Store(0)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 600, largest.Load())
		n.Host(alice).SetMTU(300)
		g.Wait()
	})
}

// TestSlowLinkMadeFast: streams that wait for room learn that there is more.
func TestSlowLinkMadeFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=1ms")}
		client, server := pair(t, n)
		n.SetLink(alice, bob, link(t, "rate=100bit"))
		client.Write(make([]byte, 100_000))
		time.Sleep(time.Second)
		n.SetLink(alice, bob, link(t, "rate=100mbit"))
		client.Close()
		start := time.Now()
		require.Len(t, readAll(t, server), 100_000)
		require.Less(t, time.Since(start), 10*time.Second)
	})
}

// TestTraceOfStream checks the ladder of a short conversation.
func TestTraceOfStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []string
		start := time.Now()
		n := &simnet.Network{Link: link(t, "delay=10ms"), Trace: &simnet.Trace{Delivered: func(p simnet.Packet) {
			steps = append(steps, fmt.Sprintf("%v %s %s seq=%d ack=%d %d %q", p.Time.Sub(start).Round(time.Millisecond),
				p.To.Addr(), p.Flags, p.Seq, p.Ack, p.Size, p.Data))
		}}}
		client, server := pair(t, n)
		client.Write([]byte("hola"))
		client.Close()
		require.Equal(t, "hola", readAll(t, server))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{
			`10ms 10.0.0.2 SYN seq=0 ack=0 40 ""`,
			`20ms 10.0.0.1 SYN ACK seq=0 ack=0 40 ""`,
			`30ms 10.0.0.2 ACK seq=0 ack=0 40 ""`,
			`40ms 10.0.0.2 ACK seq=0 ack=0 44 "hola"`,
			`40ms 10.0.0.2 FIN ACK seq=4 ack=0 40 ""`,
			`50ms 10.0.0.1 ACK seq=0 ack=4 40 ""`,
			`50ms 10.0.0.1 ACK seq=0 ack=5 40 ""`,
			`50ms 10.0.0.1 FIN ACK seq=0 ack=5 40 ""`,
			`60ms 10.0.0.2 ACK seq=5 ack=1 40 ""`,
		}, steps)
	})
}

// TestHundredsOfHosts opens a stream between each pair of many hosts.
func TestHundredsOfHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hosts = 60
		n := &simnet.Network{Link: link(t, "delay=5ms,loss=1%")}
		addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}) }
		var servers, g sync.WaitGroup
		for i := range hosts {
			l, err := n.Host(addr(i)).Listen("tcp", ":1")
			require.NoError(t, err)
			servers.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					servers.Go(func() { io.Copy(c, c); c.Close() })
				}
			})
		}
		for i := range hosts {
			for j := range hosts {
				g.Go(func() {
					c, err := n.Host(addr(i)).Dial("tcp", netip.AddrPortFrom(addr(j), 1).String())
					require.NoError(t, err)
					c.Write([]byte("hello"))
					c.(*simnet.Conn).CloseWrite()
					require.Equal(t, "hello", readAll(t, c))
				})
			}
		}
		g.Wait()
		n.Close()
		servers.Wait()
	})
}
