package mapreduce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
)

// A mapTask is one run of map over a split.
type mapTask struct {
	Task
	program *program
	memory  int64  // bytes of pairs, before they are spilled; 0 means 32 MiB
	keep    int64  // bytes of the last run, which need not go to a file
	dir     string // of spilled runs
	careful bool   // it failed before: skip records that fail twice

	// progress, if not nil, is told now and then how many bytes are mapped.
	progress func(done int64)

	// emit, if not nil, takes the encoded pairs instead of a collector.
	emit func(key, value []byte) error

	collector collector
	spills    []spill
	held      []byte // careful: pairs of the record at hand
	holding   bool
}

// A spill is a sorted run for each partition, one after another.
type spill struct {
	*spool
	ends []int64 // of the partitions
}

func (s spill) open(partition int) io.Reader {
	from := int64(0)
	if partition > 0 {
		from = s.ends[partition-1]
	}
	return s.section(from, s.ends[partition])
}

// run maps the split that it reads from r and gives its sorted runs. An error
// in the job's Map, or a panic, is a *RecordError.
func (m *mapTask) run(ctx context.Context, r io.Reader) (out *mapOutput, err error) {
	if m.memory <= 0 {
		m.memory = 32 << 20
	}
	m.memory = min(m.memory, 1<<30) // a table counts its bytes in 32 bits
	err = guard(func() error {
		mp, err := m.program.newMapper(ctx, m)
		if err != nil {
			return err
		}
		err = m.records(ctx, mp, newSplitReader(r, m.program))
		if e := mp.Close(); err == nil {
			err = e
		}
		if err != nil || m.collector == nil {
			return err
		}
		return m.spill(m.keep)
	})
	out = &mapOutput{program: m.program, dir: m.dir, counters: m.counters, spills: m.spills}
	if err != nil {
		out.remove()
		return nil, err
	}
	if m.collector != nil {
		m.program.give(m.collector)
	}
	return out, nil
}

// records calls the mapper with each record.
func (m *mapTask) records(ctx context.Context, mp mapper, in *splitReader) (err error) {
	if m.careful {
		return m.carefully(ctx, mp, in)
	}
	var rec Record
	defer func() {
		if v := recover(); v != nil {
			err = &RecordError{rec.Source, rec.Offset, &PanicError{v, debug.Stack()}}
		}
	}()
	for n := 0; ; n++ {
		if n&0xff == 0 {
			if err := m.check(ctx, in); err != nil {
				return err
			}
		}
		if err := in.next(&rec); err == io.EOF {
			return m.check(ctx, in)
		} else if err != nil {
			return err
		}
		if err := mp.Map(rec); err != nil {
			return failed(rec, err)
		}
	}
}

// failed returns the error of a task whose Map failed with err.
func failed(rec Record, err error) error {
	if _, ours := errors.AsType[*spillError](err); ours {
		return err
	}
	return &RecordError{rec.Source, rec.Offset, err}
}

// A spillError is why pairs cannot be kept: no fault of the record at hand.
type spillError struct{ error }

func (e *spillError) Unwrap() error { return e.error }

// check tells the progress, and whether the task should end.
func (m *mapTask) check(ctx context.Context, in *splitReader) error {
	if m.progress != nil {
		m.progress(in.done)
	}
	return context.Cause(ctx)
}

// carefully does the same, but a record for which the mapper fails twice is
// skipped; what it emitted and counted is thrown away.
func (m *mapTask) carefully(ctx context.Context, mp mapper, in *splitReader) error {
	skipped := 0
	for {
		if err := m.check(ctx, in); err != nil {
			return err
		}
		var rec Record
		if err := in.next(&rec); err == io.EOF {
			return m.check(ctx, in)
		} else if err != nil {
			return err
		}
		data := bytes.Clone(rec.Data) // Map may overwrite it
		err := m.try(mp, rec)
		if isBad(err) {
			rec.Data = data
			err = m.try(mp, rec)
		}
		if err == nil {
			continue
		}
		if skipped++; skipped > m.program.maxSkipped || !isBad(err) {
			return err
		}
		m.Count(SkippedRecords, 1)
	}
}

// isBad reports whether a map task failed for a bad record, so that it is worth
// another, careful run.
func isBad(err error) bool {
	_, bad := errors.AsType[*RecordError](err)
	return bad
}

