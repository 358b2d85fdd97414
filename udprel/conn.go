package udprel

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is a connection: a stream of bytes in both directions, as a
// [net.Conn], and beside it messages. Its methods may be called by several
// goroutines at a time.
//
// Errors that say that the connection is over satisfy
// errors.Is(err, net.ErrClosed); see [ErrTimeout] and its neighbours for the
// reasons. Errors of deadlines are [os.ErrDeadlineExceeded].
type Conn struct {
	e        *Endpoint
	greeting greetingKey // of an accepted connection
	done     chan struct{}

	mu       sync.Mutex
	m        *machine
	readable sync.Cond // there is something to read, or the state has changed
	writable sync.Cond // there is room to write, or the state has changed
	rd, wd   alarm
	timer    *time.Timer
	timerAt  time.Duration
	listener *Listener // until it has been told that the handshake is done
	known    bool      // the endpoint has the peer's token
	ended    bool      // the machine is over and done is closed
	closed   bool      // by Close or Abort
	released bool
	senders  int // calls of Send that wait
}

var _ net.Conn = (*Conn)(nil)

func newConn(e *Endpoint, m *machine) *Conn {
	c := &Conn{e: e, m: m, done: make(chan struct{}), timerAt: never}
	c.readable.L, c.writable.L = &c.mu, &c.mu
	m.conn = c
	return c
}

// start runs the connection.
func (c *Conn) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.NewTimer(time.Hour)
	c.timer.Stop()
	go c.run()
	c.pump(c.e.now())
}

// run wakes the machine when its time has come, until it is over.
func (c *Conn) run() {
	for {
		select {
		case <-c.timer.C:
			c.mu.Lock()
			now := c.e.now()
			c.timerAt = never
			c.m.timeout(now)
			c.pump(now)
			c.mu.Unlock()
		case <-c.done:
			c.timer.Stop()
			c.e.remove(c)
			c.e.shutIfUnused()
			return
		}
	}
}

// established waits for the end of the handshake.
func (c *Conn) established(ctx context.Context) error {
	stop := c.wakeWith(ctx)
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.m.phase == phaseHalf || c.m.phase == phaseOpen:
			return nil
		case c.m.phase > phaseOpen:
			return c.m.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		c.writable.Wait()
	}
}

// wakeWith wakes all who wait when ctx ends.
func (c *Conn) wakeWith(ctx context.Context) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.readable.Broadcast()
		c.writable.Broadcast()
	})
}

// receive takes in a packet. The caller flushes.
func (c *Conn) receive(now time.Duration, h header, body []byte, from netip.AddrPort, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.receive(now, h, body, from, size)
	if !c.known && !c.ended && c.m.remote != 0 {
		c.known = true
		c.e.know(c)
	}
}

func (c *Conn) flush(now time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pump(now)
}

// reset ends a connection that the peer does not know any more.
func (c *Conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.m.phase == phaseLeaving:
		c.m.over(c.m.err)
	case c.m.in.finished:
		c.m.over(ErrPeerClosed) // it has only forgotten us after its end
	default:
		c.m.over(ErrReset)
	}
	c.m.received.due = never
}

// fail ends a connection whose socket is gone.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.Is(err, net.ErrClosed) {
		err = errLocal
	} else {
		err = &endError{text: "the socket failed: " + err.Error()}
	}
	c.m.over(err)
	c.m.received.due = never
	c.pump(c.e.now())
}

// pump sends what may be sent, sets the timer and wakes who waits; c.mu is held.
func (c *Conn) pump(now time.Duration) {
	c.sendAll(now)
	m := c.m
	if c.listener != nil && m.phase >= phaseOpen {
		l := c.listener
		c.listener = nil
		if m.phase != phaseOpen {
			c.closed = true // nobody has heard of it
			l.drop()
		} else if !l.put(c) {
			c.closed = true
			m.leave(closeAbort)
			c.sendAll(now)
		}
	}
	if m.in.complete() > m.in.base || m.in.finished || len(m.inMsgs.queue) > 0 || m.phase > phaseOpen {
		c.readable.Broadcast()
	}
	if m.out.room() >= m.out.size/8 || m.phase != phaseOpen || c.closed {
		c.writable.Broadcast()
	} else if c.senders > 0 {
		c.writable.Broadcast()
	}
	if m.phase == phaseOver {
		if !c.ended {
			c.ended = true
			close(c.done)
			c.release()
		}
		return
	}
	if at := m.deadline(now); at < c.timerAt {
		c.timerAt = at
		c.timer.Reset(max(at-now, 0))
	}
}

