// N9 dns: the tool behind the chapter on names. It finds mail hosts, resolves
// names from the root down, shows the way there, looks addresses up, and
// serves: zones of its own, or the whole tree with a cache.
package main

import (
	"context"
	"io"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "dns",
		Summary: "Finds mail hosts, resolves and traces names, looks addresses up, serves zones and caches.",
		Example: `
go run ./examples/names/dns mx example.com
go run ./examples/names/dns resolve www.example.com A example.com MX
go run ./examples/names/dns trace ftp.example.com A
go run ./examples/names/dns reverse 10.53.10.10
go run ./examples/names/dns recurse -listen 127.0.0.1:5353
`,
		Commands: []cli.Command{
			{Name: "mx", Summary: "finds the hosts that take mail for DOMAIN, in the order to try them", Args: "DOMAIN", Setup: mx},
			{Name: "resolve", Summary: "answers questions, with one cache for all", Args: "NAME TYPE [NAME TYPE]...", Setup: resolve},
			{Name: "trace", Summary: "shows which servers it asks on the way from the root to an answer", Args: "NAME TYPE", Setup: trace},
			{Name: "reverse", Summary: "finds the names of ADDRESS, and whether they lead back to it", Args: "ADDRESS", Setup: reverse},
			{Name: "serve", Summary: "answers for zones, with authority, over UDP and TCP", Setup: serve},
			{Name: "recurse", Summary: "answers about every name, with a cache, over UDP and TCP", Setup: recurse},
			{Name: "demo", Summary: "asks each kind of question in an Internet of its own", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}
