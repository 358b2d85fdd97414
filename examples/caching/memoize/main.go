// C2 memoize: functions that take their time are wrapped, each by one line, and
// then remember what they have computed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/memcached"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "memoize",
		Summary: "One line turns a function into one that remembers what it has computed.",
		Example: `
go run ./examples/caching/memoize client
go run ./examples/caching/memoize client -servers 127.0.0.1:11211
`,
		Commands: []cli.Command{
			{Name: "client", Summary: "calls functions as they are and wrapped, and counts how often they worked", Setup: client},
			memcached.Command(),
			{Name: "demo", Summary: "a client with a memory of its own, then two that share one", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// Functions that take their time. computed counts how often they really work.

var (
	computed atomic.Int64

	errNoTown = errors.New("no such town")
)

// pretend to work for d.
func pretend(ctx context.Context, d time.Duration) error {
	computed.Add(1)
	return wait(ctx, d)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// square is the course's function.
func square(ctx context.Context, n int) (int, error) {
	return n * n, pretend(ctx, time.Millisecond)
}

// factors returns the prime factors of n. It does not only pretend.
func factors(ctx context.Context, n uint64) (primes []uint64, err error) {
	computed.Add(1)
	for d := uint64(2); d*d <= n; d++ {
		for n%d == 0 {
			primes = append(primes, d)
			n /= d
		}
		if d%(1<<20) == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return append(primes, n), nil
}

// A Trip is an argument of more than one word.
type Trip struct{ From, To string }

var towns = map[string][2]float64{ // latitude and longitude
	"Toboso":   {39.511, -2.993},
	"Toledo":   {39.857, -4.024},
	"Sevilla":  {37.389, -5.984},
	"Zaragoza": {41.649, -0.889},
}

// distance returns the kilometres between two towns as the crow flies.
func distance(ctx context.Context, t Trip) (float64, error) {
	if err := pretend(ctx, 5*time.Millisecond); err != nil {
		return 0, err
	}
	a, okA := towns[t.From]
	b, okB := towns[t.To]
	if !okA || !okB {
		return 0, fmt.Errorf("from %s to %s: %w", t.From, t.To, errNoTown)
	}
	const radius, degree = 6371, math.Pi / 180
	sin := func(x float64) float64 { return math.Sin(x / 2) }
	h := math.Pow(sin((b[0]-a[0])*degree), 2) + math.Cos(a[0]*degree)*math.Cos(b[0]*degree)*math.Pow(sin((b[1]-a[1])*degree), 2)
	return 2 * radius * math.Asin(math.Sqrt(h)), nil
}

func client(fs *flag.FlagSet) cli.Action {
	servers := memcached.Flag(fs, "values are kept in this process")
	callers := cli.Number(fs, "callers", 100, 1, 10_000, "how `many` ask for the same at the same time")
	return func(ctx context.Context, env *cli.Env) error {
		var store cache.Store // nil: in this process
		where := "this process"
		if servers.String() != "" {
			c, addrs, stop, err := servers.Connect(ctx)
			if err != nil {
				return err
			}
			defer stop()
			store, where = c, addrs
		}
		fmt.Fprintf(env.Stdout, "memory: %s\n\n", where)
		return play(ctx, env.Stdout, store, *callers)
	}
}

// memo wraps f; values go to store, or stay in this process if that is nil.
// cache.NewMemo(f, nil).Get is all that it takes; the rest is for store and for
// the demonstration of errNoTown.
func memo[K comparable, V any](f func(context.Context, K) (V, error), name string, store cache.Store) func(context.Context, K) (V, error) {
	return cache.NewMemo(f, &cache.MemoConfig[K, V]{
		TTL: time.Hour, NotFound: errNoTown, Store: store, Name: name,
	}).Get
}

// play calls the functions, as they are and wrapped.
func play(ctx context.Context, out io.Writer, store cache.Store, callers int) error {
	fmt.Fprintf(out, "%-46s %5s  %8s  %9s  %9s\n", "", "calls", "computed", "mean", "longest")

	quickSquare := memo(square, "square", store)
	quickFactors := memo(factors, "factors", store)
	quickDistance := memo(distance, "distance", store)

	const large = 1_000_003 * 999_983 // the product of two primes: d*d must come near it
	trips := []Trip{{"Toboso", "Toledo"}, {"Toboso", "Zaragoza"}, {"Toledo", "Sevilla"}, {"Sevilla", "Toboso"}}
	nowhere := Trip{"Toboso", "Atlantis"}
	scenes := []scene{
		{"square of 20 numbers, as it is", 1, 100, 0, call(square, func(i int) int { return i % 20 })},
		{"                      remembered", 1, 100, 0, call(quickSquare, func(i int) int { return i % 20 })},
		{"factors of a large number, as it is", 1, 10, 0, call(factors, func(int) uint64 { return large })},
		{"                           remembered", 1, 10, 0, call(quickFactors, func(int) uint64 { return large })},
		{"distance of 4 pairs of towns, as it is", 1, 20, 0, call(distance, func(i int) Trip { return trips[i%4] })},
		{"                              remembered", 1, 20, 0, call(quickDistance, func(i int) Trip { return trips[i%4] })},
		{"distance to nowhere (an error), as it is", 1, 10, 0, call(distance, func(int) Trip { return nowhere })},
		{"                                remembered", 1, 10, 0, call(quickDistance, func(int) Trip { return nowhere })},
		{"the same square, callers at once, as it is", callers, callers, 0, call(square, func(int) int { return 1001 })},
		{"                                  remembered", callers, callers, 0, call(quickSquare, func(int) int { return 1001 })},
	}
	for _, s := range scenes {
		if err := s.play(ctx, out); err != nil {
			return err
		}
	}

	// A value that is good for 30 ms and takes 20 ms to renew is asked for once a
	// millisecond.
	for _, s := range []struct {
		name  string
		stale time.Duration
	}{{"a value that ages, renewed while callers wait", 0}, {"                   renewed in the background", time.Minute}} {
		m := cache.NewMemo(func(ctx context.Context, _ time.Duration) (time.Time, error) {
			return time.Now(), pretend(ctx, 20*time.Millisecond)
		}, &cache.MemoConfig[time.Duration, time.Time]{TTL: 30 * time.Millisecond, Stale: s.stale, Store: store, Name: "clock"})
		_, err := m.Get(ctx, s.stale) // the first value has to be waited for
		if err == nil {
			err = scene{s.name, 1, 100, time.Millisecond, func(ctx context.Context, _ int) error {
				_, err := m.Get(ctx, s.stale)
				return err
			}}.play(ctx, out)
		}
		m.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// call returns a function that calls f with the key of its number.
func call[K, V any](f func(context.Context, K) (V, error), key func(i int) K) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		_, err := f(ctx, key(i))
		return err
	}
}

// A scene is a number of calls, made by some callers at the same time.
type scene struct {
	name           string
	callers, calls int
	pause          time.Duration // of each caller after a call
	call           func(ctx context.Context, i int) error
}

// play makes the calls and prints what they cost. That there is no such town is
// an answer.
func (s scene) play(ctx context.Context, out io.Writer) error {
	computed.Store(0)
	errs := make([]error, s.callers)
	took := make([]float64, s.calls) // milliseconds
	var wg sync.WaitGroup
	for caller := range s.callers {
		wg.Go(func() {
			for i := caller; i < s.calls && errs[caller] == nil; i += s.callers {
				start := time.Now()
				if err := s.call(ctx, i); err != nil && !errors.Is(err, errNoTown) {
					errs[caller] = err
				}
				took[i] = time.Since(start).Seconds() * 1000
				if s.pause > 0 {
					errs[caller] = errors.Join(errs[caller], wait(ctx, s.pause))
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	sum := 0.0
	for _, ms := range took {
		sum += ms
	}
	fmt.Fprintf(out, "%-46s %5d  %8d  %6.2f ms  %6.2f ms\n", s.name, s.calls, computed.Load(), sum/float64(s.calls), slices.Max(took))
	return nil
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		if _, err := env.Play(ctx, "", "client"); err != nil {
			return err
		}
		server, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer server.Stop()
		var out string // of the last one
		for _, name := range []string{"first", "second"} {
			if out, err = env.As(name).Play(ctx, "", "client", "-servers", server.Addr); err != nil {
				return err
			}
		}
		if work := regexp.MustCompile(`remembered +\d+ +[1-9].*`).FindString(out); work != "" {
			return fmt.Errorf("the second client has worked for what the first one had stored: %s", work)
		}
		return server.Stop()
	}
}
