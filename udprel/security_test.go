package udprel_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// hello is a first packet with a client id, as a stranger may write it.
func hello(id uint64, size int) []byte {
	b := make([]byte, 25, 1500)
	b[12] = 1<<4 | 1 // version, type
	b = binary.BigEndian.AppendUint64(b, id)
	b = append(b, make([]byte, 16)...)
	b = binary.AppendUvarint(b, 1<<20)
	b = binary.AppendUvarint(b, 1<<20)
	b = append(b, 0)
	return append(b, make([]byte, max(size-len(b), 0))...)
}

// A tap keeps what passes between two hosts.
type tap struct {
	mu   sync.Mutex
	seen map[[2]netip.Addr][][]byte
}

func (tp *tap) trace() *simnet.Trace {
	return &simnet.Trace{Sent: func(p simnet.Packet) {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		if tp.seen == nil {
			tp.seen = make(map[[2]netip.Addr][][]byte)
		}
		k := [2]netip.Addr{p.From.Addr(), p.To.Addr()}
		tp.seen[k] = append(tp.seen[k], bytes.Clone(p.Data))
	}}
}

func (tp *tap) packets(from, to netip.Addr) [][]byte {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return slices.Clone(tp.seen[[2]netip.Addr{from, to}])
}

// TestSpoofedFlood sends a hundred thousand first packets from addresses that
// are not their sender's. The server keeps nothing of them, and sends no more
// bytes than it got.
func TestSpoofedFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Seed: 1}
		defer n.Close()
		pc, err := n.Host(hostB).ListenPacket("udp", "10.0.0.2:2000")
		require.NoError(t, err)
		e := udprel.NewEndpoint(pc, nil)
		defer e.Close()
		_, err = e.Listen()
		require.NoError(t, err)
		flood, err := n.Host(hostA).ListenPacket("udp", "10.0.0.1:1")
		require.NoError(t, err)
		const count = 100_000
		packet := hello(0, 60)
		burst := func(from, to int) {
			for i := from; i < to; i++ {
				binary.BigEndian.PutUint64(packet[25:], uint64(i))
				_, err := flood.WriteTo(packet, pc.LocalAddr())
				require.NoError(t, err)
				if i%500 == 0 {
					time.Sleep(time.Millisecond) // virtual
				}
			}
			time.Sleep(time.Second)
		}
		memory := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		burst(0, 1000) // lets the network make its packets
		before := memory()
		burst(1000, count)
		assert.Less(t, int64(memory()-before), int64(1<<20))
		in, out := n.Stats(hostA, hostB), n.Stats(hostB, hostA)
		assert.EqualValues(t, count, in.Delivered)
		assert.Less(t, out.Bytes, in.Bytes)
		// Somebody who means it still gets in.
		other, err := n.Host(netip.MustParseAddr("10.0.0.3")).ListenPacket("udp", "10.0.0.3:5")
		require.NoError(t, err)
		client := udprel.NewEndpoint(other, nil)
		defer client.Close()
		_, err = client.Dial(t.Context(), pc.LocalAddr())
		require.NoError(t, err)
	})
}

// TestGarbage sends noise, with and without a good header, in the midst of a
// transfer.
func TestGarbage(t *testing.T) {
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Rate: 20 * mbit, Delay: 10 * time.Millisecond}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		noise, err := n.Host(netip.MustParseAddr("10.0.0.9")).ListenPacket("udp", "10.0.0.9:9")
		require.NoError(t, err)
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			dice := rand.New(rand.NewPCG(1, 2))
			for {
				b := make([]byte, dice.IntN(1400))
				for i := range b {
					b[i] = byte(dice.Uint32())
				}
				if len(b) > 12 && dice.IntN(2) == 0 {
					b[12] = 1<<4 | byte(dice.IntN(7))
				}
				for _, to := range []net.Addr{p.a.Addr(), p.b.Addr()} {
					_, err := noise.WriteTo(b, to)
					assert.NoError(t, err)
				}
				select {
				case <-time.After(time.Millisecond):
				case <-stop:
					return
				}
			}
		}()
		p.transfer(t, pattern(4<<20))
		close(stop)
		<-done
	})
}

