package udprel_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

func lossy() *simnet.Network {
	return &simnet.Network{Seed: 11, Link: simnet.Link{Rate: 20 * mbit, Delay: 10 * time.Millisecond, Loss: 0.1}}
}

// TestCloseDelivers: Close waits for what was written, and the peer reads it all.
func TestCloseDelivers(t *testing.T) {
	simulate(t, lossy(), nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		data := pattern(1 << 20)
		_, err := p.client.Write(data)
		require.NoError(t, err)
		require.NoError(t, p.client.Close())
		require.NoError(t, p.client.Close(), "a second time")
		got, err := io.ReadAll(p.server)
		require.NoError(t, err)
		require.Equal(t, data, got)
		_, err = p.server.Write([]byte("hello?"))
		require.ErrorIs(t, err, udprel.ErrPeerClosed)
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// TestHalfClose: CloseWrite ends one direction only.
func TestHalfClose(t *testing.T) {
	simulate(t, lossy(), nil, nil, func(t *testing.T, p *pair) {
		go func() {
			p.client.Write([]byte("question"))
			p.client.CloseWrite()
		}()
		p.accept(t)
		got, err := io.ReadAll(p.server)
		require.NoError(t, err)
		require.Equal(t, "question", string(got))
		_, err = p.server.Write([]byte("answer"))
		require.NoError(t, err)
		require.NoError(t, p.server.Close())
		got, err = io.ReadAll(p.client)
		require.NoError(t, err)
		require.Equal(t, "answer", string(got))
		_, err = p.client.Write([]byte("more"))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// TestLinger: Close does not wait for ever for a peer who does not read.
func TestLinger(t *testing.T) {
	cfg := &udprel.Config{ReceiveBuffer: 64 << 10, Linger: 2 * time.Second}
	simulate(t, lossy(), cfg, cfg, func(t *testing.T, p *pair) {
		p.accept(t)
		_, err := p.client.Write(pattern(1 << 20))
		require.NoError(t, err)
		start := time.Now()
		err = p.client.Close()
		require.ErrorIs(t, err, udprel.ErrUndelivered)
		assert.InDelta(t, 2.0, time.Since(start).Seconds(), 1)
		_, err = io.ReadAll(p.server)
		require.ErrorIs(t, err, udprel.ErrAborted)
	})
}

// TestAbort: Abort returns at once, and both ends know.
func TestAbort(t *testing.T) {
	simulate(t, lossy(), nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		reading := make(chan error, 1)
		go func() {
			_, err := p.client.Read(make([]byte, 1))
			reading <- err
		}()
		synctest.Wait()
		start := time.Now()
		p.client.Abort()
		assert.Equal(t, start, time.Now())
		require.ErrorIs(t, <-reading, net.ErrClosed)
		_, err := p.server.Read(make([]byte, 1))
		require.ErrorIs(t, err, udprel.ErrAborted)
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// TestForgotten: a peer that has lost the connection says so.
func TestForgotten(t *testing.T) {
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		n.Partition([]netip.Addr{hostA})
		p.server.Abort()
		time.Sleep(5 * time.Second) // the server gives up telling
		n.Heal()
		_, err := p.client.Write([]byte("are you there? here is something to read"))
		require.NoError(t, err)
		start := time.Now()
		_, err = p.client.Read(make([]byte, 1))
		require.ErrorIs(t, err, udprel.ErrReset)
		assert.Less(t, time.Since(start), time.Second)
	})
}

// TestKeepAlive: an idle connection stays, unless keep-alive is off.
func TestKeepAlive(t *testing.T) {
	for _, on := range []bool{true, false} {
		cfg := &udprel.Config{IdleTimeout: 10 * time.Second}
		if !on {
			cfg.KeepAlive = -1
		}
		simulate(t, lossy(), cfg, cfg, func(t *testing.T, p *pair) {
			p.accept(t)
			time.Sleep(time.Hour)
			_, err := p.client.Write([]byte("x"))
			if on {
				require.NoError(t, err)
				_, err = io.ReadFull(p.server, make([]byte, 1))
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, udprel.ErrTimeout)
			}
		})
	}
}

// TestNobody: a dial without an answer fails in time, and with its context.
func TestNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Seed: 1}
		defer n.Close()
		pc, err := n.Host(hostA).ListenPacket("udp", "10.0.0.1:1")
		require.NoError(t, err)
		e := udprel.NewEndpoint(pc, &udprel.Config{HandshakeTimeout: 3 * time.Second})
		defer e.Close()
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.2:2"))
		start := time.Now()
		_, err = e.Dial(t.Context(), to)
		require.ErrorIs(t, err, udprel.ErrHandshake)
		require.ErrorIs(t, err, net.ErrClosed)
		assert.Equal(t, 3*time.Second, time.Since(start))

		cause := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		_, err = e.Dial(ctx, to)
		require.ErrorIs(t, err, cause)
		_, err = e.Dial(ctx, to)
		require.ErrorIs(t, err, cause, "a context that has ended")
		_, err = e.Dial(t.Context(), &net.TCPAddr{})
		require.Error(t, err)
	})
}

