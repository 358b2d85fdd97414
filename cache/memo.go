package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// A MemoConfig says what a [Memo] remembers, for how long and where. nil and
// the zero value stand for 10,000 values in this process, without a time
// limit.
type MemoConfig[K comparable, V any] struct {
	// TTL is how long a value is good. 0 or less means until there is no room
	// for it.
	TTL time.Duration

	// Stale is for how long after TTL an old value may still be given out,
	// while a new one is computed in the background (stale-while-revalidate).
	// 0 means that after TTL callers wait.
	Stale time.Duration

	// NotFound is an error that is an answer and worth remembering, such as
	// sql.ErrNoRows (negative caching). The function's error counts as it if
	// errors.Is says so, and callers get NotFound itself. Other errors are
	// never remembered; nil means that none is.
	NotFound error

	// NotFoundTTL is how long that answer is good. 0 means for TTL.
	NotFoundTTL time.Duration

	// Timeout bounds one computation: the function's context ends then. 0 means
	// one minute; negative, no limit.
	Timeout time.Duration

	// Max and Size bound what is kept in this process, see [Config].
	Max  int
	Size func(key K, value V) int

	// Store, if not nil, keeps the values instead of this process. It is
	// shared by all programs that use the same Name for the same function.
	Store Store

	// Name begins the keys in Store, followed by a colon and K: a string or an
	// integer as it is, other types as %#v shows them. What is then no key of
	// memcached's is replaced by its SHA-256.
	Name string

	// Marshal and Unmarshal turn values into bytes for Store and back. nil
	// stands for encoding/gob.
	Marshal   func(V) ([]byte, error)
	Unmarshal func([]byte) (V, error)

	// OnStoreError, if not nil, is called when Store fails with another error
	// than ErrMiss, or what it holds cannot be read. The memo goes on without:
	// a cache that is away makes things slow, not wrong.
	OnStoreError func(error)
}

// MemoStats counts what a [Memo] has done.
type MemoStats struct {
	Hits        int64 // calls answered with what was remembered and good
	StaleHits   int64 // calls answered with an old value
	Misses      int64 // calls that found nothing and waited, many perhaps for one computation
	Computed    int64 // computations that have ended
	Errors      int64 // of these, with an error that is not NotFound, or a panic
	StoreErrors int64 // failures of Store
}

// A Memo is a function with a memory: it computes the value of a key once and
// then remembers it. Its methods may be called by several goroutines at a time.
// Callers share what is remembered in this process: nobody may change a value.
type Memo[K comparable, V any] struct {
	f      func(context.Context, K) (V, error)
	cfg    MemoConfig[K, V]
	memory memory[K, V]

	mu      sync.Mutex
	calls   map[K]*call[V]        // those that a caller may join
	running map[*call[V]]struct{} // all
	closed  bool
	wg      sync.WaitGroup // their goroutines

	hits, staleHits, misses, computed, errors, storeErrors atomic.Int64
}

// A call is a computation that is under way.
type call[V any] struct {
	done     chan struct{} // closed when the next three are set
	record   memoRecord[V]
	err      error
	panicked *panicError

	waiters   int                // callers that want the result
	revalid   bool               // wanted even without callers
	forgotten bool               // Delete was called: the result must not be remembered
	cancel    context.CancelFunc // of the function's context
}

// A memoRecord is what is remembered.
type memoRecord[V any] struct {
	value    V
	notFound bool      // there is no value, and the answer is MemoConfig.NotFound
	fresh    time.Time // until when it is good; zero means for ever
}

// NewMemo returns a memo for f, which computes the value of a key. In one line,
// for a function that is called as before:
//
//	square := cache.NewMemo(slowSquare, nil).Get
//
// Callers that ask for the same key at the same time wait for one computation.
// Its context has the values of the first caller's, but not its end: it
// ends when no caller waits any more, after cfg.Timeout, or with [Memo.Close].
func NewMemo[K comparable, V any](f func(context.Context, K) (V, error), cfg *MemoConfig[K, V]) *Memo[K, V] {
	m := &Memo[K, V]{f: f, calls: make(map[K]*call[V]), running: make(map[*call[V]]struct{})}
	if cfg != nil {
		m.cfg = *cfg
	}
	m.cfg.TTL, m.cfg.Stale = max(0, m.cfg.TTL), max(0, m.cfg.Stale)
	if m.cfg.NotFoundTTL <= 0 {
		m.cfg.NotFoundTTL = m.cfg.TTL
	}
	if m.cfg.Timeout == 0 {
		m.cfg.Timeout = time.Minute
	}
	if m.cfg.Store != nil {
		m.memory = newRemote(&m.cfg)
	} else {
		m.memory = newInProcess(&m.cfg)
	}
	return m
}

