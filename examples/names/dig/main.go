// N1 dig: a question to a name server of one's choice, over UDP, TCP or TLS,
// and the answer section by section; with -wire octet by octet. Without a
// server the question goes to an Internet of its own, inside the program.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "dig",
		Summary: "Asks a name server and prints its answer section by section, or octet by octet.",
		Example: `
go run ./examples/names/dig www.example.com
go run ./examples/names/dig -server 127.53.0.1 -norec -wire www.example.com
go run ./examples/names/dig -server 192.0.2.53 -tls -name dns.example mx example.org
go run ./examples/names/dig -x 127.53.14.10
go run ./examples/names/dig system www
`,
		Commands: []cli.Command{
			{Summary: "asks for NAME; TYPE, such as MX, may stand before or behind it, and is A if left out", Args: "NAME [TYPE]", Setup: dig},
			{Name: "system", Summary: "shows what this machine would do to find a NAME, and in which order", Args: "NAME", Setup: system},
			{Name: "internet", Summary: "serves the Internet of this program, and a recursive server for it, to others", Setup: internet},
			{Name: "demo", Summary: "a question to the root, to a recursive server, too long for UDP, backwards, and over TLS", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// options are the flags of a question.
type options struct {
	server  string
	reverse bool
	tcp     bool
	tls     bool
	name    string
	ca      string
	norec   bool
	dnssec  bool
	wire    bool
	size    *int
	timeout *time.Duration
}

func dig(fs *flag.FlagSet) cli.Action {
	o := &options{}
	fs.StringVar(&o.server, "server", "", "ask this server, an `address` perhaps with a port; 127.53.x.y without a port is one of the Internet inside (default: the recursive server there)")
	fs.BoolVar(&o.reverse, "x", false, "NAME is an address: ask for its names")
	fs.BoolVar(&o.tcp, "tcp", false, "ask over TCP")
	fs.BoolVar(&o.tls, "tls", false, "ask over TLS, port 853 unless -server says another")
	fs.StringVar(&o.name, "name", "", "with -tls: the server's certificate must be for this `name` (default its address)")
	fs.StringVar(&o.ca, "ca", "", "with -tls: trust the authorities in this `file` (default the system's)")
	fs.BoolVar(&o.norec, "norec", false, "do not ask for recursion: what does this server itself know?")
	fs.BoolVar(&o.dnssec, "dnssec", false, "ask for signatures (the DO bit)")
	fs.BoolVar(&o.wire, "wire", false, "show query and answer octet by octet")
	o.size = cli.Number(fs, "bufsize", 1232, 0, 65535, "take datagrams of so many `octets`; 0 asks without EDNS")
	o.timeout = cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Minute, "how `long` to wait for the answer")
	return func(ctx context.Context, env *cli.Env) error {
		name, typ, err := question(env.Args, o.reverse)
		if err != nil {
			return err
		}
		client := &dnsx.Client{TCP: o.tcp, KeepCase: true, Timeout: *o.timeout}
		server, stop, err := o.open(ctx, client)
		if err != nil {
			return err
		}
		defer stop()
		return o.ask(ctx, env.Stdout, client, server, name, typ)
	}
}

// question reads NAME and TYPE, in either order as dig takes them.
func question(args []string, reverse bool) (string, dnsx.Type, error) {
	typ, typed := dnsx.A, false
	name := ""
	for _, arg := range args {
		t, err := dnsx.ParseType(arg)
		switch {
		case err == nil && !typed && (name != "" || len(args) == 2):
			typ, typed = t, true
		case name == "":
			name = arg
		default:
			return "", 0, cli.Usagef("%q is neither a record type nor the only name", arg)
		}
	}
	if name == "" {
		return "", 0, cli.Usagef("no NAME given (dig -h shows the usage)")
	}
	if reverse {
		addr, err := netip.ParseAddr(name)
		if err != nil || typed || addr.Zone() != "" {
			return "", 0, cli.Usagef("-x wants an address and nothing else")
		}
		return dnsx.ReverseName(addr), dnsx.PTR, nil
	}
	if !strings.Contains(name, ".") { // perhaps a command, mistyped
		return "", 0, cli.Usagef("%q has no dot; for the top-level domain write \"%[1]s.\" (dig -h lists the commands)", name)
	}
	absolute, err := dnsx.ParseName(name)
	if err != nil {
		return "", 0, cli.Usagef("%q is not a domain name", name)
	}
	return absolute, typ, nil
}

// open finds the server, starts the Internet inside if it is needed, and tells
// the client how to reach it.
func (o *options) open(ctx context.Context, client *dnsx.Client) (server netip.AddrPort, stop func(), err error) {
	server, err = netip.ParseAddrPort(o.server)
	if err != nil && o.server != "" {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(o.server); err != nil {
			return server, nil, cli.Usagef("-server: %q is not an address", o.server)
		}
		server = netip.AddrPortFrom(addr, 0)
	}
	if o.tls {
		if client.TLS, err = o.trust(); err != nil {
			return server, nil, err
		}
	} else if o.name != "" || o.ca != "" {
		return server, nil, cli.Usagef("-name and -ca go with -tls")
	}
	inside := o.server == "" || server.Port() == 0 && insideNet.Contains(server.Addr())
	if !inside {
		return server, func() {}, nil
	}
	w, err := startWorld(ctx, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		return server, nil, err
	}
	client.Dial = w.internet.Dial
	switch {
	case o.server != "":
		server = netip.AddrPortFrom(server.Addr(), w.internet.Port())
	case o.tls:
		server = w.tls
		client.TLS.RootCAs = w.roots
	default:
		server = w.recursive
	}
	return server, w.close, nil
}

// insideNet is where the Internet inside has its addresses.
var insideNet = netip.MustParsePrefix("127.53.0.0/16")

func (o *options) trust() (*tls.Config, error) {
	config := &tls.Config{ServerName: o.name, MinVersion: tls.VersionTLS12}
	if o.ca == "" {
		return config, nil
	}
	text, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in PEM", o.ca)
	}
	return config, nil
}

