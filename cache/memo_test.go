package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var _ Store = (*Client)(nil)

// A memoStore is a Store in memory, as far away as delay says.
type memoStore struct {
	delay  time.Duration
	broken error // what every call returns

	mu     sync.Mutex
	values map[string][]byte
	until  map[string]time.Time
}

func newMemoStore() *memoStore {
	return &memoStore{delay: time.Millisecond, values: map[string][]byte{}, until: map[string]time.Time{}}
}

func (s *memoStore) travel(ctx context.Context) error {
	select {
	case <-time.After(s.delay):
		return s.broken
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *memoStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.travel(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := s.until[key]; s.values[key] == nil || !end.IsZero() && !time.Now().Before(end) {
		return nil, fmt.Errorf("fake: %s: %w", key, ErrMiss)
	}
	return s.values[key], nil
}

func (s *memoStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.travel(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key], s.until[key] = value, time.Time{}
	if ttl > 0 { // in whole seconds, as memcached does it
		s.until[key] = time.Now().Add((ttl + time.Second - 1).Truncate(time.Second))
	}
	return nil
}

func (s *memoStore) Delete(ctx context.Context, key string) error {
	if err := s.travel(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values[key] == nil {
		return ErrMiss
	}
	delete(s.values, key)
	return nil
}

// A slowSquare counts its calls and takes a second for each.
type slowSquare struct {
	mu    sync.Mutex
	calls int
	err   error // of the calls to come
}

func (f *slowSquare) square(ctx context.Context, n int) (int, error) {
	f.mu.Lock()
	f.calls++
	err := f.err
	f.mu.Unlock()
	select {
	case <-time.After(time.Second):
		return n * n, err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (f *slowSquare) fail(err error) { f.mu.Lock(); f.err = err; f.mu.Unlock() }

func (f *slowSquare) count() int { f.mu.Lock(); defer f.mu.Unlock(); return f.calls }

// inBothMemories runs a test in virtual time with values kept in this process
// and with values kept in a store.
func inBothMemories(t *testing.T, f func(t *testing.T, store Store)) {
	t.Run("in process", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, nil) }) })
	t.Run("store", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, newMemoStore()) }) })
}

func TestMemo(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		f := &slowSquare{}
		m := NewMemo(f.square, &MemoConfig[int, int]{TTL: time.Minute, Store: store, Name: "sq"})
		for range 3 {
			v, err := m.Get(t.Context(), 12)
			require.NoError(t, err)
			require.Equal(t, 144, v)
		}
		require.Equal(t, MemoStats{Hits: 2, Misses: 1, Computed: 1}, m.Stats())
		time.Sleep(time.Minute)
		_, err := m.Get(t.Context(), 12)
		require.NoError(t, err)
		require.Equal(t, 2, f.count())
		require.NoError(t, m.Delete(t.Context(), 12))
		require.NoError(t, m.Delete(t.Context(), 12))
		_, err = m.Get(t.Context(), 12)
		require.NoError(t, err)
		require.Equal(t, 3, f.count())
		require.NoError(t, m.Close())
	})
}

// TestMemoShares lets a hundred callers ask for one key, some at once, some
// while it is computed, some when that has just ended.
func TestMemoShares(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		f := &slowSquare{}
		m := NewMemo(f.square, &MemoConfig[int, int]{Store: store})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 11 * time.Millisecond)
				v, err := m.Get(t.Context(), 12)
				assert.NoError(t, err)
				assert.Equal(t, 144, v)
			})
		}
		wg.Wait()
		require.Equal(t, 1, f.count())
		s := m.Stats()
		require.EqualValues(t, 100, s.Hits+s.Misses)
		require.EqualValues(t, 1, s.Computed)
	})
}

// A store that is slow to answer: when a caller learns that the key is not
// there, it may be there already.
func TestMemoLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowSquare{}
		store := newMemoStore()
		store.delay = 700 * time.Millisecond
		m := NewMemo(f.square, &MemoConfig[int, int]{Store: store})
		var wg sync.WaitGroup
		for i := range 5 { // looked at 0…, computed until 1.7 s, stored at 2.4 s
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 500 * time.Millisecond)
				_, err := m.Get(t.Context(), 12)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		require.Equal(t, 1, f.count())
	})
}

