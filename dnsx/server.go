package dnsx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// ErrServerClosed is returned by [Server.Serve] after Shutdown or Close.
var ErrServerClosed = errors.New("dnsx: server closed")

// A Server answers questions over UDP and TCP: from its zones with authority,
// and about all other names by asking a Resolver, if it has one. Its zero value
// refuses everything. Fields must not change while it serves; zones may, by [Server.SetZone].
type Server struct {
	Zones []*Zone // at the start

	// Resolver, often a [Cache], makes the server recursive: it is asked for
	// names outside of the zones when a client wants that (the RD bit) and may.
	Resolver Resolver

	// AllowRecursion says for which clients the Resolver works; nil means for those
	// on this machine. A resolver that is open to all lends itself to attacks on others [RFC 5358].
	//
	// [RFC 5358]: https://www.rfc-editor.org/rfc/rfc5358
	AllowRecursion func(client netip.Addr) bool

	// AllowTransfer says who may copy whole zones (AXFR); nil means nobody.
	AllowTransfer func(client netip.Addr) bool

	// AllowQuery is asked about every query; false drops it without an answer. It is the place
	// for a rate limit. nil means that all may ask.
	AllowQuery func(client netip.Addr) bool

	// Notified is told when somebody says that a zone has changed (NOTIFY, [RFC
	// 1996]); false refuses to listen. It must return soon. nil means that
	// nobody is listened to.
	//
	// [RFC 1996]: https://www.rfc-editor.org/rfc/rfc1996
	Notified func(client netip.Addr, zone string) bool

	// MaxUDPSize is the largest datagram that is sent, in octets; 0 means 1232,
	// which fits every path without fragments.
	MaxUDPSize int

	MaxConns    int           // TCP connections at a time; 0 means 256; more wait
	IdleTimeout time.Duration // of a TCP connection, to receive or send one message; 0 means ten seconds

	// MaxWaiting is how many questions may wait for the Resolver at a time; 0
	// means 1,000. Further ones get SERVFAIL at once.
	MaxWaiting int

	// QueryTimeout bounds the work of the Resolver for one question; 0 means
	// ten seconds.
	QueryTimeout time.Duration

	// Rewrite, if not nil, has the last word on each answer: it may change
	// it, send several, or none, and may wait. It is for tests of resolvers against
	// servers that misbehave. It runs in a goroutine of its own for each query;
	// answer is nil if there would be none.
	Rewrite func(ctx context.Context, q Exchange, query, answer []byte) [][]byte

	Trace  *ServerTrace // nil tells nobody
	Logger *slog.Logger // nil discards

	mu      sync.Mutex
	ready   bool
	closed  bool
	slots   chan struct{} // a token for each open connection
	waiting chan struct{} // a token for each question that waits
	serving map[*serving]struct{}
	conns   map[net.Conn]context.CancelFunc
	wg      sync.WaitGroup // calls of Serve, and connections

	zones atomic.Pointer[zoneTable]
	count counters
}

// A ServerTrace is told what a [Server] does. Its functions are called by many
// goroutines at a time.
type ServerTrace struct {
	Answered func(Exchange) // each query that could be read, before the answer is sent
}

// An Exchange is a query and how it was answered.
type Exchange struct {
	Client   netip.AddrPort // who asked
	Server   net.Addr       // the socket where the query came in
	Question Question       // as the client spelt it; zero if there was none
	Rcode    Rcode          // the four bits of the header
	Size     int            // of the answer, in octets; 0 when there is none
}

// ServerStats counts what a [Server] has done.
type ServerStats struct {
	UDP, TCP  uint64 // queries received
	Dropped   uint64 // queries that got no answer
	Truncated uint64 // answers that were too large for the client
	Forwarded uint64 // questions given to the Resolver
}

type counters struct {
	udp, tcp, dropped, truncated, forwarded atomic.Uint64
}

// Stats returns the counters.
func (s *Server) Stats() ServerStats {
	return ServerStats{
		s.count.udp.Load(), s.count.tcp.Load(), s.count.dropped.Load(), s.count.truncated.Load(), s.count.forwarded.Load(),
	}
}

// A zoneTable finds a zone by its name in wire form.
type zoneTable map[string]*Zone

// SetZone adds a zone, or replaces the one of the same name, while the server
// runs.
func (s *Server) SetZone(z *Zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	table := zoneTable{}
	for name, old := range *s.zones.Load() {
		table[name] = old
	}
	table[z.wire] = z
	s.zones.Store(&table)
}

// zone returns the zone that a name belongs to: the lowest of ours. DS records
// belong to the upper side of a cut.
func (t *zoneTable) zone(name []byte, qtype uint16) *Zone {
	var apex *Zone // a zone that is called exactly so
	for at := 0; ; at += 1 + int(name[at]) {
		z := (*t)[string(name[at:])]
		if z != nil && (qtype != dns.TypeDS || at > 0) {
			return z
		}
		apex = cmp.Or(apex, z)
		if name[at] == 0 {
			return apex
		}
	}
}

