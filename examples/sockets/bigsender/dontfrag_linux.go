package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setDontFragment tells the kernel whether datagrams of the socket may be cut.
// With on, it neither cuts them itself nor lets routers do so (over IPv4 the
// don't-fragment bit; over IPv6 routers never cut), and it refuses to send
// what is longer than the path MTU that it knows: ip(7), IP_PMTUDISC_DO.
func setDontFragment(fd uintptr, v6, on bool) error {
	discover := unix.IP_PMTUDISC_DONT
	if on {
		discover = unix.IP_PMTUDISC_DO
	}
	if !v6 {
		return unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discover)
	}
	// IPv6 has the two decisions apart: whether to obey what routers say, and
	// whether to cut here.
	if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, discover); err != nil {
		return err
	}
	dontFragment := 0
	if on {
		dontFragment = 1
	}
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, dontFragment)
}

// pathMTU returns the path MTU that the kernel knows for a connected socket:
// that of the interface at first, less once a router has said so. The kernel
// forgets what it learned after ten minutes.
func pathMTU(raw syscall.RawConn, v6 bool) (int, error) {
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	var mtu int
	var err error
	if controlErr := raw.Control(func(fd uintptr) {
		mtu, err = unix.GetsockoptInt(int(fd), level, option)
	}); controlErr != nil {
		return 0, controlErr
	}
	return mtu, err
}
