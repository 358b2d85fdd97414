// W4 loadbalancer: one address, several web servers behind it: requests are
// spread over them, and a dead one is taken out and, when it is well, back in.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "loadbalancer",
		Summary: "Spreads requests over several web servers; a dead one is taken out and back in.",
		Example: `
go run ./examples/web/loadbalancer -listen 127.0.0.1:8000 -policy rr -backend http://127.0.0.1:8001 -backend http://127.0.0.1:8002=3
go run ./examples/web/loadbalancer -listen 127.0.0.1:8000 -policy leastconn -config nodes.ini
`,
		Commands: []cli.Command{
			{Name: "", Summary: "the balancer", Setup: balance},
			{Name: "node", Summary: "a small web server to balance over", Setup: serveNode},
			{Name: "demo", Summary: "three nodes, one of which dies and comes back", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// policies are the values of -policy. Weights count for all of them; for "rr"
// and "weighted" alike, a turn is a turn.
var policies = map[string]httpx.Policy{
	"rr": httpx.RoundRobin, "weighted": httpx.RoundRobin, "leastconn": httpx.LeastConnections, "hash": httpx.HashKey,
}

// A backend is a node as the command line or the file names it.
type backend struct {
	url    *url.URL
	weight float64
}

// parseBackend reads URL or URL=WEIGHT.
func parseBackend(text string) (backend, error) {
	b := backend{weight: 1}
	address, weight, found := strings.Cut(text, "=")
	if found {
		w, err := strconv.ParseFloat(weight, 64)
		if err != nil || !(w > 0 && w <= 1e6) { // so, NaN is refused as well
			return b, fmt.Errorf("weight %q: want a number above 0", weight)
		}
		b.weight = w
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return b, fmt.Errorf("%q is no URL such as http://127.0.0.1:8001", address)
	}
	b.url = u
	return b, nil
}

// parseConfig reads the file of nodes:
//
//	[node1]
//	host = 127.0.0.1
//	port = 8001
//	weight = 2
func parseConfig(r io.Reader) (list []backend, err error) {
	var name string
	var fields map[string]string
	finish := func() error {
		if name == "" {
			return nil
		}
		port, err := strconv.ParseUint(fields["port"], 10, 16)
		if err != nil || port == 0 || fields["host"] == "" {
			return fmt.Errorf("[%s]: want host = and port =", name)
		}
		text := "http://" + net.JoinHostPort(fields["host"], fields["port"])
		if w, ok := fields["weight"]; ok {
			text += "=" + w
		}
		b, err := parseBackend(text)
		if err != nil {
			return fmt.Errorf("[%s]: %w", name, err)
		}
		list = append(list, b)
		return nil
	}
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			if err := finish(); err != nil {
				return nil, err
			}
			name, fields = strings.TrimSpace(line[1:len(line)-1]), make(map[string]string)
			continue
		}
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !found || name == "" || key != "host" && key != "port" && key != "weight" {
			return nil, fmt.Errorf("line %d: want [name], host =, port = or weight =", n)
		}
		fields[key] = strings.TrimSpace(value)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return list, finish()
}

func balance(fs *flag.FlagSet) cli.Action {
	listen := fs.String("listen", "127.0.0.1:0", "`address` to listen on")
	policy := cli.Choice(fs, "policy", "rr", "who gets a request", "rr", "leastconn", "weighted", "hash")
	var backends []backend
	fs.Func("backend", "`URL[=WEIGHT]` of a server; repeat for each", func(text string) error {
		b, err := parseBackend(text)
		backends = append(backends, b)
		return err
	})
	interval := cli.Number(fs, "check-interval", 2*time.Second, time.Millisecond, time.Hour, "`time` between two checks of a server")
	config := fs.String("config", "", "`file` with sections [node1] host = … port = …")
	quiet := fs.Bool("quiet", false, "do not tell when servers go and come")
	return func(ctx context.Context, env *cli.Env) error {
		if *config != "" {
			f, err := os.Open(*config)
			if err != nil {
				return err
			}
			list, err := parseConfig(f)
			f.Close()
			if err != nil {
				return cli.Usagef("%s: %v", *config, err)
			}
			backends = append(backends, list...)
		}
		if len(backends) == 0 {
			return cli.Usagef("no servers: give -backend URL or -config FILE")
		}
		b := &httpx.Balancer{Policy: policies[*policy], Check: &httpx.HealthCheck{Interval: *interval, Timeout: max(*interval, time.Second)}}
		if !*quiet {
			b.Trace = &httpx.BalancerTrace{
				Down: func(u *url.URL, why error) { fmt.Fprintf(env.Stdout, "%s is out: %s\n", u.Host, cli.Explain(why)) },
				Up:   func(u *url.URL) { fmt.Fprintf(env.Stdout, "%s is back\n", u.Host) },
			}
		}
		defer b.Close()
		// The proxy brings the rules of HTTP, the balancer below it chooses.
		proxy := &httpx.Proxy{Origin: &url.URL{Scheme: "http", Host: "nodes"}, KeepHost: true, Transport: b}
		s := &httpx.Server{Handler: proxy}
		return env.Serve(ctx, *listen, func(ctx context.Context, ln net.Listener) error {
			for _, n := range backends { // and their checks begin
				if err := b.Add(n.url, n.weight); err != nil {
					return err
				}
			}
			return s.Serve(ctx, ln)
		})
	}
}

// serveNode is a web server that says its name.
func serveNode(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	name := fs.String("name", "a node", "what it calls itself")
	return func(ctx context.Context, env *cli.Env) error {
		s := &httpx.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s\n", *name)
		})}
		return env.Serve(ctx, addr.String(), s.Serve)
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "loadbalancer")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		var file strings.Builder
		var ports []string
		var nodes []*cli.Server
		for _, name := range []string{"uno", "dos", "tres"} {
			n, err := env.As(name).Start(ctx, "node", "-port", "0", "-name", name)
			if err != nil {
				return err
			}
			defer n.Stop()
			nodes, ports = append(nodes, n), append(ports, n.Port())
			fmt.Fprintf(&file, "[%s]\nhost = 127.0.0.1\nport = %s\n", name, n.Port())
		}
		config := dir + "/nodes.ini"
		if err := os.WriteFile(config, []byte(file.String()), 0o600); err != nil {
			return err
		}
		shown, out := env.Watch(" is out")
		shown, back := shown.Watch(" is back")
		lb, err := shown.As("balancer").Start(ctx, "-listen", "127.0.0.1:0", "-check-interval", "50ms", "-config", config)
		if err != nil {
			return err
		}
		defer lb.Stop()
		client := &http.Client{Transport: new(httpx.Transport), Timeout: 5 * time.Second}
		ask := func(n int) error {
			var answers []string
			for range n {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lb.Addr+"/", nil)
				if err != nil {
					return err
				}
				resp, err := client.Do(r)
				if err != nil {
					return err
				}
				body, err := io.ReadAll(io.LimitReader(resp.Body, 100))
				resp.Body.Close()
				if err != nil {
					return err
				}
				answers = append(answers, strings.TrimSpace(string(body)))
			}
			_, err := fmt.Fprintf(env.Stdout, "  %d requests: %s\n", n, strings.Join(answers, " "))
			return err
		}
		if err := ask(6); err != nil {
			return err
		}
		if err := nodes[1].Stop(); err != nil {
			return err
		}
		if err := ask(6); err != nil {
			return err
		}
		if err := wait(ctx, out); err != nil {
			return err
		}
		again, err := env.As("dos").Start(ctx, "node", "-port", ports[1], "-name", "dos")
		if err != nil {
			return err
		}
		defer again.Stop()
		if err := wait(ctx, back); err != nil {
			return err
		}
		return ask(6)
	}
}

// wait waits for a line, or for the end of ctx.
func wait(ctx context.Context, line <-chan string) error {
	select {
	case <-line:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