// Listen opens a UDP socket and a TCP listener with the same address and port,
// as [Server.Serve] wants them. Port 0 takes one that is free for both.
func Listen(ctx context.Context, address string) (net.PacketConn, net.Listener, error) {
	var lc net.ListenConfig
	for attempt := 0; ; attempt++ {
		ln, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, nil, err
		}
		pc, err := lc.ListenPacket(ctx, "udp", ln.Addr().String())
		if err == nil {
			return pc, ln, nil
		}
		ln.Close()
		if _, port, _ := net.SplitHostPort(address); port != "0" || attempt == 16 {
			return nil, nil, err
		}
	}
}

// A serving is one call of Serve.
type serving struct {
	pc      net.PacketConn     // or nil
	ln      net.Listener       // or nil
	cancel  context.CancelFunc // ends the questions that wait
	pending sync.WaitGroup     // answers under way to pc
}

// Serve answers queries that come in at pc and on connections to ln; either
// may be nil. It owns both. It returns [ErrServerClosed] after Shutdown or
// Close; the cause of ctx when that ends, which closes the server; or the error
// with which a socket failed. It may be called for several sockets at a time.
func (s *Server) Serve(ctx context.Context, pc net.PacketConn, ln net.Listener) error {
	unwatch := context.AfterFunc(ctx, func() { s.stop(true) })
	defer unwatch()
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	v := &serving{pc: pc, ln: ln, cancel: cancel}
	if !s.begin(v) {
		v.close()
		if ctx.Err() != nil {
			return context.Cause(ctx) // it may have closed the server just now
		}
		return ErrServerClosed
	}
	defer s.wg.Done()

	loops := 0
	ended := make(chan error)
	run := func(loop func() error) {
		loops++
		go func() { ended <- loop() }()
	}
	if pc != nil {
		for range readers(pc) {
			run(func() error { return s.servePackets(work, v) })
		}
	}
	if ln != nil {
		run(func() error { return s.accept(work, ln) })
	}
	var failure error
	for range loops {
		err := <-ended
		if failure == nil {
			failure = err
			v.drain() // one that fails ends the others
		}
	}
	v.pending.Wait()
	v.close()
	s.mu.Lock()
	delete(s.serving, v)
	closed := s.closed
	s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case closed:
		return ErrServerClosed
	default:
		return failure
	}
}

// drain ends the reading and leaves the socket open for answers.
func (v *serving) drain() {
	if v.pc != nil {
		_ = v.pc.SetReadDeadline(time.Now())
	}
	if v.ln != nil {
		v.ln.Close()
	}
}

func (v *serving) close() {
	if v.pc != nil {
		v.pc.Close()
	}
	if v.ln != nil {
		v.ln.Close()
	}
}

// prepare makes what the zero Server lacks; s.mu is held.
func (s *Server) prepare() {
	if s.ready {
		return
	}
	s.ready = true
	s.slots = make(chan struct{}, orDefault(s.MaxConns, 256))
	s.waiting = make(chan struct{}, orDefault(s.MaxWaiting, 1000))
	s.serving, s.conns = map[*serving]struct{}{}, map[net.Conn]context.CancelFunc{}
	table := zoneTable{}
	for _, z := range s.Zones {
		table[z.wire] = z
	}
	s.zones.Store(&table)
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

func (s *Server) begin(v *serving) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	if s.closed {
		return false
	}
	s.serving[v] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// maxQuery is what a query may have over UDP: a name, EDNS, and room to spare.
const maxQuery = 4096

// servePackets answers datagrams until the socket is closed.
func (s *Server) servePackets(ctx context.Context, v *serving) error {
	at := v.pc.LocalAddr()
	socket := newSocket(v.pc)
	in, out := make([]byte, maxQuery), make([]byte, 0, maxQuery)
	q := &request{}
	for failures := 0; ; {
		n, from, err := socket.read(in)
		if err != nil {
			// Some systems report here that an answer did not arrive (ICMP).
			if failures++; errors.Is(err, net.ErrClosed) || isTimeout(err) || failures > maxReadFailures {
				return fmt.Errorf("dnsx: reading at %v: %w", at, err)
			}
			continue
		}
		failures = 0
		s.count.udp.Add(1)
		q.from, q.stream = netip.AddrPortFrom(from.addr.Addr().Unmap(), from.addr.Port()), false
		wire := in[:n]
		answer, later := s.respond(out[:0], q, wire)
		if later || s.Rewrite != nil {
			s.deferAnswer(ctx, q, answer, later, at, &v.pending, func(msg []byte) error {
				return socket.write(msg, from)
			})
			continue
		}
		s.done(q, answer, at)
		if len(answer) > 0 {
			// A failure concerns this client only, who will ask again.
			_ = socket.write(answer, from)
		}
	}
}

const maxReadFailures = 1000 // in a row

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// Shutdown stops taking queries, lets those at hand be answered and waits for
// it. If ctx ends first it returns the cause; the caller may then Close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(false)
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close stops at once: sockets and connections are closed, questions that wait
// are dropped. It returns when all goroutines are gone.
func (s *Server) Close() error {
	s.stop(true)
	s.wg.Wait()
	return nil
}

// stop marks the server closed and ends the reading; with now, everything.
func (s *Server) stop(now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepare()
	s.closed = true
	for v := range s.serving {
		v.drain()
		if now {
			v.cancel()
			v.close()
		}
	}
	for conn, cancel := range s.conns {
		_ = conn.SetReadDeadline(time.Now()) // it waits for its next query in vain
		if now {
			cancel()
			conn.Close()
		}
	}
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}
