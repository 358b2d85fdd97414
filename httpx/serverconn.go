package httpx

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	bufferSize  = 4 << 10   // of a connection's reader and writer
	writePiece  = 128 << 10 // over TLS this much is written within one WriteTimeout
	minAccepted = 16 << 10  // otherwise this much, or all, is accepted within one
	maxDrain    = 256 << 10 // of a body that the handler left is read away
	maxKept     = 16 << 10  // of memory for headers between requests
	lingerTime  = time.Second
	bodyMinRate = 512 // bytes a second
)

// A conn is one connection of a [Server]. It is the io.Reader and io.Writer under
// its buffers, where the deadlines are set.
type conn struct {
	srv    *Server
	nc     net.Conn
	raw    net.Conn     // what is below TLS; closing it never waits
	tcp    *net.TCPConn // nc, if it is one: it has sendfile
	br     *bufio.Reader
	bw     *bufio.Writer
	ctx    context.Context // of the connection
	cancel context.CancelCauseFunc
	tls    *tls.ConnectionState
	remote string
	state  atomic.Int32

	head   *headReader
	parsed http.Request // as it was read; the handler has a copy
	fields []byte       // memory for a response's fields
	held   []byte       // memory for a response's first bytes
	names  []string     // memory for sorting

	phase    atomic.Int32  // which deadline the next read has
	waited   time.Duration // for the body so far
	received int64         // of the body so far
	ownWrite atomic.Bool   // the handler has set the deadline for writing

	hijacked bool // the connection is the handler's

	watchMu  sync.Mutex
	watching chan struct{} // closed when the watcher has ended; nil without one
	settle   *time.Timer   // begins the watch
}

// States of a connection, for those who would close an idle one.
const (
	connFresh int32 = iota // has not sent a byte yet
	connIdle               // waits for a request after the first
	connBusy
	connClosed
)

// The phases of a connection: which deadline its next read has.
const (
	firstByte   int32 = iota // of a new connection
	nextByte                 // of a request after the first
	inHeader                 // a request has begun
	inHeaderSet              // and its deadline is set
	inBody
	own // the handler's own, or none
)

func newConn(ctx context.Context, s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, remote: nc.RemoteAddr().String()}
	c.raw = nc
	if tc, ok := nc.(*tls.Conn); ok {
		c.raw = tc.NetConn()
	}
	c.tcp, _ = nc.(*net.TCPConn)
	c.br, c.bw = bufio.NewReaderSize(c, bufferSize), bufio.NewWriterSize(c, bufferSize)
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.head = newHeadReader(c.br, &s.Limits, false)
	return c
}

// Read sets the deadline that the phase asks for and reads.
func (c *conn) Read(p []byte) (int, error) {
	s := c.srv
	switch c.phase.Load() {
	case own, inHeaderSet:
		return c.nc.Read(p)
	case inBody:
		return c.readBody(p)
	case inHeader: // a second read: the request did not come in one piece
		c.setReadDeadline(time.Now(), s.headerTimeout())
		c.phase.Store(inHeaderSet)
		return c.nc.Read(p)
	case firstByte:
		c.setReadDeadline(time.Now(), s.headerTimeout())
	case nextByte:
		c.setReadDeadline(time.Now(), orDefault(s.IdleTimeout, time.Minute))
	}
	n, err := c.nc.Read(p)
	if n > 0 {
		c.phase.Store(inHeader)
	}
	return n, err
}

// readBody lets the client pause for BodyTimeout, while its pauses together are
// within what the bytes it sent have earned it.
func (c *conn) readBody(p []byte) (int, error) {
	limit := c.srv.bodyTimeout()
	now := time.Now()
	earned := limit + time.Duration(c.received/bodyMinRate)*time.Second
	if limit > 0 {
		c.setReadDeadline(now, min(limit, max(earned-c.waited, 1)))
	} else {
		c.setReadDeadline(now, 0)
	}
	n, err := c.nc.Read(p)
	c.waited += time.Since(now)
	c.received += int64(n)
	return n, err
}

