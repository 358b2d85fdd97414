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

// A service sends back in upper case what it reads.
type service struct {
	patience time.Duration // without progress until it says so
	timeout  time.Duration // without progress until it gives up
	out      io.Writer
}

// pieceSize is how much is read or written at a time.
const pieceSize = 4 << 10

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	buffer := bufferFlag(fs)
	patience := cli.Number(fs, "patience", 500*time.Millisecond, time.Millisecond, time.Hour, "say so when a client takes nothing for this `time`")
	timeout := cli.Number(fs, "timeout", 30*time.Second, time.Millisecond, time.Hour, "break off a client that sends nothing, or takes nothing, for this `time`")
	clients := cli.Number(fs, "clients", 100, 1, 10_000, "serve this `number` of clients at a time; further ones wait")
	return func(ctx context.Context, env *cli.Env) error {
		// Accepted connections inherit the buffers of the socket that listens.
		config := net.ListenConfig{Control: sizeBuffers(*buffer)}
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		s := &service{patience: min(*patience, *timeout), timeout: *timeout, out: env.Stdout}
		acceptor := &framing.Server{
			MaxConns: *clients,
			Grace:    -1, // a stream has no end to wait for
			Handler: func(ctx context.Context, c *framing.Conn) error {
				// There are no messages here: the stream itself is served.
				s.serve(ctx, c.Stream().(*net.TCPConn))
				return nil
			},
		}
		err = acceptor.Serve(ctx, ln)
		acceptor.Close() // waits for the handlers
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// errSlow ends a connection that does not move.
var errSlow = errors.New("it sent nothing, or took nothing, for too long")

// serve serves one connection and says how it ended.
func (s *service) serve(ctx context.Context, conn *net.TCPConn) {
	peer := conn.RemoteAddr()
	n, err := s.answer(conn)
	switch cause := cli.CauseOf(err); {
	case ctx.Err() != nil: // this server stops
	case err == nil:
		fmt.Fprintf(s.out, "%s: %d bytes read and sent back\n", peer, n)
	case cause != cli.Unknown:
		fmt.Fprintf(s.out, "%s: ended after %d bytes sent back: %s\n", peer, n, cause)
	default:
		fmt.Fprintf(s.out, "%s: ended after %d bytes sent back: %v\n", peer, n, err)
	}
	if err != nil {
		// A plain close would leave the bytes that nobody takes with the
		// kernel, which would offer them for minutes. This one is a reset.
		conn.SetLinger(0)
		conn.Close()
	}
}

// answer answers each piece before it reads the next one: one goroutine, one
// buffer, blocking calls. There is nothing wrong with that. The deadlock takes
// two, and it is the client who has read none of the answer.
func (s *service) answer(conn *net.TCPConn) (done int64, err error) {
	piece := make([]byte, pieceSize)
	var read int64
	for {
		n, err := pull(conn, piece, s.timeout)
		if err == io.EOF {
			return done, nil // closing sends our own end
		}
		if err != nil {
			return done, err
		}
		if n == 0 {
			return done, errSlow
		}
		read += int64(n)
		upper(piece[:n])
		var stuck time.Duration // for so long the client has taken nothing
		for rest := piece[:n]; len(rest) > 0; {
			n, err := push(conn, rest, s.patience)
			done += int64(n)
			if err != nil {
				return done, err
			}
			if n > 0 {
				if stuck > 0 {
					fmt.Fprintf(s.out, "%s: it moves again\n", conn.RemoteAddr())
				}
				rest, stuck = rest[n:], 0
				continue
			}
			if stuck == 0 {
				fmt.Fprintf(s.out, "%s: stuck: %d bytes read, %d sent back, and the client takes no more; %s\n",
					conn.RemoteAddr(), read, done, describe(conn))
			}
			if stuck += s.patience; stuck >= s.timeout {
				return done, errSlow
			}
		}
	}
}
