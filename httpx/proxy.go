package httpx

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Proxy is an http.Handler that passes requests on: all to one origin, a
// reverse proxy, or each to the origin that it names, a forward proxy, which
// makes tunnels (CONNECT) as well. With a [Cache] as its Transport it is a
// caching one.
//
// What speaks of a connection is not passed on, the proxy names itself in Via
// ([RFC 9110 section 7.6]), and a request that comes back to it is refused.
//
// [RFC 9110 section 7.6]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6
type Proxy struct {
	// Origin is where a reverse proxy sends all requests, a path before theirs
	// included; nil makes a forward proxy.
	Origin *url.URL
	// KeepHost passes the client's Host on to the Origin, which otherwise gets
	// its own.
	KeepHost bool

	// Transport asks the origins. Nil means a [Transport] of its own; that of a
	// forward proxy has [PublicOnly] as its Dial, as one of yours should have.
	Transport http.RoundTripper

	// Dial connects tunnels; nil means [PublicOnly].
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Tunnel says where tunnels may lead; nil means to port 443 of any host.
	Tunnel func(host string, port uint16) bool
	// TunnelIdle ends a tunnel through which nothing went for so long; 0 means
	// five minutes.
	TunnelIdle time.Duration

	Name   string       // in Via, a token; empty means one that is made up
	Logger *slog.Logger // told why requests could not be passed on; nil discards

	once sync.Once
	name string
	own  http.RoundTripper
}

// ErrForbidden is the error of [PublicOnly] for an address that is not public.
var ErrForbidden = errors.New("httpx: not a public address")

// PublicOnly connects like net.Dialer, but not to this machine and not to
// private networks: a proxy that anybody may use must not lend its place in
// the network ([CWE-918], server-side request forgery). The address is checked
// when it is dialled, after the name has been looked up.
//
// [CWE-918]: https://cwe.mitre.org/data/definitions/918.html
func PublicOnly(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, Control: controlPublic}
	return d.DialContext(ctx, network, addr)
}

// special are the networks of [RFC 6890] and its successors in which no public
// server is and that netip has no name for; 64:ff9b::/96 and 2002::/16 have
// IPv4 addresses inside.
//
// [RFC 6890]: https://www.rfc-editor.org/rfc/rfc6890
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"), // Teredo
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("fec0::/10"),
}

func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("") // no network contains an address with a zone
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// controlPublic is told the address that a socket is about to be connected to.
func controlPublic(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(to.Addr()) {
		return fmt.Errorf("%w: %s", ErrForbidden, address)
	}
	return nil
}

func (p *Proxy) start() {
	p.once.Do(func() {
		if p.name = p.Name; p.name == "" {
			p.name = "zocalo-" + strings.ToLower(rand.Text()[:8])
		}
		if p.own = p.Transport; p.own == nil {
			t := new(Transport)
			if p.Origin == nil {
				t.Dial = PublicOnly
			}
			p.own = t
		}
	})
}

func (p *Proxy) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if p.Dial == nil {
		return PublicOnly(ctx, network, addr)
	}
	return p.Dial(ctx, network, addr)
}

// ServeHTTP passes a request on and the response back.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.start()
	if c, ok := p.own.(*Cache); ok {
		if ours, ok := w.(*response); ok && p.serveHit(ours, r, c) {
			return
		}
	}
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
		return
	case p.Origin == nil && (r.URL.Scheme != "http" || r.URL.Host == ""):
		ErrorPage(w, r, http.StatusBadRequest, "This is a proxy: it wants the whole http URL of what you ask for.")
		return
	case p.loops(r):
		ErrorPage(w, r, http.StatusLoopDetected, "The request has been here before.")
		return
	case r.Method == http.MethodTrace, r.Method == http.MethodOptions:
		// RFC 9110 section 7.6.2: nobody but these two counts.
		if left, ok := decimal(r.Header.Get("Max-Forwards")); ok {
			if left == 0 {
				p.lastStop(w, r)
				return
			}
			r.Header["Max-Forwards"] = []string{strconv.FormatInt(left-1, 10)}
		}
	}
	upgrade := ""
	if hasToken(r.Header, "Connection", "upgrade") {
		upgrade = r.Header.Get("Upgrade")
	}
	out := p.outgoing(w, r, upgrade)
	resp, err := p.own.RoundTrip(out)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		p.switchProtocols(w, r, resp, upgrade)
		return
	}
	p.reply(w, r, resp)
}

