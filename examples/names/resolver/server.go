package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, localPort)
	flags := names.AddFlags(fs, "dns-port")
	entries := cli.Number(fs, "entries", 100_000, 1, 10_000_000, "keep at most so many `answers`")
	stale := cli.Number(fs, "stale", 0, 0, 7*24*time.Hour, "while the servers fail, give answers that are so much too old")
	prefetch := fs.Bool("prefetch", false, "ask again before the TTL of a popular answer ends")
	quiet := fs.Bool("quiet", false, "do not show every query")
	return func(ctx context.Context, env *cli.Env) error {
		service, err := flags.Open()
		if err != nil {
			return err
		}
		defer service.Close()
		var steps atomic.Uint64
		cache := service.Resolver(&dnsx.Trace{
			Sent: func(dnsx.Packet) { steps.Add(1) },
			Step: func(s dnsx.Step) {
				if !*quiet {
					fmt.Fprintln(env.Stdout, line(s))
				}
			},
		})
		defer cache.Close()
		cache.MaxEntries, cache.Stale, cache.Prefetch = *entries, *stale, *prefetch
		dns := &dnsx.Server{Resolver: cache}
		if !*quiet {
			dns.Trace = &dnsx.ServerTrace{Answered: func(e dnsx.Exchange) {
				fmt.Fprintf(env.Stdout, "%s: %s %s: %s, %d octets\n", e.Client, e.Question.Name, e.Question.Type, e.Rcode, e.Size)
			}}
		}
		pc, ln, err := dnsx.Listen(ctx, addr.String())
		if err != nil {
			return err
		}
		if err := env.Listening(ln.Addr()); err != nil {
			pc.Close()
			ln.Close()
			return err
		}
		if err := dns.Serve(ctx, pc, ln); ctx.Err() == nil {
			return err
		}
		s := cache.Stats()
		fmt.Fprintf(env.Stdout, "the cache has %d answers; of %d questions it has answered %d, %d of them with \"there is nothing\"; %d queries have been sent\n",
			s.Entries, s.Hits+s.Misses+s.Shared+s.Stale, s.Hits+s.Stale, s.NegativeHits, steps.Load())
		return nil
	}
}

func ask(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, localPort)
	limit := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait so much `time`")
	return func(ctx context.Context, env *cli.Env) error {
		name, typ, err := question(env.Args)
		if err != nil {
			return err
		}
		target, err := addr.Target()
		if err != nil {
			return err
		}
		at, err := netip.ParseAddrPort(target)
		if err != nil {
			return cli.Usagef("-host: a name server is given by its address, not as %q", addr.Host)
		}
		stub := &dnsx.Stub{Servers: []netip.AddrPort{at}, Attempts: 1, Client: dnsx.Client{Timeout: *limit}}
		began := time.Now()
		answer, err := stub.Resolve(ctx, name, typ)
		if err != nil {
			return err
		}
		if err := tell(env.Stdout, answer); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "  (%v after %s)\n", answer.Status, time.Since(began).Round(10*time.Microsecond))
		return err
	}
}
