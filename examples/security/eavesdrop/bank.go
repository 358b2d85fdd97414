package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/tlsx"
)

const (
	// protocol is the bank's name in the handshake (ALPN, RFC 7301): a client
	// that wants another one is refused.
	protocol = "zocalo-bank"
	bankName = "bank.example"
	maxLine  = 1024
)

// versions are the values of -tls.
var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// A bank has one customer and keeps one account.
type bank struct {
	user, password string

	mu    sync.Mutex
	cents int64
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	clear := fs.Bool("clear", false, "no TLS: everything in clear")
	version := cli.Choice(fs, "tls", "1.3", "highest `version` of TLS", "1.2", "1.3")
	root := fs.String("root", "", "write the certificate of the bank's authority to `file`, for clients; it is a new one at each start")
	user := fs.String("user", "ana", "`name` of the customer")
	password := fs.String("password", "sesamo", "her `password`; invented, since the tap will show it")
	pad := cli.Number(fs, "pad", 0, 0, 512, "fill answers up to multiples of so many `bytes`, to hide their lengths; 0: do not")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, time.Hour, "close a connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		outer := ln
		if !*clear {
			secure, err := bankTLS(*root, versions[*version])
			if err != nil {
				return err
			}
			secure.HandshakeTimeout = *idle
			if outer, err = secure.Listener(ln); err != nil {
				return err
			}
		}
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		b := &bank{user: *user, password: *password, cents: 123456}
		s := &framing.Server{
			Format: framing.Delimiter{Delim: "\n"},
			Config: framing.Config{MaxSize: maxLine, IdleTimeout: *idle, ReadTimeout: *idle, WriteTimeout: *idle},
			Handler: func(ctx context.Context, c *framing.Conn) error {
				err := b.serve(ctx, c, *pad)
				if err != nil && err != io.EOF && !errors.Is(err, framing.ErrServerClosed) {
					fmt.Fprintf(env.Stdout, "%s: ended: %s\n", c.RemoteAddr(), cli.Explain(plain(err)))
				}
				return nil
			},
		}
		if err := s.Serve(ctx, outer); ctx.Err() == nil {
			return err
		}
		return nil
	}
}

// bankTLS makes an authority, has it sign the bank's certificate, and writes
// the authority's to a file.
func bankTLS(rootFile string, version uint16) (*tlsx.Server, error) {
	authority, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Zócalo Authority"}})
	if err != nil {
		return nil, err
	}
	cert, err := authority.Issue(tlsx.Template{
		Subject: pkix.Name{CommonName: "Eavesdropped Bank"},
		Names:   []string{bankName, "localhost", "127.0.0.1", "::1"},
	})
	if err != nil {
		return nil, err
	}
	if rootFile != "" {
		if err := tlsx.WriteFile(rootFile, tlsx.EncodeCertificates(authority.Cert), 0o644, true); err != nil {
			return nil, err
		}
	}
	return &tlsx.Server{
		Identities: []*tlsx.Identity{{Certificate: cert}},
		NextProtos: []string{protocol},
		MaxVersion: version,
	}, nil
}

// serve answers the lines of one connection: a login, then orders.
func (b *bank) serve(ctx context.Context, c *framing.Conn, pad int) error {
	known := false
	for line, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		answer := "error: log in first"
		words := strings.Fields(string(line))
		switch {
		case len(words) == 3 && words[0] == "login":
			known = b.knows(words[1], words[2])
			if answer = "welcome"; !known {
				answer = "error: wrong name or password"
			}
		case known:
			answer = b.order(words)
		}
		if err := c.Send(ctx, []byte(padded(answer, pad))); err != nil {
			return err
		}
	}
	return nil
}

// knows compares without telling by the time it takes how much was right.
func (b *bank) knows(user, password string) bool {
	given, right := sha256.Sum256([]byte(user+"\x00"+password)), sha256.Sum256([]byte(b.user+"\x00"+b.password))
	return subtle.ConstantTimeCompare(given[:], right[:]) == 1
}

var amount = regexp.MustCompile(`^([0-9]{1,9})\.([0-9]{2})$`)

// order does what a customer says.
func (b *bank) order(words []string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(words) == 1 && words[0] == "balance":
		return "balance " + euros(b.cents)
	case len(words) == 3 && words[0] == "pay":
		m := amount.FindStringSubmatch(words[2])
		if m == nil {
			return "error: an amount looks like 20.00"
		}
		cents, err := strconv.ParseInt(m[1]+m[2], 10, 64)
		if err != nil || cents > b.cents {
			return "error: not enough money"
		}
		b.cents -= cents
		return fmt.Sprintf("paid %s to %s", euros(cents), words[1])
	}
	return "error: the orders are: balance, pay NAME AMOUNT"
}

