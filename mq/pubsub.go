package mq

import (
	"fmt"
	"slices"
)

// subscriptions takes the messages out of batch that are subscriptions in the
// form of ZMTP 3.0: a byte 1 or 0, and the topic.
func (p *pipe) subscriptions(batch []Msg) (rest []Msg, err error) {
	for _, m := range batch {
		switch first := m[0]; {
		case len(m) == 1 && len(first) > 0 && first[0] <= 1:
			if err := p.subscription(first[0] == 1, first[1:]); err != nil {
				return nil, err
			}
		case p.s.typ == XPUB:
			rest = append(rest, m)
		}
	}
	return rest, nil
}

// subscription notes that the peer wants a topic, or wants it no longer. An XPUB
// receives this as a message, if it is the first to want it or the last not to.
func (p *pipe) subscription(wanted bool, topic []byte) error {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	change, err := s.setTopic(p, wanted, string(topic))
	if change && !p.report(wanted, string(topic)) {
		err = &ProtocolError{Where: "subscription", What: "more changes than the program reads"}
	}
	return err
}

// report lets the program behind an XPUB receive a subscription, as a message.
// These have a limit of their own, since the program need not care for them and
// the peer has more to say.
func (p *pipe) report(wanted bool, topic string) bool {
	if p.s.typ != XPUB {
		return true
	}
	b := make([]byte, 1, 1+len(topic))
	limit := sum(p.s.cfg.RecvHWM, p.s.cfg.MaxSubscriptions)
	if wanted {
		b[0] = 1
	} else {
		limit = sum(limit, p.s.cfg.MaxSubscriptions) // room to take all back
	}
	return p.in.note(Msg{append(b, topic...)}, limit)
}

// setTopic changes the tree and reports whether the topic is new in it, or is no
// longer there. s.mu is held.
func (s *Socket) setTopic(p *pipe, wanted bool, topic string) (change bool, err error) {
	// A set, without counts: libzmq's subscribers send every SUBSCRIBE, but a
	// CANCEL only for the last of equal ones, although RFC 37 has one for each.
	if _, had := p.topics[topic]; had == wanted || p.gone {
		return false, nil
	}
	if !wanted {
		delete(p.topics, topic)
		p.topicLen -= len(topic)
		return s.dropTopic(p, topic), nil
	}
	if limit := s.cfg.MaxSubscriptions; len(p.topics) >= limit || (p.topicLen+len(topic))/64 > limit {
		return false, &ProtocolError{Where: "subscription", What: fmt.Sprintf("more than %d", limit)}
	}
	if p.topics == nil {
		p.topics = map[string]struct{}{}
	}
	p.topics[topic] = struct{}{}
	p.topicLen += len(topic)
	n := s.topics.find(topic, true)
	n.pipes = append(n.pipes, p)
	return len(n.pipes) == 1, nil
}

func (s *Socket) dropTopic(p *pipe, topic string) (last bool) {
	n := s.topics.find(topic, false)
	i := slices.Index(n.pipes, p)
	n.pipes = slices.Delete(n.pipes, i, i+1)
	if len(n.pipes) > 0 {
		return false
	}
	s.topics.prune(topic)
	return true
}

// forgetTopics takes back all subscriptions of a peer that has gone. s.mu is held.
func (s *Socket) forgetTopics(p *pipe) {
	for topic := range p.topics {
		if s.dropTopic(p, topic) {
			p.report(false, topic)
		}
	}
	p.topics, p.topicLen = nil, 0
}

// publish sends a message to every peer with a matching subscription whose queue
// has room, and never waits. An XSUB's messages go to all. s.mu is held.
func (s *Socket) publish(frames [][]byte) {
	s.round++
	size := total(frames)
	encoded := false
	one := func(p *pipe) {
		if p.matched == s.round {
			return
		}
		p.matched = s.round
		var ok bool
		if p.to != nil {
			ok = p.handOver(nil, frames)
		} else {
			if !encoded {
				s.message(frames)
				encoded = true
			}
			ok = p.offerEncoded(&s.scratch, size)
		}
		if ok {
			p.flush()
		} else {
			s.drop(p, 1)
		}
	}
	if s.typ == XSUB {
		for _, p := range s.pipes {
			one(p)
		}
	} else {
		s.topics.match(frames[0], func(pipes []*pipe) {
			for _, p := range pipes {
				one(p)
			}
		})
	}
	if encoded {
		s.scratch.clear()
	}
}

// message encodes a message into s.scratch.
func (s *Socket) message(frames [][]byte) {
	for i, f := range frames {
		flags := byte(flagMore)
		if i == len(frames)-1 {
			flags = 0
		}
		s.scratch.frame(flags, f)
	}
}

// Subscribe lets a SUB or XSUB socket receive the messages whose first frame
// begins with prefix. Subscriptions are counted: two need two Unsubscribes.
func (s *Socket) Subscribe(prefix string) error { return s.subscribe(prefix, true) }

// Unsubscribe takes back one Subscribe, if there is one.
func (s *Socket) Unsubscribe(prefix string) error { return s.subscribe(prefix, false) }

func (s *Socket) subscribe(prefix string, wanted bool) error {
	if s.typ != SUB && s.typ != XSUB {
		return fmt.Errorf("%w: %s cannot subscribe", ErrType, s.typ)
	}
	s.subscribing.Lock()
	defer s.subscribing.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return s.errClosed("subscribe")
	}
	n := s.topics.find(prefix, wanted)
	change := false
	switch {
	case wanted:
		n.count++
		change = n.count == 1
	case n != nil && n.count > 0:
		n.count--
		if change = n.count == 0; change {
			s.topics.prune(prefix)
		}
	}
	var near []*pipe // of publishers in this process
	if change {
		for _, p := range s.pipes {
			if p.to != nil {
				if twin := p.to.publisher(); twin != nil {
					near = append(near, twin)
				}
			} else {
				p.tellTopic(wanted, prefix)
			}
		}
	}
	s.mu.Unlock()
	for _, p := range near {
		_ = p.subscription(wanted, []byte(prefix)) // too many: not this one
	}
	return nil
}

// tellTopic sends a subscription to the peer. s.mu is held.
func (p *pipe) tellTopic(wanted bool, topic string) {
	if p.link != nil {
		p.control(appendSubscription(nil, p.minor, !wanted, topic))
	}
}

// publisher returns the pipe of the socket that receives from q, nil while
// there is none.
func (q *queue) publisher() *pipe {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.from
}
