package cache

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// failover is a pool of three with a client that lets others stand in.
func failover(t *testing.T) (*fakePool, *Client) {
	p := newFakePool(t, 3)
	c := p.newClient()
	c.Failover = 10 * time.Second
	return p, c
}

// lose makes a server unreachable until back is called, which returns when the
// client uses it again. Its items stay.
func (p *fakePool) lose(c *Client, i int) (back func()) {
	here, there := p.client.Addr(), p.addr(i)
	p.net.SetLink(here, there, broken)
	key := keyOf(p.t, c, i, 1000)
	for len(c.Stats().Down) == 0 || c.view.Load().up[i] {
		_, err := c.Get(p.t.Context(), key)
		require.Error(p.t, err)
		synctest.Wait()
	}
	return func() {
		p.net.SetLink(here, there, p.net.Link)
		time.Sleep(2 * probeMax)
		require.True(p.t, c.view.Load().up[i])
	}
}

func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := failover(t)
		ctx := t.Context()
		var lost, others []string
		for i := range 60 {
			lost = append(lost, keyOf(t, c, 1, i))
			others = append(others, keyOf(t, c, 2*(i%2), i))
		}
		for _, k := range append(lost, others...) {
			require.NoError(t, c.Set(ctx, k, []byte("old"), 0))
		}
		back := p.lose(c, 1)

		// The keys of the others have not moved; those of the lost one are spread over
		// them, as misses at first.
		for _, k := range others {
			got, err := c.Get(ctx, k)
			require.NoError(t, err)
			require.Equal(t, "old", string(got))
		}
		for _, k := range lost {
			_, err := c.Get(ctx, k)
			require.Equal(t, ErrMiss, err)
		}
		var items []Item
		for i, k := range lost {
			items = append(items, Item{Key: k, Value: []byte("new"), TTL: time.Duration(i) * time.Second})
		}
		require.NoError(t, c.SetMulti(ctx, items))
		require.NoError(t, c.Touch(ctx, lost[0], time.Hour))
		for _, i := range []int{0, 2} {
			n := 0
			for _, k := range lost {
				if p.servers[i].has(k) == "new" {
					n++
				}
			}
			require.Greater(t, n, 10, "both stand in")
		}
		for i, k := range lost[:40] {
			item, err := c.GetItem(ctx, k)
			require.NoError(t, err)
			require.Equal(t, "new", string(item.Value))
			require.NotZero(t, item.TTL)
			require.LessOrEqual(t, item.TTL, c.Failover, "%d s were asked for", i)
		}

		back()
		require.Equal(t, 1, p.servers[1].flushes)
		for _, k := range lost {
			_, err := c.Get(ctx, k)
			require.Equal(t, ErrMiss, err, "neither the old value nor a stand-in's")
		}
		for _, k := range others {
			require.Equal(t, "old", p.servers[c.pick(k)].has(k))
		}
	})
}

// A server for which nobody wrote anything elsewhere keeps what it has.
func TestReturnWithoutFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := failover(t)
		key := keyOf(t, c, 0, 0)
		require.NoError(t, c.Set(t.Context(), key, []byte("v"), 0))
		back := p.lose(c, 0)
		require.NoError(t, c.Set(t.Context(), keyOf(t, c, 1, 0), nil, 0))
		back()
		got, err := c.Get(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, "v", string(got))
		require.Zero(t, p.servers[0].flushes)
	})
}

// Somebody writes at a stand-in just when the server is being asked whether it
// is back: it must not come back with what it has.
func TestWriteDuringReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := failover(t)
		ctx := t.Context()
		key := keyOf(t, c, 0, 0)
		back := make(chan struct{}, 100)
		c.Trace = &ClientTrace{Dialed: func(addr string, err error) {
			if addr == c.nodes[0].address && err == nil {
				p.net.SetLink(p.client.Addr(), p.addr(0), simnet.Link{Delay: 300 * time.Millisecond})
				back <- struct{}{}
			}
		}}
		require.NoError(t, c.Set(ctx, key, []byte("old"), 0))
		p.lose(c, 0)
		for len(back) > 0 {
			<-back
		}
		p.net.SetLink(p.client.Addr(), p.addr(0), p.net.Link)
		<-back
		time.Sleep(100 * time.Millisecond)
		require.False(t, c.view.Load().up[0], "or this test shows nothing")
		require.NoError(t, c.Set(ctx, key, []byte("new"), 0))
		time.Sleep(2 * probeMax)
		require.True(t, c.view.Load().up[0])
		_, err := c.Get(ctx, key)
		require.Equal(t, ErrMiss, err)
		require.Equal(t, 1, p.servers[0].flushes)
	})
}

