package framing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

const (
	// Payload of this size and more is not copied, but handed to the system
	// beside its header: on sockets in one vectored write, elsewhere in a
	// write of its own, which must be worth it.
	vectorFrom = 4 << 10
	directFrom = 16 << 10

	// Encode is given at most so much at a time, which bounds what quoting
	// can make of it.
	pieceSize = 32 << 10
)

// A Writer puts messages on a stream. It is for one goroutine; make it with
// [NewWriter].
//
// An error of the stream leaves a message cut, so that it is final: every later
// call returns it. A message that the format refuses ([ErrUnfit], [SizeError])
// leaves nothing behind.
type Writer struct {
	dst      io.Writer
	vectored bool
	format   Format
	plain    bool // the format is Prefix{}

	// What waits to be written: the parts, then buf[mark:], of which the last
	// st.Held bytes may still change. The parts lie in buf or in the memory
	// of the caller, who has not got it back yet.
	buf   []byte
	mark  int
	parts [][]byte
	vec   net.Buffers // for WriteTo, which eats it

	st      State
	open    bool // Begin without End
	seq     int64
	flushed bool // part of the message at hand has been written
	err     error
}

// NewWriter returns a Writer of messages in format f, nil meaning Prefix{}, on
// w. Where w is a TCP or Unix connection a large payload goes out with its
// header in one vectored write, without being copied.
func NewWriter(w io.Writer, f Format) *Writer {
	if f == nil {
		f = Prefix{}
	}
	out := &Writer{dst: w, format: f, plain: f == Prefix{}}
	switch w.(type) {
	case *net.TCPConn, *net.UnixConn:
		out.vectored = true
	}
	return out
}

// WriteMessage sends p as one message, and with it, in the same write, all that
// Queue has left waiting.
func (w *Writer) WriteMessage(p []byte) error {
	if err := w.Queue(p); err != nil {
		return err
	}
	return w.Flush()
}

// Queue adds p as one message to those that wait for Flush, and writes them
// when they come to 64 KiB. One system call for many small messages is what
// makes them cheap; the price is that nothing is sent until somebody says so.
// p may be reused when Queue returns.
func (w *Writer) Queue(p []byte) error {
	if w.plain && len(p) < vectorFrom && len(w.buf) < bigBuffer && !w.open && w.err == nil {
		// The commonest case in half the time.
		w.buf = append(binary.BigEndian.AppendUint32(w.buf, uint32(len(p))), p...)
		w.seq++
		return w.settle()
	}
	if err := w.begin(int64(len(p)), true); err != nil {
		return err
	}
	buf, mark, parts := len(w.buf), w.mark, len(w.parts)
	err := w.encode(p)
	w.open = false
	if err != nil {
		if w.err == nil && w.flushed {
			w.err = err // the message is cut on the wire
		} else if w.err == nil {
			clear(w.parts[parts:])
			w.buf, w.mark, w.parts = w.buf[:buf], mark, w.parts[:parts]
		}
		return err
	}
	w.seq++
	return w.settle()
}

// Flush writes what Queue has left waiting.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	return w.flush()
}

// Begin begins a message that Write fills and End ends, for what is too large
// to hold in memory. size is how many bytes it will have; −1 says that this is
// not known, which formats that send the size first refuse with
// [ErrUnknownSize]. Other messages must wait until End.
func (w *Writer) Begin(size int64) error {
	if size < 0 {
		size = -1
	}
	if err := w.begin(size, false); err != nil {
		return err
	}
	var err error
	buf := len(w.buf)
	if w.buf, _, err = w.format.Encode(w.buf, nil, &w.st); err != nil {
		w.open = false
		w.buf = w.buf[:buf]
	}
	return err
}

// Write adds p to the message begun with Begin.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.streamed(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// End ends the message begun with Begin and writes what waits. It is an error
// if fewer bytes have been written than announced: the stream is then of no
// more use.
func (w *Writer) End() error {
	w.st.Last = true
	if err := w.streamed(nil); err != nil {
		return err
	}
	w.open = false
	w.seq++
	return w.Flush()
}

