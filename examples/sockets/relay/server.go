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
	office
	wait    time.Duration   // of one side for the other
	timeout time.Duration   // of each step that a client owes us
	max     int             // bytes of a text
	ctx     context.Context // ends when the server is to stop
	out     io.Writer
}

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	wait := cli.Number(fs, "wait", 30*time.Second, time.Millisecond, 24*time.Hour, "let a message wait for a receiver, and a receiver for a message, for this `time`")
	timeout := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "give up on a client that keeps us waiting for this `time`")
	limit := cli.Number(fs, "max", maxText, 0, 64<<20, "refuse texts of more `bytes`")
	clients := cli.Number(fs, "clients", 100, 2, 10_000, "serve this `number` of clients at a time, waiting ones included; further ones are accepted later")
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
		s := &service{wait: *wait, timeout: *timeout, max: *limit, ctx: ctx, out: env.Stdout}
		framed := &framing.Server{
			Config: framing.Config{
				MaxSize:     *limit + 1, // and the kind
				IdleTimeout: -1,         // the contexts below say how long
				ReadTimeout: *timeout, WriteTimeout: *timeout,
			},
			MaxConns: *clients,
			Handler:  s.serve,
		}
		err = framed.Serve(ctx, ln)
		framed.Close() // waits for the handlers
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// serve asks a client which of the two it is.
func (s *service) serve(_ context.Context, c *framing.Conn) error {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.timeout, fmt.Errorf("it has said nothing for %v", s.timeout))
	defer cancel()
	msg, err := c.Receive(ctx)
	switch {
	case err == io.EOF:
		err = errors.New("it left without a word")
	case err != nil:
		err = reason(err)
	case len(msg) == 0:
		err = errors.New("a message without a kind")
	case msg[0] == kindReceive && len(msg) == 1:
		return s.receive(c)
	case msg[0] == kindReceive:
		err = errors.New("a text together with the kind 'R'")
	case msg[0] == kindSend:
		return s.send(c, msg[1:])
	default:
		err = fmt.Errorf("no message begins with the kind %q", msg[0])
	}
	s.refuse(c, err)
	return nil
}

// receive keeps a receiver until a sender comes. Meanwhile it listens to it: one
// that has left must not get a message. (That is why a receiver cannot close
// its direction while it waits: from here it would look the same.)
func (s *service) receive(c *framing.Conn) error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	r := &addressee{conn: c, cancel: cancel, outcome: make(chan error, 1)}
	fmt.Fprintf(s.out, "%s waits for a message\n", c.RemoteAddr())
	s.enter(r)
	patience := time.AfterFunc(s.wait, func() {
		// Once a sender has it, it is the sender who decides how long.
		if s.leave(r) {
			cancel(&noMessageError{s.wait})
		}
	})
	defer patience.Stop()

	msg, err := c.Receive(ctx)
	_, expired := errors.AsType[*noMessageError](context.Cause(ctx))
	alone := expired || s.leave(r) // no sender has it, and none will
	switch {
	case err == io.EOF:
		err = errors.New("it has left")
	case err != nil:
		err = reason(err)
	case len(msg) != 1 || msg[0] != kindKept:
		err = errors.New("it was to say that it has the message, and said something else")
	case alone:
		err = errors.New("it says that it has the message, and there was none")
	}
	if !alone {
		r.outcome <- err
	}
	if err != nil {
		s.refuse(c, err)
	}
	return nil
}

// A noMessageError ends the wait of a receiver.
type noMessageError struct{ wait time.Duration }

func (e *noMessageError) Error() string { return fmt.Sprintf("no message came within %v", e.wait) }

// send brings a sender's text to a receiver, and tells the sender when it is
// there.
func (s *service) send(c *framing.Conn, text []byte) error {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.wait, fmt.Errorf("no receiver came within %v", s.wait))
	defer cancel()
	r, err := s.take(ctx, func() {
		fmt.Fprintf(s.out, "%s has a message of %d bytes, and there is no receiver yet\n", c.RemoteAddr(), len(text))
	})
	if err != nil {
		s.refuse(c, err)
		return nil
	}
	if err := s.deliver(r, text); err != nil {
		s.refuse(c, fmt.Errorf("the receiver %s may not have got the message: %w", r.conn.RemoteAddr(), err))
		return nil
	}
	fmt.Fprintf(s.out, "%s → %s: %d bytes delivered\n", c.RemoteAddr(), r.conn.RemoteAddr(), len(text))
	if err := c.Send(s.ctx, message(kindDelivered, nil)); err != nil {
		// The message is where it should be; only the sender does not know.
		fmt.Fprintf(s.out, "%s was not there to hear of it\n", c.RemoteAddr())
	}
	return nil
}

// deliver sends the text to the receiver and waits until it says that it has
// it. That Send has returned would only mean that our own kernel has it.
func (s *service) deliver(r *addressee, text []byte) error {
	if err := r.conn.Send(s.ctx, message(kindMessage, text)); err != nil {
		r.cancel(err)
		<-r.outcome
		return reason(err)
	}
	late := time.AfterFunc(s.timeout, func() {
		r.cancel(fmt.Errorf("it has not said within %v that it has the message", s.timeout))
	})
	defer late.Stop()
	return reason(<-r.outcome)
}

// refuse tells a client why, and prints it.
func (s *service) refuse(c *framing.Conn, err error) {
	if s.ctx.Err() != nil {
		return // the server stops, and both see it
	}
	fmt.Fprintf(s.out, "%s: error: %v\n", c.RemoteAddr(), err)
	// If it is gone for good this goes nowhere, and no harm is done.
	_ = c.Send(s.ctx, message(kindError, []byte(err.Error())))
}

// reason says in a few words what the matter is.
func reason(err error) error {
	if err == nil {
		return nil
	}
	if size, ok := errors.AsType[*framing.SizeError](err); ok {
		return fmt.Errorf("a text of %d bytes, and %d are allowed", size.Size-1, size.Max-1)
	}
	switch cause := cli.CauseOf(err); cause {
	case cli.Reset, cli.HungUp:
		return errors.New("it broke the connection off")
	case cli.Truncated:
		return errors.New("its message is cut")
	case cli.TimedOut:
		return errors.New("it stopped in the middle of a message, or does not take ours")
	}
	// Without "framing: receive ADDR: ", which the line begins with anyway.
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}
