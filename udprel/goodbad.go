package udprel

import "time"

// NewGoodBad returns the congestion avoidance that Glenn Fiedler's articles
// teach first: in good conditions 30 packets a second, in bad ones 10. The
// conditions are bad while round trips take more than 250 ms. How long they must
// be good again to be trusted adapts: dropping back soon after doubles it, ten
// good seconds halve it. It is here to be understood; it uses a thousandth of a
// fast path, and cannot hold back on a slow one.
func NewGoodBad() Controller {
	return &goodBad{mtu: baseMTU, penalty: 4 * time.Second}
}

type goodBad struct {
	mtu     int
	rtt     time.Duration // a tenth of each new sample, the notes' smoothing
	bad     bool
	penalty time.Duration // of good conditions before they are trusted
	since   time.Duration // when the mode changed
	good    time.Duration // when the conditions became good, in bad mode
	counted time.Duration // good time for which penalty was halved
}

const (
	goodRate, badRate      = 30, 10 // packets a second
	badRTT                 = 250 * time.Millisecond
	minPenalty, maxPenalty = time.Second, time.Minute
	penaltyPeriod          = 10 * time.Second
	smoothing              = 10 // a tenth of each sample counts
)

func (g *goodBad) Sent(time.Duration, int, int) {}

func (g *goodBad) Feedback(f Feedback) {
	g.mtu = f.MTU
	if f.RTT > 0 {
		if g.rtt == 0 {
			g.rtt = f.RTT
		}
		g.rtt += (f.RTT - g.rtt) / smoothing
	}
	isBad := g.rtt > badRTT || f.Silence
	switch {
	case isBad && !g.bad:
		if f.Now-g.since < penaltyPeriod {
			g.penalty = min(2*g.penalty, maxPenalty)
		}
		g.bad, g.since, g.good = true, f.Now, f.Now
	case isBad:
		g.good = f.Now
	case g.bad && f.Now-g.good >= g.penalty:
		g.bad, g.since, g.counted = false, f.Now, f.Now
	case !g.bad && f.Now-g.counted >= penaltyPeriod:
		g.counted = f.Now
		g.penalty = max(g.penalty/2, minPenalty)
	}
}

func (g *goodBad) Rate() float64 {
	if g.bad {
		return float64(badRate * g.mtu)
	}
	return float64(goodRate * g.mtu)
}

// Window is what two seconds of packets need: the mode is about the rate alone.
func (g *goodBad) Window() int { return 2 * goodRate * g.mtu }

func (g *goodBad) State() string {
	if g.bad {
		return "bad"
	}
	return "good"
}
