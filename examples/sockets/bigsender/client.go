package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// resultLine begins the line that tells what was found.
const resultLine = "the largest that gets through: "

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	fragment := fs.Bool("fragment", false, "allow that datagrams are cut into fragments on the way")
	size := cli.Number(fs, "size", 0, 0, 100_000, "send one datagram of this many `bytes` instead of searching")
	wait := cli.Number(fs, "wait", 200*time.Millisecond, time.Millisecond, time.Minute, "wait this `time` for the answer to each datagram")
	tries := cli.Number(fs, "tries", 3, 1, 100, "take a size for lost after this many `datagrams` without an answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		var problem error // of the option; it need not end the program
		dialer := net.Dialer{
			ControlContext: func(_ context.Context, network, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) {
					problem = setDontFragment(fd, network == "udp6", !*fragment)
				})
			},
		}
		conn, err := dialer.DialContext(ctx, "udp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes a read
		defer stop()

		how := "unfragmented"
		if *fragment {
			how = "fragments allowed"
		}
		if problem != nil {
			how = fmt.Sprintf("fragments or not is up to the system (%v)", problem)
		}
		fmt.Fprintf(env.Stdout, "from %s to %s, %s\n", conn.LocalAddr(), conn.RemoteAddr(), how)

		peer := conn.RemoteAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		raw, err := conn.(*net.UDPConn).SyscallConn()
		if err != nil {
			return err
		}
		p := newProber(conn, peer, env, func() (int, error) { return pathMTU(raw, peer.Is6()) })
		p.wait, p.tries, p.fragment = *wait, *tries, *fragment
		if cli.Given(fs, "size") {
			f, err := p.send(*size)
			if err == nil && f != arrived {
				err = fmt.Errorf("%d bytes do not get through to %s", *size, conn.RemoteAddr())
			}
			return err
		}
		return p.search()
	}
}

// A fate is what became of a datagram.
type fate int

const (
	arrived      fate = iota // the server has said how long it was
	lost                     // no answer, and no word of why
	refusedHere              // this machine did not send it
	refusedThere             // a router could not pass it on, and said so
)

// errTooLong ends an attempt to send what no datagram can carry.
var errTooLong = errors.New("too long for UDP")

// A prober tries sizes on one path.
type prober struct {
	conn     net.Conn            // a connected UDP socket
	mtu      func() (int, error) // the path MTU that the kernel knows
	env      *cli.Env
	headers  int // bytes around the data
	most     int // bytes of data that a datagram can have
	wait     time.Duration
	tries    int
	fragment bool

	known int // the path MTU told last; 0 for none
}

// newProber returns a prober for the path to peer.
func newProber(conn net.Conn, peer netip.Addr, env *cli.Env, mtu func() (int, error)) *prober {
	p := &prober{conn: conn, mtu: mtu, env: env, headers: headers4, most: most4, wait: 200 * time.Millisecond, tries: 3}
	if peer.Is6() {
		p.headers, p.most = headers6, most6
	}
	mtuNow, err := mtu()
	if err != nil {
		fmt.Fprintf(env.Stdout, "path MTU: %v\n", err)
	} else {
		fmt.Fprintf(env.Stdout, "path MTU that the kernel knows: %d bytes\n", mtuNow)
		p.known = mtuNow
	}
	return p
}

// search finds the largest size that gets through and prints it.
func (p *prober) search() error {
	// One byte first: if that has no answer, length is not what is wrong.
	f, err := p.send(1)
	if err != nil {
		return err
	}
	if f != arrived {
		return fmt.Errorf("%s answers not even a datagram of one byte: is a server there?", p.conn.RemoteAddr())
	}
	fits := func(n int) (bool, error) {
		f, err := p.send(n)
		return f == arrived, err
	}
	n := p.most
	ok, err := fits(n)
	if err == nil && !ok {
		n, err = largest(1, n, fits)
	}
	if err != nil {
		return err
	}
	pieces := ""
	if count := fragments(n, p.headers, p.known); p.fragment && count > 1 {
		pieces = fmt.Sprintf(", leaving here in %d fragments", count)
	}
	_, err = fmt.Fprintf(p.env.Stdout, "%s%d bytes of data, %d with the headers of IP and UDP%s\n", resultLine, n, n+p.headers, pieces)
	return err
}

