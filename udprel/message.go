package udprel

import (
	"fmt"
	"slices"
	"time"
)

// A Mode says what a message may suffer on its way.
type Mode uint8

const (
	// Ordered messages of one lane all arrive, in the order in which they were
	// sent.
	Ordered Mode = iota
	// Unordered messages all arrive, each as soon as it is whole.
	Unordered
	// Unreliable messages are sent once. They arrive once or never, in any
	// order.
	Unreliable
	modes
)

// Delivery says how a message is to be sent. The zero value means lane 0, in
// order.
type Delivery struct {
	// Lane is one of 256 independent rows of messages: a message that is
	// missing holds up none but the later ordered messages of its lane.
	Lane uint8
	// Mode is what may happen to the message.
	Mode Mode
	// Repeat sends a small message, of at most 256 bytes, again in the packets
	// that follow, or in one of its own every quarter of a round trip, until
	// it is acknowledged or two round trips have passed. A loss then costs
	// milliseconds instead of a round trip, and bandwidth: while one message
	// leaves every d, each is sent about RTT/d+1 times, but no more than nine times
	// a round trip.
	Repeat bool
}

// A Message is a message as it was received.
type Message struct {
	// Lane and Mode are what the sender said.
	Lane uint8
	Mode Mode
	// Data is the message. It belongs to the receiver.
	Data []byte
}

// A channelID is a mode and a lane: messages are numbered within it.
type channelID uint16

const channels = channelID(modes) << 8

func (d Delivery) channel() channelID { return channelID(d.Mode)<<8 | channelID(d.Lane) }
func (c channelID) mode() Mode        { return Mode(c >> 8) }

const (
	// messageCost is what a message costs of the window besides its bytes, so
	// that a million empty messages are not free.
	messageCost = 64
	// maxRepeat is the size of the largest message that is repeated.
	maxRepeat = 256
	// maxRepeated is how many are repeated at a time; further ones are not.
	maxRepeated = 64
)

// An outMessage is a message that has not been acknowledged. Its bytes are
// handled as those of the stream are; an empty message counts as one byte.
type outMessage struct {
	channel channelID
	id      uint64
	data    []byte
	next    uint64 // first byte never sent
	again   spans  // lost
	acked   spans
	done    bool
	queued  bool // in its lane's queue

	repeat    bool
	firstSent time.Duration
	lastSent  time.Duration
}

func (m *outMessage) extent() uint64   { return uint64(max(len(m.data), 1)) }
func (m *outMessage) cost() int        { return len(m.data) + messageCost }
func (m *outMessage) unreliable() bool { return m.channel.mode() == Unreliable }
func (m *outMessage) wants() bool      { return !m.done && (m.next < m.extent() || len(m.again) > 0) }

// take returns the next piece to be sent, of at most n bytes.
func (m *outMessage) take(n int) (off uint64, size int) {
	if len(m.again) > 0 {
		v := m.again[0]
		v.hi = min(v.hi, v.lo+uint64(n))
		m.again.remove(v.lo, v.hi)
		return v.lo, int(v.hi - v.lo)
	}
	off = m.next
	size = int(min(uint64(n), m.extent()-off))
	m.next += uint64(size)
	return off, size
}

// An outLane is the messages of one channel that have something to send.
type outLane struct {
	ids    uint64        // messages numbered so far
	repair []*outMessage // with lost pieces: somebody may be waiting behind them
	queue  []*outMessage // the others
	ready  bool          // in outMessages.ready
}

// head returns the first message that has something to send, nil if there is
// none.
func (l *outLane) head() *outMessage {
	for _, q := range []*[]*outMessage{&l.repair, &l.queue} {
		for len(*q) > 0 {
			m := (*q)[0]
			if m.wants() {
				return m
			}
			m.queued = false
			(*q)[0] = nil
			*q = (*q)[1:]
		}
	}
	return nil
}

// outMessages is the sending half of the messages.
type outMessages struct {
	lanes    map[channelID]*outLane
	ready    []*outLane // lanes with something to send; they take turns
	size     int        // most bytes kept
	buffered int
	count    int    // reliable messages not acknowledged
	used     uint64 // of the peer's window
	max      uint64 // the peer's window: grows as its program receives
	window   uint64 // its size at first
	repeated []*outMessage
}

