package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// domains are where the clients' questions go.
var domains = []string{"uno.com.", "dos.com.", "tres.com.", "uno.org.", "dos.org.", "uno.es."}

func load(fs *flag.FlagSet) cli.Action {
	clients := cli.Number(fs, "clients", 20, 1, 1000, "how `many` clients there are")
	questions := cli.Number(fs, "questions", 30, 1, 1000, "how `many` names each looks up")
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<62, "`number` that decides who asks what")
	return func(ctx context.Context, env *cli.Env) error {
		w, err := newWorld()
		if err != nil {
			return err
		}
		defer w.Close()
		for i, name := range domains {
			if err := w.SetZone(shop(name, i+1)); err != nil {
				return err
			}
		}
		x := &experiment{world: w, clients: *clients, questions: *questions, seed: uint64(*seed)}
		fmt.Fprintf(env.Stdout, "%d clients look up %d names each. Queries received at each level:\n", x.clients, x.questions)
		fmt.Fprintf(env.Stdout, "%-36s %7s %7s %7s\n", "", "root", "TLDs", "zones")
		for _, way := range []struct {
			name string
			run  func(context.Context) error
		}{
			{"iterated, nobody remembers", x.iterated},
			{"recursive at every level", x.recursive},
			{"iterated, each client has a cache", x.ownCaches},
			{"one recursive server with a cache", x.oneCache},
		} {
			w.count()
			if err := way.run(ctx); err != nil {
				return err
			}
			n := w.count()
			fmt.Fprintf(env.Stdout, "%-36s %7d %7d %7d\n", way.name, n[root], n[topLevel], n[zones])
		}
		_, err = fmt.Fprintf(env.Stdout, "Recursive at every level, the root and the TLDs have also sent %d queries on for others;\nthe root has waited for as many as %d answers at once.\n", x.sentOn.Load(), x.most.Load())
		return err
	}
}

// An experiment has the same clients ask the same questions in several ways.
type experiment struct {
	*world
	clients, questions int
	seed               uint64

	// What servers do for others when all are recursive: questions sent on,
	// and those for whose answers the root waits.
	sentOn, open, most atomic.Int64
}

// all has every client ask its questions, each of the resolver that
// resolverOf gives.
func (x *experiment) all(ctx context.Context, resolverOf func(client, question int) dnsx.Resolver) error {
	failed := make(chan error, x.clients)
	var wg sync.WaitGroup
	for client := range x.clients {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(x.seed, uint64(client)))
			for i := range x.questions {
				// Some domains are more popular than others.
				domain := domains[min(dice.IntN(len(domains)), dice.IntN(len(domains)))]
				name := []string{"www.", "mail."}[dice.IntN(2)] + domain
				answer, err := resolverOf(client, i).Resolve(ctx, name, dnsx.A)
				if err == nil && answer.Status != dnsx.OK {
					err = fmt.Errorf("%s: %v", name, answer.Status)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// iterated: who asks goes from the root to the zone, every time. Nobody keeps
// anything, the servers are done with a query at once.
func (x *experiment) iterated(ctx context.Context) error {
	return x.all(ctx, func(int, int) dnsx.Resolver { return x.iterative() })
}

// ownCaches: each client does it itself, and remembers.
func (x *experiment) ownCaches(ctx context.Context) error {
	caches := make([]dnsx.Resolver, x.clients)
	for i := range caches {
		caches[i] = &dnsx.Cache{Resolver: x.iterative()}
	}
	return x.all(ctx, func(client, _ int) dnsx.Resolver { return caches[client] })
}

// oneCache: the clients ask one server, which remembers for all.
func (x *experiment) oneCache(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	addr := netip.AddrPortFrom(x.Addr(50, 1), x.Port())
	wait, err := x.serve(ctx, addr, &dnsx.Server{Resolver: &dnsx.Cache{Resolver: x.iterative()}})
	if err != nil {
		cancel()
		return err
	}
	defer wait()
	defer cancel()
	stub := &dnsx.Stub{Servers: []netip.AddrPort{addr}, Client: dnsx.Client{Dial: x.Dial}}
	return x.all(ctx, func(int, int) dnsx.Resolver { return stub })
}

// recursive: the clients ask the root, which asks a top-level domain for them,
// which asks the zone, and each waits for the answer. It is the figure of the
// textbooks; no root would do it.
func (x *experiment) recursive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var waits []func()
	defer func() {
		cancel()
		for _, wait := range waits {
			wait()
		}
	}()
	start := func(level int, a, b byte, next func(name string) netip.Addr) error {
		server := &dnsx.Server{
			Resolver: &passOn{experiment: x, level: level, next: next},
			Trace:    &dnsx.ServerTrace{Answered: func(dnsx.Exchange) { x.queries[level].Add(1) }},
		}
		wait, err := x.serve(ctx, netip.AddrPortFrom(x.Addr(a, b), x.Port()), server)
		if err == nil {
			waits = append(waits, wait)
		}
		return err
	}
	// 10.53.60 stands in for the root, .61 for the top-level domains; the
	// zones' own servers are those of the other ways.
	tlds := []string{"com.", "org.", "es."}
	for i := range tlds {
		err := start(topLevel, 61, byte(i), func(name string) netip.Addr {
			for i, domain := range domains {
				if dnsx.InZone(name, domain) {
					return x.Addr(40, byte(i+1))
				}
			}
			return netip.Addr{}
		})
		if err != nil {
			return err
		}
	}
	err := start(root, 60, 1, func(name string) netip.Addr {
		for i, tld := range tlds {
			if dnsx.InZone(name, tld) {
				return x.Addr(61, byte(i))
			}
		}
		return netip.Addr{}
	})
	if err != nil {
		return err
	}
	stub := &dnsx.Stub{Servers: []netip.AddrPort{netip.AddrPortFrom(x.Addr(60, 1), x.Port())}, Client: dnsx.Client{Dial: x.Dial}}
	return x.all(ctx, func(int, int) dnsx.Resolver { return stub })
}

// passOn is the resolver of a server that asks the next level.
type passOn struct {
	*experiment
	level int
	next  func(name string) netip.Addr
}

// Resolve asks the next level and waits.
func (p *passOn) Resolve(ctx context.Context, name string, typ dnsx.Type) (*dnsx.Answer, error) {
	p.sentOn.Add(1)
	if p.level == root {
		open := p.open.Add(1)
		defer p.open.Add(-1)
		for most := p.most.Load(); open > most && !p.most.CompareAndSwap(most, open); most = p.most.Load() {
		}
	}
	client := &dnsx.Client{Dial: p.Dial}
	response, err := client.Exchange(ctx, netip.AddrPortFrom(p.next(name), p.Port()), dnsx.NewQuery(name, typ))
	if err != nil {
		return nil, err
	}
	answer := &dnsx.Answer{Name: strings.ToLower(name), Type: typ, Canonical: strings.ToLower(name), Records: response.Answer}
	if len(response.Answer) == 0 {
		answer.Status = dnsx.NXDomain
	}
	return answer, nil
}
