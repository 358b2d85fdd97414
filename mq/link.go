package mq

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// A link is one network connection of a pipe, from its handshake to its end.
// Its reader runs in the goroutine that made it, its writer in one of its own.
// The fields after "owner" belong to whoever writes: the writer, or
// while that is idle, a Send that writes by itself.
type link struct {
	nc     net.Conn
	cipher cipher
	direct *directWriter // writes without waiting; nil where that is impossible
	wake   chan struct{} // ends the writer's idling
	dead   chan struct{} // closed when the reader has ended

	borrowed bool // a Send is writing; under Socket.mu
	orphan   bool // the link has ended meanwhile; under Socket.mu

	// owner:
	batch   backlog // what is being written
	written int     // bytes of it that are
	ctl     []byte
	sealed  []byte
	bufs    net.Buffers
}

func newLink(nc net.Conn, c cipher) *link {
	l := &link{nc: nc, cipher: c, wake: make(chan struct{}, 1), dead: make(chan struct{})}
	if c == nil {
		l.direct = newDirectWriter(nc)
	}
	return l
}

// run serves the link of an attached pipe until it ends, and says why. If the
// socket itself has left the peer, the error is nil.
func (p *pipe) run(l *link) error {
	written := make(chan error, 1)
	go func() {
		err := p.write(l)
		if err == nil && closeWrite(l.nc) == nil {
			select {
			case <-l.dead:
			case <-time.After(closeWait):
			}
		}
		l.nc.Close()
		written <- err
	}()
	err := p.read(l)
	close(l.dead)
	l.nc.Close()
	if werr := <-written; werr != nil && errors.Is(err, net.ErrClosed) {
		err = werr
	}
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	p.link, p.idle, p.ctl, p.connected = nil, false, nil, false
	s.forgetTopics(p)
	if l.borrowed {
		l.orphan = true
	} else {
		p.salvage(l)
	}
	if p.gone || s.closed && p.queued == 0 {
		return nil
	}
	return err
}

// hangUp closes the connection of a pipe.
func (p *pipe) hangUp() {
	p.s.mu.Lock()
	l := p.link
	p.s.mu.Unlock()
	if l != nil {
		l.nc.Close()
	}
}

// closeWait is how long a peer may take to end its direction after ours.
const closeWait = time.Second

// closeWrite ends our direction, which the peer answers by ending its own. To
// close at once could reset the connection and destroy what is on its way.
func closeWrite(nc net.Conn) error {
	if c, ok := nc.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// salvage takes back what a link that has ended did not write, for the next;
// what was written in part is sent again whole, since the peer forgets it.
func (p *pipe) salvage(l *link) {
	n := l.batch.forget(l.written)
	if !p.keep || p.gone || p.s.cfg.Conflate && p.queued > 0 {
		p.s.drop(p, n)
		l.batch.clear()
		return
	}
	for _, k := range p.out.blocks {
		l.batch.share(k)
	}
	p.out.clear()
	p.out = l.batch
	p.queued += n
}

// write sends what is offered, batch by batch, until the link is dead or the
// socket closes and all is sent.
func (p *pipe) write(l *link) error {
	var tick <-chan time.Time
	if every := p.s.cfg.HeartbeatInterval; every > 0 && p.minor > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for {
		have, over := p.nextBatch(l)
		if over {
			return nil
		}
		if !have {
			select {
			case <-l.wake:
			case <-l.dead:
				return nil
			case <-tick:
				if !p.ping() { // a Send is writing; it will wake us
					<-l.wake
				}
			}
			continue
		}
		if err := l.flush(); err != nil {
			return err
		}
		select {
		case <-tick:
			p.s.mu.Lock()
			p.ctl = appendFrame(p.ctl, flagCommand, appendPing(nil, p.s.cfg.HeartbeatTTL, nil))
			p.s.mu.Unlock()
		default:
		}
	}
}

// ping queues a PING, and reports whether the writer is the one to send it.
func (p *pipe) ping() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.ctl = appendFrame(p.ctl, flagCommand, appendPing(nil, p.s.cfg.HeartbeatTTL, nil))
	mine := p.idle
	p.idle = false
	return mine
}

// nextBatch moves what is offered to the link, and reports whether it has
// something to write; if not it is idle, or over if nothing can follow.
func (p *pipe) nextBatch(l *link) (have, over bool) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(l.batch.blocks) > 0: // the rest of what a Send could not write
	case p.queued == 0 && len(p.ctl) == 0:
		p.idle = !s.closed
		return false, s.closed
	default:
		p.takeBatch(l)
	}
	return true, false
}

// takeBatch swaps the queue of the pipe and the empty one of the link.
func (p *pipe) takeBatch(l *link) {
	l.ctl, p.ctl = p.ctl, l.ctl[:0]
	l.batch, p.out = p.out, l.batch
	l.written = 0
	p.queued = 0
	p.s.room.wakeAll()
}

// writeSize is about how much is written at a time: what is written is free to
// be filled again while it is still in the processor's cache.
const writeSize = 512 << 10

// flush writes ctl and the rest of the batch. After an error the messages that
// were not written whole are still in the batch.
func (l *link) flush() error {
	if l.cipher != nil {
		return l.flushSealed()
	}
	if len(l.ctl) > 0 {
		if _, err := l.nc.Write(l.ctl); err != nil {
			return err
		}
		l.ctl = l.ctl[:0]
	}
	for len(l.batch.blocks) > 0 {
		group := l.batch.group(writeSize)
		l.bufs = l.bufs[:0]
		for _, k := range l.batch.blocks[:group] {
			l.bufs = append(l.bufs, k.b)
		}
		l.bufs[0] = l.bufs[0][l.written:]
		bufs := l.bufs // WriteTo moves the slice on
		n, err := bufs.WriteTo(l.nc)
		clear(l.bufs)
		if err != nil {
			l.written += int(n)
			return err
		}
		l.batch.drop(group)
		l.written = 0
	}
	return nil
}

