package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

const (
	maxShown = 200  // bytes of clear text in one line
	maxSteps = 1000 // lines about one connection; after that it is only counted
)

// A watcher tells what can be read of one connection. It has no keys and asks
// nobody: everything it says, it takes from the bytes.
type watcher struct {
	mu     sync.Mutex
	out    io.Writer
	number int
	brief  bool
	start  time.Time
	flow   *flow

	client, server netip.AddrPort
	kind           kind
	tap            tlsx.Tap
	steps          int

	// What has been learnt.
	bytes   [2]int64 // by each side
	sealed  [2]int   // encrypted records
	room    [2]int64 // for so many bytes of content in them
	name    string   // that the client asked for
	version uint16
	suite   uint16
	certs   []string
}

// kind is what a connection looks like, once there is something to look at.
type kind int

const (
	unknown kind = iota
	inClear
	isTLS
)

func newWatcher(out io.Writer, number int, brief bool) *watcher {
	w := &watcher{out: out, number: number, brief: brief, start: time.Now()}
	w.tap.Event = w.record
	return w
}

func (w *watcher) begin(client, server netip.AddrPort, f *flow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.client, w.server, w.flow = client, server, f
	w.print("%s connects to %s", client, server)
}

// says adds a remark.
func (w *watcher) says(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.print(format, args...)
}

// print writes a line; w.mu is held.
func (w *watcher) print(format string, args ...any) {
	if w.steps++; w.steps > maxSteps {
		if w.steps == maxSteps+1 {
			fmt.Fprintf(w.out, "#%d … and so on\n", w.number)
		}
		return
	}
	fmt.Fprintf(w.out, "#%d %7.3f ms  %s\n", w.number, float64(time.Since(w.start).Microseconds())/1000, fmt.Sprintf(format, args...))
}

// explain writes lines below the last one.
func (w *watcher) explain(format string, args ...any) {
	if !w.brief && w.steps <= maxSteps {
		fmt.Fprintf(w.out, "       %s\n", fmt.Sprintf(format, args...))
	}
}

func arrow(fromClient bool) string {
	if fromClient {
		return "client → server"
	}
	return "server → client"
}

// sees is given the bytes that a side, 0 the client or 1 the server, has sent,
// in the pieces in which they came.
func (w *watcher) sees(side int, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flow.data(time.Now(), side, p)
	w.bytes[side] += int64(len(p))
	if w.kind == unknown {
		// A TLS client speaks first, and begins with a handshake record: type
		// 22, version 3.x (RFC 8446 section 5.1). Its second byte may come later.
		if w.kind = inClear; side == 0 && p[0] == 22 {
			w.kind = isTLS
		}
	}
	switch {
	case w.kind == isTLS && side == 0:
		w.tap.Client().Write(p) // calls record
	case w.kind == isTLS:
		w.tap.Server().Write(p)
	default:
		shown, more := p, ""
		if len(p) > maxShown {
			shown, more = p[:maxShown], fmt.Sprintf("… (%d bytes)", len(p))
		}
		// Quoted: strangers' bytes must not command the terminal.
		w.print("%s  %q%s", arrow(side == 0), shown, more)
	}
}

// ends is told that a side has closed its direction.
func (w *watcher) ends(side int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flow.fin(time.Now(), side)
}

// record tells of one record of TLS; w.mu is held by sees.
func (w *watcher) record(e tlsx.Event) {
	side := 1
	if e.FromClient {
		side = 0
	}
	if e.Err != nil {
		w.print("%s  this is no TLS any more: %v", arrow(e.FromClient), e.Err)
		return
	}
	what := map[uint8]string{20: "change cipher spec", 21: "alert", 22: "handshake", 23: "application data"}[e.Type]
	switch {
	case e.Encrypted:
		w.sealed[side]++
		w.room[side] += int64(max(e.Content, 0))
		fits := ""
		if e.Content >= 0 {
			fits = fmt.Sprintf(": room for %d bytes", e.Content)
		}
		w.print("%s  %s, %d bytes, encrypted%s", arrow(e.FromClient), what, e.Size, fits)
		if e.Type == 23 && w.version == tls.VersionTLS13 && w.sealed[side] == 1 {
			w.explain("TLS 1.3 gives every encrypted record this label. What is inside, the rest of")
			w.explain("the handshake or the talk itself, cannot be told but by guessing from sizes.")
		}
		return
	case e.Alert != nil:
		w.print("%s  alert: %s", arrow(e.FromClient), strings.TrimPrefix(e.Alert.Error(), "tls: "))
		return
	case e.Type != 22:
		w.print("%s  %s, %d bytes", arrow(e.FromClient), what, e.Size)
		if e.Type == 20 {
			if w.version == tls.VersionTLS13 {
				w.explain("It means nothing in TLS 1.3, and is sent so that old devices on the way see what")
				w.explain("they expect (RFC 8446 appendix D.4).")
			} else {
				w.explain("What this side sends from here on is encrypted.")
			}
		}
		return
	case len(e.Messages) == 0:
		w.print("%s  %s, %d bytes, in clear: a part of a message", arrow(e.FromClient), what, e.Size)
		return
	}
	for _, m := range e.Messages {
		w.message(e, m)
	}
}

