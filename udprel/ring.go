package udprel

// A ring holds a stretch of a stream: the bytes from base on, addressed by
// their offset in the stream. It takes memory as it is used, up to what its
// owner lets into it.
type ring struct {
	buf  []byte // its length is zero or a power of two
	base uint64
}

// put copies p to offset off, which must not be below base. There may be gaps.
func (r *ring) put(off uint64, p []byte) {
	if need := off + uint64(len(p)) - r.base; need > uint64(len(r.buf)) {
		r.grow(need)
	}
	i := int(off & uint64(len(r.buf)-1))
	n := copy(r.buf[i:], p)
	copy(r.buf, p[n:])
}

// get copies bytes from offset off on into p; all must have been put there.
func (r *ring) get(off uint64, p []byte) {
	if len(p) == 0 {
		return
	}
	i := int(off & uint64(len(r.buf)-1))
	n := copy(p, r.buf[i:])
	copy(p[n:], r.buf)
}

// discard drops what is below off.
func (r *ring) discard(off uint64) { r.base = max(r.base, off) }

func (r *ring) grow(need uint64) {
	size := uint64(max(len(r.buf), 2048))
	for size < need {
		size *= 2
	}
	old := *r
	r.buf = make([]byte, size)
	for off := old.base; off < old.base+uint64(len(old.buf)); {
		i := int(off & uint64(len(old.buf)-1))
		piece := old.buf[i:min(len(old.buf), i+int(old.base+uint64(len(old.buf))-off))]
		r.put(off, piece)
		off += uint64(len(piece))
	}
}
