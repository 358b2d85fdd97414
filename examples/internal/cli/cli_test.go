package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// do runs a program of one command, named go, that does what action says.
func do(t *testing.T, ctx context.Context, action Action, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	p := Program{
		Name: "prog", Summary: "A program for tests.", Example: "prog go -n 3\nprog go",
		Commands: []Command{
			{Name: "go", Summary: "goes", Setup: func(fs *flag.FlagSet) Action {
				AddrFlags(fs, 7)
				Number(fs, "n", 1, 0, 10, "how `many`")
				return action
			}},
			{Name: "take", Summary: "takes", Args: "FILE", Setup: func(*flag.FlagSet) Action { return action }},
		},
	}
	var out, errs bytes.Buffer
	status = p.Run(ctx, args, strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

func TestRunStatus(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		err    error
		status int
		stderr string
	}{
		{"success", t.Context(), nil, OK, ""},
		{"failure", t.Context(), errors.New("no luck"), Failure, "prog: no luck\n"},
		{"two lines become one", t.Context(), errors.New("no luck\nat all\n"), Failure, "prog: no luck; at all\n"},
		{"usage", t.Context(), Usagef("want %d", 2), BadUsage, "prog: want 2\n"},
		{"wrapped usage", t.Context(), fmt.Errorf("x: %w", Usagef("want 2")), BadUsage, "prog: want 2\n"},
		{"status", t.Context(), Status(7), 7, ""},
		{"interrupted", cancelled, fmt.Errorf("waiting: %w", context.Canceled), Interrupted, "prog: interrupted\n"},
		{"interrupted by closing", cancelled, net.ErrClosed, Interrupted, "prog: interrupted\n"},
		{"server interrupted", cancelled, nil, OK, ""},
		{"failed before the interrupt", cancelled, errors.New("no luck"), Failure, "prog: no luck\n"},
		{"cancelled by itself", t.Context(), context.Canceled, Failure, "prog: context canceled\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := do(t, test.ctx, func(context.Context, *Env) error { return test.err }, "go")
			require.Equal(t, test.status, status)
			require.Equal(t, test.stderr, stderr)
			require.Empty(t, stdout)
		})
	}
}

func TestRunUsage(t *testing.T) {
	never := func(context.Context, *Env) error { panic("must not run") }
	for _, test := range []struct {
		args   string
		stderr string
	}{
		{"", "prog: no command given (prog -h lists them)\n"},
		{"stop", "prog: no command \"stop\" (prog -h lists them)\n"},
		{"-n 3 go", "prog: flag -n before a command (prog -h lists the commands)\n"},
		{"go -m", "prog: flag provided but not defined: -m (prog go -h shows the flags)\n"},
		{"go -n 11", "prog: invalid value \"11\" for flag -n: want a number from 0 to 10 (prog go -h shows the flags)\n"},
		{"go -n x", "prog: invalid value \"x\" for flag -n: want a number from 0 to 10 (prog go -h shows the flags)\n"},
		{"go -port 65536", "prog: invalid value \"65536\" for flag -port: want a number from 0 to 65535 (prog go -h shows the flags)\n"},
		{"go -port", "prog: flag needs an argument: -port (prog go -h shows the flags)\n"},
		{"go more", "prog: unexpected argument \"more\" (prog go -h shows the usage)\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			status, stdout, stderr := do(t, t.Context(), never, strings.Fields(test.args)...)
			require.Equal(t, BadUsage, status)
			require.Equal(t, test.stderr, stderr)
			require.Empty(t, stdout)
		})
	}
}