// A caller that gives up does not take the computation from the others; the
// last one to give up ends it.
func TestMemoCancel(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		f := &slowSquare{}
		m := NewMemo(f.square, &MemoConfig[int, int]{Store: store})
		type key struct{}
		first, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
		reason := errors.New("enough")
		errs := make(chan error, 2)
		go func() { _, err := m.Get(first, 12); errs <- err }()
		time.Sleep(100 * time.Millisecond)
		go func() { _, err := m.Get(t.Context(), 12); errs <- err }()
		time.Sleep(100 * time.Millisecond)
		cancel(reason)
		require.ErrorIs(t, <-errs, reason)
		require.NoError(t, <-errs)
		require.Equal(t, 1, f.count())

		short, cancelShort := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancelShort()
		start := time.Now()
		_, err := m.Get(short, 13)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 500*time.Millisecond, time.Since(start))
		synctest.Wait() // the computation has ended too, or the bubble would complain
		require.EqualValues(t, 1, m.Stats().Errors)

		v, err := m.Get(t.Context(), 13)
		require.NoError(t, err, "nobody joins a computation that was cancelled")
		require.Equal(t, 169, v)

		before := f.count()
		_, err = m.Get(first, 14)
		require.ErrorIs(t, err, reason)
		require.Equal(t, before, f.count(), "nothing begins for a caller that is gone")
	})
}

func TestMemoContextValues(t *testing.T) {
	type key struct{}
	m := NewMemo(func(ctx context.Context, _ int) (any, error) { return ctx.Value(key{}), nil }, nil)
	v, err := m.Get(context.WithValue(t.Context(), key{}, "mine"), 1)
	require.NoError(t, err)
	require.Equal(t, "mine", v)
}

func TestMemoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for timeout, want := range map[time.Duration]error{
			500 * time.Millisecond: context.DeadlineExceeded,
			0:                      nil,
			-1:                     nil,
		} {
			m := NewMemo((&slowSquare{}).square, &MemoConfig[int, int]{Timeout: timeout})
			_, err := m.Get(t.Context(), 1)
			require.ErrorIs(t, err, want)
		}
	})
}

// Errors are shared by those who wait and then forgotten.
func TestMemoErrors(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		f := &slowSquare{err: errors.New("the disk is on fire")}
		m := NewMemo(f.square, &MemoConfig[int, int]{Store: store})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				_, err := m.Get(t.Context(), 1)
				assert.Equal(t, f.err, err)
			})
		}
		wg.Wait()
		require.Equal(t, 1, f.count())
		f.fail(nil)
		v, err := m.Get(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, 1, v)
	})
}

// "There is none" is an answer, and is remembered for a time of its own.
func TestMemoNotFound(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		errNone := errors.New("no such row")
		f := &slowSquare{err: fmt.Errorf("select: %w", errNone)}
		m := NewMemo(f.square, &MemoConfig[int, int]{
			Store: store, TTL: time.Hour, NotFound: errNone, NotFoundTTL: 5 * time.Second,
		})
		for range 3 {
			v, err := m.Get(t.Context(), 1)
			require.Equal(t, errNone, err)
			require.Zero(t, v)
		}
		require.Equal(t, MemoStats{Hits: 2, Misses: 1, Computed: 1}, m.Stats())
		time.Sleep(5 * time.Second)
		f.fail(nil)
		v, err := m.Get(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, 1, v)
	})
}

// Nobody waits for a value that is a little old, and one computation renews it.
func TestMemoStale(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		f := &slowSquare{}
		m := NewMemo(f.square, &MemoConfig[int, int]{Store: store, TTL: time.Minute, Stale: time.Minute})
		get := func() {
			v, err := m.Get(t.Context(), 3)
			require.NoError(t, err)
			require.Equal(t, 9, v)
		}
		get()
		time.Sleep(90 * time.Second)
		start := time.Now()
		for range 5 {
			get()
		}
		require.Less(t, time.Since(start), 10*time.Millisecond)
		time.Sleep(2 * time.Second)
		require.Equal(t, 2, f.count())
		get()
		require.Equal(t, MemoStats{Hits: 1, StaleHits: 5, Misses: 1, Computed: 2}, m.Stats())

		// While it cannot be renewed the old one serves until it is too old.
		f.fail(errors.New("the database is away"))
		time.Sleep(100 * time.Second)
		get()
		time.Sleep(time.Minute)
		_, err := m.Get(t.Context(), 3)
		require.Error(t, err)

		require.NoError(t, m.Close())
	})
}

