package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// maxDatagrams is how many a server takes for one message: twenty copies of
// the longest, in pairs.
const maxDatagrams = 2*20*maxWords + 1

// A socket is what the server needs of an unconnected UDP socket.
type socket interface {
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	SetReadDeadline(time.Time) error
	Close() error
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	format := formatFlag(fs)
	idle := cli.Number(fs, "idle", 2*time.Second, time.Millisecond, time.Hour, "give up when, once begun, nothing has come for this `time`")
	brief := fs.Bool("brief", false, "print the message only, not each word")
	return func(ctx context.Context, env *cli.Env) error {
		var config net.ListenConfig
		conn, err := config.ListenPacket(ctx, "udp", addr.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		// More room for bursts, as far as the system allows: what finds the
		// socket's queue full is lost.
		if err := conn.(*net.UDPConn).SetReadBuffer(1 << 20); err != nil {
			return err
		}
		if err := env.Listening(conn.LocalAddr()); err != nil {
			return err
		}
		s := &session{conn: conn.(*net.UDPConn), idle: *idle, brief: *brief, env: env}
		s.format = *format
		return s.run(ctx)
	}
}

// A session is the reception of one message.
type session struct {
	conn  socket
	idle  time.Duration
	brief bool
	env   *cli.Env
	assembly

	client netip.AddrPort // whose message it is, from the first datagram that made sense
	taken  int            // datagrams from there
}

// run receives one message and prints it. It ends without one, and without an
// error, when ctx ends.
func (s *session) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() }) // wakes the read
	defer stop()
	buf := make([]byte, 64<<10)
	for !s.whole() && s.taken < maxDatagrams {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case cli.CauseOf(err) == cli.TimedOut:
			return s.giveUp()
		case cli.CauseOf(err) == cli.Reset || cli.CauseOf(err) == cli.Refused:
			continue
		default:
			return err
		}
		if s.client.IsValid() && from != s.client {
			fmt.Fprintf(s.env.Stdout, "%s: a stranger, ignored\n", plain(from))
			continue
		}
		what, err := s.receive(buf[:n])
		if err != nil {
			what = "refused: " + err.Error()
		} else if !s.client.IsValid() {
			s.client = from
			fmt.Fprintf(s.env.Stdout, "a message from %s\n", plain(from))
		}
		if s.client.IsValid() {
			s.taken++
			if err := s.conn.SetReadDeadline(time.Now().Add(s.idle)); err != nil && ctx.Err() == nil {
				return err
			}
		}
		if what != "" && !s.brief {
			fmt.Fprintln(s.env.Stdout, what)
		}
	}
	if !s.whole() {
		return s.giveUp()
	}
	fmt.Fprintf(s.env.Stdout, "datagrams: %d, repeated words dropped: %d, refused: %d\n", s.taken, s.repeats, s.refused)
	_, err := fmt.Fprintf(s.env.Stdout, "message: %q\n", s.text())
	return err
}

// giveUp prints what there is of the message and says what is missing.
func (s *session) giveUp() error {
	fmt.Fprintf(s.env.Stdout, "datagrams: %d, repeated words dropped: %d, refused: %d\n", s.taken, s.repeats, s.refused)
	fmt.Fprintf(s.env.Stdout, "incomplete: %q\n", s.text())
	missing := s.missing()
	list := strings.Trim(fmt.Sprint(missing[:min(len(missing), 20)]), "[]")
	if len(missing) > 20 {
		list += " …"
	}
	if s.taken >= maxDatagrams {
		return fmt.Errorf("after %d datagrams %d of %d words are missing: %s", s.taken, len(missing), len(s.words), list)
	}
	return fmt.Errorf("nothing has come for %v, and %d of %d words are missing: %s", s.idle, len(missing), len(s.words), list)
}

// plain returns an IPv4 address as such when a socket for both families has
// given it as an IPv6 one (::ffff:127.0.0.1).
func plain(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
