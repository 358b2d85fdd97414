package httpx

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ReadRequest reads the header of a request; its Body reads the rest. lim may be
// nil. As in net/http, Host is taken out of the header, and Transfer-Encoding and
// Trailer too. It returns io.EOF if the connection ends before a request begins,
// io.ErrUnexpectedEOF if it ends in the middle of one, and a [*ProtocolError] for
// one that must be refused. The next request may be read when Body has given
// io.EOF; closing it reads nothing.
func ReadRequest(br *bufio.Reader, lim *Limits) (*http.Request, error) {
	r := new(http.Request)
	if err := newHeadReader(br, lim, false).readRequest(r); err != nil {
		return nil, err
	}
	return r, nil
}

// readRequest reads a request into r, which is empty.
func (h *headReader) readRequest(r *http.Request) error {
	h.text = h.text[:0]
	if err := h.skipEmptyLine(); err != nil {
		return err
	}
	if _, err := h.readLine(h.lim.MaxLine); err == errLineTooLong {
		if strings.IndexByte(string(h.text), ' ') < 0 {
			return h.fail(501, "a method longer than %d bytes", h.lim.MaxLine)
		}
		return h.fail(414, "a request line longer than %d bytes", h.lim.MaxLine)
	} else if err != nil {
		return err
	}
	// Whoever types a request with telnet is told at once what is wrong with it.
	var err error
	if r.Method, r.RequestURI, r.Proto, err = h.requestLine(string(h.text)); err != nil {
		return err
	}
	r.ProtoMajor, r.ProtoMinor, _ = parseVersion(r.Proto)
	if r.Header, err = h.readFields(); err != nil {
		return err
	}
	if err := h.target(r); err != nil {
		return err
	}
	f, err := h.framing(r.Header, r.ProtoMajor, r.ProtoMinor)
	if err != nil {
		return err
	}
	r.Close = wantsClose(r)
	r.ContentLength = f.length
	switch {
	case f.chunked:
		r.TransferEncoding = []string{"chunked"}
		r.Trailer = announced(r.Header)
		r.Body = newBody(h, f, &r.Trailer)
	case f.length > 0:
		r.Body = newBody(h, f, &r.Trailer)
	default:
		r.ContentLength = 0 // a request with neither field has no body
		r.Body = http.NoBody
	}
	return nil
}

// skipEmptyLine reads away one empty line in front of a request, which old
// clients send behind a body (RFC 9112 section 2.2), and fails at once if what
// comes is no request at all, such as a TLS handshake.
func (h *headReader) skipEmptyLine() error {
	for range 2 {
		first, err := h.br.Peek(1)
		if err != nil {
			return err
		}
		if httpguts.IsTokenRune(rune(first[0])) {
			return nil
		}
		if first[0] != '\r' {
			break
		}
		if first, err = h.br.Peek(2); err != nil {
			return unexpectedEOF(err)
		}
		if first[1] != '\n' {
			break
		}
		_, _ = h.br.Discard(2)
	}
	return h.fail(400, "a request starts with its method")
}

// requestLine takes a request's first line apart (RFC 9112 section 3).
func (h *headReader) requestLine(line string) (method, target, version string, err error) {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) || target == "" {
		return "", "", "", h.fail(400, "the first line is not: method target version")
	}
	major, _, ok := parseVersion(version)
	if !ok {
		return "", "", "", h.fail(400, "%.20q is no version of HTTP", version)
	}
	if major != 1 {
		return "", "", "", h.fail(505, "version %s; HTTP/1.1 is spoken here", version)
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return "", "", "", h.fail(400, "byte %#02x in the target must be percent-encoded", c)
		}
	}
	return method, target, version, nil
}

func isToken(s string) bool {
	for i := range len(s) {
		if !httpguts.IsTokenRune(rune(s[i])) {
			return false
		}
	}
	return s != ""
}

// target fills URL and Host from the target, in one of its four forms, and the
// Host field (RFC 9112 sections 3.2 and 3.3).
func (h *headReader) target(r *http.Request) error {
	hosts := r.Header["Host"]
	switch {
	case len(hosts) > 1:
		return h.fail(400, "Host more than once")
	case len(hosts) == 1:
		if r.Host = hosts[0]; r.Host != "" && !validAuthority(r.Host, false) {
			return h.fail(400, "Host %.100q is not host:port", r.Host)
		}
		delete(r.Header, "Host")
	case r.ProtoMinor > 0:
		return h.fail(400, "no Host")
	}
	uri := r.RequestURI
	switch {
	case r.Method == "CONNECT":
		if !validAuthority(uri, true) {
			return h.fail(400, "CONNECT wants host:port")
		}
		r.URL, r.Host = &url.URL{Host: uri}, uri
		return nil
	case uri == "*":
		if r.Method != "OPTIONS" {
			return h.fail(400, "target * is for OPTIONS only")
		}
		r.URL = &url.URL{Path: uri}
		return nil
	case uri[0] == '/':
		if u := plainPath(uri); u != nil {
			r.URL = u
			return nil
		}
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return h.fail(400, "the target cannot be parsed")
	}
	if u.Scheme != "" { // absolute-form: the Host field does not count
		if !validAuthority(u.Host, false) || u.Hostname() == "" || u.User != nil {
			return h.fail(400, "the target is not scheme://host:port/path")
		}
		r.Host = u.Host
	}
	r.URL = u
	return nil
}

