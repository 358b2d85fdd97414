// N7 zone: the name server of a start-up. It answers for a zone file, once the
// registry of the domain above has been told; shares the load of a name among
// several addresses; and has a secondary that keeps a copy of the zone.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// The zones of the start-up, which are served unless -zone names others.
var (
	//go:embed brotes.com.zone
	forwardZone string
	//go:embed 50.53.127.in-addr.arpa.zone
	reverseZone string
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "zone",
		Summary: "A name server for the zone files of a start-up, the registrar's step, and a secondary.",
		Example: `
go run ./examples/names/zone server -port 5300 -transfer
go run ./examples/names/zone registrar
go run ./examples/names/zone hits -server 127.0.0.1:5300 -n 100 www.brotes.com
go run ./examples/names/zone secondary -primary 127.0.0.1:5300 -port 5301 brotes.com
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "answers for zone files, without -zone for those of the start-up", Setup: server},
			{Name: "check", Summary: "reads zone files and says what is wrong with them", Args: "FILE...", Setup: check},
			{Name: "registrar", Summary: "prints what the registry of the domain above has to be told", Setup: registrar},
			{Name: "hits", Summary: "asks for NAME again and again and counts which address comes first", Args: "NAME", Setup: hits},
			{Name: "secondary", Summary: "fetches the zone NAME from its primary, answers for it and keeps it up to date", Args: "NAME", Setup: secondary},
			{Name: "demo", Summary: "the start-up enters an Internet of its own: server, registry, all types, load, secondary", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// files is a flag that may be given several times.
type files []string

func (f *files) String() string { return strings.Join(*f, " ") }

func (f *files) Set(name string) error {
	*f = append(*f, name)
	return nil
}

// addrPorts likewise.
type addrPorts []netip.AddrPort

func (a *addrPorts) String() string { return fmt.Sprint(*a) }

func (a *addrPorts) Set(s string) error {
	ap, err := netip.ParseAddrPort(s)
	*a = append(*a, ap)
	return err
}

func zoneFlag(fs *flag.FlagSet) *files {
	names := &files{}
	fs.Var(names, "zone", "a zone `file`; may be given several times (default those of the start-up)")
	return names
}

// zones reads zone files, or the start-up's if there are none.
func (f *files) zones() ([]*dnsx.Zone, error) {
	if len(*f) == 0 {
		forward, err := dnsx.ParseZone(strings.NewReader(forwardZone), "", "brotes.com.zone")
		if err != nil {
			return nil, err
		}
		reverse, err := dnsx.ParseZone(strings.NewReader(reverseZone), "", "50.53.127.in-addr.arpa.zone")
		return []*dnsx.Zone{forward, reverse}, err
	}
	var list []*dnsx.Zone
	for _, name := range *f {
		z, err := readZone(name)
		if err != nil {
			return nil, err
		}
		list = append(list, z)
	}
	return list, nil
}

func readZone(name string) (*dnsx.Zone, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return dnsx.ParseZone(file, "", filepath.Base(name))
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	names := zoneFlag(fs)
	transfer := fs.Bool("transfer", false, "give whole zones (AXFR) to programs on this machine")
	quiet := fs.Bool("quiet", false, "do not print the questions")
	reload := cli.Number(fs, "reload", 0, 0, time.Hour, "look so `often` whether a file of -zone has changed; 0 never")
	var secondaries addrPorts
	fs.Var(&secondaries, "notify", "tell this secondary, an `address:port`, when a zone has changed; may be given several times")
	return func(ctx context.Context, env *cli.Env) error {
		zones, err := names.zones()
		if err != nil {
			return err
		}
		pc, ln, err := dnsx.Listen(ctx, addr.String())
		if err != nil {
			return err
		}
		s := &dnsx.Server{Zones: zones}
		if *transfer {
			s.AllowTransfer = netip.Addr.IsLoopback
		}
		if !*quiet {
			s.Trace = &dnsx.ServerTrace{Answered: report(env.Stdout)}
		}
		if err := env.Listening(ln.Addr()); err != nil {
			pc.Close()
			ln.Close()
			return err
		}
		for _, z := range zones {
			fmt.Fprintf(env.Stdout, "zone %s serial %d\n", z.Origin(), z.Serial())
		}
		ctx, cancel := context.WithCancel(ctx)
		var watching sync.WaitGroup
		defer watching.Wait()
		defer cancel()
		if *reload > 0 {
			watching.Go(func() { watch(ctx, env.Stdout, s, *names, *reload, secondaries) })
		}
		return serve(ctx, s, pc, ln)
	}
}

// serve runs a server until ctx ends, which is no error.
func serve(ctx context.Context, s *dnsx.Server, pc net.PacketConn, ln net.Listener) error {
	err := s.Serve(ctx, pc, ln)
	s.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// report prints each question and what became of it.
func report(w io.Writer) func(dnsx.Exchange) {
	return func(e dnsx.Exchange) {
		fmt.Fprintf(w, "%s asks %s %s over %s: %s, %d octets\n", e.Client, e.Question.Name, e.Question.Type, e.Server.Network(), e.Rcode, e.Size)
	}
}

func check(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		if len(env.Args) == 0 {
			return cli.Usagef("no FILE given (zone check -h shows the usage)")
		}
		for _, name := range env.Args {
			z, err := readZone(name)
			if err != nil {
				return err
			}
			for _, w := range z.Warnings() {
				fmt.Fprintf(env.Stdout, "warning: %s\n", w)
			}
			records := 0
			for range z.Records() {
				records++
			}
			fmt.Fprintf(env.Stdout, "%s: zone %s, serial %d, %d records\n", name, z.Origin(), z.Serial(), records)
		}
		return nil
	}
}

func registrar(fs *flag.FlagSet) cli.Action {
	names := zoneFlag(fs)
	return func(_ context.Context, env *cli.Env) error {
		zones, err := names.zones()
		if err != nil {
			return err
		}
		for _, z := range zones {
			fmt.Fprintf(env.Stdout, "for %s, to be put into the zone above it:\n", z.Origin())
			for _, r := range delegation(z) {
				fmt.Fprintf(env.Stdout, "  %s\n", r)
			}
		}
		return nil
	}
}

// delegation returns the records that the zone above needs: the NS records, and
// as glue the addresses of those servers whose names lie in the zone itself,
// for who looks for them would be sent here.
func delegation(z *dnsx.Zone) (records []dnsx.Record) {
	servers := map[string]bool{}
	for r := range z.Records() {
		if r.Type == dnsx.NS && dnsx.EqualNames(r.Name, z.Origin()) {
			records = append(records, r)
			servers[strings.ToLower(r.Data)] = true
		}
	}
	for r := range z.Records() {
		if (r.Type == dnsx.A || r.Type == dnsx.AAAA) && servers[strings.ToLower(r.Name)] {
			records = append(records, r)
		}
	}
	return records
}
