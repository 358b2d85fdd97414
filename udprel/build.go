package udprel

import (
	"net/netip"
	"time"
)

// This file is the machine's way out: what goes into the next packet.

// packet writes the next datagram that must leave now to buf, which has room
// for maxDatagram bytes, and returns its length and where it goes. Length 0
// means that there is none for now.
func (m *machine) packet(now time.Duration, buf []byte) (int, netip.AddrPort) {
	switch m.phase {
	case phaseHello:
		return m.sendHello(now, buf)
	case phaseOver:
		if m.received.due != 0 { // set by peerLeft: a last acknowledgement
			return 0, netip.AddrPort{}
		}
		m.received.due = never
		return m.build(now, buf, false), m.path.addr
	}
	if m.sent.full() {
		return 0, netip.AddrPort{} // the peer acknowledges nothing
	}
	if n, to := m.path.packet(m, now, buf); n > 0 {
		return n, to
	}
	m.outMsgs.endRepeats(now, m.rtt.value())
	wants := m.wants()
	if !wants && m.hasRoom() && !m.out.blocked() && m.out.room() > m.out.size/4 {
		m.rate.idle(m.sent.inFlight)
	}
	carry := wants && m.mayCarry(now)
	if !carry && now < m.received.due && !m.path.responds && now < m.repeatAt(4) {
		if n := m.mtuProbe(now, buf); n > 0 {
			return n, m.path.addr
		}
		return 0, netip.AddrPort{}
	}
	return m.build(now, buf, carry), m.path.addr
}

// mayCarry reports whether congestion control lets data leave.
func (m *machine) mayCarry(now time.Duration) bool {
	return m.probes > 0 || (m.hasRoom() && m.pacer.ready(now))
}

func (m *machine) hasRoom() bool {
	return m.sent.inFlight < m.control.Window()
}

// wants reports whether there is anything to send that asks for an
// acknowledgement.
func (m *machine) wants() bool {
	if m.phase == phaseLeaving {
		return m.leaveState == finPending || m.ping
	}
	return m.ping || m.out.wants() || m.outMsgs.head() != nil
}

// build writes a packet: an acknowledgement, and if carry is set, as much data
// as fits.
func (m *machine) build(now time.Duration, buf []byte, carry bool) int {
	limit := m.mtu.size - 1 // for a ping
	b := m.begin(now, buf[:0])
	p := m.sent.add()
	p.at = now

	if m.received.waiting > 0 || m.in.news() || m.inMsgs.news() || (m.probes > 0 && m.ping) {
		b = m.received.appendState(b, (limit-len(b))/2, frame{have: m.in.complete(), streamMax: m.in.max, messageMax: m.inMsgs.max})
		m.in.told, m.inMsgs.told = m.in.max, m.inMsgs.max
		m.received.waiting, m.received.due = 0, never
	}
	m.received.due = never
	ackOnly := len(b)
	if m.path.responds {
		m.path.responds = false
		b = appendFrame(b, frame{kind: frameResponse, data: m.path.response[:]})
	}
	if m.phase == phaseLeaving {
		if carry {
			b = appendFrame(b, frame{kind: frameClose, off: uint64(m.leaveCode)})
			p.frames = append(p.frames, sentFrame{kind: frameClose})
			m.leaveState = finSent
		}
	} else if m.phase <= phaseOpen {
		if len(m.outMsgs.repeated) > 0 {
			b = m.appendRepeats(b, limit, p, now)
		}
		if carry {
			b = m.appendData(b, limit, p, now)
		}
	}
	// The last packet that the window allows asks for an answer at once.
	full := carry && m.sent.inFlight+len(b)+1 >= m.control.Window()
	if carry && (m.ping || full) {
		m.ping = false
		b = append(b, byte(framePing))
	}
	m.launch(p, len(b), len(b) > ackOnly, now)
	return len(b)
}

