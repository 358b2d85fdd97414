package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/mq"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

const somewhere = "tcp://127.0.0.1:1"

func TestWrongUsage(t *testing.T) {
	key, other := mq.NewCurveKey(), mq.NewCurveKey()
	for _, args := range [][]string{
		{},
		{"tcp", "--bind", somewhere},
		{"req"},
		{"req", "--bind"},
		{"req", "--connect", somewhere, "extra"},
		{"req", "--connect", somewhere, "--subscribe", "x"},
		{"req", "--connect", somewhere, "--mandatory"},
		{"req", "--connect", somewhere, "--sndhwm", "-1"},
		{"req", "--connect", somewhere, "--rcvhwm=many"},
		{"req", "--connect", somewhere, "--sndtimeo", "-2"},
		{"req", "--connect", somewhere, "--linger", "1s"},
		{"req", "--connect", somewhere, "--reconnect", "0"},
		{"req", "--connect", somewhere, "--handshake", "-1"},
		{"req", "--connect", somewhere, "--heartbeat=-1"},
		{"req", "--connect", somewhere, "--heartbeat-timeout=x"},
		{"req", "--connect", somewhere, "--maxmsg", "0"},
		{"req", "--connect", somewhere, "--maxmsg", "-2"},
		{"req", "--connect", somewhere, "--identity", ""},
		{"req", "--connect", somewhere, "--identity", strings.Repeat("x", 256)},
		{"req", "--connect", somewhere, "--manual=perhaps"},
		{"req", "--connect", somewhere, "--plain-client", "nobody"},
		{"req", "--connect", somewhere, "--plain-server", "nobody"},
		{"req", "--connect", somewhere, "--plain-server", "a:b", "--plain-client", "a:b"},
		{"req", "--connect", somewhere, "--curve-server", "short"},
		{"req", "--connect", somewhere, "--curve-server", strings.Repeat("~", 40)},
		{"req", "--connect", somewhere, "--curve-client", key.String()},
		{"req", "--connect", somewhere, "--curve-client", strings.Replace(curveKeys(key, key), key.Public().String(), other.Public().String(), 2)},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout, "%q", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q: %s", args, got.Stderr)
	}
}

func TestWrongEndpoints(t *testing.T) {
	inUse := taken(t)
	for _, args := range [][]string{
		{"--bind", "tcp://" + inUse},
		{"--bind", "tcp://192.0.2.1:5555"}, // TEST-NET-1 (RFC 5737)
		{"--bind", "ipc:///no/such/folder/socket"},
		{"--bind", "127.0.0.1:5555"},
		{"--bind", "pgm://eth0;239.192.1.1:5555"},
		{"--connect", "tcp://127.0.0.1"},
		{"--connect", "tcp://127.0.0.1:70000"},
		{"--connect", "udp://127.0.0.1:5555"},
		{"--connect", ""},
	} {
		got := clitest.Run(t, "", append([]string{"dealer"}, args...)...)
		require.Equal(t, 1, got.Status, "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout, "%q", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q: %s", args, got.Stderr)
		require.Contains(t, got.Stderr, strings.TrimPrefix(args[1], "tcp://"), "the failure names the endpoint")
	}
}

