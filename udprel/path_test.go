package udprel_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

const mbit = 1_000_000

// simulate runs f on virtual time with two ends on a network.
func simulate(t *testing.T, n *simnet.Network, ca, cb *udprel.Config, f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, n, ca, cb)
		defer p.close()
		f(t, p)
	})
}

// TestGoals checks the figures that the package promises on a path of 100 Mbit/s
// and 20 ms with a queue of one product of the two.
func TestGoals(t *testing.T) {
	base := simnet.Link{Rate: 100 * mbit, Queue: 250_000, Delay: 10 * time.Millisecond}
	for _, test := range []struct {
		name string
		link simnet.Link
		want float64 // of rate * (1 - loss)
	}{
		{"clean", base, 0.92},
		{"loss 1%", simnet.Link{Loss: 0.01}, 0.92},
		{"loss 5%", simnet.Link{Loss: 0.05}, 0.88},
		{"loss 10%", simnet.Link{Loss: 0.10}, 0.78},
		{"reordering", simnet.Link{Reorder: 0.05, ReorderBy: 5 * time.Millisecond, Duplicate: 0.02}, 0.92},
	} {
		t.Run(test.name, func(t *testing.T) {
			link := test.link
			link.Rate, link.Queue, link.Delay = base.Rate, base.Queue, base.Delay
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				p := newPair(t, &simnet.Network{Seed: 1, Link: link}, nil, nil)
				defer p.close()
				data := pattern(32 << 20)
				p.transfer(t, data)
				goodput := float64(len(data)) * 8 / time.Since(start).Seconds()
				s := p.net.Stats(hostA, hostB)
				share := goodput / (float64(link.Rate) * (1 - link.Loss))
				wire := float64(s.Bytes) / float64(len(data))
				queue := s.QueueDelay / time.Duration(s.Packets)
				t.Logf("%.1f%% of the limit, %.3f bytes on the wire per byte, queue %v", share*100, wire, queue)
				assert.Greater(t, share, test.want)
				assert.Less(t, wire, 1.06+link.Loss/(1-link.Loss))
				assert.Less(t, queue, 10*time.Millisecond)
				assert.Less(t, float64(s.TailDropped), 0.02*float64(s.Packets))
			})
		})
	}
}

// TestPaths moves data over paths that are bad in many ways. It must arrive.
func TestPaths(t *testing.T) {
	ms := time.Millisecond
	both := func(l simnet.Link) [2]simnet.Link { return [2]simnet.Link{l, l} }
	base := simnet.Link{Rate: 50 * mbit, Delay: 10 * ms}
	with := func(f func(*simnet.Link)) simnet.Link { l := base; f(&l); return l }
	for _, test := range []struct {
		name  string
		links [2]simnet.Link // to the server, and back
		size  int
		limit time.Duration // of virtual time, far above what it takes
	}{
		{"perfect", both(simnet.Link{}), 8 << 20, 20 * time.Second},
		{"loss in bursts", both(with(func(l *simnet.Link) { l.Loss, l.Burst = 0.1, 10 })), 4 << 20, 10 * time.Second},
		{"heavy loss", both(with(func(l *simnet.Link) { l.Loss = 0.4 })), 1 << 20, 60 * time.Second},
		{"loss of acknowledgements", [2]simnet.Link{base, with(func(l *simnet.Link) { l.Loss = 0.5 })}, 4 << 20, 10 * time.Second},
		{"reordering", both(with(func(l *simnet.Link) { l.Reorder, l.ReorderBy = 0.2, 15*ms })), 4 << 20, 10 * time.Second},
		{"jitter", both(with(func(l *simnet.Link) { l.Jitter = 20 * ms })), 4 << 20, 20 * time.Second},
		{"duplicates", both(with(func(l *simnet.Link) { l.Duplicate = 0.3 })), 4 << 20, 10 * time.Second},
		{"far, shallow queue", both(simnet.Link{Rate: 50 * mbit, Delay: 100 * ms, Queue: 25_000}), 8 << 20, 30 * time.Second},
		{"far, bloated queue", both(simnet.Link{Rate: 10 * mbit, Delay: 100 * ms, Queue: 5_000_000}), 4 << 20, 30 * time.Second},
		{"thin return path", [2]simnet.Link{base, {Rate: mbit / 10, Delay: 10 * ms}}, 4 << 20, 60 * time.Second},
		{"modem", both(simnet.Link{Rate: 56_000, Delay: 60 * ms, Loss: 0.02}), 64 << 10, 120 * time.Second},
		{"small MTU", both(with(func(l *simnet.Link) { l.MTU = 576 })), 1 << 20, 30 * time.Second},
		{"odd MTU", both(with(func(l *simnet.Link) { l.MTU = 1411 })), 4 << 20, 20 * time.Second},
		{"everything", both(simnet.Link{Rate: 20 * mbit, Delay: 30 * ms, Jitter: 5 * ms, Loss: 0.05, Burst: 4, Reorder: 0.05, Duplicate: 0.05}), 4 << 20, 60 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &simnet.Network{Seed: 7}
				n.SetLink(hostA, hostB, test.links[0])
				n.SetLink(hostB, hostA, test.links[1])
				p := newPair(t, n, nil, nil)
				defer p.close()
				took := p.transfer(t, pattern(test.size))
				s := p.client.Stats()
				t.Logf("%v, lost %d, spurious %d, timeouts %d, MTU %d", took, s.PacketsLost, s.Spurious, s.Timeouts, s.MTU)
				assert.Less(t, took, test.limit)
				require.NoError(t, p.client.Close())
			})
		})
	}
}

