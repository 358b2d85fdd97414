package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	text := fs.String("text", greeting, "the `message`, of sixteen octets")
	raw := fs.Bool("raw", false, "send -text even if it has another length, to see what the server says")
	dribble := cli.Number(fs, "dribble", 0, 0, size, "write at most so many `octets` at a time; 0 means all at once")
	pause := cli.Number(fs, "pause", 50*time.Millisecond, 0, time.Hour, "rest this `time` between two writes")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, and for the answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		if n := len(*text); n != size && !*raw {
			return cli.Usagef("-text has %d octets, not %d (-raw sends it all the same)", n, size)
		}
		dialer := net.Dialer{Timeout: *timeout}
		dialed, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer dialed.Close()
		stop := context.AfterFunc(ctx, func() { dialed.Close() }) // wakes what waits below
		defer stop()
		conn := &tap{TCPConn: dialed.(*net.TCPConn), out: env.Stdout}
		fmt.Fprintf(env.Stdout, "connected: %s\n", names(conn))

		// Now the socket has a peer and can send: nothing is to be added to
		// the octets, so that Write will do. It either takes them all or
		// fails; it is Read that may give fewer than one asks for.
		piece := *dribble
		if piece == 0 {
			piece = max(len(*text), 1)
		}
		err = dribbleOut(ctx, conn, []byte(*text), piece, *pause, *timeout)
		if err == nil && conn.CloseWrite() != nil {
			err = fmt.Errorf("%s has broken the connection off", conn.RemoteAddr())
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Even if not all of it has left, the server may have said why.
		said := receive(ctx, conn, *timeout, env.Stdout)
		if err != nil && !errors.Is(said, errRefused) {
			return err
		}
		return said
	}
}

// dribbleOut writes msg in pieces.
func dribbleOut(ctx context.Context, conn net.Conn, msg []byte, piece int, pause, timeout time.Duration) error {
	first := true
	for part := range slices.Chunk(msg, piece) {
		if !first {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		first = false
		if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		if _, err := conn.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// errRefused is the condition of an answer that is none.
var errRefused = errors.New("refuses the message: " + complaint)

// receive prints the server's sixteen octets and sees that nothing follows.
func receive(ctx context.Context, conn *tap, timeout time.Duration, out io.Writer) error {
	c := framing.NewConn(conn, framing.Fixed(size), &framing.Config{IdleTimeout: timeout, ReadTimeout: timeout})
	msg, err := c.Receive(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return fmt.Errorf("no answer: %s %w", conn.RemoteAddr(), explain(err, conn.got))
	}
	if string(msg) == complaint {
		return fmt.Errorf("%s %w", conn.RemoteAddr(), errRefused)
	}
	fmt.Fprintf(out, "the answer is %q\n", msg)
	switch _, _, err := c.NextReader(ctx); {
	case err == io.EOF:
		return nil
	case err == nil:
		return fmt.Errorf("%s sent more than %d octets", conn.RemoteAddr(), size)
	case ctx.Err() == nil && cli.CauseOf(err) == cli.TimedOut:
		return fmt.Errorf("%s has answered, but does not hang up", conn.RemoteAddr())
	default:
		return err
	}
}
