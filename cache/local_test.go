package cache

import (
	"container/list"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A model is a policy written down as simply as possible, to compare with.
type model interface {
	hit(key int)             // key, which is there, was asked for
	add(key int, again bool) // key came in; again says that it was there before
	victim() (key int)       // the next to go
	remove(key int)          // key is gone
	order() []int            // for messages
}

type lruModel struct{ l *list.List }

func (m lruModel) find(key int) *list.Element {
	for e := m.l.Front(); e != nil; e = e.Next() {
		if e.Value.(int) == key {
			return e
		}
	}
	return nil
}
func (m lruModel) hit(key int)         { m.l.MoveToFront(m.find(key)) }
func (m lruModel) add(key int, _ bool) { m.l.PushFront(key) }
func (m lruModel) victim() int         { return m.l.Back().Value.(int) }
func (m lruModel) remove(key int)      { m.l.Remove(m.find(key)) }
func (m lruModel) order() (keys []int) {
	for e := m.l.Front(); e != nil; e = e.Next() {
		keys = append(keys, e.Value.(int))
	}
	return keys
}

// sieveModel is SIEVE as in its paper: a queue, the oldest first, a bit for each
// entry, and a hand.
type sieveModel struct {
	queue   []int
	visited map[int]bool
	hand    int // index in queue
}

func (m *sieveModel) hit(key int)             { m.visited[key] = true }
func (m *sieveModel) add(key int, again bool) { m.queue = append(m.queue, key); m.visited[key] = again }
func (m *sieveModel) order() []int            { return m.queue }
func (m *sieveModel) victim() int {
	for {
		key := m.queue[m.hand]
		if !m.visited[key] {
			return key
		}
		m.visited[key] = false
		m.hand = (m.hand + 1) % len(m.queue)
	}
}

func (m *sieveModel) remove(key int) {
	i := slices.Index(m.queue, key)
	m.queue = slices.Delete(m.queue, i, i+1)
	if i < m.hand {
		m.hand--
	}
	if m.hand == len(m.queue) { // past the newest: from the oldest again
		m.hand = 0
	}
}

// TestPolicies plays random calls on a cache and on a model of it and wants the
// same entries in both after each.
func TestPolicies(t *testing.T) {
	for _, test := range []struct {
		name  string
		sieve bool
		model model
	}{
		{"LRU", false, lruModel{list.New()}},
		{"SIEVE", true, &sieveModel{visited: map[int]bool{}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			const budget = 30
			rng := rand.New(rand.NewPCG(1, 2))
			sizes := map[int]int{} // what the model holds, by key
			total := 0
			gone := map[int]Reason{}
			c := newLocal(Config[int, int]{
				Max:  budget,
				Size: func(_, size int) int { return size },
				OnEvict: func(key, size int, why Reason) {
					assert.Equal(t, sizes[key], size, "the size of %d", key)
					gone[key] = why
				},
			}, 1, test.sieve)
			drop := func(key int) { test.model.remove(key); total -= sizes[key]; delete(sizes, key) }
			for step := range 20_000 {
				key := rng.IntN(20)
				_, there := sizes[key]
				clear(gone)
				switch op := rng.IntN(10); {
				case op < 5:
					size, ok := c.Get(key)
					require.Equal(t, there, ok, "step %d: get %d of %v", step, key, test.model.order())
					require.Equal(t, sizes[key], size)
					if there {
						test.model.hit(key)
					}
					require.Empty(t, gone)
				case op < 9:
					size := rng.IntN(12) + 1
					if rng.IntN(20) == 0 {
						size = budget + 1
					}
					want := map[int]Reason{}
					// What OnEvict must see is decided before the call, since it runs inside.
					before := map[int]int{}
					for k, v := range sizes {
						before[k] = v
					}
					if there {
						drop(key)
						want[key] = Replaced
					}
					if size <= budget {
						for total+size > budget {
							v := test.model.victim()
							drop(v)
							want[v] = Full
						}
					}
					after := sizes
					sizes = before
					stored := c.Set(key, size)
					sizes = after
					require.Equal(t, size <= budget, stored)
					require.Equal(t, want, gone, "step %d: set %d of size %d", step, key, size)
					if stored {
						test.model.add(key, there)
						sizes[key] = size
						total += size
					}
				default:
					require.Equal(t, there, c.Delete(key))
					if there {
						require.Equal(t, map[int]Reason{key: Deleted}, gone)
						drop(key)
					}
				}
				stats := c.Stats()
				require.Equal(t, total, stats.Size)
				require.Len(t, sizes, stats.Entries)
			}
			clear(gone)
			c.Clear()
			require.Len(t, gone, len(sizes))
			require.Zero(t, c.Stats().Size)
			require.Zero(t, c.Stats().Entries)
			require.True(t, c.Set(1, 1))
		})
	}
}

func both(t *testing.T, f func(t *testing.T, make func(Config[string, int]) *Local[string, int])) {
	t.Run("LRU", func(t *testing.T) { f(t, NewLRU[string, int]) })
	t.Run("Sharded", func(t *testing.T) { f(t, NewSharded[string, int]) })
}

// The budget is kept at every moment, however many goroutines there are, and
// each entry that goes in comes out once.
func TestBudgetInParallel(t *testing.T) {
	both(t, func(t *testing.T, make func(Config[string, int]) *Local[string, int]) {
		const budget, largest = 4 << 20, 100_000
		var mu sync.Mutex
		in, out := 0, 0
		c := make(Config[string, int]{
			Max: budget, Size: func(_ string, size int) int { return size },
			OnEvict: func(_ string, size int, _ Reason) { mu.Lock(); out += size; mu.Unlock() },
		})
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(worker), 3))
				for range 3000 {
					key, size := fmt.Sprint(rng.IntN(1000)), rng.IntN(largest)+1
					if c.Set(key, size) {
						mu.Lock()
						in += size
						mu.Unlock()
					}
					c.Get(fmt.Sprint(rng.IntN(1000)))
					if !assert.LessOrEqual(t, c.Stats().Size, budget) {
						return
					}
				}
			})
		}
		wg.Wait()
		require.Greater(t, c.Stats().Evictions, int64(0))
		c.Clear()
		require.Equal(t, in, out)
	})
}

