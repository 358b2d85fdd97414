package main

import (
	"context"
	"slices"
	"sync"

	"github.com/zocalo-go/zocalo/framing"
)

// An office brings senders and receivers together, each side in order of
// arrival. Its zero value is ready, and its methods may be called by several
// goroutines.
type office struct {
	mu        sync.Mutex
	receivers []*addressee      // who wait for a sender
	senders   []chan *addressee // who wait for a receiver
}

// An addressee is a receiver, as a sender sees it.
type addressee struct {
	conn   *framing.Conn
	cancel context.CancelCauseFunc // ends its wait for an answer
	// outcome receives, once, what has become of the message: nil if the
	// receiver has said that it has it.
	outcome chan error
}

// enter adds a receiver: it goes to the sender that has waited longest or, when
// there is none, waits itself.
func (o *office) enter(r *addressee) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.senders) > 0 {
		o.senders[0] <- r // there is room for one
		o.senders = slices.Delete(o.senders, 0, 1)
		return
	}
	o.receivers = append(o.receivers, r)
}

// leave takes a receiver out that waits. It reports whether it did: false means
// that a sender has it already.
func (o *office) leave(r *addressee) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.receivers, r)
	if i < 0 {
		return false
	}
	o.receivers = slices.Delete(o.receivers, i, i+1)
	return true
}

// take returns the receiver that has waited longest or waits for one. before,
// if there is none, is called first. When ctx ends the error is its cause.
func (o *office) take(ctx context.Context, before func()) (*addressee, error) {
	o.mu.Lock()
	if len(o.receivers) > 0 {
		r := o.receivers[0]
		o.receivers = slices.Delete(o.receivers, 0, 1)
		o.mu.Unlock()
		return r, nil
	}
	turn := make(chan *addressee, 1)
	o.senders = append(o.senders, turn)
	o.mu.Unlock()
	before()

	select {
	case r := <-turn:
		return r, nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.senders, turn); i >= 0 {
		o.senders = slices.Delete(o.senders, i, i+1)
		return nil, context.Cause(ctx)
	}
	return <-turn, nil // one came at the last moment
}
