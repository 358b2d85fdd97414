package cache

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireSound checks what must be true of an arena whenever nobody works with
// it.
func requireSound(t testing.TB, a *arena) {
	t.Helper()
	for i := range a.parts {
		p := &a.parts[i]
		live, pieceBytes := make([]int, len(p.log.segments)), make([]int, len(p.log.segments))
		slots, items, size := uint32(0), int64(0), int64(0)
		for j := range uint32(len(p.table) / 8) {
			s := p.slot(j)
			if s == 0 {
				continue
			}
			slots++
			r := p.log.at(place(s))
			require.False(t, r.has(bitDead), "a slot leads to a dead cell")
			require.Equal(t, uint32(s>>32), uint32(a.hash(r.key())), "the tag of a slot")
			found, _ := p.search(a.hash(r.key()), r.key(), r.bits()&bitPiece)
			require.Equal(t, j, found, "a search finds the slot")
			seg := p.log.of(place(s))
			require.NotZero(t, p.log.segments[seg].age, "a slot leads to a free segment")
			switch {
			case r.has(bitPiece):
				pieceBytes[seg] += r.size()
			case r[28] == p.generation:
				live[seg] += r.size()
				items++
				size += int64(cellSize(int(r[2]), r.vlen()))
			}
		}
		require.Equal(t, p.count, slots)
		require.Equal(t, p.stats.items, items)
		require.Equal(t, p.stats.bytes, size)
		used, mapped := 0, 0
		for j, s := range p.log.segments {
			require.Equal(t, live[j], s.live, "bytes alive in segment %d", j)
			require.Equal(t, pieceBytes[j], s.pieces, "bytes of pieces in segment %d", j)
			if s.age != 0 {
				used++
			}
			if s.buf != nil {
				mapped++
			}
		}
		require.Equal(t, used, p.log.used)
		require.Equal(t, mapped, p.log.mapped())
		require.LessOrEqual(t, mapped, p.log.quota())
	}
	for number, v := range a.large.values {
		require.Zero(t, v.pins, "large value %d is pinned", number)
		require.True(t, v.linked, "nobody has large value %d", number)
	}
}

// putBytes stores a value of any size, as a connection does.
func putBytes(a *arena, q *putRequest, data []byte) putResult {
	if len(data) <= maxInline {
		return a.put(q, value{data: data, size: len(data)})
	}
	b := a.build(len(data), q.now)
	defer a.unpin(b.number)
	if !b.write(data) || !b.finish() {
		return putResult{outcome: noMemory}
	}
	return a.put(q, value{number: b.number, size: len(data)})
}

// getBytes returns an item's value, nil if there is none.
func getBytes(a *arena, key []byte, now uint32) []byte {
	hash := a.hash(key)
	p := a.lock(hash)
	r := p.find(hash, key, now)
	if r == nil {
		p.unlock()
		return nil
	}
	r.use(now)
	if !r.has(bitLarge) {
		defer p.unlock()
		return append([]byte{}, r.value()...)
	}
	number, size := r.number(), r.vlen()
	ok := a.large.pin(number)
	p.unlock()
	if !ok {
		return nil
	}
	defer a.unpin(number)
	var data []byte
	for i := range pieces(size) {
		data = a.appendPiece(data, number, i)
	}
	return data
}

func request(a *arena, mode storeMode, key string, now uint32) *putRequest {
	return &putRequest{mode: mode, key: []byte(key), hash: a.hash([]byte(key)), now: now}
}

// FuzzArena plays a game, and a map knows what it should come to: what the
// arena still has must be what was stored last.
func FuzzArena(f *testing.F) {
	f.Add(uint64(1), uint16(400), byte(0))
	f.Add(uint64(2), uint16(2000), byte(1))
	f.Add(uint64(3), uint16(4000), byte(2))
	f.Add(uint64(4), uint16(4000), byte(3))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16, kind byte) {
		noEvict := kind&1 != 0
		limit := int64(1+kind>>1%4*8) << 20
		a := newArena(limit, 1<<20, 4, noEvict)
		defer a.close()
		rng := rand.New(rand.NewPCG(seed, 0))
		model := map[string][]byte{}
		now := uint32(1000)
		for range int(steps % 5000) {
			key := fmt.Sprint("k", rng.IntN(300))
			// Sizes from 0 to 300,000, small ones often.
			data := bytes.Repeat([]byte{byte(rng.Uint32())}, int(math.Exp(rng.Float64()*12.6))-1)
			switch op := rng.IntN(20); op {
			case 0, 1, 2, 3, 4, 5, 6:
				r := putBytes(a, request(a, modeSet, key, now), data)
				if r.outcome == stored {
					model[key] = data
				} else {
					require.Equal(t, noMemory, r.outcome)
					delete(model, key)
					p := a.lock(a.hash([]byte(key)))
					p.discard(a.hash([]byte(key)), []byte(key))
					p.unlock()
				}
			case 7, 8:
				mode := modeAppend
				if op == 8 {
					mode = modePrepend
				}
				if len(model[key]) > 1<<19 {
					continue
				}
				r := putBytes(a, request(a, mode, key, now), data)
				if r.outcome != stored {
					require.Contains(t, []outcome{notStored, noMemory}, r.outcome)
					continue
				}
				if mode == modeAppend {
					model[key] = append(bytes.Clone(model[key]), data...)
				} else {
					model[key] = append(bytes.Clone(data), model[key]...)
				}
			case 9:
				hash := a.hash([]byte(key))
				p := a.lock(hash)
				if r := p.find(hash, []byte(key), now); r != nil {
					p.discard(hash, []byte(key))
				}
				p.unlock()
				delete(model, key)
			case 10:
				if rng.IntN(40) == 0 {
					a.flush(now)
					clear(model)
				}
			case 11:
				if rng.IntN(40) == 0 {
					a.setLimit(limit/2+rng.Int64N(limit), now)
				}
			default:
				got := getBytes(a, []byte(key), now)
				if got == nil {
					delete(model, key)
					continue
				}
				want, ok := model[key]
				require.True(t, ok, "%s should be gone", key)
				require.True(t, bytes.Equal(want, got), "%s: %d bytes, want %d", key, len(got), len(want))
			}
		}
		requireSound(t, a)
	})
}

