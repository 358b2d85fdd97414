package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// An outcome is how a message ended.
type outcome int

const (
	right outcome = iota
	wrong         // whole, by the server's account, and not what was sent
	incomplete
)

func compare(fs *flag.FlagSet) cli.Action {
	text := fs.String("text", "en un lugar de la Mancha de cuyo nombre no quiero acordarme", "the `message`")
	link := linkFlag(fs)
	trials := cli.Number(fs, "trials", 1000, 1, 100_000, "send it this `many` times")
	gap := cli.Number(fs, "gap", time.Millisecond, 0, time.Minute, "leave this `time` between two datagrams")
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<62, "`number` that decides all chance; 0 is different each time")
	return func(ctx context.Context, env *cli.Env) error {
		words, err := split(*text)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "a message of %d words, %d times, over a link with %s\n", len(words), *trials, linkText(*link))
		table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(table, "format\tcopies\tright\twrong\tincomplete\t")
		for _, format := range []string{pairs, single} {
			for _, copies := range []int{1, 2, 4} {
				rnd := dice(*seed)
				var counts [3]int
				for range *trials {
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					counts[trial(format, words, copies, *link, *gap, rnd)]++
				}
				fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t\n", format, copies, counts[right], counts[wrong], counts[incomplete])
			}
		}
		return table.Flush()
	}
}

func linkText(link simnet.Link) string {
	if text := link.String(); text != "" {
		return text
	}
	return "no fault"
}

// trial sends one message over a simulated link and returns how it ended.
func trial(format string, words []string, copies int, link simnet.Link, gap time.Duration, rnd *rand.Rand) outcome {
	all := datagrams(format, words, shuffle(len(words), copies, rnd))
	a := assembly{format: format}
	for _, datagram := range carry(all, link, gap, rnd) {
		a.receive(datagram) // what is refused is counted there
		if a.whole() {
			break // the server stops
		}
	}
	switch {
	case !a.whole():
		return incomplete
	case a.text() != strings.Join(words, " "):
		return wrong
	default:
		return right
	}
}

// carry returns what arrives of datagrams that are sent with a gap between
// them, in the order of arrival. The link is a state machine that is told the
// time: a second of the network takes no second of ours.
func carry(all [][]byte, link simnet.Link, gap time.Duration, rnd *rand.Rand) [][]byte {
	type arrival struct {
		at   time.Duration
		data []byte
	}
	model := simnet.NewModel(link, rnd.Uint64(), rnd.Uint64())
	var arrivals []arrival
	for i, datagram := range all {
		fate := model.Send(time.Duration(i)*gap, len(datagram)+20+8)
		if fate.Drop != "" {
			continue
		}
		arrivals = append(arrivals, arrival{fate.Arrive, datagram})
		if fate.Copy {
			arrivals = append(arrivals, arrival{fate.Arrive, datagram})
		}
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
	var in [][]byte
	for _, a := range arrivals {
		if model.Arrive() {
			in = append(in, a.data)
		}
	}
	return in
}
