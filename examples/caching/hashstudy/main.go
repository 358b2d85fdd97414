// C4 hashstudy: a hash table with chains is filled with a list of words, by one
// hash function after the other, and says how evenly each has spread them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/chart"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/words"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "hashstudy",
		Summary: "How evenly hash functions spread words over the buckets of a table.",
		Example: `
go run ./examples/caching/hashstudy study
go run ./examples/caching/hashstudy study -svg /tmp /usr/share/dict/words
`,
		Commands: []cli.Command{
			{Name: "study", Summary: "tables, and charts with -svg, for lists of words (without FILE: Debian's, or a small one)", Args: "[FILE]...", Setup: study},
			{Name: "demo", Summary: "studies the small list of words", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func study(fs *flag.FlagSet) cli.Action {
	buckets := cli.Number(fs, "buckets", 0, 0, 1<<26, "the number `M` of buckets in the histogram; 0 means as many as words")
	svg := fs.String("svg", "", "write charts to `folder`")
	return func(ctx context.Context, env *cli.Env) error {
		files := env.Args
		if len(files) == 0 {
			files = words.Installed()
		}
		if len(files) == 0 {
			files = []string{""}
		}
		for _, file := range files {
			list, err := words.Load(file)
			if err != nil {
				return err
			}
			slices.Sort(list)
			list = slices.Compact(list)
			name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
			if file == "" {
				name = "verbs"
			}
			fmt.Fprintf(env.Stdout, "%s: %d words\n\n", name, len(list))
			if err := report(ctx, env.Stdout, list, *buckets); err != nil {
				return err
			}
			if *svg != "" {
				if err := draw(ctx, env.Stdout, *svg, name, list, *buckets); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		list := words.Bundled()
		fmt.Fprintf(env.Stdout, "%d words: %s, %s … %s\n\n", len(list), list[0], list[1], list[len(list)-1])
		if err := report(ctx, env.Stdout, list, 0); err != nil {
			return err
		}
		// What the tables say must be so, or the demo fails.
		xor, fnv := fill(cache.Xor, len(list), list), fill(cache.FNV1a, len(list), list)
		if bad, good := cache.Quality(xor.lengths()), cache.Quality(fnv.lengths()); bad < 10 || math.Abs(good-1.5) > 0.2 {
			return fmt.Errorf("xor %.2f and FNV-1a %.2f are not as they should be", bad, good)
		}
		return nil
	}
}

// report prints the quality of each function for three numbers of buckets, and
// how many buckets have how many words.
func report(ctx context.Context, out io.Writer, list []string, buckets int) error {
	n := len(list)
	if buckets == 0 {
		buckets = n
	}
	sizes := []int{n, prime(n), power(n)}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "quality\tM = N = %d\tprime %d\t2^k = %d\tlinks walked\tns/word\t\n", sizes[0], sizes[1], sizes[2])
	for _, f := range functions {
		fmt.Fprintf(table, "%s\t", f.name)
		walked := 0
		for i, m := range sizes {
			t := fill(f.hash, m, list)
			fmt.Fprintf(table, "%.4f\t", cache.Quality(t.lengths()))
			if i > 0 {
				continue
			}
			for _, word := range list {
				links, found := t.find(word)
				if !found {
					return fmt.Errorf("%s: the table has lost %q", f.name, word)
				}
				walked += links
			}
			if err := ctx.Err(); err != nil { // a bad function takes long
				return err
			}
		}
		fmt.Fprintf(table, "%d\t%.1f\t\n", walked, timing(f.hash, list))
	}
	fmt.Fprint(table, "at random\t")
	for _, m := range sizes {
		fmt.Fprintf(table, "%.4f\t", cache.Chance(n, m))
	}
	fmt.Fprintln(table, "\t\t")
	if err := table.Flush(); err != nil {
		return err
	}

	fmt.Fprintf(out, "\nof %d buckets so many have so many words:\n", buckets)
	table = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range columns {
		fmt.Fprintf(table, "\t%s", column(i))
	}
	fmt.Fprint(table, "\tlongest\t\n")
	for _, f := range functions {
		lengths := fill(f.hash, buckets, list).lengths()
		fmt.Fprintf(table, "%s\t", f.name)
		for _, count := range histogram(lengths) {
			fmt.Fprintf(table, "%d\t", count)
		}
		fmt.Fprintf(table, "%d\t\n", slices.Max(lengths))
	}
	fmt.Fprint(table, "at random\t")
	for _, count := range poisson(n, buckets) {
		fmt.Fprintf(table, "%.0f\t", count)
	}
	fmt.Fprintln(table, "\t")
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return ctx.Err()
}

// columns of the histogram: 0 to 6 words, and more.
const columns = 8

func column(i int) string {
	if i == columns-1 {
		return fmt.Sprint(i, "+")
	}
	return fmt.Sprint(i)
}

// histogram counts how many chains have which length.
func histogram(lengths []int) []int {
	counts := make([]int, columns)
	for _, l := range lengths {
		counts[min(l, columns-1)]++
	}
	return counts
}

// poisson is the histogram to expect from a function that puts each of n words
// into one of m buckets at random.
func poisson(n, m int) []float64 {
	load := float64(n) / float64(m)
	counts := make([]float64, columns)
	p, rest := math.Exp(-load), 1.0
	for i := range columns - 1 {
		counts[i] = p * float64(m)
		rest -= p
		p *= load / float64(i+1)
	}
	counts[columns-1] = max(0, rest) * float64(m)
	return counts
}

// timing is how many nanoseconds hash takes for a word of list, roughly.
func timing(hash func(string) uint64, list []string) float64 {
	start := time.Now()
	for _, word := range list {
		hash(word)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(len(list))
}

// draw writes two charts: the quality over the number of buckets, and the
// histogram of the functions that are not hopeless.
func draw(ctx context.Context, out io.Writer, folder, name string, list []string, buckets int) error {
	n := len(list)
	if buckets == 0 {
		buckets = n
	}
	var lines []chart.Line
	var sizes []int
	for m := max(1, power(n)/8); m <= 8*power(n); m *= 2 {
		sizes = append(sizes, m)
	}
	point := func(m int, quality float64) chart.Point {
		return chart.Point{X: float64(m) / float64(n), Y: quality}
	}
	random := chart.Line{Name: "at random"}
	for _, m := range sizes {
		random.Points = append(random.Points, point(m, cache.Chance(n, m)))
	}
	var groups []string
	for i := range columns {
		groups = append(groups, column(i))
	}
	bars := []chart.Bar{{Name: "at random", Values: poisson(n, buckets)}}
	for _, f := range functions {
		line := chart.Line{Name: f.name}
		for _, m := range sizes {
			line.Points = append(line.Points, point(m, cache.Quality(fill(f.hash, m, list).lengths())))
		}
		lines = append(lines, line)
		if err := ctx.Err(); err != nil {
			return err
		}
		lengths := fill(f.hash, buckets, list).lengths()
		if cache.Quality(lengths) > 2*cache.Chance(n, buckets) {
			continue // nearly all buckets are empty, which hides the rest
		}
		bar := chart.Bar{Name: f.name}
		for _, count := range histogram(lengths) {
			bar.Values = append(bar.Values, float64(count))
		}
		bars = append(bars, bar)
	}
	quality := chart.Chart{
		Title: fmt.Sprintf("Quality of hash functions: %s, %d words", name, n),
		X:     chart.Axis{Label: "buckets for each word (M/N), M a power of two", Log: true},
		Y:     chart.Axis{Label: "quality (1 is perfectly even)", Log: true},
	}
	if err := write(out, folder, name+"-quality.svg", func(w io.Writer) error { return quality.Lines(w, append(lines, random)...) }); err != nil {
		return err
	}
	spread := chart.Chart{
		Title: fmt.Sprintf("%s: %d words in %d buckets", name, n, buckets),
		X:     chart.Axis{Label: "words in a bucket"},
		Y:     chart.Axis{Label: "buckets"},
	}
	return write(out, folder, name+"-buckets.svg", func(w io.Writer) error { return spread.Bars(w, groups, bars...) })
}

// write makes a file and says so.
func write(out io.Writer, folder, name string, draw func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := draw(f); err != nil {
		return err
	}
	fmt.Fprintf(out, "wrote %s\n", f.Name())
	return f.Close()
}
