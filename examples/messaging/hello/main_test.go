package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/pyzmq"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

func TestTenTimes(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for range 2 {
		got := clitest.Run(t, "", "client", "-port", srv.Port())
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, 10, strings.Count(got.Stdout, "Hello → World"))
	}
	require.Zero(t, srv.Stop())
	require.Equal(t, 20, strings.Count(srv.Stdout.String(), "Received Hello\n"))
}

func TestTexts(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-reply", "a\x1b[2J")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-n", "1", "-text", "¡\x07Hola!")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "→ a·[2J ", "what a stranger says does not command the terminal")
	srv.Stdout.WaitFor(t, "Received ¡·Hola!\n")
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0")
	got := clitest.Run(t, "", "client", "-host", "::1", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
}

func TestNobodyThere(t *testing.T) {
	addr, port := clitest.Stranger(t, func(conn net.Conn, over <-chan struct{}) { <-over })
	got := clitest.Run(t, "", "client", "-port", port, "-wait", "50ms")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "hello: request 1: no answer from tcp://"+addr+" within 50ms: nobody is there, or it hangs\n", got.Stderr)
	got = clitest.Run(t, "", "client", "-port", "0")
	require.Equal(t, 2, got.Status)
}

// What is not ØMQ, or too long, ends that connection alone.
func TestStrangers(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f", strings.Repeat("\xff", 1<<20)} {
		conn := clitest.Dial(t, srv.Addr)
		io.WriteString(conn, said) // the server may hang up before it is all said
	}
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-n", "1", "-wait", "200ms", "-text", strings.Repeat("x", maxSize+1))
	require.Equal(t, 1, got.Status, got.Stdout)
	got = clitest.Run(t, "", "client", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
}

// A client that is killed with its request under way does not stop the server.
func TestClientGone(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-work", "100ms")
	client := clitest.StartClient(t, "", "client", "-port", srv.Port())
	srv.Stdout.WaitFor(t, "Received")
	client.Signal(os.Kill)
	client.Wait()
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-n", "1")
	require.Equal(t, 0, got.Status, got.Stderr)
}

// The programs of the README on either end.
func TestPython(t *testing.T) {
	python := pyzmq.Python(t)
	srv := clitest.Start(t, "server", "-port", "0")
	out, err := exec.CommandContext(t.Context(), python, "-c", pyzmq.Program(t, "python", 1, "5555", srv.Port())).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, strings.Repeat("World\n", 10), string(out))

	port := freePort(t)
	play(t, port, exec.CommandContext(t.Context(), python, "-c", pyzmq.Program(t, "python", 0, "*:5555", "127.0.0.1:"+port)))
}

// play lets our client talk to a server in another language.
func play(t *testing.T, port string, server *exec.Cmd) {
	t.Helper()
	server.Stderr = os.Stderr
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	got := clitest.Run(t, "", "client", "-port", port)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 10, strings.Count(got.Stdout, "Hello → World"))
}

func TestCPlusPlus(t *testing.T) {
	compiler := interop.Program(t, "g++", "g++")
	dir := t.TempDir()
	compile := func(n int, replace ...string) *exec.Cmd {
		source := filepath.Join(dir, "hello.cpp")
		require.NoError(t, os.WriteFile(source, []byte(pyzmq.Program(t, "cpp", n, replace...)), 0o600))
		program := filepath.Join(dir, "hello")
		out, err := exec.CommandContext(t.Context(), compiler, "-o", program, source, "-lzmq").CombinedOutput()
		if err != nil && strings.Contains(string(out), "zmq.hpp: No such file") {
			interop.Missing(t, "no zmq.hpp (Debian package cppzmq-dev)")
		}
		require.NoError(t, err, "%s", out)
		return exec.CommandContext(t.Context(), program)
	}
	srv := clitest.Start(t, "server", "-port", "0")
	out, err := compile(1, "5555", srv.Port()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, strings.Repeat("World\n", 10), string(out))

	port := freePort(t)
	play(t, port, compile(0, "*:5555", "127.0.0.1:"+port))
}

// freePort returns a port on which nobody listens. Our client waits until
// somebody does.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return port
}