// send takes a message, if there is room for it.
func (o *outMessages) send(data []byte, d Delivery) (bool, error) {
	m := &outMessage{channel: d.channel(), repeat: d.Repeat && len(data) <= maxRepeat}
	if d.Mode >= modes {
		return false, fmt.Errorf("udprel: no mode %d", d.Mode)
	}
	if uint64(len(data)+messageCost) > o.window {
		return false, ErrTooLarge
	}
	if o.buffered > 0 && o.buffered+len(data)+messageCost > o.size {
		return false, nil
	}
	m.data = slices.Clone(data)
	lane := o.lanes[m.channel]
	if lane == nil {
		if o.lanes == nil {
			o.lanes = make(map[channelID]*outLane)
		}
		lane = new(outLane)
		o.lanes[m.channel] = lane
	}
	m.id = lane.ids
	lane.ids++
	o.buffered += m.cost()
	o.count++
	o.enqueue(m)
	return true, nil
}

func (o *outMessages) enqueue(m *outMessage) {
	if m.queued {
		return
	}
	m.queued = true
	lane := o.lanes[m.channel]
	if m.next > 0 {
		lane.repair = append(lane.repair, m)
	} else {
		lane.queue = append(lane.queue, m)
	}
	if !lane.ready {
		lane.ready = true
		o.ready = append(o.ready, lane)
	}
}

// head returns the message whose turn it is, nil if there is none.
func (o *outMessages) head() *outMessage {
	for range len(o.ready) {
		lane := o.ready[0]
		m := lane.head()
		if m != nil && (m.next > 0 || m.unreliable() || o.used+uint64(m.cost()) <= o.max) {
			return m
		}
		o.ready = slices.Delete(o.ready, 0, 1)
		if lane.ready = m != nil; lane.ready {
			o.ready = append(o.ready, lane) // the peer has no room for another message
		}
	}
	return nil
}

// blocked reports whether only the peer's window keeps us from sending.
func (o *outMessages) blocked() bool { return len(o.ready) > 0 && o.head() == nil }

// began counts a piece of m that is about to leave, the first or a further one.
func (o *outMessages) began(m *outMessage, first bool, now time.Duration) {
	if first {
		m.firstSent = now
		if !m.unreliable() {
			o.used += uint64(m.cost())
		}
		if m.repeat = m.repeat && len(o.repeated) < maxRepeated; m.repeat {
			o.repeated = append(o.repeated, m)
		}
	}
	m.lastSent = now
	if m.unreliable() && !m.repeat && m.next == m.extent() {
		o.finish(m) // nobody will ask for it again
	}
	// The next lane's turn.
	if len(o.ready) > 1 {
		lane := o.ready[0]
		o.ready = append(slices.Delete(o.ready, 0, 1), lane)
	}
}

func (o *outMessages) finish(m *outMessage) {
	if !m.done {
		m.done = true
		o.buffered -= m.cost()
		o.count--
	}
}

func (o *outMessages) ack(m *outMessage, off uint64, n int) {
	if m.done {
		return
	}
	lo, hi := off, off+uint64(n)
	if len(m.data) == 0 {
		hi = 1
	}
	m.acked.add(lo, hi)
	m.again.remove(lo, hi)
	if v := m.acked[0]; v.lo == 0 && v.hi == m.extent() {
		o.finish(m)
	}
}

// lost learns that a piece of m, in a packet sent at the given time, is lost.
func (o *outMessages) lost(m *outMessage, off uint64, n int, sent time.Duration) {
	switch {
	case m.done:
	case m.lastSent > sent && m.repeat: // a later copy is under way
	case m.unreliable():
		o.finish(m)
	default:
		hi := off + uint64(n)
		if len(m.data) == 0 {
			hi = 1
		}
		m.again.addMissing(m.acked, off, hi)
		if m.wants() {
			o.enqueue(m)
		}
	}
}

// endRepeats drops the messages that need not be repeated any more.
func (o *outMessages) endRepeats(now, rtt time.Duration) {
	if len(o.repeated) == 0 {
		return
	}
	o.repeated = slices.DeleteFunc(o.repeated, func(m *outMessage) bool {
		if m.done || now-m.firstSent <= 2*rtt {
			return m.done
		}
		if m.unreliable() {
			o.finish(m)
		}
		return true
	})
}

// An inMessage is a message of which pieces have arrived.
type inMessage struct {
	data []byte
	have spans
}

func (m *inMessage) whole() bool {
	return len(m.have) == 1 && m.have[0].hi-m.have[0].lo == uint64(max(len(m.data), 1))
}

// An inLane is what has arrived of one channel.
type inLane struct {
	done    spans // messages that are whole
	next    uint64
	partial map[uint64]*inMessage // whole ones wait here for their turn
}

