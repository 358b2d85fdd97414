package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A flight is a question to the origin on which others may wait.
type flight struct {
	key    string
	doomed bool // nobody else may use what comes; guarded by the cache's lock

	left bool // who asked has gone without an answer; guarded as well

	ready chan struct{} // closed when it is known what came
	// Set before: the entry that others may read; nil if they have to ask
	// themselves.
	shared *entry
}

// launch announces a question. The lock is held.
func (c *Cache) launch(key string) *flight {
	f := &flight{key: key, ready: make(chan struct{})}
	c.flights[key] = append(c.flights[key], f)
	return f
}

// joinable returns the flight for a key that others may wait for, if there is
// one. The lock is held.
func (c *Cache) joinable(key string) *flight {
	list := c.flights[key]
	if len(list) == 0 || list[len(list)-1].doomed {
		return nil
	}
	return list[len(list)-1]
}

// land tells those who wait what came, nil if it is not for them. Only the first
// call counts. The lock is held.
func (f *flight) land(e *entry) {
	select {
	case <-f.ready:
	default:
		if !f.doomed {
			f.shared = e
		}
		close(f.ready)
	}
}

// over ends a flight: who comes now looks into the store, or asks.
func (c *Cache) over(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.land(nil)
	list := c.flights[f.key]
	if i := slices.Index(list, f); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if c.flights[f.key] = list; len(list) == 0 {
		delete(c.flights, f.key)
	}
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow waits for somebody else's question and answers r with what comes,
// if it may be used; otherwise the caller tries again. What is neither on its
// way nor in the cache any more may have broken off.
func (c *Cache) follow(r *http.Request, f *flight) (resp *http.Response, again bool, err error) {
	if err := f.wait(r.Context()); err != nil {
		return nil, false, err
	}
	now := time.Now()
	c.mu.Lock()
	e := f.shared
	if e == nil || f.doomed || e.place == nil && e.fill == nil || !e.rec.matches(r.Header) || e.rec.judge(nil, now) != useFresh {
		c.mu.Unlock()
		return nil, true, nil
	}
	e.refs++
	rec, fill := e.rec, e.fill
	c.mu.Unlock()
	if fill == nil {
		return c.hit(r, e, rec, nil, now, true), false, nil
	}
	if !fill.join() {
		c.leave(e)
		return nil, true, nil
	}
	return c.hit(r, e, rec, fill, now, true), false, nil
}

// fetch asks the origin, about e if it is not nil, and lets others wait for
// what comes. It takes over the reference to e.
func (c *Cache) fetch(r *http.Request, key string, e *entry, rec *record, asks cachePolicy, why string) (*http.Response, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		if e != nil {
			c.leave(e)
		}
		return nil, errGone
	}
	f := c.launch(key)
	c.mu.Unlock()
	return c.ask(r, f, e, rec, asks, why)
}

// conditional returns r with the question whether what is stored has changed
// ([RFC 9111 section 4.3.1]).
//
// [RFC 9111 section 4.3.1]: https://www.rfc-editor.org/rfc/rfc9111#section-4.3.1
func conditional(r *http.Request, rec *record) *http.Request {
	out := r.Clone(r.Context())
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		out.Header.Del(name)
	}
	if tag := rec.Header.Get("Etag"); tag != "" {
		out.Header.Set("If-None-Match", tag)
	}
	if modified := rec.Header.Get("Last-Modified"); modified != "" {
		out.Header.Set("If-Modified-Since", modified)
	}
	return out
}

