//go:build unix

package mq

import (
	"net"
	"syscall"
)

// A directWriter writes to a socket of the system as much as goes at once.
type directWriter struct {
	raw  syscall.RawConn
	b    []byte
	n    int
	once func(fd uintptr) bool
}

// newDirectWriter returns nil if nc is no socket of the system.
func newDirectWriter(nc net.Conn) *directWriter {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default: // TLS, for example: its bytes must pass through it
		return nil
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	w := &directWriter{raw: raw}
	w.once = func(fd uintptr) bool {
		w.n, _ = syscall.Write(int(fd), w.b)
		return true // do not wait for more room
	}
	return w
}

// write returns how many bytes of b the system took. That it fails is for the
// next ordinary write to find out.
func (w *directWriter) write(b []byte) int {
	w.b, w.n = b, 0
	_ = w.raw.Write(w.once)
	w.b = nil
	return max(0, w.n)
}
