package simnet

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What the model of TCP does, in one place. A stream has a fixed window and no
// congestion control: instead it waits until its link has room (Model.Room).
const (
	segmentMTU = 1500 // of a link that has none
	firstRTO   = time.Second
	minRTO     = 200 * time.Millisecond
	maxRTO     = 4 * time.Second // so that a healed partition goes on soon
	fastAfter  = 3               // segments that overtake one thought lost (RFC 5681 section 3.2)
)

// Flags of a segment, as in TCP.
type flags uint8

const (
	flagSYN flags = 1 << iota
	flagACK
	flagFIN
	flagRST
	flagProbe // asks for an acknowledgement, as TCP's window probe does
)

func (f flags) String() string {
	var names []string
	for _, bit := range []struct {
		flags
		name string
	}{{flagSYN, "SYN"}, {flagFIN, "FIN"}, {flagRST, "RST"}, {flagACK, "ACK"}} {
		if f&bit.flags != 0 {
			names = append(names, bit.name)
		}
	}
	return strings.Join(names, " ")
}

// A segment is what a packet of a stream says. It carries no bytes: the
// receiver takes them from the sender's buffer, which keeps them until they
// are acknowledged. Positions count the bytes of a direction from 0; the end
// takes one more position, so that it is acknowledged as well.
type segment struct {
	from, to *Conn // to is nil in a SYN
	flags    flags
	lo, hi   uint64 // positions carried
	ack      uint64 // position expected next
	edge     uint64 // positions below may be sent
	sack     span   // what is acknowledged besides (RFC 2018)
}

// A span is the positions from lo up to but not including hi.
type span struct{ lo, hi uint64 }

// A sending is a span on its way.
type sending struct {
	span
	at       time.Duration // sent last
	tries    uint8         // sent again so often
	received bool          // acknowledged out of order
	lost     bool          // to be sent again
}

type state uint8

const (
	dialling  state = iota // SYN sent
	answering              // SYN ACK sent
	connected
	done // err says why; nil: both directions ended
)

// begin makes a stream of host h.
func (h *Host) begin(network string, local, remote netip.AddrPort) *Conn {
	c := &Conn{
		host: h, network: network, local: local, remote: remote,
		wire:  h.n.wireBetween(h, local.Addr(), remote.Addr()),
		rto:   firstRTO,
		began: h.n.now(),
	}
	c.snd.limit, c.rcv.limit = defaultWindow, defaultWindow
	c.told = defaultWindow
	c.readable.L, c.writable.L = &h.n.mu, &h.n.mu
	h.conns[c] = true
	return c
}

// dialStream connects; the network is locked.
func (h *Host) dialStream(ctx context.Context, network string, local, remote netip.AddrPort) (*Conn, error) {
	local, keys, err := claim(h, h.tcp, network, local, (*Listener)(nil))
	if err != nil {
		return nil, err
	}
	c := h.begin(network, local, remote)
	c.keys = keys
	h.n.touch(c)
	stop := context.AfterFunc(ctx, func() {
		h.n.mu.Lock()
		defer h.n.mu.Unlock()
		c.writable.Broadcast()
	})
	defer stop()
	for c.state == dialling && ctx.Err() == nil {
		c.writable.Wait()
	}
	switch {
	case c.state == dialling:
		c.end(net.ErrClosed)
		return nil, context.Cause(ctx)
	case c.err == nil:
		return c, nil
	case c.err == net.ErrClosed:
		return nil, c.err
	}
	return nil, os.NewSyscallError("connect", c.err)
}

func (c *Conn) timeout() time.Duration {
	if t := c.host.n.UserTimeout; t > 0 {
		return t
	}
	return time.Minute
}

// mss returns how many bytes fit in a segment now.
func (c *Conn) mss() uint64 {
	mtu := c.host.mtu
	if c.remote.Addr().IsLoopback() {
		mtu = 0
	}
	if c.wire != nil {
		if k := c.wire.model.knobs.MTU; k > 0 && (mtu == 0 || k < mtu) {
			mtu = k
		}
	}
	if mtu == 0 {
		mtu = segmentMTU
	}
	return uint64(max(mtu-headerSize(c.remote.Addr(), 20), 1))
}

