package httpx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"
)

// maxInterim is how many responses 1xx may come before the final one.
const maxInterim = 20

var errInterim error = &ProtocolError{Status: http.StatusBadGateway, Reason: fmt.Sprintf("more than %d interim responses", maxInterim)}

// An Exchange is one request and its response, as [TransportTrace] sees it. Its
// times are zero for what has not happened yet; its bytes are HTTP's, not those
// of TLS and TCP.
type Exchange struct {
	Request *http.Request // as RoundTrip got it
	Status  int           // of the final response
	Conn    uint64        // which connection, numbered from 1
	Reused  bool          // it had carried another request before

	Started   time.Time // RoundTrip was called
	Connected time.Time // there was a connection
	Sent      time.Time // all of the request was handed over
	FirstByte time.Time // of the response
	Header    time.Time // the end of the final response's header
	Done      time.Time // the end of its body, or of the trouble

	BytesOut int64 // the request
	HeaderIn int64 // the response without its body
	BytesIn  int64 // the whole response, with framing and interim ones
	Err      error // why it failed
}

// A TransportTrace is told what happens, while it happens. Functions may be nil.
// They are called by several goroutines, must not keep them waiting, and may
// read an Exchange only while they are called.
type TransportTrace struct {
	Dialled  func(DialInfo)                  // a connection was made, or not
	Sent     func(*Exchange)                 // a request was sent, with its body
	Interim  func(*Exchange, *http.Response) // a response 1xx came
	Received func(*Exchange)                 // the header of the final response came
	Done     func(*Exchange)                 // the body came, or something failed
}

// A DialInfo tells about the making of a connection.
type DialInfo struct {
	Conn  uint64    // its number
	Addr  string    // host:port, of the proxy if there is one
	TLS   bool      // it is for https
	Start time.Time // when it began
	End   time.Time // TLS and a proxy's consent included
	Err   error     // why it failed
}

// A roundTrip is an exchange on its way. The goroutine that calls RoundTrip and
// then reads the body reads the connection; a goroutine of its own writes the
// request's body, if it has one, since the server may answer before it has come
// to its end.
type roundTrip struct {
	*clientConn
	x    *Exchange
	out  *http.Request
	ctx  context.Context
	stop func() bool // ends the watch over ctx

	proceed  chan bool     // whether the body is wanted, with Expect: 100-continue
	sent     chan struct{} // closed when a body has gone out, or not; nil if there is none
	bodyOnce sync.Once
	tunnel   bool // the connection is the caller's

	inBefore, outBefore int64

	mu       sync.Mutex // guards x and the following
	header   bool       // the final response's header is there
	written  bool       // the request has gone out, all of it
	writeErr error
	over     bool
}

// exchange sends out on c and reads the response's header. From here on c
// belongs to the exchange, which gives it back or closes it at its end.
func (c *clientConn) exchange(ctx context.Context, x *Exchange, out *http.Request) (*http.Response, error) {
	e := &roundTrip{clientConn: c, x: x, out: out, ctx: ctx, inBefore: c.in.Load(), outBefore: c.out.Load()}
	x.Conn, x.Reused, x.Connected = c.id, c.used, time.Now()
	e.stop = context.AfterFunc(ctx, func() { c.raw.Close() })
	f, err := writeRequestHeader(c.bw, out, c.key.proxy != "" && c.key.scheme == "http")
	if err != nil {
		e.end(err, false)
		return nil, err
	}
	e.write(f)
	resp, err := e.readResponse()
	if err != nil {
		err = e.explain(err)
		e.end(err, false)
		return nil, err
	}
	return resp, nil
}

// write sends what the header's writer has left in the buffer, and the body.
func (e *roundTrip) write(f framing) {
	if e.out.Body == nil || e.out.Body == http.NoBody {
		e.wrote(e.bw.Flush())
		return
	}
	// What lies in memory need not be sent off before more can be read.
	inMemory := e.out.GetBody != nil
	if hasToken(e.out.Header, "Expect", "100-continue") {
		e.proceed = make(chan bool, 1)
		inMemory = false
	}
	if !inMemory {
		if err := e.bw.Flush(); err != nil {
			e.closeBody()
			e.wrote(err)
			return
		}
	}
	e.sent = make(chan struct{})
	go func() {
		defer close(e.sent)
		defer e.closeBody()
		if e.proceed != nil && !waitProceed(e.proceed, limit(e.t.ContinueTimeout, time.Second)) {
			return
		}
		var body io.Reader = bodyReader{e.out.Body}
		if !inMemory {
			body = flushingReader{body, e.bw}
		}
		err := writeBody(e.bw, body, f, e.out.Trailer)
		if err == nil {
			err = e.bw.Flush()
		}
		e.wrote(err)
	}()
}

