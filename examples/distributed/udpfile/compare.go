package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zocalo-go/zocalo/examples/internal/chart"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/hosts"
	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// usualLinks are those that are tried if none are given.
var usualLinks = []string{"", "loss=1%", "loss=5%", "loss=10%", "loss=1%,burst=8", "reorder=5%,dup=2%"}

// endless is a file that nobody gets to the end of.
const endless = "endless"

// A way is one of those that are compared.
type way struct {
	name string
	over func(*network) transport
}

// ways returns all of them, the one to beat first. Reliable UDP with the
// congestion control of TCP shows what the others have from theirs.
func ways(congestion string) []way {
	udp := func(control func() udprel.Controller) func(*network) transport {
		return func(n *network) transport { return n.overUDP(&udprel.Config{Congestion: control, Linger: -1}) }
	}
	return []way{
		{"TCP " + congestion, (*network).overTCP},
		{"udprel cubic", udp(udprel.NewCubic)},
		{"udprel", udp(udprel.NewModel)},
	}
}

func compareCommand(fs *flag.FlagSet) cli.Action {
	base := fs.String("link", "rate=20mbit,delay=20ms", "what all the `links` have in common, in both directions")
	seed := seedFlag(fs)
	size := cli.Number(fs, "size", int64(5_000_000), 1, 1<<32, "the file's length in `bytes`")
	limit := cli.Number(fs, "limit", 4*time.Second, 100*time.Millisecond, time.Hour, "cut a transfer off after this `time`")
	congestion := fs.String("congestion", "cubic", "congestion control of TCP: cubic, reno, or with -system `what` the system has, such as bbr")
	system := fs.Bool("system", false, "use the system's TCP and UDP, not those in this program: takes Linux and root")
	together := fs.Bool("together", false, "let TCP and reliable UDP compete for one link at the end")
	picture := fs.String("chart", "", "draw the result in this `file`, as SVG")
	return func(ctx context.Context, env *cli.Env) error {
		links := env.Args
		if len(links) == 0 {
			links = usualLinks
		}
		var trials []trial
		for _, text := range links {
			link, err := simnet.ParseLink(strings.Trim(*base+","+text, ","))
			if err != nil {
				return cli.Usagef("link %q: %v", text, err)
			}
			if text == "" {
				text = "clean"
			}
			trials = append(trials, trial{name: text, link: link})
		}
		if *together && trials[0].link.Rate == 0 {
			return cli.Usagef("-together takes a first link with a rate: there is nothing to compete for")
		}
		files, err := newShelf(*size, *seed)
		if err != nil {
			return err
		}
		defer files.discard()
		lab := &lab{files, *limit, hosts.Config{Seed: uint64(*seed), Congestion: *congestion, System: *system}}
		all := ways(*congestion)
		for i := range trials {
			for _, w := range all {
				runs, err := lab.run(ctx, wanted, trials[i].link, w)
				if err != nil {
					return fmt.Errorf("%s over the link %s: %w", w.name, trials[i].name, err)
				}
				trials[i].runs = append(trials[i].runs, runs...)
			}
		}
		if *together {
			t := trial{name: "together", link: trials[0].link}
			// More than the link can carry in that time.
			if err := files.add(endless, int64(float64(t.link.Rate)/8*limit.Seconds()), rand.NewChaCha8([32]byte{})); err != nil {
				return err
			}
			if t.runs, err = lab.run(ctx, endless, t.link, all[0], all[len(all)-1]); err != nil {
				return fmt.Errorf("together: %w", err)
			}
			trials = append(trials, t)
		}
		if err := printTable(env.Stdout, trials); err != nil {
			return err
		}
		if *picture == "" {
			return nil
		}
		return drawChart(*picture, fmt.Sprintf("%d bytes over %s", *size, *base), trials)
	}
}

// A trial is one link, and what became of the transfers over it.
type trial struct {
	name string
	link simnet.Link
	runs []outcome
}

// An outcome is that of one transfer.
type outcome struct {
	way    string
	took   time.Duration
	bytes  int64        // of the file that arrived in that time
	whole  bool         // all of it
	wire   simnet.Stats // of the link that they came over
	shared bool         // with other transfers at the same time
}

