package framing

import (
	"encoding/binary"
	"math"
)

// Uvarint as [Prefix.Width] writes the length in base 128, seven bits a byte,
// the least significant first, as Protocol Buffers and Git's packs do.
const Uvarint = -1

// Prefix sends the length of each message before it. The zero value is the
// commonest of all: four bytes, big-endian, counting what follows them.
//
// The other fields describe lengths of existing protocols:
//
//	Prefix{Width: 2}                                DNS over TCP, RFC 1035 section 4.2.2
//	Prefix{Offset: 3, Width: 2}                     TLS records, RFC 8446 section 5.1
//	Prefix{Offset: 1, Inclusive: true}              PostgreSQL
//	Prefix{Offset: 2, Width: 2, Inclusive: true, Adjust: 2}   TPKT, RFC 1006 section 6
//	Prefix{Width: 3, Adjust: -6}                    HTTP/2, RFC 9113 section 4.1
//	Prefix{Offset: 1, Width: Uvarint}               MQTT
type Prefix struct {
	// Width is how many bytes the length takes, 1 to 8, or [Uvarint]; 0 means 4.
	Width int
	// LittleEndian sends the least significant byte first. Network protocols
	// send the most significant first.
	LittleEndian bool
	// Inclusive says that the length counts its own bytes too.
	Inclusive bool
	// Offset is where the length stands: so many bytes of the message, at most
	// 255, come before it on the wire, and it does not count them. The payload
	// is those bytes and what follows the length, in one piece.
	Offset int
	// Adjust is added to the number sent, for protocols that count more or
	// less than the bytes after the length.
	Adjust int
}

// Encode implements [Format].
func (f Prefix) Encode(dst, _ []byte, s *State) ([]byte, int, error) {
	if s.Phase == 0 {
		if err := f.check(); err != nil {
			return dst, 0, err
		}
		if s.Size < 0 {
			return dst, 0, ErrUnknownSize
		}
		if s.Size < int64(f.Offset) {
			return dst, 0, unfit("Prefix", "%d bytes, and the length comes after %d", s.Size, f.Offset)
		}
		s.Phase = 1
		if f.Offset > 0 {
			s.Raw = int64(f.Offset)
			return dst, 0, nil
		}
	}
	rest := s.Size - int64(f.Offset)
	s.Raw, s.Done = rest, true
	if f.Width == 0 && !f.Inclusive && !f.LittleEndian && f.Adjust == 0 && rest <= math.MaxUint32 {
		return binary.BigEndian.AppendUint32(dst, uint32(rest)), 0, nil
	}
	v, ok := f.number(rest)
	if !ok {
		limit := f.limit()
		if rest > limit {
			return dst, 0, &SizeError{Size: s.Size, Max: limit + int64(f.Offset)}
		}
		return dst, 0, unfit("Prefix", "Adjust %d makes the length negative", f.Adjust)
	}
	if f.Width == Uvarint {
		return binary.AppendUvarint(dst, v), 0, nil
	}
	var b [8]byte
	w := f.width()
	if f.LittleEndian {
		binary.LittleEndian.PutUint64(b[:], v)
		return append(dst, b[:w]...), 0, nil
	}
	binary.BigEndian.PutUint64(b[:], v)
	return append(dst, b[8-w:]...), 0, nil
}

// Decode implements [Format].
func (f Prefix) Decode(_, src []byte, s *State) (int, int, error) {
	if s.Phase == 0 && f == (Prefix{}) { // the common case in a few instructions
		if len(src) < 4 {
			return 0, 0, nil
		}
		s.Size = int64(binary.BigEndian.Uint32(src))
		s.Raw, s.Done = s.Size, true
		return 0, 4, nil
	}
	if s.Phase != 0 { // the bytes before the length are past; s.Aux is its width
		s.Raw, s.Done = s.Size-int64(f.Offset), true
		return 0, int(s.Aux), nil
	}
	if err := f.check(); err != nil {
		return 0, 0, err
	}
	if len(src) <= f.Offset {
		return 0, 0, nil
	}
	v, w, err := f.parse(src[f.Offset:])
	if w == 0 || err != nil {
		return 0, 0, err
	}
	rest, err := f.rest(v, w)
	if err != nil {
		return 0, 0, err
	}
	s.Size = rest + int64(f.Offset)
	if s.Size < rest {
		s.Size = math.MaxInt64
	}
	if f.Offset > 0 {
		s.Phase, s.Aux, s.Raw = 1, uint64(w), int64(f.Offset)
		return 0, 0, nil
	}
	s.Raw, s.Done = s.Size, true
	return 0, w, nil
}