// outgoing returns the request as the origin gets it.
func (p *Proxy) outgoing(w http.ResponseWriter, r *http.Request, upgrade string) *http.Request {
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
			// The server itself asks for the body (100), and 101 is final.
			if status > 101 && r.ProtoAtLeast(1, 1) {
				h := w.Header()
				before := h.Clone()
				for name, values := range header {
					h[name] = values
				}
				stripHop(h)
				w.WriteHeader(status)
				clear(h)
				for name, values := range before {
					h[name] = values
				}
			}
			return nil
		},
	})
	out := r.Clone(ctx)
	out.RequestURI = ""
	out.Close = false
	stripHop(out.Header)
	delete(out.Header, "Expect") // our server does that with the client
	if upgrade != "" {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
	if r.ContentLength == 0 {
		out.Body = nil
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = nil // as it came: without one
	}
	out.Header["Via"] = append(slices.Clip(out.Header["Via"]), p.via(r.ProtoMajor, r.ProtoMinor))
	if p.Origin != nil {
		u := *p.Origin
		u.Path, u.RawPath = joinPath(p.Origin, r.URL)
		u.RawQuery, u.ForceQuery = r.URL.RawQuery, r.URL.ForceQuery
		out.URL = &u
		if !p.KeepHost {
			out.Host = u.Host
		}
		// What a client says of itself in these nobody can believe.
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		out.Header["X-Forwarded-For"] = []string{host}
		out.Header["X-Forwarded-Host"] = []string{r.Host}
		out.Header["X-Forwarded-Proto"] = []string{"http"}
		if r.TLS != nil {
			out.Header["X-Forwarded-Proto"] = []string{"https"}
		}
		delete(out.Header, "Forwarded")
	} else {
		out.Host = r.URL.Host // RFC 9112 section 3.2.2: whatever the field says
	}
	return out
}

// joinPath puts the origin's path before that of a request, as it was written.
func joinPath(origin, u *url.URL) (path, raw string) {
	if origin.Path == "" || origin.Path == "/" {
		return u.Path, u.RawPath
	}
	path = strings.TrimSuffix(origin.Path, "/") + u.Path
	raw = strings.TrimSuffix(origin.EscapedPath(), "/") + u.EscapedPath()
	return path, raw
}

func (p *Proxy) via(major, minor int) string { return fmt.Sprintf("%d.%d %s", major, minor, p.name) }

// loops reports whether the request has passed here before.
func (p *Proxy) loops(r *http.Request) bool {
	for _, line := range r.Header["Via"] {
		for item := range strings.SplitSeq(line, ",") {
			_, by, _ := strings.Cut(strings.Trim(item, " \t"), " ")
			if by, _, _ = strings.Cut(by, " "); by == p.name {
				return true
			}
		}
	}
	return false
}

// lastStop answers what must not go further.
func (p *Proxy) lastStop(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ErrorPage(w, r, http.StatusMethodNotAllowed, "TRACE ends here, unanswered: it would show what others added.")
}

// reply passes a response back.
func (p *Proxy) reply(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	header := w.Header()
	for name, values := range resp.Header {
		header[name] = values
	}
	stripHop(header)
	header["Via"] = append(slices.Clip(header["Via"]), p.via(resp.ProtoMajor, resp.ProtoMinor))
	for name := range resp.Trailer {
		header.Add("Trailer", name)
	}
	w.WriteHeader(resp.StatusCode)
	if err := copyBody(w, resp); err != nil {
		// The header is out. Only by breaking off can the client learn of it.
		p.log(r, err)
		panic(http.ErrAbortHandler)
	}
	for name, values := range resp.Trailer {
		header[name] = values
	}
}

