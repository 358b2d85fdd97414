package framing

import "bytes"

// Delimiter ends each message with a delimiter, a line feed by default.
//
// A message must not contain its own delimiter. Either the payload is such
// that it never does, and Encode refuses one that does with [ErrUnfit]; or an
// Escape byte quotes what would be misunderstood: it is put before every
// payload byte that equals it or the delimiter's first byte, and taken away by
// the receiver, so that any bytes can be sent.
type Delimiter struct {
	// Delim is 1 to 8 bytes; "" means "\n".
	Delim string
	// Escape is the quoting byte, for instance '\\'; 0 means none. It must not
	// occur in Delim.
	Escape byte
}

const maxDelim = 8

func (f Delimiter) check() error {
	if len(f.Delim) > maxDelim {
		return unfit("Delimiter", "a delimiter of %d bytes, at most %d are possible", len(f.Delim), maxDelim)
	}
	for i := range f.Delim {
		if f.Escape != 0 && f.Delim[i] == f.Escape {
			return unfit("Delimiter", "the escape byte %q occurs in the delimiter", f.Escape)
		}
	}
	return nil
}

func (f Delimiter) delim() string {
	if f.Delim == "" {
		return "\n"
	}
	return f.Delim
}

// Encode implements [Format].
func (f Delimiter) Encode(dst, p []byte, s *State) ([]byte, int, error) {
	if err := f.check(); err != nil {
		return dst, 0, err
	}
	delim := f.delim()
	if f.Escape != 0 {
		for _, c := range p {
			if c == f.Escape || c == delim[0] {
				dst = append(dst, f.Escape)
			}
			dst = append(dst, c)
		}
		if s.Last {
			s.Done = true
			dst = append(dst, delim...)
		}
		return dst, len(p), nil
	}
	// Unquoted: the delimiter must not begin before the payload's end, not
	// even across two pieces or into the real one. s.Aux holds the last
	// bytes of the payload so far, one fewer than the delimiter has.
	if bytes.Contains(p, []byte(delim)) {
		return dst, 0, unfit("Delimiter", "it contains the delimiter %q", delim)
	}
	if len(delim) > 1 && (s.Pos > 0 || s.Last) {
		if err := f.crossing(p, s); err != nil {
			return dst, 0, err
		}
	}
	if len(p) > 0 {
		s.remember(p, len(delim)-1)
		s.Raw = int64(len(p))
		return dst, 0, nil
	}
	if s.Last {
		s.Done = true
		dst = append(dst, delim...)
	}
	return dst, 0, nil
}

// crossing looks for a delimiter that begins in the payload so far, or in p
// when that is the end, and ends after it.
func (f Delimiter) crossing(p []byte, s *State) error {
	delim := []byte(f.delim())
	k := len(delim) - 1
	var room [3 * maxDelim]byte
	w := s.remembered(room[:0], k)
	if len(p) > k {
		w = append(w, p[:k]...)
		if bytes.Contains(w, delim) {
			return unfit("Delimiter", "it contains the delimiter %q", f.delim())
		}
		w = append(room[:0], p[len(p)-k:]...)
	} else {
		w = append(w, p...)
	}
	end := len(w)
	if s.Last {
		w = append(w, delim...)
	}
	if i := bytes.Index(w, delim); i >= 0 && i < end {
		return unfit("Delimiter", "its last bytes and the delimiter %q contain that delimiter earlier", f.delim())
	}
	return nil
}

// remember packs the last k bytes, at most 7, of the payload up to the end of
// p into s.Aux; s.Phase counts them.
func (s *State) remember(p []byte, k int) {
	for _, c := range p[max(0, len(p)-k):] {
		s.Aux = s.Aux<<8 | uint64(c)
	}
	s.Phase = min(k, s.Phase+len(p))
}

func (s *State) remembered(dst []byte, k int) []byte {
	for i := min(k, s.Phase) - 1; i >= 0; i-- {
		dst = append(dst, byte(s.Aux>>(8*i)))
	}
	return dst
}

// Decode implements [Format].
func (f Delimiter) Decode(dst, src []byte, s *State) (int, int, error) {
	if err := f.check(); err != nil {
		return 0, 0, err
	}
	if f.Escape != 0 {
		return f.unquote(dst, src, s)
	}
	delim := f.delim()
	i := bytes.Index(src, []byte(delim))
	switch {
	case i == 0:
		s.Done = true
		return 0, len(delim), nil
	case i > 0:
		s.Raw = int64(i)
	default: // the last bytes may be the beginning of a delimiter
		s.Raw = int64(max(0, len(src)-len(delim)+1))
	}
	return 0, 0, nil
}

// unquote copies src to dst without its escapes, up to the delimiter. After a
// mistake s.Phase is phaseBad and it only looks for the delimiter.
func (f Delimiter) unquote(dst, src []byte, s *State) (nDst, nSrc int, err error) {
	delim := f.delim()
	bad := s.Phase == phaseBad
	for nSrc < len(src) {
		c := src[nSrc]
		switch c {
		case f.Escape:
			if nSrc+1 == len(src) {
				return nDst, nSrc, nil
			}
			c = src[nSrc+1]
			if !bad && c != f.Escape && c != delim[0] {
				s.Phase, s.Skip = phaseBad, true
				return nDst, nSrc, malformed("Delimiter", "%q quoted, which needs no quoting", c)
			}
			nSrc++
		case delim[0]:
			rest := src[nSrc:]
			if len(rest) >= len(delim) && string(rest[:len(delim)]) == delim {
				s.Done = true
				return nDst, nSrc + len(delim), nil
			}
			if len(rest) < len(delim) && string(rest) == delim[:len(rest)] {
				return nDst, nSrc, nil
			}
			if !bad {
				s.Phase, s.Skip = phaseBad, true
				return nDst, nSrc, malformed("Delimiter", "%q neither quoted nor followed by the rest of the delimiter", c)
			}
		}
		if !bad {
			dst[nDst] = c
			nDst++
		}
		nSrc++
	}
	return nDst, nSrc, nil
}

// phaseBad as State.Phase: the message was malformed, and Decode uses up what
// is left of it without giving any of it out.
const phaseBad = -1
