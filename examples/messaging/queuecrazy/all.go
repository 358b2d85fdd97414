package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mq"
)

// processors is how many processors the book's program has.
const processors = 3

func all(fs *flag.FlagSet) cli.Action {
	host := cli.AddrFlags(fs, fountainPort)
	every := cli.Number(fs, "every", 400*time.Millisecond, 0, time.Hour, "the fountain rests this `time` after each word")
	count := cli.Number(fs, "n", 75, 1, 1_000_000, "stop after so `many` words")
	return func(ctx context.Context, env *cli.Env) error {
		ports := [3]int{host.Port, 0, 0}
		if host.Port != 0 {
			ports[1], ports[2] = host.Port+1, host.Port+2
		}
		return play(ctx, env.Stdout, host.Host, ports, *every, *count, 0)
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		return play(ctx, env.Stdout, "127.0.0.1", [3]int{}, 50*time.Millisecond, 12, 1)
	}
}

// play plays all six parts in goroutines that share nothing but their sockets,
// until count words are processed, and then says which way they went.
func play(ctx context.Context, out io.Writer, host string, ports [3]int, every time.Duration, count, seed int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(nil)

	// The parts that are bound.
	var endpoints [3]string
	var sockets [3]*mq.Socket
	for i, typ := range []mq.Type{mq.PUSH, mq.REP, mq.REP} {
		socket, err := mq.NewSocket(typ, &limits)
		if err != nil {
			return err
		}
		defer socket.Close()
		addr := cli.Addr{Host: host, Port: ports[i]}
		if endpoints[i], err = socket.Bind(ctx, "tcp://"+addr.String()); err != nil {
			return err
		}
		sockets[i] = socket
	}
	fmt.Fprintf(out, "fountain %s, upper %s, lower %s\n", endpoints[0], endpoints[1], endpoints[2])
	part := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				stop(err)
			}
		})
	}
	part(func() error { return respond(ctx, sockets[1], cases["upper"]) })
	part(func() error { return respond(ctx, sockets[2], cases["lower"]) })

	// The processors connect to them.
	var done atomic.Int64
	var crew []*worker
	for i := range processors {
		w, err := newProcessor(fmt.Sprint(i + 1))
		if err != nil {
			return err
		}
		defer w.close()
		crew = append(crew, w)
		if err := w.words.Connect(endpoints[0]); err != nil {
			return err
		}
		for _, endpoint := range endpoints[1:] {
			if err := w.asks.Connect(endpoint); err != nil {
				return err
			}
		}
		part(func() error {
			return w.process(ctx, 10*time.Second, func(word, answer []byte) error {
				if err := w.print(out, word, answer); err != nil {
					return err
				}
				if done.Add(1) == int64(count) {
					return errDone
				}
				return nil
			})
		})
	}
	part(func() error { return pour(ctx, sockets[0], every, count, seed) })
	<-ctx.Done()
	switch err := context.Cause(ctx); {
	case err == errDone:
		return report(out, crew, endpoints)
	case errors.Is(err, context.Canceled):
		return nil // told to stop
	default:
		return err
	}
}

// report says how many words each processor had, and whom it asked.
func report(out io.Writer, crew []*worker, endpoints [3]string) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\nsent to:\tprocessor\tupper\tlower\t")
	for _, w := range crew {
		asked := make(map[string]uint64)
		for _, peer := range w.asks.Stats().Peers {
			asked[peer.Endpoint] += peer.Sent
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t\n", w.name, w.words.Stats().Received, asked[endpoints[1]], asked[endpoints[2]])
	}
	return table.Flush()
}
