package udprel

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSpans compares the set with a plain array.
func TestSpans(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var s spans
		var plain [64]bool
		for range 100 {
			lo := uint64(dice.IntN(64))
			hi := min(64, lo+uint64(dice.IntN(12)))
			if dice.IntN(3) > 0 {
				var fresh uint64
				for x := lo; x < hi; x++ {
					if !plain[x] {
						fresh++
					}
					plain[x] = true
				}
				require.Equal(t, fresh, s.add(lo, hi))
			} else {
				s.remove(lo, hi)
				for x := lo; x < hi; x++ {
					plain[x] = false
				}
			}
			for x := range uint64(64) {
				require.Equal(t, plain[x], s.contains(x), "%v: %d", s, x)
			}
			for i, v := range s {
				require.Less(t, v.lo, v.hi)
				require.True(t, i == 0 || s[i-1].hi < v.lo, "%v", s)
			}
			var missing spans
			missing.addMissing(s, lo, hi)
			for x := range uint64(64) {
				require.Equal(t, x >= lo && x < hi && !plain[x], missing.contains(x))
			}
		}
	}
}

// TestRing writes and reads at random within a window.
func TestRing(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	at := func(off uint64) byte { return byte(off * 31 >> 3) }
	var r ring
	for base := uint64(0); base < 1<<20; {
		off := base + uint64(dice.IntN(5000))
		p := make([]byte, dice.IntN(3000))
		for i := range p {
			p[i] = at(off + uint64(i))
		}
		r.put(off, p)
		got := make([]byte, len(p))
		r.get(off, got)
		require.Equal(t, p, got)
		if dice.IntN(4) == 0 {
			base += uint64(dice.IntN(8000))
			r.discard(base)
		}
	}
	require.LessOrEqual(t, len(r.buf), 16<<10, "the window is below 16 KiB")
}
