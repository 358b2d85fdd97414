package cache

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
)

// An arena is the memory of a [Server]: where its items are.
//
// It is a row of parts, and a key's hash says in which part the key's item is;
// each part has a lock of its own, so that several processors can work. A part
// is a log: cells are only ever added at the end. The log is cut into
// segments of equal size, and when none is free one is reclaimed: what is alive
// in it moves to the end of the log, and the whole segment is free again. So
// there are no holes, whatever the sizes of the items and however these change,
// and no memory is set aside for some size. (Rumble, Kejriwal and Ousterhout,
// "Log-structured Memory for DRAM-based Storage", FAST 2014.)
//
//	part   table  | slot | slot | slot | ...   8 bytes: tag, place
//	                  |
//	                  v
//	       log    [ segment 0 ][ segment 1 ][ segment 2 ] ...
//	              | cell | cell | dead | cell | free |
//
// A cell is an item, or a piece of an item that is too large for one cell:
//
//	offset  0  size of the cell, in units of 8 bytes     2 bytes
//	        2  length of the key                           1
//	        3  bits, see below                             1
//	        4  length of the value                         4
//	        8  expires at, in Unix seconds; 0 never        4
//	       12  last used at, in Unix seconds               4
//	       16  the client's flags                          4
//	       20  cas unique                                  8
//	       28  generation: flush_all makes all others old  1
//	       29  key, then value, then padding
//
// Numbers are little-endian. All memory for cells and tables comes from
// takePages and counts: together it never exceeds the limit, except for what
// growing a table takes for a moment.
type arena struct {
	seed    maphash.Seed
	parts   []part
	shift   uint // a hash shifted by this is the number of a part
	maxItem int  // the largest item, with key and header
	noEvict bool
	cas     atomic.Uint64
	evicted func(cell) // told of every item that had to go; the part is locked

	large largeTable
}

// cell is one cell in a segment, from its first to its last byte.
type cell []byte

const (
	cellHeader = 29
	cellUnit   = 8 // cells begin and end at multiples of this
)

// The bits of a cell.
const (
	bitPiece   = 1 << iota // not an item, but a piece of a large one
	bitLarge               // the value is 8 bytes: the number of a large value
	bitFetched             // has been read since it was stored
	bitRecent              // has been used since eviction last came by
	bitStale               // a client said so (meta command md with the flag I)
	bitWon                 // a client has been told to renew it (the flag W)
	bitBinary              // the key was sent in base64
	bitDead                // deleted or replaced: only its size matters
)

var le = binary.LittleEndian

func (r cell) size() int       { return int(le.Uint16(r)) * cellUnit }
func (r cell) bits() byte      { return r[3] }
func (r cell) has(b byte) bool { return r[3]&b != 0 }
func (r cell) set(b byte)      { r[3] |= b }
func (r cell) clear(b byte)    { r[3] &^= b }
func (r cell) vlen() int       { return int(le.Uint32(r[4:])) }
func (r cell) expires() uint32 { return le.Uint32(r[8:]) }
func (r cell) used() uint32    { return le.Uint32(r[12:]) }
func (r cell) flags() uint32   { return le.Uint32(r[16:]) }
func (r cell) cas() uint64     { return le.Uint64(r[20:]) }
func (r cell) key() []byte     { return r[cellHeader:][:r[2]] }
func (r cell) value() []byte   { return r[cellHeader+int(r[2]):][:r.stored()] }

func (r cell) setExpires(t uint32) { le.PutUint32(r[8:], t) }
func (r cell) setUsed(t uint32)    { le.PutUint32(r[12:], t) }
func (r cell) setCAS(c uint64)     { le.PutUint64(r[20:], c) }

// stored returns how many bytes of value the cell itself holds.
func (r cell) stored() int {
	if r.has(bitLarge) {
		return 8
	}
	return r.vlen()
}

// number returns the number of a large value.
func (r cell) number() uint64 { return le.Uint64(r.value()) }

// expired reports whether the cell's time is over.
func (r cell) expired(now uint32) bool {
	t := r.expires()
	return t != 0 && t <= now
}

// cellSize returns how many bytes a cell takes.
func cellSize(klen, vlen int) int {
	return (cellHeader + klen + vlen + cellUnit - 1) &^ (cellUnit - 1)
}

