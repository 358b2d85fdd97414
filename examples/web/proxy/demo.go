package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

const page = `<!doctype html>
<title>Zócalo</title>
<p>A page with pictures: <img src="/uno.svg" alt="one"> <img src="/dos.svg" alt="two">
`

const picture = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="15"/></svg>
`

// origin is a server whose page must be asked about every time, while its
// pictures may be kept.
func origin(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	keep := cli.Number(fs, "max-age", time.Minute, 0, 24*365*time.Hour, "how long the pictures may be kept")
	return func(ctx context.Context, env *cli.Env) error {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
			const tag = `"page-1"`
			w.Header().Set("Etag", tag)
			w.Header().Set("Cache-Control", "no-cache")
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, page)
		})
		for _, name := range []string{"uno", "dos"} {
			mux.HandleFunc("GET /"+name+".svg", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "image/svg+xml")
				w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", int(keep.Seconds())))
				io.WriteString(w, picture)
			})
		}
		s := &httpx.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			condition := ""
			if tag := r.Header.Get("If-None-Match"); tag != "" {
				condition = ", if it is not " + tag
			}
			fmt.Fprintf(env.Stdout, "asked for %s %q%s\n", r.Method, r.URL.Path, condition)
			mux.ServeHTTP(w, r)
		})}
		return env.Serve(ctx, addr.String(), s.Serve)
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		server, err := env.Start(ctx, "origin", "-port", "0")
		if err != nil {
			return err
		}
		defer server.Stop()
		front, err := env.As("proxy").Start(ctx, "-listen", "127.0.0.1:0", "-forward", "-allow-loopback")
		if err != nil {
			return err
		}
		defer front.Stop()
		client := &http.Client{
			Timeout:   10 * time.Second,
			Transport: &httpx.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: front.Addr})},
		}
		for range 2 {
			fmt.Fprintln(env.Stdout, "a browser loads the page")
			for _, path := range []string{"/", "/uno.svg", "/dos.svg"} {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.Addr+path, nil)
				if err != nil {
					return err
				}
				resp, err := client.Do(r)
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil {
					return err
				}
			}
		}
		if err := front.Stop(); err != nil {
			return err
		}
		return server.Stop()
	}
}
