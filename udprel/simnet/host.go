package simnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The range from which a free port is taken (RFC 6335 section 6).
const firstFreePort, lastFreePort = 49152, 65535

// A Host is one machine on a [Network]: a set of addresses with their ports.
// Its methods may be called by several goroutines at a time.
//
// Addresses in its methods are "address:port" with a plain IP address,
// "localhost", or nothing for every address (to listen) or the host itself (to
// dial). There is no name service: another name gives a [*net.DNSError]. Port 0
// takes a free port, in a fixed order that makes runs repeatable. Errors are
// [*net.OpError] values that wrap what the operating system would have said,
// such as [syscall.EADDRINUSE]; errors.Is finds it on every platform.
type Host struct {
	n     *Network
	addrs []netip.Addr
	udp   map[netip.AddrPort]*PacketConn
	gone  map[netip.AddrPort]bool      // UDP ports that a NAT has forgotten
	tcp   map[netip.AddrPort]*Listener // a nil entry is the port of a dialled stream
	conns map[*Conn]bool               // streams that are not done
	port  uint16                       // the free port given last
	mtu   int
}

// Addr returns the address under which the host was made.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// SetMTU sets the largest packet, in bytes at the IP layer, that the host's own
// interface takes: a larger datagram fails at once with [syscall.EMSGSIZE], and
// streams cut their segments to fit. Zero, as at first, means no limit but that
// of UDP. See [Link.MTU] for packets that vanish on their way.
func (h *Host) SetMTU(bytes int) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.mtu = max(bytes, 0)
}

// ListenPacket opens a UDP socket. The network is "udp", "udp4" or "udp6"; with
// no address "udp" takes both families, and sources are always given as plain
// IPv4 or IPv6 addresses.
func (h *Host) ListenPacket(network, address string) (*PacketConn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	local, err := h.parse(network, "udp", address)
	var c *PacketConn
	if err == nil {
		c, err = h.openUDP(network, local)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: stringAddr{network, address}, Err: err}
	}
	return c, nil
}

func (h *Host) openUDP(network string, local netip.AddrPort) (*PacketConn, error) {
	c := &PacketConn{host: h, network: network, limit: defaultWindow}
	c.cond.L = &h.n.mu
	var err error
	c.local, c.keys, err = claim(h, h.udp, network, local, c)
	for _, k := range c.keys {
		delete(h.gone, k)
	}
	return c, err
}

// Listen opens a socket that accepts streams. The network is "tcp", "tcp4" or
// "tcp6".
func (h *Host) Listen(network, address string) (*Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	local, err := h.parse(network, "tcp", address)
	l := &Listener{host: h, network: network}
	l.cond.L = &h.n.mu
	if err == nil {
		l.local, l.keys, err = claim(h, h.tcp, network, local, l)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: stringAddr{network, address}, Err: err}
	}
	return l, nil
}

// Dial is [Host.DialContext] without a context.
func (h *Host) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), network, address)
}

// DialContext connects to an address: for the networks of [Host.Listen] it
// returns a [*Conn] once the peer has answered, for those of
// [Host.ListenPacket] a connected [*PacketConn] at once. It fails with
// [syscall.ECONNREFUSED] if nobody listens, with [syscall.ETIMEDOUT] if nothing
// comes back within [Network.UserTimeout], or with the error of ctx. The method
// value has the type of [net/http.Transport.DialContext].
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: stringAddr{network, address}, Err: err}
	}
	remote, err := h.parse(network, network[:min(3, len(network))], address)
	if err != nil {
		return fail(err)
	}
	if remote.Port() == 0 {
		return fail(os.NewSyscallError("connect", syscall.EADDRNOTAVAIL))
	}
	if strings.HasPrefix(address, ":") && !strings.HasSuffix(network, "6") {
		remote = netip.AddrPortFrom(netip.IPv4Unspecified(), remote.Port())
	}
	remote = toSelf(remote)
	source, err := h.source(netip.Addr{}, remote.Addr())
	if err != nil {
		return fail(os.NewSyscallError("connect", err))
	}
	local := netip.AddrPortFrom(source, 0)
	if strings.HasPrefix(network, "udp") {
		c, err := h.openUDP(network, local)
		if err != nil {
			return fail(err)
		}
		c.remote = remote
		return c, nil
	}
	c, err := h.dialStream(ctx, network, local, remote)
	if err != nil {
		return fail(err)
	}
	return c, nil
}

// closeAll closes every socket of the host, for [Network.Close].
func (h *Host) closeAll() {
	for _, c := range h.udp {
		if c != nil {
			c.close()
		}
	}
	for _, l := range h.tcp {
		if l != nil {
			l.close()
		}
	}
	for c := range h.conns {
		c.end(net.ErrClosed)
	}
}

