package simnet

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// A Link is one direction of a path between two addresses. The zero Link is
// perfect: nothing is lost and nothing takes time. A Link is a plain value:
// copy it, compare it with ==, print it, read it with [ParseLink].
//
// A packet meets the knobs in this order: Down, MTU, Queue and Rate, Loss,
// Duplicate, then Delay, Jitter and Reorder. A lost packet has therefore used
// its share of the rate, and the most that any protocol can carry is
// Rate × (1 − Loss). A value outside its range counts as the nearest one inside.
type Link struct {
	// Delay is the time from the last bit sent to its arrival.
	Delay time.Duration
	// Jitter is the largest extra delay. Each packet draws its own, evenly
	// from nothing to Jitter, but never overtakes the one before it.
	Jitter time.Duration
	// Loss is the probability, 0 to 1, that a packet is lost in the long run.
	Loss float64
	// Burst is the mean number of packets lost in a row. Zero to one means
	// that every loss is independent of the last. Where Loss is so high that
	// it needs longer runs, they are as long as it needs.
	Burst float64
	// Duplicate is the probability, 0 to 1, that a packet arrives twice.
	Duplicate float64
	// Reorder is the probability, 0 to 1, that a packet is held back by
	// ReorderBy, so that later ones may overtake it.
	Reorder float64
	// ReorderBy is how long a packet is held back. Zero means a quarter of
	// Delay, but no less than a millisecond.
	ReorderBy time.Duration
	// Rate is the capacity in bits per second. Headers of IP, UDP and TCP
	// count, those below IP do not. Zero means no limit.
	Rate int64
	// Queue is how many bytes may wait for their turn at Rate, with the packet
	// that is being sent; what finds it full is dropped. A packet that finds
	// the link idle is always taken. Zero means what Rate carries in 100 ms,
	// but no less than 64 KiB. Without a Rate nothing waits.
	Queue int
	// MTU is the largest packet in bytes at the IP layer. A larger one vanishes
	// without a word to its sender. Zero means no limit.
	MTU int
	// Down loses everything, packets on their way included.
	Down bool
}

// Bounds that keep every sum of times far from overflow.
const (
	maxTime = 365 * 24 * time.Hour
	maxSize = 1 << 30
	horizon = time.Duration(math.MaxInt64 / 4)
)

// effective returns l with its defaults filled in and every knob in range.
func (l Link) effective() Link {
	unit := func(p float64) float64 {
		if !(p > 0) { // catches NaN as well
			return 0
		}
		return min(p, 1)
	}
	span := func(d time.Duration) time.Duration { return min(max(d, 0), maxTime) }
	l.Delay, l.Jitter, l.ReorderBy = span(l.Delay), span(l.Jitter), span(l.ReorderBy)
	l.Loss, l.Duplicate, l.Reorder = unit(l.Loss), unit(l.Duplicate), unit(l.Reorder)
	if !(l.Burst > 1) {
		l.Burst = 0
	}
	l.Rate, l.MTU = max(l.Rate, 0), max(l.MTU, 0)
	if l.Queue <= 0 {
		l.Queue = 64 << 10
		if l.Rate/80 > int64(l.Queue) {
			l.Queue = int(min(l.Rate/80, maxSize))
		}
	}
	l.Queue = min(l.Queue, maxSize)
	if l.ReorderBy == 0 {
		l.ReorderBy = max(l.Delay/4, time.Millisecond)
	}
	return l
}

// A Drop says why a packet did not reach the program it was sent to. The empty
// Drop means that it was not dropped.
type Drop string

// The reasons for which a packet is dropped. The first four are a link's, the
// last two those of the host at its far end.
const (
	DropDown   Drop = "link down"
	DropMTU    Drop = "larger than the MTU"
	DropQueue  Drop = "queue full"
	DropLoss   Drop = "lost"
	DropBuffer Drop = "receive buffer full"
	DropNobody Drop = "nobody there"
)

