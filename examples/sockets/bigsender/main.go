// S3 bigsender: how long may a datagram be on this path? The client forbids
// that it be cut into fragments, tries sizes, halving the interval each time,
// and shows what the kernel has learned about the path meanwhile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// What a UDP datagram has around its data, and the most data that one can
// have: the length fields of IPv4 (RFC 791) and IPv6 (RFC 8200) have 16 bits;
// that of IPv4 counts its own header, that of IPv6 does not.
const (
	headers4 = 20 + 8
	headers6 = 40 + 8
	most4    = 65535 - headers4
	most6    = 65535 - 8
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "bigsender",
		Summary: "Finds the largest UDP datagram that gets through unfragmented, and the path MTU that the kernel learns.",
		Example: `
go run ./examples/sockets/bigsender server
go run ./examples/sockets/bigsender client
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "answers each datagram with its length in bytes", Setup: server},
			{Name: "client", Summary: "searches for the largest datagram that is answered, or sends one of -size bytes", Setup: client},
			{Name: "relay", Summary: "stands before a server and swallows, without a word, packets longer than -mtu", Setup: relay},
			{Name: "demo", Summary: "searches on loopback, over IPv4 and IPv6, and through the relay", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, host := range []string{"127.0.0.1", "::1"} {
			srv, err := env.Start(ctx, "server", "-host", host, "-port", "0")
			if err != nil {
				if host == "::1" {
					fmt.Fprintf(env.Stdout, "  no IPv6 here: %s\n", cli.Explain(err))
					continue
				}
				return err
			}
			defer srv.Stop()
			toServer := []string{"client", "-host", host, "-port", srv.Port()}
			whole, err := env.Play(ctx, "", toServer...)
			if err != nil {
				return err
			}
			cut, err := env.Play(ctx, "", append(toServer, "-fragment")...)
			if err != nil {
				return err
			}
			if a, b := found(whole), found(cut); a == 0 || b < a {
				return fmt.Errorf("%d bytes unfragmented and %d with fragments cannot be", a, b)
			}
			_, err = env.Play(ctx, "", append(toServer, "-size", "66000")...)
			if !errors.Is(err, errTooLong) {
				return fmt.Errorf("66000 bytes fit in no datagram, and yet: %v", err)
			}
			fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))

			if host == "127.0.0.1" {
				hole, err := env.Start(ctx, "relay", "-port", "0", "-target", srv.Addr, "-mtu", "1400")
				if err != nil {
					return err
				}
				defer hole.Stop()
				out, err := env.Play(ctx, "", "client", "-port", hole.Port(), "-wait", "80ms", "-tries", "3")
				if err != nil {
					return err
				}
				if n := found(out); n != 1400-headers4 {
					return fmt.Errorf("%d bytes through a relay for packets of 1400", n)
				}
				if err := hole.Stop(); err != nil {
					return err
				}
			}
			if err := srv.Stop(); err != nil {
				return err
			}
		}
		return nil
	}
}

// found returns the size that a client says is the largest, or 0.
func found(out string) int {
	_, rest, _ := strings.Cut(out, resultLine)
	n := 0
	fmt.Sscan(rest, &n)
	return n
}