// A value that was computed before Delete, and comes in after it, is not
// remembered: it may be what Delete was to get rid of.
func TestMemoDeleteWhileComputing(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		var table, started atomic.Int64
		table.Store(1)
		m := NewMemo(func(context.Context, string) (int64, error) {
			started.Add(1)
			row := table.Load()
			time.Sleep(time.Second) // the row travels
			return row, nil
		}, &MemoConfig[string, int64]{Store: store, Name: "row"})
		early := make(chan int64)
		go func() { v, _ := m.Get(t.Context(), "a"); early <- v }()
		time.Sleep(500 * time.Millisecond)
		table.Store(2)
		require.NoError(t, m.Delete(t.Context(), "a"))
		late, err := m.Get(t.Context(), "a")
		require.NoError(t, err)
		require.EqualValues(t, 2, late, "who asks after Delete gets the new value")
		require.EqualValues(t, 1, <-early)
		v, err := m.Get(t.Context(), "a")
		require.NoError(t, err)
		require.EqualValues(t, 2, v)
		require.EqualValues(t, 2, started.Load())
	})
}

// The same, with Delete while the old value is on its way into the store.
func TestMemoDeleteWhileStoring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoStore()
		store.delay = time.Second
		m := NewMemo((&slowSquare{}).square, &MemoConfig[int, int]{Store: store})
		done := make(chan error)
		go func() { _, err := m.Get(t.Context(), 2); done <- err }()
		time.Sleep(2500 * time.Millisecond) // looked up at 1 s, computed at 2 s, stored at 3 s
		require.NoError(t, m.Delete(t.Context(), 2))
		require.NoError(t, <-done)
		require.Empty(t, store.values)
	})
}

// A store that is away, or full of rubbish, makes things slow, not wrong.
func TestMemoStoreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, store := &slowSquare{}, newMemoStore()
		var seen []string
		m := NewMemo(f.square, &MemoConfig[int, int]{
			Store: store, Name: "sq", OnStoreError: func(err error) { seen = append(seen, err.Error()) },
		})
		get := func() {
			v, err := m.Get(t.Context(), 3)
			require.NoError(t, err)
			require.Equal(t, 9, v)
		}
		store.broken = errors.New("connection refused")
		get()
		require.Equal(t, []string{"connection refused", "connection refused"}, seen)
		require.EqualError(t, m.Delete(t.Context(), 3), "connection refused")
		require.EqualValues(t, 3, m.Stats().StoreErrors)

		store.broken = nil
		for _, rubbish := range []string{"x", "v0 no gob"} {
			store.values["sq:3"] = []byte(rubbish)
			get()
		}
		require.Equal(t, "cache: memo: sq:3 holds nothing that a memo has stored", seen[3])
		require.Contains(t, seen[4], "cache: memo: sq:3: ")
		get()
		require.Len(t, seen, 5, "what was rubbish has been replaced")

		// A caller that leaves is no failure of the store.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := m.Get(ctx, 4)
		require.ErrorIs(t, err, context.Canceled)
		require.Len(t, seen, 5)
	})
}

func TestMemoCannotStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemo(func(context.Context, int) (func(), error) { return func() {}, nil }, &MemoConfig[int, func()]{Store: newMemoStore()})
		v, err := m.Get(t.Context(), 1)
		require.NoError(t, err)
		require.NotNil(t, v)
		require.EqualValues(t, 1, m.Stats().StoreErrors)
	})
}

// A panic happens in the callers, who can recover from it, and not in a
// goroutine of ours, which would end the program.
func TestMemoPanic(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		broken := errors.New("broken")
		m := NewMemo(func(_ context.Context, n int) (int, error) {
			time.Sleep(time.Second)
			if n == 0 {
				panic(broken)
			}
			runtime.Goexit()
			return 0, nil
		}, &MemoConfig[int, int]{Store: store})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				defer func() {
					err, _ := recover().(error)
					assert.ErrorIs(t, err, broken)
					assert.ErrorContains(t, err, "memo_test.go", "where it happened")
				}()
				m.Get(t.Context(), 0)
			})
		}
		wg.Wait()
		_, err := m.Get(t.Context(), 1)
		require.ErrorIs(t, err, errGoexit)
		require.EqualValues(t, 2, m.Stats().Errors)
	})
}

// The same for a function of the caller's that turns values into bytes.
func TestMemoMarshalPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemo((&slowSquare{}).square, &MemoConfig[int, int]{
			Store: newMemoStore(), Marshal: func(int) ([]byte, error) { panic("no bytes") },
		})
		require.Panics(t, func() { m.Get(t.Context(), 1) })
		require.Empty(t, m.calls)
	})
}

