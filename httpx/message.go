package httpx

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// A ProtocolError is a message that must not be believed: it breaks the rules
// of [RFC 9110] or [RFC 9112], or a limit. What follows it on the connection
// cannot be told apart from the rest of it, so the connection must be closed.
//
// [RFC 9110]: https://www.rfc-editor.org/rfc/rfc9110
// [RFC 9112]: https://www.rfc-editor.org/rfc/rfc9112
type ProtocolError struct {
	// Status is what a server answers to such a request: 400, 408, 413, 414, 417,
	// 431, 501 or 505. For a response it is 502, a gateway's answer.
	Status int
	Reason string // what is wrong, in a few words
}

// Error says what is wrong, and the status.
func (e *ProtocolError) Error() string {
	return fmt.Sprintf("httpx: %s (%d %s)", e.Reason, e.Status, http.StatusText(e.Status))
}

// Limits bound a message that is read. They are checked before memory is taken.
type Limits struct {
	MaxLine   int   // bytes of the first line; 0 means 8,192; beyond: 414
	MaxHeader int   // bytes of the header, and of the trailer; 0 means 65,536; beyond: 431
	MaxFields int   // fields of each of these; 0 means 256; beyond: 431
	MaxBody   int64 // bytes of the body; 0 means any number; beyond: 413
}

func (l *Limits) orDefaults() Limits {
	var lim Limits
	if l != nil {
		lim = *l
	}
	if lim.MaxLine <= 0 {
		lim.MaxLine = 8 << 10
	}
	if lim.MaxHeader <= 0 {
		lim.MaxHeader = 64 << 10
	}
	if lim.MaxFields <= 0 {
		lim.MaxFields = 256
	}
	return lim
}

// A headReader reads the lines in front of a body, and those behind a chunked
// one. It collects those of the fields in text, of which one string is made at the
// end: names and values are parts of it.
type headReader struct {
	br       *bufio.Reader
	lim      Limits // defaults filled in
	response bool   // a response is read: other status, and obs-fold is allowed

	text  []byte
	spans []span
}

// A span is where a field stands in text.
type span struct{ name, colon, value, end int }

// newHeadReader has room for an ordinary header.
func newHeadReader(br *bufio.Reader, lim *Limits, response bool) *headReader {
	return &headReader{br, lim.orDefaults(), response, make([]byte, 0, 512), make([]span, 0, 16)}
}

var errLineTooLong = errors.New("httpx: line too long")

// fail says what is wrong with the message.
func (h *headReader) fail(status int, format string, args ...any) error {
	if h.response {
		status = http.StatusBadGateway
	}
	return &ProtocolError{Status: status, Reason: fmt.Sprintf(format, args...)}
}

