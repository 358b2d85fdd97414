// W2 webserver: a folder as a web site, with conditions, parts, lists and pages
// that explain errors; a search that takes its words from the URL or from a
// form; and a folder that takes files.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "webserver",
		Summary: "Shows a folder as a web site.",
		Example: `
go run ./examples/web/webserver -listen 127.0.0.1:8080 -root . -v
curl -i http://127.0.0.1:8080/README.md
curl -i 'http://127.0.0.1:8080/buscar?http&socket'
`,
		Commands: []cli.Command{
			{Summary: "serves until it is told to stop", Setup: serve},
			{Name: "demo", Summary: "starts a server and types requests to it, good ones and bad ones", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func serve(fs *flag.FlagSet) cli.Action {
	const shortest, longest = time.Millisecond, 24 * time.Hour
	listen := fs.String("listen", "127.0.0.1:0", "`address` host:port to listen on; port 0 picks a free one")
	dir := fs.String("root", ".", "the `folder` to show")
	writable := fs.String("writable", "", "a `folder` below it in which PUT and DELETE change files")
	header := cli.Number(fs, "header-timeout", 3*time.Second, shortest, longest, "`time` for a request's header to arrive")
	idle := cli.Number(fs, "idle-timeout", 5*time.Second, shortest, longest, "`time` a connection may wait for its next request")
	body := cli.Number(fs, "body-timeout", 5*time.Second, shortest, longest, "`time` for something more of a request's body to arrive")
	verbose := fs.Bool("v", false, "print each request and its answer")
	return func(ctx context.Context, env *cli.Env) error {
		if _, _, err := net.SplitHostPort(*listen); err != nil {
			return cli.Usagef("-listen %q is not host:port", *listen)
		}
		root, err := os.OpenRoot(*dir)
		if err != nil {
			return fmt.Errorf("the folder to show: %w", err)
		}
		defer root.Close()
		if err := checkWritable(root, *writable); err != nil {
			return err
		}
		site := newSite(&httpx.FileHandler{Root: root, List: true, Writable: *writable}, *idle)
		server := &httpx.Server{Handler: site, HeaderTimeout: *header, IdleTimeout: *idle, BodyTimeout: *body}
		if *verbose {
			server.Trace = logTo(env.Stdout)
		}
		return env.Serve(ctx, *listen, server.Serve)
	}
}

func checkWritable(root *os.Root, folder string) error {
	if folder == "" {
		return nil
	}
	if !filepath.IsLocal(folder) || path.Clean(folder) != folder {
		return cli.Usagef("-writable %q is not the name of a folder below -root", folder)
	}
	info, err := root.Stat(folder)
	if err == nil && !info.IsDir() {
		err = errors.New("not a folder")
	}
	if err != nil {
		return fmt.Errorf("-writable %s: %w", folder, err)
	}
	return nil
}

// logTo prints a line for each answer.
func logTo(w io.Writer) *httpx.ServerTrace {
	return &httpx.ServerTrace{
		Answered: func(r *http.Request, status int, n int64) {
			fmt.Fprintf(w, "%s %s %d, %d bytes\n", r.Method, r.URL.RequestURI(), status, n)
		},
		Refused: func(_ net.Conn, err *httpx.ProtocolError) {
			fmt.Fprintf(w, "refused %d: %s\n", err.Status, err.Reason)
		},
	}
}

// newSite joins the files and the search. Each answer says how long the server
// waits for the next request on the connection; the field is older than
// HTTP/1.1 and still common (RFC 2068 section 19.7.1.1).
func newSite(files *httpx.FileHandler, idle time.Duration) http.Handler {
	search := &searcher{files: files.Root.FS(), turns: make(chan struct{}, 2)}
	keepAlive := fmt.Sprintf("timeout=%d", int(idle.Seconds()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Keep-Alive"] = []string{keepAlive}
		if r.URL.Path == "/buscar" {
			search.ServeHTTP(w, r)
			return
		}
		files.ServeHTTP(w, r)
	})
}
