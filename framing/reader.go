package framing

import (
	"encoding/binary"
	"errors"
	"io"
	"iter"
)

const (
	defaultMaxSize = 1 << 20
	minBuffer      = 4 << 10  // what an idle stream costs
	bigBuffer      = 64 << 10 // buffers grow to this for speed, beyond it only for a message
	patience       = 16       // small messages before the memory of a large one is given back
	maxEmptyReads  = 100
)

// A Reader takes messages off a stream. It is for one goroutine; make it with
// [NewReader].
//
// It reads ahead: what it has buffered is lost to whoever reads the stream
// directly. It never takes more memory than twice the bytes that have arrived
// of the message at hand plus 64 KiB, whatever length a peer claims, and gives
// the memory of large messages back when small ones follow.
//
// An error of the stream that passes, such as a deadline, loses nothing: the
// next call goes on where the last one stopped.
type Reader struct {
	// MaxSize is the largest message, in bytes of payload, that ReadMessage
	// returns; 0 means 1 MiB. A larger one is a [SizeError]. Next sets no
	// limit, since it takes no memory for the message.
	MaxSize int

	src    io.Reader
	format Format
	plain  bool // the format is Prefix{}

	// buf[pos:end] has arrived and is not used up. The payload of the message
	// at hand, as far as it is decoded and not given out, is buf[from:to],
	// and to <= pos.
	buf      []byte
	from, to int
	pos, end int

	st    State
	stage stage
	seq   int64 // messages finished
	small int   // so many messages in a row used little of a big buffer

	filled bool  // the last read filled all the room there was
	eof    bool  // the stream is at its end
	late   error // came with bytes; reported when they are used up
	err    error // the borders are lost: what every later call returns
}

// stage is what has become of the message at hand.
type stage int

const (
	between   stage = iota // no message is begun with
	reading                // begun with, not yet given to anybody
	streaming              // Next has announced it
	refused                // an error was returned for it; its rest is to be skipped
)

// NewReader returns a Reader of messages in format f, nil meaning Prefix{},
// that arrive on r.
func NewReader(r io.Reader, f Format) *Reader {
	if f == nil {
		f = Prefix{}
	}
	return &Reader{src: r, format: f, plain: f == Prefix{}}
}

// ReadMessage returns the payload of the next message, which is valid until
// the next call of any method. What is left unread of a message begun with
// Next is skipped.
//
// The error is io.EOF when the stream ends between two messages,
// io.ErrUnexpectedEOF (use errors.Is) when it ends inside one, a [SizeError] or
// [FormatError] for a message that is refused, or the stream's own error.
func (r *Reader) ReadMessage() ([]byte, error) {
	limit := r.MaxSize
	if limit <= 0 {
		limit = defaultMaxSize
	}
	if r.plain && r.stage == between {
		if msg, ok := r.readPlain(limit); ok {
			return msg, nil
		}
	}
	if err := r.start(); err != nil {
		return nil, err
	}
	for !r.complete() {
		err := r.step()
		if r.err == nil && (r.st.Size > int64(limit) || r.to-r.from > limit) {
			r.stage = refused
			return nil, &SizeError{Size: max(r.st.Size, r.st.Pos), Max: int64(limit)}
		}
		if err != nil {
			return nil, err
		}
	}
	r.finish()
	return r.buf[r.from:r.to:r.to], nil
}

// readPlain is ReadMessage for the commonest case, in half the time: the format
// is Prefix{} and the whole message is in the buffer, or arrives in one read.
func (r *Reader) readPlain(limit int) (msg []byte, ok bool) {
	if len(r.buf) > bigBuffer {
		return nil, false // not before giveBack
	}
	if r.pos == r.end && len(r.buf) > 0 && !r.filled && !r.eof && r.late == nil {
		r.from, r.to, r.pos, r.end = 0, 0, 0, 0
		n, err := r.src.Read(r.buf)
		if n < 0 || n > len(r.buf) {
			n, err = 0, errImpossible
		}
		r.end, r.late = n, err
		r.filled = n == len(r.buf)
	}
	from := r.pos + 4
	if from > r.end {
		return nil, false
	}
	size := binary.BigEndian.Uint32(r.buf[r.pos:])
	if int64(size) > int64(limit) || int(size) > r.end-from {
		return nil, false
	}
	r.from, r.to = from, from+int(size)
	r.pos = r.to
	r.seq++
	return r.buf[from:r.to:r.to], true
}

// Messages returns the messages that remain, each valid until the next one. A
// message that is refused but can be skipped is reported and the iteration
// goes on, if the loop lets it; any other error ends it, and so does, without
// an error, the clean end of the stream.
func (r *Reader) Messages() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			msg, err := r.ReadMessage()
			if err == io.EOF || !yield(msg, err) || err != nil && r.stage != refused {
				return
			}
		}
	}
}

// Next announces the next message, for Read to give out piece by piece, and
// returns its size in bytes, −1 if the format does not tell beforehand. What is
// left unread of the message before is skipped. Errors are those of
// ReadMessage, except that no size is too large.
func (r *Reader) Next() (size int64, err error) {
	if err := r.start(); err != nil {
		return 0, err
	}
	for !r.st.begun() && !r.complete() {
		if err := r.step(); err != nil {
			return 0, err
		}
	}
	r.stage = streaming
	return r.st.Size, nil
}

// Read reads from the message that Next has announced. At its end the error is
// io.EOF; where the stream ends before, io.ErrUnexpectedEOF (use errors.Is).
func (r *Reader) Read(p []byte) (int, error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case r.stage != streaming:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	for r.from == r.to {
		if r.complete() {
			r.finish()
			return 0, io.EOF
		}
		if r.st.Raw > 0 && r.pos == r.end && len(p) >= minBuffer && !r.eof && r.late == nil {
			if n, err := r.direct(p); n > 0 || err != nil {
				return n, err
			}
		}
		r.from, r.to = r.pos, r.pos
		if err := r.step(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.from:r.to])
	r.from += n
	return n, nil
}

