package dnsx

import (
	"net"
	"net/netip"
	"runtime"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A socket reads datagrams and answers each from the address to which it was
// sent.
type socket interface {
	read(p []byte) (int, peer, error)
	write(p []byte, to peer) error
}

// A peer is where a datagram came from and, if the socket is bound to all
// addresses of the machine, to which of them it went: the answer has to come
// from there, or the client will not believe it.
type peer struct {
	addr    netip.AddrPort
	session *dns.SessionUDP
}

// newSocket returns the socket for a connection: the quickest that it allows.
func newSocket(pc net.PacketConn) socket {
	udp, kernel := pc.(*net.UDPConn)
	if kernel && addrPort(udp.LocalAddr()).Addr().IsUnspecified() {
		// A socket is of one family, or of both; where the system cannot tell the address
		// it chooses one itself.
		_ = ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst, true)
		_ = ipv6.NewPacketConn(udp).SetControlMessage(ipv6.FlagDst, true)
		return wildcardSocket{udp}
	}
	if s, ok := pc.(addrPortConn); ok {
		return addrPortSocket{s}
	}
	return anySocket{pc}
}

// A wildcardSocket is bound to all addresses.
type wildcardSocket struct{ conn *net.UDPConn }

func (s wildcardSocket) read(p []byte) (int, peer, error) {
	n, session, err := dns.ReadFromSessionUDP(s.conn, p)
	if err != nil {
		return 0, peer{}, err
	}
	return n, peer{addrPort(session.RemoteAddr()), session}, nil
}

func (s wildcardSocket) write(p []byte, to peer) error {
	_, err := dns.WriteToSessionUDP(s.conn, p, to.session)
	return err
}

// An addrPortConn reads and writes without taking memory: *net.UDPConn is one.
type addrPortConn interface {
	ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
}

type addrPortSocket struct{ conn addrPortConn }

func (s addrPortSocket) read(p []byte) (int, peer, error) {
	n, from, err := s.conn.ReadFromUDPAddrPort(p)
	return n, peer{addr: from}, err
}

func (s addrPortSocket) write(p []byte, to peer) error {
	_, err := s.conn.WriteToUDPAddrPort(p, to.addr)
	return err
}

// An anySocket is on any other connection whose addresses are those of UDP.
type anySocket struct{ conn net.PacketConn }

func (s anySocket) read(p []byte) (int, peer, error) {
	n, from, err := s.conn.ReadFrom(p)
	return n, peer{addr: addrPort(from)}, err
}

func (s anySocket) write(p []byte, to peer) error {
	_, err := s.conn.WriteTo(p, net.UDPAddrFromAddrPort(to.addr))
	return err
}

// readers is how many goroutines read one socket.
func readers(pc net.PacketConn) int {
	if _, kernel := pc.(*net.UDPConn); kernel {
		return runtime.GOMAXPROCS(0)
	}
	return 1
}

// addrPort converts an address of package net; the zero value if it is another kind.
func addrPort(addr net.Addr) netip.AddrPort {
	if a, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
