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

// demo shows every reason of the contract: six that a client has against a
// server, then four that a server has against a client.
func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "tlstool")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		certs := filepath.Join(dir, "certs")
		if _, err := env.Play(ctx, "", "make", certs); err != nil {
			return err
		}
		path := func(name string) string { return filepath.Join(certs, name) }
		pair := func(name string) []string {
			return []string{"-cert", path(name + "-chain.pem"), "-key", path(name + "-key.pem")}
		}
		serve := func(name string, more ...string) (*cli.Server, error) {
			return env.Start(ctx, append(append([]string{"serve"}, pair(name)...), more...)...)
		}
		connect := func(srv *cli.Server, more ...string) (string, error) {
			return env.Play(ctx, "hola\n", append([]string{"connect", "-connect", srv.Addr, "-name", "localhost", "-ca", path("root.pem")}, more...)...)
		}
		refused := func(err error, by string, want tlsx.Reason) error {
			r, ok := errors.AsType[*refusal](err)
			if !ok || r.Reason != want || r.By != by {
				return fmt.Errorf("the %s should have refused with %q; the client said: %v", by, want, err)
			}
			_, err = fmt.Fprintf(env.Stdout, "  connect: %v\n", r)
			return err
		}

		for _, test := range []struct {
			name string
			want tlsx.Reason
		}{
			{"expired", tlsx.Expired},
			{"future", tlsx.NotYetValid},
			{"wrongname", tlsx.WrongName},
			{"wronguse", tlsx.WrongUse},
			{"toodeep", tlsx.PathTooLong},
			{"other-server", tlsx.UnknownAuthority},
		} {
			srv, err := serve(test.name)
			if err != nil {
				return err
			}
			_, err = connect(srv)
			if err := refused(err, "client", test.want); err != nil {
				srv.Stop()
				return err
			}
			if err := srv.Stop(); err != nil {
				return err
			}
		}

		srv, err := serve("server", "-client-ca", path("root.pem"))
		if err != nil {
			return err
		}
		defer srv.Stop()
		for _, test := range []struct {
			client []string
			want   tlsx.Reason
		}{
			{nil, tlsx.NoCertificate},
			{pair("other-client"), tlsx.UnknownAuthority},
			{pair("expired-client"), tlsx.Expired},
			{pair("server"), tlsx.WrongUse},
		} {
			_, err := connect(srv, test.client...)
			if err := refused(err, "server", test.want); err != nil {
				return err
			}
		}
		out, err := connect(srv, append([]string{"-v"}, pair("client")...)...)
		if err != nil {
			return err
		}
		if out != "hola\n" {
			return fmt.Errorf("%q came back", out)
		}
		return srv.Stop()
	}
}
