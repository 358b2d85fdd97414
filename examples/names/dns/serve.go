package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
	fs.Func("zone", "zone `FILE`, whose name (example.com, example.com.zone, example.com.db or db.example.com) completes relative names if it has no $ORIGIN; may be given several times", func(s string) error {
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
	return dnsx.ParseZone(file, originOf(name), name)
}

// originOf takes the name of a zone from that of its file, as name servers'
// files are usually called. "" means that it does not look like one: it has to
// have a dot, and its last label a letter.
func originOf(file string) string {
	base := strings.TrimPrefix(filepath.Base(file), "db.")
	for _, ending := range []string{".zone", ".db"} {
		base = strings.TrimSuffix(base, ending)
	}
	name, err := dnsx.ParseName(base)
	dot := strings.LastIndex(base, ".")
	if err != nil || dot < 0 || !strings.ContainsAny(strings.ToLower(base[dot:]), "abcdefghijklmnopqrstuvwxyz") {
		return ""
	}
	return name
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
