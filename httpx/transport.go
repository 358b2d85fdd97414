package httpx

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/idna"
)

// A Transport sends the requests of an [http.Client] over connections of its
// own, and keeps these for further requests. Its zero value is ready to use:
//
//	client := &http.Client{Transport: new(httpx.Transport)}
//
// A response that could be misunderstood is refused ([*ProtocolError]), and a
// connection is used again only if the answer before ended where it said, with
// not a byte behind it. A request is sent again, once and on a new connection,
// only if a connection that had been used before was closed before any byte of a
// response came, and only if that does no harm: a method that is idempotent
// ([RFC 9110 section 9.2.2]), and no body or one that GetBody gives again.
//
// Bodies come as they were sent: compressed ones are left to the caller, who
// asked for them. The body of a response 101, and of a 2xx to a CONNECT, is an
// [io.ReadWriteCloser]: the connection itself.
//
// A Transport may be used by several goroutines at once. Fields must not change
// after the first request.
//
// [RFC 9110 section 9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
type Transport struct {
	// Dial makes connections, to proxies as well; nil means net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy returns the proxy for a request, such as http.ProxyFromEnvironment,
	// or nil for none. Schemes http and https are known; a name and a password
	// in the URL are sent to it. nil means no proxy.
	Proxy func(*http.Request) (*url.URL, error)

	// TLS is for https; nil means the system's authorities. An empty ServerName
	// is the host's own, and NextProtos is always http/1.1.
	TLS *tls.Config

	Limits Limits // of responses

	MaxConns int // connections to one host at a time, further requests wait; 0 means 256, negative any number
	MaxIdle  int // unused connections kept for a host; 0 means 32, negative none

	DialTimeout     time.Duration // to connect, the proxy's consent and TLS included; 0 means 30 s
	WriteTimeout    time.Duration // for the peer to take something of the request; 0 means one minute
	HeaderTimeout   time.Duration // from the end of the request to the end of the response's header; 0 means one minute
	BodyTimeout     time.Duration // for something of the response's body to come; 0 means one minute
	IdleTimeout     time.Duration // until an unused connection is closed; 0 means 90 s
	ContinueTimeout time.Duration // how long a request with "Expect: 100-continue" keeps its body back; 0 means one second

	// Of the above, a negative time means no limit.

	Trace *TransportTrace // told what happens; may be nil

	mu    sync.Mutex
	hosts map[hostKey]*hostConns
	ids   uint64 // the last number of a connection

	requests, dialled, retried atomic.Int64
}

// A hostKey says what a connection leads to. Through a proxy, all hosts of
// scheme http share its connections, and addr is empty.
type hostKey struct {
	proxy  string // URL
	scheme string
	addr   string // host:port
}

// TransportStats counts what a [Transport] has done and what it has.
type TransportStats struct {
	Requests int64 // sent, each once
	Dialled  int64 // connections made
	Retried  int64 // requests sent again
	Open     int   // connections now, with those that are being made
	Idle     int   // of these, unused
}

// Stats returns the counts so far.
func (t *Transport) Stats() TransportStats {
	s := TransportStats{Requests: t.requests.Load(), Dialled: t.dialled.Load(), Retried: t.retried.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.hosts {
		s.Open += h.open
		s.Idle += len(h.idle)
	}
	return s
}

// RoundTrip sends a request and returns the response when its header is there.
// It implements [http.RoundTripper]: the caller reads the body, or not, and
// closes it, which gives the connection back. The context of r bounds all of it.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	out, key, proxy, err := t.prepare(r)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	x := &Exchange{Request: r, Started: time.Now()}
	resp, err := t.try(x, out, key, proxy, false)
	if failure, ok := errors.AsType[*TransportError](err); ok && failure.stale && replayable(r) {
		second := *out // what writes the first may still be about to end
		if r.GetBody != nil {
			if second.Body, err = r.GetBody(); err != nil {
				return nil, fmt.Errorf("httpx: the body for sending again: %w", err)
			}
		}
		t.retried.Add(1)
		resp, err = t.try(&Exchange{Request: r, Started: x.Started}, &second, key, proxy, true)
	}
	return resp, err
}

// try sends the request on one connection, on a fresh one if asked for.
func (t *Transport) try(x *Exchange, out *http.Request, key hostKey, proxy *url.URL, fresh bool) (*http.Response, error) {
	ctx := x.Request.Context()
	c, err := t.get(ctx, key, proxy, fresh)
	if err != nil {
		closeBody(out)
		return nil, err
	}
	return c.exchange(ctx, x, out)
}

