package main

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// bindAddr returns the address to which a listener binds its socket: here the
// broadcast address itself, so that the socket hears nothing else.
func bindAddr(broadcast netip.Addr) netip.Addr { return broadcast }

// sharePort lets several sockets have the port of this one; each gets every
// broadcast.
func sharePort(fd uintptr) error {
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

// neighbours returns the system's cache of neighbours.
func neighbours() ([]neighbour, error) {
	table, err := os.ReadFile("/proc/net/arp")
	if err != nil {
		return nil, err
	}
	return parseARP(string(table)), nil
}
