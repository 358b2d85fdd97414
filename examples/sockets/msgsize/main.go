// S11 msgsize: a client sends a message over TCP without saying in advance how
// long it is, or just by saying so; the server answers with the client's
// address and the message's size.
//
// TCP carries a stream of bytes, so that the two must agree on how a message
// ends. There are two techniques here, for the message and for the answer:
//
//	eof     the sender closes its direction of the connection after the message;
//	        a connection has room for one message and one answer
//	length  four bytes, big-endian, say how many bytes follow; messages and
//	        answers take turns until the client closes its direction
//
// The answer is the text "ADDRESS:PORT sent N bytes", or begins with "error: ".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// complaint begins an answer that is none.
const complaint = "error: "

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "msgsize",
		Summary: "A message of any length goes out over TCP, its sender's address and its size come back.",
		Example: `
go run ./examples/sockets/msgsize server -technique length
go run ./examples/sockets/msgsize client -technique length -text "hola"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "measures messages", Setup: server},
			{Name: "client", Summary: "sends -text, or all of standard input, as one message", Setup: client},
			{Name: "demo", Summary: "plays both ends with both techniques, and some bad clients", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// techniqueFlag declares -technique, which returns the name of a [format].
func techniqueFlag(fs *flag.FlagSet) *string {
	return cli.Choice(fs, "technique", "length", "how the `end` of a message is told", "eof", "length")
}

// format is how messages of a technique look on the wire.
func format(technique string) framing.Format {
	if technique == "eof" {
		return framing.ToEOF{}
	}
	return framing.Prefix{} // the zero value: four bytes, big-endian
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, technique := range []string{"eof", "length"} {
			srv, err := env.Start(ctx, "server", "-port", "0", "-technique", technique, "-max", "40")
			if err != nil {
				return err
			}
			defer srv.Stop()
			client := func(stdin string, more ...string) (string, error) {
				return env.Play(ctx, stdin, append([]string{"client", "-port", srv.Port(), "-technique", technique}, more...)...)
			}
			if _, err := client("", "-text", "¡Hola, Zócalo!"); err != nil {
				return err
			}
			if _, err := client("three lines\nfrom a file\nor a pipe\n"); err != nil {
				return err
			}
			bad := [][]string{{"-text", "a message of more than the forty bytes allowed"}}
			if technique == "length" {
				bad = [][]string{{"-claim", "4294967295"}, {"-claim", "100", "-text", "only this"}}
			}
			for _, more := range bad {
				_, err := client("", more...)
				if err == nil {
					return errors.New("the server took a message that it should refuse")
				}
				fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
			}
			// One client's trouble is not another's.
			if _, err := client("", "-text", ""); err != nil {
				return err
			}
			if err := srv.Stop(); err != nil {
				return err
			}
		}
		return nil
	}
}
