package mapreduce

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/framing"
)

// A Master is an [Engine] that lets workers do the work: they connect to it over
// TCP, it reads the input and writes the output. [Master.Serve] takes workers in
// and [Master.Run] runs one job after another on those there are, until
// [Master.Close] sends them home. Fields must not change once it serves.
//
// Workers run the code that they have: a master cannot send them any. But it
// trusts what they answer, so strangers must be kept out, by a listener of
// crypto/tls that asks for certificates, or by an address that only friends reach.
type Master struct {
	Splits   int // at most so many pieces of input, 10,000 at most; 0 means 16
	Reducers int // partitions of the keys, 1,000 at most; 0 means 1

	// Replicas is to how many workers each split is given, from the start; 0
	// means one. When fewer are there, reducers wait for more, but at most
	// TaskTimeout. Slow workers are backed up by idle ones anyway.
	Replicas int

	// TaskTimeout is for how long a worker may be silent before others get its
	// tasks; 0 means 10 seconds. It bounds how long a lost worker holds a job up.
	TaskTimeout time.Duration

	MaxWorkers int          // connected at a time; 0 means 256
	Memory     int64        // bytes for each reducer's output; more goes to disk; 0 means 16 MiB
	TempDir    string       // for what goes to disk; "" means os.TempDir
	Trace      *Trace       // must not call methods of the Master; nil tells nobody
	Logger     *slog.Logger // nil discards

	mu      sync.Mutex
	ready   bool
	closed  bool
	token   string
	server  framing.Server
	turn    chan struct{} // holds a token while a job runs
	changed chan struct{} // holds a token when the job's loop has something to look at
	left    chan struct{} // holds a token when a worker has left
	workers []*conn
	run     *remoteRun // nil between jobs
	last    *remoteRun // the one that began last; nil before the first
	runs    int        // how many jobs have begun
}

// A remoteRun is one job on its way.
type remoteRun struct {
	number  int
	over    chan struct{} // closed when the workers need do nothing more for it
	c       *coordinator
	program *program
	splits  []split
	dir     string
	outputs []*spool // of the reduce tasks, once they are done
	total   int64    // bytes of input
	began   time.Time
	ended   time.Time // zero while it runs
}

const (
	greetTimeout  = 5 * time.Second // for a stranger's first message
	byeTimeout    = 2 * time.Second // for workers to leave
	maxSplits     = 10_000
	maxOrders     = 32
	defaultSilent = 10 * time.Second
	minMemory     = 64 << 10 // with less a task would drown in files
)

// ErrMasterClosed is returned by [Master.Run] and [Master.Serve] after Close.
var ErrMasterClosed = fmt.Errorf("mapreduce: master closed: %w", net.ErrClosed)

// prepare makes what the zero Master lacks; m.mu is held.
func (m *Master) prepare() {
	if m.ready {
		return
	}
	m.ready = true
	m.token = rand.Text()
	m.turn, m.changed, m.left = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	m.server = framing.Server{
		Handler: m.serve, MaxConns: m.MaxWorkers, Logger: m.Logger,
		Config: framing.Config{
			MaxSize: maxMessage,
			// A worker that is silent has lost its tasks long before, but may
			// yet come back on this connection.
			IdleTimeout:  max(10*time.Minute, 4*m.silent()),
			ReadTimeout:  max(time.Minute, 4*m.silent()),
			WriteTimeout: max(time.Minute, 4*m.silent()),
		},
		Grace: -1, Linger: -1,
	}
}

func (m *Master) silent() time.Duration {
	if m.TaskTimeout <= 0 {
		return defaultSilent
	}
	return m.TaskTimeout
}

// Serve takes in the workers that connect to ln, which it owns. It returns when
// ctx ends, with its cause, when ln fails, or after [Master.Close] with
// [ErrMasterClosed].
func (m *Master) Serve(ctx context.Context, ln net.Listener) error {
	m.mu.Lock()
	m.prepare()
	m.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { m.Close() })
	defer stop()
	err := m.server.Serve(context.WithoutCancel(ctx), ln)
	switch {
	case ctx.Err() != nil:
		m.Close() // waits for the one that has begun
		return context.Cause(ctx)
	case errors.Is(err, framing.ErrServerClosed):
		return ErrMasterClosed
	}
	return err
}

// Close ends the job under way, tells the workers to leave, and waits until they
// have gone, but not long.
func (m *Master) Close() error {
	m.mu.Lock()
	m.prepare()
	m.closed = true
	poke(m.changed)
	for _, w := range m.workers {
		w.order(order{msg: &message{Type: msgBye}})
	}
	n := len(m.workers)
	m.mu.Unlock()
	for timer := time.NewTimer(byeTimeout); n > 0; {
		select {
		case <-m.left:
		case <-timer.C:
			return m.server.Close()
		}
		m.mu.Lock()
		n = len(m.workers)
		m.mu.Unlock()
	}
	poke(m.left) // for another Close
	return m.server.Close()
}

