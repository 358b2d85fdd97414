package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A socket is what the servers need of an unconnected UDP socket.
type socket interface {
	ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
	Close() error
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	drop := cli.Number(fs, "drop", 0.5, 0, 1, "`probability` with which a request is dropped")
	seed := cli.Number(fs, "seed", int64(0), 0, 1<<62, "`number` that decides which ones; 0 is different each time")
	return func(ctx context.Context, env *cli.Env) error {
		conn, err := listen(ctx, addr.String(), env)
		if err != nil {
			return err
		}
		rnd := dice(*seed)
		return serve(ctx, conn, env, func(from netip.AddrPort, id uint64, text []byte) {
			if rnd.Float64() < *drop {
				fmt.Fprintf(env.Stdout, "%s: %q (%d bytes) dropped\n", from, text, len(text))
				return
			}
			fmt.Fprintf(env.Stdout, "%s: %q (%d bytes) answered\n", from, text, len(text))
			answer(ctx, conn, env, from, id, strconv.Itoa(len(text)))
		})
	}
}

// listen opens a server's socket and says where.
func listen(ctx context.Context, addr string, env *cli.Env) (*net.UDPConn, error) {
	var config net.ListenConfig
	conn, err := config.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	if err := env.Listening(conn.LocalAddr()); err != nil {
		conn.Close()
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// serve calls handle with each request until ctx ends, and closes conn. The
// text is valid during the call.
func serve(ctx context.Context, conn socket, env *cli.Env, handle func(from netip.AddrPort, id uint64, text []byte)) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes the read below
	defer stop()
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
		id, text, ok := parse(buf[:n])
		if !ok {
			fmt.Fprintf(env.Stdout, "%s: a datagram of length %d is too short for an id, ignored\n", plain(from), n)
			continue
		}
		handle(plain(from), id, text)
	}
}

// answer sends one answer. That it could not be sent is told and no more: the
// client cannot tell it from one that got lost, and will ask again.
func answer(ctx context.Context, conn socket, env *cli.Env, to netip.AddrPort, id uint64, text string) {
	if _, err := conn.WriteToUDPAddrPort(message(id, text), to); err != nil && ctx.Err() == nil {
		fmt.Fprintf(env.Stderr, "answer lost: %s\n", cli.Explain(err))
	}
}
