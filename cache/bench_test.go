package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"
)

var makers = []struct {
	name string
	make func(Config[string, []byte]) *Local[string, []byte]
}{{"LRU", NewLRU[string, []byte]}, {"Sharded", NewSharded[string, []byte]}}

// zipfKeys is a trace of requests of which few keys get most.
func zipfKeys() []string {
	z := rand.NewZipf(rand.New(rand.NewPCG(3, 4)), 1.01, 1, 199_999)
	keys := make([]string, 1<<18)
	for i := range keys {
		keys[i] = fmt.Sprintf("key:%07d", z.Uint64())
	}
	return keys
}

// benchmarkLocal has all processors ask for keys and store what is missing; of
// a hundred calls, sets are stores.
func benchmarkLocal(b *testing.B, entries, sets int, ttl time.Duration) {
	keys, value := zipfKeys(), make([]byte, 64)
	for _, m := range makers {
		b.Run(m.name, func(b *testing.B) {
			c := m.make(Config[string, []byte]{Max: entries, TTL: ttl})
			for _, key := range keys {
				c.Set(key, value)
			}
			var workers atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := int(workers.Add(1)) * 7919; pb.Next(); i++ {
					key := keys[i%len(keys)]
					if i%100 < sets {
						c.Set(key, value)
					} else if _, ok := c.Get(key); !ok {
						c.Set(key, value)
					}
				}
			})
		})
	}
}

// BenchmarkLocalGet: everything fits and is only read.
func BenchmarkLocalGet(b *testing.B) { benchmarkLocal(b, 400_000, 0, 0) }

// BenchmarkLocalMixed: a tenth is set, and something evicted all the time.
func BenchmarkLocalMixed(b *testing.B) { benchmarkLocal(b, 20_000, 10, 0) }

// BenchmarkLocalTTL is the same with a time limit, so that the clock is read.
func BenchmarkLocalTTL(b *testing.B) { benchmarkLocal(b, 20_000, 10, time.Hour) }

// BenchmarkMemo is the price of a call that is remembered.
func BenchmarkMemo(b *testing.B) {
	m := NewMemo(func(_ context.Context, n int) (int, error) { return n * n, nil }, &MemoConfig[int, int]{TTL: time.Hour})
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Get(ctx, 12); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	const key = "desafortunadamente"
	for _, h := range []struct {
		name string
		hash func(string) uint64
	}{{"Xor", Xor}, {"Sum", Sum}, {"DJB2", DJB2}, {"FNV1a", FNV1a}} {
		b.Run(h.name, func(b *testing.B) {
			b.SetBytes(int64(len(key)))
			for b.Loop() {
				h.hash(key)
			}
		})
	}
}
