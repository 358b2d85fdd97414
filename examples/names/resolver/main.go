// N6 resolver: names resolved from the root down, every step shown; a local
// name server with a cache; and what recursion, caches and the loss of a level
// of the tree do to the load and to the answers.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// localPort stands in for 53, which takes rights that a program of a course
// has not.
const localPort = 5300

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "resolver",
		Summary: "Resolves names from the root down, shows every step, serves and caches the answers.",
		Example: `
go run ./examples/names/resolver walk www.example.org A
go run ./examples/names/resolver walk -real www.unam.mx A
go run ./examples/names/resolver server -port 5300
go run ./examples/names/resolver ask -port 5300 www.example.com A
`,
		Commands: []cli.Command{
			{Name: "walk", Summary: "shows the way from the root to an answer", Args: "NAME [TYPE]", Setup: walk},
			{Name: "server", Summary: "is a recursive server with a cache, and shows what it does", Setup: server},
			{Name: "ask", Summary: "asks the server", Args: "NAME [TYPE]", Setup: ask},
			{Name: "load", Summary: "counts the queries at each level of the tree, iterated and recursive", Setup: load},
			{Name: "stale", Summary: "changes a record and waits until a cache hears of it", Setup: stale},
			{Name: "outage", Summary: "takes the root away, then a top-level domain, under a cold and a warm cache", Setup: outage},
			{Name: "demo", Summary: "plays all of them", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		if _, err := env.Play(ctx, "", "walk", "www.example.org", "A"); err != nil {
			return err
		}
		srv, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()
		for _, question := range [][2]string{
			{"www.example.com", "A"}, {"www.example.com", "A"}, {"mail.example.com", "A"}, {"nobody.example.com", "A"}, {"nobody.example.com", "MX"},
		} {
			if _, err := env.Play(ctx, "", "ask", "-port", srv.Port(), question[0], question[1]); err != nil {
				return err
			}
		}
		if err := srv.Stop(); err != nil { // says what the cache has saved
			return err
		}
		for _, command := range [][]string{{"load"}, {"stale", "-ttl", "1s"}, {"outage", "-patience", "100ms"}} {
			fmt.Fprintln(env.Stdout)
			if _, err := env.Play(ctx, "", command...); err != nil {
				return err
			}
		}
		return nil
	}
}
