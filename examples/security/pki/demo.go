package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "pki")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		in := func(name string) string { return filepath.Join(dir, name) }
		env = env.As("pki")
		var failed error // the first; nothing is played after it
		play := func(args ...string) {
			if failed == nil {
				_, failed = env.Play(ctx, "", args...)
			}
		}
		// refused plays a command that must fail with these words.
		refused := func(words string, args ...string) {
			if failed != nil {
				return
			}
			_, err := env.Play(ctx, "", args...)
			if err == nil || !strings.Contains(err.Error(), words) {
				failed = fmt.Errorf("%s should have failed with %q, not with: %v", args[0], words, err)
				return
			}
			_, failed = fmt.Fprintf(env.Stdout, "  pki: %s\n", cli.Explain(err))
		}
		ca := []string{"-ca", in("ca.pem"), "-ca-key", in("ca-key.pem")}
		sign := func(more ...string) []string {
			return append(append([]string{"sign"}, ca...), append(more, "-request", in("jose-request.pem"), "-out", in("jose.pem"))...)
		}
		verify := func(more ...string) []string {
			return append(append([]string{"verify", "-ca", in("ca.pem")}, more...), in("jose.pem"))
		}
		revoke := func(files ...string) []string {
			return append(append([]string{"revoke"}, ca...), append([]string{"-crl", in("ca.crl"), "-reason", "key-stolen"}, files...)...)
		}

		// The walk-through.
		play("key", "-out", in("ca-key.pem"))
		play("ca", "-key", in("ca-key.pem"), "-subject", "/O=Zocalo/CN=authority", "-out", in("ca.pem"))
		play("key", "-out", in("jose-key.pem"))
		play("request", "-key", in("jose-key.pem"), "-subject", "/O=Zocalo/CN=jose", "-names", "jose@zocalo.test", "-out", in("jose-request.pem"))
		// Whose key is it? The authority cannot tell; somebody has to look.
		play("register", "-request", in("jose-request.pem"), "-register", in("register.json"), "-by", "Ana", "-how", "his identity card")
		play(sign("-register", in("register.json"))...)
		play("view", in("jose.pem"))
		play(verify()...)
		refused("wrong-use", verify("-use", "server")...)
		refused("expired", verify("-in", "2400h")...)

		// The key gets a passphrase.
		if err := os.WriteFile(in("passphrase"), []byte("opensesame\n"), 0o600); err != nil {
			return err
		}
		play("encrypt", "-in", in("jose-key.pem"), "-out", in("jose-locked.pem"), "-passphrase-file", in("passphrase"))
		refused("wrong or missing passphrase", "view", in("jose-locked.pem"))

		// The key is stolen: the certificate is taken back.
		play(revoke()...)
		play(verify("-crl", in("ca.crl"))...)
		play(revoke(in("jose.pem"))...)
		refused("revoked", verify("-crl", in("ca.crl"))...)
		play(verify()...) // who does not ask does not know
		if failed != nil {
			return failed
		}
		srv, err := env.Start(ctx, append(append([]string{"ocsp", "-port", "0"}, ca...), "-crl", in("ca.crl"))...)
		if err != nil {
			return err
		}
		defer srv.Stop()
		if refused("revoked", verify("-ocsp", "http://"+srv.Addr)...); failed != nil {
			return failed
		}
		return srv.Stop()
	}
}
