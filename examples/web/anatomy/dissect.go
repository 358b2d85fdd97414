package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A part is a run of bytes of a message that has one job.
type part struct {
	name string // "request line", "field", "chunk size"
	at   int    // where it begins, counted from the first byte of the stream
	text []byte // the bytes themselves, the end of the line included
}

// end returns the position of the byte after the part.
func (p part) end() int { return p.at + len(p.text) }

// A field is a line of the header: its name and its value, without the white
// space around it.
type field struct {
	part
	key, value string
}

// A message is an HTTP/1.1 message taken apart. Its parts follow each other
// without gaps.
type message struct {
	start    part
	words    []part // of the start line: method, target, version; or version, status, reason
	fields   []field
	empty    part   // the line that ends the header; no bytes if it is missing
	body     []part // one part, or chunk after chunk and the trailer
	framing  string // how the end of the body is known
	announce int    // bytes of body that Content-Length speaks of; -1 if it does not
	remarks  []string
}

// isResponse reports whether the message begins as a response does.
func (m *message) isResponse() bool { return m.words[0].name == "version" }

// method returns the method of a request.
func (m *message) method() string { return string(m.words[0].text) }

// end returns the position after the message.
func (m *message) end() int {
	if n := len(m.body); n > 0 {
		return m.body[n-1].end()
	}
	return m.headEnd()
}

// headEnd returns the position after the empty line.
func (m *message) headEnd() int { return m.empty.end() }

// complete reports whether all of the message was there.
func (m *message) complete() bool {
	return len(m.empty.text) > 0 && !strings.HasSuffix(m.framing, cutOff)
}

const cutOff = ": cut off here"

// get returns the field with this name, compared without case (RFC 9110
// section 5.1), or nil.
func (m *message) get(name string) *field {
	for i := range m.fields {
		if strings.EqualFold(m.fields[i].key, name) {
			return &m.fields[i]
		}
	}
	return nil
}

// A notHTTP says that a stream does not go on with a start line.
type notHTTP struct{ line part }

func (e *notHTTP) Error() string {
	return fmt.Sprintf("byte %d: %s is no start line of HTTP", e.line.at, quote(e.line.text, 40))
}

// dissect takes the message at the beginning of data apart, which begins at
// position at of its stream. For a response, method is that of the request:
// the answer to HEAD has no body. It looks only at where things are; whether
// the message may be believed is for httpx.ReadRequest to say.
func dissect(data []byte, at int, method string) (*message, error) {
	m := &message{announce: -1}
	d := &cursor{data: data, at: at}
	m.start = d.line("start line")
	for len(m.start.text) > 0 && len(trimEnd(m.start.text)) == 0 {
		m.remark(m.start, "is empty and comes too early; a server should ignore it (RFC 9112 section 2.2)")
		m.start = d.line("start line")
	}
	words, err := startLine(&m.start)
	if err != nil {
		return nil, err
	}
	m.words = words
	for {
		line := d.line("field")
		if len(trimEnd(line.text)) == 0 {
			line.name = "empty line"
			m.empty = line
			break
		}
		f := field{part: line}
		key, value, found := bytes.Cut(trimEnd(line.text), []byte(":"))
		f.key, f.value = string(key), string(bytes.Trim(value, " \t"))
		switch {
		case !found:
			m.remark(f.part, "has no colon")
		case bytes.ContainsAny(key, " \t"):
			m.remark(f.part, "has white space in or after its name, which RFC 9112 section 5.1 forbids")
		}
		m.fields = append(m.fields, f)
	}
	for _, p := range m.lines() {
		if bytes.HasSuffix(p.text, []byte("\n")) && !bytes.HasSuffix(p.text, []byte("\r\n")) {
			m.remark(p, `ends with \n alone instead of \r\n (RFC 9112 section 2.2)`)
		}
	}
	if len(m.empty.text) == 0 {
		m.framing = "the header is not over" + cutOff
		return m, nil
	}
	m.readBody(d, method)
	return m, nil
}

func (m *message) remark(p part, what string) {
	m.remarks = append(m.remarks, fmt.Sprintf("the line at byte %d %s", p.at, what))
}

// lines returns the parts of the header.
func (m *message) lines() []part {
	list := []part{m.start}
	for _, f := range m.fields {
		list = append(list, f.part)
	}
	return append(list, m.empty)
}

// startLine takes a request line (RFC 9112 section 3) or a status line
// (section 4) apart.
func startLine(line *part) ([]part, error) {
	text := trimEnd(line.text)
	names := []string{"method", "target", "version"}
	line.name = "request line"
	if bytes.HasPrefix(text, []byte("HTTP/")) {
		names = []string{"version", "status", "reason"}
		line.name = "status line"
	}
	var words []part
	at := line.at
	for i, name := range names {
		word, rest := text, []byte(nil)
		if i < len(names)-1 {
			word, rest, _ = bytes.Cut(text, []byte(" "))
		}
		words = append(words, part{name, at, word})
		at += len(word) + 1
		text = rest
	}
	version := words[2]
	if names[0] == "version" {
		version = words[0]
	}
	if len(words[1].text) == 0 || !bytes.HasPrefix(version.text, []byte("HTTP/")) {
		return nil, &notHTTP{*line}
	}
	return words, nil
}