// A part holds the items of a share of the keys.
type part struct {
	mu sync.Mutex
	a  *arena

	// The table is open-addressed with linear probing. A slot is 0, or a tag
	// (the lower half of the key's hash) and the place of the cell plus one,
	// in units of 8 bytes from the start of segment 0. The tag says where the
	// search for the slot began, so the table can grow without a look at the
	// cells.
	table []byte
	mask  uint32
	count uint32 // used slots

	log log

	generation byte    // of cells that are not flushed
	freed      []freed // large values that nobody needs any more, to free after unlock
	stats      partStats

	_ [64]byte // keeps the locks of two parts out of the same cache line
}

// partStats counts what happened in a part.
type partStats struct {
	items, bytes                          int64 // now
	total                                 uint64
	gets, getHits, getExpired, getFlushed uint64
	sets                                  uint64
	touches, touchHits                    uint64
	deleteHits, deleteMisses              uint64
	incrHits, incrMisses                  uint64
	decrHits, decrMisses                  uint64
	casHits, casMisses, casBad            uint64
	evictions, reclaimed, evictedUnread   uint64
	noMemory                              uint64
}

// Sizes of an arena, in bytes where nothing else is said.
const (
	minArena    = 1 << 20
	minPart     = 8 << 20 // a smaller arena has only one part
	segmentSize = 256 << 10
	minTable    = 1 << 10 // slots

	// A piece with its head: so many make a segment, and a connection's buffer
	// holds one.
	pieceSize = 16 << 10
	maxInline = pieceSize - 48 // the longest value that fits in a cell; longer ones are cut in pieces
)

// newArena returns an arena of at most limit bytes, in at most maxParts parts.
func newArena(limit int64, maxItem, maxParts int, noEvict bool) *arena {
	limit = max(limit, minArena)
	n := 1
	for n < maxParts && limit/int64(2*n) >= minPart {
		n *= 2
	}
	a := &arena{
		seed:    maphash.MakeSeed(),
		parts:   make([]part, n),
		shift:   uint(64 - bits.Len(uint(n-1))),
		maxItem: maxItem,
		noEvict: noEvict,
	}
	for i := range a.parts {
		p := &a.parts[i]
		p.a = a
	}
	a.setLimit(limit, 0)
	return a
}

// setLimit changes how much memory the arena may take. Less than before makes
// it evict, at once.
func (a *arena) setLimit(limit int64, now uint32) {
	for i := range a.parts {
		p := &a.parts[i]
		p.mu.Lock()
		p.log.limit = int(limit / int64(len(a.parts)))
		p.shrink(now)
		p.unlock()
	}
}

// close gives all memory back.
func (a *arena) close() {
	for i := range a.parts {
		p := &a.parts[i]
		p.mu.Lock()
		givePages(p.table)
		p.table, p.mask, p.count = nil, 0, 0
		p.log.close()
		p.mu.Unlock()
	}
}

// hash returns the hash of a key: its upper bits choose the part, the lower half
// is the tag.
func (a *arena) hash(key []byte) uint64 { return maphash.Bytes(a.seed, key) }

// lock returns the part of a hash, locked.
func (a *arena) lock(hash uint64) *part {
	p := &a.parts[hash>>a.shift]
	p.mu.Lock()
	return p
}

// unlock unlocks the part and then frees the large values that were let go
// meanwhile: their pieces are in other parts, and nobody holds two locks.
func (p *part) unlock() {
	freed := p.freed
	p.freed = nil
	p.mu.Unlock()
	for _, f := range freed {
		p.a.freePieces(f)
	}
}

// nextCAS returns a number that no item has had before.
func (a *arena) nextCAS() uint64 { return a.cas.Add(1) }

func (p *part) slot(i uint32) uint64       { return le.Uint64(p.table[8*int(i):]) }
func (p *part) setSlot(i uint32, v uint64) { le.PutUint64(p.table[8*int(i):], v) }

func makeSlot(hash uint64, place uint32) uint64 { return hash<<32 | uint64(place+1) }

// place returns where the cell of a slot is.
func place(slot uint64) uint32 { return uint32(slot) - 1 }

// search returns the index of the key's slot, and its cell; without one, nil
// and the index of the empty slot where it would go. kind is bitPiece or 0.
func (p *part) search(hash uint64, key []byte, kind byte) (uint32, cell) {
	tag := uint32(hash)
	i := tag & p.mask
	for ; ; i = (i + 1) & p.mask {
		s := p.slot(i)
		if s == 0 {
			return i, nil
		}
		if uint32(s>>32) == tag {
			r := p.log.at(place(s))
			if r.has(bitPiece) == (kind != 0) && bytes.Equal(r.key(), key) {
				return i, r
			}
		}
	}
}

