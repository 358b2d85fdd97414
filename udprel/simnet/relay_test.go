package simnet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// patience is how long the tests with real sockets wait for what must happen.
const patience = 20 * time.Second

// echoUDP starts an echo server on real UDP that reports whom it hears.
func echoUDP(t testing.TB, address string) (target string, heard chan string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skipf("no such address on this machine: %v", err)
	}
	heard = make(chan string, 1000)
	var g sync.WaitGroup
	g.Go(func() {
		buf := make([]byte, 70_000)
		for {
			n, from, err := pc.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				heard <- from.String()
				pc.WriteTo(buf[:n], from)
			}
		}
	})
	t.Cleanup(func() { pc.Close(); g.Wait() })
	return pc.LocalAddr().String(), heard
}

// relay starts a relay that ends with the test.
func relay(t testing.TB, start func(string, string, *simnet.RelayConfig) (*simnet.Relay, error), target string, c *simnet.RelayConfig) *simnet.Relay {
	t.Helper()
	host, _, err := net.SplitHostPort(target)
	require.NoError(t, err)
	r, err := start(net.JoinHostPort(host, "0"), target, c)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		require.Zero(t, r.Flows())
		require.Error(t, r.Rebind())
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		require.NotContains(t, string(stacks), "simnet.(*Relay)", "Close leaves no goroutine behind")
	})
	return r
}

// dial connects a real socket to the relay.
func dial(t testing.TB, r *simnet.Relay) net.Conn {
	t.Helper()
	c, err := net.Dial(r.Addr().Network(), r.Addr().String())
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends text and reads an answer.
func ask(t testing.TB, c net.Conn, text string) string {
	t.Helper()
	_, err := c.Write([]byte(text))
	require.NoError(t, err)
	return hear(t, c)
}

func hear(t testing.TB, c net.Conn) string {
	t.Helper()
	buf := make([]byte, 70_000)
	n, err := c.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

func TestRelayUDP(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			target, _ := echoUDP(t, address)
			r := relay(t, simnet.RelayUDP, target, &simnet.RelayConfig{Up: link(t, "delay=20ms"), Down: link(t, "delay=10ms")})
			start := time.Now()
			a, b := dial(t, r), dial(t, r)
			require.Equal(t, "hola", ask(t, a, "hola"))
			require.GreaterOrEqual(t, time.Since(start), 30*time.Millisecond)
			require.Equal(t, "other", ask(t, b, "other"))
			require.Equal(t, 2, r.Flows())
			up, down := r.Stats()
			size := int64(2*28 + 9)
			if address[0] == '[' {
				size += 2 * 20
			}
			require.Equal(t, simnet.Stats{Packets: 2, Bytes: size, Delivered: 2}, up)
			require.Equal(t, up, down)
		})
	}
}

// TestRelayUDPKnobs changes the links while the relay runs: each datagram meets
// a certain fate, and a good one after it shows that it has met it.
func TestRelayUDPKnobs(t *testing.T) {
	target, heard := echoUDP(t, "127.0.0.1:0")
	r := relay(t, simnet.RelayUDP, target, nil)
	c := dial(t, r)
	packets := int64(0)
	offer := func(text string) {
		packets++
		_, err := c.Write([]byte(text))
		require.NoError(t, err)
		require.Eventually(t, func() bool { up, _ := r.Stats(); return up.Packets == packets }, patience, time.Millisecond)
	}
	for _, text := range []string{"loss=100%", "down", "mtu=29", "rate=8bit,queue=1"} {
		r.SetLinks(link(t, text), simnet.Link{})
		if text == "rate=8bit,queue=1" {
			offer("busy for a minute")
		}
		offer("never arrives")
	}
	r.SetLinks(simnet.Link{Duplicate: 1}, simnet.Link{})
	require.Equal(t, "twice", ask(t, c, "twice"))
	require.Equal(t, "twice", hear(t, c))
	up, _ := r.Stats()
	require.EqualValues(t, 1, up.Lost)
	require.EqualValues(t, 1, up.Blocked)
	require.EqualValues(t, 1, up.TooBig)
	require.EqualValues(t, 1, up.TailDropped)
	require.Len(t, heard, 2)
}

