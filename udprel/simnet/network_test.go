package simnet_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// listen opens a UDP socket or ends the test.
func listen(t testing.TB, h *simnet.Host, address string) *simnet.PacketConn {
	t.Helper()
	c, err := h.ListenPacket("udp", address)
	require.NoError(t, err)
	return c
}

// receive reads one datagram within a minute.
func receive(t testing.TB, c *simnet.PacketConn) (string, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 70_000)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	require.NoError(t, err)
	return string(buf[:n]), from
}

// requireSilence checks that nothing arrives within a minute.
func requireSilence(t testing.TB, c *simnet.PacketConn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	n, from, err := c.ReadFromUDPAddrPort(make([]byte, 100))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "%d bytes from %v", n, from)
}

func send(t testing.TB, c *simnet.PacketConn, text string, to netip.AddrPort) {
	t.Helper()
	n, err := c.WriteToUDPAddrPort([]byte(text), to)
	require.NoError(t, err)
	require.Equal(t, len(text), n)
}

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func TestDatagrams(t *testing.T) {
	for _, c := range []struct {
		name, server string
		to, from     netip.Addr
	}{
		{"IPv4", "10.0.0.2:53", bob, alice},
		{"IPv6", "[2001:db8::6]:53", six, seven},
		{"any to IPv4", ":53", bob, alice},
		{"any to IPv6", ":53", six, seven},
		{"mapped", "[::ffff:10.0.0.2]:53", bob, alice},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &simnet.Network{Link: link(t, "delay=25ms")}
				server := listen(t, n.Host(bob, six), c.server)
				client := listen(t, n.Host(alice, seven), ":0")
				start := time.Now()
				send(t, client, "hola", at(c.to, 53))
				send(t, client, "", at(c.to, 53))
				text, from := receive(t, server)
				require.Equal(t, "hola", text)
				require.Equal(t, at(c.from, 49152), from)
				require.Equal(t, 25*time.Millisecond+time.Nanosecond, time.Since(start))
				text, from = receive(t, server)
				require.Empty(t, text, "a datagram may be empty")
				n2, err := server.WriteTo([]byte("adiós"), net.UDPAddrFromAddrPort(from))
				require.NoError(t, err)
				require.Equal(t, 6, n2)
				text, from = receive(t, client)
				require.Equal(t, "adiós", text)
				require.Equal(t, at(c.to, 53), from)
			})
		})
	}
}

// TestLoopback shows that every host has a loopback of its own, on which the
// links of the network do not apply.
func TestLoopback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: simnet.Link{Loss: 1}}
		for _, h := range []*simnet.Host{n.Host(alice), n.Host(bob)} {
			for _, address := range []string{"127.0.0.1:7", "[::1]:7", "localhost:8"} {
				server := listen(t, h, address)
				client, err := h.Dial("udp", address)
				require.NoError(t, err)
				_, err = client.Write([]byte("x"))
				require.NoError(t, err)
				text, from := receive(t, server)
				require.Equal(t, "x", text)
				require.True(t, from.Addr().IsLoopback())
				client.Close()
				server.Close()
			}
			server := listen(t, h, ":9")
			client := listen(t, h, "localhost:0")
			for _, to := range []string{"127.0.0.1:9", "0.0.0.0:9"} {
				send(t, client, to, netip.MustParseAddrPort(to))
				text, _ := receive(t, server)
				require.Equal(t, to, text)
			}
			send(t, server, "own address", at(h.Addr(), 9))
			text, from := receive(t, server)
			require.Equal(t, "own address", text)
			require.Equal(t, at(h.Addr(), 9), from)
			_, err := client.WriteToUDPAddrPort(nil, at(carol, 1))
			require.ErrorIs(t, err, syscall.ENETUNREACH)
			server.Close()
			client.Close()
		}
	})
}

func TestAddressErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		h := n.Host(alice)
		for _, c := range []struct {
			network, address string
			want             error
		}{
			{"udp", "10.0.0.2:0", syscall.EADDRNOTAVAIL},
			{"udp", "10.0.0.1", nil},
			{"udp", "10.0.0.1:http", nil},
			{"udp", "10.0.0.1:65536", nil},
			{"udp4", "[::]:0", nil},
			{"udp6", "10.0.0.1:0", nil},
			{"udp5", ":0", nil},
			{"ip", ":0", nil},
			{"", ":0", nil},
			{"tcp", ":0", nil},
		} {
			_, err := h.ListenPacket(c.network, c.address)
			op, ok := errors.AsType[*net.OpError](err)
			require.True(t, ok, "%v: %v", c, err)
			require.Equal(t, "listen", op.Op)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
		}
		for _, network := range []string{"", "u", "unix", "udpx", "tcp44"} {
			_, err := h.Dial(network, "10.0.0.1:1")
			_, ok := errors.AsType[net.UnknownNetworkError](err)
			require.True(t, ok, "%q: %v", network, err)
		}
		_, err := h.Dial("tcp", "www.example.org:80")
		dns, ok := errors.AsType[*net.DNSError](err)
		require.True(t, ok && dns.IsNotFound, "%v", err)
		_, err = h.Dial("udp", "10.0.0.2:0")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		_, err = h.Dial("udp", "[2001:db8::6]:1")
		require.ErrorIs(t, err, syscall.ENETUNREACH)

		// What overlaps is in use; what does not is free.
		for _, c := range []struct {
			network, address string
			used             bool
		}{
			{"udp", "10.0.0.1:5", false},
			{"udp", "10.0.0.1:5", true},
			{"udp", ":5", true},
			{"udp4", ":5", true},
			{"udp6", ":5", false},
			{"udp", "127.0.0.1:5", false},
			{"udp", ":6", false},
			{"udp", "10.0.0.1:6", true},
			{"udp6", "[::1]:6", true},
		} {
			_, err := h.ListenPacket(c.network, c.address)
			if c.used {
				require.ErrorIs(t, err, syscall.EADDRINUSE, "%v", c)
			} else {
				require.NoError(t, err, "%v", c)
			}
		}
		_, err = h.Listen("tcp", ":5")
		require.NoError(t, err, "ports of TCP are others")

		for _, bad := range []string{"0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1"} {
			require.Panics(t, func() { n.Host(netip.MustParseAddr(bad)) }, bad)
		}
		require.Panics(t, func() { n.Host(netip.Addr{}) })
		n.Host(bob)
		require.Panics(t, func() { n.Host(alice, bob) }, "another host's")
		require.Same(t, h, n.Host(alice))
		require.Same(t, n.Host(bob, six), n.Host(six))
	})
}

// TestFreePorts uses all of them up.
func TestFreePorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		var all []*simnet.PacketConn
		for range 16384 {
			c, err := n.Host(alice).ListenPacket("udp4", "10.0.0.1:0")
			require.NoError(t, err)
			all = append(all, c)
		}
		_, err := n.Host(alice).ListenPacket("udp4", "10.0.0.1:0")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		all[77].Close()
		c, err := n.Host(alice).ListenPacket("udp4", "10.0.0.1:0")
		require.NoError(t, err)
		require.Equal(t, all[77].LocalAddr(), c.LocalAddr())
	})
}

func TestDeadlinesAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		c := listen(t, n.Host(alice), ":1")
		start := time.Now()
		require.NoError(t, c.SetReadDeadline(start.Add(time.Second)))
		_, _, err := c.ReadFrom(nil)
		timeout, ok := errors.AsType[net.Error](err)
		require.True(t, ok && timeout.Timeout(), "%v", err)
		require.Equal(t, time.Second, time.Since(start))

		// A deadline that moves while someone waits.
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		time.AfterFunc(time.Minute, func() { c.SetReadDeadline(time.Now().Add(time.Minute)) })
		start = time.Now()
		_, _, err = c.ReadFrom(nil)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 2*time.Minute, time.Since(start))

		require.NoError(t, c.SetDeadline(time.Unix(1, 0)))
		_, err = c.WriteToUDPAddrPort(nil, at(bob, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, c.SetDeadline(time.Time{}))

		var g sync.WaitGroup
		for range 3 {
			g.Go(func() {
				_, _, err := c.ReadFrom(nil)
				require.ErrorIs(t, err, net.ErrClosed)
			})
		}
		synctest.Wait()
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		g.Wait()
		_, err = c.WriteToUDPAddrPort(nil, at(bob, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, c.SetDeadline(time.Time{}), net.ErrClosed)
		_, err = c.Rebind(netip.AddrPort{})
		require.ErrorIs(t, err, net.ErrClosed)

		// The whole network.
		l, err := n.Host(alice).Listen("tcp", ":1")
		require.NoError(t, err)
		client, _ := pair(t, n)
		open := listen(t, n.Host(alice), ":1")
		g.Go(func() { _, err := l.Accept(); require.ErrorIs(t, err, net.ErrClosed) })
		g.Go(func() { _, _, err := open.ReadFrom(nil); require.ErrorIs(t, err, net.ErrClosed) })
		g.Go(func() { _, err := client.Read(make([]byte, 1)); require.ErrorIs(t, err, net.ErrClosed) })
		g.Go(func() { _, err := client.Write(make([]byte, 1<<20)); require.ErrorIs(t, err, net.ErrClosed) })
		g.Go(func() { _, err := n.Host(alice).Dial("tcp", "10.0.0.9:1"); require.ErrorIs(t, err, net.ErrClosed) })
		time.Sleep(time.Millisecond)
		require.NoError(t, n.Close())
		require.NoError(t, n.Close())
		g.Wait()
		_, err = n.Host(alice).ListenPacket("udp", ":0")
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestConnectedUDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=10ms")}
		conn, err := n.Host(alice).Dial("udp", "10.0.0.2:53")
		require.NoError(t, err)
		c := conn.(*simnet.PacketConn)
		server := listen(t, n.Host(bob), ":53")
		stranger := listen(t, n.Host(carol), ":53")

		_, err = c.WriteTo(nil, net.UDPAddrFromAddrPort(at(bob, 53)))
		require.ErrorIs(t, err, net.ErrWriteToConnected)
		_, err = server.Write(nil)
		require.ErrorIs(t, err, syscall.EDESTADDRREQ)

		c.Write([]byte("question"))
		_, from := receive(t, server)
		send(t, stranger, "forged", from)
		send(t, server, "answer", from)
		text, from := receive(t, c)
		require.Equal(t, "answer", text)
		require.Equal(t, at(bob, 53), from)
		requireSilence(t, c)

		// Nobody listens any more: the next call learns it, once.
		server.Close()
		c.Write([]byte("question"))
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Second)))
		start := time.Now()
		_, err = c.Read(make([]byte, 100))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, 20*time.Millisecond, time.Since(start).Round(time.Millisecond))
		requireSilence(t, c)

		// No host at all: nothing is heard.
		c2, err := n.Host(alice).Dial("udp", "10.0.0.99:53")
		require.NoError(t, err)
		c2.Write([]byte("question"))
		requireSilence(t, c2.(*simnet.PacketConn))
	})
}

// TestBufferOverflow shows that a reader who is slow loses datagrams.
func TestBufferOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped atomic.Int64
		n := &simnet.Network{Trace: &simnet.Trace{Dropped: func(p simnet.Packet, why simnet.Drop) {
			require.Equal(t, simnet.DropBuffer, why)
			dropped.Add(1)
		}}}
		dst, src := listen(t, n.Host(bob), ":1"), listen(t, n.Host(alice), ":1")
		require.NoError(t, dst.SetReadBuffer(10*(1000+28)))
		require.Error(t, dst.SetReadBuffer(0))
		for range 25 {
			send(t, src, strings.Repeat("x", 1000), at(bob, 1))
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.EqualValues(t, 15, dropped.Load())
		for range 10 {
			receive(t, dst)
		}
		requireSilence(t, dst)
		require.EqualValues(t, 25, n.Stats(alice, bob).Delivered, "the link did its part")
	})
}

