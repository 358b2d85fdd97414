package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

func connect(fs *flag.FlagSet) cli.Action {
	flags := names.AddFlags(fs, "dns-port")
	network := cli.Choice(fs, "network", "tcp", "both families or one", "tcp", "tcp4", "tcp6")
	here := fs.Bool("here", false, "connect to this machine: localhost, or an address of it")
	limit := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "give up after this `time`")
	delay := cli.Number(fs, "delay", 250*time.Millisecond, 10*time.Millisecond, time.Minute, "the head start of each attempt, as a `time`")
	lost := fs.String("lost", "", "lose all packets to these `addresses`, separated by commas; in memory only")
	return func(ctx context.Context, env *cli.Env) error {
		host, port, err := hostAndService(env.Args)
		if err != nil {
			return err
		}
		cut, err := addresses(*lost)
		if err != nil {
			return cli.Usagef("-lost: %v", err)
		}
		if len(cut) > 0 && *here {
			return cli.Usagef("-lost is for the Internet in memory, not for this machine")
		}
		ctx, cancel := context.WithTimeout(ctx, *limit)
		defer cancel()
		start := time.Now()
		say := func(format string, args ...any) {
			fmt.Fprintf(env.Stdout, "%5d ms  %s\n", time.Since(start).Milliseconds(), fmt.Sprintf(format, args...))
		}
		dialer := &dnsx.Dialer{AttemptDelay: *delay, Trace: &dnsx.DialTrace{
			Resolved: func(typ dnsx.Type, answer *dnsx.Answer, err error) {
				if err != nil {
					say("%s: %v", typ, err)
					return
				}
				found := []string{answer.Status.String()}
				if answer.Status == dnsx.OK {
					found = nil
				}
				for _, r := range answer.Records {
					if r.Type == typ {
						found = append(found, r.Data)
					}
				}
				say("%s: %s", typ, strings.Join(found, ", "))
			},
			Started: func(addr netip.AddrPort) { say("trying %s", addr) },
			Failed:  func(addr netip.AddrPort, err error) { say("%s", cli.Explain(err)) },
			Won:     func(addr netip.AddrPort) { say("connected to %s", addr) },
		}}
		if !*here {
			service, err := flags.Open()
			if err != nil {
				return err
			}
			defer service.Close()
			resolver := service.Resolver(nil)
			defer resolver.Close()
			dialer.Resolver, dialer.Dial, dialer.Source = resolver, service.Dial, service.Source
			if service.InMemory() {
				stop, err := open(service.Network, port, cut)
				if err != nil {
					return err
				}
				defer stop()
			} else if len(cut) > 0 {
				return cli.Usagef("-lost is for the Internet in memory, not for the real one")
			}
		}
		conn, err := dialer.DialContext(ctx, *network, net.JoinHostPort(host, port))
		if failure, ok := errors.AsType[*dnsx.DialError](err); ok && len(failure.Attempts) > 0 {
			return fmt.Errorf("cannot connect to %s: attempts that failed: %d", failure.Address, len(failure.Attempts)) // each has been told
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(start.Add(*limit)); err != nil {
			return err
		}
		line, _ := bufio.NewReader(io.LimitReader(conn, 1000)).ReadString('\n')
		_, err = fmt.Fprintf(env.Stdout, "from %s; it says %q\n", conn.LocalAddr(), line)
		return err
	}
}

// machines are the hosts in memory that have servers; each list is the addresses
// of one.
var machines = [][]string{
	{"10.53.10.10", "2001:db8:53:10::10"}, // www.example.com
	{"10.53.10.4"},                        // four.example.com
	{"2001:db8:53:10::6"},                 // six.example.com
	{"10.53.12.11"},                       // www.example.org
	{"10.53.12.12"},
	{"10.53.12.13"},
}

// open gives each machine a server on the port of a service that says hello, and
// cuts the ways to some addresses. The caller must call stop.
func open(network *simnet.Network, service string, lost []netip.Addr) (stop func(), err error) {
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		return nil, cli.Usagef("%q is no service", service)
	}
	var wg sync.WaitGroup
	var listeners []net.Listener
	stop = func() {
		for _, ln := range listeners {
			ln.Close()
		}
		wg.Wait()
	}
	for _, texts := range machines {
		var addrs []netip.Addr
		for _, text := range texts {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		ln, err := network.Host(addrs[0], addrs[1:]...).Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			stop()
			return nil, err
		}
		listeners = append(listeners, ln)
		wg.Go(func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				fmt.Fprintf(conn, "hello from %s\n", texts[0])
				conn.Close()
			}
		})
	}
	for _, addr := range lost {
		network.SetLink(netip.Addr{}, addr, simnet.Link{Down: true})
	}
	return stop, nil
}
