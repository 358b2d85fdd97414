package mapreduce

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A run is a sequence of pairs, sorted by key: what lies between map and reduce,
// in memory, in files and on the wire. Each pair is
//
//	uvarint length of key | uvarint length of value | key | value
const maxPair = 64 << 20 // bytes in a key or a value

var errBadRun = errors.New("mapreduce: run is damaged")

func appendPair(dst, key, value []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	dst = append(dst, key...)
	return append(dst, value...)
}

// cutPair returns the first pair in b, and how many bytes it takes; 0 if b ends
// before it does. A size below zero means that there can be no such pair.
func cutPair(b []byte) (key, value []byte, size int) {
	klen, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, nil, n
	}
	vlen, n2 := binary.Uvarint(b[n:])
	if n2 <= 0 {
		return nil, nil, n2
	}
	if klen > maxPair || vlen > maxPair {
		return nil, nil, -1
	}
	n += n2
	size = n + int(klen) + int(vlen)
	if size > len(b) {
		return nil, nil, 0
	}
	return b[n : n+int(klen)], b[n+int(klen) : size], size
}

// A runWriter writes a run, in large pieces.
type runWriter struct {
	w   io.Writer
	buf []byte
	n   int64 // bytes written, buf included
}

func (w *runWriter) write(key, value []byte) error {
	if len(key) > maxPair || len(value) > maxPair {
		return fmt.Errorf("%w: key of %d and value of %d bytes", ErrTooLong, len(key), len(value))
	}
	before := len(w.buf)
	w.buf = appendPair(w.buf, key, value)
	w.n += int64(len(w.buf) - before)
	if len(w.buf) >= 64<<10 {
		return w.flush()
	}
	return nil
}

func (w *runWriter) flush() error {
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// A runReader reads a run. The pair at hand is valid until next.
type runReader struct {
	r      io.Reader
	done   <-chan struct{} // closed when nobody wants the rest
	buf    []byte          // what was read; from at on, what was not returned yet
	at     int
	key    []byte
	value  []byte
	prefix uint64
	number int // of the run: pairs of the same key come in the order of their runs
}

// next moves to the next pair; the end of the run is io.EOF.
func (r *runReader) next() error {
	for {
		key, value, size := cutPair(r.buf[r.at:])
		if size > 0 {
			r.key, r.value, r.at = key, value, r.at+size
			return nil
		}
		if size < 0 {
			return errBadRun
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// fill reads more behind what is there. The buffer grows with the bytes that
// come, not with the length that is announced.
func (r *runReader) fill() error {
	select {
	case <-r.done:
		return context.Canceled
	default:
	}
	rest := copy(r.buf, r.buf[r.at:])
	r.buf, r.at = r.buf[:rest], 0
	if rest == cap(r.buf) {
		r.buf = slices.Grow(r.buf, cap(r.buf))
	}
	for {
		n, err := r.r.Read(r.buf[rest:cap(r.buf)])
		r.buf = r.buf[:rest+n]
		switch {
		case n > 0:
			return nil
		case err == io.EOF && rest > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}
