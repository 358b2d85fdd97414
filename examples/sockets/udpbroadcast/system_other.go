//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows

package main

import (
	"errors"
	"net/netip"
)

// bindAddr returns the address to which a listener binds its socket: all of
// this machine's. What is not from the segment is ignored.
func bindAddr(netip.Addr) netip.Addr { return netip.IPv4Unspecified() }

// sharePort fails: one listener can have the port.
func sharePort(uintptr) error { return errors.New("not known how on this system") }

func neighbours() ([]neighbour, error) {
	return nil, errors.New("not read on this system")
}
