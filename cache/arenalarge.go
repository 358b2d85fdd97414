package cache

import "sync"

// A largeTable knows the values that are too large for one cell. Such a value
// has a number. It is cut in pieces, each a cell of its own whose key is the
// number of the value and that of the piece; the cell under the item's key
// holds only the number. So a value of a megabyte needs no megabyte in a row,
// is stored while it comes in and sent piece by piece, and no connection ever
// needs a buffer for the whole.
//
// Somebody who reads or writes a value pins it: its pieces may move, but do not
// go, even if the item is replaced meanwhile.
type largeTable struct {
	mu     sync.Mutex
	last   uint64
	values map[uint64]*largeValue
}

type largeValue struct {
	size   int
	pins   int
	linked bool // an item has it
	lost   bool // pieces were evicted: nobody must begin to read it
}

// freed is a large value whose pieces must go.
type freed struct {
	number uint64
	size   int
}

// add makes a new value, pinned.
func (t *largeTable) add(size int) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.values == nil {
		t.values = map[uint64]*largeValue{}
	}
	t.last++
	t.values[t.last] = &largeValue{size: size, pins: 1}
	return t.last
}

// link says that an item has the value.
func (t *largeTable) link(number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values[number].linked = true
}

// unlink says that the item of part p that had the value is gone.
func (t *largeTable) unlink(p *part, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.values[number]; v != nil {
		v.linked = false
		if v.pins == 0 {
			delete(t.values, number)
			p.freed = append(p.freed, freed{number, v.size})
		}
	}
}

// whole reports whether all pieces of a value are there.
func (t *largeTable) whole(number uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.values[number]
	return v != nil && !v.lost
}

// pin pins a value whose item the caller has locked, if all of it is still
// there.
func (t *largeTable) pin(number uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.values[number]
	if v == nil || v.lost {
		return false
	}
	v.pins++
	return true
}

// unpin undoes add or pin.
func (a *arena) unpin(number uint64) {
	t := &a.large
	t.mu.Lock()
	v := t.values[number]
	v.pins--
	gone := v.pins == 0 && !v.linked
	if gone {
		delete(t.values, number)
	}
	t.mu.Unlock()
	if gone {
		a.freePieces(freed{number, v.size})
	}
}

// keeps decides whether a piece of a value survives, and remembers if not.
func (t *largeTable) keeps(number uint64, k keep) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.values[number]
	switch {
	case v == nil:
		return false
	case v.pins > 0:
		return true
	case k == keepAlive && !v.lost:
		return true
	}
	v.lost = true
	return false
}

// mark returns the number of the last value so far.
func (t *largeTable) mark() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// flush lets go of all values up to mark that items have.
func (t *largeTable) flush(mark uint64) (gone []freed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for number, v := range t.values {
		if number > mark || !v.linked {
			continue
		}
		v.linked, v.lost = false, true
		if v.pins == 0 {
			delete(t.values, number)
			gone = append(gone, freed{number, v.size})
		}
	}
	return gone
}

// A pieceKey is the key of a piece.
type pieceKey [12]byte

func newPieceKey(number uint64, i int) (k pieceKey) {
	le.PutUint64(k[:], number)
	le.PutUint32(k[8:], uint32(i))
	return k
}

// pieceOf returns the number of the value of which the cell is a piece.
func (r cell) pieceOf() uint64 { return le.Uint64(r.key()) }

// pieces returns how many pieces a value of that size has.
func pieces(size int) int { return (size + maxInline - 1) / maxInline }

// putPiece stores a piece of a value.
func (a *arena) putPiece(number uint64, i int, data []byte, now uint32) bool {
	key := newPieceKey(number, i)
	hash := a.hash(key[:])
	p := a.lock(hash)
	defer p.unlock()
	at, r, ok := p.make(key[:], len(data), now)
	if !ok {
		return false
	}
	r.init(len(data), 0, 0, now)
	r.set(bitPiece)
	copy(r.value(), data)
	p.link(hash, at, r)
	return true
}

// appendPiece appends a piece of a value that the caller has pinned.
func (a *arena) appendPiece(b []byte, number uint64, i int) []byte {
	key := newPieceKey(number, i)
	hash := a.hash(key[:])
	p := a.lock(hash)
	defer p.unlock()
	_, r := p.search(hash, key[:], bitPiece)
	r.set(bitRecent)
	return append(b, r.value()...)
}

// freePieces removes the pieces of a value that nobody can reach any more.
func (a *arena) freePieces(f freed) {
	for i := range pieces(f.size) {
		key := newPieceKey(f.number, i)
		hash := a.hash(key[:])
		p := a.lock(hash)
		if p.count > 0 {
			if slot, r := p.search(hash, key[:], bitPiece); r != nil {
				p.remove(slot, r)
			}
		}
		p.unlock()
	}
}

// A builder makes a large value, a piece at a time.
type builder struct {
	a      *arena
	number uint64
	piece  []byte // what is not yet stored
	next   int    // number of the next piece
	now    uint32
}

// build begins a value of that size. Every builder must be finished or dropped.
func (a *arena) build(size int, now uint32) *builder {
	return &builder{a: a, number: a.large.add(size), piece: make([]byte, 0, maxInline), now: now}
}

// space returns where the next bytes of the value go; filled says how many came.
func (b *builder) space() []byte { return b.piece[len(b.piece):cap(b.piece)] }

// filled takes n bytes that are in space. It reports false if there is no
// memory.
func (b *builder) filled(n int) bool {
	b.piece = b.piece[:len(b.piece)+n]
	return len(b.piece) < cap(b.piece) || b.store()
}

func (b *builder) store() bool {
	ok := b.a.putPiece(b.number, b.next, b.piece, b.now)
	b.next++
	b.piece = b.piece[:0]
	return ok
}

// write adds data to the value.
func (b *builder) write(data []byte) bool {
	for len(data) > 0 {
		n := copy(b.space(), data)
		data = data[n:]
		if !b.filled(n) {
			return false
		}
	}
	return true
}

// copy adds the value of an item, or of an unlinked large value.
func (b *builder) copy(v value) bool {
	if v.number == 0 {
		return b.write(v.data)
	}
	var buf []byte
	for i := range pieces(v.size) {
		buf = b.a.appendPiece(buf[:0], v.number, i)
		if !b.write(buf) {
			return false
		}
	}
	return true
}

// finish stores what is left and returns the value. It stays pinned.
func (b *builder) finish() bool {
	return len(b.piece) == 0 || b.store()
}

// A value is a value to store: in data, or a large one that is in the arena
// already and pinned.
type value struct {
	data   []byte
	number uint64
	size   int
}
