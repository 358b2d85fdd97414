package framing

// SLIP is the framing of RFC 1055, made for IP packets on a serial line: every
// message stands between END bytes (0xC0), and an END or ESC (0xDB) inside it
// becomes a pair of bytes. As the RFC advises, an END is sent before each
// message too, to flush what noise there was; empty messages are noise,
// therefore none can be sent. A message that is malformed is skipped up to the
// next END.
type SLIP struct{}

const (
	slipEnd    = 0xC0
	slipEsc    = 0xDB
	slipEscEnd = 0xDC
	slipEscEsc = 0xDD
)

// Encode implements [Format].
func (SLIP) Encode(dst, p []byte, s *State) ([]byte, int, error) {
	if s.Phase == 0 && len(p) > 0 {
		s.Phase = 1
		dst = append(dst, slipEnd)
	}
	for _, c := range p {
		switch c {
		case slipEnd:
			dst = append(dst, slipEsc, slipEscEnd)
		case slipEsc:
			dst = append(dst, slipEsc, slipEscEsc)
		default:
			dst = append(dst, c)
		}
	}
	if s.Last {
		if s.Phase == 0 {
			return dst, 0, unfit("SLIP", "it is empty")
		}
		s.Done = true
		dst = append(dst, slipEnd)
	}
	return dst, len(p), nil
}

// Decode implements [Format].
func (SLIP) Decode(dst, src []byte, s *State) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c := src[nSrc]
		switch {
		case c == slipEnd:
			nSrc++
			if s.Phase != 0 {
				s.Done = true
				return nDst, nSrc, nil
			}
			continue
		case s.Phase == phaseBad:
			nSrc++
			continue
		case c == slipEsc:
			if nSrc+1 == len(src) {
				return nDst, nSrc, nil
			}
			switch c = src[nSrc+1]; c {
			case slipEscEnd:
				c = slipEnd
			case slipEscEsc:
				c = slipEsc
			default:
				s.Phase, s.Skip = phaseBad, true
				return nDst, nSrc, malformed("SLIP", "0x%02X after ESC", c)
			}
			nSrc++
		}
		s.Phase = 1
		dst[nDst] = c
		nDst++
		nSrc++
	}
	return nDst, nSrc, nil
}
