package udprel

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGoodBad follows the mode through a day with bad hours.
func TestGoodBad(t *testing.T) {
	c := NewGoodBad()
	now := time.Duration(0)
	pass := func(long, rtt time.Duration) {
		for end := now + long; now < end; now += 100 * time.Millisecond {
			c.Feedback(Feedback{Now: now, RTT: rtt, MTU: 1000})
		}
	}
	good, bad := 50*time.Millisecond, 400*time.Millisecond
	pass(time.Minute, good)
	require.Equal(t, "good", c.State())
	require.Equal(t, 30_000.0, c.Rate())
	pass(3*time.Second, bad)
	require.Equal(t, "bad", c.State())
	require.Equal(t, 10_000.0, c.Rate())
	pass(3*time.Second, good) // the penalty has sunk to one second, after a smooth start
	require.Equal(t, "good", c.State())
	pass(2*time.Second, bad) // soon again: two seconds
	require.Equal(t, "bad", c.State())
	pass(2*time.Second, good)
	require.Equal(t, "bad", c.State())
	pass(3*time.Second, good)
	require.Equal(t, "good", c.State())
}

// TestCubic: doubling, one cut for the losses of one round trip, slow growth,
// and the cut undone when nothing was lost after all.
func TestCubic(t *testing.T) {
	c := NewCubic()
	rtt := 100 * time.Millisecond
	now := time.Duration(0)
	f := Feedback{Smoothed: rtt, Smallest: rtt, RTT: rtt, MTU: 1000}
	round := func() {
		now += rtt
		f := f
		f.Now, f.Acked, f.InFlight = now, c.Window(), c.Window()
		c.Feedback(f)
	}
	start := c.Window()
	round()
	round()
	require.Equal(t, 4*start, c.Window())
	require.Equal(t, "slow start", c.State())

	before := c.Window()
	lose := func(sent time.Duration) {
		f := f
		f.Now, f.Lost, f.LostSent, f.InFlight = now, 1000, sent, c.Window()
		c.Feedback(f)
	}
	lose(now - rtt/2)
	require.InDelta(t, 0.7*float64(before), c.Window(), 2)
	lose(now - rtt/4) // sent before the cut: the same event
	require.InDelta(t, 0.7*float64(before), c.Window(), 2)
	f.Now, f.Spurious = now, 2000
	c.Feedback(f)
	f.Spurious = 0
	require.Equal(t, before, c.Window())

	now += rtt
	lose(now - rtt/2)
	cut := c.Window()
	for range 10 {
		round()
	}
	require.Greater(t, c.Window(), cut)
	require.Less(t, c.Window(), before+before/10)
	f.Silence = true
	c.Feedback(f)
	require.Equal(t, 4000, c.Window())
}

// TestPacer spreads packets, and lets only a little be made up for.
func TestPacer(t *testing.T) {
	var p pacer
	now := time.Second
	count := func() (n int) {
		for ; p.ready(now); n++ {
			p.sent(now, 1000, 1e6) // a packet a millisecond
		}
		return n
	}
	require.Equal(t, 3, count(), "no more than paceBehind is owed")
	for range 10 {
		now += time.Millisecond
		require.Equal(t, 1, count())
	}
}