// parse reads an address for the network, which must be of the protocol.
func (h *Host) parse(network, protocol, address string) (netip.AddrPort, error) {
	var none netip.AddrPort
	if h.n.closed {
		return none, net.ErrClosed
	}
	family, ok := strings.CutPrefix(network, protocol)
	if !ok || (protocol != "udp" && protocol != "tcp") || (family != "" && family != "4" && family != "6") {
		return none, net.UnknownNetworkError(network)
	}
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return none, err
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return none, &net.AddrError{Err: "invalid port", Addr: address}
	}
	var a netip.Addr
	switch host {
	case "":
		a = netip.IPv6Unspecified()
		if family == "4" {
			a = netip.IPv4Unspecified()
		}
	case "localhost":
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if family == "6" {
			a = netip.IPv6Loopback()
		}
	default:
		if a, err = netip.ParseAddr(host); err != nil {
			return none, &net.DNSError{Err: "the network has no name service", Name: host, IsNotFound: true}
		}
		a = a.Unmap().WithZone("")
	}
	if (family == "4" && !a.Is4()) || (family == "6" && a.Is4()) {
		return none, &net.AddrError{Err: "wrong address family", Addr: address}
	}
	return netip.AddrPortFrom(a, uint16(port)), nil
}

// toSelf makes the unspecified address, as a destination, the loopback one.
func toSelf(to netip.AddrPort) netip.AddrPort {
	switch to.Addr() {
	case netip.IPv4Unspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port())
	case netip.IPv6Unspecified():
		return netip.AddrPortFrom(netip.IPv6Loopback(), to.Port())
	}
	return to
}

// source returns the address that packets to address to come from when the
// socket is bound to address bound, which may be unspecified or the zero Addr.
func (h *Host) source(bound, to netip.Addr) (netip.Addr, error) {
	if bound.IsValid() && !bound.IsUnspecified() {
		if bound.Is4() != to.Is4() {
			return bound, syscall.EAFNOSUPPORT
		}
		if bound.IsLoopback() && !to.IsLoopback() {
			return bound, syscall.ENETUNREACH
		}
		return bound, nil
	}
	if to.IsLoopback() {
		return to, nil
	}
	for _, a := range h.addrs {
		if a.Is4() == to.Is4() {
			return a, nil
		}
	}
	return bound, syscall.ENETUNREACH
}

// claim enters the socket s in the table of its protocol at the address local,
// choosing a port if that has none, and returns the address and the keys under
// which it stands there.
func claim[S any](h *Host, table map[netip.AddrPort]S, network string, local netip.AddrPort, s S) (netip.AddrPort, []netip.AddrPort, error) {
	a := local.Addr()
	if !a.IsUnspecified() && !a.IsLoopback() && h.n.hosts[a] != h {
		return local, nil, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	places := []netip.Addr{a}
	if a == netip.IPv6Unspecified() && !strings.HasSuffix(network, "6") {
		places = append(places, netip.IPv4Unspecified())
	}
	port := local.Port()
	if port == 0 {
		for range lastFreePort - firstFreePort + 1 {
			if h.port < firstFreePort || h.port == lastFreePort {
				h.port = firstFreePort - 1
			}
			h.port++
			if !inUse(table, places, h.port) {
				port = h.port
				break
			}
		}
	}
	if port == 0 || inUse(table, places, port) {
		return local, nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	var keys []netip.AddrPort
	for _, p := range places {
		keys = append(keys, netip.AddrPortFrom(p, port))
		table[keys[len(keys)-1]] = s
	}
	return keys[0], keys, nil
}

// inUse reports whether a socket at this port overlaps one of the places.
func inUse[S any](table map[netip.AddrPort]S, places []netip.Addr, port uint16) bool {
	for _, a := range places {
		if _, ok := table[netip.AddrPortFrom(a, port)]; ok {
			return true
		}
		if _, ok := table[netip.AddrPortFrom(unspecified(a), port)]; ok {
			return true
		}
		if a.IsUnspecified() {
			for k := range table {
				if k.Port() == port && k.Addr().Is4() == a.Is4() {
					return true
				}
			}
		}
	}
	return false
}

// unclaim takes the socket's keys out of the table.
func unclaim[S any](table map[netip.AddrPort]S, keys []netip.AddrPort) {
	for _, k := range keys {
		delete(table, k)
	}
}

// A stringAddr is an address as it was given, for errors.
type stringAddr struct{ network, address string }

func (a stringAddr) Network() string { return a.network }
func (a stringAddr) String() string  { return a.address }

// A deadline ends waits on a [sync.Cond]. Its timer runs only while someone
// waits, so that setting a deadline for every packet costs next to nothing.
type deadline struct {
	at    time.Time
	timer *time.Timer
	set   time.Time // for which the timer runs
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// wait waits on c, at most until the deadline. The caller looks again at what
// it waits for, as always with a Cond.
func (d *deadline) wait(c *sync.Cond) {
	if !d.at.IsZero() && !d.at.Equal(d.set) {
		d.set = d.at
		if d.timer == nil {
			d.timer = time.AfterFunc(time.Until(d.at), func() {
				c.L.Lock()
				defer c.L.Unlock()
				d.set = time.Time{}
				c.Broadcast()
			})
		} else {
			d.timer.Reset(time.Until(d.at))
		}
	}
	c.Wait()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.set = time.Time{}
	}
}
