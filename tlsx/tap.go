package tlsx

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"sync"
)

// A Tap reads the bytes of a TLS connection as they pass, in both directions,
// and says what an eavesdropper learns: it has no keys. Bytes that a client
// sent go to Client, those of the server to Server; copy them there with
// io.TeeReader or io.MultiWriter. Memory is bounded by what one message may
// have.
type Tap struct {
	// Event is told of every record, in the order in which records became
	// complete. It must not write to the Tap.
	Event func(Event)

	mu       sync.Mutex
	from     [2]direction // the client's, the server's
	version  uint16       // chosen by the server; 0 before
	overhead int          // of its encryption
}

// An Event is a record that has passed.
type Event struct {
	FromClient bool   // or else from the server
	Offset     int64  // of its first byte in its direction
	Type       uint8  // 20 change cipher spec, 21 alert, 22 handshake, 23 application data
	Version    uint16 // as its header claims; the true one is in the [ServerHello]
	Size       int    // bytes after the header of five

	// Encrypted means that only Type, which may be a disguise, and Size can be
	// seen. Content is then how many bytes of content fit; −1 if that cannot
	// be told.
	Encrypted bool
	Content   int

	// Messages are the handshake messages that ended in this record.
	Messages []Message

	// Alert is set for an alert in clear, with its level, 1 or 2, in Level.
	Alert *tls.AlertError
	Level uint8

	// Err means that the bytes make no sense as TLS; the rest of this direction
	// is passed over.
	Err error
}

// A Message is a handshake message in clear.
type Message struct {
	Type         uint8               // 1 ClientHello, 2 ServerHello, 11 Certificate …
	Size         int                 // bytes, with its header of four
	ClientHello  *ClientHello        // if it is one
	ServerHello  *ServerHello        // likewise
	Certificates []*x509.Certificate // TLS 1.2 only: later they are encrypted
}

// Types of records and of handshake messages.
const (
	recordChange    = 20
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23

	typeClientHello = 1
	typeServerHello = 2
	typeCertificate = 11
)

// messageName is the name of a handshake message.
func messageName(t uint8) string {
	switch t {
	case 0:
		return "HelloRequest"
	case typeClientHello:
		return "ClientHello"
	case typeServerHello:
		return "ServerHello"
	case 4:
		return "NewSessionTicket"
	case 8:
		return "EncryptedExtensions"
	case typeCertificate:
		return "Certificate"
	case 12:
		return "ServerKeyExchange"
	case 13:
		return "CertificateRequest"
	case 14:
		return "ServerHelloDone"
	case 15:
		return "CertificateVerify"
	case 16:
		return "ClientKeyExchange"
	case 20:
		return "Finished"
	case 22:
		return "CertificateStatus"
	case 24:
		return "KeyUpdate"
	}
	return fmt.Sprintf("message %d", t)
}

// A direction is what one side has sent.
type direction struct {
	offset  int64  // of the record under way
	head    []byte // of the record under way, at most five bytes
	left    int    // bytes of it that have not come
	body    []byte // kept only if it can be read
	opaque  bool   // it cannot
	msg     []byte // the handshake message under way
	changed bool   // everything after its change cipher spec is encrypted (TLS 1.2)
	broken  bool
}

// Client returns a writer for the bytes that the client sends, Server one for
// those of the server. Writing to them never fails. They may be used by a
// goroutine each.
func (t *Tap) Client() io.Writer { return &tapWriter{t, 0} }

// Server returns a writer for the bytes that the server sends.
func (t *Tap) Server() io.Writer { return &tapWriter{t, 1} }

type tapWriter struct {
	tap *Tap
	dir int
}

func (w *tapWriter) Write(p []byte) (int, error) {
	w.tap.mu.Lock()
	defer w.tap.mu.Unlock()
	n := len(p)
	for len(p) > 0 && !w.tap.from[w.dir].broken {
		p = w.tap.feed(w.dir, p)
	}
	return n, nil
}