// inMessages is the receiving half of the messages.
type inMessages struct {
	lanes map[channelID]*inLane
	queue []Message // to be received
	size  int
	used  uint64 // of the window, by reliable messages
	max   uint64 // the window
	told  uint64 // what the peer knows of it
	loose int    // bytes of unreliable messages
}

// maxLoose is how many unreliable messages of a lane may be in pieces.
const maxLoose = 16

// receive takes in a piece of a message.
func (i *inMessages) receive(f *frame) error {
	lane := i.lanes[f.channel]
	if lane == nil {
		if i.lanes == nil {
			i.lanes = make(map[channelID]*inLane)
		}
		lane = &inLane{partial: make(map[uint64]*inMessage)}
		i.lanes[f.channel] = lane
	}
	if lane.done.contains(f.id) {
		return nil
	}
	m := lane.partial[f.id]
	if m == nil {
		if ok, err := i.admit(lane, f); !ok {
			return err
		}
		m = &inMessage{data: make([]byte, f.size)}
		lane.partial[f.id] = m
	}
	if uint64(len(m.data)) != f.size || len(m.have) > maxGaps {
		return ErrProtocol
	}
	copy(m.data[f.off:], f.data)
	m.have.add(f.off, f.off+max(uint64(len(f.data)), 1))
	if m.whole() {
		i.complete(lane, f.channel, f.id, m)
	}
	return nil
}

// admit decides whether there is room for a new message.
func (i *inMessages) admit(lane *inLane, f *frame) (bool, error) {
	cost := f.size + messageCost
	if f.channel.mode() != Unreliable {
		if cost > i.max-i.used || len(lane.done) > maxGaps {
			return false, ErrProtocol
		}
		i.used += cost
		return true, nil
	}
	if cost > uint64(i.size) {
		return false, nil
	}
	if len(lane.partial) >= maxLoose && !i.giveUp(lane, f.id) {
		return false, nil
	}
	// Pieces that wait for what is lost must not keep later messages out.
	for i.loose+int(cost) > i.size {
		if i.giveUp(lane, f.id) {
			continue
		}
		given := false
		for c, other := range i.lanes {
			if given = other != lane && c.mode() == Unreliable && i.giveUp(other, 1<<62); given {
				break
			}
		}
		if !given { // all is whole and waits for the program
			return false, nil
		}
	}
	i.loose += int(cost)
	return true, nil
}

// giveUp drops the oldest unreliable message of a lane that is in pieces, if
// there is one older than id.
func (i *inMessages) giveUp(lane *inLane, id uint64) bool {
	oldest := id
	for other := range lane.partial {
		oldest = min(oldest, other)
	}
	if oldest == id {
		return false
	}
	i.loose -= len(lane.partial[oldest].data) + messageCost
	delete(lane.partial, oldest)
	lane.settle(oldest)
	return true
}

// settle notes that nothing more is expected of an unreliable message.
func (l *inLane) settle(id uint64) {
	l.done.add(id, id+1)
	if len(l.done) > maxLoose {
		l.done.add(l.done[0].lo, l.done[1].lo) // older ones come too late
	}
}

// complete delivers a whole message, and those that waited for it.
func (i *inMessages) complete(lane *inLane, c channelID, id uint64, m *inMessage) {
	if c.mode() == Unreliable {
		lane.settle(id)
	} else {
		lane.done.add(id, id+1)
	}
	if c.mode() != Ordered {
		delete(lane.partial, id)
		i.queue = append(i.queue, Message{Lane: uint8(c), Mode: c.mode(), Data: m.data})
		return
	}
	for {
		m := lane.partial[lane.next]
		if m == nil || !m.whole() {
			return
		}
		delete(lane.partial, lane.next)
		lane.next++
		i.queue = append(i.queue, Message{Lane: uint8(c), Mode: Ordered, Data: m.data})
	}
}

// next hands out a message.
func (i *inMessages) next() (Message, bool) {
	if len(i.queue) == 0 {
		return Message{}, false
	}
	m := i.queue[0]
	i.queue[0] = Message{}
	i.queue = i.queue[1:]
	if m.Mode == Unreliable {
		i.loose -= len(m.Data) + messageCost
	} else {
		i.max += uint64(len(m.Data) + messageCost)
	}
	return m, true
}

// news reports whether the window has moved so far that the peer should know.
func (i *inMessages) news() bool { return i.max-i.told >= uint64(i.size)/4 }
