package udprel

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// An Endpoint is a UDP socket on which connections are made, dialled and
// accepted. [Dial] and [Listen] make one of their own; with an Endpoint the
// socket is the caller's choice, and one socket serves both.
type Endpoint struct {
	cfg   *Config
	pc    net.PacketConn
	sock  socket
	start time.Time
	gate  gate
	done  chan struct{} // closed when the receiving goroutine is gone

	buffers sync.Pool // of *[]byte, for packets on their way to the socket

	mu       sync.Mutex
	conns    map[uint64]*Conn     // by our id
	tokens   map[resetToken]*Conn // by the peer's token
	greeted  map[greetingKey]*Conn
	listener *Listener
	closing  bool // no new connections
	closed   bool // the socket is
	auto     bool // close with the last connection and the listener
	open     int  // connections that are not over, or not closed by the program
	idle     sync.Cond
}

// A greetingKey recognizes a hello that comes twice.
type greetingKey struct {
	addr netip.AddrPort
	id   uint64
}

// NewEndpoint returns an endpoint on pc, which it owns from now on. The
// addresses of pc must be of type *net.UDPAddr. A nil cfg means the defaults.
func NewEndpoint(pc net.PacketConn, cfg *Config) *Endpoint {
	e := &Endpoint{
		cfg: cfg.withDefaults(), pc: pc, sock: newSocket(pc), start: time.Now(), gate: newGate(),
		done:    make(chan struct{}),
		conns:   make(map[uint64]*Conn),
		tokens:  make(map[resetToken]*Conn),
		greeted: make(map[greetingKey]*Conn),
	}
	e.idle.L = &e.mu
	e.buffers.New = func() any {
		b := make([]byte, maxBatch+maxDatagram)
		return &b
	}
	go e.receive()
	return e
}

// Dial connects to address, a host and a port, from a new socket. The network
// is "udp", "udp4" or "udp6". A nil cfg means the defaults. Dial fails with
// the cause of ctx when that ends, or with [ErrHandshake] when nobody answers.
func Dial(ctx context.Context, network, address string, cfg *Config) (*Conn, error) {
	addr, err := resolve(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if network == "udp" && addr.Addr().Is4() {
		network = "udp4" // not every system lets a socket for both reach IPv4
	}
	pc, err := net.ListenPacket(network, ":0")
	if err != nil {
		return nil, err
	}
	e := NewEndpoint(pc, cfg)
	c, err := e.Dial(ctx, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		e.Close()
		return nil, err
	}
	e.closeWithConns()
	return c, nil
}

// resolve finds the address of a UDP host and port.
func resolve(ctx context.Context, network, address string) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ipNetwork := map[string]string{"udp": "ip", "udp4": "ip4", "udp6": "ip6"}[network]
	if ipNetwork == "" {
		return netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" {
		host = "localhost"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, ipNetwork, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, ip := range ips {
		if ip.Unmap().Is4() { // the family that is reachable more often
			return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
		}
	}
	return netip.AddrPortFrom(ips[0], uint16(port)), nil
}

// Listen accepts connections on a new socket. The network is "udp", "udp4" or
// "udp6". A nil cfg means the defaults. The socket is closed when the listener
// and all its connections are.
func Listen(network, address string, cfg *Config) (*Listener, error) {
	pc, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	e := NewEndpoint(pc, cfg)
	l, err := e.Listen()
	e.closeWithConns()
	return l, err
}

// Addr returns the address of the socket.
func (e *Endpoint) Addr() net.Addr { return e.pc.LocalAddr() }

// Dial connects to addr, a *net.UDPAddr. See the function [Dial].
func (e *Endpoint) Dial(ctx context.Context, addr net.Addr) (*Conn, error) {
	fail := func(err error) (*Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "udp", Source: e.Addr(), Addr: addr, Err: err}
	}
	to, err := addrPort(addr)
	if err != nil {
		return fail(err)
	}
	if ctx.Err() != nil {
		return fail(context.Cause(ctx))
	}
	m := newMachine(e.cfg, true, to, e.now(), seed())
	m.token = e.gate.token(m.local)
	c, err := e.add(m)
	if err != nil {
		return fail(err)
	}
	c.start()
	if err := c.established(ctx); err != nil {
		c.Abort()
		return fail(err)
	}
	return c, nil
}

// Listen makes the endpoint accept connections. It fails if the endpoint has a
// listener already.
func (e *Endpoint) Listen() (*Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing || e.closed {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: e.Addr(), Err: net.ErrClosed}
	}
	if e.listener != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: e.Addr(), Err: errors.New("udprel: there is a listener already")}
	}
	l := &Listener{e: e}
	l.cond.L = &l.mu
	e.listener = l
	return l, nil
}

// Close aborts all connections, closes the listener and the socket, and waits
// until all goroutines are gone.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	l := e.listener
	var conns []*Conn
	for _, c := range e.conns {
		conns = append(conns, c)
	}
	e.auto, e.closing = false, true
	e.mu.Unlock()
	if l != nil {
		l.Close()
	}
	for _, c := range conns {
		c.Abort()
	}
	e.mu.Lock()
	for len(e.conns) > 0 {
		e.idle.Wait()
	}
	e.mu.Unlock()
	return e.shut()
}

