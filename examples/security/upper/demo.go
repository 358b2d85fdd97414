package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "upper")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		one, other := filepath.Join(dir, "one"), filepath.Join(dir, "other")

		// The server alone proves who it is, with two certificates.
		srv, err := env.Start(ctx, "server", "-port", "0", "-dir", one)
		if err != nil {
			return err
		}
		defer srv.Stop()
		ask := func(env *cli.Env, srv *cli.Server, dir string, more ...string) (string, error) {
			return env.Play(ctx, "", append([]string{"client", "-port", srv.Port(), "-dir", dir, "-text", "¡hola!"}, more...)...)
		}
		refused := func(err error, want tlsx.Reason) error {
			r, ok := errors.AsType[*refusal](err)
			if !ok || r.Reason != want {
				return fmt.Errorf("%q should have been the reason for a refusal; the client said: %v", want, err)
			}
			_, err = fmt.Fprintf(env.Stdout, "  client: %v\n", r)
			return err
		}
		if out, err := ask(env, srv, one, "-v"); err != nil {
			return err
		} else if out != "¡HOLA!\n" {
			return fmt.Errorf("%q came back", out)
		}
		_, err = ask(env, srv, one, "-name", "bank.test") // another name than it can prove
		if err := refused(err, tlsx.WrongName); err != nil {
			return err
		}
		if err := srv.Stop(); err != nil {
			return err
		}

		// Both prove who they are, with paths of three, from another authority.
		mutual, err := env.Start(ctx, "server", "-port", "0", "-dir", other, "-mutual", "-chain", "3")
		if err != nil {
			return err
		}
		defer mutual.Stop()
		if out, err := ask(env, mutual, other, "-mutual", "-v"); err != nil {
			return err
		} else if out != "¡HOLA!\n" {
			return fmt.Errorf("%q came back", out)
		}
		_, err = ask(env, mutual, other) // the client proves nothing
		if err := refused(err, tlsx.NoCertificate); err != nil {
			return err
		}
		_, err = ask(env, mutual, one) // the client trusts the first authority only
		if err := refused(err, tlsx.UnknownAuthority); err != nil {
			return err
		}
		return mutual.Stop()
	}
}
