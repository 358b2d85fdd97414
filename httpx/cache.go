package httpx

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A Cache is a shared cache ([RFC 9111]) in front of a transport: what it has
// fresh it gives itself, what is stale it asks the origin about, and what it
// may keep it keeps. It is an http.RoundTripper: a client of ours with a memory,
// or, below a [Proxy], that of many. Its zero value is ready to use; Close it.
//
// Concurrent requests for what is not there reach the origin once, if the
// answer may be shared. Every response says in Cache-Status ([RFC 9211]) where
// it comes from.
//
// [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111
// [RFC 9211]: https://www.rfc-editor.org/rfc/rfc9211
type Cache struct {
	Transport http.RoundTripper // asks the origin; nil means a [Transport] of its own
	Store     CacheStore        // keeps the bodies; nil means in memory

	MaxBytes  int64 // of all that is stored, headers included; 0 means 64 MiB
	MaxObject int64 // of one body; 0 means an eighth of MaxBytes

	// Targeted are the fields, in canonical form, in which an origin speaks to
	// caches like this one alone ([RFC 9213]), the most special first. Nil
	// means CDN-Cache-Control; empty but not nil, none.
	//
	// [RFC 9213]: https://www.rfc-editor.org/rfc/rfc9213
	Targeted []string

	Name  string      // in Cache-Status, a token; empty means "zocalo"
	Trace *CacheTrace // nil traces nothing

	once sync.Once
	own  *Transport    // if Transport is nil
	end  chan struct{} // closed by Close

	mu      sync.Mutex
	closed  bool
	entries map[string][]*entry  // by key, the newest first
	flights map[string][]*flight // under way, by key; the last one may be joined
	recent  list.List            // of *entry, the one used last in front
	used    int64
	stats   CacheStats
	wg      sync.WaitGroup
}

// A CacheTrace is told what a [Cache] does. Its functions are called by many
// goroutines at a time; nil ones are left out.
type CacheTrace struct {
	// Answered is told each response and its Cache-Status, before its body.
	Answered func(r *http.Request, status string)
	// Evicted is told what had to make room: its URL and the bytes it took. It
	// must not call the cache, whose lock is held.
	Evicted func(url string, bytes int64)
}

// CacheStats count what a [Cache] has done.
type CacheStats struct {
	Hits        uint64 // answered from the store without asking
	Stale       uint64 // of these, those that were not fresh any more
	Revalidated uint64 // asked, and what was stored is still good
	Misses      uint64 // asked, for all other reasons
	Collapsed   uint64 // of the hits and misses, those that waited for another's answer
	Stored      uint64 // responses put into the store
	Evicted     uint64 // those that made room
	Entries     int    // that are stored now
	Bytes       int64  // that they take, with those on their way
}

// maxVariants bounds how many responses are kept for one URL.
const maxVariants = 32

// background bounds a revalidation for which nobody waits.
const backgroundTime = 30 * time.Second

func (c *Cache) start() {
	c.once.Do(func() {
		c.end = make(chan struct{})
		c.entries, c.flights = make(map[string][]*entry), make(map[string][]*flight)
		if c.Transport == nil {
			c.own = new(Transport)
		}
		if c.Store != nil {
			c.load()
		}
	})
}

func (c *Cache) transport() http.RoundTripper {
	if c.own != nil {
		return c.own
	}
	return c.Transport
}

func (c *Cache) store() CacheStore {
	if c.Store == nil {
		return memoryStore{}
	}
	return c.Store
}

func (c *Cache) maxBytes() int64 {
	if c.MaxBytes <= 0 {
		return 64 << 20
	}
	return c.MaxBytes
}

func (c *Cache) maxObject() int64 {
	if c.MaxObject <= 0 {
		return c.maxBytes() / 8
	}
	return c.MaxObject
}

func (c *Cache) targets() []string {
	if c.Targeted == nil {
		return []string{"Cdn-Cache-Control"}
	}
	return c.Targeted
}

func (c *Cache) name() string {
	if c.Name == "" {
		return "zocalo"
	}
	return c.Name
}

// load takes up what an earlier process has kept.
func (c *Cache) load() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for body, data := range c.Store.Kept() {
		rec, err := readRecord(data, c.targets())
		if err == nil && rec.Size > 0 {
			if n, _ := body.ReadAt(make([]byte, 1), rec.Size-1); n == 0 {
				err = io.ErrUnexpectedEOF // its end is not there
			}
		}
		if err != nil {
			_ = body.Remove()
			continue
		}
		e := &entry{body: body, rec: rec}
		if !c.reserve(e, rec.cost()) {
			_ = body.Remove()
			continue
		}
		c.insert(e)
	}
}

