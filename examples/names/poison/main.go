// N8 poison: how a cache comes to believe a lie. A forged answer races the real
// one to a resolver as they were, on this machine's loopback alone; then ids,
// ports, letters and bailiwick are guarded, and the odds fall. At the end
// somebody sits on the path, and only signatures help.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "poison",
		Summary: "Forged answers against resolvers that guard themselves less or more, with the odds.",
		Example: `
go run ./examples/names/poison demo
go run ./examples/names/poison race -bits 12 -ports 4 -guesses 64
go run ./examples/names/poison odds -rate 1000000
`,
		Commands: []cli.Command{
			{Name: "race", Summary: "races forged answers against the real one, to an old resolver", Setup: race},
			{Name: "bailiwick", Summary: "adds a lie about another zone to an honest answer", Setup: bailiwick},
			{Name: "guard", Summary: "races against the resolver of this library", Setup: guard},
			{Name: "odds", Summary: "says from theory how long an attack takes", Setup: odds},
			{Name: "dnssec", Summary: "puts the attacker on the path, and signs the zone", Setup: dnssec},
			{Name: "demo", Summary: "plays all of them", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, command := range [][]string{
			{"race", "-ids", "sequential", "-guesses", "1", "-races", "10"},
			{"race", "-bits", "10"},
			{"race", "-bits", "8", "-ports", "8"},
			{"race", "-bits", "2", "-mix", "-races", "320"},
			{"race", "-guesses", "256", "-races", "256"},
			{"bailiwick"},
			{"guard"},
			{"odds"},
			{"dnssec"},
		} {
			if _, err := env.Play(ctx, "", command...); err != nil {
				return err
			}
			fmt.Fprintln(env.Stdout)
		}
		return nil
	}
}