func euros(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// padded adds spaces until text, with the end of line that will follow, fills a
// multiple of size bytes.
func padded(text string, size int) string {
	if size == 0 {
		return text
	}
	return text + strings.Repeat(" ", (size-(len(text)+1)%size)%size)
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	clear := fs.Bool("clear", false, "no TLS: everything in clear")
	root := fs.String("root", "", "trust the authority whose certificate is in `file`")
	insecure := fs.Bool("insecure", false, "use TLS and believe whatever certificate comes: never do this")
	name := fs.String("name", bankName, "the server's `name`, which its certificate must have")
	version := cli.Choice(fs, "tls", "1.3", "highest `version` of TLS", "1.2", "1.3")
	user := fs.String("user", "ana", "log in with this `name`")
	password := fs.String("password", "sesamo", "and this `password`")
	text := fs.String("text", "", "send this one `order` instead of those of standard input")
	pad := cli.Number(fs, "pad", 0, 0, 512, "fill messages up to multiples of so many `bytes`; 0: do not")
	keys := fs.String("keylog", "", "write the connection's keys to `file`, for Wireshark: whoever has it can read all")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection and for each answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		ways := 0
		for _, given := range []bool{*clear, *root != "", *insecure} {
			if given {
				ways++
			}
		}
		if ways != 1 {
			return cli.Usagef("one of -root FILE (whom to trust), -insecure and -clear is needed")
		}
		if strings.ContainsAny(*user+*password, " \t\r\n") || *user == "" || *password == "" {
			return cli.Usagef("name and password are one word each in this bank's protocol")
		}
		var keyLog io.Writer
		if *keys != "" {
			file, err := os.OpenFile(*keys, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
			if err != nil {
				return err
			}
			defer file.Close()
			keyLog = file
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		switch {
		case *insecure:
			conn = tls.Client(conn, &tls.Config{
				InsecureSkipVerify: true, ServerName: *name, NextProtos: []string{protocol},
				MinVersion: tls.VersionTLS12, MaxVersion: versions[*version], KeyLogWriter: keyLog,
			})
		case *root != "":
			if conn, err = trusting(conn, *root, &tlsx.Client{
				Name: *name, NextProtos: []string{protocol}, MaxVersion: versions[*version], KeyLog: keyLog, HandshakeTimeout: *timeout,
			}); err != nil {
				return err
			}
		}
		if secure, ok := conn.(interface{ HandshakeContext(context.Context) error }); ok {
			limit, cancel := context.WithTimeout(ctx, *timeout)
			defer cancel()
			if err := secure.HandshakeContext(limit); err != nil {
				return plain(err)
			}
		}
		c := framing.NewConn(conn, framing.Delimiter{Delim: "\n"}, &framing.Config{
			MaxSize: maxLine, IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout,
		})
		defer c.Close() // says goodbye, close_notify, where there is TLS

		ask := func(line string) error {
			if err := c.Send(ctx, []byte(padded(line, *pad))); err != nil {
				return plain(err)
			}
			answer, err := c.Receive(ctx)
			if err != nil {
				return fmt.Errorf("no answer from %s: %w", target, plain(err))
			}
			said := strings.TrimRight(string(answer), " ")
			if why, bad := strings.CutPrefix(said, "error: "); bad {
				return fmt.Errorf("%s refuses: %q", target, why)
			}
			_, err = fmt.Fprintf(env.Stdout, "%q\n", said)
			return err
		}
		if err := ask("login " + *user + " " + *password); err != nil {
			return err
		}
		lines := cli.Lines(ctx, env.Stdin, maxLine)
		if cli.Given(fs, "text") {
			lines = func(yield func(string, error) bool) { yield(*text, nil) }
		}
		for line, err := range lines {
			if err == nil {
				err = ask(line)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// plain takes the reason out of a refusal: what wraps it, and the error of the
// connection inside, say nothing more.
func plain(err error) error {
	refusal, ok := errors.AsType[*tlsx.RefusalError](err)
	if !ok {
		return err
	}
	who := ""
	if refusal.Remote {
		who = "the other side refuses us: "
	}
	return fmt.Errorf("%s%s: %s", who, refusal.Reason, refusal.Detail)
}

// trusting makes conn a TLS connection to a server whose certificate an
// authority in rootFile has signed.
func trusting(conn net.Conn, rootFile string, c *tlsx.Client) (net.Conn, error) {
	data, err := tlsx.ReadFile(rootFile)
	if err != nil {
		return nil, err
	}
	var roots []*x509.Certificate
	if roots, err = tlsx.ParseCertificates(data); err != nil {
		return nil, err
	}
	c.Roots = roots
	return c.Conn(conn)
}
