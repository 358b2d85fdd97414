// N3 wwwping: is there a web server at a host's port 80? If not: is it the name
// service that failed, or the network, and how?
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "wwwping",
		Summary: "Whether a web server answers at port 80 of a host, and if not, why.",
		Example: `
go run ./examples/names/wwwping www.example.com four.example.com nothing.example.com
go run ./examples/names/wwwping -here -port 8080 localhost
go run ./examples/names/wwwping -real www.unam.mx
`,
		Commands: []cli.Command{
			{Summary: "tries each HOST, a name with a dot, localhost or an address; leaves with status 1 if any fails", Args: "HOST...", Setup: ping},
			{Name: "demo", Summary: "success, and each kind of failure, on an Internet in memory", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// A pinger is what stays the same for all hosts.
type pinger struct {
	dialer  dnsx.Dialer
	port    int
	as      string // the Host to ask for; empty means the one that is tried
	timeout time.Duration
}

func ping(fs *flag.FlagSet) cli.Action {
	flags := names.AddFlags(fs, "dns-port")
	port := cli.Number(fs, "port", 80, 1, 65535, "`port` to try")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "give each host this `time`")
	here := fs.Bool("here", false, "try this machine: localhost, or an address")
	as := fs.String("as", "", "ask the server for the pages of this `host`")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) == 0 {
			return cli.Usagef("a host is needed, such as www.example.com (wwwping -h shows the usage)")
		}
		for _, host := range env.Args {
			if err := checkHost(host, *here); err != nil {
				return err
			}
		}
		if strings.ContainsFunc(*as, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return cli.Usagef("-as: %q is no host", *as)
		}
		p := &pinger{port: *port, as: *as, timeout: *timeout}
		if !*here {
			service, err := flags.Open()
			if err != nil {
				return err
			}
			defer service.Close()
			resolver := service.Resolver(nil)
			defer resolver.Close()
			p.dialer = dnsx.Dialer{Resolver: resolver, Dial: service.Dial, Source: service.Source}
			if service.InMemory() {
				machines, err := openMachines(service.Network, *port)
				if err != nil {
					return err
				}
				defer machines.close()
				p.dialer.Dial = router(service.Dial)
			}
		}
		failed := false
		for _, host := range env.Args {
			text, err := p.try(ctx, host)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				failed = true
				text = explain(err)
			}
			if _, err := fmt.Fprintf(env.Stdout, "%s: %s\n", host, text); err != nil {
				return err
			}
		}
		if failed {
			return cli.Status(cli.Failure)
		}
		return nil
	}
}

// checkHost refuses what is no host, and a word without a dot, which could be a
// command; with here, every name but localhost.
func checkHost(host string, here bool) error {
	name, _, err := names.ParseHost(host)
	if err != nil {
		return cli.Usagef("%v", err)
	}
	switch {
	case name == "" || name == "localhost.":
		return nil
	case here:
		return cli.Usagef("%q is not here: -here is for localhost and for addresses", host)
	case !strings.Contains(host, "."):
		return cli.Usagef("%q is no command, and a host must have a dot", host)
	}
	return nil
}

// try connects to a host and asks for its first page. It returns what to say
// about a success.
func (p *pinger) try(ctx context.Context, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	canonical := host
	d := p.dialer
	d.Trace = &dnsx.DialTrace{Resolved: func(_ dnsx.Type, answer *dnsx.Answer, _ error) {
		if answer != nil && answer.Status == dnsx.OK {
			canonical = strings.TrimSuffix(answer.Canonical, ".")
		}
	}}
	start := time.Now()
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(p.port)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	connected := time.Since(start)
	as := p.as
	if as == "" {
		as = host
	}
	var line string
	if _, err = fmt.Fprintf(conn, "HEAD / HTTP/1.0\r\nHost: %s\r\n\r\n", as); err == nil {
		line, err = bufio.NewReader(io.LimitReader(conn, 200)).ReadString('\n')
	}
	if err != nil && line == "" {
		return "", &answerError{conn.RemoteAddr(), err}
	}
	return fmt.Sprintf("success: %s listens on port %d, at %s (found and connected in %v); it says %s",
		canonical, p.port, conn.RemoteAddr(), connected.Round(time.Millisecond), printable(line)), nil
}

// An answerError says that a connection came about and no answer.
type answerError struct {
	addr net.Addr
	err  error
}

func (e *answerError) Error() string { return fmt.Sprintf("no answer from %s: %v", e.addr, e.err) }
func (e *answerError) Unwrap() error { return e.err }

// explain says what failed: the name service or the network, and how.
func explain(err error) string {
	if e, ok := errors.AsType[*answerError](err); ok {
		return fmt.Sprintf("network failure: connected to %s, then %s", e.addr, cause(e.err))
	}
	e, ok := errors.AsType[*dnsx.DialError](err)
	if !ok {
		return "failure: " + cli.Explain(err)
	}
	if len(e.Attempts) == 0 {
		switch {
		case errors.Is(err, dnsx.ErrNotFound):
			return "name service failure: the name does not exist, or has no address"
		case errors.Is(err, context.DeadlineExceeded):
			return "name service failure: timed out: no answer came"
		}
		return "name service failure: try again later: " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")
	}
	// Several addresses, perhaps, and several reasons: each reason once.
	var reasons []string
	addrs := map[string][]string{}
	for _, a := range e.Attempts {
		reason := cause(a.Err)
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
		addrs[reason] = append(addrs[reason], a.Addr.String())
	}
	for i, reason := range reasons {
		reasons[i] = fmt.Sprintf("%s (%s)", reason, strings.Join(addrs[reason], ", "))
	}
	return "network failure: " + strings.Join(reasons, "; ")
}

// cause returns the reason of a network error in plain words.
func cause(err error) string {
	if c := cli.CauseOf(err); c != cli.Unknown {
		return string(c)
	}
	return err.Error()
}

// printable quotes the first line of a stranger's answer if it could steer the
// terminal.
func printable(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if strings.ContainsFunc(line, unicode.IsControl) || line == "" {
		return strconv.Quote(line)
	}
	return line
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		env = env.As("wwwping")
		if _, err := env.Play(ctx, "", "www.example.com", "ftp.example.com"); err != nil {
			return err
		}
		out := ""
		for _, play := range [][]string{
			{"four.example.com", "www.example.org", "www.unizocalo.es", "www.alfa.co.uk"},
			{"-timeout", "1s", "mail2.example.com"},
			{"nothing.example.com", "txt.example.com", "www.failing.test"},
		} {
			said, err := env.Play(ctx, "", play...)
			if _, ok := errors.AsType[cli.Status](err); !ok {
				return errors.Join(err, errors.New("there should have been failures"))
			}
			out += said
		}
		for _, c := range []cli.Cause{cli.Refused, cli.TimedOut, cli.Reset, cli.Unreachable} {
			if !strings.Contains(out, string(c)) {
				return fmt.Errorf("no failure was %q", c)
			}
		}
		// Without the name service: the server is reached, but not the page.
		if _, err := env.Play(ctx, "", "10.53.10.10"); err != nil {
			return err
		}
		_, err := env.Play(ctx, "", "-as", "www.example.com", "10.53.10.10")
		return err
	}
}
