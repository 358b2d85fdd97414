package udprel

import (
	"net/netip"
	"time"
)

// A path is where the peer is. A server follows its client to a new address
// once the client has shown that it gets what is sent there ([RFC 9000 section
// 8.2]); the client never follows. Until then the new address gets challenges
// only, at most three bytes for each that came from it.
//
// [RFC 9000 section 8.2]: https://www.rfc-editor.org/rfc/rfc9000#section-8.2
type path struct {
	addr netip.AddrPort // the address in use

	candidate netip.AddrPort // where newer packets come from
	challenge [8]byte
	budget    int           // bytes that may still be sent there
	tries     int           // challenges left
	next      time.Duration // when the next challenge is due

	responds bool // the peer has challenged us
	response [8]byte
}

const (
	amplification  = 3
	challengeTries = 5
)

// seen notes where the newest packet has come from.
func (p *path) seen(m *machine, from netip.AddrPort, size int, now time.Duration) {
	switch {
	case m.client || from == p.addr:
		p.candidate, p.tries = netip.AddrPort{}, 0
		return
	case from != p.candidate:
		p.candidate, p.challenge = from, m.random()
		p.budget, p.tries, p.next = 0, challengeTries, now
	case p.tries == 0 && now >= p.next: // it is still there
		p.tries = challengeTries
	}
	p.budget += amplification * size
}

// packet writes a challenge, if one is due.
func (p *path) packet(m *machine, now time.Duration, buf []byte) (int, netip.AddrPort) {
	if p.tries == 0 || now < p.next || p.budget < headerSize+9 {
		return 0, netip.AddrPort{}
	}
	b := m.begin(now, buf[:0])
	b = appendFrame(b, frame{kind: frameChallenge, data: p.challenge[:]})
	p.budget -= len(b)
	p.tries--
	p.next = now + m.rtt.timeout(0)
	rec := m.sent.add() // not waited for: the answer is what counts
	rec.at = now
	m.launch(rec, len(b), false, now)
	return len(b), p.candidate
}

// answered takes in the answer to a challenge, whichever way it came.
func (p *path) answered(m *machine, data [8]byte, now time.Duration) {
	if !p.candidate.IsValid() || data != p.challenge {
		return
	}
	old := p.addr
	p.addr, p.candidate, p.tries = p.candidate, netip.AddrPort{}, 0
	m.stats.Migrations++
	if old.Addr() != p.addr.Addr() { // another network: nothing that we know holds there
		m.rtt = rttEstimator{}
		m.control = m.cfg.Congestion()
		m.mtu = newMTUSearch(m.cfg, p.addr)
		m.mtu.start()
	}
}

// deadline is when a challenge is due.
func (p *path) deadline() time.Duration {
	if p.tries == 0 || p.budget < headerSize+9 {
		return never
	}
	return p.next
}