// release counts the connection off at its endpoint, once it is over and the
// program has closed it; c.mu is held.
func (c *Conn) release() {
	if c.ended && c.closed && !c.released {
		c.released = true
		c.rd.set(time.Time{}, nil) // timers would keep it in memory
		c.wd.set(time.Time{}, nil)
		c.e.release()
	}
}

// sendAll sends all packets that may leave, as many as possible in one call.
func (c *Conn) sendAll(now time.Duration) {
	pooled := c.e.buffers.Get().(*[]byte)
	defer c.e.buffers.Put(pooled)
	buf := *pooled
	used, size, count := 0, 0, 0
	var to netip.AddrPort
	send := func() {
		if used == 0 {
			return
		}
		if err := c.e.sock.send(buf[:used], size, to); isTooLarge(err) {
			c.m.tooLarge(size)
		}
		used, size, count = 0, 0, 0
	}
	for {
		n, addr := c.m.packet(now, buf[used:])
		if n == 0 {
			break
		}
		if used > 0 && (n > size || addr != to || used+n > maxBatch || count == maxSegments) {
			at := used
			send()
			copy(buf, buf[at:at+n])
		}
		if used == 0 {
			size, to = n, addr
		}
		used += n
		count++
		if n < size {
			send()
		}
	}
	send()
}

// isTooLarge reports whether the system says that a datagram does not fit.
func isTooLarge(err error) bool { return err != nil && errors.Is(err, syscall.EMSGSIZE) }

// An alarm is a deadline for reads or writes.
type alarm struct {
	at    time.Time
	timer *time.Timer
}

func (a *alarm) passed() bool { return !a.at.IsZero() && !time.Now().Before(a.at) }

// set changes the deadline; wake is called when it has passed.
func (a *alarm) set(t time.Time, wake func()) {
	a.at = t
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	if !t.IsZero() {
		a.timer = time.AfterFunc(time.Until(t), wake)
	}
}

// over returns why the connection takes no further part, nil if it does; c.mu
// is held.
func (c *Conn) over() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.m.phase > phaseOpen:
		return c.m.err
	}
	return nil
}

// Read reads bytes of the stream. After the peer's CloseWrite or Close it
// returns io.EOF, once everything has been read.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.wrap("read", net.ErrClosed)
		case c.rd.passed():
			return 0, c.wrap("read", os.ErrDeadlineExceeded)
		case c.m.phase > phaseOpen && !errors.Is(c.m.err, ErrPeerClosed):
			return 0, c.wrap("read", c.m.err)
		case len(p) == 0:
			return 0, nil
		}
		if n := c.m.in.read(p); n > 0 {
			if c.m.in.news() {
				now := c.e.now()
				c.m.received.due = min(c.m.received.due, now)
				c.pump(now)
			}
			return n, nil
		}
		if c.m.in.ended() {
			return 0, io.EOF
		}
		if c.m.phase > phaseOpen {
			return 0, c.wrap("read", c.m.err)
		}
		c.readable.Wait()
	}
}

// Write writes bytes to the stream. It returns when they are in the send
// buffer, not when they have arrived; see [Conn.Close].
func (c *Conn) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.over(); err != nil {
			return n, c.wrap("write", err)
		}
		if c.wd.passed() {
			return n, c.wrap("write", os.ErrDeadlineExceeded)
		}
		if c.m.out.fin != finOpen {
			return n, c.wrap("write", net.ErrClosed)
		}
		if k := c.m.write(p[n:]); k > 0 || n == len(p) {
			n += k
			c.pump(c.e.now())
		}
		if n == len(p) {
			return n, nil
		}
		c.writable.Wait()
	}
}

// Send sends a message. It returns when the message is in the send buffer; it
// waits for room there until ctx ends, the write deadline passes or the
// connection is over. A message that is too large for the peer gives
// [ErrTooLarge].
func (c *Conn) Send(ctx context.Context, msg []byte, d Delivery) error {
	stop := c.wakeWith(ctx)
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.over(); err != nil {
			return c.wrap("send", err)
		}
		if c.wd.passed() {
			return c.wrap("send", os.ErrDeadlineExceeded)
		}
		if ctx.Err() != nil {
			return c.wrap("send", context.Cause(ctx))
		}
		ok, err := c.m.outMsgs.send(msg, d)
		if ok {
			c.pump(c.e.now())
		}
		// A large message waits for the server's limits.
		if ok || (err != nil && !(c.m.phase == phaseHalf && errors.Is(err, ErrTooLarge))) {
			return c.wrap("send", err)
		}
		c.senders++
		c.writable.Wait()
		c.senders--
	}
}