func (f Prefix) check() error {
	if f.Width < Uvarint || f.Width > 8 || f.Offset < 0 || f.Offset > 255 {
		return unfit("Prefix", "Width is 1 to 8, 0 or Uvarint, Offset 0 to 255: %d and %d are not", f.Width, f.Offset)
	}
	return nil
}

func (f Prefix) width() int {
	if f.Width == 0 {
		return 4
	}
	return f.Width
}

// parse reads the number at the beginning of b and returns its width, 0 if
// more bytes are needed.
func (f Prefix) parse(b []byte) (v uint64, w int, err error) {
	if f.Width == Uvarint {
		v, w = binary.Uvarint(b)
		if w < 0 {
			return 0, 0, malformed("Prefix", "the length does not fit 64 bits")
		}
		if w > 1 && b[w-1] == 0 {
			return 0, 0, malformed("Prefix", "the length has more bytes than it needs")
		}
		return v, w, nil
	}
	w = f.width()
	if len(b) < w {
		return 0, 0, nil
	}
	if f.LittleEndian {
		for i := w - 1; i >= 0; i-- {
			v = v<<8 | uint64(b[i])
		}
	} else {
		for _, c := range b[:w] {
			v = v<<8 | uint64(c)
		}
	}
	return v, w, nil
}

// rest turns the number on the wire into the count of payload bytes after it.
// Numbers beyond int64 count as the largest one: no limit lets them pass.
func (f Prefix) rest(v uint64, w int) (int64, error) {
	extra := int64(f.Adjust)
	if f.Inclusive {
		extra += int64(w)
	}
	rest := int64(min(v, math.MaxInt64))
	if extra < 0 && rest > math.MaxInt64+extra {
		rest = math.MaxInt64
	} else {
		rest -= extra
	}
	if rest < 0 {
		return 0, malformed("Prefix", "a length of %d must be at least %d, for it counts that much beside the message", v, extra)
	}
	if f.Inclusive && f.Width == Uvarint && v <= math.MaxInt64 {
		if again, ok := f.number(rest); ok && again != v {
			return 0, malformed("Prefix", "the length has more bytes than it needs")
		}
	}
	return rest, nil
}

// number is the inverse of rest: what to send for that many payload bytes.
func (f Prefix) number(rest int64) (uint64, bool) {
	if f.Width != Uvarint {
		extra := int64(f.Adjust)
		if f.Inclusive {
			extra += int64(f.width())
		}
		v := rest + extra
		return uint64(v), v >= 0 && rest <= f.limit()
	}
	v := rest + int64(f.Adjust)
	if v < 0 || (f.Adjust > 0 && v < rest) {
		return 0, false
	}
	if !f.Inclusive {
		return uint64(v), true
	}
	// A base-128 number that counts its own bytes: the smallest width that
	// is wide enough for the sum.
	for w := 1; w <= binary.MaxVarintLen64; w++ {
		if n := uint64(v) + uint64(w); n < 1<<(7*w) || w == binary.MaxVarintLen64 {
			return n, true
		}
	}
	return 0, false
}

// limit is the most payload bytes after the length that a length can announce.
func (f Prefix) limit() int64 {
	w := f.width()
	if f.Width == Uvarint || w == 8 {
		return math.MaxInt64 - int64(max(f.Adjust, 0)) - binary.MaxVarintLen64
	}
	limit := int64(1)<<(8*w) - 1 - int64(f.Adjust)
	if f.Inclusive {
		limit -= int64(w)
	}
	return limit
}
