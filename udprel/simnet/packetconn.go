package simnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// defaultWindow is the size of every buffer of a socket at first.
const defaultWindow = 256 << 10

// A PacketConn is a UDP socket of a [Host]. It is a [net.PacketConn], and a
// [net.Conn] if it was made by [Host.DialContext]. Its methods may be called by
// several goroutines at a time.
//
// A datagram that finds the receive buffer full is dropped, and one that is
// longer than the reader's buffer is cut to it without an error, as in Unix.
type PacketConn struct {
	host    *Host
	network string
	local   netip.AddrPort   // as bound
	public  netip.AddrPort   // as peers see it, after Rebind
	remote  netip.AddrPort   // of a connected socket
	keys    []netip.AddrPort // in host.udp

	cond       sync.Cond // there is something to read, or the socket has changed
	head, tail *packet   // received
	queued     int       // bytes of those at the IP layer
	limit      int       // of queued
	err        error     // what the host learned about the peer
	closed     bool
	rd, wd     deadline

	to   netip.Addr // where the last datagram went
	wire *wire      // and by which wire
}

var (
	_ net.PacketConn = (*PacketConn)(nil)
	_ net.Conn       = (*PacketConn)(nil)
)

// LocalAddr returns the address to which the socket is bound, a [*net.UDPAddr].
// Like a program behind a NAT, it does not see what [PacketConn.Rebind] changes.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// RemoteAddr returns the peer of a connected socket, a [*net.UDPAddr], else nil.
func (c *PacketConn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

// ReadFrom reads one datagram into p and returns its length and its source, a
// [*net.UDPAddr]. On a connected socket it may fail with
// [syscall.ECONNREFUSED]: the peer's host has told that nobody listens there.
func (c *PacketConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(p)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Read is [PacketConn.ReadFrom] for a connected socket.
func (c *PacketConn) Read(p []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(p)
	return n, err
}

// ReadFromUDPAddrPort is [PacketConn.ReadFrom] without taking memory.
func (c *PacketConn) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	network := c.host.n
	network.mu.Lock()
	defer network.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, netip.AddrPort{}, c.error("read", netip.AddrPort{}, net.ErrClosed)
		case c.rd.passed():
			return 0, netip.AddrPort{}, c.error("read", netip.AddrPort{}, os.ErrDeadlineExceeded)
		case c.head != nil:
			d := c.head
			c.head = d.next
			c.queued -= d.size
			n, from := copy(p, d.data), d.src
			network.release(d)
			return n, from, nil
		case c.err != nil:
			err := c.err
			c.err = nil
			return 0, netip.AddrPort{}, c.error("read", netip.AddrPort{}, err)
		}
		c.rd.wait(&c.cond)
	}
}

// WriteTo sends p as one datagram to addr, a [*net.UDPAddr]. It does not wait.
// It fails with [syscall.EMSGSIZE] if p is longer than UDP or the host's MTU
// allows, and with [net.ErrWriteToConnected] on a connected socket.
func (c *PacketConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok || udp == nil {
		return 0, c.error("write", netip.AddrPort{}, &net.AddrError{Err: "not a *net.UDPAddr"})
	}
	return c.WriteToUDPAddrPort(p, udp.AddrPort())
}

// WriteToUDPAddrPort is [PacketConn.WriteTo] without taking memory, once the
// network has packets to reuse.
func (c *PacketConn) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.remote.IsValid() {
		return 0, c.error("write", to, net.ErrWriteToConnected)
	}
	return c.send(p, to)
}

// Write sends p as one datagram to the peer of a connected socket.
func (c *PacketConn) Write(p []byte) (int, error) {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if !c.remote.IsValid() {
		return 0, c.error("write", netip.AddrPort{}, os.NewSyscallError("write", syscall.EDESTADDRREQ))
	}
	return c.send(p, c.remote)
}

