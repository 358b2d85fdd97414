package framing

import "bytes"

// COBS is consistent overhead byte stuffing (Cheshire and Baker, 1999): the
// message is rewritten without zero bytes, then a zero ends it. It costs at
// most one byte in 254, whatever the payload, where SLIP may double it.
//
// The message is cut after each zero and each 254 bytes without one; a block
// goes out as its length plus one and its bytes, without the zero. A message
// that is malformed is skipped up to the next zero; zeros between messages are
// ignored.
type COBS struct{}

const cobsFull = 0xFF // the code of a block that no zero follows

// Encode implements [Format]. The last s.Held bytes of its output are the block
// being filled, its code byte first.
func (COBS) Encode(dst, p []byte, s *State) ([]byte, int, error) {
	n := len(p)
	if s.Phase == 0 {
		s.Phase = 1
		dst = append(dst, 0)
		s.Held = 1
	}
	for len(p) > 0 {
		if s.Held == 0 { // a full block was the last
			dst = append(dst, 0)
			s.Held = 1
		}
		room := p[:min(len(p), cobsFull-s.Held)]
		zero := bytes.IndexByte(room, 0)
		if zero >= 0 {
			room = room[:zero]
		}
		dst = append(dst, room...)
		s.Held += len(room)
		p = p[len(room):]
		code := len(dst) - s.Held
		switch {
		case s.Held == cobsFull:
			dst[code] = cobsFull
			s.Held = 0
		case zero >= 0:
			dst[code] = byte(s.Held)
			dst = append(dst, 0)
			s.Held = 1
			p = p[1:]
		}
	}
	if s.Last {
		if s.Held > 0 {
			dst[len(dst)-s.Held] = byte(s.Held)
			s.Held = 0
		}
		s.Done = true
		dst = append(dst, 0)
	}
	return dst, n, nil
}

// What State.Phase says between calls of Decode; s.Aux is how many bytes of
// the block are still to come.
const (
	cobsFirst = iota // before the message
	cobsBlock        // in or after a block that a zero follows
	cobsLong         // in or after a full block
)

// Decode implements [Format].
func (COBS) Decode(dst, src []byte, s *State) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if s.Phase == phaseBad {
			i := bytes.IndexByte(src[nSrc:], 0)
			if i < 0 {
				return nDst, len(src), nil
			}
			s.Done = true
			return nDst, nSrc + i + 1, nil
		}
		if s.Aux == 0 {
			c := src[nSrc]
			nSrc++
			if c == 0 {
				if s.Phase == cobsFirst {
					continue
				}
				s.Done = true // the last block's zero is not part of the message
				return nDst, nSrc, nil
			}
			if s.Phase == cobsBlock {
				dst[nDst] = 0
				nDst++
			}
			s.Aux, s.Phase = uint64(c)-1, cobsBlock
			if c == cobsFull {
				s.Phase = cobsLong
			}
			continue
		}
		k := min(int(s.Aux), len(src)-nSrc)
		if i := bytes.IndexByte(src[nSrc:nSrc+k], 0); i >= 0 {
			s.Phase, s.Skip = phaseBad, true
			return nDst, nSrc + i, malformed("COBS", "a zero %d bytes before the end of a block", int(s.Aux)-i)
		}
		nDst += copy(dst[nDst:], src[nSrc:nSrc+k])
		nSrc += k
		s.Aux -= uint64(k)
	}
	return nDst, nSrc, nil
}
