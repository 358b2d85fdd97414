package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// maxLine bounds a line of standard input.
const maxLine = 1 << 20

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	udp := fs.Bool("udp", false, "speak UDP instead of TCP")
	data := fs.String("data", "", "send this `text` instead of the lines of standard input")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection and for each echo")
	pcap := fs.String("pcap", "", "write the packets to and from the server to `file`, where the system permits")
	return func(ctx context.Context, env *cli.Env) (err error) {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		network := "tcp"
		if *udp {
			network = "udp"
		}
		if *pcap != "" {
			server, err := net.ResolveUDPAddr("udp", target)
			if err != nil {
				return err
			}
			heard, why, err := captureIfAsked(*pcap, server)
			if err != nil {
				return err
			}
			if why != nil {
				fmt.Fprintln(env.Stderr, why)
			}
			if heard != nil {
				target = server.String() // a name may have more than one address
				defer func() { err = errors.Join(err, heard.stop(env)) }()
			}
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, network, target)
		if err != nil {
			return err
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		fmt.Fprintf(env.Stdout, "%s %s → %s\n", network, conn.LocalAddr(), conn.RemoteAddr())

		exchange := exchangeTCP
		if *udp {
			exchange = exchangeUDP
		}
		lines := cli.Lines(ctx, env.Stdin, maxLine)
		if cli.Given(fs, "data") {
			lines = func(yield func(string, error) bool) { yield(*data, nil) }
		}
		for line, err := range lines {
			if err != nil {
				return err
			}
			if line == "" && network == "tcp" {
				fmt.Fprintln(env.Stdout, "sent nothing: TCP carries bytes, and an empty text has none")
				continue
			}
			began := time.Now()
			if err := exchange(conn, []byte(line), *timeout); err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "sent %s, the same %d came back in %v\n",
				count(len(line), "byte"), len(line), time.Since(began).Round(time.Microsecond))
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			return finish(tcp, *timeout)
		}
		return nil // UDP has nothing to close
	}
}

// exchangeTCP sends data and reads as many bytes back. It does both at a time:
// if it wrote everything first, a long text would fill the buffers of both
// directions and both ends would wait for ever (exercise S10).
func exchangeTCP(conn net.Conn, data []byte, timeout time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		if err != nil {
			conn.SetReadDeadline(time.Unix(1, 0)) // nothing more will come back
		}
		written <- err
	}()
	echo := make([]byte, len(data))
	n, err := io.ReadFull(conn, echo)
	if err != nil {
		conn.SetWriteDeadline(time.Unix(1, 0))
	}
	if werr := <-written; werr != nil && cli.CauseOf(werr) != cli.TimedOut && (err == nil || cli.CauseOf(err) == cli.TimedOut) {
		return werr // the reading has failed because of it, if at all
	}
	if !bytes.Equal(echo[:n], data[:n]) {
		return different(conn, data, echo[:n])
	}
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return fmt.Errorf("%s has closed the connection after %d of %s", conn.RemoteAddr(), n, count(len(data), "byte"))
	case cli.CauseOf(err) == cli.TimedOut:
		return fmt.Errorf("%s has sent back %d of %s within %v", conn.RemoteAddr(), n, count(len(data), "byte"), timeout)
	}
	return err
}

// finish closes our direction and waits for the server to close its own.
func finish(conn *net.TCPConn, timeout time.Duration) error {
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	more, err := conn.Read(make([]byte, 1))
	switch {
	case more > 0:
		return fmt.Errorf("%s has sent back more than it was sent", conn.RemoteAddr())
	case err == io.EOF:
		return nil
	case cli.CauseOf(err) == cli.TimedOut:
		return fmt.Errorf("%s has not closed its direction within %v", conn.RemoteAddr(), timeout)
	}
	return err
}

// exchangeUDP sends data as one datagram and reads the one that comes back.
func exchangeUDP(conn net.Conn, data []byte, timeout time.Duration) error {
	most := maxDatagram(conn.RemoteAddr())
	if len(data) > most {
		return fmt.Errorf("cannot send %d bytes to %s: a datagram carries at most %d", len(data), conn.RemoteAddr(), most)
	}
	if _, err := conn.Write(data); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	echo := make([]byte, 64<<10)
	n, err := conn.Read(echo)
	if cli.CauseOf(err) == cli.TimedOut {
		return fmt.Errorf("no echo from %s within %v: the datagram, its echo or the server got lost, UDP does not say which", conn.RemoteAddr(), timeout)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(echo[:n], data) {
		return different(conn, data, echo[:n])
	}
	return nil
}

// maxDatagram is the most payload that a UDP datagram to addr can carry: what
// the 16-bit length field of UDP leaves beside its own 8 bytes (RFC 768) and,
// in IPv4, beside the 20 bytes of the IP header, which the IP packet's own
// length counts too (RFC 791).
func maxDatagram(addr net.Addr) int {
	if udp, ok := addr.(*net.UDPAddr); ok && udp.IP.To4() == nil {
		return 65535 - 8
	}
	return 65535 - 8 - 20
}

// different says where an echo is none.
func different(conn net.Conn, data, echo []byte) error {
	for i := range min(len(data), len(echo)) {
		if data[i] != echo[i] {
			return fmt.Errorf("this is no echo: byte %d from %s is %#02x, not %#02x", i+1, conn.RemoteAddr(), echo[i], data[i])
		}
	}
	return fmt.Errorf("this is no echo: %s came back from %s, not %d", count(len(echo), "byte"), conn.RemoteAddr(), len(data))
}
