// W3 proxy: a caching proxy for a browser, or in front of a server: what is
// fresh comes from the cache, what is stale is asked about, https goes through
// tunnels.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "proxy",
		Summary: "A caching proxy for a browser, or in front of a server.",
		Example: `
go run ./examples/web/proxy -listen 127.0.0.1:3128 -forward -allow-loopback
go run ./examples/web/proxy -listen 127.0.0.1:8000 -reverse http://127.0.0.1:8080
`,
		Commands: []cli.Command{
			{Name: "", Summary: "the proxy", Setup: proxy},
			{Name: "origin", Summary: "a server with a page and two pictures, which tells what it is asked", Setup: origin},
			{Name: "demo", Summary: "a page with pictures, twice, through the proxy", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func proxy(fs *flag.FlagSet) cli.Action {
	listen := fs.String("listen", "127.0.0.1:0", "`address` to listen on")
	reverse := fs.String("reverse", "", "`URL` of the server to stand before")
	forward := fs.Bool("forward", false, "be a proxy that browsers are told of")
	loopback := fs.Bool("allow-loopback", false, "go to this machine and to private networks as well")
	bytes := cli.Number(fs, "cache-bytes", int64(64<<20), 1, int64(1<<40), "`bytes` to store at most")
	quiet := fs.Bool("quiet", false, "do not print a line for each request")
	return func(ctx context.Context, env *cli.Env) error {
		if (*reverse == "") == !*forward {
			return cli.Usagef("give either -reverse URL or -forward")
		}
		cache := &httpx.Cache{Transport: new(httpx.Transport), MaxBytes: *bytes}
		defer cache.Close()
		if !*quiet {
			cache.Trace = &httpx.CacheTrace{Answered: func(r *http.Request, status string) {
				fmt.Fprintf(env.Stdout, "%s %s: %s\n", r.Method, r.URL.Redacted(), status)
			}}
		}
		handler := &httpx.Proxy{Transport: cache}
		if *forward {
			// To any port but that of mail, which a proxy must not relay.
			handler.Tunnel = func(_ string, port uint16) bool { return port != 25 }
			if *loopback {
				dial := new(net.Dialer).DialContext
				handler.Dial = dial
				cache.Transport = &httpx.Transport{Dial: dial}
			} else {
				cache.Transport = &httpx.Transport{Dial: httpx.PublicOnly}
			}
		} else {
			origin, err := url.Parse(*reverse)
			if err != nil || origin.Scheme != "http" && origin.Scheme != "https" || origin.Host == "" {
				return cli.Usagef("-reverse wants a URL such as http://127.0.0.1:8080")
			}
			handler.Origin = origin
		}
		s := &httpx.Server{Handler: handler}
		return env.Serve(ctx, *listen, s.Serve)
	}
}