// message tells of one handshake message in clear.
func (w *watcher) message(e tlsx.Event, m tlsx.Message) {
	w.learn(m)
	w.print("%s  handshake, %d bytes, in clear: %s", arrow(e.FromClient), m.Size, m)
	switch {
	case m.ClientHello != nil:
		h := m.ClientHello
		w.explain("The client proposes. There is no key yet, so that all of this is public:")
		w.explain("name wanted (SNI)  %q", h.ServerName)
		w.explain("versions           %s", list(offered(h), tls.VersionName))
		w.explain("cipher suites      %s", list(h.CipherSuites, tls.CipherSuiteName))
		w.explain("protocols (ALPN)   %s", list(h.Protocols, func(s string) string { return fmt.Sprintf("%q", s) }))
		w.explain("key shares         %s", list(h.KeyShares, func(k tlsx.KeyShare) string { return fmt.Sprintf("%v of %d bytes", k.Group, k.Size) }))
	case m.ServerHello != nil && m.ServerHello.Retry:
		w.explain("The server wants a key share of another kind: the client has to begin again.")
	case m.ServerHello != nil && w.version == tls.VersionTLS13:
		w.explain("The server chooses, and sends its key share, %v of %d bytes. From the two shares", m.ServerHello.Group, m.ServerHello.KeyShare)
		w.explain("both ends compute the same key. The listener has both too, and cannot: that is")
		w.explain("the point of Diffie and Hellman. All that follows is encrypted.")
	case m.ServerHello != nil:
		w.explain("The server chooses. No keys yet in TLS 1.2: everything up to \"change cipher")
		w.explain("spec\" is in clear.")
	case m.Certificates != nil:
		w.explain("TLS 1.2 shows who the server is; TLS 1.3 no longer does:")
		for _, c := range m.Certificates {
			w.explain("subject %q, issuer %q, serial %x, until %s", c.Subject.CommonName, c.Issuer.CommonName, c.SerialNumber, c.NotAfter.Format(time.DateOnly))
			w.explain("names %s, fingerprint %.23s…", list(c.DNSNames, func(s string) string { return fmt.Sprintf("%q", s) }), tlsx.Fingerprint(c))
		}
	case m.Type == 12:
		w.explain("The server's key share, signed with the key of its certificate: that is how the")
		w.explain("client knows that nobody stands between.")
	case m.Type == 14:
		w.explain("The server has said its part.")
	case m.Type == 16:
		w.explain("The client's key share: both ends have the key now, and the listener has not.")
	}
}

// learn keeps what the end of the connection will sum up.
func (w *watcher) learn(m tlsx.Message) {
	if h := m.ClientHello; h != nil {
		w.name = h.ServerName
	}
	if h := m.ServerHello; h != nil {
		w.version, w.suite = h.Version, h.CipherSuite
	}
	for _, c := range m.Certificates {
		w.certs = append(w.certs, tlsx.Title(c))
	}
}

// offered are the versions that a client takes, without the meaningless ones.
func offered(h *tlsx.ClientHello) (list []uint16) {
	for _, v := range h.Versions {
		if !tlsx.IsGREASE(v) {
			list = append(list, v)
		}
	}
	if list == nil {
		list = []uint16{h.Version}
	}
	return list
}

// list joins a few of the names of things.
func list[T any](all []T, name func(T) string) string {
	const few = 4
	if len(all) == 0 {
		return "none"
	}
	var names []string
	for i, x := range all {
		if i == few {
			names = append(names, fmt.Sprintf("%d more", len(all)-few))
			break
		}
		names = append(names, name(x))
	}
	return strings.Join(names, ", ")
}

// over sums up: what the listener knows now.
func (w *watcher) over(err error, stopped bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = min(w.steps, maxSteps-1) // the last line is always printed
	how := "closed"
	switch {
	case stopped:
		how = "still open when the tap was stopped"
	case errors.Is(err, io.EOF):
		how = "closed by the other side"
	case err != nil:
		how = cli.Explain(plain(err))
		w.flow.rst(time.Now(), 0)
	}
	w.print("%s; the client sent %d bytes, the server %d", how, w.bytes[0], w.bytes[1])
	var known string
	switch w.kind {
	case inClear:
		known = "every byte of it"
	case isTLS:
		facts := []string{fmt.Sprintf("%s spoke with %s", w.client, w.server)}
		if w.name != "" {
			facts = append(facts, fmt.Sprintf("called %q", w.name))
		}
		if w.version != 0 {
			facts = append(facts, tls.VersionName(w.version)+" with "+tls.CipherSuiteName(w.suite))
		}
		if len(w.certs) > 0 {
			facts = append(facts, fmt.Sprintf("certificate of %q", w.certs[0]))
		}
		known = fmt.Sprintf("%s; %d and %d encrypted records with room for %d and %d bytes, and not one of these bytes",
			strings.Join(facts, ", "), w.sealed[0], w.sealed[1], w.room[0], w.room[1])
	default:
		return
	}
	fmt.Fprintf(w.out, "#%d the listener knows: %s\n", w.number, known)
}
