package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

// The flags are memcached's, so that the conventions for servers do not fit.
func TestConventions(t *testing.T) { clitest.Conventions(t) }

// ask says something to a server and returns all that it answers.
func ask(t *testing.T, network, addr, commands string) string {
	t.Helper()
	nc, err := net.DialTimeout(network, addr, clitest.Limit)
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(clitest.Limit)))
	_, err = io.WriteString(nc, commands)
	require.NoError(t, err)
	answer, err := io.ReadAll(nc)
	require.NoError(t, err)
	return string(answer)
}

func TestServe(t *testing.T) {
	srv := clitest.Start(t, "-p", "-1", "-u", "nobody", "-t", "2", "-o", "relaxed_privileges")
	require.Equal(t, "127.0.0.1", srv.Host())
	require.Equal(t, "STORED\r\nVALUE k 0 4\r\nhola\r\nEND\r\n", ask(t, "tcp", srv.Addr, "set k 0 60 4\r\nhola\r\nget k\r\nquit\r\n"))
}

func TestHelp(t *testing.T) {
	got := clitest.Run(t, "", "-h")
	require.Equal(t, cli.OK, got.Status)
	require.Contains(t, got.Stdout, "unix-socket")
	// Tests of memcached's turn to what they find there.
	require.NotRegexp(t, `ext_path|proxy_config|enable-ssl|(?i:sasl)`, got.Stdout)
}

func TestWrongFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(file, []byte("ana secret\n"), 0o600))
	for _, args := range []string{
		"-p 65536", "-U 65536", "-c 0", "-c -1", "-c x", "-t 0", "-B http", "-b x", "-I 1000", "-I 256m", "-I x", "-I 9999999999999m", "-m 0", "-m x", "-R 0",
		"-o frobnicate", "-o idle_timeout=x", "-x", "more", "-U 1 -Y " + file, "-p x",
	} {
		got := clitest.Run(t, "", strings.Fields(args)...)
		require.Equal(t, cli.BadUsage, got.Status, args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout, args)
	}
	for _, args := range []string{"-Y " + file, "-Y /no/such/file", "-l 192.0.2.1 -p -1", "-l fooble. -p -1", "-s /no/such/folder/socket"} {
		got := clitest.Run(t, "", strings.Fields(args)...)
		require.Equal(t, cli.Failure, got.Status, args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout, args)
	}
}

// Values may follow their flags without a space, as with getopt.
func TestSettings(t *testing.T) {
	srv := clitest.Start(t, "-p-1", "-m8", "-I", "512k", "-c", "10", "-R5", "-C", "-b", "77", "-B", "ascii", "-F", "-M", "-vv",
		"-o", "idle_timeout=30,modern,slab_chunk_max=16")
	settings := ask(t, "tcp", srv.Addr, "stats settings\r\nflush_all\r\nquit\r\n")
	for _, want := range []string{
		"maxbytes 8388608", "item_size_max 524288", "maxconns 10", "reqs_per_event 5", "cas_enabled no", "tcp_backlog 77",
		"binding_protocol ascii", "flush_enabled no", "evictions off", "idle_timeout 30",
	} {
		require.Contains(t, settings, "STAT "+want+"\r\n")
	}
	require.Contains(t, settings, "CLIENT_ERROR flush_all not allowed\r\n")
	srv.Stderr.WaitFor(t, `"stats settings"`)
	srv.Stderr.WaitFor(t, "connection closed")
}

func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		srv := clitest.Start(t, "-p", "-1")
		nc := clitest.Dial(t, srv.Addr) // a client does not hold it up
		_, err := io.WriteString(nc, "set k 0 0 100\r\n")
		require.NoError(t, err)
		srv.Signal(sig)
		require.Equal(t, cli.OK, srv.Wait())
		require.Empty(t, srv.Stderr.String())
	}
}

func TestShutdown(t *testing.T) {
	for _, command := range []string{"shutdown\r\n", "shutdown graceful\r\n"} {
		srv := clitest.Start(t, "-p", "-1", "-A")
		require.Empty(t, ask(t, "tcp", srv.Addr, command))
		require.Equal(t, cli.OK, srv.Wait())
	}
}

