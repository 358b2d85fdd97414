//go:build unix

package httpx

import (
	"net"
	"syscall"
)

// isSystemConn reports whether isSilent can look at nc.
func isSystemConn(nc net.Conn) bool {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// isSilent reports whether nothing has come on an idle connection, not even its
// end. A byte that has come is taken: the connection is not to be used then.
func isSilent(nc net.Conn) bool {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		silent = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true // do not wait
	})
	return err == nil && silent
}
