package mq

// A pipe is a socket's end of what joins it to one peer: a queue in each
// direction. One that was accepted ends with its connection; one that we
// connect outlives it. Fields without a remark are under s.mu.
type pipe struct {
	s        *Socket
	endpoint string
	keep     bool   // connects again after a loss
	in       *queue // has its own lock

	peer      Peer
	minor     byte
	connected bool
	gone      bool
	key       string              // of a ROUTER
	topics    map[string]struct{} // what the peer has subscribed to
	topicLen  int                 // bytes of these
	matched   uint64              // the last message that was matched to it

	// Over a network connection:
	out    backlog
	queued int    // messages in out
	ctl    []byte // commands to be sent, as frames
	link   *link  // nil while there is none
	idle   bool   // nobody writes, and the link's writer waits to be woken

	// Within the process:
	to   *queue // the in of the peer, or what will be
	room int    // so many messages it surely takes

	sent, dropped uint64
}

func (s *Socket) newPipe(endpoint string, keep bool) *pipe {
	p := &pipe{s: s, endpoint: endpoint, keep: keep}
	p.peer.Endpoint = endpoint
	p.in = newQueue(&s.inbox, p, s.cfg.RecvHWM, s.cfg.Conflate)
	return p
}

// offer puts a message, its frames after those of head, into the queue to the
// peer, unless that is full. The caller calls flush afterwards.
func (p *pipe) offer(head, frames [][]byte) bool {
	if p.to != nil {
		return p.handOver(head, frames)
	}
	if !p.makeRoom() {
		return false
	}
	for _, f := range head {
		p.out.frame(flagMore, f)
	}
	last := len(frames) - 1
	for _, f := range frames[:last] {
		p.out.frame(flagMore, f)
	}
	p.out.frame(0, frames[last])
	p.queued++
	p.sent++
	return true
}

// makeRoom reports whether another message may wait for the network. It forgets
// the older ones if only the newest counts.
func (p *pipe) makeRoom() bool {
	if !p.s.cfg.Conflate {
		return p.queued < p.s.cfg.SendHWM
	}
	p.dropped += uint64(p.queued)
	p.out.clear()
	p.queued = 0
	return true
}

// offerEncoded is offer for a message that is encoded already.
func (p *pipe) offerEncoded(m *backlog, size int) bool {
	if !p.makeRoom() {
		return false
	}
	for _, k := range m.blocks {
		if size < bigFrame {
			p.out.encoded(k.b, k.ends)
		} else {
			p.out.share(k)
		}
	}
	p.queued++
	p.sent++
	return true
}

// flush lets what was offered be sent.
func (p *pipe) flush() {
	if p.idle {
		p.idle = false
		p.link.wake <- struct{}{}
	}
}

// control sends the body of a frame before any message that waits.
func (p *pipe) control(flags byte, body []byte) {
	if p.link != nil {
		p.ctl = appendFrame(p.ctl, flags, body)
		p.flush()
	}
}

// handOver is offer within the process. The message is copied, so that sender
// and receiver may each do with theirs what they like.
func (p *pipe) handOver(head, frames [][]byte) bool {
	q := p.to
	if p.room == 0 {
		if p.room = q.roomFor(p); p.room == 0 {
			return false
		}
	}
	p.room--
	m := p.s.mem.msg(len(head)+len(frames), total(head)+total(frames))
	for i, f := range head {
		m[i] = p.s.mem.bytes(f, false)
	}
	for i, f := range frames {
		m[len(head)+i] = p.s.mem.bytes(f, false)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if q.prefix != nil {
		m = append(Msg{p.s.mem.bytes(q.prefix[0], false)}, m...)
	}
	q.add(m)
	p.sent++
	return true
}

// total returns how many bytes the frames have together.
func total(frames [][]byte) (n int) {
	for _, f := range frames {
		n += len(f)
	}
	return n
}