// feed takes some of p, up to the end of a record, and returns the rest.
func (t *Tap) feed(dir int, p []byte) []byte {
	d := &t.from[dir]
	if len(d.head) < 5 {
		n := min(5-len(d.head), len(p))
		d.head = append(d.head, p[:n]...)
		if p = p[n:]; len(d.head) < 5 {
			return p
		}
		t.begin(dir)
		if d.broken {
			return nil
		}
	}
	n := min(d.left, len(p))
	if !d.opaque {
		d.body = append(d.body, p[:n]...)
	}
	d.left -= n
	p = p[n:]
	if d.left == 0 {
		t.end(dir)
	}
	return p
}

// begin looks at the header of a record.
func (t *Tap) begin(dir int) {
	d := &t.from[dir]
	kind, size := d.head[0], int(d.head[3])<<8|int(d.head[4])
	d.left, d.body = size, d.body[:0]
	d.opaque = kind == recordData || d.changed
	limit := maxRecord
	if d.opaque {
		limit = maxCipher
	}
	switch {
	case kind < recordChange || kind > recordData || d.head[1] != 3:
		t.fail(dir, &RefusalError{Reason: NotTLS, Rule: "RFC 8446 section 5.1", Detail: notTLS(d.head)})
	case size > limit:
		t.fail(dir, &MessageError{"record", "length", fmt.Sprintf("%d bytes, more than %d", size, limit)})
	case size == 0 && kind != recordData:
		t.fail(dir, &MessageError{"record", "length", "no bytes"})
	}
}

// event makes the event of the record under way.
func (t *Tap) event(dir int) Event {
	d := &t.from[dir]
	return Event{
		FromClient: dir == 0,
		Offset:     d.offset,
		Type:       d.head[0],
		Version:    uint16(d.head[1])<<8 | uint16(d.head[2]),
		Size:       int(d.head[3])<<8 | int(d.head[4]),
	}
}

func (t *Tap) tell(e Event) {
	if t.Event != nil {
		t.Event(e)
	}
}

// fail reports a mistake and gives the direction up.
func (t *Tap) fail(dir int, err error) {
	e := t.event(dir)
	e.Err = err
	t.from[dir] = direction{broken: true}
	t.tell(e)
}

// end looks at a complete record.
func (t *Tap) end(dir int) {
	d := &t.from[dir]
	e := t.event(dir)
	switch {
	case d.opaque:
		e.Encrypted = true
		e.Content = t.content(e.Size)
	case e.Type == recordChange:
		// In TLS 1.3 it means nothing and is sent for show, so that old
		// devices on the way see what they expect (RFC 8446 appendix D.4).
		d.changed = t.version != 0 && t.version < tls.VersionTLS13
	case e.Type == recordAlert:
		if len(d.body) != 2 {
			e.Err = &MessageError{"alert", "length", fmt.Sprintf("%d bytes, want 2", len(d.body))}
			break
		}
		alert := tls.AlertError(d.body[1])
		e.Level, e.Alert = d.body[0], &alert
	case e.Type == recordHandshake:
		e.Messages, e.Err = t.messages(d)
	}
	d.offset += int64(5 + e.Size)
	d.head = d.head[:0]
	if e.Err != nil {
		*d = direction{broken: true}
	}
	t.tell(e)
}

// content is how much fits into an encrypted record.
func (t *Tap) content(size int) int {
	if t.version == 0 || t.overhead < 0 {
		return -1
	}
	return max(size-t.overhead, 0)
}

// overhead is how much longer encryption makes a record; −1 if it differs from
// one to the next.
func overhead(version, suite uint16) int {
	name := tls.CipherSuiteName(suite)
	switch {
	case version >= tls.VersionTLS13:
		return 17 // 16 that authenticate, and the true type
	case strings.Contains(name, "CHACHA20"):
		return 16
	case strings.Contains(name, "_GCM_"):
		return 24 // 8 of nonce besides
	}
	return -1 // CBC pads
}