// A Fate is what becomes of one packet on a link. Times are on the clock of
// the caller of [Model.Send].
type Fate struct {
	Drop   Drop          // empty if the packet will arrive
	Leave  time.Duration // when its last bit has been sent; set for DropLoss as well
	Arrive time.Duration // when it arrives
	Copy   bool          // a second copy arrives right behind it
	Late   bool          // it was held back by ReorderBy
}

// Stats counts what happened on one direction of a link since it was made.
// When nothing is on its way, Packets + Duplicated equals Delivered + Lost +
// TailDropped + TooBig + Blocked.
type Stats struct {
	Packets     int64 // offered to the link
	Bytes       int64 // in those packets, headers included
	Delivered   int64 // arrived at the far end, copies included
	Lost        int64 // by chance
	TailDropped int64 // the queue was full
	TooBig      int64 // larger than the MTU
	Blocked     int64 // the link was down or partitioned, at either end of the way
	Duplicated  int64 // copies made
	Reordered   int64 // held back
	// QueueDelay is the sum, and QueueDelayMax the longest, of the times for
	// which packets waited before their first bit was sent.
	QueueDelay, QueueDelayMax time.Duration
}

// A Model is a [Link] at work: a state machine that is told when packets enter
// and answers what becomes of them. It has no clock, starts no goroutine and
// sends nothing, so that a simulation may run it on any time of its own.
// Its dice are its own: equal seeds and equal calls give equal answers.
// A Model must not be used by several goroutines at a time.
type Model struct {
	link  Link // as given
	knobs Link // with defaults filled in
	dice  *rand.Rand
	stats Stats

	now     time.Duration // time of the last call
	free    time.Duration // when the sender has sent all that waits
	frac    uint64        // and a fraction of a nanosecond: frac/Rate
	last    time.Duration // latest arrival among packets that keep their order
	burst   bool          // inside a run of losses
	blocked bool          // cut off by a partition, whatever the link says
}

// NewModel returns a model of l whose dice come from the two seeds.
func NewModel(l Link, seed1, seed2 uint64) *Model {
	return &Model{link: l, knobs: l.effective(), dice: rand.New(rand.NewPCG(seed1, seed2))}
}

// Link returns the link as it was given.
func (m *Model) Link() Link { return m.link }

// SetLink changes the link from now on. Packets already on their way keep
// their times; new ones may overtake them, and do not wait behind those of
// another Rate. Dice and counters go on.
func (m *Model) SetLink(l Link) {
	if l.Rate != m.link.Rate {
		m.free, m.frac = 0, 0
	}
	m.link, m.knobs, m.last = l, l.effective(), 0
}

// Stats returns the counters.
func (m *Model) Stats() Stats { return m.stats }

// Send offers a packet of size bytes, headers included, at time now and
// returns its fate. Time must not run backwards: an earlier now counts as the
// latest one. Whoever keeps the packet calls [Model.Arrive] when it arrives,
// and again for its copy.
func (m *Model) Send(now time.Duration, size int) Fate { return m.send(now, size, false) }

// send is Send; lose decides the dice of Loss in advance.
func (m *Model) send(now time.Duration, size int, lose bool) Fate {
	size = min(max(size, 0), maxSize)
	now = min(max(now, m.now), horizon)
	m.now = now
	m.stats.Packets++
	m.stats.Bytes += int64(size)
	k := &m.knobs
	if k.Down || m.blocked {
		m.stats.Blocked++
		return Fate{Drop: DropDown}
	}
	if k.MTU > 0 && size > k.MTU {
		m.stats.TooBig++
		return Fate{Drop: DropMTU}
	}
	leave := now
	if k.Rate > 0 {
		wait := max(m.free-now, 0)
		if wait > 0 && (size > k.Queue || wait > wireTime(k.Queue-size, k.Rate)) {
			m.stats.TailDropped++
			return Fate{Drop: DropQueue}
		}
		m.stats.QueueDelay += wait
		m.stats.QueueDelayMax = max(m.stats.QueueDelayMax, wait)
		leave = m.occupy(now, size)
	}
	if m.lost() || lose {
		m.stats.Lost++
		return Fate{Drop: DropLoss, Leave: leave}
	}
	f := Fate{Leave: leave, Arrive: leave + k.Delay}
	if m.chance(k.Duplicate) {
		m.stats.Duplicated++
		f.Copy = true
	}
	if k.Jitter > 0 {
		f.Arrive += time.Duration(m.dice.Int64N(int64(k.Jitter) + 1))
	}
	f.Arrive = max(f.Arrive, m.last)
	m.last = f.Arrive
	if m.chance(k.Reorder) {
		m.stats.Reordered++
		f.Late = true
		f.Arrive += k.ReorderBy // without moving last: the next may overtake
	}
	return f
}

