package udprel

import "time"

// A rateMeter measures the rate at which packets arrive, by the method of
// [draft-cheng-iccrg-delivery-rate-estimation]: each packet remembers how much
// had been delivered when it left. When it is acknowledged, what has been
// delivered since then, divided by the time that took, is one sample.
//
// [draft-cheng-iccrg-delivery-rate-estimation]: https://datatracker.ietf.org/doc/html/draft-cheng-iccrg-delivery-rate-estimation-02
type rateMeter struct {
	delivered   uint64        // bytes so far
	deliveredAt time.Duration // when that count last rose
	firstSent   time.Duration // when the packet left that was last acknowledged
	limited     uint64        // until so much is delivered, the application sets the pace
	lost        uint64        // bytes given up so far

	sample rateMark // of the newest packet in the acknowledgement at hand
	sentAt time.Duration
	valid  bool
}

// A rateMark is what a packet remembers of the meter as it was when it left.
type rateMark struct {
	delivered   uint64
	deliveredAt time.Duration
	firstSent   time.Duration
	lost        uint64
	appLimited  bool
}

// sent marks a packet that leaves.
func (m *rateMeter) sent(now time.Duration, idle bool) rateMark {
	if idle {
		m.firstSent, m.deliveredAt = now, now
	}
	return rateMark{m.delivered, m.deliveredAt, m.firstSent, m.lost, m.limited > m.delivered}
}

// acked takes in one packet of an acknowledgement.
func (m *rateMeter) acked(p *sentPacket, now time.Duration) {
	m.delivered += uint64(p.size)
	m.deliveredAt = now
	if !m.valid || p.at >= m.sentAt {
		m.sample, m.sentAt, m.valid = p.rate, p.at, true
	}
}

// take ends an acknowledgement. It fills in what it says about the rate.
func (m *rateMeter) take(f *Feedback) {
	f.Delivered = m.delivered
	if !m.valid {
		return
	}
	m.valid = false
	s := &m.sample
	m.firstSent = m.sentAt
	f.Prior, f.AppLimited = s.delivered, s.appLimited
	f.PriorLost, f.TotalLost = s.lost, m.lost
	// Acknowledgements may come squeezed together: the slower of sending and
	// acknowledging is nearer to the truth.
	interval := max(m.sentAt-s.firstSent, m.deliveredAt-s.deliveredAt)
	if interval > 0 {
		f.Rate = float64(m.delivered-s.delivered) / interval.Seconds()
	}
}

// idle notes that there is room to send but nothing to be sent.
func (m *rateMeter) idle(inFlight int) { m.limited = m.delivered + uint64(max(inFlight, 1)) }
