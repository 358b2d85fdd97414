package framing

import (
	"math"
	"strconv"
)

// Netstring is a length in decimal digits, a colon, the message, and a comma:
// "5:hello,". It is Bernstein's format of 1997, easy to read and to write by
// hand. No digit 0 comes first, except for the empty message, "0:,".
type Netstring struct{}

// Encode implements [Format].
func (Netstring) Encode(dst, _ []byte, s *State) ([]byte, int, error) {
	if s.Size < 0 {
		return dst, 0, ErrUnknownSize
	}
	if s.Phase == 0 {
		s.Phase, s.Raw = 1, s.Size
		dst = append(strconv.AppendInt(dst, s.Size, 10), ':')
		if s.Raw > 0 {
			return dst, 0, nil
		}
	}
	s.Done = true
	return append(dst, ','), 0, nil
}

// Decode implements [Format].
func (Netstring) Decode(_, src []byte, s *State) (int, int, error) {
	if s.Phase != 0 {
		if len(src) == 0 {
			return 0, 0, nil
		}
		if src[0] != ',' {
			return 0, 0, malformed("Netstring", "%q after the message instead of a comma", src[0])
		}
		s.Done = true
		return 0, 1, nil
	}
	var size int64
	for i, c := range src {
		switch {
		case c == ':' && i > 0:
			s.Phase, s.Size, s.Raw = 1, size, size
			return 0, i + 1, nil
		case c < '0' || c > '9':
			return 0, 0, malformed("Netstring", "%q in the length", c)
		case i == 1 && src[0] == '0':
			return 0, 0, malformed("Netstring", "a length that begins with 0")
		case size > (math.MaxInt64-9)/10:
			return 0, 0, malformed("Netstring", "a length of more than 18 digits")
		}
		size = size*10 + int64(c-'0')
	}
	return 0, 0, nil
}
