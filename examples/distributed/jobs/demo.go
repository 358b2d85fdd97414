package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mapreduce"
)

// samples are small inputs for all jobs.
//
//go:embed samples
var samples embed.FS

// A showing is a job with one of the samples.
type showing struct {
	job    string
	in     string
	params params
	side   string // the job whose output is its side data
}

var showings = []showing{
	{job: "wordcount", in: "quijote.txt"},
	{job: "index", in: "web"},
	{job: "sort", in: "quijote.txt"},
	{job: "grep", in: "quijote.txt", params: params{paramPattern: "duelos|adarga"}},
	{job: "links", in: "web"},
	{job: "hosts", in: "web"},
	{job: "accesslog", in: "access.log"},
	{job: "kmeans", in: "documents.tsv", params: params{paramClusters: "3"}},
	{job: "learn", in: "texts.tsv"},
	{job: "classify", in: "questions.txt", side: "learn"},
	{job: "align", in: "sentences.tsv"},
	{job: "tree", in: "web"},
}

// plan returns the plan of a showing, with files in dir.
func (s showing) plan(dir string) (*plan, error) {
	r, err := find(s.job)
	if err != nil {
		return nil, err
	}
	p := &plan{
		recipe: r, params: params{},
		in: filepath.Join(dir, "samples", s.in), out: filepath.Join(dir, s.job+".out"), rounds: defaultRounds,
	}
	for name, value := range s.params {
		p.params[name] = value
	}
	if s.side != "" {
		p.params[paramSide], err = readSide(filepath.Join(dir, s.side+".out"))
	}
	return p, err
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "jobs")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := os.CopyFS(dir, samples); err != nil {
			return err
		}
		quiet := *env
		for _, s := range showings {
			p, err := s.plan(dir)
			if err != nil {
				return err
			}
			var told bytes.Buffer
			quiet.Stderr = &told
			if err := p.execute(ctx, &mapreduce.Local{}, &quiet); err != nil {
				return err
			}
			text, err := os.ReadFile(p.out)
			if err != nil {
				return err
			}
			show(env, fmt.Sprintf("%s of %s: %s", s.job, s.in, p.recipe.summary), string(text)+told.String())
		}
		if err := onWorkers(ctx, env, dir); err != nil {
			return err
		}
		return onHadoop(ctx, env, dir)
	}
}

// show prints some of a text, each line cut at the edge of a terminal.
func show(env *cli.Env, title, text string) {
	const most, width = 4, 72
	fmt.Fprintln(env.Stdout, title)
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		if i == most && len(lines) > most+1 {
			fmt.Fprintf(env.Stdout, "    … %d more\n", len(lines)-most)
			break
		}
		if utf8.RuneCountInString(line) > width {
			line = string([]rune(line)[:width-1]) + "…"
		}
		fmt.Fprintf(env.Stdout, "    %s\n", strings.ReplaceAll(line, "\t", "  "))
	}
}

var errDiffers = errors.New("the output differs from that of the run in one process")

// same compares an output with that of the showing of wordcount.
func same(dir string, got []byte) error {
	want, err := os.ReadFile(filepath.Join(dir, "wordcount.out"))
	if err == nil && !bytes.Equal(want, got) {
		err = errDiffers
	}
	return err
}

// onWorkers runs wordcount once more, on two mappers and a reducer over TCP.
func onWorkers(ctx context.Context, env *cli.Env, dir string) error {
	fmt.Fprintln(env.Stdout, "wordcount on two mappers and a reducer, over TCP:")
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	m := &mapreduce.Master{Splits: 2, Reducers: 1, Trace: &mapreduce.Trace{Event: func(e mapreduce.Event) {
		fmt.Fprintf(env.Stdout, "    %-6s %s task %d, %s\n", e.Event, e.Kind, e.Task, e.Worker)
	}}}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer m.Close()
	wg.Go(func() { m.Serve(ctx, ln) })
	for name, kind := range map[string]mapreduce.Kind{"ana": mapreduce.MapTask, "bea": mapreduce.MapTask, "carlos": mapreduce.ReduceTask} {
		wg.Go(func() {
			if err := (&mapreduce.Worker{Name: name, Kind: kind, Program: job}).Run(ctx, ln.Addr().String()); err != nil {
				fmt.Fprintf(env.Stdout, "    %s: %v\n", name, err)
			}
		})
	}
	var out bytes.Buffer
	if _, err := m.Run(ctx, wordcount(), mapreduce.Files(filepath.Join(dir, "samples", "quijote.txt")), mapreduce.Writer(&out)); err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "    the same bytes come out")
	return same(dir, out.Bytes())
}

// onHadoop runs the steps as Hadoop Streaming would, with a sort between.
func onHadoop(ctx context.Context, env *cli.Env, dir string) error {
	fmt.Fprintln(env.Stdout, "stream-map | sort | stream-reduce:")
	text, err := fs.ReadFile(samples, "samples/quijote.txt")
	if err != nil {
		return err
	}
	var pairs, out bytes.Buffer
	if err := (mapreduce.Hadoop{Stdin: bytes.NewReader(text), Stdout: &pairs, Stderr: env.Stdout}).Map(ctx, wordcount()); err != nil {
		return err
	}
	lines := slices.Sorted(strings.Lines(pairs.String())) // as "sort" does: words have no byte below the tab
	fmt.Fprintf(env.Stdout, "    %d pairs, from %q to %q\n", len(lines), lines[0], lines[len(lines)-1])
	sorted := strings.NewReader(strings.Join(lines, ""))
	if err := (mapreduce.Hadoop{Stdin: sorted, Stdout: &out, Stderr: env.Stdout}).Reduce(ctx, wordcount()); err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "    the same bytes come out")
	return same(dir, out.Bytes())
}