func waitProceed(proceed <-chan bool, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case wanted := <-proceed:
		return wanted
	case <-timer.C:
		return true // servers that do not know the expectation wait for the body
	}
}

// A flushingReader is a body that comes slowly: what has come of it goes out
// before there is a wait for more.
type flushingReader struct {
	r  io.Reader
	bw *bufio.Writer
}

func (f flushingReader) Read(p []byte) (int, error) {
	if err := f.bw.Flush(); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}

// wrote notes that the request is out, or why not, and lets the time begin in
// which its answer must come. After a failure that is a short one: a server may
// have answered before it closed.
func (e *roundTrip) wrote(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writeErr, e.written = err, err == nil
	if err == nil {
		e.x.Sent = time.Now()
		e.x.BytesOut = e.clientConn.out.Load() - e.outBefore
		if trace := e.t.Trace; trace != nil && trace.Sent != nil {
			trace.Sent(e.x)
		}
	}
	_, ours := errors.AsType[*bodyError](err)
	switch {
	case e.header || e.over:
	case ours || err == errBodyLength:
		e.raw.Close() // the server can wait for the rest in vain
	case err != nil:
		_ = e.nc.SetReadDeadline(time.Now().Add(time.Second))
	default:
		_ = e.nc.SetReadDeadline(deadline(e.t.HeaderTimeout, time.Minute))
	}
}

// readResponse reads the interim responses and the header of the final one.
func (e *roundTrip) readResponse() (*http.Response, error) {
	if _, err := e.br.Peek(1); err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.x.FirstByte = time.Now()
	e.mu.Unlock()
	for range maxInterim {
		resp, err := ReadResponse(e.br, e.x.Request, &e.t.Limits)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols && !asksFor(e.out) {
			return nil, &ProtocolError{Status: http.StatusBadGateway, Reason: "a response 101 that nobody asked for"}
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return e.final(resp), nil
		}
		if resp.StatusCode == http.StatusContinue {
			e.tellWriter(true)
		}
		if trace := e.t.Trace; trace != nil && trace.Interim != nil {
			e.mu.Lock()
			trace.Interim(e.x, resp)
			e.mu.Unlock()
		}
		if trace := httptrace.ContextClientTrace(e.ctx); trace != nil && trace.Got1xxResponse != nil {
			// How a proxy hears of them, to pass them on.
			if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
				return nil, err
			}
		}
	}
	return nil, errInterim
}

// tellWriter says once whether the body is wanted, to a writer that asks.
func (e *roundTrip) tellWriter(wanted bool) {
	select {
	case e.proceed <- wanted:
	default:
	}
}

// final makes resp the caller's.
func (e *roundTrip) final(resp *http.Response) *http.Response {
	resp.TLS = e.tls
	e.mu.Lock()
	e.header = true
	_ = e.nc.SetReadDeadline(time.Time{})
	e.x.Status, e.x.Header = resp.StatusCode, time.Now()
	e.x.HeaderIn = e.in.Load() - e.inBefore - int64(e.br.Buffered())
	if trace := e.t.Trace; trace != nil && trace.Received != nil {
		trace.Received(e.x)
	}
	e.mu.Unlock()
	e.tellWriter(false) // the answer is there without the body
	if resp.StatusCode == http.StatusSwitchingProtocols || e.out.Method == "CONNECT" && resp.StatusCode < 300 {
		e.tunnel = true
		_ = e.nc.SetDeadline(time.Time{})
		resp.Body = &tunnel{e}
		return resp
	}
	keep := !resp.Close && !e.out.Close && !hasToken(e.out.Header, "Connection", "close")
	if resp.Body == http.NoBody {
		e.end(nil, keep)
		return resp
	}
	resp.Body = &responseBody{e: e, body: resp.Body, keep: keep}
	return resp
}