// Close ends what goes on in the background and waits for it. What is stored
// in memory is gone with the cache; a [DiskStore] keeps it.
func (c *Cache) Close() error {
	c.start()
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.end)
	}
	c.mu.Unlock()
	c.wg.Wait()
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
	return nil
}

// Stats returns the counters.
func (c *Cache) Stats() CacheStats {
	c.start()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries, s.Bytes = c.recent.Len(), c.used
	return s
}

// Purge removes what is stored for a URL, in all variants, and returns how many
// there were. What is on its way from the origin for it will not be stored.
func (c *Cache) Purge(u *url.URL) int {
	c.start()
	r := &http.Request{URL: u}
	return c.forget(func(key string) bool { return sameURL(key, cacheKey(r)) })
}

// PurgeAll removes all that is stored.
func (c *Cache) PurgeAll() int {
	c.start()
	return c.forget(func(string) bool { return true })
}

// sameURL compares keys without what the origin was told of the host.
func sameURL(a, b string) bool {
	a, _, _ = strings.Cut(a, " ")
	b, _, _ = strings.Cut(b, " ")
	return a == b
}

func (c *Cache) forget(which func(key string) bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, list := range c.entries {
		if which(key) {
			n += len(list)
			c.drop(key)
		}
	}
	for key := range c.flights {
		if which(key) {
			c.doom(key)
		}
	}
	return n
}

// drop removes all entries of a key. The lock is held.
func (c *Cache) drop(key string) {
	for len(c.entries[key]) > 0 {
		c.remove(c.entries[key][0])
	}
}

// doom lets nobody else use what is on its way for a key. The lock is held.
func (c *Cache) doom(key string) {
	for _, f := range c.flights[key] {
		f.doomed = true
	}
}

// reserve makes room for n bytes more of e, at the cost of what was not used
// for the longest time. It fails if there is nothing left to give way. The lock
// is held.
func (c *Cache) reserve(e *entry, n int64) bool {
	if n > c.maxBytes() {
		return false // and nothing need give way
	}
	for c.used+n > c.maxBytes() {
		last := c.recent.Back()
		if last == nil {
			return false
		}
		victim := last.Value.(*entry)
		c.stats.Evicted++
		if t := c.Trace; t != nil && t.Evicted != nil {
			t.Evicted(victim.rec.Key, victim.size)
		}
		c.remove(victim)
	}
	c.used += n
	e.size += n
	return true
}

// insert adds e. The lock is held.
func (c *Cache) insert(e *entry) {
	key := e.rec.Key
	variants := append([]*entry{e}, c.entries[key]...)
	c.entries[key] = variants
	e.place = c.recent.PushFront(e)
	if len(variants) > maxVariants {
		c.remove(variants[maxVariants])
	}
}

// remove takes e out of the cache, and gives its space free when nobody reads
// it. The lock is held.
func (c *Cache) remove(e *entry) {
	if e.place == nil {
		return
	}
	c.recent.Remove(e.place)
	e.place = nil
	if e.refs > 0 {
		_ = e.body.Keep(nil) // it is read to its end, but not found by a later process
	}
	key := e.rec.Key
	for i, other := range c.entries[key] {
		if other == e {
			c.entries[key] = append(c.entries[key][:i:i], c.entries[key][i+1:]...)
			break
		}
	}
	if len(c.entries[key]) == 0 {
		delete(c.entries, key)
	}
	c.release(e)
}

// release gives the space of e free if nobody has it. The lock is held.
func (c *Cache) release(e *entry) {
	if e.place != nil || e.refs > 0 || e.body == nil {
		return
	}
	c.used -= e.size
	_ = e.body.Remove()
	e.body = nil
}

// find returns the entry for a request, with a reference that the caller gives
// back. The lock is held.
func (c *Cache) find(key string, header http.Header) *entry {
	for _, e := range c.entries[key] {
		if e.rec.matches(header) {
			e.refs++
			c.recent.MoveToFront(e.place)
			return e
		}
	}
	return nil
}

// leave gives a reference back.
func (c *Cache) leave(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.refs--
	c.release(e)
}

// RoundTrip answers from the store or asks the origin. An error of the
// transport is returned as it is.
func (c *Cache) RoundTrip(r *http.Request) (*http.Response, error) {
	c.start()
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == ""
	// A GET with a body, or with conditions that are not about copies, is for
	// the origin to understand.
	if !reads {
		return c.pass(r, "method")
	}
	if r.Body != nil && r.Body != http.NoBody || r.Header["If-Match"] != nil || r.Header["If-Unmodified-Since"] != nil || r.Header["Upgrade"] != nil {
		return c.pass(r, "bypass")
	}
	return c.get(r)
}

