// S4 udpbroadcast: one datagram for everybody on the segment. The program
// works out each interface's broadcast address, sends a message there, and
// every listener prints it and answers. The cache of neighbours (ARP) is shown
// before and after.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// maxText is the longest message. A broadcast that has to be cut into
// fragments costs every machine of the segment the work of putting it
// together; what fits in a packet of 1,500 bytes, with 20 bytes of IP header
// and 8 of UDP header, is not cut on any usual network.
const maxText = 1500 - 20 - 8

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "udpbroadcast",
		Summary: "One datagram for everybody on the segment; who hears it, answers.",
		Example: `
go run ./examples/sockets/udpbroadcast interfaces
go run ./examples/sockets/udpbroadcast server -name alice
go run ./examples/sockets/udpbroadcast server -name bob
go run ./examples/sockets/udpbroadcast client -text "hola a todos"
`,
		Commands: []cli.Command{
			{Name: "interfaces", Summary: "lists the interfaces with their broadcast addresses", Setup: interfaces},
			{Name: "server", Summary: "a listener: prints each message and answers; several can run on one machine", Setup: server},
			{Name: "client", Summary: "broadcasts lines, from -text or standard input, and prints the answers", Setup: client},
			{Name: "demo", Summary: "three listeners on this machine's loopback hear one message", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func interfaces(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		all, err := segments()
		if err != nil {
			return err
		}
		table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "interface\taddress\tbroadcast address")
		for _, s := range all {
			broadcast := s.Broadcast.String()
			if !s.Broadcast.IsValid() {
				broadcast = "none: " + s.Why
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", s.Interface, s.Prefix, broadcast)
		}
		return table.Flush()
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		if _, err := env.Play(ctx, "", "interfaces"); err != nil {
			return err
		}
		port := "0"
		names := []string{"alice", "bob", "carol"}
		for _, name := range names {
			srv, err := env.As(name).Start(ctx, "server", "-port", port, "-name", name)
			if err != nil {
				return err
			}
			defer srv.Stop()
			port = srv.Port() // the others share the port of the first
		}
		const text = "¡hola a todos!"
		out, err := env.Play(ctx, "", "client", "-port", port, "-text", text, "-expect", "3", "-wait", "3s")
		for _, name := range names {
			if !strings.Contains(out, fmt.Sprintf("%s heard %d bytes", name, len(text))) {
				if err == nil {
					err = fmt.Errorf("no answer from %s", name)
				}
				if runtime.GOOS != "linux" {
					// Its loopback interface need not do broadcast: macOS has no
					// such flag on it.
					fmt.Fprintf(env.Stdout, "  on this system the loopback interface may not carry broadcasts (%s); try -interface\n", cli.Explain(err))
					return nil
				}
				return err
			}
		}
		return err
	}
}
