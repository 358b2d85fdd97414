package udprel

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// A machine is one end of a connection without its surroundings: it has no
// socket, no goroutine and no clock. Packets, requests of the program and the
// time go in; packets, and the time at which it wants to be asked again, come
// out. Times count from an arbitrary start.
type machine struct {
	cfg    *Config // with defaults filled in
	conn   *Conn   // for Trace
	client bool
	phase  phase
	err    error // why it is over
	rng    *rand.ChaCha8

	local, remote uint64     // connection ids: what we receive, what we send
	token         resetToken // ends the connection on our side
	peerToken     resetToken // on the peer's: comes with the handshake

	hello hello // the client's
	path  path
	mtu   mtuSearch

	received received
	sent     sentLog
	rtt      rttEstimator
	loss     lossDetector
	rate     rateMeter
	control  Controller
	pacer    pacer

	out     outStream
	in      inStream
	outMsgs outMessages
	inMsgs  inMessages

	turn       bool          // messages go first in the next packet
	ping       bool          // send something that asks for an acknowledgement
	probes     int           // packets that may leave although the window is full
	timeouts   int           // probe timeouts since the last acknowledgement
	silent     bool          // so many that congestion control knows
	lastSent   time.Duration // last packet that asks for an acknowledgement
	lastHeard  time.Duration
	leaveCode  closeCode
	leaveState finState // of the close frame
	stats      Stats
}

type phase uint8

const (
	phaseHello   phase = iota // client: nobody has answered
	phaseHalf                 // data may flow, but the client does not know the server's id for certain
	phaseOpen                 // data flows
	phaseLeaving              // we have closed; the peer is being told
	phaseOver
)

// A closeCode is why an end leaves.
type closeCode uint64

const (
	closeDone     closeCode = iota // everything was delivered
	closeAbort                     // not everything was
	closeProtocol                  // the peer made a mistake
)

const (
	maxTimeouts = 10 // doublings of the probe timeout are limited by maxTimeout
	maxTimeout  = time.Second
	leaveTries  = 4 // how often the peer is told that we leave
	// Congestion control learns of silence after so many timeouts, and so much
	// time: on a busy machine a thread may rest for some milliseconds.
	silentAfter = 3
	silence     = 100 * time.Millisecond
)

// firstNumber turns an initial sequence number into one of 64 bits, with room
// below, so that comparisons need no special case.
func firstNumber(seq uint32) uint64 { return 1<<32 + uint64(seq) }

func newMachine(cfg *Config, client bool, addr netip.AddrPort, now time.Duration, seed [32]byte) *machine {
	m := &machine{cfg: cfg, client: client, rng: rand.NewChaCha8(seed)}
	m.local = m.rng.Uint64()
	m.path.addr = addr
	m.sent = newSentLog(firstNumber(uint32(m.rng.Uint64())))
	m.control = cfg.Congestion()
	m.received.due = never
	m.out.size, m.in.size = cfg.SendBuffer, cfg.ReceiveBuffer
	m.in.max, m.in.told = uint64(cfg.ReceiveBuffer), uint64(cfg.ReceiveBuffer)
	m.outMsgs.size, m.inMsgs.size = cfg.SendBuffer, cfg.MessageBuffer
	m.inMsgs.max, m.inMsgs.told = uint64(cfg.MessageBuffer), uint64(cfg.MessageBuffer)
	m.lastHeard, m.lastSent = now, now
	m.loss.timer = never
	m.mtu = newMTUSearch(cfg, addr)
	return m
}

// over ends the connection.
func (m *machine) over(err error) {
	if m.phase != phaseOver {
		m.phase, m.err = phaseOver, err
	}
}

