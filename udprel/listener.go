package udprel

import (
	"context"
	"net"
	"sync"
)

// A Listener accepts connections. It is a [net.Listener].
type Listener struct {
	e *Endpoint

	mu      sync.Mutex
	cond    sync.Cond
	queue   []*Conn
	pending int // connections in handshake or in queue
	err     error
}

var _ net.Listener = (*Listener)(nil)

// Addr returns the address at which the listener listens.
func (l *Listener) Addr() net.Addr { return l.e.Addr() }

// Accept waits for the next connection, a [*Conn]. After Close it fails with
// [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn(context.Background())
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptConn is [Listener.Accept] with a context, whose cause it returns when
// that ends.
func (l *Listener) AcceptConn(ctx context.Context) (*Conn, error) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cond.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue = l.queue[1:]
			l.pending--
			return c, nil
		case l.err != nil:
			return nil, &net.OpError{Op: "accept", Net: "udp", Addr: l.Addr(), Err: l.err}
		case ctx.Err() != nil:
			return nil, &net.OpError{Op: "accept", Net: "udp", Addr: l.Addr(), Err: context.Cause(ctx)}
		}
		l.cond.Wait()
	}
}

// Close stops accepting. Connections that nobody has accepted are aborted, the
// others go on.
func (l *Listener) Close() error {
	l.fail(net.ErrClosed)
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, c := range queue {
		c.Abort()
	}
	l.e.mu.Lock()
	if l.e.listener == l {
		l.e.listener = nil
	}
	l.e.mu.Unlock()
	return l.e.shutIfUnused()
}

func (l *Listener) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.cond.Broadcast()
}

// admit reserves a place for a connection.
func (l *Listener) admit() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.pending >= l.e.cfg.Backlog {
		return false
	}
	l.pending++
	return true
}

// drop gives a place back.
func (l *Listener) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending--
}

// put queues a connection whose handshake is done. It reports whether somebody
// may still accept it.
func (l *Listener) put(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	l.queue = append(l.queue, c)
	l.cond.Signal()
	return true
}
