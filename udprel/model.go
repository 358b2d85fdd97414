package udprel

import (
	"math"
	"slices"
	"time"
)

// NewModel returns the default congestion control. It keeps a model of the path:
// the rate at which the bottleneck delivers, the round-trip time without
// queues, and the share of packets that is lost by chance. It sends as much as
// the model says the path carries, so a lost packet costs a packet and not half
// of the rate, and the queue stays short. Now and then it sends a quarter more,
// to see whether there is more to be had, and then as much less, to let the queue run
// empty. If the queue does not run empty then, somebody else is filling it, and
// as polite senders starve beside those who fill queues, it turns into
// [NewCubic] until the rival has gone.
//
// The ideas are those of BBR ([draft-ietf-ccwg-bbr]) and Copa (V. Arun and H.
// Balakrishnan, NSDI 2018).
//
// [draft-ietf-ccwg-bbr]: https://datatracker.ietf.org/doc/draft-ietf-ccwg-bbr/
func NewModel() Controller {
	return &model{mtu: baseMTU, usual: -1}
}

type modelState uint8

const (
	modelStartup modelState = iota // the rate grows as long as that helps
	modelDrain                     // the queue that this has made is drained
	modelCruise                    // six round trips at the rate of the path
	modelUp                        // one a quarter faster
	modelDown                      // and slower, until the queue must be empty
	modelRival                     // somebody fills the queue: compete
	modelProbe                     // little in flight: how long is a round trip?
)

var modelNames = [...]string{"startup", "drain", "cruise", "up", "down", "rival", "probe"}

// A model's rates are in bytes a second.
type model struct {
	mtu   int
	state modelState
	since int // the round trip in which the state began

	// The model of the path.
	best     [modelRounds]float64 // the highest rate of delivery in each of the last round trips
	newest   int                  // the present one's place in best
	rate     float64              // the highest of all
	chance   float64              // the share of packets lost by chance
	measured bool                 // chance has been measured
	base     time.Duration        // the round-trip time without queues
	baseAt   time.Duration        // when it was last seen
	smoothed time.Duration

	// Round trips.
	total     uint64 // bytes delivered
	round     int
	roundEnd  uint64 // bytes delivered at which the present one ends
	delivered uint64 // counters when it began
	lost      uint64
	lowest    time.Duration // shortest round-trip time in it
	highest   time.Duration // longest
	empty     time.Duration // since then, round trips have met no queue
	usual     float64       // the share that is lost in most of them; negative: not known
	spread    float64       // and how far they are from it
	excess    bool          // much more was lost in the last one
	queued    bool          // even the shortest round trip in the last one met a queue
	down      bool          // part of it was spent in modelDown or modelDrain
	wasDown   bool          // so was part of the one before, on which it reports

	// Startup.
	full  float64 // rate at which growth was last worth it
	stale int     // round trips without such growth

	// Rivals.
	floor      time.Duration // shortest round-trip time since modelUp
	rivals     int           // periods in which the queue did not run empty
	rival      *cubic
	queue      time.Duration // the longest queue met
	left       time.Duration // when the last rival was believed to have gone
	patience   time.Duration // how long until the next look for that
	overflows  int           // round trips in which the queue overflowed, of late
	overflowed time.Duration // the last of them
	tested     time.Duration // when modelProbe last looked whether the rival has gone
	probing    float64       // how much of the path modelProbe fills
	silent     bool
}

const (
	modelRounds    = 10
	cruiseRounds   = 6
	startupGain    = 2.77 // doubles the rate in a round trip
	drainGain      = 1 / startupGain
	upGain         = 1.25
	downGain       = 0.75
	queuedGain     = 0.95
	probeGain      = 0.95 // of what fills the path: no queue of ours is left
	expiredGain    = 0.5  // nor much of what another connection of ours takes for empty
	windowGain     = 2
	baseLifetime   = 10 * time.Second // the path may have changed since
	rivalTest      = 2 * time.Second  // how often to look whether a rival has gone, at first
	maxPatience    = 16 * time.Second
	overflowMemory = 3 * time.Second
	emptyRival     = time.Second
	maxChance      = 0.2
	startupMaxLoss = 0.1
)

func (m *model) Sent(time.Duration, int, int) {}

func (m *model) Feedback(f Feedback) {
	m.mtu = f.MTU
	if f.Silence {
		m.silent = true
	}
	if f.Acked > 0 {
		m.silent = false
	}
	m.total = f.Delivered
	if f.Smoothed > 0 {
		m.smoothed = f.Smoothed
	}
	newRound := f.Acked > 0 && f.Prior >= m.roundEnd
	if newRound {
		m.endRound(&f)
	}
	m.observe(&f)
	if m.rival != nil {
		m.compete(f, newRound)
	}
	m.next(&f, newRound)
}

// observe takes in a sample of the round-trip time and of the rate.
func (m *model) observe(f *Feedback) {
	if f.RTT > 0 {
		if m.base == 0 || f.RTT <= m.base {
			m.base, m.baseAt = f.RTT, f.Now
		}
		m.lowest = shorter(m.lowest, f.RTT)
		m.floor = shorter(m.floor, f.RTT)
		m.highest = max(m.highest, f.RTT)
	}
	if f.Rate > 0 && (!f.AppLimited || f.Rate > m.rate) {
		m.best[m.newest] = max(m.best[m.newest], f.Rate)
		m.rate = max(m.rate, f.Rate)
	}
}

