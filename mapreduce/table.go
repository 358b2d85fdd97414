package mapreduce

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"reflect"
	"slices"
)

// A collector holds what a map task emitted until it is written, sorted, as a run.
type collector interface {
	// addPair adds an encoded pair.
	addPair(m *mapTask, key, value []byte) error
	// sort puts the pairs in order: by partition, then by key.
	sort(m *mapTask)
	// write writes the pairs of one partition.
	write(w *runWriter, partition int) error
	len() int
	bytes() int // of memory, with what sorting takes
	// reset makes the collector empty for new use.
	reset()
}

// A ref stands for a pair while pairs are sorted. Most comparisons end with the
// first eight bytes of the key, which lie here and not somewhere in memory.
type ref struct {
	prefix uint64
	at     uint64 // where the pair is; later pairs have a larger one
}

const refSize = 16 // bytes

// sortRefs sorts by key, and pairs of the same key by at.
func sortRefs(refs []ref, order func(a, b []byte) int, key func(ref) []byte) {
	if order == nil {
		sortFrom(refs, 0, key)
		return
	}
	slices.SortFunc(refs, func(a, b ref) int {
		return cmp.Or(tieBreak(order, key(a), key(b)), cmp.Compare(a.at, b.at))
	})
}

// sortFrom sorts refs whose keys agree in their first depth bytes; the next eight
// are in the prefixes. Comparing whole keys would mean to fetch two of them from
// far away each time; so where prefixes agree, too, each key is fetched once, for
// its next eight bytes.
func sortFrom(refs []ref, depth int, key func(ref) []byte) {
	if !slices.IsSortedFunc(refs, byPrefix) {
		radixSort(refs, 56)
	}
	for len(refs) > 1 {
		n := 1
		for n < len(refs) && refs[n].prefix == refs[0].prefix {
			n++
		}
		if n > 1 {
			sortTied(refs[:n], depth+8, key)
		}
		refs = refs[n:]
	}
}

// sortTied sorts refs whose keys agree in their first depth bytes, where a key
// that has ended counts as going on with zeros.
func sortTied(refs []ref, depth int, key func(ref) []byte) {
	if len(refs) < 8 || depth > 256 {
		slices.SortFunc(refs, func(a, b ref) int {
			return cmp.Or(bytes.Compare(key(a), key(b)), cmp.Compare(a.at, b.at))
		})
		return
	}
	ended := 0 // those come first, the shortest before the others
	for i := range refs {
		r := &refs[i]
		if k := key(*r); len(k) > depth {
			r.prefix = prefixOf(k[depth:])
		} else {
			r.prefix = uint64(len(k))
			refs[ended], refs[i] = refs[i], refs[ended]
			ended++
		}
	}
	slices.SortFunc(refs[:ended], byPrefix)
	sortFrom(refs[ended:], depth, key)
}

func byPrefix(a, b ref) int {
	return cmp.Or(cmp.Compare(a.prefix, b.prefix), cmp.Compare(a.at, b.at))
}

// radixSort sorts by the byte of the prefix at shift, without comparing: each ref
// goes to the place of its byte, and the one that was there goes on to its own
// (an American flag sort). Then it sorts what has the same byte by the next one.
func radixSort(refs []ref, shift int) {
	if len(refs) < 200 || shift < 0 {
		slices.SortFunc(refs, byPrefix)
		return
	}
	var next, end [256]int
	for _, r := range refs {
		end[byte(r.prefix>>shift)]++
	}
	sum := 0
	for b := range end {
		next[b] = sum
		sum += end[b]
		end[b] = sum
	}
	for b := range end {
		for next[b] < end[b] {
			r := refs[next[b]]
			for to := byte(r.prefix >> shift); int(to) != b; to = byte(r.prefix >> shift) {
				refs[next[to]], r = r, refs[next[to]]
				next[to]++
			}
			refs[next[b]] = r
			next[b]++
		}
	}
	start := 0
	for _, end := range end {
		radixSort(refs[start:end], shift-8)
		start = end
	}
}

// prefixOf returns the first eight bytes of a key as a number that sorts like
// them; what a short key lacks counts as zero.
func prefixOf(k []byte) uint64 {
	n := len(k)
	switch {
	case n >= 8:
		return binary.BigEndian.Uint64(k)
	case n >= 4:
		head, tail := binary.BigEndian.Uint32(k), binary.BigEndian.Uint32(k[n-4:])
		return uint64(head)<<32 | uint64(tail)<<(8*(8-n)) // they overlap, and agree where they do
	case n > 0:
		return uint64(k[0])<<56 | uint64(k[n/2])<<(56-8*(n/2)) | uint64(k[n-1])<<(64-8*n)
	}
	return 0
}

// pairs is the collector of a job that does not combine: it keeps each pair.
type pairs struct {
	data []byte  // uvarint length of key, uvarint length of value, key, value …
	refs [][]ref // by partition
	n    int
}

func (p *pairs) addPair(m *mapTask, key, value []byte) error {
	part := m.program.part(key, m.partitions)
	for len(p.refs) <= part {
		p.refs = append(p.refs, nil)
	}
	prefix := uint64(0)
	if m.program.compare == nil {
		prefix = prefixOf(key)
	}
	p.refs[part] = append(p.refs[part], ref{prefix, uint64(len(p.data))})
	p.data = appendPair(p.data, key, value)
	p.n++
	return nil
}

func (p *pairs) bytes() int { return len(p.data) + p.n*refSize }
func (p *pairs) len() int   { return p.n }

func (p *pairs) key(r ref) []byte {
	key, _, _ := cutPair(p.data[r.at:])
	return key
}

