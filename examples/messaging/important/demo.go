package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// news are the lines of the demo.
const news = `important: the market opens at nine
it may rain
important: bring baskets
so much for today
`

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // if one fails the others end
		env, listening := env.Watch("listening on ")
		errs := make(chan error, 3)
		expect := func(want string, out string, err error) {
			if err == nil && !strings.Contains(out, want) {
				err = fmt.Errorf("%q was to be heard, not %q", want, out)
			}
			errs <- err
		}
		go func() {
			out, err := env.Play(ctx, news, "publisher", "-port", "0", "-wait", "2")
			expect("4 lines published, 6 messages sent\n", out, err)
		}()
		var err error
		select {
		case line := <-listening:
			_, port, _ := strings.Cut(strings.TrimSpace(line), "127.0.0.1:")
			go func() {
				out, err := env.Play(ctx, "", "subscriber", "-port", port, "-n", "2")
				expect("important: the market opens at nine\nimportant: bring baskets\n", out, err)
			}()
			go func() {
				out, err := env.As("everything").Play(ctx, "", "subscriber", "-port", port, "-topic", "", "-n", "4")
				expect(news, out, err)
			}()
			for range cap(errs) {
				if e := <-errs; e != nil {
					err = errors.Join(err, e)
					cancel()
				}
			}
		case err = <-errs: // of the publisher, which never listened
		}
		return err
	}
}