func TestRunHelp(t *testing.T) {
	never := func(context.Context, *Env) error { panic("must not run") }
	for _, args := range []string{"-h", "-help", "--help", "help"} {
		status, stdout, stderr := do(t, t.Context(), never, args)
		require.Equal(t, OK, status)
		require.Empty(t, stderr)
		require.Contains(t, stdout, "Usage: prog COMMAND [flags]\n")
		require.Contains(t, stdout, "\nCommands:\n  go    goes\n  take  takes\n")
		require.Contains(t, stdout, "\nExample:\n  prog go -n 3\n  prog go\n")
	}
	status, stdout, _ := do(t, t.Context(), never, "go", "-h")
	require.Equal(t, OK, status)
	require.Contains(t, stdout, "Usage: prog go [flags]\n\ngoes\n\nFlags:\n  -host address\n")
	require.Contains(t, stdout, "(default 127.0.0.1)")
	require.Contains(t, stdout, "-port port")
	require.Contains(t, stdout, "(default 7)")
	require.Contains(t, stdout, "\nExample:\n")
	_, stdout, _ = do(t, t.Context(), never, "take", "-h")
	require.Contains(t, stdout, "Usage: prog take FILE\n")
}

func TestRunArguments(t *testing.T) {
	var got []string
	status, _, _ := do(t, t.Context(), func(_ context.Context, env *Env) error {
		got = env.Args
		return nil
	}, "take", "a", "-b")
	require.Equal(t, OK, status)
	require.Equal(t, []string{"a", "-b"}, got)
}

// A command without a name runs when no other is named.
func TestUnnamedCommand(t *testing.T) {
	ran := ""
	command := func(name, args string) Command {
		return Command{Name: name, Summary: name + "!", Args: args, Setup: func(fs *flag.FlagSet) Action {
			fs.Bool("x", false, "a flag")
			return func(_ context.Context, env *Env) error { ran = name + ":" + strings.Join(env.Args, ","); return nil }
		}}
	}
	var out, errs bytes.Buffer
	p := Program{Name: "p", Example: "p", Commands: []Command{command("", "NAME"), command("demo", "")}}
	for _, test := range [][2]string{{"", ":"}, {"a b", ":a,b"}, {"-x a", ":a"}, {"demo", "demo:"}} {
		require.Equal(t, OK, p.Run(t.Context(), strings.Fields(test[0]), nil, &out, &errs))
		require.Equal(t, test[1], ran, test[0])
	}
	require.Equal(t, OK, p.Run(t.Context(), []string{"-h"}, nil, &out, &errs))
	require.Contains(t, out.String(), "Usage: p [flags] NAME\n")
	p.Commands[0].Args = ""
	require.Equal(t, BadUsage, p.Run(t.Context(), []string{"a"}, nil, &out, &errs))
	require.Equal(t, "p: no command \"a\" (p -h lists them)\n", errs.String())
}

func TestDemoHasALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Program{Name: "p", Commands: []Command{{Name: "demo", Setup: func(*flag.FlagSet) Action {
			return func(ctx context.Context, _ *Env) error { <-ctx.Done(); return ctx.Err() }
		}}}}
		var errs bytes.Buffer
		began := time.Now()
		require.Equal(t, Failure, p.Run(t.Context(), []string{"demo"}, nil, io.Discard, &errs))
		require.Equal(t, DemoLimit, time.Since(began))
		require.Equal(t, "p: timed out: no answer came\n", errs.String())
	})
}

func TestFlags(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	addr := AddrFlags(fs, 0)
	wait := Number(fs, "wait", time.Second, 0, time.Minute, "")
	part := Number(fs, "part", 0.5, 0, 1, "")
	size := Number(fs, "size", int64(1), 1, 1<<40, "")
	codec := Choice(fs, "codec", "json", "", "json", "gob")

	require.Equal(t, "127.0.0.1:0", addr.String())
	_, err := addr.Target()
	require.ErrorAs(t, err, new(*UsageError))
	require.NoError(t, fs.Parse([]string{"-host", "[::1]", "-port", "53", "-wait", "200ms", "-part", "1", "-size", "1099511627776", "-codec", "gob"}))
	target, err := addr.Target()
	require.NoError(t, err)
	require.Equal(t, "[::1]:53", target)
	require.Equal(t, 200*time.Millisecond, *wait)
	require.Equal(t, 1.0, *part)
	require.Equal(t, int64(1<<40), *size)
	require.Equal(t, "gob", *codec)
	for _, wrong := range []string{
		"-host=", "-host=[]", "-port=-1", "-wait=5", "-wait=-1s", "-wait=1h", "-part=NaN", "-part=1.1", "-part=-0.1",
		"-size=0", "-size=1099511627777", "-size=1.5", "-codec=xml", "-port=http",
	} {
		require.Error(t, fs.Parse([]string{wrong}), wrong)
	}
	require.Equal(t, "gob", *codec, "a wrong value changes nothing")
}

