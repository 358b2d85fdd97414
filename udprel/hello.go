package udprel

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// The handshake:
//
//	client                                server
//	hello: id, limits             ------>          remembers nothing
//	                              <------  cookie: a signature of address and time
//	hello: id, limits, cookie,    ------>          now it has a connection
//	       data                   ------>
//	                              <------  welcome: id, limits, data
//	data, to the server's id      ------>          now Accept returns it
//
// A sender who has forged its address does not see the cookie, so it can make
// the server neither remember anything nor send more than it got. The model is
// QUIC's Retry ([RFC 9000 section 8.1.2]); as with the SYN cookies of TCP
// ([RFC 4987 section 3.6]), data follows after one round trip. Every packet of
// the client is a hello until a welcome has come, and every packet of the
// server a welcome until data for its id has come, so no single loss matters.
// Somebody who replays hellos cannot know the id of that time, so what they bring
// never reaches a program.
//
// [RFC 9000 section 8.1.2]: https://www.rfc-editor.org/rfc/rfc9000#section-8.1.2
// [RFC 4987 section 3.6]: https://www.rfc-editor.org/rfc/rfc4987#section-3.6

// A resetToken lets an end that has lost a connection say so. Only it and its
// peer know it.
type resetToken [16]byte

// A cookie is the time at which it was made, and a signature.
const (
	cookieSize     = 8 + 16
	cookieLifetime = 10 * time.Second
	// earlyMax is how much a client may send before it knows the limits of the
	// server, and so the least limit there is.
	earlyMax = 64 << 10
)

// A gate is what a server needs to answer strangers: a key, and no memory.
type gate struct{ key [32]byte }

func newGate() (g gate) {
	rand.Read(g.key[:])
	return g
}

func (g *gate) sign(text []byte) []byte {
	mac := hmac.New(sha256.New, g.key[:])
	mac.Write(text)
	return mac.Sum(nil)[:16]
}

func (g *gate) cookie(now time.Duration, addr netip.AddrPort, clientID uint64) []byte {
	made := binary.BigEndian.AppendUint64(nil, uint64(now))
	text := binary.BigEndian.AppendUint64([]byte("cookie"), clientID)
	text = append(text, made...)
	text, _ = addr.AppendBinary(text)
	return append(made, g.sign(text)...)
}

func (g *gate) valid(cookie []byte, now time.Duration, addr netip.AddrPort, clientID uint64) bool {
	if len(cookie) != cookieSize {
		return false
	}
	made := time.Duration(binary.BigEndian.Uint64(cookie))
	return made <= now && made >= now-cookieLifetime && hmac.Equal(cookie, g.cookie(made, addr, clientID))
}

// token returns the token for connections with our id.
func (g *gate) token(id uint64) resetToken {
	return resetToken(g.sign(binary.BigEndian.AppendUint64([]byte("reset"), id)))
}

// A greeting is the body of a hello or a welcome.
type greeting struct {
	id         uint64 // to be put on packets to the sender of the greeting
	token      resetToken
	streamMax  uint64
	messageMax uint64
	cookie     []byte // in a hello, may be empty
}

func appendGreeting(b []byte, g greeting) []byte {
	b = binary.BigEndian.AppendUint64(b, g.id)
	b = append(b, g.token[:]...)
	b = appendUvarints(b, g.streamMax, g.messageMax, uint64(len(g.cookie)))
	return append(b, g.cookie...)
}

// parseGreeting takes a greeting off b.
func parseGreeting(b []byte) (g greeting, rest []byte, err error) {
	if len(b) < 24 {
		return g, nil, errMalformed
	}
	g.id = binary.BigEndian.Uint64(b)
	g.token = resetToken(b[8:])
	b = b[24:]
	var n uint64
	for _, v := range []*uint64{&g.streamMax, &g.messageMax, &n} {
		if *v, b, err = uvarint(b); err != nil {
			return g, nil, err
		}
	}
	if n > uint64(len(b)) || n > cookieSize || g.streamMax < earlyMax || g.messageMax < earlyMax {
		return g, nil, errMalformed
	}
	g.cookie = b[:n:n]
	return g, b[n:], nil
}

func appendUvarints(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// appendCookie writes the answer to a hello that has no valid cookie.
func (g *gate) appendCookie(b []byte, now time.Duration, from netip.AddrPort, clientID uint64) []byte {
	b = appendHeader(b, header{kind: typeCookie, connID: clientID})
	return append(b, g.cookie(now, from, clientID)...)
}

// appendReset writes the answer to a packet for a connection that is not there.
// It is shorter than any packet that it answers, so two ends never reset each
// other for ever.
func (g *gate) appendReset(b []byte, id uint64) []byte {
	b = appendHeader(b, header{kind: typeReset, connID: id})
	token := g.token(id)
	return append(b, token[:]...)
}

const resetSize = headerSize + 16

// hello is the state of a handshake.
type hello struct {
	cookie []byte        // client: the server's
	tries  int           // client: hellos sent without a cookie
	sentAt time.Duration // client: the last of them; server: the first welcome
	next   time.Duration // client: when the next is due
}

const (
	helloWait    = 100 * time.Millisecond // for an answer, at first
	maxHelloWait = 3 * time.Second
)

// sendHello writes a hello without a cookie, if it is time.
func (m *machine) sendHello(now time.Duration, buf []byte) (int, netip.AddrPort) {
	h := &m.hello
	if now < h.next {
		return 0, netip.AddrPort{}
	}
	h.next = now + min(helloWait<<min(h.tries, 5), maxHelloWait)
	h.tries++
	h.sentAt = now
	b := appendHeader(buf[:0], header{kind: typeHello})
	b = appendGreeting(b, m.greeting(nil))
	// The hello shows how large packets may be at least.
	size := m.mtu.size
	if h.tries > 2 {
		m.mtu.size = minMTU
		size = minMTU
	}
	if n := len(b); n < size {
		b = b[:size]
		clear(b[n:])
	}
	m.stats.PacketsSent++
	m.stats.BytesSent += uint64(len(b))
	return len(b), m.path.addr
}

func (m *machine) greeting(cookie []byte) greeting {
	return greeting{id: m.local, token: m.token, streamMax: m.in.max, messageMax: m.inMsgs.max, cookie: cookie}
}

// receiveCookie takes in the answer to our first hello.
func (m *machine) receiveCookie(now time.Duration, h header, body []byte) {
	if h.kind != typeCookie || len(body) != cookieSize {
		return
	}
	if m.hello.tries == 1 {
		m.rtt.update(now-m.hello.sentAt, 0)
	}
	m.hello.cookie = slices.Clone(body)
	m.out.max, m.outMsgs.max, m.outMsgs.window = earlyMax, earlyMax, earlyMax
	m.phase = phaseHalf
	m.start(now)
}

// greeted takes in the peer's greeting, which comes with packet seq.
func (m *machine) greeted(g greeting, seq uint64, now time.Duration) {
	m.remote, m.peerToken = g.id, g.token
	m.out.max = g.streamMax
	m.outMsgs.max, m.outMsgs.window = g.messageMax, g.messageMax
	m.received = newReceived(seq, now)
}

// accept makes the machine of a server for a client that has shown its address.
func accept(cfg *Config, g *gate, from netip.AddrPort, h header, gr greeting, size int, now time.Duration, seed [32]byte) *machine {
	m := newMachine(cfg, false, from, now, seed)
	m.token = g.token(m.local)
	m.mtu.size = max(min(m.mtu.size, size), minMTU)
	m.phase = phaseHalf
	m.hello.sentAt = now
	m.greeted(gr, firstNumber(h.seq), now)
	return m
}
