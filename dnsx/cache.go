package dnsx

import (
	"cmp"
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// A Cache is a [Resolver] that remembers the answers of another, until their
// TTL ends; that a name or type does not exist, too, as long as the zone's SOA
// record allows [RFC 2308 section 5]. Those who ask the same at the same time
// wait for one resolution. Set Resolver; the rest may stay as it is.
//
// Names are absolute, also without the dot at the end. An answer is kept as a
// whole under the question that brought it, and used for nothing else: what a
// server adds about other names never gets in.
//
// [RFC 2308 section 5]: https://www.rfc-editor.org/rfc/rfc2308#section-5
type Cache struct {
	Resolver Resolver

	MaxEntries     int           // 0 means 100,000
	MaxBytes       int           // of memory, about; 0 means 64 MiB
	MaxTTL         time.Duration // 0 means a day
	MaxNegativeTTL time.Duration // 0 means 3 hours

	// Stale is how long after its end an answer may still be given while
	// Resolver fails, with a TTL of 30 s [RFC 8767]. 0 means not at all.
	// That there is nothing is never said for longer than is known.
	//
	// [RFC 8767]: https://www.rfc-editor.org/rfc/rfc8767
	Stale time.Duration
	// Prefetch asks again in the background when an answer is used in the last
	// tenth of its time, so that popular names never have to be waited for.
	// [Cache.Close] ends that.
	Prefetch bool

	mu         sync.Mutex
	closed     bool
	entries    map[string]*list.Element // of *cacheEntry
	recent     list.List                // the most recently used first
	flights    map[string]*flight
	running    sync.WaitGroup // flights
	background int            // prefetches under way
	stats      CacheStats
}

// CacheStats says what a [Cache] has saved.
type CacheStats struct {
	Hits         uint64 // answered from memory
	NegativeHits uint64 // those of them that said that there is nothing
	Misses       uint64 // the resolver was asked
	Shared       uint64 // waited for the resolution of somebody else
	Stale        uint64 // answered from memory after the TTL, since the resolver failed
	Prefetched   uint64 // asked in the background
	Evicted      uint64 // forgotten before their time, for lack of room
	Entries      int    // now
	Bytes        int    // now, about
}

const (
	// failureTTL is how long a failure is remembered, so that it is not asked
	// for again and again [RFC 9520 section 3.2].
	//
	// [RFC 9520 section 3.2]: https://www.rfc-editor.org/rfc/rfc9520#section-3.2
	failureTTL = time.Second
	staleTTL   = 30 * time.Second // RFC 8767 section 4
	// entryCost is what an entry takes besides its texts, about.
	entryCost  = 512
	recordCost = 128
	// maxPrefetches is how many may be under way at a time.
	maxPrefetches = 32
)

// A packer is a Resolver that has answers ready for the wire. A [Server] asks
// it first: packed appends to dst the whole response to the question for a
// name, in wire form and lower case, and returns false when it has none.
// What is the server's business is not filled in: ID and RD are zero, there is
// no OPT record, the name is in lower case, and the response may be too long.
// Other names point to that of the question where they are the same.
type packer interface {
	packed(dst, name []byte, typ Type) ([]byte, bool)
}

// A cacheEntry is an answer, or a failure.
type cacheEntry struct {
	key     string
	answer  *Answer // never changed
	err     error
	stored  time.Time
	expires time.Time
	retry   time.Time // a stale answer is good until then
	size    int
	asked   bool   // a prefetch has been made
	wire    []byte // the answer packed; nil before somebody wants it
	ttls    []int  // where its TTLs are
}

// A flight is a resolution under way.
type flight struct {
	waiters    int  // who wait for it; the last who gives up cancels it
	background bool // it is a prefetch
	cancel     context.CancelFunc
	done       chan struct{} // closed when the following are set
	answer     *Answer
	err        error
}

// cacheKey is the key of a question: the name in wire form, lower case, then
// the type. That a name does not exist holds for all types: the name alone,
// which ends in a zero octet and so is no other name with a type.
func cacheKey(name string, typ Type) string {
	return string(binary.BigEndian.AppendUint16([]byte(wireName(name)), uint16(typ)))
}

// Resolve answers from memory, or asks.
func (c *Cache) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	name, err := foldName(name)
	if err != nil {
		return nil, err
	}
	key := cacheKey(name, typ)
	now := time.Now()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, &Error{Name: name, Type: typ, Err: net.ErrClosed}
	}
	if e := c.find([]byte(key), now); e != nil {
		c.used(e, []byte(key), now)
		c.mu.Unlock()
		if e.err != nil {
			return nil, e.err
		}
		a := e.at(now)
		a.Name, a.Type = name, typ
		return a, nil
	}
	f := c.flights[key]
	if f == nil {
		c.stats.Misses++
		f = c.start(ctx, key, name, typ)
	} else {
		c.stats.Shared++
	}
	f.waiters++
	c.mu.Unlock()
	select {
	case <-f.done:
		if f.err != nil {
			return nil, f.err
		}
		return f.answer.clone(), nil // others have the same
	case <-ctx.Done():
		c.leave(key, f)
		return nil, &Error{Name: name, Type: typ, Err: context.Cause(ctx)}
	}
}

