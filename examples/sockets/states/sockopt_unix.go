//go:build unix

package main

import "syscall"

// setReuse sets or clears SO_REUSEADDR.
func setReuse(fd uintptr, on bool) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, btoi(on))
}

// setBacklog sets how many connections may wait to be accepted. To call listen
// on a socket that listens changes only that.
func setBacklog(fd uintptr, n int) error { return syscall.Listen(int(fd), n) }

// peerName asks for the remote name of a socket.
func peerName(fd uintptr) error {
	_, err := syscall.Getpeername(int(fd))
	return err
}
