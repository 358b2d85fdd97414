package httpx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Server runs an [http.Handler] on connections that it accepts. Handlers may
// use all of [http.ResponseController], [http.Hijacker] and [io.ReaderFrom]; the
// context of a request ends when its handler returns, its client goes away or the
// server is closed. Fields must not change while it serves.
//
// Unlike net/http's, a handler may always read and write at the same time: the
// body is never read away before the handler writes.
type Server struct {
	Handler http.Handler // nil answers 404 to all
	Limits  Limits       // of each request

	// TLS, if not nil, has Serve speak TLS. HTTP/1.1 is all it offers.
	TLS *tls.Config

	// HeaderTimeout is how long a client may take for a TLS handshake, for the
	// first byte on a new connection, and from a request's first byte to the end
	// of its header; 0 means 10 seconds, negative no limit. So for all timeouts.
	HeaderTimeout time.Duration
	// BodyTimeout is how long a client may pause in a body; 0 means 30 seconds.
	// Nor may all its pauses together be longer than that and a second for each
	// 512 bytes: one byte now and then does not hold a connection for ever.
	BodyTimeout time.Duration
	// IdleTimeout is how long a connection waits for its next request; 0 means
	// one minute.
	IdleTimeout time.Duration
	// WriteTimeout is how long a client may take to accept the next 16 KiB of a
	// response (over TLS 128 KiB), or the rest of it; 0 means one minute. The
	// system takes more only when a third of its buffer is free, which for a slow
	// client can be many seconds' worth.
	WriteTimeout time.Duration

	// MaxConns is how many connections are open at a time; 0 means 1,024. When
	// they are, one that waits for its next request is closed for a new one, and
	// if there is none, new ones wait in the system's queue.
	MaxConns int

	// Grace is how long requests may go on when the context of Serve ends; 0
	// means one second, negative none.
	Grace time.Duration

	Logger *slog.Logger // nil discards; told of panics and failures to accept
	Trace  *ServerTrace // nil traces nothing

	mu        sync.Mutex
	ready     bool
	closed    atomic.Bool  // set under mu
	crowded   atomic.Int32 // how many Serves wait for a slot
	stop      chan struct{}
	slots     chan struct{} // holds a token for each open connection
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	wg        sync.WaitGroup
	tls       *tls.Config  // nil without TLS
	identity  *http.Server // value of http.ServerContextKey
	clock     dateClock
	stats     struct{ accepted, requests, refused, panics atomic.Int64 }
}

// A ServerTrace is told what a server does, by the goroutine that does it.
type ServerTrace struct {
	Opened  func(nc net.Conn)                     // a connection was accepted
	Closed  func(nc net.Conn)                     // it has ended, or was hijacked
	Refused func(nc net.Conn, err *ProtocolError) // a request was answered without the handler
	// Answered comes after each handler, with the status and the bytes of the
	// body that it wrote.
	Answered func(r *http.Request, status int, body int64)
}

// ServerStats are counts since the start.
type ServerStats struct {
	Open     int   // connections now
	Accepted int64 // connections
	Requests int64 // given to the handler
	Refused  int64 // requests that were answered without it
	Panics   int64 // handlers that panicked, but for http.ErrAbortHandler
}

// Stats returns the counts.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return ServerStats{
		Open:     open,
		Accepted: s.stats.accepted.Load(),
		Requests: s.stats.requests.Load(),
		Refused:  s.stats.refused.Load(),
		Panics:   s.stats.panics.Load(),
	}
}

// Serve accepts connections on ln and serves each in a goroutine of its own,
// whose requests have the values of ctx. It owns ln. It returns after Shutdown or
// Close with [http.ErrServerClosed], without waiting for the requests, as these
// two do; when ctx ends with its cause, having shut the server down within Grace;
// or when ln fails. Several listeners can be served at a time.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if ctx.Err() != nil {
		ln.Close()
		return context.Cause(ctx)
	}
	if err := s.begin(ln); err != nil {
		return err
	}
	defer s.forget(ln)
	unwatch := context.AfterFunc(ctx, func() { ln.Close() })
	defer unwatch()

	for failures := 0; ; {
		nc, err := ln.Accept()
		if err == nil {
			failures = 0
			if !s.takeSlot(ctx) {
				nc.Close()
				return s.ended(ctx)
			}
			s.start(ctx, nc)
			continue
		}
		if s.closed.Load() || ctx.Err() != nil {
			return s.ended(ctx)
		}
		if !passes(err) {
			return fmt.Errorf("httpx: accept on %v: %w", ln.Addr(), err)
		}
		failures = min(failures+1, 7)
		s.logger().Warn("accept failed", "addr", ln.Addr(), "err", err)
		select {
		case <-time.After(5 * time.Millisecond << failures):
		case <-s.stop:
		case <-ctx.Done():
		}
	}
}

