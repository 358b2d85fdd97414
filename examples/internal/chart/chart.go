// Package chart draws what an exercise has measured as SVG: lines over an axis,
// bars in groups, and histograms. The same numbers give the same bytes, so that
// a chart can be committed and compared.
//
//	c := chart.Chart{
//		Title: "Goodput over a link of 20 Mbit/s",
//		X:     chart.Axis{Label: "loss (%)"},
//		Y:     chart.Axis{Label: "goodput (Mbit/s)"},
//	}
//	err := c.Lines(w, chart.Line{Name: "TCP", Points: []chart.Point{{X: 0, Y: 19}, {X: 1, Y: 6}}})
//
// Every linear axis of amounts begins at zero, so that a difference looks as
// large as it is.
package chart

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Chart is what all kinds of chart have in common. Its methods draw it.
type Chart struct {
	Title string // above it; may be empty
	X, Y  Axis   // the horizontal and the vertical one
}

// An Axis is one axis of a chart.
type Axis struct {
	// Label names the quantity and its unit: "goodput (Mbit/s)".
	Label string
	// Log makes the scale logarithmic. All values must be more than zero then.
	// Bars, which begin at zero, cannot have it.
	Log bool
}

// A Line is a named series of points, joined in their order.
type Line struct {
	Name   string  // in the legend
	Points []Point // at least one
}

// A Point is a point of a [Line].
type Point struct {
	X, Y float64 // in the units of the axes
}

// A Bar is a named series of bars, one in each group.
type Bar struct {
	Name   string    // in the legend
	Values []float64 // one for each group
}

// Lines writes a line chart to w. The vertical axis begins at zero or, if it is
// logarithmic, at the smallest value; the horizontal one at the first point.
func (c Chart) Lines(w io.Writer, lines ...Line) error {
	if len(lines) == 0 {
		return c.errorf("no lines")
	}
	p := c.plot()
	var legend entries
	for i, line := range lines {
		if len(line.Points) == 0 {
			return c.errorf("line %q has no points", line.Name)
		}
		points := make(plotter.XYs, len(line.Points))
		for j, pt := range line.Points {
			if err := c.check(line.Name, pt.X, c.X.Log); err != nil {
				return err
			}
			if err := c.check(line.Name, pt.Y, c.Y.Log); err != nil {
				return err
			}
			points[j] = plotter.XY(pt)
		}
		l := &plotter.Line{XYs: points, LineStyle: lineStyle(i)}
		p.Add(l)
		if len(points) > maxMarked {
			legend.add(line.Name, l)
			continue
		}
		marks := &plotter.Scatter{XYs: points, GlyphStyle: markStyle(i)}
		p.Add(marks)
		legend.add(line.Name, l, marks)
	}
	return c.write(w, p, legend)
}

// Bars writes a bar chart to w: one group of bars for each name of groups, in
// it one bar of each series, side by side.
func (c Chart) Bars(w io.Writer, groups []string, bars ...Bar) error {
	if c.X.Log || c.Y.Log {
		return c.errorf("bars begin at zero, which a logarithmic axis does not have")
	}
	if len(groups) == 0 || len(bars) == 0 {
		return c.errorf("no bars")
	}
	p := c.plot()
	var legend entries
	for i, bar := range bars {
		if len(bar.Values) != len(groups) {
			return c.errorf("%q has %d bars for %d groups", bar.Name, len(bar.Values), len(groups))
		}
		// Bars fill four fifths of the distance from one group to the next.
		wide := 0.8 / float64(len(bars))
		for j, v := range bar.Values {
			if err := c.check(bar.Name, v, false); err != nil {
				return err
			}
			left := float64(j) - 0.4 + float64(i)*wide
			p.Add(rectangle(left, left+wide, v, paint(i)))
		}
		legend.add(bar.Name, swatch(i))
	}
	names := make([]string, len(groups))
	for j, group := range groups {
		names[j] = printable(group)
	}
	p.NominalX(names...)
	label := &p.X.Tick.Label
	for _, name := range names { // slanting, if they would run into each other
		if label.Width(name) > plotWidth/vg.Length(len(names)) {
			label.Rotation, label.XAlign, label.YAlign = math.Pi/8, draw.XRight, draw.YTop
			break
		}
	}
	p.X.Min, p.X.Max = -0.5, float64(len(groups))-0.5
	return c.write(w, p, legend)
}

