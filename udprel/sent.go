package udprel

import "time"

// What a packet carried, as far as it has to be sent again when it is lost.
type sentFrame struct {
	kind frameType // frameStream, frameEnd, frameMessage or frameClose
	off  uint64    // stream, message: what part
	n    int
	msg  *outMessage
}

type fate uint8

const (
	fateNone  fate = iota // carried nothing that is waited for
	fateOut               // on its way, for all we know
	fateLost              // given up; an acknowledgement may still come
	fateAcked             // arrived
)

// A sentPacket is what the sender remembers of a packet.
type sentPacket struct {
	seq    uint64
	at     time.Duration
	size   int
	fate   fate
	probe  bool // of the path's MTU: its loss says nothing about congestion
	frames []sentFrame
	rate   rateMark
}

// A sentLog is the packets from the oldest that matters to the newest. It is a
// ring in which a packet's place follows from its number; the slots and their
// frames are used again and again.
type sentLog struct {
	slots    []sentPacket // its length is a power of two
	first    uint64       // oldest that matters
	next     uint64       // number of the next packet
	inFlight int          // bytes of those on their way
	out      int          // packets on their way
}

// maxLog bounds the packets remembered: with 1,472 bytes each, 96 MB of flight.
const maxLog = 1 << 16

func newSentLog(next uint64) sentLog {
	return sentLog{slots: make([]sentPacket, 64), first: next, next: next}
}

func (l *sentLog) full() bool { return l.next-l.first >= maxLog }

// at returns packet seq, which must be from first to next-1.
func (l *sentLog) at(seq uint64) *sentPacket { return &l.slots[seq&uint64(len(l.slots)-1)] }

// add returns the record of the next packet.
func (l *sentLog) add() *sentPacket {
	if l.next-l.first == uint64(len(l.slots)) {
		old := *l
		l.slots = make([]sentPacket, 2*len(old.slots))
		for seq := l.first; seq < l.next; seq++ {
			*l.at(seq) = *old.at(seq)
		}
	}
	p := l.at(l.next)
	clear(p.frames)
	*p = sentPacket{seq: l.next, frames: p.frames[:0]}
	l.next++
	return p
}

// sent counts a packet that asks for an acknowledgement.
func (l *sentLog) sent(p *sentPacket) {
	p.fate = fateOut
	l.inFlight += p.size
	l.out++
}

// settle takes a packet out of flight.
func (l *sentLog) settle(p *sentPacket, f fate) {
	if p.fate == fateOut {
		l.inFlight -= p.size
		l.out--
	}
	p.fate = f
}

// trim forgets packets in front that are settled: acknowledged, or lost and
// sent before the given time.
func (l *sentLog) trim(before time.Duration) {
	for ; l.first < l.next; l.first++ {
		if p := l.at(l.first); p.fate == fateOut || (p.fate == fateLost && p.at >= before) {
			return
		}
	}
}
