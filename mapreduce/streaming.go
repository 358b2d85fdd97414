package mapreduce

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Hadoop is the place of a program that [Hadoop Streaming] starts for a task.
// Its methods run one step of a job there: a program that calls Map is what the
// option -mapper names, and so on. On a command line without Hadoop the same is
//
//	program map < input | LC_ALL=C sort | program reduce
//
// Keys sort as text here: numbers by their digits, and [Job.Compare] is not asked.
// That sort compares the whole lines, so keys with bytes below the tab come in
// another order than on Hadoop; what comes out for each is the same.
//
// Between the steps a pair is a line: key, tab, value. A tab, line feed or
// backspace inside a key takes two bytes, chosen so that keys keep their order.
// Where values are struct{}, a line is the key alone. Of what Hadoop tells in
// environment variables, mapreduce_map_input_file and mapreduce_map_input_start
// become the Source and the place of records. Counters and Status go to Stderr
// as "reporter:counter:JOB,NAME,N" and "reporter:status:TEXT".
//
// The zero value uses the process's own streams and environment. Nothing can
// interrupt a read of Stdin: ctx is looked at between records.
//
// [Hadoop Streaming]: https://hadoop.apache.org/docs/stable/hadoop-streaming/HadoopStreaming.html
type Hadoop struct {
	Stdin  io.Reader           // nil means os.Stdin
	Stdout io.Writer           // nil means os.Stdout
	Stderr io.Writer           // nil means os.Stderr
	Getenv func(string) string // nil means os.Getenv
}

// Map maps the lines of standard input, or all of it as one file if that is what
// the job wants, and writes pairs, unsorted.
func (h Hadoop) Map(ctx context.Context, p Program) error {
	return h.run(p, func(prog *program, t *hadoopTask) error {
		out := &pairWriter{program: prog, w: t.stdout}
		m := &mapTask{Task: t.task(prog, MapTask), program: prog, emit: out.pair}
		defer t.report(&m.Task)
		mapper, err := prog.newMapper(ctx, m)
		if err != nil {
			return err
		}
		defer mapper.Close()
		rec := Record{Source: t.source()}
		rec.Offset, _ = strconv.ParseInt(t.getenv("mapreduce_map_input_start"), 10, 64)
		for {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			var size int
			if prog.whole {
				rec.Data, err = readWhole(t.lines.r, prog.maxRecord)
			} else {
				rec.Data, size, err = t.lines.read()
			}
			if err == io.EOF {
				return mapper.Close()
			}
			if err != nil {
				return err
			}
			rec.Pos = rec.Offset // of other sources nothing is known here
			if err := mapper.Map(rec); err != nil {
				return &RecordError{rec.Source, rec.Offset, err}
			}
			rec.Offset += int64(size)
		}
	})
}

// readWhole reads all of r as one record. There is none after it.
func readWhole(r *bufio.Reader, max int) ([]byte, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if err == nil && len(data) > max {
		err = fmt.Errorf("%w: a file of more than %d bytes", ErrTooLong, max)
	}
	return data, err
}

// Combine reads pairs sorted by key and writes one pair for each key, by the
// job's Combine. A job without one gets its pairs back.
func (h Hadoop) Combine(ctx context.Context, p Program) error {
	return h.run(p, func(prog *program, t *hadoopTask) error {
		out := &pairWriter{program: prog, w: t.stdout}
		return t.groups(ctx, prog, func(key []byte, values iter.Seq[[]byte]) (err error) {
			if prog.combine == nil {
				for v := range values {
					if err := out.pair(key, v); err != nil {
						return err
					}
				}
				return nil
			}
			var sum, next []byte
			first := true
			for v := range values {
				if first {
					sum, first = append(sum, v...), false
					continue
				}
				if next, err = prog.combine(next[:0], sum, v); err != nil {
					return err
				}
				sum, next = next, sum
			}
			return out.pair(key, sum)
		})
	})
}

