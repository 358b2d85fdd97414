// C6 memcached: the library's memcached server as a program, with the flags of
// the real one, so that any client and memcached's own tests can use it.
package main

import (
	"context"
	"io"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "memcached",
		Summary: "A memcached: keeps what programs do not want to compute or fetch again.",
		Example: `
go run ./examples/caching/memcached -l 127.0.0.1 -p 11211 -m 64
go run ./examples/caching/memcached -s /tmp/memcached.sock    (unix-socket)
printf 'set k 0 60 4\r\nhola\r\nget k\r\nquit\r\n' | nc 127.0.0.1 11211
`,
		Commands: []cli.Command{
			{Summary: "serves clients until it is told to stop; the flags are memcached's", Setup: serve},
			{Name: "demo", Summary: "starts a server and shows what is said on the wire", Setup: demo},
		},
	}
	return program.Run(ctx, separate(args), stdin, stdout, stderr)
}
