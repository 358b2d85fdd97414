package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A line is a request as one could type it with telnet, and what must come back.
type line struct {
	request string // lines between "\n"; Host is added, and the empty line
	body    string
	status  int
	field   string // of the answer, worth a look
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "site")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		for name, text := range map[string]string{
			"index.html":      "<h1>Zoo</h1>\n",
			"animals/ape.txt": "Monkeys eat bananas.\n",
			"box/.keep":       "",
		} {
			name = filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
				return err
			}
			if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
				return err
			}
		}
		// Not by env.Start's own words: the folder's name is another one each time.
		quiet := *env
		quiet.Stdout = io.Discard
		server, err := (&quiet).As("server").Start(ctx, "-root", dir, "-writable", "box")
		if err != nil {
			return err
		}
		defer server.Stop()
		fmt.Fprintf(env.Stdout, "a site of three files; > is typed, < comes back\n")
		for _, l := range []line{
			{"GET / HTTP/1.1", "", 200, "Keep-Alive"},
			{"GET /bananas HTTP/1.1", "", 404, "Content-Type"},
			{"GET /animals?by=name HTTP/1.1", "", 301, "Location"},
			{"GET /animals/ape.txt HTTP/1.1\nRange: bytes=12-18", "", 206, "Content-Range"},
			{"GET /animals/ape.txt HTTP/1.1\nIf-Modified-Since: " + time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), "", 304, "Etag"},
			{"HEAD /animals/ape.txt HTTP/1.1", "", 200, "Content-Length"},
			{"GET /buscar?monkeys&bananas HTTP/1.1", "", 200, "Content-Type"},
			{"POST /buscar HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 9", "q=bananas", 200, "Content-Type"},
			{"PUT /box/new.txt HTTP/1.1\nContent-Length: 5", "hola\n", 201, "Etag"},
			{"DELETE /box/new.txt HTTP/1.1", "", 204, ""},
			{"DELETE /index.html HTTP/1.1", "", 405, "Allow"},
			{"GET /..%2f..%2fetc/passwd HTTP/1.1", "", 400, "Content-Type"},
			{"GET / HTTP/2.0", "", 505, "Connection"},
			{"hola", "", 400, "Connection"},
		} {
			if err := l.play(ctx, env.Stdout, server.Addr); err != nil {
				return err
			}
		}
		return server.Stop()
	}
}

// play sends the request and shows the beginning of the answer.
func (l line) play(ctx context.Context, w io.Writer, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	text := l.request + "\nHost: zoo.example\n\n"
	for typed := range strings.Lines(l.request + "\n") {
		fmt.Fprint(w, "> ", typed)
	}
	if l.body != "" {
		fmt.Fprintf(w, "> %q follows\n", l.body)
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")+l.body); err != nil {
		return err
	}
	method, _, _ := strings.Cut(l.request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return fmt.Errorf("the answer to %q: %w", l.request, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != l.status {
		return fmt.Errorf("%q is answered with %s", l.request, resp.Status)
	}
	fmt.Fprintln(w, "<", resp.Proto, resp.Status)
	if resp.Close && l.field == "Connection" {
		fmt.Fprintln(w, "< Connection: close")
	} else if value := resp.Header.Get(l.field); value != "" {
		fmt.Fprintf(w, "< %s: %s\n", l.field, value)
	}
	return nil
}
