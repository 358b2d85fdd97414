package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// maxConns bounds the connections that are served at a time. Others wait in
// the system's queue.
const maxConns = 256

// grace is how long connections may go on when the server is told to stop.
const grace = 250 * time.Millisecond

// maxRecord is the most data that one record of TLS carries (RFC 8446 section
// 5.1).
const maxRecord = 16 << 10

func serve(flags *flag.FlagSet) cli.Action {
	addr := hostPort("127.0.0.1:0")
	flags.Var(&addr, "listen", "`address` to listen on; port 0 picks a free one")
	common := addTLSFlags(flags)
	clientCA := flags.String("client-ca", "", "`file` with the authorities of clients: every client needs a certificate then")
	idle := cli.Number(flags, "idle", time.Minute, time.Millisecond, 24*time.Hour, "close a connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		id, err := common.identity()
		if err != nil {
			return err
		}
		if id == nil {
			return cli.Usagef("a server needs -cert and -key")
		}
		server := &tlsx.Server{
			Identities: []*tlsx.Identity{id},
			MinVersion: versions[*common.low], MaxVersion: versions[*common.high],
			HandshakeTimeout: min(*idle, 10*time.Second),
		}
		if *clientCA != "" {
			if server.ClientCAs, err = authorities(*clientCA); err != nil {
				return err
			}
		}
		if _, err := server.Config(); err != nil { // before anybody is kept waiting
			return err
		}
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", string(addr))
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		e := &echoServer{server: server, idle: *idle, json: *common.json, env: env}
		return e.serve(ctx, ln)
	}
}

// An echoServer sends back what clients send.
type echoServer struct {
	server *tlsx.Server
	idle   time.Duration
	json   bool
	env    *cli.Env
}

// serve accepts connections until ctx ends, and waits for the last one.
func (e *echoServer) serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() }) // wakes Accept
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	open, closeAll := context.WithCancel(ctx) // also if we leave for another reason
	defer closeAll()
	slots := make(chan struct{}, maxConns)
	for {
		nc, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			nc.Close()
			return nil
		}
		wg.Go(func() {
			defer func() { <-slots }()
			e.client(open, nc.(*net.TCPConn))
		})
	}
}

// client serves one connection.
func (e *echoServer) client(ctx context.Context, tcp *net.TCPConn) {
	defer tcp.Close()
	over := make(chan struct{})
	defer close(over)
	stop := context.AfterFunc(ctx, func() {
		// What has arrived is still read: it may be a refusal.
		select {
		case <-time.After(grace):
		case <-over:
		}
		tcp.Close()
	})
	defer stop()
	peer := tcp.RemoteAddr()
	nc := &heard{TCPConn: tcp}
	conn, err := e.server.Conn(nc)
	if err == nil {
		defer conn.Close()
		err = conn.HandshakeContext(context.WithoutCancel(ctx))
	}
	if err != nil {
		if nc.anything.Load() { // who says nothing was only knocking
			e.failed(ctx, peer, err)
		}
		return
	}
	e.say("%v: %s", peer, session(conn))
	n, err := echo(conn, e.idle)
	if err != nil {
		e.failed(ctx, peer, err)
		return
	}
	e.say("%v: %d bytes sent back, goodbye", peer, n)
}

// failed tells why a connection came to an end, unless it was we who ended it.
func (e *echoServer) failed(ctx context.Context, peer net.Addr, err error) {
	r := refusalOf(err, "server", peer)
	if ctx.Err() != nil && (r == nil || r.Reason == tlsx.CutOff) {
		return
	}
	switch {
	case r != nil && e.json:
		// If standard output is gone there is nobody left to tell.
		_ = r.writeJSON(e.env.Stdout)
	case r != nil:
		e.say("%v: %v", peer, r)
	default:
		e.say("%v: %s", peer, cli.Explain(err))
	}
}

// say prints for people; in JSON there are refusals only.
func (e *echoServer) say(format string, args ...any) {
	if !e.json {
		fmt.Fprintf(e.env.Stdout, format+"\n", args...)
	}
}

// echo sends back what comes until the client has closed its direction, and
// then closes ours.
func echo(conn *tlsx.Conn, idle time.Duration) (sent int64, err error) {
	buf := make([]byte, maxRecord)
	for {
		if err := conn.SetDeadline(time.Now().Add(idle)); err != nil {
			return sent, err
		}
		n, err := conn.Read(buf)
		if n > 0 {
			n, err := conn.Write(buf[:n])
			sent += int64(n)
			if err != nil {
				return sent, err
			}
		}
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}
