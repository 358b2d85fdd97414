package httpx

import (
	"context"
	"io"
	"net/http"
	"slices"
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
	if fill.size < 0 {
		// Whether there is room for it shows at its end. Until then nothing of
		// it goes to r, but r need not wait for a slow client either.
		body := fill.reader(r)
		defer body.Close()
		fill.drain(body.gone)
		return nil, r.Context().Err() == nil, context.Cause(r.Context())
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
	fill := &filling{c: c, f: f, e: filled, body: body, src: resp.Body, cancel: cancel, request: r.Header, size: fresh.Size, readers: 1, over: make(chan struct{}), changed: make(chan struct{})}
	filled.fill = fill
	c.mu.Lock()
	// Others may read it while it comes, so that there must be room for all.
	if fill.failed = fill.size >= 0 && !c.reserve(filled, fill.size); !fill.failed {
		f.land(filled)
	}
	c.mu.Unlock()
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
