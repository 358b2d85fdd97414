package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/mq"
)

// grace is how long an operation without a time limit, such as a send while
// nobody is there, may still wait when the input has ended; --linger if that
// is longer.
const grace = 3 * time.Second

// readAhead is how many lines are read while an operation waits, to notice the
// end of the input.
const readAhead = 64

// A tool is the socket and its two streams.
type tool struct {
	typ    mq.Type
	socket *mq.Socket
	out    io.Writer // takes whole lines from several goroutines
	*options
}

// open subscribes, binds and connects. It returns the endpoints that were bound
// with a wildcard port.
func (t *tool) open(ctx context.Context) (bound []string, err error) {
	for _, topic := range t.subscriptions {
		if err := t.socket.Subscribe(topic); err != nil {
			return nil, err
		}
	}
	for _, e := range t.endpoints {
		if !e.bind {
			if err := t.socket.Connect(e.name); err != nil {
				return nil, err
			}
			continue
		}
		name, err := t.socket.Bind(ctx, e.name)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(e.name, ":*") || strings.HasSuffix(e.name, ":0") {
			bound = append(bound, name)
		}
	}
	return bound, nil
}

// play does what the lines of in say until they or ctx end, then closes the
// socket.
func (t *tool) play(ctx context.Context, in io.Reader) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	var receiver sync.WaitGroup
	var outErr error
	if !*t.manual && t.receives() {
		receiver.Go(func() {
			if outErr = t.receive(running); outErr != nil {
				stop() // nobody reads our output any more
			}
		})
	}
	err := t.obey(running, in)
	closed := make(chan struct{})
	go func() { t.socket.Close(); receiver.Wait(); close(closed) }()
	select {
	case <-closed:
		return errors.Join(err, outErr)
	case <-ctx.Done(): // told to stop: what was not sent is lost
		for _, e := range t.endpoints {
			if e.bind {
				_ = t.socket.Unbind(e.name) // lest the file of an ipc:// stays
			}
		}
		return nil
	}
}

// obey does what the lines say, one after the other.
func (t *tool) obey(ctx context.Context, in io.Reader) error {
	// patient is the context of operations without a limit of their own.
	patient, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	type input struct {
		line string
		err  error
	}
	inputs := make(chan input, readAhead)
	go func() {
		defer close(inputs)
		for line, err := range cli.Lines(ctx, in, maxLine) {
			select {
			case inputs <- input{line, err}:
			case <-ctx.Done():
				return
			}
		}
		if linger := milliseconds(*t.linger); linger >= 0 {
			time.AfterFunc(max(linger, grace), func() {
				giveUp(fmt.Errorf("the input has ended: %w", context.DeadlineExceeded))
			})
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil // a stop on request is no failure
		case in, ok := <-inputs:
			if !ok || ctx.Err() != nil {
				return nil
			}
			if in.err != nil {
				return fmt.Errorf("standard input: %w", in.err)
			}
			if line := strings.TrimSpace(in.line); line != "" {
				if err := t.do(ctx, patient, line); err != nil {
					return err
				}
			}
		}
	}
}

// do does what one line says. The error is that of the output.
func (t *tool) do(ctx, patient context.Context, line string) error {
	frames, op, err := parse(line)
	switch {
	case err != nil:
	case op == nil:
		err = t.send(ctx, patient, frames)
	case op.Op == "recv":
		if !*t.manual {
			err = errors.New("recv is for --manual: messages are printed as they come")
			break
		}
		wait := time.Duration(-1)
		if op.Timeout != nil {
			wait = time.Duration(*op.Timeout * float64(time.Millisecond))
		}
		err = t.receiveOne(ctx, patient, wait)
	case op.Op == "subscribe":
		err = t.socket.Subscribe(string(*op.Topic))
	case op.Op == "unsubscribe":
		err = t.socket.Unsubscribe(string(*op.Topic))
	case op.Op == "flood":
		return t.flood(ctx, patient, op.N, op.Size)
	case op.Op == "stats":
		return t.print(stats{"stats", runtime.NumGoroutine()})
	}
	if err == nil || ctx.Err() != nil {
		return nil
	}
	return t.print(failure{kind(err), err.Error()})
}

// within limits ctx to wait; without a limit, it is patient.
func within(ctx, patient context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if wait < 0 {
		return patient, func() {}
	}
	return context.WithTimeout(ctx, wait)
}

// send sends a message. REQ waits for the reply and prints it.
func (t *tool) send(ctx, patient context.Context, frames [][]byte) error {
	limited, cancel := within(ctx, patient, milliseconds(*t.sendTimeout))
	err := t.socket.Send(limited, frames...)
	cancel()
	if err == nil && t.typ == mq.REQ && !*t.manual {
		return t.receiveOne(ctx, patient, -1)
	}
	return err
}

// receiveOne receives a message and prints it.
func (t *tool) receiveOne(ctx, patient context.Context, wait time.Duration) error {
	limited, cancel := within(ctx, patient, wait)
	defer cancel()
	msg, err := t.socket.Recv(limited)
	if err != nil {
		return err
	}
	return t.print(message(msg))
}

// flood sends n messages of size bytes, or as many as it can.
func (t *tool) flood(ctx, patient context.Context, n, size int) error {
	body := []byte(strings.Repeat("x", size))
	sent := 0
	for sent < n && t.send(ctx, patient, [][]byte{body}) == nil {
		sent++
	}
	return t.print(flooded{"flood", sent})
}

// receives reports whether messages are printed without being asked for.
func (t *tool) receives() bool {
	return t.typ != mq.REQ && t.typ != mq.PUSH && t.typ != mq.PUB
}

// receive prints messages as they come, and as REP sends them back. The error is
// that of the output.
func (t *tool) receive(ctx context.Context) error {
	for {
		msg, err := t.socket.Recv(ctx)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err == nil {
			if err := t.print(message(msg)); err != nil {
				return err
			}
			if t.typ == mq.REP {
				err = t.send(ctx, ctx, msg)
			}
		}
		if err != nil {
			if err := t.print(failure{kind(err), err.Error()}); err != nil {
				return err
			}
		}
	}
}

// kind is what the contract calls an error.
func kind(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, mq.ErrState):
		return "state"
	case errors.Is(err, mq.ErrUnroutable):
		return "unroutable"
	}
	return "other"
}

// print prints v as a line, at once.
func (t *tool) print(v any) error {
	line, err := plain(v)
	if err != nil {
		return err
	}
	_, err = t.out.Write(append(line, '\n'))
	return err
}
