package mq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// A Socket sends and receives messages, over any number of connections that it
// makes, keeps and restores by itself. Its methods may be called from many
// goroutines at once. Make one with [NewSocket].
type Socket struct {
	typ   Type
	cfg   Config
	inbox inbox

	subscribing sync.Mutex // held over Subscribe, so that its parts keep their order

	mu        sync.Mutex
	closed    bool
	pipes     []*pipe
	turn      int // whose turn it is to be sent to
	room      waiters
	mem       slab
	endpoints map[string][]*site    // connected and bound
	young     map[net.Conn]struct{} // accepted, handshake not done
	accepted  int
	wg        sync.WaitGroup
	sent      uint64 // to pipes that are gone
	lost      uint64 // likewise, dropped

	topics  topics  // PUB, XPUB: of the peers; SUB, XSUB: our own
	round   uint64  // PUB, XPUB: which message
	scratch backlog // the message being published

	takes    bool             // REQ, REP: a Recv is under way
	waits    bool             // REQ: for the answer; REP: the peer does
	partner  *pipe            // REQ, REP: that peer
	stale    uint64           // REQ: how many messages it had sent before we asked
	envelope [][]byte         // REP: the way back
	peers    map[string]*pipe // ROUTER
	names    uint32           // ROUTER: the last it made up
}

// NewSocket returns a socket of type t. cfg may be nil; it is read now.
func NewSocket(t Type, cfg *Config) (*Socket, error) {
	if t < PAIR || t > XSUB {
		return nil, fmt.Errorf("mq: %v is no socket type", t)
	}
	s := &Socket{
		typ: t, cfg: cfg.withDefaults(), names: rand.Uint32(),
		endpoints: map[string][]*site{}, young: map[net.Conn]struct{}{}, peers: map[string]*pipe{},
	}
	s.cfg.Conflate = s.cfg.Conflate && slices.Contains([]Type{PUB, SUB, PUSH, PULL, DEALER}, t)
	s.cfg.Identity = slices.Clone(s.cfg.Identity)
	if id := s.cfg.Identity; len(id) > 255 || len(id) > 0 && id[0] == 0 {
		return nil, fmt.Errorf("mq: identity %q: want 1 to 255 bytes that do not begin with zero", id)
	}
	if err := checkMechanism(s.cfg.Security); err != nil {
		return nil, err
	}
	return s, nil
}

// Type returns the socket's type.
func (s *Socket) Type() Type { return s.typ }

func (s *Socket) errClosed(op string) error {
	return fmt.Errorf("mq: %s on %s: %w", op, s.typ, net.ErrClosed)
}

// Send sends one message, given frame by frame; the caller may use their memory
// again when it returns. Where the type and the queues demand it, Send waits;
// if ctx has ended, it only does what goes without waiting.
func (s *Socket) Send(ctx context.Context, frames ...[]byte) error {
	if len(frames) == 0 {
		return errors.New("mq: a message has at least one frame")
	}
	if s.typ == XSUB && len(frames) == 1 && len(frames[0]) > 0 && frames[0][0] <= 1 {
		return s.subscribe(string(frames[0][1:]), frames[0][0] == 1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return s.errClosed("send")
		}
		if done, err := s.route(frames); err != nil {
			return err
		} else if done {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("mq: send on %s: %w", s.typ, context.Cause(ctx))
		}
		ch := s.room.add()
		s.mu.Unlock()
		s.room.block(ctx, &s.mu, ch)
	}
}

// Recv returns the next message, and waits for it; if ctx has ended, it returns
// only what is there already. That a peer comes or goes is never an error here.
// On REQ and REP one goroutine receives at a time, as turns have it.
func (s *Socket) Recv(ctx context.Context) (Msg, error) {
	if err := s.mayReceive(); err != nil {
		return nil, err
	}
	if s.typ == REQ || s.typ == REP {
		defer s.hasReceived()
	}
	for {
		a, ok := s.inbox.recv(ctx)
		if !ok {
			return nil, s.errClosed("receive")
		}
		if a.msg == nil {
			return nil, fmt.Errorf("mq: receive on %s: %w", s.typ, context.Cause(ctx))
		}
		if m := s.accept(a); m != nil {
			return m, nil
		}
	}
}

