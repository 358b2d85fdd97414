package framing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how long a [Conn] waits and how much it takes. The zero value is
// safe to use.
type Config struct {
	// MaxSize is the largest message Receive returns, in bytes; 0 means 1 MiB.
	MaxSize int

	// IdleTimeout is the longest wait for a message to begin. 0 means no limit
	// other than the context's; under a [Server], one minute. Negative means
	// no limit.
	IdleTimeout time.Duration

	// ReadTimeout is how long a message that has begun may take for each
	// 64 KiB of it, so that a peer which sends a byte now and then does not
	// hold the connection. 0 means one minute; negative, no limit, for
	// streams that people type.
	ReadTimeout time.Duration

	// WriteTimeout is how long the peer may take to accept each 64 KiB of what
	// is sent. 0 means one minute; negative, no limit.
	WriteTimeout time.Duration

	// Trace is told what happens; nil costs nothing.
	Trace *Trace
}

// Trace is a set of functions that are told of a connection's messages as they
// pass. Any of them may be nil. They are called by the goroutine that does the
// work, which waits for them.
type Trace struct {
	// Opened and Closed mark the life of a connection under a [Server]; err
	// is what its handler returned.
	Opened func(c *Conn)
	Closed func(c *Conn, err error)
	// Received is called when the last byte of a message has been given out,
	// Sent when a message has been written or queued.
	Received func(c *Conn, size int64)
	Sent     func(c *Conn, size int64)
}

// Stats counts what has passed over a [Conn].
type Stats struct {
	MessagesIn, MessagesOut int64 // whole messages
	PayloadIn, PayloadOut   int64 // their bytes, borders not counted
}

// A Conn is a connection that carries messages. It adds to [Reader] and
// [Writer] what a program on a network needs: contexts, time limits, senders
// in many goroutines.
//
// One goroutine may receive while any number send. Contexts and time limits
// need SetReadDeadline and SetWriteDeadline, as every net.Conn has them; on
// other streams a context is only looked at before each operation. A Conn sets
// these deadlines itself: others must not.
type Conn struct {
	rw    io.ReadWriter
	cfg   Config
	r     *Reader
	w     *Writer
	stats struct{ msgsIn, msgsOut, bytesIn, bytesOut atomic.Int64 }

	sending chan struct{} // holds a token while somebody sends
	closed  atomic.Bool

	// Of the receiving goroutine.
	ctx      context.Context // of the call under way
	idleBy   time.Time       // when a message must have begun; zero: not set yet in this call
	readBy   time.Time       // when the message under way must have come on; zero: likewise
	progress int             // bytes since readBy was set

	mu       sync.Mutex // guards the read deadline against drain
	draining bool
	armed    bool // a read deadline is set
}

// NewConn returns a Conn of messages in format f, nil meaning Prefix{}, over
// rw: a net.Conn, a pipe, anything. A nil cfg means the zero Config.
func NewConn(rw io.ReadWriter, f Format, cfg *Config) *Conn {
	c := &Conn{rw: rw, sending: make(chan struct{}, 1)}
	if cfg != nil {
		c.cfg = *cfg
	}
	c.cfg.ReadTimeout = orDefault(c.cfg.ReadTimeout, time.Minute)
	c.cfg.WriteTimeout = orDefault(c.cfg.WriteTimeout, time.Minute)
	c.r = NewReader((*timedReader)(c), f)
	c.r.MaxSize = c.cfg.MaxSize
	c.w = NewWriter(rw, f)
	return c
}

// orDefault reads a duration as Config documents it; the result is 0 for none.
func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		d = def
	}
	return max(d, 0)
}

// Receive returns the payload of the next message, valid until the next call
// that receives. Beside the errors of [Reader.ReadMessage] there are the
// context's, wrapped; one that is an os.ErrDeadlineExceeded when a time limit
// of [Config] has passed; net.ErrClosed after Close; and [ErrServerClosed] when
// a [Server] that shuts down wants no further message. After a context or time
// limit the next call goes on where this one stopped.
func (c *Conn) Receive(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, c.failed("receive", context.Cause(ctx))
	}
	c.ctx, c.idleBy = ctx, time.Time{}
	msg, err := c.r.ReadMessage()
	c.ctx = nil
	if err != nil {
		return nil, c.failed("receive", err)
	}
	c.received(int64(len(msg)))
	return msg, nil
}