// Get returns the value of key: the one remembered, or else what the function
// returns. An error that is not NotFound goes to those who wait for it and is
// forgotten; a panic of the function happens again in them. If ctx ends first,
// Get returns with its cause, and the computation goes on for the other
// callers. After Close the error is [net.ErrClosed].
func (m *Memo[K, V]) Get(ctx context.Context, key K) (V, error) {
	before := m.computed.Load()
	if r, age := m.recall(ctx, key); age != tooOld {
		return m.answer(ctx, key, r, age)
	}
	m.mu.Lock()
	c := m.calls[key]
	if c == nil {
		err := context.Cause(ctx)
		if m.closed {
			err = net.ErrClosed
		}
		if err != nil {
			m.mu.Unlock()
			var none V
			return none, fmt.Errorf("cache: memo of %v: %w", key, err)
		}
		c = m.start(ctx, key, m.computed.Load() != before)
	}
	c.waiters++
	m.mu.Unlock()
	m.misses.Add(1)
	return m.wait(ctx, key, c)
}

// answer gives out what was remembered.
func (m *Memo[K, V]) answer(ctx context.Context, key K, r memoRecord[V], age memoAge) (V, error) {
	if age == fresh {
		m.hits.Add(1)
		return m.open(r)
	}
	m.staleHits.Add(1)
	m.mu.Lock()
	if !m.closed && m.calls[key] == nil {
		m.start(ctx, key, true).revalid = true
	}
	m.mu.Unlock()
	return m.open(r)
}

// open returns what a record stands for.
func (m *Memo[K, V]) open(r memoRecord[V]) (V, error) {
	if r.notFound {
		return r.value, m.cfg.NotFound
	}
	return r.value, nil
}

// start begins the computation for key. With look it looks first whether the
// value is there by now: a computation that has ended since the caller looked may
// have been for this key. The caller holds the lock.
func (m *Memo[K, V]) start(ctx context.Context, key K, look bool) *call[V] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &call[V]{done: make(chan struct{}), cancel: cancel}
	m.running[c] = struct{}{}
	if key == key { // nobody finds a NaN (not a number) again
		m.calls[key] = c
	}
	m.wg.Go(func() {
		defer cancel()
		if m.cfg.Timeout > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, m.cfg.Timeout)
			defer stop()
		}
		m.run(ctx, key, c, look)
	})
	return c
}

// wait waits for c to end.
func (m *Memo[K, V]) wait(ctx context.Context, key K, c *call[V]) (V, error) {
	select {
	case <-c.done:
		if c.panicked != nil {
			panic(c.panicked)
		}
		if c.err != nil {
			return c.record.value, c.err
		}
		return m.open(c.record)
	case <-ctx.Done():
		m.mu.Lock()
		c.waiters--
		if c.waiters == 0 && !c.revalid {
			c.cancel()
			m.detach(key, c) // who asks from now on must not wait for a cancelled computation
		}
		m.mu.Unlock()
		var none V
		return none, fmt.Errorf("cache: waiting for %v: %w", key, context.Cause(ctx))
	}
}

// detach lets the next caller begin anew. The caller holds the lock.
func (m *Memo[K, V]) detach(key K, c *call[V]) {
	if m.calls[key] == c {
		delete(m.calls, key)
	}
}

var errGoexit = errors.New("cache: the function ended its goroutine instead of returning")

// run computes the value of key, remembers it and gives it to those who wait.
func (m *Memo[K, V]) run(ctx context.Context, key K, c *call[V], look bool) {
	worked := int64(0)
	c.err = errGoexit // for the case that the function does not come back
	defer func() {
		if p := recover(); p != nil {
			c.panicked = &panicError{p, debug.Stack()}
			c.err = c.panicked
		}
		m.mu.Lock()
		m.detach(key, c)
		delete(m.running, c)
		m.computed.Add(worked)
		m.mu.Unlock()
		if c.err != nil {
			m.errors.Add(1)
		}
		close(c.done)
	}()
	if look {
		// As long as we are in m.calls nobody else computes this key.
		if r, age := m.recall(ctx, key); age == fresh {
			c.record, c.err = r, nil
			return
		}
	}
	worked = 1
	c.record, c.err = m.compute(ctx, key)
	if c.err == nil {
		m.remember(ctx, key, c)
	}
}