// shorter returns the shorter of two times, of which a may be unknown.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// endRound draws conclusions from a round trip. What it reports was sent in the
// one before.
func (m *model) endRound(f *Feedback) {
	lost, arrived := f.TotalLost-min(m.lost, f.TotalLost), f.Delivered-m.delivered
	loss := float64(lost) / float64(max(lost+arrived, 1))
	packets := float64(max(lost+arrived, 1)) / float64(m.mtu)
	m.excess = m.usual >= 0 && loss > 0.004+m.usual+4*m.spread
	switch {
	case m.state <= modelDrain: // startup overflows the queue on purpose
	case m.usual < 0:
		m.usual, m.spread = loss, loss/2
	default:
		m.spread += (math.Abs(loss-m.usual) - m.spread) / 8
		m.usual += (loss - m.usual) / 8
	}
	if m.lowest > m.base+m.slack() {
		m.empty = f.Now
	} else if m.rival != nil && f.Now-m.empty > emptyRival {
		m.leaveRival(f.Now) // without a queue there is nothing to compete for
	}
	if m.wasDown {
		// What is lost of packets sent slower than the path delivers is not
		// lost for want of room.
		if !m.measured {
			m.chance, m.measured = loss, true
		}
		m.chance = min(m.chance+(loss-m.chance)/4, maxChance)
	}
	if m.excess && m.rival == nil && m.state > modelDrain && m.highest > m.base+3*m.slack() {
		m.overflow(f.Now)
	}
	m.wasDown, m.down = m.down, m.state == modelDown || m.state == modelDrain
	if m.state == modelStartup {
		m.grow(f, loss, packets)
	}
	m.round++
	if !f.AppLimited {
		m.rate = slices.Max(m.best[:])
		m.newest = (m.newest + 1) % modelRounds
		m.best[m.newest] = 0
	}
	m.queued = m.lowest > m.base+m.base/20+500*time.Microsecond
	m.roundEnd, m.delivered, m.lost, m.lowest, m.highest = f.Delivered, f.Delivered, f.TotalLost, 0, 0
}

// grow decides whether startup is over.
func (m *model) grow(f *Feedback, loss, packets float64) {
	switch {
	case loss > startupMaxLoss+3*math.Sqrt(startupMaxLoss/packets):
		m.stale = 3 // more than chance: the queue overflows
	case f.AppLimited:
		return
	case m.rate >= m.full*1.25:
		m.full, m.stale = m.rate, 0
	default:
		m.stale++
	}
	queued := m.lowest > m.base+2*m.slack()
	if m.stale >= 3 || (m.stale >= 1 && queued) {
		m.enter(modelDrain, f.Now)
	}
}

// slack is how much longer than base a round trip may take without being taken
// for a sign of a queue.
func (m *model) slack() time.Duration { return max(m.base/8, time.Millisecond) }

func (m *model) enter(s modelState, now time.Duration) {
	if m.probing = probeGain; m.expired(now) {
		m.probing = expiredGain
	}
	m.state, m.since = s, m.round
	m.down = m.down || s == modelDown || s == modelDrain
}

// flight is how much is in flight when the path is full and its queue empty.
func (m *model) flight() float64 { return m.pace() * m.base.Seconds() }

// pace is the rate of sending that makes the rate of delivery: what is lost by
// chance has to be sent as well.
func (m *model) pace() float64 { return m.rate / (1 - m.chance) }

// next moves on to another state, if it is time.
func (m *model) next(f *Feedback, newRound bool) {
	inFlight := float64(f.InFlight)
	rounds := m.round - m.since
	switch m.state {
	case modelDrain:
		if inFlight <= m.flight() || rounds >= 4 {
			m.enter(modelCruise, f.Now)
		}
	case modelCruise:
		if rounds >= cruiseRounds && newRound {
			m.lookForRivals(f.Now)
		}
	case modelUp:
		if rounds >= 1 && newRound {
			m.enter(modelDown, f.Now)
		}
	case modelDown:
		if inFlight <= m.flight()*0.95 || rounds >= 2 {
			m.enter(modelCruise, f.Now)
		}
	case modelRival:
		if f.Now-m.tested > m.patience {
			m.enter(modelProbe, f.Now)
		}
	case modelProbe:
		if inFlight > float64(m.Window()+m.mtu) {
			m.floor = 0
			m.enter(modelProbe, f.Now) // not drained yet
		} else if rounds >= 2 && m.floor > 0 {
			m.endProbe(f.Now)
		}
	}
}

func (m *model) Window() int {
	least := minWindow * m.mtu
	if m.silent {
		return least
	}
	switch {
	case m.state == modelProbe:
		return max(int(m.probing*m.flight()), least)
	case m.rival != nil:
		return max(m.rival.Window(), least)
	case m.state == modelStartup:
		return m.startupWindow()
	}
	// Where round trips are shorter than the ticks of timers, acknowledgements
	// come in heaps: have enough in flight for one.
	// And on a path with jitter, most round trips are longer than base.
	rtt := max(windowGain*m.base, m.smoothed*5/4) + paceAhead
	return max(int(m.pace()*rtt.Seconds()), least)
}

// startupWindow grows by what arrives, which doubles it each round trip, even
// before the first sample of the rate, which takes two.
func (m *model) startupWindow() int {
	w := min(initialWindow+float64(m.total), max(windowGain*m.flight(), 2*initialWindow))
	return max(int(w), minWindow*m.mtu)
}

func (m *model) Rate() float64 {
	switch m.state {
	case modelStartup:
		rtt := m.smoothed
		if rtt == 0 {
			rtt = initialRTT
		}
		return max(startupGain*m.pace(), windowGain*float64(m.startupWindow())/rtt.Seconds())
	case modelDrain:
		return drainGain * m.pace()
	case modelUp:
		return upGain * m.pace()
	case modelDown:
		return downGain * m.pace()
	case modelRival:
		return m.rival.Rate()
	}
	if m.queued {
		return queuedGain * m.pace()
	}
	return m.pace()
}

func (m *model) State() string { return modelNames[m.state] }
