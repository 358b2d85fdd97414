package simnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of a relay; doc.go states them.
const (
	defaultFlows  = 256
	defaultIdle   = 5 * time.Minute
	maxParcels    = 64 << 20 // bytes on the way in one direction
	maxParcel     = 65535    // of a datagram
	relayDial     = 10 * time.Second
	relayPause    = 10 * time.Millisecond // after an error that may pass
	relayPatience = 60 * time.Second      // of repeated losses, before a TCP connection is
)

// A RelayConfig is what a relay can be told. A nil *RelayConfig and the zero
// value mean perfect links and the limits below.
type RelayConfig struct {
	Up   Link   // from the client to the target; shared by all clients
	Down Link   // from the target to the client
	Seed uint64 // of the dice of both links
	// MaxFlows is how many clients (UDP) or connections (TCP) there may be at
	// a time; datagrams of others are dropped, connections of others reset.
	// Zero means 256.
	MaxFlows int
	// IdleTimeout is for how long a flow without traffic is kept. Zero means
	// five minutes.
	IdleTimeout time.Duration
}

// A Relay stands between real sockets: clients send to it instead of to the
// target, and it passes on what they send, and the answers, as two links would.
// It makes the loopback interface of one machine into a bad network without
// the rights to change the system. Its methods may be called by several
// goroutines at a time.
//
// It runs on real time with the timers of the Go runtime and the operating
// system, which are late by up to a millisecond or so. For exact times use a
// [Network]. Do not let it listen where strangers reach it: it passes on
// everything, to a target that takes it for a local client.
type Relay struct {
	target   string
	maxFlows int
	idle     time.Duration
	start    time.Time
	ctx      context.Context // of the goroutines, until Close
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	pc *net.UDPConn     // of a relay for UDP
	ln *net.TCPListener // of one for TCP

	mu       sync.Mutex
	up, down lane
	changed  chan struct{} // closed when the links change
	closed   bool
	clients  map[netip.AddrPort]*udpFlow
	conns    map[*tcpFlow]struct{}
}

// A lane is one direction of a relay.
type lane struct {
	model *Model
	queue agenda[parcel] // of datagrams
	bytes int            // in queue
	wake  chan struct{}  // the first of queue has changed
}

// newRelay fills in the defaults; the caller adds the socket.
func newRelay(target string, config *RelayConfig) *Relay {
	var c RelayConfig
	if config != nil {
		c = *config
	}
	r := &Relay{
		target: target, maxFlows: c.MaxFlows, idle: c.IdleTimeout, start: time.Now(),
		up:      lane{model: NewModel(c.Up, c.Seed, 1), wake: make(chan struct{}, 1)},
		down:    lane{model: NewModel(c.Down, c.Seed, 2), wake: make(chan struct{}, 1)},
		changed: make(chan struct{}),
		clients: make(map[netip.AddrPort]*udpFlow), conns: make(map[*tcpFlow]struct{}),
	}
	if r.maxFlows <= 0 {
		r.maxFlows = defaultFlows
	}
	if r.idle <= 0 {
		r.idle = defaultIdle
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Addr returns the address at which the relay listens.
func (r *Relay) Addr() net.Addr {
	if r.pc != nil {
		return r.pc.LocalAddr()
	}
	return r.ln.Addr()
}

// SetLinks changes both links from now on.
func (r *Relay) SetLinks(up, down Link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up.model.SetLink(up)
	r.down.model.SetLink(down)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Stats returns the counters of the two links. A relay for TCP cannot see the
// packets of the system: it counts the segments of up to 1,500 bytes that carry
// data, and the two that open a connection.
func (r *Relay) Stats() (up, down Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up.model.Stats(), r.down.model.Stats()
}

// Flows returns the number of clients (UDP) or connections (TCP) at present.
func (r *Relay) Flows() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.clients) + len(r.conns)
}

// Rebind does what a NAT does that forgets its flows: from now on the target
// sees every UDP client at a new port, and what it sends to the old one
// vanishes. TCP connections are reset, since they cannot move.
func (r *Relay) Rebind() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("simnet: relay to %s: %w", r.target, net.ErrClosed)
	}
	for f := range r.conns {
		f.abort()
	}
	var errs []error
	for _, f := range r.clients {
		errs = append(errs, r.connect(f))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("simnet: relay to %s: %w", r.target, err)
	}
	return nil
}

// Close stops the relay: its sockets are closed, TCP connections reset, and
// what is on its way is lost. It returns when its goroutines have ended. It is
// idempotent and returns nil.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	r.cancel()
	if r.pc != nil {
		r.pc.Close()
	}
	if r.ln != nil {
		r.ln.Close()
	}
	for _, f := range r.clients {
		f.conn.Close()
	}
	for f := range r.conns {
		f.abort()
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

func (r *Relay) now() time.Duration { return time.Since(r.start) }

// sleep waits until at on the relay's clock and reports whether ctx is still
// alive then.
func (r *Relay) sleep(ctx context.Context, at time.Duration) bool {
	wait := at - r.now()
	if wait <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