// Messages returns the messages to come, each valid until the next. The
// iteration ends without an error at the clean end of the stream and when a
// [Server] shuts down. A message that is refused but can be skipped is reported
// and the iteration goes on, if the loop lets it; any other error ends it.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			msg, err := c.Receive(ctx)
			if err == io.EOF || err == ErrServerClosed {
				return
			}
			if !yield(msg, err) || err != nil && c.r.stage != refused {
				return
			}
		}
	}
}

// NextReader waits for the next message and returns a reader of it and its size
// in bytes, −1 if the format does not tell beforehand. For messages of any
// length: [Config.MaxSize] does not count, a caller that stores what it reads
// sets a limit of its own. What is left unread is skipped by the next call that
// receives. ctx must last as long as the reader is used.
func (c *Conn) NextReader(ctx context.Context) (r io.Reader, size int64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, c.failed("receive", context.Cause(ctx))
	}
	c.ctx, c.idleBy = ctx, time.Time{}
	size, err = c.r.Next()
	c.ctx = nil
	if err != nil {
		return nil, 0, c.failed("receive", err)
	}
	return &messageReader{c: c, ctx: ctx, seq: c.r.seq}, size, nil
}

type messageReader struct {
	c   *Conn
	ctx context.Context
	seq int64
}

func (m *messageReader) Read(p []byte) (int, error) {
	c := m.c
	if m.seq != c.r.seq {
		return 0, io.EOF // the message is over; another may have begun
	}
	c.ctx = m.ctx
	n, err := c.r.Read(p)
	c.ctx = nil
	if err == io.EOF {
		c.received(c.r.st.Pos)
	} else if err != nil {
		err = c.failed("receive", err)
	}
	return n, err
}

// Send sends each of msgs as one message, all in one write as far as they are
// small. Any number of goroutines may call it: messages never mix. When ctx or
// the time limit ends a write, messages may have been cut: the stream is of no
// more use for sending, and every later call returns the same error.
func (c *Conn) Send(ctx context.Context, msgs ...[]byte) error {
	return c.send(ctx, true, msgs)
}

// Queue adds p to the messages that wait for Flush or the next Send, and sends
// them if they have come to 64 KiB. p may be reused when Queue returns.
func (c *Conn) Queue(ctx context.Context, p []byte) error {
	return c.send(ctx, false, [][]byte{p})
}

// Flush sends what Queue has left waiting.
func (c *Conn) Flush(ctx context.Context) error {
	return c.send(ctx, true, nil)
}

func (c *Conn) send(ctx context.Context, flush bool, msgs [][]byte) error {
	if err := c.lockSend(ctx); err != nil {
		return err
	}
	defer c.unlockSend()
	size := len(c.w.buf)
	for _, p := range msgs {
		size += len(p)
	}
	if flush || size >= bigBuffer { // something will be written
		defer c.timeWrite(ctx, size)()
	}
	for _, p := range msgs {
		if err := c.w.Queue(p); err != nil {
			return c.sendFailed(ctx, err)
		}
		c.sent(int64(len(p)))
	}
	if flush {
		return c.sendFailed(ctx, c.w.Flush())
	}
	return nil
}

// NextWriter begins a message of size bytes, −1 if that is not known, which
// formats that send the size first refuse with [ErrUnknownSize]. The message
// is what is written until Close, which sends the end of it. Other senders wait
// until then, so Close must be called. ctx must last until then.
func (c *Conn) NextWriter(ctx context.Context, size int64) (*MessageWriter, error) {
	if err := c.lockSend(ctx); err != nil {
		return nil, err
	}
	if err := c.w.Begin(size); err != nil {
		c.unlockSend()
		return nil, c.sendFailed(ctx, err)
	}
	return &MessageWriter{c: c, ctx: ctx}, nil
}

// A MessageWriter sends one message piece by piece; see [Conn.NextWriter]. It is
// for one goroutine.
type MessageWriter struct {
	c    *Conn
	ctx  context.Context
	n    int64
	done bool
}

