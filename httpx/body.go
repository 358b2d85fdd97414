package httpx

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// framing is how the end of a body is found (RFC 9112 section 6.3).
type framing struct {
	chunked bool
	length  int64 // -1 when it is not known before: chunked, or to the end of the connection
}

// framing decides where the message's body ends. A message that says it in two
// ways is refused, since another reader might choose the other one: that is how
// requests are smuggled (RFC 9112 section 11.2).
func (h *headReader) framing(header http.Header, major, minor int) (framing, error) {
	codings, lengths := header["Transfer-Encoding"], header["Content-Length"]
	if len(codings) > 0 {
		switch {
		case major == 1 && minor == 0:
			return framing{}, h.fail(400, "Transfer-Encoding in HTTP/1.0")
		case len(lengths) > 0:
			return framing{}, h.fail(400, "both Transfer-Encoding and Content-Length")
		}
		if err := h.onlyChunked(strings.Join(codings, ",")); err != nil {
			return framing{}, err
		}
		delete(header, "Transfer-Encoding")
		return framing{chunked: true, length: -1}, nil
	}
	if len(lengths) == 0 {
		return framing{length: -1}, nil
	}
	if len(lengths) > 1 {
		return framing{}, h.fail(400, "Content-Length more than once")
	}
	s := lengths[0]
	for i := range len(s) {
		if !isDigit(s[i]) {
			return framing{}, h.fail(400, "Content-Length %q is not a number", s)
		}
	}
	if s == "" {
		return framing{}, h.fail(400, "Content-Length is empty")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || h.lim.MaxBody > 0 && n > h.lim.MaxBody {
		return framing{}, h.fail(413, "a body of %s bytes", s)
	}
	return framing{length: n}, nil
}

// onlyChunked refuses every list of transfer codings but "chunked".
func (h *headReader) onlyChunked(list string) error {
	codings := strings.Split(strings.ToLower(list), ",")
	for i := range codings {
		codings[i] = strings.Trim(codings[i], " \t")
	}
	last := len(codings) - 1
	switch {
	case codings[last] != "chunked":
		return h.fail(400, "the last transfer coding is not chunked")
	case slices.Contains(codings[:last], "chunked"):
		return h.fail(400, "chunked twice")
	case last > 0:
		return h.fail(501, "transfer coding %q: only chunked is known", codings[0])
	}
	return nil
}

// A body reads what framing says, and nothing after it. It is safe against a
// handler that leaves a goroutine reading when it returns.
type body struct {
	mu    sync.Mutex
	head  headReader // br and limits; reads the trailer
	state bodyState
	left  int64 // bytes of the body, or of the chunk, that are still to come
	total int64 // bytes so far, for MaxBody, of all chunks or of a body without a length
	ext   int64 // bytes of chunk extensions beyond those of data
	err   error // how it ended; io.EOF: whole

	whole  atomic.Bool // err is io.EOF
	broken atomic.Bool // err is another
	closed atomic.Bool

	trailer *http.Header // where the trailer goes
	onRead  func()       // if not nil, called before the first read
	onEnd   func()       // if not nil, called when the last byte has been read
}

type bodyState int8

const (
	inLength bodyState = iota // left bytes to come
	toClose
	atChunk // a chunk's size line comes
	inChunk
	atChunkEnd // the CR LF behind a chunk's bytes comes
)

func newBody(h *headReader, f framing, trailer *http.Header) *body {
	b := &body{left: f.length, trailer: trailer}
	b.head = headReader{br: h.br, lim: h.lim, response: h.response}
	switch {
	case f.chunked:
		b.state = atChunk
	case f.length < 0:
		b.state = toClose
	}
	return b
}

// Read implements [io.Reader]. The end of the connection before the end of the
// body is io.ErrUnexpectedEOF, a broken or too long one a *ProtocolError.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.onRead != nil {
		b.onRead()
		b.onRead = nil
	}
	switch b.state {
	case toClose:
		n, err = b.readToClose(p)
	case inLength:
		n, err = b.readLeft(p)
		if b.left == 0 && err == nil {
			err = io.EOF
		}
	default:
		n, err = b.readChunked(p)
	}
	b.err = err
	switch {
	case err == io.EOF:
		b.whole.Store(true)
		if b.onEnd != nil {
			b.onEnd()
		}
	case err != nil:
		b.broken.Store(true)
	}
	return n, err
}

// readToClose reads what comes until the connection ends.
func (b *body) readToClose(p []byte) (int, error) {
	n, err := b.head.br.Read(p)
	b.total += int64(n)
	if limit := b.head.lim.MaxBody; limit > 0 && b.total > limit {
		return n - int(b.total-limit), b.head.fail(413, "a body of more than %d bytes", limit)
	}
	return n, err
}

// readLeft reads at most the bytes that are left.
func (b *body) readLeft(p []byte) (int, error) {
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.head.br.Read(p)
	b.left -= int64(n)
	return n, unexpectedEOF(err)
}