// readBody finds the body's end by the rules of RFC 9112 section 6.3.
func (m *message) readBody(d *cursor, method string) {
	status := ""
	if m.isResponse() {
		status = string(m.words[1].text)
	}
	length := m.get("Content-Length")
	if length != nil {
		if n, err := strconv.ParseUint(length.value, 10, 31); err == nil {
			m.announce = int(n)
		} else {
			m.remark(length.part, "has no number that fits here")
		}
	}
	coding := m.get("Transfer-Encoding")
	switch {
	case method == "HEAD" && m.isResponse():
		m.framing = "none: the answer to HEAD has no body"
	case strings.HasPrefix(status, "1"), status == "204", status == "304":
		m.framing = "none: status " + status + " has no body"
	case coding != nil && strings.EqualFold(coding.value, "chunked"):
		m.framing = "chunks, until one of size 0"
		if !m.readChunks(d) {
			m.framing += cutOff
		}
	case coding != nil && !m.isResponse():
		m.framing = "not to be known: the last coding of a request must be chunked"
	case m.announce >= 0 && coding == nil:
		m.framing = fmt.Sprintf("Content-Length: %d bytes", m.announce)
		p := d.take("body", m.announce)
		if len(p.text) < m.announce {
			m.framing += cutOff
		}
		m.body = append(m.body, p)
	case m.isResponse():
		m.framing = "until the connection is closed"
		m.body = append(m.body, d.take("body", len(d.data)))
	default:
		m.framing = "none: a request with neither Content-Length nor Transfer-Encoding"
	}
}

// readChunks takes a body in chunks apart (RFC 9112 section 7.1) and reports
// whether its end was there.
func (m *message) readChunks(d *cursor) bool {
	for {
		size := d.line("chunk size")
		m.body = append(m.body, size)
		digits, _, _ := bytes.Cut(trimEnd(size.text), []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 16, 31)
		if err != nil {
			if len(size.text) > 0 {
				m.remark(size, "should be the size of a chunk")
			}
			return false
		}
		if n == 0 {
			break
		}
		chunk := d.take("chunk", int(n))
		m.body = append(m.body, chunk, d.line("end of chunk"))
		if uint64(len(chunk.text)) < n {
			return false
		}
	}
	for {
		line := d.line("trailer field")
		if len(trimEnd(line.text)) == 0 {
			line.name = "empty line"
			m.body = append(m.body, line)
			return len(line.text) > 0
		}
		m.body = append(m.body, line)
	}
}

// content returns the body as the application sees it: without the sizes.
func (m *message) content() (all []byte) {
	for _, p := range m.body {
		if p.name == "body" || p.name == "chunk" {
			all = append(all, p.text...)
		}
	}
	return all
}

// A cursor cuts parts off the beginning of a stream.
type cursor struct {
	data []byte
	at   int
}

// take cuts off n bytes, or what there is.
func (d *cursor) take(name string, n int) part {
	n = min(n, len(d.data))
	p := part{name, d.at, d.data[:n]}
	d.data, d.at = d.data[n:], d.at+n
	return p
}

// line cuts off a line with its end, or what there is.
func (d *cursor) line(name string) part {
	n := bytes.IndexByte(d.data, '\n') + 1
	if n == 0 {
		n = len(d.data)
	}
	return d.take(name, n)
}

// trimEnd returns a line without its end.
func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// show prints the message as a table: where each part begins, how many bytes
// it has, what it is and what it says.
func (m *message) show(w io.Writer) {
	fmt.Fprintf(w, "    at  bytes\n")
	row(w, m.start, "")
	for _, p := range m.words {
		row(w, p, "  ")
	}
	for _, f := range m.fields {
		row(w, f.part, "")
	}
	row(w, m.empty, "")
	for _, p := range m.body {
		row(w, p, "")
	}
	fmt.Fprintf(w, "  body: %s\n", m.framing)
	head := m.headEnd() - m.start.at
	sum := fmt.Sprintf("%d %s + %d in %s + %d empty line + %d body",
		len(m.start.text), m.start.name, head-len(m.start.text)-len(m.empty.text), plural(len(m.fields), "field"), len(m.empty.text), m.end()-m.headEnd())
	fmt.Fprintf(w, "  %s: %s\n", plural(m.end()-m.start.at, "byte"), sum)
	for _, r := range m.remarks {
		fmt.Fprintf(w, "  %s\n", r)
	}
}

func row(w io.Writer, p part, indent string) {
	fmt.Fprintf(w, "%6d %6d  %-14s %s\n", p.at, len(p.text), indent+p.name, quote(p.text, 76))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// quote shows bytes without the quotation marks of Go, ends of lines as \r\n
// and nothing that could command a terminal; of more than most bytes the
// first.
func quote(text []byte, most int) string {
	more := ""
	if len(text) > most {
		text, more = text[:most], "…"
	}
	q := strconv.Quote(string(text))
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return strings.ReplaceAll(q, `\\`, `\`) + more
}