// taken returns an address that is in use.
func taken(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// Whatever a line says, the next one is heard.
func TestWrongLines(t *testing.T) {
	p := ours(t, "push", "--bind", "tcp://127.0.0.1:*")
	for _, line := range refused {
		p.say(line)
		p.fails("other")
	}
	p.say("", "  ", `{"op":"recv","timeout":10}`)
	p.fails("other") // not without --manual
	p.say(`{"op":"subscribe","topic":"x"}`)
	p.fails("other") // nor with this type
	p.goroutines()
	p.end()
}

func TestWrongDirection(t *testing.T) {
	p := ours(t, "pull", "--bind", "tcp://127.0.0.1:*", "--manual")
	p.say(`["x"]`)
	p.fails("other")
	require.Zero(t, p.flood(10, 1))
	p.say(`{"op":"recv","timeout":0}`)
	p.fails("timeout")
	p.end()
	p = ours(t, "push", "--bind", "tcp://127.0.0.1:*", "--manual")
	p.say(`{"op":"recv","timeout":1}`)
	p.fails("other")
	p.end()
}

// The input may be one line without end.
func TestLongLine(t *testing.T) {
	p := ours(t, "push", "--bind", "tcp://127.0.0.1:*")
	go func() {
		chunk := []byte(strings.Repeat("[", 1<<20))
		for range maxLine/len(chunk) + 1 {
			if _, err := p.in.Write(chunk); err != nil {
				return // the program has ended, as it should
			}
		}
	}()
	for range p.lines {
	}
	require.ErrorContains(t, p.cmd.Wait(), "exit status 1")
}

func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		// Neither an operation that waits nor one for ever to linger holds it up.
		p := ours(t, "push", "--connect", somewhere, "--linger", "-1", "--sndhwm", "1")
		p.say(`["waits"]`, `["blocks"]`, `["never read"]`)
		require.NoError(t, p.cmd.Process.Signal(sig))
		p.ends()
		// Nor does the file of an ipc endpoint stay.
		endpoint := ipc(t)
		p = ours(t, "rep", "--bind", "tcp://127.0.0.1:*", "--bind", endpoint)
		require.NoError(t, p.cmd.Process.Signal(sig))
		p.ends()
		require.NoFileExists(t, strings.TrimPrefix(endpoint, "ipc://"))
	}
}

// An operation that waits without a limit is given up some time after the end
// of the input.
func TestEndWhileBlocked(t *testing.T) {
	t.Parallel()
	p := ours(t, "push", "--bind", "tcp://127.0.0.1:*", "--linger", "0")
	p.say(`["nobody is there"]`)
	require.NoError(t, p.in.Close())
	p.fails("timeout")
	p.ends()
}

// All the input at once, as a shell gives it.
func TestPipe(t *testing.T) {
	rep := ours(t, "rep", "--bind", "tcp://127.0.0.1:*")
	got := clitest.Run(t, "[\"uno\"]\n[\"dos\",\"tres\"]", "req", "--connect="+rep.bound)
	require.Equal(t, clitest.Result{Stdout: "{\"event\":\"ready\"}\n[\"uno\"]\n[\"dos\",\"tres\"]\n"}, got)
	rep.hear(`["uno"]`, `["dos","tres"]`)
	got = clitest.Run(t, "{\"op\":\"recv\",\"timeout\":1}\n", "rep", "--bind=tcp://127.0.0.1:*", "--manual")
	require.Equal(t, 0, got.Status)
	require.Contains(t, got.Stdout, "\n{\"error\":\"timeout\",")
}

// After 200 connections of every kind as many goroutines are left as before.
func TestGoroutines(t *testing.T) {
	p := ours(t, "router", "--bind", "tcp://127.0.0.1:*", "--manual")
	addr := strings.TrimPrefix(p.bound, "tcp://")
	before := p.goroutines()
	for i := range 200 {
		conn := clitest.Dial(t, addr)
		switch i % 4 {
		case 0: // says nothing
		case 1:
			conn.Write(greeting()[:20])
		case 2:
			conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		case 3:
			greet(t, conn, "DEALER")
			fmt.Fprintf(conn, "\x00\x04hola")
			p.say(`{"op":"recv","timeout":20000}`)
			require.Contains(t, p.next(), `"hola"]`)
		}
		require.NoError(t, conn.Close())
	}
	settles(p, before)
	p.end()
}

// settles expects that p, which must be --manual and have no messages, soon has
// no more than so many goroutines.
func settles(p *peer, goroutines int) {
	p.t.Helper()
	now := 0
	for range 1000 {
		if now = p.goroutines(); now <= goroutines {
			return
		}
		p.say(`{"op":"recv","timeout":10}`) // a pause
		p.fails("timeout")
	}
	require.Fail(p.t, "goroutines are left", "%d before, %d after", goroutines, now)
}
