package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// compile hides the job's types behind bytes.
func (j *Job[K, V]) compile() (*program, error) {
	if j.Map == nil || j.Reduce == nil {
		return nil, fmt.Errorf("mapreduce: job %q needs Map and Reduce", j.Name)
	}
	keys, values := coderOf[K](true), coderOf[V](false)
	p := &program{
		name: j.Name, params: j.Params,
		whole: j.WholeFiles, maxRecord: j.MaxRecord, maxSkipped: j.MaxSkipped,
		compare: orderOf(keys, j.Compare),
		keyText: textOf(keys), valueText: textOf(values),
	}
	if p.maxRecord <= 0 {
		p.maxRecord = 16 << 20
	}
	if p.maxSkipped == 0 {
		p.maxSkipped = 100
	}
	if j.Partition != nil {
		p.partition = func(key []byte, n int) int {
			k, err := keys.decode(key)
			if err != nil {
				return 0
			}
			return j.Partition(k, n)
		}
	}
	if j.Combine != nil {
		p.combine = func(dst, a, b []byte) ([]byte, error) {
			va, err := values.decode(a)
			vb, err2 := values.decode(b)
			if err := errors.Join(err, err2); err != nil {
				return nil, err
			}
			return values.append(dst, j.Combine(va, vb))
		}
	}
	p.newMapper = func(ctx context.Context, m *mapTask) (mapper, error) {
		jm := &jobMapper[K, V]{job: j, task: m, keys: keys, values: values}
		if j.Combine != nil && m.emit == nil {
			m.collector = p.take(func() collector { return newTable(j.Combine, values) })
			jm.table = m.collector.(*table[V])
		}
		jm.emitTo = jm.emit
		return jm, nil
	}
	p.newReducer = func(ctx context.Context, t *reduceTask) (reducer, error) {
		r := &jobReducer[K, V]{job: j, task: t, keys: keys, values: values}
		r.seq = r.each
		return r, nil
	}
	return p, nil
}

// A jobMapper maps with a Job's function.
type jobMapper[K, V any] struct {
	job    *Job[K, V]
	task   *mapTask
	keys   coder[K]
	values coder[V]
	table  *table[V] // nil: the job does not combine, or pairs go elsewhere
	emitTo func(K, V)

	key, value []byte // the last ones, encoded
	err        error  // of a pair of this record
}

func (m *jobMapper[K, V]) Map(rec Record) error {
	m.err = nil
	if err := m.job.Map(&m.task.Task, rec, m.emitTo); err != nil {
		return err
	}
	return m.err
}

func (m *jobMapper[K, V]) Close() error { return nil }

func (m *jobMapper[K, V]) emit(k K, v V) {
	if m.err != nil {
		return
	}
	var key []byte
	if m.keys.bytes != nil {
		key = m.keys.bytes(k)
	} else if m.key, m.err = m.keys.append(m.key[:0], k); m.err != nil {
		return
	} else {
		key = m.key
	}
	if m.table != nil && !m.task.careful && len(key) <= maxPair {
		if m.table.add(key, v) {
			m.err = m.task.bound()
		}
		return
	}
	if m.value, m.err = m.values.append(m.value[:0], v); m.err == nil {
		m.err = m.task.add(key, m.value)
	}
}

// A jobReducer reduces with a Job's function.
type jobReducer[K, V any] struct {
	job    *Job[K, V]
	task   *reduceTask
	keys   coder[K]
	values coder[V]
	seq    iter.Seq[V]

	group iter.Seq[[]byte]
	err   error
	piece pieceWriter
}

func (r *jobReducer[K, V]) each(yield func(V) bool) {
	for b := range r.group {
		v, err := r.values.decode(b)
		if err != nil {
			r.err = fmt.Errorf("mapreduce: value of key %q: %w", r.piece.key, err)
			return
		}
		if !yield(v) {
			return
		}
	}
}

func (r *jobReducer[K, V]) Reduce(key []byte, values iter.Seq[[]byte]) error {
	k, err := r.keys.decode(key)
	if err != nil {
		return fmt.Errorf("mapreduce: key %q: %w", key, err)
	}
	r.group = values
	r.piece.task, r.piece.key = r.task, key
	err = guard(func() error { return r.job.Reduce(&r.task.Task, k, r.seq, &r.piece) })
	if err != nil {
		return fmt.Errorf("mapreduce: reduce %q: %w", key, err)
	}
	return errors.Join(r.err, r.piece.flush())
}

func (r *jobReducer[K, V]) Close() error { return r.err }

// A pieceWriter gathers what Reduce writes for one key.
type pieceWriter struct {
	task *reduceTask
	key  []byte
	buf  []byte
}

const maxPiece = 64 << 10 // bytes of output that are sorted and sent as one

func (w *pieceWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	return len(p), w.bound()
}

func (w *pieceWriter) WriteString(s string) (int, error) {
	w.buf = append(w.buf, s...)
	return len(s), w.bound()
}

func (w *pieceWriter) bound() error {
	if len(w.buf) < maxPiece {
		return nil
	}
	return w.flush()
}

func (w *pieceWriter) flush() error {
	for piece := range slices.Chunk(w.buf, maxPiece) {
		if err := w.task.write(w.key, piece); err != nil {
			return err
		}
	}
	w.buf = w.buf[:0]
	return nil
}