// last returns the position behind the last byte written so far.
func (c *Conn) last() uint64 { return c.base + uint64(c.snd.n) }

// act does what a program's call made necessary.
func (c *Conn) act(now time.Duration) {
	switch {
	case c.state == done:
		if c.abort {
			c.abort = false
			c.refuse(now)
		}
	case c.state == dialling:
		c.hello(now)
	default:
		if c.window() >= c.told+min(2*c.mss(), uint64(c.rcv.limit)/2) {
			c.acknowledge(now, span{})
		}
		c.output(now)
	}
}

// emit sends one packet of the stream, with an acknowledgement on it.
func (c *Conn) emit(now time.Duration, s segment) {
	n := c.host.n
	if c.wire == nil { // the host was not there so far
		c.wire = n.wireBetween(c.host, c.local.Addr(), c.remote.Addr())
	}
	c.told = max(c.told, c.window())
	s.from, s.to, s.ack, s.edge = c, c.peer, c.next, c.told
	p := n.alloc()
	p.kind, p.wire, p.src, p.dst, p.segment = stream, c.wire, c.local, c.remote, s
	bytes := s.hi - s.lo
	if s.flags&flagFIN != 0 {
		bytes = 0
	}
	p.size = headerSize(c.remote.Addr(), 20) + int(bytes)
	if bytes > 0 && (n.Trace != nil || n.Lose != nil) {
		p.data = c.snd.peek(p.data, int(s.lo-c.base), int(bytes))
	}
	n.transmit(p, now)
}

// hello sends the SYN, or the SYN ACK, and sets the alarm to repeat it.
func (c *Conn) hello(now time.Duration) {
	f := flagSYN
	if c.state == answering {
		f |= flagACK
	}
	c.heard = max(c.heard, c.began) // the time-out counts from the first one
	c.emit(now, segment{flags: f})
	c.setAlarm(now+firstRTO<<min(c.hellos, 6), now)
	c.hellos++
}

// refuse sends RST.
func (c *Conn) refuse(now time.Duration) {
	c.emit(now, segment{flags: flagRST | flagACK, lo: c.sent, hi: c.sent})
}

// acknowledge sends ACK for all that came in order, and for received besides.
func (c *Conn) acknowledge(now time.Duration, received span) {
	c.emit(now, segment{flags: flagACK, lo: c.sent, hi: c.sent, sack: received})
}

// segmentArrives gives a packet to the stream that it is for.
func (n *Network) segmentArrives(p *packet, now time.Duration) {
	s := &p.segment
	if s.flags == flagSYN {
		n.synArrives(p, now)
		return
	}
	c := s.to
	if s.flags&flagSYN != 0 && c.peer == nil {
		c.peer = s.from
	}
	switch {
	case s.flags&flagRST != 0:
		if c.state == dialling {
			c.end(syscall.ECONNREFUSED)
		} else if c.state != done {
			c.end(syscall.ECONNRESET)
		}
		return
	case c.state == done && c.err != nil:
		c.refuse(now)
		return
	case c.state == done:
		// Both directions have ended; the peer may have missed our last
		// acknowledgement (TCP's TIME-WAIT).
		if s.hi > s.lo {
			c.acknowledge(now, span{})
		}
		return
	case s.flags&flagSYN != 0: // SYN ACK
		if c.state == dialling {
			c.state = connected
			if c.hellos == 1 {
				c.measure(now - c.began)
			}
			c.writable.Broadcast()
		}
		c.granted = max(c.granted, s.edge)
		c.heard = now
		c.acknowledge(now, span{})
		c.output(now)
		return
	case c.state == dialling:
		return
	case c.state == answering:
		c.state = connected
		if c.hellos == 1 {
			c.measure(now - c.began)
		}
		c.listener.connected(c)
		if c.state == done {
			return
		}
	}
	c.acknowledged(s, now)
	if s.hi > s.lo {
		c.receive(s, now)
	} else if s.flags&flagProbe != 0 {
		c.acknowledge(now, span{})
	}
	c.finish()
	c.output(now)
}

