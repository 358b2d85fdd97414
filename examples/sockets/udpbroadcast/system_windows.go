package main

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/windows"
)

// bindAddr returns the address to which a listener binds its socket: here all
// of this machine's, since Windows binds no socket to a broadcast address.
// What is not from the segment is ignored.
func bindAddr(netip.Addr) netip.Addr { return netip.IPv4Unspecified() }

// sharePort lets several sockets have the port of this one; each gets every
// broadcast.
func sharePort(fd uintptr) error {
	return windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_REUSEADDR, 1)
}

func neighbours() ([]neighbour, error) {
	return nil, errors.New("not read on this system; the command \"arp -a\" shows them")
}
