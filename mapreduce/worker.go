package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/framing"
)

// A Worker does tasks for a [Master], one at a time; a machine of several cores
// runs several workers. Only Program must be set.
type Worker struct {
	// Program gives the job of that name, as [Job.Name] and [Job.Params] tell
	// the master's. It is called once for each task.
	Program func(name string, params map[string]string) (Program, error)

	Name string // for who watches; at most 64 bytes
	Kind Kind   // the tasks it does; "" means both kinds

	// Patience is for how long the worker goes on when nothing is heard from
	// the master; 0 means 12 seconds.
	Patience time.Duration

	Memory  int64         // bytes for a split, for what is made of it, and for results; more goes to disk; 0 means 64 MiB
	TempDir string        // for what goes to disk; "" means os.TempDir
	Slow    time.Duration // how long to sleep inside each task, to play the straggler

	// Dial and Listen make the connections to the master and between workers,
	// for TLS or another network; nil means package net.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Listen func(network, address string) (net.Listener, error)

	Logger *slog.Logger // nil discards
}

// ErrMasterGone is returned by [Worker.Run] when nothing has been heard from the
// master for Patience.
var ErrMasterGone = errors.New("mapreduce: the master is gone")

const redial = 250 * time.Millisecond

// Run works for the master at address, a host and port, until it sends the
// worker home; then it returns nil. A lost connection is made again, and the
// worker starts afresh, without the results that it had.
func (w *Worker) Run(ctx context.Context, address string) error {
	if w.Program == nil {
		return errors.New("mapreduce: the worker has no Program")
	}
	v := &visit{heard: time.Now()}
	for {
		v = &visit{w: w, heard: v.heard, fetches: map[string]context.CancelFunc{}, gone: map[string]bool{}, results: map[attemptID]*result{}}
		home, err := v.run(ctx, address)
		switch {
		case home:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Since(v.heard) >= w.patience():
			return fmt.Errorf("%w: nothing from %s for %v: %w", ErrMasterGone, address, w.patience(), err)
		}
		w.logger().Info("no connection to the master", "master", address, "err", err)
		select {
		case <-time.After(redial):
		case <-ctx.Done():
		}
	}
}

// A visit is one connection to the master, and what the worker has and does as
// long as it lasts.
type visit struct {
	w       *Worker
	l       link
	dir     string
	timeout time.Duration // silence that counts as lost
	token   string

	task   *message           // assigned, its split is still coming
	split  *spool             // as far as it has come
	err    error              // of storing it
	cancel context.CancelFunc // of the task that runs or ran last
	ended  chan struct{}      // closed when it has ended
	wg     sync.WaitGroup     // of tasks and what else goes on beside listen

	mu      sync.Mutex
	heard   time.Time // when the master was last heard
	status  string
	doing   attemptID
	fetches map[string]context.CancelFunc // by address of a worker
	gone    map[string]bool               // workers lost since the task was assigned, by address
	results map[attemptID]*result
}

// A result is what a map task left, until its job is over.
type result struct {
	partitions int
	mu         sync.RWMutex // held for reading while it is sent
	out        *mapOutput   // nil: removed
}