// TestReplay sends every packet again, from where it came and from elsewhere,
// while the connection lives and after it. Nothing happens twice, nobody is
// believed to have moved, and no connection comes of it.
func TestReplay(t *testing.T) {
	var tp tap
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Rate: 20 * mbit, Delay: 10 * time.Millisecond}, Trace: tp.trace()}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.transfer(t, pattern(100_000))
		packets := tp.packets(hostA, hostB)
		replay := func(from net.PacketConn) {
			for _, b := range packets {
				_, err := from.WriteTo(b, p.b.Addr())
				require.NoError(t, err)
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Second)
		}
		elsewhere, err := n.Host(netip.MustParseAddr("10.0.0.9")).ListenPacket("udp", "10.0.0.9:9")
		require.NoError(t, err)
		replay(p.sockA)
		replay(elsewhere)
		s := p.server.Stats()
		assert.EqualValues(t, 100_000, s.StreamReceived)
		assert.Zero(t, s.Migrations)
		assert.Greater(t, s.Duplicates, uint64(100))

		require.NoError(t, p.client.Close())
		require.NoError(t, p.server.Close())
		replay(p.sockA)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = p.listener.AcceptConn(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// TestForged: who does not know a connection's id cannot end it.
func TestForged(t *testing.T) {
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: 10 * time.Millisecond}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		attacker, err := n.Host(netip.MustParseAddr("10.0.0.9")).ListenPacket("udp", "10.0.0.9:9")
		require.NoError(t, err)
		reset := make([]byte, 25+16)
		reset[12] = 1<<4 | 5
		closing := make([]byte, 25, 27)
		closing[12] = 1<<4 | 4
		closing = append(closing, 8, 0)
		for i := range 1000 {
			for _, b := range [][]byte{reset, closing} {
				binary.BigEndian.PutUint64(b[13:], uint64(i)*0x9e3779b97f4a7c15)
				binary.BigEndian.PutUint32(b, uint32(i)*7919)
				for _, to := range []net.Addr{p.a.Addr(), p.b.Addr()} {
					_, err := attacker.WriteTo(b, to)
					require.NoError(t, err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		p.transfer(t, pattern(1000))
	})
}

// TestHalfOpen: clients that prove their address and say nothing more fill the
// backlog, not the memory, and time out.
func TestHalfOpen(t *testing.T) {
	var tp tap
	cfg := &udprel.Config{Backlog: 10, HandshakeTimeout: 5 * time.Second}
	synctest.Test(t, func(t *testing.T) {
		n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}, Trace: tp.trace()}
		defer n.Close()
		pc, err := n.Host(hostB).ListenPacket("udp", "10.0.0.2:2000")
		require.NoError(t, err)
		e := udprel.NewEndpoint(pc, cfg)
		defer e.Close()
		l, err := e.Listen()
		require.NoError(t, err)
		attacker, err := n.Host(hostA).ListenPacket("udp", "10.0.0.1:1")
		require.NoError(t, err)
		welcomes := 0
		for id := range uint64(100) {
			_, err := attacker.WriteTo(hello(id, 100), pc.LocalAddr())
			require.NoError(t, err)
			buf := make([]byte, 1500)
			k, err := attacker.Read(buf) // the cookie, or a welcome for an earlier id
			require.NoError(t, err)
			require.EqualValues(t, 1<<4|2, buf[12])
			again := hello(id, 0)[:25+24+6]
			again = append(append(again, byte(k-25)), buf[25:k]...)
			again = append(again, 1) // ping: a sign of life is wanted
			_, err = attacker.WriteTo(again, pc.LocalAddr())
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
			require.NoError(t, attacker.SetReadDeadline(time.Now().Add(time.Microsecond)))
			for {
				k, err := attacker.Read(buf)
				if err != nil {
					break
				}
				if k > 12 && buf[12] == 1<<4|3 {
					welcomes++
				}
			}
			require.NoError(t, attacker.SetReadDeadline(time.Time{}))
		}
		assert.GreaterOrEqual(t, welcomes, 10)
		ids := make(map[uint64]bool)
		for _, b := range tp.packets(hostB, hostA) {
			if b[12] == 1<<4|3 {
				ids[binary.BigEndian.Uint64(b[13:])] = true
			}
		}
		assert.Len(t, ids, 10, "connections that the server began")
		// When they have timed out there is room again.
		time.Sleep(10 * time.Second)
		other, err := n.Host(netip.MustParseAddr("10.0.0.3")).ListenPacket("udp", "10.0.0.3:5")
		require.NoError(t, err)
		client := udprel.NewEndpoint(other, nil)
		defer client.Close()
		_, err = client.Dial(t.Context(), pc.LocalAddr())
		require.NoError(t, err)
		_, err = l.AcceptConn(t.Context())
		require.NoError(t, err)
	})
}
