package udprel

import (
	"math"
	"time"
)

// NewCubic returns CUBIC ([RFC 9438]), which the TCP of most systems uses. It
// takes every loss for congestion, so it collapses where packets are lost by
// chance, and it fills the queue before the bottleneck until that overflows.
//
// [RFC 9438]: https://www.rfc-editor.org/rfc/rfc9438
func NewCubic() Controller { return newCubic() }

func newCubic() *cubic {
	return &cubic{window: initialWindow, threshold: math.Inf(1), mtu: baseMTU}
}

// All windows are in bytes.
type cubic struct {
	window    float64
	threshold float64 // slow start ends here
	mtu       int
	smoothed  time.Duration

	// Since the last congestion event:
	epoch    time.Duration // when growth began, zero before it
	origin   float64       // window where the curve is flat
	k        time.Duration // how long until the curve is there
	reno     float64       // what Reno would have (section 4.3)
	previous float64       // origin before this event, for fast convergence
	reduced  time.Duration // when the window was last cut
	undo     [4]float64    // window, threshold, origin, previous before the cut
	undoable int           // bytes lost in the event, less those that came after all
}

const (
	cubicC    = 0.4 // packets per second cubed
	cubicBeta = 0.7
)

func (c *cubic) Sent(time.Duration, int, int) {}

func (c *cubic) Feedback(f Feedback) {
	c.mtu, c.smoothed = f.MTU, f.Smoothed
	if f.Spurious > 0 && c.undoable > 0 {
		// Everything that made us slow down has arrived: it was only late.
		if c.undoable -= f.Spurious; c.undoable <= 0 {
			c.window, c.threshold, c.origin, c.previous = max(c.window, c.undo[0]), c.undo[1], c.undo[2], c.undo[3]
			c.epoch = 0
		}
	}
	switch {
	case f.Silence:
		c.threshold = max(c.window*cubicBeta, float64(minWindow*c.mtu))
		c.window = float64(minWindow * c.mtu)
		c.epoch, c.undoable = 0, 0
	case f.Lost > 0 && (f.LostSent > c.reduced || c.reduced == 0):
		c.reduce(f)
	case f.Lost > 0:
		c.undoable += f.Lost // the same event
	}
	// Growth only if the window was in use.
	if f.Acked > 0 && float64(f.InFlight+f.Acked) >= c.window/2 {
		c.grow(f)
	}
}

// reduce answers one congestion event (sections 4.6 and 4.7).
func (c *cubic) reduce(f Feedback) {
	c.undo = [4]float64{c.window, c.threshold, c.origin, c.previous}
	c.undoable = f.Lost
	c.origin = c.window
	if c.window < c.previous {
		c.origin = c.window * (1 + cubicBeta) / 2 // make room for newcomers
	}
	c.previous = c.window
	c.window = max(c.window*cubicBeta, float64(minWindow*c.mtu))
	c.threshold = c.window
	c.reduced, c.epoch = f.Now, 0
}

func (c *cubic) grow(f Feedback) {
	acked := float64(f.Acked)
	if c.window < c.threshold {
		c.window += acked
		// Round trips that grow longer show that the queue is filling: leave
		// slow start before it overflows (HyStart++, RFC 9406).
		if eta := min(max(f.Smallest/8, 4*time.Millisecond), 16*time.Millisecond); f.Smoothed > f.Smallest+eta {
			c.threshold = c.window
		}
		return
	}
	packet := float64(c.mtu)
	if c.epoch == 0 {
		c.epoch, c.reno = f.Now, c.window
		c.origin = max(c.origin, c.window)
		c.k = time.Duration(math.Cbrt((c.origin-c.window)/packet/cubicC) * 1e9)
	}
	t := (f.Now - c.epoch + f.Smoothed - c.k).Seconds()
	target := c.origin + cubicC*t*t*t*packet
	target = min(max(target, c.window), 1.5*c.window)
	c.reno += 3 * (1 - cubicBeta) / (1 + cubicBeta) * acked * packet / c.window
	c.window += max((target-c.window)*acked/c.window, 0)
	c.window = max(c.window, c.reno)
}

func (c *cubic) Window() int { return int(c.window) }

// Rate spreads the window over a round trip, with room to grow.
func (c *cubic) Rate() float64 {
	gain := 1.25
	if c.window < c.threshold {
		gain = 2
	}
	return gain * c.window / max(c.smoothed, minRTT).Seconds()
}

func (c *cubic) State() string {
	if c.window < c.threshold {
		return "slow start"
	}
	return "congestion avoidance"
}
