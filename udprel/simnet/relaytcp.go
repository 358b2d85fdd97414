package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// relaySegment is how much a TCP connection reads at a time, and relayWindow
// how many of those may be on their way: about 1.5 MB in each direction.
const relaySegment, relayWindow = 1460, 1024

const relayHeader = 40 // of IPv4 and TCP

// A tcpFlow is a connection through a relay.
type tcpFlow struct {
	client net.Conn
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	target  net.Conn // nil until connected
	aborted bool
	last    time.Duration // when something passed
}

// RelayTCP starts a relay that listens on one TCP address, such as
// "127.0.0.1:0", and forwards to another. The caller must Close it.
//
// Bytes are never lost: a segment that the link loses arrives later by the
// time-outs that a sender would have needed, and while a link is down
// everything waits. Connections share the capacity of the links. Since the
// system answers a client's SYN by itself, the relay lets the first bytes wait
// for the round trip instead. A queue that is full lets the sender wait;
// duplication has no effect.
func RelayTCP(listen, target string, config *RelayConfig) (*Relay, error) {
	r := newRelay(target, config)
	to, err := net.ResolveTCPAddr("tcp", target)
	if err != nil {
		return nil, fmt.Errorf("simnet: relay to %s: %w", target, err)
	}
	r.target = to.String()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("simnet: relay to %s: %w", target, err)
	}
	r.ln = ln.(*net.TCPListener)
	r.wg.Go(r.accept)
	return r, nil
}

func (r *Relay) accept() {
	for {
		conn, err := r.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: others may end
			if !r.sleep(r.ctx, r.now()+relayPause) {
				return
			}
			continue
		}
		f := &tcpFlow{client: conn, last: r.now()}
		f.ctx, f.cancel = context.WithCancel(r.ctx)
		r.mu.Lock()
		if r.closed || len(r.conns) >= r.maxFlows {
			f.abort()
		} else {
			r.conns[f] = struct{}{}
			r.wg.Go(func() { r.carry(f) })
		}
		r.mu.Unlock()
	}
}

// abort resets both connections of f.
func (f *tcpFlow) abort() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.aborted = true
	f.cancel()
	for _, c := range []net.Conn{f.client, f.target} {
		if c != nil {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}
}

// carry runs one connection.
func (r *Relay) carry(f *tcpFlow) {
	defer func() {
		r.mu.Lock()
		delete(r.conns, f)
		r.mu.Unlock()
	}()
	defer f.cancel()
	if !r.connectTCP(f) {
		f.abort()
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.pump(f, &r.up, f.target, f.client) })
	wg.Go(func() { r.pump(f, &r.down, f.client, f.target) })
	wg.Wait()
	f.client.Close()
	f.target.Close()
}

// connectTCP connects to the target, in the time that a handshake takes.
func (r *Relay) connectTCP(f *tcpFlow) bool {
	at, ok := r.pass(f.ctx, &r.up, 0)
	if !ok || !r.sleep(f.ctx, at) {
		return false
	}
	d := net.Dialer{Timeout: relayDial}
	conn, err := d.DialContext(f.ctx, "tcp", r.target)
	if err != nil {
		return false
	}
	f.mu.Lock()
	f.target = conn
	aborted := f.aborted
	f.mu.Unlock()
	if aborted {
		return false
	}
	at, ok = r.pass(f.ctx, &r.down, 0)
	return ok && r.sleep(f.ctx, at)
}

// A piece is what was read at once, to be written at a time. Without data it
// is the end of the stream.
type piece struct {
	at   time.Duration
	data []byte
}

// pump carries one direction of f, from src to dst.
func (r *Relay) pump(f *tcpFlow, l *lane, dst, src net.Conn) {
	pieces := make(chan piece, relayWindow)
	var wg sync.WaitGroup
	wg.Go(func() {
		for p := range pieces {
			if !r.sleep(f.ctx, p.at) || !r.untilUp(f.ctx, l) || r.write(f, dst, p.data) != nil {
				f.abort() // which makes the reader end as well
				for range pieces {
				}
				return
			}
		}
	})
	if r.read(f, l, src, pieces) != nil {
		f.abort()
	}
	close(pieces)
	wg.Wait()
}

// read reads src to its end.
func (r *Relay) read(f *tcpFlow, l *lane, src net.Conn, pieces chan<- piece) error {
	last := time.Duration(0) // a stream keeps its order, whatever the link does
	for {
		buf := make([]byte, r.segment(l))
		src.SetReadDeadline(time.Now().Add(r.idle))
		n, err := src.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			f.mu.Lock()
			idle := r.now() - f.last
			f.mu.Unlock()
			if idle < r.idle {
				continue // the other direction is busy
			}
			return err
		case err != nil && err != io.EOF:
			return err
		}
		at, ok := r.pass(f.ctx, l, n)
		if !ok {
			return f.ctx.Err()
		}
		last = max(last, at)
		select {
		case pieces <- piece{last, buf[:n]}:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
		if err == io.EOF {
			return nil
		}
	}
}

// segment returns how many bytes a packet on l may carry.
func (r *Relay) segment(l *lane) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if mtu := l.model.knobs.MTU; mtu > 0 {
		return max(min(mtu-relayHeader, relaySegment), 1)
	}
	return relaySegment
}

// write writes p to dst, or its end if p is empty.
func (r *Relay) write(f *tcpFlow, dst net.Conn, p []byte) error {
	f.mu.Lock()
	f.last = r.now()
	f.mu.Unlock()
	if len(p) == 0 {
		return dst.(*net.TCPConn).CloseWrite()
	}
	dst.SetWriteDeadline(time.Now().Add(r.idle))
	_, err := dst.Write(p)
	return err
}

// pass sends a segment of n bytes over a lane, again and again if it is lost,
// and returns when it arrives. It waits while the link is down or full, and
// gives up when ctx ends or the losses take too long.
func (r *Relay) pass(ctx context.Context, l *lane, n int) (time.Duration, bool) {
	for {
		if !r.untilUp(ctx, l) {
			return 0, false
		}
		r.mu.Lock()
		now := r.now()
		at := l.model.Room(now, relayHeader+n)
		if at <= now {
			arrive, ok := r.repeat(l, now, relayHeader+n)
			r.mu.Unlock()
			if !ok {
				r.sleep(ctx, now+relayPatience)
			}
			return arrive, ok
		}
		r.mu.Unlock()
		if !r.sleep(ctx, at) {
			return 0, false
		}
	}
}

// repeat sends a segment until it is not lost. The link's dice are thrown for
// all tries at once; the time-outs between them are added up.
func (r *Relay) repeat(l *lane, now time.Duration, size int) (time.Duration, bool) {
	timeout := max(minRTO, 2*(r.up.model.knobs.Delay+r.down.model.knobs.Delay))
	waited := time.Duration(0)
	for waited < relayPatience {
		f := l.model.Send(now, size)
		if f.Drop == "" {
			l.model.Arrive()
			if f.Copy {
				l.model.Arrive()
			}
			return f.Arrive + waited, true
		}
		waited += timeout
		timeout = min(2*timeout, max(maxRTO, timeout))
	}
	return 0, false
}

// untilUp waits while the link is down and reports whether ctx is still alive.
func (r *Relay) untilUp(ctx context.Context, l *lane) bool {
	for {
		r.mu.Lock()
		down, changed := l.model.knobs.Down, r.changed
		r.mu.Unlock()
		if !down {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