// messages takes the whole messages out of what has come.
func (t *Tap) messages(d *direction) (list []Message, err error) {
	d.msg = append(d.msg, d.body...)
	for len(d.msg) >= 4 {
		size := 4 + int(d.msg[1])<<16 + int(d.msg[2])<<8 + int(d.msg[3])
		limit := maxMessage
		if d.msg[0] == typeClientHello || d.msg[0] == typeServerHello {
			limit = maxHello
		}
		if size > limit {
			return list, &MessageError{messageName(d.msg[0]), "length", fmt.Sprintf("%d bytes, more than %d", size, limit)}
		}
		if len(d.msg) < size {
			break
		}
		m, err := t.message(append([]byte(nil), d.msg[:size]...))
		if err != nil {
			return list, err
		}
		list = append(list, m)
		d.msg = d.msg[size:]
	}
	if len(d.msg) == 0 {
		d.msg = nil
	}
	return list, nil
}

func (t *Tap) message(msg []byte) (m Message, err error) {
	m = Message{Type: msg[0], Size: len(msg)}
	switch m.Type {
	case typeClientHello:
		m.ClientHello, err = ParseClientHello(msg)
	case typeServerHello:
		if m.ServerHello, err = ParseServerHello(msg); err == nil {
			t.version = m.ServerHello.Version
			t.overhead = overhead(t.version, m.ServerHello.CipherSuite)
		}
	case typeCertificate:
		m.Certificates, err = parseCertificateMessage(msg)
	}
	return m, err
}

// parseCertificateMessage reads a chain of TLS 1.2 (RFC 5246 section 7.4.2).
func parseCertificateMessage(msg []byte) (certs []*x509.Certificate, err error) {
	c := message(msg, typeCertificate, "Certificate")
	list := c.vector("certificates", 3, 0)
	for len(list.b) > 0 {
		der := list.vector("certificate", 3, 1)
		if list.err == nil && der.err == nil {
			if len(certs) == maxChain {
				der.fail("more than %d", maxChain)
			} else if cert, err := x509.ParseCertificate(der.b); err != nil {
				der.fail("%s", clean(err.Error()))
			} else {
				certs = append(certs, cert)
			}
		}
		der.rest()
		der.end(list)
	}
	list.end(c)
	c.end(nil)
	return certs, c.err
}

// String narrates the event in a line.
func (e Event) String() string {
	var b strings.Builder
	if e.FromClient {
		b.WriteString("client -> server: ")
	} else {
		b.WriteString("server -> client: ")
	}
	if e.Err != nil {
		return b.String() + e.Err.Error()
	}
	switch e.Type {
	case recordChange:
		b.WriteString("change cipher spec")
	case recordAlert:
		b.WriteString("alert")
	case recordHandshake:
		b.WriteString("handshake")
	case recordData:
		b.WriteString("application data")
	}
	fmt.Fprintf(&b, ", %d bytes", e.Size)
	switch {
	case e.Encrypted && e.Content >= 0:
		fmt.Fprintf(&b, ", encrypted: room for %d", e.Content)
	case e.Encrypted:
		b.WriteString(", encrypted")
	case e.Alert != nil:
		fmt.Fprintf(&b, ": %s", strings.TrimPrefix(e.Alert.Error(), "tls: "))
	case e.Type == recordHandshake && len(e.Messages) == 0:
		b.WriteString(": a part of a message")
	}
	for i, m := range e.Messages {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(m.String())
	}
	return b.String()
}

// String names the message and what is most telling in it.
func (m Message) String() string {
	name := messageName(m.Type)
	switch {
	case m.ClientHello != nil:
		who := "nobody by name"
		if s := m.ClientHello.ServerName; s != "" {
			who = clean(s)
		}
		high := "TLS 1.2"
		if m.ClientHello.offers(tls.VersionTLS13) {
			high = "TLS 1.3"
		}
		return fmt.Sprintf("%s for %s, up to %s, %d cipher suites", name, who, high, len(m.ClientHello.CipherSuites))
	case m.ServerHello != nil && m.ServerHello.Retry:
		return fmt.Sprintf("%s that wants another ClientHello, with %s", name, groupName(m.ServerHello.Group))
	case m.ServerHello != nil:
		return fmt.Sprintf("%s, %s, %s", name, versionName(m.ServerHello.Version), suiteName(m.ServerHello.CipherSuite))
	case m.Certificates != nil:
		return fmt.Sprintf("%s of %s", name, titles(m.Certificates))
	}
	return name
}