// receive takes in a packet of the connection. size is that of the datagram.
func (m *machine) receive(now time.Duration, h header, body []byte, from netip.AddrPort, size int) {
	m.stats.PacketsReceived++
	m.stats.BytesReceived += uint64(size)
	switch m.phase {
	case phaseOver:
		return
	case phaseHello:
		m.receiveCookie(now, h, body)
		return
	}
	if h.kind == typeCookie && m.client && m.phase == phaseHalf && len(body) == cookieSize {
		m.hello.cookie = slices.Clone(body) // ours has become too old
		return
	}
	seq := expand(h.seq, m.received.newest+1)
	known := !m.client || m.phase != phaseHalf // the peer's numbers
	var g greeting
	if h.kind == typeHello || h.kind == typeWelcome {
		var err error
		if g, body, err = parseGreeting(body); err != nil {
			m.stats.Malformed++
			return
		}
	}
	urgent, ok := scan(body)
	ack := expand(h.ack, m.sent.next)
	fits := h.kind == typeData || (h.kind == typeWelcome && m.client) || (h.kind == typeHello && !m.client)
	if !ok || !fits || (h.kind != typeHello && ack >= m.sent.next) || (!known && h.kind != typeWelcome) {
		m.stats.Malformed++
		return
	}
	switch {
	case !known:
		seq = firstNumber(h.seq)
		m.greeted(g, seq, now)
		m.received.first = 0
		m.ping = true // the server waits for a sign that we know its id
		m.open(now)
	case m.received.first == seq: // it has made this connection
		m.received.first = 0
	case !m.received.isNew(seq):
		m.stats.Duplicates++
		return
	}
	if m.phase == phaseHalf && h.kind == typeData {
		m.rtt.update(now-m.hello.sentAt, 0)
		m.open(now)
		m.start(now)
	}
	isNewest := seq >= m.received.newest
	if m.phase == phaseOpen { // who shakes hands or leaves has only so much time
		m.lastHeard = now
	}
	m.received.arrived(seq, seq-uint64(h.oldest), urgent, now, m.ackDelay())
	m.trace(func(t *Trace) func(PacketInfo) { return t.Received }, now, h.seq, size)

	var ranges []byte
	for rest := body; len(rest) > 0; {
		var f frame
		f, rest, _ = parseFrame(rest) // scan has looked at it
		if f.kind == frameState {
			m.receiveState(&f)
			ranges = f.data
		} else if err := m.receiveFrame(now, &f); err != nil {
			m.leave(closeProtocol)
			m.err = err
			return
		}
	}
	if h.kind != typeHello {
		m.acknowledged(now, ack, h.bits, ranges, time.Duration(h.delay)*delayUnit)
	}
	if isNewest && m.phase != phaseHalf {
		m.path.seen(m, from, size, now)
	}
}

// ackDelay is how long an acknowledgement may wait.
func (m *machine) ackDelay() time.Duration {
	return min(m.rtt.value()/8, maxAckDelay)
}

func (m *machine) receiveFrame(now time.Duration, f *frame) error {
	// A client that does not know our limits yet keeps to the least there is.
	// So half-open connections take little memory.
	early := m.phase == phaseHalf
	if early && max(f.off+uint64(len(f.data)), f.size) > earlyMax {
		return ErrProtocol
	}
	switch f.kind {
	case frameStream:
		return m.in.receive(f.off, f.data)
	case frameEnd:
		return m.in.finish(f.off)
	case frameMessage:
		if early && f.channel.mode() == Unreliable && m.inMsgs.loose+int(f.size) > earlyMax {
			return nil
		}
		err := m.inMsgs.receive(f)
		if early && m.inMsgs.used > earlyMax {
			return ErrProtocol
		}
		return err
	case frameChallenge:
		m.path.response = [8]byte(f.data)
		m.path.responds = true
	case frameResponse:
		m.path.answered(m, [8]byte(f.data), now)
	case frameClose:
		m.peerLeft(closeCode(f.off))
	}
	return nil
}

// receiveState takes in what the peer's streams have got and may still get.
func (m *machine) receiveState(f *frame) {
	m.out.ack(0, f.have)
	m.out.max = max(m.out.max, f.streamMax)
	m.outMsgs.max = max(m.outMsgs.max, f.messageMax)
}

// peerLeft ends the connection on the word of the peer. A last packet tells it
// that we know.
func (m *machine) peerLeft(code closeCode) {
	switch {
	case m.phase == phaseLeaving: // both at once
		m.over(m.err)
	case code == closeDone:
		m.over(ErrPeerClosed)
	case code == closeProtocol:
		m.over(ErrProtocol)
	default:
		m.over(ErrAborted)
	}
	m.received.due = 0
}

