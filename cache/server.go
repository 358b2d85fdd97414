package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Server is a memcached: it keeps items for clients in this and other
// programs, in any language, until they expire or memory is short. It speaks the
// classic text commands and the meta commands, over TCP, Unix sockets and UDP.
// Its zero value is ready to use. Fields must not change while it serves.
//
// Items are kept outside of the garbage-collected memory; [Server.Close] or
// [Server.Shutdown] gives them back. A server that has been closed cannot serve
// again.
type Server struct {
	// MaxBytes is how much memory items may take, with keys, their heads of 29
	// bytes and the table that finds them; 0 means 64 MiB, and 1 MiB is the
	// least. Connections take more: about 5 KiB each while they wait for a command, up
	// to 96 KiB while they are busy.
	MaxBytes int64

	// MaxItem is the size of the largest item, with key and head; 0 means 1 MiB.
	MaxItem int

	// NoEvict answers with an error when memory is full, instead of evicting
	// what has not been used for a while.
	NoEvict bool

	// NoFlush refuses the command flush_all.
	NoFlush bool

	// NoWatch refuses the command watch, with which a client sees the keys that
	// others use.
	NoWatch bool

	// MaxConns is how many connections are served at a time; 0 means 1024. One
	// too many is told so and closed.
	MaxConns int

	// IdleTimeout is after how long without a command a connection is closed; 0
	// means never, since clients keep connections for later.
	IdleTimeout time.Duration

	// Timeout is how long a command that has begun to come, or an answer that
	// its client has to take, may stand still; 0 means one minute, negative for
	// ever. Like IdleTimeout it is looked after once a second.
	Timeout time.Duration

	// MaxBatch is how many commands of one connection are carried out before
	// others get their turn; 0 means 20.
	MaxBatch int

	// Authenticate decides whether a client may come in. If it is not nil, the
	// first command of a connection must be a set whose value is
	// "user password". UDP is not served then.
	Authenticate func(user, password string) bool

	// OnShutdown is called, in a goroutine of its own, when a client sends the
	// command shutdown; nil refuses it. graceful says that connections should
	// end first.
	OnShutdown func(graceful bool)

	// DebugTime enables the command debugtime, which moves the clock. It is for
	// tests of expiry.
	DebugTime bool

	// Settings are more lines for "stats settings", or other values for some.
	Settings map[string]string

	Trace *ServerTrace // nil reports nothing

	arena *arena
	start time.Time
	now   clock
	bufs  sync.Pool // of *connBuf
	count serverCounters
	flush atomic.Int64 // when flush_all with a delay is due, in Unix seconds; 0 never
	keys  prefixStats

	watchers  watchers
	noCrawler atomic.Bool // the command lru_crawler is disabled

	mu        sync.Mutex
	closed    bool
	draining  atomic.Bool
	stop      chan struct{} // closed when closed is set
	lastID    int
	listeners map[io.Closer]endpoint
	conns     map[*conn]struct{}
	wg        sync.WaitGroup // of connections and of the warden
}

// A ServerTrace has functions that a [Server] calls. They must be quick, and may
// be called by several goroutines at a time.
type ServerTrace struct {
	Opened  func(peer net.Addr)              // a connection has come
	Closed  func(peer net.Addr, err error)   // it has ended; err is nil if the client left
	Command func(peer net.Addr, line []byte) // a command line, without its end; valid during the call
	Refused func(peer net.Addr)              // one connection too many has come
}

// serverCounters are counted by all connections.
type serverCounters struct {
	conns, rejected, idleKicks  atomic.Uint64
	bytesRead, bytesWritten     atomic.Uint64
	yields, flushes, metas      atomic.Uint64
	tooLarge                    atomic.Uint64
	authentications, authErrors atomic.Uint64
	crawled                     atomic.Uint64 // items removed by lru_crawler
}

// An endpoint is a listener or packet connection, for "stats conns".
type endpoint struct {
	id   int
	addr net.Addr
}

// prepare makes what the zero Server lacks; s.mu is held.
func (s *Server) prepare() error {
	if s.closed {
		return net.ErrClosed
	}
	if s.arena != nil {
		return nil
	}
	s.arena = newArena(orDefault(s.MaxBytes, 64<<20), orDefault(s.MaxItem, defaultMaxItem), 4*runtime.GOMAXPROCS(0), s.NoEvict)
	s.arena.evicted = s.watchEviction
	s.noCrawler.Store(s.Settings["lru_crawler"] == "no")
	s.start = time.Now()
	s.bufs.New = func() any { return new(connBuf) }
	s.stop = make(chan struct{})
	s.listeners = map[io.Closer]endpoint{}
	s.conns = map[*conn]struct{}{}
	s.wg.Go(s.ward)
	return nil
}

