// M4 topologies: every pattern of ØMQ on one page, each drawn with the messages
// that passed along each of its edges.
package main

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"os"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

// patterns are the commands.
var patterns = []struct {
	name, summary string
	try           func(*lab, context.Context) error
}{
	{"reqrep", "clients (REQ), a proxy (ROUTER and DEALER), workers (REP)", (*lab).requestReply},
	{"pubsub", "publishers, a proxy (XSUB and XPUB), subscribers (SUB)", (*lab).publish},
	{"pipeline", "a source (PUSH), workers, a sink (PULL)", (*lab).pipeline},
	{"pair", "two goroutines (PAIR) over inproc", (*lab).pair},
	{"mixed", "one PULL, bound and connected over three transports at once", (*lab).mixed},
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "topologies",
		Summary: "Every pattern of ØMQ, drawn with the messages that passed along each edge.",
		Example: `
go run ./examples/messaging/topologies all
go run ./examples/messaging/topologies reqrep -transport tcp -n 1000
`,
	}
	for _, p := range patterns {
		program.Commands = append(program.Commands, cli.Command{Name: p.name, Summary: p.summary, Setup: func(fs *flag.FlagSet) cli.Action {
			return setup(fs, p.try)
		}})
	}
	program.Commands = append(program.Commands,
		cli.Command{Name: "all", Summary: "all of them", Setup: all},
		cli.Command{Name: "demo", Summary: "all of them, over several transports", Setup: demo},
	)
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// setup declares the flags of one or several patterns.
func setup(fs *flag.FlagSet, tries ...func(*lab, context.Context) error) cli.Action {
	n := cli.Number(fs, "n", 4, 1, 100_000, "how many `messages` each sender sends, or of each kind")
	transport := cli.Choice(fs, "transport", "tcp", "how messages travel, where there is a choice", "tcp", "ipc", "inproc")
	seed := cli.Number(fs, "seed", 0, 0, 1<<31-1, "start the parts in the order that belongs to this `number`; 0, always another one")
	return func(ctx context.Context, env *cli.Env) error {
		return play(ctx, env.Stdout, *n, *transport, *seed, tries...)
	}
}

// play tries patterns, each in a lab of its own.
func play(ctx context.Context, out io.Writer, n int, transport string, seed int, tries ...func(*lab, context.Context) error) error {
	dice := rand.New(rand.NewPCG(uint64(seed), 0))
	if seed == 0 {
		dice = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	dir, err := os.MkdirTemp("", "mq") // short, as paths of sockets must be
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, try := range tries {
		if err := try(&lab{out: out, n: n, transport: transport, dir: dir, dice: dice}, ctx); err != nil {
			return err
		}
	}
	return nil
}

func all(fs *flag.FlagSet) cli.Action {
	var tries []func(*lab, context.Context) error
	for _, p := range patterns {
		tries = append(tries, p.try)
	}
	return setup(fs, tries...)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		transports := []string{"tcp", "ipc", "inproc"}
		for i, p := range patterns {
			if err := play(ctx, env.Stdout, 4, transports[i%len(transports)], 0, p.try); err != nil {
				return err
			}
		}
		return nil
	}
}
