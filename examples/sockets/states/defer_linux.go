package main

import "golang.org/x/sys/unix"

// deferAccept makes the kernel ignore the last segment of a handshake for a
// socket that listens: it waits for data instead, and until then the connection
// stays half open.
func deferAccept(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 5)
}
