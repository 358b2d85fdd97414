package cache

import "strconv"

// A storeMode says what a storage command does.
type storeMode byte

const (
	modeSet storeMode = iota
	modeAdd
	modeReplace
	modeAppend
	modePrepend
	modeCAS
)

// An outcome is how a command that changes an item ended.
type outcome byte

const (
	stored outcome = iota
	notStored
	exists
	notFound
	noMemory
	notNumber
)

// A putRequest is a storage command.
type putRequest struct {
	mode    storeMode
	key     []byte
	hash    uint64
	flags   uint32
	expires uint32 // Unix seconds; 0 never
	compare uint64 // for modeCAS: the item's cas unique must be this; for modeAppend and modePrepend, too, unless it is 0
	cas     uint64 // the item's new one, if hasCAS
	hasCAS  bool
	stale   bool // modeCAS: an older cas unique is good enough, but makes the item stale
	binary  bool // the key came in base64
	vivify  bool // modeAppend, modePrepend: make a missing item
	now     uint32
}

// A putResult is the answer to a storage command.
type putResult struct {
	outcome outcome
	cas     uint64 // of the item; 0 if it was not stored
	size    int    // of the value, now
	found   bool   // there was an item before
}

// use notes that an item has been read.
func (r cell) use(now uint32) {
	r.set(bitFetched | bitRecent)
	r.setUsed(now)
}

// init fills in the head of a cell.
func (r cell) init(vlen int, flags, expires, now uint32) {
	le.PutUint32(r[4:], uint32(vlen))
	le.PutUint32(r[8:], expires)
	le.PutUint32(r[12:], now)
	le.PutUint32(r[16:], flags)
}

// fits reports whether an item may be as large as that.
func (a *arena) fits(klen, vlen int) bool { return cellHeader+klen+vlen <= a.maxItem }

// put carries out a storage command. A large value stays pinned.
func (a *arena) put(q *putRequest, v value) putResult {
	p := a.lock(q.hash)
	defer p.unlock()
	p.stats.sets++
	old := p.find(q.hash, q.key, q.now)
	result := p.put(q, v, old)
	result.found = old != nil
	return result
}

func (p *part) put(q *putRequest, v value, old cell) putResult {
	switch q.mode {
	case modeAdd:
		if old != nil {
			old.set(bitRecent)
			return putResult{outcome: notStored}
		}
	case modeReplace:
		if old == nil {
			return putResult{outcome: notStored}
		}
	case modeCAS:
		switch {
		case old == nil:
			p.stats.casMisses++
			return putResult{outcome: notFound}
		case q.compare != 0 && q.compare == old.cas():
			p.stats.casHits++
		case q.compare != 0 && q.compare < old.cas() && q.stale:
			p.stats.casHits++
			return p.store(q, v, old, old.flags(), old.expires(), bitStale|old.bits()&bitWon)
		default:
			p.stats.casBad++
			return putResult{outcome: exists}
		}
	case modeAppend, modePrepend:
		if old != nil {
			return p.extend(q, v, old)
		}
		if !q.vivify {
			return putResult{outcome: notStored}
		}
	}
	return p.store(q, v, old, q.flags, q.expires, 0)
}

// store stores v as the item's value; old is the cell that it has so far, or
// nil.
func (p *part) store(q *putRequest, v value, old cell, flags, expires uint32, bits byte) putResult {
	n := len(v.data)
	if v.number != 0 {
		n = 8
		bits |= bitLarge
	}
	r, at := old, uint32(0)
	if r != nil && r.hasRoom(n) {
		p.stats.total++
		p.stats.bytes += int64(cellSize(len(q.key), v.size)) - int64(cellSize(len(q.key), r.vlen()))
		bits |= bitRecent
	} else {
		var ok bool
		if at, r, ok = p.make(q.key, n, q.now); !ok {
			// The old value must not live on, as if the new one had never been.
			if q.mode == modeSet {
				p.discard(q.hash, q.key)
			}
			return putResult{outcome: noMemory}
		}
		old = nil
	}
	if q.binary {
		bits |= bitBinary
	}
	r[3] = bits
	r.init(v.size, flags, expires, q.now)
	if v.number != 0 {
		le.PutUint64(r.value(), v.number)
		p.a.large.link(v.number)
	} else {
		copy(r.value(), v.data)
	}
	cas := q.cas
	if !q.hasCAS {
		cas = p.a.nextCAS()
	}
	r.setCAS(cas)
	if old == nil {
		p.link(q.hash, at, r)
	}
	return putResult{outcome: stored, cas: cas, size: v.size}
}

