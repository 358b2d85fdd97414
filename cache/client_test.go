package cache

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

func TestClientOnFakes(t *testing.T) {
	for _, n := range []int{1, 3} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			testClient(t, func(t *testing.T) *Client {
				var addrs []string
				for range n {
					ln, err := net.Listen("tcp", "127.0.0.1:0")
					require.NoError(t, err)
					f := &fakeServer{}
					f.start(ln)
					t.Cleanup(f.stop)
					addrs = append(addrs, ln.Addr().String())
				}
				return slow(t, NewClient(addrs...))
			})
		})
	}
}

// slow gives a client on real sockets the time that a busy machine may take.
func slow(t *testing.T, c *Client) *Client {
	c.Timeout = 30 * time.Second
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClientWithoutServers(t *testing.T) {
	c := NewClient()
	_, err := c.Get(t.Context(), "k")
	require.ErrorContains(t, err, "no servers")
	require.Error(t, c.FlushAll(t.Context()))
	require.Error(t, c.SetMulti(t.Context(), []Item{{Key: "k"}}))
	require.Zero(t, c.Stats())
	require.NoError(t, c.Close())
}

// Expiry, on the fakes' virtual clock.
func TestClientExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakePool(t, 2).newClient()
		ctx := t.Context()
		for i, ttl := range []time.Duration{time.Second, 90 * 24 * time.Hour} {
			key := strconv.Itoa(i)
			require.NoError(t, c.Set(ctx, key, []byte("v"), ttl))
			time.Sleep(ttl - 500*time.Millisecond)
			_, err := c.Get(ctx, key)
			require.NoError(t, err)
			time.Sleep(time.Second)
			_, err = c.Get(ctx, key)
			require.Equal(t, ErrMiss, err)
		}
	})
}

// A server that says nothing holds nobody for longer than Timeout. It is ejected
// when it cannot be dialled, or after two connections on which it was silent; and
// when it answers it is back.
func TestSilence(t *testing.T) {
	for _, accepts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newFakePool(t, 1)
			c := p.newClient()
			var ejected, returned atomic.Int32
			c.Trace = &ClientTrace{
				Ejected:  func(string, error) { ejected.Add(1) },
				Returned: func(string) { returned.Add(1) },
			}
			require.NoError(t, c.Set(t.Context(), "k", []byte("v"), 0))
			if accepts {
				p.stop(0)
				p.servers[0].wrap = func(nc net.Conn) net.Conn { return deaf{nc} }
				p.start(0)
				time.Sleep(time.Second) // the client learns that its connection has ended
			} else {
				p.net.SetLink(p.addr(0), p.client.Addr(), broken)
			}
			for range 2 {
				began := time.Now()
				_, err := c.Get(t.Context(), "k")
				timeout, ok := errors.AsType[net.Error](err)
				require.True(t, ok && timeout.Timeout(), err)
				require.ErrorContains(t, err, `cache: get "k" at 10.0.0.1:11211: `)
				require.InDelta(t, time.Second, time.Since(began), float64(10*time.Millisecond))
			}
			began := time.Now()
			_, err := c.Get(t.Context(), "k")
			require.ErrorIs(t, err, ErrDown)
			require.Zero(t, time.Since(began), "nobody waits for a server that is down")
			synctest.Wait()
			require.EqualValues(t, 1, ejected.Load())
			require.Equal(t, []string{"10.0.0.1:11211"}, c.Stats().Down)

			if accepts {
				p.stop(0)
				p.servers[0].wrap = nil
				p.start(0)
			} else {
				p.net.SetLink(p.addr(0), p.client.Addr(), p.net.Link)
			}
			time.Sleep(2 * probeMax)
			require.EqualValues(t, 1, returned.Load())
			got, err := c.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "v", string(got))
			require.Empty(t, c.Stats().Down)
		})
	}
}

// Hundreds of callers of a server that is not there: one of them in a minute
// makes more dials than all of them together.
func TestNoDialStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 1)
		c := p.newClient()
		p.stop(0)
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				for range 60 {
					_, err := c.Get(t.Context(), "k")
					if !errors.Is(err, ErrDown) && !errors.Is(err, syscall.ECONNREFUSED) {
						t.Errorf("%v", err)
					}
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, c.Stats().Dials, uint64(18))
		p.start(0)
		time.Sleep(probeMax + time.Second)
		require.NoError(t, c.Set(t.Context(), "k", nil, 0), "it comes back although nobody asked")
	})
}

// A server that takes every connection and closes it at once is no server.
func TestClosedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 1)
		p.servers[0].wrap = func(nc net.Conn) net.Conn {
			io.WriteString(nc, "ERROR Too many open connections\r\n")
			nc.Close()
			return nc
		}
		c := p.newClient()
		var err error
		for range 100 {
			_, err = c.Get(t.Context(), "k")
			require.Error(t, err)
		}
		require.ErrorIs(t, err, ErrDown)
		require.LessOrEqual(t, c.Stats().Dials, uint64(3))
	})
}

// A server that ends idle connections, and one that starts anew, cost nobody an error.
func TestServerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 1)
		c := p.newClient()
		for i := range 5 {
			require.NoError(t, c.Set(t.Context(), "k", nil, 0))
			p.stop(0)
			time.Sleep(time.Second)
			require.Zero(t, c.Stats().Conns)
			p.start(0)
			require.EqualValues(t, i+1, c.Stats().Dials)
		}
		require.Empty(t, c.Stats().Down)
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 2)
		c := p.newClient()
		c.IdleTimeout = 10 * time.Second
		a, b := keyOf(t, c, 0, 0), keyOf(t, c, 1, 0)
		require.NoError(t, c.Set(t.Context(), b, nil, 0))
		for range 20 {
			require.NoError(t, c.Set(t.Context(), a, nil, 0))
			time.Sleep(9 * time.Second)
		}
		require.Equal(t, 1, c.Stats().Conns, "that of b is closed")
		time.Sleep(2 * time.Second)
		require.Zero(t, c.Stats().Conns)
		require.EqualValues(t, 2, c.Stats().Dials)
		require.NoError(t, c.Set(t.Context(), a, nil, 0))
		require.Empty(t, c.Stats().Down)
	})
}

