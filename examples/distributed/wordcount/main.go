// Z4 wordcount: how often each word comes in a large text, counted by mappers and
// a reducer that are processes of their own. Kill any mapper: the count is right.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/corpus"
	"github.com/zocalo-go/zocalo/mapreduce"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "wordcount",
		Summary: "Counts the words of a large text with a master, mappers and a reducer.",
		Example: `
go run ./examples/distributed/wordcount text -out text.txt
go run ./examples/distributed/wordcount master -mappers 4 -in text.txt -out counts.txt -port 1060
go run ./examples/distributed/wordcount mapper -port 1060 -name ana
go run ./examples/distributed/wordcount reducer -port 1060
`,
		Commands: []cli.Command{
			{Name: "text", Summary: "makes a large text: a file again and again, or words drawn from a list", Setup: text},
			{Name: "master", Summary: "splits a text, gives the pieces to mappers and writes the index", Setup: master},
			{Name: "mapper", Summary: "counts the words of pieces", Setup: worker(mapreduce.MapTask)},
			{Name: "reducer", Summary: "adds up the mappers' tables", Setup: worker(mapreduce.ReduceTask)},
			{Name: "demo", Summary: "a master, four mappers and a reducer as processes; one mapper is killed", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func master(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	in := fs.String("in", "", "the `file` with the text")
	out := fs.String("out", "", "the `file` for the index, which appears when it is whole")
	mappers := cli.Number(fs, "mappers", 2, 1, 1000, "how `many` mappers will come; there are at most half as many pieces")
	replicas := cli.Number(fs, "replicas", 1, 1, 100, "to how `many` mappers each piece is given")
	timeout := cli.Number(fs, "task-timeout", 5*time.Second, 100*time.Millisecond, time.Hour, "for how `long` a mapper may be silent before its pieces go to others")
	return func(ctx context.Context, env *cli.Env) error {
		if *in == "" || *out == "" {
			return cli.Usagef("-in and -out are needed")
		}
		if *replicas > *mappers {
			return cli.Usagef("-replicas %d: there are only %d mappers", *replicas, *mappers)
		}
		if _, err := os.Stat(*in); err != nil {
			return err
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		m := &mapreduce.Master{
			Splits: pieces(*mappers), Reducers: 1, Replicas: *replicas, TaskTimeout: *timeout,
			Trace: &mapreduce.Trace{Event: func(e mapreduce.Event) { fmt.Fprintln(env.Stdout, tell(e)) }},
		}
		served := make(chan error, 1)
		go func() { served <- m.Serve(ctx, ln) }()
		defer func() {
			m.Close()
			<-served
		}()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		_, err = m.Run(ctx, corpus.WordCount(), mapreduce.Files(*in), mapreduce.File(*out))
		if err != nil && ctx.Err() != nil {
			fmt.Fprintln(env.Stdout, "stopped before the index was whole")
			return nil
		}
		if err == nil {
			fmt.Fprintf(env.Stdout, "the index is in %s\n", *out)
		}
		return err
	}
}

// pieces is the course's rule: at most half as many as there are mappers, so that
// each piece can be mapped twice.
func pieces(mappers int) int { return max(1, mappers/2) }

// tell says an event in words.
func tell(e mapreduce.Event) string {
	what := fmt.Sprintf("piece %d", e.Task)
	if e.Kind == mapreduce.ReduceTask {
		what = "the reduction"
	}
	switch e.Event {
	case "assign":
		return fmt.Sprintf("%s gets %s", e.Worker, what)
	case "done":
		return fmt.Sprintf("%s has finished %s", e.Worker, what)
	case "discard":
		return fmt.Sprintf("%s has finished %s too, which does not count", e.Worker, what)
	}
	return fmt.Sprintf("%s has failed with %s: %s", e.Worker, what, e.Reason)
}

func worker(kind mapreduce.Kind) func(*flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		addr := cli.AddrFlags(fs, 0)
		name := fs.String("name", "", "a `name` for the master's lines; none means one from the process's number")
		slow := cli.Number(fs, "slow", 0, 0, time.Hour, "sleep so `long` in each task, to be killed in peace")
		return func(ctx context.Context, _ *cli.Env) error {
			target, err := addr.Target()
			if err != nil {
				return err
			}
			w := &mapreduce.Worker{Name: *name, Kind: kind, Slow: *slow}
			if w.Name == "" {
				w.Name = fmt.Sprintf("%s-%d", kind, os.Getpid())
			}
			w.Program = func(string, map[string]string) (mapreduce.Program, error) { return corpus.WordCount(), nil }
			return w.Run(ctx, target)
		}
	}
}