// TestSpuriousRepairs: on a path that reorders, hardly anything is sent twice.
func TestSpuriousRepairs(t *testing.T) {
	link := simnet.Link{Rate: 50 * mbit, Delay: 10 * time.Millisecond, Reorder: 0.2, ReorderBy: 8 * time.Millisecond}
	simulate(t, &simnet.Network{Seed: 3, Link: link}, nil, nil, func(t *testing.T, p *pair) {
		p.transfer(t, pattern(8<<20))
		s := p.client.Stats()
		assert.Less(t, s.PacketsLost, s.PacketsSent/50, "of %d packets", s.PacketsSent)
		assert.Equal(t, s.PacketsLost, s.Spurious, "the path loses nothing but what overflows")
	})
}

// TestLostAcks: half of the acknowledgements are lost, none of the data. The
// ranges in the others tell what they told.
func TestLostAcks(t *testing.T) {
	n := &simnet.Network{Seed: 3, Link: simnet.Link{Rate: 50 * mbit, Delay: 10 * time.Millisecond}}
	simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
		p.accept(t)
		lossy := n.Link
		lossy.Loss = 0.5
		n.SetLink(hostB, hostA, lossy)
		p.transfer(t, pattern(8<<20))
		assert.Less(t, p.client.Stats().PacketsLost, uint64(20))
	})
}

// TestOutage cuts the path for a while in the midst of a transfer.
func TestOutage(t *testing.T) {
	for _, long := range []time.Duration{300 * time.Millisecond, 10 * time.Second, time.Minute} {
		t.Run(long.String(), func(t *testing.T) {
			n := &simnet.Network{Seed: 3, Link: simnet.Link{Rate: 50 * mbit, Delay: 10 * time.Millisecond}}
			simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
				cut := time.AfterFunc(500*time.Millisecond, func() { n.Partition([]netip.Addr{hostA}) })
				mend := time.AfterFunc(500*time.Millisecond+long, n.Heal)
				defer cut.Stop()
				defer mend.Stop()
				if long < 30*time.Second {
					took := p.transfer(t, pattern(8<<20))
					assert.Less(t, took, long+4*time.Second)
					return
				}
				// Longer than IdleTimeout: both ends say so.
				p.accept(t)
				_, err := p.client.Write(pattern(8 << 20))
				if err == nil {
					_, err = p.client.Read(make([]byte, 1))
				}
				require.ErrorIs(t, err, udprel.ErrTimeout)
				require.ErrorIs(t, err, net.ErrClosed)
				var timeout net.Error
				require.ErrorAs(t, err, &timeout)
				require.True(t, timeout.Timeout())
			})
		})
	}
}

// TestSlowReader: the window stops the writer, however fast the path is.
func TestSlowReader(t *testing.T) {
	cfg := &udprel.Config{ReceiveBuffer: 100_000, SendBuffer: 50_000}
	n := &simnet.Network{Link: simnet.Link{Rate: 50 * mbit, Delay: 10 * time.Millisecond, Loss: 0.02}}
	simulate(t, n, cfg, cfg, func(t *testing.T, p *pair) {
		p.accept(t)
		data := pattern(1 << 20)
		errs := make(chan error, 1)
		go func() {
			_, err := p.client.Write(data)
			errs <- err
		}()
		buf := make([]byte, 10_000)
		for off := 0; off < len(data); {
			time.Sleep(200 * time.Millisecond) // virtual
			s := p.server.Stats()
			require.LessOrEqual(t, s.StreamReceived, uint64(off+100_000))
			k, err := p.server.Read(buf)
			require.NoError(t, err)
			require.Equal(t, data[off:off+k], buf[:k])
			off += k
		}
		require.NoError(t, <-errs)
		// It went on for twenty seconds of virtual time, as fast as the reader.
	})
}

