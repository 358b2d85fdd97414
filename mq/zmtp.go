package mq

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// The flags of a frame, RFC 37 section 3.4.
const (
	flagMore    = 1 // another frame of the message follows
	flagLong    = 2 // the length has eight bytes, not one
	flagCommand = 4 // the frame is for the protocol, not for the program
)

// appendFrame appends a frame to dst.
func appendFrame(dst []byte, flags byte, body []byte) []byte {
	return append(appendHeader(dst, flags, len(body)), body...)
}

// appendHeader appends what stands before a frame's n bytes.
func appendHeader(dst []byte, flags byte, n int) []byte {
	if n > 255 {
		return binary.BigEndian.AppendUint64(append(dst, flags|flagLong), uint64(n))
	}
	return append(dst, flags, byte(n))
}

// splitFrame takes the first frame of b apart, which is one of ours and whole.
func splitFrame(b []byte) (flags byte, body []byte, size int) {
	if b[0]&flagLong == 0 {
		size = 2 + int(b[1])
		return b[0], b[2:size], size
	}
	size = 9 + int(binary.BigEndian.Uint64(b[1:]))
	return b[0] &^ flagLong, b[9:size], size
}

// parseHeader reads the header of a frame at the start of b. If b is too short
// for that, head is 0.
func parseHeader(b []byte) (flags byte, head, body int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, nil
	}
	flags = b[0]
	if flags&^(flagMore|flagLong|flagCommand) != 0 || flags&flagCommand != 0 && flags&flagMore != 0 {
		return 0, 0, 0, protocolError("a frame with flags %#x", flags)
	}
	if flags&flagLong == 0 {
		if len(b) < 2 {
			return 0, 0, 0, nil
		}
		return flags, 2, int(b[1]), nil
	}
	if len(b) < 9 {
		return 0, 0, 0, nil
	}
	n := binary.BigEndian.Uint64(b[1:])
	if n > math.MaxInt-9 {
		return 0, 0, 0, protocolError("a frame of %d bytes", n)
	}
	return flags &^ flagLong, 9, int(n), nil
}

// Sizes of the decoder's memory.
const (
	minRead    = 4 << 10
	maxRead    = 512 << 10   // several of 64 KiB at a time: fewer changes of goroutines
	largeFrame = maxRead / 2 // from here the rest of a frame is read into its own memory
	slabSize   = 8 << 10     // small frames of several messages lie in one slab
	smallFrame = 1 << 10
	slabFrames = 64
	frameCost  = 32      // what a frame counts for MaxSize besides its bytes
	maxParts   = 1 << 10 // for so many frames the list is used again
)

// A decoder makes messages of a connection's bytes.
type decoder struct {
	src      io.Reader
	maxFrame int
	maxSize  int
	cipher   cipher
	overhead int      // bytes that the cipher adds to a frame
	prefix   [][]byte // begins every message: a ROUTER's name for the peer

	// command is called with the body of each command; what it is given is
	// valid until it returns.
	command func(body []byte) error

	buf  []byte // what was read: buf[r:w] is not decoded yet
	r, w int

	mem   slab
	parts Msg // frames of the message at hand
	size  int // of the message at hand, as MaxSize counts
	batch []Msg
}

