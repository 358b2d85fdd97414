package codec

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
)

// Gob is the [Codec] of package encoding/gob, which describes the types of what
// it sends and so is for Go programs on both ends.
//
// [Gob.Marshal] puts the description into every message, so that each stands
// alone; a [Stream] with Gob sends it once per connection.
type Gob struct {
	// MaxSize is the largest message to decode, in bytes; 0 means 256 KiB,
	// negative no limit.
	//
	// It is all that protects the memory of the receiver: gob goes as deep as
	// a message is long, up to 400 bytes of stack for each byte, and a stack
	// over Go's limit ends the program. A larger limit is for peers that are
	// trusted.
	MaxSize int
}

const gobMaxSize = 256 << 10

// Name returns "gob".
func (Gob) Name() string { return "gob" }

// Marshal returns v as a gob stream of its own: the types, then the value. v must
// not contain itself.
func (Gob) Marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(v); err != nil {
		return nil, failed("gob", "encode", ErrUnfit, err)
	}
	return out.Bytes(), nil
}

// Unmarshal decodes data, a gob stream of one value, into what v points at.
func (g Gob) Unmarshal(data []byte, v any) error {
	if _, err := g.check(data); err != nil {
		return err
	}
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(v); err != nil {
		return failed("gob", "decode", ErrMalformed, err)
	}
	return nil
}

// check follows the borders inside a message: any number of types, then one
// value, which ends it. It returns how many bytes the types take.
func (g Gob) check(data []byte) (types int, err error) {
	if size := bound(int64(g.MaxSize), gobMaxSize); int64(len(data)) > size {
		return 0, tooLarge("gob", -1, "%d bytes, more than %d", len(data), size)
	}
	for at := 0; ; {
		size, n := gobUint(data[at:])
		switch {
		case n == 0:
			return 0, cut("gob", int64(at), "no value")
		case n < 0:
			return 0, malformed("gob", int64(at), "no length")
		case size > uint64(len(data)-at-n):
			return 0, cut("gob", int64(at), "a length of %d, and %d bytes follow", size, len(data)-at-n)
		}
		end := at + n + int(size)
		id, idLen := gobUint(data[at+n : end])
		if idLen <= 0 {
			return 0, malformed("gob", int64(at+n), "no type")
		}
		if id&1 == 0 { // positive in gob's signed numbers: a value of that type
			if end != len(data) {
				return 0, malformed("gob", int64(end), "more after the value")
			}
			return at, nil
		}
		at = end
	}
}

// gobUint reads an unsigned number as gob writes it: itself up to 127, else the
// negated count of the bytes that follow, big-endian. n is how many bytes it
// takes, 0 if b ends inside it, −1 if there is none.
func gobUint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	if b[0] <= 0x7F {
		return uint64(b[0]), 1
	}
	n = -int(int8(b[0]))
	if n > 8 {
		return 0, -1
	}
	if len(b) <= n {
		return 0, 0
	}
	var full [8]byte
	copy(full[8-n:], b[1:1+n])
	return binary.BigEndian.Uint64(full[:]), n + 1
}

// A gobSession keeps the encoder and the decoder of a connection, each with the
// types that it has already seen.
type gobSession struct {
	Gob
	out   bytes.Buffer
	enc   *gob.Encoder
	in    bytes.Reader // reads byte by byte too, so that the decoder takes no more than it needs
	dec   *gob.Decoder
	types int // bytes of types received
}

func (g Gob) session() session {
	s := &gobSession{Gob: g}
	s.enc = gob.NewEncoder(&s.out)
	s.dec = gob.NewDecoder(&s.in)
	return s
}

func (s *gobSession) marshal(v any) ([]byte, error) {
	const keep = 64 << 10
	if s.out.Reset(); s.out.Cap() > keep {
		s.out = bytes.Buffer{} // the encoder has its address
	}
	if err := s.enc.Encode(v); err != nil {
		return nil, failed("gob", "encode", ErrUnfit, err)
	}
	return s.out.Bytes(), nil
}

func (s *gobSession) unmarshal(data []byte, v any) error {
	types, err := s.check(data)
	if err != nil {
		return err
	}
	// A decoder keeps all types that it is told of.
	if s.types += types; int64(s.types) > bound(int64(s.MaxSize), gobMaxSize) {
		return tooLarge("gob", -1, "%d bytes of types on one connection", s.types)
	}
	s.in.Reset(data)
	if err := s.dec.Decode(v); err != nil {
		return failed("gob", "decode", ErrMalformed, err)
	}
	return nil
}
