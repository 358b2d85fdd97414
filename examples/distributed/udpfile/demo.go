package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func demoCommand(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		files, err := newShelf(1_000_000, 1605)
		if err != nil {
			return err
		}
		defer files.discard()
		store := filepath.Join(files.dir, "store")
		if err := os.Mkdir(store, 0o700); err != nil {
			return err
		}
		original := filepath.Join(files.dir, wanted)
		content, err := os.ReadFile(original)
		if err != nil {
			return err
		}
		srv, err := env.Start(ctx, "server", "-port", "0", "-dir", store)
		if err != nil {
			return err
		}
		defer srv.Stop()

		link := "rate=20mbit,delay=10ms,loss=5%"
		if _, err := env.Play(ctx, "", "put", "-progress=false", "-port", srv.Port(), "-link", link, original); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, "Half of a copy is there, as a get that was killed leaves it:")
		copied := filepath.Join(files.dir, "copy")
		if err := os.WriteFile(filepath.Join(files.dir, ".copy.part"), content[:len(content)/2], 0o600); err != nil {
			return err
		}
		out, err := env.Play(ctx, "", "get", "-progress=false", "-port", srv.Port(), "-link", link, "-o", copied, wanted)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(copied)
		if err != nil {
			return err
		}
		if !bytes.Equal(content, got) || !strings.Contains(out, "the first 500000 from an earlier try") {
			return errors.New("what came back is not what was sent, or not in two parts")
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		_, err = env.Play(ctx, "", "compare", "-link", "rate=50mbit,delay=5ms", "-size", "1500000", "-limit", "800ms", "loss=5%")
		return err
	}
}
