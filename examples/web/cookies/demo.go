package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "cookies")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		third, err := env.Start(ctx, "ads", "-port", "0")
		if err != nil {
			return err
		}
		defer third.Stop()
		at := []string{"-at", "ads.test=" + third.Addr}
		open := func(name string, more ...string) (*cli.Server, error) {
			args := []string{"shop", "-port", "0", "-name", name, "-db", filepath.Join(dir, name+".db"), "-ad", "http://ads.test/pixel.svg"}
			s, err := env.As(name).Start(ctx, append(args, more...)...)
			if err == nil {
				at = append(at, "-at", name+".test="+s.Addr)
			}
			return s, err
		}
		browse := func(more ...string) error {
			args := append([]string{"browse", "-jar", filepath.Join(dir, "susana.json")}, at...)
			_, err := env.As("susana").Play(ctx, "", append(args, more...)...)
			return err
		}
		books, err := open("books")
		if err != nil {
			return err
		}
		defer books.Stop()
		shoes, err := open("shoes")
		if err != nil {
			return err
		}
		defer shoes.Stop()
		if err := browse("http://books.test/", "http://books.test/add?item=quixote", "http://shoes.test/"); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout, "a week later; the shop has been restarted")
		if err := books.Stop(); err != nil {
			return err
		}
		again, err := open("books", "-later", "168h")
		if err != nil {
			return err
		}
		defer again.Stop()
		return browse("-later", "168h", "http://books.test/")
	}
}