// ask does the work of a flight.
func (c *Cache) ask(r *http.Request, f *flight, e *entry, rec *record, asks cachePolicy, why string) (*http.Response, error) {
	done := false
	defer func() {
		if !done { // also if the transport panics
			c.over(f)
		}
		if e != nil {
			c.leave(e)
		}
	}()
	// The question outlives the client that asks it as soon as others may
	// wait for the body; until the header comes, it is that client's own.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	unwatch := context.AfterFunc(r.Context(), cancel)
	out := r
	if e != nil {
		out = conditional(r, rec)
	}
	asked := time.Now()
	resp, err := c.transport().RoundTrip(out.WithContext(ctx))
	received := time.Now()
	gone := !unwatch()
	if gone {
		c.mu.Lock()
		f.left = true
		c.mu.Unlock()
	}
	switch {
	case err == nil && gone:
		resp.Body.Close()
		err = context.Cause(r.Context())
	case err != nil && gone && r.Context().Err() != nil:
		err = context.Cause(r.Context())
	}
	failed := err != nil || resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented && resp.StatusCode < 600
	if failed && e != nil && !gone && rec.sparesError(received) {
		if err == nil {
			resp.Body.Close()
		}
		cancel()
		c.hold(e)
		return c.hit(r, e, rec, nil, received, false), nil
	}
	if err != nil {
		cancel()
		return nil, err
	}

	if resp.StatusCode == http.StatusNotModified && e != nil {
		resp.Body.Close()
		cancel()
		if !rec.sameVersion(resp.Header) {
			// It speaks of something else. Ask for the whole.
			c.mu.Lock()
			c.remove(e)
			c.mu.Unlock()
			c.over(f)
			done = true
			return c.get(r)
		}
		rec = rec.freshened(r, resp.Header, asked, received, c.targets())
		c.mu.Lock()
		c.stats.Revalidated++
		if !f.doomed {
			if storable(r, nil, rec) == "" {
				c.update(e, rec)
			} else {
				c.remove(e)
			}
		}
		e.refs++
		c.mu.Unlock()
		return c.respond(r, e, rec, nil, received, forwarded(why, resp.StatusCode)), nil
	}

	c.count(func(s *CacheStats) { s.Misses++ })
	status := forwarded(why, resp.StatusCode)
	fresh := c.record(r, resp, asked, received)
	if reason := storable(r, asks, fresh); reason != "" || resp.ContentLength > c.maxObject() {
		if e != nil && resp.StatusCode < 500 {
			// What is stored is outdated, and this cannot take its place.
			c.mu.Lock()
			c.remove(e)
			c.mu.Unlock()
		}
		resp.Body = passed(r, resp.Body, cancel)
		c.mark(r, resp, status)
		return resp, nil
	}
	body, err := c.store().Create()
	if err != nil { // the disk is full, perhaps: a cache less, an answer all the same
		resp.Body = passed(r, resp.Body, cancel)
		c.mark(r, resp, status+"; detail=store-failed")
		return resp, nil
	}
	done = true
	// The filling holds a reference until it is over, its reader another one.
	fresh.Size = resp.ContentLength
	filled := &entry{body: body, rec: fresh, refs: 2}
	fill := &filling{c: c, f: f, e: filled, body: body, src: resp.Body, cancel: cancel, request: r.Header, size: fresh.Size, readers: 1, changed: make(chan struct{})}
	filled.fill = fill
	if resp.ContentLength >= 0 {
		// Others may read it while it comes, so that there must be room for all.
		c.mu.Lock()
		if fill.failed = !c.reserve(filled, fresh.Size); !fill.failed {
			f.land(filled)
		}
		c.mu.Unlock()
	}
	resp.Body = fill.reader(r)
	if resp.ContentLength == 0 {
		fill.err = io.EOF
		fill.finish()
	}
	c.mark(r, resp, status+"; stored")
	return resp, nil
}

// record makes one of a response.
func (c *Cache) record(r *http.Request, resp *http.Response, asked, received time.Time) *record {
	rec := &record{Key: cacheKey(r), Status: resp.StatusCode, Header: resp.Header.Clone(), Asked: asked, Received: received}
	stripHop(rec.Header)
	rec.Vary = varying(r.Header, rec.Header)
	rec.prepare(c.targets())
	return rec
}

func (c *Cache) hold(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.refs++
}

// A passedBody is a body that is not stored; its end ends the question, and so
// does that of the client's.
type passedBody struct {
	io.ReadCloser
	unwatch func() bool
	cancel  context.CancelFunc
}

func passed(r *http.Request, body io.ReadCloser, cancel context.CancelFunc) *passedBody {
	return &passedBody{body, context.AfterFunc(r.Context(), cancel), cancel}
}

func (b *passedBody) Close() error {
	b.unwatch()
	defer b.cancel()
	return b.ReadCloser.Close()
}

// A filling is a body on its way from the origin into the store. Whoever of
// its readers needs more than is there fetches it, for all: it comes at the
// pace of the fastest.
type filling struct {
	c       *Cache
	f       *flight
	e       *entry
	body    CacheBody // that of e, also when e has lost it
	src     io.ReadCloser
	cancel  context.CancelFunc
	request http.Header // that of the first reader
	size    int64       // of the body, as announced; -1 if it was not

	mu      sync.Mutex
	have    int64
	err     error         // how it ended; io.EOF is well
	kept    int64         // of these, bytes that can be read back
	failed  bool          // what comes is not stored any more
	busy    bool          // somebody is fetching
	changed chan struct{} // closed, and made anew, when something has changed
	readers int
}

var errReaderGone = errors.New("httpx: read of a body that is closed, or whose request is over")

var errNotKept = errors.New("httpx: the cache could not keep what others were waiting for")

// join lets one more read, from the beginning. It fails when all are gone.
func (f *filling) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers == 0 && f.err == nil || f.failed || f.err != nil && f.err != io.EOF {
		return false
	}
	f.readers++
	return true
}

