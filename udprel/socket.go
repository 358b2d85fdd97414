package udprel

import (
	"errors"
	"net"
	"net/netip"
)

// A socket sends and receives datagrams, several at a time if it can.
type socket interface {
	// send sends b, cut into datagrams of size bytes; the last may be shorter.
	send(b []byte, size int, to netip.AddrPort) error
	// receive fills buf with datagrams of size bytes from one source; the last
	// may be shorter.
	receive(buf []byte) (n, size int, from netip.AddrPort, err error)
}

// maxBatch is the most bytes in one call, and maxSegments the most datagrams.
const (
	maxBatch    = 65000
	maxSegments = 64
)

// plainSocket is a socket over any net.PacketConn: a call for each datagram.
type plainSocket struct{ pc net.PacketConn }

// addrPortConn is what *net.UDPConn, and simnet's sockets, have besides
// net.PacketConn. It takes no memory for addresses.
type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

var errNotUDP = errors.New("udprel: not an address of UDP")

func (s plainSocket) send(b []byte, size int, to netip.AddrPort) (err error) {
	for len(b) > 0 {
		n := min(size, len(b))
		if c, ok := s.pc.(addrPortConn); ok {
			_, err = c.WriteToUDPAddrPort(b[:n], to)
		} else {
			_, err = s.pc.WriteTo(b[:n], net.UDPAddrFromAddrPort(to))
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (s plainSocket) receive(buf []byte) (n, size int, from netip.AddrPort, err error) {
	if c, ok := s.pc.(addrPortConn); ok {
		n, from, err = c.ReadFromUDPAddrPort(buf)
	} else {
		var addr net.Addr
		n, addr, err = s.pc.ReadFrom(buf)
		if err == nil {
			from, err = addrPort(addr)
		}
	}
	return n, n, plain(from), err
}

// addrPort returns an address of UDP as a value.
func addrPort(addr net.Addr) (netip.AddrPort, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok || udp == nil {
		return netip.AddrPort{}, errNotUDP
	}
	return plain(udp.AddrPort()), nil
}

// plain makes addresses comparable: a socket for both families reports IPv4
// addresses as IPv6.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
