package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		// This server is started only to find a free port.
		srv, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		port := srv.Port()
		if err := srv.Stop(); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "\nNobody listens on port %s any more. A client does not mind, and waits:\n", port)
		stage, waits := env.Watch("connecting to")
		out := ""
		answered := make(chan error, 1)
		go func() {
			var err error
			out, err = stage.Play(ctx, "", "client", "-port", port)
			answered <- err
		}()
		select {
		case <-waits:
		case err := <-answered:
			return err // it cannot have had an answer
		}
		srv, startErr := stage.Start(ctx, "server", "-port", port)
		if err := errors.Join(<-answered, startErr); err != nil {
			return err
		}
		if n := strings.Count(out, "Hello → World"); n != 10 {
			return fmt.Errorf("%d answers, not ten", n)
		}
		return srv.Stop()
	}
}
