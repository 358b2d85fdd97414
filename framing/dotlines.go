package framing

// DotLines is a message made of text lines, each ended by CR LF, and after the
// last one a line that holds a single dot. A line of the message that begins
// with a dot gets a second one. Mail travels so: RFC 5321 section 4.5.2, and in
// the same way POP3 (RFC 1939 section 3) and NNTP (RFC 3977 section 3.1.1).
//
// The payload is whole lines: empty, or ending with CR LF. A CR or LF that
// stands alone is refused both ways, for where two programs disagree on what
// ends a line, one can be made to see a message that the other did not (SMTP
// smuggling). A message refused when received is skipped up to its end.
type DotLines struct {
	// Fix makes Encode turn a lone CR or LF into CR LF and complete the last
	// line, instead of refusing the message.
	Fix bool
}

// What State.Phase says of the place in a line.
const (
	dotLineStart = iota
	dotInLine
	dotCR    // after a CR of the text
	dotDot   // after a dot at the beginning of a line
	dotDotCR // after such a dot and a CR
	dotBegun // at the beginning of a line, the message having begun
)

// Encode implements [Format].
func (f DotLines) Encode(dst, p []byte, s *State) ([]byte, int, error) {
	for i, c := range p {
		if s.Phase == dotCR && c != '\n' {
			if !f.Fix {
				return dst, i, unfit("DotLines", "a CR without LF")
			}
			dst = append(dst, '\n')
			s.Phase = dotLineStart
		}
		switch {
		case c == '\r':
			s.Phase = dotCR
		case c == '\n' && s.Phase != dotCR:
			if !f.Fix {
				return dst, i, unfit("DotLines", "an LF without CR")
			}
			dst = append(dst, '\r')
			s.Phase = dotLineStart
		case c == '\n':
			s.Phase = dotLineStart
		case c == '.' && s.Phase == dotLineStart:
			dst = append(dst, '.')
			s.Phase = dotInLine
		default:
			s.Phase = dotInLine
		}
		dst = append(dst, c)
	}
	if !s.Last {
		return dst, len(p), nil
	}
	switch {
	case s.Phase != dotLineStart && !f.Fix:
		return dst, len(p), unfit("DotLines", "the last line does not end with CR LF")
	case s.Phase == dotInLine:
		dst = append(dst, "\r\n"...)
	case s.Phase == dotCR:
		dst = append(dst, '\n')
	}
	s.Done = true
	return append(dst, ".\r\n"...), len(p), nil
}

// Decode implements [Format].
func (f DotLines) Decode(dst, src []byte, s *State) (nDst, nSrc int, err error) {
	// After a mistake Aux is 1: nothing more is given out.
	for i, c := range src {
		next := dotInLine
		emit := true
		switch {
		case c == '\r' && s.Phase == dotDot:
			next, emit = dotDotCR, false
		case c == '\n' && s.Phase == dotDotCR:
			s.Done = true
			return nDst, i + 1, nil
		case c == '\n' && s.Phase == dotCR:
			next = dotBegun
		case s.Phase == dotDotCR, s.Phase == dotCR, c == '\n':
			if s.Aux == 0 {
				s.Aux, s.Skip = 1, true
				return nDst, i, malformed("DotLines", "a CR or LF that stands alone")
			}
			if c == '\r' {
				next = dotCR
			}
		case c == '\r':
			next = dotCR
		case c == '.' && (s.Phase == dotLineStart || s.Phase == dotBegun):
			next, emit = dotDot, false
		}
		if emit && s.Aux == 0 {
			dst[nDst] = c
			nDst++
		}
		s.Phase = next
	}
	return nDst, len(src), nil
}
