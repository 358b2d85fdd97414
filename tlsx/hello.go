package tlsx

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A ClientHello is the first message of a handshake, from the client, in clear:
// what anybody on the way can read (RFC 8446 section 4.1.2).
type ClientHello struct {
	Version      uint16   // what TLS 1.2 and older took for the highest; 1.3 says 0x0303 always
	Random       [32]byte // for this connection alone
	SessionID    []byte   // of TLS 1.2; later only for show
	CipherSuites []uint16 // the client's choice, best first
	Compression  []byte   // 0 alone, which is none

	ServerName string                // whom the client wants (SNI); "" if it does not say
	Protocols  []string              // application protocols (ALPN)
	Versions   []uint16              // versions offered; nil before TLS 1.3
	Groups     []tls.CurveID         // ways to agree on a key
	KeyShares  []KeyShare            // first halves of such agreements
	Signatures []tls.SignatureScheme // that the client can check

	Ticket    bool // it can take session tickets, or brings one (TLS 1.2)
	Resumes   bool // it brings a session to resume (TLS 1.3)
	EarlyData bool // data follow before the server has answered
	ECH       bool // the true hello is encrypted inside; ServerName is a cover

	Extensions []Extension // all, as they came
}

// A KeyShare is the public half of a key agreement: the Group and its Size in
// bytes.
type KeyShare struct {
	Group tls.CurveID
	Size  int
}

// An Extension is one of a hello: its Type and its Data.
type Extension struct {
	Type uint16
	Data []byte
}

// A ServerHello is the server's answer, the last message in clear of TLS 1.3
// (RFC 8446 section 4.1.3).
type ServerHello struct {
	Version     uint16      // chosen: the true one, also for TLS 1.3
	Random      [32]byte    // for this connection alone; fixed if Retry
	SessionID   []byte      // the client's, given back, in TLS 1.3
	CipherSuite uint16      // chosen
	Retry       bool        // no answer yet, but the wish for another hello
	Group       tls.CurveID // of the server's key share; 0 before TLS 1.3
	KeyShare    int         // its size in bytes
	Protocol    string      // application protocol; encrypted in TLS 1.3
	Resumed     bool        // the session of the client's ticket goes on (TLS 1.3)
	Extensions  []Extension // all, as they came
}

// A MessageError says where a message of TLS is malformed.
type MessageError struct {
	Message string // "ClientHello"
	Field   string // in the words of the RFC
	Detail  string // what is wrong with it
}

// Error names the message, the field and what is wrong.
func (e *MessageError) Error() string {
	return fmt.Sprintf("tlsx: malformed %s: %s: %s", e.Message, e.Field, e.Detail)
}

// Numbers of extensions that are read.
const (
	extServerName        = 0
	extGroups            = 10
	extSignatures        = 13
	extProtocols         = 16
	extTicket            = 35
	extPreSharedKey      = 41
	extEarlyData         = 42
	extSupportedVersions = 43
	extKeyShare          = 51
	extECH               = 0xfe0d
)

// extensionTypes are the names of the extensions of a hello.
var extensionTypes = map[uint16]string{
	0: "server_name", 1: "max_fragment_length", 5: "status_request", 10: "supported_groups", 11: "ec_point_formats",
	13: "signature_algorithms", 14: "use_srtp", 15: "heartbeat", 16: "application_layer_protocol_negotiation",
	17: "status_request_v2", 18: "signed_certificate_timestamp", 21: "padding", 22: "encrypt_then_mac",
	23: "extended_master_secret", 27: "compress_certificate", 28: "record_size_limit", 34: "delegated_credential",
	35: "session_ticket", 41: "pre_shared_key", 42: "early_data", 43: "supported_versions", 44: "cookie",
	45: "psk_key_exchange_modes", 47: "certificate_authorities", 49: "post_handshake_auth", 50: "signature_algorithms_cert",
	51: "key_share", 57: "quic_transport_parameters", 0xfe0d: "encrypted_client_hello", 0xff01: "renegotiation_info",
}

// Name is the extension's name at IANA, or its number.
func (e Extension) Name() string {
	if s := extensionTypes[e.Type]; s != "" {
		return s
	}
	if IsGREASE(e.Type) {
		return "GREASE"
	}
	return fmt.Sprintf("extension %d", e.Type)
}

// IsGREASE reports whether a number of a suite, version, group or extension
// means nothing: some clients send such numbers so that servers do not
// forget to ignore what they do not know (RFC 8701).
func IsGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// A cursor reads fields of a message. After the first mistake it reads zeros.
type cursor struct {
	b       []byte
	message string
	field   string
	err     error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = &MessageError{c.message, c.field, fmt.Sprintf(format, args...)}
	}
	c.b = nil
}

