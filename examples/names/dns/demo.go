package main

import (
	"context"
	"errors"
	"flag"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, play := range []struct{ command, expect string }{
			{"mx example.com", "20 mail2.example.com."},
			{"mx example.net", "null-mx"},
			{"mx -local mail2.example.com example.com", "10 mail.example.com."},
			{"mx -json xn--espaa-rta.es", `"status":"ok"`},
			{"resolve ftp.example.com A nothing.example.com A", "nxdomain"},
			{"trace www.example.org A", "example.org."},
			{"reverse 10.53.10.20", "confirmed"},
		} {
			out, err := env.Play(ctx, "", strings.Fields(play.command)...)
			if err != nil {
				return err
			}
			if !strings.Contains(out, play.expect) {
				return errors.New("no " + play.expect + " in what " + play.command + " has printed")
			}
		}
		return nil
	}
}