func TestRelayUDPRebind(t *testing.T) {
	target, heard := echoUDP(t, "127.0.0.1:0")
	r := relay(t, simnet.RelayUDP, target, nil)
	c := dial(t, r)
	require.Equal(t, "one", ask(t, c, "one"))
	require.NoError(t, r.Rebind())
	require.Equal(t, "two", ask(t, c, "two"))
	require.NotEqual(t, <-heard, <-heard, "the target sees another address")
	require.Equal(t, 1, r.Flows())
}

// TestRelayUDPFlood shows that clients beyond the limit get no flow, and that
// idle ones make room.
func TestRelayUDPFlood(t *testing.T) {
	target, _ := echoUDP(t, "127.0.0.1:0")
	r := relay(t, simnet.RelayUDP, target, &simnet.RelayConfig{MaxFlows: 3, IdleTimeout: 300 * time.Millisecond})
	for i := range 3 {
		require.Equal(t, "x", ask(t, dial(t, r), "x"), "client %d", i)
	}
	for range 50 {
		_, err := dial(t, r).Write([]byte("no room"))
		require.NoError(t, err)
	}
	require.LessOrEqual(t, r.Flows(), 3)
	require.Eventually(t, func() bool { return r.Flows() == 0 }, patience, time.Millisecond)
	require.Equal(t, "room again", ask(t, dial(t, r), "room again"))
}

// TestRelayUDPTargetAway: a target that is not there, and then is.
func TestRelayUDPTargetAway(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	target := pc.LocalAddr().String()
	require.NoError(t, pc.Close())
	r := relay(t, simnet.RelayUDP, target, nil)
	c := dial(t, r)
	for range 10 {
		_, err := c.Write([]byte("anybody?"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { up, _ := r.Stats(); return up.Delivered == 10 }, patience, time.Millisecond)
	echoUDP(t, target)
	require.Eventually(t, func() bool {
		c.SetDeadline(time.Now().Add(100 * time.Millisecond))
		c.Write([]byte("now?"))
		n, err := c.Read(make([]byte, 100))
		return err == nil && n == 4
	}, patience, time.Millisecond)
}

// serveTCP starts a server on real TCP that runs f for each connection.
func serveTCP(t testing.TB, address string, f func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("no such address on this machine: %v", err)
	}
	var g sync.WaitGroup
	g.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			g.Go(func() { f(c.(*net.TCPConn)); c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); g.Wait() })
	return l.Addr().String()
}

func echo(c *net.TCPConn) { io.Copy(c, c) }

func TestRelayTCP(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, text := range []string{"", "delay=3ms,jitter=1ms,rate=400mbit,loss=0.1%,dup=1%,reorder=1%,queue=30kb", "mtu=500"} {
			t.Run(address+"/"+text, func(t *testing.T) {
				l := link(t, text)
				r := relay(t, simnet.RelayTCP, serveTCP(t, address, echo), &simnet.RelayConfig{Up: l, Down: l})
				c := dial(t, r)
				data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
				var g sync.WaitGroup
				g.Go(func() {
					_, err := c.Write(data)
					require.NoError(t, err)
					require.NoError(t, c.(*net.TCPConn).CloseWrite())
				})
				got, err := io.ReadAll(c)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got))
				g.Wait()
				c.Close()
				require.Eventually(t, func() bool { return r.Flows() == 0 }, patience, time.Millisecond)
				up, down := r.Stats()
				checkSum(t, up)
				checkSum(t, down)
				require.GreaterOrEqual(t, up.Packets, int64(len(data)/1460))
			})
		}
	}
}

// TestRelayTCPTakesTime checks the least time that the links allow: two round
// trips and the bits at the rate.
func TestRelayTCPTakesTime(t *testing.T) {
	r := relay(t, simnet.RelayTCP, serveTCP(t, "127.0.0.1:0", echo), &simnet.RelayConfig{
		Up: link(t, "delay=10ms"), Down: link(t, "delay=15ms,rate=8mbit"),
	})
	start := time.Now()
	c := dial(t, r)
	_, err := c.Write(make([]byte, 100_000))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 100_000))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 150*time.Millisecond)

	// A lost segment costs a time-out, not data.
	r.SetLinks(link(t, "loss=60%"), simnet.Link{})
	start = time.Now()
	for i := 0; ; i++ {
		text := fmt.Sprint("segment ", i)
		require.Equal(t, text, ask(t, c, text))
		if up, _ := r.Stats(); up.Lost > 0 {
			break
		}
	}
	require.GreaterOrEqual(t, time.Since(start), 200*time.Millisecond)
}

