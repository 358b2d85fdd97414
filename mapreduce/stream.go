package mapreduce

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Stream is a job made of programs that were written for Hadoop Streaming, in
// any language. Its mapper is started for each file, or part of one, reads its
// lines and writes lines of key, tab, value; its reducer is started for each
// reduce task and reads such lines, sorted by key. What the reducer writes is
// the output. It should come in the order of the keys; if it does not, the
// output depends on how many reducers there are.
//
// The programs find the task in environment variables as under Hadoop:
// mapreduce_job_name, mapreduce_task_partition, mapreduce_task_attempt_id,
// mapreduce_task_ismap, mapreduce_job_reduces, mapreduce_map_input_file and
// mapreduce_map_input_start. On standard error, lines
// "reporter:counter:GROUP,NAME,N" count, as GROUP.NAME, and "reporter:status:TEXT"
// tell what the task is at. A program that ends with another exit status than 0
// fails its task. One that ends well before it has read everything does not. The
// programs run with the rights of this process: run only what you trust. There is
// no combiner: a mapper that wants one adds up before it writes.
type Stream struct {
	Name   string            // as in [Job]
	Params map[string]string // as in [Job]

	Mapper  []string // program and arguments; none passes on each line as key, tab, value
	Reducer []string // program and arguments; none passes on all pairs
	Env     []string // more variables, "NAME=value"

	MaxRecord int // the longest line in bytes, read or written; 0 means 16 MiB
}

func (s *Stream) compile() (*program, error) {
	if s.MaxRecord < 0 {
		return nil, fmt.Errorf("mapreduce: job %q: MaxRecord %d", s.Name, s.MaxRecord)
	}
	p := &program{name: s.Name, params: s.Params, maxRecord: s.MaxRecord}
	if p.maxRecord == 0 {
		p.maxRecord = 16 << 20
	}
	p.newMapper = func(ctx context.Context, m *mapTask) (mapper, error) {
		m.careful = false // one record cannot be undone and tried again
		return &streamMapper{ctx: ctx, stream: s, task: m}, nil
	}
	p.newReducer = func(ctx context.Context, r *reduceTask) (reducer, error) {
		sr := &streamReducer{stream: s, task: r}
		var err error
		if len(s.Reducer) > 0 {
			sr.process, err = startProcess(ctx, s.Reducer, append(environment(&r.Task, 'r'), s.Env...), p.maxRecord, sr.take)
		}
		return sr, err
	}
	same := textOf(coderOf[[]byte](true))
	p.keyText, p.valueText = same, same
	return p, nil
}

// environment returns the variables that tell a program about its task. letter
// is 'm' or 'r' as in Hadoop's identifiers.
func environment(t *Task, letter byte) []string {
	return []string{
		"mapreduce_job_name=" + t.job,
		"mapreduce_job_id=job_local_0001",
		"mapreduce_job_reduces=" + strconv.Itoa(t.partitions),
		"mapreduce_task_ismap=" + strconv.FormatBool(letter == 'm'),
		"mapreduce_task_partition=" + strconv.Itoa(t.number),
		fmt.Sprintf("mapreduce_task_id=task_local_0001_%c_%06d", letter, t.number),
		fmt.Sprintf("mapreduce_task_attempt_id=attempt_local_0001_%c_%06d_%d", letter, t.number, t.attempt),
	}
}

// A streamMapper gives the records of a task to the mapper, a process for each
// source: it is told that source's name when it begins.
type streamMapper struct {
	ctx     context.Context // of the task, which newMapper gave; a mapper lives as long
	stream  *Stream
	task    *mapTask
	process *process
	source  string
}

func (m *streamMapper) Map(rec Record) error {
	if len(m.stream.Mapper) == 0 {
		return m.take(rec.Data)
	}
	if m.process == nil || m.source != rec.Source {
		if err := m.Close(); err != nil {
			return err
		}
		env := append(environment(&m.task.Task, 'm'),
			"mapreduce_map_input_file="+rec.Source,
			"mapreduce_map_input_start="+strconv.FormatInt(rec.Offset, 10))
		p, err := startProcess(m.ctx, m.stream.Mapper, append(env, m.stream.Env...), m.task.program.maxRecord, m.take)
		if err != nil {
			return err
		}
		m.process, m.source = p, rec.Source
	}
	m.process.write(rec.Data, []byte("\n"))
	m.process.report(&m.task.Task)
	return nil
}

// take takes a line that the mapper wrote.
func (m *streamMapper) take(line []byte) error {
	key, value, _ := bytes.Cut(line, []byte("\t"))
	return m.task.add(key, value)
}

func (m *streamMapper) Close() error {
	if m.process == nil {
		return nil
	}
	p := m.process
	m.process = nil
	err := p.close()
	p.report(&m.task.Task)
	return err
}

// A streamReducer gives the groups of a task to the reducer.
type streamReducer struct {
	stream  *Stream
	task    *reduceTask
	process *process
	key     []byte // the greatest of the lines written so far
	piece   []byte
}

