package httpx

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// dial makes a connection for key: to the host, or to the proxy and, for https,
// through it.
func (t *Transport) dial(ctx context.Context, id uint64, key hostKey, proxy *url.URL) (*clientConn, error) {
	start := time.Now()
	c, err := t.connect(ctx, key, proxy)
	if t.Trace != nil && t.Trace.Dialled != nil {
		t.Trace.Dialled(DialInfo{Conn: id, Addr: dialAddr(key, proxy), TLS: key.scheme == "https", Start: start, End: time.Now(), Err: err})
	}
	if err != nil {
		return nil, err
	}
	c.id = id
	t.dialled.Add(1)
	return c, nil
}

// dialAddr returns the address of the other end of a connection for key.
func dialAddr(key hostKey, proxy *url.URL) string {
	if proxy != nil {
		return hostPort(proxy)
	}
	return key.addr
}

func (t *Transport) connect(parent context.Context, key hostKey, proxy *url.URL) (*clientConn, error) {
	ctx, cancel := context.WithTimeoutCause(parent, limit(t.DialTimeout, 30*time.Second), errDialTimeout)
	defer cancel()
	addr := dialAddr(key, proxy)
	failed := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // whatever it made of the connection
		}
		return &TransportError{Op: "dial", Addr: addr, Err: err}
	}
	dial := t.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, failed(err)
	}
	// From here on the end of ctx closes the connection, which ends every wait.
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c := &clientConn{t: t, key: key, raw: raw, nc: raw}
	if proxy != nil && proxy.Scheme == "https" {
		err = c.startTLS(ctx, proxy.Hostname())
	}
	if err == nil && proxy != nil && key.scheme == "https" {
		err = c.openTunnel(proxy, key.addr)
	}
	if err == nil && key.scheme == "https" {
		host, _, _ := net.SplitHostPort(key.addr)
		if t.TLS != nil && t.TLS.ServerName != "" {
			host = t.TLS.ServerName
		}
		err = c.startTLS(ctx, host)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, failed(err)
	}
	c.br = bufio.NewReader(countedConn{c})
	c.bw = bufio.NewWriter(countedConn{c})
	return c, nil
}

var errDialTimeout = fmt.Errorf("%w: DialTimeout is over", context.DeadlineExceeded)

// startTLS puts TLS over what c has so far; the peer has to prove that it is host.
func (c *clientConn) startTLS(ctx context.Context, host string) error {
	cfg := c.t.TLS.Clone()
	if cfg == nil {
		cfg = new(tls.Config)
	}
	cfg.ServerName = host
	cfg.NextProtos = []string{"http/1.1"} // RFC 7301: nothing else is spoken here
	below := &belowTLS{Conn: c.nc}
	tc := tls.Client(below, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	state := tc.ConnectionState()
	c.nc, c.tls, c.below = tc, &state, below
	return nil
}

// belowTLS is the connection that TLS runs on. It notes the end of it: who reads
// that far has not seen TLS's own farewell, for which crypto/tls does not ask.
// Anybody on the way can end a connection of TCP.
type belowTLS struct {
	net.Conn
	ended atomic.Bool
}

func (b *belowTLS) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// openTunnel asks the proxy for a connection to addr
// ([RFC 9110 section 9.3.6]).
//
// [RFC 9110 section 9.3.6]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
func (c *clientConn) openTunnel(proxy *url.URL, addr string) error {
	r := &http.Request{Method: "CONNECT", URL: &url.URL{Host: addr}, Host: addr, Header: http.Header{}}
	if auth := proxyAuth(proxy); auth != "" {
		r.Header.Set("Proxy-Authorization", auth)
	}
	bw := bufio.NewWriter(c.nc)
	if err := WriteRequest(bw, r, false); err != nil {
		return err
	}
	if err := bw.Flush(); err != nil {
		return err
	}
	br := bufio.NewReader(c.nc)
	for range maxInterim {
		resp, err := ReadResponse(br, r, &c.t.Limits)
		switch {
		case err != nil:
			return fmt.Errorf("the proxy's answer: %w", unexpectedEOF(err))
		case resp.StatusCode < 200:
			continue
		case resp.StatusCode >= 300:
			return fmt.Errorf("the proxy does not connect to %s: %s", addr, resp.Status)
		case br.Buffered() > 0:
			return errors.New("the proxy sends bytes behind its answer")
		}
		return nil
	}
	return errInterim
}