func (c *conn) setReadDeadline(now time.Time, limit time.Duration) {
	var deadline time.Time
	if limit > 0 {
		deadline = now.Add(limit)
	}
	_ = c.nc.SetReadDeadline(deadline) // the read itself will fail
}

// Write lets the client take its time as long as it takes something. Over TLS the
// pieces are small, because a record cannot go on after a deadline.
func (c *conn) Write(p []byte) (written int, err error) {
	for len(p) > 0 && err == nil {
		piece := p
		if c.tls != nil {
			piece = p[:min(len(p), writePiece)]
		}
		c.setWriteDeadline()
		var n int
		n, err = c.nc.Write(piece)
		err = c.excuse(err, int64(n))
		written, p = written+n, p[n:]
	}
	return written, err
}

// excuse forgets a missed deadline if the client has accepted enough until then.
func (c *conn) excuse(err error, accepted int64) error {
	if c.tls == nil && !c.ownWrite.Load() && accepted >= minAccepted && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (c *conn) setWriteDeadline() {
	if c.ownWrite.Load() {
		return
	}
	if limit := orDefault(c.srv.WriteTimeout, time.Minute); limit > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(limit))
	}
}

// abort ends all that the connection does. s.mu may be held.
func (c *conn) abort() {
	c.cancel(http.ErrServerClosed)
	c.state.Store(connClosed)
	c.raw.Close()
}

// serve answers one request after another.
func (c *conn) serve() {
	defer func() {
		c.cancel(nil)
		if !c.hijacked {
			c.nc.Close()
		}
	}()
	if tc, ok := c.nc.(*tls.Conn); ok && !c.handshake(tc) {
		return
	}
	for c.await() {
		c.parsed = http.Request{}
		if cap(c.head.text) > maxKept {
			c.head.text = nil // one long header is no reason to keep so much
		}
		if err := c.head.readRequest(&c.parsed); err != nil {
			c.refuse(err)
			c.linger()
			return
		}
		if !c.answer(&c.parsed) {
			return
		}
	}
}

// await waits for the first byte of a request, and reports false if none comes.
func (c *conn) await() bool {
	state := connFresh
	if c.phase.Load() != firstByte {
		state = connIdle
		c.phase.Store(nextByte)
	}
	if c.br.Buffered() > 0 { // sent before we had answered: a pipeline
		c.phase.Store(inHeader)
		return true
	}
	c.state.CompareAndSwap(connBusy, state)
	if c.srv.closed.Load() || state == connIdle && c.srv.crowded.Load() > 0 {
		return false
	}
	_, err := c.br.Peek(1)
	return err == nil && c.state.CompareAndSwap(state, connBusy)
}

func (c *conn) handshake(tc *tls.Conn) bool {
	c.setReadDeadline(time.Now(), c.srv.headerTimeout())
	c.setWriteDeadline()
	if err := tc.HandshakeContext(c.ctx); err != nil {
		// Somebody wrote http:// where https:// was meant, and shall be told.
		if re, ok := errors.AsType[tls.RecordHeaderError](err); ok && re.Conn != nil && looksLikeHTTP(re.RecordHeader) {
			_, _ = io.WriteString(re.Conn, refusal(&ProtocolError{400, "this port speaks TLS: use https"}, ""))
		}
		return false
	}
	state := tc.ConnectionState()
	c.tls = &state
	return true
}

func looksLikeHTTP(record [5]byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "DELET", "OPTIO", "PATCH", "CONNE"}, string(record[:]))
}

