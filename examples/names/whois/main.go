// N5 whois: a console that says who has registered a domain or an address. It
// asks the root of the registry tree, and then whom that one refers to.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
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
		Name:    "whois",
		Summary: "A console that says who has registered a domain or an address.",
		Example: `
go run ./examples/names/whois
go run ./examples/names/whois -server whois.nic.com
go run ./examples/names/whois -real
`,
		Commands: []cli.Command{
			{Summary: "reads a domain or an address a line and says what the registries know about it; e exits", Setup: console},
			{Name: "demo", Summary: "domains, addresses and bad servers, with registries of its own", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func console(fs *flag.FlagSet) cli.Action {
	real := fs.Bool("real", false, "ask the registries of the real Internet")
	server := fs.String("server", "", "ask this `host` or host:port first, not the root of the registry tree")
	timeout := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait so much `time` for each server")
	whole := fs.Bool("text", false, "show the whole text that each server sends, too")
	return func(ctx context.Context, env *cli.Env) error {
		if err := checkServer(*server); err != nil {
			return err
		}
		whois := &dnsx.Whois{Server: *server, Timeout: *timeout}
		if !*real {
			registries, err := openRegistries()
			if err != nil {
				return err
			}
			defer registries.close()
			whois.Dial = registries.dial
		}
		c := &talk{whois: whois, whole: *whole, out: env.Stdout}
		c.say("domain or address (e exits):")
		for line, err := range cli.Lines(ctx, env.Stdin, 64<<10) {
			if err != nil {
				return err
			}
			switch line = strings.TrimSpace(line); line {
			case "":
				continue
			case "e":
				return c.err
			}
			c.answer(ctx, line)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if c.err != nil {
				return c.err
			}
		}
		return c.err
	}
}

// checkServer refuses a wrong -server before anything is asked.
func checkServer(server string) error {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		host, port = strings.Trim(server, "[]"), "43"
	}
	_, err = queryFor(host)
	if n, portErr := strconv.ParseUint(port, 10, 16); server != "" && (err != nil || portErr != nil || n == 0) {
		return cli.Usagef("-server: %q is neither a host nor host:port", server)
	}
	return nil
}

// A talk is the console's work.
type talk struct {
	whois *dnsx.Whois
	whole bool
	out   io.Writer
	err   error // of a write
}

// say prints a line. What strangers have sent cannot steer the terminal.
func (c *talk) say(format string, args ...any) {
	line := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return '\uFFFD'
	}, fmt.Sprintf(format, args...))
	if c.err == nil {
		_, c.err = fmt.Fprintln(c.out, line)
	}
}

// answer answers one line of the console.
func (c *talk) answer(ctx context.Context, line string) {
	query, err := queryFor(line)
	if err != nil {
		c.say("%v", err)
		return
	}
	record, err := c.whois.Lookup(ctx, query)
	if ctx.Err() != nil {
		return
	}
	if record != nil {
		c.tell(record)
	}
	if err != nil {
		c.say("%s: %s", query, explain(err))
	}
}

// queryFor returns what to ask for a line of the console.
func queryFor(line string) (string, error) {
	name, addr, err := names.ParseHost(line)
	if err != nil || name != "" {
		return strings.TrimSuffix(name, "."), err
	}
	return addr.Unmap().WithZone("").String(), nil
}

// tell shows what is known.
func (c *talk) tell(r *dnsx.WhoisRecord) {
	var asked []string
	for _, reply := range r.Replies {
		asked = append(asked, strings.TrimSuffix(reply.Server, ":43"))
		if c.whole {
			c.say("--- %s says:", reply.Server)
			c.quote(reply.Text, -1)
		}
	}
	if len(asked) == 0 {
		return
	}
	c.say("%s: asked %s", names.Show(r.Query), strings.Join(asked, " → "))
	last := r.Replies[len(r.Replies)-1]
	if last.Refer != "" && last.Refer != last.Server {
		for _, reply := range r.Replies {
			if reply.Server == last.Refer {
				c.say("  (%s refers back to %s: they go round in circles)", last.Server, last.Refer)
			}
		}
	}
	known, what := false, "domain"
	if _, err := netip.ParseAddr(r.Query); err == nil {
		what = "network"
	}
	for _, field := range []struct{ name, value string }{
		{what, strings.ToLower(r.Domain)},
		{"registrar", r.Registrar},
		{"holder", r.Holder},
		{"created", date(r.Created)},
		{"updated", date(r.Updated)},
		{"expires", date(r.Expires)},
		{"name servers", strings.Join(r.NameServers, " ")},
		{"status", strings.Join(r.Status, " ")},
	} {
		if field.value != "" {
			known = true
			c.say("  %-13s %s", field.name, field.value)
		}
	}
	switch {
	case known:
	case strings.TrimSpace(last.Text) == "":
		c.say("  %s has said nothing", last.Server)
	default:
		c.say("  no field that is known here; %s says:", last.Server)
		c.quote(last.Text, 5)
	}
}

// quote shows the lines of a text that have something in them, at most so many
// if most is not negative.
func (c *talk) quote(text string, most int) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if most == 0 {
			c.say("  | …")
			return
		}
		most--
		if runes := []rune(line); len(runes) > 200 {
			line = string(runes[:200]) + "…"
		}
		c.say("  | %s", line)
	}
}

// date returns a day; nothing for the zero time.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// explain says why a lookup failed.
func explain(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time: " + err.Error()
	case errors.Is(err, dnsx.ErrNotFound):
		return "there is no such server: " + err.Error()
	}
	return cli.Explain(err)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		env = env.As("whois")
		for _, play := range []struct {
			stdin string
			args  []string
			want  string
		}{
			{"example.com\n10.53.10.20\nespaña.es\nfree.com\ne\n", nil, "Registrador Ejemplo"},
			{"silent.com\nloop.com\na..b\n", []string{"-timeout", "500ms"}, "round in circles"},
			{"example.com\n", []string{"-server", "whois.nic.com"}, "asked whois.nic.com →"},
		} {
			said, err := env.Play(ctx, play.stdin, play.args...)
			if err != nil {
				return err
			}
			if !strings.Contains(said, play.want) {
				return fmt.Errorf("nobody has said %q", play.want)
			}
		}
		return nil
	}
}
