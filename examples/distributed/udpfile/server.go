package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func serverCommand(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	dir := fs.String("dir", ".", "the `folder` of the files")
	replace := fs.Bool("replace", false, "let clients replace files that are there")
	most := cli.Number(fs, "max", int64(1<<32), 1, 1<<62, "take no file of more `bytes`")
	over := transportFlags(fs)
	timeout := timeoutFlag(fs)
	clients := cli.Number(fs, "clients", 16, 1, 10_000, "serve so `many` clients at a time; more must wait")
	return func(ctx context.Context, env *cli.Env) error {
		files, err := openFolder(*dir, *replace, *most)
		if err != nil {
			return err
		}
		defer files.close()
		ln, err := over().listen(ctx, addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		s := &server{files: files, timeout: *timeout, report: func(text string) { fmt.Fprintln(env.Stdout, text) }}
		return s.serve(ctx, ln, *clients)
	}
}

// A server sends and receives files for any number of clients at a time.
type server struct {
	files   *folder
	timeout time.Duration
	report  func(line string)
}

// serve returns nil when ctx ends.
func (s *server) serve(ctx context.Context, ln net.Listener, clients int) error {
	srv := &framing.Server{
		Format:   format,
		MaxConns: clients,
		Config:   *config(s.timeout),
		Linger:   lastWords,
		Grace:    2 * lastWords,
		Handler: func(_ context.Context, c *framing.Conn) error {
			// Not the server's context, with which the connection is closed
			// already: with this one there is time to tell the client.
			s.handle(ctx, &wire{c, s.timeout, unseen{}})
			return nil
		},
	}
	if err := srv.Serve(ctx, ln); ctx.Err() == nil {
		return err
	}
	return nil // told to stop
}

// handle serves one request and says what happened.
func (s *server) handle(ctx context.Context, w *wire) {
	request, err := w.hearSoon(ctx)
	var done result
	if err == nil {
		done, err = s.transfer(ctx, w, request)
	}
	what := "request"
	if request.Op != "" {
		what = fmt.Sprintf("%.10s %.200q", request.Op, request.Name)
	}
	if err == nil {
		s.report(fmt.Sprintf("%v: %s: %v", w.RemoteAddr(), what, done))
		return
	}
	s.report(fmt.Sprintf("%v: %s: failed: %v", w.RemoteAddr(), what, plain(ctx, w.RemoteAddr(), err)))
	confess(ctx, w, err)
}

func (s *server) transfer(ctx context.Context, w *wire, request note) (result, error) {
	if err := checkName(request.Name); err != nil {
		return result{}, err
	}
	switch request.Op {
	case "get":
		file, size, err := s.files.open(request.Name)
		if err != nil {
			return result{}, err
		}
		defer file.Close()
		return w.send(ctx, file, size)
	case "put":
		p, err := s.files.create(request.Name)
		if err != nil {
			return result{}, err
		}
		defer p.leave()
		return w.receive(ctx, p)
	}
	return result{}, refusal(fmt.Sprintf("%.10q is neither get nor put", request.Op))
}

// confess tells the peer why this end does not go on, if that is not the
// peer's own doing. It goes out even if ctx has ended meanwhile.
func confess(ctx context.Context, w *wire, err error) {
	var text string
	words, refused := errors.AsType[refusal](err)
	_, disk := errors.AsType[*diskError](err)
	_, damaged := errors.AsType[*sumError](err)
	switch {
	case damaged:
		return // both know
	case ctx.Err() != nil:
		text = "it stops"
	case refused:
		text = string(words)
	case disk:
		text = "its disk does not play along"
	default: // the peer has said why itself, or there is no way to it
		if conn, ok := w.Stream().(interface{ Abort() }); ok {
			conn.Abort() // Close would wait for it
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = w.tell(ctx, note{Error: text}) // a file may be on its way, and nothing can be said before its end
}