func TestRelayTCPOutage(t *testing.T) {
	r := relay(t, simnet.RelayTCP, serveTCP(t, "127.0.0.1:0", echo), nil)
	c := dial(t, r)
	require.Equal(t, "before", ask(t, c, "before"))
	r.SetLinks(simnet.Link{Down: true}, simnet.Link{})
	_, err := c.Write([]byte("meanwhile"))
	require.NoError(t, err)
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	c.SetReadDeadline(time.Now().Add(patience))
	r.SetLinks(simnet.Link{}, simnet.Link{})
	require.Equal(t, "meanwhile", hear(t, c))

	// Closing during an outage does not wait for its end.
	r.SetLinks(simnet.Link{Down: true}, simnet.Link{Down: true})
	c.Write([]byte("never"))
	require.NoError(t, r.Close())
	_, err = c.Read(make([]byte, 1))
	requireCut(t, err)
}

// dialCut connects and returns the error of that, or of reading a byte: a
// reset may come before the client knows that it is connected.
func dialCut(r *simnet.Relay) error {
	c, err := net.Dial("tcp", r.Addr().String())
	if err == nil {
		c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	return err
}

// requireCut checks that the connection was reset. Some systems say aborted.
func requireCut(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded) || err == io.EOF, "%v", err)
	if runtime.GOOS != "windows" {
		require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err)
	}
}

func TestRelayTCPResets(t *testing.T) {
	t.Run("by the target", func(t *testing.T) {
		target := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
			io.ReadFull(c, make([]byte, 1))
			c.SetLinger(0)
		})
		c := dial(t, relay(t, simnet.RelayTCP, target, nil))
		c.Write([]byte("x"))
		_, err := c.Read(make([]byte, 1))
		requireCut(t, err)
	})
	t.Run("target away", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l.Close()
		requireCut(t, dialCut(relay(t, simnet.RelayTCP, l.Addr().String(), nil)))
	})
	t.Run("Rebind", func(t *testing.T) {
		r := relay(t, simnet.RelayTCP, serveTCP(t, "127.0.0.1:0", echo), nil)
		c := dial(t, r)
		require.Equal(t, "x", ask(t, c, "x"))
		require.NoError(t, r.Rebind())
		_, err := c.Read(make([]byte, 1))
		requireCut(t, err)
		require.Equal(t, "x", ask(t, dial(t, r), "x"))
	})
	t.Run("too many", func(t *testing.T) {
		r := relay(t, simnet.RelayTCP, serveTCP(t, "127.0.0.1:0", echo), &simnet.RelayConfig{MaxFlows: 2})
		first, second := dial(t, r), dial(t, r)
		require.Equal(t, "x", ask(t, first, "x"))
		require.Equal(t, "x", ask(t, second, "x"))
		for range 20 {
			requireCut(t, dialCut(r))
		}
		first.Close()
		require.Eventually(t, func() bool { return r.Flows() == 1 }, patience, time.Millisecond)
		require.Equal(t, "x", ask(t, dial(t, r), "x"))
	})
	t.Run("idle", func(t *testing.T) {
		r := relay(t, simnet.RelayTCP, serveTCP(t, "127.0.0.1:0", echo), &simnet.RelayConfig{IdleTimeout: 200 * time.Millisecond})
		c := dial(t, r)
		require.Equal(t, "x", ask(t, c, "x"))
		_, err := c.Read(make([]byte, 1))
		requireCut(t, err)
	})
}

func TestRelayAddressErrors(t *testing.T) {
	for _, c := range [][2]string{{"127.0.0.1:0", "127.0.0.1"}, {"127.0.0.1", "127.0.0.1:1"}, {"127.0.0.1:x", "127.0.0.1:1"}} {
		_, err := simnet.RelayUDP(c[0], c[1], nil)
		require.ErrorContains(t, err, "simnet: relay to ")
		_, err = simnet.RelayTCP(c[0], c[1], nil)
		require.ErrorContains(t, err, "simnet: relay to ")
	}
}
