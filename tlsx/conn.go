package tlsx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is a TLS connection that explains why it failed. [Server.Conn],
// [Server.Listener] and [Client.Conn] make them. Handshake, HandshakeContext,
// Read and Write return a [*RefusalError] when one side has refused the other;
// everything else is [crypto/tls.Conn]'s.
//
// Under TLS 1.3 a client has finished its handshake before the server has
// looked at the client's certificate: a refusal reaches the client with its
// first Read.
type Conn struct {
	*tls.Conn
	nc      *watched
	client  bool
	timeout time.Duration
	now     func() time.Time
	rec     record
	options func(time.Time) VerifyOptions // what the peer must satisfy

	mu      sync.Mutex // one handshake at a time
	done    bool
	err     error       // of the handshake; stays
	refused atomic.Bool // we have sent an alert that the peer should get to read

	reading sync.Mutex
	ahead   []byte // read by Write, while it looked for an alert
}

// NetConn returns the connection that the Conn was made with. Reading from it
// or writing to it directly breaks the TLS connection.
func (c *Conn) NetConn() net.Conn { return c.nc.Conn }

// Handshake is HandshakeContext without a context.
func (c *Conn) Handshake() error { return c.HandshakeContext(context.Background()) }

// HandshakeContext does the handshake unless it has been done, within the
// configured time. If it fails the connection is of no more use.
func (c *Conn) HandshakeContext(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return c.err
	}
	timeout := c.timeout
	if timeout == 0 {
		timeout = handshakeTimeout
	}
	limit, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no handshake within %v: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	at := clock(c.now)
	err := c.Conn.HandshakeContext(context.WithValue(limit, recordKey{}, &c.rec))
	if err != nil && limit.Err() != nil {
		err = context.Cause(limit)
	}
	c.done, c.nc.over = true, true
	c.err = c.explain(err, at, true)
	if e, ok := errors.AsType[*RefusalError](c.err); ok {
		c.refused.Store(!e.Remote && e.Reason != CutOff && e.Reason != NotTLS)
	}
	return c.err
}

// Read reads after the handshake, which it does if need be.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	return n, c.explain(err, clock(c.now), false)
}

// Write writes after the handshake, which it does if need be. If the peer has
// hung up and has said why, that is the error.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if hungUp(err) && c.reading.TryLock() {
		// The alert, if there is one, has arrived before the reset.
		defer c.reading.Unlock()
		if c.SetReadDeadline(time.Now().Add(time.Second)) == nil {
			var b [1]byte
			k, e := c.Conn.Read(b[:])
			c.ahead = append(c.ahead, b[:k]...)
			if _, ok := remoteAlert(e); ok {
				err = e
			}
		}
	}
	return n, c.explain(err, clock(c.now), false)
}

// Close closes the connection. After a refusal it first waits, a second at most,
// for the peer to close: data that nobody reads would make the system reset
// the connection and take the alert with it.
func (c *Conn) Close() error {
	half, ok := c.NetConn().(interface{ CloseWrite() error })
	if c.refused.CompareAndSwap(true, false) && ok {
		if half.CloseWrite() == nil && c.NetConn().SetReadDeadline(time.Now().Add(time.Second)) == nil {
			_, _ = io.CopyN(io.Discard, c.NetConn(), 1<<20) // what it says no longer matters
		}
	}
	return c.Conn.Close()
}

// explain turns what crypto/tls says into what has happened.
func (c *Conn) explain(err error, at time.Time, handshake bool) error {
	if err == nil || err == io.EOF && !handshake {
		return err
	}
	var refusal *RefusalError
	alert, ok := remoteAlert(err)
	if handshake && !ok && c.nc.found && strings.Contains(err.Error(), "bad record MAC") {
		alert, ok = c.nc.alert, true
	}
	if ok {
		refusal = c.explainAlert(alert, at)
		refusal.Err = err
	} else if handshake {
		refusal = c.explainLocal(err, at)
	}
	if refusal != nil {
		return refusal
	}
	if !handshake {
		return err // as it would be without this package
	}
	return fmt.Errorf("tlsx: handshake with %v: %w", c.RemoteAddr(), err)
}

// A watched connection looks for an alert in clear among what the peer sends
// during the handshake. OpenSSL, as a client of TLS 1.3 that refuses a
// certificate, sends its alert before it has begun to encrypt; crypto/tls, which
// expects it encrypted, sees only a damaged record.
type watched struct {
	net.Conn
	over  bool    // no more watching
	head  [7]byte // of the record under way, and an alert's two bytes
	have  int     // bytes in head
	left  int     // bytes of the record to pass over
	found bool
	alert uint8
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if !w.over {
		w.watch(p[:max(n, 0)])
	}
	return n, err
}

