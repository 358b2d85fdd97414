// W6 connections: a page and the objects in it, fetched by one connection or
// many, kept or not: how many round trips each way takes, measured over a slow
// link beside the formula.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/chart"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "connections",
		Summary: "A page and its objects by one connection or many: the round trips, measured and by the formula.",
		Example: `
go run ./examples/web/connections measure -objects 8 -rtt 100ms
go run ./examples/web/connections formula -objects 10 -rate 150 -size 12500 -control 200
go run ./examples/web/connections server -port 8080
go run ./examples/web/connections fetch -port 8080 -how pipelined
`,
		Commands: []cli.Command{
			{Name: "measure", Summary: "fetches a page of its own in every way, over links with a delay", Setup: measure},
			{Name: "formula", Summary: "only computes, for any numbers", Setup: formula},
			{Name: "server", Summary: "serves the page", Setup: server},
			{Name: "fetch", Summary: "fetches a page and the pictures in it from any server", Args: "[PATH]", Setup: fetch},
			{Name: "demo", Summary: "measures the pages with 8 and 13 objects", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// pageFlags say how much there is to fetch.
type pageFlags struct{ objects, size *int }

func addPageFlags(fs *flag.FlagSet) pageFlags {
	return pageFlags{
		objects: cli.Number(fs, "objects", 8, 0, maxObjects, "how `many` objects the page has"),
		size:    cli.Number(fs, "size", 500, 0, maxObject, "`bytes` of each"),
	}
}

// pathFlags say over what.
type pathFlags struct {
	rtt, dns *time.Duration
	rate     *int64
	parallel *int
}

func addPathFlags(fs *flag.FlagSet) pathFlags {
	return pathFlags{
		rtt:      cli.Number(fs, "rtt", 60*time.Millisecond, time.Millisecond, 10*time.Second, "`time` to the server and back"),
		dns:      cli.Number(fs, "dns", 30*time.Millisecond, 0, 10*time.Second, "`time` to the name server and back"),
		rate:     cli.Number(fs, "rate", int64(0), 0, int64(1e12), "`bits` per second in each direction; 0: sending takes no time"),
		parallel: parallelFlag(fs),
	}
}

func parallelFlag(fs *flag.FlagSet) *int {
	return cli.Number(fs, "parallel", 5, 1, 100, "`connections` at a time, where there are several")
}

func (f pathFlags) path() path {
	return path{rtt: *f.rtt, dns: *f.dns, rate: *f.rate, control: 320} // 40 bytes: the headers of IP and TCP
}

func measure(fs *flag.FlagSet) cli.Action {
	page, over := addPageFlags(fs), addPathFlags(fs)
	svg := fs.String("svg", "", "`file` to draw the result into")
	timeout := timeoutFlag(fs)
	return func(ctx context.Context, env *cli.Env) error {
		p, n := over.path(), *page.objects
		var picture *os.File
		if *svg != "" {
			var err error
			if picture, err = os.Create(*svg); err != nil {
				return err
			}
			defer picture.Close()
		}
		l, err := startLab(ctx, p, n, *page.size)
		if err != nil {
			return err
		}
		defer l.stop()
		fmt.Fprintf(env.Stdout, "a page with %d objects of %d bytes; %v to the server and back, %v to the name server\n", n, *page.size, p.rtt, p.dns)
		fmt.Fprintf(env.Stdout, "%-28s %11s %8s %8s %9s %8s\n", "", "connections", "requests", "formula", "measured", "time")
		var names []string
		var said, took []float64
		for _, w := range ways {
			b := &browser{host: siteName, parallel: *over.parallel, timeout: *timeout}
			elapsed, err := l.visit(ctx, b, w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.title, err)
			}
			estimate := p.estimate(w, n, b.parallel, len(document(n)), *page.size)
			fmt.Fprintf(env.Stdout, "%-28s %11d %8d %4.1f RTT %5.1f RTT %5d ms\n", w.title, b.connections.Load(), b.requests.Load(),
				p.inTrips(estimate), p.inTrips(elapsed), elapsed.Milliseconds())
			names, said, took = append(names, w.name), append(said, p.inTrips(estimate)), append(took, p.inTrips(elapsed))
		}
		if picture == nil {
			return nil
		}
		c := chart.Chart{Title: fmt.Sprintf("A page with %d objects", n), X: chart.Axis{Label: "way"}, Y: chart.Axis{Label: "round trips (RTT)"}}
		if err := c.Bars(picture, names, chart.Bar{Name: "formula", Values: said}, chart.Bar{Name: "measured", Values: took}); err != nil {
			return err
		}
		return picture.Close()
	}
}

// visit goes to the page as a browser does when somebody clicks: it looks the
// name up and fetches.
func (l *lab) visit(ctx context.Context, b *browser, w way) (time.Duration, error) {
	start := time.Now()
	addr, err := l.lookup(ctx)
	if err != nil {
		return 0, err
	}
	b.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
	err = w.fetch(ctx, b, "/")
	return time.Since(start), err
}

func formula(fs *flag.FlagSet) cli.Action {
	page, over := addPageFlags(fs), addPathFlags(fs)
	text := cli.Number(fs, "page", 500, 0, maxObject, "`bytes` of the page itself")
	control := cli.Number(fs, "control", 320, 0, 1_000_000, "`bits` of a packet that carries no object")
	return func(_ context.Context, env *cli.Env) error {
		p := over.path()
		p.control = *control
		for _, w := range ways {
			n, k := *page.objects, *over.parallel
			t := p.estimate(w, n, k, *text, *page.size)
			fmt.Fprintf(env.Stdout, "%-28s DNS + %3d RTT + sending = %v\n", w.title, w.rounds(n, k), t.Round(time.Microsecond))
		}
		return nil
	}
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	page := addPageFlags(fs)
	return func(ctx context.Context, env *cli.Env) error {
		s := &httpx.Server{Handler: site(*page.objects, *page.size)}
		return env.Serve(ctx, addr.String(), s.Serve)
	}
}

func timeoutFlag(fs *flag.FlagSet) *time.Duration {
	return cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "give up a connection after this `time`")
}

func fetch(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 80)
	var hows []string
	for _, w := range ways {
		hows = append(hows, w.name)
	}
	how := cli.Choice(fs, "how", "persistent", "the way", hows...)
	parallel, timeout := parallelFlag(fs), timeoutFlag(fs)
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		page := "/"
		switch {
		case len(env.Args) > 1, len(env.Args) == 1 && env.Args[0][:min(1, len(env.Args[0]))] != "/":
			return cli.Usagef("fetch wants one path at most, which begins with a slash")
		case len(env.Args) == 1:
			page = env.Args[0]
		}
		w := ways[slices.Index(hows, *how)]
		b := &browser{host: target, parallel: *parallel, timeout: *timeout}
		b.dial = func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", target) }
		start := time.Now()
		if err := w.fetch(ctx, b, page); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%s: connections %d, requests %d, bytes %d, %v\n", w.title, b.connections.Load(), b.requests.Load(),
			b.received.Load(), time.Since(start).Round(100*time.Microsecond))
		return nil
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, n := range []string{"8", "13"} {
			if _, err := env.Play(ctx, "", "measure", "-objects", n, "-rtt", "20ms", "-dns", "10ms"); err != nil {
				return err
			}
		}
		// The course's problem with sizes: a line of 150 bit/s.
		_, err := env.Play(ctx, "", "formula", "-objects", "10", "-rate", "150", "-control", "200", "-page", "12500", "-size", "12500", "-rtt", "1ms", "-dns", "0")
		return err
	}
}