// TestMTU: packets grow to what the path carries, and shrink if it carries less
// than it did.
func TestMTU(t *testing.T) {
	for _, test := range []struct{ mtu, least, most int }{
		{0, 1472, 1472},
		{1500, 1472, 1472},
		{1411, 1411 - 28 - 32, 1411 - 28},
		{1228, 1200, 1200},
		{1000, 972 - 32, 972},
		{576, 548, 548},
	} {
		t.Run(fmt.Sprint(test.mtu), func(t *testing.T) {
			link := simnet.Link{Rate: 20 * mbit, Delay: 5 * time.Millisecond, MTU: test.mtu}
			n := &simnet.Network{Seed: 1, Link: link}
			simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
				p.transfer(t, pattern(2<<20))
				s := p.client.Stats()
				assert.GreaterOrEqual(t, s.MTU, test.least)
				assert.LessOrEqual(t, s.MTU, test.most)
			})
		})
	}
	t.Run("shrinks", func(t *testing.T) {
		link := simnet.Link{Rate: 20 * mbit, Delay: 5 * time.Millisecond}
		n := &simnet.Network{Seed: 1, Link: link}
		simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
			shrink := time.AfterFunc(time.Second, func() {
				small := link
				small.MTU = 700
				n.SetLink(hostA, hostB, small)
			})
			defer shrink.Stop()
			p.transfer(t, pattern(6<<20))
			assert.LessOrEqual(t, p.client.Stats().MTU, 700-28)
		})
	})
	t.Run("own interface", func(t *testing.T) {
		n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: 5 * time.Millisecond}}
		n.Host(hostA).SetMTU(1300)
		simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
			p.transfer(t, pattern(1<<20))
			assert.InDelta(t, 1300-28, p.client.Stats().MTU, 32)
			assert.Zero(t, p.client.Stats().Timeouts)
		})
	})
}

// TestMigration: the address of the client changes, as behind a NAT that forgets.
func TestMigration(t *testing.T) {
	for _, to := range []string{"10.0.0.1:4000", "10.0.0.77:4000"} {
		t.Run(to, func(t *testing.T) {
			n := &simnet.Network{Seed: 2, Link: simnet.Link{Rate: 20 * mbit, Delay: 10 * time.Millisecond, Loss: 0.01}}
			simulate(t, n, nil, nil, func(t *testing.T, p *pair) {
				p.accept(t)
				move := time.AfterFunc(500*time.Millisecond, func() {
					_, err := p.sockA.Rebind(netip.MustParseAddrPort(to))
					assert.NoError(t, err)
				})
				defer move.Stop()
				took := p.transfer(t, pattern(4<<20))
				assert.Less(t, took, 6*time.Second)
				assert.Equal(t, to, p.server.RemoteAddr().String())
				assert.EqualValues(t, 1, p.server.Stats().Migrations)
				assert.EqualValues(t, 0, p.client.Stats().Migrations)
			})
		})
	}
}

// TestFairness lets two connections share a bottleneck: what each has after
// twelve seconds.
func TestFairness(t *testing.T) {
	for _, test := range []struct {
		name        string
		other       func() udprel.Controller
		least, most float64
	}{
		{"with its like", udprel.NewModel, 0.4, 0.6},
		{"with CUBIC", udprel.NewCubic, 0.3, 0.7},
	} {
		t.Run(test.name, func(t *testing.T) {
			link := simnet.Link{Rate: 100 * mbit, Queue: 250_000, Delay: 10 * time.Millisecond}
			synctest.Test(t, func(t *testing.T) {
				n := &simnet.Network{Seed: 5, Link: link}
				p := newPair(t, n, nil, nil)
				defer p.close()
				sock, err := n.Host(hostA).ListenPacket("udp", "10.0.0.1:1001")
				require.NoError(t, err)
				e := udprel.NewEndpoint(sock, &udprel.Config{Congestion: test.other})
				defer e.Close()
				ours := p.client
				theirs, err := e.Dial(t.Context(), p.b.Addr())
				require.NoError(t, err)
				for _, c := range []*udprel.Conn{ours, theirs} {
					go func() {
						block := make([]byte, 1<<20)
						for {
							if _, err := c.Write(block); err != nil {
								return
							}
						}
					}()
				}
				for range 2 {
					c, err := p.listener.AcceptConn(t.Context())
					require.NoError(t, err)
					go func() {
						block := make([]byte, 1<<20)
						for {
							if _, err := c.Read(block); err != nil {
								return
							}
						}
					}()
				}
				time.Sleep(12 * time.Second) // virtual
				a, b := float64(ours.Stats().StreamAcked), float64(theirs.Stats().StreamAcked)
				t.Logf("%.1f and %.1f Mbit/s", a*8/12e6, b*8/12e6)
				assert.Greater(t, a/(a+b), test.least)
				assert.Less(t, a/(a+b), test.most)
				assert.Greater(t, (a+b)*8/12, 0.85*100*mbit)
			})
		})
	}
}