func TestListening(t *testing.T) {
	for _, test := range []struct {
		addr net.Addr
		line string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40123}, "listening on 127.0.0.1:40123\n"},
		{&net.UDPAddr{IP: net.IPv6loopback, Port: 40123}, "listening on [::1]:40123\n"},
	} {
		var out bytes.Buffer
		env := &Env{Stdout: &out}
		require.NoError(t, env.Listening(test.addr))
		require.Equal(t, test.line, out.String())
		addr, ok := ListeningAddr(strings.ReplaceAll(out.String(), "\n", "\r\n"))
		require.True(t, ok)
		require.Equal(t, test.addr.String(), addr)
	}
	_, ok := ListeningAddr("ready")
	require.False(t, ok)
}

func TestLines(t *testing.T) {
	collect := func(r io.Reader, max int) (lines []string, err error) {
		for line, e := range Lines(t.Context(), r, max) {
			if e != nil {
				return lines, e
			}
			lines = append(lines, line)
		}
		return lines, nil
	}
	lines, err := collect(strings.NewReader("uno\n\ntrés\r\nfour"), 5)
	require.NoError(t, err)
	require.Equal(t, []string{"uno", "", "trés", "four"}, lines)

	lines, err = collect(strings.NewReader(""), 5)
	require.NoError(t, err)
	require.Empty(t, lines)

	long := strings.Repeat("x", 10_000)
	lines, err = collect(iotest.OneByteReader(strings.NewReader("a\n"+long+"\r\n")), 10_000)
	require.NoError(t, err)
	require.Equal(t, []string{"a", long}, lines)
	for _, text := range []string{long + "\n", long, long + "\r\n"} {
		_, err = collect(strings.NewReader("a\n"+text), 9_999)
		tooLong, ok := errors.AsType[*LineError](err)
		require.True(t, ok, err)
		require.Equal(t, LineError{Line: 2, Max: 9_999}, *tooLong)
	}

	_, err = collect(iotest.ErrReader(errors.New("torn")), 5)
	require.EqualError(t, err, "torn")
}

// A line without end must not fill the memory.
func TestLinesAreBounded(t *testing.T) {
	read := 0
	endless := readerFunc(func(p []byte) (int, error) {
		read += len(p)
		return len(p), nil
	})
	for _, err := range Lines(t.Context(), endless, 1000) {
		require.ErrorAs(t, err, new(*LineError))
	}
	require.Less(t, read, 16<<10)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A terminal on which nobody types does not hold up the end of the program.
func TestLinesEndWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		terminal, keyboard := io.Pipe()
		time.AfterFunc(time.Minute, cancel)
		go keyboard.Write([]byte("one\n"))
		var got []string
		var last error
		for line, err := range Lines(ctx, terminal, 100) {
			got, last = append(got, line), err
		}
		require.Equal(t, []string{"one", ""}, got)
		require.ErrorIs(t, last, context.Canceled)
		keyboard.Close() // or the reader would stay blocked
	})
}

// Leaving the loop early leaves no goroutine behind once the read returns.
func TestLinesLeftEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for line := range Lines(t.Context(), strings.NewReader("a\nb\nc\n"), 100) {
			require.Equal(t, "a", line)
			break
		}
	})
}

