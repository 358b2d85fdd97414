package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

func server(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	idle := cli.Number(fs, "idle", 10*time.Minute, time.Millisecond, 24*time.Hour, "close a connection that is silent for this `time`")
	stay := cli.Number(fs, "stay", 0, 0, time.Hour, "when a client has closed its side, keep ours open for this `time`: long enough to see CLOSE-WAIT")
	clients := cli.Number(fs, "clients", 1000, 1, 100_000, "hold this `number` of connections; further ones wait to be accepted")
	return func(ctx context.Context, env *cli.Env) error {
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "the listening socket: local %s, remote: %s\n", ln.Addr(), listenerPeer(ln.(*net.TCPListener)))
		acceptor := &framing.Server{
			MaxConns: *clients,
			Grace:    -1, // nothing is said here, so there is nothing to finish
			Linger:   -1,
			Handler: func(ctx context.Context, c *framing.Conn) error {
				conn := c.Stream().(*net.TCPConn)
				fmt.Fprintf(env.Stdout, "a connection: local %s, remote %s\n", conn.LocalAddr(), conn.RemoteAddr())
				why := hold(ctx, conn, *idle, *stay)
				if ctx.Err() == nil {
					fmt.Fprintf(env.Stdout, "closed: remote %s: %s\n", conn.RemoteAddr(), why)
				}
				return nil
			},
		}
		err = acceptor.Serve(ctx, ln)
		acceptor.Close() // waits for the handlers
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// listenerPeer says what the system answers when it is asked for the remote name
// of a listening socket: that it has none.
func listenerPeer(ln *net.TCPListener) string {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err.Error()
	}
	var answer error
	if err := raw.Control(func(fd uintptr) { answer = peerName(fd) }); err != nil {
		return err.Error()
	}
	if answer == nil {
		return "it has one, which is strange"
	}
	return fmt.Sprintf("none (%v)", answer)
}

// hold keeps a connection until the client closes its side, and then as long as
// it is to stay. What the client sends is thrown away.
func hold(ctx context.Context, conn *net.TCPConn, idle, stay time.Duration) string {
	buf := make([]byte, 4096)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return err.Error()
		}
		_, err := conn.Read(buf)
		switch cause := cli.CauseOf(err); {
		case err == nil:
		case err == io.EOF:
			if sleep(ctx, stay) != nil {
				return "the server stops"
			}
			return "the client has closed its side"
		case cause == cli.TimedOut:
			return fmt.Sprintf("silent for %v", idle)
		case cause != cli.Unknown:
			return string(cause)
		default:
			return err.Error()
		}
	}
}

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	n := cli.Number(fs, "n", 3, 1, 10_000, "open this `number` of connections")
	holding := cli.Number(fs, "hold", 0, 0, 24*time.Hour, "hold the connections for this `time`; 0 means until standard input ends")
	timeout := cli.Number(fs, "timeout", 5*time.Second, time.Millisecond, time.Hour, "wait this `time` for each connection")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		conns := make([]net.Conn, 0, min(*n, 100))
		defer func() {
			for _, conn := range conns {
				conn.Close()
			}
		}()
		dialer := net.Dialer{Timeout: *timeout}
		for range *n {
			conn, err := dialer.DialContext(ctx, "tcp", target)
			if err != nil {
				if len(conns) > 0 {
					return fmt.Errorf("after %d connections: %w", len(conns), err)
				}
				return err
			}
			conns = append(conns, conn)
			if _, err := fmt.Fprintf(env.Stdout, "local %s, remote %s\n", conn.LocalAddr(), conn.RemoteAddr()); err != nil {
				return err
			}
		}
		if *holding > 0 {
			return sleep(ctx, *holding)
		}
		for _, err := range cli.Lines(ctx, env.Stdin, 1<<20) {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func watch(fs *flag.FlagSet) cli.Action {
	port := cli.Number(fs, "port", coursePort, 1, 65535, "watch the sockets that have this `port` on either side")
	limit := cli.Number(fs, "for", time.Minute, 0, 24*time.Hour, "watch for this `time`; 0 prints the table once")
	return func(ctx context.Context, env *cli.Env) error {
		rows, err := ofPort(ctx, uint16(*port))
		if err != nil {
			return err
		}
		if err := printRows(env.Stdout, rows); err != nil || *limit == 0 {
			return err
		}
		began := time.Now()
		for time.Since(began) < *limit {
			if err := sleep(ctx, poll); err != nil {
				return err
			}
			next, err := ofPort(ctx, uint16(*port))
			if err != nil {
				return err
			}
			for _, change := range changes(rows, next) {
				if _, err := fmt.Fprintf(env.Stdout, "%7.3f s  %s\n", time.Since(began).Seconds(), change); err != nil {
					return err
				}
			}
			rows = next
		}
		return nil
	}
}

// changes says what is different between two readings of the table.
func changes(before, after []row) (list []string) {
	type names struct{ local, remote netip.AddrPort }
	old := make(map[names]string, len(before))
	for _, r := range before {
		old[names{r.local, r.remote}] = r.state
	}
	for _, r := range after {
		key := names{r.local, r.remote}
		was, known := old[key]
		delete(old, key)
		switch {
		case !known:
			list = append(list, fmt.Sprintf("%s – %s: %s", r.local, r.remote, r.state))
		case was != r.state:
			list = append(list, fmt.Sprintf("%s – %s: %s → %s", r.local, r.remote, was, r.state))
		}
	}
	for _, r := range before { // in the order of the table
		if was, gone := old[names{r.local, r.remote}]; gone {
			list = append(list, fmt.Sprintf("%s – %s: %s → %s", r.local, r.remote, was, closed))
		}
	}
	return list
}

// control runs f on the descriptor of a socket.
func control(socket syscall.Conn, f func(fd uintptr) error) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = f(fd) })
	return errors.Join(err, inner)
}
