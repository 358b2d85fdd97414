package hosts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	gvisor "gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	smallBuffer, usualBuffer, largeBuffer = 4 << 10, 1 << 20, 4 << 20

	nic = 1 // the only network interface of a host
)

// A userStack is a TCP/IP stack of gVisor.
type userStack struct {
	stack *stack.Stack
	cable *cable
}

func newUserStack(addr netip.Addr, mtu int, congestion string, send func([]byte)) (tcpip, error) {
	u := &userStack{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
		cable: &cable{send: send, mtu: mtu},
	}
	if err := u.configure(addr, congestion); err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *userStack) configure(addr netip.Addr, congestion string) error {
	control := gvisor.CongestionControlOption(congestion)
	sack, moderate := gvisor.TCPSACKEnabled(true), gvisor.TCPModerateReceiveBufferOption(true)
	send := gvisor.TCPSendBufferSizeRangeOption{Min: smallBuffer, Default: usualBuffer, Max: largeBuffer}
	receive := gvisor.TCPReceiveBufferSizeRangeOption{Min: smallBuffer, Default: usualBuffer, Max: largeBuffer}
	for _, option := range []gvisor.SettableTransportProtocolOption{&control, &sack, &moderate, &send, &receive} {
		if err := u.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			if option == &control {
				return fmt.Errorf("gVisor's TCP has no congestion control %q", congestion)
			}
			return fmt.Errorf("gVisor's TCP, %T: %v", option, err)
		}
	}
	// Of the sockets of UDP.
	for _, option := range []any{
		gvisor.SendBufferSizeOption{Min: smallBuffer, Default: usualBuffer, Max: largeBuffer},
		gvisor.ReceiveBufferSizeOption{Min: smallBuffer, Default: usualBuffer, Max: largeBuffer},
	} {
		if err := u.stack.SetOption(option); err != nil {
			return fmt.Errorf("gVisor's UDP, %T: %v", option, err)
		}
	}
	if err := u.stack.CreateNIC(nic, u.cable); err != nil {
		return fmt.Errorf("network interface: %v", err)
	}
	own := gvisor.ProtocolAddress{
		Protocol:          header.IPv4ProtocolNumber,
		AddressWithPrefix: gvisor.AddressWithPrefix{Address: gvisor.AddrFrom4(addr.As4()), PrefixLen: 24},
	}
	if err := u.stack.AddProtocolAddress(nic, own, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("address %v: %v", addr, err)
	}
	u.stack.SetRouteTable([]gvisor.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return nil
}

func full(a netip.AddrPort) gvisor.FullAddress {
	return gvisor.FullAddress{NIC: nic, Addr: gvisor.AddrFrom4(a.Addr().As4()), Port: a.Port()}
}

func (u *userStack) listen(own netip.AddrPort) (net.Listener, error) {
	return gonet.ListenTCP(u.stack, full(own), header.IPv4ProtocolNumber)
}

func (u *userStack) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if !to.Addr().Is4() {
		return nil, errors.New("hosts: dial " + to.String() + ": only IPv4 here")
	}
	return gonet.DialContextTCP(ctx, u.stack, full(to), header.IPv4ProtocolNumber)
}

func (u *userStack) listenPacket(own netip.AddrPort) (net.PacketConn, error) {
	addr := full(own)
	return gonet.DialUDP(u.stack, &addr, nil, header.IPv4ProtocolNumber)
}

func (u *userStack) close() { u.stack.Destroy() }

func (u *userStack) take(data []byte) {
	packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(data)})
	defer packet.DecRef()
	packet.RXChecksumValidated = true // nothing damages bits here
	u.cable.deliver(packet)
}

// A cable is a stack's end of the pair's links: what gVisor calls a link
// endpoint. It carries IP packets with nothing around them.
type cable struct {
	send func(packet []byte)
	mtu  int

	mu sync.RWMutex
	to stack.NetworkDispatcher
}

// WritePackets sends what the stack wants to send.
func (c *cable) WritePackets(packets stack.PacketBufferList) (int, gvisor.Error) {
	for _, packet := range packets.AsSlice() {
		b := packet.ToBuffer()
		c.send(b.Flatten())
		b.Release()
	}
	return packets.Len(), nil
}

func (c *cable) deliver(packet *stack.PacketBuffer) {
	c.mu.RLock()
	to := c.to
	c.mu.RUnlock()
	if to != nil {
		to.DeliverNetworkPacket(header.IPv4ProtocolNumber, packet)
	}
}

// Attach tells the cable to whom it delivers; nobody when the host goes down.
func (c *cable) Attach(to stack.NetworkDispatcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = to
}

// IsAttached reports whether there is somebody to deliver to.
func (c *cable) IsAttached() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.to != nil
}

// Capabilities spares the stack the checksums, since nothing damages bits here.
func (c *cable) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityTXChecksumOffload | stack.CapabilityRXChecksumOffload
}

// The rest of what a link endpoint must have says that there is no header
// below IP, and nothing to change or to wait for.

func (c *cable) MTU() uint32                             { return uint32(c.mtu) }
func (c *cable) SetMTU(uint32)                           {}
func (c *cable) MaxHeaderLength() uint16                 { return 0 }
func (c *cable) LinkAddress() gvisor.LinkAddress         { return "" }
func (c *cable) SetLinkAddress(gvisor.LinkAddress)       {}
func (c *cable) Wait()                                   {}
func (c *cable) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (c *cable) AddHeader(*stack.PacketBuffer)           {}
func (c *cable) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (c *cable) Close()                                  {}
func (c *cable) SetOnCloseAction(func())                 {}
