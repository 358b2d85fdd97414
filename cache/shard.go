package cache

import (
	"math"
	"sync"
	"time"
)

// An entry is a key with its value and its place in the list of a shard.
type entry[K comparable, V any] struct {
	key     K
	value   V
	size    int
	expires time.Duration // on the shard's clock; 0 means never
	newer   int32         // the neighbours in the list, as indexes
	older   int32
	visited bool // asked for since the hand came by, see victim
}

// A shard is a map and a list under one lock. entries[0] is no entry: it joins
// the ends of the list to a ring, so that an empty list is no special case.
// Neighbours are indexes and not pointers: less memory, and nothing for the
// garbage collector to follow.
type shard[K comparable, V any] struct {
	cfg   Config[K, V]
	sieve bool      // the policy is SIEVE, not the exact order of use
	start time.Time // zero of the clock

	mu      sync.Mutex
	index   map[K]int32
	entries []entry[K, V]
	free    int32 // unused entries, linked by older; 0 ends them
	hand    int32 // where victim goes on; 0 means the oldest entry
	cursor  int32 // where sweep goes on
	size    int   // of all entries, at most cfg.Max
	gone    []departure[K, V]
	stats   LocalStats
}

// A departure is what OnEvict will be told.
type departure[K comparable, V any] struct {
	key   K
	value V
	why   Reason
}

func newShard[K comparable, V any](cfg Config[K, V], sieve bool) *shard[K, V] {
	return &shard[K, V]{
		cfg: cfg, sieve: sieve, start: time.Now(),
		index: make(map[K]int32), entries: make([]entry[K, V], 1),
	}
}

// now is the time on the shard's clock, never 0.
func (s *shard[K, V]) now() time.Duration { return time.Since(s.start) + 1 }

func (s *shard[K, V]) get(key K) (value V, ok bool) {
	s.mu.Lock()
	defer s.unlock()
	i, ok := s.index[key]
	if !ok {
		s.stats.Misses++
		return value, false
	}
	e := &s.entries[i]
	if e.expires != 0 && e.expires <= s.now() {
		s.remove(i, Expired)
		s.stats.Misses++
		return value, false
	}
	s.stats.Hits++
	switch {
	case !s.sieve:
		s.unlink(i)
		s.link(i)
	case !e.visited: // most are, and not to write is quicker
		e.visited = true
	}
	return e.value, true
}

func (s *shard[K, V]) set(key K, value V, ttl time.Duration) bool {
	size := 1
	if s.cfg.Size != nil {
		size = max(size, s.cfg.Size(key, value))
	}
	s.mu.Lock()
	defer s.unlock()
	old, replaced := s.index[key]
	if replaced {
		s.remove(old, Replaced)
	}
	if size > s.cfg.Max || ttl < 0 || key != key { // no map finds a NaN (not a number) again
		return false
	}
	s.sweep()
	for size > s.cfg.Max-s.size {
		s.remove(s.victim(), Full)
	}
	i := s.free
	if i != 0 {
		s.free = s.entries[i].older
	} else {
		i = int32(len(s.entries))
		s.entries = append(s.entries, entry[K, V]{})
	}
	e := &s.entries[i]
	e.key, e.value, e.size, e.visited = key, value, size, replaced
	if ttl > 0 {
		if e.expires = s.now() + ttl; e.expires < 0 { // longer than the clock can count
			e.expires = math.MaxInt64
		}
	}
	s.link(i)
	s.index[key] = i
	s.size += size
	s.stats.Sets++
	return true
}

func (s *shard[K, V]) delete(key K) bool {
	s.mu.Lock()
	defer s.unlock()
	i, ok := s.index[key]
	if ok {
		s.remove(i, Deleted)
	}
	return ok
}

func (s *shard[K, V]) clear() {
	s.mu.Lock()
	defer s.unlock()
	for i := s.entries[0].newer; i != 0; i = s.entries[0].newer {
		s.remove(i, Deleted)
	}
	clear(s.index)
	s.entries = make([]entry[K, V], 1) // gives the memory back
	s.free, s.hand, s.cursor = 0, 0, 0
}

// unlock releases the lock and then tells OnEvict what has left, so that
// OnEvict may use the cache itself.
func (s *shard[K, V]) unlock() {
	gone := s.gone
	s.gone = nil
	s.mu.Unlock()
	for _, d := range gone {
		s.cfg.OnEvict(d.key, d.value, d.why)
	}
}

// victim chooses the entry that has to go; there must be one. By the order of
// use it is the oldest, since every use makes an entry the newest. SIEVE never
// moves an entry. Its hand goes from the oldest to the newest and round again,
// spares each entry that was asked for since it last came by, and takes the
// first that was not. What a scan brings in is not asked for again, so it goes
// soon, and what was there before stays.
func (s *shard[K, V]) victim() int32 {
	if !s.sieve {
		return s.entries[0].newer
	}
	i := s.hand
	for i == 0 || s.entries[i].visited {
		s.entries[i].visited = false
		i = s.entries[i].newer
	}
	s.hand = i
	return i
}

// sweep looks at the next two entries and removes what has expired. Every set
// does so: otherwise entries that nobody asks for would keep their place long
// after their time. Two, since one could not keep up with the sets.
func (s *shard[K, V]) sweep() {
	for range 2 {
		if s.cursor++; int(s.cursor) >= len(s.entries) {
			s.cursor = 0
		}
		if at := s.entries[s.cursor].expires; at != 0 && at <= s.now() {
			s.remove(s.cursor, Expired)
		}
	}
}

// remove takes entry i out of the shard.
func (s *shard[K, V]) remove(i int32, why Reason) {
	e := &s.entries[i]
	if s.cfg.OnEvict != nil {
		s.gone = append(s.gone, departure[K, V]{e.key, e.value, why})
	}
	switch why {
	case Full:
		s.stats.Evictions++
	case Expired:
		s.stats.Expirations++
	}
	if s.hand == i {
		s.hand = e.newer
	}
	delete(s.index, e.key)
	s.unlink(i)
	s.size -= e.size
	*e = entry[K, V]{older: s.free} // and keep nothing alive
	s.free = i
}

// link puts entry i into the list as the newest.
func (s *shard[K, V]) link(i int32) {
	root, e := &s.entries[0], &s.entries[i]
	e.newer, e.older = 0, root.older
	s.entries[root.older].newer = i
	root.older = i
}

// unlink takes entry i out of the list.
func (s *shard[K, V]) unlink(i int32) {
	e := &s.entries[i]
	s.entries[e.newer].older = e.older
	s.entries[e.older].newer = e.newer
}
