package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// setDontFragment tells the kernel whether datagrams of the socket may be cut,
// here or on the way.
func setDontFragment(fd uintptr, v6, on bool) error {
	value := 0
	if on {
		value = 1
	}
	if v6 {
		return unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, value)
	}
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_DONTFRAG, value)
}

// pathMTU fails: this system keeps what it learns to itself.
func pathMTU(syscall.RawConn, bool) (int, error) {
	return 0, errors.New("this system does not tell it to programs")
}