func (w *watched) watch(p []byte) {
	for len(p) > 0 {
		if w.left > 0 {
			n := min(w.left, len(p))
			w.left -= n
			p = p[n:]
			continue
		}
		w.head[w.have] = p[0]
		w.have++
		p = p[1:]
		size := int(w.head[3])<<8 | int(w.head[4])
		// Encrypted, an alert is longer.
		alert := w.head[0] == recordAlert && size == 2
		switch {
		case w.have < 5, alert && w.have < 7:
		case alert:
			w.found, w.alert, w.have = true, w.head[6], 0
		default:
			w.left, w.have = size, 0
		}
	}
}

// explainLocal explains our own refusal; nil if err is none.
func (c *Conn) explainLocal(err error, at time.Time) *RefusalError {
	if e, ok := errors.AsType[*RefusalError](err); ok {
		return e // from VerifyConnection
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		if len(e.UnverifiedCertificates) > maxChain {
			return &RefusalError{
				Reason: BadCertificate, Cert: e.UnverifiedCertificates[0], Err: err,
				Detail: fmt.Sprintf("%d certificates were sent, more than %d, and they lead nowhere", len(e.UnverifiedCertificates), maxChain),
			}
		}
		refusal := explain(e.UnverifiedCertificates, c.options(at), e.Err)
		refusal.Err = err
		return refusal
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &RefusalError{Reason: NotTLS, Rule: "RFC 8446 section 5.1", Detail: notTLS(e.RecordHeader[:]), Err: err}
	}
	text := err.Error()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), hungUp(err):
		return &RefusalError{Reason: CutOff, Detail: "the peer closed the connection in the midst of the handshake, without a word", Rule: "RFC 8446 section 6.1", Err: err}
	// For these crypto/tls has no types; the tests notice if the words change.
	case !c.client && c.rec.demands && strings.Contains(text, "didn't provide a certificate"):
		return &RefusalError{
			Reason: NoCertificate, Rule: "RFC 8446 section 4.4.2.4", Err: err,
			Detail: "the client sent none; it may have one from another authority and withhold it, since this server accepts only those from " + titles(c.options(at).Roots),
		}
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "unsupported protocol version"):
		return &RefusalError{Reason: WrongVersion, Detail: strings.TrimPrefix(text, "tls: "), Rule: "RFC 8446 section 4.2.1", Err: err}
	case strings.Contains(text, "application protocol"):
		return &RefusalError{Reason: WrongProtocol, Detail: clean(strings.TrimPrefix(text, "tls: ")), Rule: "RFC 7301 section 3.2", Err: err}
	}
	return nil
}

// notTLS says what the first bytes of a connection look like.
func notTLS(b []byte) string {
	what := "it is no TLS"
	for prefix, name := range map[string]string{
		"HTTP": "it looks like an answer in HTTP without TLS", "GET ": "it looks like a request in HTTP without TLS",
		"POST": "it looks like a request in HTTP without TLS", "HEAD": "it looks like a request in HTTP without TLS",
		"SSH-": "it looks like SSH", "220 ": "it looks like a greeting of SMTP or FTP, which begin without TLS",
	} {
		if strings.HasPrefix(string(b), prefix) {
			what = name
		}
	}
	return fmt.Sprintf("the peer began with %q: %s", b, what)
}

// remoteAlert returns the alert that an error of crypto/tls was made of. The
// type that it has there is not exported, but its text is the same as that of
// [crypto/tls.AlertError].
func remoteAlert(err error) (alert uint8, ok bool) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return 0, false
	}
	for n := range 256 {
		if tls.AlertError(n).Error() == op.Err.Error() {
			return uint8(n), true
		}
	}
	return 0, false
}

// Numbers of alerts (RFC 8446 section 6).
const (
	alertHandshakeFailure       = 40
	alertBadCertificate         = 42
	alertUnsupportedCertificate = 43
	alertCertificateRevoked     = 44
	alertCertificateExpired     = 45
	alertCertificateUnknown     = 46
	alertUnknownCA              = 48
	alertAccessDenied           = 49
	alertDecodeError            = 50
	alertProtocolVersion        = 70
	alertInappropriateFallback  = 86
	alertUnrecognizedName       = 112
	alertCertificateRequired    = 116
	alertNoApplicationProtocol  = 120
)

