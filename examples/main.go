// The catalogue of the exercises: it lists them, shows what each is about,
// builds and runs them, and plays all their demos one after the other.
//
//	go run ./examples                   the list
//	go run ./examples show S1           what S1 is about
//	go run ./examples run S1 demo       S1's own demo
//	go run ./examples tour sockets      the demos of a chapter
//
// It works in any folder of a checkout, and without one:
//
//	go run github.com/zocalo-go/zocalo/examples@latest tour
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

//go:embed exercises.txt
var exerciseList string

// The pattern finds the README of every exercise: a new one needs no entry in
// any list.
//
//go:embed */*/README.md
var readmes embed.FS

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	courses, err := load(exerciseList, readmes)
	if err != nil {
		fmt.Fprintln(stderr, "examples:", err)
		return cli.Failure
	}
	a := &app{catalogue: courses, stdin: stdin, stdout: stdout, stderr: stderr, style: styleOf(stdout)}
	program := cli.Program{
		Name:    "examples",
		Summary: "The exercises of the course: list them, read about them, run them.",
		Example: `
go run ./examples                     what there is
go run ./examples show S1             what S1 is about (or: show udplocal)
go run ./examples run S1 demo         both ends of S1, in a few seconds
go run ./examples run S1 server       one end; the other in a second terminal
go run ./examples tour sockets        the demos of one chapter
`,
		Commands: []cli.Command{
			{Name: "", Summary: "lists all exercises", Setup: a.list},
			{Name: "list", Summary: "lists the exercises, or those of some chapters", Args: "[CHAPTER...]", Setup: a.list},
			{Name: "show", Summary: "prints an exercise's README", Args: "ID|NAME", Setup: a.show},
			{Name: "run", Summary: "builds an exercise and runs it with the arguments given", Args: "ID|NAME [ARGUMENT...]", Setup: a.run},
			{Name: "tour", Summary: "plays the demos of all exercises, of chapters or of single ones", Args: "[CHAPTER|ID|NAME...]", Setup: a.tour},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// An app is the catalogue program with the streams as the process has them:
// an exercise that it runs inherits those.
type app struct {
	*catalogue
	stdin          io.Reader
	stdout, stderr io.Writer
	style          style
}

func (a *app) list(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		chapters := a.chapters
		if len(env.Args) > 0 {
			chapters = nil
			for _, name := range env.Args {
				c := a.chapter(name)
				if c == nil {
					return cli.Usagef("no chapter %q (go run ./examples lists them)", name)
				}
				chapters = append(chapters, c)
			}
		}
		_, err := io.WriteString(env.Stdout, listing(chapters, a.style))
		return err
	}
}

func (a *app) show(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("show takes one exercise, such as S1 or udplocal")
		}
		e, err := a.existing(env.Args[0])
		if err != nil {
			return err
		}
		_, err = io.WriteString(env.Stdout, render(e.readme, a.style))
		return err
	}
}

func (a *app) run(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) == 0 {
			return cli.Usagef("run takes an exercise, such as S1 or udplocal, and its arguments")
		}
		e, err := a.existing(env.Args[0])
		if err != nil {
			return err
		}
		b, err := newBuilder()
		if err != nil {
			return err
		}
		if err := b.build(ctx, env.Stderr, e); err != nil {
			return err
		}
		return a.become(ctx, b.path(e), env.Args[1:])
	}
}

func (a *app) tour(fs *flag.FlagSet) cli.Action {
	lines := cli.Number(fs, "lines", 20, 0, 1_000_000, "show at most this many `lines` of each transcript")
	limit := cli.Number(fs, "limit", 20*time.Second, time.Millisecond, time.Hour, "stop a demo that takes longer than this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		stops, err := a.itinerary(env.Args)
		if err != nil {
			return err
		}
		if len(stops) == 0 {
			return cli.Usagef("none of these exercises exists yet (· in the list)")
		}
		b, err := newBuilder()
		if err != nil {
			return err
		}
		t := &tour{out: env.Stdout, style: a.style, lines: *lines, limit: *limit}
		return t.play(ctx, b, stops)
	}
}

// existing returns the exercise that key names, if its README is here.
func (a *app) existing(key string) (*exercise, error) {
	e := a.find(key)
	switch {
	case e == nil:
		return nil, cli.Usagef("no exercise %q (go run ./examples lists them)", key)
	case !e.exists():
		return nil, cli.Usagef("%s %s is still to come", e.id, e.name)
	}
	return e, nil
}

// itinerary returns the exercises of a tour in the catalogue's order, each
// once: all that exist, or those that the chapters, ids and names stand for.
func (a *app) itinerary(keys []string) ([]*exercise, error) {
	wanted := make(map[*exercise]bool)
	for _, key := range keys {
		if c := a.chapter(key); c != nil {
			for _, e := range c.exercises {
				wanted[e] = true
			}
			continue
		}
		e, err := a.existing(key)
		if err != nil {
			if u, ok := errors.AsType[*cli.UsageError](err); ok && a.find(key) == nil {
				u.Problem = fmt.Sprintf("no chapter or exercise %q (go run ./examples lists them)", key)
			}
			return nil, err
		}
		wanted[e] = true
	}
	var stops []*exercise
	for _, c := range a.chapters {
		for _, e := range c.exercises {
			if e.exists() && (len(keys) == 0 || wanted[e]) {
				stops = append(stops, e)
			}
		}
	}
	return stops, nil
}