// ends is a program with a server that repeats what it is sent and a client.
func ends(t *testing.T, server, client Action) *Env {
	setup := func(a Action) func(*flag.FlagSet) Action { return func(*flag.FlagSet) Action { return a } }
	var mu sync.Mutex
	out := &lockedWriter{&mu, new(bytes.Buffer)}
	return &Env{Stdout: out, Stderr: out, program: &Program{Name: "p", Commands: []Command{
		{Name: "server", Setup: setup(server)},
		{Name: "client", Args: "...", Setup: setup(client)},
	}}}
}

func output(e *Env) string {
	l := e.Stdout.(*lockedWriter)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.(*bytes.Buffer).String()
}

func TestDemoPieces(t *testing.T) {
	env := ends(t,
		func(ctx context.Context, env *Env) error {
			env.Listening(&net.TCPAddr{IP: net.IPv6loopback, Port: 4})
			<-ctx.Done()
			fmt.Fprint(env.Stderr, "bye")
			return nil
		},
		func(_ context.Context, env *Env) error {
			_, err := io.Copy(env.Stdout, env.Stdin)
			return err
		})
	srv, err := env.Start(t.Context(), "server")
	require.NoError(t, err)
	require.Equal(t, "[::1]:4", srv.Addr)
	require.Equal(t, "4", srv.Port())
	out, err := env.Play(t.Context(), "one\ntwo", "client", "-x y")
	require.Error(t, err, "the client has no such flag")
	require.Empty(t, out)
	out, err = env.As("B").Play(t.Context(), "one\ntwo", "client", "x y")
	require.NoError(t, err)
	require.Equal(t, "one\ntwo", out)
	require.NoError(t, srv.Stop())
	require.NoError(t, srv.Stop(), "twice")
	require.Equal(t, `$ p server
  server: listening on [::1]:4
$ p client "-x y" < "one\ntwo"
$ p client "x y" < "one\ntwo"
  B: one
  B: two
  server: bye
`, output(env))
}