// passes reports whether an error of Accept may pass: a connection was reset
// before it was accepted, or no descriptor is left until others end.
func passes(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// prepare makes what the zero Server lacks; s.mu is held.
func (s *Server) prepare() {
	if s.ready {
		return
	}
	s.ready = true
	n := s.MaxConns
	if n <= 0 {
		n = 1024
	}
	s.stop, s.slots = make(chan struct{}), make(chan struct{}, n)
	s.listeners, s.conns = map[net.Listener]struct{}{}, map[*conn]struct{}{}
	s.identity = &http.Server{Handler: s.Handler}
	if s.TLS != nil {
		s.tls = s.TLS.Clone()
		s.tls.NextProtos = []string{"http/1.1"} // nothing else is spoken here
	}
}

func (s *Server) begin(ln net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	if s.closed.Load() {
		ln.Close()
		return http.ErrServerClosed
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

// takeSlot waits until there is room for a connection, and reports false when
// the server has ended.
func (s *Server) takeSlot(ctx context.Context) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	default:
	}
	s.crowded.Add(1) // a connection that becomes idle gives way from now on
	defer s.crowded.Add(-1)
	s.closeIdle(1, false)
	select {
	case s.slots <- struct{}{}:
		return true
	case <-s.stop:
	case <-ctx.Done():
	}
	return false
}

// start serves nc in a goroutine, unless the server has been closed meanwhile.
func (s *Server) start(ctx context.Context, nc net.Conn) {
	s.stats.accepted.Add(1)
	if s.tls != nil {
		nc = tls.Server(nc, s.tls)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		nc.Close()
		<-s.slots
		return
	}
	c := newConn(ctx, s, nc)
	s.conns[c] = struct{}{}
	s.wg.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			<-s.slots
		}()
		if t := s.Trace; t != nil && t.Opened != nil {
			t.Opened(nc)
		}
		c.serve()
		if t := s.Trace; t != nil && t.Closed != nil {
			t.Closed(nc)
		}
	})
}

// ended is what Serve returns when the server was closed, or ctx has ended and
// the server ends with it.
func (s *Server) ended(ctx context.Context) error {
	if s.closed.Load() {
		return http.ErrServerClosed
	}
	if grace := orDefault(s.Grace, time.Second); grace > 0 {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_ = s.Shutdown(drain) // Close ends what is left
	}
	s.Close()
	return context.Cause(ctx)
}

// Shutdown stops accepting, closes the connections that wait for a request, and
// waits until the others have answered theirs. If ctx ends first it returns the
// cause; the caller may then Close. It does not wait for hijacked connections.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	s.closeIdle(math.MaxInt, true)
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close stops accepting, closes every connection, ends the contexts of the
// requests and waits until the handlers have returned. A handler must not call it.
func (s *Server) Close() error {
	s.stopAccepting()
	s.mu.Lock()
	for c := range s.conns {
		c.abort()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	if !s.closed.Load() {
		s.closed.Store(true)
		close(s.stop)
	}
	for ln := range s.listeners {
		ln.Close()
	}
}

// closeIdle closes up to n connections that wait for a request, new ones only if
// fresh is set.
func (s *Server) closeIdle(n int, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if n == 0 {
			return
		}
		if c.state.CompareAndSwap(connIdle, connClosed) || fresh && c.state.CompareAndSwap(connFresh, connClosed) {
			c.raw.Close()
			n--
		}
	}
}

func (s *Server) handler() http.Handler {
	if s.Handler == nil {
		return http.NotFoundHandler()
	}
	return s.Handler
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

func (s *Server) headerTimeout() time.Duration { return orDefault(s.HeaderTimeout, 10*time.Second) }

func (s *Server) bodyTimeout() time.Duration { return orDefault(s.BodyTimeout, 30*time.Second) }

// orDefault returns d, or def if d is 0, or 0 for none if d is negative.
func orDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 0
	}
	return d
}

// A dateClock keeps the text of the Date field, which changes once a second.
type dateClock struct{ last atomic.Pointer[dateText] }

type dateText struct {
	second int64
	text   string
}

func (d *dateClock) text() string {
	now := time.Now()
	last := d.last.Load()
	if last == nil || last.second != now.Unix() {
		last = &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
		d.last.Store(last)
	}
	return last.text
}
