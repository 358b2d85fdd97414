// T4 inspect: shows the certificates of a host or of a PEM file, field by
// field, draws who has signed whom, lists the authorities that the system
// trusts, and says why a chain fails.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// httpsPort is asked when a host is named without a port.
const httpsPort = "443"

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "inspect",
		Summary: "What the certificates of a host or file say, who has signed them, and why a chain fails.",
		Example: `
go run ./examples/security/inspect host example.org
go run ./examples/security/inspect file -name example.org chain.pem
go run ./examples/security/inspect roots -match ISRG
`,
		Commands: []cli.Command{
			{Name: "host", Summary: "inspects what a server sends", Args: "HOST[:PORT]", Setup: host},
			{Name: "file", Summary: "inspects the certificates of a PEM or DER file, the holder's first", Args: "FILE", Setup: file},
			{Name: "roots", Summary: "lists the authorities that the system trusts", Setup: roots},
			{Name: "serve", Summary: "a server to look at: sends a chain from a file and says nothing more", Setup: serve},
			{Name: "demo", Summary: "inspects two sites of its own and a file with a fault", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// lookFlags say what is shown and whom we trust.
type lookFlags struct {
	short *bool
	ca    *string
	name  *string
	use   *string
}

func addLookFlags(fs *flag.FlagSet, name string) *lookFlags {
	return &lookFlags{
		short: fs.Bool("short", false, "show only the hierarchy and the verdict"),
		ca:    fs.String("ca", "", "`file` with the authorities that we trust; the system's if it is missing"),
		name:  fs.String("name", "", name),
		use:   cli.Choice(fs, "use", "server", "what the first certificate must be good for", "server", "client", "any"),
	}
}

var uses = map[string][]x509.ExtKeyUsage{
	"server": {x509.ExtKeyUsageServerAuth},
	"client": {x509.ExtKeyUsageClientAuth},
	"any":    {x509.ExtKeyUsageAny},
}

// trusted returns the authorities that -ca names; nil are the system's.
func (f *lookFlags) trusted() ([]*x509.Certificate, error) {
	if *f.ca == "" {
		return nil, nil
	}
	return readCertificates(*f.ca)
}

// readCertificates reads certificates, PEM or DER.
func readCertificates(name string) ([]*x509.Certificate, error) {
	data, err := tlsx.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		if cert, err := x509.ParseCertificate(data); err == nil { // what .crt and .cer files often hold
			return []*x509.Certificate{cert}, nil
		}
	}
	certs, err := tlsx.ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, name)
	}
	return certs, nil
}

// failed is the error of a chain that does not verify.
type failed struct {
	Reason tlsx.Reason
	text   string
}

func (f *failed) Error() string { return f.text }

// look shows a chain and says whether, and if not why not, it holds.
func (f *lookFlags) look(w io.Writer, chain, trusted []*x509.Certificate, name string) error {
	if !*f.short {
		for i, c := range chain {
			fmt.Fprintf(w, "%d of %d: %d fields, %d extensions\n%s\n", i+1, len(chain), fields(c), len(c.Extensions), tlsx.Text(c))
		}
	}
	path, err := tlsx.Verify(chain, tlsx.VerifyOptions{Roots: trusted, Name: name, Uses: uses[*f.use]})
	// The root, which nobody sends, belongs into the picture if it was found.
	drawn := append([]*x509.Certificate{}, chain...)
	refusal, refused := errors.AsType[*tlsx.RefusalError](err)
	if refused {
		path = refusal.Path
	}
	for _, c := range path {
		if !contains(drawn, c) {
			drawn = append(drawn, c)
		}
	}
	fmt.Fprintf(w, "hierarchy:\n")
	for line := range strings.Lines(tlsx.Tree(drawn)) {
		fmt.Fprintf(w, "  %s", line)
	}
	switch {
	case refused:
		text := fmt.Sprintf("refused: %s: %s", refusal.Reason, refusal.Detail)
		if refusal.Rule != "" {
			text += " (" + refusal.Rule + ")"
		}
		return &failed{refusal.Reason, text}
	case err != nil:
		return err
	}
	what := "good"
	if name != "" {
		what += " for " + name
	}
	_, err = fmt.Fprintf(w, "%s: %s vouches for it\n", what, tlsx.Title(path[len(path)-1]))
	return err
}