// plainPath makes the URL of a path that needs no decoding, and nil for another.
func plainPath(uri string) *url.URL {
	for i := range len(uri) {
		switch c := uri[i]; {
		case c == '?':
			if len(uri) == i+1 {
				return &url.URL{Path: uri[:i], ForceQuery: true}
			}
			return &url.URL{Path: uri[:i], RawQuery: uri[i+1:]}
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', isDigit(c):
		case c == '/', c == '-', c == '.', c == '_', c == '~':
		default:
			return nil
		}
	}
	return &url.URL{Path: uri}
}

// validAuthority reports whether s is host or host:port (RFC 3986 section 3.2),
// with a port that TCP has. The host may be empty unless a port is wanted.
func validAuthority(s string, wantPort bool) bool {
	host, port := s, ""
	colon := strings.LastIndexByte(s, ':')
	if colon > strings.LastIndexByte(s, ']') {
		host, port = s[:colon], s[colon+1:]
	}
	if wantPort && (host == "" || port == "") {
		return false
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || wantPort && n == 0 {
			return false
		}
	}
	literal := strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]")
	if literal {
		host = host[1 : len(host)-1]
		if host == "" {
			return false
		}
	}
	for i := range len(host) {
		c := host[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', isDigit(c):
		case c == ':' && literal:
		case strings.IndexByte("-._~%!$&'()*+,;=", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// wantsClose reports whether no request may follow this one on its connection
// (RFC 9112 section 9.3).
func wantsClose(r *http.Request) bool {
	if len(r.Header["Connection"]) > 0 && hasToken(r.Header, "Connection", "close") {
		return true
	}
	return r.ProtoMinor == 0 && !hasToken(r.Header, "Connection", "keep-alive")
}

// WriteRequest writes r as a client sends it: the target from r.URL, in absolute
// form if it goes to a proxy, Host, the fields of r.Header, and the body framed
// by r.ContentLength, or in chunks with r.Trailer if that is unknown. It does not
// flush w, and closes r.Body.
func WriteRequest(w *bufio.Writer, r *http.Request, toProxy bool) error {
	f, err := writeRequestHeader(w, r, toProxy)
	if r.Body == nil {
		return err
	}
	defer r.Body.Close()
	if err != nil {
		return err
	}
	return writeBody(w, r.Body, f, r.Trailer)
}

// writeRequestHeader writes all in front of the body, and says how this is framed.
func writeRequestHeader(w *bufio.Writer, r *http.Request, toProxy bool) (framing, error) {
	method := r.Method
	if method == "" {
		method = "GET"
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	target := r.URL.RequestURI()
	switch {
	case method == "CONNECT" && r.URL.Path == "":
		target = host
	case toProxy && target == "*": // RFC 9112 section 3.2.4
		target = r.URL.Scheme + "://" + r.URL.Host
	case toProxy:
		target = r.URL.Scheme + "://" + r.URL.Host + target
	}
	switch {
	case !isToken(method):
		return framing{}, fmt.Errorf("httpx: method %q is not a token", method)
	case !validAuthority(host, false):
		return framing{}, fmt.Errorf("httpx: %q is not host:port", host)
	case strings.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }):
		return framing{}, fmt.Errorf("httpx: target %q is not a URL", target)
	}
	if err := checkFields(r.Header); err != nil {
		return framing{}, err
	}
	if err := checkFields(r.Trailer); err != nil {
		return framing{}, err
	}
	f := framing{length: r.ContentLength}
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		f.length = 0
	case r.ContentLength <= 0: // net/http: 0 with a Body means unknown
		f = framing{chunked: true, length: -1}
	}
	b := w.AvailableBuffer()
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	b = appendFraming(b, f, r.Trailer, f.length > 0 || method == "POST" || method == "PUT" || method == "PATCH")
	if r.Close && !hasToken(r.Header, "Connection", "close") {
		b = append(b, "Connection: close\r\n"...)
	}
	b = appendFields(b, r.Header)
	b = append(b, "\r\n"...)
	_, err := w.Write(b)
	return f, err
}