// try maps one record and lets pass what it emitted and counted if that went well.
func (m *mapTask) try(mp mapper, rec Record) (err error) {
	m.pending, m.held, m.holding = Counters{}, m.held[:0], true
	err = guard(func() error { return mp.Map(rec) })
	counted := m.pending
	m.pending, m.holding = nil, false
	if err != nil {
		return failed(rec, err)
	}
	for name, n := range counted {
		m.Count(name, n)
	}
	for b := m.held; len(b) > 0; {
		key, value, size := cutPair(b)
		if err := m.add(key, value); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return f()
}

// add takes an encoded key and value that the mapper emitted; it copies both. One
// goroutine at a time may call it, until the mapper's Close has returned.
func (m *mapTask) add(key, value []byte) error {
	if len(key) > maxPair || len(value) > maxPair {
		return fmt.Errorf("%w: key of %d and value of %d bytes", ErrTooLong, len(key), len(value))
	}
	switch {
	case m.holding:
		m.held = appendPair(m.held, key, value)
		return nil
	case m.emit != nil:
		return m.emit(key, value)
	}
	if m.collector == nil {
		m.collector = m.program.take(func() collector { return &pairs{} })
	}
	if err := m.collector.addPair(m, key, value); err != nil {
		return err
	}
	return m.bound()
}

// bound spills what the collector has if it is too much.
func (m *mapTask) bound() error {
	if int64(m.collector.bytes()) < m.memory {
		return nil
	}
	if err := m.spill(0); err != nil {
		return &spillError{err}
	}
	return nil
}

// spill writes what the collector has as a run for each partition, and empties it.
func (m *mapTask) spill(keep int64) error {
	if m.collector.len() == 0 {
		return nil
	}
	m.collector.sort(m)
	s := spill{spool: newSpool(m.dir, keep)}
	m.spills = append(m.spills, s)
	w := runWriter{w: s.spool}
	ends := make([]int64, m.partitions)
	for part := range ends {
		if err := m.collector.write(&w, part); err != nil {
			return err
		}
		ends[part] = w.n
	}
	if err := errors.Join(w.flush(), s.finish()); err != nil {
		return err
	}
	m.spills[len(m.spills)-1].ends = ends
	m.collector.reset()
	return nil
}

// A mapOutput is what a map task gives: a sorted run for each partition, in one
// or several parts.
type mapOutput struct {
	program  *program
	dir      string
	counters Counters
	spills   []spill
}

// runs returns the parts of the run of one partition.
func (o *mapOutput) runs(partition int) []io.Reader {
	var runs []io.Reader
	for _, s := range o.spills {
		runs = append(runs, s.open(partition))
	}
	return runs
}

// writeTo writes the run of one partition: the bytes a reducer reads.
func (o *mapOutput) writeTo(ctx context.Context, w io.Writer, partition int) error {
	readers, remove, err := o.program.openRuns(ctx, o.runs(partition), o.dir, 8<<20)
	defer remove()
	if err != nil {
		return err
	}
	return o.program.mergeRuns(readers, &runWriter{w: w})
}

// remove frees what the output holds, files too.
func (o *mapOutput) remove() {
	for _, s := range o.spills {
		s.remove()
	}
}

// A reduceTask is one run of reduce over a partition.
type reduceTask struct {
	Task
	program *program
	memory  int64 // bytes for reading; 0 means 8 MiB
	dir     string
	w       runWriter

	// emit, if not nil, takes the pieces of output instead.
	emit func(key, piece []byte) error
}

// run merges the runs, which must come in the order of their splits, reduces
// each group, and writes a run of (key, piece of output) to w.
func (t *reduceTask) run(ctx context.Context, runs []io.Reader, w io.Writer) error {
	if t.memory <= 0 {
		t.memory = 8 << 20
	}
	t.w = runWriter{w: w}
	err := guard(func() error { return t.reduce(ctx, runs) })
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (t *reduceTask) reduce(ctx context.Context, runs []io.Reader) error {
	readers, remove, err := t.program.openRuns(ctx, runs, t.dir, t.memory)
	defer remove()
	if err != nil {
		return err
	}
	m, err := newMerger(t.program.compare, readers)
	if err != nil {
		return err
	}
	red, err := t.program.newReducer(ctx, t)
	if err != nil {
		return err
	}
	err = guard(func() error { return t.groups(m, red) })
	if e := red.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return t.w.flush()
}

// groups calls the reducer with each group.
func (t *reduceTask) groups(m *merger, red reducer) error {
	for key, ok := m.group(); ok; key, ok = m.group() {
		if err := red.Reduce(key, m.values); err != nil {
			return err
		}
	}
	return m.err
}

// write takes a piece of output that belongs to key; it copies both.
func (t *reduceTask) write(key, piece []byte) error {
	if t.emit != nil {
		return t.emit(key, piece)
	}
	return t.w.write(key, piece)
}