// A TransportError says what failed between us and a server or proxy. What it
// wraps says why: the end of the request's context, a [*ProtocolError],
// io.ErrUnexpectedEOF, an error of the network or of the request's body.
type TransportError struct {
	Op   string // "dial", "write" or "read"
	Addr string // host:port
	Err  error  // why

	stale bool // a used connection was closed before any byte of the response
}

// Error says all of it.
func (e *TransportError) Error() string {
	return "httpx: " + e.Op + " " + e.Addr + ": " + e.Err.Error()
}

// Unwrap returns why it failed.
func (e *TransportError) Unwrap() error { return e.Err }

// Timeout reports whether it took too long: one of the transport's limits, or
// the context's.
func (e *TransportError) Timeout() bool {
	return isTimeout(e.Err) || errors.Is(e.Err, context.DeadlineExceeded)
}

// replayable reports whether sending r twice does the same as sending it once.
func replayable(r *http.Request) bool {
	switch r.Method {
	case "", "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
	}
	return false
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// prepare checks a request and returns it as it is to be sent, and where.
func (t *Transport) prepare(r *http.Request) (out *http.Request, key hostKey, proxy *url.URL, err error) {
	if r.URL == nil {
		return nil, key, nil, errors.New("httpx: a request without URL")
	}
	key.scheme = r.URL.Scheme
	if key.scheme != "http" && key.scheme != "https" {
		return nil, key, nil, fmt.Errorf("httpx: %q is no scheme of HTTP: http or https", key.scheme)
	}
	out = new(http.Request)
	*out = *r // it must not be changed
	u := *r.URL
	out.URL = &u
	if u.Host, err = asciiHost(u.Host); err != nil {
		return nil, key, nil, err
	}
	if out.Host == "" {
		out.Host = u.Host
	} else if out.Host, err = asciiHost(out.Host); err != nil {
		return nil, key, nil, err
	}
	out.Host = withoutZone(out.Host)
	if u.Hostname() == "" {
		return nil, key, nil, errors.New("httpx: a URL without host")
	}
	if out.Header == nil {
		out.Header = http.Header{}
	}
	key.addr = hostPort(&u)
	if t.Proxy == nil {
		return out, key, nil, nil
	}
	if proxy, err = t.Proxy(r); err != nil || proxy == nil {
		return out, key, nil, err
	}
	if proxy.Scheme != "http" && proxy.Scheme != "https" {
		return nil, key, nil, fmt.Errorf("httpx: the proxy's scheme is %q; http and https are known", proxy.Scheme)
	}
	key.proxy = proxy.String()
	if key.scheme == "http" {
		key.addr = ""
		if auth := proxyAuth(proxy); auth != "" {
			out.Header = out.Header.Clone()
			out.Header.Set("Proxy-Authorization", auth)
		}
	}
	return out, key, proxy, nil
}

// asciiHost returns host or host:port with a name from another script than
// Latin as DNS has it (RFC 5891).
func asciiHost(host string) (string, error) {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port = host[:i], host[i:]
	}
	ascii := true
	for i := range len(name) {
		ascii = ascii && name[i] < 0x80
	}
	if ascii {
		return host, nil
	}
	name, err := idna.Lookup.ToASCII(name)
	if err != nil {
		return "", fmt.Errorf("httpx: host %q: %w", host, err)
	}
	return name + port, nil
}

// withoutZone removes the zone of an IPv6 address, which means something on this
// machine only (RFC 6874 section 1).
func withoutZone(host string) string {
	end := strings.LastIndexByte(host, ']')
	zone := strings.IndexByte(host, '%')
	if !strings.HasPrefix(host, "[") || zone < 0 || zone > end {
		return host
	}
	return host[:zone] + host[end:]
}

// hostPort returns what to dial for u.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// proxyAuth returns the field by which a proxy knows us, or nothing.
func proxyAuth(proxy *url.URL) string {
	if proxy.User == nil {
		return ""
	}
	password, _ := proxy.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(proxy.User.Username()+":"+password))
}

// limit returns d, or its default, or a time that never comes.
func limit(d, byDefault time.Duration) time.Duration {
	switch {
	case d == 0:
		return byDefault
	case d < 0:
		return 1 << 62
	}
	return d
}

// deadline returns when d, or its default, from now is over; no time for never.
func deadline(d, byDefault time.Duration) time.Time {
	if d < 0 {
		return time.Time{}
	}
	return time.Now().Add(limit(d, byDefault))
}

// isTimeout reports whether err is the end of a deadline.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// asksFor reports whether r has an Upgrade field, so that a 101 is an answer.
func asksFor(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade")
}
