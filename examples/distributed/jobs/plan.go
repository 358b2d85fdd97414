package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mapreduce"
)

// jobFlags are the flags that say which job it is.
type jobFlags struct {
	job    string
	side   string
	values params // of the flags that are params
}

func newJobFlags(fs *flag.FlagSet) *jobFlags {
	f := &jobFlags{values: params{}}
	fs.StringVar(&f.job, "job", "", "the job's `name`; the command jobs lists them")
	fs.StringVar(&f.side, paramSide, "", "the `file` of side data, what another job has put out")
	for name, usage := range map[string]string{
		paramPattern:  "of grep: the regular `expression`, in RE2's syntax",
		paramClusters: "of kmeans: how `many` clusters, 1 to 100 (default 4)",
		paramMapper:   "of programs: the mapper and its arguments, a streaming `program`",
		paramReducer:  "of programs: the reducer and its arguments, a streaming `program`",
	} {
		fs.Func(name, usage, func(value string) error { f.values[name] = value; return nil })
	}
	return f
}

// maxSide bounds side data: every task gets it along.
const maxSide = 128 << 10

// recipe returns the job's recipe and its params, both checked.
func (f *jobFlags) recipe() (r recipe, p params, err error) {
	if r, err = find(f.job); err != nil {
		return r, nil, err
	}
	p = maps.Clone(f.values)
	maps.DeleteFunc(p, func(name, _ string) bool { return !slices.Contains(r.params, name) })
	if f.side != "" {
		if !slices.Contains(r.params, paramSide) {
			return r, nil, cli.Usagef("the job %s takes no -side", r.name)
		}
		if p[paramSide], err = readSide(f.side); err != nil {
			return r, nil, err
		}
	}
	_, err = r.build(p)
	return r, p, err
}

func readSide(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	side, err := io.ReadAll(io.LimitReader(f, maxSide+1))
	if err == nil && len(side) > maxSide {
		err = fmt.Errorf("%s: %w", name, errSide)
	}
	return string(side), err
}

var errSide = fmt.Errorf("more than the %d bytes that side data may have", maxSide)

// A plan is a whole job with its input and output.
type plan struct {
	*jobFlags
	in, out  string
	rounds   int
	progress bool

	recipe recipe
	params params
}

// defaultRounds is what -rounds is unless told otherwise.
const defaultRounds = 10

func newPlan(fs *flag.FlagSet) *plan {
	p := &plan{jobFlags: newJobFlags(fs)}
	fs.StringVar(&p.in, "in", "", "the input: a `file`, or a folder with all its files")
	fs.StringVar(&p.out, "out", "", "the `file` for the output, which appears when it is whole")
	fs.IntVar(&p.rounds, "rounds", defaultRounds, "of kmeans and align: `most` rounds, if the result does not stay the same before")
	fs.BoolVar(&p.progress, "progress", false, "show a progress bar on standard error")
	return p
}

// check completes the plan, before anything is begun.
func (p *plan) check() (err error) {
	if p.in == "" || p.out == "" {
		return cli.Usagef("-in and -out are needed")
	}
	if p.rounds < 1 {
		return cli.Usagef("-rounds %d: want at least 1", p.rounds)
	}
	if p.recipe, p.params, err = p.jobFlags.recipe(); err != nil {
		return err
	}
	_, err = os.Stat(p.in)
	return err
}

// trace returns a trace with the progress bar, if it is wanted.
func (p *plan) trace(env *cli.Env) *mapreduce.Trace {
	if !p.progress {
		return &mapreduce.Trace{}
	}
	bar := progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(env.Stderr),
		progressbar.OptionSetDescription(p.job),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(env.Stderr) }),
	)
	return &mapreduce.Trace{Progress: func(done, total int64) {
		bar.ChangeMax64(total)
		bar.Set64(done)
	}}
}

// execute runs the plan and tells the counters on standard error.
func (p *plan) execute(ctx context.Context, engine mapreduce.Engine, env *cli.Env) error {
	counters, err := p.run(ctx, engine)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		fmt.Fprintf(env.Stderr, "counter %s %d\n", name, counters[name])
	}
	return nil
}

// run runs the job, in as many rounds as it wants, and returns the counters of
// the last one.
func (p *plan) run(ctx context.Context, engine mapreduce.Engine) (mapreduce.Counters, error) {
	in, out := mapreduce.Files(p.in), mapreduce.File(p.out)
	once := func(r recipe, out mapreduce.Output) (mapreduce.Counters, error) {
		program, err := r.build(maps.Clone(p.params))
		if err != nil {
			return nil, err
		}
		return engine.Run(ctx, program, in, out)
	}
	if !p.recipe.rounds {
		return once(p.recipe, out)
	}
	for round := 1; ; round++ {
		var result bytes.Buffer
		counters, err := once(p.recipe, mapreduce.Writer(&result))
		if err != nil {
			return nil, err
		}
		if result.Len() > maxSide {
			return nil, fmt.Errorf("job %s, round %d: %d bytes came out, %w", p.recipe.name, round, result.Len(), errSide)
		}
		settled := result.String() == p.params[paramSide]
		p.params[paramSide] = result.String()
		if !settled && round < p.rounds {
			continue
		}
		if p.recipe.then != "" && result.Len() > 0 {
			last, err := find(p.recipe.then)
			if err == nil {
				counters, err = once(last, out)
			}
			if err != nil {
				return nil, err
			}
		} else if err := write(out, result.Bytes()); err != nil {
			return nil, err
		}
		all := mapreduce.Counters{"rounds": int64(round)}
		maps.Copy(all, counters)
		return all, nil
	}
}

// write writes an output whose text is known.
func write(out mapreduce.Output, text []byte) error {
	sink, err := out.Create()
	if err != nil {
		return err
	}
	if _, err := sink.Write(text); err != nil {
		sink.Abort()
		return err
	}
	return sink.Commit()
}
