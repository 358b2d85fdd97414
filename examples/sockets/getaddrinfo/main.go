// S14 getaddrinfo: the ways to reach a service of a host, in the order in which
// to try them; trying them; and who it is that has called us.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "getaddrinfo",
		Summary: "The ways to reach a service of a host, in the order to try them; and trying them.",
		Example: `
go run ./examples/sockets/getaddrinfo list www.example.com smtp
go run ./examples/sockets/getaddrinfo list -passive -network tcp "" 1060
go run ./examples/sockets/getaddrinfo connect -lost 2001:db8:53:10::10 www.example.com http
go run ./examples/sockets/getaddrinfo server
`,
		Commands: []cli.Command{
			{Name: "list", Summary: "lists the candidates for HOST and SERVICE, either of which may be \"\"", Args: "HOST SERVICE", Setup: list},
			{Name: "connect", Summary: "connects to the first that answers, with a head start for the better ones", Args: "HOST SERVICE", Setup: connect},
			{Name: "server", Summary: "tells everybody who connects under which address and name it sees them", Setup: server},
			{Name: "constants", Summary: "lists the address families, socket types and protocols with their numbers here", Setup: constants},
			{Name: "demo", Summary: "plays all of them", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// hostAndService returns the two arguments.
func hostAndService(args []string) (host, service string, err error) {
	if len(args) != 2 {
		return "", "", cli.Usagef("a host and a service are needed, such as: www.example.com smtp")
	}
	return args[0], args[1], nil
}

func list(fs *flag.FlagSet) cli.Action {
	flags := names.AddFlags(fs, "dns-port")
	var h dnsx.Hints
	fs.StringVar(&h.Network, "network", "", "only this family and type: tcp, tcp4, tcp6, udp, udp4, udp6, ip4, ip6 (`hints` ai_family, ai_socktype)")
	fs.BoolVar(&h.Passive, "passive", false, "without a host: where to listen (AI_PASSIVE)")
	fs.BoolVar(&h.CanonicalName, "canonname", false, "tell what the name is an alias of (AI_CANONNAME)")
	fs.BoolVar(&h.NumericHost, "numerichost", false, "the host must be an address (AI_NUMERICHOST)")
	fs.BoolVar(&h.NumericService, "numericserv", false, "the service must be a number (AI_NUMERICSERV)")
	fs.BoolVar(&h.V4Mapped, "v4mapped", false, "with a network ending in 6: IPv4 addresses in the form of IPv6 if there are no others (AI_V4MAPPED)")
	fs.BoolVar(&h.All, "all", false, "with -v4mapped: even if there are others (AI_ALL)")
	fs.BoolVar(&h.AddrConfig, "addrconfig", false, "only what this machine can reach (AI_ADDRCONFIG)")
	own := fs.String("own", "", "sort as a machine with these `addresses` would, separated by commas")
	return func(ctx context.Context, env *cli.Env) error {
		host, port, err := hostAndService(env.Args)
		if err != nil {
			return err
		}
		service, err := flags.Open()
		if err != nil {
			return err
		}
		defer service.Close()
		h.Source = service.Source
		if cli.Given(fs, "own") {
			addrs, err := addresses(*own)
			if err != nil {
				return cli.Usagef("-own: %v", err)
			}
			h.Source = dnsx.SourceFrom(addrs...)
		}
		resolver := service.Resolver(nil)
		defer resolver.Close()
		candidates, err := h.Candidates(ctx, resolver, host, port)
		if unknown, ok := errors.AsType[net.UnknownNetworkError](err); ok {
			return cli.Usagef("-network: %v", unknown)
		}
		if err != nil {
			return err
		}
		return table(env.Stdout, candidates)
	}
}

// addresses reads a list separated by commas.
func addresses(text string) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, field := range strings.Split(text, ",") {
		if field == "" {
			continue
		}
		addr, err := netip.ParseAddr(field)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address", field)
		}
		list = append(list, addr)
	}
	return list, nil
}

