package udprel

import "time"

// A Controller is congestion control: it decides how many bytes may be under
// way and how fast they leave. It is told what becomes of them. It has no clock
// and starts no goroutine; a connection calls it under a lock of its own.
//
// Sizes are bytes of UDP payload. Times count from an arbitrary start.
type Controller interface {
	// Sent tells that a packet leaves. inFlight includes it.
	Sent(now time.Duration, size, inFlight int)
	// Feedback tells what an acknowledgement, or silence, has brought to light.
	Feedback(f Feedback)
	// Window is the number of bytes that may be in flight.
	Window() int
	// Rate is the pace at which they may leave, in bytes a second.
	Rate() float64
	// State names the state for people, such as "slow start".
	State() string
}

// Feedback is what one acknowledgement says about the path.
type Feedback struct {
	// Now is the time.
	Now time.Duration
	// Acked, Lost and Spurious are bytes: arrived, given up, and given up
	// earlier but arrived after all. Spurious bytes count as Acked as well.
	Acked, Lost, Spurious int
	// LostSent is when the newest of the lost packets was sent.
	LostSent time.Duration
	// InFlight is the bytes still under way.
	InFlight int
	// RTT is a sample of the round-trip time, zero if there is none; Smoothed
	// and Smallest come from all samples.
	RTT, Smoothed, Smallest time.Duration
	// Delivered is the bytes that have arrived in all, Prior what it was when
	// the newest of the acknowledged packets left: a round trip has gone by
	// when Prior passes an earlier Delivered. Zero if nothing was acknowledged.
	Delivered, Prior uint64
	// TotalLost and PriorLost are the same for bytes that were lost.
	TotalLost, PriorLost uint64
	// Rate is a sample of the rate of delivery, in bytes a second, zero if
	// there is none. AppLimited says that the sender had less to send than
	// the path would have carried, so that Rate may be too low.
	Rate       float64
	AppLimited bool
	// Silence tells that nothing has been heard for several timeouts.
	Silence bool
	// MTU is the size of the largest packet that is sent.
	MTU int
}

// initialWindow is how much may leave before anything is known: 48 packets, spread
// over a round trip. [RFC 6928] allows ten to TCP, which sends them at once.
//
// [RFC 6928]: https://www.rfc-editor.org/rfc/rfc6928
const initialWindow = 48 * baseMTU

// minWindow is the fewest packets that keep acknowledgements coming.
const minWindow = 4