// TestSmallPrint goes through what no other test touches.
func TestSmallPrint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		c := listen(t, n.Host(alice), ":1")
		require.Nil(t, c.RemoteAddr())
		_, err := c.WriteTo(nil, &net.TCPAddr{})
		require.ErrorContains(t, err, "not a *net.UDPAddr")
		_, err = c.WriteTo(nil, &net.UDPAddr{IP: net.IPv4(10, 0, 0, 2)})
		require.ErrorIs(t, err, syscall.EINVAL, "no port")
		four := listen(t, n.Host(alice), "10.0.0.1:2")
		_, err = four.WriteToUDPAddrPort(nil, at(six, 1))
		require.ErrorIs(t, err, syscall.EAFNOSUPPORT)
		require.NoError(t, c.SetWriteDeadline(time.Unix(1, 0)))
		_, err = c.WriteToUDPAddrPort(nil, at(alice, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, c.SetWriteDeadline(time.Time{}))
		for range 3 {
			send(t, c, "never read", netip.MustParseAddrPort("[::]:1"))
		}
		time.Sleep(time.Second)
		c.Close()
		require.Zero(t, n.Stats(carol, alice))

		// Streams on a host's own loopback and address, and from another to a
		// listener on one address only.
		for _, address := range []string{"127.0.0.1:80", "[::1]:80", ":80", "10.0.0.1:80"} {
			l, err := n.Host(alice).Listen("tcp", address)
			require.NoError(t, err)
			from := n.Host(alice)
			if address == "10.0.0.1:80" {
				from = n.Host(bob)
			}
			a, err := from.Dial("tcp", address)
			require.NoError(t, err)
			b, err := l.Accept()
			require.NoError(t, err)
			require.Equal(t, a.LocalAddr(), b.RemoteAddr())
			require.Equal(t, a.RemoteAddr(), b.LocalAddr())
			a.Write([]byte(address))
			a.Close()
			require.Equal(t, address, readAll(t, b))
			require.Error(t, b.(*simnet.Conn).SetReadBuffer(0))
			require.ErrorIs(t, b.SetDeadline(time.Time{}), net.ErrClosed)
			require.ErrorIs(t, b.SetReadDeadline(time.Time{}), net.ErrClosed)
			l.Close()
			require.ErrorIs(t, l.SetDeadline(time.Time{}), net.ErrClosed)
		}
		_, err = n.Host(alice).Listen("tcp", "10.0.0.2:80")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		m := simnet.NewModel(simnet.Link{Loss: 0.5}, 0, 0)
		require.Equal(t, simnet.Link{Loss: 0.5}, m.Link())
	})
}

func TestShortRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		dst, src := listen(t, n.Host(bob), ":1"), listen(t, n.Host(alice), ":1")
		send(t, src, "truncated", at(bob, 1))
		send(t, src, "next", at(bob, 1))
		buf := make([]byte, 5)
		k, _, err := dst.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, "trunc", string(buf[:k]))
		text, _ := receive(t, dst)
		require.Equal(t, "next", text)
	})
}

