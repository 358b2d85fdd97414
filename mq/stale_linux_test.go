package mq

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Bind takes the place of a program that has ended and left its file, but not
// of one that is only too busy to accept connections.
func TestStaleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
	require.NoError(t, syscall.Listen(fd, 0))
	for range 2 { // fills the backlog; the second is refused or not, as the system likes
		if nc, err := net.Dial("unix", path); err == nil {
			defer nc.Close()
		}
	}
	before, err := os.Stat(path)
	require.NoError(t, err)

	b := &bench{T: t}
	pull := b.socket(PULL)
	_, err = pull.Bind(t.Context(), "ipc://"+path)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))

	require.NoError(t, syscall.Close(fd))
	_, err = pull.Bind(t.Context(), "ipc://"+path)
	require.NoError(t, err)
}
