package clitest

import (
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Dial connects to a server over TCP, for a test that plays a client by hand.
// The connection is closed at the end of the test, and nothing on it takes
// longer than [Limit].
func Dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(Limit)))
	return conn.(*net.TCPConn)
}

// Stranger serves one connection with f, for a test that plays a server by
// hand, and returns its address and port. The channel over is closed at the end
// of the test, which waits for f.
func Stranger(t testing.TB, f func(conn net.Conn, over <-chan struct{})) (addr, port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(Limit))
		f(conn, t.Context().Done())
	})
	addr = ln.Addr().String()
	_, port, err = net.SplitHostPort(addr)
	require.NoError(t, err)
	return addr, port
}

// NeedHost skips the test if this machine cannot listen on host, such as "::1".
func NeedHost(t testing.TB, host string) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("this machine cannot listen on %s: %v", host, err)
	}
	require.NoError(t, ln.Close())
}

// ReadmeProgram returns the nth program in Python of the exercise's README, with
// another port in the place of the course's 1060: what the README shows is what
// is tested.
func ReadmeProgram(t testing.TB, n int, port string) string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```python\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.Greater(t, len(blocks), n)
	require.Contains(t, blocks[n][1], "1060")
	return strings.ReplaceAll(blocks[n][1], "1060", port)
}
