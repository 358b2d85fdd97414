package cache

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDown means that the server of a key is ejected: it did not answer, and is
// not asked again until it does.
var ErrDown = errors.New("cache: server down")

// A downError is ErrDown with what made the server so.
type downError struct{ cause error }

func (e *downError) Error() string   { return "server down: " + e.cause.Error() }
func (e *downError) Unwrap() []error { return []error{ErrDown, e.cause} }

// A server is ejected when it cannot be dialled, or after maxFailures
// connections in a row that broke over unanswered calls. One goroutine then asks
// it, after probeMin at first and at most probeMax in the end.
const (
	maxFailures = 2
	probeMin    = 100 * time.Millisecond
	probeMax    = 10 * time.Second
)

// busy is how many calls must be under way on every connection to a server
// before another one is dialled.
const busy = 8

// A clientNode is one server as the client sees it.
type clientNode struct {
	client           *Client
	index            int // in client.nodes
	network, address string
	failures         atomic.Int32 // broken connections since the last answer

	mu       sync.Mutex
	pipes    []*pipe
	dial     *dialing  // under way; nil if none
	notUntil time.Time // no further connection before
	down     error     // why it is ejected; nil if it is not
	missed   bool      // somebody stood in for it, so what it has may be old
	closed   bool
}

// A dialing is an attempt at a connection, for which many may wait.
type dialing struct {
	over chan struct{}
	err  error
}

// submit puts the call on the way on one of the node's connections.
func (n *clientNode) submit(ctx context.Context, c *exchange) error {
	for {
		p, err := n.pipe(ctx)
		if err != nil {
			return err
		}
		room, err := p.send(c)
		switch {
		case err != nil: // it broke just now
			n.forget(p)
		case room == nil:
			return nil
		default:
			select {
			case <-room:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// pipe returns the connection with the fewest calls under way. It dials the
// first one, and another one if all are busy.
func (n *clientNode) pipe(ctx context.Context) (*pipe, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return nil, net.ErrClosed
		}
		if n.down != nil {
			err := n.down
			n.mu.Unlock()
			return nil, &downError{err}
		}
		var best *pipe
		var load int32
		for _, p := range n.pipes {
			if l := p.load.Load(); best == nil || l < load {
				best, load = p, l
			}
		}
		if n.dial == nil && (best == nil || load >= busy && len(n.pipes) < n.client.maxConns() && time.Now().After(n.notUntil)) {
			n.dial = &dialing{over: make(chan struct{})}
			n.client.wg.Go(n.connect)
		}
		dial := n.dial
		n.mu.Unlock()
		if best != nil {
			return best, nil
		}
		select {
		case <-dial.over:
			if dial.err != nil {
				return nil, dial.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// connect carries out n.dial.
func (n *clientNode) connect() {
	nc, err := n.open()
	n.mu.Lock()
	defer n.mu.Unlock()
	dial := n.dial
	n.dial = nil
	defer close(dial.over)
	switch {
	case n.closed:
		if nc != nil {
			nc.Close()
		}
		dial.err = net.ErrClosed
	case err == nil:
		n.pipes = append(n.pipes, newPipe(n, nc))
	case len(n.pipes) > 0: // the server works, but takes no more connections
		n.notUntil = time.Now().Add(time.Second)
	default:
		dial.err = err
		n.eject(err)
	}
}

// open dials the server.
func (n *clientNode) open() (net.Conn, error) {
	ctx, cancel := n.client.background()
	defer cancel()
	dial := n.client.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, n.network, n.address)
	if t := n.client.Trace; t != nil && t.Dialed != nil {
		t.Dialed(n.address, err)
	}
	n.client.dials.Add(1)
	return nc, err
}

// forget takes a broken pipe off the list.
func (n *clientNode) forget(p *pipe) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.pipes, p); i >= 0 {
		n.pipes = slices.Delete(n.pipes, i, i+1)
	}
}

// lost is told that a pipe has ended. failed says that it is the server's fault.
func (n *clientNode) lost(p *pipe, err error, failed bool) {
	n.forget(p)
	if !failed || n.failures.Add(1) < maxFailures {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed && n.down == nil {
		n.eject(err)
	}
}

// eject gives the server up and starts to ask whether it is back; n.mu is held.
func (n *clientNode) eject(err error) {
	n.down = err
	for _, p := range n.pipes {
		p.close(err)
	}
	n.client.wg.Go(func() {
		n.client.look()
		if t := n.client.Trace; t != nil && t.Ejected != nil {
			t.Ejected(n.address, err)
		}
		n.probe()
	})
}

func (n *clientNode) isUp() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down == nil
}

// probe asks the server, at growing intervals, until it answers or the client is
// closed.
func (n *clientNode) probe() {
	for pause := probeMin; ; pause = min(2*pause, probeMax) {
		// Many clients eject a server at the same time: let them not return so.
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-n.client.stop:
			timer.Stop()
			return
		}
		if n.revive() {
			n.client.look()
			if t := n.client.Trace; t != nil && t.Returned != nil {
				t.Returned(n.address)
			}
			return
		}
	}
}

// revive takes the server back if it answers. One that others stood in for is
// emptied first.
func (n *clientNode) revive() bool {
	nc, err := n.open()
	if err != nil {
		return false
	}
	p := newPipe(n, nc)
	c := &exchange{done: make(chan struct{}, 1), want: 1, request: []byte("mn\r\n"), expect: "MN"}
	n.mu.Lock()
	empty := n.missed
	n.missed = false
	n.mu.Unlock()
	if empty {
		c.request, c.expect = []byte("flush_all\r\n"), "OK"
	}
	_, err = p.send(c)
	if err == nil {
		select {
		case <-c.done:
			err = c.err
		case <-n.client.stop:
			err = net.ErrClosed
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		p.close(net.ErrClosed)
		return false
	case err != nil || c.answers[0].refusal != "":
		n.missed = n.missed || empty
		p.close(ErrDown)
		return false
	case n.missed && !empty: // since we began to ask
		p.close(ErrDown)
		return false
	}
	n.pipes = append(n.pipes, p)
	n.down = nil
	return true
}

// close ends all connections.
func (n *clientNode) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, p := range n.pipes {
		p.close(net.ErrClosed)
	}
}
