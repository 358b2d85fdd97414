package mapreduce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/framing"
)

// A conn is a worker's connection.
type conn struct {
	link
	member member
	orders chan order
	drop   context.CancelFunc // ends the connection

	// Of the goroutine that receives.
	output   *spool // what the reducer sends; nil: of no use to anybody
	outputID attemptID
}

// An order is a message for a worker, with a split if it has one.
type order struct {
	msg   *message
	split *split
	run   *remoteRun // the split's
}

// order queues o. A worker has at most one task at a time, so the queue is only
// full for one that does not read: it is dropped.
func (w *conn) order(o order) {
	select {
	case w.orders <- o:
	default:
		w.drop()
	}
}

// serve is the life of one worker's connection.
func (m *Master) serve(ctx context.Context, fc *framing.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &conn{link: link{fc}, orders: make(chan order, maxOrders), drop: cancel}
	if err := m.greet(ctx, w); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		w.order(order{msg: &message{Type: msgBye}})
	}
	m.workers = append(m.workers, w)
	if m.run != nil {
		m.run.c.join(time.Now(), &w.member)
	}
	poke(m.changed)
	m.mu.Unlock()
	m.logger().Info("worker joined", "worker", w.member.name, "peer", w.RemoteAddr())

	var wg sync.WaitGroup
	wg.Go(func() { m.sendOrders(ctx, w) })
	err := m.hear(ctx, w)
	cancel()
	w.Close() // or a send that hangs would wait for its time limit
	wg.Wait()

	m.mu.Lock()
	m.workers = slices.DeleteFunc(m.workers, func(o *conn) bool { return o == w })
	if m.run != nil {
		m.run.c.leave(time.Now(), &w.member)
		m.gone(&w.member)
	}
	poke(m.changed)
	poke(m.left)
	m.mu.Unlock()
	w.dropOutput()
	return err
}

func (w *conn) dropOutput() {
	if w.output != nil {
		w.output.remove()
		w.output = nil
	}
}

// greet takes a worker in, or tells it why not.
func (m *Master) greet(ctx context.Context, w *conn) error {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	hello, _, err := w.receive(ctx)
	if err != nil {
		return err
	}
	reason := ""
	switch {
	case hello == nil || hello.Type != msgHello:
		return fmt.Errorf("mapreduce: %v did not say hello: %w", w.RemoteAddr(), errMalformed)
	case hello.Version != protocolVersion:
		reason = fmt.Sprintf("the master speaks version %d of the protocol, not %d", protocolVersion, hello.Version)
	case len(hello.Name) > maxWorkerName:
		reason = fmt.Sprintf("a worker's name has at most %d bytes", maxWorkerName)
	case hello.Kind != "" && hello.Kind != MapTask && hello.Kind != ReduceTask:
		reason = fmt.Sprintf("there is no task of kind %.20q", hello.Kind)
	case hello.Kind != ReduceTask && (hello.Port < 1 || hello.Port > 65535):
		reason = fmt.Sprintf("reducers cannot reach a mapper at port %d", hello.Port)
	}
	if reason != "" {
		return errors.Join(errors.New("mapreduce: worker refused: "+reason), w.send(ctx, &message{Type: msgBye, Reason: reason}))
	}
	w.member = member{name: hello.Name, kind: hello.Kind}
	if host, _, err := net.SplitHostPort(w.RemoteAddr().String()); err == nil && hello.Kind != ReduceTask {
		// Its results are where it comes from: nobody can send reducers
		// to the address of a third.
		w.member.addr = net.JoinHostPort(host, strconv.Itoa(hello.Port))
	}
	return w.send(ctx, &message{Type: msgWelcome, Version: protocolVersion, Timeout: m.silent(), Token: m.token})
}

// sendOrders sends a worker what it is told, one after another.
func (m *Master) sendOrders(ctx context.Context, w *conn) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-w.orders:
			err := w.send(ctx, o.msg)
			if errors.Is(err, framing.ErrTooLarge) { // none of it was sent: the job has too long parameters
				m.giveUp(o.msg.ID, err)
				continue
			}
			if err == nil && o.split != nil {
				err = m.sendSplit(ctx, w, o)
			}
			if err != nil || o.msg.Type == msgBye {
				if err == nil {
					err = w.CloseWrite() // the worker closes
				}
				if err != nil {
					w.Close()
				}
				return
			}
		}
	}
}