// take returns the next n bytes.
func (c *cursor) take(field string, n int) []byte {
	if c.err != nil {
		return nil
	}
	c.field = field
	if n > len(c.b) {
		c.fail("%d bytes announced, %d left", n, len(c.b))
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// number reads n bytes as a number, the most significant byte first.
func (c *cursor) number(field string, n int) (v int) {
	for _, b := range c.take(field, n) {
		v = v<<8 | int(b)
	}
	return v
}

// vector reads a field with its length in n bytes before it, of at least low
// bytes. What is inside can be read from the cursor that it returns.
func (c *cursor) vector(field string, n, low int) *cursor {
	size := c.number(field, n)
	if c.err == nil && size < low {
		c.fail("%d bytes, want at least %d", size, low)
	}
	return &cursor{b: c.take(field, size), message: c.message, field: field, err: c.err}
}

// rest reads all that is left.
func (c *cursor) rest() []byte {
	b := c.b
	c.b = nil
	return b
}

// end demands that nothing is left, and hands the first mistake on.
func (c *cursor) end(outer *cursor) {
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes too many", len(c.b))
	}
	if outer != nil && outer.err == nil && c.err != nil {
		outer.err, outer.b = c.err, nil
	}
}

// numbers reads all that is left as numbers of two bytes.
func numbers[T ~uint16](c *cursor) (list []T) {
	if len(c.b)%2 != 0 {
		c.fail("an odd number of bytes, %d", len(c.b))
	}
	for len(c.b) > 0 {
		list = append(list, T(c.number(c.field, 2)))
	}
	return list
}

// message checks the header of a handshake message: its type in one byte and
// its length in three.
func message(msg []byte, want uint8, name string) *cursor {
	c := &cursor{b: msg, message: name}
	if kind := c.number("type", 1); c.err == nil && uint8(kind) != want {
		c.fail("%d (%s), want %d", kind, messageName(uint8(kind)), want)
	}
	body := c.vector("length", 3, 0)
	if c.end(nil); c.err != nil {
		body.err, body.b = c.err, nil
	}
	return body
}

// ParseClientHello reads a ClientHello, with the four bytes of its header. The
// error is a [*MessageError]. The result shares memory with msg.
func ParseClientHello(msg []byte) (*ClientHello, error) {
	c := message(msg, typeClientHello, "ClientHello")
	h := &ClientHello{Version: uint16(c.number("version", 2))}
	copy(h.Random[:], c.take("random", 32))
	h.SessionID = sessionID(c)
	suites := c.vector("cipher suites", 2, 2)
	h.CipherSuites = numbers[uint16](suites)
	suites.end(c)
	compression := c.vector("compression methods", 1, 1)
	h.Compression = compression.rest()
	if len(c.b) > 0 { // before TLS 1.2 there were none
		h.Extensions = extensions(c)
	}
	c.end(nil)
	for i, e := range h.Extensions {
		if c.err != nil {
			break
		}
		x := &cursor{b: e.Data, message: c.message, field: e.Name()}
		h.extension(x, e, i == len(h.Extensions)-1)
		x.end(c)
	}
	if c.err != nil {
		return nil, c.err
	}
	return h, nil
}

func sessionID(c *cursor) []byte {
	id := c.vector("session id", 1, 0)
	if len(id.b) > 32 {
		id.fail("%d bytes, more than 32", len(id.b))
	}
	b := id.rest()
	id.end(c)
	return b
}

// extensions reads the list of extensions. None may occur twice.
func extensions(c *cursor) (list []Extension) {
	all := c.vector("extensions", 2, 0)
	seen := make(map[uint16]bool)
	for len(all.b) > 0 {
		e := Extension{Type: uint16(all.number("extension type", 2))}
		e.Data = all.vector(e.Name(), 2, 0).b
		if all.err == nil && seen[e.Type] {
			all.fail("it is there twice")
		}
		seen[e.Type] = true
		list = append(list, e)
	}
	all.end(c)
	return list
}

// extension reads the data of one extension. What it does not know it skips.
func (h *ClientHello) extension(x *cursor, e Extension, last bool) {
	switch e.Type {
	case extServerName:
		names := x.vector(x.field, 2, 1)
		for len(names.b) > 0 {
			kind := names.number("name type", 1)
			name := names.vector("server name", 2, 1)
			if kind == 0 && h.ServerName == "" {
				h.ServerName = string(name.b)
			}
			name.rest()
			name.end(names)
		}
		names.end(x)
	case extProtocols:
		list := x.vector(x.field, 2, 2)
		for len(list.b) > 0 {
			p := list.vector("protocol", 1, 1)
			h.Protocols = append(h.Protocols, string(p.rest()))
			p.end(list)
		}
		list.end(x)
	case extSupportedVersions:
		list := x.vector(x.field, 1, 2)
		h.Versions = numbers[uint16](list)
		list.end(x)
	case extGroups:
		list := x.vector(x.field, 2, 2)
		h.Groups = numbers[tls.CurveID](list)
		list.end(x)
	case extSignatures:
		list := x.vector(x.field, 2, 2)
		h.Signatures = numbers[tls.SignatureScheme](list)
		list.end(x)
	case extKeyShare:
		list := x.vector(x.field, 2, 0)
		for len(list.b) > 0 {
			group := list.number("group", 2)
			key := list.vector("key share", 2, 1)
			h.KeyShares = append(h.KeyShares, KeyShare{tls.CurveID(group), len(key.rest())})
			key.end(list)
		}
		list.end(x)
	case extPreSharedKey:
		h.Resumes = true
		if !last {
			x.fail("it is not the last extension") // RFC 8446 section 4.2.11
		}
		x.rest()
	default:
		switch e.Type {
		case extTicket:
			h.Ticket = true
		case extEarlyData:
			h.EarlyData = true
		case extECH:
			h.ECH = true
		}
		x.rest()
	}
}

// retryRandom marks a ServerHello that asks for another ClientHello (RFC 8446
// section 4.1.3).
var retryRandom = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// ParseServerHello reads a ServerHello, with the four bytes of its header. The
// error is a [*MessageError]. The result shares memory with msg.
func ParseServerHello(msg []byte) (*ServerHello, error) {
	c := message(msg, typeServerHello, "ServerHello")
	h := &ServerHello{Version: uint16(c.number("version", 2))}
	copy(h.Random[:], c.take("random", 32))
	h.Retry = h.Random == retryRandom
	h.SessionID = sessionID(c)
	h.CipherSuite = uint16(c.number("cipher suite", 2))
	c.number("compression method", 1)
	if len(c.b) > 0 {
		h.Extensions = extensions(c)
	}
	c.end(nil)
	for _, e := range h.Extensions {
		if c.err != nil {
			break
		}
		x := &cursor{b: e.Data, message: c.message, field: e.Name()}
		h.extension(x, e)
		x.end(c)
	}
	if c.err != nil {
		return nil, c.err
	}
	return h, nil
}

func (h *ServerHello) extension(x *cursor, e Extension) {
	switch e.Type {
	case extSupportedVersions:
		h.Version = uint16(x.number(x.field, 2))
	case extKeyShare:
		h.Group = tls.CurveID(x.number("group", 2))
		if !h.Retry { // which names the group alone
			key := x.vector("key share", 2, 1)
			h.KeyShare = len(key.rest())
			key.end(x)
		}
	case extProtocols:
		list := x.vector(x.field, 2, 2)
		p := list.vector("protocol", 1, 1)
		h.Protocol = string(p.rest())
		p.end(list)
		list.end(x)
	case extPreSharedKey:
		h.Resumed = true
		x.rest()
	default:
		x.rest()
	}
}

// Bounds of what is kept while messages are put together.
const (
	maxRecord  = 1 << 14          // in clear (RFC 8446 section 5.1)
	maxCipher  = maxRecord + 2048 // encrypted, in TLS 1.2; 256 in 1.3
	maxHello   = 1 << 16
	maxMessage = 1 << 18 // of any other message, such as a chain
)

// ReadClientHello reads records from the beginning of a stream until the
// ClientHello is complete, and not a byte more. read is all that was read, to
// be sent on to whoever is to answer: so a server can choose by the name in the
// hello without taking part. A stream that is no TLS gives a [*RefusalError]
// of reason [NotTLS]; one that ends too early [io.ErrUnexpectedEOF], or
// [io.EOF] if it is empty. There is no time limit but the stream's own.
func ReadClientHello(r io.Reader) (hello *ClientHello, read []byte, err error) {
	var msg []byte
	for {
		var head [5]byte
		n, err := io.ReadFull(r, head[:])
		read = append(read, head[:n]...)
		if err == io.EOF && len(read) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 && head[0] != recordHandshake || n > 1 && head[1] != 3 {
			return nil, read, &RefusalError{Reason: NotTLS, Rule: "RFC 8446 section 5.1", Detail: notTLS(head[:n]), Err: err}
		}
		if err == io.EOF {
			return nil, read, err
		}
		if err != nil {
			return nil, read, fmt.Errorf("tlsx: read hello: %w", err)
		}
		size := int(head[3])<<8 | int(head[4])
		if size == 0 || size > maxRecord {
			return nil, read, &MessageError{"record", "length", fmt.Sprintf("%d bytes, want 1 to %d", size, maxRecord)}
		}
		start := len(read)
		read = append(read, make([]byte, size)...)
		n, err = io.ReadFull(r, read[start:])
		read = read[:start+n]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, read, fmt.Errorf("tlsx: read hello: %w", err)
		}
		msg = append(msg, read[start:]...)
		if len(msg) < 4 {
			continue
		}
		want := 4 + int(msg[1])<<16 + int(msg[2])<<8 + int(msg[3])
		if want > maxHello {
			return nil, read, &MessageError{"ClientHello", "length", fmt.Sprintf("%d bytes, more than %d", want, maxHello)}
		}
		if len(msg) >= want || msg[0] != typeClientHello {
			// What follows the hello in the same record is the client's mistake
			// (it has nothing to say yet), which parsing reports.
			hello, err := ParseClientHello(bytes.Clone(msg))
			return hello, read, err
		}
	}
}

