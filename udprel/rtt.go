package udprel

import "time"

// An rttEstimator follows the round-trip time as [RFC 6298] does for TCP and
// [RFC 9002 section 5] for QUIC. As packet numbers are never used twice, each
// sample belongs to one transmission without doubt (Karn's problem is gone).
//
// [RFC 6298]: https://www.rfc-editor.org/rfc/rfc6298
// [RFC 9002 section 5]: https://www.rfc-editor.org/rfc/rfc9002#section-5
type rttEstimator struct {
	latest    time.Duration
	smallest  time.Duration // of all; the path without queues
	smoothed  time.Duration
	variation time.Duration
}

const (
	initialRTT = 200 * time.Millisecond // before anything is known
	minRTT     = 10 * time.Microsecond  // of a sample; clocks are coarse
)

// update takes a sample. delay is how long the peer says that it waited before
// it answered; it is believed as far as the sample stays above the smallest.
func (r *rttEstimator) update(sample, delay time.Duration) {
	sample = max(sample, minRTT)
	if r.smoothed == 0 {
		r.latest, r.smallest, r.smoothed, r.variation = sample, sample, sample, sample/2
		return
	}
	r.smallest = min(r.smallest, sample)
	if sample-delay >= r.smallest {
		sample -= delay
	}
	r.latest = sample
	r.variation += ((r.smoothed - sample).Abs() - r.variation) / 4
	r.smoothed += (sample - r.smoothed) / 8
}

// value returns the smoothed time, or a guess.
func (r *rttEstimator) value() time.Duration {
	if r.smoothed == 0 {
		return initialRTT
	}
	return r.smoothed
}

// timeout returns how long to wait for an answer before asking again, when the
// peer may wait by ackDelay before it answers.
func (r *rttEstimator) timeout(ackDelay time.Duration) time.Duration {
	if r.smoothed == 0 {
		return 2 * initialRTT
	}
	return r.smoothed + max(4*r.variation, time.Millisecond) + ackDelay
}
