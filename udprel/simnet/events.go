package simnet

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Everything here happens in order of time, and the order of things that
// happen at the same time does not depend on how goroutines are scheduled:
//
//   - What programs send in one instant is only collected (offer, touch). One
//     nanosecond later, when in a bubble every goroutine has come to rest, it
//     is put in order of its addresses and meets the links (flush).
//   - Each arrival has a nanosecond to itself (tick), so that in a bubble all
//     that it sets off is done before the next.

// A wire is a directed link in use.
type wire struct {
	direction
	to      *Host
	model   *Model
	flight  int           // bytes on the way
	waiting []*Conn       // streams that wait for room in the queue, in order
	retry   time.Duration // when there will be some
}

// A packet is a datagram, or one of the packets that make up a stream. It lies
// in one list at a time: of the offered, of a receive buffer, of the spare.
type packet struct {
	next     *packet
	wire     *wire // nil: there is no such host
	src, dst netip.AddrPort
	at       time.Duration // when it was sent
	size     int           // bytes at the IP layer
	kind     kind
	data     []byte // of a datagram; of a segment only while someone watches
	segment         // of a stream
}

type kind uint8

const (
	datagram kind = iota
	unreachable
	stream
)

// now returns the time on the network's clock.
func (n *Network) now() time.Duration {
	if n.start.IsZero() {
		n.start = time.Now()
	}
	return time.Since(n.start)
}

// offer takes a packet from a program.
func (n *Network) offer(p *packet) {
	p.at = n.now()
	n.offered = append(n.offered, p)
	n.arm(p.at+1, p.at)
}

// touch notes that a program did something to stream c.
func (n *Network) touch(c *Conn) {
	if !c.dirty && !n.closed {
		c.dirty, c.touched = true, n.now()
		n.dirty = append(n.dirty, c)
		n.arm(c.touched+1, c.touched)
	}
}

// arm sees to it that tick runs at time at.
func (n *Network) arm(at, now time.Duration) {
	if n.wake != 0 && n.wake <= at {
		return
	}
	n.wake = at
	if n.timer == nil {
		n.timer = time.AfterFunc(at-now, n.tick)
	} else {
		n.timer.Reset(at - now)
	}
}

// tick does everything that is due.
func (n *Network) tick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	now := n.now()
	n.wake = 1 // no need to arm the timer before the end
	n.flush(now)
	for n.events.size() > 0 {
		at := max(n.events.next(), n.last+1)
		if at > now {
			break
		}
		n.last = at
		due, e := n.events.pop()
		n.happen(e, due, at)
	}
	n.wake = 0
	if len(n.offered)+len(n.dirty) > 0 {
		n.arm(now+1, now)
	} else if n.events.size() > 0 {
		n.arm(max(n.events.next(), n.last+1), now)
	}
}

// flush puts what was sent before now on its links.
func (n *Network) flush(now time.Duration) {
	k := slices.IndexFunc(n.offered, func(p *packet) bool { return p.at >= now })
	if k < 0 {
		k = len(n.offered)
	}
	slices.SortStableFunc(n.offered[:k], func(a, b *packet) int {
		return cmp.Or(cmp.Compare(a.at, b.at), a.src.Compare(b.src), a.dst.Compare(b.dst))
	})
	for _, p := range n.offered[:k] {
		n.transmit(p, p.at+1)
	}
	n.offered = slices.Delete(n.offered, 0, k)

	k = slices.IndexFunc(n.dirty, func(c *Conn) bool { return c.touched >= now })
	if k < 0 {
		k = len(n.dirty)
	}
	slices.SortStableFunc(n.dirty[:k], func(a, b *Conn) int {
		return cmp.Or(cmp.Compare(a.touched, b.touched), a.local.Compare(b.local), a.remote.Compare(b.remote))
	})
	for _, c := range n.dirty[:k] {
		c.dirty = false
		c.act(c.touched + 1)
	}
	n.dirty = slices.Delete(n.dirty, 0, k)
}