// TestMTU shows both ways in which a datagram can be too large: the host knows,
// or only the path does.
func TestMTU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: simnet.Link{MTU: 1300}}
		dst, src := listen(t, n.Host(bob, six), ":1"), listen(t, n.Host(alice, seven), ":1")
		for _, to := range []struct {
			addr   netip.Addr
			header int
			most   int
		}{{bob, 28, 65507}, {six, 48, 65527}} {
			try := func(size int) error {
				_, err := src.WriteToUDPAddrPort(make([]byte, size), at(to.addr, 1))
				return err
			}
			n.Host(alice).SetMTU(0)
			require.NoError(t, try(to.most))
			require.ErrorIs(t, try(to.most+1), syscall.EMSGSIZE)
			n.Host(alice).SetMTU(1500)
			require.NoError(t, try(1500-to.header))
			require.ErrorIs(t, try(1501-to.header), syscall.EMSGSIZE)
			require.NoError(t, try(1301-to.header))
			requireSilence(t, dst)
			require.NoError(t, try(1300-to.header))
			text, _ := receive(t, dst)
			require.Len(t, text, 1300-to.header)
		}
		require.EqualValues(t, 3, n.Stats(alice, bob).TooBig)
		require.EqualValues(t, 3, n.Stats(seven, six).TooBig)
		require.NoError(t, dst.SetReadBuffer(70_000))
		_, err := src.WriteToUDPAddrPort(make([]byte, 65507), at(netip.MustParseAddr("127.0.0.1"), 1))
		require.NoError(t, err, "loopback has no MTU")
	})
}

// TestRebind shows what a peer sees when a NAT forgets.
func TestRebind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{}
		server, client := listen(t, n.Host(bob), ":53"), listen(t, n.Host(alice), ":1000")
		connected, err := n.Host(bob).Dial("udp", "10.0.0.1:1000")
		require.NoError(t, err)
		send(t, client, "one", at(bob, 53))
		_, old := receive(t, server)
		require.Equal(t, at(alice, 1000), old)

		now, err := client.Rebind(netip.AddrPort{})
		require.NoError(t, err)
		require.NotEqual(t, old.Port(), now.Port())
		require.Equal(t, uint16(1000), client.LocalAddr().(*net.UDPAddr).AddrPort().Port(), "it does not know")
		send(t, client, "two", at(bob, 53))
		_, from := receive(t, server)
		require.Equal(t, at(alice, now.Port()), from)
		send(t, server, "lost", old)
		_, err = connected.Write([]byte("lost without refusal"))
		require.NoError(t, err)
		send(t, server, "found", from)
		text, _ := receive(t, client)
		require.Equal(t, "found", text)
		requireSilence(t, client)
		requireSilence(t, connected.(*simnet.PacketConn))

		elsewhere := netip.MustParseAddrPort("192.0.2.7:4000")
		now, err = client.Rebind(elsewhere)
		require.NoError(t, err)
		require.Equal(t, elsewhere, now)
		send(t, client, "three", at(bob, 53))
		_, from = receive(t, server)
		require.Equal(t, elsewhere, from)
		send(t, server, "found again", from)
		text, _ = receive(t, client)
		require.Equal(t, "found again", text)

		_, err = client.Rebind(at(bob, 1))
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL, "another host's address")
		listen(t, n.Host(alice), "10.0.0.1:77")
		_, err = client.Rebind(at(alice, 77))
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = client.Rebind(at(alice, 1000))
		require.NoError(t, err, "the old port is free")
		send(t, server, "back", at(alice, 1000))
		text, _ = receive(t, client)
		require.Equal(t, "back", text)
	})
}

func TestSetLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var any netip.Addr
		n := &simnet.Network{Link: link(t, "delay=1ms")}
		a, b, c := listen(t, n.Host(alice), ":1"), listen(t, n.Host(bob), ":1"), listen(t, n.Host(carol), ":1")
		way := func(from, to *simnet.PacketConn, dst netip.Addr) time.Duration {
			start := time.Now()
			send(t, from, "x", at(dst, 1))
			receive(t, to)
			return time.Since(start).Round(time.Millisecond)
		}
		ms := func(k int) time.Duration { return time.Duration(k) * time.Millisecond }
		require.Equal(t, ms(1), way(a, b, bob))
		n.SetLink(alice, bob, link(t, "delay=2ms"))
		require.Equal(t, ms(2), way(a, b, bob), "a link in use")
		require.Equal(t, ms(1), way(b, a, alice), "the other direction")
		n.SetLink(any, carol, link(t, "delay=3ms"))
		require.Equal(t, ms(3), way(a, c, carol), "a link not yet used")
		require.Equal(t, ms(3), way(b, c, carol))
		require.Equal(t, ms(1), way(c, b, bob))
		n.SetLink(any, any, link(t, "delay=4ms"))
		require.Equal(t, ms(4), way(a, b, bob), "the last call decides")
		require.Equal(t, ms(0), way(a, a, alice), "but not on a host's own")
		n.SetLink(alice, alice, link(t, "delay=5ms"))
		require.Equal(t, ms(5), way(a, a, alice))
		require.Equal(t, link(t, "delay=4ms"), n.LinkFor(bob, carol))

		// Down loses what is on its way.
		l := n.LinkFor(alice, bob)
		send(t, a, "on its way", at(bob, 1))
		time.Sleep(ms(2))
		l.Down = true
		n.SetLink(alice, bob, l)
		requireSilence(t, b)
		require.Equal(t, ms(4), way(b, a, alice))

		// A faster link is not held up by what waits for the slow one.
		n.SetLink(alice, bob, link(t, "rate=1kbit"))
		send(t, a, "slow", at(bob, 1))
		time.Sleep(ms(1))
		n.SetLink(alice, bob, link(t, "rate=1mbit"))
		start := time.Now()
		send(t, a, "fast", at(bob, 1))
		text, _ := receive(t, b)
		require.Equal(t, "fast", text)
		require.Equal(t, 256*time.Microsecond+time.Nanosecond, time.Since(start))
		text, _ = receive(t, b)
		require.Equal(t, "slow", text)
	})
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "delay=10ms")}
		all := map[netip.Addr]*simnet.PacketConn{}
		for _, h := range []netip.Addr{alice, bob, carol} {
			all[h] = listen(t, n.Host(h), ":1")
		}
		reaches := func(from, to netip.Addr) bool {
			send(t, all[from], "x", at(to, 1))
			all[to].SetReadDeadline(time.Now().Add(time.Second))
			_, _, err := all[to].ReadFromUDPAddrPort(make([]byte, 1))
			return err == nil
		}
		require.True(t, reaches(alice, bob))
		send(t, all[alice], "on its way", at(bob, 1))
		time.Sleep(5 * time.Millisecond)
		n.Partition([]netip.Addr{alice})
		requireSilence(t, all[bob])
		require.False(t, reaches(alice, bob))
		require.False(t, reaches(bob, alice))
		require.True(t, reaches(bob, carol), "the rest is one group")
		require.True(t, reaches(alice, alice))
		n.Partition([]netip.Addr{alice, bob}, []netip.Addr{carol})
		require.True(t, reaches(alice, bob))
		require.False(t, reaches(carol, bob))
		n.Heal()
		require.True(t, reaches(carol, bob))
		require.EqualValues(t, 2, n.Stats(alice, bob).Blocked)
	})
}

// TestRate measures a link from outside: the last of a hundred datagrams
// arrives when all bits, headers included, have passed.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "rate=10mbit,queue=200kb,delay=5ms")}
		dst, src := listen(t, n.Host(bob), ":1"), listen(t, n.Host(alice), ":1")
		start := time.Now()
		for range 100 {
			send(t, src, strings.Repeat("x", 1250-28), at(bob, 1))
		}
		for i := range 100 {
			receive(t, dst)
			want := time.Duration(i+1)*time.Millisecond + 5*time.Millisecond + time.Nanosecond
			require.Equal(t, want, time.Since(start))
		}
		s := n.Stats(alice, bob)
		require.EqualValues(t, 125_000, s.Bytes)
		require.Equal(t, 99*time.Millisecond, s.QueueDelayMax)
		for range 300 {
			send(t, src, strings.Repeat("x", 1250-28), at(bob, 1))
		}
		time.Sleep(time.Second)
		require.EqualValues(t, 300-160, n.Stats(alice, bob).TailDropped)
	})
}