func (p *pairs) sort(m *mapTask) {
	for _, refs := range p.refs {
		sortRefs(refs, m.program.compare, p.key)
	}
}

func (p *pairs) write(w *runWriter, partition int) error {
	if partition >= len(p.refs) {
		return nil
	}
	for _, r := range p.refs[partition] {
		key, value, _ := cutPair(p.data[r.at:])
		if err := w.write(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (p *pairs) reset() {
	p.data, p.n = p.data[:0], 0
	for i := range p.refs {
		p.refs[i] = p.refs[i][:0]
	}
}

// A table is the collector of a job that combines: a hash table from keys to
// values that are folded as they come. Keys lie one after another in a byte
// slice; there is nothing in it for the garbage collector to follow.
type table[V any] struct {
	combine func(a, b V) V
	value   coder[V]

	slots   []slot // a power of two, at most half of them taken
	entries []entry[V]
	keys    []byte
	refs    [][]ref // by partition, when sorted
	buf     []byte

	entrySize int
	extra     int // bytes that values hold elsewhere

	seed  uint64 // unknown to who might choose keys that collide
	seed2 maphash.Seed
}

// A slot is where the hash of a key leads: its upper half the hash, its lower
// half the number of the entry plus one, 0 if it is free.
type slot uint64

type entry[V any] struct {
	prefix uint64
	start  uint32 // of the key in keys
	len    uint32
	value  V
}

func newTable[V any](combine func(a, b V) V, value coder[V]) *table[V] {
	seed := maphash.MakeSeed()
	return &table[V]{
		combine: combine, value: value, slots: make([]slot, 1<<10),
		entrySize: int(reflect.TypeFor[entry[V]]().Size()),
		seed:      maphash.Bytes(seed, nil) | 1, seed2: seed,
	}
}

// hash gives short keys, most words, a multiplication, and long ones to maphash.
func (t *table[V]) hash(key []byte, prefix uint64) uint32 {
	if len(key) <= 8 {
		hi, lo := bits.Mul64(prefix^t.seed, uint64(len(key))*0x9e3779b97f4a7c15^t.seed)
		return uint32((hi ^ lo) >> 16)
	}
	return uint32(maphash.Bytes(t.seed2, key))
}

func (t *table[V]) addPair(m *mapTask, key, value []byte) error {
	v, err := t.value.decode(value)
	if err == nil {
		t.add(key, v)
	}
	return err
}

// add folds a value into that of its key. It reports whether the table grew.
func (t *table[V]) add(key []byte, v V) (grew bool) {
	if t.crowded() {
		t.grow()
	}
	prefix := prefixOf(key)
	h := t.hash(key, prefix)
	mask := uint32(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s == 0 {
			t.slots[i] = slot(h)<<32 | slot(len(t.entries)+1)
			break
		}
		if uint32(s>>32) != h {
			continue
		}
		e := &t.entries[uint32(s)-1]
		if e.prefix == prefix && int(e.len) == len(key) && (len(key) <= 8 || bytes.Equal(t.keys[e.start:][:e.len], key)) {
			if t.value.size == nil {
				e.value = t.combine(e.value, v)
				return false
			}
			before := t.value.size(e.value)
			e.value = t.combine(e.value, v)
			if t.value.lent != nil && t.value.lent(e.value, v) {
				e.value = t.value.keep(e.value)
			}
			more := t.value.size(e.value) - before
			t.extra += more
			return more > 0
		}
	}
	if t.value.keep != nil {
		v = t.value.keep(v)
	}
	if t.value.size != nil {
		t.extra += t.value.size(v)
	}
	t.entries = append(t.entries, entry[V]{prefix, uint32(len(t.keys)), uint32(len(key)), v})
	t.keys = append(t.keys, key...)
	return true
}

// crowded reports whether half of the slots are taken.
func (t *table[V]) crowded() bool { return 2*len(t.entries) >= len(t.slots) }

func (t *table[V]) grow() {
	old := t.slots
	t.slots = make([]slot, 2*len(old))
	mask := uint32(len(t.slots) - 1)
	for _, s := range old {
		if s == 0 {
			continue
		}
		i := uint32(s>>32) & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}

func (t *table[V]) bytes() int {
	slots := len(t.slots)
	if t.crowded() { // as if it had grown already: rather spill than grow beyond the limit
		slots *= 2
	}
	return t.extra + len(t.keys) + len(t.entries)*(t.entrySize+refSize) + 8*slots
}

func (t *table[V]) len() int { return len(t.entries) }

func (t *table[V]) key(r ref) []byte {
	e := &t.entries[r.at]
	return t.keys[e.start:][:e.len]
}

func (t *table[V]) sort(m *mapTask) {
	t.refs = slices.Grow(t.refs[:0], m.partitions)[:m.partitions]
	for i := range t.refs {
		t.refs[i] = t.refs[i][:0]
	}
	for i := range t.entries {
		r := ref{t.entries[i].prefix, uint64(i)}
		part := m.program.part(t.key(r), m.partitions)
		if m.program.compare != nil {
			r.prefix = 0
		}
		t.refs[part] = append(t.refs[part], r)
	}
	for _, refs := range t.refs {
		sortRefs(refs, m.program.compare, t.key)
	}
}

func (t *table[V]) write(w *runWriter, partition int) (err error) {
	for _, r := range t.refs[partition] {
		if t.buf, err = t.value.append(t.buf[:0], t.entries[r.at].value); err != nil {
			return err
		}
		if err := w.write(t.key(r), t.buf); err != nil {
			return err
		}
	}
	return nil
}

func (t *table[V]) reset() {
	clear(t.slots)
	clear(t.entries) // values may hold pointers
	t.entries, t.keys, t.extra = t.entries[:0], t.keys[:0], 0
}
