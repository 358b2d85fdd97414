// S15 states: TCP seen from outside a program. A listening socket and the many
// connected ones by their names; the states that a connection passes, produced
// on purpose and read from the system's table while it happens; what TIME-WAIT
// does to a server that is started again; what happens when the backlog of a
// listening socket is full.
package main

import (
	"bytes"
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

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "states",
		Summary: "TCP from the outside: names of sockets, states of connections, TIME-WAIT, backlog.",
		Example: `
go run ./examples/sockets/states server
go run ./examples/sockets/states watch -port 1060
go run ./examples/sockets/states client -n 3
go run ./examples/sockets/states life
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "accepts connections and prints both names of each", Setup: server},
			{Name: "client", Summary: "opens connections, prints their names and holds them", Setup: client},
			{Name: "watch", Summary: "prints a port's sockets and every change of state, as the system shows them", Setup: watch},
			{Name: "life", Summary: "leads connections through all states of TCP", Setup: life},
			{Name: "timewait", Summary: "starts a server again with and without SO_REUSEADDR", Setup: timewait},
			{Name: "backlog", Summary: "connects to a server that does not accept, until no one gets in", Setup: backlog},
			{Name: "demo", Summary: "plays all of these", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		heard := &listener{w: env.Stdout, news: make(chan struct{}, 1)}
		stage := *env
		stage.Stdout = heard
		srv, err := stage.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()
		// The table shall show the connections while they are open.
		var out string
		var clientErr error
		var wg sync.WaitGroup
		wg.Go(func() {
			out, clientErr = stage.Play(ctx, "", "client", "-port", srv.Port(), "-n", "3", "-hold", "400ms")
		})
		err = heard.wait(ctx, "server: a connection", 3)
		if err == nil {
			err = show(ctx, &stage, "watch", "-port", srv.Port(), "-for", "0")
		}
		wg.Wait()
		if err := errors.Join(err, clientErr); err != nil {
			return err
		}
		if n := strings.Count(out, "remote "+srv.Addr); n != 3 {
			return fmt.Errorf("3 connections, and %d of them to %s", n, srv.Addr)
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		for _, command := range []string{"life", "timewait", "backlog"} {
			if err := show(ctx, env, command); err != nil {
				return err
			}
		}
		return nil
	}
}

// show plays a command. That a system does not show something, or does it
// another way, is no failure of the demo.
func show(ctx context.Context, env *cli.Env, args ...string) error {
	_, err := env.Play(ctx, "", args...)
	if errors.Is(err, errNoTable) || errors.Is(err, errors.ErrUnsupported) {
		_, err = fmt.Fprintf(env.Stdout, "  %s: %s\n", args[0], cli.Explain(err))
	}
	return err
}

// A listener passes a demo's output on, and can be asked to wait for a text.
type listener struct {
	w    io.Writer
	news chan struct{} // holds a token when there is something new

	mu   sync.Mutex
	seen bytes.Buffer
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen.Write(p)
	select {
	case l.news <- struct{}{}:
	default:
	}
	return l.w.Write(p)
}

// wait waits until text has been written n times.
func (l *listener) wait(ctx context.Context, text string, n int) error {
	for {
		l.mu.Lock()
		found := bytes.Count(l.seen.Bytes(), []byte(text))
		l.mu.Unlock()
		if found >= n {
			return nil
		}
		select {
		case <-l.news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