// TestImmediateIsANanosecond shows that synctest.Wait alone does not bring a
// datagram over, not even on a perfect link: time must pass.
func TestImmediateIsANanosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived atomic.Bool
		n := &simnet.Network{Trace: &simnet.Trace{Delivered: func(simnet.Packet) { arrived.Store(true) }}}
		listen(t, n.Host(bob), ":1")
		send(t, listen(t, n.Host(alice), ":1"), "x", at(bob, 1))
		synctest.Wait()
		require.False(t, arrived.Load())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.True(t, arrived.Load())
	})
}

// TestLose drops exactly the packets that a test wants dropped.
func TestLose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Lose: func(p simnet.Packet) bool { return string(p.Data) == "no" }}
		dst, src := listen(t, n.Host(bob), ":1"), listen(t, n.Host(alice), ":1")
		for _, text := range []string{"yes", "no", "yes", "no"} {
			send(t, src, text, at(bob, 1))
		}
		for range 2 {
			text, _ := receive(t, dst)
			require.Equal(t, "yes", text)
		}
		requireSilence(t, dst)
		require.EqualValues(t, 2, n.Stats(alice, bob).Lost)
		checkSum(t, n.Stats(alice, bob))
	})
}

// TestFlightIsBounded floods a long link: memory stays within the bound.
func TestFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: simnet.Link{Delay: time.Hour}}
		src := listen(t, n.Host(alice), ":1")
		listen(t, n.Host(bob), ":1")
		buf := make([]byte, 65507)
		for range 5000 {
			_, err := src.WriteToUDPAddrPort(buf, at(bob, 1))
			require.NoError(t, err)
			time.Sleep(time.Microsecond)
		}
		s := n.Stats(alice, bob)
		require.EqualValues(t, 5000-256<<20/65535, s.TailDropped)
	})
}

// TestZeroAllocations checks that a datagram takes no memory once the network
// has been in use for a while.
func TestZeroAllocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Link: link(t, "rate=100mbit,delay=10ms,jitter=1ms,dup=5%,loss=5%")}
		dst, src := listen(t, n.Host(bob), ":1"), listen(t, n.Host(alice), ":1")
		buf, to := make([]byte, 1200), at(bob, 1)
		step := func() {
			if _, err := src.WriteToUDPAddrPort(buf, to); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Microsecond)
			dst.SetReadDeadline(time.Now().Add(time.Nanosecond))
			for {
				if _, _, err := dst.ReadFromUDPAddrPort(buf); err != nil {
					break
				}
				dst.SetReadDeadline(time.Now().Add(100 * time.Microsecond))
			}
		}
		for range 2000 {
			step()
		}
		// The error at the end of each round is all that takes memory: an
		// OpError, its address and the address's bytes.
		require.LessOrEqual(t, testing.AllocsPerRun(1000, step), 3.0)
	})
}

// TestRunsAreIdentical runs a busy network twice, with datagrams and streams
// between many hosts, on bad links, several goroutines acting in the same
// instant, and compares every event, its time included.
func TestRunsAreIdentical(t *testing.T) {
	first, packets := busy(t, 1)
	for range 3 {
		again, _ := busy(t, 1)
		require.Equal(t, first, again)
	}
	other, _ := busy(t, 2)
	require.NotEqual(t, first, other, "the seed matters")
	require.Greater(t, packets, 10_000)
}

