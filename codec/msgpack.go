package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// MessagePack is the [Codec] of the format of that name: JSON's values in
// binary, and bytes, times and extensions besides. Struct tags and the
// interfaces by which a type encodes itself are those of package
// github.com/vmihailenco/msgpack/v5, which does the encoding: `msgpack:"name"`.
//
// What comes in is walked from end to end before anything is made of it, so that
// no length is believed which the bytes do not back. Text must be UTF-8. Decoding
// into an any gives
//
//	nil, bool, string, []byte
//	int64; uint64 for what is larger
//	float32, float64
//	[]any
//	map[string]any; map[any]any if some key is no string
//	time.Time for a timestamp, Ext for every other extension
//
// An integer that does not fit the variable it is meant for is an error, as is a
// map key, such as a list, that a Go map cannot have.
type MessagePack struct {
	// MaxSize is the largest message to decode, in bytes; 0 means 16 MiB,
	// negative no limit.
	MaxSize int
	// MaxDepth is how many arrays and maps may stand one inside the other; 0
	// or less means 1,000.
	MaxDepth int
	// MaxValues is how many values a message may have in all, for one byte of
	// it can take sixteen and more in memory; 0 means 1,048,576, negative no
	// limit.
	MaxValues int
}

// Ext is a value of an extended type, whose meaning two applications have agreed
// on.
type Ext struct {
	Type int8   // the applications' own from 0 to 127; MessagePack reserves those below
	Data []byte // the content
}

// EncodeMsgpack writes e when [MessagePack.Marshal] meets one.
func (e Ext) EncodeMsgpack(enc *msgpack.Encoder) error {
	if err := enc.EncodeExtHeader(e.Type, len(e.Data)); err != nil {
		return err
	}
	_, err := enc.Writer().Write(e.Data)
	return err
}

// Name returns "msgpack".
func (MessagePack) Name() string { return "msgpack" }

// Marshal returns v as MessagePack, integers in as few bytes as they need. v must
// not contain itself.
func (MessagePack) Marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	enc.Reset(&out)
	enc.UseCompactInts(true)
	if err := enc.Encode(v); err != nil {
		return nil, failed("msgpack", "encode", ErrUnfit, err)
	}
	return out.Bytes(), nil
}

// Unmarshal decodes data, one value and nothing else, into what v points at.
func (m MessagePack) Unmarshal(data []byte, v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return &Error{"msgpack", "decode", -1, fmt.Sprintf("cannot store into a %T, only through a pointer", v), ErrUnfit}
	}
	if err := m.Check(data); err != nil {
		return err
	}
	d := packDecoder{data: data}
	if to, ok := v.(*any); ok {
		var err error
		*to, err = d.any()
		return err
	}
	return d.value(p.Elem())
}

// A kind is one of the sorts of value that MessagePack has.
type kind uint8

const (
	kindNever kind = iota // the one byte without a meaning
	kindNil
	kindBool
	kindInt
	kindUint
	kindFloat
	kindStr
	kindBin
	kindExt
	kindArray
	kindMap
)

func (k kind) String() string {
	return [...]string{"nothing", "nil", "a bool", "an integer", "an integer", "a float", "a string", "bytes", "an extension", "an array", "a map"}[k]
}

// shapes says what the bytes 0xC0 to 0xDF announce: content of n bytes, or a
// length that takes width bytes.
var shapes = [32]struct {
	kind  kind
	width uint8
	n     uint8
}{
	{kind: kindNil},
	{kind: kindNever},
	{kind: kindBool},
	{kind: kindBool},
	{kindBin, 1, 0},
	{kindBin, 2, 0},
	{kindBin, 4, 0},
	{kindExt, 1, 0},
	{kindExt, 2, 0},
	{kindExt, 4, 0},
	{kindFloat, 0, 4},
	{kindFloat, 0, 8},
	{kindUint, 0, 1},
	{kindUint, 0, 2},
	{kindUint, 0, 4},
	{kindUint, 0, 8},
	{kindInt, 0, 1},
	{kindInt, 0, 2},
	{kindInt, 0, 4},
	{kindInt, 0, 8},
	{kindExt, 0, 1},
	{kindExt, 0, 2},
	{kindExt, 0, 4},
	{kindExt, 0, 8},
	{kindExt, 0, 16},
	{kindStr, 1, 0},
	{kindStr, 2, 0},
	{kindStr, 4, 0},
	{kindArray, 2, 0},
	{kindArray, 4, 0},
	{kindMap, 2, 0},
	{kindMap, 4, 0},
}

