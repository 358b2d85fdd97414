package framing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"
)

// ErrServerClosed is returned by [Server.Serve] after Shutdown or Close, and by
// [Conn.Receive] in a handler that could receive another message while the
// server shuts down.
var ErrServerClosed = errors.New("framing: server closed")

// A Handler serves one connection, from its first message to its last, and
// returns when it is over; the [Server] then closes the connection. ctx has the
// values of Serve's and ends when the server is closed. An error other than
// io.EOF and [ErrServerClosed] is logged.
type Handler func(ctx context.Context, c *Conn) error

// Reply returns a [Handler] that answers each message with one message, in
// order. msg is valid until f returns; an error from f ends the connection.
func Reply(f func(ctx context.Context, msg []byte) ([]byte, error)) Handler {
	return func(ctx context.Context, c *Conn) error {
		for msg, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			answer, err := f(ctx, msg)
			if err != nil {
				return err
			}
			if err := c.Send(ctx, answer); err != nil {
				return err
			}
		}
		return nil
	}
}

// A Server accepts connections that carry messages. Its zero value serves: it
// answers each length-prefixed message with the same message. Fields must not
// change while it serves.
type Server struct {
	Format  Format  // nil means Prefix{}
	Handler Handler // nil echoes
	Config  Config  // of each connection; IdleTimeout 0 means one minute here

	// MaxConns is how many connections are served at a time; 0 means 256.
	// Further ones wait in the system's queue until one of these ends.
	MaxConns int

	// Grace is how long connections may go on with the message at hand when the
	// context of Serve ends; 0 means one second, negative none.
	Grace time.Duration

	// Linger is how long a connection is kept after its handler has returned
	// to read away what the peer is still sending: a close that leaves bytes
	// unread resets the connection (RFC 9293 section 3.6.1), which can destroy
	// a last answer before the peer has read it. 0 means one second, negative
	// none. It ends as soon as the peer closes its side.
	Linger time.Duration

	Logger *slog.Logger // nil discards

	mu        sync.Mutex
	ready     bool
	closed    bool
	stop      chan struct{} // closed when closed is set
	slots     chan struct{} // holds a token for each open connection
	listeners map[net.Listener]struct{}
	conns     map[*Conn]context.CancelCauseFunc
	wg        sync.WaitGroup
}

// Serve accepts connections on ln and serves each in a goroutine of its own. It
// owns ln. It returns after Shutdown or Close with [ErrServerClosed], without
// waiting for the connections, as these two do; when ctx ends with its cause,
// having shut the server down within Grace; or when ln fails. Several listeners
// can be served at a time.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.begin(ln); err != nil {
		return err
	}
	defer s.forget(ln)
	unwatch := context.AfterFunc(ctx, func() { ln.Close() })
	defer unwatch()

	for failures := 0; ; {
		select {
		case s.slots <- struct{}{}:
		case <-s.stop:
			return ErrServerClosed
		case <-ctx.Done():
			return s.abandon(ctx)
		}
		nc, err := ln.Accept()
		if err == nil {
			failures = 0
			s.start(ctx, nc)
			continue
		}
		<-s.slots
		switch {
		case s.isClosed():
			return ErrServerClosed
		case ctx.Err() != nil:
			return s.abandon(ctx)
		case errors.Is(err, net.ErrClosed) || failures == maxAcceptFailures:
			return fmt.Errorf("framing: accept on %v: %w", ln.Addr(), err)
		}
		// A connection reset before it was accepted, or no descriptor left:
		// connections that end may mend it.
		failures++
		s.logger().Warn("accept failed", "addr", ln.Addr(), "err", err)
		select {
		case <-time.After(5 * time.Millisecond << failures):
		case <-s.stop:
		case <-ctx.Done():
		}
	}
}

const maxAcceptFailures = 8 // more than two seconds in all

// prepare makes what the zero Server lacks; s.mu is held.
func (s *Server) prepare() {
	if s.ready {
		return
	}
	s.ready = true
	n := s.MaxConns
	if n <= 0 {
		n = 256
	}
	s.stop, s.slots = make(chan struct{}), make(chan struct{}, n)
	s.listeners, s.conns = map[net.Listener]struct{}{}, map[*Conn]context.CancelCauseFunc{}
}

func (s *Server) begin(ln net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	if s.closed {
		ln.Close()
		return ErrServerClosed
	}
	s.listeners[ln] = struct{}{}
	return nil
}

func (s *Server) forget(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
	ln.Close()
}

// start serves nc in a goroutine, unless the server has been closed meanwhile.
func (s *Server) start(ctx context.Context, nc net.Conn) {
	cfg := s.Config
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = time.Minute
	}
	c := NewConn(nc, s.Format, &cfg)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		<-s.slots
		return
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	s.conns[c] = cancel
	s.wg.Go(func() {
		defer func() {
			cancel(nil)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			<-s.slots
		}()
		s.handle(ctx, c)
		s.linger(c)
	})
}

// linger closes our direction and waits until the peer has closed its own.
func (s *Server) linger(c *Conn) {
	limit := orDefault(s.Linger, time.Second)
	if limit == 0 || c.CloseWrite() != nil {
		return // the connection is gone, or has only both directions
	}
	if nc := c.rw.(net.Conn); nc.SetReadDeadline(time.Now().Add(limit)) == nil {
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{nc})
	}
}

func (s *Server) handle(ctx context.Context, c *Conn) {
	trace := s.Config.Trace
	if trace != nil && trace.Opened != nil {
		trace.Opened(c)
	}
	err := s.call(ctx, c)
	if err == io.EOF || err == ErrServerClosed {
		err = nil
	}
	if err != nil {
		s.logger().Info("connection ended", "peer", c.RemoteAddr(), "err", err)
	}
	if trace != nil && trace.Closed != nil {
		trace.Closed(c, err)
	}
}

// call runs the handler; a panic in it ends its own connection only.
func (s *Server) call(ctx context.Context, c *Conn) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("framing: the handler panicked: %v", v)
			s.logger().Error("panic in handler", "peer", c.RemoteAddr(), "panic", v, "stack", string(debug.Stack()))
		}
	}()
	if s.Handler == nil {
		return Reply(echo)(ctx, c)
	}
	return s.Handler(ctx, c)
}

func echo(_ context.Context, msg []byte) ([]byte, error) { return msg, nil }

// abandon ends the server because Serve's context has ended.
func (s *Server) abandon(ctx context.Context) error {
	if grace := orDefault(s.Grace, time.Second); grace > 0 {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_ = s.Shutdown(drain) // Close ends what is left
	}
	s.Close()
	return context.Cause(ctx)
}

// Shutdown stops accepting and lets each connection finish the message that it
// is receiving or answering; then it waits for the handlers. If ctx ends first
// it returns the cause; the caller may then Close. A handler that never
// receives must watch for the end itself, and a peer that sends without a pause
// is served until Close.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stopAccepting() {
		c.drain()
	}
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close stops accepting, closes every connection, ends the handlers' contexts
// and waits until the handlers have returned. It must not be called by one.
func (s *Server) Close() error {
	for _, c := range s.stopAccepting() {
		s.mu.Lock()
		if cancel := s.conns[c]; cancel != nil {
			cancel(ErrServerClosed)
		}
		s.mu.Unlock()
		c.Close()
	}
	s.wg.Wait()
	return nil
}

// stopAccepting marks the server closed and returns the open connections.
func (s *Server) stopAccepting() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	for ln := range s.listeners {
		ln.Close()
	}
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}
