// Z5 jobs: what map-reduce is good for. A dozen jobs, each written once, run in
// one process, on workers over TCP, or as programs of Hadoop Streaming.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mapreduce"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "mapreduce",
		Summary: "Runs map-reduce jobs in one process, on workers, or as Hadoop Streaming programs.",
		Example: `
go run ./examples/distributed/jobs run -job wordcount -in README.md -out counts
go run ./examples/distributed/jobs master -job wordcount -in README.md -out counts -listen 127.0.0.1:1060
go run ./examples/distributed/jobs mapper -master 127.0.0.1:1060 -name ana
go run ./examples/distributed/jobs reducer -master 127.0.0.1:1060 -name carlos
`,
		Commands: []cli.Command{
			{Name: "run", Summary: "runs a job in this process, on all cores", Setup: local},
			{Name: "master", Summary: "gives a job's tasks to mappers and reducers that connect", Setup: master},
			{Name: "mapper", Summary: "maps for a master", Setup: worker(mapreduce.MapTask)},
			{Name: "reducer", Summary: "reduces for a master", Setup: worker(mapreduce.ReduceTask)},
			{Name: "stream-map", Summary: "maps standard input, for Hadoop Streaming's option -mapper", Setup: stream(mapreduce.Hadoop.Map)},
			{Name: "stream-combine", Summary: "combines sorted standard input, for -combiner", Setup: stream(mapreduce.Hadoop.Combine)},
			{Name: "stream-reduce", Summary: "reduces sorted standard input, for -reducer", Setup: stream(mapreduce.Hadoop.Reduce)},
			{Name: "jobs", Summary: "lists the jobs", Setup: list},
			{Name: "demo", Summary: "runs every job on small samples, one of them on workers too", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// list prints what jobs there are.
func list(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		for _, r := range recipes {
			fmt.Fprintf(env.Stdout, "%-10s %s\n", r.name, r.summary)
		}
		return nil
	}
}

func local(fs *flag.FlagSet) cli.Action {
	p := newPlan(fs)
	workers := cli.Number(fs, "workers", 0, 0, 1000, "how `many` tasks at a time; 0 means one for each core")
	memory := cli.Number(fs, "memory", 256, 1, 1<<20, "about how `many` MiB to use, before files help out")
	return func(ctx context.Context, env *cli.Env) error {
		if err := p.check(); err != nil {
			return err
		}
		engine := &mapreduce.Local{Workers: *workers, Memory: int64(*memory) << 20, Trace: p.trace(env)}
		return p.execute(ctx, engine, env)
	}
}

// stream runs one step of a job as Hadoop Streaming wants it.
func stream(step func(mapreduce.Hadoop, context.Context, mapreduce.Program) error) func(*flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		f := newJobFlags(fs)
		return func(ctx context.Context, env *cli.Env) error {
			r, p, err := f.recipe()
			if err != nil {
				return err
			}
			program, err := r.build(p)
			if err != nil {
				return err
			}
			return step(mapreduce.Hadoop{Stdin: cli.Interruptible(ctx, env.Stdin), Stdout: env.Stdout, Stderr: env.Stderr}, ctx, program)
		}
	}
}

// programs is a job whose map and reduce are programs of others.
func programs(p params) (mapreduce.Program, error) {
	if p[paramMapper] == "" && p[paramReducer] == "" {
		return nil, cli.Usagef("the job programs needs -mapper, -reducer or both")
	}
	return &mapreduce.Stream{
		Name: "programs", Params: p,
		Mapper: strings.Fields(p[paramMapper]), Reducer: strings.Fields(p[paramReducer]),
	}, nil
}
