package cache

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What may wait on one connection.
const (
	maxQueued  = 256 << 10 // bytes that are not yet sent, before further calls must wait
	maxPending = 1024      // calls that are not yet answered
)

// A pipe is a connection on which many calls are under way at a time: one
// goroutine writes what has gathered, another gives the answers, which come in
// the order of the requests, to the calls.
//
// It has two rules. An answer that is late, cut, or not the one that is due ends
// the pipe, so that nobody is ever given another's answer. And a caller who no
// longer waits does not end it: the answer is read all the same.
type pipe struct {
	node *clientNode
	nc   net.Conn
	wake chan struct{} // holds a token when there is something to write
	load atomic.Int32  // calls under way

	mu       sync.Mutex
	writing  bool          // somebody writes
	out      []byte        // requests to be written after that
	queue    []*exchange   // under way, the oldest first
	room     chan struct{} // closed when there is room again; nil if nobody waits
	err      error         // why the pipe is closed
	answered bool          // it has worked at least once
	idle     time.Time     // since when the queue is empty
}

func newPipe(n *clientNode, nc net.Conn) *pipe {
	p := &pipe{node: n, nc: nc, wake: make(chan struct{}, 1), idle: time.Now()}
	n.client.wg.Go(p.writeLoop)
	n.client.wg.Go(p.readLoop)
	return p
}

// errIdle closes a pipe that nobody has used for a while.
var errIdle = errors.New("idle")

// send puts the call on the way. If there is no room it returns a channel that
// is closed when it is worth another try.
func (p *pipe) send(c *exchange) (room <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, p.err
	}
	if len(p.out) > maxQueued || len(p.queue) >= maxPending {
		if p.room == nil {
			p.room = make(chan struct{})
		}
		p.load.Store(maxPending) // nobody else should choose this one
		return p.room, nil
	}
	c.started = time.Now()
	p.queue = append(p.queue, c)
	p.load.Store(int32(len(p.queue)))
	if len(p.queue) == 1 { // the reader waits with the idle deadline
		p.setDeadline()
		if !p.writing && len(c.request) <= maxDirect {
			p.write(c.request)
			return nil, nil
		}
	}
	p.out = append(p.out, c.request...)
	if !p.writing {
		p.wakeWriter()
	}
	return nil, nil
}

// maxDirect is how much the caller itself writes when nothing is under way. Then
// the system's buffer is empty, and a write that fits it does not wait.
const maxDirect = 8 << 10

// write writes b; p.mu is held, but not meanwhile.
func (p *pipe) write(b []byte) {
	p.writing = true
	p.mu.Unlock()
	if limit := p.node.client.timeout(); limit > 0 {
		p.nc.SetWriteDeadline(time.Now().Add(limit))
	}
	_, err := p.nc.Write(b)
	p.mu.Lock()
	p.writing = false
	switch {
	case p.err != nil:
	case err != nil:
		p.shut(err)
	case len(p.out) > 0:
		p.wakeWriter()
	}
}

// wakeWriter makes the writer look at p.out; p.mu is held and p.err nil.
func (p *pipe) wakeWriter() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// makeRoom tells those who wait; p.mu is held.
func (p *pipe) makeRoom() {
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}

// close ends the pipe for the reason err; the reader tells the calls.
func (p *pipe) close(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.shut(err)
	}
	p.mu.Unlock()
}

// shut does that; p.mu is held and p.err nil.
func (p *pipe) shut(err error) {
	p.err = err
	close(p.wake)
	p.makeRoom()
	if len(p.queue) > 0 {
		// The calls have failed. What the system has not yet delivered of
		// them must not come late, after newer writes.
		forgetUnsent(p.nc)
	}
	p.nc.Close()
}

// forgetUnsent makes Close throw away what is not yet delivered.
func forgetUnsent(nc net.Conn) {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok { // a *tls.Conn
		nc = t.NetConn()
	}
	if l, ok := nc.(interface{ SetLinger(seconds int) error }); ok {
		l.SetLinger(0)
	}
}

func (p *pipe) writeLoop() {
	var spare []byte
	for range p.wake {
		runtime.Gosched() // others who are about to send come along
		p.mu.Lock()
		if p.err == nil && !p.writing && len(p.out) > 0 {
			buf := p.out
			p.out = spare[:0]
			p.makeRoom()
			p.write(buf)
			if spare = buf; cap(buf) > 2*maxQueued {
				spare = nil
			}
		}
		p.mu.Unlock()
	}
}

func (p *pipe) readLoop() {
	r := bufio.NewReaderSize(pipeReader{p}, 32<<10)
	err := p.readAll(r)
	p.close(err)

	p.mu.Lock()
	queue, err := p.queue, p.err // the first reason counts
	refusal, refused := errors.AsType[*ReplyError](err)
	failed := len(queue) > 0 && !refused || !p.answered && err != errIdle
	if len(queue) > 0 {
		err = noEOF(err)
	}
	p.queue = nil
	p.load.Store(0)
	p.mu.Unlock()
	p.node.lost(p, err, failed)
	for _, c := range queue {
		c.err = err
		c.done <- struct{}{}
		if refused { // that was for the first
			err = fmt.Errorf("connection given up after another call, to which %v", refusal)
		}
	}
}

func (p *pipe) readAll(r *bufio.Reader) error {
	for {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.mu.Unlock()
			line, _ := r.ReadSlice('\n')
			return fmt.Errorf("%w to nothing", unexpected(line))
		}
		c := p.queue[0]
		p.mu.Unlock()
		if err := c.read(r, p.node.client.maxValue()); err != nil {
			return err
		}
		p.mu.Lock()
		p.queue = slices.Delete(p.queue, 0, 1)
		if len(p.queue) == 0 {
			p.idle = time.Now()
		}
		p.load.Store(int32(len(p.queue)))
		p.makeRoom()
		p.answered = true
		p.mu.Unlock()
		if p.node.failures.Load() != 0 {
			p.node.failures.Store(0)
		}
		c.done <- struct{}{}
	}
}

// deadline is until when something must come; p.mu is held. Zero means whenever.
func (p *pipe) deadline() time.Time {
	since, limit := p.idle, p.node.client.idleTimeout()
	if len(p.queue) > 0 {
		since, limit = p.queue[0].started, p.node.client.timeout()
	}
	if limit <= 0 {
		return time.Time{}
	}
	return since.Add(limit)
}

func (p *pipe) setDeadline() { p.nc.SetReadDeadline(p.deadline()) }

// A pipeReader reads from a pipe's connection under its deadlines.
type pipeReader struct{ p *pipe }

func (r pipeReader) Read(b []byte) (int, error) {
	p := r.p
	for {
		p.mu.Lock()
		p.setDeadline()
		p.mu.Unlock()
		n, err := p.nc.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		p.mu.Lock()
		if d := p.deadline(); d.IsZero() || time.Now().Before(d) {
			p.mu.Unlock()
			continue // a call came just as the idle time was over
		}
		if len(p.queue) == 0 {
			// Under the lock, so that no call can still get on.
			err = errIdle
			if p.err == nil {
				p.shut(err)
			}
		}
		p.mu.Unlock()
		return 0, err
	}
}