// acknowledged takes in what a packet says about ours.
func (m *machine) acknowledged(now time.Duration, newest uint64, bits uint32, ranges []byte, delay time.Duration) {
	f := Feedback{Now: now}
	wasNewest := m.loss.newest
	eachAcked(newest, bits, ranges, func(lo, hi uint64) {
		lo, hi = max(lo, m.sent.first), min(hi, m.sent.next)
		for seq := lo; seq < hi; seq++ {
			p := m.sent.at(seq)
			if p.fate == fateOut || p.fate == fateLost {
				m.arrivedThere(p, now, wasNewest, &f)
			}
		}
	})
	if f.Acked > 0 {
		m.timeouts, m.probes, m.silent = 0, 0, false
		if m.loss.newest > wasNewest {
			m.loss.relax(m.sent.next)
			if p := m.loss.newest; p == newest { // the packet whose delay we know
				f.RTT = max(now-m.loss.newestAt, minRTT)
				m.rtt.update(f.RTT, min(delay, maxAckDelay))
			}
		}
	}
	m.detectLoss(now, &f)
	m.feedback(f)
}

// feedback tells congestion control, if there is something to tell.
func (m *machine) feedback(f Feedback) {
	if f.Acked == 0 && f.Lost == 0 && !f.Silence {
		return
	}
	m.rate.take(&f)
	f.InFlight, f.MTU = m.sent.inFlight, m.mtu.size
	f.Smoothed, f.Smallest = m.rtt.value(), m.rtt.smallest
	m.control.Feedback(f)
}

// arrivedThere handles the acknowledgement of one packet.
func (m *machine) arrivedThere(p *sentPacket, now time.Duration, wasNewest uint64, f *Feedback) {
	if m.loss.acked(p, now) && p.seq < wasNewest {
		m.loss.overtaken(p, now, m.rtt.value())
	}
	if p.fate == fateLost {
		f.Spurious += p.size
		m.stats.Spurious++
		m.rate.lost -= min(m.rate.lost, uint64(p.size))
	}
	f.Acked += p.size
	m.rate.acked(p, now)
	m.sent.settle(p, fateAcked)
	if p.probe {
		m.mtu.passed(p.size)
	}
	for i := range p.frames {
		switch s := &p.frames[i]; s.kind {
		case frameStream:
			m.out.ack(s.off, s.off+uint64(s.n))
		case frameEnd:
			m.out.fin = finAcked
		case frameMessage:
			m.outMsgs.ack(s.msg, s.off, s.n)
		case frameClose:
			m.leaveState = finAcked
			m.over(m.err)
		}
	}
}

// detectLoss gives up packets that should have arrived by now.
func (m *machine) detectLoss(now time.Duration, f *Feedback) {
	m.loss.timer = never
	patience := max(m.rtt.value()/4, time.Millisecond)
	for seq := m.sent.first; seq < min(m.sent.next, m.loss.newest); seq++ {
		p := m.sent.at(seq)
		if p.fate != fateOut || !m.loss.lost(p, now, patience) {
			continue
		}
		m.sent.settle(p, fateLost)
		m.stats.PacketsLost++
		m.trace(func(t *Trace) func(PacketInfo) { return t.Lost }, now, uint32(p.seq), p.size)
		if p.probe {
			m.mtu.failed(p.size)
		} else {
			f.Lost += p.size
			f.LostSent = p.at
			m.rate.lost += uint64(p.size)
		}
		m.again(p)
	}
	m.sent.trim(now - 2*m.rtt.value())
}

// again puts what a packet carried back to be sent.
func (m *machine) again(p *sentPacket) {
	for i := range p.frames {
		switch s := &p.frames[i]; s.kind {
		case frameStream:
			m.out.lost(s.off, s.off+uint64(s.n))
		case frameEnd:
			if m.out.fin == finSent {
				m.out.fin = finPending
			}
		case frameMessage:
			m.outMsgs.lost(s.msg, s.off, s.n, p.at)
		case frameClose:
			if m.leaveState == finSent {
				m.leaveState = finPending
			}
		}
	}
}

// start begins to send, with what the handshake says about the path.
func (m *machine) start(now time.Duration) {
	m.ping = true
	m.lastSent = now
	m.control.Feedback(Feedback{Now: now, RTT: m.rtt.latest, Smoothed: m.rtt.value(), Smallest: m.rtt.smallest, MTU: m.mtu.size})
}

// open ends the handshake.
func (m *machine) open(now time.Duration) {
	m.phase = phaseOpen
	m.lastHeard = now
	m.mtu.start()
}

// write takes bytes for the stream.
func (m *machine) write(p []byte) int { return m.out.write(p) }

// closeWrite ends the stream after what has been written.
func (m *machine) closeWrite() {
	if m.out.fin == finOpen {
		m.out.fin = finPending
	}
}

// delivered reports whether the peer has everything.
func (m *machine) delivered() bool { return m.out.done() && m.outMsgs.count == 0 }