// transmit lets p meet its link at time now.
func (n *Network) transmit(p *packet, now time.Duration) {
	n.Trace.sent(n, p, now)
	w := p.wire
	if w == nil {
		n.drop(p, now, DropNobody)
		return
	}
	if w.flight+p.size > maxFlight {
		w.model.refuse(p.size)
		n.drop(p, now, DropQueue)
		return
	}
	f := w.model.send(now, p.size, n.Lose != nil && n.Lose(p.export(n, now)))
	if f.Drop != "" {
		n.drop(p, now, f.Drop)
		return
	}
	w.flight += p.size
	n.schedule(f.Arrive, now, event{packet: p})
	if f.Copy {
		again := n.alloc()
		data := append(again.data, p.data...)
		*again = *p
		again.data = data
		w.flight += p.size
		n.schedule(f.Arrive, now, event{packet: again})
	}
}

// schedule makes e happen at time at.
func (n *Network) schedule(at, now time.Duration, e event) {
	n.events.push(at, e)
	n.arm(at, now)
}

// happen lets an event that was due take place now.
func (n *Network) happen(e event, due, now time.Duration) {
	switch {
	case e.conn != nil:
		e.conn.alarm(due, now)
	case e.wire != nil:
		if due == e.wire.retry {
			n.serve(e.wire, now)
		}
	default:
		n.arrive(e.packet, now)
	}
}

// arrive takes p off its link and hands it to whom it is for.
func (n *Network) arrive(p *packet, now time.Duration) {
	p.wire.flight -= p.size
	if !p.wire.model.Arrive() {
		n.drop(p, now, DropDown)
		return
	}
	if p.kind == stream {
		n.Trace.delivered(n, p, now)
		n.segmentArrives(p, now)
		n.release(p)
		return
	}
	h := p.wire.to
	c := h.udp[p.dst]
	if c == nil {
		c = h.udp[netip.AddrPortFrom(unspecified(p.dst.Addr()), p.dst.Port())]
	}
	switch {
	case c == nil || (c.remote.IsValid() && c.remote != p.src):
		// The host answers as with ICMP; not to such an answer, and not for a
		// port that a NAT has forgotten.
		src, dst := p.src, p.dst
		answer := c == nil && p.kind == datagram &&
			!h.gone[dst] && !h.gone[netip.AddrPortFrom(unspecified(dst.Addr()), dst.Port())]
		n.drop(p, now, DropNobody)
		if answer {
			back := n.alloc()
			back.kind, back.src, back.dst = unreachable, dst, src
			back.size = 2 * headerSize(src.Addr(), 8) // quotes the headers of p
			back.wire = n.wireBetween(h, dst.Addr(), src.Addr())
			n.transmit(back, now)
		}
	case c.queued+p.size > c.limit && p.kind == datagram:
		n.drop(p, now, DropBuffer)
	default:
		n.Trace.delivered(n, p, now)
		c.take(p)
	}
}

// drop tells the trace why p ends here, and ends it.
func (n *Network) drop(p *packet, now time.Duration, why Drop) {
	n.Trace.dropped(n, p, now, why)
	n.release(p)
}

// alloc returns a zero packet, whose data has length zero but may have capacity.
func (n *Network) alloc() *packet {
	p := n.spare
	if p == nil {
		return new(packet)
	}
	n.spare = p.next
	n.spares--
	*p = packet{data: p.data[:0]}
	return p
}

// release keeps p for reuse. No one may hold it any more.
func (n *Network) release(p *packet) {
	if n.spares < maxSpare {
		data := p.data[:0]
		*p = packet{next: n.spare, data: data}
		n.spare = p
		n.spares++
	}
}

// headerSize returns the bytes of an IP header for address a and of the
// transport header behind it.
func headerSize(a netip.Addr, transport int) int {
	if a.Is4() {
		return 20 + transport
	}
	return 40 + transport
}

// unspecified returns the unspecified address of a's family.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// An event is the arrival of a packet, the alarm of a stream, or room in the
// queue of a wire: one of the three is set.
type event struct {
	packet *packet
	conn   *Conn
	wire   *wire
}
