// W7 accesslink: a campus behind a slow line: is a faster line or a cache the
// better buy? Utilisation and delay by the formula and by simulation.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/chart"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "accesslink",
		Summary: "A campus behind a slow line: as it is, with a faster line, with a cache.",
		Example: `
go run ./examples/web/accesslink compare
go run ./examples/web/accesslink compare -rate 12 -hit 0.5
go run ./examples/web/accesslink chart -svg delay.svg
`,
		Commands: []cli.Command{
			{Name: "compare", Summary: "puts the three designs beside each other", Setup: compare},
			{Name: "chart", Summary: "delay over the rate of requests, formula and simulation, as SVG", Setup: draw},
			{Name: "demo", Summary: "compares the course's three designs, and shows the queue that grows", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// campusFlags describe the course's campus; another one by other values.
type campusFlags struct {
	rate, size, access, faster, lan, hit *float64
	internet, span                       *time.Duration
	seed                                 *int64
	fixed                                *bool
}

func addCampusFlags(fs *flag.FlagSet) campusFlags {
	return campusFlags{
		rate:     cli.Number(fs, "rate", 15.0, 0.001, 1e4, "`requests` per second"),
		size:     cli.Number(fs, "size", 100e3, 1, 1e12, "mean `bits` of an object"),
		access:   cli.Number(fs, "access", 1.5e6, 1, 1e12, "`bits` per second of the access link"),
		faster:   cli.Number(fs, "faster", 10e6, 1, 1e12, "`bits` per second of the faster one"),
		lan:      cli.Number(fs, "lan", 10e6, 1, 1e12, "`bits` per second of the network inside"),
		hit:      cli.Number(fs, "hit", 0.4, 0, 1, "`part` of the requests that the cache answers"),
		internet: cli.Number(fs, "internet", 2*time.Second, 0, time.Hour, "`time` from the access router to a server and back"),
		span:     cli.Number(fs, "span", 10*time.Hour, time.Second, 1000*time.Hour, "`time` to simulate"),
		seed:     cli.Number(fs, "seed", int64(1), 0, math.MaxInt64, "`number` that the dice come from"),
		fixed:    fs.Bool("fixed", false, "simulate objects that all have the mean size"),
	}
}

// designs are the three of the course.
func (f campusFlags) designs() [3]design {
	asIs := design{"as it is", *f.rate, *f.size, *f.access, *f.lan, f.internet.Seconds(), 0}
	faster, cached := asIs, asIs
	faster.name, faster.access = "faster line", *f.faster
	cached.name, cached.hit = "cache", *f.hit
	return [3]design{asIs, faster, cached}
}

// maxRequests bounds what a simulation is asked to do.
const maxRequests = 5e7

func (f campusFlags) check() error {
	if *f.rate*f.span.Seconds() > maxRequests {
		return cli.Usagef("%g requests per second for %v are more than %g: give a shorter -span", *f.rate, *f.span, float64(maxRequests))
	}
	return nil
}

func compare(fs *flag.FlagSet) cli.Action {
	campus := addCampusFlags(fs)
	return func(_ context.Context, env *cli.Env) error {
		if err := campus.check(); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%-12s %11s %9s %8s %9s %10s %10s\n", "", "access link", "simulated", "LAN", "simulated", "mean delay", "simulated")
		for _, d := range campus.designs() {
			say, got := d.formula(), d.simulate(*campus.span, uint64(*campus.seed), *campus.fixed)
			fmt.Fprintf(env.Stdout, "%-12s %11.3f %9.3f %8.3f %9.3f %10s %10s\n", d.name, say.access, got.access, say.lan, got.lan, seconds(say.delay), seconds(got.delay))
		}
		return nil
	}
}

// seconds prints a delay.
func seconds(s float64) string {
	if math.IsInf(s, 1) {
		return "no bound"
	}
	return fmt.Sprintf("%.3f s", s)
}

func draw(fs *flag.FlagSet) cli.Action {
	campus := addCampusFlags(fs)
	svg := fs.String("svg", "accesslink.svg", "`file` to draw into")
	return func(_ context.Context, env *cli.Env) error {
		if err := campus.check(); err != nil {
			return err
		}
		var lines []chart.Line
		for _, d := range campus.designs() {
			said, got := chart.Line{Name: d.name + ", formula"}, chart.Line{Name: d.name + ", simulated"}
			for i := range 30 {
				d.rate = float64(i+1) / 20 * *campus.rate
				f := d.formula()
				if f.access > 0.97 || f.lan > 0.97 {
					break // beyond, the mean of a simulation says how long it ran
				}
				said.Points = append(said.Points, chart.Point{X: d.rate, Y: f.delay})
				got.Points = append(got.Points, chart.Point{X: d.rate, Y: d.simulate(*campus.span, uint64(*campus.seed), *campus.fixed).delay})
			}
			if len(said.Points) > 0 {
				lines = append(lines, said, got)
			}
		}
		f, err := os.Create(*svg)
		if err != nil {
			return err
		}
		c := chart.Chart{Title: "A campus behind a slow line", X: chart.Axis{Label: "requests per second"}, Y: chart.Axis{Label: "mean delay (s)"}}
		err = c.Lines(f, lines...)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		return err
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, args := range [][]string{
			{"compare"},
			// As it is, the mean delay depends on how long one looks.
			{"compare", "-span", "10m"},
			{"compare", "-span", "100h"},
		} {
			if _, err := env.Play(ctx, "", args...); err != nil {
				return err
			}
		}
		return nil
	}
}
