package udprel

import "time"

// This file is the model's dealings with those who fill queues, such as CUBIC.
// They show themselves by a queue that does not run empty when we hold back, or
// that overflows although we do not fill it.

// lookForRivals ends a period: has the queue run empty in it?
func (m *model) lookForRivals(now time.Duration) {
	if m.floor > m.base+2*m.slack() {
		m.rivals++
	} else {
		m.rivals = 0
	}
	m.floor = 0
	if m.rivals >= 2 || m.expired(now) {
		m.enter(modelProbe, now) // be sure that the queue is not our own
	} else {
		m.enter(modelUp, now)
	}
}

// expired reports whether base may be out of date.
func (m *model) expired(now time.Duration) bool { return now-m.baseAt > baseLifetime }

// endProbe has seen how long a round trip takes with little of ours in flight.
func (m *model) endProbe(now time.Duration) {
	queued := m.floor > m.base+m.slack()
	switch {
	case m.expired(now):
		m.base, m.baseAt = m.floor, now
	case queued && m.rival != nil:
		m.tested = now
		m.enter(modelRival, now)
		return
	case queued && m.rivals >= 2:
		m.meetRival(now)
		return
	}
	m.leaveRival(now)
}

// leaveRival goes back to the model.
func (m *model) leaveRival(now time.Duration) {
	if m.rival != nil {
		m.rival, m.left = nil, now
	}
	m.floor, m.rivals = 0, 0
	m.enter(modelCruise, now)
}

// overflow notes a round trip in which the queue overflowed. Alone, the model
// does not fill it.
func (m *model) overflow(now time.Duration) {
	if now-m.overflowed > overflowMemory {
		m.overflows = 0
	}
	m.overflowed = now
	if m.overflows++; m.overflows >= 2 {
		m.meetRival(now)
	}
}

// meetRival turns to competition.
func (m *model) meetRival(now time.Duration) {
	// Who has just believed to be alone was wrong, and believes it less soon.
	if m.patience = min(2*m.patience, maxPatience); now-m.left > maxPatience || m.patience == 0 {
		m.patience = rivalTest
	}
	m.rival = newCubic()
	m.rival.window = max(cubicBeta*m.pace()*m.smoothed.Seconds(), float64(minWindow*m.mtu))
	m.rival.threshold = m.rival.window
	m.queue, m.tested, m.rivals, m.overflows = 0, now, 0, 0
	m.enter(modelRival, now)
}

// compete lets CUBIC have its way. Of losses it hears only if the queue is long
// and they are more than chance.
func (m *model) compete(f Feedback, newRound bool) {
	if m.state != modelRival {
		return
	}
	if f.RTT > 0 {
		m.queue = max(m.queue-m.queue/1024, f.RTT-m.base)
	}
	f.Lost, f.Spurious = 0, 0
	if newRound && m.excess && m.smoothed-m.base >= m.queue/2 {
		f.Lost, f.LostSent = m.mtu, f.Now
	}
	m.rival.Feedback(f)
}
