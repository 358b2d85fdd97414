package dnsx

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// accept takes connections until the listener is closed.
func (s *Server) accept(ctx context.Context, ln net.Listener) error {
	for failures := 0; ; {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		conn, err := ln.Accept()
		if err == nil {
			failures = 0
			s.start(ctx, conn)
			continue
		}
		<-s.slots
		if failures++; errors.Is(err, net.ErrClosed) || failures > maxAcceptFailures {
			return fmt.Errorf("dnsx: accept on %v: %w", ln.Addr(), err)
		}
		s.logger().Warn("accept failed", "addr", ln.Addr(), "err", err)
		select {
		case <-time.After(5 * time.Millisecond << failures):
		case <-ctx.Done():
		}
	}
}

const maxAcceptFailures = 8 // more than two seconds in all

// start serves a connection in a goroutine, unless the server has been closed.
func (s *Server) start(ctx context.Context, conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		<-s.slots
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.conns[conn] = cancel
	s.wg.Go(func() {
		defer func() {
			cancel()
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
			<-s.slots
		}()
		s.serveConn(ctx, conn)
	})
}

// serveConn answers the queries on one connection. Queries that need the Resolver
// do not hold up those behind them: answers may come in another order (RFC 7766 section 6.2.1.1).
func (s *Server) serveConn(ctx context.Context, conn net.Conn) {
	var (
		in   = make([]byte, 2+maxMessage)
		out  []byte
		q    = &request{}
		mu   sync.Mutex // one answer at a time
		idle = orDefault(s.IdleTimeout, 10*time.Second)
	)
	var pending sync.WaitGroup // answers under way; the connection stays open for them
	defer pending.Wait()
	send := func(msg []byte) error {
		mu.Lock()
		defer mu.Unlock()
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg)))
		if err := conn.SetWriteDeadline(time.Now().Add(idle)); err != nil {
			return err
		}
		_, err := conn.Write(append(framed, msg...))
		if err != nil {
			conn.Close() // part of a message may have gone out: nothing can follow
		}
		return err
	}
	for {
		if err := conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return
		}
		if s.isClosed() {
			return
		}
		if _, err := io.ReadFull(conn, in[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(in))
		if _, err := io.ReadFull(conn, in[:n]); err != nil {
			return
		}
		s.count.tcp.Add(1)
		q.from, q.stream = addrPort(conn.RemoteAddr()), true
		answer, later := s.respond(out[:0], q, in[:n])
		switch {
		case q.zone != nil:
			s.done(q, answer, conn.LocalAddr())
			if s.sendZone(q, send) != nil {
				return
			}
		case later || s.Rewrite != nil:
			s.deferAnswer(ctx, q, answer, later, conn.LocalAddr(), &pending, send)
		default:
			s.done(q, answer, conn.LocalAddr())
			if len(answer) == 0 || send(answer) != nil {
				return // what deserves no answer deserves no connection
			}
			out = answer
		}
	}
}
