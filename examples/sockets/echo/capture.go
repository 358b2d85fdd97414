package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

const (
	// lastPackets is how long a capture that is asked to stop waits for open
	// connections to end: their last acknowledgement comes after the program
	// itself has seen the end.
	lastPackets = 300 * time.Millisecond

	// maxPcap bounds the file that a capture writes.
	maxPcap = 64 << 20
)

// errNoCapture is returned where the system does not let this program listen
// to packets.
var errNoCapture = errors.New("live capture is not permitted here")

// A tap hears the packets from and to one port that enter or leave this
// machine.
type tap interface {
	// next returns the next packet, from the Ethernet header on, read into
	// buf. Without wait, and after the deadline, it returns
	// os.ErrDeadlineExceeded when there is none.
	next(buf []byte, wait bool) (record, error)
	SetReadDeadline(by time.Time) error
	// lost returns how many packets came too fast.
	lost() int
	Close() error
}

// A capture writes the packets to and from one server to a file.
type capture struct {
	server netip.AddrPort // an unspecified address stands for all
	tap    tap
	file   *os.File
	out    *pcapWriter

	done    chan struct{} // closed when run has returned; then these are set:
	packets int
	full    bool
	err     error

	open map[pair]ends // the TCP connections that are not over
}

// ends notes which sides of a connection have said their last.
type ends struct{ client, server bool }

// startCapture opens the file and listens to packets from now on. The error is
// errNoCapture where the system does not permit it; then there is no file.
func startCapture(name string, server net.Addr) (*capture, error) {
	endpoint, err := addrPort(server)
	if err != nil {
		return nil, err
	}
	t, err := openTap(endpoint.Port())
	if err != nil {
		return nil, err
	}
	file, err := os.Create(name)
	if err != nil {
		t.Close()
		return nil, err
	}
	c := &capture{
		server: endpoint, tap: t, file: file, out: newPcapWriter(file),
		done: make(chan struct{}), open: map[pair]ends{},
	}
	go c.run()
	return c, nil
}

func addrPort(addr net.Addr) (netip.AddrPort, error) {
	var a netip.AddrPort
	switch addr := addr.(type) {
	case *net.TCPAddr:
		a = addr.AddrPort()
	case *net.UDPAddr:
		a = addr.AddrPort()
	default:
		return a, fmt.Errorf("cannot capture packets to %v", addr)
	}
	// A captured packet has neither zone nor addresses of IPv4 in IPv6.
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()), nil
}

// stop ends the capture when the connections that it has seen begin have ended
// too, or after lastPackets, and says on env what the file holds.
func (c *capture) stop(env *cli.Env) error {
	c.tap.SetReadDeadline(time.Unix(1, 0)) // long past: tells run to come to an end
	<-c.done
	lost := c.tap.lost()
	c.tap.Close()
	err := errors.Join(c.err, c.out.flush())
	if cerr := c.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("the capture in %s is not whole: %w", c.file.Name(), err)
	}
	fmt.Fprintf(env.Stdout, "captured %s in %s\n", count(c.packets, "packet"), c.file.Name())
	if lost > 0 {
		fmt.Fprintf(env.Stderr, "the capture has lost %s: they came too fast\n", count(lost, "packet"))
	}
	if c.full {
		fmt.Fprintf(env.Stderr, "the capture ends after %d MiB\n", maxPcap>>20)
	}
	return nil
}

func (c *capture) run() {
	defer close(c.done)
	buf := make([]byte, maxCaptured)
	for {
		rec, err := c.tap.next(buf, true)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break // stop was called
		}
		if err != nil {
			c.err = err
			return
		}
		c.take(rec)
	}
	// What has been heard already, then what ends the open connections.
	by := time.Now().Add(lastPackets)
	for {
		c.tap.SetReadDeadline(time.Time{})
		rec, err := c.tap.next(buf, false)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if len(c.open) == 0 {
				return
			}
			c.tap.SetReadDeadline(by)
			rec, err = c.tap.next(buf, true)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		}
		if err != nil {
			c.err = err
			return
		}
		c.take(rec)
	}
}

// take writes a packet to the file if it is the server's or for it. Fragments
// after the first are left out: they do not say for whom they are.
func (c *capture) take(rec record) {
	p, err := decode(linkEthernet, rec.data)
	if err != nil {
		return
	}
	id := pair{p.tcp, p.src, p.dst}
	fromServer := c.isServer(p.src)
	if fromServer {
		id = pair{p.tcp, p.dst, p.src}
	} else if !c.isServer(p.dst) {
		return
	}
	if c.out.n > maxPcap {
		c.full = true
		return
	}
	c.out.add(rec)
	c.packets++
	if p.tcp {
		c.follow(id, p.flags, fromServer)
	}
}

func (c *capture) isServer(a netip.AddrPort) bool {
	return a.Port() == c.server.Port() && (a.Addr() == c.server.Addr() || c.server.Addr().IsUnspecified())
}

// follow keeps in c.open the connections whose end is still to come. Of more
// than a thousand it lets go of some: the file then lacks their last packets
// if it is stopped at that moment.
func (c *capture) follow(id pair, flags tcpFlags, fromServer bool) {
	const most = 1000
	e, known := c.open[id]
	switch {
	case flags&flagRST != 0:
		delete(c.open, id)
	case flags&flagSYN != 0:
		if known || len(c.open) < most {
			c.open[id] = ends{}
		}
	case !known:
	case e.client && e.server:
		delete(c.open, id) // the acknowledgement of the last FIN
	case flags&flagFIN != 0:
		e.client = e.client || !fromServer
		e.server = e.server || fromServer
		c.open[id] = e
	}
}
