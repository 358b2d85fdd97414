//go:build unix

package main

import (
	"errors"
	"syscall"
)

// setBuffers sets the sizes of a socket's buffers.
func setBuffers(fd uintptr, size int) error {
	return errors.Join(
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, size),
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size),
	)
}
