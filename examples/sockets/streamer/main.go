// S13 streamer: a client sends a stream over TCP and closes its direction; the
// server, which closed its own at once, listens to the end. All that came up
// to end-of-file is the message.
//
// With -blocks the stream is cut into blocks instead: each has its length, four
// bytes, big-endian, before it, and an empty one ends the message. With -answer
// the server keeps its direction open until the message is over and says what
// came: "received N bytes", or what was wrong, beginning with "error: ".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// complaint begins an answer that is none.
const complaint = "error: "

// verses is the message when none is given, piece by piece.
var verses = []string{
	"One writes until all is said,\n",
	"one listens until nothing comes,\n",
	"and nothing is how they agree.\n",
}

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "streamer",
		Summary: "The whole stream up to its end is the message; how a stream can end.",
		Example: `
go run ./examples/sockets/streamer server
go run ./examples/sockets/streamer client "first line" "second line"
go run ./examples/sockets/streamer ends
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "listens to each client until end-of-file and shows what came", Setup: server},
			{Name: "client", Summary: "sends lines one by one: those given, or with - those of standard input", Args: "[LINE... | -]", Setup: client},
			{Name: "ends", Summary: "shows what the other side sees of shutdown, close and reset", Setup: ends},
			{Name: "demo", Summary: "plays streams and blocks, whole and broken off", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, outer *cli.Env) error {
		env := *outer
		seen := &watch{out: env.Stdout, more: make(chan struct{})}
		env.Stdout = seen
		for _, mode := range [][]string{nil, {"-blocks"}} {
			srv, err := env.Start(ctx, append([]string{"server", "-port", "0"}, mode...)...)
			if err != nil {
				return err
			}
			defer srv.Stop()
			for _, c := range []struct{ end, verdict string }{
				{"shutdown", "the message, 94 bytes: "},
				{"reset", "error: reset: "},
			} {
				args := append([]string{"client", "-port", srv.Port(), "-end", c.end}, mode...)
				if _, err := env.Play(ctx, "", args...); err != nil {
					return err
				}
				// The client cannot know that the server has all: we look.
				if err := seen.wait(ctx, c.verdict); err != nil {
					return err
				}
			}
			if err := srv.Stop(); err != nil {
				return err
			}
		}
		// Both directions, one after the other.
		srv, err := env.Start(ctx, "server", "-port", "0", "-answer", "-max", "40")
		if err != nil {
			return err
		}
		defer srv.Stop()
		out, err := env.Play(ctx, "", "client", "-port", srv.Port(), "-answer", "one line")
		if err != nil {
			return err
		}
		if !strings.Contains(out, `the answer is "received 9 bytes"`) {
			return errors.New("no answer came after the half-close")
		}
		if _, err = env.Play(ctx, "", "client", "-port", srv.Port(), "-answer", "-pause", "0s"); err == nil {
			return errors.New("a message over the limit was taken")
		}
		fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		if err := srv.Stop(); err != nil {
			return err
		}
		_, err = env.Play(ctx, "", "ends")
		return err
	}
}

// A watch passes on what a demo shows and waits for what it must show.
type watch struct {
	out io.Writer

	mu   sync.Mutex
	text string        // shown and not yet looked at
	more chan struct{} // closed and replaced when there is more
}

func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text += string(p)
	close(w.more)
	w.more = make(chan struct{})
	return w.out.Write(p)
}

// wait returns when text has been shown since the last wait.
func (w *watch) wait(ctx context.Context, text string) error {
	for {
		w.mu.Lock()
		_, rest, found := strings.Cut(w.text, text)
		if found {
			w.text = rest
		}
		more := w.more
		w.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("the server has not said %q: %w", text, context.Cause(ctx))
		}
	}
}