// begin writes the header of the next packet.
func (m *machine) begin(now time.Duration, b []byte) []byte {
	h := header{
		seq:    uint32(m.sent.next),
		kind:   typeData,
		connID: m.remote,
		oldest: uint16(min(m.sent.next-m.sent.first, 1<<16-1)),
	}
	switch {
	case m.phase != phaseHalf:
		m.received.header(&h, now)
		return appendHeader(b, h)
	case m.client: // nothing has come that could be acknowledged
		h.kind = typeHello
		return appendGreeting(appendHeader(b, h), m.greeting(m.hello.cookie))
	default:
		h.kind = typeWelcome
		m.received.header(&h, now)
		return appendGreeting(appendHeader(b, h), m.greeting(nil))
	}
}

// launch records a packet that leaves.
func (m *machine) launch(p *sentPacket, size int, eliciting bool, now time.Duration) {
	p.size = size
	m.stats.PacketsSent++
	m.stats.BytesSent += uint64(size)
	m.trace(func(t *Trace) func(PacketInfo) { return t.Sent }, now, uint32(p.seq), size)
	if !eliciting {
		m.sent.trim(0)
		return
	}
	p.rate = m.rate.sent(now, m.sent.out == 0)
	m.sent.sent(p)
	m.lastSent = now
	m.probes = max(m.probes-1, 0)
	m.pacer.sent(now, size, m.control.Rate())
	m.control.Sent(now, size, m.sent.inFlight)
}

// appendData fills a packet with messages and stream, which take turns to be
// first.
func (m *machine) appendData(b []byte, limit int, p *sentPacket, now time.Duration) []byte {
	m.turn = !m.turn
	if m.turn {
		b = m.appendMessages(b, limit, p, now)
		return m.appendStream(b, limit, p)
	}
	b = m.appendStream(b, limit, p)
	return m.appendMessages(b, limit, p, now)
}

// The most that frames take besides their data.
const (
	streamOverhead  = 1 + 9 + 3
	messageOverhead = 1 + 2 + 9 + 4 + 4 + 3
)

func (m *machine) appendStream(b []byte, limit int, p *sentPacket) []byte {
	s := &m.out
	for room := limit - len(b) - streamOverhead; room > 0 && s.wantsData(); room = limit - len(b) - streamOverhead {
		off, n := s.take(room)
		b = append(b, byte(frameStream))
		b = appendUvarints(b, off, uint64(n))
		at := len(b)
		b = b[:at+n]
		s.get(off, b[at:])
		p.frames = append(p.frames, sentFrame{kind: frameStream, off: off, n: n})
	}
	if s.fin == finPending && s.next == s.end && limit-len(b) >= streamOverhead {
		s.fin = finSent
		b = appendFrame(b, frame{kind: frameEnd, off: s.end})
		p.frames = append(p.frames, sentFrame{kind: frameEnd})
	}
	return b
}

func (m *machine) appendMessages(b []byte, limit int, p *sentPacket, now time.Duration) []byte {
	for room := limit - len(b) - messageOverhead; room > 0; room = limit - len(b) - messageOverhead {
		msg := m.outMsgs.head()
		if msg == nil {
			break
		}
		first := msg.next == 0
		off, n := msg.take(room)
		n = min(n, len(msg.data))
		b = appendMessage(b, msg, off, n, p)
		m.outMsgs.began(msg, first, now)
	}
	return b
}

// appendRepeats adds the messages that are repeated and not in this packet.
func (m *machine) appendRepeats(b []byte, limit int, p *sentPacket, now time.Duration) []byte {
	pause := m.rtt.value() / 8
	for _, msg := range m.outMsgs.repeated {
		if now-msg.lastSent < pause || msg.next == 0 || limit-len(b) < messageOverhead+len(msg.data) {
			continue
		}
		msg.lastSent = now
		msg.again = msg.again[:0]
		b = appendMessage(b, msg, 0, len(msg.data), p)
		m.stats.Repeats++
	}
	return b
}

func appendMessage(b []byte, msg *outMessage, off uint64, n int, p *sentPacket) []byte {
	p.frames = append(p.frames, sentFrame{kind: frameMessage, off: off, n: n, msg: msg})
	return appendFrame(b, frame{
		kind: frameMessage, channel: msg.channel, id: msg.id, size: uint64(len(msg.data)),
		off: off, data: msg.data[off : off+uint64(n)],
	})
}
