package framing

import (
	"errors"
	"fmt"
	"io"
)

// A Format says where one message ends and the next begins. Its two methods
// are pure state machines: they do no input or output, take no time, and keep
// what they must remember between two calls in a [State], so that a Format is
// a plain value which any number of streams can share.
//
// The formats of this package are [Prefix], [Delimiter], [Fixed], [ToEOF],
// [Netstring], [DotLines], [SLIP] and [COBS]. Most programs only choose one of
// them; whoever writes a new one implements these methods and nothing else.
type Format interface {
	// Encode appends to dst what goes on the wire for the beginning of p, the
	// next piece of the message's payload, and returns the longer slice and
	// how many bytes of p it has used. It may then set s.Raw to let that many
	// payload bytes follow untouched: those the caller sends itself, without
	// a copy. When s.Last is set, p is the last piece; the caller goes on
	// calling until s.Done is set and s.Raw is 0.
	//
	// An error means that the format cannot carry this message.
	Encode(dst, p []byte, s *State) (out []byte, n int, err error)

	// Decode looks at src, the bytes that have arrived and are not used up. It
	// writes payload to dst and returns how many bytes it wrote and how many
	// bytes of src it has used, never more of the former than of the latter:
	// dst is as long as src and may begin at the same byte, so that payload is
	// decoded in place. It may then set s.Raw: that many payload bytes follow
	// in the stream as they are, and the caller takes them itself. Two zeros
	// with neither Raw nor Done set mean that more bytes are needed; if s.Last
	// is set there are none, and the message is cut.
	Decode(dst, src []byte, s *State) (nDst, nSrc int, err error)
}

// State is where a [Format] stands inside one message. A [Reader] or [Writer]
// makes a fresh one for each message and keeps the fields marked "caller".
type State struct {
	// Seq counts the messages before this one on the stream (caller).
	Seq int64
	// Size is the payload's length in bytes, −1 while nobody knows it. The
	// caller sets it before encoding, Decode as soon as the wire tells.
	Size int64
	// Pos counts the payload bytes already past (caller).
	Pos int64
	// Last says that nothing comes after p when encoding, that the stream
	// ends after src when decoding (caller).
	Last bool

	// Raw is how many payload bytes follow untouched. The format sets it, the
	// caller counts it down, and calls the format again when it is 0.
	Raw int64
	// Done says that the message ends as soon as Raw is 0.
	Done bool
	// Skip is set by Decode together with an error to say that the rest of
	// the message can be skipped by calling on: the stream is not lost.
	Skip bool
	// Held is how many bytes at the end of Encode's output may still change
	// in the next call, which must find them there.
	Held int

	// Phase and Aux are the format's own notes. Decode leaves Phase other
	// than zero when it has used bytes of the message and neither Size nor
	// Pos shows it: that is how the end of the stream between two messages is
	// told from the end inside one.
	Phase int
	Aux   uint64
}

// begun reports whether decoding has met a byte of the message.
func (s *State) begun() bool { return s.Pos > 0 || s.Size >= 0 || s.Phase != 0 }

// Append appends msg, framed, to dst and returns the longer slice. On an error
// it returns dst as it was.
func Append(f Format, dst, msg []byte) ([]byte, error) {
	out := dst
	s := State{Size: int64(len(msg)), Last: true}
	for {
		if s.Raw > 0 {
			if s.Raw > int64(len(msg)) {
				return dst, errShort(s.Pos+int64(len(msg)), s.Pos+s.Raw)
			}
			out = append(out, msg[:s.Raw]...)
			s.Pos += s.Raw
			msg, s.Raw = msg[s.Raw:], 0
		}
		if s.Done {
			return out, nil
		}
		before := len(out)
		var n int
		var err error
		if out, n, err = f.Encode(out, msg, &s); err != nil {
			return dst, err
		}
		if n == 0 && s.Raw == 0 && !s.Done && len(out) == before {
			return dst, errStuck
		}
		msg = msg[n:]
		s.Pos += int64(n)
	}
}

var errStuck = errors.New("framing: the format's Encode made no progress")

var (
	// ErrTooLarge is the condition behind every [SizeError].
	ErrTooLarge = errors.New("framing: message too large")

	// ErrMalformed is the condition behind every [FormatError].
	ErrMalformed = errors.New("framing: malformed message")

	// ErrUnknownSize says that a message was begun without its size in a
	// format that sends the size first.
	ErrUnknownSize = errors.New("framing: the format sends the size first, and it is not known")

	// ErrUnfit says that a format cannot carry the message given to it, for
	// instance one that contains the delimiter where nothing is quoted. No
	// byte of the message has been sent, unless it was being streamed.
	ErrUnfit = errors.New("framing: the format cannot carry this message")
)

// A SizeError reports a message over the limit. It is found before memory is
// taken for the message. On the receiving side the stream then stands inside
// the message: the next call skips the rest of it and goes on with the message
// after, or the caller closes the connection, as [Server] does.
type SizeError struct {
	Size int64 // bytes claimed; where the format claims nothing, bytes seen so far; at most the largest int64
	Max  int64 // bytes allowed
}

// Error says both numbers.
func (e *SizeError) Error() string {
	return fmt.Sprintf("framing: message of %d bytes or more exceeds the limit of %d", e.Size, e.Max)
}

// Unwrap returns [ErrTooLarge].
func (e *SizeError) Unwrap() error { return ErrTooLarge }

// A FormatError reports bytes that no message can begin with or contain. Where
// a later border can be found without understanding the message (delimiters,
// SLIP, COBS, dot-stuffed lines) the next call skips to it; after a bad length
// nothing can be found again, and every later call returns the same error.
type FormatError struct {
	Format string // the format's name
	Reason string // what is wrong
}

// Error names the format and the reason.
func (e *FormatError) Error() string { return "framing: " + e.Format + ": " + e.Reason }

// Unwrap returns [ErrMalformed].
func (e *FormatError) Unwrap() error { return ErrMalformed }

func malformed(format, reason string, args ...any) error {
	return &FormatError{Format: format, Reason: fmt.Sprintf(reason, args...)}
}

func unfit(format, reason string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrUnfit, format, fmt.Sprintf(reason, args...))
}

// errShort reports a message that ended before the size announced for it.
func errShort(got, want int64) error {
	return fmt.Errorf("%w: it ends after %d of %d bytes", ErrUnfit, got, want)
}

// errCut reports a stream that ends inside a message.
func errCut(s *State) error {
	if s.Size >= 0 {
		return fmt.Errorf("framing: the stream ends inside a message, after %d of %d bytes: %w", s.Pos, s.Size, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("framing: the stream ends inside a message, after %d bytes: %w", s.Pos, io.ErrUnexpectedEOF)
}