// Messages returns the messages as they come. The sequence ends with the first
// error, which it yields, or without one after Close.
func (s *Socket) Messages(ctx context.Context) iter.Seq2[Msg, error] {
	return func(yield func(Msg, error) bool) {
		for {
			m, err := s.Recv(ctx)
			if errors.Is(err, net.ErrClosed) || !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// add makes p one of the socket's pipes. s.mu is held.
func (s *Socket) add(p *pipe) error {
	if s.closed {
		return s.errClosed("connect")
	}
	if s.typ == PAIR && len(s.pipes) > 0 {
		return errors.New("mq: a PAIR has one peer, and this one has it")
	}
	s.pipes = append(s.pipes, p)
	s.room.wakeAll()
	return nil
}

// meet tells p who its peer is. It may evict another peer, whose name this one
// has; that connection is for the caller to end. s.mu is held.
func (s *Socket) meet(p *pipe, info peerInfo, remote string) (evicted *pipe, err error) {
	p.minor = info.minor
	p.peer = Peer{Endpoint: p.endpoint, Remote: remote, Type: info.typ, Identity: info.identity, User: info.user}
	if s.typ != ROUTER {
		return nil, nil
	}
	key := string(info.identity)
	switch {
	case key != "":
	case p.key != "" && p.key[0] == 0: // the name that we gave it before
		key = p.key
	default:
		s.names++
		key = string([]byte{0, byte(s.names >> 24), byte(s.names >> 16), byte(s.names >> 8), byte(s.names)})
	}
	if old := s.peers[key]; old != nil && old != p {
		if !s.cfg.Handover {
			return nil, fmt.Errorf("mq: another peer has the identity %q", key)
		}
		evicted, old.key = old, ""
	}
	if p.key != key {
		delete(s.peers, p.key)
	}
	p.key = key
	p.peer.Identity = []byte(key)
	s.peers[key] = p
	p.in.setPrefix(key)
	s.room.wakeAll()
	return evicted, nil
}

// remove takes p out of the socket for good. s.mu is held.
func (s *Socket) remove(p *pipe) {
	if p.gone {
		return
	}
	s.forgetTopics(p)
	if p.key != "" && s.peers[p.key] == p {
		delete(s.peers, p.key)
	}
	if i := slices.Index(s.pipes, p); i >= 0 {
		s.pipes = slices.Delete(s.pipes, i, i+1)
		if s.turn > i {
			s.turn--
		}
	}
	s.drop(p, p.queued)
	s.sent += p.sent
	s.lost += p.dropped
	p.out.clear()
	p.queued = 0
	p.in.close()
	p.gone, p.connected = true, false
	s.room.wakeAll()
}

// drop counts n messages to p as lost. s.mu is held.
func (s *Socket) drop(p *pipe, n int) {
	if n == 0 {
		return
	}
	if p.dropped += uint64(n); p.gone {
		s.lost += uint64(n)
	}
	if f := s.cfg.Trace.Dropped; f != nil {
		f(p.peer, n)
	}
}

// Stats returns the counts so far.
func (s *Socket) Stats() Stats {
	s.inbox.take.Lock()
	defer s.inbox.take.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Sent: s.sent, Received: s.inbox.got, Dropped: s.lost}
	for _, p := range s.pipes {
		ps := PeerStats{Peer: p.peer, Connected: p.connected, Sent: p.sent, Received: p.in.got, Dropped: p.dropped, Queued: p.queued}
		p.in.mu.Lock()
		ps.Waiting = len(p.in.in) + len(p.in.out) - p.in.next
		p.in.mu.Unlock()
		if p.to != nil {
			p.to.mu.Lock()
			ps.Queued = len(p.to.in)
			p.to.mu.Unlock()
		}
		st.Sent += ps.Sent
		st.Dropped += ps.Dropped
		st.Peers = append(st.Peers, ps)
	}
	return st
}

// Close ends the socket: nothing more is sent or received, and listening ends.
// It waits for at most [Config.Linger] until the messages sent before have left
// for their peers, and for the socket's goroutines.
func (s *Socket) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.room.wakeAll()
	for nc := range s.young {
		nc.Close()
	}
	for _, list := range s.endpoints {
		for _, e := range list {
			if e.pipe == nil || e.pipe.queued == 0 && e.pipe.link == nil {
				e.stop()
			}
		}
	}
	for _, p := range s.pipes {
		p.in.close()
		p.flush() // the writer ends when it has sent all
	}
	s.mu.Unlock()
	s.inbox.close()
	if first {
		s.cfg.Inproc.leave(s)
	}

	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	linger := time.NewTimer(max(0, s.cfg.Linger))
	defer linger.Stop()
	select {
	case <-done:
		return nil
	case <-linger.C:
	}
	s.mu.Lock()
	for _, list := range s.endpoints {
		for _, e := range list {
			e.stop()
		}
	}
	left := slices.Clone(s.pipes)
	s.mu.Unlock()
	for _, p := range left {
		p.hangUp()
	}
	<-done
	return nil
}
