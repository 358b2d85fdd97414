// S9 sixteen: a client and a server exchange messages of exactly sixteen
// octets over TCP.
//
// The protocol: the client sends sixteen octets and closes its direction of the
// connection; the server answers with sixteen and closes the other. A server
// that is sent fewer answers "I want 16 octets". Nothing on the wire says where
// a message begins or ends: both sides count.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// size is how many octets every message has. The messages below have as many.
const (
	size      = 16
	greeting  = "Hi there, server"
	farewell  = "Farewell, client"
	complaint = "I want 16 octets"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "sixteen",
		Summary: "Messages of exactly sixteen octets over TCP, however they are cut up on the way.",
		Example: `
go run ./examples/sockets/sixteen server
go run ./examples/sockets/sixteen client -dribble 5
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "takes sixteen octets from each client and answers with sixteen", Setup: server},
			{Name: "client", Summary: "sends sixteen octets and prints the sixteen that come back", Setup: client},
			{Name: "demo", Summary: "plays both ends: whole, dribbled, too few, and a server that reads once", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// A tap is a TCP connection that shows what each Read gives. One Read takes
// what has arrived, be it one octet of a message or several messages: TCP
// carries a stream and keeps no borders.
type tap struct {
	*net.TCPConn
	who string    // begins each line
	out io.Writer // where they go
	got int       // octets read so far
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.TCPConn.Read(p)
	if n > 0 {
		t.got += n
		fmt.Fprintf(t.out, "%sa Read gave %d: %d of %d octets\n", t.who, n, t.got, size)
	}
	return n, err
}

// names says what the two ends of a connection are called. The four numbers
// together, two addresses and two ports, tell it from every other one.
func names(conn net.Conn) string {
	return fmt.Sprintf("this end is %s, the other %s", conn.LocalAddr(), conn.RemoteAddr())
}

// explain says in one line what became of a message of which got octets came.
func explain(err error, got int) error {
	switch cause := cli.CauseOf(err); cause {
	case cli.HungUp:
		return errors.New("hung up without a message")
	case cli.Truncated:
		return fmt.Errorf("hung up inside the message, after %d of %d octets", got, size)
	case cli.TimedOut:
		return fmt.Errorf("silent for too long, after %d of %d octets", got, size)
	case cli.Reset:
		return fmt.Errorf("broke the connection off, after %d of %d octets", got, size)
	default:
		return err
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		srv, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()
		// In one piece, and in four with pauses between: the same message.
		for _, more := range [][]string{nil, {"-dribble", "5"}} {
			if err := greet(ctx, env, srv.Port(), more...); err != nil {
				return err
			}
		}
		out, err := env.Play(ctx, "", "client", "-port", srv.Port(), "-raw", "-text", "too few")
		if err == nil {
			return fmt.Errorf("seven octets were taken for sixteen: %q", out)
		}
		fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		if err := srv.Stop(); err != nil {
			return err
		}

		// The mistake: it works as long as the octets happen to come together.
		if srv, err = env.Start(ctx, "server", "-port", "0", "-naive"); err != nil {
			return err
		}
		defer srv.Stop()
		if err := greet(ctx, env, srv.Port(), "-dribble", "5"); err != nil {
			return err
		}
		return srv.Stop()
	}
}

// greet plays a client and checks that it is bidden farewell.
func greet(ctx context.Context, env *cli.Env, port string, more ...string) error {
	out, err := env.Play(ctx, "", append([]string{"client", "-port", port}, more...)...)
	if err != nil {
		return err
	}
	if !strings.Contains(out, fmt.Sprintf("the answer is %q", farewell)) {
		return errors.New("the client was not bidden farewell")
	}
	return nil
}