// read returns the next messages, at least one and at most limit, or an error,
// or both. The slice is valid until the next call.
func (d *decoder) read(limit int) ([]Msg, error) {
	clear(d.batch)
	d.batch = d.batch[:0]
	for {
		if err := d.decode(limit); err != nil || len(d.batch) > 0 {
			return d.batch, err
		}
		if err := d.fill(); err != nil {
			if err == io.EOF && (d.r < d.w || len(d.parts) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// fill reads once, having made room.
func (d *decoder) fill() error {
	if d.buf == nil {
		d.buf = make([]byte, minRead)
	}
	d.w = copy(d.buf, d.buf[d.r:d.w]) // a frame's beginning
	d.r = 0
	n, err := d.src.Read(d.buf[d.w:])
	d.w += n
	if d.w == len(d.buf) && len(d.buf) < maxRead { // there is more to come
		bigger := make([]byte, min(maxRead, 4*len(d.buf)))
		copy(bigger, d.buf)
		d.buf = bigger
	}
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// decode takes what frames there are in the buffer.
func (d *decoder) decode(limit int) error {
	for len(d.batch) < limit {
		flags, head, n, err := parseHeader(d.buf[d.r:d.w])
		if err != nil || head == 0 {
			return err
		}
		if plain := n - d.overhead; plain > d.maxFrame || plain > d.maxSize-d.size-frameCost {
			return &ProtocolError{Where: "frame", What: fmt.Sprintf("%d bytes are more than is allowed", plain)}
		}
		have := d.w - d.r - head
		switch {
		case have >= n:
			body := d.buf[d.r+head : d.r+head+n]
			d.r += head + n
			err = d.frame(flags, body, false)
		case n < largeFrame:
			return nil // until the rest is there
		default:
			d.r += head
			var body []byte
			if body, err = d.large(n); err == nil {
				err = d.frame(flags, body, true)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// large reads a frame of n bytes that the buffer is too small for. It takes
// memory as the bytes come, at most twice as much.
func (d *decoder) large(n int) ([]byte, error) {
	have := d.buf[d.r:d.w]
	body := append(make([]byte, 0, min(n, len(have)+64<<10)), have...)
	d.r, d.w = 0, 0
	for len(body) < n {
		if len(body) == cap(body) {
			bigger := make([]byte, len(body), min(n, 2*cap(body)))
			copy(bigger, body)
			body = bigger
		}
		k, err := d.src.Read(body[len(body):min(n, cap(body))])
		body = body[:len(body)+k]
		if err != nil && len(body) < n {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body, nil
}

// frame takes in one frame; own says that body's memory is for us to keep.
func (d *decoder) frame(flags byte, body []byte, own bool) (err error) {
	if d.cipher != nil {
		if flags, body, err = d.cipher.open(body); err != nil {
			return err
		}
	}
	if flags&flagCommand != 0 {
		return d.command(body)
	}
	d.size += frameCost + len(body)
	if flags&flagMore == 0 && len(d.parts) == 0 && d.prefix == nil {
		m := d.mem.msg(1, len(body))
		m[0] = d.mem.bytes(body, own)
		d.batch = append(d.batch, m)
		d.size = 0
		return nil
	}
	if len(d.parts) == 0 {
		for _, f := range d.prefix {
			d.parts = append(d.parts, d.mem.bytes(f, false))
		}
	}
	d.parts = append(d.parts, d.mem.bytes(body, own))
	if flags&flagMore != 0 {
		return nil
	}
	m := d.mem.msg(len(d.parts), d.size)
	copy(m, d.parts)
	clear(d.parts)
	if d.parts = d.parts[:0]; cap(d.parts) > maxParts {
		d.parts = nil
	}
	d.batch = append(d.batch, m)
	d.size = 0
	return nil
}

// A slab gives out small pieces of memory, so that a small message costs a
// fraction of an allocation. Large ones get their own, so that who keeps a
// small message does not keep large ones alive.
type slab struct {
	data   []byte
	frames [][]byte
}

// bytes returns a copy of b, or b itself if own allows it.
func (s *slab) bytes(b []byte, own bool) []byte {
	if own {
		return b
	}
	if len(b) > smallFrame {
		return append([]byte(nil), b...)
	}
	if len(b) > len(s.data) {
		s.data = make([]byte, slabSize)
	}
	n := copy(s.data, b)
	c := s.data[:n:n]
	s.data = s.data[n:]
	return c
}

// msg returns a message of n frames, whose bytes will be size together.
func (s *slab) msg(n, size int) Msg {
	if n > 4 || size > 2*smallFrame {
		return make(Msg, n)
	}
	if n > len(s.frames) {
		s.frames = make([][]byte, slabFrames)
	}
	m := s.frames[:n:n]
	s.frames = s.frames[n:]
	return m
}
