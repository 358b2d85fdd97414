package cache

// A log is where the cells of a part are.
type log struct {
	limit    int // bytes for all segments and the table
	table    int // bytes of the table
	segments []segment
	used     int   // segments with cells in them
	spare    []int // empty segments that have memory
	active   int   // the segment that grows; only valid if used > 0
	age      uint64
}

// A segment is free, with or without memory, or has cells.
type segment struct {
	buf    []byte
	fill   int    // bytes that are taken
	live   int    // bytes of items that are alive
	pieces int    // bytes of pieces of large values that are alive
	age    uint64 // when it was begun; 0: it has no cells
}

func (s *segment) alive() int { return s.live + s.pieces }

// of returns the number of the segment in which a place is.
func (*log) of(place uint32) int {
	return int(place / (segmentSize / cellUnit))
}

// at returns the cell at a place.
func (l *log) at(place uint32) cell {
	b := l.segments[l.of(place)].buf[int(place)*cellUnit&(segmentSize-1):]
	return b[: int(le.Uint16(b))*cellUnit : int(le.Uint16(b))*cellUnit]
}

// quota returns how many segments the limit allows. Three are the least with
// which a log works: one grows, one is old, one takes what is alive in that.
func (l *log) quota() int {
	return min(max((l.limit-l.table)/segmentSize, 3), maxSegments)
}

// maxSegments is as far as places reach: 32 GiB.
const maxSegments = (1<<32 - 1) / (segmentSize / cellUnit)

// fits reports whether the table could have that size without a segment less.
func (l *log) fits(table int) bool { return (l.limit-table)/segmentSize > l.used }

// mapped returns how many segments have memory.
func (l *log) mapped() int { return l.used + len(l.spare) }

// begin makes an empty segment the active one. over allows to go over the
// quota, for the moment.
func (l *log) begin(over bool) bool {
	var i int
	switch n := len(l.spare); {
	case n > 0:
		i = l.spare[n-1]
		l.spare = l.spare[:n-1]
	case over || l.mapped() < l.quota():
		buf, err := takePages(segmentSize)
		if err != nil {
			return false
		}
		for i < len(l.segments) && l.segments[i].buf != nil {
			i++
		}
		if i == len(l.segments) {
			l.segments = append(l.segments, segment{})
		}
		l.segments[i].buf = buf
	default:
		return false
	}
	l.age++
	l.segments[i].age, l.segments[i].fill = l.age, 0
	l.active = i
	l.used++
	return true
}

// end makes a segment free.
func (l *log) end(i int) {
	s := &l.segments[i]
	s.age, s.live, s.pieces = 0, 0, 0
	l.used--
	if l.mapped() < l.quota() {
		l.spare = append(l.spare, i)
		return
	}
	givePages(s.buf)
	s.buf = nil
}

// take takes room for a cell of that size from the active segment.
func (l *log) take(size int) (uint32, cell, bool) {
	if l.used == 0 {
		return 0, nil, false
	}
	s := &l.segments[l.active]
	if s.fill+size > segmentSize {
		return 0, nil, false
	}
	at := l.active*segmentSize + s.fill
	r := cell(s.buf[s.fill:][:size:size])
	s.fill += size
	return uint32(at / cellUnit), r, true
}

// close gives all memory back.
func (l *log) close() {
	for _, s := range l.segments {
		if s.buf != nil {
			givePages(s.buf)
		}
	}
	*l = log{}
}

// alloc makes a cell with room for a key and a value, and copies the key into
// it. Until it is linked it belongs to no slot. To make room other cells may
// have moved or gone: slices of these are no longer valid.
func (p *part) alloc(key []byte, stored int, now uint32) (uint32, cell, bool) {
	size := cellSize(len(key), stored)
	for range len(p.log.segments) + 3 { // in each round a segment is reclaimed, or none is left
		if at, r, ok := p.log.take(size); ok {
			le.PutUint16(r, uint16(size/cellUnit))
			r[2], r[3], r[28] = byte(len(key)), 0, p.generation
			copy(r[cellHeader:], key)
			return at, r, true
		}
		if !p.room(size, now) {
			break
		}
	}
	p.stats.noMemory++
	return 0, nil, false
}

// What reclaim keeps of a segment, besides pieces that somebody is just reading
// or writing.
type keep int