// readChunked reads from the present chunk, or from the next one
// (RFC 9112 section 7.1).
func (b *body) readChunked(p []byte) (int, error) {
	if b.state == atChunkEnd {
		b.head.text = b.head.text[:0]
		if _, err := b.head.readLine(0); err == errLineTooLong {
			return 0, b.head.fail(400, "a chunk is longer than it says")
		} else if err != nil {
			return 0, unexpectedEOF(err)
		}
		b.state = atChunk
	}
	if b.state == atChunk {
		size, err := b.chunkSize()
		if err != nil {
			return 0, err
		}
		if size == 0 {
			return 0, b.readTrailer()
		}
		if limit := b.head.lim.MaxBody; limit > 0 && size > limit-b.total {
			return 0, b.head.fail(413, "a body of more than %d bytes", limit)
		}
		b.state, b.left = inChunk, size
		b.total += size
	}
	n, err := b.readLeft(p)
	if b.left == 0 {
		b.state = atChunkEnd
	}
	return n, err
}

const maxChunkLine = 1024

// chunkSize reads the line in front of a chunk. Extensions are skipped, but
// checked: they were used to smuggle.
func (b *body) chunkSize() (int64, error) {
	h := &b.head
	h.text = h.text[:0]
	if _, err := h.readLine(maxChunkLine); err == errLineTooLong {
		return 0, h.fail(400, "a chunk's first line is longer than %d bytes", maxChunkLine)
	} else if err != nil {
		return 0, unexpectedEOF(err)
	}
	line := h.text
	var size int64
	i := 0
	for ; i < len(line); i++ {
		d := hexDigit(line[i])
		if d < 0 {
			break
		}
		if i == 16 || size > (1<<63-1)>>4 { // zeros in front count: others read no more digits
			return 0, h.fail(400, "a chunk's size is too large")
		}
		size = size<<4 | int64(d)
	}
	if i == 0 {
		return 0, h.fail(400, "a chunk without a size")
	}
	ext := line[i:]
	if len(ext) == 0 {
		return size, nil
	}
	b.ext = max(0, b.ext+int64(len(ext))-size)
	if b.ext > int64(h.lim.MaxHeader) {
		return 0, h.fail(400, "chunk extensions of %d bytes more than data", h.lim.MaxHeader)
	}
	for len(ext) > 0 && isSpace(ext[0]) {
		ext = ext[1:]
	}
	if len(ext) == 0 || ext[0] != ';' || !validValue(ext) {
		return 0, h.fail(400, "a chunk's size is not a number")
	}
	return size, nil
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// readTrailer reads the fields behind the last chunk. Those that would change
// what was already decided by the header are left out (RFC 9110 section 6.5.1).
func (b *body) readTrailer() error {
	fields, err := b.head.readFields()
	if err != nil {
		return err
	}
	for name, values := range fields {
		if !httpguts.ValidTrailerHeader(name) {
			continue
		}
		if *b.trailer == nil {
			*b.trailer = make(http.Header)
		}
		(*b.trailer)[name] = values
	}
	return io.EOF
}

// Close ends reading; it does not read the rest.
func (b *body) Close() error {
	b.closed.Store(true)
	return nil
}

// announced makes the map of the names that the Trailer field announces, with
// nil values as net/http has it, and removes the field.
func announced(header http.Header) http.Header {
	var trailer http.Header
	for _, line := range header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidTrailerHeader(name) {
				continue
			}
			if trailer == nil {
				trailer = make(http.Header)
			}
			trailer[name] = nil
		}
	}
	delete(header, "Trailer")
	return trailer
}

// A chunkWriter writes each piece as a chunk.
type chunkWriter struct{ w *bufio.Writer }

func (c chunkWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // a chunk of no bytes would be the last
	}
	line := strconv.AppendInt(c.w.AvailableBuffer(), int64(len(p)), 16)
	if _, err := c.w.Write(append(line, "\r\n"...)); err != nil {
		return 0, err
	}
	if n, err := c.w.Write(p); err != nil {
		return n, err
	}
	_, err := c.w.WriteString("\r\n")
	return len(p), err
}

// end writes the last chunk and the trailer.
func (c chunkWriter) end(trailer http.Header) error {
	_, _ = c.w.WriteString("0\r\n")
	c.w.Write(appendFields(nil, trailer))
	_, err := c.w.WriteString("\r\n")
	return err
}

var errBodyLength = errors.New("httpx: the body is not as long as its Content-Length")

// writeBody copies src with the framing: exactly f.length bytes, or chunks and
// a trailer, or all there is.
func writeBody(w *bufio.Writer, src io.Reader, f framing, trailer http.Header) error {
	switch {
	case f.chunked:
		// io.Copy's own buffer: one that src writes to would split chunks finely.
		if _, err := io.Copy(chunkWriter{w}, struct{ io.Reader }{src}); err != nil {
			return err
		}
		return chunkWriter{w}.end(trailer)
	case f.length < 0:
		_, err := io.Copy(w, src)
		return err
	}
	n, err := io.Copy(w, io.LimitReader(src, f.length))
	if err != nil {
		return err
	}
	if n < f.length {
		return errBodyLength
	}
	if n, _ := io.ReadFull(src, make([]byte, 1)); n > 0 {
		return errBodyLength
	}
	return nil
}