// Write adds p to the message. Small pieces wait until there are 64 KiB of them,
// or for Flush.
func (m *MessageWriter) Write(p []byte) (int, error) {
	size := len(m.c.w.buf) + len(p)
	err := m.do(size, func() error { _, err := m.c.w.Write(p); return err })
	if err != nil {
		return 0, err
	}
	m.n += int64(len(p))
	return len(p), nil
}

// Flush sends what has been written, as far as the format allows before it
// knows what comes next.
func (m *MessageWriter) Flush() error {
	return m.do(len(m.c.w.buf), m.c.w.Flush)
}

// Close ends the message and sends what is left of it. It is an error if fewer
// bytes were written than announced. Closing again does nothing.
func (m *MessageWriter) Close() error {
	if m.done {
		return nil
	}
	err := m.do(len(m.c.w.buf), m.c.w.End)
	m.done = true
	if err != nil && m.c.w.err == nil {
		m.c.w.err = err // the message is cut: the stream is of no more use
	}
	m.c.unlockSend()
	if err == nil {
		m.c.sent(m.n)
	}
	return err
}

// do does something that may write size bytes.
func (m *MessageWriter) do(size int, what func() error) error {
	if m.done {
		return m.c.failed("send", errNotOpen)
	}
	if err := m.ctx.Err(); err != nil {
		return m.c.failed("send", context.Cause(m.ctx))
	}
	defer m.c.timeWrite(m.ctx, size)()
	return m.c.sendFailed(m.ctx, what())
}

// CloseWrite tells the peer that no more comes, while receiving goes on: what
// [ToEOF] needs, and a polite farewell in every format. The stream must have a
// CloseWrite of its own, as *net.TCPConn and *tls.Conn have.
func (c *Conn) CloseWrite() error {
	half, ok := c.rw.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("framing: close write: %T cannot close one direction: %w", c.rw, errors.ErrUnsupported)
	}
	return half.CloseWrite()
}

// Close closes the stream below, if it can be closed, and makes calls that wait
// return. What Queue left waiting is lost. Closing again does nothing.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if closer, ok := c.rw.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// Stats returns what has passed so far. Any goroutine may ask.
func (c *Conn) Stats() Stats {
	s := &c.stats
	return Stats{s.msgsIn.Load(), s.msgsOut.Load(), s.bytesIn.Load(), s.bytesOut.Load()}
}

// Stream returns the stream that the Conn was made with, for its addresses or
// its TLS state, or for a protocol that is no longer in messages. A handler
// that reads it directly is woken by [Server.Shutdown] with
// os.ErrDeadlineExceeded.
func (c *Conn) Stream() io.ReadWriter { return c.rw }

// RemoteAddr returns the peer's address, nil if the stream has none.
func (c *Conn) RemoteAddr() net.Addr {
	if nc, ok := c.rw.(interface{ RemoteAddr() net.Addr }); ok {
		return nc.RemoteAddr()
	}
	return nil
}

func (c *Conn) received(size int64) {
	c.readBy = time.Time{}
	c.stats.msgsIn.Add(1)
	c.stats.bytesIn.Add(size)
	if t := c.cfg.Trace; t != nil && t.Received != nil {
		t.Received(c, size)
	}
}

func (c *Conn) sent(size int64) {
	c.stats.msgsOut.Add(1)
	c.stats.bytesOut.Add(size)
	if t := c.cfg.Trace; t != nil && t.Sent != nil {
		t.Sent(c, size)
	}
}

// failed says what was tried with whom, except where a bare error is promised.
func (c *Conn) failed(op string, err error) error {
	if err == nil || err == io.EOF || err == ErrServerClosed {
		return err
	}
	if c.closed.Load() {
		err = net.ErrClosed
	}
	addr := c.RemoteAddr()
	if inner, ok := errors.AsType[*net.OpError](err); ok && inner.Addr != nil {
		addr = nil // it names the peer itself
	}
	return &opError{op, addr, err}
}

// An opError says what was tried with whom, in front of why it failed.
type opError struct {
	op   string
	addr net.Addr
	err  error
}

func (e *opError) Error() string {
	s := "framing: " + e.op
	if e.addr != nil {
		s += " " + e.addr.String()
	}
	return s + ": " + strings.TrimPrefix(e.err.Error(), "framing: ")
}

