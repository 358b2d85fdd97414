package httpx

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ReadResponse reads the header of a response to r; its Body reads the rest. r
// may be nil, which means a GET; lim may be nil. Interim responses (1xx) are
// returned like others: the caller reads on. As in net/http, Transfer-Encoding
// and Trailer are taken out of the header. An end of the connection before the
// first byte is io.EOF, one in the middle io.ErrUnexpectedEOF; a response that
// must not be believed is a [*ProtocolError].
//
// The connection may carry another response when Body has given io.EOF, unless
// Close is set.
func ReadResponse(br *bufio.Reader, r *http.Request, lim *Limits) (*http.Response, error) {
	h := newHeadReader(br, lim, true)
	resp := &http.Response{Request: r}
	if _, err := h.readLine(h.lim.MaxLine); err == errLineTooLong {
		return nil, h.fail(502, "a status line longer than %d bytes", h.lim.MaxLine)
	} else if err != nil {
		return nil, err
	}
	if err := h.statusLine(resp, string(h.text)); err != nil {
		return nil, err
	}
	header, err := h.readFields()
	if err != nil {
		return nil, err
	}
	resp.Header = header
	f, err := h.framing(header, resp.ProtoMajor, resp.ProtoMinor)
	if err != nil {
		return nil, err
	}
	method := "GET"
	if r != nil && r.Method != "" {
		method = r.Method
	}
	resp.Close = hasToken(header, "Connection", "close") ||
		resp.ProtoMinor == 0 && !hasToken(header, "Connection", "keep-alive")
	resp.ContentLength = f.length
	switch {
	case !hasBody(method, resp.StatusCode):
		if f.chunked {
			resp.TransferEncoding = []string{"chunked"}
			resp.Trailer = announced(header)
		}
		if method != "HEAD" && resp.StatusCode != http.StatusNotModified {
			resp.ContentLength = 0
		}
		resp.Body = http.NoBody
		return resp, nil
	case f.chunked:
		resp.TransferEncoding = []string{"chunked"}
		resp.Trailer = announced(header)
	case f.length == 0:
		resp.Body = http.NoBody
		return resp, nil
	case f.length < 0:
		resp.Close = true
	}
	resp.Body = newBody(h, f, &resp.Trailer)
	return resp, nil
}

// statusLine takes a response's first line apart (RFC 9112 section 4). The space
// behind the status is left out by some when no reason follows.
func (h *headReader) statusLine(resp *http.Response, line string) error {
	version, rest, ok := strings.Cut(line, " ")
	major, minor, known := parseVersion(version)
	if !ok || !known || major != 1 {
		return h.fail(502, "%.40q is no status line of HTTP/1", line)
	}
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || n < 100 || !validValue([]byte(rest)) {
		return h.fail(502, "%.40q is no status line of HTTP/1", line)
	}
	resp.Proto, resp.ProtoMajor, resp.ProtoMinor = version, major, minor
	resp.Status, resp.StatusCode = rest, int(n)
	return nil
}

// hasBody reports whether a response has a body at all (RFC 9112 section 6.3).
func hasBody(method string, status int) bool {
	return method != "HEAD" && bodyAllowed(status) && (method != "CONNECT" || status/100 != 2)
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// WriteResponse writes r: the status line in HTTP/1.1, the fields of r.Header, and
// the body framed by r.ContentLength, or in chunks with r.Trailer if it is -1; to
// a request of HTTP/1.0 then to the end of the connection, which the caller closes.
// It does not flush w, and closes r.Body.
func WriteResponse(w *bufio.Writer, r *http.Response) error {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if r.StatusCode < 100 || r.StatusCode > 999 {
		return fmt.Errorf("httpx: status %d", r.StatusCode)
	}
	if err := checkFields(r.Header); err != nil {
		return err
	}
	if err := checkFields(r.Trailer); err != nil {
		return err
	}
	method, old := "GET", false
	if r.Request != nil {
		method, old = r.Request.Method, r.Request.ProtoMajor == 1 && r.Request.ProtoMinor == 0
	}
	f := framing{length: r.ContentLength}
	switch {
	case r.Body == nil && hasBody(method, r.StatusCode):
		f.length = 0
	case f.length < 0 && !old:
		f.chunked = true
	}
	b := appendStatusLine(w.AvailableBuffer(), r.StatusCode, r.Status)
	tunnel := method == http.MethodConnect && r.StatusCode/100 == 2 // RFC 9110 section 9.3.6
	if bodyAllowed(r.StatusCode) && !tunnel || r.StatusCode == http.StatusNotModified && f.length > 0 {
		b = appendFraming(b, f, r.Trailer, f.length >= 0)
	}
	if (r.Close || f.length < 0 && !f.chunked) && !hasToken(r.Header, "Connection", "close") {
		b = append(b, "Connection: close\r\n"...)
	}
	b = appendFields(b, r.Header)
	b = append(b, "\r\n"...)
	if _, err := w.Write(b); err != nil || r.Body == nil || !hasBody(method, r.StatusCode) {
		return err
	}
	return writeBody(w, r.Body, f, r.Trailer)
}

// appendStatusLine appends the first line. status may be "200 Fine" or empty.
func appendStatusLine(b []byte, code int, status string) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	reason, ok := strings.CutPrefix(status, strconv.Itoa(code)+" ")
	if !ok || !httpguts.ValidHeaderFieldValue(reason) {
		reason = http.StatusText(code)
	}
	b = append(b, reason...)
	return append(b, "\r\n"...)
}

// appendFraming appends the fields that say where the body ends.
func appendFraming(b []byte, f framing, trailer http.Header, sayLength bool) []byte {
	if !f.chunked {
		if sayLength {
			b = append(b, "Content-Length: "...)
			b = strconv.AppendInt(b, f.length, 10)
			b = append(b, "\r\n"...)
		}
		return b
	}
	b = append(b, "Transfer-Encoding: chunked\r\n"...)
	if len(trailer) == 0 {
		return b
	}
	b = append(b, "Trailer: "...)
	b = append(b, strings.Join(sortedNames(trailer), ", ")...)
	return append(b, "\r\n"...)
}

// isFramingField names the fields that only the writer of a message may set: a
// second opinion on where it ends would be a hole, also if its name is not canonical.
func isFramingField(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Content-Length", "Transfer-Encoding", "Trailer", "Host":
		return true
	}
	return false
}

// appendFields appends the fields in the order of their names, without those of
// the framing. They have been checked.
func appendFields(b []byte, header http.Header) []byte {
	for _, name := range sortedNames(header) {
		if isFramingField(name) {
			continue
		}
		for _, value := range header[name] {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

func sortedNames(header http.Header) []string {
	names := make([]string, 0, 16)
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// checkFields refuses what would end a line early and so split the message.
func checkFields(header http.Header) error {
	for name, values := range header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("httpx: field name %q is not a token", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fmt.Errorf("httpx: a control character in field %s", name)
			}
		}
	}
	return nil
}
