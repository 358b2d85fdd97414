// N4 forwardreverse: from a name to its addresses, and from each of them back to
// a name. Do the two agree, or do they at least belong to the same organisation?
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "forwardreverse",
		Summary: "From a name to its addresses and back to a name: do they agree?",
		Example: `
go run ./examples/names/forwardreverse mail.example.com www.unizocalo.es www.beta.co.uk
go run ./examples/names/forwardreverse 10.53.15.12
go run ./examples/names/forwardreverse -real www.unam.mx
`,
		Commands: []cli.Command{
			{Summary: "goes from each NAME, which has a dot, to its addresses and back, or from an ADDRESS to its names and back", Args: "NAME|ADDRESS...", Setup: check},
			{Name: "demo", Summary: "names and addresses of every kind, in an Internet of its own", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func check(fs *flag.FlagSet) cli.Action {
	flags := names.AddFlags(fs, "port")
	limit := cli.Number(fs, "timeout", time.Minute, time.Millisecond, time.Hour, "take at most so much `time` for each")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) == 0 {
			return cli.Usagef("a name or an address is needed, such as www.example.com (forwardreverse -h shows the usage)")
		}
		for _, arg := range env.Args {
			if err := checkArg(arg); err != nil {
				return err
			}
		}
		service, err := flags.Open()
		if err != nil {
			return err
		}
		defer service.Close()
		resolver := service.Resolver(nil)
		defer resolver.Close()
		w := &walk{resolver: resolver, hints: dnsx.Hints{Network: "tcp", CanonicalName: true, Source: service.Source}}
		failed := false
		for _, arg := range env.Args {
			limited, cancel := context.WithTimeout(ctx, *limit)
			if addr, err := netip.ParseAddr(arg); err == nil {
				w.fromAddress(limited, addr)
			} else {
				w.fromName(limited, arg)
			}
			cancel()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if _, err := io.WriteString(env.Stdout, w.text.String()); err != nil {
				return err
			}
			failed = failed || w.failed
			w.text.Reset()
		}
		if failed {
			return cli.Status(cli.Failure)
		}
		return nil
	}
}

// checkArg refuses what is neither an address nor a name with a dot: a word
// without one could be a command.
func checkArg(arg string) error {
	name, _, err := names.ParseHost(arg)
	if err != nil {
		return cli.Usagef("%v", err)
	}
	if name != "" && !strings.Contains(arg, ".") {
		return cli.Usagef("%q is no command, and a name must have a dot", arg)
	}
	return nil
}

// A walk is the way there and back.
type walk struct {
	resolver dnsx.Resolver
	hints    dnsx.Hints
	text     strings.Builder
	failed   bool // something is not known for now
}

func (w *walk) line(format string, args ...any) { fmt.Fprintf(&w.text, format+"\n", args...) }

// unknown tells of a lookup that failed for now.
func (w *walk) unknown(what string, err error) {
	w.failed = true
	reason := strings.ReplaceAll(err.Error(), "\n", "; ")
	if errors.Is(err, context.DeadlineExceeded) {
		reason = "no answer in time"
	}
	w.line("%s: not known for now: %s", what, reason)
}

// fromName goes from a name to its addresses, and from each to its names.
func (w *walk) fromName(ctx context.Context, arg string) {
	name, _ := dnsx.ParseName(arg) // checkArg has seen it
	candidates, err := w.hints.Candidates(ctx, w.resolver, name, "")
	switch {
	case errors.Is(err, dnsx.ErrNotFound):
		w.line("%s: the name does not exist, or has no address", names.Show(name))
		return
	case err != nil:
		w.unknown(names.Show(name), err)
		return
	}
	start := names.Show(name)
	canonical := candidates[0].Canonical
	if !dnsx.EqualNames(canonical, name) {
		start += " (alias of " + names.Show(canonical) + ")"
	}
	for _, c := range candidates {
		addr := c.Addr.Addr()
		way := fmt.Sprintf("%s → %s", start, addr)
		reverse, err := dnsx.LookupAddr(ctx, w.resolver, addr)
		if reverse == nil {
			w.unknown(way, err)
			continue
		}
		if len(reverse.Names) == 0 {
			w.line("%s: no way back, the address has no name", way)
		}
		for _, back := range reverse.Names {
			way := way + " → " + names.Show(back.Name)
			if back.Err != nil {
				w.unknown(way, back.Err)
				continue
			}
			// The owner of an alias vouches for its target.
			kinship := max(dnsx.CompareNames(name, back.Name), dnsx.CompareNames(canonical, back.Name))
			w.line("%s: %s%s", way, verdict(kinship, canonical, back.Name), doubt(back))
		}
	}
}

// verdict says how much the name at the end has in common with the one at the
// start.
func verdict(kinship dnsx.Kinship, start, back string) string {
	switch kinship {
	case dnsx.SameName:
		return "they agree"
	case dnsx.Relatives:
		return "a lot in common, both belong to " + owner(back)
	}
	return fmt.Sprintf("different organisations, %s and %s", owner(start), owner(back))
}

// owner returns the name that an organisation has registered.
func owner(name string) string {
	if o := dnsx.Organization(name); o != "" {
		return names.Show(o)
	}
	return names.Show(name) + " (a public suffix)"
}

// doubt says so if a name does not lead back to its address.
func doubt(back dnsx.PeerName) string {
	if back.Confirmed {
		return ""
	}
	return "; but that name does not lead back to the address: anybody could claim it"
}

// fromAddress goes from an address to its names, and from each to its addresses.
func (w *walk) fromAddress(ctx context.Context, addr netip.Addr) {
	reverse, err := dnsx.LookupAddr(ctx, w.resolver, addr)
	if reverse == nil {
		w.unknown(addr.String(), err)
		return
	}
	if len(reverse.Names) == 0 {
		w.line("%s: the address has no name", addr)
	}
	for _, back := range reverse.Names {
		way := fmt.Sprintf("%s → %s", addr, names.Show(back.Name))
		switch {
		case back.Confirmed:
			w.line("%s → %s: they agree", way, reverse.Addr)
		case back.Err != nil:
			w.unknown(way, back.Err)
		default:
			w.line("%s: does not lead back, anybody could claim that name", way)
		}
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		env = env.As("forwardreverse")
		for _, play := range []struct {
			args []string
			want string
		}{
			{[]string{"mail.example.com"}, "they agree"},
			{[]string{"www.unizocalo.es", "ftp.example.com"}, "a lot in common"},
			{[]string{"www.beta.co.uk"}, "different organisations"},
			{[]string{"10.53.10.20", "10.53.15.12", "10.53.99.99"}, "does not lead back"},
		} {
			said, err := env.Play(ctx, "", play.args...)
			if err != nil {
				return err
			}
			if !strings.Contains(said, play.want) {
				return fmt.Errorf("nothing was said to be %q", play.want)
			}
		}
		return nil
	}
}
