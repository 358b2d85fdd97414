package httpx

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A response is the [http.ResponseWriter] of one request, and its context.
//
// A body of unknown length is held back for a while, and the header with it: if
// it turns out to be short its length is known when the handler returns.
type response struct {
	requestContext
	req    *http.Request
	header http.Header

	status  int    // 0 until WriteHeader
	fields  []byte // what the handler's header was then
	said    saidFields
	length  int64       // from the handler's Content-Length, or -1
	written int64       // bytes of the body given to Write
	held    []byte      // of a body of unknown length, to be sent in one piece
	first   sync.Mutex  // guards what is written in front of the header: 100 Continue
	sent    atomic.Bool // the header is in the connection's buffer
	chunked bool
	close   bool // the connection ends with this response
	failed  bool // the handler panicked
	done    atomic.Bool

	awaitsContinue atomic.Bool // the client holds its body back
}

// saidFields are the fields that the server would else add.
type saidFields struct {
	contentType, contentEncoding, date bool
	keepAlive                          string
	trailer                            []string // names
}

const maxHeld = 4 << 10

var errHandlerDone = errors.New("httpx: the handler has returned")

func newResponse(c *conn, r *http.Request) *response {
	w := &response{header: make(http.Header, 8), length: -1, held: c.held[:0], close: r.Close}
	w.c = c
	w.req = r.WithContext(w)
	w.req.RemoteAddr, w.req.TLS = c.remote, c.tls
	if b, ok := r.Body.(*body); ok {
		w.body = b
		b.trailer, b.onEnd = &w.req.Trailer, w.bodyEnded
	}
	return w
}

// Header implements [http.ResponseWriter].
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("httpx: WriteHeader with status " + strconv.Itoa(status))
	}
	switch {
	case w.c.hijacked || w.done.Load() || w.status != 0:
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.interim(status)
		return
	}
	w.status = status
	w.takeFields()
}

// interim writes a response of 1xx, after which the real one comes. HTTP/1.0 has
// none (RFC 9110 section 15.2).
func (w *response) interim(status int) {
	if w.req.ProtoMinor == 0 {
		return
	}
	w.first.Lock()
	defer w.first.Unlock()
	if status == http.StatusContinue {
		w.awaitsContinue.Store(false)
	}
	w.takeFields()
	bw := w.c.bw
	_, _ = bw.Write(appendStatusLine(bw.AvailableBuffer(), status, ""))
	_, _ = bw.Write(w.fields)
	_, _ = bw.WriteString("\r\n")
	_ = bw.Flush()
}

// sayContinue asks the client for the body it holds back, unless it sends already.
func (w *response) sayContinue() {
	w.first.Lock()
	defer w.first.Unlock()
	if !w.awaitsContinue.Load() || w.sent.Load() {
		return
	}
	w.awaitsContinue.Store(false)
	if w.c.br.Buffered() > 0 {
		return
	}
	_, _ = w.c.bw.WriteString("HTTP/1.1 100 Continue\r\n\r\n")
	_ = w.c.bw.Flush()
}

// takeFields writes the handler's header down as it is now, and notes what of it
// the server has to know.
func (w *response) takeFields() {
	c := w.c
	b := c.fields[:0]
	w.said, w.length = saidFields{}, -1
	c.names = c.names[:0]
	for name := range w.header {
		c.names = append(c.names, name)
	}
	slices.Sort(c.names)
	for _, name := range c.names {
		values := w.header[name]
		switch http.CanonicalHeaderKey(name) { // a second opinion about the end must not slip through
		case "Content-Length":
			if n, err := strconv.ParseUint(strings.Join(values, ","), 10, 63); err == nil {
				w.length = int64(n)
			}
			continue
		case "Transfer-Encoding":
			continue // the server's own affair
		case "Connection":
			w.close = w.close || hasToken(w.header, name, "close")
			if w.close || hasToken(w.header, name, "keep-alive") {
				continue // the server says itself what it does
			}
		case "Keep-Alive":
			w.said.keepAlive = strings.Join(values, ", ")
			continue
		case "Trailer":
			for trailer := range announced(http.Header{"Trailer": values}) {
				w.said.trailer = append(w.said.trailer, trailer)
			}
		case "Content-Type":
			w.said.contentType = true
		case "Content-Encoding":
			w.said.contentEncoding = len(values) > 0 && values[0] != ""
		case "Date":
			w.said.date = true
		}
		b = appendValidField(b, name, values)
	}
	w.fields, c.fields = b, b
}

