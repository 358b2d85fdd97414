// Package clitest tests the programs of the exercises from the outside: the
// test binary runs itself again as the program, so that flags, output, exit
// status and signals are the real ones.
//
// A test file of an exercise has
//
//	func TestMain(m *testing.M) { clitest.Main(m, run) }
//
//	func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }
//
//	func TestExchange(t *testing.T) {
//		server := clitest.Start(t, "server", "-port", "0")
//		got := clitest.Run(t, "hola\n", "client", "-port", server.Port())
//		…
//	}
package clitest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// Limit is how long a test waits for a program to say something or to end
// before it fails.
const Limit = 30 * time.Second

// programEnv tells the test binary that it is to be the program.
const programEnv = "ZOCALO_EXERCISE_PROGRAM"

// orphanLimit ends a program whose test was killed before it could clean up.
const orphanLimit = 5 * time.Minute

// Main is the body of an exercise's TestMain: it runs the tests or, when this
// process was started by [Run] or [Start], the program run.
func Main(m *testing.M, run cli.Func) {
	if os.Getenv(programEnv) == "" {
		os.Exit(m.Run())
	}
	time.AfterFunc(orphanLimit, func() { os.Exit(99) })
	cli.Main(run)
}

// Command returns the program with args, not yet started, for a test that
// needs what [Run] and [Start] do not offer. It is killed when the test ends.
func Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), programEnv+"=1",
		// Under the race detector a program sleeps a second before it exits, for
		// reports still to come. A report makes its exit status 66 anyway.
		"GORACE="+strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// A Result is what a finished program left.
type Result struct {
	Status int    // exit status; -1 if a signal killed it
	Stdout string // all of its standard output
	Stderr string // all of its standard error
}

// Run runs the program with args and stdin to its end. The test fails if that
// takes longer than [Limit].
func Run(t testing.TB, stdin string, args ...string) Result {
	t.Helper()
	p := start(t, stdin, args)
	status := p.Wait()
	return Result{status, p.Stdout.String(), p.Stderr.String()}
}

// A Process is a running program. It is killed when the test ends.
type Process struct {
	Addr   string  // from its line "listening on ADDR"; empty unless [Start] made it
	Stdout *Output // its standard output so far
	Stderr *Output // its standard error so far

	t    testing.TB
	cmd  *exec.Cmd
	args []string
	done chan struct{} // closed when the process has ended and its output is complete
}

// Start runs the program with args, which start a server, and waits for its
// line "listening on ADDR", which must be its first. The test fails if it does
// not come within [Limit].
func Start(t testing.TB, args ...string) *Process {
	t.Helper()
	p := start(t, "", args)
	line := p.Stdout.WaitFor(t, "\n")
	first, _, _ := strings.Cut(line, "\n")
	addr, ok := cli.ListeningAddr(first)
	require.True(t, ok, "the first line of %v must be \"listening on ADDR\", not %q\nstderr: %s", args, first, p.Stderr)
	p.Addr = addr
	return p
}

// StartClient runs the program with args in the background with stdin as its
// whole standard input, and waits for nothing.
func StartClient(t testing.TB, stdin string, args ...string) *Process {
	t.Helper()
	return start(t, stdin, args)
}

func start(t testing.TB, stdin string, args []string) *Process {
	t.Helper()
	p := &Process{
		Stdout: newOutput(), Stderr: newOutput(),
		t: t, cmd: Command(t, args...), args: args, done: make(chan struct{}),
	}
	p.cmd.Stdin = strings.NewReader(stdin)
	p.cmd.Stdout, p.cmd.Stderr = p.Stdout, p.Stderr
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		p.cmd.Wait() // the status is in ProcessState
		p.Stdout.end()
		p.Stderr.end()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%v\nstdout:\n%s\nstderr:\n%s", args, p.Stdout, p.Stderr)
		}
	})
	return p
}

// Host returns the host of p.Addr, without brackets.
func (p *Process) Host() string {
	host, _, _ := net.SplitHostPort(p.Addr)
	return host
}

// Port returns the port of p.Addr, in decimal.
func (p *Process) Port() string {
	_, port, _ := net.SplitHostPort(p.Addr)
	return port
}

// Wait waits until the program has ended and returns its exit status, or -1 if
// a signal killed it. The test fails if it takes longer than [Limit].
func (p *Process) Wait() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), Limit)
	defer cancel()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-ctx.Done():
		require.Fail(p.t, "the program does not end", "%v still runs after %v", p.args, Limit)
		return -1
	}
}

// Signal sends sig to the program. Windows has no signals between processes:
// use it there only with [os.Kill].
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(p.t, err)
	}
}

// Stop ends the program with SIGTERM and returns its exit status. On Windows,
// which has no such signal, it kills the program and returns 0.
func (p *Process) Stop() int {
	p.t.Helper()
	if runtime.GOOS == "windows" {
		p.Signal(os.Kill)
		p.Wait()
		return 0
	}
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// An Output collects what a program prints. Its methods may be called at the
// same time by several goroutines.
type Output struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	ended   bool
	changed chan struct{} // closed and replaced whenever buf or ended changes
}

func newOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write adds to the output. It never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	o.wake()
	return len(p), nil
}

func (o *Output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.wake()
}

func (o *Output) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// String returns what has been printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// WaitFor waits until the output contains text and returns all of it so far.
// The test fails when the program ends before, or after [Limit].
func (o *Output) WaitFor(t testing.TB, text string) string {
	t.Helper()
	return o.WaitForCount(t, text, 1)
}

// WaitForCount is like [Output.WaitFor], but waits until text is there n times.
func (o *Output) WaitForCount(t testing.TB, text string, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Limit)
	defer cancel()
	for {
		o.mu.Lock()
		now, ended, changed := o.buf.String(), o.ended, o.changed
		o.mu.Unlock()
		if strings.Count(now, text) >= n {
			return now
		}
		if ended {
			require.Fail(t, "the program ended too early", "waiting for %q (%d times), it printed %q", text, n, now)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			require.Fail(t, "the program does not say what it should", "waiting for %q (%d times), it printed %q in %v", text, n, now, Limit)
		}
	}
}