// String describes the hello in a few lines, for a person.
func (h *ClientHello) String() string {
	var b strings.Builder
	b.WriteString("ClientHello\n")
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-15s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	switch {
	case h.ServerName == "":
		line("server name", "none")
	case h.ECH:
		line("server name", "%s (a cover: the true hello is encrypted)", clean(h.ServerName))
	default:
		line("server name", "%s", clean(h.ServerName))
	}
	versions := h.Versions
	if versions == nil {
		versions = []uint16{h.Version}
	}
	line("versions", "%s", join(versions, versionName))
	if len(h.Protocols) > 0 {
		line("protocols", "%s", strings.Join(cleanAll(h.Protocols), ", "))
	}
	line("cipher suites", "%s", join(h.CipherSuites, suiteName))
	line("groups", "%s", join(h.Groups, groupName))
	line("key shares", "%s", join(h.KeyShares, func(k KeyShare) string { return fmt.Sprintf("%s (%d bytes)", groupName(k.Group), k.Size) }))
	line("signatures", "%s", join(h.Signatures, signatureName))
	if h.Resumes || h.EarlyData {
		line("session", "resumed: %v, early data: %v", h.Resumes, h.EarlyData)
	}
	line("extensions", "%s", join(h.Extensions, Extension.Name))
	line("random", "%x", h.Random)
	return b.String()
}

