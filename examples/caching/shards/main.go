// C5 shards: keys are spread over servers that do not know each other, in one
// way after the other: how evenly, and how many move when a server joins or
// leaves. Then a table of a database is spread so, row by row.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/words"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "shards",
		Summary: "How to spread keys over servers, and what moves when there is one more.",
		Example: `
go run ./examples/caching/shards study -servers 10
go run ./examples/caching/shards table -by ketama
`,
		Commands: []cli.Command{
			{Name: "study", Summary: "balance and movement for lists of words (without FILE: Debian's, or a small one); charts with -svg", Args: "[FILE]...", Setup: study},
			{Name: "table", Summary: "spreads the rows of a table over databases, asks them all, and adds one", Args: "[FILE]", Setup: table},
			{Name: "demo", Summary: "does both with the small list of words", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// load returns the words of a file, each once, and a name for them.
func load(file string) (list []string, name string, err error) {
	list, err = words.Load(file)
	if err != nil {
		return nil, "", err
	}
	slices.Sort(list)
	if file == "" {
		return slices.Compact(list), "verbs", nil
	}
	return slices.Compact(list), strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), nil
}

func study(fs *flag.FlagSet) cli.Action {
	servers := cli.Number(fs, "servers", 4, 2, 200, "how `many` servers there are before one joins or leaves")
	svg := fs.String("svg", "", "write charts to `folder`")
	return func(ctx context.Context, env *cli.Env) error {
		files := env.Args
		if len(files) == 0 {
			files = words.Installed()
		}
		if len(files) == 0 {
			files = []string{""}
		}
		for _, file := range files {
			list, name, err := load(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "%s: %d words on %d servers\n\n", name, len(list), *servers)
			if err := report(ctx, env.Stdout, list, *servers); err != nil {
				return err
			}
			if *svg != "" {
				if err := draw(ctx, env.Stdout, filepath.Join(*svg, name), list, *servers); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func table(fs *flag.FlagSet) cli.Action {
	shards := cli.Number(fs, "shards", 4, 1, 50, "how `many` databases to begin with")
	var names []string
	for _, m := range methods {
		if m.stable {
			names = append(names, m.name)
		}
	}
	by := cli.Choice(fs, "by", "ketama", "what says where a row is", names...)
	keep := fs.String("dir", "", "the `folder` for the databases, which must have none yet; without, one that is thrown away")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) > 1 {
			return cli.Usagef("one list of words, please, not %d", len(env.Args))
		}
		list, name, err := load(strings.Join(env.Args, ""))
		if err != nil {
			return err
		}
		dir := *keep
		if dir == "" {
			if dir, err = os.MkdirTemp("", "shards"); err != nil {
				return err
			}
			defer os.RemoveAll(dir)
		}
		fmt.Fprintf(env.Stdout, "%s: a table of %d words on %d databases, by %s\n", name, len(list), *shards, *by)
		i := slices.IndexFunc(methods, func(m method) bool { return m.name == *by })
		t, err := create(ctx, dir, *shards, methods[i].selector)
		if err != nil {
			return err
		}
		defer t.close()
		return play(ctx, env.Stdout, t, list)
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		list := words.Bundled()
		fmt.Fprintf(env.Stdout, "%d words on 4 servers\n\n", len(list))
		if err := report(ctx, env.Stdout, list, 4); err != nil {
			return err
		}
		// What the table says must be so, or the demo fails.
		for _, m := range methods {
			moved := m.movement(list, 4, 5)
			switch m.name {
			case "modulo", "md5":
				if moved < 0.7 {
					return fmt.Errorf("%s moves only %.0f %% of the words", m.name, 100*moved)
				}
			case "ketama", "rendezvous", "jump":
				if moved > 0.3 {
					return fmt.Errorf("%s moves %.0f %% of the words", m.name, 100*moved)
				}
			}
		}
		_, err := env.Play(ctx, "", "table")
		return err
	}
}