// table prints candidates as the fields of struct addrinfo.
func table(w io.Writer, candidates []dnsx.Candidate) error {
	var b strings.Builder
	if name := candidates[0].Canonical; name != "" {
		fmt.Fprintf(&b, "canonical name: %s\n", strings.TrimSuffix(name, "."))
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "family\ttype\tprotocol\taddress\tport\tscope id")
	for _, c := range candidates {
		family, kind, protocol := "AF_INET6", "SOCK_STREAM", "tcp"
		if c.Addr.Addr().Is4() {
			family = "AF_INET"
		}
		if c.Network == "udp" {
			kind, protocol = "SOCK_DGRAM", "udp"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\n", family, kind, protocol, c.Addr.Addr().WithZone(""), c.Addr.Port(), scope(c.Addr.Addr()))
	}
	t.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}

// scope returns what a C program finds in sin6_scope_id: the number of the
// interface that is named behind the %, or 0.
func scope(addr netip.Addr) string {
	switch zone := addr.Zone(); {
	case addr.Is4():
		return "-" // struct sockaddr_in has none
	case zone == "":
		return "0"
	default:
		if i, err := net.InterfaceByName(zone); err == nil {
			return fmt.Sprintf("%d (%s)", i.Index, zone)
		}
		return zone // a number, or an interface that is not there
	}
}

// constants prints the numbers behind the names, which are the system's own.
func constants(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		var b strings.Builder
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, c := range []struct {
			name   string
			number int
			what   string
		}{
			{"AF_INET", syscall.AF_INET, "IPv4: struct sockaddr_in has an address of 4 bytes and a port"},
			{"AF_INET6", syscall.AF_INET6, "IPv6: sockaddr_in6 has 16 bytes, a port, a flow label and a scope id"},
			{"AF_UNIX", syscall.AF_UNIX, "sockets on one machine, named by a path; getaddrinfo never returns them"},
			{"SOCK_STREAM", syscall.SOCK_STREAM, "bytes in order, without gaps, and without borders between messages"},
			{"SOCK_DGRAM", syscall.SOCK_DGRAM, "messages, each on its own"},
			{"SOCK_SEQPACKET", syscall.SOCK_SEQPACKET, "messages in order, without gaps (SCTP, AF_UNIX)"},
			{"SOCK_RAW", syscall.SOCK_RAW, "the IP packets themselves; takes privileges"},
			{"IPPROTO_TCP", syscall.IPPROTO_TCP, "what SOCK_STREAM means for AF_INET and AF_INET6"},
			{"IPPROTO_UDP", syscall.IPPROTO_UDP, "what SOCK_DGRAM means for them"},
		} {
			fmt.Fprintf(t, "%s\t%d\t%s\n", c.name, c.number, c.what)
		}
		t.Flush()
		_, err := io.WriteString(env.Stdout, b.String())
		return err
	}
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	return func(ctx context.Context, env *cli.Env) error {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer context.AfterFunc(ctx, func() { ln.Close() })()
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		// The hosts file knows this machine's names. Nobody else is asked: the
		// peers are expected on loopback.
		hosts, err := dnsx.SystemStub()
		if err != nil {
			hosts = &dnsx.Stub{}
		}
		hosts.Servers = nil
		for {
			conn, err := ln.Accept()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
			line := fmt.Sprintf("%s, %s", netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), nameOf(ctx, hosts, peer.Addr()))
			fmt.Fprintln(env.Stdout, line)
			conn.SetDeadline(time.Now().Add(time.Second))
			fmt.Fprintf(conn, "you are %s\n", line)
			conn.Close()
		}
	}
}

// nameOf says what an address is called: what getnameinfo would return, and
// whether to believe it.
func nameOf(ctx context.Context, r dnsx.Resolver, addr netip.Addr) string {
	reverse, err := dnsx.LookupAddr(ctx, r, addr)
	switch {
	case reverse == nil || reverse.Status == dnsx.OK && len(reverse.Names) == 0:
		return "whose name is not known here"
	case reverse.Status != dnsx.OK:
		return "which has no name"
	}
	name := strings.TrimSuffix(reverse.Names[0].Name, ".")
	switch {
	case reverse.Names[0].Confirmed:
		return name
	case err != nil:
		return name + " (it says; nobody knows for now)"
	}
	return name + " (it says; the name does not lead back)"
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, args := range [][]string{
			{"list", "-canonname", "ftp.example.com", "domain"},
			{"list", "-passive", "-network", "tcp", "", "1060"},
			{"list", "-network", "tcp6", "-v4mapped", "four.example.com", "smtp"},
			{"list", "-network", "tcp", "-own", "10.0.0.7,fe80::7", "www.example.com", "80"},
			{"connect", "www.example.com", "http"},
			{"connect", "-lost", "2001:db8:53:10::10", "www.example.com", "http"},
		} {
			if _, err := env.Play(ctx, "", args...); err != nil {
				return err
			}
		}
		srv, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()
		out, err := env.Play(ctx, "", "connect", "-here", "localhost", srv.Port())
		if err == nil && !strings.Contains(out, "you are 127.0.0.1:") {
			err = errors.New("the server has not said who we are")
		}
		return errors.Join(err, srv.Stop())
	}
}