const (
	sealSize = 64 << 10 // how much is encrypted before it is written
	keepSize = 2 << 20  // up to here the memory for that is used again
)

// flushSealed is flush through the cipher. What fails is not sent again.
func (l *link) flushSealed() error {
	out := l.sealed[:0]
	for b := l.ctl; len(b) > 0; {
		flags, body, size := splitFrame(b)
		out = l.cipher.seal(out, flags, body)
		b = b[size:]
	}
	l.ctl = l.ctl[:0]
	for _, k := range l.batch.blocks {
		for b := k.b; len(b) > 0; {
			flags, body, size := splitFrame(b)
			out = l.cipher.seal(out, flags, body)
			b = b[size:]
			l.written += size
			if len(out) >= sealSize {
				if _, err := l.nc.Write(out); err != nil {
					return err
				}
				out = out[:0]
			}
		}
	}
	_, err := l.nc.Write(out)
	if l.sealed = out[:0]; cap(out) > keepSize {
		l.sealed = nil
	}
	if err == nil {
		l.batch.clear()
		l.written = 0
	}
	return err
}

// writeNow sends what was offered in the goroutine of Send, if nobody writes
// and it goes without waiting; otherwise the writer does it. That spares a
// request and its answer one change of goroutines each. s.mu is held, and given
// up meanwhile.
func (p *pipe) writeNow() {
	l := p.link
	if !p.idle || l.direct == nil {
		p.flush()
		return
	}
	s := p.s
	p.idle, l.borrowed = false, true
	p.takeBatch(l)
	var whole bool
	if len(l.ctl) == 0 && len(l.batch.blocks) == 1 {
		b := l.batch.blocks[0].b
		s.mu.Unlock()
		n := l.direct.write(b)
		if whole = n == len(b); whole {
			l.batch.clear()
		} else {
			l.written = n
		}
		s.mu.Lock()
	}
	l.borrowed = false
	switch {
	case l.orphan:
		p.salvage(l)
		p.flush() // the next link may be there already
	case whole && p.queued == 0 && len(p.ctl) == 0 && !s.closed:
		p.idle = true
	default:
		l.wake <- struct{}{}
	}
}

// A silenceReader ends a connection that has been silent for too long.
type silenceReader struct {
	nc     net.Conn
	ours   time.Duration // 0: for ever
	theirs time.Duration // what the peer's last PING says
	armed  bool          // the connection has a deadline
}

func (r *silenceReader) Read(b []byte) (int, error) {
	limit := r.ours
	if r.theirs > 0 && (limit == 0 || r.theirs < limit) {
		limit = r.theirs
	}
	if limit > 0 || r.armed {
		var deadline time.Time
		if r.armed = limit > 0; r.armed {
			deadline = time.Now().Add(limit)
		}
		if err := r.nc.SetReadDeadline(deadline); err != nil {
			return 0, err
		}
	}
	n, err := r.nc.Read(b)
	if n > 0 {
		r.theirs = 0 // what comes ends that wait, unless it is another PING
	}
	return n, err
}

const maxControl = 64 << 10 // commands that wait to be sent to a peer

// read takes what the peer sends until the connection ends.
func (p *pipe) read(l *link) error {
	s := p.s
	src := &silenceReader{nc: l.nc}
	if s.cfg.HeartbeatInterval > 0 && p.minor > 0 {
		src.ours = s.cfg.HeartbeatInterval + s.cfg.HeartbeatTimeout
	}
	d := &decoder{src: src, maxFrame: s.cfg.MaxFrame, maxSize: s.cfg.MaxSize, cipher: l.cipher, prefix: p.in.prefix}
	if l.cipher != nil {
		d.overhead = messageHead + 1
	}
	d.command = func(body []byte) error { return p.command(src, body) }
	for {
		batch, bad := d.read(min(s.cfg.RecvHWM, 1000))
		switch s.typ {
		case PUB, XPUB:
			var err error
			if batch, err = p.subscriptions(batch); err != nil {
				return err
			}
		case PUSH:
			batch = nil // a PULL has nothing to say
		}
		if len(batch) > 0 {
			p.in.put(batch)
		}
		if bad != nil {
			return fmt.Errorf("mq: read from %s: %w", p.peer.Remote, bad)
		}
	}
}

// command obeys a command of the peer.
func (p *pipe) command(src *silenceReader, body []byte) error {
	name, data, err := parseCommand(body)
	if err != nil {
		return err
	}
	switch string(name) {
	case cmdPing:
		ttl, context, err := parsePing(data)
		if err != nil {
			return err
		}
		src.theirs = ttl
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		if len(p.ctl) < maxControl { // else the answers are not read anyway
			p.control(flagCommand, appendPong(nil, context))
		}
	case cmdSubscribe, cmdCancel:
		if p.s.typ == PUB || p.s.typ == XPUB {
			return p.subscription(string(name) == cmdSubscribe, data)
		}
	case cmdError:
		return &ProtocolError{Where: "ERROR from the peer", What: fmt.Sprintf("%q", data), Fatal: true}
	}
	return nil
}