// synArrives answers a SYN.
func (n *Network) synArrives(p *packet, now time.Duration) {
	client, h := p.from, p.wire.to
	if client.state == done {
		return // it gave up
	}
	if c := client.answer; c != nil { // repeated
		if c.state == answering {
			c.emit(now, segment{flags: flagSYN | flagACK})
		}
		return
	}
	l := h.tcp[p.dst]
	if l == nil {
		l = h.tcp[netip.AddrPortFrom(unspecified(p.dst.Addr()), p.dst.Port())]
	}
	if l == nil {
		r := n.alloc()
		r.kind, r.src, r.dst = stream, p.dst, p.src
		r.size = headerSize(p.src.Addr(), 20)
		r.segment = segment{to: client, flags: flagRST | flagACK}
		r.wire = n.wireBetween(h, p.dst.Addr(), p.src.Addr())
		n.transmit(r, now)
		return
	}
	if l.opening+len(l.queue) >= backlog {
		return // like TCP: the client will try again
	}
	c := h.begin(l.network, p.dst, p.src)
	c.state, c.listener, c.peer = answering, l, client
	c.granted = p.edge
	client.answer = c
	l.opening++
	c.hello(now)
}

// acknowledged takes note of what the peer has received.
func (c *Conn) acknowledged(s *segment, now time.Duration) {
	switch {
	case s.ack > c.una || s.edge > c.granted || s.sack.hi > s.sack.lo:
		c.heard, c.probes = now, 0
	case c.probes > 0:
		c.heard = now // it does not read, but it is there
	}
	c.granted = max(c.granted, s.edge)
	if s.ack > c.una {
		c.una = s.ack
		bytes := min(s.ack, c.last()) - c.base
		c.snd.discard(int(bytes))
		c.base += bytes
		for len(c.flight()) > 0 && c.flight()[0].hi <= s.ack {
			f := &c.flight()[0]
			if f.tries == 0 && !f.received { // Karn's rule (RFC 6298 section 3)
				c.measure(now - f.at)
			}
			if f.lost {
				c.lost--
			}
			c.head++
		}
		if c.head > len(c.sending)/2 { // not each time: moving the rest takes time
			c.sending, c.head = slices.Delete(c.sending, 0, c.head), 0
		}
		c.writable.Broadcast()
	}
	if s.sack.hi <= max(s.sack.lo, s.ack) {
		return
	}
	flight := c.flight()
	first, _ := slices.BinarySearchFunc(flight, s.sack.lo, func(f sending, lo uint64) int { return cmp.Compare(f.lo, lo) })
	for i := first; i < len(flight) && flight[i].hi <= s.sack.hi; i++ {
		if f := &flight[i]; !f.received {
			f.received = true
			if f.lost {
				f.lost = false
				c.lost--
			}
		}
	}
	c.sacked = max(c.sacked, s.sack.hi)
	for i := range flight {
		f := &flight[i]
		if f.hi+fastAfter*c.mss() > c.sacked {
			break
		}
		if f.tries == 0 && !f.received && !f.lost {
			f.lost = true
			c.lost++
		}
	}
}

