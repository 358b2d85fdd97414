// M2 important: what is typed in is published, line by line (PUB); each
// subscriber (SUB) hears only the lines that begin with what it asked for.
//
//	                      ┌─ important: ─► subscriber
//	lines ──► publisher ──┤
//	                      └─ (everything) ► subscriber
//
// The filter is at the publisher: a line that nobody wants is not sent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/zmq"
	"github.com/zocalo-go/zocalo/mq"
)

// maxLine is the longest line, in bytes.
const maxLine = 64 << 10

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "important",
		Summary: "Lines are published over ØMQ; subscribers hear those that begin with important:",
		Example: `
go run ./examples/messaging/important publisher -port 5556
go run ./examples/messaging/important subscriber -port 5556
`,
		Commands: []cli.Command{
			{Name: "publisher", Summary: "publishes the lines of standard input", Setup: publisher},
			{Name: "subscriber", Summary: "prints the lines that begin with -topic", Setup: subscriber},
			{Name: "demo", Summary: "four lines, one subscriber for the important ones, one for all", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func publisher(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	wait := cli.Number(fs, "wait", 0, 0, 1000, "publish nothing before so `many` different topics have been asked for")
	return func(ctx context.Context, env *cli.Env) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		// An XPUB is a PUB that receives what its subscribers ask for.
		socket, err := mq.NewSocket(mq.XPUB, &mq.Config{MaxSize: maxLine})
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		defer socket.Close() // waits until the last line has left
		if err := zmq.Bind(ctx, env, socket, addr); err != nil {
			return err
		}
		enough := make(chan struct{})
		if *wait == 0 {
			close(enough)
		}
		wg.Go(func() { audience(ctx, env.Stdout, socket, *wait, enough) })
		select {
		case <-enough:
		case <-ctx.Done():
			return nil
		}
		lines := 0
		for line, err := range cli.Lines(ctx, env.Stdin, maxLine) {
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("standard input: %w", err)
			}
			if err := socket.Send(ctx, []byte(line)); err != nil {
				return err
			}
			lines++
		}
		_, err = fmt.Fprintf(env.Stdout, "%d lines published, %d messages sent\n", lines, socket.Stats().Sent)
		return err
	}
}

// audience prints what subscribers ask for, and closes enough when want have.
func audience(ctx context.Context, out io.Writer, socket *mq.Socket, want int, enough chan<- struct{}) {
	there := 0
	for msg, err := range socket.Messages(ctx) {
		if err != nil {
			return // it is over
		}
		// The first byte is 1 for a subscription, 0 for its end.
		frame := msg[0]
		if len(frame) == 0 || frame[0] > 1 {
			continue
		}
		verb := "wants"
		if frame[0] == 0 {
			verb = "no longer wants"
		} else if there++; there == want {
			close(enough)
		}
		fmt.Fprintf(out, "somebody %s %q\n", verb, frame[1:])
	}
}

func subscriber(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	topic := fs.String("topic", "important:", "the `beginning` of the lines to hear; empty for all")
	count := cli.Number(fs, "n", 0, 0, 1_000_000_000, "stop after so `many` lines; 0, never")
	return func(ctx context.Context, env *cli.Env) error {
		socket, err := mq.NewSocket(mq.SUB, &mq.Config{MaxSize: maxLine + 1<<10})
		if err != nil {
			return err
		}
		defer socket.Close()
		if err := socket.Subscribe(*topic); err != nil {
			return err
		}
		if _, err := zmq.Connect(socket, addr); err != nil {
			return err
		}
		heard := 0
		for msg, err := range socket.Messages(ctx) {
			if err != nil {
				if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
					return nil
				}
				return err
			}
			if _, err := fmt.Fprintln(env.Stdout, zmq.Printable(msg[0])); err != nil {
				return err
			}
			if heard++; heard == *count {
				return nil
			}
		}
		return nil
	}
}
