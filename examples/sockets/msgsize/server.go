package main

import (
	"bufio"
	"bytes"
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
	technique := techniqueFlag(fs)
	limit := cli.Number[int64](fs, "max", 1<<30, 0, 1<<40, "refuse messages of more `bytes`")
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
		s := &framing.Server{
			Format:   format(*technique),
			Config:   framing.Config{IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout},
			MaxConns: *clients,
			Handler: func(ctx context.Context, c *framing.Conn) error {
				answer(ctx, c, *limit, env.Stdout)
				return nil
			},
		}
		err = s.Serve(ctx, ln)
		s.Close() // waits for the handlers
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// answer answers the messages of one connection until its clean end. What is
// wrong with a message is told to its sender, and ends the connection.
func answer(ctx context.Context, c *framing.Conn, limit int64, out io.Writer) {
	peer := c.RemoteAddr()
	for {
		r, claimed, err := c.NextReader(ctx)
		if err == io.EOF || err == framing.ErrServerClosed {
			return // between two messages: a clean end
		}
		var size int64
		var head []byte
		switch {
		case cli.CauseOf(err) == cli.Truncated:
			err = errors.New("the message is cut inside its length")
		case err != nil:
			claimed = -1 // that is, unknown
		case claimed > limit:
			err = fmt.Errorf("%d bytes are announced, %d allowed", claimed, limit)
		default:
			size, head, err = measure(r, limit)
		}
		if err != nil {
			if ctx.Err() != nil {
				return // the server stops
			}
			err = explain(err, size, claimed)
			fmt.Fprintf(out, "%s: error: %v\n", peer, err)
			// The client may have closed its own direction only. If it is
			// gone for good this goes nowhere, and no harm is done.
			_ = c.Send(ctx, []byte(complaint+err.Error()))
			return
		}
		fmt.Fprintf(out, "%s: %d bytes: %q", peer, size, head)
		if int64(len(head)) < size {
			fmt.Fprint(out, "…")
		}
		fmt.Fprintln(out)
		if err := c.Send(ctx, fmt.Appendf(nil, "%s sent %d bytes", peer, size)); err != nil {
			fmt.Fprintf(out, "%s: the answer is lost: %v\n", peer, explain(err, size, claimed))
			return
		}
	}
}

// headSize is how much of a message the server shows.
const headSize = 40

// measure reads one message to its end and returns its size and its beginning.
// bufio makes of it what the course's makefile makes of a socket: something to
// be read like a file, here with a glance at the first bytes. However long the
// message is, its bytes only pass through the buffer of four kilobytes.
func measure(r io.Reader, limit int64) (size int64, head []byte, err error) {
	file := bufio.NewReader(io.LimitReader(r, limit+1))
	head, err = file.Peek(headSize)
	head = bytes.Clone(head) // it lies in the buffer
	if err != nil && err != io.EOF {
		return int64(len(head)), head, err
	}
	size, err = io.Copy(io.Discard, file)
	if err == nil && size > limit {
		// Not all has come, and where nothing is announced nobody knows how
		// much there is.
		err = fmt.Errorf("more than the %d bytes allowed", limit)
	}
	return size, head, err
}

// explain says in one line what became of a message of which size bytes came;
// claimed is negative if its length was not announced.
func explain(err error, size, claimed int64) error {
	came := fmt.Sprintf("after %d bytes", size)
	if claimed >= 0 {
		came = fmt.Sprintf("after %d of %d bytes", size, claimed)
	}
	switch cli.CauseOf(err) {
	case cli.Truncated:
		return fmt.Errorf("the message is cut %s", came)
	case cli.TimedOut:
		return fmt.Errorf("silence for too long %s", came)
	case cli.Reset:
		return fmt.Errorf("the connection was broken off %s", came)
	default:
		return err
	}
}
