package main

import (
	"iter"
	"math/rand/v2"
	"time"
)

// waits yields how long to wait for an answer to the first try, the second and
// so on: first, then each time the double, and nothing once that would be more
// than limit. It knows no clock and sends nothing.
//
// From the second on, up to a quarter is taken off by chance. Many clients that
// lost their server at one moment would otherwise all ask again at one moment,
// and once more twice as late, and the server that comes back would have to
// bear them all at once. (DHCP's clients draw their waits for this reason, see
// RFC 2131 section 4.1.) A quarter off the double leaves more than the wait
// before.
func waits(first, limit time.Duration, rnd *rand.Rand) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for wait := first; wait <= limit; wait *= 2 {
			shorter := time.Duration(0)
			if wait > first {
				shorter = time.Duration(rnd.Int64N(int64(wait)/4 + 1))
			}
			if !yield(wait-shorter) || wait > limit/2 { // the double may not even be a number
				return
			}
		}
	}
}