// orDefault returns v, or d if v is zero.
func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Serve accepts connections on ln and serves each in a goroutine of its own. It
// owns ln. It returns when ctx ends, with its cause, or after Shutdown or Close,
// with net.ErrClosed, or when ln fails; in no case does it wait for connections.
// Several listeners can be served at a time.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.begin(ln, ln.Addr()); err != nil {
		return fmt.Errorf("cache: serve on %v: %w", ln.Addr(), err)
	}
	defer s.forget(ln)
	unwatch := context.AfterFunc(ctx, func() { ln.Close() })
	defer unwatch()
	for failures := 0; ; {
		nc, err := ln.Accept()
		if err == nil {
			failures = 0
			s.accept(nc, ln.Addr())
			continue
		}
		switch {
		case s.isClosed():
			return fmt.Errorf("cache: serve on %v: %w", ln.Addr(), net.ErrClosed)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !passes(err):
			return fmt.Errorf("cache: accept on %v: %w", ln.Addr(), err)
		}
		failures = min(failures+1, 7)
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

func (s *Server) begin(c io.Closer, addr net.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.prepare(); err != nil {
		c.Close()
		return err
	}
	s.lastID++
	s.listeners[c] = endpoint{s.lastID, addr}
	return nil
}

func (s *Server) forget(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, c)
	c.Close()
}

// accept serves nc in a goroutine, if there are not too many.
func (s *Server) accept(nc net.Conn, listener net.Addr) {
	c, err := s.enter(nc, listener)
	if err != nil {
		// Most networks have room for the line without waiting. (Over TLS a
		// write reads, too.)
		_ = nc.SetDeadline(time.Now().Add(10 * time.Millisecond))
		_, _ = io.WriteString(nc, err.Error()+"\r\n")
		nc.Close()
		if t := s.Trace; t != nil && t.Refused != nil {
			t.Refused(nc.RemoteAddr())
		}
		return
	}
	if c != nil {
		go s.handle(c)
	}
}

var errTooManyConns = errors.New(replyTooManyConns)

// enter counts a connection in. It returns nil if the server has been closed.
func (s *Server) enter(nc net.Conn, listener net.Addr) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		nc.Close()
		return nil, nil
	case len(s.conns) >= orDefault(s.MaxConns, 1024):
		s.count.rejected.Add(1)
		return nil, errTooManyConns
	}
	s.lastID++
	c := newConn(s, nc, listener, s.lastID)
	s.conns[c] = struct{}{}
	s.count.conns.Add(1)
	s.wg.Add(1)
	return c, nil
}

// handle serves a connection to its end.
func (s *Server) handle(c *conn) {
	defer s.wg.Done()
	defer func() {
		c.nc.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	t := s.Trace
	if t != nil && t.Opened != nil {
		t.Opened(c.peer)
	}
	c.watchConn("conn_new", "")
	err := c.serve()
	if err == nil {
		c.watchConn("conn_close", " reason=normal")
	} else {
		c.watchConn("conn_close", " reason=error")
	}
	if t != nil && t.Closed != nil {
		t.Closed(c.peer, err)
	}
}

// ward closes connections that have been waiting for too long. One goroutine
// for all of them costs less than a deadline set before every read.
func (s *Server) ward() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-ticker.C:
			s.checkAll(now)
		}
	}
}

func (s *Server) checkAll(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		s.check(c, now)
	}
}

func (s *Server) check(c *conn, now time.Time) {
	state, since := c.waiting()
	limit := s.IdleTimeout
	if state != waitsIdle {
		limit = orDefault(s.Timeout, time.Minute)
	}
	if limit <= 0 || now.Sub(since) < limit {
		return
	}
	if state == waitsIdle {
		s.count.idleKicks.Add(1)
	}
	c.nc.Close()
}

// Shutdown stops accepting, lets every connection finish the commands that have
// begun to come, waits until all have ended and gives the items' memory back. If
// ctx ends first it returns the cause; the caller may then Close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	s.draining.Store(true)
	s.mu.Lock()
	for c := range s.conns {
		_ = c.nc.SetReadDeadline(time.Now()) // wakes those that wait for a command
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.release()
		close(done)
	}()
	ticker := time.NewTicker(time.Second) // the warden has ended
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case now := <-ticker.C:
			s.checkAll(now)
		}
	}
}

// Close stops accepting, closes every connection and gives the items' memory
// back.
func (s *Server) Close() error {
	s.stopAccepting()
	s.mu.Lock()
	for c := range s.conns {
		c.nc.Close()
	}
	s.mu.Unlock()
	s.release()
	return nil
}

// release waits until nobody uses the items and gives their memory back.
func (s *Server) release() {
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.arena != nil {
		s.arena.close()
	}
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.stop != nil {
		close(s.stop)
	}
	s.closed = true
	for ln := range s.listeners {
		ln.Close()
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// A clock tells the time in Unix seconds. The command debugtime moves it.
type clock struct {
	shift  atomic.Int64 // seconds
	paused atomic.Int64 // the time at which it stands; 0: it goes
}

func (c *clock) unix(now time.Time) int64 {
	t := c.paused.Load()
	if t == 0 {
		t = now.Unix()
	}
	return t + c.shift.Load()
}

// flushIfDue carries out a flush_all whose delay is over.
func (s *Server) flushIfDue(now uint32) {
	if due := s.flush.Load(); due != 0 && int64(now) >= due && s.flush.CompareAndSwap(due, 0) {
		s.arena.flush(now)
	}
}