// leave gives up waiting. Nobody is left behind: the last one ends the
// resolution and waits for it.
func (c *Cache) leave(key string, f *flight) {
	c.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	if last && c.flights[key] == f {
		delete(c.flights, key) // who comes now begins anew
	}
	c.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// start begins a resolution. c.mu is held.
func (c *Cache) start(ctx context.Context, key, name string, typ Type) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{cancel: cancel, done: make(chan struct{})}
	if c.flights == nil {
		c.flights = make(map[string]*flight)
	}
	c.flights[key] = f
	c.running.Go(func() {
		defer close(f.done)
		defer cancel()
		f.answer, f.err = c.Resolver.Resolve(ctx, name, typ)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.flights[key] == f {
			delete(c.flights, key)
		}
		if f.background {
			c.background--
		}
		if ctx.Err() == nil { // otherwise the failure is our own
			c.store(key, f)
		} else if c.closed {
			f.err = &Error{Name: name, Type: typ, Err: net.ErrClosed}
		}
	})
	return f
}

// Close ends what is under way, prefetches too, and waits for it. The cache
// must not be used after that. A cache without Prefetch needs no Close.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, f := range c.flights {
		f.cancel()
	}
	c.mu.Unlock()
	c.running.Wait()
	return nil
}

// Stats returns the counters.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Entries = len(c.entries)
	return stats
}

// store remembers what a resolution brought. c.mu is held.
func (c *Cache) store(key string, f *flight) {
	now := time.Now()
	old := c.entries[key]
	if f.err != nil {
		if old != nil {
			e := old.Value.(*cacheEntry)
			switch {
			case e.answer != nil && now.Before(e.expires): // a prefetch has failed
				return
			case c.mayBeStale(e, now):
				e.retry = now.Add(staleTTL)
				f.answer, f.err = e.at(now), nil
				c.stats.Stale++
				return
			}
		}
		if errors.Is(f.err, ErrTemporary) {
			c.put(&cacheEntry{key: key, err: f.err, stored: now, expires: now.Add(failureTTL), size: entryCost})
		}
		return
	}
	forAll := key[:len(key)-2]
	c.drop(old)
	c.drop(c.entries[forAll]) // what was said about all types, before this
	ttl := c.lifetime(f.answer)
	if ttl <= 0 {
		return
	}
	kept := f.answer.clone()
	kept.Authoritative = false
	if kept.Status == NXDomain && len(kept.Records) == 0 {
		key = forAll
	}
	e := &cacheEntry{key: key, answer: kept, stored: now, expires: now.Add(ttl), size: entryCost + len(key)}
	for _, r := range kept.Records {
		e.size += recordCost + len(r.Name) + len(r.Data)
	}
	c.put(e)
}

// lifetime says how long an answer may be kept: as long as all of it is valid.
func (c *Cache) lifetime(a *Answer) time.Duration {
	ttl := cmp.Or(c.MaxTTL, 24*time.Hour)
	if a.Status != OK {
		if a.SOA == nil {
			return 0 // RFC 2308 section 5
		}
		ttl = min(ttl, cmp.Or(c.MaxNegativeTTL, 3*time.Hour), a.SOA.TTL)
	}
	for _, r := range a.Records {
		ttl = min(ttl, r.TTL)
	}
	return ttl
}

// put adds an entry and makes room. c.mu is held.
func (c *Cache) put(e *cacheEntry) {
	c.drop(c.entries[e.key])
	if c.entries == nil {
		c.entries = make(map[string]*list.Element)
	}
	c.entries[e.key] = c.recent.PushFront(e)
	c.stats.Bytes += e.size
	c.makeRoom()
}

// makeRoom forgets the entries that nobody has used for longest. c.mu is held.
func (c *Cache) makeRoom() {
	entries, bytes := cmp.Or(c.MaxEntries, 100_000), cmp.Or(c.MaxBytes, 64<<20)
	for len(c.entries) > entries || c.stats.Bytes > bytes && len(c.entries) > 0 {
		oldest := c.recent.Back()
		if time.Now().Before(oldest.Value.(*cacheEntry).expires) {
			c.stats.Evicted++
		}
		c.drop(oldest)
	}
}

// drop removes an entry, if it is one. c.mu is held.
func (c *Cache) drop(element *list.Element) {
	if element == nil {
		return
	}
	e := element.Value.(*cacheEntry)
	c.recent.Remove(element)
	delete(c.entries, e.key)
	c.stats.Bytes -= e.size
}