// Receive returns the next message, of any lane. It waits until ctx ends, the
// read deadline passes or the connection is over. After the peer's Close it
// returns what has arrived, then io.EOF.
func (c *Conn) Receive(ctx context.Context) (Message, error) {
	stop := c.wakeWith(ctx)
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return Message{}, c.wrap("receive", net.ErrClosed)
		case c.rd.passed():
			return Message{}, c.wrap("receive", os.ErrDeadlineExceeded)
		case ctx.Err() != nil:
			return Message{}, c.wrap("receive", context.Cause(ctx))
		case c.m.phase > phaseOpen && !errors.Is(c.m.err, ErrPeerClosed):
			return Message{}, c.wrap("receive", c.m.err)
		}
		if msg, ok := c.m.inMsgs.next(); ok {
			if c.m.inMsgs.news() {
				now := c.e.now()
				c.m.received.due = min(c.m.received.due, now)
				c.pump(now)
			}
			return msg, nil
		}
		if c.m.phase > phaseOpen {
			return Message{}, io.EOF
		}
		c.readable.Wait()
	}
}

// CloseWrite ends the stream that is written: the peer reads what there is,
// then io.EOF. Reading and messages go on.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.over(); err != nil {
		return c.wrap("close", err)
	}
	c.m.closeWrite()
	c.pump(c.e.now())
	return nil
}

// Close ends the connection. It waits up to Config.Linger until the peer has
// acknowledged everything that was written and sent, unless the peer has closed;
// if that is too short, the rest is dropped, the peer sees [ErrAborted] and
// Close returns [ErrUndelivered]. What has not been read is dropped. Blocked calls return
// with [net.ErrClosed] at once.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	var err error
	if first && c.m.phase <= phaseOpen {
		err = c.linger()
	}
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.pump(c.e.now())
	c.release()
	err = c.wrap("close", err)
	c.mu.Unlock()
	<-c.done
	c.e.shutIfUnused()
	return err
}

// linger waits for what was written to arrive, then tells the peer that we
// leave; c.mu is held.
func (c *Conn) linger() error {
	c.m.closeWrite()
	c.m.in.discarded = true
	c.m.in.skip()
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.pump(c.e.now())
	if c.m.cfg.Linger > 0 && !c.m.delivered() {
		var limit alarm
		limit.set(time.Now().Add(c.m.cfg.Linger), c.wake)
		for c.m.phase <= phaseOpen && !c.m.delivered() && !limit.passed() {
			c.writable.Wait()
		}
		limit.set(time.Time{}, nil)
	}
	switch {
	case c.m.delivered():
		c.m.leave(closeDone)
	case errors.Is(c.m.err, ErrPeerClosed): // it does not want the rest
	default:
		c.m.leave(closeAbort)
		return ErrUndelivered
	}
	return nil
}

func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readable.Broadcast()
	c.writable.Broadcast()
}

// Abort ends the connection at once and drops what has not been delivered. The
// peer, which is told in the background, sees [ErrAborted].
func (c *Conn) Abort() {
	c.mu.Lock()
	c.closed = true
	c.m.leave(closeAbort)
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.pump(c.e.now())
	c.release()
	c.mu.Unlock()
	c.e.shutIfUnused()
}

// LocalAddr returns the address of the socket.
func (c *Conn) LocalAddr() net.Addr { return c.e.Addr() }

// RemoteAddr returns the peer's address, which may change: see the notes on
// migration.
func (c *Conn) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return net.UDPAddrFromAddrPort(c.m.path.addr)
}

// wrap adds to an error where it happened; c.mu is held.
func (c *Conn) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	remote := net.UDPAddrFromAddrPort(c.m.path.addr)
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Addr: remote, Err: err}
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadline(t, &c.rd, &c.wd) }

// SetReadDeadline sets when Read and Receive fail with
// [os.ErrDeadlineExceeded]; the zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(t, &c.rd) }

// SetWriteDeadline is SetReadDeadline for Write and Send.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, &c.wd) }

func (c *Conn) setDeadline(t time.Time, alarms ...*alarm) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.wrap("set", net.ErrClosed)
	}
	for _, a := range alarms {
		a.set(t, c.wake)
	}
	c.readable.Broadcast()
	c.writable.Broadcast()
	return nil
}

// Stats returns the counters and the present state.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m.statistics()
}
