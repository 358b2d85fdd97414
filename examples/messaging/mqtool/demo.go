package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mq"
)

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		s := &stage{out: env.Stdout}
		defer s.close()
		const any = "tcp://127.0.0.1:*"

		s.title("A request and its reply; rep sends back what it gets")
		rep := s.enter(ctx, "rep", "--bind", any)
		req := s.enter(ctx, "req", "--connect", rep.bound)
		req.say(`["hola",{"fill":5000}]`)
		rep.hear(`["hola",{"len":5000,`)
		req.hear(`["hola",{"len":5000,`)

		s.title("A router knows its peers by name, and says when it does not")
		router := s.enter(ctx, "router", "--mandatory", "--bind", any)
		dealer := s.enter(ctx, "dealer", "--identity", "Ana", "--connect", router.bound)
		dealer.say(`["buenos días"]`)
		router.hear(`["Ana","buenos días"]`)
		router.say(`["Ana","buenas tardes"]`)
		dealer.hear(`["buenas tardes"]`)
		router.say(`["Eva","buenas noches"]`)
		router.hear(`{"error":"unroutable"`)

		s.title("A publisher sees what is asked for, and sends nothing else")
		xpub := s.enter(ctx, "xpub", "--bind", any)
		sub := s.enter(ctx, "sub", "--subscribe", "news", "--connect", xpub.bound)
		xpub.hear(`["\u0001news"]`)
		xpub.say(`["weather","rain"]`)
		xpub.say(`["news","market at nine"]`)
		sub.hear(`["news","market at nine"]`)

		s.title("Work for nobody: at the high-water mark a push blocks")
		push := s.enter(ctx, "push", "--connect", "tcp://127.0.0.1:1", "--sndhwm", "3", "--sndtimeo", "100", "--linger", "0")
		push.say(`{"op":"flood","n":10,"size":100}`)
		push.hear(`{"event":"flood","sent":3}`)
		push.say(`["one more"]`)
		push.hear(`{"error":"timeout"`)

		s.title("CURVE: the same, but nobody else can read it")
		server, client := mq.NewCurveKey(), mq.NewCurveKey()
		pull := s.enter(ctx, "pull", "--curve-server", server.String(), "--bind", any)
		secret := s.enter(ctx, "push", "--curve-client", strings.Join([]string{
			server.Public().String(), client.Public().String(), client.String(),
		}, ","), "--connect", pull.bound)
		secret.say(`["the password is 1234"]`)
		pull.hear(`["the password is 1234"]`)
		return s.err
	}
}

// A stage is where the sockets of the demo talk. After its first error it does
// nothing more.
type stage struct {
	out   io.Writer
	err   error
	leave []func()
	wg    sync.WaitGroup
}

func (s *stage) title(text string) { s.printf("\n%s:\n", text) }

func (s *stage) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, format, args...)
	}
}

// close ends the input of all and waits for them.
func (s *stage) close() {
	for _, leave := range s.leave {
		leave()
	}
	s.wg.Wait()
}

// An actor is one mqtool on the stage.
type actor struct {
	*stage
	name  string
	bound string
	in    io.Writer
	lines *bufio.Scanner
}

// enter starts an mqtool and waits until it is ready.
func (s *stage) enter(ctx context.Context, args ...string) *actor {
	shown := slices.Clone(args)
	for i, arg := range shown {
		if strings.ContainsAny(arg, "*?!#$&<>(){}[]^") { // a shell would take them for its own
			shown[i] = "'" + arg + "'"
		}
	}
	s.printf("$ mqtool %s\n", strings.Join(shown, " "))
	a := &actor{stage: s, name: args[0]}
	if s.err != nil {
		return a
	}
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	a.in, a.lines = inWrite, bufio.NewScanner(outRead)
	s.leave = append(s.leave, func() { inWrite.Close(); outRead.Close() })
	s.wg.Go(func() {
		var errs strings.Builder
		status := run(ctx, args, inRead, outWrite, &errs)
		inRead.Close()
		outWrite.CloseWithError(fmt.Errorf("%s has ended with status %d %s", args[0], status, errs.String()))
	})
	line := a.next()
	var event ready
	if s.err == nil {
		s.err = json.Unmarshal([]byte(line), &event)
	}
	if len(event.Bound) > 0 {
		a.bound = event.Bound[0]
	}
	return a
}

// say gives the actor a line.
func (a *actor) say(line string) {
	a.printf("  %s < %s\n", a.name, line)
	if a.err == nil {
		_, a.err = io.WriteString(a.in, line+"\n")
	}
}

// next prints the actor's next line of output and returns it.
func (a *actor) next() string {
	if a.err != nil {
		return ""
	}
	if !a.lines.Scan() {
		a.err = a.lines.Err()
		return ""
	}
	a.printf("  %s > %.100s\n", a.name, a.lines.Text())
	return a.lines.Text()
}

// hear expects a line that begins so.
func (a *actor) hear(want string) {
	if line := a.next(); a.err == nil && !strings.HasPrefix(line, want) {
		a.err = fmt.Errorf("%s should have said %s, not %s", a.name, want, line)
	}
}