// readLine appends a line of at most max bytes to text, without CR LF, and
// returns where it starts. It fails as soon as the line can only be too long: a
// peer that waits for our answer has no reason to end it.
func (h *headReader) readLine(max int) (start int, err error) {
	start = len(h.text)
	for scanned := 0; ; {
		n := h.br.Buffered()
		buf, _ := h.br.Peek(n)
		if i := bytes.IndexByte(buf[scanned:], '\n'); i >= 0 {
			n = scanned + i + 1
			h.text = append(h.text, buf[:n]...)
			_, _ = h.br.Discard(n)
			break
		}
		if len(h.text)-start+n > max+1 {
			h.text = append(h.text, buf...) // says where in the line the limit was hit
			return start, errLineTooLong
		}
		if n == h.br.Size() {
			h.text = append(h.text, buf...)
			_, _ = h.br.Discard(n)
			n = 0
		}
		scanned = n
		if _, err := h.br.Peek(n + 1); err != nil {
			if err == io.EOF && (n > 0 || len(h.text) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return start, err
		}
	}
	end := len(h.text) - 2
	if end-start > max {
		return start, errLineTooLong
	}
	if end < start || h.text[end] != '\r' {
		return start, h.fail(400, "a line ends in LF without CR")
	}
	h.text = h.text[:end]
	return start, nil
}

// readFields reads field lines up to and including the empty line.
func (h *headReader) readFields() (http.Header, error) {
	h.text, h.spans = h.text[:0], h.spans[:0]
	left := h.lim.MaxHeader
	for {
		start, err := h.readLine(left)
		if err == errLineTooLong {
			return nil, h.fail(431, "the fields are longer than %d bytes", h.lim.MaxHeader)
		} else if err != nil {
			return nil, unexpectedEOF(err)
		}
		line := h.text[start:]
		if len(line) == 0 {
			break
		}
		if left -= len(line) + 2; left < 0 {
			left = 0 // the empty line may still come
		}
		if err := h.field(start, line); err != nil {
			return nil, err
		}
	}
	text := string(h.text)
	header := make(http.Header, len(h.spans))
	values := make([]string, len(h.spans)) // one allocation for all
	for _, s := range h.spans {
		name, value := text[s.name:s.colon], text[s.value:s.end]
		if old, ok := header[name]; ok {
			header[name] = append(old, value)
			continue
		}
		values[0] = value
		header[name] = values[:1:1]
		values = values[1:]
	}
	return header, nil
}

// field checks one line, makes its name canonical in place, and notes where its
// parts are.
func (h *headReader) field(start int, line []byte) error {
	end := start + len(line)
	if isSpace(line[0]) {
		// A folded line: RFC 9112 section 5.2 has a server refuse it and a client
		// read the fold as spaces, which it already is without its CR LF.
		if !h.response || len(h.spans) == 0 {
			return h.fail(400, "a field line starts with white space")
		}
		if !validValue(line) {
			return h.fail(400, "a control character in a field")
		}
		last := &h.spans[len(h.spans)-1]
		last.value, last.end = trim(h.text, last.value, end)
		return nil
	}
	if len(h.spans) == h.lim.MaxFields {
		return h.fail(431, "more than %d fields", h.lim.MaxFields)
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return h.fail(400, "a field line without a colon")
	}
	if !canonicalName(line[:colon]) {
		return h.fail(400, "the field name %q is not a token", line[:colon])
	}
	if !validValue(line[colon+1:]) {
		return h.fail(400, "a control character in field %s", line[:colon])
	}
	value, end := trim(h.text, start+colon+1, end)
	h.spans = append(h.spans, span{start, start + colon, value, end})
	return nil
}

// trim returns where text[start:end] starts and ends without white space around it.
func trim(text []byte, start, end int) (int, int) {
	for start < end && isSpace(text[start]) {
		start++
	}
	for end > start && isSpace(text[end-1]) {
		end--
	}
	return start, end
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// canonicalName writes a field's name as http.CanonicalHeaderKey would, and
// reports whether it is a token.
func canonicalName(name []byte) bool {
	upper := true
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z':
			if upper {
				name[i] = c - ('a' - 'A')
			}
		case 'A' <= c && c <= 'Z':
			if !upper {
				name[i] = c + ('a' - 'A')
			}
		case !httpguts.IsTokenRune(rune(c)):
			return false
		}
		upper = c == '-'
	}
	return len(name) > 0
}

// validValue reports whether a field's value has no control characters but tabs
// (RFC 9110 section 5.5).
func validValue(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// parseVersion reads "HTTP/1.1". It reports whether the version is one that
// exists in the grammar; major is then 1 for those that can be read.
func parseVersion(s string) (major, minor int, ok bool) {
	if len(s) != len("HTTP/1.1") || !strings.HasPrefix(s, "HTTP/") || s[6] != '.' || !isDigit(s[5]) || !isDigit(s[7]) {
		return 0, 0, false
	}
	return int(s[5] - '0'), int(s[7] - '0'), true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// unexpectedEOF is for an end in the middle of a message.
func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// hasToken reports whether a comma-separated list in the field has the token.
func hasToken(h http.Header, name, token string) bool {
	values := h[name]
	return len(values) > 0 && httpguts.HeaderValuesContainsToken(values, token)
}
