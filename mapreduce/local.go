package mapreduce

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// An Engine runs jobs; [Local] and [Master] are engines.
type Engine interface {
	// Run runs a job to its end. When it fails, out is as it was before.
	Run(ctx context.Context, p Program, in Input, out Output) (Counters, error)
}

// A Local runs jobs in this process. Its zero value uses all cores.
type Local struct {
	Workers  int    // goroutines that map; 0 means one for each core
	Splits   int    // at most so many pieces of input; 0 means by its size
	Reducers int    // goroutines that reduce; 0 means one for each worker
	Memory   int64  // about what the process takes; what needs more goes to disk; 0 means 256 MiB
	TempDir  string // for what goes to disk; "" means os.TempDir
	Trace    *Trace // nil tells nobody
}

// Run runs a job to its end.
func (l *Local) Run(ctx context.Context, p Program, in Input, out Output) (Counters, error) {
	prog, err := p.compile()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.TempDir, "mapreduce-*")
	if err != nil {
		return nil, fmt.Errorf("mapreduce: %w", err)
	}
	defer os.RemoveAll(dir)
	r := &localRun{
		program: prog, dir: dir, trace: l.Trace, counters: Counters{},
		workers: cmp.Or(max(l.Workers, 0), runtime.GOMAXPROCS(0)),
		memory:  cmp.Or(max(l.Memory, 0), 256<<20),
	}
	r.reducers = cmp.Or(max(l.Reducers, 0), r.workers)
	if r.trace == nil {
		r.trace = &Trace{}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := r.split(ctx, in, l.Splits); err != nil {
		return nil, err
	}
	defer r.remove()
	err = commit(out, func(w io.Writer) error {
		if err := r.mapAll(ctx, cancel); err != nil {
			return err
		}
		return r.reduceAll(ctx, w)
	})
	if err != nil {
		return nil, err
	}
	return r.counters, nil
}

// A localRun is a job while a Local runs it.
type localRun struct {
	program  *program
	dir      string
	workers  int
	reducers int
	memory   int64
	trace    *Trace

	splits  []split
	outputs []*mapOutput // of the splits
	total   int64        // bytes of input

	mu       sync.Mutex // for the rest, and held while the trace is called
	counters Counters
	done     int64 // bytes of input that are mapped
}

// splitSize is about how large splits get. Larger ones make fewer runs to merge,
// smaller ones share out the work more evenly.
const splitSize = 32 << 20

func (r *localRun) split(ctx context.Context, in Input, n int) error {
	sources, err := in.sources(ctx, r.dir)
	if err != nil {
		return err
	}
	r.total = total(sources)
	if n <= 0 {
		n = r.workers * (1 + int(r.total/splitSize)/r.workers)
	}
	r.splits, err = cut(sources, n, r.program.whole)
	r.outputs = make([]*mapOutput, len(r.splits))
	return err
}

// mapAll maps all splits, as many at a time as there are workers.
func (r *localRun) mapAll(ctx context.Context, cancel context.CancelCauseFunc) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range min(r.workers, len(r.splits)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(r.splits) {
					return
				}
				if err := r.mapSplit(ctx, i, worker); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	r.program.free = nil
	return context.Cause(ctx)
}

// mapSplit maps a split, a second time and with care if a record was bad.
func (r *localRun) mapSplit(ctx context.Context, i, worker int) error {
	for attempt := 0; ; attempt++ {
		m := &mapTask{
			Task: r.task(MapTask, i, attempt), program: r.program, dir: r.dir,
			memory:  max(r.memory/4/int64(r.workers), minMemory),
			keep:    r.memory / 8 / int64(len(r.splits)),
			careful: attempt > 0,
		}
		r.event("assign", &m.Task, worker, nil)
		seen := int64(0)
		m.progress = func(done int64) {
			r.progress(done - seen)
			seen = done
		}
		in := r.splits[i].open()
		out, err := m.run(ctx, in)
		in.Close()
		if err == nil {
			r.outputs[i] = out
			r.event("done", &m.Task, worker, nil)
			r.count(out.counters)
			return nil
		}
		r.event("failed", &m.Task, worker, err)
		if attempt > 0 || !isBad(err) {
			return err
		}
		m.progress(0)
	}
}

// reduceAll reduces all partitions at the same time, each into a pipe, and
// merges what comes out of the pipes.
func (r *localRun) reduceAll(ctx context.Context, w io.Writer) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	pipes := make([]io.Reader, r.reducers)
	for part := range pipes {
		t := &reduceTask{
			Task: r.task(ReduceTask, part, 0), program: r.program, dir: r.dir,
			memory: r.memory / 8 / int64(r.reducers),
		}
		var runs []io.Reader
		for _, o := range r.outputs {
			runs = append(runs, o.runs(part)...)
		}
		pr, pw := io.Pipe()
		pipes[part] = pr
		defer pr.Close()
		wg.Go(func() {
			r.event("assign", &t.Task, part, nil)
			err := t.run(ctx, runs, pw)
			if err != nil {
				r.event("failed", &t.Task, part, err)
			} else {
				r.event("done", &t.Task, part, nil)
				r.count(t.counters)
			}
			pw.CloseWithError(err) // nil: the end of the run
		})
	}
	return r.program.mergeOutputs(ctx, pipes, w)
}

// task makes a Task that tells the trace what it is at.
func (r *localRun) task(kind Kind, number, attempt int) Task {
	return Task{
		job: r.program.name, kind: kind, number: number, attempt: attempt, partitions: r.reducers,
		status: func(text string) {
			if r.trace.Status != nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.trace.Status(kind, number, text)
			}
		},
	}
}

// remove frees what the map tasks gave.
func (r *localRun) remove() {
	for _, o := range r.outputs {
		if o != nil {
			o.remove()
		}
	}
}

func (r *localRun) count(c Counters) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counters.add(c)
}

func (r *localRun) event(what string, t *Task, worker int, err error) {
	if r.trace.Event == nil {
		return
	}
	e := Event{Event: what, Kind: t.kind, Task: t.number, Attempt: t.attempt, Worker: fmt.Sprint(t.kind, "-", worker), Time: time.Now()}
	if err != nil {
		e.Reason = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trace.Event(e)
}

// progress notes that n more bytes of input are mapped.
func (r *localRun) progress(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	if r.trace.Progress != nil {
		r.trace.Progress(r.done, r.total)
	}
}

// Steps runs one program after another: each reads the output of the one before.
// What lies between them is files in os.TempDir. The counters are the sums over
// all steps.
func Steps(ctx context.Context, e Engine, in Input, out Output, steps ...Program) (Counters, error) {
	dir, err := os.MkdirTemp("", "mapreduce-*")
	if err != nil {
		return nil, fmt.Errorf("mapreduce: %w", err)
	}
	defer os.RemoveAll(dir)
	sums := Counters{}
	for i, p := range steps {
		to := out
		path := filepath.Join(dir, fmt.Sprint("step-", i))
		if i < len(steps)-1 {
			to = File(path)
		}
		counters, err := e.Run(ctx, p, in, to)
		if err != nil {
			return nil, fmt.Errorf("mapreduce: step %d: %w", i+1, err)
		}
		sums.add(counters)
		in = Files(path)
	}
	return sums, nil
}

// A Trace has functions that are told how a job goes; each may be nil. They are
// called one at a time and should be quick.
type Trace struct {
	Event    func(Event)                            // something happened to a task
	Progress func(done, total int64)                // bytes of the input that are mapped, of all
	Status   func(kind Kind, task int, text string) // a task said what it is at
}
