package codec

import (
	"errors"
	"io"
)

// A Text is one way of writing text, or any bytes, as bytes: a character set, or
// one of the wrappings that mail, the web and the DNS put around content. The
// zero value is UTF-8; [Lookup] finds the others by name.
//
// It is a plain value: copy it, change its fields, share it between goroutines.
// It is strict unless told otherwise: what is not valid is an error that says
// at which byte, never a guess.
type Text struct {
	// Replace puts a replacement where a character cannot be converted, and
	// goes on: U+FFFD in decoded text, and in what is encoded U+FFFD or, where
	// the character set has no such character, a question mark. Only character
	// sets replace; in the others it has no effect.
	Replace bool

	// MaxSize is the most bytes that decoding zlib or gzip gives out; 0 means
	// 16 MiB, negative no limit. The other encodings have none, since they
	// give at most three bytes for one.
	MaxSize int64

	enc scheme // nil means UTF-8
}

// A scheme is what differs from one Text to another.
type scheme interface {
	label() string
	encode(t Text, src []byte) ([]byte, error)
	decode(t Text, src []byte) ([]byte, error)
	reader(t Text, r io.Reader) io.Reader
	writer(t Text, w io.Writer) io.WriteCloser
}

// Lookup returns the encoding of that name, strict and with default limits.
// Besides the names of [Names] it knows the usual others: "iso-8859-1",
// "cp1252", "us-ascii", "zip" for zlib. Case, hyphens, underscores and spaces make
// no difference. For another name the error is an [ErrUnknown].
func Lookup(name string) (Text, error) {
	switch squash(name) {
	case "utf8", "u8":
		return Text{}, nil
	case "ascii", "usascii", "646", "iso646us", "ansix3.41968":
		return Text{enc: asciiSet}, nil
	case "latin1", "l1", "iso88591", "88591", "8859", "cp819", "ibm819":
		return Text{enc: latin1Set}, nil
	case "windows1252", "cp1252", "1252":
		return Text{enc: windows1252Set}, nil
	case "utf16", "u16":
		return Text{enc: utf16Set}, nil
	case "utf16le":
		return Text{enc: utf16leSet}, nil
	case "utf16be":
		return Text{enc: utf16beSet}, nil
	case "base64":
		return Text{enc: base64Text{}}, nil
	case "base64url":
		return Text{enc: base64Text{url: true}}, nil
	case "base64mime":
		return Text{enc: base64Text{mime: true}}, nil
	case "idna":
		return Text{enc: idnaText{}}, nil
	case "zlib", "zip":
		return Text{enc: deflated{}}, nil
	case "gzip", "gz":
		return Text{enc: deflated{gzip: true}}, nil
	}
	return Text{}, unknown(name)
}

// Names lists the encodings that [Lookup] knows, each by the name that
// [Text.Name] gives it.
func Names() []string {
	return []string{
		"ascii", "utf-8", "utf-16", "utf-16le", "utf-16be", "latin1", "windows-1252",
		"base64", "base64url", "base64-mime", "idna", "zlib", "gzip",
	}
}

// of returns what makes t different.
func (t Text) of() scheme {
	if t.enc == nil {
		return utf8Set
	}
	return t.enc
}

// Name returns the encoding's name, one of [Names].
func (t Text) Name() string { return t.of().label() }

// Encode returns src in the encoding. A character set and idna take UTF-8 text,
// the others any bytes. The error is an [*Error].
func (t Text) Encode(src []byte) ([]byte, error) { return t.of().encode(t, src) }

// Decode is the inverse of [Text.Encode]: it returns what src, the whole of it,
// says in the encoding.
func (t Text) Decode(src []byte) ([]byte, error) { return t.of().decode(t, src) }

// NewReader returns a reader of what r says in the encoding, up to the end of
// r. It reads ahead, and a mistake in the input is an [*Error] after all that
// comes before it. An error of r that passes, such as a deadline, loses nothing
// where the encoding is a character set or base64.
func (t Text) NewReader(r io.Reader) io.Reader { return t.of().reader(t, r) }

// NewWriter returns a writer that writes to w, in the encoding, what is written
// to it. Close writes the end, which most encodings need; it does not close w.
func (t Text) NewWriter(w io.Writer) io.WriteCloser { return t.of().writer(t, w) }

// A converter turns bytes into other bytes piece by piece, in one direction.
type converter interface {
	// convert appends to dst what it makes of the beginning of src and returns
	// the longer slice and how many bytes of src it has used: all but a
	// character that is not complete, and all if last says that nothing
	// follows. The offset of an error counts from the beginning of src; what
	// comes before the mistake is in out.
	convert(dst, src []byte, last bool) (out []byte, n int, err error)
}

