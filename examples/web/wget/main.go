// W1 wget: fetches a document by HTTP over a connection of its own, follows
// redirections, takes an interrupted download up again, and keeps a log of all
// response headers.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "wget",
		Summary: "Fetches what a URL names, and says exactly what came.",
		Example: `
go run ./examples/web/wget -o page.html http://127.0.0.1:8080/
go run ./examples/web/wget -continue -o big.iso http://127.0.0.1:8080/big.iso
go run ./examples/web/wget -proxy http://127.0.0.1:3128 -o page.html https://www.example.com/
`,
		Commands: []cli.Command{
			{Summary: "saves the body; exit status 0 only if all of it arrived", Args: "URL", Setup: get},
			{Name: "demo", Summary: "fetches over redirections, in circles, and in two halves", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func get(fs *flag.FlagSet) cli.Action {
	out := fs.String("o", "", "the `file` to save to; without, it is called like the end of the URL's path")
	logName := fs.String("log", "", "the `file` for the headers of all responses; without, that of -o with .headers at its end")
	proxy := fs.String("proxy", "", "`URL` of a proxy, http://[name:password@]host:port")
	resume := fs.Bool("continue", false, "take up where an earlier download was cut off")
	timeout := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "`time` to wait for a connection, for an answer, and for more of it")
	redirects := cli.Number(fs, "redirects", 10, 0, 100, "how `many` redirections to follow")
	most := cli.Number(fs, "max", int64(10<<30), 1, 1<<62, "how many `bytes` to save at most")
	progress := fs.Bool("progress", term.IsTerminal(int(os.Stderr.Fd())), "show a progress bar on standard error; by default on a terminal")
	ca := fs.String("ca", "", "a `file` of certificates (PEM) to trust for https, instead of the system's")
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("one URL is needed, not %d arguments", len(env.Args))
		}
		u, err := parseURL(env.Args[0])
		if err != nil {
			return err
		}
		f := &fetcher{
			env: env, bar: *progress, file: *out, log: *logName, resume: *resume, redirects: *redirects, most: *most,
			transport: &httpx.Transport{DialTimeout: *timeout, WriteTimeout: *timeout, HeaderTimeout: *timeout, BodyTimeout: *timeout},
		}
		defer f.transport.CloseIdleConnections()
		if f.file == "" {
			f.file = path.Base("/" + u.Path) // without a slash, so in this folder
			if f.file == "/" || f.file == "." || f.file == ".." || strings.ContainsAny(f.file, `\:`) {
				f.file = "index.html"
			}
		}
		if *proxy != "" {
			p, err := url.Parse(*proxy)
			if err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
				return cli.Usagef("-proxy %q is not http://host:port", *proxy)
			}
			f.transport.Proxy = http.ProxyURL(p)
		}
		if *ca != "" {
			pem, err := os.ReadFile(*ca)
			if err != nil {
				return err
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(pem) {
				return fmt.Errorf("-ca %s: no certificate in it", *ca)
			}
			f.transport.TLS = &tls.Config{RootCAs: pool}
		}
		return f.fetch(ctx, u)
	}
}

// parseURL takes what a person types: http:// may be left out of what is more
// than one word.
func parseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") && strings.ContainsAny(text, ".:/") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, cli.Usagef("%v", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, cli.Usagef("%q is not http://host/path or https://host/path", text)
	}
	return u, nil
}
