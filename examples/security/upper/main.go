// T2 upper: the get and put of the course over TLS. The server proves who it is
// and answers each text in upper case; with -mutual the client proves who it
// is too; with -chain 3 the proof is a path of three certificates.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/tlsx"
)

const (
	// coursePort is where the course's programs meet.
	coursePort = 1060

	// complaint begins an answer that is none. No answer to a text begins so:
	// it has no lower-case letters.
	complaint = "error: "

	// maxText is the most bytes that a client takes from its input as one text,
	// and from the server as one answer.
	maxText = 1 << 20
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "upper",
		Summary: "A text goes over TLS to a server that proves who it is, and comes back in upper case.",
		Example: `
go run ./examples/security/upper server -mutual -chain 3 -dir certs
go run ./examples/security/upper client -mutual -dir certs -text "¡hola!"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "proves who it is and answers in upper case", Setup: server},
			{Name: "client", Summary: "sends texts, from -text or standard input, and prints the answers", Setup: client},
			{Name: "demo", Summary: "plays both ends: one proved, both proved, a longer path, and what is refused", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// A refusal is the error of a handshake in which one side did not accept the
// other.
type refusal struct {
	Reason tlsx.Reason
	text   string
}

func (r *refusal) Error() string { return r.text }

// explain turns the refusal in err, if there is one, into words for the user of
// a client or server, and returns other errors as they are.
func explain(err error, role string) error {
	e, ok := errors.AsType[*tlsx.RefusalError](err)
	if !ok {
		return err
	}
	who := "the " + role
	if e.Remote {
		who = map[string]string{"client": "the server", "server": "the client"}[role]
	}
	text := fmt.Sprintf("%s refuses: %s: %s", who, e.Reason, e.Detail)
	if e.Rule != "" {
		text += " (" + e.Rule + ")"
	}
	return &refusal{e.Reason, text}
}

// format says where a text ends: its length stands before it, as four bytes,
// or with -lines a line feed behind it, so that people can type it.
func format(lines bool) framing.Format {
	if lines {
		return framing.Delimiter{Delim: "\n"}
	}
	return framing.Prefix{}
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	dir := fs.String("dir", "", "`folder` of certificates and keys; made if it is missing, a temporary one if none is named")
	chain := cli.Number(fs, "chain", 2, 2, 8, "how many `certificates` the paths in a new folder have, each signing the next")
	mutual := fs.Bool("mutual", false, "demand that clients prove who they are")
	lines := fs.Bool("lines", false, "a line feed ends a text, instead of its length before it")
	limit := cli.Number(fs, "max", 8192, 1, maxText, "refuse texts of more `bytes`")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, 24*time.Hour, "close a connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		folder := *dir
		if folder == "" {
			temporary, err := os.MkdirTemp("", "upper")
			if err != nil {
				return err
			}
			defer os.RemoveAll(temporary)
			folder = temporary
		}
		if err := prepare(folder, *chain, cli.Given(fs, "chain")); err != nil {
			return err
		}
		proof := &tlsx.Server{
			Identities:       []*tlsx.Identity{identity(folder, "server")},
			HandshakeTimeout: min(*idle, 10*time.Second),
		}
		if *mutual {
			roots, err := authorities(folder)
			if err != nil {
				return err
			}
			proof.ClientCAs = roots
		}
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		secure, err := proof.Listener(ln)
		if err != nil {
			return err
		}
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		if *dir == "" {
			fmt.Fprintf(env.Stdout, "for clients: -dir %s\n", folder)
		}
		s := &framing.Server{
			Format:  format(*lines),
			Config:  framing.Config{MaxSize: *limit, IdleTimeout: *idle, ReadTimeout: *idle},
			Handler: func(ctx context.Context, c *framing.Conn) error { serve(ctx, c, *limit, env); return nil },
		}
		if err := s.Serve(ctx, secure); ctx.Err() == nil {
			return err
		}
		return nil // Ctrl-C: texts under way have been answered
	}
}

// serve serves one client and says how that went.
func serve(ctx context.Context, c *framing.Conn, limit int, env *cli.Env) {
	conn := c.Stream().(*tlsx.Conn)
	peer := c.RemoteAddr()
	err := conn.HandshakeContext(ctx)
	if err == nil {
		fmt.Fprintf(env.Stdout, "%v: %s\n", peer, describe(conn))
		err = answer(ctx, c, limit, func(text []byte, answer string) {
			fmt.Fprintf(env.Stdout, "%v: %.40q → %.40q\n", peer, text, answer)
		})
	}
	switch err = explain(err, "server"); {
	case err == nil:
		fmt.Fprintf(env.Stdout, "%v: goodbye\n", peer)
	case cli.CauseOf(err) != cli.Unknown:
		fmt.Fprintf(env.Stdout, "%v: ended: %s\n", peer, cli.CauseOf(err))
	default:
		fmt.Fprintf(env.Stdout, "%v: %v\n", peer, err)
	}
}

// answer answers the texts of one connection to its clean end.
func answer(ctx context.Context, c *framing.Conn, limit int, done func(text []byte, answer string)) error {
	for text, err := range c.Messages(ctx) {
		var reply string
		switch {
		case err == nil && utf8.Valid(text):
			reply = strings.ToUpper(string(text))
		case err == nil:
			reply = complaint + "this is not UTF-8"
		case errors.Is(err, framing.ErrTooLarge): // what is left of it is skipped
			reply = fmt.Sprintf("%sa text may have %d bytes at most", complaint, limit)
		default:
			return err
		}
		if err := c.Send(ctx, []byte(reply)); err != nil {
			return err
		}
		done(text, reply)
	}
	return nil
}

// describe says what was agreed and whom the other side proved to be.
func describe(conn *tlsx.Conn) string {
	state := conn.ConnectionState()
	s := tls.VersionName(state.Version) + ", " + tls.CipherSuiteName(state.CipherSuite)
	if len(state.VerifiedChains) == 0 {
		return s + ", a client that proves nothing"
	}
	var path []string
	for _, c := range state.VerifiedChains[0] {
		path = append(path, tlsx.Title(c))
	}
	return s + ", path " + strings.Join(path, " ← ")
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	dir := fs.String("dir", "", "the server's `folder`, or a copy of what we need of it: root.pem and, with -mutual, client-chain.pem and client-key.pem")
	name := fs.String("name", "", "`name` or address that the server must prove to have; that of -host if it is missing")
	mutual := fs.Bool("mutual", false, "prove who we are, if the server asks")
	lines := fs.Bool("lines", false, "a line feed ends a text, instead of its length before it")
	text := fs.String("text", "", "send this one `text` instead of the lines of standard input")
	verbose := fs.Bool("v", false, "say on standard error what was agreed and proved")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection and for each answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		if *dir == "" {
			return cli.Usagef("-dir says where the authority's certificate is; without it nobody can be trusted")
		}
		trust := &tlsx.Client{Name: addr.Host, HandshakeTimeout: *timeout}
		if *name != "" {
			trust.Name = *name
		}
		if trust.Roots, err = authorities(*dir); err != nil {
			return err
		}
		if *mutual {
			trust.Identity = identity(*dir, "client")
		}
		if _, err := trust.Config(); err != nil { // before we bother anybody
			return err
		}
		dialer := net.Dialer{Timeout: *timeout}
		nc, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer nc.Close()
		conn, err := trust.Conn(nc)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.HandshakeContext(ctx); err != nil {
			return explain(err, "client")
		}
		if *verbose {
			fmt.Fprintln(env.Stderr, describe(conn))
		}
		c := framing.NewConn(conn, format(*lines), &framing.Config{
			MaxSize: maxText, IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout,
		})
		texts := cli.Lines(ctx, env.Stdin, maxText)
		if cli.Given(fs, "text") {
			texts = func(yield func(string, error) bool) { yield(*text, nil) }
		}
		for text, err := range texts {
			if err != nil {
				return err
			}
			answer, err := ask(ctx, c, text)
			if err != nil {
				return explain(err, "client")
			}
			if _, err := fmt.Fprintln(env.Stdout, answer); err != nil {
				return err
			}
		}
		return nil
	}
}

// ask puts one text and gets the answer.
func ask(ctx context.Context, c *framing.Conn, text string) (string, error) {
	if err := c.Send(ctx, []byte(text)); err != nil {
		return "", err
	}
	answer, err := c.Receive(ctx)
	if err == io.EOF {
		return "", fmt.Errorf("no answer from %v: %w", c.RemoteAddr(), err)
	}
	if err != nil {
		return "", err
	}
	if why, bad := strings.CutPrefix(string(answer), complaint); bad {
		return "", fmt.Errorf("%v refuses the text: %s", c.RemoteAddr(), printable(why))
	}
	return printable(string(answer)), nil
}

// printable takes control characters, other than tabs, out of what a stranger
// sent: they could command the terminal. To have proved a name is not to be
// harmless.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return -1
		}
		return r
	}, s)
}

// identity is a chain and its key in a folder.
func identity(dir, name string) *tlsx.Identity {
	return &tlsx.Identity{
		ChainFile: filepath.Join(dir, name+"-chain.pem"),
		KeyFile:   filepath.Join(dir, name+"-key.pem"),
	}
}

// authorities reads the root of a folder.
func authorities(dir string) ([]*x509.Certificate, error) {
	name := filepath.Join(dir, "root.pem")
	data, err := tlsx.ReadFile(name)
	if err != nil {
		return nil, err
	}
	roots, err := tlsx.ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, name)
	}
	return roots, nil
}