// Run runs a job on the workers there are and those to come, to its end. Jobs
// take turns. The output appears when the job is done, else not at all.
func (m *Master) Run(ctx context.Context, p Program, in Input, out Output) (Counters, error) {
	prog, err := p.compile()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.prepare()
	m.mu.Unlock()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// A bad output is found before the work, yet a master that is killed in the
	// middle of it leaves nothing there.
	sink, err := out.Create()
	if err != nil {
		return nil, err
	}
	sink.Abort()
	dir, err := os.MkdirTemp(m.TempDir, "mapreduce-")
	if err != nil {
		return nil, fmt.Errorf("mapreduce: %w", err)
	}
	defer os.RemoveAll(dir)
	n := m.Splits
	if n <= 0 {
		n = 16
	}
	sources, err := in.sources(ctx, dir)
	if err != nil {
		return nil, err
	}
	splits, err := cut(sources, min(n, maxSplits), prog.whole)
	if err != nil {
		return nil, err
	}
	r := &remoteRun{program: prog, splits: splits, dir: dir, outputs: make([]*spool, min(max(m.Reducers, 1), maxPartitions))}
	defer func() {
		for _, s := range r.outputs {
			if s != nil {
				s.remove()
			}
		}
	}()
	counters, err := m.share(ctx, r)
	if err != nil {
		return nil, err
	}
	err = commit(out, func(w io.Writer) error {
		var parts []io.Reader
		for _, s := range r.outputs {
			parts = append(parts, s.open())
		}
		return prog.mergeOutputs(ctx, parts, w)
	})
	if err != nil {
		return nil, err
	}
	return counters, nil
}

// share has the workers do r.
func (m *Master) share(ctx context.Context, r *remoteRun) (Counters, error) {
	m.begin(r)
	err := m.coordinate(ctx, r)
	return m.end(r), err
}

func (m *Master) begin(r *remoteRun) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	r.number, r.over, r.began = m.runs, make(chan struct{}), time.Now()
	for _, s := range r.splits {
		r.total += s.size
	}
	r.c = newCoordinator(len(r.splits), len(r.outputs), m.silent(), m.Replicas, func(e Event) {
		if m.Trace != nil && m.Trace.Event != nil {
			m.Trace.Event(e)
		}
		if e.Reason != "" {
			m.logger().Info("task "+e.Event, "kind", e.Kind, "task", e.Task, "attempt", e.Attempt, "worker", e.Worker, "reason", e.Reason)
		}
	})
	m.run, m.last = r, r
	for _, w := range m.workers {
		r.c.join(time.Now(), &w.member)
	}
}

// end makes the workers forget r.
func (m *Master) end(r *remoteRun) Counters {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.run, r.ended = nil, time.Now()
	close(r.over)
	for _, w := range m.workers {
		w.order(order{msg: &message{Type: msgEnd, ID: attemptID{Run: r.number}}})
	}
	return r.c.counters()
}

// coordinate gives out tasks until r is over.
func (m *Master) coordinate(ctx context.Context, r *remoteRun) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		m.mu.Lock()
		now := time.Now()
		for _, lost := range r.c.tick(now) {
			m.gone(lost)
		}
		m.dispatch(r, now)
		over, err, wake := r.c.over(), r.c.err, r.c.wake(now)
		if m.closed {
			over, err = true, ErrMasterClosed
		}
		m.mu.Unlock()
		if over {
			return err
		}
		timer.Reset(wake.Sub(now))
		select {
		case <-timer.C:
		case <-m.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// poke puts a token into ch, unless there is one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// dispatch gives idle workers tasks; m.mu is held.
func (m *Master) dispatch(r *remoteRun, now time.Time) {
	for _, w := range m.workers {
		a := r.c.assign(now, &w.member)
		if a == nil {
			continue
		}
		o := order{run: r, msg: &message{
			Type: msgAssign, ID: r.id(a), Job: r.program.name, Partitions: len(r.outputs), Careful: a.task.failures > 0,
		}}
		for name, value := range r.program.params {
			o.msg.Params = append(o.msg.Params, param{name, value})
		}
		if a.task.kind == MapTask {
			o.split = &r.splits[a.task.number]
		} else {
			o.msg.Holders = r.holders()
		}
		w.order(o)
	}
}

func (r *remoteRun) id(a *attempt) attemptID {
	return attemptID{r.number, a.task.kind, a.task.number, a.number}
}

// attempt finds what a worker speaks of; nil if it is nothing of this job.
func (r *remoteRun) attempt(id attemptID) *attempt {
	if r == nil || id.Run != r.number {
		return nil
	}
	tasks := r.c.maps
	if id.Kind == ReduceTask {
		tasks = r.c.reduces
	}
	if id.Task < 0 || id.Task >= len(tasks) || id.Attempt < 0 || id.Attempt >= len(tasks[id.Task].attempts) {
		return nil
	}
	return tasks[id.Task].attempts[id.Attempt]
}

// holders lists where the map results are, in the order of the splits for each
// worker.
func (r *remoteRun) holders() []holder {
	var list []holder
	for _, t := range r.c.maps {
		a := t.copies[0]
		i := slices.IndexFunc(list, func(h holder) bool { return h.Addr == a.worker.addr })
		if i < 0 {
			i = len(list)
			list = append(list, holder{Addr: a.worker.addr})
		}
		list[i].Results = append(list[i].Results, r.id(a))
	}
	return list
}

// gone tells reducers not to wait for the results of a lost worker, as far as
// there is room for such news; m.mu is held.
func (m *Master) gone(lost *member) {
	for _, w := range m.workers {
		if w.member.kind != MapTask && lost.addr != "" && &w.member != lost && len(w.orders) < maxOrders/2 {
			w.order(order{msg: &message{Type: msgGone, Addr: lost.addr}})
		}
	}
}

func (m *Master) memory() int64 {
	if m.Memory <= 0 {
		return 16 << 20
	}
	return max(m.Memory, minMemory)
}

func (m *Master) logger() *slog.Logger {
	if m.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return m.Logger
}
