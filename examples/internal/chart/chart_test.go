package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// texts parses an SVG document and returns the texts in it, each once.
func texts(t *testing.T, svg []byte) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	d := xml.NewDecoder(bytes.NewReader(svg))
	var inText bool
	for {
		token, err := d.Token()
		if err == io.EOF {
			return found
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			inText = token.Name.Local == "text"
			for _, a := range token.Attr {
				require.NotContains(t, a.Value, "NaN")
				require.NotContains(t, a.Value, "Inf")
			}
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				found[string(token)] = true
			}
		}
	}
}

func requireTexts(t *testing.T, draw func(io.Writer) error, want ...string) {
	t.Helper()
	var first, second bytes.Buffer
	require.NoError(t, draw(&first))
	require.NoError(t, draw(&second))
	require.True(t, bytes.Equal(first.Bytes(), second.Bytes()), "the same numbers give the same bytes")
	found := texts(t, first.Bytes())
	for _, text := range want {
		require.Contains(t, found, text)
	}
}

var axes = Chart{
	Title: `Goodput <of "TCP" & ours>`,
	X:     Axis{Label: "loss (%)"},
	Y:     Axis{Label: "goodput (Mbit/s)"},
}

func TestLines(t *testing.T) {
	requireTexts(t, func(w io.Writer) error {
		return axes.Lines(w,
			Line{"TCP", []Point{{0, 19}, {1, 6}, {5, 0.5}}},
			Line{"ours, año 2", []Point{{0, 18}, {1, 17}, {5, 16}}})
	}, axes.Title, "loss (%)", "goodput (Mbit/s)", "TCP", "ours, año 2", "0", "10")
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		labels string
	}{
		{0, 19, "0 2 4 6 8 10 12 14 16 18"},
		{0, 5, "0 1 2 3 4 5"},
		{0, 1, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{-0.3, 0.2, "-0.3 -0.2 -0.1 0.0 0.1 0.2"},
		{0, 2.5e9, "0 5e+08 1e+09 1.5e+09 2e+09 2.5e+09"},
		{0, 300, "0 50 100 150 200 250 300"},
	} {
		var labels []string
		for _, tick := range ticks(c.lo, c.hi) {
			labels = append(labels, tick.Label)
		}
		require.Equal(t, c.labels, strings.Join(labels, " "))
	}
}

func TestLogAxes(t *testing.T) {
	c := axes
	c.X.Log, c.Y.Log = true, true
	requireTexts(t, func(w io.Writer) error {
		return c.Lines(w, Line{"a", []Point{{0.01, 3}, {100, 5000}}})
	}, "0.01", "0.1", "1", "10", "100", "1000")
}

func TestBars(t *testing.T) {
	requireTexts(t, func(w io.Writer) error {
		return axes.Bars(w, []string{"clean", "1 % loss"}, Bar{"TCP", []float64{19, 6}}, Bar{"ours", []float64{18, 17}})
	}, axes.Title, "clean", "1 % loss", "TCP", "ours", "goodput (Mbit/s)")
}

// Long names of groups slant, so that they do not run into each other.
func TestLongNames(t *testing.T) {
	slants := func(names ...string) bool {
		var svg bytes.Buffer
		require.NoError(t, axes.Bars(&svg, names, Bar{"a", make([]float64, len(names))}))
		require.Contains(t, texts(t, svg.Bytes()), names[0])
		return strings.Contains(svg.String(), "rotate(22")
	}
	require.False(t, slants("clean", "loss=1%,burst=8"))
	require.True(t, slants("clean", "loss=1%", "loss=5%", "loss=10%", "loss=1%,burst=8", "reorder=5%,dup=2%"))
}

func TestHistogram(t *testing.T) {
	requireTexts(t, func(w io.Writer) error {
		return axes.Histogram(w, 2, []float64{0, 1, 9, 9.5, 10, 10})
	}, axes.Title, "4")
}

