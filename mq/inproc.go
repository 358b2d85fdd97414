package mq

import (
	"fmt"
	"slices"
	"sync"
)

// An Inproc is a space of names for inproc:// endpoints. Its zero value is
// ready; sockets that shall meet in it have it in their [Config].
type Inproc struct {
	mu      sync.Mutex // taken before the locks of sockets
	bound   map[string]*Socket
	waiting map[string][]*pipe // connected, nobody has bound
	twins   map[*pipe]*pipe    // the other ends
}

func (r *Inproc) bind(s *Socket, endpoint string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bound[endpoint] != nil {
		return fmt.Errorf("mq: bind %s: somebody has that name", endpoint)
	}
	if r.bound == nil {
		r.bound, r.waiting, r.twins = map[string]*Socket{}, map[string][]*pipe{}, map[*pipe]*pipe{}
	}
	r.bound[endpoint] = s
	waiting := r.waiting[endpoint]
	delete(r.waiting, endpoint)
	for _, p := range waiting {
		r.join(p)
	}
	return nil
}

func (r *Inproc) unbind(s *Socket, endpoint string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bound[endpoint] == s {
		delete(r.bound, endpoint)
	}
}

func (r *Inproc) connect(s *Socket, endpoint string) (*pipe, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bound == nil {
		r.bound, r.waiting, r.twins = map[string]*Socket{}, map[string][]*pipe{}, map[*pipe]*pipe{}
	}
	p := s.newPipe(endpoint, true)
	p.to = newQueue(nil, nil, s.cfg.SendHWM, s.cfg.Conflate)
	s.mu.Lock()
	err := s.add(p)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r.join(p)
	return p, nil
}

// join connects p with the socket of that name, or lets it wait for one. r.mu is
// held.
func (r *Inproc) join(p *pipe) {
	b := r.bound[p.endpoint]
	if b == nil || !p.s.typ.talksTo(b.typ) || !r.link(p, b) {
		r.waiting[p.endpoint] = append(r.waiting[p.endpoint], p)
	}
}

func (r *Inproc) link(a *pipe, sb *Socket) bool {
	sa := a.s
	b := sb.newPipe(a.endpoint, false)
	q := a.to
	b.in, b.to = q, a.in

	// First, since what b sends is to begin with that name.
	sa.mu.Lock()
	evicted, err := sa.meet(a, peerInfo{typ: sb.typ, identity: sb.cfg.Identity, minor: 1}, "")
	sa.mu.Unlock()
	if err != nil {
		return false
	}
	r.evict(evicted)
	sb.mu.Lock()
	if err = sb.add(b); err == nil {
		evicted, err = sb.meet(b, peerInfo{typ: sa.typ, identity: sa.cfg.Identity, minor: 1}, "")
	}
	if b.connected = err == nil; !b.connected {
		b.in = newQueue(nil, nil, 0, false) // its own stays open for the next
		sb.remove(b)
	}
	sb.mu.Unlock()
	if err != nil {
		sa.mu.Lock()
		delete(sa.peers, a.key)
		a.key = ""
		sa.mu.Unlock()
		return false
	}
	r.evict(evicted)
	sa.mu.Lock()
	a.connected = true
	q.mu.Lock()
	q.box, q.from, q.limit = &sb.inbox, b, sum(sa.cfg.SendHWM, sb.cfg.RecvHWM)
	q.conflate = q.conflate || sb.cfg.Conflate
	q.list()
	q.mu.Unlock()
	a.in.mu.Lock()
	a.in.limit = sum(sb.cfg.SendHWM, sa.cfg.RecvHWM)
	a.in.conflate = a.in.conflate || sb.cfg.Conflate
	a.in.mu.Unlock()
	sa.room.wakeAll()
	sa.mu.Unlock()
	r.twins[a], r.twins[b] = b, a
	sa.resubscribe(b)
	sb.resubscribe(a)
	if f := sa.cfg.Trace.Connected; f != nil {
		f(a.peer)
	}
	if f := sb.cfg.Trace.Connected; f != nil {
		f(b.peer)
	}
	return true
}

func sum(a, b int) int {
	if a+b < a {
		return a
	}
	return a + b
}

// resubscribe tells the publisher at the other end what s wants.
func (s *Socket) resubscribe(publisher *pipe) {
	if s.typ != SUB && s.typ != XSUB {
		return
	}
	s.subscribing.Lock()
	defer s.subscribing.Unlock()
	var all []string
	s.mu.Lock()
	s.topics.each(func(topic string) { all = append(all, topic) })
	s.mu.Unlock()
	for _, topic := range all {
		_ = publisher.subscription(true, []byte(topic))
	}
}

// leave takes everything of a closed socket out of the space.
func (r *Inproc) leave(s *Socket) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, b := range r.bound {
		if b == s {
			delete(r.bound, name)
		}
	}
	s.mu.Lock()
	pipes := slices.Clone(s.pipes)
	s.mu.Unlock()
	for _, p := range pipes {
		if p.to != nil {
			r.part(p, true)
		}
	}
}

// disconnect ends one pipe.
func (r *Inproc) disconnect(p *pipe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.part(p, true)
}

// evict ends the pipe of a peer whose name another has taken over. Within the
// process it does not come again by itself: two would evict each other for
// ever. r.mu is held.
func (r *Inproc) evict(p *pipe) {
	switch {
	case p == nil:
	case p.to != nil:
		r.part(p, false)
	default:
		p.hangUp()
	}
}

// part removes p from its socket. If the other end had connected, it waits for
// the next to bind the name, or with again for whoever has it. r.mu is held.
func (r *Inproc) part(p *pipe, again bool) {
	p.s.mu.Lock()
	p.s.remove(p)
	p.s.mu.Unlock()
	r.waiting[p.endpoint] = slices.DeleteFunc(r.waiting[p.endpoint], func(w *pipe) bool { return w == p })
	if len(r.waiting[p.endpoint]) == 0 {
		delete(r.waiting, p.endpoint)
	}
	twin := r.twins[p]
	delete(r.twins, p)
	if twin == nil {
		return
	}
	delete(r.twins, twin)
	if f := p.s.cfg.Trace.Disconnected; f != nil {
		f(p.peer, nil)
	}
	s := twin.s
	s.mu.Lock()
	peer := twin.peer
	if twin.keep && !s.closed {
		s.forgetTopics(twin)
		twin.connected = false
		old := twin.to
		old.mu.Lock()
		old.closed = true
		twin.to, twin.room = newQueue(nil, nil, s.cfg.SendHWM, s.cfg.Conflate), 0
		for _, m := range old.in {
			twin.to.in = append(twin.to.in, m[len(old.prefix):])
		}
		old.in = nil
		old.mu.Unlock()
		s.room.wakeAll()
	} else {
		s.remove(twin)
	}
	gone := twin.gone
	s.mu.Unlock()
	if f := s.cfg.Trace.Disconnected; f != nil {
		f(peer, nil)
	}
	switch {
	case gone:
	case again:
		r.join(twin)
	default:
		r.waiting[twin.endpoint] = append(r.waiting[twin.endpoint], twin)
	}
}