// direct reads untouched payload into p without passing through the buffer.
func (r *Reader) direct(p []byte) (int, error) {
	n, err := r.src.Read(p[:min(int64(len(p)), r.st.Raw)])
	r.st.Raw -= int64(n)
	r.st.Pos += int64(n)
	if err == io.EOF {
		r.eof, err = true, nil
	}
	return n, err
}

// start makes the next message the one at hand, skipping what is left of the
// one before unless it has been given to nobody.
func (r *Reader) start() error {
	if r.err != nil {
		return r.err
	}
	if r.stage == reading {
		return nil
	}
	if r.stage != between {
		for !r.complete() {
			r.stage = refused
			r.from, r.to = r.pos, r.pos
			if err := r.step(); err != nil {
				return err
			}
		}
		r.finish()
	}
	r.giveBack()
	r.from, r.to = r.pos, r.pos
	r.st = State{Seq: r.seq, Size: -1}
	r.stage = reading
	return nil
}

func (r *Reader) complete() bool { return r.st.Done && r.st.Raw == 0 }

func (r *Reader) finish() {
	r.stage = between
	r.seq++
}

// giveBack lets go of a buffer that was grown for a message, when nothing in
// it is needed and the messages since have been small.
func (r *Reader) giveBack() {
	if len(r.buf) <= bigBuffer {
		return
	}
	if r.to-r.from > len(r.buf)/4 {
		r.small = 0
	} else if r.small++; r.small >= patience && r.pos == r.end {
		r.buf, r.small = nil, 0
		r.pos, r.end = 0, 0
	}
}

// begun reports whether a byte of the next message has arrived.
func (r *Reader) begun() bool {
	return r.pos < r.end || r.stage != between && r.st.begun()
}

// step decodes some of what has arrived or, where that does not suffice, waits
// for more.
func (r *Reader) step() error {
	if r.st.Raw > 0 {
		if r.pos == r.end {
			return r.fill(r.st.Raw)
		}
		r.takeRaw()
		return nil
	}
	if r.pos == r.end && !r.eof {
		return r.fill(1)
	}
	r.st.Last = r.eof
	src := r.buf[r.pos:r.end]
	nDst, nSrc, err := r.format.Decode(r.buf[r.to:r.to+len(src)], src, &r.st)
	r.to += nDst
	r.st.Pos += int64(nDst)
	r.pos += nSrc
	switch {
	case err != nil && r.st.Skip:
		r.st.Skip = false
		r.stage = refused
		return err
	case err != nil:
		r.err = err
		return err
	case nDst > 0 || nSrc > 0 || r.st.Raw > 0 || r.st.Done:
		return nil
	}
	return r.fill(1)
}

// takeRaw takes untouched payload that has arrived. Where a length or an
// escape stood between it and the payload before, the shorter of the two is
// moved to the other.
func (r *Reader) takeRaw() {
	n := int(min(r.st.Raw, int64(r.end-r.pos)))
	if r.to != r.pos {
		if have := r.to - r.from; have <= n {
			copy(r.buf[r.pos-have:], r.buf[r.from:r.to])
			r.from, r.to = r.pos-have, r.pos
		} else {
			copy(r.buf[r.to:], r.buf[r.pos:r.pos+n])
		}
	}
	r.to += n
	r.pos += n
	r.st.Pos += int64(n)
	r.st.Raw -= int64(n)
}

// fill reads once, wanting that many bytes, and makes room before: by moving
// what is needed to the front of the buffer, or by a larger buffer of at most
// twice what has arrived and bigBuffer.
func (r *Reader) fill(want int64) error {
	if r.eof {
		if r.begun() {
			return errCut(&r.st)
		}
		return io.EOF
	}
	if err := r.late; err != nil {
		r.late = nil
		if err == io.EOF {
			r.eof = true
			return nil
		}
		return err
	}
	r.makeRoom(want)
	room := r.buf[r.end:]
	if most := max(want, bigBuffer); int64(len(room)) > most {
		room = room[:most] // reading on would only have to be moved later
	}
	for range maxEmptyReads {
		n, err := r.src.Read(room)
		if n < 0 || n > len(room) {
			return errImpossible
		}
		r.end += n
		r.filled = n == len(room)
		if n > 0 {
			r.late = err
			return nil
		}
		if err == io.EOF {
			r.eof = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

var errImpossible = errors.New("framing: the stream's Read returned an impossible count")

func (r *Reader) makeRoom(want int64) {
	low := r.pos // the first byte that is needed
	if r.from < r.to {
		low = r.from
	}
	have := r.end - low
	size := len(r.buf)
	switch {
	case size-have < 1 || want > int64(size-have):
		size = max(size, int(min(max(int64(have)+want, 2*int64(size), minBuffer), 2*int64(have)+bigBuffer)))
	case have == 0 && r.filled && size < bigBuffer:
		size = min(2*size, bigBuffer)
	}
	switch {
	case size > len(r.buf):
		buf := make([]byte, size)
		copy(buf, r.buf[low:r.end])
		r.buf = buf
	case have == 0 || len(r.buf)-r.end < len(r.buf)/2 && low > 0:
		copy(r.buf, r.buf[low:r.end])
	default:
		return
	}
	// Everything has moved down by low; with nothing given out yet from and to
	// may lie below it.
	r.from, r.to = max(r.from-low, 0), max(r.to-low, 0)
	r.pos, r.end = r.pos-low, r.end-low
}
