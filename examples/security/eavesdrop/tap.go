package main

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

// maxConns is how many connections a tap passes on at a time; further ones
// wait in the system's queue.
const maxConns = 64

// A relay passes connections on to one server.
type relay struct {
	to      string
	idle    time.Duration
	brief   bool
	env     *cli.Env
	capture *capture        // nil: no file
	forger  *tlsx.Authority // nil: listen only
}

func tap(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	to := fs.String("to", "", "pass connections on to the server at this `address:port`")
	file := fs.String("pcap", "", "write what passes to `file`, in the format pcapng, for Wireshark")
	brief := fs.Bool("brief", false, "one line for each record, no explanations")
	forge := fs.Bool("forge", false, "do not only listen: pose as the server, with a certificate of our own making")
	idle := cli.Number(fs, "idle", time.Minute, time.Millisecond, time.Hour, "close a connection that is silent for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		if _, port, err := net.SplitHostPort(*to); err != nil || port == "" || port == "0" {
			return cli.Usagef("-to says which server to pass connections on to, as address:port; it is %q", *to)
		}
		r := &relay{to: *to, idle: *idle, brief: *brief, env: env}
		if *file != "" {
			// For the owner's eyes alone: it may hold passwords.
			f, err := os.OpenFile(*file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			if r.capture, err = newCapture(f); err != nil {
				return err
			}
		}
		if *forge {
			var err error
			if r.forger, err = tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "Trust Me Authority"}}); err != nil {
				return err
			}
		}
		var config net.ListenConfig
		ln, err := config.Listen(ctx, "tcp", addr.String())
		if err != nil {
			return err
		}
		defer ln.Close()
		if err := env.Listening(ln.Addr()); err != nil {
			return err
		}
		if err := r.serve(ctx, ln); err != nil {
			return err
		}
		if r.capture != nil {
			return r.capture.failure()
		}
		return nil
	}
}

// serve passes connections on until ctx ends, then waits for them.
func (r *relay) serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() }) // wakes Accept
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxConns)
	for number := 1; ; number++ {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer func() { <-places }()
			r.pass(ctx, number, conn)
		})
	}
}

// pass serves one connection.
func (r *relay) pass(ctx context.Context, number int, client net.Conn) {
	defer client.Close()
	dialer := net.Dialer{Timeout: min(r.idle, 10*time.Second)}
	server, err := dialer.DialContext(ctx, "tcp", r.to)
	if err != nil {
		if ctx.Err() == nil {
			fmt.Fprintf(r.env.Stdout, "#%d %s: %s\n", number, client.RemoteAddr(), cli.Explain(err))
		}
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() }) // wakes whoever reads or writes
	defer stop()

	w := newWatcher(r.env.Stdout, number, r.brief)
	from, to := addrPort(client.RemoteAddr()), addrPort(server.RemoteAddr())
	w.begin(from, to, newFlow(r.capture, from, to, w.start))
	if r.forger == nil {
		err = r.join(w, client, server)
	} else {
		err = r.impersonate(ctx, w, client, server)
	}
	w.over(err, ctx.Err() != nil)
}

func addrPort(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// join copies both ways until both sides have said all, or something fails.
func (r *relay) join(w *watcher, client, server net.Conn) error {
	var last atomic.Int64 // time of the last byte, whoever sent it
	last.Store(time.Now().UnixNano())
	ends := [2]net.Conn{client, server}
	var errs [2]error
	var wg sync.WaitGroup
	for side := range 2 {
		wg.Go(func() {
			if errs[side] = r.copy(w, ends[1-side], ends[side], side, &last); errs[side] != nil {
				client.Close() // the other direction has nobody to talk to
				server.Close()
			}
		})
	}
	wg.Wait()
	// One side's failure closes the other, which then fails too, of net.ErrClosed.
	for _, err := range errs {
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return errors.Join(errs[0], errs[1])
}

// copy passes on what src, which is side's end, sends.
func (r *relay) copy(w *watcher, dst, src net.Conn, side int, last *atomic.Int64) error {
	buf := make([]byte, 32<<10)
	for {
		if err := src.SetReadDeadline(time.Unix(0, last.Load()).Add(r.idle)); err != nil {
			return err
		}
		n, err := src.Read(buf)
		if n > 0 {
			last.Store(time.Now().UnixNano())
			w.sees(side, buf[:n]) // before it is passed on: nothing can be answered before it was seen
			if err := dst.SetWriteDeadline(time.Now().Add(r.idle)); err != nil {
				return err
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case err == io.EOF:
			w.ends(side)
			if half, ok := dst.(interface{ CloseWrite() error }); ok {
				return ignoreClosed(half.CloseWrite())
			}
			return nil
		case cli.CauseOf(err) == cli.TimedOut && time.Since(time.Unix(0, last.Load())) < r.idle:
			// The other side has spoken meanwhile.
		default:
			return err
		}
	}
}

// ignoreClosed drops the error of half-closing a connection that the other
// side has closed already.
func ignoreClosed(err error) error {
	if c := cli.CauseOf(err); err != nil && (c == cli.HungUp || c == cli.Reset || errors.Is(err, syscall.ENOTCONN)) {
		return nil
	}
	return err
}

// impersonate ends the client's TLS here, with a certificate made for the name
// that the client asks for, and speaks TLS to the server as any client may.
// All hangs on whether the client looks who has signed.
func (r *relay) impersonate(ctx context.Context, w *watcher, client, server net.Conn) error {
	limit := time.Now().Add(min(r.idle, 10*time.Second))
	if err := client.SetReadDeadline(limit); err != nil {
		return err
	}
	hello, read, err := tlsx.ReadClientHello(client)
	if err != nil {
		return fmt.Errorf("cannot pose as the server: %w", plain(err))
	}
	if err := client.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	name := hello.ServerName
	if name == "" {
		name = addrPort(server.RemoteAddr()).Addr().String()
	}
	cert, err := r.forger.Issue(tlsx.Template{Names: []string{name}})
	if err != nil {
		return fmt.Errorf("cannot forge a certificate for %q: %w", name, err)
	}
	front := &tlsx.Server{Identities: []*tlsx.Identity{{Certificate: cert}}, NextProtos: hello.Protocols, HandshakeTimeout: time.Until(limit)}
	victim, err := front.Conn(&replayed{Conn: client, first: read})
	if err != nil {
		return err
	}
	defer victim.Close()
	w.says("we pose as %q with a certificate signed by %q", name, tlsx.Title(r.forger.Cert))
	if err := victim.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("the client did not believe it: %w", plain(err))
	}
	// Under TLS 1.3 the server's end is done before the client has judged the
	// certificate: only the first bytes that it sends show that it believed.
	w.says("the handshake with the client is done")
	// The impostor does not care whom it robs: it verifies nothing.
	back := tls.Client(server, &tls.Config{InsecureSkipVerify: true, ServerName: hello.ServerName, NextProtos: hello.Protocols, MinVersion: tls.VersionTLS12})
	defer back.Close()
	handshake, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	if err := back.HandshakeContext(handshake); err != nil {
		return fmt.Errorf("handshake with the true server: %w", plain(err))
	}
	return r.join(w, victim, back)
}

// replayed is a connection of which the first bytes have been read already.
type replayed struct {
	net.Conn
	first []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite half-closes the connection below.
func (c *replayed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
