package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mapreduce"
)

// pageTimeout bounds a request for the status page.
const pageTimeout = 30 * time.Second

func master(fs *flag.FlagSet) cli.Action {
	p := newPlan(fs)
	listen := fs.String("listen", "127.0.0.1:0", "the `address` where workers connect")
	splits := cli.Number(fs, "splits", 0, 0, 10_000, "cut the input into at most so `many` pieces; 0 means 16")
	reducers := cli.Number(fs, "reducers", 1, 1, 1000, "how `many` reduce tasks there are")
	replicas := cli.Number(fs, "replicas", 1, 1, 100, "to how `many` mappers each piece is given")
	timeout := cli.Number(fs, "task-timeout", 10*time.Second, 100*time.Millisecond, time.Hour, "for how `long` a worker may be silent before others get its tasks")
	events := fs.String("events", "", "write what happens to tasks to a `file`, one JSON object in a line")
	status := fs.String("status", "", "the `address` of a page for browsers that shows tasks and workers; none by default")
	return func(ctx context.Context, env *cli.Env) error {
		if err := p.check(); err != nil {
			return err
		}
		trace := p.trace(env)
		if *events != "" {
			log, err := os.OpenFile(*events, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
			if err != nil {
				return err
			}
			defer log.Close()
			encoder := json.NewEncoder(log)
			trace.Event = func(e mapreduce.Event) { encoder.Encode(e) }
		}
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
		if err != nil {
			return err
		}
		m := &mapreduce.Master{Splits: *splits, Reducers: *reducers, Replicas: *replicas, TaskTimeout: *timeout, Trace: trace}
		served := make(chan error, 1)
		go func() { served <- m.Serve(ctx, ln) }()
		defer func() {
			m.Close()
			<-served
		}()
		var page net.Listener
		if *status != "" {
			if page, err = (&net.ListenConfig{}).Listen(ctx, "tcp", *status); err != nil {
				return err
			}
			server := &http.Server{Handler: m, ReadTimeout: pageTimeout, WriteTimeout: pageTimeout, IdleTimeout: pageTimeout}
			var wg sync.WaitGroup
			wg.Go(func() { server.Serve(page) })
			defer wg.Wait()
			defer server.Close()
		}
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		if page != nil {
			fmt.Fprintf(env.Stdout, "status page on http://%s/\n", page.Addr())
		}
		return p.execute(ctx, m, env)
	}
}

func worker(kind mapreduce.Kind) func(*flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		address := fs.String("master", "", "the master's `address`, host and port")
		name := fs.String("name", "", "a `name` for this worker; none means one from the process's number")
		slow := cli.Number(fs, "slow", 0, 0, time.Hour, "sleep so `long` inside each task")
		patience := cli.Number(fs, "patience", 12*time.Second, 100*time.Millisecond, time.Hour, "for how `long` to go on when nothing is heard of the master")
		trusting := fs.Bool("programs", false, "start the streaming programs that the master names, too: only for a master that you trust")
		return func(ctx context.Context, _ *cli.Env) error {
			if *address == "" {
				return cli.Usagef("-master says where the master is; it is missing")
			}
			if _, _, err := net.SplitHostPort(*address); err != nil {
				return cli.Usagef("-master: %v", err)
			}
			w := &mapreduce.Worker{Program: job, Name: *name, Kind: kind, Slow: *slow, Patience: *patience}
			if w.Name == "" {
				w.Name = fmt.Sprintf("%s-%d", kind, os.Getpid())
			}
			if !*trusting {
				w.Program = func(name string, p params) (mapreduce.Program, error) {
					if name == "programs" {
						return nil, fmt.Errorf("worker %s starts no programs of others: it runs without -programs", w.Name)
					}
					return job(name, p)
				}
			}
			return w.Run(ctx, *address)
		}
	}
}
