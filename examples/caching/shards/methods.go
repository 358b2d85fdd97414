package main

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/chart"
)

// A method is a way to say which server has a key.
type method struct {
	name     string
	selector cache.Selector
	stable   bool // all programs agree, and so does this one when it runs again
}

var methods = []method{
	{"letter", firstLetter, true},
	{"maphash", ownHash, false},
	{"modulo", cache.Modulo, true},
	{"md5", md5Modulo, true},
	{"ketama", cache.Ketama, true},
	{"rendezvous", cache.Rendezvous, true},
	{"jump", cache.Jump, true},
	{"bounded", cache.BoundedLoads(1.1), true},
}

// firstLetter gives each server a piece of the alphabet, as volumes of a
// dictionary have.
func firstLetter(nodes []cache.Node) func(string) int {
	return func(word string) int {
		// An accented letter is the letter and then the accent (NFD).
		letter, _ := utf8.DecodeRune(norm.NFD.AppendString(nil, word))
		place := int(letter|0x20) - 'a' // of either case
		return min(max(place, 0), 25) * len(nodes) / 26
	}
}

// ownHash is the remainder of a hash function that every process seeds anew, as
// Go does for its maps and Python for hash().
func ownHash(nodes []cache.Node) func(string) int {
	seed := maphash.MakeSeed()
	return func(word string) int { return int(maphash.String(seed, word) % uint64(len(nodes))) }
}

// md5Modulo is the remainder of an MD5 digest.
func md5Modulo(nodes []cache.Node) func(string) int {
	return func(word string) int {
		sum := md5.Sum([]byte(word))
		return int(binary.BigEndian.Uint64(sum[:]) % uint64(len(nodes)))
	}
}

// nodes returns n servers.
func nodes(n int) (list []cache.Node) {
	for i := range n {
		list = append(list, cache.Node{Addr: fmt.Sprintf("server%d", i)})
	}
	return list
}

// loads counts the words of each of n servers.
func (m method) loads(list []string, n int) []float64 {
	loads := make([]float64, n)
	pick := m.selector(nodes(n))
	for _, word := range list {
		loads[pick(word)]++
	}
	return loads
}

// movement is the share of the words that are on another server when there are
// some servers more or fewer, the last ones.
func (m method) movement(list []string, before, after int) float64 {
	return moved(list, nodes(before), m.selector(nodes(before)), nodes(after), m.selector(nodes(after)))
}

// moved is the share of the words that have different servers.
func moved(list []string, a []cache.Node, pickA func(string) int, b []cache.Node, pickB func(string) int) float64 {
	n := 0
	for _, word := range list {
		if a[pickA(word)] != b[pickB(word)] {
			n++
		}
	}
	return float64(n) / float64(len(list))
}

// middle is the share that moves when the server in the middle leaves.
func (m method) middle(list []string, n int) float64 {
	left := slices.Delete(nodes(n), n/2, n/2+1)
	return moved(list, nodes(n), m.selector(nodes(n)), left, m.selector(left))
}

// disagreement is the share of the words for which another process asks another server.
func (m method) disagreement(list []string, n int) float64 {
	return moved(list, nodes(n), m.selector(nodes(n)), nodes(n), m.selector(nodes(n)))
}

// spread returns the most loaded server's load and the standard deviation, both
// against the mean.
func spread(loads []float64) (most, deviation float64) {
	total, squares := 0.0, 0.0
	for _, l := range loads {
		total += l
	}
	mean := total / float64(len(loads))
	for _, l := range loads {
		squares += (l - mean) * (l - mean)
	}
	return slices.Max(loads) / mean, math.Sqrt(squares/float64(len(loads))) / mean
}

// report prints how evenly each method spreads the words, and what moves.
func report(ctx context.Context, out io.Writer, list []string, n int) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\tfewest\tmost\tmost/mean\tdeviation\tns/word\t\n")
	for _, m := range methods {
		loads := m.loads(list, n)
		most, deviation := spread(loads)
		pick := m.selector(nodes(n))
		start := time.Now()
		for _, word := range list {
			pick(word)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.3f\t%.3f\t%.0f\t\n", m.name, slices.Min(loads), slices.Max(loads), most, deviation,
			float64(time.Since(start).Nanoseconds())/float64(len(list)))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	fmt.Fprintf(table, "ideal\t%d\t%d\t1.000\t0.000\t\t\n", len(list)/n, (len(list)+n-1)/n)
	if err := table.Flush(); err != nil {
		return err
	}

	fmt.Fprintf(out, "\nwords that are then looked for on another server, of 100:\n")
	table = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\tone joins\tthe last leaves\tthe middle leaves\tanother program\t\n")
	for _, m := range methods {
		fmt.Fprintf(table, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t\n", m.name, 100*m.movement(list, n, n+1), 100*m.movement(list, n, n-1),
			100*m.middle(list, n), 100*m.disagreement(list, n))
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	fmt.Fprintf(table, "ideal\t%.1f\t%.1f\t%.1f\t0.0\t\n", 100/float64(n+1), 100/float64(n), 100/float64(n))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return nil
}

// draw writes two charts: how much each server has, and how much moves with more
// and more servers.
func draw(ctx context.Context, out io.Writer, name string, list []string, n int) error {
	var groups []string
	for i := range n {
		groups = append(groups, fmt.Sprint(i))
	}
	var bars []chart.Bar
	ideal := chart.Line{Name: "ideal"}
	const most = 20
	for k := 2; k <= most; k++ {
		ideal.Points = append(ideal.Points, chart.Point{X: float64(k), Y: 100 / float64(k+1)})
	}
	lines := []chart.Line{ideal}
	for _, m := range methods {
		if !m.stable {
			continue // looks like modulo
		}
		bars = append(bars, chart.Bar{Name: m.name, Values: m.loads(list, n)})
		line := chart.Line{Name: m.name}
		for k := 2; k <= most; k++ {
			line.Points = append(line.Points, chart.Point{X: float64(k), Y: 100 * m.movement(list, k, k+1)})
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		lines = append(lines, line)
	}
	balance := chart.Chart{
		Title: fmt.Sprintf("%d words on %d servers", len(list), n),
		X:     chart.Axis{Label: "server"}, Y: chart.Axis{Label: "words"},
	}
	movement := chart.Chart{
		Title: "Words that move when one more server joins",
		X:     chart.Axis{Label: "servers before"}, Y: chart.Axis{Label: "words that move (of 100)"},
	}
	if err := save(out, name+"-balance.svg", func(w io.Writer) error { return balance.Bars(w, groups, bars...) }); err != nil {
		return err
	}
	return save(out, name+"-movement.svg", func(w io.Writer) error { return movement.Lines(w, lines...) })
}

// save writes a file.
func save(out io.Writer, name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Fprintf(out, "wrote %s\n", name)
	return nil
}