var (
	errOpen    = errors.New("framing: the message begun with Begin has no End yet")
	errNotOpen = errors.New("framing: Write or End without Begin")
)

func (w *Writer) begin(size int64, last bool) error {
	switch {
	case w.err != nil:
		return w.err
	case w.open:
		return errOpen
	}
	w.st = State{Seq: w.seq, Size: size, Last: last}
	w.open, w.flushed = true, false
	return nil
}

func (w *Writer) streamed(p []byte) error {
	if w.err != nil {
		return w.err
	}
	if !w.open {
		return errNotOpen
	}
	if err := w.encode(p); err != nil {
		w.err = err // the receiver waits for the rest of this message
		return err
	}
	return w.settle()
}

// settle writes what refers to the caller's memory, or has become much.
func (w *Writer) settle() error {
	if len(w.parts) > 0 || len(w.buf) >= bigBuffer {
		return w.flush()
	}
	return nil
}

// encode adds p to what waits, in the wire form of the message at hand.
func (w *Writer) encode(p []byte) error {
	s := &w.st
	last := s.Last
	for {
		if s.Raw > 0 {
			n := int(min(s.Raw, int64(len(p))))
			w.add(p[:n])
			p = p[n:]
			s.Pos += int64(n)
			s.Raw -= int64(n)
		}
		switch {
		case s.Raw > 0 && last:
			return errShort(s.Pos, s.Pos+s.Raw)
		case s.Raw == 0 && s.Done && len(p) > 0:
			return fmt.Errorf("%w: it goes on after the %d bytes announced", ErrUnfit, s.Pos)
		case s.Raw > 0 || s.Done || len(p) == 0 && !last:
			return nil
		}
		piece := p
		if len(p) > pieceSize {
			piece = p[:pieceSize]
		}
		s.Last = last && len(piece) == len(p)
		before := len(w.buf)
		var n int
		var err error
		w.buf, n, err = w.format.Encode(w.buf, piece, s)
		s.Last = last
		if err != nil {
			return err
		}
		if n == 0 && s.Raw == 0 && !s.Done && len(w.buf) == before {
			return errStuck
		}
		p = p[n:]
		s.Pos += int64(n)
		if len(w.buf) >= 2*bigBuffer {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
}

// add adds untouched payload, copied if that is cheaper than a part.
func (w *Writer) add(p []byte) {
	if len(p) < vectorFrom || !w.vectored && len(p) < directFrom {
		w.buf = append(w.buf, p...)
		return
	}
	if k := len(w.parts) - 1; k >= 0 && w.mark == len(w.buf) && adjoin(w.parts[k], p) {
		w.parts[k] = w.parts[k][:len(w.parts[k])+len(p)]
		return
	}
	if !w.vectored { // the header shall not travel alone
		w.buf = append(w.buf, p[:vectorFrom]...)
		p = p[vectorFrom:]
	}
	if head := w.buf[w.mark:]; len(head) > 0 {
		w.parts = append(w.parts, head)
		w.mark = len(w.buf)
	}
	w.parts = append(w.parts, p)
}

// adjoin reports whether b begins in memory where a ends.
func adjoin(a, b []byte) bool {
	return cap(a) >= len(a)+len(b) && &a[:len(a)+1][len(a)] == &b[0]
}

// flush writes what waits, except what may still change.
func (w *Writer) flush() error {
	ready := len(w.buf)
	if w.open {
		ready -= w.st.Held
	}
	out := w.buf[w.mark:ready]
	var err error
	switch {
	case len(w.parts) > 0:
		if len(out) > 0 {
			w.parts = append(w.parts, out)
		}
		w.vec = w.parts
		_, err = w.vec.WriteTo(w.dst)
		clear(w.parts)
		w.parts, w.vec = w.parts[:0], nil
	case len(out) > 0:
		var n int
		if n, err = w.dst.Write(out); err == nil && n < len(out) {
			err = io.ErrShortWrite
		}
	default:
		return nil
	}
	if ready < len(w.buf) {
		ready = copy(w.buf, w.buf[ready:])
	} else {
		ready = 0
	}
	w.buf, w.mark = w.buf[:ready], 0
	w.flushed = true
	w.err = err
	return err
}