// hasRoom reports whether a value of n bytes can take the place of the one
// there without much waste.
func (r cell) hasRoom(n int) bool {
	size := cellSize(int(r[2]), n)
	return !r.has(bitLarge) && size <= r.size() && size >= r.size()/4*3
}

// make makes a cell for an item.
func (p *part) make(key []byte, stored int, now uint32) (uint32, cell, bool) {
	if !p.reserve(now) {
		p.stats.noMemory++
		return 0, nil, false
	}
	return p.alloc(key, stored, now)
}

// discard removes the cell of a key, whatever it is.
func (p *part) discard(hash uint64, key []byte) {
	if p.count == 0 {
		return
	}
	if i, r := p.search(hash, key, 0); r != nil {
		p.remove(i, r)
	}
}

// extend puts v before or after the value of the item. The part is unlocked
// for a while if that makes a large value.
func (p *part) extend(q *putRequest, v value, old cell) putResult {
	for {
		if q.compare != 0 && q.compare != old.cas() {
			return putResult{outcome: exists}
		}
		size := old.vlen() + v.size
		if !p.a.fits(len(q.key), size) {
			return putResult{outcome: notStored}
		}
		flags, expires, kept := old.flags(), old.expires(), old.bits()&bitBinary
		before := value{size: old.vlen()}
		if old.has(bitLarge) {
			before.number = old.number()
			if !p.a.large.pin(before.number) {
				return putResult{outcome: notStored}
			}
		} else {
			// A copy, since what makes room for more may move or evict it.
			before.data = append([]byte(nil), old.value()...)
		}
		first, second := before, v
		if q.mode == modePrepend {
			first, second = v, before
		}
		if size <= maxInline {
			data := append(append(make([]byte, 0, size), first.data...), second.data...)
			return p.store(q, value{data: data, size: size}, old, flags, expires, kept)
		}
		cas := old.cas()
		p.unlock()
		b := p.a.build(size, q.now)
		ok := b.copy(first) && b.copy(second) && b.finish()
		if before.number != 0 {
			p.a.unpin(before.number)
		}
		p.mu.Lock()
		var result putResult
		old = p.find(q.hash, q.key, q.now)
		again := false
		switch {
		case !ok:
			result = putResult{outcome: noMemory}
		case old == nil:
			result = putResult{outcome: notStored}
		case old.cas() != cas:
			again = true // somebody else was faster
		default:
			result = p.store(q, value{number: b.number, size: size}, old, flags, expires, kept)
		}
		p.unlock()
		p.a.unpin(b.number)
		p.mu.Lock()
		if !again {
			return result
		}
		if old = p.find(q.hash, q.key, q.now); old == nil {
			return putResult{outcome: notStored}
		}
	}
}

// add adds delta to the item's number, or takes it away, not below 0. It
// returns the item's new text in buf and its cell.
func (p *part) add(r cell, q *putRequest, incr bool, delta uint64, buf []byte) ([]byte, cell, outcome) {
	if r.has(bitLarge) || r.vlen() == 0 {
		return nil, nil, notNumber
	}
	if q.compare != 0 && q.compare != r.cas() {
		return nil, nil, exists
	}
	n, ok := parseNumber(r.value())
	switch {
	case !ok:
		return nil, nil, notNumber
	case incr:
		n += delta
		p.stats.incrHits++
	default:
		n -= min(delta, n)
		p.stats.decrHits++
	}
	text := strconv.AppendUint(buf, n, 10)
	if !q.hasCAS {
		q.cas = p.a.nextCAS()
	}
	if len(text) <= r.vlen() {
		// The length stays, as in memcached: a number that has become shorter
		// is followed by spaces.
		for i := copy(r.value(), text); i < r.vlen(); i++ {
			r.value()[i] = ' '
		}
		r.setCAS(q.cas)
		r.set(bitRecent)
		r.setUsed(q.now)
		return text, r, stored
	}
	flags, expires, bits := r.flags(), r.expires(), r.bits()&(bitBinary|bitFetched|bitRecent|bitStale|bitWon)
	at, r, ok := p.make(q.key, len(text), q.now)
	if !ok {
		return nil, nil, noMemory
	}
	r.init(len(text), flags, expires, q.now)
	r[3] = bits
	copy(r.value(), text)
	r.setCAS(q.cas)
	p.link(q.hash, at, r)
	return text, r, stored
}

// parseNumber reads a number as memcached does: decimal, 64 bits, spaces after
// it do no harm.
func parseNumber(b []byte) (n uint64, ok bool) {
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > (1<<64-1)/10 || n*10 > 1<<64-1-d {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