// compute calls the function.
func (m *Memo[K, V]) compute(ctx context.Context, key K) (r memoRecord[V], err error) {
	r.value, err = m.f(ctx, key)
	ttl := m.cfg.TTL
	if err != nil {
		if m.cfg.NotFound == nil || !errors.Is(err, m.cfg.NotFound) {
			return r, err
		}
		r, ttl = memoRecord[V]{notFound: true}, m.cfg.NotFoundTTL
	}
	if ttl > 0 {
		r.fresh = time.Now().Add(ttl)
	}
	return r, nil
}

// A panicError carries a panic from the goroutine that computes to those who
// wait.
type panicError struct {
	value any
	stack []byte
}

// Error returns the panic's value and where it happened.
func (p *panicError) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Unwrap returns the panic's value if that is an error.
func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// remember stores the result of c, unless Delete came in between: then the
// result may be older than what Delete was called for.
func (m *Memo[K, V]) remember(ctx context.Context, key K, c *call[V]) {
	if m.isForgotten(c) {
		return
	}
	ttl := time.Duration(0)
	if !c.record.fresh.IsZero() {
		ttl = max(1, time.Until(c.record.fresh)) + m.cfg.Stale
	}
	m.storeError(ctx, m.memory.set(ctx, key, c.record, ttl))
	if m.isForgotten(c) { // while it was stored
		m.storeError(ctx, m.memory.delete(ctx, key))
	}
}

func (m *Memo[K, V]) isForgotten(c *call[V]) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.forgotten
}

// The age of a memoRecord.
type memoAge int

const (
	tooOld memoAge = iota // or not there at all
	stale                 // to be given out once more, and renewed
	fresh
)

// recall returns what is remembered of key.
func (m *Memo[K, V]) recall(ctx context.Context, key K) (memoRecord[V], memoAge) {
	r, err := m.memory.get(ctx, key)
	if err != nil {
		if !errors.Is(err, ErrMiss) {
			m.storeError(ctx, err)
		}
		return r, tooOld
	}
	if r.fresh.IsZero() {
		return r, fresh
	}
	switch past := time.Since(r.fresh); {
	case past < 0:
		return r, fresh
	case past < m.cfg.Stale:
		return r, stale
	}
	return r, tooOld // a store that counts in seconds keeps it for longer than we asked
}

// storeError reports a failure of the store. If the caller has gone away, that
// is the reason, and no failure.
func (m *Memo[K, V]) storeError(ctx context.Context, err error) {
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	m.storeErrors.Add(1)
	if m.cfg.OnStoreError != nil {
		m.cfg.OnStoreError(err)
	}
}

// Delete makes the memo forget key, for instance because what its value was
// computed from has changed. A computation under way is not remembered either,
// and callers from now on do not wait for it. An error is Store's: then the old
// value may still be there, until its time is over.
func (m *Memo[K, V]) Delete(ctx context.Context, key K) error {
	m.mu.Lock()
	if c := m.calls[key]; c != nil {
		c.forgotten = true
		m.detach(key, c)
	}
	m.mu.Unlock()
	err := m.memory.delete(ctx, key)
	m.storeError(ctx, err)
	return err
}

// Close ends the computations under way, those in the background too, and waits
// for them. What is remembered still answers; who would have to wait for a
// computation gets [net.ErrClosed]. A memo without Stale need not be closed: it
// computes nothing for which no caller waits.
func (m *Memo[K, V]) Close() error {
	m.mu.Lock()
	m.closed = true
	for c := range m.running {
		c.cancel()
	}
	m.mu.Unlock()
	m.wg.Wait()
	return nil
}

// Stats returns the counts so far.
func (m *Memo[K, V]) Stats() MemoStats {
	return MemoStats{
		Hits:        m.hits.Load(),
		StaleHits:   m.staleHits.Load(),
		Misses:      m.misses.Load(),
		Computed:    m.computed.Load(),
		Errors:      m.errors.Load(),
		StoreErrors: m.storeErrors.Load(),
	}
}