// A caller who does not wait does not cost the others their connection, and
// nobody gets the answer that was meant for that one.
func TestCallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 2)
		p.net.Link.Delay = 20 * time.Millisecond
		c := p.newClient()
		for i := range 50 {
			key := strconv.Itoa(i)
			require.NoError(t, c.Set(t.Context(), key, []byte("value of "+key), 0))
		}
		dials := c.Stats().Dials
		var left, stayed atomic.Int32
		var wg sync.WaitGroup
		for g := range 50 {
			dice := rand.New(rand.NewPCG(1, uint64(g)))
			wg.Go(func() {
				for range 40 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(dice.IntN(80))*time.Millisecond)
					key, other := strconv.Itoa(dice.IntN(50)), strconv.Itoa(dice.IntN(50))
					var got []byte
					var err error
					if dice.IntN(2) == 0 {
						got, err = c.Get(ctx, key)
					} else {
						var all map[string][]byte
						if all, err = c.GetMulti(ctx, []string{other, key, "none"}); err == nil {
							got = all[key]
						}
					}
					cancel()
					switch {
					case errors.Is(err, context.DeadlineExceeded):
						left.Add(1)
					case err != nil || string(got) != "value of "+key:
						t.Errorf("%s: %q, %v", key, got, err)
					default:
						stayed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		require.Greater(t, left.Load(), int32(100))
		require.Greater(t, stayed.Load(), int32(100))
		require.LessOrEqual(t, c.Stats().Dials, dials+2, "second connections, and none in the place of another")
	})
}

func TestCancelledBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakePool(t, 1).newClient()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no more")
		cancel(why)
		_, err := c.Get(ctx, "k")
		require.ErrorIs(t, err, why)
		_, err = c.GetMulti(ctx, []string{"k"})
		require.ErrorIs(t, err, why)
		require.Zero(t, c.Stats().Dials)
	})
}

// Close ends those who wait, at once, and while a dial is under way.
func TestCloseEndsWaiting(t *testing.T) {
	for _, dialled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newFakePool(t, 1)
			c := p.newClient()
			c.Timeout = -1
			if dialled {
				require.NoError(t, c.Set(t.Context(), "k", nil, 0))
			}
			p.net.SetLink(p.client.Addr(), p.addr(0), broken)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if _, err := c.Get(t.Context(), "k"); !errors.Is(err, net.ErrClosed) {
						t.Errorf("%v", err)
					}
				})
			}
			synctest.Wait()
			began := time.Now()
			require.NoError(t, c.Close())
			wg.Wait()
			require.Zero(t, time.Since(began))
		})
	}
}

// A server that does not read: callers wait, and what waits is bounded.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 1)
		p.servers[0].wrap = func(nc net.Conn) net.Conn { return deaf{nc} }
		c := p.newClient()
		require.NoError(t, c.init())
		value := make([]byte, 300<<10)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				if err := c.Set(t.Context(), "k", value, 0); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, ErrDown) {
					t.Errorf("%v", err)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		queued := 0
		n := c.nodes[0]
		n.mu.Lock()
		require.Len(t, n.pipes, 2)
		for _, pipe := range n.pipes {
			pipe.mu.Lock()
			queued += len(pipe.queue)
			require.LessOrEqual(t, len(pipe.out), maxQueued+len(value)+100)
			pipe.mu.Unlock()
		}
		n.mu.Unlock()
		require.Less(t, queued, 10, "the others wait without a copy of their value")
		began := time.Now()
		wg.Wait()
		require.Less(t, time.Since(began), 10*time.Second)
	})
}

// broken is a link on which nothing passes.
var broken = simnet.Link{Down: true}

// deaf is a connection whose server reads nothing for a minute.
type deaf struct{ net.Conn }

func (d deaf) Read([]byte) (int, error) {
	time.Sleep(time.Minute)
	return 0, io.EOF
}

// A request that the server takes for nonsense costs a connection, since the
// server may be at another place in the stream, but not the server; and it is
// not the others' mistake.
func TestNonsenseIsNotContagious(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 1)
		nonsense := false
		p.servers[0].wrap = func(nc net.Conn) net.Conn { return grumpy{nc, &nonsense} }
		c := p.newClient()
		require.NoError(t, c.Set(t.Context(), "k", []byte("v"), 0))
		for range 3 {
			nonsense = true
			var replies, others atomic.Int32
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					_, err := c.Get(t.Context(), "k")
					if _, ok := errors.AsType[*ReplyError](err); ok {
						replies.Add(1)
					} else if err != nil {
						others.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, replies.Load())
			require.EqualValues(t, 4, others.Load())
			nonsense = false
			got, err := c.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "v", string(got))
		}
		require.EqualValues(t, 4, c.Stats().Dials)
	})
}

// grumpy is the connection of a server that answers with an error if on is set.
type grumpy struct {
	net.Conn
	on *bool
}

func (g grumpy) Write(b []byte) (int, error) {
	if *g.on {
		_, err := io.WriteString(g.Conn, "CLIENT_ERROR bad command line format\r\n")
		return len(b), err
	}
	return g.Conn.Write(b)
}