// shut closes the socket and waits for the goroutine that reads it.
func (e *Endpoint) shut() error {
	e.mu.Lock()
	was := e.closed
	e.closed = true
	e.mu.Unlock()
	if was {
		<-e.done
		return nil
	}
	err := e.pc.Close()
	<-e.done
	if errors.Is(err, net.ErrClosed) { // somebody else has closed it
		return nil
	}
	return err
}

// closeWithConns makes the endpoint go when nobody uses it any more.
func (e *Endpoint) closeWithConns() {
	e.mu.Lock()
	e.auto = true
	e.mu.Unlock()
}

// shutIfUnused shuts an endpoint of Dial or Listen that has done its work.
func (e *Endpoint) shutIfUnused() error {
	e.mu.Lock()
	unused := e.auto && e.open == 0 && e.listener == nil
	e.mu.Unlock()
	if unused {
		return e.shut()
	}
	return nil
}

func (e *Endpoint) now() time.Duration { return time.Since(e.start) }

func seed() (b [32]byte) {
	rand.Read(b[:])
	return b
}

// add makes a connection of a machine.
func (e *Endpoint) add(m *machine) (*Conn, error) {
	c := newConn(e, m)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing || e.closed {
		return nil, net.ErrClosed
	}
	for e.conns[m.local] != nil || m.local == 0 {
		m.local = m.rng.Uint64()
	}
	e.conns[m.local] = c
	e.open++
	return c, nil
}

// remove forgets a connection that is over.
func (e *Endpoint) remove(c *Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c.m.local)
	if e.tokens[c.m.peerToken] == c {
		delete(e.tokens, c.m.peerToken)
	}
	if k := c.greeting; e.greeted[k] == c {
		delete(e.greeted, k)
	}
	e.idle.Broadcast()
}

// release counts off a connection that is over and closed by the program.
func (e *Endpoint) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open--
}

// know notes the token by which the peer of c may say that it has lost it.
func (e *Endpoint) know(c *Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tokens[c.m.peerToken] = c
}

// receive reads the socket until it is closed.
func (e *Endpoint) receive() {
	defer close(e.done)
	buf := make([]byte, 1<<16)
	for failures := 0; ; {
		n, size, from, err := e.sock.receive(buf)
		if err != nil {
			// Systems report here that an earlier packet was refused.
			if failures++; errors.Is(err, net.ErrClosed) || failures > 100 {
				e.fail(err)
				return
			}
			continue
		}
		failures = 0
		now := e.now()
		var last *Conn
		for b := buf[:n]; len(b) > 0; { // an empty datagram is dropped here
			k := min(size, len(b))
			c := e.dispatch(now, b[:k], from)
			if last != nil && c != last {
				last.flush(now)
			}
			last, b = c, b[k:]
		}
		if last != nil {
			last.flush(now)
		}
	}
}

// fail ends all connections when the socket cannot be read any more.
func (e *Endpoint) fail(err error) {
	e.mu.Lock()
	e.closing = true
	l := e.listener
	var conns []*Conn
	for _, c := range e.conns {
		conns = append(conns, c)
	}
	e.mu.Unlock()
	if l != nil {
		l.fail(err)
	}
	for _, c := range conns {
		c.fail(err)
	}
}

// dispatch hands a datagram to the connection that it is for, which must be
// flushed then.
func (e *Endpoint) dispatch(now time.Duration, b []byte, from netip.AddrPort) *Conn {
	h, body, err := parseHeader(b)
	if err != nil {
		return nil
	}
	if h.kind == typeHello {
		return e.hello(now, h, body, from, len(b))
	}
	e.mu.Lock()
	c := e.conns[h.connID]
	if h.kind == typeReset { // the token counts, not the id
		c = nil
		if len(body) == len(resetToken{}) {
			c = e.tokens[resetToken(body)]
		}
	}
	e.mu.Unlock()
	switch {
	case c == nil:
		if h.kind == typeData && len(b) > resetSize {
			e.sock.send(e.gate.appendReset(nil, h.connID), resetSize, from)
		}
	case h.kind == typeReset:
		c.reset()
	default:
		c.receive(now, h, body, from, len(b))
	}
	return c
}

// hello answers a stranger.
func (e *Endpoint) hello(now time.Duration, h header, body []byte, from netip.AddrPort, size int) *Conn {
	g, _, err := parseGreeting(body)
	e.mu.Lock()
	l := e.listener
	e.mu.Unlock()
	if err != nil || l == nil {
		return nil
	}
	if !e.gate.valid(g.cookie, now, from, g.id) {
		if answer := e.gate.appendCookie(nil, now, from, g.id); len(answer) <= amplification*size {
			e.sock.send(answer, len(answer), from)
		}
		return nil
	}
	key := greetingKey{from, g.id}
	e.mu.Lock()
	c := e.greeted[key]
	e.mu.Unlock()
	if c != nil {
		c.receive(now, h, body, from, size)
		return c
	}
	if !l.admit() {
		return nil // the client will ask again
	}
	m := accept(e.cfg, &e.gate, from, h, g, size, now, seed())
	c, err = e.add(m)
	if err != nil {
		l.drop()
		return nil
	}
	c.greeting = key
	e.mu.Lock()
	e.greeted[key] = c
	e.mu.Unlock()
	c.mu.Lock() // Close may know of it already
	c.listener = l
	c.mu.Unlock()
	c.start()
	c.receive(now, h, body, from, size)
	return c
}
