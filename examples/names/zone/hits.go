package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func hits(fs *flag.FlagSet) cli.Action {
	server := fs.String("server", "", "ask this server, an `address:port`")
	n := cli.Number(fs, "n", 100, 1, 100_000, "ask `this many` times")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("one NAME is wanted (zone hits -h shows the usage)")
		}
		name, err := dnsx.ParseName(env.Args[0])
		if err != nil {
			return cli.Usagef("%q is not a domain name", env.Args[0])
		}
		at, err := netip.ParseAddrPort(*server)
		if err != nil {
			return cli.Usagef("-server: %q is not address:port", *server)
		}
		client := &dnsx.Client{}
		counts := map[string]int{}
		for range *n {
			answer, err := client.Exchange(ctx, at, dnsx.NewQuery(name, dnsx.A))
			if err != nil {
				return err
			}
			counts[firstAddress(answer)]++
		}
		return printCounts(env.Stdout, counts)
	}
}

// firstAddress is where a simple client would go.
func firstAddress(m *dnsx.Message) string {
	for _, r := range m.Answer {
		if r.Type == dnsx.A {
			return r.Data
		}
	}
	return "no address"
}

// printCounts draws a bar for each address.
func printCounts(w io.Writer, counts map[string]int) error {
	most := slices.Max(slices.Collect(maps.Values(counts)))
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		n := counts[key]
		if _, err := fmt.Fprintf(w, "  %-15s %6d  %s\n", key, n, strings.Repeat("#", (n*40+most-1)/most)); err != nil {
			return err
		}
	}
	return nil
}

// machines are web servers that count who comes.
type machines struct {
	listeners []net.Listener
	wg        sync.WaitGroup
}

// visit connects to an address and waits until the machine there has said its
// name, and returns that.
func visit(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), at netip.AddrPort) (string, error) {
	conn, err := dial(ctx, "tcp", at.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	name, err := io.ReadAll(io.LimitReader(conn, 100))
	return string(name), err
}

// open starts a machine at each address: it says who it is and closes.
func (m *machines) open(listen func(netip.Addr) (net.PacketConn, net.Listener, error), addrs ...netip.Addr) error {
	for _, addr := range addrs {
		pc, ln, err := listen(addr)
		if err != nil {
			return err
		}
		pc.Close()
		m.listeners = append(m.listeners, ln)
		m.wg.Go(func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				io.WriteString(conn, addr.String())
				conn.Close()
			}
		})
	}
	return nil
}

// close closes the machines and waits for them.
func (m *machines) close() {
	for _, ln := range m.listeners {
		ln.Close()
	}
	m.wg.Wait()
}
