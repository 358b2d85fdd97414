package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// As returns a copy of e whose [Env.Start] and [Env.Play] label what they show
// with name instead of the command's own name: for a demo with two clients.
func (e *Env) As(name string) *Env {
	copied := *e
	copied.label = name
	return &copied
}

// A Server is a server command that runs in the background of a demo.
type Server struct {
	// Addr is the address of its line "listening on ADDR".
	Addr string

	cancel context.CancelFunc
	done   chan struct{} // closed when the action has returned, after err was set
	err    error
}

// Start runs a server command of the same program, such as Start(ctx,
// "server", "-port", "0"), in the background, and returns when it has said
// "listening on ADDR". The command line and what the server prints appear on
// e.Stdout, labelled. The caller must call [Server.Stop].
func (e *Env) Start(ctx context.Context, args ...string) (*Server, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Server{cancel: cancel, done: make(chan struct{})}
	e.announce(args, "")
	label := e.labelFor(args)
	heard := make(chan string, 1)
	out := &labelWriter{w: e.Stdout, label: label, heard: heard}
	errs := &labelWriter{w: e.Stdout, label: label}
	env := &Env{Stdin: strings.NewReader(""), Stdout: out, Stderr: errs, program: e.program}
	go func() {
		defer close(s.done)
		defer errs.flush()
		defer out.flush()
		s.err = e.program.run(ctx, env, args)
	}()
	select {
	case s.Addr = <-heard:
		return s, nil
	case <-s.done:
		cancel()
		if s.err != nil {
			return nil, s.err
		}
		return nil, errors.New("the server stopped before it listened")
	case <-ctx.Done():
		err := context.Cause(ctx) // before Stop cancels it once more
		s.Stop()
		return nil, fmt.Errorf("the server has not said where it listens: %w", err)
	}
}

// Port returns the port of s.Addr, in decimal, for a client's -port.
func (s *Server) Port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// Stop cancels the server's context, waits until it has ended and returns its
// error: nil if it stopped as a server should. It may be called again.
func (s *Server) Stop() error {
	s.cancel()
	<-s.done
	return s.err
}

// Play runs a command of the same program to its end, with stdin as its
// standard input, shows the command line and what it prints on e.Stdout,
// labelled, and returns what it wrote to its standard output.
func (e *Env) Play(ctx context.Context, stdin string, args ...string) (string, error) {
	e.announce(args, stdin)
	label := e.labelFor(args)
	var kept strings.Builder
	out := &labelWriter{w: e.Stdout, label: label, kept: &kept}
	errs := &labelWriter{w: e.Stdout, label: label}
	env := &Env{Stdin: strings.NewReader(stdin), Stdout: out, Stderr: errs, program: e.program}
	err := e.program.run(ctx, env, args)
	out.flush()
	errs.flush()
	out.mu.Lock() // an action that left a goroutine behind must not race with us
	defer out.mu.Unlock()
	return kept.String(), err
}

func (e *Env) labelFor(args []string) string {
	if e.label != "" || len(args) == 0 {
		return e.label
	}
	return args[0]
}

// announce prints the command line as one would type it, and what is given to
// it as standard input.
func (e *Env) announce(args []string, stdin string) {
	words := []string{"$", e.program.Name}
	for _, arg := range args {
		if arg == "" || strings.ContainsFunc(arg, special) {
			arg = strconv.Quote(arg)
		}
		words = append(words, arg)
	}
	if stdin != "" {
		const most = 60
		shown := []rune(stdin)
		more := ""
		if len(shown) > most {
			shown, more = shown[:most], "…"
		}
		words = append(words, "<", strconv.Quote(string(shown))+more)
	}
	fmt.Fprintln(e.Stdout, strings.Join(words, " "))
}

// special reports whether a word with r in it is put between quotes.
func special(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-.:/=,_", r)
}

// Watch returns a copy of e, and a channel on which the first line comes that
// is printed there and has text in it: for a demo that waits for a command in
// the background.
func (e *Env) Watch(text string) (*Env, <-chan string) {
	lines := make(chan string, 1)
	watched := *e
	watched.Stdout = &watcher{w: e.Stdout, text: text, lines: lines}
	return &watched, lines
}

type watcher struct {
	w     io.Writer
	text  string
	lines chan<- string // has room for the one line
	once  sync.Once
}

// Write takes whole lines, as all the output of a demo comes.
func (w *watcher) Write(p []byte) (int, error) {
	if line := string(p); strings.Contains(line, w.text) {
		w.once.Do(func() { w.lines <- line })
	}
	return w.w.Write(p)
}
