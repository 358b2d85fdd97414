package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

// campus is the course's.
var campus = design{"", 15, 100e3, 1.5e6, 10e6, 2, 0}

// The numbers of the course's problem.
func TestFormula(t *testing.T) {
	asIs := campus.formula()
	require.InDelta(t, 1, asIs.access, 1e-9)
	require.InDelta(t, 0.15, asIs.lan, 1e-9)
	require.True(t, math.IsInf(asIs.delay, 1))

	faster := campus
	faster.access = 10e6
	got := faster.formula()
	require.InDelta(t, 0.15, got.access, 1e-9)
	require.InDelta(t, 2+2*0.01/0.85, got.delay, 1e-9)

	cached := campus
	cached.hit = 0.4
	got = cached.formula()
	require.InDelta(t, 0.6, got.access, 1e-9)
	require.InDelta(t, 0.15, got.lan, 1e-9)
	require.InDelta(t, 0.01/0.85+0.6*(2+(1.0/15)/0.4), got.delay, 1e-9)
}

// Where there is a mean, a long simulation comes to it.
func TestSimulationAgrees(t *testing.T) {
	for _, access := range []float64{2e6, 3e6, 10e6} {
		for _, hit := range []float64{0, 0.4, 0.9, 1} {
			d := campus
			d.access, d.hit = access, hit
			say, got := d.formula(), d.simulate(20*time.Hour, 7, false)
			require.InDelta(t, say.access, got.access, 0.01, "%v %v", access, hit)
			require.InDelta(t, say.lan, got.lan, 0.01)
			require.InEpsilon(t, say.delay, got.delay, 0.03, "%v %v", access, hit)
		}
	}
	// Objects of one size wait half as long: Δ(2−ρ)/(2(1−ρ)), an M/D/1 queue.
	d := campus
	d.access, d.internet, d.lan = 2e6, 0, 1e12
	got := d.simulate(40*time.Hour, 3, true)
	require.InEpsilon(t, 0.05*(2-0.75)/(2*0.25), got.delay, 0.02)
	// The same dice give the same numbers; others, others.
	require.Equal(t, got, d.simulate(40*time.Hour, 3, true))
	require.NotEqual(t, got, d.simulate(40*time.Hour, 4, true))
}

// A line that is asked for all it can do gets ever further behind.
func TestQueueGrows(t *testing.T) {
	short, long := campus.simulate(time.Hour, 1, false), campus.simulate(100*time.Hour, 1, false)
	require.Greater(t, long.delay, 3*short.delay)
	over := campus
	over.rate = 30
	require.Greater(t, over.simulate(time.Hour, 1, false).delay, 600.0)
	require.LessOrEqual(t, over.simulate(time.Hour, 1, false).access, 1.0)
}

func TestCompare(t *testing.T) {
	got := clitest.Run(t, "", "compare", "-span", "1h")
	require.Zero(t, got.Status, got.Stderr)
	for _, part := range []string{"as it is           1.000", "no bound", "faster line        0.150", "2.024 s", "cache              0.600", "1.312 s"} {
		require.Contains(t, got.Stdout, part)
	}
	got = clitest.Run(t, "", "compare", "-rate", "10000", "-span", "1000h")
	require.Equal(t, 2, got.Status)
	require.Contains(t, got.Stderr, "shorter -span")
}

func TestChart(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "delay.svg")
	got := clitest.Run(t, "", "chart", "-span", "20m", "-svg", svg)
	require.Zero(t, got.Status, got.Stderr)
	picture, err := os.ReadFile(svg)
	require.NoError(t, err)
	for _, part := range []string{"as it is, formula", "cache, simulated", "requests per second"} {
		require.Contains(t, string(picture), part)
	}
	require.Equal(t, 1, clitest.Run(t, "", "chart", "-span", "1m", "-svg", filepath.Join(svg, "none")).Status)
}
