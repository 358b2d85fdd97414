package cache

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/internal/testcert"
)

// memcached runs the real one with these arguments until the test ends.
func memcached(t testing.TB, args ...string) {
	t.Helper()
	program := interop.Program(t, "memcached", "memcached")
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-u", "root", "-U", "0", "-vv"}, args...)...)
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var wg sync.WaitGroup
	t.Cleanup(func() { cmd.Process.Kill(); wg.Wait(); cmd.Wait() })
	lines := bufio.NewReader(said)
	for {
		line, err := lines.ReadString('\n')
		require.NoError(t, err, "memcached does not listen")
		if strings.Contains(line, "server listening") {
			break
		}
	}
	wg.Go(func() { io.Copy(io.Discard, lines) })
}

// freePort returns a port that nobody has.
func freePort(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	return port
}

func TestClientOnMemcached(t *testing.T) {
	interop.Program(t, "memcached", "memcached")
	t.Run("TCP", func(t *testing.T) {
		testClient(t, func(t *testing.T) *Client {
			port := freePort(t)
			memcached(t, "-l", "127.0.0.1", "-p", port)
			return slow(t, NewClient("127.0.0.1:"+port))
		})
	})
	t.Run("Unix sockets", func(t *testing.T) {
		testClient(t, func(t *testing.T) *Client {
			dir := t.TempDir()
			a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
			memcached(t, "-s", a)
			memcached(t, "-s", b)
			return slow(t, NewClient(a, b))
		})
	})
}

// serve runs our server on a listener until the test ends.
func serve(t testing.TB, ln net.Listener) (addr string) {
	s := &Server{}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

func listen(t testing.TB, network, addr string) net.Listener {
	ln, err := net.Listen(network, addr)
	require.NoError(t, err)
	return ln
}

func TestClientOnServer(t *testing.T) {
	t.Run("TCP", func(t *testing.T) {
		testClient(t, func(t *testing.T) *Client {
			return slow(t, NewClient(serve(t, listen(t, "tcp", "127.0.0.1:0"))))
		})
	})
	t.Run("Unix sockets", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("a file that is a socket cannot always be made there")
		}
		testClient(t, func(t *testing.T) *Client {
			dir := t.TempDir()
			return slow(t, NewClient(
				serve(t, listen(t, "unix", filepath.Join(dir, "a"))),
				serve(t, listen(t, "unix", filepath.Join(dir, "b"))),
				serve(t, listen(t, "tcp", "127.0.0.1:0")),
			))
		})
	})
	t.Run("TLS", func(t *testing.T) {
		server, roots := testcert.Server(t)
		testClient(t, func(t *testing.T) *Client {
			c := NewClient(serve(t, tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), server)))
			dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}}
			c.Dial = dialer.DialContext
			return slow(t, c)
		})
	})
}
