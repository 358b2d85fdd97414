package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	u := userFlags(fs, "client")
	return func(ctx context.Context, env *cli.Env) error {
		if err := u.check(); err != nil {
			return err
		}
		target, err := addr.Target()
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *u.timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		config := u.config()
		stream, err := u.stream(framing.NewConn(conn, nil, &config)) // nil: four bytes of length, big-endian
		if err != nil {
			return err
		}
		typing, cancel := context.WithCancel(ctx)
		defer cancel()
		lines, errs := u.lines(typing, env.Stdin)
		c := &chat{
			stream: stream, me: *u.nick, myTurn: true, lines: lines, errs: errs,
			idle: *u.idle, timeout: *u.timeout, out: env.Stdout,
		}
		if err = c.tellNick(ctx); err == nil {
			err = c.hearNick(ctx)
		}
		if err == nil {
			fmt.Fprintf(env.Stdout, "you chat with %s, and you begin\n", c.them)
			err = c.talk(ctx)
		}
		if err != nil {
			c.part(ctx, err)
		}
		return explain(err, conn.RemoteAddr().String())
	}
}

// A host is a server: one user, who chats with one client at a time.
type host struct {
	*user
	env   *cli.Env
	lines <-chan string
	errs  <-chan error
	over  context.CancelFunc // to be called when the user has nothing more to say

	talking sync.Mutex
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	u := userFlags(fs, "server")
	return func(ctx context.Context, env *cli.Env) error {
		if err := u.check(); err != nil {
			return err
		}
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		open, over := context.WithCancel(ctx)
		defer over()
		lines, errs := u.lines(open, env.Stdin)
		h := &host{user: u, env: env, lines: lines, errs: errs, over: over}
		s := &framing.Server{
			Config: u.config(), MaxConns: 10,
			Handler: func(_ context.Context, conn *framing.Conn) error { return h.receive(open, conn) },
		}
		err = s.Serve(open, ln)
		s.Close() // waits for the chat
		if open.Err() != nil {
			return nil
		}
		return err
	}
}

// receive chats with one client, or tells it that somebody else is here.
func (h *host) receive(ctx context.Context, conn *framing.Conn) error {
	stream, err := h.stream(conn)
	if err != nil {
		return err
	}
	c := &chat{
		stream: stream, me: *h.nick, lines: h.lines, errs: h.errs,
		idle: *h.idle, timeout: *h.timeout, out: h.env.Stdout,
	}
	peer := conn.RemoteAddr().String()
	err = c.hearNick(ctx)
	if err == nil {
		// Not before: one who only connects shall not keep others out.
		if !h.talking.TryLock() {
			fmt.Fprintf(h.env.Stdout, "%s has come from %s and must come another time\n", c.them, peer)
			c.part(ctx, &rudeError{*h.nick + " is talking with somebody else"})
			return nil
		}
		defer h.talking.Unlock()
		err = c.tellNick(ctx)
	}
	if err == nil {
		fmt.Fprintf(h.env.Stdout, "%s has come from %s and begins\n", c.them, peer)
		err = c.talk(ctx)
	}
	if err != nil {
		c.part(ctx, err)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(h.env.Stdout, "the chat has ended: %s\n", cli.Explain(explain(err, peer)))
	}
	if c.finished {
		h.over()
	}
	return nil
}
