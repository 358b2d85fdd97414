package main

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// dontFragment is the number of both IP_DONTFRAGMENT and IPV6_DONTFRAG in the
// header ws2ipdef.h of Windows.
const dontFragment = 14

// setDontFragment tells the kernel whether datagrams of the socket may be cut,
// here or on the way.
func setDontFragment(fd uintptr, v6, on bool) error {
	level, value := windows.IPPROTO_IP, 0
	if v6 {
		level = windows.IPPROTO_IPV6
	}
	if on {
		value = 1
	}
	return windows.SetsockoptInt(windows.Handle(fd), level, dontFragment, value)
}

// pathMTU fails: it is not asked for on this system.
func pathMTU(syscall.RawConn, bool) (int, error) {
	return 0, errors.New("not known on this system")
}
