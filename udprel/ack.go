package udprel

import (
	"encoding/binary"
	"time"
)

// never is a time that does not come.
const never = time.Duration(1<<63 - 1)

const (
	// maxAckRanges is how many ranges a state frame may name.
	maxAckRanges = 256
	// ackEvery is after how many packets an acknowledgement is due at once.
	ackEvery = 16
	// maxAckDelay is the longest that an acknowledgement waits for company.
	maxAckDelay = 25 * time.Millisecond
)

// received remembers which packets have arrived, to acknowledge them and to
// drop those that come twice.
type received struct {
	first    uint64 // the packet with which it began, until that is taken in
	floor    uint64 // the peer does not ask about packets below
	got      spans  // arrived packets from floor on
	newest   uint64
	newestAt time.Duration
	waiting  int           // packets that ask for an acknowledgement and have none
	total    int           // packets that asked so far
	due      time.Duration // when they must have it
}

// newReceived begins with a packet whose number is the first to be known. Those
// sent shortly before may still come.
func newReceived(first uint64, now time.Duration) received {
	r := received{first: first, floor: first - 64, newest: first, newestAt: now, due: never}
	r.got.add(first, first+1)
	return r
}

// isNew reports whether packet seq has not been seen yet.
func (r *received) isNew(seq uint64) bool { return seq >= r.floor && !r.got.contains(seq) }

// arrived notes a new packet.
func (r *received) arrived(seq, oldest uint64, u urgency, now, delay time.Duration) {
	gap := seq > r.newest+1
	r.got.add(seq, seq+1)
	if seq > r.newest {
		r.newest, r.newestAt = seq, now
	}
	if oldest > r.floor && oldest <= r.newest {
		r.forget(oldest)
	}
	for len(r.got) > maxAckRanges {
		r.forget(r.got[1].lo)
	}
	if u == noAck {
		return
	}
	r.waiting++
	r.total++
	// A gap is news that the sender waits for. The first packets are
	// acknowledged often, since its picture of the path is made of them.
	if u == atOnce || gap || r.waiting >= ackEvery || (r.total < 128 && r.waiting >= 2) {
		r.due = now
	} else {
		r.due = min(r.due, now+delay)
	}
}

func (r *received) forget(below uint64) {
	r.floor = below
	r.got.remove(0, below)
}

// header fills in the fields that acknowledge.
func (r *received) header(h *header, now time.Duration) {
	h.ack = uint32(r.newest)
	for n := range uint64(32) {
		if r.newest > n && r.got.contains(r.newest-1-n) {
			h.bits |= 1 << n
		}
	}
	h.delay = uint16(min((now-r.newestAt)/delayUnit, 1<<16-1))
}

// appendState appends a state frame of at most room bytes. The frame names the
// ranges of packets that the bitfield does not reach, newest first: each as the
// distance from the last number named, then its length.
func (r *received) appendState(b []byte, room int, f frame) []byte {
	start := len(b)
	b = append(b, byte(frameState))
	b = binary.AppendUvarint(b, f.have)
	b = binary.AppendUvarint(b, f.streamMax)
	b = binary.AppendUvarint(b, f.messageMax)
	count := len(b)
	b = append(b, 0) // patched below; at most 127 ranges are written
	n := 0
	last := r.newest - min(r.newest, 32) // below this the bitfield ends
	for i := len(r.got) - 1; i >= 0 && n < 127; i-- {
		v := r.got[i]
		v.hi = min(v.hi, last)
		if v.lo >= v.hi {
			continue
		}
		size := uvarintLen(last-v.hi) + uvarintLen(v.hi-v.lo)
		if len(b)-start+size > room {
			break
		}
		b = binary.AppendUvarint(b, last-v.hi)
		b = binary.AppendUvarint(b, v.hi-v.lo)
		last = v.lo
		n++
	}
	b[count] = byte(n)
	return b
}

// eachAcked calls f for every range of packets that a header acknowledges, and
// those of a state frame, if the packet has one.
func eachAcked(newest uint64, bits uint32, ranges []byte, f func(lo, hi uint64)) {
	f(newest, newest+1)
	for n := uint64(0); n < 32 && bits != 0; n++ {
		if bits&1 != 0 && newest > n {
			f(newest-1-n, newest-n)
		}
		bits >>= 1
	}
	last := newest - min(newest, 32)
	for len(ranges) > 0 {
		var gap, n uint64
		gap, ranges, _ = uvarint(ranges) // parseFrame has looked at them
		n, ranges, _ = uvarint(ranges)
		if gap+n > last {
			return
		}
		last -= gap
		f(last-n, last)
		last -= n
	}
}