// socketDir returns a folder whose name is short enough for a socket in it.
func socketDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "mc")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the address of a Unix socket is not what the test expects")
	}
	path := filepath.Join(socketDir(t), "s")
	for range 2 { // the second finds what the first, killed, has left behind
		srv := clitest.Start(t, "-s", path)
		require.Equal(t, path, srv.Addr)
		require.Equal(t, "STORED\r\n", ask(t, "unix", path, "set k 0 0 1\r\n1\r\nquit\r\n"))
		srv.Signal(os.Kill)
		srv.Wait()
	}
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.Equal(t, cli.Failure, clitest.Run(t, "", "-s", path).Status, "a file that is no socket is not removed")
}

func TestSeveralAddresses(t *testing.T) {
	clitest.NeedHost(t, "::1")
	srv := clitest.Start(t, "-l", "127.0.0.1,[::1]:0", "-l", "localhost", "-p", "-1")
	text := srv.Stdout.WaitForCount(t, "listening on ", 3)
	for _, m := range regexp.MustCompile(`listening on (\S+)\n`).FindAllStringSubmatch(text, -1) {
		require.Equal(t, "END\r\n", ask(t, "tcp", m[1], "get k\r\nquit\r\n"))
	}
}

func TestDatagrams(t *testing.T) {
	ports := filepath.Join(t.TempDir(), "ports")
	t.Setenv("MEMCACHED_PORT_FILENAME", ports)
	clitest.Start(t, "-U", "-1")
	text, err := os.ReadFile(ports)
	require.NoError(t, err)
	var tcp, udp int
	_, err = fmt.Sscanf(string(text), "TCP INET: %d\nUDP INET: %d\n", &tcp, &udp)
	require.NoError(t, err, "%s", text)
	nc, err := net.Dial("udp", fmt.Sprint("127.0.0.1:", udp))
	require.NoError(t, err)
	defer nc.Close()
	require.NoError(t, nc.SetDeadline(time.Now().Add(clitest.Limit)))
	_, err = nc.Write([]byte("\x00\x07\x00\x00\x00\x01\x00\x00set k 0 0 1\r\n1\r\n"))
	require.NoError(t, err)
	answer := make([]byte, 100)
	n, err := nc.Read(answer)
	require.NoError(t, err)
	require.Equal(t, "\x00\x07\x00\x00\x00\x01\x00\x00STORED\r\n", string(answer[:n]))
	require.Equal(t, "VALUE k 0 1\r\n1\r\nEND\r\n", ask(t, "tcp", fmt.Sprint("127.0.0.1:", tcp), "get k\r\nquit\r\n"))
}

func TestUsers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(file, []byte("ana:secret\n\nbob:se:cret\n"), 0o600))
	srv := clitest.Start(t, "-p", "-1", "-Y", file)
	for login, want := range map[string]string{
		"ana secret":  "STORED\r\nEND\r\n",
		"bob se:cret": "STORED\r\nEND\r\n",
		"ana other":   "CLIENT_ERROR authentication failure\r\nCLIENT_ERROR unauthenticated\r\n",
		"eve ":        "CLIENT_ERROR authentication failure\r\nCLIENT_ERROR unauthenticated\r\n",
	} {
		nc := clitest.Dial(t, srv.Addr)
		_, err := fmt.Fprintf(nc, "set x 0 0 %d\r\n%s\r\nget k\r\n", len(login), login)
		require.NoError(t, err)
		got := make([]byte, len(want))
		_, err = io.ReadFull(nc, got)
		require.NoError(t, err)
		require.Equal(t, want, string(got), login)
	}
}

func TestDebugTime(t *testing.T) {
	srv := clitest.Start(t, "-p", "-1", "-debugtime")
	require.Equal(t, "STORED\r\nOK\r\nEND\r\n", ask(t, "tcp", srv.Addr, "set k 0 100 1\r\n1\r\ndebugtime 100\r\nget k\r\nquit\r\n"))
}

func TestDaemon(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("-d needs a Unix system")
	}
	pid := filepath.Join(t.TempDir(), "pid")
	got := clitest.Run(t, "", "-d", "-P", pid, "-p", "-1", "-A")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	addr, ok := cli.ListeningAddr(got.Stdout)
	require.True(t, ok, got.Stdout)
	number, err := os.ReadFile(pid)
	require.NoError(t, err)
	stats := ask(t, "tcp", addr, "stats\r\nshutdown\r\n")
	require.Contains(t, stats, "STAT pid "+strings.TrimSpace(string(number))+"\r\n")

	got = clitest.Run(t, "", "-d", "-l", "192.0.2.1")
	require.Equal(t, cli.Failure, got.Status)
	require.Contains(t, got.Stderr, "192.0.2.1")
}
