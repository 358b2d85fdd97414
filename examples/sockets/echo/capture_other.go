//go:build !linux

package main

import (
	"fmt"
	"runtime"
)

// openTap has a tap to offer on Linux only: the other systems need a driver
// (Windows) or their own kind of socket (BSD, macOS).
func openTap(uint16) (tap, error) {
	return nil, fmt.Errorf("%w: this program can do it on Linux, not on %s; tcpdump or Wireshark may, and explain reads their pcap files", errNoCapture, runtime.GOOS)
}
