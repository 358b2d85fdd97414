package cache

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"runtime"
	"time"
)

// A Config says how large a [Local] cache is and for how long it keeps an
// entry. The zero value is one for 10,000 entries, without a time limit.
type Config[K comparable, V any] struct {
	// Max is the budget, which is never exceeded: the sum of the entries'
	// sizes. 0 or less means 10,000, or 64 Mi (67,108,864) with a Size.
	Max int

	// Size measures an entry when it is set, usually in bytes: what it returns
	// is what Max counts. Less than 1 counts as 1. nil means that each entry
	// counts as 1, so that Max is their number.
	Size func(key K, value V) int

	// TTL (time to live) is how long [Local.Set] keeps an entry. 0 or less
	// means until there is no room for it.
	TTL time.Duration

	// OnEvict, if not nil, is called once for each entry that has left the
	// cache, by the goroutine whose call made it leave. It may use the cache.
	OnEvict func(key K, value V, why Reason)
}

// A Reason says why an entry left the cache.
type Reason int

// The reasons.
const (
	Full     Reason = iota // another entry needed the room
	Expired                // its time was over
	Deleted                // Delete or Clear
	Replaced               // Set with the same key
)

// String returns the reason in a word.
func (r Reason) String() string {
	switch r {
	case Full:
		return "full"
	case Expired:
		return "expired"
	case Deleted:
		return "deleted"
	case Replaced:
		return "replaced"
	}
	return fmt.Sprintf("Reason(%d)", int(r))
}

// LocalStats counts what a [Local] cache has done, and says what is in it.
type LocalStats struct {
	Hits        int64 // gets that found their key
	Misses      int64 // gets that did not
	Sets        int64 // entries stored
	Evictions   int64 // entries that left for lack of room
	Expirations int64 // entries that left because their time was over
	Entries     int   // now in the cache, some perhaps past their time
	Size        int   // their size, never more than Config.Max
}

// A Local is a cache in this process's memory: a map that forgets. Its methods
// may be called by several goroutines at a time. Keys and values are kept as they
// are, not copied.
//
// [NewLRU] and [NewSharded] make one; they differ in what is forgotten first.
type Local[K comparable, V any] struct {
	ttl    time.Duration
	shards []*shard[K, V] // 1, or a larger power of two
	shift  int            // 64 minus the bits of a shard's number
	seed   maphash.Seed
}

// NewLRU returns a cache that makes room by removing the entry that was not
// used for the longest time (least recently used). The order is exact, which
// takes one lock for the whole cache, and a change of the list with every Get.
// Many keys that are used once, such as those of a backup that reads
// everything, push all others out.
func NewLRU[K comparable, V any](cfg Config[K, V]) *Local[K, V] {
	return newLocal(cfg, 1, false)
}

// NewSharded returns a cache for many goroutines at a time. It is made of
// several parts (shards), each with its own lock and its share of the budget; a
// key's hash says in which it belongs. In each, room is made by the policy
// SIEVE, which keeps what is asked for again and again even while many other
// keys are used once. Which entry goes is therefore not quite predictable.
//
// An entry larger than a share is not stored. There are some 16 shards for each
// processor that Go uses (GOMAXPROCS), and fewer in a small cache: a share is
// 256 entries or more or, with a Size, 1 Mi of what it measures.
func NewSharded[K comparable, V any](cfg Config[K, V]) *Local[K, V] {
	shards := 1 << bits.Len(uint(16*runtime.GOMAXPROCS(0)-1))
	share := 256
	if cfg.Size != nil {
		share = 1 << 20
	}
	for shards > 1 && cfg.max()/shards < share {
		shards /= 2
	}
	return newLocal(cfg, shards, true)
}

// max is Max or its default.
func (cfg *Config[K, V]) max() int {
	switch {
	case cfg.Max > 0:
		return cfg.Max
	case cfg.Size != nil:
		return 64 << 20
	}
	return 10_000
}

func newLocal[K comparable, V any](cfg Config[K, V], shards int, sieve bool) *Local[K, V] {
	c := &Local[K, V]{
		ttl:    max(0, cfg.TTL),
		shards: make([]*shard[K, V], shards),
		shift:  64 - bits.Len(uint(shards-1)),
		seed:   maphash.MakeSeed(),
	}
	rest := cfg.max()
	for i := range c.shards {
		cfg.Max = rest / (shards - i)
		rest -= cfg.Max
		c.shards[i] = newShard(cfg, sieve)
	}
	return c
}

// shard returns the part of the cache in which key belongs.
func (c *Local[K, V]) shard(key K) *shard[K, V] {
	if len(c.shards) == 1 {
		return c.shards[0]
	}
	return c.shards[maphash.Comparable(c.seed, key)>>c.shift]
}

// Get returns the value of key and whether it is in the cache. It allocates no
// memory.
func (c *Local[K, V]) Get(key K) (value V, ok bool) { return c.shard(key).get(key) }

// Set stores value under key for [Config].TTL and reports whether it could. It
// cannot if the entry alone is larger than the budget; then nothing is stored
// under key any more. Nor can it store a key that is not equal to itself (a
// floating-point NaN).
func (c *Local[K, V]) Set(key K, value V) bool { return c.shard(key).set(key, value, c.ttl) }

// SetFor is like [Local.Set] with a time to live for this entry: 0 means
// without limit; less means that it is over already, so that nothing is stored.
func (c *Local[K, V]) SetFor(key K, value V, ttl time.Duration) bool {
	return c.shard(key).set(key, value, ttl)
}

// Delete removes key and reports whether it was there.
func (c *Local[K, V]) Delete(key K) bool { return c.shard(key).delete(key) }

// Clear removes everything.
func (c *Local[K, V]) Clear() {
	for _, s := range c.shards {
		s.clear()
	}
}

// Stats returns the counts so far.
func (c *Local[K, V]) Stats() LocalStats {
	var sum LocalStats
	for _, s := range c.shards {
		s.mu.Lock()
		sum.Hits += s.stats.Hits
		sum.Misses += s.stats.Misses
		sum.Sets += s.stats.Sets
		sum.Evictions += s.stats.Evictions
		sum.Expirations += s.stats.Expirations
		sum.Entries += len(s.index)
		sum.Size += s.size
		s.mu.Unlock()
	}
	return sum
}