// Reduce reads pairs sorted by key and writes the job's output. Sorted means that
// equal keys are together; the output has the order of the input.
func (h Hadoop) Reduce(ctx context.Context, p Program) error {
	return h.run(p, func(prog *program, t *hadoopTask) error {
		r := &reduceTask{Task: t.task(prog, ReduceTask), program: prog}
		r.emit = func(_, piece []byte) error {
			_, err := t.stdout.Write(piece)
			return err
		}
		defer t.report(&r.Task)
		reducer, err := prog.newReducer(ctx, r)
		if err != nil {
			return err
		}
		defer reducer.Close()
		if err := t.groups(ctx, prog, reducer.Reduce); err != nil {
			return err
		}
		return reducer.Close()
	})
}

// run compiles the job, runs a step and flushes what it wrote.
func (h Hadoop) run(p Program, step func(*program, *hadoopTask) error) error {
	prog, err := p.compile()
	if err != nil {
		return err
	}
	t := &hadoopTask{getenv: h.Getenv, stderr: h.Stderr}
	if t.getenv == nil {
		t.getenv = os.Getenv
	}
	if t.stderr == nil {
		t.stderr = os.Stderr
	}
	stdin, stdout := h.Stdin, h.Stdout
	if stdin == nil {
		stdin = os.Stdin
	}
	if stdout == nil {
		stdout = os.Stdout
	}
	t.lines = newLineReader(stdin, prog.maxRecord)
	t.stdout = bufio.NewWriterSize(stdout, 64<<10)
	if err := guard(func() error { return step(prog, t) }); err != nil {
		return err
	}
	return t.stdout.Flush()
}

// A hadoopTask is one step at work.
type hadoopTask struct {
	getenv func(string) string
	lines  *lineReader
	stdout *bufio.Writer
	stderr io.Writer
}

// task returns the task for the functions of the job.
func (t *hadoopTask) task(prog *program, kind Kind) Task {
	return Task{job: prog.name, kind: kind, status: func(text string) {
		fmt.Fprintf(t.stderr, "reporter:status:%s\n", oneLine(text))
	}}
}

func oneLine(text string) string {
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
}

// report writes the counters of a task. Commas separate the parts of the line.
func (t *hadoopTask) report(task *Task) {
	part := strings.NewReplacer(",", "_", "\n", "_", "\r", "_")
	for _, name := range slices.Sorted(maps.Keys(task.counters)) {
		fmt.Fprintf(t.stderr, "reporter:counter:%s,%s,%d\n", part.Replace(task.job), part.Replace(name), task.counters[name])
	}
}

// source returns the name of the input file as [Files] would give it: of a file
// in the input folder its path from there, else its last part.
func (t *hadoopTask) source() string {
	file := t.getenv("mapreduce_map_input_file")
	if file == "" {
		return ""
	}
	for dir := range strings.SplitSeq(t.getenv("mapreduce_input_fileinputformat_inputdir"), ",") {
		if rest, ok := strings.CutPrefix(file, strings.TrimSuffix(dir, "/")+"/"); ok && dir != "" {
			return rest
		}
	}
	return path.Base(file)
}

// groups calls f with each key and its values, all in encoded form.
func (t *hadoopTask) groups(ctx context.Context, prog *program, f func(key []byte, values iter.Seq[[]byte]) error) error {
	var text, key, value []byte // the key of the group, as text and encoded; the value at hand
	line, _, err := t.lines.read()
	// values reads the group to its end, even if nobody wants more, and leaves
	// line at the first of the next.
	values := func(yield func([]byte) bool) {
		for wanted := true; err == nil; line, _, err = t.lines.read() {
			k, v, _ := bytes.Cut(line, []byte("\t"))
			if !bytes.Equal(k, text) {
				return
			}
			if value, err = prog.valueText.parse(value[:0], unescape(v)); err != nil {
				err = fmt.Errorf("mapreduce: %q is no value of job %s: %w", v, prog.name, err)
				return
			}
			wanted = wanted && yield(value)
		}
	}
	for err == nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k, _, _ := bytes.Cut(line, []byte("\t"))
		text = append(text[:0], k...)
		if key, err = prog.keyText.parse(key[:0], unescape(bytes.Clone(k))); err != nil {
			return fmt.Errorf("mapreduce: %q is no key of job %s: %w", k, prog.name, err)
		}
		failed := f(key, values)
		if err == nil || err == io.EOF {
			if failed != nil {
				return failed
			}
			values(func([]byte) bool { return true }) // of which f has read none
		}
	}
	if err != io.EOF {
		return err
	}
	return nil
}
