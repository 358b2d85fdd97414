package dnsx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A source is a resolver that answers what it is told to.
type source struct {
	mu    sync.Mutex
	asked []string
	takes time.Duration
	f     func(name string, typ Type) (*Answer, error)
}

func (s *source) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	s.mu.Lock()
	s.asked = append(s.asked, name+" "+typ.String())
	f, takes := s.f, s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return f(name, typ)
}

func (s *source) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

func (s *source) set(f func(name string, typ Type) (*Answer, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f = f
}

// address answers every question of type A.
func address(ttl time.Duration) func(string, Type) (*Answer, error) {
	return func(name string, typ Type) (*Answer, error) {
		return &Answer{
			Name: name, Type: typ, Canonical: name, Authoritative: true,
			Records: []Record{{Name: name, Type: A, TTL: ttl, Data: "192.0.2.1"}},
		}, nil
	}
}

func negative(status Status, soa *Record) func(string, Type) (*Answer, error) {
	return func(name string, typ Type) (*Answer, error) {
		return &Answer{Name: name, Type: typ, Canonical: name, Status: status, SOA: soa}, nil
	}
}

func failing(err error) func(string, Type) (*Answer, error) {
	return func(string, Type) (*Answer, error) { return nil, err }
}

var testSOA = &Record{Name: "example.com.", Type: SOA, TTL: 300 * time.Second, Data: "ns.example.com. x.example.com. 1 7200 3600 1209600 300"}

func TestCacheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{f: address(60 * time.Second)}
		cache := &Cache{Resolver: src}
		a, err := cache.Resolve(t.Context(), "WWW.Example.com", A)
		require.NoError(t, err)
		require.Equal(t, "www.example.com.", a.Name)
		require.True(t, a.Authoritative)

		time.Sleep(59*time.Second + 999*time.Millisecond)
		a, err = cache.Resolve(t.Context(), "www.example.com.", A)
		require.NoError(t, err)
		require.Equal(t, time.Second, a.Records[0].TTL, "what is left")
		require.False(t, a.Authoritative)
		require.Equal(t, 1, src.questions())

		time.Sleep(time.Millisecond)
		a, err = cache.Resolve(t.Context(), "www.example.com.", A)
		require.NoError(t, err)
		require.Equal(t, 60*time.Second, a.Records[0].TTL)
		require.Equal(t, 2, src.questions())

		a.Records[0].Data = "changed"
		a, err = cache.Resolve(t.Context(), "www.example.com.", A)
		require.NoError(t, err)
		require.Equal(t, "192.0.2.1", a.Records[0].Data, "the answer is the caller's own")
		require.Equal(t, CacheStats{Hits: 2, Misses: 2, Entries: 1, Bytes: cache.Stats().Bytes}, cache.Stats())
	})
}

func TestCacheKeepsNothingTooLong(t *testing.T) {
	for _, test := range []struct {
		name  string
		cache *Cache
		f     func(string, Type) (*Answer, error)
		keeps time.Duration
	}{
		{"a TTL of zero", &Cache{}, address(0), 0},
		{"a year", &Cache{}, address(365 * 24 * time.Hour), 24 * time.Hour},
		{"MaxTTL", &Cache{MaxTTL: time.Minute}, address(time.Hour), time.Minute},
		{"no type", &Cache{}, negative(NoData, testSOA), 300 * time.Second},
		{"no name", &Cache{}, negative(NXDomain, testSOA), 300 * time.Second},
		{"MaxNegativeTTL", &Cache{MaxNegativeTTL: time.Minute}, negative(NXDomain, testSOA), time.Minute},
		{"no SOA", &Cache{}, negative(NoData, nil), 0},
		{"a failure", &Cache{}, failing(temporary(errLame)), time.Second},
		{"a wrong question", &Cache{}, failing(ErrName), 0},
		{"the shortest of an alias chain", &Cache{}, func(name string, typ Type) (*Answer, error) {
			return &Answer{Name: name, Type: typ, Canonical: "b.", Records: []Record{
				{Name: name, Type: CNAME, TTL: 10 * time.Second, Data: "b."},
				{Name: "b.", Type: A, TTL: time.Hour, Data: "192.0.2.1"},
			}}, nil
		}, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &source{f: test.f}
				cache := test.cache
				cache.Resolver = src
				ask := func() int {
					cache.Resolve(t.Context(), "a.example.com.", A)
					return src.questions()
				}
				require.Equal(t, 1, ask())
				if test.keeps > 0 {
					time.Sleep(test.keeps - time.Nanosecond)
					require.Equal(t, 1, ask())
					time.Sleep(time.Nanosecond)
				}
				require.Equal(t, 2, ask())
			})
		})
	}
}

