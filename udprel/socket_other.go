//go:build !linux

package udprel

import "net"

func newSocket(pc net.PacketConn) socket { return plainSocket{pc} }
