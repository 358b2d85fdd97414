package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

func connect(flags *flag.FlagSet) cli.Action {
	var addr hostPort
	flags.Var(&addr, "connect", "`address` of the server")
	common := addTLSFlags(flags)
	name := flags.String("name", "", "`name` or address that the server's certificate must have; the host of -connect if it is missing")
	ca := flags.String("ca", "", "`file` with the authorities that we trust; the system's if it is missing")
	withhold := flags.Bool("withhold", false, "keep our certificate to ourselves if the server names others than our authority")
	verbose := flags.Bool("v", false, "describe the connection on standard error")
	timeout := cli.Number(flags, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, the handshake, and each answer after the end of the input")
	return func(ctx context.Context, env *cli.Env) error {
		if addr == "" {
			return cli.Usagef("-connect says which server; it is missing")
		}
		id, err := common.identity()
		if err != nil {
			return err
		}
		client := &tlsx.Client{
			Name: *name, Identity: id,
			MinVersion: versions[*common.low], MaxVersion: versions[*common.high],
			HandshakeTimeout: *timeout,
			// As openssl does. A certificate that is withheld cannot be
			// refused, and a refusal is what we are here to see.
			SendUnlisted: !*withhold,
		}
		if client.Name == "" {
			client.Name, _, _ = net.SplitHostPort(string(addr))
		}
		if *ca != "" {
			if client.Roots, err = authorities(*ca); err != nil {
				return err
			}
		}
		if _, err := client.Config(); err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *timeout}
		tcp, err := dialer.DialContext(ctx, "tcp", string(addr))
		if err != nil {
			return err
		}
		nc := &heard{TCPConn: tcp.(*net.TCPConn)}
		defer nc.Close()
		stop := context.AfterFunc(ctx, func() { nc.Close() })
		defer stop()
		conn, err := client.Conn(nc)
		if err != nil {
			return err
		}
		err = converse(ctx, conn, env, *timeout, *verbose)
		if err == nil && nc.ended.Load() {
			// With TLS's own farewell we would not have read as far as TCP's.
			// Whoever cuts the wire can send the latter, not the former.
			fmt.Fprintf(env.Stderr, "%v has ended without close_notify (RFC 8446 section 6.1): what came may be cut short\n", nc.RemoteAddr())
		}
		conn.Close()
		r := refusalOf(err, "client", nc.RemoteAddr())
		switch {
		case r == nil:
			return err
		case *common.json:
			if err := r.writeJSON(env.Stdout); err != nil {
				return err
			}
			return cli.Status(cli.Failure)
		}
		return r
	}
}

// converse does the handshake, sends standard input and prints what comes back
// until the server has closed its direction.
func converse(ctx context.Context, conn *tlsx.Conn, env *cli.Env, timeout time.Duration, verbose bool) error {
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if verbose {
		fmt.Fprintln(env.Stderr, session(conn))
	}
	// Both directions at once: if we read only after the last byte is
	// sent, an echo larger than the buffers on the way would block both
	// sides for ever. The goroutine ends with the input, or when conn is
	// closed and the input says something more.
	s := &sender{conn: conn, timeout: timeout, result: make(chan error, 1)}
	go func() {
		err := s.run(env.Stdin)
		s.result <- err
		if _, ok := errors.AsType[*inputError](err); ok {
			conn.NetConn().Close() // wakes receive
		}
	}()

	err := s.receive(env.Stdout)
	switch {
	case refusalOf(err, "client", conn.RemoteAddr()) != nil:
		return err
	case err == nil && s.ended.Load():
		return nil
	}
	// The server went away, or broke off, before we were done. If writing has
	// met the reason, that tells more.
	select {
	case e := <-s.result:
		if refusalOf(e, "client", conn.RemoteAddr()) != nil {
			return e
		}
		if _, ok := errors.AsType[*inputError](e); ok {
			return e
		}
	default:
	}
	switch {
	case err == nil:
		return fmt.Errorf("%v has closed the connection before the end of the input", conn.RemoteAddr())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%v has broken the connection off in the middle of a record", conn.RemoteAddr())
	case cli.CauseOf(err) == cli.TimedOut && s.ended.Load():
		return fmt.Errorf("nothing more from %v within %v, and no end", conn.RemoteAddr(), timeout)
	}
	return err
}

// A sender passes standard input on.
type sender struct {
	conn    *tlsx.Conn
	timeout time.Duration
	ended   atomic.Bool // the input is at its end, all of it is sent
	result  chan error
}

// An inputError says that our own input failed, not the network.
type inputError struct{ err error }

func (e *inputError) Error() string { return "cannot read standard input: " + e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

func (s *sender) run(stdin io.Reader) error {
	buf := make([]byte, maxRecord)
	for {
		n, err := stdin.Read(buf)
		if n > 0 {
			if _, err := s.conn.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			s.ended.Store(true)
			if err := s.conn.CloseWrite(); err != nil {
				return err
			}
			// While somebody types there is no hurry; from here on there is.
			return s.conn.SetReadDeadline(time.Now().Add(s.timeout))
		case err != nil:
			return &inputError{err}
		}
	}
}

// receive prints what comes to its clean end, which is no error.
func (s *sender) receive(stdout io.Writer) error {
	buf := make([]byte, maxRecord)
	for {
		if s.ended.Load() {
			if err := s.conn.SetReadDeadline(time.Now().Add(s.timeout)); err != nil {
				return err
			}
		}
		n, err := s.conn.Read(buf)
		if n > 0 {
			if _, err := stdout.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