// String describes the hello in a few lines, for a person.
func (h *ServerHello) String() string {
	var b strings.Builder
	if h.Retry {
		b.WriteString("ServerHello: wants another ClientHello\n")
	} else {
		b.WriteString("ServerHello\n")
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-15s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("version", "%s", versionName(h.Version))
	line("cipher suite", "%s", suiteName(h.CipherSuite))
	if h.Group != 0 {
		line("group", "%s (%d bytes)", groupName(h.Group), h.KeyShare)
	}
	if h.Protocol != "" {
		line("protocol", "%s", clean(h.Protocol))
	}
	if h.Resumed {
		line("session", "resumed")
	}
	line("extensions", "%s", join(h.Extensions, Extension.Name))
	line("random", "%x", h.Random)
	return b.String()
}

// join names the elements of a list; of a long one, the first twenty.
func join[T any](list []T, name func(T) string) string {
	const few = 20
	var names []string
	for _, v := range list[:min(len(list), few)] {
		names = append(names, name(v))
	}
	if len(list) > few {
		names = append(names, fmt.Sprintf("%d more", len(list)-few))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func versionName(v uint16) string {
	if IsGREASE(v) {
		return "GREASE"
	}
	return tls.VersionName(v)
}

func suiteName(v uint16) string {
	switch {
	case IsGREASE(v):
		return "GREASE"
	case v == 0x00ff:
		return "TLS_EMPTY_RENEGOTIATION_INFO_SCSV" // no suite, but a signal
	}
	return tls.CipherSuiteName(v)
}

func groupName(g tls.CurveID) string {
	switch {
	case IsGREASE(uint16(g)):
		return "GREASE"
	case g == 0x001e:
		return "X448"
	case g >= 0x0100 && g <= 0x0104:
		return fmt.Sprintf("ffdhe%d", []int{2048, 3072, 4096, 6144, 8192}[g-0x0100])
	}
	return strings.TrimPrefix(g.String(), "Curve")
}

func signatureName(s tls.SignatureScheme) string {
	if IsGREASE(uint16(s)) {
		return "GREASE"
	}
	return s.String()
}

// offers reports whether the client offered a version.
func (h *ClientHello) offers(version uint16) bool {
	return slices.Contains(h.Versions, version) || h.Versions == nil && h.Version >= version
}
