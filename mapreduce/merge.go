package mapreduce

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
)

// A merger reads sorted runs as one. It is a heap: the run whose pair at hand
// comes first is at the top.
type merger struct {
	order func(a, b []byte) int
	heap  []*runReader
	key   []byte // of the group at hand, a copy
	ended bool   // the group at hand is read to its end
	err   error
}

// newMerger returns a merger of runs that come in the order of their splits.
func newMerger(order func(a, b []byte) int, runs []*runReader) (*merger, error) {
	m := &merger{order: order, ended: true}
	for i, r := range runs {
		r.number = i
		if err := m.load(r); err == io.EOF {
			continue
		} else if err != nil {
			return nil, err
		}
		m.heap = append(m.heap, r)
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

// load reads the next pair of r.
func (m *merger) load(r *runReader) error {
	if err := r.next(); err != nil {
		return err
	}
	if m.order == nil {
		r.prefix = prefixOf(r.key)
	}
	return nil
}

// less tells which pair comes first: by key, and those of one key by run.
func (m *merger) less(a, b *runReader) bool {
	if a.prefix != b.prefix {
		return a.prefix < b.prefix
	}
	if c := tieBreak(m.order, a.key, b.key); c != 0 {
		return c < 0
	}
	return a.number < b.number
}

func (m *merger) down(i int) {
	h := m.heap
	r := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && m.less(h[child+1], h[child]) {
			child++
		}
		if !m.less(h[child], r) {
			break
		}
		h[i], i = h[child], child
	}
	h[i] = r
}

// top returns the run with the first pair, nil at the end.
func (m *merger) top() *runReader {
	if len(m.heap) == 0 || m.err != nil {
		return nil
	}
	return m.heap[0]
}

// advance goes to the next pair.
func (m *merger) advance() {
	r := m.heap[0]
	err := m.load(r)
	if err == io.EOF {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
		if last == 0 {
			return
		}
	} else if err != nil {
		m.err = err
		return
	}
	m.down(0)
}

// group goes to the next group, of the pairs with equal keys, and returns its
// first key, which is valid until the next call.
func (m *merger) group() (key []byte, ok bool) {
	for !m.ended { // values that nobody wanted
		m.values(func([]byte) bool { return true })
	}
	r := m.top()
	if r == nil {
		return nil, false
	}
	m.key, m.ended = append(m.key[:0], r.key...), false
	return m.key, true
}

// same reports whether key belongs to the group at hand.
func (m *merger) same(key []byte) bool {
	if m.order != nil {
		return m.order(m.key, key) == 0
	}
	return bytes.Equal(m.key, key)
}

// values is an iterator over the values of the group at hand, from where the
// last one stopped. A value is valid until the next one.
func (m *merger) values(yield func([]byte) bool) {
	for !m.ended {
		r := m.top()
		if r == nil || !m.same(r.key) {
			m.ended = true
			return
		}
		more := yield(r.value)
		m.advance()
		if !more {
			return
		}
	}
}

// mergeRuns merges runs into one, folding the values of each key if the program
// combines.
func (p *program) mergeRuns(runs []*runReader, w *runWriter) error {
	m, err := newMerger(p.compare, runs)
	if err != nil {
		return err
	}
	var value, next []byte
	for r := m.top(); r != nil; r = m.top() {
		if p.combine == nil {
			if err := w.write(r.key, r.value); err != nil {
				return err
			}
			m.advance()
			continue
		}
		m.key, value = append(m.key[:0], r.key...), append(value[:0], r.value...)
		m.advance()
		for r = m.top(); r != nil && bytes.Equal(r.key, m.key); r = m.top() {
			if next, err = p.combine(next[:0], value, r.value); err != nil {
				return err
			}
			value, next = next, value
			m.advance()
		}
		if err := w.write(m.key, value); err != nil {
			return err
		}
	}
	if m.err != nil {
		return m.err
	}
	return w.flush()
}

// mergeOutputs merges the runs that the reduce tasks gave and writes their
// pieces of output, in the order of their keys, to w.
func (p *program) mergeOutputs(ctx context.Context, runs []io.Reader, w io.Writer) error {
	err := guard(func() error {
		return p.writePieces(readRuns(ctx, runs, 128<<10), w)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (p *program) writePieces(runs []*runReader, w io.Writer) error {
	m, err := newMerger(p.compare, runs)
	if err != nil {
		return err
	}
	buf := make([]byte, 0, 256<<10)
	for r := m.top(); r != nil; r = m.top() {
		if len(buf)+len(r.value) > cap(buf) {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		buf = append(buf, r.value...)
		m.advance()
	}
	if m.err != nil {
		return m.err
	}
	_, err = w.Write(buf)
	return err
}

const fanIn = 128 // so many runs are merged at a time

// openRuns makes readers of at most fanIn runs; of more it first merges
// neighbours, into files in dir. The readers take about so much memory. What
// remove removes is there also after an error.
func (p *program) openRuns(ctx context.Context, runs []io.Reader, dir string, memory int64) (readers []*runReader, remove func(), err error) {
	var spools []*spool
	remove = func() {
		for _, s := range spools {
			s.remove()
		}
	}
	size := int(min(max(memory/int64(min(len(runs), fanIn)+1), 16<<10), 256<<10))
	for len(runs) > fanIn {
		var merged []io.Reader
		for some := range slices.Chunk(runs, fanIn) {
			s := newSpool(dir, 0)
			spools = append(spools, s)
			err := p.mergeRuns(readRuns(ctx, some, size), &runWriter{w: s})
			if err := errors.Join(err, s.finish()); err != nil {
				return nil, remove, err
			}
			merged = append(merged, s.open())
		}
		runs = merged
	}
	return readRuns(ctx, runs, size), remove, nil
}

// readRuns makes readers of runs, with buffers of size bytes, that fail when ctx
// ends.
func readRuns(ctx context.Context, runs []io.Reader, size int) []*runReader {
	readers := make([]*runReader, len(runs))
	for i, r := range runs {
		readers[i] = &runReader{r: r, done: ctx.Done(), buf: make([]byte, 0, size)}
	}
	return readers
}