// TestBacklog: a listener that accepts nobody lets Backlog connections wait.
func TestBacklog(t *testing.T) {
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}}
	simulate(t, n, &udprel.Config{HandshakeTimeout: 2 * time.Second}, &udprel.Config{Backlog: 2}, func(t *testing.T, p *pair) {
		_, err := p.a.Dial(t.Context(), p.b.Addr())
		require.NoError(t, err)
		third, err := p.a.Dial(t.Context(), p.b.Addr())
		require.NoError(t, err, "the cookie has come")
		_, err = third.Read(make([]byte, 1))
		require.ErrorIs(t, err, udprel.ErrHandshake)
		p.accept(t)
		fourth, err := p.a.Dial(t.Context(), p.b.Addr())
		require.NoError(t, err)
		_, err = fourth.Write([]byte("x"))
		require.NoError(t, err)
		require.NoError(t, fourth.CloseWrite())
		_, err = p.listener.AcceptConn(t.Context())
		require.NoError(t, err)
		c, err := p.listener.AcceptConn(t.Context())
		require.NoError(t, err)
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "x", string(got))
	})
}

// TestListenerClose: connections that were accepted outlive their listener,
// others are aborted, and the socket goes with the last.
func TestListenerClose(t *testing.T) {
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		unaccepted, err := p.a.Dial(t.Context(), p.b.Addr())
		require.NoError(t, err)
		accepting := make(chan error, 1)
		time.Sleep(time.Second)
		require.NoError(t, p.listener.Close())
		go func() {
			_, err := p.listener.Accept()
			accepting <- err
		}()
		require.ErrorIs(t, <-accepting, net.ErrClosed)
		_, err = unaccepted.Read(make([]byte, 1))
		require.ErrorIs(t, err, udprel.ErrAborted)
		p.transfer(t, pattern(10_000))
	})
}

// TestSocketGoes: what Listen and Dial opened is closed with what they returned.
func TestSocketGoes(t *testing.T) {
	l, err := udprel.Listen("udp", "127.0.0.1:0", nil)
	require.NoError(t, err)
	client, err := udprel.Dial(t.Context(), "udp", l.Addr().String(), nil)
	require.NoError(t, err)
	server, err := l.AcceptConn(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.NoError(t, client.Close())
	for _, c := range []*udprel.Conn{client, server} {
		require.NoError(t, c.Close())
		again, err := net.ListenPacket("udp", c.LocalAddr().String())
		require.NoError(t, err, "the port is free")
		require.NoError(t, again.Close())
	}
}

// TestEndpointClose: everything ends, and every call says so.
func TestEndpointClose(t *testing.T) {
	simulate(t, lossy(), nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		require.NoError(t, p.a.Close())
		require.NoError(t, p.a.Close())
		ctx := t.Context()
		for _, f := range []func() error{
			func() error { _, err := p.client.Read(make([]byte, 1)); return err },
			func() error { _, err := p.client.Write(make([]byte, 1)); return err },
			func() error { _, err := p.client.Receive(ctx); return err },
			func() error { return p.client.Send(ctx, nil, udprel.Delivery{}) },
			func() error { return p.client.CloseWrite() },
			func() error { return p.client.SetDeadline(time.Now()) },
			func() error { _, err := p.a.Dial(ctx, p.b.Addr()); return err },
			func() error { _, err := p.a.Listen(); return err },
		} {
			require.ErrorIs(t, f(), net.ErrClosed)
		}
		require.NoError(t, p.client.Close())
		_, err := p.server.Read(make([]byte, 1))
		require.ErrorIs(t, err, udprel.ErrAborted)
	})
}

// TestDeadlines looks at those that nettest does not know.
func TestDeadlines(t *testing.T) {
	cfg := &udprel.Config{SendBuffer: 64 << 10}
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}}
	simulate(t, n, cfg, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		start := time.Now()
		require.NoError(t, p.client.SetReadDeadline(start.Add(time.Second)))
		_, err := p.client.Receive(t.Context())
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NotErrorIs(t, err, net.ErrClosed)
		assert.Equal(t, time.Second, time.Since(start))

		n.Partition([]netip.Addr{hostA})
		require.NoError(t, p.client.SetWriteDeadline(time.Now().Add(time.Second)))
		k, err := p.client.Write(pattern(1 << 20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 64<<10, k)
		require.NoError(t, p.client.SetWriteDeadline(time.Time{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for err = nil; err == nil; {
			err = p.client.Send(ctx, make([]byte, 1000), udprel.Delivery{})
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