// Histogram writes a histogram of values to w: how many fall into each of bins
// intervals of equal width, from the smallest value to the largest.
func (c Chart) Histogram(w io.Writer, bins int, values []float64) error {
	if c.X.Log || c.Y.Log {
		return c.errorf("bars begin at zero, which a logarithmic axis does not have")
	}
	if bins < 1 || len(values) == 0 {
		return c.errorf("a histogram needs values and at least one bin, not %d and %d", len(values), bins)
	}
	lo, hi := values[0], values[0]
	for _, v := range values {
		if err := c.check("histogram", v, false); err != nil {
			return err
		}
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo == hi { // one value: a bar around it
		lo, hi = lo-0.5, hi+0.5
	}
	wide := (hi - lo) / float64(bins)
	counts := make([]int, bins)
	for _, v := range values {
		counts[min(int((v-lo)/wide), bins-1)]++
	}
	p := c.plot()
	for i, n := range counts {
		left := lo + float64(i)*wide
		p.Add(rectangle(left, left+wide, float64(n), paint(0)))
	}
	return c.write(w, p, nil)
}

func (c Chart) errorf(format string, args ...any) error {
	return fmt.Errorf("chart %q: %s", c.Title, fmt.Sprintf(format, args...))
}

// check refuses a value that has no place on its axis.
func (c Chart) check(series string, v float64, log bool) error {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return c.errorf("%v in %q is no number to draw", v, series)
	case log && v <= 0:
		return c.errorf("%v in %q has no place on a logarithmic axis", v, series)
	}
	return nil
}

// Sizes, in points of 1/72 inch.
const (
	chartWidth, chartHeight = 560, 320        // without the legend
	plotWidth               = chartWidth - 80 // or somewhat more: without the vertical axis
	margin                  = 8
	legendGap               = 14
	maxMarked               = 40 // points of a line; more would hide it under their marks
)

