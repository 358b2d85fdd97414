package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
)

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
	request http.Header   // that of the first reader
	size    int64         // of the body, as announced; -1 if it was not
	over    chan struct{} // closed when it is in the cache, or never will be

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
		case at == toTheEnd && f.failed, at < f.have: // what is missing went by, to another reader
			f.mu.Unlock()
			return 0, errNotKept
		case !f.busy:
			f.busy = true
			f.mu.Unlock()
			return f.fetch(p, at == toTheEnd)
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

// toTheEnd is where one reads who wants nothing but that the body gets on.
const toTheEnd = math.MaxInt64

// drain fetches what there is, as far as it can be kept for the others, and
// waits until that is in the cache.
func (f *filling) drain(gone <-chan struct{}) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		if _, err := f.read(gone, *buf, toTheEnd); err != nil {
			break
		}
	}
	select {
	case <-f.over:
	case <-gone:
	}
}

// fetch reads the next bytes from the origin into p and into the store;
// if that is for others alone, only if there is room.
func (f *filling) fetch(p []byte, others bool) (int, error) {
	room := !f.failed
	if f.size >= 0 { // more than was announced is not part of it
		p = p[:min(int64(len(p)), f.size-f.have)]
	} else if room {
		if left := f.c.maxObject() - f.have; left > 0 {
			p = p[:min(int64(len(p)), left)]
			f.c.mu.Lock()
			room = f.c.reserve(f.e, int64(len(p)))
			f.c.mu.Unlock()
		} else {
			room = false
		}
	}
	if others && !room {
		f.mu.Lock()
		f.failed, f.busy = true, false
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
		f.finish()
		return 0, errNotKept
	}
	n, err := f.src.Read(p)
	keep := !f.failed && f.keep(p, n, room)
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

// keep stores the n bytes that were read into p, and gives the rest of the room
// back that there was for p; false if they cannot be stored.
func (f *filling) keep(p []byte, n int, room bool) bool {
	if room && f.size < 0 {
		f.c.mu.Lock()
		f.c.used -= int64(len(p) - n)
		f.e.size -= int64(len(p) - n)
		f.c.mu.Unlock()
	}
	if n == 0 {
		return true
	}
	if !room {
		return false
	}
	_, err := f.body.Write(p[:n])
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
		close(f.over)
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
