package mq

import "fmt"

// empty is the frame between the way back and the request.
var empty = [][]byte{{}}

// route does with a message what the socket's type says. It reports false if it
// has to wait for room, or for a peer. s.mu is held.
func (s *Socket) route(frames [][]byte) (done bool, err error) {
	switch s.typ {
	case PUSH, DEALER, PAIR:
		p := s.rotate(nil, frames)
		if p != nil {
			p.flush()
		}
		return p != nil, nil
	case PUB, XPUB, XSUB:
		s.publish(frames)
		return true, nil
	case REQ:
		if s.waits {
			return false, fmt.Errorf("%w: REQ waits for its answer", ErrState)
		}
		p := s.rotate(empty, frames)
		if p != nil {
			s.waits, s.partner = true, p
			p.writeNow()
		}
		return p != nil, nil
	case REP:
		if !s.waits {
			return false, fmt.Errorf("%w: REP has no request to answer", ErrState)
		}
		p, head := s.partner, s.envelope
		s.waits, s.partner, s.envelope = false, nil, nil
		if !p.gone && p.offer(head, frames) {
			p.writeNow()
		} else {
			s.drop(p, 1)
		}
		return true, nil
	case ROUTER:
		return s.address(frames)
	}
	return false, fmt.Errorf("%w: %s cannot send", ErrType, s.typ)
}

// rotate offers a message to one peer after the other.
func (s *Socket) rotate(head, frames [][]byte) *pipe {
	for range s.pipes {
		if s.turn >= len(s.pipes) {
			s.turn = 0
		}
		p := s.pipes[s.turn]
		s.turn++
		if s.typ == REQ {
			s.stale = p.in.count() // what it has sent before is no answer
		}
		if p.offer(head, frames) {
			return p
		}
	}
	return nil
}

// address sends to the peer that the first frame names.
func (s *Socket) address(frames [][]byte) (done bool, err error) {
	if len(frames) < 2 {
		return false, fmt.Errorf("mq: ROUTER sends an identity and at least one frame")
	}
	p := s.peers[string(frames[0])]
	switch {
	case p == nil && s.cfg.Mandatory:
		return false, fmt.Errorf("%w: %q", ErrUnroutable, frames[0])
	case p == nil:
		s.lost++
	case p.offer(nil, frames[1:]):
		p.flush()
	case s.cfg.Mandatory:
		return false, nil
	default:
		s.drop(p, 1)
	}
	return true, nil
}

// mayReceive reports whether Recv makes sense.
func (s *Socket) mayReceive() error {
	switch s.typ {
	case PUSH, PUB:
		return fmt.Errorf("%w: %s cannot receive", ErrType, s.typ)
	case REQ, REP:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return s.errClosed("receive")
		}
		if s.typ == REQ && !s.waits {
			return fmt.Errorf("%w: REQ has not asked", ErrState)
		}
		if s.typ == REP && s.waits {
			return fmt.Errorf("%w: REP has a request to answer", ErrState)
		}
		if s.takes {
			return fmt.Errorf("%w: another Recv of this %s is waiting", ErrState, s.typ)
		}
		s.takes = true
	}
	return nil
}

// hasReceived ends what mayReceive has begun.
func (s *Socket) hasReceived() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = false
}

// accept returns what the program is to see of a message, nil if nothing.
func (s *Socket) accept(a arrival) Msg {
	m := a.msg
	switch s.typ {
	case SUB:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.topics.has(m[0]) {
			return nil // on its way when we unsubscribed
		}
	case REQ:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.waits || a.from != s.partner || a.nth <= s.stale || len(m) < 2 || len(m[0]) > 0 {
			return nil
		}
		s.waits, s.partner = false, nil
		return m[1:]
	case REP:
		for i, f := range m[:len(m)-1] {
			if len(f) == 0 {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.waits, s.partner, s.envelope = true, a.from, m[:i+1]
				return m[i+1:]
			}
		}
		return nil
	}
	return m
}
