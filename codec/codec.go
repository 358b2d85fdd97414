package codec

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// A Codec turns values into the bytes of one message and back. [JSON],
// [MessagePack] and [Gob] are those of this package; a new one implements these
// three methods and nothing else.
//
// Any number of goroutines may use a Codec at the same time.
type Codec interface {
	// Name is what [LookupCodec] knows it by.
	Name() string
	// Marshal returns v as the bytes of one message.
	Marshal(v any) ([]byte, error)
	// Unmarshal stores the value in data, the whole of one message, into what
	// v points at. It keeps nothing of data. After an error what v points at
	// may hold part of the value.
	Unmarshal(data []byte, v any) error
}

// LookupCodec returns the [Codec] of that name with its default limits: "json",
// "msgpack" or "gob". Upper and lower case are the same. For another name the
// error is an [ErrUnknown].
func LookupCodec(name string) (Codec, error) {
	switch squash(name) {
	case "json":
		return JSON{}, nil
	case "msgpack", "messagepack":
		return MessagePack{}, nil
	case "gob":
		return Gob{}, nil
	}
	return nil, unknown(name)
}

// squash takes away what the spellings of a name differ in.
func squash(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
}

func unknown(name string) error {
	const most = 40 // of a name that may come from a peer
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fmt.Errorf("%w %q", ErrUnknown, name)
}

var (
	// ErrMalformed is the condition of input that is not what it should be.
	ErrMalformed = errors.New("codec: malformed input")

	// ErrUnfit is the condition of a value or a text that the encoding
	// cannot hold, such as the euro sign in latin1.
	ErrUnfit = errors.New("codec: the encoding cannot hold this")

	// ErrTooLarge is the condition of input over a limit: of size, depth or
	// number of values.
	ErrTooLarge = errors.New("codec: over the limit")

	// ErrUnknown says that there is no encoding of that name.
	ErrUnknown = errors.New("codec: unknown encoding")
)

// An Error says what could not be converted, where and why. Branch on the
// condition behind it with errors.Is: [ErrMalformed], [ErrUnfit] or
// [ErrTooLarge]; and [io.ErrUnexpectedEOF], together with ErrMalformed, where
// the input ends too early.
type Error struct {
	Codec  string // the encoding's name
	Op     string // "encode", "decode" or "compile"
	Offset int64  // which byte of the input, counted from 0; −1 where that is not known
	Reason string // what is wrong
	Err    error  // the condition, perhaps with its cause
}

// Error says all of it.
func (e *Error) Error() string {
	s := "codec: " + e.Codec + ": " + e.Op + ": "
	if e.Offset >= 0 {
		s += fmt.Sprintf("byte %d: ", e.Offset)
	}
	return s + e.Reason
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// errCut is the condition of input that ends too early.
var errCut = fmt.Errorf("%w: %w", ErrMalformed, io.ErrUnexpectedEOF)

// malformed, cut, unfit and tooLarge make the errors of one encoding; offset is
// −1 where it is not known.
func malformed(codec string, offset int64, reason string, args ...any) error {
	return &Error{codec, "decode", offset, fmt.Sprintf(reason, args...), ErrMalformed}
}

func cut(codec string, offset int64, reason string, args ...any) error {
	return &Error{codec, "decode", offset, fmt.Sprintf(reason, args...), errCut}
}

func tooLarge(codec string, offset int64, reason string, args ...any) error {
	return &Error{codec, "decode", offset, fmt.Sprintf(reason, args...), ErrTooLarge}
}

func unfit(codec string, offset int64, reason string, args ...any) error {
	return &Error{codec, "encode", offset, fmt.Sprintf(reason, args...), ErrUnfit}
}

// failed is the error of a library below, under the condition kind: "json:
// decode: why".
func failed(codec, op string, kind, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	reason := err.Error()
	for _, p := range []string{"json: ", "msgpack: ", "gob: ", "idna: "} {
		reason = strings.TrimPrefix(reason, p)
	}
	return &Error{codec, op, -1, reason, &cause{kind, err}}
}

// A cause is a condition and the error that led to it.
type cause struct{ kind, err error }

func (c *cause) Error() string   { return c.err.Error() }
func (c *cause) Unwrap() []error { return []error{c.kind, c.err} }

// defaultMaxSize is the largest input or output where none is given, in bytes.
const defaultMaxSize = 16 << 20

// bound reads a limit as the fields document it: 0 means def, negative none.
func bound(n, def int64) int64 {
	switch {
	case n == 0:
		return def
	case n < 0:
		return math.MaxInt64
	}
	return n
}
