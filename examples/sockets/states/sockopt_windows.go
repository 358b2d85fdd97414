package main

import (
	"errors"
	"syscall"
)

// setReuse sets or clears SO_REUSEADDR, which means something else on Windows:
// that another program may take a port which is in use.
func setReuse(fd uintptr, on bool) error {
	return syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, btoi(on))
}

// setBacklog cannot do anything: a second call of listen is ignored here.
func setBacklog(uintptr, int) error { return errors.ErrUnsupported }

// peerName asks for the remote name of a socket.
func peerName(fd uintptr) error {
	_, err := syscall.Getpeername(syscall.Handle(fd))
	return err
}
