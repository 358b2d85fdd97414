// N2 mx: the hosts that take mail for a domain, in the order to try them, each
// with its own addresses; and why there are none, if there are none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "mx",
		Summary: "Which hosts take the mail of a domain, in the order to try them.",
		Example: `
go run ./examples/names/mx example.com
go run ./examples/names/mx -local mail2.example.com example.com
go run ./examples/names/mx -real unam.mx
`,
		Commands: []cli.Command{
			{Summary: "finds the hosts that take the mail of DOMAIN, what stands after the @", Args: "DOMAIN", Setup: find},
			{Name: "demo", Summary: "domains of every kind, in an Internet of its own", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func find(fs *flag.FlagSet) cli.Action {
	flags := names.AddFlags(fs, "port")
	limit := cli.Number(fs, "timeout", time.Minute, time.Millisecond, time.Hour, "take at most so much `time`")
	var local []string
	fs.Func("local", "a `name or address` of our own mail host, which must not send to itself; may be given several times", func(s string) error {
		local = append(local, s)
		return nil
	})
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("one domain, not %d (mx -h shows the usage)", len(env.Args))
		}
		domain := env.Args[0]
		if !strings.Contains(domain, ".") && !strings.HasPrefix(domain, "[") {
			// RFC 5321 would take it, and it is a slip of the finger.
			return cli.Usagef("%q is no command, and for a domain it lacks a dot; %q would be one", domain, domain+".")
		}
		service, err := flags.Open()
		if err != nil {
			return err
		}
		defer service.Close()
		resolver := service.Resolver(nil)
		defer resolver.Close()
		limited, cancel := context.WithTimeout(ctx, *limit)
		defer cancel()
		route, err := dnsx.MailHosts(limited, resolver, domain, local...)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		failure, failed := errors.AsType[*dnsx.MailError](err)
		if route == nil {
			return cli.Usagef("-local: %v", err)
		}
		if failed && failure.Reason == dnsx.BadName {
			return cli.Usagef("%v", failure.Err)
		}
		var text strings.Builder
		describe(&text, route, failure)
		if _, err := io.WriteString(env.Stdout, text.String()); err != nil {
			return err
		}
		if failed && failure.Temporary() {
			return err
		}
		if service.InMemory() && failed && failure.Reason == dnsx.NoSuchDomain {
			_, err := fmt.Fprintln(env.Stdout, "(This is the Internet in memory; -real asks the real one.)")
			return err
		}
		return nil
	}
}

// describe tells a route in words and as a table.
func describe(w io.Writer, route *dnsx.MailRoute, failure *dnsx.MailError) {
	domain := names.Show(route.Domain)
	if route.Canonical != route.Domain {
		fmt.Fprintf(w, "%s is an alias: the mail goes where that of %s goes.\n", domain, names.Show(route.Canonical))
		domain = names.Show(route.Canonical)
	}
	switch {
	case failure != nil && failure.Temporary():
		fmt.Fprintf(w, "%s: not known for now; keep the message and try again later.\n", domain)
	case failure != nil:
		fmt.Fprintln(w, domain, reasons[failure.Reason])
	case strings.HasPrefix(route.Domain, "["):
		fmt.Fprintln(w, domain, "is an address: nobody has to be asked.")
	case route.Implicit:
		fmt.Fprintln(w, domain, "has no MX records, but an address: it takes its mail itself.")
	default:
		fmt.Fprintln(w, domain, "says by MX records who takes its mail. In this order:")
	}
	for _, host := range route.Hosts {
		fmt.Fprintf(w, "  %5d  %s\n", host.Preference, names.Show(host.Name))
		for _, addr := range host.Addresses {
			fmt.Fprintf(w, "         %s\n", addr)
		}
	}
	if route.Implicit {
		return // the one host that could be left out has been told about
	}
	for _, host := range route.Skipped {
		fmt.Fprintf(w, "  %5d  %s: left out: %v\n", host.Preference, names.Show(host.Name), host.Err)
	}
}

// reasons says what each permanent reason means for the message.
var reasons = map[dnsx.MailReason]string{
	dnsx.NullMX:       "refuses all mail (null MX): give the message back.",
	dnsx.NoSuchDomain: "does not exist: give the message back.",
	dnsx.NoMailHost:   "has neither MX records nor an address: give the message back.",
	dnsx.NoUsableHost: "has MX records, but no host in them has an address: give the message back.",
	dnsx.MailLoop:     "has us for its best host, and we do not know what to do with the message: give it back.",
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, play := range [][]string{
			{"example.com"},
			{"-local", "mail2.example.com", "example.com"},
			{"example.org"},
			{"alias.example.org"},
			{"españa.es"},
			{"example.net"},
			{"badmx.example.org"},
			{"txt.example.com"},
		} {
			if _, err := env.As("mx").Play(ctx, "", play...); err != nil {
				return err
			}
		}
		return nil
	}
}