// leave starts to tell the peer that we are gone.
func (m *machine) leave(code closeCode) {
	switch m.phase {
	case phaseOpen:
		m.phase = phaseLeaving
		m.leaveCode, m.leaveState = code, finPending
		m.err = errLocal
		m.timeouts, m.probes = 0, 2
		m.outMsgs.repeated = nil
	case phaseHello, phaseHalf:
		m.over(errLocal) // whoever is there finds out by itself
	}
}

// timeout does what is due at time now.
func (m *machine) timeout(now time.Duration) {
	if m.phase == phaseOver {
		return
	}
	if now >= m.idleAt() {
		err := ErrTimeout
		if m.phase == phaseHello || m.phase == phaseHalf {
			err = ErrHandshake
		} else if m.phase == phaseLeaving {
			err = m.err
		}
		m.over(err)
		return
	}
	if m.phase == phaseHello {
		return // packet looks at the time
	}
	if now >= m.loss.timer {
		f := Feedback{Now: now}
		m.detectLoss(now, &f)
		m.feedback(f)
	}
	if now >= m.probeAt() {
		m.probeTimeout(now)
	}
	if now >= m.keepAliveAt() {
		m.ping = true
	}
}

// probeTimeout asks for an acknowledgement when none has come: it sends the
// oldest data once more, whatever the window says ([RFC 9002 section 6.2]).
//
// [RFC 9002 section 6.2]: https://www.rfc-editor.org/rfc/rfc9002#section-6.2
func (m *machine) probeTimeout(now time.Duration) {
	m.timeouts++
	m.lastSent = now
	m.stats.Timeouts++
	if m.phase == phaseLeaving && m.timeouts >= leaveTries {
		m.over(m.err)
		return
	}
	m.probes, m.ping = 2, true
	for seq, n := m.sent.first, 0; seq < m.sent.next && n < m.probes; seq++ {
		if p := m.sent.at(seq); p.fate == fateOut && !p.probe {
			m.again(p)
			n++
		}
	}
	if m.timeouts >= silentAfter && !m.silent && now-m.lastHeard >= silence {
		m.silent = true
		m.mtu.blackHole()
		m.feedback(Feedback{Now: now, Silence: true})
	}
}

// probeAt is when the next probe timeout is.
func (m *machine) probeAt() time.Duration {
	blocked := m.phase <= phaseOpen && (m.out.blocked() || m.outMsgs.blocked())
	if m.sent.out == 0 && !blocked && m.timeouts == 0 && !m.ping {
		return never
	}
	wait := m.rtt.timeout(m.ackDelay()) << min(m.timeouts, maxTimeouts)
	return m.lastSent + min(wait, max(maxTimeout, 2*m.rtt.value()))
}

func (m *machine) idleAt() time.Duration {
	if m.phase < phaseOpen {
		return m.lastHeard + m.cfg.HandshakeTimeout
	}
	return m.lastHeard + m.cfg.IdleTimeout
}

func (m *machine) keepAliveAt() time.Duration {
	if m.cfg.KeepAlive <= 0 || m.sent.out > 0 || m.ping {
		return never
	}
	return max(m.lastHeard, m.lastSent) + m.cfg.KeepAlive
}

// deadline is when timeout or packet must be called again, if nothing else
// happens before.
func (m *machine) deadline(now time.Duration) time.Duration {
	if m.phase == phaseOver {
		return never
	}
	if m.phase == phaseHello {
		return min(m.idleAt(), m.hello.next)
	}
	if m.sent.full() {
		return min(m.idleAt(), m.loss.timer)
	}
	at := min(m.idleAt(), m.loss.timer, m.probeAt(), m.keepAliveAt(), m.path.deadline(), m.received.due, m.repeatAt(4))
	if m.hasRoom() && m.wants() {
		at = min(at, m.pacer.next-paceAhead/2)
	}
	return at
}

// repeatAt is when the oldest repeated message is due again, a part of the
// round trip after it was last sent.
func (m *machine) repeatAt(part time.Duration) time.Duration {
	at := never
	for _, msg := range m.outMsgs.repeated {
		if !msg.done {
			at = min(at, msg.lastSent+max(m.rtt.value()/part, time.Millisecond))
		}
	}
	return at
}

// random returns eight bytes that nobody can guess.
func (m *machine) random() (b [8]byte) {
	binary.BigEndian.PutUint64(b[:], m.rng.Uint64())
	return b
}
