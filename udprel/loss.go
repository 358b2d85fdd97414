package udprel

import "time"

// packetThreshold is how many packets must have overtaken one before it is
// given up, as long as nothing has ever been seen to arrive out of order
// ([RFC 9002 section 6.1.1]).
//
// [RFC 9002 section 6.1.1]: https://www.rfc-editor.org/rfc/rfc9002#section-6.1.1
const packetThreshold = 3

// A lossDetector decides when a packet is lost: when packets sent after it have
// arrived, by number at first, and once the path has been seen to reorder, by
// time, in the manner of RACK ([RFC 8985]). How long it then waits follows the
// lateness that it has seen, so that it neither sends twice what was only late
// nor waits longer than it must.
//
// [RFC 8985]: https://www.rfc-editor.org/rfc/rfc8985
type lossDetector struct {
	newest   uint64        // newest packet acknowledged
	newestAt time.Duration // when it was sent
	rtt      time.Duration // and how long its answer took
	window   time.Duration // how much later than its successors a packet may arrive
	round    uint64        // packets sent before have been acknowledged when window last shrank
	timer    time.Duration // when the next packet becomes lost
}

// acked notes that packet p has arrived at last; now is the arrival of the
// acknowledgement.
func (d *lossDetector) acked(p *sentPacket, now time.Duration) (late bool) {
	if p.seq > d.newest {
		d.newest, d.newestAt, d.rtt = p.seq, p.at, now-p.at
		return false
	}
	// The acknowledgement that told of newest did not tell of p, and it tells
	// all: p was overtaken.
	return true
}

// overtaken learns from a packet that arrived late.
func (d *lossDetector) overtaken(p *sentPacket, now, smoothed time.Duration) {
	late := now - p.at - d.rtt
	d.window = min(max(d.window, late+late/4+time.Millisecond), smoothed)
}

// relax lets the window shrink by a sixteenth each round trip, so that one
// reordering does not delay repairs for ever.
func (d *lossDetector) relax(next uint64) {
	if d.newest >= d.round {
		d.round = next
		d.window -= d.window / 16
		if d.window < 100*time.Microsecond {
			d.window = 0
		}
	}
}

// lost reports whether p is to be given up, and if not, sets the timer for when
// it would have to be.
func (d *lossDetector) lost(p *sentPacket, now time.Duration, patience time.Duration) bool {
	if p.seq >= d.newest {
		return false
	}
	wait := d.window
	if wait == 0 {
		if d.newest-p.seq >= packetThreshold {
			return true
		}
		wait = patience
	}
	if at := p.at + d.rtt + wait; at > now {
		d.timer = min(d.timer, at)
		return false
	}
	return true
}