// receive takes in the positions of s.
func (c *Conn) receive(s *segment, now time.Duration) {
	if s.flags&flagFIN != 0 {
		c.ended, c.fin = true, s.lo
	}
	if c.closed && s.hi > c.next && s.flags&flagFIN == 0 {
		// Nobody will ever read this (RFC 9293 section 3.10.7.1).
		c.refuse(now)
		c.end(net.ErrClosed)
		return
	}
	if s.hi > c.next {
		c.ahead = insert(c.ahead, span{max(s.lo, c.next), s.hi})
		if a := c.ahead[0]; a.lo <= c.next {
			bytes := a.hi - c.next
			if c.ended && a.hi > c.fin {
				bytes--
			}
			if bytes > 0 {
				c.rcv.moveFrom(&c.peer.snd, int(c.next-c.peer.base), int(bytes))
			}
			c.next = a.hi
			c.ahead = slices.Delete(c.ahead, 0, 1)
			c.readable.Broadcast()
		}
	}
	c.acknowledge(now, span{s.lo, s.hi})
}

// insert adds s to spans, which are in order and do not touch.
func insert(spans []span, s span) []span {
	i := 0
	for i < len(spans) && spans[i].hi < s.lo {
		i++
	}
	k := i
	for k < len(spans) && spans[k].lo <= s.hi {
		s.lo, s.hi = min(s.lo, spans[k].lo), max(s.hi, spans[k].hi)
		k++
	}
	return slices.Replace(spans, i, k, s)
}

// eof reports whether the peer's end has been received.
func (c *Conn) eof() bool { return c.ended && c.next > c.fin }

// flight returns what has been sent and not been acknowledged, in order.
func (c *Conn) flight() []sending { return c.sending[c.head:] }

// blocked reports whether only the peer's window keeps bytes from being sent.
func (c *Conn) blocked() bool { return c.sent >= c.granted && c.sent < c.last() }

// ready reports whether there is something to send.
func (c *Conn) ready() bool {
	if c.state != connected {
		return false
	}
	last := c.last()
	return c.lost > 0 || c.sent < min(last, c.granted) || (c.shut && c.sent == last)
}

// output sends what there is to send, as far as the link has room.
func (c *Conn) output(now time.Duration) {
	for c.ready() && !c.waiting {
		if w := c.wire; w != nil && (len(w.waiting) > 0 || !w.room(c, now)) {
			c.waiting = true
			w.waiting = append(w.waiting, c)
			if len(w.waiting) == 1 {
				c.host.n.serve(w, now)
			}
			return
		}
		c.sendOne(now)
	}
	if c.state == connected && len(c.flight()) == 0 && c.blocked() && c.probes == 0 {
		c.probes = 1 // the peer's window is full: ask, lest its opening got lost
		c.heard = now
		c.setAlarm(now+c.backoff(0), now)
	}
}

func (w *wire) room(c *Conn, now time.Duration) bool {
	return w.model.Room(now, headerSize(c.remote.Addr(), 20)+int(c.mss())) <= now
}

// serve lets the streams that wait for room on w send, one segment each in
// turn, so that they share it evenly.
func (n *Network) serve(w *wire, now time.Duration) {
	for len(w.waiting) > 0 {
		c := w.waiting[0]
		if c.ready() && !w.room(c, now) {
			w.retry = w.model.Room(now, headerSize(c.remote.Addr(), 20)+int(c.mss()))
			n.schedule(w.retry, now, event{wire: w})
			return
		}
		w.waiting = slices.Delete(w.waiting, 0, 1)
		if c.ready() {
			c.sendOne(now)
		}
		if c.waiting = c.ready(); c.waiting {
			w.waiting = append(w.waiting, c)
		}
	}
}

// sendOne sends one segment: what was lost first, then what is new.
func (c *Conn) sendOne(now time.Duration) {
	mss := c.mss()
	if c.lost > 0 {
		i := c.head + slices.IndexFunc(c.flight(), func(f sending) bool { return f.lost })
		f := &c.sending[i]
		if f.hi-f.lo > mss { // the MTU has become smaller
			rest := *f
			rest.lo, f.hi = f.lo+mss, f.lo+mss
			c.sending = slices.Insert(c.sending, i+1, rest)
			c.lost++
			f = &c.sending[i]
		}
		f.lost = false
		f.tries = min(f.tries+1, 32)
		f.at = now
		c.lost--
		c.emitSpan(now, f.span)
		c.setAlarm(now+c.backoff(f.tries), now)
		return
	}
	s := span{c.sent, min(c.sent+mss, c.last(), max(c.granted, c.sent))}
	if c.sent == c.last() {
		s.hi = s.lo + 1 // the end
	}
	if len(c.flight()) == 0 {
		c.heard = now
	}
	c.sent = s.hi
	c.sending = append(c.sending, sending{span: s, at: now})
	c.emitSpan(now, s)
	c.setAlarm(now+c.rto, now)
}

