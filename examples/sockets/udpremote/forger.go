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

// forgedText is what the forger would have the client believe.
const forgedText = "1000000"

// forger is the server with bad company. Before the true answer come
//
//   - one from a stranger, a socket of its own, who has read the request and
//     so knows the id;
//   - one from the server's address with an id that was only guessed, as from
//     somebody who can write a false sender but cannot read the request;
//   - the answer to the client's request before this one once more, as a network may
//     deliver it late;
//   - a piece that is too short to be anything.
func forger(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	return func(ctx context.Context, env *cli.Env) error {
		conn, err := listen(ctx, addr.String(), env)
		if err != nil {
			return err
		}
		defer conn.Close()
		var config net.ListenConfig
		other, err := config.ListenPacket(ctx, "udp", net.JoinHostPort(addr.Host, "0"))
		if err != nil {
			return err
		}
		stranger := other.(*net.UDPConn)
		defer stranger.Close()
		fmt.Fprintf(env.Stdout, "the stranger is %s\n", stranger.LocalAddr())

		var earlier struct { // the request before this one
			id   uint64
			text string
			from netip.AddrPort
		}
		return serve(ctx, conn, env, func(from netip.AddrPort, id uint64, text []byte) {
			fmt.Fprintf(env.Stdout, "%s: %q (%d bytes): the false answers, then the true one\n", from, text, len(text))
			answer(ctx, stranger, env, from, id, forgedText)
			answer(ctx, conn, env, from, id+1, forgedText)
			if earlier.from == from {
				answer(ctx, conn, env, from, earlier.id, earlier.text)
			}
			if _, err := conn.WriteToUDPAddrPort([]byte("?"), from); err != nil && ctx.Err() == nil {
				fmt.Fprintf(env.Stderr, "answer lost: %s\n", cli.Explain(err))
			}
			earlier.id, earlier.text, earlier.from = id, strconv.Itoa(len(text)), from
			answer(ctx, conn, env, from, id, earlier.text)
		})
	}
}