func TestTTL(t *testing.T) {
	both(t, func(t *testing.T, make func(Config[string, int]) *Local[string, int]) {
		synctest.Test(t, func(t *testing.T) {
			var gone []string
			c := make(Config[string, int]{TTL: time.Minute, OnEvict: func(key string, _ int, why Reason) {
				gone = append(gone, key+" "+why.String())
			}})
			c.Set("minute", 1)
			c.SetFor("hour", 2, time.Hour)
			c.SetFor("ever", 3, 0)
			c.SetFor("longest", 4, math.MaxInt64)
			require.False(t, c.SetFor("never", 5, -1))
			time.Sleep(time.Minute - 1)
			_, ok := c.Get("minute")
			require.True(t, ok)
			time.Sleep(time.Nanosecond)
			_, ok = c.Get("minute")
			require.False(t, ok, "a Get does not make an entry younger")
			time.Sleep(100 * 365 * 24 * time.Hour)
			for key, want := range map[string]bool{"hour": false, "ever": true, "longest": true, "never": false} {
				_, ok := c.Get(key)
				require.Equal(t, want, ok, key)
			}
			require.Equal(t, []string{"minute expired", "hour expired"}, gone)
		})
	})
}

// What has expired gives its room back although nobody asks for it.
func TestExpiredLeaveUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewLRU(Config[int, int]{Max: 1000})
		for i := range 100 {
			c.SetFor(i, i, time.Duration(i%2)*time.Second) // every other one for ever
		}
		time.Sleep(time.Second)
		for i := range 60 {
			c.Set(100+i, i)
		}
		stats := c.Stats()
		require.EqualValues(t, 50, stats.Expirations)
		require.Equal(t, 50+60, stats.Entries)
	})
}