// copyBody copies a body; what comes in pieces goes out in pieces.
func copyBody(w http.ResponseWriter, resp *http.Response) error {
	flusher := http.NewResponseController(w)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(*buf)
		if n > 0 {
			if _, err := w.Write((*buf)[:n]); err != nil {
				return err
			}
			if resp.ContentLength < 0 {
				if err := flusher.Flush(); err != nil {
					return err
				}
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

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// fail says that there is no response to pass back.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // nobody waits for it
	}
	p.log(r, err)
	status, detail := failure(err)
	ErrorPage(w, r, status, detail)
}

// failure says what a client is told about an error; not the error itself,
// which may name what is behind the proxy.
func failure(err error) (status int, detail string) {
	if _, ok := errors.AsType[*ProtocolError](err); ok {
		return http.StatusBadGateway, "The server's answer was not valid HTTP."
	}
	if errors.Is(err, ErrForbidden) {
		return http.StatusForbidden, "This proxy does not go to that address."
	}
	if errors.Is(err, ErrNoNode) {
		return http.StatusServiceUnavailable, "No server is well enough to answer. Try again in a moment."
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return http.StatusGatewayTimeout, "The server did not answer in time."
	}
	return http.StatusBadGateway, "The server cannot be reached, or broke off."
}

func (p *Proxy) log(r *http.Request, err error) {
	if p.Logger != nil {
		p.Logger.Warn("not passed on", "method", r.Method, "url", r.URL.Redacted(), "client", r.RemoteAddr, "err", err)
	}
}

// connect makes a tunnel ([RFC 9110 section 9.3.6]).
//
// [RFC 9110 section 9.3.6]: https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	number, badPort := strconv.ParseUint(port, 10, 16)
	switch {
	case p.Origin != nil:
		ErrorPage(w, r, http.StatusMethodNotAllowed, "This proxy makes no tunnels.")
		return
	case err != nil, badPort != nil, number == 0, host == "":
		ErrorPage(w, r, http.StatusBadRequest, "A tunnel needs a host and a port to lead to.")
		return
	case p.Tunnel == nil && number != 443, p.Tunnel != nil && !p.Tunnel(host, uint16(number)):
		ErrorPage(w, r, http.StatusForbidden, "This proxy makes no tunnel to there.")
		return
	}
	far, err := p.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	defer far.Close()
	p.tunnel(w, r, far, &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r})
}

// tunnel takes the client's connection over, sends the header of a response,
// and joins the connection to another one.
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request, far io.ReadWriteCloser, head *http.Response) {
	near, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.log(r, err)
		ErrorPage(w, r, http.StatusNotImplemented, "This connection cannot become a tunnel.")
		return
	}
	defer near.Close()
	if err := WriteResponse(rw.Writer, head); err != nil {
		return
	}
	if err := rw.Flush(); err != nil {
		return
	}
	p.join(near, far, rw.Reader)
}

// switchProtocols passes an upgrade back and joins the two connections.
func (p *Proxy) switchProtocols(w http.ResponseWriter, r *http.Request, resp *http.Response, asked string) {
	far, ok := resp.Body.(io.ReadWriteCloser)
	if got := resp.Header.Get("Upgrade"); !ok || asked == "" || !strings.EqualFold(got, asked) {
		p.fail(w, r, &ProtocolError{Status: http.StatusBadGateway, Reason: "the server switches to a protocol that nobody asked for"})
		return
	}
	header := resp.Header.Clone()
	stripHop(header)
	header["Connection"], header["Upgrade"] = []string{"Upgrade"}, resp.Header["Upgrade"]
	p.tunnel(w, r, far, &http.Response{StatusCode: resp.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: r})
}

// join copies both ways until both directions have ended, or nothing has come
// for a while.
func (p *Proxy) join(near, far io.ReadWriteCloser, buffered io.Reader) {
	idle := p.TunnelIdle
	if idle <= 0 {
		idle = 5 * time.Minute
	}
	watch := time.AfterFunc(idle, func() { near.Close(); far.Close() })
	defer watch.Stop()
	var wg sync.WaitGroup
	carry := func(dst io.Writer, src io.Reader) {
		buf := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(buf)
		for {
			n, err := src.Read(*buf)
			if n > 0 {
				watch.Reset(idle)
				if _, err := dst.Write((*buf)[:n]); err != nil {
					break
				}
				continue
			}
			if err == nil {
				continue
			}
			if half, ok := dst.(interface{ CloseWrite() error }); ok && err == io.EOF {
				_ = half.CloseWrite()
				return
			}
			break
		}
		near.Close()
		far.Close()
	}
	wg.Go(func() { carry(far, buffered) })
	wg.Go(func() { carry(near, far) })
	wg.Wait()
	near.Close()
	far.Close()
}