func TestStartFails(t *testing.T) {
	broken := errors.New("no socket")
	env := ends(t, func(context.Context, *Env) error { return broken }, nil)
	_, err := env.Start(t.Context(), "server")
	require.ErrorIs(t, err, broken)

	env = ends(t, func(context.Context, *Env) error { return nil }, nil)
	_, err = env.Start(t.Context(), "server")
	require.ErrorContains(t, err, "stopped before it listened")

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		env := ends(t, func(ctx context.Context, _ *Env) error { <-ctx.Done(); return nil }, nil)
		_, err := env.Start(ctx, "server")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestServerError(t *testing.T) {
	broken := errors.New("no more")
	env := ends(t, func(ctx context.Context, env *Env) error {
		env.Listening(&net.TCPAddr{Port: 4})
		<-ctx.Done()
		return broken
	}, nil)
	srv, err := env.Start(t.Context(), "server")
	require.NoError(t, err)
	require.ErrorIs(t, srv.Stop(), broken)
}

func TestLabelWriter(t *testing.T) {
	var out bytes.Buffer
	w := &labelWriter{w: &out, label: "x"}
	for _, part := range []string{"a", "b\nc\n", "", "d"} {
		n, err := w.Write([]byte(part))
		require.NoError(t, err)
		require.Equal(t, len(part), n)
	}
	require.Equal(t, "  x: ab\n  x: c\n", out.String())
	w.flush()
	require.Equal(t, "  x: ab\n  x: c\n  x: d\n", out.String())
	w.Write(bytes.Repeat([]byte("y"), 3*labelMax))
	require.Less(t, len(w.partial), labelMax, "a line without end is passed on in pieces")
}

func TestExplain(t *testing.T) {
	// A port that was ours a moment ago, so that nobody listens there.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := ln.Addr().String()
	_, inUse := net.Listen("tcp", gone)
	ln.Close()
	_, refused := net.Dial("tcp", gone)
	require.Error(t, refused)
	require.Error(t, inUse)
	_, notOurs := net.Listen("tcp", "192.0.2.1:0")
	require.Error(t, notOurs)

	dialled := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp4", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 80}, Err: err}
	}
	for _, test := range []struct {
		err   error
		cause Cause
		text  string
	}{
		{refused, Refused, "cannot connect to " + gone + " over tcp: refused: no program listens there"},
		{fmt.Errorf("asking: %w", refused), Refused, "asking: cannot connect to " + gone + " over tcp: refused: no program listens there"},
		{fmt.Errorf("asking: framing: send %s: no luck: %w", gone, refused), Refused, "asking: no luck: cannot connect to " + gone + " over tcp: refused: no program listens there"},
		{inUse, AddrInUse, "cannot listen on " + gone + " over tcp: the address is in use by another program"},
		{notOurs, AddrNotOurs, "cannot listen on 192.0.2.1:0 over tcp: this machine has no such address"},
		{dialled(os.ErrDeadlineExceeded), TimedOut, "cannot connect to 192.0.2.7:80 over tcp: timed out: no answer came"},
		{dialled(errors.New("strange")), Unknown, "cannot connect to 192.0.2.7:80 over tcp: strange"},
		{
			&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "nowhere.example", IsNotFound: true}},
			NameNotFound, "cannot look up nowhere.example: name not found",
		},
		{&net.DNSError{Err: "timeout", Name: "example.org", IsTimeout: true}, NameFailed, "cannot look up example.org: the name service does not answer"},
		{&net.OpError{Op: "read", Net: "udp", Addr: nil, Err: os.ErrDeadlineExceeded}, TimedOut, "cannot read from the network over udp: timed out: no answer came"},
		{fmt.Errorf("asking: framing: receive: %w", dialled(os.ErrDeadlineExceeded)), TimedOut, "asking: cannot connect to 192.0.2.7:80 over tcp: timed out: no answer came"},
		{fmt.Errorf("asking: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}), Unknown, "asking: remote error: tls: bad certificate"},
		{io.EOF, HungUp, "the other side has closed the connection"},
		{fmt.Errorf("reading the name: %w", io.ErrUnexpectedEOF), Truncated, "reading the name: the other side closed the connection in the middle of a message"},
		{context.DeadlineExceeded, TimedOut, "timed out: no answer came"},
		{os.ErrNotExist, Unknown, "file does not exist"},
	} {
		require.Equal(t, test.cause, CauseOf(test.err), "%v", test.err)
		require.Equal(t, test.text, Explain(test.err))
	}
	require.Equal(t, Unknown, CauseOf(nil))
}

func TestExplainReset(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	require.NoError(t, server.(*net.TCPConn).SetLinger(0)) // closing sends a reset
	require.NoError(t, server.Close())
	_, err = client.Read(make([]byte, 1))
	require.Equal(t, Reset, CauseOf(err))
	require.Equal(t, fmt.Sprintf("cannot read from %v over tcp: reset: the other side broke the connection off", ln.Addr()), Explain(err))
}

func TestExplainTooLong(t *testing.T) {
	conn, err := net.Dial("udp", "127.0.0.1:9")
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(make([]byte, 65508))
	require.Equal(t, TooLong, CauseOf(err))
}

func TestInterruptible(t *testing.T) {
	text, err := io.ReadAll(Interruptible(t.Context(), strings.NewReader("all of it")))
	require.NoError(t, err)
	require.Equal(t, "all of it", string(text))

	blocked, writer := io.Pipe()
	defer writer.Close()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	r := Interruptible(ctx, blocked)
	cancel(cause)
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, cause)
}

func TestWatch(t *testing.T) {
	var out bytes.Buffer
	env, lines := (&Env{Stdout: &out}).Watch("on ")
	for _, line := range []string{"one\n", "on 1\n", "on 2\n"} {
		io.WriteString(env.Stdout, line)
	}
	require.Equal(t, "on 1\n", <-lines)
	require.Equal(t, "one\non 1\non 2\n", out.String())
}