// Arrive tells the model that a packet, or its copy, is at the far end. It
// reports whether the packet goes through: not if the link is down by now.
func (m *Model) Arrive() bool {
	if m.knobs.Down || m.blocked {
		m.stats.Blocked++
		return false
	}
	m.stats.Delivered++
	return true
}

// Room returns the earliest time, now or later, at which half of the queue has
// room for size bytes more. Senders that can wait, such as streams, ask before
// they send; by leaving the other half alone they leave room for those that
// cannot.
func (m *Model) Room(now time.Duration, size int) time.Duration {
	k := &m.knobs
	if k.Rate == 0 {
		return now
	}
	at := m.free
	if half := k.Queue / 2; half > size {
		at -= wireTime(half-size, k.Rate)
	}
	return max(at, now)
}

// refuse counts a packet for which the caller has no memory to spare.
func (m *Model) refuse(size int) {
	m.stats.Packets++
	m.stats.Bytes += int64(size)
	m.stats.TailDropped++
}

// occupy takes the sender for size bytes from now or from when it is free, and
// returns when it has sent them. It carries fractions of a nanosecond over, so
// that a million packets take exactly as long as their bytes at the rate.
func (m *Model) occupy(now time.Duration, size int) time.Duration {
	if now > m.free {
		m.free, m.frac = now, 0
	}
	rate := uint64(m.knobs.Rate)
	total := uint64(size)*8e9 + m.frac // at most 2³⁰·8·10⁹ + 2⁶³, below 2⁶⁴
	took := min(total/rate, uint64(maxTime))
	m.free = min(m.free+time.Duration(took), horizon)
	m.frac = total % rate
	return m.free
}

// lost throws the dice of Loss. With Burst the link is in one of two states
// (Gilbert's model): in the bad one it loses everything. It leaves the bad
// state with probability 1/Burst, which makes runs of Burst packets on average,
// and enters it so often that Loss is the share of packets met in it.
func (m *Model) lost() bool {
	k := &m.knobs
	if k.Burst == 0 || k.Loss == 0 || k.Loss == 1 {
		m.burst = false
		return m.chance(k.Loss)
	}
	// A run of deliveries is one packet or more, so runs of losses must be
	// odds packets or more on average.
	odds := k.Loss / (1 - k.Loss)
	run := max(k.Burst, odds)
	if m.burst {
		m.burst = !m.chance(1 / run)
	} else {
		m.burst = m.chance(odds / run)
	}
	return m.burst
}

// chance is true with probability p. A certain answer costs no throw.
func (m *Model) chance(p float64) bool {
	return p > 0 && (p >= 1 || m.dice.Float64() < p)
}

// wireTime returns how long n bytes take at rate bits per second, rounded up.
func wireTime(n int, rate int64) time.Duration {
	hi, lo := bits.Mul64(uint64(n), 8e9)
	if hi >= uint64(rate) {
		return maxTime
	}
	q, r := bits.Div64(hi, lo, uint64(rate))
	if r > 0 {
		q++
	}
	return time.Duration(min(q, uint64(maxTime)))
}