// refuse answers a request that could not be read, if its sender may still be
// there.
func (c *conn) refuse(err error) {
	pe, ok := errors.AsType[*ProtocolError](err)
	switch {
	case ok:
	case errors.Is(err, os.ErrDeadlineExceeded):
		pe = &ProtocolError{http.StatusRequestTimeout, "the request did not come in time"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		pe = &ProtocolError{http.StatusBadRequest, "the request ends in the middle"}
	default:
		return
	}
	c.srv.stats.refused.Add(1)
	if t := c.srv.Trace; t != nil && t.Refused != nil {
		t.Refused(c.nc, pe)
	}
	_, _ = c.bw.WriteString(refusal(pe, c.srv.clock.text()))
	_ = c.bw.Flush()
}

// refusal is the answer to a request that no handler sees.
func refusal(pe *ProtocolError, date string) string {
	text := fmt.Sprintf("%d %s: %s\n", pe.Status, http.StatusText(pe.Status), pe.Reason)
	if date != "" {
		date = "Date: " + date + "\r\n"
	}
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		pe.Status, http.StatusText(pe.Status), date, len(text), text)
}

// linger tells the client that this was the last answer and waits until it has
// closed its side. A close with bytes unread would reset the connection, which
// can destroy the answer before the client has read it (RFC 9112 section 9.6).
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.phase.Store(own)
	c.setReadDeadline(time.Now(), lingerTime)
	_, _ = io.CopyN(io.Discard, c.nc, maxDrain)
}

// answer runs the handler for one request. It reports whether another may follow.
func (c *conn) answer(r *http.Request) (again bool) {
	c.phase.Store(inBody)
	c.waited, c.received = 0, 0
	w := newResponse(c, r)
	if r.ProtoMinor > 0 && len(r.Header["Expect"]) > 0 {
		if !strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
			c.refuse(&ProtocolError{http.StatusExpectationFailed, "an expectation other than 100-continue"})
			c.linger()
			return false
		}
		if w.body != nil {
			w.awaitsContinue.Store(true)
			w.body.onRead = w.sayContinue
		}
	}
	c.srv.stats.requests.Add(1)
	w.call(c.srv.handler())
	again = w.finish()
	if t := c.srv.Trace; t != nil && t.Answered != nil && w.status != 0 {
		t.Answered(w.req, w.status, w.written)
	}
	if !again && !c.hijacked && !w.failed {
		c.linger()
	}
	return again
}

// call runs the handler; a panic in it ends its own connection only.
func (w *response) call(h http.Handler) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		w.close = true
		if v != http.ErrAbortHandler {
			w.c.srv.stats.panics.Add(1)
			w.c.srv.logger().Error("panic in handler", "peer", w.c.remote, "uri", w.req.RequestURI, "panic", v, "stack", string(debug.Stack()))
			if w.status == 0 && !w.c.hijacked {
				clear(w.header)
				http.Error(w, "500 Internal Server Error", http.StatusInternalServerError)
				return
			}
		}
		w.failed = true
	}()
	if w.req.RequestURI == "*" { // OPTIONS * asks about the server, not a resource
		w.header["Content-Length"] = []string{"0"}
		return
	}
	h.ServeHTTP(w, w.req)
}

// watch reads ahead in the background to see whether the client has gone, and
// then calls gone. What it reads stays in the buffer.
func (c *conn) watch(gone func()) {
	c.watchMu.Lock()
	defer c.watchMu.Unlock()
	if c.watching != nil || c.hijacked {
		return
	}
	c.phase.Store(own)
	c.setReadDeadline(time.Time{}, 0)
	done := make(chan struct{})
	c.watching = done
	c.settle = time.AfterFunc(settleTime, func() { // unwatch waits for it
		defer close(done)
		_, err := c.br.Peek(c.br.Buffered() + 1)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && err != bufio.ErrBufferFull {
			gone()
		}
	})
}

// unwatch ends the watcher.
func (c *conn) unwatch() {
	c.watchMu.Lock()
	defer c.watchMu.Unlock()
	if c.watching == nil {
		return
	}
	if !c.settle.Stop() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // long ago
		<-c.watching
	}
	c.watching = nil
	c.setReadDeadline(time.Time{}, 0)
}