// explain says what failed, and prefers a cause to its consequence.
func (e *roundTrip) explain(err error) error {
	e.mu.Lock()
	writeErr := e.writeErr
	e.mu.Unlock()
	doing := "read"
	if writeErr != nil {
		doing, err = "write", writeErr
	}
	if cause := context.Cause(e.ctx); cause != nil {
		err = cause
	}
	_, bad := errors.AsType[*ProtocolError](err)
	_, body := errors.AsType[*bodyError](err)
	failure := &TransportError{Op: doing, Addr: e.nc.RemoteAddr().String(), Err: unexpectedEOF(err)}
	failure.stale = e.used && e.in.Load() == e.inBefore && // not a byte of an answer
		!bad && !body && err != errBodyLength && e.ctx.Err() == nil && !failure.Timeout()
	return failure
}

// closeBody closes the request's body, once.
func (e *roundTrip) closeBody() {
	if e.out.Body != nil {
		e.bodyOnce.Do(func() { e.out.Body.Close() })
	}
}

// end is the end of the exchange. The connection is kept if keep is set, all of
// the request has gone out, and no byte has come too many.
func (e *roundTrip) end(err error, keep bool) {
	e.tellWriter(false) // should it still wait for a word of the server
	if keep && e.sent != nil {
		// Mostly the server has all of the body, and only the goroutine that sent
		// it has not noticed yet.
		select {
		case <-e.sent:
		case <-time.After(50 * time.Millisecond):
		}
	}
	e.mu.Lock()
	if e.over {
		e.mu.Unlock()
		return
	}
	e.over = true
	ahead := 0 // bytes read from the connection that are not the response's
	if !e.tunnel {
		ahead = e.br.Buffered()
	}
	keep = e.stop() && keep && ahead == 0
	wholly := e.written
	e.x.Done, e.x.Err = time.Now(), err
	e.x.BytesOut = e.clientConn.out.Load() - e.outBefore
	e.x.BytesIn = e.in.Load() - e.inBefore - int64(ahead)
	if trace := e.t.Trace; trace != nil && trace.Done != nil {
		trace.Done(e.x)
	}
	e.mu.Unlock()
	if keep && wholly {
		e.t.put(e.clientConn)
		return
	}
	e.t.drop(e.clientConn)
	if !wholly {
		e.closeBody() // it may wait for something to send that nobody wants any more
	}
}

// A responseBody gives the connection back at its end.
type responseBody struct {
	e    *roundTrip
	body io.ReadCloser
	keep bool

	closed  atomic.Bool // Close may come while a Read waits
	reading sync.Mutex
	err     error // how it ended
}

// Read implements [io.Reader].
func (b *responseBody) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if b.err != nil {
		return 0, b.err
	}
	_ = b.e.nc.SetReadDeadline(deadline(b.e.t.BodyTimeout, time.Minute))
	n, err := b.body.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		b.e.end(nil, b.keep)
	case b.closed.Load():
		err = http.ErrBodyReadAfterClose
	default:
		err = b.e.explain(err)
		b.e.end(err, false)
	}
	b.err = err
	return n, err
}

// Close ends the exchange. If the rest of the body has already come, the
// connection can be used again.
func (b *responseBody) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if !b.reading.TryLock() {
		b.e.raw.Close() // ends the Read that waits
		b.reading.Lock()
	}
	defer b.reading.Unlock()
	if b.err == nil {
		_ = b.e.nc.SetReadDeadline(longAgo) // nothing here may wait
		scratch := make([]byte, 512)
		for b.err == nil && b.e.br.Buffered() > 0 {
			_, b.err = b.body.Read(scratch)
		}
	}
	b.e.end(nil, b.keep && b.err == io.EOF)
	return nil
}

// longAgo is a deadline that is over.
var longAgo = time.Unix(1, 0)

// A tunnel is the connection after a 101, or a CONNECT.
type tunnel struct{ e *roundTrip }

func (t *tunnel) Read(p []byte) (int, error)  { return t.e.br.Read(p) }
func (t *tunnel) Write(p []byte) (int, error) { return t.e.nc.Write(p) }
func (t *tunnel) Close() error                { t.e.end(nil, false); return nil }