// plot returns an empty plot with the chart's title and axes.
func (c Chart) plot() *plot.Plot {
	p := plot.New()
	p.Title.Text = printable(c.Title)
	p.Title.TextStyle.Font = sans(12)
	p.Title.Padding = 8
	for _, a := range []struct {
		of   Axis
		axis *plot.Axis
	}{{c.X, &p.X}, {c.Y, &p.Y}} {
		a.axis.Label.Text = printable(a.of.Label)
		a.axis.Label.Padding = 4
		a.axis.Label.TextStyle.Font = sans(11)
		a.axis.Tick.Label.Font = sans(10)
		a.axis.Tick.Marker = plot.TickerFunc(ticks)
		if a.of.Log {
			a.axis.Scale = plot.LogScale{}
			a.axis.Tick.Marker = plot.LogTicks{Prec: -1}
		}
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = light, light
	p.Add(grid)
	return p
}

// write draws the plot with its legend to the right of it, where it covers no
// data.
func (c Chart) write(w io.Writer, p *plot.Plot, series entries) error {
	if !c.Y.Log {
		p.Y.Min, p.Y.Max = min(p.Y.Min, 0), max(1.04*p.Y.Max, 0)
	}
	for _, a := range []struct {
		of   Axis
		axis *plot.Axis
	}{{c.X, &p.X}, {c.Y, &p.Y}} {
		if a.of.Log { // whole decades, which have labels
			a.axis.Min = math.Pow10(int(math.Floor(math.Log10(a.axis.Min))))
			a.axis.Max = math.Pow10(int(math.Ceil(math.Log10(a.axis.Max))))
		}
		if a.axis.Min == a.axis.Max { // a scale needs a length
			a.axis.Max += max(1, math.Abs(a.axis.Min))
		}
	}
	legend := plot.NewLegend()
	legend.TextStyle.Font = sans(10)
	legend.Top, legend.Left = true, true
	legend.Padding = 3
	column := vg.Length(0)
	for _, s := range series {
		name := printable(s.name)
		legend.Add(name, s.look...)
		column = max(column, legend.TextStyle.Width(name))
	}
	if len(series) > 0 {
		column += legend.ThumbnailWidth + legendGap
	}
	picture := vgsvg.New(chartWidth+column, chartHeight)
	all := draw.New(picture)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	inner := draw.Crop(all, margin, -margin, margin, -margin)
	p.Draw(draw.Crop(inner, 0, -column, 0, 0))
	if len(series) > 0 {
		legend.Draw(draw.Crop(inner, inner.Size().X-column+legendGap/2, 0, 0, -2*p.Title.TextStyle.Font.Size))
	}
	_, err := picture.WriteTo(w)
	return err
}

// entries are the lines of a legend.
type entries []struct {
	name string
	look []plot.Thumbnailer
}

func (e *entries) add(name string, look ...plot.Thumbnailer) {
	*e = append(*e, struct {
		name string
		look []plot.Thumbnailer
	}{name, look})
}

// ticks marks an axis at multiples of 1, 2 or 5 times a power of ten, at five
// to ten places.
func ticks(lo, hi float64) []plot.Tick {
	power := math.Floor(math.Log10((hi - lo) / 5))
	step := math.Pow(10, power)
	for _, factor := range []float64{5, 2} {
		if (hi-lo)/(step*factor) >= 5 {
			step *= factor
			break
		}
	}
	var marks []plot.Tick
	const hair = 1e-9                    // of a step: 0.3 is no multiple of 0.1 in binary
	first := math.Ceil(lo/step-hair) + 0 // not -0, which has a sign in its text
	for i := range 11 {
		v := (first + float64(i)) * step
		if v > hi+hair*step {
			break
		}
		v = min(max(v, lo), hi)
		text := strconv.FormatFloat(v, 'f', max(0, int(-power)), 64)
		if len(text) > 8 {
			text = strconv.FormatFloat(v, 'g', 3, 64)
		}
		marks = append(marks, plot.Tick{Value: v, Label: text})
	}
	return marks
}

// printable replaces what a terminal or a parser of XML would stumble over.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// palette is the one of Okabe and Ito, whose colours people with any kind of
// colour vision can tell apart; the lightest is left out.
var palette = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff}, // blue
	{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	{0x00, 0x9e, 0x73, 0xff}, // green
	{0xcc, 0x79, 0xa7, 0xff}, // purple
	{0xe6, 0x9f, 0x00, 0xff}, // orange
	{0x56, 0xb4, 0xe9, 0xff}, // sky blue
	{0x00, 0x00, 0x00, 0xff}, // black
}

var light = color.Gray{0xe4}

func paint(i int) color.Color { return palette[i%len(palette)] }

// lineStyle returns the look of the ith line. Colours that come again are
// dashed.
func lineStyle(i int) draw.LineStyle {
	style := draw.LineStyle{Color: paint(i), Width: 1.5}
	if again := i / len(palette); again > 0 {
		style.Dashes = []vg.Length{vg.Length(6 / again), 2}
	}
	return style
}

// markStyle returns the marks of the ith line, for prints without colours.
func markStyle(i int) draw.GlyphStyle {
	shapes := []draw.GlyphDrawer{
		draw.CircleGlyph{},
		draw.BoxGlyph{},
		draw.PyramidGlyph{},
		draw.CrossGlyph{},
		draw.RingGlyph{},
		draw.SquareGlyph{},
		draw.PlusGlyph{},
	}
	return draw.GlyphStyle{Color: paint(i), Radius: 3, Shape: shapes[i%len(shapes)]}
}

// rectangle returns a bar from zero to height.
func rectangle(left, right, height float64, fill color.Color) *plotter.Polygon {
	corners := plotter.XYs{{X: left, Y: 0}, {X: left, Y: height}, {X: right, Y: height}, {X: right, Y: 0}}
	return &plotter.Polygon{
		XYs: []plotter.XYs{corners}, Color: fill,
		LineStyle: draw.LineStyle{Color: color.White, Width: 0.5},
	}
}

// A swatch is the piece of colour of the ith series in a legend.
type swatch int

func (s swatch) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(paint(int(s)), []vg.Point{
		{X: c.Min.X, Y: c.Min.Y}, {X: c.Min.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Max.Y}, {X: c.Max.X, Y: c.Min.Y},
	})
}