// A value at a stand-in, then a newer one at home, then home is lost again: the
// stand-in must not be asked before its value has expired.
func TestStandInIsNotAskedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := failover(t)
		ctx := t.Context()
		key := keyOf(t, c, 0, 0)
		p.lose(c, 0)
		require.NoError(t, c.Set(ctx, key, []byte("at the stand-in"), 0))
		p.net.SetLink(p.client.Addr(), p.addr(0), p.net.Link)
		for !c.view.Load().up[0] {
			require.NoError(t, c.Set(ctx, key, []byte("at the stand-in"), 0))
			time.Sleep(100 * time.Millisecond)
		}
		require.NoError(t, c.Set(ctx, key, []byte("at home"), 0))
		p.lose(c, 0)
		for range 7 {
			_, err := c.Get(ctx, key)
			require.ErrorIs(t, err, ErrDown)
			time.Sleep(time.Second)
		}
		time.Sleep(6 * time.Second)
		_, err := c.Get(ctx, key)
		require.Equal(t, ErrMiss, err, "now it is as if it had never been there")
		require.NoError(t, c.Set(ctx, key, []byte("again"), 0))
		got, err := c.Get(ctx, key)
		require.NoError(t, err)
		require.Equal(t, "again", string(got))
	})
}

// Servers come and go in any order; nobody ever reads a value that an earlier
// successful write has replaced.
func TestNeverStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := failover(t)
		c.Failover = 3 * time.Second
		ctx := t.Context()
		// The last version that was written with success, and the last that was tried.
		written, tried := map[string]int{}, map[string]int{}
		standIns := 0
		for step := range 3000 {
			for i := range 3 { // each has a rhythm of its own
				link := p.net.Link
				link.Down = step/(37+10*i)%3 == 1
				if from, to := p.client.Addr(), p.addr(i); step/500%2 == 0 {
					p.net.SetLink(from, to, link)
				} else { // what is written arrives, and the answer does not
					p.net.SetLink(to, from, link)
				}
			}
			key := fmt.Sprintf("key%d", step*7%20)
			if step%3 == 0 {
				tried[key]++
				if err := c.Set(ctx, key, fmt.Append(nil, tried[key]), 0); err == nil {
					written[key] = tried[key]
					if !c.view.Load().up[c.pick(key)] {
						standIns++
					}
				}
			} else if got, err := c.Get(ctx, key); err == nil {
				var version int
				_, err := fmt.Sscan(string(got), &version)
				require.NoError(t, err)
				require.GreaterOrEqual(t, version, written[key], "%s at step %d", key, step)
			}
			time.Sleep(100 * time.Millisecond)
		}
		require.Greater(t, standIns, 50)
	})
}

func TestAllDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := failover(t)
		for i := range 3 {
			p.stop(i)
		}
		keys := []string{keyOf(t, c, 0, 0), keyOf(t, c, 1, 0), keyOf(t, c, 2, 0)}
		for range 5 {
			got, err := c.GetMulti(t.Context(), keys)
			require.Error(t, err)
			require.Empty(t, got)
			synctest.Wait()
		}
		_, err := c.GetMulti(t.Context(), keys)
		require.ErrorIs(t, err, ErrDown)
		require.ErrorContains(t, err, "10.0.0.3:11211", "each server is named")
		for i := range 3 {
			p.start(i)
		}
		time.Sleep(2 * probeMax)
		_, err = c.GetMulti(t.Context(), keys)
		require.NoError(t, err)
	})
}

// Without Failover the keys of the others are served, and those of the lost one
// are errors; what arrived is there.
func TestGetMultiWithOneDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakePool(t, 3)
		c := p.newClient()
		a, b := keyOf(t, c, 0, 0), keyOf(t, c, 1, 0)
		require.NoError(t, c.SetMulti(t.Context(), []Item{{Key: a, Value: []byte("a")}, {Key: b, Value: []byte("b")}}))
		p.lose(c, 1)
		got, err := c.GetMulti(t.Context(), []string{a, b})
		require.ErrorIs(t, err, ErrDown)
		require.Equal(t, map[string][]byte{a: []byte("a")}, got)
		require.ErrorIs(t, c.Delete(t.Context(), b), ErrDown)
	})
}