// What would leave an axis without a length, or a chart without a legend's
// room, is drawn all the same.
func TestCornerCases(t *testing.T) {
	for name, draw := range map[string]func(io.Writer) error{
		"one point":        func(w io.Writer) error { return axes.Lines(w, Line{"a", []Point{{3, 0}}}) },
		"one point, log":   func(w io.Writer) error { return Chart{Y: Axis{Log: true}}.Lines(w, Line{"a", []Point{{3, 0.001}}}) },
		"all the same":     func(w io.Writer) error { return axes.Histogram(w, 10, []float64{7, 7, 7}) },
		"bars of nothing":  func(w io.Writer) error { return axes.Bars(w, []string{""}, Bar{"", []float64{0}}) },
		"below zero":       func(w io.Writer) error { return axes.Bars(w, []string{"g"}, Bar{"b", []float64{-2}}) },
		"many points":      func(w io.Writer) error { return axes.Lines(w, Line{"a", make([]Point, 10_000)}) },
		"large and small":  func(w io.Writer) error { return axes.Lines(w, Line{"a", []Point{{1e-12, 1e15}, {1e12, 1e-9}}}) },
		"hardly a length":  func(w io.Writer) error { return axes.Lines(w, Line{"a", []Point{{1e20, 1}, {1e20 + 1<<14, 1}}}) },
		"no texts":         func(w io.Writer) error { return Chart{}.Lines(w, Line{Points: []Point{{1, 1}, {2, 2}}}) },
		"control in names": func(w io.Writer) error { return Chart{Title: "a\x00b\nc"}.Lines(w, Line{"\x1b[2J", []Point{{1, 1}}}) },
	} {
		t.Run(name, func(t *testing.T) { requireTexts(t, draw) })
	}
}

func TestManySeries(t *testing.T) {
	var lines []Line
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("series %d", i))
		lines = append(lines, Line{names[i], []Point{{0, float64(i)}, {1, 1}}})
	}
	requireTexts(t, func(w io.Writer) error { return axes.Lines(w, lines...) }, names...)
}

func TestRefused(t *testing.T) {
	log := Chart{Title: "log", Y: Axis{Log: true}}
	for _, c := range []struct {
		draw func(io.Writer) error
		says string
	}{
		{func(w io.Writer) error { return axes.Lines(w) }, "no lines"},
		{func(w io.Writer) error { return axes.Lines(w, Line{Name: "a"}) }, `line "a" has no points`},
		{func(w io.Writer) error { return axes.Lines(w, Line{"a", []Point{{math.NaN(), 1}}}) }, `NaN in "a"`},
		{func(w io.Writer) error { return axes.Lines(w, Line{"a", []Point{{1, math.Inf(1)}}}) }, `+Inf in "a"`},
		{func(w io.Writer) error { return log.Lines(w, Line{"a", []Point{{1, 0}}}) }, `chart "log": 0 in "a" has no place on a logarithmic axis`},
		{func(w io.Writer) error { return log.Bars(w, []string{"g"}, Bar{"b", []float64{1}}) }, "bars begin at zero"},
		{func(w io.Writer) error { return log.Histogram(w, 1, []float64{1}) }, "bars begin at zero"},
		{func(w io.Writer) error { return axes.Bars(w, nil, Bar{}) }, "no bars"},
		{func(w io.Writer) error { return axes.Bars(w, []string{"g"}) }, "no bars"},
		{func(w io.Writer) error { return axes.Bars(w, []string{"g", "h"}, Bar{"b", []float64{1}}) }, `"b" has 1 bars for 2 groups`},
		{func(w io.Writer) error { return axes.Bars(w, []string{"g"}, Bar{"b", []float64{math.NaN()}}) }, "NaN"},
		{func(w io.Writer) error { return axes.Histogram(w, 0, []float64{1}) }, "at least one bin"},
		{func(w io.Writer) error { return axes.Histogram(w, 3, nil) }, "needs values"},
		{func(w io.Writer) error { return axes.Histogram(w, 3, []float64{math.Inf(-1)}) }, "-Inf"},
	} {
		var out bytes.Buffer
		require.ErrorContains(t, c.draw(&out), c.says)
		require.Zero(t, out.Len(), "nothing is written")
	}
}

func TestWriteFails(t *testing.T) {
	full := errors.New("disk full")
	r, w := io.Pipe()
	r.CloseWithError(full)
	require.ErrorIs(t, axes.Lines(w, Line{"a", []Point{{1, 1}}}), full)
}

func ExampleChart() {
	var svg strings.Builder
	c := Chart{Title: "Loss hurts", X: Axis{Label: "loss (%)"}, Y: Axis{Label: "goodput (Mbit/s)"}}
	err := c.Lines(&svg, Line{Name: "TCP", Points: []Point{{X: 0, Y: 19}, {X: 1, Y: 6}}})
	fmt.Println(strings.Contains(svg.String(), ">Loss hurts</text>"), err)
	// Output: true <nil>
}