func (r *streamReducer) Reduce(key []byte, values iter.Seq[[]byte]) error {
	for value := range values {
		if r.process == nil {
			r.piece = append(append(append(append(r.piece[:0], key...), '\t'), value...), '\n')
			if err := r.task.write(key, r.piece); err != nil {
				return err
			}
			continue
		}
		r.process.write(key, []byte("\t"), value, []byte("\n"))
		r.process.report(&r.task.Task)
	}
	return nil
}

// take takes a line that the reducer wrote. Outputs are merged by key: a line
// whose key is out of order stays behind the one before it.
func (r *streamReducer) take(line []byte) error {
	key, _, _ := bytes.Cut(line, []byte("\t"))
	if bytes.Compare(key, r.key) > 0 {
		r.key = append(r.key[:0], key...)
	}
	r.piece = append(append(r.piece[:0], line...), '\n')
	return r.task.write(r.key, r.piece)
}

func (r *streamReducer) Close() error {
	if r.process == nil {
		return nil
	}
	p := r.process
	r.process = nil
	err := p.close()
	p.report(&r.task.Task)
	return err
}

// waitDelay is how long a program's children may hold its streams open after it
// has ended or was killed, and what it wrote last may take to be read.
const waitDelay = 10 * time.Second

// A process is a streaming program at work.
type process struct {
	cmd    *exec.Cmd
	ctx    context.Context // ends with the task, or when a line cannot be taken
	cancel context.CancelCauseFunc
	stdin  io.WriteCloser
	buffer *bufio.Writer
	stdout lineWriter
	stderr lineWriter

	mu       sync.Mutex // what standard error has told
	counters Counters
	status   string
	last     []byte // the end of what was no report
}

// startProcess starts a program. take gets the lines that it writes, one at a
// time, until close has returned.
func startProcess(ctx context.Context, command, env []string, maxLine int, take func([]byte) error) (*process, error) {
	p := &process{counters: Counters{}}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.stdout = lineWriter{max: maxLine, take: take}
	p.stderr = lineWriter{max: maxReport, cut: true, take: p.hear}
	p.cmd = exec.CommandContext(p.ctx, command[0], command[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.WaitDelay = waitDelay
	p.cmd.Stdout = failing{&p.stdout, p.cancel}
	p.cmd.Stderr = failing{&p.stderr, p.cancel}
	stdin, err := p.cmd.StdinPipe()
	if err == nil {
		p.stdin, p.buffer = stdin, bufio.NewWriterSize(stdin, 64<<10)
		err = p.cmd.Start()
	}
	if err != nil {
		p.cancel(nil)
		return nil, fmt.Errorf("mapreduce: program %s: %w", command[0], err)
	}
	return p, nil
}

// failing ends the process when a write fails: nobody would read on.
type failing struct {
	w      io.Writer
	cancel context.CancelCauseFunc
}

func (f failing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		f.cancel(err)
	}
	return n, err
}

// write gives the program more input. That it wants no more is no error, as for
// "head" in a pipe: its exit status says whether all was well.
func (p *process) write(parts ...[]byte) {
	for _, part := range parts {
		p.buffer.Write(part)
	}
}

// close ends the input, waits for the program and says why it failed.
func (p *process) close() error {
	p.buffer.Flush()
	p.stdin.Close()
	err := p.cmd.Wait()
	if p.ctx.Err() != nil { // it was killed: that it ended so is no news
		err = context.Cause(p.ctx)
	}
	if err == nil {
		err = p.stdout.flush()
	}
	p.stderr.flush()
	p.cancel(nil)
	if err == nil {
		return nil
	}
	if last := strings.TrimSpace(string(p.last)); last != "" {
		err = fmt.Errorf("%w: it said: %s", err, last)
	}
	return fmt.Errorf("mapreduce: program %s: %w", p.cmd.Path, err)
}

// Bounds of what a program says on standard error.
const (
	maxReport   = 64 << 10 // bytes of a line
	maxLast     = 1 << 10  // bytes that are kept for an error message
	maxCounters = 1000     // names
)

var errCounters = errors.New("mapreduce: more than 1000 counters")

// hear takes a line of standard error.
func (p *process) hear(line []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.TrimSuffix(string(line), "\r")
	if status, ok := strings.CutPrefix(text, "reporter:status:"); ok {
		p.status = status
		return nil
	}
	if counter, ok := strings.CutPrefix(text, "reporter:counter:"); ok {
		if fields := strings.Split(counter, ","); len(fields) == 3 {
			if n, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64); err == nil {
				p.counters[fields[0]+"."+fields[1]] += n
				if len(p.counters) > maxCounters {
					return errCounters
				}
				return nil
			}
		}
	}
	p.last = append(append(p.last, text...), '\n')
	p.last = p.last[max(0, len(p.last)-maxLast):]
	return nil
}

// report passes on to the task what the program has told since the last time.
func (p *process) report(t *Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, n := range p.counters {
		t.Count(name, n)
	}
	clear(p.counters)
	if p.status != "" {
		t.Status(p.status)
		p.status = ""
	}
}