// find returns the living cell of an item, or nil. It removes one that has
// expired or been flushed.
func (p *part) find(hash uint64, key []byte, now uint32) cell {
	if p.count == 0 {
		return nil
	}
	i, r := p.search(hash, key, 0)
	if r == nil {
		return nil
	}
	if r[28] != p.generation {
		p.stats.getFlushed++
		p.stats.reclaimed++
		p.remove(i, r)
		return nil
	}
	if r.expired(now) {
		p.stats.getExpired++
		p.stats.reclaimed++
		p.remove(i, r)
		return nil
	}
	if r.has(bitLarge) && !p.a.large.whole(r.number()) {
		p.remove(i, r)
		return nil
	}
	return r
}

// bury marks the cell of a slot dead. The slot must go, too, or get another
// cell.
func (p *part) bury(i uint32, r cell) {
	seg := p.log.of(place(p.slot(i)))
	r.set(bitDead)
	if r.has(bitPiece) {
		p.log.segments[seg].pieces -= r.size()
		return
	}
	if r[28] == p.generation {
		p.log.segments[seg].live -= r.size()
		p.stats.items--
		p.stats.bytes -= int64(cellSize(int(r[2]), r.vlen()))
	}
	if r.has(bitLarge) {
		p.a.large.unlink(p, r.number())
	}
}

// remove buries the cell of slot i and empties the slot. The slots behind it
// that were pushed on by it move up, so that every search still finds its key.
func (p *part) remove(i uint32, r cell) {
	p.bury(i, r)
	p.count--
	for j := i; ; {
		j = (j + 1) & p.mask
		s := p.slot(j)
		if s == 0 {
			break
		}
		home := uint32(s>>32) & p.mask
		if (j-home)&p.mask >= (j-i)&p.mask {
			p.setSlot(i, s)
			i = j
		}
	}
	p.setSlot(i, 0)
}

// link makes the cell at that place the one of its key and buries the one
// that was.
func (p *part) link(hash uint64, at uint32, r cell) {
	kind := r.bits() & bitPiece
	i, old := p.search(hash, r.key(), kind)
	if old != nil {
		p.bury(i, old)
	} else {
		p.count++
	}
	p.setSlot(i, makeSlot(hash, at))
	seg := p.log.of(at)
	if kind != 0 {
		p.log.segments[seg].pieces += r.size()
		return
	}
	p.log.segments[seg].live += r.size()
	p.stats.items++
	p.stats.total++
	p.stats.bytes += int64(cellSize(int(r[2]), r.vlen()))
}

// reserve makes sure that the table has room for another slot. The table grows
// at three quarters, and shrinks at one eighth; if the limit does not let it
// grow, it may fill up to fifteen sixteenths.
func (p *part) reserve(now uint32) bool {
	slots := uint32(len(p.table) / 8)
	switch {
	case p.count+1 > slots/4*3:
		if slots == 0 || !p.a.noEvict || p.log.fits(2*len(p.table)) {
			p.resize(max(2*slots, minTable), now)
		}
		return p.count+1 <= uint32(len(p.table)/8)/16*15
	case p.count < slots/8 && slots > minTable:
		p.resize(slots/2, now)
	}
	return true
}

// resize gives the table another number of slots, if the system has memory.
func (p *part) resize(slots uint32, now uint32) {
	table, err := takePages(8 * int(slots))
	if err != nil {
		return
	}
	old := p.table
	p.table, p.mask = table, slots-1
	for i := 0; i < len(old); i += 8 {
		s := le.Uint64(old[i:])
		if s == 0 {
			continue
		}
		j := uint32(s>>32) & p.mask
		for p.slot(j) != 0 {
			j = (j + 1) & p.mask
		}
		p.setSlot(j, s)
	}
	if old != nil {
		givePages(old)
	}
	p.log.table = len(table)
	p.shrink(now)
}

// flush makes every item of the part old.
func (p *part) flush(now uint32) {
	if p.generation == math.MaxUint8 {
		// The number comes round: what is left of 256 flushes ago must not rise
		// from the dead.
		before := p.stats
		p.reclaimAll(now)
		p.stats = before
	}
	p.generation++
	p.stats.items, p.stats.bytes = 0, 0
	for i := range p.log.segments {
		p.log.segments[i].live = 0
	}
}

// flush makes every item old.
func (a *arena) flush(now uint32) {
	before := a.large.mark()
	for i := range a.parts {
		p := &a.parts[i]
		p.mu.Lock()
		p.flush(now)
		p.unlock()
	}
	for _, f := range a.large.flush(before) {
		a.freePieces(f)
	}
}
