package dnsx

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// A WhoisServer answers whois queries [RFC 3912]: it reads one line, writes a
// text and closes. It serves at most 64 connections at a time; each must send
// its line within Timeout and take the answer within as long again.
//
// [RFC 3912]: https://www.rfc-editor.org/rfc/rfc3912
type WhoisServer struct {
	// Answer returns the text for a query of at most 255 bytes, in which lines
	// may end in \n; on the wire they end in \r\n. It must be given, and several
	// goroutines call it.
	Answer func(ctx context.Context, query string) string

	Timeout time.Duration // 0 means 10 s
}

// Serve answers on ln, which it owns, until ctx ends; then it waits for the
// goroutines that it started, and returns the cause. It returns
// earlier only if ln fails.
func (s *WhoisServer) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	slots := make(chan struct{}, 64)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return context.Cause(ctx)
		}
		if err != nil {
			ln.Close()
			return err
		}
		wg.Go(func() {
			s.serve(ctx, conn)
			<-slots
		})
	}
}

// serve answers one query.
func (s *WhoisServer) serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	timeout := s.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	conn.SetDeadline(time.Now().Add(timeout))
	line, err := bufio.NewReader(io.LimitReader(conn, maxWhoisQuery+2)).ReadString('\n')
	if err != nil {
		return // no whole line, or too long a one
	}
	text := s.Answer(ctx, strings.TrimRight(line, "\r\n"))
	text = strings.ReplaceAll(text, "\r\n", "\n")
	conn.SetDeadline(time.Now().Add(timeout))
	io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
}