func TestMemoClose(t *testing.T) {
	inBothMemories(t, func(t *testing.T, store Store) {
		f := &slowSquare{}
		m := NewMemo(f.square, &MemoConfig[int, int]{Store: store, TTL: time.Minute, Stale: time.Hour})
		_, err := m.Get(t.Context(), 1)
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		_, err = m.Get(t.Context(), 1) // begins to renew it
		require.NoError(t, err)
		errs := make(chan error)
		go func() { _, err := m.Get(t.Context(), 2); errs <- err }()
		go func() { _, err := m.Get(t.Context(), 3); errs <- err }()
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, m.Delete(t.Context(), 3)) // nobody joins it now, but it runs
		start := time.Now()
		require.NoError(t, m.Close())
		require.Zero(t, time.Since(start), "Close ends what is under way")
		require.ErrorIs(t, <-errs, context.Canceled)
		require.ErrorIs(t, <-errs, context.Canceled)
		_, err = m.Get(t.Context(), 4)
		require.ErrorIs(t, err, net.ErrClosed)
		v, err := m.Get(t.Context(), 1)
		require.NoError(t, err, "what is remembered still answers")
		require.Equal(t, 1, v)
		require.NoError(t, m.Close())
	})
}

func TestMemoSize(t *testing.T) {
	f := func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil }
	m := NewMemo(f, &MemoConfig[int, string]{Max: 1000, Size: func(_ int, v string) int { return len(v) }})
	for _, n := range []int{500, 500, 1001, 1001} {
		_, err := m.Get(t.Context(), n)
		require.NoError(t, err)
	}
	require.Equal(t, MemoStats{Hits: 1, Misses: 3, Computed: 3}, m.Stats(), "what is too large is computed each time")
}

// A key that is not equal to itself is found nowhere, and must not be kept.
func TestMemoNaN(t *testing.T) {
	m := NewMemo(func(_ context.Context, x float64) (float64, error) { return x, nil }, nil)
	for range 3 {
		_, err := m.Get(t.Context(), math.NaN())
		require.NoError(t, err)
	}
	require.Empty(t, m.calls)
	require.Empty(t, m.running)
}

type stringer string

func (stringer) String() string { return "always the same" }

func TestMemoKeys(t *testing.T) {
	type pair struct{ A, B string }
	check := func(got, want string) {
		t.Helper()
		require.Equal(t, want, got)
	}
	check(newRemote(&MemoConfig[int, int]{Name: "sq"}).key(-12), "sq:-12")
	check(newRemote(&MemoConfig[uint8, int]{Name: "sq"}).key(200), "sq:200")
	check(newRemote(&MemoConfig[string, int]{Name: "user"}).key("josé"), "user:josé")
	check(newRemote(&MemoConfig[stringer, int]{Name: "user"}).key("a"), "user:a")
	check(newRemote(&MemoConfig[time.Duration, int]{}).key(time.Second), ":1000000000")
	check(newRemote(&MemoConfig[bool, int]{Name: "b"}).key(true), "b:booltrue")

	pairs := newRemote(&MemoConfig[pair, int]{Name: "p"})
	require.NotEqual(t, pairs.key(pair{"a b", "c"}), pairs.key(pair{"a", "b c"}))
	anys := newRemote(&MemoConfig[any, int]{Name: "p"})
	require.NotEqual(t, anys.key(1), anys.key(int64(1)))
	texts := newRemote(&MemoConfig[string, int]{Name: "t"})
	for _, text := range []string{"two words", "line\nflush_all", strings.Repeat("x", 300), "\x00", ""} {
		require.True(t, validKey(texts.key(text)), "%q", text)
	}
	require.NotEqual(t, texts.key("a b"), texts.key("a  b"))
}

// What stands in the store can be read by people; that is why it is text.
func TestMemoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoStore()
		m := NewMemo((&slowSquare{}).square, &MemoConfig[int, int]{
			Store: store, Name: "sq", TTL: time.Minute,
			Marshal:   func(n int) ([]byte, error) { return strconv.AppendInt(nil, int64(n), 10), nil },
			Unmarshal: func(b []byte) (int, error) { return strconv.Atoi(string(b)) },
		})
		v, err := m.Get(t.Context(), 12)
		require.NoError(t, err)
		require.Equal(t, 144, v)
		require.Equal(t, "v946684861001 144", string(store.values["sq:12"])) // 2000-01-01 00:01:01.001
		v, err = m.Get(t.Context(), 12)
		require.NoError(t, err)
		require.Equal(t, 144, v)
	})
}

func FuzzParseMemo(f *testing.F) {
	for _, seed := range []string{"v0 value", "v946684861000 144", "n0 ", "n12 ", "n0 x", "v", "v ", "v01 x", "v-1 x", "v9223372036854775807 ", "v9223372036854775808 "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, notFound, fresh, ok := parseMemo(b)
		if !ok {
			return
		}
		again := appendMemo(nil, payload, notFound, fresh)
		require.True(t, bytes.Equal(b, again), "%q became %q", b, again)
	})
}