// read reads at a position of the body, unless the reader has gone.
func (f *filling) read(gone <-chan struct{}, p []byte, at int64) (int, error) {
	f.mu.Lock()
	for {
		switch {
		case at < f.kept:
			n := min(int64(len(p)), f.kept-at)
			f.mu.Unlock()
			got, err := f.body.ReadAt(p[:n], at)
			if got > 0 || err == nil {
				return got, nil
			}
			return 0, fmt.Errorf("httpx: cache store: %w", unexpectedEOF(err))
		case f.err != nil:
			err := f.err
			f.mu.Unlock()
			return 0, err
		case at < f.have: // what is missing went by, to another reader
			f.mu.Unlock()
			return 0, errNotKept
		case !f.busy:
			f.busy = true
			f.mu.Unlock()
			return f.fetch(p)
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-gone:
			return 0, errReaderGone
		}
		f.mu.Lock()
	}
}

// fetch reads the next bytes from the origin into p and into the store.
func (f *filling) fetch(p []byte) (int, error) {
	if f.size >= 0 { // more than was announced is not part of it
		p = p[:min(int64(len(p)), f.size-f.have)]
	}
	n, err := f.src.Read(p)
	keep := !f.failed && f.keep(p[:n])
	f.mu.Lock()
	f.have += int64(n)
	if keep {
		f.kept = f.have
	}
	f.failed = !keep
	switch {
	case f.err != nil: // all readers have gone meanwhile
		err = f.err
	case f.have == f.size && err == nil:
		err = io.EOF // all that was announced: nobody may ask for more
	case f.have < f.size && err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	f.err = err
	f.busy = false
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	if !keep || err != nil {
		f.finish()
	}
	if n > 0 {
		return n, nil
	}
	return n, err
}

// keep stores bytes; false if that is not possible any more.
func (f *filling) keep(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	if f.size < 0 { // otherwise there is room for all
		f.c.mu.Lock()
		ok := f.have+int64(len(p)) <= f.c.maxObject() && f.c.reserve(f.e, int64(len(p)))
		f.c.mu.Unlock()
		if !ok {
			return false
		}
	}
	_, err := f.body.Write(p)
	return err == nil
}

// finish puts the whole body into the cache, or gives up a broken one.
func (f *filling) finish() {
	c := f.c
	f.mu.Lock()
	good := f.err == io.EOF && !f.failed
	f.mu.Unlock()
	if good {
		good = c.keepWhole(f)
	}
	c.mu.Lock()
	if good {
		f.f.land(f.e)
	}
	c.mu.Unlock()
	c.over(f.f)
	c.mu.Lock()
	if f.e.fill != nil {
		f.e.fill = nil
		f.e.refs-- // the filling's own
		c.release(f.e)
	}
	c.mu.Unlock()
}

// keepWhole puts an entry that is complete into the place of those it
// supersedes.
func (c *Cache) keepWhole(f *filling) bool {
	e := f.e
	rec := *e.rec
	rec.Size = f.have
	if rec.Header["Content-Length"] == nil && rec.Status != http.StatusNoContent {
		rec.Header = rec.Header.Clone()
		rec.Header["Content-Length"] = []string{strconv.FormatInt(f.have, 10)}
	}
	if c.Store != nil {
		data, err := rec.marshal()
		if err == nil {
			err = e.body.Keep(data)
		}
		if err != nil {
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.f.doomed || c.closed || e.place != nil || !c.reserve(e, rec.cost()-rec.Size) {
		_ = e.body.Keep(nil)
		return false
	}
	for _, old := range c.entries[rec.Key] {
		if old.rec.matches(f.request) {
			defer c.remove(old)
		}
	}
	e.rec = &rec
	c.insert(e)
	c.stats.Stored++
	return true
}

// leave is what a reader does that closes its body. When the last one goes
// before the end, the origin need not send the rest. A read that is under way
// cleans up itself.
func (f *filling) leave() {
	f.mu.Lock()
	f.readers--
	gone := f.readers == 0
	abandoned := gone && f.err == nil
	if abandoned {
		f.err = io.ErrUnexpectedEOF
	}
	busy := f.busy
	f.mu.Unlock()
	if abandoned && !busy {
		f.finish()
	}
	if gone {
		f.cancel()
		f.src.Close()
	}
	f.c.leave(f.e)
}

// A fillReader is one reader of a filling.
type fillReader struct {
	fill    *filling
	gone    <-chan struct{} // the client is
	unwatch func() bool
	at      int64
	closed  sync.Once
}

// reader returns the body of a response to r. It is closed when the client
// goes: nobody waits then for an origin that is silent.
func (f *filling) reader(r *http.Request) *fillReader {
	body := &fillReader{fill: f, gone: r.Context().Done()}
	body.unwatch = context.AfterFunc(r.Context(), func() { body.closed.Do(f.leave) })
	return body
}

func (r *fillReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.fill.read(r.gone, p, r.at)
	r.at += int64(n)
	return n, err
}

func (r *fillReader) Close() error {
	r.unwatch()
	r.closed.Do(r.fill.leave)
	return nil
}
