// W8 anatomy: an HTTP message taken apart byte by byte, the course's captured
// request and response, and a hand-typed request to a server.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "anatomy",
		Summary: "An HTTP message byte by byte: what each part is, where it begins, how long it is.",
		Example: `
go run ./examples/web/anatomy questions
go run ./examples/web/anatomy explain examples/web/anatomy/testdata/request.http
go run ./examples/web/anatomy server -port 8080
printf 'hola\n' | go run ./examples/web/anatomy client -port 8080
`,
		Commands: []cli.Command{
			{Name: "explain", Summary: "takes the messages of a file apart, or, without one, the course's two", Args: "[FILE]", Setup: explain},
			{Name: "questions", Summary: "answers the course's questions about its two messages", Setup: questions},
			{Name: "server", Summary: "a small web server to type requests to", Setup: server},
			{Name: "client", Summary: "sends the request on standard input and takes what comes back apart", Setup: client},
			{Name: "demo", Summary: "answers the questions, then types some requests to a server", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func explain(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		switch len(env.Args) {
		case 0:
			request, response, err := captured()
			if err != nil {
				return err
			}
			request.show(env.Stdout)
			fmt.Fprintln(env.Stdout)
			response.show(env.Stdout)
			return nil
		case 1:
		default:
			return cli.Usagef("explain wants the name of one file")
		}
		f, err := os.Open(env.Args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		stream, err := io.ReadAll(io.LimitReader(f, maxStream+1))
		if err != nil {
			return err
		}
		if len(stream) > maxStream {
			return fmt.Errorf("%s is longer than %d bytes", env.Args[0], maxStream)
		}
		showAll(env.Stdout, stream, nil)
		return nil
	}
}

func questions(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		request, response, err := captured()
		if err != nil {
			return err
		}
		return answerQuestions(env.Stdout, request, response)
	}
}

// page is what the server has to show.
const page = "<!doctype html>\n<title>Zócalo</title>\n<p>A socket, and a square.\n"

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	header := cli.Number(fs, "header-timeout", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for the whole header of a request")
	return func(ctx context.Context, env *cli.Env) error {
		s := &httpx.Server{Handler: site(), HeaderTimeout: *header}
		return env.Serve(ctx, addr.String(), s.Serve)
	}
}

// site answers with a page whose length is known, and with one that is written
// bit by bit.
func site() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	})
	mux.HandleFunc("GET /slowly", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, line := range []string{"uno\n", "dos\n", "tres\n"} {
			io.WriteString(w, line)
			w.(http.Flusher).Flush() // each goes out as a chunk
		}
	})
	return mux
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		if _, err := env.Play(ctx, "", "questions"); err != nil {
			return err
		}
		srv, err := env.Start(ctx, "server", "-port", "0")
		if err != nil {
			return err
		}
		defer srv.Stop()
		for _, request := range []string{
			// Two requests at once; the answer to the second comes in chunks.
			"HEAD / HTTP/1.1\nHost: zocalo.test\n\nGET /slowly HTTP/1.1\nHost: zocalo.test\n\n",
			"hola\n",
		} {
			if _, err := env.Play(ctx, request, "client", "-port", srv.Port()); err != nil {
				return err
			}
		}
		return srv.Stop()
	}
}
