package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

// TestBoundedMemory sends a long file between two processes and asks the
// system how much memory each has ever held.
func TestBoundedMemory(t *testing.T) {
	size, most := int64(1<<30), 128<<20 // the race detector alone takes half of that
	if testing.Short() {
		size = 256 << 20
	}
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	sender := clitest.Command(t, "client", "-port", srv.Port(), sparse(t, size))
	out, err := sender.CombinedOutput()
	require.NoError(t, err, "%s", out)
	info, err := os.Stat(filepath.Join(dir, "received-1"))
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
	sums := regexp.MustCompile("SHA-256 [0-9a-f]{64}")
	require.Equal(t, sums.FindString(string(out)), sums.FindString(srv.Stdout.WaitFor(t, "stored as received-1\n")))
	require.NotEmpty(t, sums.FindString(string(out)))

	sent := int(sender.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) << 10
	received := peakMemory(t, srv.Addr)
	t.Logf("%d MiB passed; the most that the sender held were %d MiB, the receiver %d MiB", size>>20, sent>>20, received>>20)
	require.Less(t, sent, most)
	require.Less(t, received, most)
	require.Positive(t, received)
}

// peakMemory returns the most memory that the process which listens on addr
// has held: VmHWM of its status.
func peakMemory(t *testing.T, addr string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", listener(t, addr)))
	require.NoError(t, err)
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, m)
	kib, err := strconv.Atoi(string(m[1]))
	require.NoError(t, err)
	return kib << 10
}

// listener finds the child of this process that listens on addr.
func listener(t *testing.T, addr string) int {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	table, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	// local address, state 0A (listening), …, the socket's number.
	m := regexp.MustCompile(fmt.Sprintf(`(?m)^ *\d+: [0-9A-F]{8}:%04X \S+ 0A(?: +\S+){5} +(\d+) `, n)).FindSubmatch(table)
	require.NotNil(t, m, "%s", table)
	socket := "socket:[" + string(m[1]) + "]"
	processes, err := filepath.Glob("/proc/[0-9]*/fd/*")
	require.NoError(t, err)
	for _, fd := range processes {
		if link, err := os.Readlink(fd); err == nil && link == socket {
			pid, err := strconv.Atoi(strings.Split(fd, "/")[2])
			require.NoError(t, err)
			return pid
		}
	}
	require.Fail(t, "nobody listens", addr)
	return 0
}

func TestFolderGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.Mkdir(dir, 0o700))
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	require.NoError(t, os.Remove(dir))
	got := clitest.Run(t, "", "client", "-port", srv.Port(), writeFile(t, []byte("hola")))
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, `refuses the file: "error: the receiver cannot store it"`)
	srv.Stdout.WaitFor(t, "nothing stored: cannot store it: ")
}

func TestDiskFull(t *testing.T) {
	// A limit on the length of files stands for a full disk: a write fails
	// in the middle of the transfer.
	dir := t.TempDir()
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	limit := unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	require.NoError(t, unix.Prlimit(listener(t, srv.Addr), unix.RLIMIT_FSIZE, &limit, nil))
	got := clitest.Run(t, "", "client", "-port", srv.Port(), sparse(t, 100<<20))
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, `refuses the file: "error: the receiver cannot store it"`)
	srv.Stdout.WaitFor(t, "nothing stored: cannot store it: ")
	require.Empty(t, inside(t, dir))
	require.Zero(t, clitest.Run(t, "", "client", "-port", srv.Port(), writeFile(t, content(1<<20))).Status)
}