// pass asks the origin without using the store.
func (c *Cache) pass(r *http.Request, why string) (*http.Response, error) {
	resp, err := c.transport().RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.count(func(s *CacheStats) { s.Misses++ })
	if !safeMethod(r.Method) && resp.StatusCode >= 200 && resp.StatusCode < 400 {
		c.invalidate(r, resp)
	}
	c.mark(r, resp, forwarded(why, resp.StatusCode))
	return resp, nil
}

// safeMethod reports whether a method changes nothing ([RFC 9110 section
// 9.2.1]). Unknown ones do.
//
// [RFC 9110 section 9.2.1]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1
func safeMethod(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// invalidate removes what an unsafe request has changed ([RFC 9111 section
// 4.4]): its URL, and those in Location and Content-Location if they are of
// the same origin.
//
// [RFC 9111 section 4.4]: https://www.rfc-editor.org/rfc/rfc9111#section-4.4
func (c *Cache) invalidate(r *http.Request, resp *http.Response) {
	keys := []string{cacheKey(r)}
	for _, name := range []string{"Location", "Content-Location"} {
		to, err := r.URL.Parse(resp.Header.Get(name))
		if err == nil && to.Scheme == r.URL.Scheme && (strings.EqualFold(to.Host, r.URL.Host) || strings.EqualFold(to.Host, r.Host)) {
			moved := *r.URL
			moved.Path, moved.RawPath, moved.RawQuery = to.Path, to.RawPath, to.RawQuery
			keys = append(keys, cacheKey(&http.Request{URL: &moved, Host: r.Host, Header: r.Header}))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		c.drop(key)
		c.doom(key)
	}
}

func (c *Cache) count(f func(*CacheStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.stats)
}

// requestPolicy returns what a client asks of caches; Pragma is what clients
// of HTTP/1.0 said ([RFC 9111 section 5.4]).
//
// [RFC 9111 section 5.4]: https://www.rfc-editor.org/rfc/rfc9111#section-5.4
func requestPolicy(h http.Header) cachePolicy {
	if h["Cache-Control"] == nil && hasToken(h, "Pragma", "no-cache") {
		return cachePolicy{"no-cache": ""}
	}
	return parsePolicy(h["Cache-Control"])
}

// A verdict says what may be done with a stored response.
type verdict int

const (
	useFresh      verdict = iota // give it
	useStale                     // give it although it is stale
	useAndRefresh                // give it and ask the origin meanwhile
	mustAsk                      // ask the origin first
)

// judge decides whether a stored response may be used ([RFC 9111 section 4]).
//
// [RFC 9111 section 4]: https://www.rfc-editor.org/rfc/rfc9111#section-4
func (r *record) judge(asks cachePolicy, now time.Time) verdict {
	age := r.ageAt(now)
	left := r.fresh - age // negative: for how long it has been stale
	if r.policy.has("no-cache") || asks.has("no-cache") {
		return mustAsk
	}
	if limit, ok := asks.seconds("max-age"); ok && age > limit {
		return mustAsk
	}
	if want, ok := asks.seconds("min-fresh"); ok && left < want {
		return mustAsk
	}
	if left > 0 {
		return useFresh
	}
	if !r.mayServeStale() {
		return mustAsk
	}
	if value, ok := asks["max-stale"]; ok {
		if bound, _ := asks.seconds("max-stale"); value == "" || -left <= bound {
			return useStale
		}
	}
	if window, ok := r.policy.seconds("stale-while-revalidate"); ok && -left <= window {
		return useAndRefresh
	}
	return mustAsk
}

// sparesError reports whether the response may be given because the origin
// fails ([RFC 5861 section 4]).
//
// [RFC 5861 section 4]: https://www.rfc-editor.org/rfc/rfc5861#section-4
func (r *record) sparesError(now time.Time) bool {
	window, ok := r.policy.seconds("stale-if-error")
	return ok && r.mayServeStale() && r.ageAt(now)-r.fresh <= window
}

// get answers a GET or HEAD.
func (c *Cache) get(r *http.Request) (*http.Response, error) {
	asks := requestPolicy(r.Header)
	key := cacheKey(r)
	collapsed := false
	for {
		now := time.Now()
		c.mu.Lock()
		e := c.find(key, r.Header)
		var rec *record
		if e != nil {
			rec = e.rec
		}
		others := len(c.entries[key]) > 0
		f := c.joinable(key)
		c.mu.Unlock()

		why := "uri-miss"
		if others {
			why = "vary-miss"
		}
		if e != nil {
			switch rec.judge(asks, now) {
			case useFresh, useStale:
				return c.hit(r, e, rec, nil, now, collapsed), nil
			case useAndRefresh:
				c.refresh(r, e, rec)
				return c.hit(r, e, rec, nil, now, collapsed), nil
			}
			why = "stale"
			if rec.fresh > rec.ageAt(now) {
				why = "request"
			}
		}
		switch {
		case asks.has("only-if-cached"):
			if e != nil {
				c.leave(e)
			}
			return c.notCached(r), nil
		case r.Method == http.MethodHead:
			return c.head(r, key, e, why)
		case e == nil && (r.Header["Range"] != nil || asks.has("no-store")):
			return c.pass(r, "bypass")
		case f == nil, collapsed, asks.has("no-cache"):
			return c.fetch(r, key, e, rec, asks, why)
		}
		// Somebody asks already.
		if e != nil {
			c.leave(e)
		}
		resp, again, err := c.follow(r, f)
		if !again {
			return resp, err
		}
		// Look once more; then ask for ourselves, unless who asked has just gone:
		// then one of those who waited asks for all.
		c.mu.Lock()
		collapsed = !f.left
		c.mu.Unlock()
	}
}

// notCached is the answer to who wants only what is stored ([RFC 9111 section
// 5.2.1.7]).
//
// [RFC 9111 section 5.2.1.7]: https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.7
func (c *Cache) notCached(r *http.Request) *http.Response {
	resp := newStored(r, http.StatusGatewayTimeout, make(http.Header), 0)
	c.count(func(s *CacheStats) { s.Misses++ })
	c.mark(r, resp, "fwd=miss; detail=only-if-cached")
	return resp
}

// head asks the origin for a header. Its answer tells whether what is stored
// is still what a GET would give ([RFC 9111 section 4.3.5]).
//
// [RFC 9111 section 4.3.5]: https://www.rfc-editor.org/rfc/rfc9111#section-4.3.5
func (c *Cache) head(r *http.Request, key string, e *entry, why string) (*http.Response, error) {
	if e != nil {
		defer c.leave(e)
	}
	asked := time.Now()
	resp, err := c.transport().RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.count(func(s *CacheStats) { s.Misses++ })
	if e != nil && resp.StatusCode != http.StatusNotModified {
		c.mu.Lock()
		rec := e.rec
		length := resp.Header.Get("Content-Length")
		same := resp.StatusCode == rec.Status && rec.sameVersion(resp.Header) && resp.Header.Get("Etag") == rec.Header.Get("Etag") &&
			(length == "" || length == rec.Header.Get("Content-Length"))
		switch {
		case e.place == nil:
		case same:
			get := r.WithContext(r.Context())
			get.Method = http.MethodGet
			updated := rec.freshened(r, resp.Header, asked, time.Now(), c.targets())
			if storable(get, nil, updated) == "" {
				c.update(e, updated)
			} else {
				c.remove(e)
			}
		case resp.StatusCode < 500:
			c.drop(key)
		}
		c.mu.Unlock()
	}
	c.mark(r, resp, forwarded(why, resp.StatusCode))
	return resp, nil
}

// update puts a new record in the place of that of e. The lock is held.
func (c *Cache) update(e *entry, rec *record) {
	if e.place == nil {
		return
	}
	c.recent.MoveToFront(e.place)
	if more := rec.cost() - e.rec.cost(); more > 0 && !c.reserve(e, more) || e.place == nil {
		c.remove(e) // even alone it is too long now
		return
	}
	e.rec = rec
	if data, err := rec.marshal(); err == nil && c.Store != nil {
		_ = e.body.Keep(data) // if it fails, the old record is as good after a restart
	}
}

// refresh asks the origin about e in the background, unless somebody does.
func (c *Cache) refresh(r *http.Request, e *entry, rec *record) {
	c.mu.Lock()
	if c.closed || c.joinable(rec.Key) != nil {
		c.mu.Unlock()
		return
	}
	e.refs++
	f := c.launch(rec.Key)
	c.wg.Go(func() {
		// Of the client's context nothing is left: its trace would write into a
		// response that is over.
		ctx, cancel := context.WithTimeout(context.Background(), backgroundTime)
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			select {
			case <-c.end:
				cancel()
			case <-stop:
			}
		}()
		again := r.Clone(ctx)
		for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "Cache-Control", "Pragma"} {
			again.Header.Del(name)
		}
		again.Method = http.MethodGet
		resp, err := c.ask(again, f, e, rec, nil, "stale")
		if err != nil {
			return
		}
		defer resp.Body.Close()
		// Reading is what stores it.
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, c.maxObject()+1))
	})
	c.mu.Unlock()
}

var errGone = fmt.Errorf("httpx: cache: %w", net.ErrClosed)
