package main

import (
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
	"github.com/zocalo-go/zocalo/httpx"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		server := &httpx.Server{Handler: new(standIn)}
		served := make(chan error, 1)
		go func() { served <- server.Serve(ctx, ln) }()
		defer func() { server.Close(); <-served }()
		dir, err := os.MkdirTemp("", "wget")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)

		file := filepath.Join(dir, "poem.txt")
		play := func(path string, flags ...string) error {
			// What it prints shall not have the folder's name, which is another each time.
			var said strings.Builder
			hidden := *env
			hidden.Stdout = &said
			_, err := hidden.As("wget").Play(ctx, "", append(flags, "-o", file, "http://"+ln.Addr().String()+path)...)
			io.WriteString(env.Stdout, strings.ReplaceAll(said.String(), dir+string(filepath.Separator), ""))
			if err != nil {
				fmt.Fprintf(env.Stdout, "  wget: %s\n", strings.ReplaceAll(cli.Explain(err), dir+string(filepath.Separator), ""))
			}
			return err
		}
		if err := play("/old"); err != nil {
			return err
		}
		headers, err := os.ReadFile(file + ".headers")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(headers)) {
			if !strings.HasPrefix(line, "#") {
				fmt.Fprint(env.Stdout, "  poem.txt.headers: ", line)
			}
		}
		if err := play("/circle"); err == nil {
			return fmt.Errorf("it went round in circles and came to an end")
		}
		if err := play("/cut"); err == nil {
			return fmt.Errorf("half of the file passed for the whole")
		}
		if err := play("/cut", "-continue"); err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		if err == nil && string(text) != poem {
			err = fmt.Errorf("the two halves do not fit: %q", text)
		}
		return err
	}
}

const poem = "Twinkle, twinkle, little bat!\nHow I wonder what you're at!\n"

// A standIn is a server with the troubles of the real ones.
type standIn struct{ cut bool }

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/old":
		http.Redirect(w, r, "/poem", http.StatusMovedPermanently)
	case "/circle":
		http.Redirect(w, r, "/circle2", http.StatusFound)
	case "/circle2":
		http.Redirect(w, r, "/circle", http.StatusFound)
	case "/poem":
		io.WriteString(w, poem)
	case "/cut":
		w.Header().Set("ETag", `"1865"`)
		if !s.cut {
			s.cut = true
			w.Header().Set("Content-Length", fmt.Sprint(len(poem)))
			io.WriteString(w, poem[:30])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler) // closes the connection
		}
		http.ServeContent(w, r, "poem.txt", time.Time{}, strings.NewReader(poem))
	default:
		http.NotFound(w, r)
	}
}