func contains(list []*x509.Certificate, c *x509.Certificate) bool {
	for _, o := range list {
		if o.Equal(c) {
			return true
		}
	}
	return false
}

// fields counts the fields of the signed part of a certificate (RFC 5280
// section 4.1): six that all have, and those that may be left out.
func fields(c *x509.Certificate) int {
	n := 6 // serial number, signature algorithm, issuer, validity, subject, key
	if c.Version > 1 {
		n++ // the version; its absence means 1
	}
	if len(c.Extensions) > 0 {
		n++
	}
	return n
}

func host(fs *flag.FlagSet) cli.Action {
	flags := addLookFlags(fs, "`name` that the server should have; that of the host if it is missing")
	timeout := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for connection and handshake")
	pemOut := fs.String("save", "", "`file` to keep the chain in, PEM")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("host wants one argument, HOST or HOST:PORT")
		}
		addr, name, err := target(env.Args[0])
		if err != nil {
			return err
		}
		if *flags.name != "" {
			name = *flags.name
		}
		trusted, err := flags.trusted()
		if err != nil {
			return err
		}
		chain, state, err := fetch(ctx, addr, name, *timeout)
		if err != nil {
			return err
		}
		plural := "s"
		if len(chain) == 1 {
			plural = ""
		}
		fmt.Fprintf(env.Stdout, "%s sends %d certificate%s over %s, %s\n\n", addr, len(chain), plural, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
		if *pemOut != "" {
			if err := tlsx.WriteFile(*pemOut, tlsx.EncodeCertificates(chain...), 0o644, false); err != nil {
				return err
			}
		}
		return flags.look(env.Stdout, chain, trusted, name)
	}
}

// target splits HOST or HOST:PORT; ::1 and [::1] are hosts too.
func target(arg string) (addr, name string, err error) {
	name, port, err := net.SplitHostPort(arg)
	if err != nil {
		name, port = strings.Trim(arg, "[]"), httpsPort
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if strings.Contains(name, ":") && err == nil {
		_, err = netip.ParseAddr(name) // only an IPv6 address has colons
	}
	if err != nil || number == 0 || name == "" || strings.ContainsAny(name, "/ []") {
		return "", "", cli.Usagef("%q is no HOST or HOST:PORT", arg)
	}
	return net.JoinHostPort(name, port), name, nil
}

// fetch does a handshake and returns what the server sent, whatever it is
// worth. Nothing else goes over the connection: to a server that proves nothing
// there is nothing to say.
func fetch(ctx context.Context, addr, name string, timeout time.Duration) ([]*x509.Certificate, *tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	defer nc.Close()
	conn := tls.Client(nc, &tls.Config{
		ServerName:         name,
		InsecureSkipVerify: true, // look verifies, and shows what fails
		MinVersion:         tls.VersionTLS12,
	})
	err = conn.HandshakeContext(ctx)
	state := conn.ConnectionState()
	if len(state.PeerCertificates) > 0 {
		// Also if the handshake failed afterwards, as when the server wants a
		// certificate from us: this is all we came for.
		return state.PeerCertificates, &state, nil
	}
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return nil, nil, fmt.Errorf("%s does not speak TLS: it begins with %q", addr, header.RecordHeader[:])
	}
	return nil, nil, fmt.Errorf("no handshake with %s: %w", addr, err)
}

func file(fs *flag.FlagSet) cli.Action {
	flags := addLookFlags(fs, "`name` that the first certificate should have; none is looked for without it")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("file wants one argument, the name of a file")
		}
		chain, err := readCertificates(env.Args[0])
		if err != nil {
			return err
		}
		trusted, err := flags.trusted()
		if err != nil {
			return err
		}
		if len(chain) > maxShown {
			return fmt.Errorf("%s has %d certificates: that is no chain; roots -file lists a whole store", env.Args[0], len(chain))
		}
		return flags.look(env.Stdout, chain, trusted, *flags.name)
	}
}

// maxShown bounds what is taken for a chain.
const maxShown = 64

// noSuchStore says that the system shows no list.
func noSuchStore(err error) error {
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return errors.New("this system checks certificates itself and shows no list; -file names one, such as Debian's /etc/ssl/certs/ca-certificates.crt")
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; -file names one (Debian has it in the package ca-certificates)", err)
	}
	return err
}