// appendValidField leaves out what no field may have: a name that is not one, and
// line ends in values, which would split the response.
func appendValidField(b []byte, name string, values []string) []byte {
	if !isToken(name) {
		return b
	}
	for _, value := range values {
		b = append(b, name...)
		b = append(b, ": "...)
		start := len(b)
		b = append(b, value...)
		for i := start; i < len(b); i++ {
			if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
				b[i] = ' '
			}
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// Write implements [http.ResponseWriter].
func (w *response) Write(p []byte) (int, error) {
	if err := w.beforeBody(int64(len(p))); err != nil {
		return 0, err
	}
	w.written += int64(len(p))
	if w.length < 0 && len(w.held)+len(p) <= maxHeld {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	if err := w.release(p); err != nil {
		return 0, err
	}
	if w.length < 0 && len(p) <= maxHeld {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	return w.writeBody(p)
}

// isTunnel reports whether a CONNECT was granted: what follows is no HTTP
// (RFC 9110 section 9.3.6).
func (w *response) isTunnel() bool { return w.req.Method == "CONNECT" && w.status/100 == 2 }

func (w *response) bodyAllowed() bool { return bodyAllowed(w.status) && !w.isTunnel() }

// beforeBody checks that n more bytes may be written.
func (w *response) beforeBody(n int64) error {
	switch {
	case w.c.hijacked:
		return http.ErrHijacked
	case w.done.Load():
		return errHandlerDone
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case !w.bodyAllowed():
		return http.ErrBodyNotAllowed
	case w.length >= 0 && n > w.length-w.written:
		return http.ErrContentLength
	}
	return nil
}

// writeBody writes bytes of the body behind the header.
func (w *response) writeBody(p []byte) (int, error) {
	switch {
	case w.req.Method == "HEAD":
		return len(p), nil
	case w.chunked:
		return chunkWriter{w.c.bw}.Write(p)
	}
	return w.c.bw.Write(p)
}

// release writes what was held back, and before it the header, if that has not
// been sent; next is what comes then.
func (w *response) release(next []byte) error {
	if !w.sent.Load() && len(w.held) > 0 {
		w.send(w.held)
	} else if !w.sent.Load() {
		w.send(next)
	}
	_, err := w.writeBody(w.held)
	w.held = w.held[:0]
	return err
}

// send writes the header; body is the first of the body, if any is known. How the
// body is framed is decided here (RFC 9112 section 6.3).
func (w *response) send(body []byte) {
	w.first.Lock()
	defer w.first.Unlock()
	w.sent.Store(true)
	c, r := w.c, w.req
	b := appendStatusLine(c.bw.AvailableBuffer(), w.status, "")
	if !w.said.date {
		b = append(b, "Date: "...)
		b = append(b, c.srv.clock.text()...)
		b = append(b, "\r\n"...)
	}
	b = append(b, w.fields...)
	if !w.said.contentType && !w.said.contentEncoding && len(body) > 0 {
		b = append(b, "Content-Type: "...)
		b = append(b, http.DetectContentType(body)...)
		b = append(b, "\r\n"...)
	}
	if w.length < 0 && w.done.Load() && !w.hasTrailer() && w.bodyAllowed() &&
		(r.Method != "HEAD" || len(body) > 0) {
		w.length = int64(len(body))
	}
	switch {
	case w.length >= 0 && (w.bodyAllowed() || w.status == http.StatusNotModified):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, w.length, 10)
		b = append(b, "\r\n"...)
	case !w.bodyAllowed() || r.Method == "HEAD":
	case r.ProtoMinor > 0:
		w.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	default:
		w.close = true // the end of the connection is the end of the body
	}
	w.close = w.close || w.isLast()
	switch {
	case w.status == http.StatusSwitchingProtocols:
	case w.close:
		b = append(b, "Connection: close\r\n"...)
	case w.said.keepAlive != "":
		b = appendValidField(b, "Keep-Alive", []string{w.said.keepAlive})
		fallthrough
	case r.ProtoMinor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	b = append(b, "\r\n"...)
	_, _ = c.bw.Write(b) // an error comes back from Flush
}

// Flush implements [http.Flusher].
func (w *response) Flush() { _ = w.FlushError() }

// FlushError writes what was held back; the length of the body is then unknown.
func (w *response) FlushError() error {
	if err := w.beforeBody(0); err != nil && err != http.ErrBodyNotAllowed {
		return err
	}
	if err := w.release(nil); err != nil {
		return err
	}
	return w.c.bw.Flush()
}

// Hijack implements [http.Hijacker].
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.c
	switch {
	case c.hijacked:
		return nil, nil, http.ErrHijacked
	case w.done.Load():
		return nil, nil, errHandlerDone
	}
	if w.status != 0 {
		if err := w.FlushError(); err != nil {
			return nil, nil, err
		}
	}
	c.watchMu.Lock()
	c.hijacked = true
	c.watchMu.Unlock()
	c.unwatch()
	c.phase.Store(own)
	_ = c.nc.SetDeadline(time.Time{})
	return c.nc, bufio.NewReadWriter(c.br, bufio.NewWriterSize(c.nc, bufferSize)), nil
}

// SetReadDeadline is for [http.ResponseController]. It holds for this request, in
// place of the server's.
func (w *response) SetReadDeadline(deadline time.Time) error {
	w.c.phase.Store(own)
	return w.c.nc.SetReadDeadline(deadline)
}

// SetWriteDeadline is for [http.ResponseController]. It holds for this request, in
// place of the server's.
func (w *response) SetWriteDeadline(deadline time.Time) error {
	w.c.ownWrite.Store(true)
	return w.c.nc.SetWriteDeadline(deadline)
}

// EnableFullDuplex is for [http.ResponseController]. It is always so here.
func (w *response) EnableFullDuplex() error { return nil }

// finish ends the response when the handler has returned, and reports whether
// another request may follow on the connection.
func (w *response) finish() (again bool) {
	c := w.c
	w.end()
	if c.hijacked {
		return false
	}
	if w.failed {
		w.cutOff()
		return false
	}
	if b := w.body; b != nil && !b.whole.Load() { // a deadline of the handler's ends with it
		c.phase.Store(inBody)
		c.setReadDeadline(time.Now(), c.srv.bodyTimeout())
	}
	if w.status == 0 {
		if err := w.bodyError(); err != nil {
			c.refuse(err)
			return false
		}
		w.WriteHeader(http.StatusOK)
	}
	w.done.Store(true)
	if w.release(nil) != nil {
		return false
	}
	c.held = w.held // keeps the memory it has grown to
	whole := w.length < 0 || w.written == w.length || w.req.Method == "HEAD" || !w.bodyAllowed()
	if w.chunked {
		_ = chunkWriter{c.bw}.end(w.trailer())
	}
	if c.bw.Flush() != nil || !whole {
		w.close = true
	}
	if w.req.MultipartForm != nil {
		_ = w.req.MultipartForm.RemoveAll()
	}
	if c.ownWrite.CompareAndSwap(true, false) {
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	return !w.close && w.drain()
}

// cutOff sends what the handler had written before it failed, and sees to it that
// the client does not take that for the whole: a body without a length ends with
// the connection, unless that is reset.
func (w *response) cutOff() {
	if w.status == 0 || w.release(nil) != nil || w.c.bw.Flush() != nil || w.chunked || w.length >= 0 {
		return
	}
	if tcp, ok := w.c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	w.c.raw.Close() // over TLS without the farewell that says: this is all
}

// bodyError is what was wrong with the request's body, as far as it was read.
func (w *response) bodyError() error {
	if w.body == nil {
		return nil
	}
	w.body.mu.Lock()
	defer w.body.mu.Unlock()
	if _, ok := errors.AsType[*ProtocolError](w.body.err); ok || errors.Is(w.body.err, os.ErrDeadlineExceeded) {
		return w.body.err
	}
	return nil
}

// isLast reports whether the connection has to end with this response although
// neither side has asked for that.
func (w *response) isLast() bool {
	if b := w.body; b != nil && !b.whole.Load() && (b.broken.Load() || w.req.ContentLength > maxDrain) {
		return true // the rest of the request will not be read
	}
	s := w.c.srv
	return w.awaitsContinue.Load() || // the rest may come or not
		w.status == http.StatusSwitchingProtocols || w.isTunnel() ||
		s.closed.Load() || s.crowded.Load() > 0
}

// drain reads away what the handler has left of the request's body, if that is
// not too much.
func (w *response) drain() bool {
	b := w.body
	if b == nil {
		return true
	}
	b.closed.Store(true)
	if b.whole.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onRead = nil
	scratch := make([]byte, bufferSize)
	for n := 0; n <= maxDrain; {
		k, err := b.read(scratch)
		n += k
		if err != nil {
			return err == io.EOF
		}
	}
	return false
}

// hasTrailer reports whether there may be fields behind the body.
func (w *response) hasTrailer() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return len(w.said.trailer) > 0
}

// trailer collects the fields to be sent behind the body: those announced before,
// and those with [http.TrailerPrefix].
func (w *response) trailer() http.Header {
	trailer := make(http.Header)
	add := func(name string, values []string) {
		field := http.Header{name: values}
		if len(values) > 0 && httpguts.ValidTrailerHeader(name) && checkFields(field) == nil {
			trailer[name] = values
		}
	}
	for _, name := range w.said.trailer {
		add(name, w.header[name])
	}
	for key, values := range w.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			add(http.CanonicalHeaderKey(name), values)
		}
	}
	return trailer
}