func TestOnEvictMayUseTheCache(t *testing.T) {
	var c *Local[string, int]
	seen := 0
	c = NewLRU(Config[string, int]{Max: 1, OnEvict: func(key string, _ int, _ Reason) {
		seen++
		_, ok := c.Get(key)
		assert.False(t, ok)
	}})
	c.Set("a", 1)
	c.Set("b", 2)
	c.Delete("b")
	require.Equal(t, 2, seen)
}

func TestDefaults(t *testing.T) {
	both(t, func(t *testing.T, make func(Config[string, int]) *Local[string, int]) {
		c := make(Config[string, int]{})
		for i := range 30_000 {
			c.Set(fmt.Sprint(i), i)
		}
		stats := c.Stats()
		require.LessOrEqual(t, stats.Entries, 10_000)
		require.Greater(t, stats.Entries, 9_500)

		c = make(Config[string, int]{Size: func(string, int) int { return 0 }})
		c.Set("a", 1)
		require.Equal(t, 1, c.Stats().Size, "nothing is for nothing")
		c = make(Config[string, int]{Size: func(_ string, size int) int { return size }})
		require.False(t, c.Set("too large", 64<<20+1))
		require.True(t, c.Set("fits", 1<<20))
	})
}

func TestStrangeKeys(t *testing.T) {
	for name, make := range map[string]func(Config[any, int]) *Local[any, int]{"LRU": NewLRU[any, int], "Sharded": NewSharded[any, int]} {
		t.Run(name, func(t *testing.T) {
			c := make(Config[any, int]{})
			require.False(t, c.Set(math.NaN(), 1), "it could never be found, nor removed")
			require.Zero(t, c.Stats().Entries)
			require.Panics(t, func() { c.Set([]int{1}, 1) })
			require.Panics(t, func() { c.Get([]int{1}) })
			require.True(t, c.Set("next", 1), "the lock was released")
		})
	}
}

func TestGetAllocatesNothing(t *testing.T) {
	both(t, func(t *testing.T, make func(Config[string, int]) *Local[string, int]) {
		c := make(Config[string, int]{TTL: time.Hour})
		c.Set("a", 1)
		require.Zero(t, testing.AllocsPerRun(100, func() { c.Get("a"); c.Get("b") }))
	})
}

// hitRatio is how many of a trace of keys a cache answers that is filled on
// each miss.
func hitRatio(c *Local[int, int], trace []int) float64 {
	for _, key := range trace {
		if _, ok := c.Get(key); !ok {
			c.Set(key, key)
		}
	}
	s := c.Stats()
	return float64(s.Hits) / float64(s.Hits+s.Misses)
}

// TestScan compares what is left of the hits when, now and then, somebody reads
// as many keys as the cache holds, each once.
func TestScan(t *testing.T) {
	const entries, population, requests = 5_000, 50_000, 250_000
	z := rand.NewZipf(rand.New(rand.NewPCG(3, 4)), 1.01, 1, population-1)
	var plain, scanned []int
	next := population
	for i := range requests {
		key := int(z.Uint64())
		plain = append(plain, key)
		scanned = append(scanned, key)
		if i%(2*entries) == 2*entries-1 {
			for range entries {
				scanned = append(scanned, next)
				next++
			}
		}
	}
	cfg := Config[int, int]{Max: entries}
	lru, sharded := hitRatio(NewLRU(cfg), plain), hitRatio(NewSharded(cfg), plain)
	lruScan, shardedScan := hitRatio(NewLRU(cfg), scanned), hitRatio(NewSharded(cfg), scanned)
	t.Logf("hits: LRU %.4f, with scans %.4f; sharded %.4f, with scans %.4f", lru, lruScan, sharded, shardedScan)
	require.Greater(t, sharded, lru-0.005)
	require.Greater(t, shardedScan, lruScan+0.05)
}

func TestReasonString(t *testing.T) {
	require.Equal(t, "full expired deleted replaced Reason(7)", fmt.Sprintf("%v %v %v %v %v", Full, Expired, Deleted, Replaced, Reason(7)))
}