// busy returns a hash of all that happened, and how many packets were sent.
func busy(t *testing.T, seed uint64) (string, int) {
	const hosts = 20
	hash, packets := sha256.New(), 0
	var digest string
	synctest.Test(t, func(t *testing.T) {
		note := func(what string) func(simnet.Packet) {
			return func(p simnet.Packet) {
				packets++
				fmt.Fprintln(hash, what, p.Time.UnixNano(), p.From, p.To, p.Protocol, p.Size, p.Flags, p.Seq, p.Ack)
				hash.Write(p.Data)
			}
		}
		n := &simnet.Network{
			Seed: seed,
			Link: link(t, "rate=20mbit,delay=10ms,jitter=2ms,loss=5%,burst=3,dup=2%,reorder=2%,queue=30kb"),
			Trace: &simnet.Trace{
				Sent: note("sent"), Delivered: note("delivered"),
				Dropped: func(p simnet.Packet, why simnet.Drop) { note(string(why))(p) },
			},
		}
		addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 1)}) }
		var servers, g sync.WaitGroup
		for i := range hosts {
			h := n.Host(addr(i))
			echo := listen(t, h, ":7")
			servers.Go(func() {
				buf := make([]byte, 2000)
				for {
					k, from, err := echo.ReadFromUDPAddrPort(buf)
					if err != nil {
						return
					}
					echo.WriteToUDPAddrPort(buf[:k], from)
				}
			})
			l, err := h.Listen("tcp", ":7")
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
			for k := range 3 { // three goroutines of each host start in one instant
				from, err := n.Host(addr(i)).ListenPacket("udp", fmt.Sprintf(":%d", 1000+k))
				require.NoError(t, err)
				g.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(i), uint64(k)))
					buf := make([]byte, 1000)
					for j := range 30 {
						binary.BigEndian.PutUint32(buf, uint32(j))
						from.WriteToUDPAddrPort(buf[:4+rng.IntN(900)], at(addr(rng.IntN(hosts)), 7))
						from.SetReadDeadline(time.Now().Add(40 * time.Millisecond))
						from.ReadFromUDPAddrPort(buf)
					}
					from.Close()
				})
			}
			g.Go(func() {
				c, err := n.Host(addr(i)).Dial("tcp", netip.AddrPortFrom(addr((i+1)%hosts), 7).String())
				require.NoError(t, err)
				var w sync.WaitGroup
				w.Go(func() {
					c.Write(make([]byte, 50_000))
					c.(*simnet.Conn).CloseWrite()
				})
				k, err := io.Copy(io.Discard, c)
				require.NoError(t, err)
				require.EqualValues(t, 50_000, k)
				w.Wait()
				c.Close()
			})
		}
		g.Wait()
		time.Sleep(5 * time.Second)
		for i := range hosts {
			for j := range hosts {
				checkSum(t, n.Stats(addr(i), addr(j)))
			}
		}
		n.Close()
		servers.Wait()
		digest = hex.EncodeToString(hash.Sum(nil))
	})
	return digest, packets
}

// TestLinksHaveTheirOwnDice shows that traffic elsewhere does not change what
// a link does.
func TestLinksHaveTheirOwnDice(t *testing.T) {
	fates := func(elsewhere bool) (got []string) {
		synctest.Test(t, func(t *testing.T) {
			n := &simnet.Network{Seed: 5, Link: link(t, "loss=30%,jitter=10ms")}
			a, b, c := listen(t, n.Host(alice), ":1"), listen(t, n.Host(bob), ":1"), listen(t, n.Host(carol), ":1")
			for i := range 100 {
				if elsewhere {
					send(t, a, "x", at(carol, 1))
					send(t, c, "x", at(bob, 2))
					send(t, b, "x", at(alice, 2))
				}
				send(t, a, fmt.Sprint(i), at(bob, 1))
			}
			start := time.Now()
			for {
				b.SetReadDeadline(start.Add(time.Second))
				buf := make([]byte, 10)
				k, _, err := b.ReadFrom(buf)
				if err != nil {
					return
				}
				got = append(got, fmt.Sprint(string(buf[:k]), time.Since(start).Round(time.Microsecond)))
			}
		})
		return got
	}
	quiet := fates(false)
	require.Equal(t, quiet, fates(true))
	require.InDelta(t, 70, len(quiet), 15)
}