// goodput returns the bits a second that were of use.
func (r outcome) goodput() float64 { return float64(r.bytes) * 8 / r.took.Seconds() }

// A lab is where transfers are made.
type lab struct {
	files  *shelf
	limit  time.Duration
	config hosts.Config
}

// run fetches a file in one or more ways at a time, over one link.
func (l *lab) run(ctx context.Context, file string, link simnet.Link, ways ...way) ([]outcome, error) {
	config := l.config
	config.Up, config.Down = link, link
	pair, err := hosts.Join(&config)
	if err != nil {
		return nil, err
	}
	n := &network{pair: pair}
	defer n.close()

	ctx, cancel := context.WithTimeoutCause(ctx, l.limit, errLimit)
	defer cancel()
	runs := make([]outcome, len(ways))
	var group errgroup.Group
	begin := time.Now()
	for i, w := range ways {
		group.Go(func() error {
			var arrived counter
			_, err := l.files.fetch(ctx, file, l.limit, &arrived, w.over(n))
			runs[i] = outcome{way: w.name, took: time.Since(begin), bytes: arrived.bytes, whole: err == nil, shared: len(ways) > 1}
			if err == nil {
				runs[i].took = arrived.last.Sub(begin)
			}
			if context.Cause(ctx) == errLimit {
				return nil // cut off: a result as well
			}
			return err
		})
	}
	err = group.Wait()
	_, down := pair.Stats()
	for i := range runs {
		runs[i].wire = down
	}
	return runs, err
}

var errLimit = errors.New("cut off")

// A counter is a progress that notes how many bytes have passed, and when the
// last of them did: what a disk takes after that is not the link's concern.
type counter struct {
	bytes int64
	last  time.Time
}

func (c *counter) Begin(int64, int64) {}

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	c.last = time.Now()
	return len(p), nil
}

// printTable prints the runs of all trials.
func printTable(out io.Writer, trials []trial) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "link\tover\tMbit/s\tof its best\ttimes TCP\tsent/file\tmean queue\t")
	for _, trial := range trials {
		for i, r := range trial.runs {
			var name, cut, share, times, overhead string
			if i == 0 {
				name = trial.name
			}
			if !r.whole {
				cut = "*"
			}
			if best := float64(trial.link.Rate) * (1 - trial.link.Loss); best > 0 {
				share = fmt.Sprintf("%.0f %%", 100*r.goodput()/best)
			}
			if r.bytes > 0 && !r.shared {
				overhead = fmt.Sprintf("%.2f", float64(r.wire.Bytes)/float64(r.bytes))
			}
			if first := trial.runs[0].goodput(); first > 0 {
				times = fmt.Sprintf("%.1f", r.goodput()/first)
			}
			fmt.Fprintf(t, "%s\t%s\t%s%.2f\t%s\t%s\t%s\t%v\t\n", name, r.way, cut, r.goodput()/1e6, share, times, overhead, (r.wire.QueueDelay / time.Duration(max(1, r.wire.Packets))).Round(100*time.Microsecond))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if strings.Contains(b.String(), "*") {
		fmt.Fprintln(&b, "* cut off before the end of the file")
	}
	_, err := out.Write(b.Bytes())
	return err
}

// drawChart draws the goodput of all trials.
func drawChart(name, title string, trials []trial) error {
	var groups []string
	var bars []chart.Bar
	for _, trial := range trials {
		if trial.runs[0].shared {
			continue
		}
		groups = append(groups, trial.name)
		for i, r := range trial.runs {
			if i == len(bars) {
				bars = append(bars, chart.Bar{Name: r.way})
			}
			bars[i].Values = append(bars[i].Values, r.goodput()/1e6)
		}
	}
	var svg bytes.Buffer
	c := chart.Chart{Title: title, Y: chart.Axis{Label: "goodput (Mbit/s)"}}
	if err := c.Bars(&svg, groups, bars...); err != nil {
		return err
	}
	return os.WriteFile(name, svg.Bytes(), 0o644)
}
