package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func server(fs *flag.FlagSet) cli.Action {
	addr, choose := segmentFlags(fs)
	name := fs.String("name", fmt.Sprintf("listener %d", os.Getpid()), "answer with this `name`")
	quiet := fs.Bool("quiet", false, "print, but do not answer")
	return func(ctx context.Context, env *cli.Env) error {
		if len(*name) > 100 {
			return cli.Usagef("-name has %d bytes; 100 are enough", len(*name))
		}
		s, err := choose()
		if err != nil {
			return err
		}
		var optionErr error
		config := net.ListenConfig{
			Control: func(_, _ string, raw syscall.RawConn) error {
				return raw.Control(func(fd uintptr) { optionErr = sharePort(fd) })
			},
		}
		local := netip.AddrPortFrom(bindAddr(s.Broadcast), uint16(addr.Port))
		socket, err := config.ListenPacket(ctx, "udp4", local.String())
		if err != nil {
			return err
		}
		conn := socket.(*net.UDPConn)
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes the read below
		defer stop()
		if err := env.Listening(conn.LocalAddr()); err != nil {
			return err
		}
		if optionErr != nil {
			fmt.Fprintf(env.Stderr, "no other listener can have this port: %v\n", optionErr)
		}
		answer := *name
		if *quiet {
			answer = ""
		}
		return listen(ctx, conn, s, answer, env)
	}
}

// listen prints the messages from a segment until ctx ends, and answers them
// with a name unless that is empty.
func listen(ctx context.Context, conn *net.UDPConn, s segment, name string, env *cli.Env) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case cli.CauseOf(err) == cli.Reset || cli.CauseOf(err) == cli.Refused:
			continue // Windows says here that an earlier answer found nobody
		default:
			return err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		// A sender's address is easily forged. Whoever gets all machines of a
		// segment to answer a victim elsewhere has them attack it (the "smurf"
		// attack, RFC 2644): answers stay on the segment.
		if !s.Prefix.Contains(from.Addr()) || from.Addr() == s.Broadcast {
			fmt.Fprintf(env.Stdout, "%s: ignored, not from a machine in %s\n", from, s.Prefix.Masked())
			continue
		}
		fmt.Fprintf(env.Stdout, "%s: %q (%d bytes)\n", from, buf[:n], n)
		if name == "" {
			continue
		}
		text := name + " heard " + strconv.Itoa(n) + " bytes"
		if _, err := conn.WriteToUDPAddrPort([]byte(text), from); err != nil && ctx.Err() == nil {
			fmt.Fprintf(env.Stderr, "answer lost: %s\n", cli.Explain(err))
		}
	}
}
