// Package hosts is two machines in one process, each with a TCP/IP stack of its
// own, joined by a bad link. It shows what TCP does when packets are lost, late
// or out of order, which never happens to what passes over loopback.
//
//	pair, err := hosts.Join(&hosts.Config{Up: link, Down: link})
//	defer pair.Close()
//	ln, err := pair.B.Listen(1060)
//	conn, err := pair.A.Dial(ctx, ln.Addr().String())
//
// All that the two send each other, over TCP or UDP, by any number of
// connections, passes the same two [simnet.Model] links, one in each direction:
// connections compete for them as they would for a cable. The links run on real
// time, with timers that are late by up to a millisecond or so.
//
// The stack is gVisor's, which needs no rights: TCP with CUBIC or Reno, selective
// acknowledgements (RFC 2018), RACK (RFC 8985) and buffers that grow to 4 MB. On
// Linux root may have that of the system instead.
package hosts

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

const (
	// defaultMTU is that of Ethernet.
	defaultMTU = 1500

	// minMTU is the smallest that a host takes: every IPv4 machine can.
	minMTU = 68
)

// A Config is what [Join] can be told. The zero value is a perfect link.
type Config struct {
	Up   simnet.Link // from A to B
	Down simnet.Link // from B to A
	Seed uint64      // of the dice of both links
	// Congestion is TCP's congestion control: "cubic" (RFC 9438), which is
	// also meant by "", "reno" (RFC 5681), or what else the system has.
	Congestion string
	// System takes the TCP/IP stack of Linux, in two network namespaces of its
	// own, in the place of gVisor's. That needs root.
	System bool
}

// A Pair is two hosts and the links between them.
type Pair struct {
	A, B     *Host // 10.0.0.1 and 10.0.0.2
	up, down *lane // from A to B, and back
}

// A Host is one of the two machines. Its methods may be called by several
// goroutines at a time.
type Host struct {
	addr  netip.Addr
	stack tcpip
}

// A tcpip is a host's TCP/IP stack.
type tcpip interface {
	listen(own netip.AddrPort) (net.Listener, error)
	dial(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	listenPacket(own netip.AddrPort) (net.PacketConn, error)
	take(packet []byte) // which has arrived for this host
	close()             // returns when its goroutines have ended
}

// Join makes two hosts and joins them. The caller must close the pair.
//
// A link's MTU is known to both hosts, as that of a cable is: TCP sends no
// larger segments. Fragments are lost.
func Join(config *Config) (*Pair, error) {
	var c Config
	if config != nil {
		c = *config
	}
	if c.Congestion == "" {
		c.Congestion = "cubic"
	}
	mtu := defaultMTU
	for _, link := range []simnet.Link{c.Up, c.Down} {
		if link.MTU > 0 {
			mtu = min(mtu, max(link.MTU, minMTU))
		}
	}
	start := time.Now()
	p := &Pair{up: newLane(c.Up, c.Seed, 1, start), down: newLane(c.Down, c.Seed, 2, start)}
	newStack := newUserStack
	if c.System {
		newStack = newSystemStack
	}
	host := func(last byte, send func([]byte)) (*Host, error) {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, last})
		stack, err := newStack(addr, mtu, c.Congestion, send)
		if err != nil {
			return nil, fmt.Errorf("hosts: %w", err)
		}
		return &Host{addr, stack}, nil
	}
	var err error
	if p.A, err = host(1, p.up.send); err != nil {
		return nil, err
	}
	if p.B, err = host(2, p.down.send); err != nil {
		p.A.stack.close()
		return nil, err
	}
	p.up.start(p.B.stack.take)
	p.down.start(p.A.stack.take)
	return p, nil
}

// Close takes the links away and the hosts down; connections end with errors.
// It returns when all goroutines have ended.
func (p *Pair) Close() error {
	p.up.close()
	p.down.close()
	p.A.stack.close()
	p.B.stack.close()
	return nil
}

// Stats returns the counters of the links from A to B and from B to A.
func (p *Pair) Stats() (up, down simnet.Stats) { return p.up.stats(), p.down.stats() }

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// Listen accepts TCP connections on a port; 0 takes a free one.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	return h.stack.listen(netip.AddrPortFrom(h.addr, port))
}

// Dial connects over TCP to an "address:port" of the other host. The connection
// has the method CloseWrite.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("hosts: dial: %w", err)
	}
	return h.stack.dial(ctx, to)
}

// ListenPacket opens a UDP socket on a port; 0 takes a free one.
func (h *Host) ListenPacket(port uint16) (net.PacketConn, error) {
	return h.stack.listenPacket(netip.AddrPortFrom(h.addr, port))
}
