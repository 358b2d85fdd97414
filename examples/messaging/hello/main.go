// M1 hello: the Hello World of ØMQ. A client (REQ) asks ten times, a server
// (REP) answers each time. Either may be the C++ or the Python program of the
// course instead.
//
//	client (REQ)                server (REP)
//	    │────────── Hello ────────► │
//	    │ ◄──────── World ──────────│    ten times
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/zmq"
	"github.com/zocalo-go/zocalo/mq"
)

// coursePort is where the course's programs meet.
const coursePort = 5555

// maxSize is the longest message that is taken, in bytes.
const maxSize = 64 << 10

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "hello",
		Summary: "Ten requests and ten replies over ØMQ.",
		Example: `
go run ./examples/messaging/hello server
go run ./examples/messaging/hello client
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "answers every request with World", Setup: server},
			{Name: "client", Summary: "asks ten times and prints the answers", Setup: client},
			{Name: "demo", Summary: "starts the client, and only then the server", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	work := cli.Number(fs, "work", 0, 0, time.Minute, "pretend to work this `time` on each answer; the course's server takes 1s")
	reply := fs.String("reply", "World", "the `text` to answer")
	return func(ctx context.Context, env *cli.Env) error {
		socket, err := mq.NewSocket(mq.REP, &mq.Config{MaxSize: maxSize})
		if err != nil {
			return err
		}
		defer socket.Close()
		if err := zmq.Bind(ctx, env, socket, addr); err != nil {
			return err
		}
		for request, err := range socket.Messages(ctx) {
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(env.Stdout, "Received %s\n", zmq.Printable(request[0])); err != nil {
				return err
			}
			select {
			case <-time.After(*work):
			case <-ctx.Done():
				return nil
			}
			// A client that has gone meanwhile is no error: the answer is dropped.
			if err := socket.Send(ctx, []byte(*reply)); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	}
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	count := cli.Number(fs, "n", 10, 1, 1_000_000, "how `many` requests")
	text := fs.String("text", "Hello", "the `text` to send")
	wait := cli.Number(fs, "wait", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for each answer, and for the server to be there at all")
	return func(ctx context.Context, env *cli.Env) error {
		socket, err := mq.NewSocket(mq.REQ, &mq.Config{MaxSize: maxSize, Linger: -1})
		if err != nil {
			return err
		}
		defer socket.Close()
		endpoint, err := zmq.Connect(socket, addr)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "connecting to %s, whether anybody is there or not\n", endpoint)
		for i := range *count {
			start := time.Now()
			reply, err := ask(ctx, socket, *text, *wait)
			if err != nil {
				if errors.Is(err, context.DeadlineExceeded) {
					return fmt.Errorf("request %d: no answer from %s within %v: nobody is there, or it hangs", i+1, endpoint, *wait)
				}
				return err
			}
			if _, err := fmt.Fprintf(env.Stdout, "%2d  %s → %s  %v\n", i+1, *text, zmq.Printable(reply[0]), time.Since(start).Round(time.Microsecond)); err != nil {
				return err
			}
		}
		return nil
	}
}

// ask sends a request and waits for its reply.
func ask(ctx context.Context, socket *mq.Socket, text string, wait time.Duration) (mq.Msg, error) {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := socket.Send(limited, []byte(text)); err != nil {
		return nil, err
	}
	return socket.Recv(limited)
}