// find returns the entry that answers a question now, if there is one. c.mu is
// held.
func (c *Cache) find(key []byte, now time.Time) *cacheEntry {
	for _, k := range [2][]byte{key, key[:len(key)-2]} { // the name with its type, then for all types
		element := c.entries[string(k)]
		if element == nil {
			continue
		}
		e := element.Value.(*cacheEntry)
		if now.Before(e.expires) || now.Before(e.retry) {
			c.recent.MoveToFront(element)
			return e
		}
		if !c.mayBeStale(e, now) {
			c.drop(element)
		}
	}
	return nil
}

// mayBeStale reports whether an entry may be given after its end, should the
// resolver fail.
func (c *Cache) mayBeStale(e *cacheEntry, now time.Time) bool {
	return e.answer != nil && e.answer.Status == OK && now.Before(e.expires.Add(c.Stale))
}

// used counts a hit, and asks again if it is time to. c.mu is held.
func (c *Cache) used(e *cacheEntry, key []byte, now time.Time) {
	switch {
	case e.err == nil && !now.Before(e.expires):
		c.stats.Stale++
		return
	case e.err == nil && e.answer.Status != OK:
		c.stats.NegativeHits++
	}
	c.stats.Hits++
	lastTenth := e.expires.Add(-e.expires.Sub(e.stored) / 10)
	due := c.Prefetch && e.err == nil && !e.asked && !now.Before(lastTenth)
	if !due || c.background >= maxPrefetches || c.flights[string(key)] != nil {
		return
	}
	e.asked = true
	c.stats.Prefetched++
	c.background++
	f := c.start(context.Background(), string(key), textName(key[:len(key)-2]), Type(binary.BigEndian.Uint16(key[len(key)-2:])))
	f.background = true
	f.waiters++ // who never gives up
}

// at returns a copy of the answer with what is left of its TTLs.
func (e *cacheEntry) at(now time.Time) *Answer {
	left := func(ttl time.Duration) time.Duration {
		if now.Before(e.expires) {
			return ttl - now.Sub(e.stored).Truncate(time.Second)
		}
		return staleTTL
	}
	a := e.answer.clone()
	for i := range a.Records {
		a.Records[i].TTL = left(a.Records[i].TTL)
	}
	if a.SOA != nil {
		a.SOA.TTL = left(a.SOA.TTL)
	}
	return a
}

// clone returns a copy that shares nothing.
func (a *Answer) clone() *Answer {
	copied := *a
	copied.Records = slices.Clone(a.Records)
	if a.SOA != nil {
		soa := *a.SOA
		copied.SOA = &soa
	}
	return &copied
}

// packed implements packer.
func (c *Cache) packed(dst, name []byte, typ Type) ([]byte, bool) {
	var space [maxName + 2]byte
	key := binary.BigEndian.AppendUint16(append(space[:0], name...), uint16(typ))
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.find(key, now)
	if e == nil || e.answer == nil || !now.Before(e.expires) || c.closed || !c.pack(e) {
		return dst, false
	}
	c.used(e, key, now)
	at := len(dst)
	dst = append(dst, e.wire...)
	copy(dst[at+headerSize+len(name):], key[len(name):]) // the type: NXDOMAIN is one for all
	age := uint32(now.Sub(e.stored) / time.Second)
	for _, offset := range e.ttls {
		ttl := dst[at+offset:]
		binary.BigEndian.PutUint32(ttl, binary.BigEndian.Uint32(ttl)-age)
	}
	return dst, true
}

// pack makes the wire form of an entry when it is first wanted. c.mu is held.
func (c *Cache) pack(e *cacheEntry) bool {
	if e.wire != nil {
		return true
	}
	wire, err := e.answer.message().Pack()
	if err != nil {
		return false // too long, even for TCP
	}
	e.wire, e.ttls = wire, ttlOffsets(wire)
	more := len(e.wire) + 8*len(e.ttls)
	e.size += more
	c.stats.Bytes += more
	c.makeRoom()
	return true
}

// message makes the response of a recursive server.
func (a *Answer) message() *Message {
	m := &Message{
		Header:    Header{Response: true, RecursionAvailable: true},
		Questions: []Question{{Name: a.Name, Type: a.Type}},
		Answer:    a.Records,
	}
	if a.Status == NXDomain {
		m.Rcode = RcodeNXDomain
	}
	if a.SOA != nil {
		m.Authority = []Record{*a.SOA}
	}
	return m
}

// ttlOffsets finds the TTLs in a message of our own with one question and no
// OPT record.
func ttlOffsets(wire []byte) []int {
	skipName := func(at int) int {
		for wire[at] != 0 {
			if wire[at] >= 0xc0 {
				return at + 2
			}
			at += 1 + int(wire[at])
		}
		return at + 1
	}
	at := skipName(headerSize) + 4
	var offsets []int
	for at < len(wire) {
		at = skipName(at) + 4 // type, class
		offsets = append(offsets, at)
		at += 6 + int(binary.BigEndian.Uint16(wire[at+4:]))
	}
	return offsets
}