// sendSplit streams the split of a map task. When the job ends meanwhile the
// stream is cut short, and the worker will be told to forget it.
func (m *Master) sendSplit(ctx context.Context, w *conn, o order) error {
	f := o.split.open()
	defer f.Close()
	to := newChunkWriter(ctx, w.link)
	_, err := io.Copy(to, inputReader{f, o.run.over})
	if errors.Is(err, errInput) {
		m.giveUp(o.msg.ID, err)
		err = nil
	}
	if err != nil {
		return err
	}
	return to.Close()
}

// errInput marks errors of reading the input, not of sending it.
var errInput = errors.New("mapreduce: read the input")

// An inputReader reads a split until it ends or the job is over.
type inputReader struct {
	r    io.Reader
	over <-chan struct{}
}

func (i inputReader) Read(p []byte) (int, error) {
	select {
	case <-i.over:
		return 0, io.EOF
	default:
	}
	n, err := i.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errInput, err)
	}
	return n, err
}

// giveUp ends the job that id belongs to.
func (m *Master) giveUp(id attemptID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run != nil && m.run.number == id.Run && m.run.c.err == nil {
		m.run.c.err = err
		poke(m.changed)
	}
}

// hear takes what a worker says, until it leaves.
func (m *Master) hear(ctx context.Context, w *conn) error {
	for {
		msg, chunk, err := w.receive(ctx)
		if err == io.EOF || errors.Is(err, framing.ErrServerClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if msg == nil {
			if w.output != nil && len(chunk) > 0 {
				if _, err := w.output.Write(chunk); err != nil {
					m.giveUp(w.outputID, fmt.Errorf("mapreduce: output of reduce task %d: %w", w.outputID.Task, err))
				}
			}
			continue
		}
		if err := m.handle(ctx, w, msg); err != nil {
			return err
		}
	}
}

// handle does what a worker's message asks for.
func (m *Master) handle(ctx context.Context, w *conn, msg *message) error {
	m.mu.Lock()
	now, r := time.Now(), m.run
	a := r.attempt(msg.ID)
	if a != nil && a.worker != &w.member {
		a = nil // it speaks of another's
	}
	if w.member.lost {
		poke(m.changed)
	}
	w.member.hear(now)
	if w.output != nil && r.attempt(w.outputID) == nil {
		w.dropOutput() // its job is over
	}
	switch msg.Type {
	case msgPing:
		if a != nil && msg.Reason != "" && m.Trace != nil && m.Trace.Status != nil {
			m.Trace.Status(a.task.kind, a.task.number, msg.Reason)
		}
		m.mu.Unlock()
		return w.send(ctx, &message{Type: msgPing})
	case msgOutput:
		w.dropOutput()
		if a != nil && a.state == stateRunning {
			w.output, w.outputID = newSpool(r.dir, m.memory()), msg.ID
		}
	case msgDone:
		m.done(r, a, w, msg, now)
	case msgFailed:
		if a != nil {
			var lost []*attempt
			for _, h := range msg.Holders {
				for _, id := range h.Results {
					if l := r.attempt(id); l != nil && l.task.kind == MapTask {
						lost = append(lost, l)
					}
				}
			}
			r.c.fail(now, &w.member, a, msg.Reason, lost)
		}
		poke(m.changed)
	default:
		m.mu.Unlock()
		return fmt.Errorf("mapreduce: worker %s sent %.20q: %w", w.member.name, msg.Type, errMalformed)
	}
	m.mu.Unlock()
	return nil
}

// done counts a completion once; m.mu is held.
func (m *Master) done(r *remoteRun, a *attempt, w *conn, msg *message, now time.Time) {
	defer w.dropOutput()
	poke(m.changed)
	if a == nil {
		return
	}
	if a.task.kind == ReduceTask && a.state == stateRunning && (w.output == nil || w.outputID != msg.ID) {
		r.c.fail(now, &w.member, a, "it came without its output", nil)
		return
	}
	if a.task.kind == ReduceTask && w.output != nil {
		if err := w.output.finish(); err != nil {
			r.c.err = err
			return
		}
	}
	counters := Counters{}
	for _, c := range msg.Counters[:min(len(msg.Counters), maxTaskCounters)] {
		counters[c.Name] += c.N
	}
	if !r.c.finish(now, &w.member, a, counters) {
		return
	}
	if a.task.kind == ReduceTask {
		r.outputs[a.task.number], w.output = w.output, nil
		return
	}
	if m.Trace != nil && m.Trace.Progress != nil {
		var mapped int64
		for i, t := range r.c.maps {
			if t.done() {
				mapped += r.splits[i].size
			}
		}
		m.Trace.Progress(mapped, r.total)
	}
}