// piecewise is the part of an encoding that follows from its converters.
type piecewise struct {
	name     string
	toWire   func(t Text) converter
	fromWire func(t Text) converter
}

func (e piecewise) label() string { return e.name }

func (e piecewise) encode(t Text, src []byte) ([]byte, error) {
	return whole(e.toWire(t), src)
}

func (e piecewise) decode(t Text, src []byte) ([]byte, error) {
	return whole(e.fromWire(t), src)
}

func (e piecewise) reader(t Text, r io.Reader) io.Reader {
	return &textReader{src: r, conv: e.fromWire(t)}
}

func (e piecewise) writer(t Text, w io.Writer) io.WriteCloser {
	return &textWriter{dst: w, conv: e.toWire(t)}
}

func whole(c converter, src []byte) ([]byte, error) {
	out, _, err := c.convert(make([]byte, 0, len(src)+len(src)/8+8), src, true)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// pieceSize is how many bytes a stream converts at a time.
const pieceSize = 8 << 10

type textReader struct {
	src  io.Reader
	conv converter

	in   []byte // has been read and is not converted
	base int64  // bytes of src before in
	out  []byte // is converted; out[pos:] has not been given out
	pos  int

	late error // of src, to be given out after out
	err  error // final
}

var errImpossible = errors.New("codec: the reader below returned an impossible count")

// Read reads decoded bytes.
func (r *textReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	const maxEmptyReads = 100
	for empty := 0; r.pos == len(r.out); {
		switch {
		case r.err != nil:
			return 0, r.err
		case r.late != nil && r.late != io.EOF:
			err := r.late
			r.late = nil
			return 0, err
		case empty == maxEmptyReads:
			return 0, io.ErrNoProgress
		}
		if r.late == nil && r.fill() == 0 && r.late == nil {
			empty++
			continue
		}
		r.convert(r.late == io.EOF)
	}
	n := copy(p, r.out[r.pos:])
	r.pos += n
	return n, nil
}

// fill reads once.
func (r *textReader) fill() int {
	have := len(r.in)
	if cap(r.in)-have < pieceSize/2 {
		r.in = append(make([]byte, 0, 2*have+pieceSize), r.in...)
	}
	n, err := r.src.Read(r.in[have:cap(r.in)])
	if n < 0 || n > cap(r.in)-have {
		n, err = 0, errImpossible
	}
	r.in = r.in[:have+n]
	r.late = err
	return n
}

func (r *textReader) convert(last bool) {
	var n int
	var err error
	r.pos = 0
	r.out, n, err = r.conv.convert(r.out[:0], r.in, last)
	if err != nil {
		r.err = further(err, r.base)
		return
	}
	if last {
		r.err = io.EOF
	}
	r.base += int64(n)
	r.in = r.in[:copy(r.in, r.in[n:])]
}

// further adds base to the offset of an error.
func further(err error, base int64) error {
	if e, ok := err.(*Error); ok && e.Offset >= 0 {
		e.Offset += base
	}
	return err
}

type textWriter struct {
	dst  io.Writer
	conv converter

	in   []byte // the beginning of a character whose end has not come
	out  []byte
	base int64 // bytes written before in
	err  error
}

var errWriterClosed = errors.New("codec: write after close")

// Write writes p, encoded, as far as its characters are complete.
func (w *textWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		if w.err != nil {
			return done, w.err
		}
		piece := p[done:min(done+pieceSize, len(p))]
		if err := w.convert(piece, false); err != nil {
			return done, err
		}
		done += len(piece)
	}
	return len(p), w.err
}

// Close writes the end.
func (w *textWriter) Close() error {
	if w.err == errWriterClosed {
		return nil
	}
	err := w.err
	if err == nil {
		err = w.convert(nil, true)
	}
	w.err = errWriterClosed
	return err
}

func (w *textWriter) convert(piece []byte, last bool) error {
	src := piece
	if len(w.in) > 0 {
		w.in = append(w.in, piece...)
		src = w.in
	}
	var n int
	w.out, n, w.err = w.conv.convert(w.out[:0], src, last)
	w.err = further(w.err, w.base)
	if len(w.out) > 0 {
		if _, err := w.dst.Write(w.out); err != nil {
			w.err = err
		}
	}
	w.base += int64(n)
	w.in = append(w.in[:0], src[n:]...)
	return w.err
}
