package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// maxLine is how many bytes a line of the input may have.
const maxLine = 1 << 20

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	blocks := fs.Bool("blocks", false, "send each line as a block after its length, and an empty one at the end")
	answer := fs.Bool("answer", false, "wait for the server's answer: it must be started with -answer too")
	end := cli.Choice(fs, "end", "shutdown", "how to end the `stream`", "shutdown", "close", "reset")
	pause := cli.Number(fs, "pause", 50*time.Millisecond, 0, time.Hour, "rest this `time` between two lines")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, for each line to leave, and for the answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		if *answer && *end != "shutdown" {
			return cli.Usagef("-answer needs -end shutdown: after %s nobody is there to hear it", *end)
		}
		if len(env.Args) > 1 && slices.Contains(env.Args, "-") {
			return cli.Usagef("- stands for standard input and comes alone, after the flags")
		}
		dialer := net.Dialer{Timeout: *timeout}
		dialed, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		conn := dialed.(*net.TCPConn)
		defer conn.Close()
		fmt.Fprintf(env.Stdout, "connected to %s\n", conn.RemoteAddr())
		if !*answer {
			// Nothing goes over the wire for this: the server does not know
			// that we shall not read.
			if err := conn.CloseRead(); err != nil {
				return err
			}
		}
		c := framing.NewConn(conn, format(*blocks), &framing.Config{
			MaxSize: maxAnswer, IdleTimeout: *timeout, ReadTimeout: *timeout, WriteTimeout: *timeout,
		})
		send := streamTo(ctx, conn, *timeout)
		if *blocks {
			send = func(piece string) error { return c.Send(ctx, []byte(piece)) }
		}
		err = sendLines(ctx, lines(ctx, env), send, *pause, env.Stdout)
		if err == nil && *blocks && *end != "reset" {
			err = send("")
		}
		if err == nil {
			err = finish(conn, *end, env.Stdout)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if problem, ok := errors.AsType[*inputError](err); ok {
			return problem
		}
		if *answer {
			// Even if the server took only some of it, it may have said why.
			return receive(ctx, c, err, env.Stdout)
		}
		return lost(err)
	}
}

// lines are the pieces to send.
func lines(ctx context.Context, env *cli.Env) iter.Seq2[string, error] {
	if len(env.Args) == 1 && env.Args[0] == "-" {
		return func(yield func(string, error) bool) {
			for line, err := range cli.Lines(ctx, env.Stdin, maxLine) {
				if !yield(line+"\n", err) {
					return
				}
			}
		}
	}
	return func(yield func(string, error) bool) {
		for _, line := range env.Args {
			if !yield(line+"\n", nil) {
				return
			}
		}
		if len(env.Args) == 0 {
			for _, line := range verses {
				if !yield(line, nil) {
					return
				}
			}
		}
	}
}

// streamTo returns a function that sends a piece of the stream as it is: where
// the end of the stream ends the message, there is nothing to frame.
func streamTo(ctx context.Context, conn net.Conn, timeout time.Duration) func(piece string) error {
	return func(piece string) error {
		if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		_, err := io.WriteString(conn, piece)
		return err
	}
}

// sendLines sends lines with a pause after each.
func sendLines(ctx context.Context, lines iter.Seq2[string, error], send func(string) error, pause time.Duration, out io.Writer) error {
	for line, err := range lines {
		if err != nil {
			return &inputError{err}
		}
		if err := send(line); err != nil {
			return err
		}
		fmt.Fprintf(out, "sent %d bytes\n", len(line))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// An inputError is of the lines to send, not of the network.
type inputError struct{ err error }

func (e *inputError) Error() string { return "reading the lines: " + e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// finish ends the stream in one of the ways that a program can choose.
func finish(conn *net.TCPConn, how string, out io.Writer) error {
	var err error
	switch how {
	case "shutdown":
		fmt.Fprintln(out, "our direction is closed: FIN goes out, we could still read")
		if err = conn.CloseWrite(); err != nil {
			err = fmt.Errorf("%s has broken the connection off", conn.RemoteAddr())
		}
	case "close":
		fmt.Fprintln(out, "both directions are closed: FIN goes out, and RST if the server says anything")
		err = conn.Close()
	case "reset":
		// Lingering for 0 seconds: what has not left yet is thrown away, and
		// the last segment carries RST instead of FIN.
		fmt.Fprintln(out, "the connection is broken off: RST goes out")
		if err = conn.SetLinger(0); err == nil {
			err = conn.Close()
		}
	}
	return err
}

// maxAnswer is how many bytes an answer may have.
const maxAnswer = 4096

// receive prints the server's answer to a message that could not all be sent
// if sendErr is not nil.
func receive(ctx context.Context, c *framing.Conn, sendErr error, out io.Writer) error {
	reply, err := c.Receive(ctx)
	if err == nil && len(reply) == 0 {
		err = io.EOF // the end of the stream is no answer, nor is an empty block
	}
	why, refused := strings.CutPrefix(string(reply), complaint)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case refused:
		return fmt.Errorf("%s refuses the message: %.200q", c.RemoteAddr(), why)
	case sendErr != nil:
		return lost(sendErr)
	case err == io.EOF:
		return fmt.Errorf("%s has closed its direction without an answer (was it started with -answer?)", c.RemoteAddr())
	case errors.Is(err, framing.ErrTooLarge):
		return fmt.Errorf("no answer from %s: it has more than %d bytes", c.RemoteAddr(), maxAnswer)
	case cli.CauseOf(err) != cli.Unknown:
		return fmt.Errorf("no answer from %s: %s", c.RemoteAddr(), cli.CauseOf(err))
	case err != nil:
		return fmt.Errorf("no answer: %w", err)
	}
	_, err = fmt.Fprintf(out, "the answer is %.200q\n", reply)
	return err
}

// lost reports that the stream could not be sent to its end.
func lost(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op // says what was tried, against which address
	}
	return err
}
