package udprel

import "time"

// A pacer spreads packets over time instead of sending a window at once, which
// would fill the queue of the bottleneck.
type pacer struct {
	next time.Duration // when the next packet may leave
}

const (
	// paceAhead is how early a packet may leave: timers of an operating system
	// are coarse, and packets that leave together cost less.
	paceAhead = 500 * time.Microsecond
	// paceBehind is how much lost time may be made up for.
	paceBehind = 2 * time.Millisecond
)

// ready reports whether a packet may leave.
func (p *pacer) ready(now time.Duration) bool { return p.next <= now+paceAhead }

// sent counts a packet.
func (p *pacer) sent(now time.Duration, size int, rate float64) {
	p.next = max(p.next, now-paceBehind)
	if rate > 0 {
		p.next += time.Duration(min(float64(size)/rate*1e9, 1e12))
	}
}
