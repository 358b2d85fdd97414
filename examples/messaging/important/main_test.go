package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/pyzmq"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"publisher"}) }

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"subscriber"}, // where?
		{"subscriber", "-port", "1", "-n", "-1"},
		{"publisher", "-wait", "x"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q", args)
	}
}

// publish starts a publisher that waits for so many topics and then says lines.
func publish(t *testing.T, topics int, lines string) (p *clitest.Process, port string) {
	t.Helper()
	p = clitest.StartClient(t, lines, "publisher", "-port", "0", "-wait", fmt.Sprint(topics))
	addr, ok := cli.ListeningAddr(p.Stdout.WaitFor(t, "\n"))
	require.True(t, ok)
	_, port, _ = strings.Cut(strings.TrimSpace(addr), ":")
	return p, port
}

func TestTopics(t *testing.T) {
	publisher, port := publish(t, 3, "important: one\nImportant: two\nimportant\nimportant:three\n\n important: four\n")
	important := clitest.StartClient(t, "", "subscriber", "-port", port, "-n", "2")
	all := clitest.StartClient(t, "", "subscriber", "-port", port, "-topic", "", "-n=6")
	none := clitest.StartClient(t, "", "subscriber", "-port", port, "-topic", "nothing begins so")
	require.Equal(t, 0, important.Wait())
	require.Equal(t, "important: one\nimportant:three\n", important.Stdout.String())
	require.Equal(t, 0, all.Wait())
	require.Equal(t, "important: one\nImportant: two\nimportant\nimportant:three\n\n important: four\n", all.Stdout.String())
	require.Equal(t, 0, publisher.Wait())
	require.Contains(t, publisher.Stdout.String(), "6 lines published, 8 messages sent\n")
	require.Zero(t, none.Stop())
	require.Empty(t, none.Stdout.String())
}

// Without subscribers nothing is sent, and nobody waits.
func TestNobodyListens(t *testing.T) {
	got := clitest.Run(t, strings.Repeat("a\n", 5000), "publisher")
	require.Equal(t, 0, got.Status)
	require.Contains(t, got.Stdout, "5000 lines published, 0 messages sent\n")
}

func TestLongLine(t *testing.T) {
	got := clitest.Run(t, strings.Repeat("a", maxLine+1), "publisher")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "line 1 of the input is longer than")
}

// The publisher ends on request while it waits for subscribers.
func TestStopWhileWaiting(t *testing.T) {
	p, _ := publish(t, 1, "a\n")
	require.Zero(t, p.Stop())
	require.NotContains(t, p.Stdout.String(), "published")
}

// A subscriber that reads nothing holds up neither the publisher nor the others.
func TestStrangers(t *testing.T) {
	p, port := publish(t, 1, "important: one\n")
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("\xff", 100_000)} {
		conn := clitest.Dial(t, "127.0.0.1:"+port)
		conn.Write([]byte(said))
	}
	got := clitest.Run(t, "", "subscriber", "-port", port, "-n", "1")
	require.Equal(t, 0, got.Status)
	require.Equal(t, "important: one\n", got.Stdout)
	require.Equal(t, 0, p.Wait())
}

// The programs of the README, on either end.
func TestPython(t *testing.T) {
	python := pyzmq.Python(t)
	_, port := publish(t, 1, "quiet\nimportant: one\nimportant: two\n")
	cmd := exec.CommandContext(t.Context(), python, "-u", "-c", pyzmq.Program(t, "python", 1, "5556", port))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for _, want := range []string{"important: one", "important: two"} {
		require.True(t, lines.Scan())
		require.Equal(t, want, lines.Text())
	}
	cmd.Process.Kill()
	cmd.Wait()

	// Its publisher does not know when somebody listens: it says the same again.
	program := pyzmq.Program(t, "python", 0,
		`socket.bind("tcp://*:5556")`, `print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)`,
		"for line in sys.stdin:", `for line in iter(lambda: __import__("time").sleep(0.02) or "important: hola\n", None):`)
	cmd = exec.CommandContext(t.Context(), python, "-c", program)
	cmd.Stderr = os.Stderr
	out, err = cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	lines = bufio.NewScanner(out)
	require.True(t, lines.Scan())
	got := clitest.Run(t, "", "subscriber", "-port", lines.Text(), "-n", "2")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "important: hola\nimportant: hola\n", got.Stdout)
}