// run makes the visit and reports whether the master has sent the worker home.
func (v *visit) run(ctx context.Context, address string) (home bool, err error) {
	w, patience := v.w, v.w.patience()
	left := patience - time.Since(v.heard)
	nc, err := w.dial(ctx, address, left)
	if err != nil {
		return false, err
	}
	v.l = link{framing.NewConn(nc, nil, &framing.Config{MaxSize: maxMessage, ReadTimeout: patience, WriteTimeout: patience})}
	defer v.l.Close()
	if v.dir, err = os.MkdirTemp(w.TempDir, "mapreduce-"); err != nil {
		return true, fmt.Errorf("mapreduce: %w", err)
	}
	defer os.RemoveAll(v.dir)

	hello := &message{Type: msgHello, Version: protocolVersion, Name: w.Name, Kind: w.Kind}
	var ln net.Listener
	if w.Kind != ReduceTask {
		if ln, err = w.listen(nc.LocalAddr()); err != nil {
			return true, fmt.Errorf("mapreduce: worker %s: %w", w.Name, err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		hello.Port, _ = strconv.Atoi(port)
	}
	if err := v.l.send(ctx, hello); err != nil {
		return false, err
	}
	welcome, err := v.welcome(ctx, left)
	switch {
	case err != nil:
		return false, err
	case welcome != nil && welcome.Type == msgBye:
		return true, v.bye(welcome)
	case welcome == nil || welcome.Type != msgWelcome || welcome.Timeout <= 0:
		return false, fmt.Errorf("mapreduce: %s is no master: %w", address, errMalformed)
	}
	v.heard = time.Now()
	v.timeout, v.token = welcome.Timeout, welcome.Token
	w.logger().Info("joined", "master", address)

	ctx, cancel := context.WithCancel(ctx)
	defer func() { // in this order: nothing waits for a task that is of no use
		cancel()
		v.l.Close()
		v.wg.Wait()
		for _, r := range v.results {
			r.out.remove()
		}
		if v.split != nil {
			v.split.remove()
		}
	}()
	if ln != nil {
		v.wg.Go(func() { v.giveResults(ctx, ln) })
	}
	v.wg.Go(func() { v.beat(ctx) })
	return v.listen(ctx)
}

func (v *visit) welcome(ctx context.Context, limit time.Duration) (*message, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, _, err := v.l.receive(ctx)
	return m, err
}

// bye is how a visit ends that the master ends.
func (v *visit) bye(m *message) error {
	if m.Reason != "" {
		return fmt.Errorf("mapreduce: worker %s: the master %v refuses: %.200s", v.w.Name, v.l.RemoteAddr(), m.Reason)
	}
	return nil
}

// beat tells the master again and again that the worker is alive, and ends the
// visit when it hears nothing for long.
func (v *visit) beat(ctx context.Context) {
	every := min(max(v.timeout/4, time.Millisecond), time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		v.mu.Lock()
		if now.Sub(last) > every+2*time.Second {
			v.heard = now // this process was stopped: the silence was its own
		}
		last = now
		silent := now.Sub(v.heard) >= v.w.patience()
		ping := &message{Type: msgPing, ID: v.doing, Reason: v.status}
		v.status = "" // said once
		v.mu.Unlock()
		if silent || v.l.send(ctx, ping) != nil {
			v.l.Close() // ends the visit
			return
		}
	}
}

// listen does what the master says.
func (v *visit) listen(ctx context.Context) (home bool, err error) {
	for {
		m, chunk, err := v.l.receive(ctx)
		if err != nil {
			return false, err
		}
		v.mu.Lock()
		v.heard = time.Now()
		v.mu.Unlock()
		if m == nil {
			v.splitChunk(ctx, chunk)
			continue
		}
		switch m.Type {
		case msgPing:
		case msgAssign:
			v.stop()
			if m.Partitions < 1 || m.Partitions > maxPartitions {
				return false, fmt.Errorf("mapreduce: the master %v tells of %d partitions: %w", v.l.RemoteAddr(), m.Partitions, errMalformed)
			}
			if m.ID.Kind == MapTask {
				v.task, v.split, v.err = m, newSpool(v.dir, v.w.memory()), nil
			} else {
				v.mu.Lock()
				clear(v.gone)
				v.mu.Unlock()
				v.start(ctx, m, func(ctx context.Context) error { return v.runReduce(ctx, m) })
			}
		case msgGone:
			v.mu.Lock()
			v.gone[m.Addr] = true
			if cancel := v.fetches[m.Addr]; cancel != nil {
				cancel()
			}
			v.mu.Unlock()
		case msgEnd:
			v.stop()
			v.forget(m.ID.Run)
		case msgBye:
			return true, v.bye(m)
		default:
			return false, fmt.Errorf("mapreduce: the master %v sent %.20q: %w", v.l.RemoteAddr(), m.Type, errMalformed)
		}
	}
}

// splitChunk takes a piece of the split of the task that was assigned; after the
// last one the task starts.
func (v *visit) splitChunk(ctx context.Context, chunk []byte) {
	if v.split == nil {
		return
	}
	if len(chunk) > 0 {
		if v.err == nil {
			_, v.err = v.split.Write(chunk)
		}
		return
	}
	m, split, err := v.task, v.split, v.err
	v.split = nil
	if err == nil {
		err = split.finish()
	}
	v.start(ctx, m, func(ctx context.Context) error {
		defer split.remove()
		if err != nil {
			return err
		}
		return v.runMap(ctx, m, split)
	})
}

// start runs a task beside listen.
func (v *visit) start(ctx context.Context, m *message, run func(context.Context) error) {
	ctx, v.cancel = context.WithCancel(ctx)
	ended := make(chan struct{})
	v.ended = ended
	v.setStatus(m.ID, "")
	v.wg.Go(func() {
		defer close(ended)
		err := run(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		v.w.logger().Info("task failed", "kind", m.ID.Kind, "task", m.ID.Task, "attempt", m.ID.Attempt, "err", err)
		failed := &message{Type: msgFailed, ID: m.ID, Reason: fmt.Sprintf("%.2000s", err.Error())}
		if lost, ok := errors.AsType[*fetchError](err); ok {
			failed.Holders = []holder{lost.from}
		}
		if v.l.send(ctx, failed) != nil {
			v.l.Close()
		}
	})
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the task at hand and waits for it.
func (v *visit) stop() {
	if v.cancel != nil {
		v.cancel()
		<-v.ended
	}
	if v.split != nil {
		v.split.remove()
		v.split = nil
	}
}

// forget removes the results of a job.
func (v *visit) forget(run int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, r := range v.results {
		if id.Run == run {
			delete(v.results, id)
			v.wg.Go(func() { // a reducer may be reading it yet
				r.mu.Lock()
				defer r.mu.Unlock()
				r.out.remove()
				r.out = nil
			})
		}
	}
}

// kept returns how many bytes of results are in memory.
func (v *visit) kept() (n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.results {
		for _, s := range r.out.spills {
			n += int64(len(s.data))
		}
	}
	return n
}

func (v *visit) setStatus(id attemptID, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doing, v.status = id, fmt.Sprintf("%.200s", text)
}

func (v *visit) program(m *message) (*program, Task, error) {
	params := map[string]string{}
	for _, p := range m.Params {
		params[p.Name] = p.Value
	}
	p, err := v.w.Program(m.Job, params)
	if err != nil {
		return nil, Task{}, err
	}
	prog, err := p.compile()
	return prog, Task{
		job: m.Job, kind: m.ID.Kind, number: m.ID.Task, attempt: m.ID.Attempt, partitions: m.Partitions,
		status: func(text string) { v.setStatus(m.ID, text) },
	}, err
}

func (v *visit) runMap(ctx context.Context, m *message, split *spool) error {
	if err := pause(ctx, v.w.Slow); err != nil {
		return err
	}
	prog, t, err := v.program(m)
	if err != nil {
		return err
	}
	task := &mapTask{
		Task: t, program: prog, memory: v.w.memory(), keep: max(0, v.w.memory()-v.kept()), dir: v.dir, careful: m.Careful,
	}
	out, err := task.run(ctx, split.open())
	if err != nil {
		return err
	}
	v.mu.Lock()
	v.results[m.ID] = &result{partitions: m.Partitions, out: out}
	v.mu.Unlock()
	return v.done(ctx, m.ID, out.counters)
}

func (v *visit) runReduce(ctx context.Context, m *message) error {
	if err := pause(ctx, v.w.Slow); err != nil {
		return err
	}
	prog, t, err := v.program(m)
	if err != nil {
		return err
	}
	tables, err := v.fetch(ctx, m)
	defer func() {
		for _, s := range tables {
			s.remove()
		}
	}()
	if err != nil {
		return err
	}
	var runs []io.Reader
	for _, s := range tables {
		runs = append(runs, s.open())
	}
	if err := v.l.send(ctx, &message{Type: msgOutput, ID: m.ID}); err != nil {
		return err
	}
	task := &reduceTask{Task: t, program: prog, memory: v.w.memory(), dir: v.dir}
	to := newChunkWriter(ctx, v.l)
	if err := task.run(ctx, runs, to); err != nil {
		return err
	}
	if err := to.Close(); err != nil {
		return err
	}
	return v.done(ctx, m.ID, task.counters)
}

func (v *visit) done(ctx context.Context, id attemptID, counters Counters) error {
	if len(counters) > maxTaskCounters {
		return fmt.Errorf("mapreduce: the task has %d counters, more than %d", len(counters), maxTaskCounters)
	}
	done := &message{Type: msgDone, ID: id}
	for name, n := range counters {
		done.Counters = append(done.Counters, counter{name, n})
	}
	return v.l.send(ctx, done)
}

func (w *Worker) dial(ctx context.Context, address string, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if w.Dial != nil {
		return w.Dial(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// listen opens a port for reducers, at the address that the master sees.
func (w *Worker) listen(local net.Addr) (net.Listener, error) {
	host, _, err := net.SplitHostPort(local.String())
	if err != nil {
		return nil, err
	}
	listen := w.Listen
	if listen == nil {
		listen = net.Listen
	}
	return listen("tcp", net.JoinHostPort(host, "0"))
}

func (w *Worker) patience() time.Duration {
	if w.Patience <= 0 {
		return 12 * time.Second
	}
	return w.Patience
}

func (w *Worker) memory() int64 {
	if w.Memory <= 0 {
		return 64 << 20
	}
	return max(w.Memory, minMemory)
}

func (w *Worker) logger() *slog.Logger {
	if w.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return w.Logger
}
