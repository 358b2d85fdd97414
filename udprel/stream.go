package udprel

// An outStream is the sending half of the byte stream: what Write has accepted
// and the peer has not acknowledged.
type outStream struct {
	ring           // from the oldest byte not acknowledged
	end   uint64   // bytes accepted so far
	next  uint64   // first byte never sent
	again spans    // lost bytes
	acked spans    // acknowledged bytes from ring.base on
	max   uint64   // the peer's window
	size  int      // most bytes kept
	fin   finState // of the end of the stream
}

type finState uint8

const (
	finOpen    finState = iota // more may be written
	finPending                 // must be sent, or sent again
	finSent
	finAcked
)

func (s *outStream) room() int { return s.size - int(s.end-s.base) }

// write takes as much of p as there is room for.
func (s *outStream) write(p []byte) int {
	n := min(len(p), s.room())
	s.put(s.end, p[:n])
	s.end += uint64(n)
	return n
}

func (s *outStream) wantsData() bool {
	return len(s.again) > 0 || (s.next < s.end && s.next < s.max)
}

// wants reports whether there is something to send.
func (s *outStream) wants() bool {
	return s.wantsData() || (s.fin == finPending && s.next == s.end)
}

// blocked reports whether only the peer's window keeps us from sending.
func (s *outStream) blocked() bool { return s.next < s.end && s.next >= s.max }

// take returns the next piece to be sent, of at most n bytes, lost ones first.
func (s *outStream) take(n int) (off uint64, size int) {
	if len(s.again) > 0 {
		v := s.again[0]
		v.hi = min(v.hi, v.lo+uint64(n))
		s.again.remove(v.lo, v.hi)
		return v.lo, int(v.hi - v.lo)
	}
	off = s.next
	size = int(min(uint64(n), s.end-off, max(s.max, off)-off))
	s.next += uint64(size)
	return off, size
}

// ack notes that bytes have arrived.
func (s *outStream) ack(lo, hi uint64) {
	lo, hi = max(lo, s.base), min(hi, s.next)
	if lo >= hi {
		return
	}
	s.acked.add(lo, hi)
	s.again.remove(lo, hi)
	if v := s.acked[0]; v.lo == s.base {
		s.discard(v.hi)
		s.acked.remove(v.lo, v.hi)
	}
}

// lost puts bytes back to be sent again, unless they have arrived another way.
func (s *outStream) lost(lo, hi uint64) {
	if lo = max(lo, s.base); lo < hi {
		s.again.addMissing(s.acked, lo, hi)
	}
}

// done reports whether everything has arrived, the end included.
func (s *outStream) done() bool { return s.fin == finAcked && s.base == s.end }

// An inStream is the receiving half: bytes in the order of their offsets, with
// gaps where packets are missing.
type inStream struct {
	ring             // from the first byte not read
	have      spans  // bytes that are there, from ring.base on
	max       uint64 // the window: nothing may come beyond
	told      uint64 // what the peer knows of max
	size      int    // most bytes kept
	final     uint64 // length of the stream
	finished  bool   // final is known
	discarded bool   // nobody will read
}

// maxGaps bounds the memory that a peer can take by sending every other byte.
const maxGaps = 1 << 12

// receive takes in a piece.
func (s *inStream) receive(off uint64, p []byte) error {
	end := off + uint64(len(p))
	if end > s.max || (s.finished && end > s.final) || len(s.have) > maxGaps {
		return ErrProtocol
	}
	if off < s.base {
		p = p[min(s.base-off, uint64(len(p))):]
		off = s.base
	}
	if len(p) == 0 {
		return nil
	}
	if !s.discarded {
		s.put(off, p)
	}
	s.have.add(off, end)
	if s.discarded {
		s.skip()
	}
	return nil
}

// finish learns the length of the stream.
func (s *inStream) finish(final uint64) error {
	if n := len(s.have); final < s.base || (n > 0 && s.have[n-1].hi > final) || (s.finished && final != s.final) || final > s.max {
		return ErrProtocol
	}
	s.finished, s.final = true, final
	return nil
}

// complete is the offset up to which nothing is missing.
func (s *inStream) complete() uint64 {
	if len(s.have) > 0 && s.have[0].lo <= s.base {
		return s.have[0].hi
	}
	return s.base
}

// read copies bytes out.
func (s *inStream) read(p []byte) int {
	n := int(min(uint64(len(p)), s.complete()-s.base))
	s.get(s.base, p[:n])
	s.consume(s.base + uint64(n))
	return n
}

// skip drops everything that could be read.
func (s *inStream) skip() { s.consume(s.complete()) }

func (s *inStream) consume(to uint64) {
	if to > s.base {
		s.have.remove(s.base, to)
		s.discard(to)
		s.max = s.base + uint64(s.size)
	}
}

// ended reports whether everything has been read.
func (s *inStream) ended() bool { return s.finished && s.base == s.final }

// news reports whether the window has moved so far that the peer should know.
func (s *inStream) news() bool { return !s.finished && s.max-s.told >= uint64(s.size)/4 }
