package framing

// Fixed is messages of exactly that many bytes, at least one, with nothing
// between them.
type Fixed int

// Encode implements [Format].
func (f Fixed) Encode(dst, _ []byte, s *State) ([]byte, int, error) {
	switch {
	case f <= 0:
		return dst, 0, unfit("Fixed", "%d bytes is no length for a message", int(f))
	case s.Size > int64(f):
		return dst, 0, &SizeError{Size: s.Size, Max: int64(f)}
	case s.Size >= 0 && s.Size < int64(f):
		return dst, 0, unfit("Fixed", "%d bytes where every message has %d", s.Size, int(f))
	}
	s.Raw, s.Done = int64(f), true
	return dst, 0, nil
}

// Decode implements [Format].
func (f Fixed) Decode(_, src []byte, s *State) (int, int, error) {
	if f <= 0 {
		return 0, 0, unfit("Fixed", "%d bytes is no length for a message", int(f))
	}
	if len(src) == 0 { // perhaps the clean end of the stream
		return 0, 0, nil
	}
	s.Size, s.Raw, s.Done = int64(f), int64(f), true
	return 0, 0, nil
}

// ToEOF is one message, perhaps empty, that ends where the stream ends. The
// sender closes its side of the connection after it, see [Conn.CloseWrite].
// A connection that breaks off cannot be told from one that ended: whoever
// must know sends the length or a checksum too.
type ToEOF struct{}

// Encode implements [Format].
func (ToEOF) Encode(dst, p []byte, s *State) ([]byte, int, error) {
	if s.Seq > 0 {
		return dst, 0, unfit("ToEOF", "the stream has room for one message")
	}
	s.Raw, s.Done = int64(len(p)), s.Last
	return dst, 0, nil
}

// Decode implements [Format].
func (ToEOF) Decode(_, src []byte, s *State) (int, int, error) {
	s.Raw = int64(len(src))
	s.Done = s.Last && s.Seq == 0
	return 0, 0, nil
}
