package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	naive := fs.Bool("naive", false, "take what one Read gives for the whole message: the mistake to learn from")
	timeout := cli.Number(fs, "timeout", 30*time.Second, time.Millisecond, time.Hour, "give up on a client that keeps us waiting for this `time`")
	clients := cli.Number(fs, "clients", 100, 1, 10_000, "serve this `number` of clients at a time; further ones wait")
	return func(ctx context.Context, env *cli.Env) error {
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		talk := exchange
		if *naive {
			talk = exchangeNaively
		}
		s := &framing.Server{
			Format:   framing.Fixed(size),
			Config:   framing.Config{IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout},
			MaxConns: *clients,
			Handler: func(ctx context.Context, c *framing.Conn) error {
				conn := c.Stream().(*tap)
				fmt.Fprintf(env.Stdout, "%sconnected: %s\n", conn.who, names(conn))
				err := talk(ctx, c, conn, *timeout)
				switch {
				case ctx.Err() != nil || err == framing.ErrServerClosed:
					// We stop: no fault of the client's.
				case err == nil:
					fmt.Fprintf(env.Stdout, "%sgoodbye\n", conn.who)
				default:
					fmt.Fprintf(env.Stdout, "%serror: %v\n", conn.who, err)
					if conn.got < size && !*naive {
						// The client may have closed its own direction only.
						// If it is gone for good this goes nowhere, and no
						// harm is done.
						_ = c.Send(ctx, []byte(complaint))
					}
				}
				return nil
			},
		}
		err = s.Serve(ctx, tapListener{ln, env.Stdout})
		s.Close() // waits for the handlers
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// A tapListener accepts connections that show their reads.
type tapListener struct {
	net.Listener
	out io.Writer
}

func (l tapListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tap{TCPConn: conn.(*net.TCPConn), who: conn.RemoteAddr().String() + ": ", out: l.out}, nil
}

// exchange receives exactly sixteen octets, answers, and looks whether that
// was all.
func exchange(ctx context.Context, c *framing.Conn, conn *tap, _ time.Duration) error {
	msg, err := c.Receive(ctx)
	if err != nil {
		return explain(err, conn.got)
	}
	fmt.Fprintf(conn.out, "%sthe message is %q\n", conn.who, msg)
	if err := c.Send(ctx, []byte(farewell)); err != nil {
		return fmt.Errorf("the answer is lost: %w", explain(err, conn.got))
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	// A seventeenth octet would be the beginning of a second message.
	switch _, _, err := c.NextReader(ctx); {
	case err == io.EOF:
		return nil
	case err == framing.ErrServerClosed:
		return nil // it has its answer
	case err == nil:
		return fmt.Errorf("sent more than %d octets: at least %d", size, conn.got)
	case cli.CauseOf(err) == cli.TimedOut:
		return errors.New("has its answer, but does not hang up")
	default:
		return explain(err, conn.got)
	}
}

// exchangeNaively makes the mistake: it asks for sixteen octets and believes
// that it has got them.
func exchangeNaively(ctx context.Context, c *framing.Conn, conn *tap, timeout time.Duration) error {
	by := time.Now().Add(timeout)
	if err := conn.SetReadDeadline(by); err != nil {
		return err
	}
	msg := make([]byte, size)
	n, err := conn.Read(msg)
	switch {
	case err == nil:
	case cli.CauseOf(err) == cli.TimedOut && time.Now().Before(by):
		return framing.ErrServerClosed // so a server that shuts down wakes those who wait
	default:
		return explain(err, conn.got)
	}
	fmt.Fprintf(conn.out, "%sthe message is %q, or is it? That is %d of %d octets\n", conn.who, msg[:n], n, size)
	return c.Send(ctx, []byte(farewell))
}
