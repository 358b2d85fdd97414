package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// maxAnswer is how many bytes an answer may have.
const maxAnswer = 4096

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	technique := techniqueFlag(fs)
	text := fs.String("text", "", "the `message`, instead of standard input")
	limit := cli.Number[int64](fs, "max", 64<<20, 0, 1<<30, "hold at most so many `bytes` of standard input; with -technique length it must be measured before it is sent")
	claim := cli.Number[int64](fs, "claim", -1, -1, math.MaxUint32, "announce so many `bytes` and send -text, however long it is; -1 means the truth")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, and for the answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		if *claim >= 0 && *technique == "eof" {
			return cli.Usagef("-claim has no meaning with -technique eof, which announces no length")
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(env.Stdout, "from %s to %s\n", conn.LocalAddr(), conn.RemoteAddr())
		stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes what waits below
		defer stop()
		c := framing.NewConn(conn, format(*technique), &framing.Config{
			MaxSize: maxAnswer, IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout,
		})

		message := cli.Interruptible(ctx, env.Stdin)
		if cli.Given(fs, "text") {
			message = strings.NewReader(*text)
		}
		var sent int64
		switch {
		case *technique == "eof":
			sent, err = sendStream(ctx, c, message)
		case *claim >= 0:
			err = sendClaim(conn, uint32(*claim), *text, *timeout)
		default:
			sent, err = sendMeasured(ctx, c, message, *limit)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if problem, ok := errors.AsType[*inputError](err); ok {
			return problem
		}
		// Even if the server took only some of it, it may have said why.
		return receive(ctx, c, sent, err, env.Stdout)
	}
}

// sendStream sends what comes from r as it comes: nobody needs to know how
// much it will be, and the half-close says when it is over.
func sendStream(ctx context.Context, c *framing.Conn, r io.Reader) (int64, error) {
	w, err := c.NextWriter(ctx, -1)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, input{r})
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return n, err
	}
	if err := c.CloseWrite(); err != nil {
		return n, fmt.Errorf("%s has broken the connection off", c.RemoteAddr())
	}
	return n, nil
}

// sendMeasured sends what comes from r after its length, and so must hold all
// of it first.
func sendMeasured(ctx context.Context, c *framing.Conn, r io.Reader, limit int64) (int64, error) {
	message, err := io.ReadAll(input{io.LimitReader(r, limit+1)})
	if err != nil {
		return 0, err
	}
	if int64(len(message)) > limit {
		return 0, &inputError{fmt.Errorf("more than the %d bytes that -max allows", limit)}
	}
	return int64(len(message)), c.Send(ctx, message)
}

// sendClaim announces a length that is not that of text, and ends.
func sendClaim(conn net.Conn, length uint32, text string, timeout time.Duration) error {
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	wire := binary.BigEndian.AppendUint32(nil, length)
	if _, err := conn.Write(append(wire, text...)); err != nil {
		return err
	}
	return conn.(*net.TCPConn).CloseWrite()
}

// receive prints the server's answer to a message of which sent bytes were
// sent before sendErr, if that is not nil.
func receive(ctx context.Context, c *framing.Conn, sent int64, sendErr error, out io.Writer) error {
	reply, err := c.Receive(ctx)
	if err == nil && len(reply) == 0 {
		err = io.EOF // with -technique eof, a server that hangs up without an answer
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	why, refused := strings.CutPrefix(string(reply), complaint)
	switch {
	case refused:
		return fmt.Errorf("%s refuses the message: %.200q", c.RemoteAddr(), why)
	case sendErr != nil:
		if op, ok := errors.AsType[*net.OpError](sendErr); ok {
			return op // says what was tried, against which address
		}
		return sendErr
	case errors.Is(err, framing.ErrTooLarge):
		return fmt.Errorf("no answer from %s: it has more than %d bytes", c.RemoteAddr(), maxAnswer)
	case cli.CauseOf(err) != cli.Unknown:
		return fmt.Errorf("no answer from %s: %s", c.RemoteAddr(), cli.CauseOf(err))
	case err != nil:
		return fmt.Errorf("no answer: %w", err)
	}
	// Quoted, so that a stranger's bytes cannot command the terminal.
	if _, err := fmt.Fprintf(out, "sent %d bytes, the answer is %.200q\n", sent, reply); err != nil {
		return err
	}
	// A server in the manner of the course answers with a sentence, which
	// cannot be checked.
	var from string
	var counted int64
	if n, _ := fmt.Sscanf(string(reply), "%s sent %d bytes", &from, &counted); n == 2 && counted != sent {
		return fmt.Errorf("%s received %d bytes of %d", c.RemoteAddr(), counted, sent)
	}
	return nil
}

// input marks the errors of the message's source: they are not the network's.
type input struct{ r io.Reader }

func (i input) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if err != nil && err != io.EOF {
		err = &inputError{err}
	}
	return n, err
}

type inputError struct{ err error }

func (e *inputError) Error() string { return "reading the message: " + e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }
