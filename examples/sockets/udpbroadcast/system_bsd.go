//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// bindAddr returns the address to which a listener binds its socket: here all
// of this machine's, since a loopback interface without broadcast does not
// have its broadcast address. What is not from the segment is ignored.
func bindAddr(netip.Addr) netip.Addr { return netip.IPv4Unspecified() }

// sharePort lets several sockets have the port of this one; each gets every
// broadcast. Of the two options that exist, these systems want SO_REUSEPORT.
func sharePort(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

func neighbours() ([]neighbour, error) {
	return nil, errors.New("not read on this system; the command \"arp -a\" shows them")
}
