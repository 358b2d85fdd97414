// Package memcached gives the exercises of the caching chapter their servers:
// those that the flag -servers names, or one inside the program itself, so that
// nothing needs to be installed.
package memcached

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// Port is memcached's.
const Port = 11211

// maxServers bounds the list of -servers.
const maxServers = 100

// Command is a subcommand that runs the embedded server by itself, for clients
// of this and of other programs.
func Command() cli.Command {
	return cli.Command{Name: "server", Summary: "keeps values in memory for all who connect (a memcached)", Setup: func(fs *flag.FlagSet) cli.Action {
		addr := cli.AddrFlags(fs, Port)
		return func(ctx context.Context, env *cli.Env) error {
			ln, err := net.Listen("tcp", addr.String())
			if err != nil {
				return err
			}
			if err := env.Listening(ln.Addr()); err != nil {
				ln.Close()
				return err
			}
			s := &cache.Server{}
			defer s.Close()
			if err := s.Serve(ctx, ln); ctx.Err() == nil {
				return err
			}
			return nil
		}
	}}
}

// Servers is the value of the flag -servers.
type Servers struct{ addrs []string }

// Flag declares -servers. The usage says what happens without it.
func Flag(fs *flag.FlagSet, without string) *Servers {
	s := &Servers{}
	fs.Var(s, "servers", "memcached servers, `host:port,…`; without, "+without)
	return s
}

// String returns the servers' addresses.
func (s *Servers) String() string { return strings.Join(s.addrs, ",") }

// Set reads the flag's value.
func (s *Servers) Set(text string) error {
	s.addrs = nil
	for addr := range strings.SplitSeq(text, ",") {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" {
			return fmt.Errorf("want addresses such as 127.0.0.1:%d, with commas between them", Port)
		}
		s.addrs = append(s.addrs, addr)
	}
	if len(s.addrs) > maxServers {
		return fmt.Errorf("more than %d servers", maxServers)
	}
	return nil
}

// newClient returns a client that is patient: a program for students runs on
// machines that have other things to do.
func newClient(addrs ...string) *cache.Client {
	client := cache.NewClient(addrs...)
	client.Timeout = 5 * time.Second
	return client
}

// Connect returns a client of the servers, or of one that it starts if -servers
// was not given, and their addresses for people. All of them have
// answered. The function stop closes the client and the embedded server.
func (s *Servers) Connect(ctx context.Context) (client *cache.Client, where string, stop func(), err error) {
	if len(s.addrs) == 0 {
		return embed()
	}
	client = newClient(s.addrs...)
	if _, err := client.ServerStats(ctx, ""); err != nil {
		client.Close()
		return nil, "", nil, err
	}
	return client, s.String(), func() { client.Close() }, nil
}

// embed starts a server in this program.
func embed() (client *cache.Client, where string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", nil, err
	}
	server := &cache.Server{}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(context.Background(), ln) // until Close
	}()
	client = newClient(ln.Addr().String())
	return client, fmt.Sprintf("%v (embedded)", ln.Addr()), func() {
		client.Close()
		server.Close()
		<-served
	}, nil
}