// That there is no such name holds for every type; that there are no records
// of a type holds for that alone.
func TestCacheNegative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{f: negative(NXDomain, testSOA)}
		cache := &Cache{Resolver: src}
		for _, typ := range []Type{A, AAAA, MX} {
			a, err := cache.Resolve(t.Context(), "no.example.com.", typ)
			require.NoError(t, err)
			require.Equal(t, NXDomain, a.Status)
			require.Equal(t, typ, a.Type)
			require.Equal(t, 300*time.Second, a.SOA.TTL)
		}
		require.Equal(t, 1, src.questions())
		src.set(negative(NoData, testSOA))
		for _, typ := range []Type{A, AAAA, MX} {
			_, err := cache.Resolve(t.Context(), "yes.example.com.", typ)
			require.NoError(t, err)
		}
		require.Equal(t, 4, src.questions())
		time.Sleep(100 * time.Second)
		a, err := cache.Resolve(t.Context(), "yes.example.com.", A)
		require.NoError(t, err)
		require.Equal(t, 200*time.Second, a.SOA.TTL)
		require.Equal(t, 300*time.Second, testSOA.TTL)
		require.Equal(t, uint64(3), cache.Stats().NegativeHits)

		// An alias to nowhere exists itself.
		src.set(func(name string, typ Type) (*Answer, error) {
			return &Answer{
				Name: name, Type: typ, Status: NXDomain, Canonical: "nowhere.", SOA: testSOA,
				Records: []Record{{Name: name, Type: CNAME, TTL: time.Hour, Data: "nowhere."}},
			}, nil
		})
		_, err = cache.Resolve(t.Context(), "alias.example.com.", A)
		require.NoError(t, err)
		asked := src.questions()
		_, err = cache.Resolve(t.Context(), "alias.example.com.", CNAME)
		require.NoError(t, err)
		require.Equal(t, asked+1, src.questions())
	})
}

// What was said last counts: a name that is gone, and one that is there again.
func TestCacheNewsReplacesOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{f: address(time.Minute)}
		cache := &Cache{Resolver: src, Stale: time.Hour, Prefetch: true}
		defer cache.Close()
		ask := func(typ Type) Status {
			a, err := cache.Resolve(t.Context(), "www.example.com.", typ)
			require.NoError(t, err)
			synctest.Wait() // for a prefetch
			return a.Status
		}
		require.Equal(t, OK, ask(A))
		time.Sleep(time.Minute)
		src.set(negative(NXDomain, testSOA))
		require.Equal(t, NXDomain, ask(A))
		time.Sleep(10 * time.Minute)
		src.set(failing(temporary(errLame)))
		_, err := cache.Resolve(t.Context(), "www.example.com.", A)
		require.ErrorIs(t, err, ErrTemporary, "not the address of before")

		time.Sleep(time.Minute)
		src.set(negative(NXDomain, testSOA))
		require.Equal(t, NXDomain, ask(AAAA))
		time.Sleep(290 * time.Second)
		src.set(address(time.Minute))
		require.Equal(t, NXDomain, ask(A), "begins a prefetch")
		require.Equal(t, OK, ask(A))
		require.Equal(t, OK, ask(AAAA), "it exists again for all types")
	})
}

func TestCacheSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{f: address(time.Minute), takes: time.Second}
		cache := &Cache{Resolver: src}
		var wg sync.WaitGroup
		// The first who asks gives up; that is no reason for the others to.
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := cache.Resolve(ctx, "www.example.com.", A)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, ErrTemporary)
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				a, err := cache.Resolve(t.Context(), "www.example.com.", A)
				require.NoError(t, err)
				a.Records[0].Data = "mine"
			})
		}
		wg.Wait()
		require.Equal(t, 1, src.questions())
		require.Equal(t, uint64(50), cache.Stats().Shared)

		// When all give up, the resolution ends with them and leaves no failure.
		ctx, cancel := context.WithCancelCause(t.Context())
		for range 3 {
			wg.Go(func() {
				_, err := cache.Resolve(ctx, "slow.example.com.", A)
				require.ErrorIs(t, err, net.ErrClosed)
			})
		}
		synctest.Wait()
		cancel(net.ErrClosed)
		wg.Wait()
		_, err := cache.Resolve(t.Context(), "slow.example.com.", A)
		require.NoError(t, err)
	})
}

func TestCacheStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{f: address(time.Minute)}
		cache := &Cache{Resolver: src, Stale: time.Hour}
		ask := func() (*Answer, error) { return cache.Resolve(t.Context(), "www.example.com.", A) }
		_, err := ask()
		require.NoError(t, err)
		src.set(failing(temporary(errors.New("gone"))))
		time.Sleep(2 * time.Minute)
		for range 2 { // the second time without asking
			a, err := ask()
			require.NoError(t, err)
			require.Equal(t, 30*time.Second, a.Records[0].TTL)
			require.Equal(t, 2, src.questions())
		}
		require.Equal(t, uint64(2), cache.Stats().Stale)
		_, ready := cache.packed(nil, []byte(wireName("www.example.com.")), A)
		require.False(t, ready, "what is stale is not ready")

		time.Sleep(time.Hour)
		_, err = ask()
		require.ErrorIs(t, err, ErrTemporary)

		src.set(address(time.Minute))
		time.Sleep(2 * time.Second)
		a, err := ask()
		require.NoError(t, err)
		require.Equal(t, time.Minute, a.Records[0].TTL)
	})
}

// A zone that has shrunk and then falls silent must not seem empty for longer
// than its SOA record says.
func TestCacheStaleIsNeverNo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, answer := range map[string]*Answer{
			"nodata": {Status: NoData, SOA: testSOA},
			"alias to nowhere": {Status: NXDomain, SOA: testSOA, Records: []Record{
				{Name: "www.example.com.", Type: CNAME, TTL: time.Hour, Data: "gone.example.com."},
			}},
		} {
			src := &source{f: func(string, Type) (*Answer, error) { return answer, nil }}
			cache := &Cache{Resolver: src, Stale: time.Hour}
			_, err := cache.Resolve(t.Context(), "www.example.com.", A)
			require.NoError(t, err)
			src.set(failing(temporary(errors.New("gone"))))
			time.Sleep(testSOA.TTL + time.Second)
			_, err = cache.Resolve(t.Context(), "www.example.com.", A)
			require.ErrorIs(t, err, ErrTemporary, name)
		}
	})
}

// Type 0 is a type that anybody can ask for: that there is nothing of it says
// nothing about the others.
func TestCacheTypeZero(t *testing.T) {
	src := &source{f: negative(NoData, testSOA)}
	cache := &Cache{Resolver: src}
	_, err := cache.Resolve(t.Context(), "www.example.com.", 0)
	require.NoError(t, err)
	src.set(address(time.Hour))
	a, err := cache.Resolve(t.Context(), "www.example.com.", A)
	require.NoError(t, err)
	require.Equal(t, OK, a.Status)
}

func TestCachePrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{f: address(100 * time.Second), takes: time.Second}
		cache := &Cache{Resolver: src, Prefetch: true}
		ask := func() time.Duration {
			began := time.Now()
			_, err := cache.Resolve(t.Context(), "www.example.com.", A)
			require.NoError(t, err)
			return time.Since(began)
		}
		require.Equal(t, time.Second, ask())
		time.Sleep(89 * time.Second)
		ask()
		require.Equal(t, 1, src.questions())
		time.Sleep(2 * time.Second)
		for range 10 {
			require.Zero(t, ask())
		}
		time.Sleep(60 * time.Second) // past the end of the first answer
		require.Zero(t, ask())
		require.Equal(t, 2, src.questions())
		require.Equal(t, uint64(1), cache.Stats().Prefetched)

		time.Sleep(35 * time.Second)
		require.Zero(t, ask()) // begins another
		require.NoError(t, cache.Close())
		require.Equal(t, 3, src.questions())
		_, err := cache.Resolve(t.Context(), "www.example.com.", A)
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// Close does not leave those alone who wait.
func TestCacheClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &Cache{Resolver: &source{f: address(time.Minute), takes: time.Hour}}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := cache.Resolve(t.Context(), "www.example.com.", A)
			require.ErrorIs(t, err, net.ErrClosed)
		})
		synctest.Wait()
		require.NoError(t, cache.Close())
		wg.Wait()
	})
}

func TestCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cache := range []*Cache{{MaxEntries: 100}, {MaxBytes: 100_000}} {
			src := &source{f: address(time.Hour)}
			cache.Resolver = src
			for i := range 1000 {
				_, err := cache.Resolve(t.Context(), fmt.Sprintf("host%d.example.com.", i), A)
				require.NoError(t, err)
				_, err = cache.Resolve(t.Context(), "host0.example.com.", A) // often used
				require.NoError(t, err)
				if i%3 == 0 {
					_, ready := cache.packed(nil, []byte(wireName(fmt.Sprintf("host%d.example.com.", i))), A)
					require.True(t, ready)
				}
			}
			stats := cache.Stats()
			require.LessOrEqual(t, stats.Entries, 150)
			require.Greater(t, stats.Entries, 50)
			require.LessOrEqual(t, stats.Bytes, 100_000)
			require.Equal(t, 1000, src.questions(), "the one that is used stays")
			require.Equal(t, uint64(1000-stats.Entries), stats.Evicted)
			// The books are right.
			for cache.recent.Len() > 0 {
				cache.drop(cache.recent.Back())
			}
			require.Zero(t, cache.stats.Bytes)
			require.Empty(t, cache.entries)
		}
	})
}

// packed gives the same as Resolve, ready for the wire.
func TestCachePacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			name string
			typ  Type
			f    func(string, Type) (*Answer, error)
		}{
			{"www.example.com.", A, address(time.Hour)},
			{"no.example.com.", A, negative(NXDomain, testSOA)},
			{"yes.example.com.", MX, negative(NoData, testSOA)},
			{"alias.example.com.", TXT, func(name string, typ Type) (*Answer, error) {
				return &Answer{Name: name, Type: typ, Canonical: "www.example.com.", Records: []Record{
					{Name: name, Type: CNAME, TTL: time.Hour, Data: "www.example.com."},
					{Name: "www.example.com.", Type: TXT, TTL: time.Minute, Data: `"a \"text\"" "another"`},
					{Name: "www.example.com.", Type: TXT, TTL: time.Minute, Data: `"third"`},
				}}, nil
			}},
		} {
			cache := &Cache{Resolver: &source{f: test.f}}
			name := []byte(wireName(test.name))
			_, ready := cache.packed(nil, name, test.typ)
			require.False(t, ready)
			_, err := cache.Resolve(t.Context(), test.name, test.typ)
			require.NoError(t, err)
			time.Sleep(20*time.Second + time.Millisecond)
			a, err := cache.Resolve(t.Context(), test.name, test.typ)
			require.NoError(t, err)
			for range 2 {
				dst, ready := cache.packed([]byte("before"), name, test.typ)
				require.True(t, ready)
				require.Equal(t, "before", string(dst[:6]))
				m, err := ParseMessage(dst[6:])
				require.NoError(t, err)
				require.Equal(t, a.message().Header, m.Header)
				require.Equal(t, a.message().Answer, m.Answer)
				require.Equal(t, a.message().Authority, m.Authority)
				require.Equal(t, []Question{{Name: test.name, Type: test.typ, Class: 1}}, m.Questions)
			}
			if a.Status == NXDomain {
				dst, ready := cache.packed(nil, name, AAAA)
				require.True(t, ready)
				m, err := ParseMessage(dst)
				require.NoError(t, err)
				require.Equal(t, AAAA, m.Questions[0].Type)
			}
		}
	})
}

func BenchmarkCachePacked(b *testing.B) {
	cache := &Cache{Resolver: &source{f: address(time.Hour)}}
	_, err := cache.Resolve(b.Context(), "www.example.com.", A)
	require.NoError(b, err)
	name := []byte(wireName("www.example.com."))
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, ready := cache.packed(dst, name, A); !ready {
			b.Fatal("not there")
		}
	}
}

func BenchmarkCacheResolve(b *testing.B) {
	cache := &Cache{Resolver: &source{f: address(time.Hour)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cache.Resolve(b.Context(), "www.example.com.", A); err != nil {
			b.Fatal(err)
		}
	}
}
