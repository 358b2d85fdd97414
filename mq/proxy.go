package mq

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A ProxyConfig is what a [Proxy] can be told. Its zero value just forwards.
type ProxyConfig struct {
	// Capture, if not nil, is sent a copy of every message forwarded, in either
	// direction: a PUB, PUSH, DEALER or PAIR. If it must wait, so must the proxy.
	Capture *Socket

	// Control, if not nil, is a PAIR, PULL, SUB or REP from which the proxy
	// takes orders, messages of one frame: PAUSE, RESUME, TERMINATE. A REP
	// answers each with an empty message. While the proxy pauses, messages wait
	// in its sockets.
	Control *Socket
}

// Proxy forwards messages between two sockets, whole and in order, in each
// direction that their types allow: ROUTER and DEALER pass requests on to many
// workers and bring the answers back, XSUB and XPUB pass messages one way and
// subscriptions the other, PULL and PUSH go one way. A message that comes for
// a peer that has gone is dropped ([ErrUnroutable]).
//
// Proxy returns nil after TERMINATE, otherwise the context's cause or the error
// of the socket that failed, net.ErrClosed if one was closed. It closes none.
// cfg may be nil.
func Proxy(ctx context.Context, frontend, backend *Socket, cfg *ProxyConfig) error {
	if cfg == nil {
		cfg = &ProxyConfig{}
	}
	p := &proxy{ProxyConfig: *cfg, running: make(chan struct{})}
	close(p.running)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var pumps sync.WaitGroup
	started := false
	for _, way := range [][2]*Socket{{frontend, backend}, {backend, frontend}} {
		if from, to := way[0], way[1]; from.typ.receives() && to.typ.sends() {
			started = true
			pumps.Go(func() { stop(p.forward(ctx, from, to)) })
		}
	}
	if !started {
		return fmt.Errorf("mq: a proxy between %v and %v: %w", frontend.typ, backend.typ, ErrType)
	}
	if p.Control != nil {
		pumps.Go(func() { stop(p.obey(ctx)) })
	}
	pumps.Wait() // the first to end stops the others
	if err := context.Cause(ctx); err != errTerminated {
		return err
	}
	return nil
}

// errTerminated is how the order TERMINATE ends a proxy.
var errTerminated = errors.New("mq: proxy terminated")

type proxy struct {
	ProxyConfig

	mu      sync.Mutex
	running chan struct{} // closed while messages may pass
}

// forward takes messages from one socket to another.
func (p *proxy) forward(ctx context.Context, from, to *Socket) error {
	for {
		m, err := from.Recv(ctx)
		if err != nil {
			return err
		}
		p.mu.Lock()
		running := p.running
		p.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if p.Capture != nil {
			if err := p.Capture.Send(ctx, m...); err != nil {
				return fmt.Errorf("mq: capture of the proxy: %w", err)
			}
		}
		if err := to.Send(ctx, m...); err != nil && !errors.Is(err, ErrUnroutable) {
			return err
		}
	}
}

// obey takes orders. Those that it does not know change nothing.
func (p *proxy) obey(ctx context.Context) error {
	paused := false
	for {
		m, err := p.Control.Recv(ctx)
		if err != nil {
			return fmt.Errorf("mq: control of the proxy: %w", err)
		}
		order := string(m[0])
		p.mu.Lock()
		switch {
		case order == "PAUSE" && !paused:
			p.running, paused = make(chan struct{}), true
		case order == "RESUME" && paused:
			close(p.running)
			paused = false
		}
		p.mu.Unlock()
		if p.Control.typ == REP {
			if err := p.Control.Send(ctx, nil); err != nil {
				return fmt.Errorf("mq: control of the proxy: %w", err)
			}
		}
		if order == "TERMINATE" {
			return errTerminated
		}
	}
}

// sends and receives report what the programs of sockets of this type may do.
func (t Type) sends() bool    { return t != SUB && t != PULL }
func (t Type) receives() bool { return t != PUB && t != PUSH }