// largest returns the largest n from lo up, less than hi, that fits. It takes
// for granted that lo fits, that hi does not, and that what fits is shorter
// than what does not: each answer halves what is left.
func largest(lo, hi int, fits func(n int) (bool, error)) (int, error) {
	for hi-lo > 1 {
		middle := lo + (hi-lo)/2
		ok, err := fits(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			lo = middle
		} else {
			hi = middle
		}
	}
	return lo, nil
}

// fragments returns into how many packets IP cuts n bytes of data for a path
// MTU. All pieces but the last carry a multiple of eight bytes, and over IPv6
// each has eight bytes more of header.
func fragments(n, headers, mtu int) int {
	if mtu == 0 || n+headers <= mtu {
		return 1
	}
	room := mtu - (headers - 8) // the header of UDP travels in the first piece only
	if headers == headers6 {
		room -= 8
	}
	room &^= 7
	if room <= 0 {
		return 1
	}
	return (n + 8 + room - 1) / room
}

// send sends a datagram of n bytes, again if there is no answer, prints what
// became of it and returns that.
func (p *prober) send(n int) (fate, error) {
	if n > p.most {
		// The kernel would say "message too long", as for the path MTU. But
		// here no path would be any help.
		return 0, fmt.Errorf("cannot send %d bytes: %w, whose datagrams carry at most %d", n, errTooLong, p.most)
	}
	f := lost
	for try := 0; try < p.tries && f == lost; try++ {
		var err error
		if f, err = p.try(n); err != nil {
			return 0, err
		}
	}
	var what string
	switch f {
	case arrived:
		what = "arrived"
	case lost:
		what = fmt.Sprintf("lost without a word, %d times in a row", p.tries)
	case refusedHere:
		what = fmt.Sprintf("not sent: with headers %d bytes, too long for this machine", n+p.headers)
		if mtu, err := p.mtu(); err == nil && n+p.headers > mtu {
			what = fmt.Sprintf("not sent: with headers %d bytes, longer than the path MTU of %d", n+p.headers, mtu)
		}
	case refusedThere:
		what = fmt.Sprintf("sent; a router on the way says that %d bytes with headers are too long", n+p.headers)
	}
	if _, err := fmt.Fprintf(p.env.Stdout, "%6d bytes: %s\n", n, what); err != nil {
		return 0, err
	}
	if now, err := p.mtu(); err == nil && now != p.known {
		fmt.Fprintf(p.env.Stdout, "the kernel has learned a path MTU of %d bytes\n", now)
		p.known = now
	}
	return f, nil
}

// try sends one datagram of n bytes and waits for the answer. The same error of
// the system, EMSGSIZE, stands for two of the fates: a write fails with it
// because this machine will not send so much, and a read because, later, a
// router's ICMP message came.
func (p *prober) try(n int) (fate, error) {
	data := make([]byte, n)
	_, err := p.conn.Write(data)
	if cli.CauseOf(err) == cli.TooLong {
		// It may also be a router's late word on the try before, in which
		// case nothing was sent and the next write is about this one.
		if now, mtuErr := p.mtu(); mtuErr == nil && n+p.headers <= now {
			_, err = p.conn.Write(data)
		}
		if cli.CauseOf(err) == cli.TooLong {
			return refusedHere, nil
		}
	}
	if err != nil {
		return 0, err
	}
	if err := p.conn.SetReadDeadline(time.Now().Add(p.wait)); err != nil {
		return 0, err
	}
	var answer [64]byte
	want := fmt.Sprint(n)
	for {
		got, err := p.conn.Read(answer[:])
		switch {
		case err == nil && string(answer[:got]) == want:
			return arrived, nil
		case err == nil:
			// The late answer to another size, or nothing of the server's:
			// it says nothing about this one.
		case cli.CauseOf(err) == cli.TimedOut:
			return lost, nil
		case cli.CauseOf(err) == cli.TooLong:
			if got > 0 { // Windows: an answer longer than the buffer
				continue
			}
			return refusedThere, nil
		default:
			return 0, err
		}
	}
}
