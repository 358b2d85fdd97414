package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/codec"
)

// A chat is one conversation.
type chat struct {
	stream   *codec.Stream[Message, Message]
	me, them string        // nicks
	myTurn   bool          // to speak
	lines    <-chan string // what the user says; closed when there is no more
	errs     <-chan error  // why lines has ended, unless at its end
	idle     time.Duration // how long they may think
	timeout  time.Duration // how long a message may take
	out      io.Writer

	finished bool // the user has nothing more to say, to anybody
}

// A rudeError says that the other one does not keep to the protocol. Its text
// goes to them too, as the payload of our bye.
type rudeError struct{ what string }

func (e *rudeError) Error() string { return e.what }

// A partingError is the bye of one who did not even give a nick.
type partingError struct{ reason string }

func (e *partingError) Error() string { return fmt.Sprintf("bye at once: %.300s", e.reason) }

// tellNick sends our nick.
func (c *chat) tellNick(ctx context.Context) error {
	return c.stream.Send(ctx, Message{nick, c.me})
}

// hearNick waits for theirs.
func (c *chat) hearNick(ctx context.Context) error {
	slow := &rudeError{fmt.Sprintf("no nick came within %v", c.timeout)}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, slow)
	defer cancel()
	m, err := c.stream.Receive(ctx)
	switch {
	case err == io.EOF:
		return fmt.Errorf("no nick came: %w", err)
	case err != nil:
		return err
	case m.Type == bye:
		return &partingError{printable(m.Payload)}
	case m.Type != nick:
		return &rudeError{fmt.Sprintf("nicks come first, and this is a message of the type %.20q", m.Type)}
	}
	if err := checkNick(m.Payload); err != nil {
		return &rudeError{err.Error()}
	}
	if m.Payload == c.me {
		return &rudeError{"both have the same nick, " + c.me}
	}
	c.them = m.Payload
	return nil
}

// talk is the conversation. It returns nil when one of the two has said bye.
//
// It listens all the time, not only when it is their turn: they may leave, and
// when they speak out of turn it is to be noticed, not kept for later.
func (c *chat) talk(ctx context.Context) error {
	listening, stop := context.WithCancel(ctx)
	heard := make(chan Message)
	ended := make(chan error, 1)
	go func() {
		ended <- c.listen(listening, heard)
		close(ended)
	}()
	defer func() {
		stop()
		for range ended { // until the goroutine is gone
		}
	}()
	silence := time.NewTimer(c.idle)
	defer silence.Stop()
	for {
		lines := c.lines
		if !c.myTurn {
			lines = nil // typed too early, a line waits for its turn
		}
		select {
		case line, ok := <-lines:
			if !ok || strings.EqualFold(line, "bye") {
				c.finished = !ok
				if err := c.stream.Send(ctx, Message{bye, ""}); err != nil {
					return err
				}
				fmt.Fprintf(c.out, "%s: bye\n", c.me)
				c.leave(heard, ended)
				return c.inputError()
			}
			line = emote(strings.ToValidUTF8(line, "\ufffd"))
			if err := c.stream.Send(ctx, Message{normal, line}); err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s: %s\n", c.me, printable(line))
			c.myTurn = false
			silence.Reset(c.idle)
		case m := <-heard:
			if over, err := c.hear(m); over || err != nil {
				return err
			}
		case err := <-ended:
			return c.lost(err)
		case <-silence.C:
			if !c.myTurn {
				return &rudeError{fmt.Sprintf("%s has said nothing for %v", c.them, c.idle)}
			}
			// We ourselves may think as long as they let us.
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave waits, after our bye, until they have closed, but not for long: a close
// with something of theirs unread could destroy the bye on its way.
func (c *chat) leave(heard <-chan Message, ended <-chan error) {
	patience := time.NewTimer(min(c.timeout, time.Second))
	defer patience.Stop()
	for {
		select {
		case <-heard: // too late
		case <-ended:
			return
		case <-patience.C:
			return
		}
	}
}

// listen passes on what comes until it fails or ctx ends.
func (c *chat) listen(ctx context.Context, heard chan<- Message) error {
	for {
		m, err := c.stream.Receive(ctx)
		if err != nil {
			return err
		}
		select {
		case heard <- m:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hear takes a message of theirs, and reports whether the chat is over.
func (c *chat) hear(m Message) (over bool, err error) {
	switch {
	case m.Type == bye:
		last := ""
		if m.Payload != "" {
			last = ": " + printable(m.Payload)
		}
		fmt.Fprintf(c.out, "%s: bye%.300s\n", c.them, last)
		return true, nil
	case m.Type != normal:
		return true, &rudeError{fmt.Sprintf("%s sends a message of the type %.20q in the middle of the chat", c.them, m.Type)}
	case len(m.Payload) > 4*maxLine: // emoticons grow
		return true, &rudeError{fmt.Sprintf("%s says more than %d bytes in one turn", c.them, 4*maxLine)}
	case c.myTurn:
		return true, &rudeError{c.them + " speaks out of turn"}
	}
	fmt.Fprintf(c.out, "%s: %s\n", c.them, printable(emote(m.Payload)))
	c.myTurn = true
	return false, nil
}

// lost says why nothing more can be heard.
func (c *chat) lost(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%s has gone without a bye", c.them)
	}
	return err
}

// inputError is why there is nothing more to say, if not because that was all.
func (c *chat) inputError() error {
	select {
	case err := <-c.errs:
		return err
	default:
		return nil
	}
}

// part says bye because of err, to whoever may still hear it.
func (c *chat) part(ctx context.Context, err error) {
	var reason string
	if rude, ok := errors.AsType[*rudeError](err); ok {
		reason = rude.what
	} else if _, ok := errors.AsType[*codec.Error](err); ok {
		reason = "your message is not in the format that I was told, or no message at all"
	} else if ctx.Err() != nil {
		reason = "interrupted"
	} else {
		return // they have gone, or have been told
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(c.timeout, time.Second))
	defer cancel()
	_ = c.stream.Send(ctx, Message{bye, reason}) // a courtesy
}

// explain names who err is about where its own words do not.
func explain(err error, them string) error {
	if wrong, ok := errors.AsType[*codec.Error](err); ok {
		// Not wrapped: a message of theirs that is cut is no cut connection.
		return fmt.Errorf("%s sends what is no message of ours, as if its -codec were another (%s)", them, strings.TrimPrefix(wrong.Error(), "codec: "))
	}
	if rude, ok := errors.AsType[*rudeError](err); ok {
		return fmt.Errorf("%s: %w", them, rude)
	}
	if parting, ok := errors.AsType[*partingError](err); ok {
		return fmt.Errorf("%s: %w", them, parting)
	}
	return err
}