func (c *Conn) emitSpan(now time.Duration, s span) {
	f := flagACK
	if c.shut && s.hi > c.last() {
		f |= flagFIN
	}
	c.emit(now, segment{flags: f, lo: s.lo, hi: s.hi})
}

// backoff returns the time-out of a segment sent again so often.
func (c *Conn) backoff(tries uint8) time.Duration {
	return min(c.rto<<min(tries, 16), max(maxRTO, c.rto))
}

// measure takes a round-trip time into the time-out (RFC 6298 section 2).
func (c *Conn) measure(rtt time.Duration) {
	if c.srtt == 0 {
		c.srtt, c.rttvar = rtt, rtt/2
	} else {
		c.rttvar += ((c.srtt - rtt).Abs() - c.rttvar) / 4
		c.srtt += (rtt - c.srtt) / 8
	}
	c.rto = min(max(c.srtt+4*c.rttvar, minRTO), time.Minute)
}

// setAlarm makes alarm run at time at, or when the peer has been silent for too
// long, or earlier.
func (c *Conn) setAlarm(at, now time.Duration) {
	at = max(min(at, c.heard+c.timeout()), now)
	if c.alarmAt == 0 || at < c.alarmAt {
		c.alarmAt = at
		c.host.n.schedule(at, now, event{conn: c})
	}
}

// alarm looks what is overdue. An alarm that was set anew since is ignored.
func (c *Conn) alarm(due, now time.Duration) {
	if due != c.alarmAt || c.state == done {
		return
	}
	c.alarmAt = 0
	if c.state != connected {
		if now-c.heard >= c.timeout() {
			c.end(syscall.ETIMEDOUT)
		} else {
			c.hello(now)
		}
		return
	}
	if (len(c.flight()) > 0 || c.probes > 0) && now-c.heard >= c.timeout() {
		c.end(syscall.ETIMEDOUT)
		return
	}
	next := time.Duration(0)
	flight := c.flight()
	for i := range flight {
		f := &flight[i]
		if f.received || f.lost {
			continue
		}
		if at := f.at + c.backoff(f.tries); at <= now {
			f.lost = true
			c.lost++
		} else if next == 0 || at < next {
			next = at
		}
	}
	if c.probes > 0 && len(c.flight()) == 0 && c.blocked() {
		c.emit(now, segment{flags: flagACK | flagProbe, lo: c.sent, hi: c.sent})
		c.probes = min(c.probes+1, 32)
		next = now + c.backoff(c.probes-1)
	}
	if next > 0 {
		c.setAlarm(next, now)
	}
	c.output(now)
}

// window returns the position below which the peer may send.
func (c *Conn) window() uint64 {
	return c.next + uint64(max(c.rcv.limit-c.rcv.n, 0))
}

// finish ends the stream when both directions have ended and been acknowledged.
func (c *Conn) finish() {
	if c.state == connected && c.shut && c.una > c.last() && c.eof() {
		c.end(nil)
	}
}

// end is the end of the stream, for the reason err.
func (c *Conn) end(err error) {
	if c.state == done {
		return
	}
	if c.state == answering {
		c.listener.opening--
	}
	c.state, c.err = done, err
	c.free()
	delete(c.host.conns, c)
	c.readable.Broadcast()
	c.writable.Broadcast()
}

// free gives the stream's port back.
func (c *Conn) free() {
	unclaim(c.host.tcp, c.keys)
	c.keys = nil
}
