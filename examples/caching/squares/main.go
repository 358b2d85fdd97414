// C1 squares: squares of random numbers, each of which takes a millisecond to
// compute, are kept in memcached. From run to run more of them are found there,
// and the times fall.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/memcached"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "squares",
		Summary: "Ten runs of computing squares that memcached remembers: the times fall.",
		Example: `
go run ./examples/caching/squares client
go run ./examples/caching/squares client -servers 127.0.0.1:11211
`,
		Commands: []cli.Command{
			{Name: "client", Summary: "computes squares, run after run, and says how long it took", Setup: client},
			memcached.Command(),
			{Name: "demo", Summary: "two clients of one server: the second finds what the first has computed", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// A squarer computes squares by way of a cache.
type squarer struct {
	cache *cache.Client
	work  time.Duration // what one square costs

	computed, found int
}

// square is the course's function. Look in the cache; what is not there, work
// out, and put it there for the next one who asks.
func (s *squarer) square(ctx context.Context, n int64) (int64, error) {
	key := fmt.Sprintf("sq:%d", n)
	value, err := s.cache.Get(ctx, key)
	if err == nil {
		s.found++
		square, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the cache has %q as the value of %s, which is no number", value, key)
		}
		return square, nil
	}
	if !errors.Is(err, cache.ErrMiss) {
		return 0, err
	}
	s.computed++
	if err := work(ctx, s.work); err != nil {
		return 0, err
	}
	square := n * n
	return square, s.cache.Set(ctx, key, strconv.AppendInt(nil, square, 10), 0)
}

// work pretends to be hard work.
func work(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func client(fs *flag.FlagSet) cli.Action {
	servers := memcached.Flag(fs, "one inside this program")
	runs := cli.Number(fs, "runs", 10, 1, 1000, "how many `runs`")
	requests := cli.Number(fs, "requests", 2000, 1, 10_000_000, "squares in each run (`count`)")
	largest := cli.Number(fs, "largest", int64(5000), 0, 1_000_000_000, "the squares are those of `numbers` from 0 to this one")
	cost := cli.Number(fs, "work", time.Millisecond, 0, time.Minute, "`time` that each square takes to compute")
	return func(ctx context.Context, env *cli.Env) error {
		client, where, stop, err := servers.Connect(ctx)
		if err != nil {
			return err
		}
		defer stop()
		s := &squarer{cache: client, work: *cost}
		fmt.Fprintf(env.Stdout, "memcached: %s\n", where)
		fmt.Fprintf(env.Stdout, "%d times %d squares of random numbers from 0 to %d, %v of work for each\n\n", *runs, *requests, *largest, *cost)
		fmt.Fprintf(env.Stdout, "run     time  found  computed  expected\n")
		scale := time.Duration(*requests) * *cost // of the bars: what a run without a cache takes
		for i := range *runs {
			s.found, s.computed = 0, 0
			start := time.Now()
			for range *requests {
				n := rand.Int64N(*largest + 1)
				square, err := s.square(ctx, n)
				if err != nil {
					return err
				}
				if square != n*n {
					return fmt.Errorf("the cache says that the square of %d is %d", n, square)
				}
			}
			took := time.Since(start)
			scale = max(scale, took)
			bar := strings.Repeat("#", int(40*took/scale))
			fmt.Fprintf(env.Stdout, "%3d %6.3f s %6d %9d %9.0f  %s\n", i+1, took.Seconds(), s.found, s.computed, expected(i, *requests, *largest+1), bar)
		}
		return nil
	}
}

// expected is how many of the requests of run i, counted from 0, ask for a
// number that none before asked for, if each of numbers is as likely as the
// others and the cache was empty. A number is missing after k requests with
// the probability (1 - 1/numbers)^k.
func expected(i, requests int, numbers int64) float64 {
	missing := func(run int) float64 {
		return math.Pow(1-1/float64(numbers), float64(run)*float64(requests))
	}
	return float64(numbers) * (missing(i) - missing(i+1))
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		server, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer server.Stop()
		var computed [2]int // by each in its first run
		for i, name := range []string{"first", "second"} {
			out, err := env.As(name).Play(ctx, "", "client", "-servers", server.Addr, "-requests", "300", "-largest", "750")
			if err != nil {
				return err
			}
			if computed[i], err = firstRun(out); err != nil {
				return err
			}
		}
		if computed[1] >= computed[0]/2 {
			return fmt.Errorf("the second client has computed %d squares in its first run, the first one %d", computed[1], computed[0])
		}
		return server.Stop()
	}
}

var firstLine = regexp.MustCompile(`(?m)^ +1 +[\d.]+ s +\d+ +(\d+) `)

// firstRun returns how many squares a client computed in its first run.
func firstRun(out string) (int, error) {
	found := firstLine.FindStringSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("no first run in %q", out)
	}
	return strconv.Atoi(found[1])
}
