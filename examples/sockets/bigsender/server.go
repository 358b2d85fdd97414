package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A socket is what the server needs of an unconnected UDP socket.
type socket interface {
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
	Close() error
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	return func(ctx context.Context, env *cli.Env) error {
		var config net.ListenConfig
		conn, err := config.ListenPacket(ctx, "udp", addr.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := env.Listening(conn.LocalAddr()); err != nil {
			return err
		}
		return serve(ctx, conn.(*net.UDPConn), env)
	}
}

// serve answers each datagram with its length until ctx ends. Fragments are no
// business of ours: the kernel puts them together first.
func serve(ctx context.Context, conn socket, env *cli.Env) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes the read below
	defer stop()
	buf := make([]byte, 64<<10)
	for {
		n, client, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
		case cli.CauseOf(err) == cli.Reset || cli.CauseOf(err) == cli.Refused:
			continue // Windows says here that an earlier answer found nobody
		default:
			return err
		}
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		fmt.Fprintf(env.Stdout, "%s: %d bytes\n", client, n)
		if _, err := conn.WriteToUDPAddrPort([]byte(strconv.Itoa(n)), client); err != nil && ctx.Err() == nil {
			fmt.Fprintf(env.Stderr, "answer lost: %s\n", cli.Explain(err))
		}
	}
}

// relay is a bad stretch of the way: a link that carries packets up to a
// length and swallows longer ones. A proper router would say so, with the ICMP
// message "fragmentation needed" (RFC 1191) or "packet too big" (RFC 8201).
func relay(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	target := fs.String("target", "127.0.0.1:1060", "`address` of the server behind the relay")
	mtu := cli.Number(fs, "mtu", 1400, 68, 65535, "swallow packets of more `bytes`, headers included")
	return func(ctx context.Context, env *cli.Env) error {
		link := simnet.Link{MTU: *mtu}
		r, err := simnet.RelayUDP(addr.String(), *target, &simnet.RelayConfig{Up: link, Down: link, IdleTimeout: time.Minute})
		if err != nil {
			return err
		}
		if err := env.Listening(r.Addr()); err != nil {
			r.Close()
			return err
		}
		<-ctx.Done()
		return r.Close()
	}
}