// explainAlert explains a peer's refusal. An alert is a number, and
// implementations choose it differently: an expired certificate is told by
// some as expired, by others, Go among them, as bad. So we look at our own
// certificate with the peer's eyes, as far as we know what it wants.
func (c *Conn) explainAlert(alert uint8, at time.Time) *RefusalError {
	e := &RefusalError{Remote: true, Alert: alert, Path: c.rec.own, Rule: "RFC 8446 section 6.2"}
	text := strings.TrimPrefix(tls.AlertError(alert).Error(), "tls: ")
	sent := len(c.rec.own) > 0 && !c.rec.withheld
	if sent {
		e.Cert = c.rec.own[0]
	}

	var found []*RefusalError
	if sent {
		opts := VerifyOptions{Time: at, Name: c.rec.name}
		if c.client {
			opts.Uses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		} else if host, _, err := net.SplitHostPort(c.LocalAddr().String()); err == nil && opts.Name == "" && len(c.rec.own[0].IPAddresses) == 0 {
			// Who dials an address sends no server name (RFC 6066 section 3).
			// Which of our addresses it was, if others translate them, we do
			// not know, but it is none that this certificate is for.
			opts.Name = host
		}
		found = findings(c.rec.own, opts)
	}
	// take makes the first finding with one of the reasons, or with any, the
	// explanation.
	take := func(reasons ...Reason) bool {
		for _, f := range found {
			for _, r := range reasons {
				if f.Reason == r {
					e.Reason, e.Cert, e.Rule = f.Reason, f.Cert, f.Rule
					e.Detail = fmt.Sprintf("%s; the alert was %q", f.Detail, text)
					return true
				}
			}
		}
		return false
	}
	say := func(reason Reason, format string, args ...any) *RefusalError {
		e.Reason = reason
		e.Detail = fmt.Sprintf("the alert was %q", text)
		if s := fmt.Sprintf(format, args...); s != "" {
			e.Detail = s + "; " + e.Detail
		}
		return e
	}

	switch alert {
	case alertCertificateExpired:
		if take(Expired, NotYetValid) {
			return e
		}
		return say(Expired, "by our clock it is valid")
	case alertCertificateRevoked:
		return say(Revoked, "")
	case alertUnsupportedCertificate:
		if take(WrongUse) {
			return e
		}
		return say(WrongUse, "")
	case alertUnknownCA:
		if take(PathTooLong, WrongUse) { // of an authority: OpenSSL says it so
			e.Inferred = true
			return e
		}
		return c.sayUnknown(e, say)
	case alertUnrecognizedName:
		return say(WrongName, "the server knows no name %q", clean(c.options(at).Name))
	case alertProtocolVersion, alertInappropriateFallback:
		return say(WrongVersion, "no version in common")
	case alertNoApplicationProtocol:
		return say(WrongProtocol, "no application protocol in common")
	case alertCertificateRequired, alertHandshakeFailure, alertBadCertificate, alertCertificateUnknown, alertAccessDenied, alertDecodeError:
		// GnuTLS says "decode error" to an empty certificate of TLS 1.2.
		if c.client && c.rec.asked && !sent {
			e.Inferred = alert != alertCertificateRequired
			if c.rec.withheld {
				e.Inferred = true
				return c.sayUnknown(e, say)
			}
			return say(NoCertificate, "the server demands a certificate and we have none")
		}
		if alert == alertHandshakeFailure || alert == alertDecodeError || !sent {
			return say(Refused, "")
		}
		e.Inferred = true
		if take(Expired, NotYetValid, WrongUse, PathTooLong, WrongName, WeakAlgorithm, BadCertificate) {
			return e
		}
		say(UnknownAuthority, "nothing is wrong with our certificate as far as can be seen from here, so most likely the peer does not trust %q, which the path ends with", issuerTitle(c.rec.own[len(c.rec.own)-1]))
		return e
	}
	return say(Refused, "")
}

// sayUnknown tells whose certificate we have and whom the server trusts.
func (c *Conn) sayUnknown(e *RefusalError, say func(Reason, string, ...any) *RefusalError) *RefusalError {
	if len(c.rec.own) == 0 {
		return say(UnknownAuthority, "")
	}
	last := c.rec.own[len(c.rec.own)-1]
	e.Cert = last
	detail := fmt.Sprintf("our path ends with the authority %q", issuerTitle(last))
	if c.client {
		detail += ", the server trusts " + listedTitles(c.rec.listed)
	}
	if c.rec.withheld {
		detail += "; so our certificate was not even sent (RFC 8446 section 4.4.2.3)"
	}
	return say(UnknownAuthority, "%s", detail)
}

// listedTitles reads the names of authorities out of a certificate request.
func listedTitles(listed [][]byte) string {
	const few = 5
	var names []string
	for i, der := range listed {
		if i == few {
			names = append(names, fmt.Sprintf("%d more", len(listed)-few))
			break
		}
		var seq pkix.RDNSequence
		if _, err := asn1.Unmarshal(der, &seq); err != nil {
			names = append(names, "a damaged name")
			continue
		}
		var name pkix.Name
		name.FillFromRDNSequence(&seq)
		names = append(names, fmt.Sprintf("%q", issuerTitle(&x509.Certificate{Issuer: name})))
	}
	if len(names) == 0 {
		return "authorities that it does not name"
	}
	return strings.Join(names, ", ")
}
