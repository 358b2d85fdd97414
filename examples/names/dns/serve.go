package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

// listenFlag declares -listen.
func listenFlag(fs *flag.FlagSet) *string {
	return fs.String("listen", "", "`address` and port, such as 127.0.0.1:5353; port 0 picks a free one")
}

// runServer serves until ctx ends.
func runServer(ctx context.Context, env *cli.Env, listen string, server *dnsx.Server) error {
	pc, ln, err := dnsx.Listen(ctx, listen)
	if err != nil {
		return err
	}
	if err := env.Listening(ln.Addr()); err != nil {
		pc.Close()
		ln.Close()
		return err
	}
	err = server.Serve(ctx, pc, ln)
	if ctx.Err() != nil {
		return nil // as a server should end
	}
	return err
}

// checkListen refuses a wrong -listen before anything is opened.
func checkListen(listen string) error {
	host, port, err := net.SplitHostPort(listen)
	if err == nil && host == "" {
		err = errors.New("no address")
	}
	if err == nil {
		_, err = net.LookupPort("udp", port)
	}
	if err != nil {
		return cli.Usagef("-listen %q: an address and a port are needed, such as 127.0.0.1:5353", listen)
	}
	return nil
}

func serve(fs *flag.FlagSet) cli.Action {
	listen := listenFlag(fs)
	var files []string
	fs.Func("zone", "zone `FILE`; may be given several times", func(s string) error {
		files = append(files, s)
		return nil
	})
	return func(ctx context.Context, env *cli.Env) error {
		if err := checkListen(*listen); err != nil {
			return err
		}
		if len(files) == 0 {
			return cli.Usagef("-zone says which zone to serve; it is missing")
		}
		server := &dnsx.Server{}
		for _, name := range files {
			zone, err := readZone(name)
			if err != nil {
				return err
			}
			for _, other := range server.Zones {
				if other.Origin() == zone.Origin() {
					return fmt.Errorf("%s: the zone %s is in another file, too", name, zone.Origin())
				}
			}
			server.Zones = append(server.Zones, zone)
			for _, warning := range zone.Warnings() {
				fmt.Fprintf(env.Stderr, "%s: %s\n", name, strings.TrimPrefix(warning, name+": "))
			}
		}
		return runServer(ctx, env, *listen, server)
	}
}

func readZone(name string) (*dnsx.Zone, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return dnsx.ParseZone(file, "", name)
}

func recurse(fs *flag.FlagSet) cli.Action {
	listen := listenFlag(fs)
	flags := names.AddFlags(fs, "port")
	return func(ctx context.Context, env *cli.Env) error {
		if err := checkListen(*listen); err != nil {
			return err
		}
		service, err := flags.Open()
		if err != nil {
			return err
		}
		defer service.Close()
		cache := service.Resolver(nil)
		defer cache.Close()
		return runServer(ctx, env, *listen, &dnsx.Server{Resolver: cache})
	}
}