func (e *opError) Unwrap() error { return e.err }

func (c *Conn) sendFailed(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.Cause(ctx)
	}
	return c.failed("send", err)
}

func (c *Conn) lockSend(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return c.failed("send", context.Cause(ctx))
	}
	select {
	case c.sending <- struct{}{}:
		return nil
	default:
	}
	select {
	case c.sending <- struct{}{}:
		return nil
	case <-ctx.Done():
		return c.failed("send", context.Cause(ctx))
	}
}

func (c *Conn) unlockSend() { <-c.sending }

// past is a deadline that interrupts at once.
var past = time.Unix(1, 0)

// timeWrite sets the deadline for writing size bytes, to be cut short when ctx
// ends, and returns what must be called afterwards.
func (c *Conn) timeWrite(ctx context.Context, size int) (done func()) {
	d, ok := c.rw.(interface{ SetWriteDeadline(time.Time) error })
	if !ok {
		return func() {}
	}
	var by time.Time
	if c.cfg.WriteTimeout > 0 {
		by = time.Now().Add(c.cfg.WriteTimeout * time.Duration(1+size/bigBuffer))
	}
	_ = d.SetWriteDeadline(by)
	return interruptible(ctx, d.SetWriteDeadline)
}

// interruptible makes a wait end when ctx does, by setting a deadline in the
// past, until the function returned is called.
func interruptible(ctx context.Context, setDeadline func(time.Time) error) (done func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = setDeadline(past)
		close(over)
	})
	return func() {
		if !stop() {
			<-over // or it would interrupt the next wait
		}
	}
}

// timedReader is a Conn's stream as its Reader sees it: every read has its
// deadline and ends with the context of the call.
type timedReader Conn

func (t *timedReader) Read(p []byte) (int, error) {
	c := (*Conn)(t)
	d, ok := c.rw.(interface{ SetReadDeadline(time.Time) error })
	if !ok {
		return c.rw.Read(p)
	}
	for {
		idle := !c.r.begun()
		if err := c.arm(d.SetReadDeadline, idle); err != nil {
			return 0, err
		}
		done := interruptible(c.ctx, d.SetReadDeadline)
		n, err := c.rw.Read(p)
		done()
		if n > 0 {
			c.moved(n)
			return n, err
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if c.ctx.Err() != nil {
			return 0, context.Cause(c.ctx)
		}
		if c.interrupted(idle) {
			continue // by Shutdown: arm decides
		}
		if idle {
			return 0, fmt.Errorf("no message within %v: %w", c.cfg.IdleTimeout, err)
		}
		c.readBy = time.Time{} // whoever calls again waits anew
		return 0, fmt.Errorf("the message came to a halt for %v: %w", c.cfg.ReadTimeout, err)
	}
}

// arm sets the deadline for the next read.
func (c *Conn) arm(set func(time.Time) error, idle bool) error {
	var by time.Time
	switch {
	case idle && c.cfg.IdleTimeout > 0:
		if c.idleBy.IsZero() {
			c.idleBy = time.Now().Add(c.cfg.IdleTimeout)
		}
		by = c.idleBy
	case !idle && c.cfg.ReadTimeout > 0:
		if c.readBy.IsZero() {
			c.readBy = time.Now().Add(c.cfg.ReadTimeout)
			c.progress = 0
		}
		by = c.readBy
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining && idle {
		return ErrServerClosed
	}
	if !by.IsZero() || c.armed {
		_ = set(by)
	}
	c.armed = !by.IsZero() || c.ctx.Done() != nil // which may leave a deadline in the past
	return nil
}

// moved notes that n bytes have arrived.
func (c *Conn) moved(n int) {
	if c.progress += n; c.progress >= bigBuffer {
		c.readBy = time.Time{}
	}
}

// interrupted reports whether a read ended early because of drain.
func (c *Conn) interrupted(idle bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining && (idle || c.readBy.IsZero() || time.Now().Before(c.readBy))
}

// drain makes a Receive that waits for a message to begin return
// ErrServerClosed, now and from now on; a message that has begun is received.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.armed = true
	if d, ok := c.rw.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = d.SetReadDeadline(past)
	}
}