// Without eviction whatever was stored is there.
func TestNoEvict(t *testing.T) {
	a := newArena(2<<20, 1<<20, 4, true)
	defer a.close()
	n := 0
	for ; ; n++ {
		key := fmt.Sprint("key", n)
		if r := putBytes(a, request(a, modeSet, key, 1), make([]byte, 1000)); r.outcome != stored {
			require.Equal(t, noMemory, r.outcome)
			break
		}
	}
	require.Greater(t, n, 1500, "of 2 MiB, one segment in eight is kept free")
	for i := range n {
		require.NotNil(t, getBytes(a, fmt.Append(nil, "key", i), 1))
	}
	// What is deleted makes room, wherever it was.
	for i := 0; i < n; i += 2 {
		key := fmt.Append(nil, "key", i)
		p := a.lock(a.hash(key))
		p.discard(a.hash(key), key)
		p.unlock()
	}
	for i := 0; i < n*2/5; i++ {
		r := putBytes(a, request(a, modeSet, fmt.Sprint("new", i), 1), make([]byte, 1000))
		require.Equal(t, stored, r.outcome, "%d of %d", i, n)
	}
	requireSound(t, a)
}

// The limit holds, and most of it is used, even if sizes change in time: that
// is what a memory of size classes is bad at.
func TestShiftingSizes(t *testing.T) {
	const limit = 4 << 20
	a := newArena(limit, 1<<20, 1, false)
	defer a.close()
	rng := rand.New(rand.NewPCG(1, 1))
	n := 0
	for _, size := range []int{10, 100_000, 1000, 1 << 19, 50, 20_000} {
		for written := 0; written < 2*limit; written += size + 40 {
			n++
			r := putBytes(a, request(a, modeSet, fmt.Sprint(n), 1), make([]byte, size/2+rng.IntN(size)))
			require.Equal(t, stored, r.outcome)
		}
		segments, tables := a.mapped()
		require.LessOrEqual(t, segments+tables, int64(limit))
		t.Logf("%7d bytes: %4.1f%% of the limit are items", size, 100*float64(a.totals().bytes)/limit)
		require.Greater(t, a.totals().bytes, int64(limit*6/10))
	}
	requireSound(t, a)
}

// What is used often stays, what was asked for once goes.
func TestSecondChance(t *testing.T) {
	a := newArena(2<<20, 1<<20, 4, false)
	defer a.close()
	putBytes(a, request(a, modeSet, "hot", 1), make([]byte, 1000))
	putBytes(a, request(a, modeSet, "large", 1), make([]byte, 100_000))
	putBytes(a, request(a, modeSet, "cold", 1), make([]byte, 1000))
	for i := range 20_000 {
		if i%100 == 0 {
			require.NotNil(t, getBytes(a, []byte("hot"), 1))
			require.NotNil(t, getBytes(a, []byte("large"), 1))
		}
		putBytes(a, request(a, modeSet, fmt.Sprint(i), 1), make([]byte, 1000))
	}
	require.Nil(t, getBytes(a, []byte("cold"), 1))
	require.Positive(t, a.totals().evictions)
	requireSound(t, a)
}

// An item that is not needed by anyone any more is read to its end by who has
// begun to.
func TestPinnedValue(t *testing.T) {
	a := newArena(2<<20, 1<<20, 4, false)
	defer a.close()
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	putBytes(a, request(a, modeSet, "k", 1), data)
	p := a.lock(a.hash([]byte("k")))
	r := p.find(a.hash([]byte("k")), []byte("k"), 1)
	number := r.number()
	require.True(t, a.large.pin(number))
	p.unlock()
	a.flush(1)
	for i := range 5000 {
		putBytes(a, request(a, modeSet, fmt.Sprint(i), 1), make([]byte, 1000))
	}
	var got []byte
	for i := range pieces(len(data)) {
		got = a.appendPiece(got, number, i)
	}
	require.Equal(t, data, got)
	a.unpin(number)
	require.Empty(t, a.large.values)
	requireSound(t, a)
}

// 256 flushes do not bring anything back.
func TestManyFlushes(t *testing.T) {
	a := newArena(1<<20, 1<<20, 4, false)
	defer a.close()
	putBytes(a, request(a, modeSet, "k", 1), []byte("v"))
	for range 256 {
		a.flush(1)
	}
	require.Nil(t, getBytes(a, []byte("k"), 1))
	requireSound(t, a)
}

func BenchmarkArena(b *testing.B) {
	a := newArena(64<<20, 1<<20, 8, false)
	defer a.close()
	keys := make([][]byte, 100_000)
	data := make([]byte, 500)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key:%08d", i)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			key := keys[rng.IntN(len(keys))]
			n := rng.IntN(len(data))
			a.put(&putRequest{key: key, hash: a.hash(key), now: 1}, value{data: data[:n], size: n})
		}
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		var out []byte
		for b.Loop() {
			key := keys[rng.IntN(len(keys))]
			hash := a.hash(key)
			p := a.lock(hash)
			if r := p.find(hash, key, 1); r != nil {
				out = append(out[:0], r.value()...)
				r.use(1)
			}
			p.unlock()
		}
	})
}
