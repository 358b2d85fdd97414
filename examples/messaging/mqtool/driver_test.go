package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/pyzmq"
)

// A peer is a running mqtool, ours or the one in Python.
type peer struct {
	bound string // the first endpoint that was bound with a wildcard

	t     *testing.T
	args  []string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed at the end of its output
}

// A start starts a peer and waits until it is ready.
type start func(t *testing.T, args ...string) *peer

// ours is the program that is tested.
func ours(t *testing.T, args ...string) *peer {
	t.Helper()
	return launch(t, clitest.Command(t, args...), args)
}

// theirs is the same on libzmq.
func theirs(t *testing.T, args ...string) *peer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), pyzmq.Python(t), append([]string{filepath.Join("testdata", "reference.py")}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	return launch(t, cmd, args)
}

func launch(t *testing.T, cmd *exec.Cmd, args []string) *peer {
	t.Helper()
	p := &peer{t: t, args: args, cmd: cmd, lines: make(chan string, 1<<16)}
	var err error
	p.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		for range p.lines {
		}
		<-read
		cmd.Wait()
	})
	var event ready
	require.NoError(t, json.Unmarshal([]byte(p.next()), &event))
	require.Equal(t, "ready", event.Event)
	if len(event.Bound) > 0 {
		p.bound = event.Bound[0]
	}
	return p
}

// say writes lines to the peer's input.
func (p *peer) say(lines ...string) {
	p.t.Helper()
	_, err := io.WriteString(p.in, strings.Join(lines, "\n")+"\n")
	require.NoError(p.t, err)
}

// next returns the next line that the peer prints.
func (p *peer) next() string {
	p.t.Helper()
	line, ok := p.within(clitest.Limit)
	require.True(p.t, ok, "%v says nothing", p.args)
	return line
}

// within returns the next line if it comes soon enough.
func (p *peer) within(wait time.Duration) (string, bool) {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		require.True(p.t, ok, "%v has ended", p.args)
		return line, true
	case <-time.After(wait):
		return "", false
	}
}

// hear expects these lines, and nothing in between.
func (p *peer) hear(want ...string) {
	p.t.Helper()
	for _, line := range want {
		require.Equal(p.t, line, p.next())
	}
}

// fails expects an error of that kind.
func (p *peer) fails(kind string) {
	p.t.Helper()
	line := p.next()
	var f failure
	require.NoError(p.t, json.Unmarshal([]byte(line), &f), line)
	require.Equal(p.t, kind, f.Error, line)
}

// flood lets the peer send n messages and returns how many it could.
func (p *peer) flood(n, size int) int {
	p.t.Helper()
	p.say(fmt.Sprintf(`{"op":"flood","n":%d,"size":%d}`, n, size))
	var f flooded
	line := p.next()
	require.NoError(p.t, json.Unmarshal([]byte(line), &f), line)
	require.Equal(p.t, "flood", f.Event, line)
	return f.Sent
}

// goroutines asks for the number of goroutines.
func (p *peer) goroutines() int {
	p.t.Helper()
	p.say(`{"op":"stats"}`)
	var s stats
	line := p.next()
	require.NoError(p.t, json.Unmarshal([]byte(line), &s), line)
	require.Equal(p.t, "stats", s.Event, line)
	return s.Goroutines
}

// end closes the peer's input and expects that it says no more and exits with
// status 0.
func (p *peer) end() {
	p.t.Helper()
	require.NoError(p.t, p.in.Close())
	p.ends()
}

// ends expects that the peer says no more and exits with status 0.
func (p *peer) ends() {
	p.t.Helper()
	limit := time.After(clitest.Limit)
	for {
		select {
		case line, ok := <-p.lines:
			if ok {
				require.Fail(p.t, "one line too many", "%v says %s", p.args, line)
			}
			require.NoError(p.t, p.cmd.Wait(), "%v", p.args)
			return
		case <-limit:
			require.Fail(p.t, "the program does not end", "%v", p.args)
		}
	}
}

// kill ends the peer without warning and waits until it is gone.
func (p *peer) kill() {
	p.t.Helper()
	p.cmd.Process.Kill()
	for range p.lines {
	}
	p.cmd.Wait()
}

// sayUntil says numbered messages until one arrives at other, and takes all
// those off that are still on their way. It is for sockets that lose
// messages while they connect. form is a line with a %d in it.
func (p *peer) sayUntil(other *peer, form string) {
	p.t.Helper()
	deadline := time.Now().Add(clitest.Limit)
	for n := 1; time.Now().Before(deadline); n++ {
		p.say(fmt.Sprintf(form, n))
		if line, ok := other.within(20 * time.Millisecond); ok {
			p.say(`["end"]`)
			for {
				if line == `["end"]` {
					return
				}
				require.Regexp(p.t, "^"+strings.ReplaceAll(regexp.QuoteMeta(form), "%d", "[0-9]+")+"$", line)
				line = other.next()
			}
		}
	}
	require.Fail(p.t, "nothing arrives", "from %v to %v", p.args, other.args)
}

// together plays a scenario between two peers: ours and ours, and with libzmq
// on either side.
func together(t *testing.T, scenario func(t *testing.T, a, b start)) {
	t.Helper()
	t.Parallel() // most scenarios wait more than they work
	for _, test := range []struct {
		name string
		a, b start
	}{{"ours", ours, ours}, {"libzmq second", ours, theirs}, {"libzmq first", theirs, ours}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			scenario(t, test.a, test.b)
		})
	}
}

// alone is together for a scenario with one peer.
func alone(t *testing.T, scenario func(t *testing.T, a start)) {
	t.Helper()
	t.Parallel()
	t.Run("ours", func(t *testing.T) { scenario(t, ours) })
	t.Run("libzmq", func(t *testing.T) { scenario(t, theirs) })
}

// everywhere is together over every transport that two processes can share; any
// is an endpoint to bind.
func everywhere(t *testing.T, scenario func(t *testing.T, any string, a, b start)) {
	t.Helper()
	for _, transport := range []string{"tcp", "ipc"} {
		t.Run(transport, func(t *testing.T) {
			together(t, func(t *testing.T, a, b start) {
				any := "tcp://127.0.0.1:*"
				if transport == "ipc" {
					any = ipc(t)
				}
				scenario(t, any, a, b)
			})
		})
	}
}

// ipc returns an endpoint of a Unix socket. Their paths must be short, which
// those of t.TempDir are not everywhere.
func ipc(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mq")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return "ipc://" + filepath.Join(dir, "s")
}

// at returns where a peer that has bound any is to be found.
func at(p *peer, any string) string {
	if p.bound != "" {
		return p.bound
	}
	return any
}