// item says what begins at b[at]: its kind, where its content starts, and n,
// how many bytes the content has, or elements, or pairs. An extension's type is
// the byte before its content; a small integer is its own content. Where b ends
// before the content start lies beyond the end. n is negative where an int
// cannot hold it.
func item(b []byte, at int) (k kind, start, n int) {
	c := b[at]
	switch {
	case c <= 0x7F || c >= 0xE0:
		return kindInt, at, 1
	case c <= 0x8F:
		return kindMap, at + 1, int(c & 0x0F)
	case c <= 0x9F:
		return kindArray, at + 1, int(c & 0x0F)
	case c <= 0xBF:
		return kindStr, at + 1, int(c & 0x1F)
	}
	s := shapes[c-0xC0]
	start, n = at+1+int(s.width), int(s.n)
	if start > len(b) {
		return s.kind, len(b) + 1, 0
	}
	switch s.width {
	case 1:
		n = int(b[at+1])
	case 2:
		n = int(binary.BigEndian.Uint16(b[at+1:]))
	case 4:
		n = int(binary.BigEndian.Uint32(b[at+1:]))
	}
	if s.kind == kindExt {
		start++
	}
	return s.kind, start, n
}

// timestamp is the type of the extension for times.
const timestamp = -1

// Check reports why data is not one MessagePack value within the limits, nil if
// it is. It takes no memory but for eight bytes a level, and looks at each byte
// at most once.
func (m MessagePack) Check(data []byte) error {
	size, depth := bound(int64(m.MaxSize), defaultMaxSize), m.MaxDepth
	values := bound(int64(m.MaxValues), 1<<20)
	if depth <= 0 {
		depth = 1000
	}
	if int64(len(data)) > size {
		return tooLarge("msgpack", -1, "%d bytes, more than %d", len(data), size)
	}
	// open holds, for each array and map around the place, how many values it
	// still wants, left for the innermost. owed is how many are wanted in all:
	// each takes a byte at least.
	var room [32]int
	open, left, owed := room[:0], 1, 1
	at := 0
	for {
		for left == 0 {
			if len(open) == 0 {
				if at < len(data) {
					return malformed("msgpack", int64(at), "more after the value")
				}
				return nil
			}
			left = open[len(open)-1]
			open = open[:len(open)-1]
		}
		if at == len(data) {
			return cut("msgpack", int64(at), "%d more values are announced", owed)
		}
		left--
		owed--
		if values--; values < 0 {
			return tooLarge("msgpack", int64(at), "more values than allowed")
		}
		k, start, n := item(data, at)
		rest := len(data) - start
		switch {
		case k == kindNever:
			return malformed("msgpack", int64(at), "0xC1 is never used")
		case rest < 0:
			return cut("msgpack", int64(at), "%v ends inside its length", k)
		case k == kindArray || k == kindMap:
			if n < 0 || n > rest {
				return cut("msgpack", int64(at), "%v of %d, and %d bytes follow", k, uint32(n), rest)
			}
			if k == kindMap {
				n *= 2
			}
			if owed += n; owed > rest {
				return cut("msgpack", int64(at), "%d values are announced, and %d bytes follow", owed, rest)
			}
			if len(open) >= depth {
				return tooLarge("msgpack", int64(at), "nested more than %d deep", depth)
			}
			open, left = append(open, left), n
			at = start
			continue
		case n < 0 || n > rest:
			return cut("msgpack", int64(at), "%v of %d bytes, and %d follow", k, uint32(n), rest)
		}
		content := data[start : start+n]
		switch k {
		case kindStr:
			if !utf8.Valid(content) {
				return malformed("msgpack", int64(start), "a string that is not UTF-8")
			}
		case kindExt:
			if int8(data[start-1]) == timestamp && !validTime(content) {
				return malformed("msgpack", int64(at), "a timestamp of %d bytes that is none", n)
			}
		}
		at = start + n
	}
}

// validTime looks at the content of a timestamp: seconds in 32 bits; nanoseconds
// in 30 and seconds in 34; or nanoseconds in 32 and seconds in 64.
func validTime(b []byte) bool {
	const second = 1e9 // in nanoseconds
	switch len(b) {
	case 4:
		return true
	case 8:
		return binary.BigEndian.Uint64(b)>>34 < second
	case 12:
		return binary.BigEndian.Uint32(b) < second
	}
	return false
}