const (
	keepAlive  keep = iota // all that is alive: the part is cleaned
	keepRecent             // what was used since the last time: the part evicts
	keepNone
)

// room begins a new segment. If none is free it reclaims one: the one with most
// dead bytes as long as a tenth of all is dead, else the oldest.
func (p *part) room(size int, now uint32) bool {
	l := &p.log
	if l.used < l.quota()-1 && l.begin(false) { // the last is for what reclaim keeps
		return true
	}
	oldest, emptiest, dead := -1, -1, 0
	for i := range l.segments {
		s := &l.segments[i]
		if s.age == 0 || i == l.active {
			continue
		}
		dead += s.fill - s.alive()
		if oldest < 0 || s.age < l.segments[oldest].age {
			oldest = i
		}
		if emptiest < 0 || s.alive() < l.segments[emptiest].alive() {
			emptiest = i
		}
	}
	switch {
	case oldest < 0:
		return false
	case p.a.noEvict && segmentSize-l.segments[emptiest].alive() < size:
		return false
	case p.a.noEvict || dead >= l.used*segmentSize/10:
		return p.reclaim(emptiest, keepAlive, now)
	default:
		return p.reclaim(oldest, keepRecent, now)
	}
}

// shrink evicts until the log keeps its quota.
func (p *part) shrink(now uint32) {
	l := &p.log
	for n := len(l.spare); n > 0 && l.mapped() > l.quota(); n-- {
		i := l.spare[n-1]
		givePages(l.segments[i].buf)
		l.segments[i].buf = nil
		l.spare = l.spare[:n-1]
	}
	for range l.used {
		if l.used < l.quota() {
			break
		}
		oldest := -1
		for i, s := range l.segments {
			if s.age != 0 && i != l.active && (oldest < 0 || s.age < l.segments[oldest].age) {
				oldest = i
			}
		}
		if oldest < 0 || !p.reclaim(oldest, keepNone, now) {
			break
		}
	}
}

// reclaimAll empties the part.
func (p *part) reclaimAll(now uint32) {
	for i, s := range p.log.segments {
		if s.age != 0 {
			if i == p.log.active && !p.log.begin(true) {
				continue
			}
			p.reclaim(i, keepNone, now)
		}
	}
}

// reclaim frees a segment that is not the active one.
func (p *part) reclaim(victim int, k keep, now uint32) bool {
	l := &p.log
	buf := l.segments[victim].buf[:l.segments[victim].fill]
	kept := 0
	for off := 0; off < len(buf); {
		r := cell(buf[off:])
		size := r.size()
		r = r[:size:size]
		from := uint32((victim*segmentSize + off) / cellUnit)
		off += size
		if r.has(bitDead) {
			continue
		}
		hash := p.a.hash(r.key())
		i := uint32(hash) & p.mask
		for p.slot(i) != makeSlot(hash, from) {
			i = (i + 1) & p.mask
		}
		if !p.keeps(r, k, kept, now) {
			p.remove(i, r)
			continue
		}
		at, moved, ok := l.take(size)
		if !ok {
			if !l.begin(true) {
				return false // the system has no memory; the rest stays where it is
			}
			at, moved, _ = l.take(size)
		}
		copy(moved, r)
		p.setSlot(i, makeSlot(hash, at))
		s := &l.segments[l.of(at)]
		if r.has(bitPiece) {
			s.pieces += size
		} else {
			s.live += size
		}
		r.set(bitDead)
		kept += size
	}
	l.end(victim)
	return true
}

// keeps decides whether a cell survives.
func (p *part) keeps(r cell, k keep, kept int, now uint32) bool {
	if k == keepRecent {
		if r.has(bitRecent) && kept < segmentSize*3/4 {
			r.clear(bitRecent) // the second chance
			k = keepAlive
		} else {
			k = keepNone
		}
	}
	switch {
	case r.has(bitPiece):
		return p.a.large.keeps(r.pieceOf(), k)
	case r[28] != p.generation || r.expired(now):
		p.stats.reclaimed++
		return false
	case k == keepAlive:
		return true
	}
	p.stats.evictions++
	if p.a.evicted != nil {
		p.a.evicted(r)
	}
	if !r.has(bitFetched) {
		p.stats.evictedUnread++
	}
	return false
}
