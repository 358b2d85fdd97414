package dnstest

import (
	"context"
	"net"
	"net/netip"

	"github.com/zocalo-go/zocalo/dnsx"
)

// A Network opens sockets, as package net does.
type Network struct {
	// ListenPacket opens a UDP socket.
	ListenPacket func(network, address string) (net.PacketConn, error)
	// Listen opens a socket that accepts TCP connections.
	Listen func(network, address string) (net.Listener, error)
	// Dial connects to an address.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Host is a machine of a simulated network, such as *simnet.Host.
type Host[P net.PacketConn, L net.Listener] interface {
	// ListenPacket opens a UDP socket.
	ListenPacket(network, address string) (P, error)
	// Listen opens a socket that accepts TCP connections.
	Listen(network, address string) (L, error)
	// DialContext connects to an address.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// On returns the [Network] of the simulated hosts that a function gives: for
// a *simnet.Network nw this is On(nw.Host). Each name server becomes a host with its address,
// so that links to it can be slow or cut. [Network.Dial] dials from 10.53.255.1.
func On[H Host[P, L], P net.PacketConn, L net.Listener](host func(netip.Addr, ...netip.Addr) H) *Network {
	at := func(address string) (h H, err error) {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return h, err
		}
		return host(ap.Addr()), nil
	}
	return &Network{
		ListenPacket: func(network, address string) (net.PacketConn, error) {
			h, err := at(address)
			if err != nil {
				return nil, err
			}
			return h.ListenPacket(network, address)
		},
		Listen: func(network, address string) (net.Listener, error) {
			h, err := at(address)
			if err != nil {
				return nil, err
			}
			return h.Listen(network, address)
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return host(netip.AddrFrom4([4]byte{10, 53, 255, 1})).DialContext(ctx, network, address)
		},
	}
}

// onlyAddr is the loopback address that every machine has.
var onlyAddr = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// loopback is the network of this machine.
func loopback() *Network {
	return &Network{Dial: (&net.Dialer{}).DialContext}
}

// listen opens both sockets of a server.
func (n *Network) listen(at netip.AddrPort) (net.PacketConn, net.Listener, error) {
	if n.Listen == nil {
		return dnsx.Listen(context.Background(), at.String())
	}
	ln, err := n.Listen("tcp", at.String())
	if err != nil {
		return nil, nil, err
	}
	pc, err := n.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		ln.Close()
		return nil, nil, err
	}
	return pc, ln, nil
}