func (c *PacketConn) send(p []byte, to netip.AddrPort) (int, error) {
	switch {
	case c.closed:
		return 0, c.error("write", to, net.ErrClosed)
	case c.wd.passed():
		return 0, c.error("write", to, os.ErrDeadlineExceeded)
	case c.err != nil:
		err := c.err
		c.err = nil
		return 0, c.error("write", to, err)
	case !to.IsValid() || to.Port() == 0:
		return 0, c.error("write", to, os.NewSyscallError("sendto", syscall.EINVAL))
	}
	h, n := c.host, c.host.n
	if a := to.Addr(); a.Is4In6() || a.Zone() != "" {
		to = netip.AddrPortFrom(a.Unmap().WithZone(""), to.Port())
	}
	to = toSelf(to)
	bound := c.local
	if c.public.IsValid() && !to.Addr().IsLoopback() {
		bound = c.public
	}
	from, err := h.source(bound.Addr(), to.Addr())
	if err != nil {
		return 0, c.error("write", to, os.NewSyscallError("sendto", err))
	}
	size := headerSize(to.Addr(), 8) + len(p)
	most := 65535 // IPv4 counts its header, IPv6 does not (RFC 8200 section 3)
	if !to.Addr().Is4() {
		most += 40
	}
	if h.mtu > 0 && !to.Addr().IsLoopback() {
		most = min(most, h.mtu)
	}
	if size > most {
		return 0, c.error("write", to, os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	if c.wire == nil || c.to != to.Addr() || c.wire.from != from {
		c.to, c.wire = to.Addr(), n.wireBetween(h, from, to.Addr())
	}
	d := n.alloc()
	d.kind, d.wire, d.size = datagram, c.wire, size
	d.src, d.dst = netip.AddrPortFrom(from, bound.Port()), to
	d.data = append(d.data, p...)
	n.offer(d)
	return len(p), nil
}

// take receives p, which the network hands over.
func (c *PacketConn) take(p *packet) {
	switch {
	case p.kind == unreachable:
		if c.remote.IsValid() { // others could not tell whom it is about
			c.err = os.NewSyscallError("recvfrom", syscall.ECONNREFUSED)
		}
		c.host.n.release(p)
	case c.head == nil:
		c.head, c.tail = p, p
		c.queued += p.size
	default:
		c.tail.next, c.tail = p, p
		c.queued += p.size
	}
	c.cond.Broadcast()
}

// Rebind changes the address that peers see, as a NAT does when it has
// forgotten a flow: what is sent from now on comes from the new address, and
// what is sent to the old one vanishes. Port 0 takes a free port; the zero
// [netip.Addr] keeps the address. An address that nobody has becomes one of the
// host's. Rebind returns the new address.
func (c *PacketConn) Rebind(to netip.AddrPort) (netip.AddrPort, error) {
	h := c.host
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	fail := func(err error) (netip.AddrPort, error) {
		return netip.AddrPort{}, c.error("rebind", to, err)
	}
	if c.closed {
		return fail(net.ErrClosed)
	}
	a := to.Addr().Unmap().WithZone("")
	if !a.IsValid() {
		a = c.local.Addr()
		if c.public.IsValid() {
			a = c.public.Addr()
		}
	} else if !a.IsLoopback() && !a.IsUnspecified() && !h.n.give(h, a) {
		return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	old := c.keys
	public, keys, err := claim(h, h.udp, c.network, netip.AddrPortFrom(a, to.Port()), c)
	if err != nil {
		return fail(err)
	}
	unclaim(h.udp, old)
	for _, k := range old {
		h.gone[k] = true
	}
	for _, k := range keys {
		delete(h.gone, k)
	}
	c.public, c.keys, c.wire = public, keys, nil
	return public, nil
}

// SetReadBuffer sets how many bytes, headers included, may wait to be read;
// 256 KiB at first.
func (c *PacketConn) SetReadBuffer(bytes int) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if bytes <= 0 {
		return c.error("set", netip.AddrPort{}, os.NewSyscallError("setsockopt", syscall.EINVAL))
	}
	c.limit = bytes
	return nil
}

// SetDeadline sets both deadlines.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.setDeadline(t, &c.rd, &c.wd) }

// SetReadDeadline sets when reads, those under way included, fail with
// [os.ErrDeadlineExceeded]; the zero time means never.
func (c *PacketConn) SetReadDeadline(t time.Time) error { return c.setDeadline(t, &c.rd) }

// SetWriteDeadline sets when writes fail with [os.ErrDeadlineExceeded].
func (c *PacketConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, &c.wd) }

func (c *PacketConn) setDeadline(t time.Time, ds ...*deadline) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.closed {
		return c.error("set", netip.AddrPort{}, net.ErrClosed)
	}
	for _, d := range ds {
		d.at = t
	}
	c.cond.Broadcast()
	return nil
}

// Close closes the socket; reads under way fail with [net.ErrClosed]. What was
// sent still arrives. Close is idempotent and returns nil.
func (c *PacketConn) Close() error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	c.close()
	return nil
}

func (c *PacketConn) close() {
	if c.closed {
		return
	}
	c.closed = true
	unclaim(c.host.udp, c.keys)
	for p := c.head; p != nil; {
		next := p.next
		c.host.n.release(p)
		p = next
	}
	c.head, c.tail = nil, nil
	c.rd.stop()
	c.cond.Broadcast()
}

func (c *PacketConn) error(op string, to netip.AddrPort, err error) error {
	e := &net.OpError{Op: op, Net: c.network, Source: c.LocalAddr(), Err: err}
	if to.IsValid() {
		e.Addr = net.UDPAddrFromAddrPort(to)
	} else if c.remote.IsValid() {
		e.Addr = c.RemoteAddr()
	}
	return e
}