// ask puts the question and prints what comes back.
func (o *options) ask(ctx context.Context, w io.Writer, client *dnsx.Client, server netip.AddrPort, name string, typ dnsx.Type) error {
	query := dnsx.NewQuery(name, typ)
	query.RecursionDesired = !o.norec
	query.EDNS.UDPSize = uint16(*o.size)
	query.EDNS.DNSSECOK = o.dnssec
	if *o.size == 0 {
		query.EDNS = nil
	}
	var out bytes.Buffer
	var last dnsx.Packet
	client.Trace = &dnsx.Trace{
		Sent: func(p dnsx.Packet) {
			if last.Network == "udp" && p.Network == "tcp" {
				fmt.Fprintln(&out, ";; The answer does not fit into a datagram: once more, over TCP.")
			}
			last = p
			if o.wire {
				printWire(&out, "query", p.Wire)
			}
		},
		Received: func(p dnsx.Packet) {
			last = p
			last.Wire = bytes.Clone(p.Wire)
			if o.wire {
				printWire(&out, "answer", p.Wire)
			}
		},
		Ignored: func(p dnsx.Packet, err error) { fmt.Fprintf(&out, ";; ignored: %v\n", err) },
	}
	start := time.Now()
	answer, err := client.Exchange(ctx, server, query)
	took := time.Since(start)
	if err == nil && !o.wire {
		printMessage(&out, answer)
	}
	if err == nil {
		fmt.Fprintf(&out, ";; Query time: %.1f msec\n;; SERVER: %s (%s)\n;; MSG SIZE  rcvd: %d\n", float64(took.Microseconds())/1000, last.Server, strings.ToUpper(last.Network), len(last.Wire))
	}
	if _, werr := out.WriteTo(w); werr != nil {
		return werr
	}
	return err
}

// A world is the Internet inside, with a recursive server.
type world struct {
	internet  *dnstest.Internet
	recursive netip.AddrPort // UDP and TCP
	tls       netip.AddrPort
	roots     *x509.CertPool // trust the certificate of the latter
	server    *dnsx.Server
	cache     *dnsx.Cache
}

func startWorld(ctx context.Context, at netip.AddrPort) (*world, error) {
	pc, ln, err := dnsx.Listen(ctx, at.String())
	if err != nil {
		return nil, err
	}
	internet, err := dnstest.Start(dnstest.Config{})
	if err != nil {
		return nil, errors.Join(err, pc.Close(), ln.Close())
	}
	w := &world{internet: internet, recursive: ln.Addr().(*net.TCPAddr).AddrPort()}
	hints, err := dnsx.ParseHints(strings.NewReader(internet.RootHints()))
	if err != nil {
		return nil, errors.Join(err, pc.Close(), ln.Close(), internet.Close())
	}
	w.cache = &dnsx.Cache{Resolver: &dnsx.Iterative{
		Roots: hints, Port: internet.Port(), Client: dnsx.Client{Dial: internet.Dial},
	}}
	w.server = &dnsx.Server{Resolver: w.cache}
	secured, err := w.secure(at.Addr())
	if err != nil {
		return nil, errors.Join(err, pc.Close(), ln.Close(), internet.Close())
	}
	go w.server.Serve(ctx, pc, ln)
	go w.server.Serve(ctx, nil, secured)
	return w, nil
}

// secure opens a port for TLS, with a certificate from an authority of its own.
func (w *world) secure(host netip.Addr) (net.Listener, error) {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Authority of dig"}})
	if err != nil {
		return nil, err
	}
	cert, err := root.Issue(tlsx.Template{Names: []string{host.String()}})
	if err != nil {
		return nil, err
	}
	w.roots = x509.NewCertPool()
	w.roots.AddCert(root.Cert)
	tcp, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		return nil, err
	}
	w.tls = tcp.Addr().(*net.TCPAddr).AddrPort()
	return (&tlsx.Server{Identities: []*tlsx.Identity{{Certificate: cert}}}).Listener(tcp)
}

func (w *world) close() {
	w.server.Close()
	w.cache.Close()
	w.internet.Close()
}

func internet(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	hints := fs.String("hints", "", "write the root hints to this `file`")
	return func(ctx context.Context, env *cli.Env) error {
		host, err := netip.ParseAddr(addr.Host)
		if err != nil {
			return cli.Usagef("-host: %q is not an address", addr.Host)
		}
		w, err := startWorld(ctx, netip.AddrPortFrom(host, uint16(addr.Port)))
		if err != nil {
			return err
		}
		defer w.close()
		if err := env.Listening(net.TCPAddrFromAddrPort(w.recursive)); err != nil {
			return err
		}
		if *hints != "" {
			if err := os.WriteFile(*hints, []byte(w.internet.RootHints()), 0o666); err != nil {
				return err
			}
		}
		fmt.Fprintf(env.Stdout, "TLS on %s\nname servers from %s on, port %d\n", w.tls, w.internet.Addr(0, 1), w.internet.Port())
		<-ctx.Done()
		return nil
	}
}
