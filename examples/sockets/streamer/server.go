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

// A service is the server's side of the protocol.
type service struct {
	blocks, answer bool
	max            int           // bytes of a message
	timeout        time.Duration // of each wait
	out            io.Writer
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	var s service
	fs.BoolVar(&s.blocks, "blocks", false, "expect blocks with their lengths, ended by an empty one")
	fs.BoolVar(&s.answer, "answer", false, "keep our direction open and say at the end what came")
	limit := cli.Number(fs, "max", 1<<20, 0, 1<<30, "break off a message of more `bytes`")
	timeout := cli.Number(fs, "timeout", 30*time.Second, time.Millisecond, time.Hour, "give up on a client that keeps us waiting for this `time`")
	clients := cli.Number(fs, "clients", 100, 1, 10_000, "serve this `number` of clients at a time; further ones wait")
	return func(ctx context.Context, env *cli.Env) error {
		s.max, s.timeout, s.out = *limit, *timeout, env.Stdout
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		framed := &framing.Server{
			Format: format(s.blocks),
			Config: framing.Config{
				MaxSize:     max(s.max, 1), // 0 would mean the default
				IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout,
			},
			MaxConns: *clients,
			Handler:  s.serve,
		}
		if !s.answer {
			framed.Linger = -1 // there is no answer that a reset could destroy
		}
		err = framed.Serve(ctx, ln)
		framed.Close() // waits for the handlers
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// format is how a message looks on the wire.
func format(blocks bool) framing.Format {
	if blocks {
		return framing.Prefix{} // the zero value: four bytes, big-endian
	}
	return framing.ToEOF{}
}

// serve listens to one client.
func (s *service) serve(ctx context.Context, c *framing.Conn) error {
	peer := c.RemoteAddr().String()
	if !s.answer {
		// FIN goes out. The client reads end-of-file; what it sends comes
		// through as before.
		if err := c.CloseWrite(); err != nil {
			fmt.Fprintf(s.out, "%s: error: gone before we could listen: %v\n", peer, err)
			return nil
		}
		fmt.Fprintf(s.out, "%s: connected; our direction is closed, we only listen\n", peer)
	} else {
		fmt.Fprintf(s.out, "%s: connected; our direction stays open for the answer\n", peer)
	}
	collect := s.stream
	if s.blocks {
		collect = s.listBlocks
	}
	message, err := collect(ctx, c)
	if ctx.Err() != nil || err == framing.ErrServerClosed {
		return nil // we stop: no fault of the client's
	}
	verdict := fmt.Sprintf("received %d bytes", len(message))
	if err != nil {
		err = explain(err)
		verdict = complaint + err.Error()
		fmt.Fprintf(s.out, "%s: error: %v (the %d bytes that came are no message)\n", peer, err, len(message))
	} else {
		fmt.Fprintf(s.out, "%s: the message, %d bytes: %s\n", peer, len(message), brief(message))
	}
	if s.answer {
		if err := c.Send(ctx, []byte(verdict)); err != nil && ctx.Err() == nil {
			fmt.Fprintf(s.out, "%s: the answer is lost: %v\n", peer, explain(err))
		}
		return nil
	}
	if err != nil {
		// We have already said farewell and can tell the client nothing. But
		// one who still sends shall know: after a reset its next write fails.
		return c.Stream().(*net.TCPConn).SetLinger(0)
	}
	return nil
}

// stream collects everything up to end-of-file. There are no borders to look
// for, so it reads the connection itself: each Read gives what has arrived.
func (s *service) stream(_ context.Context, c *framing.Conn) (message []byte, err error) {
	conn := c.Stream().(net.Conn)
	chunk := make([]byte, 8192)
	for {
		by := time.Now().Add(s.timeout)
		if err := conn.SetReadDeadline(by); err != nil {
			return message, err
		}
		n, err := conn.Read(chunk)
		if n > 0 {
			fmt.Fprintf(s.out, "%s: received %d bytes\n", c.RemoteAddr(), n)
			message = append(message, chunk[:n]...)
			if len(message) > s.max {
				return message, s.tooLong()
			}
		}
		if err == io.EOF {
			fmt.Fprintf(s.out, "%s: received zero bytes: end of file\n", c.RemoteAddr())
			return message, nil
		}
		if cli.CauseOf(err) == cli.TimedOut && time.Now().Before(by) {
			err = framing.ErrServerClosed // so a server that shuts down wakes those who wait
		}
		if err != nil {
			return message, err
		}
	}
}

// listBlocks collects blocks up to the empty one.
func (s *service) listBlocks(ctx context.Context, c *framing.Conn) (message []byte, err error) {
	for {
		block, err := c.Receive(ctx)
		switch {
		case errors.Is(err, framing.ErrTooLarge) || len(block) > s.max-len(message):
			return message, s.tooLong()
		case err == io.EOF:
			// The stream ends between two blocks: the client has died, or
			// somebody on the way has cut the connection. Without the empty
			// block it would have looked like a message.
			return message, errors.New("end of file without the empty block")
		case err != nil:
			return message, err
		case len(block) == 0:
			fmt.Fprintf(s.out, "%s: received an empty block: end of message\n", c.RemoteAddr())
			return message, nil
		}
		fmt.Fprintf(s.out, "%s: received a block of %d bytes\n", c.RemoteAddr(), len(block))
		message = append(message, block...)
	}
}

func (s *service) tooLong() error {
	return fmt.Errorf("more than the %d bytes allowed", s.max)
}

// explain says in a few words why a stream came to no good end.
func explain(err error) error {
	switch cause := cli.CauseOf(err); cause {
	case cli.Reset:
		return errors.New("reset: the client broke the connection off")
	case cli.Truncated:
		return errors.New("end of file inside a block")
	case cli.TimedOut:
		return errors.New("silence for too long")
	case cli.Unknown:
		return err
	default:
		return errors.New(string(cause))
	}
}

// brief quotes a message, or the beginning of a long one, so that a stranger's
// bytes cannot command the terminal.
func brief(message []byte) string {
	const most = 200
	if len(message) > most {
		return fmt.Sprintf("%q…", message[:most])
	}
	return fmt.Sprintf("%q", message)
}
