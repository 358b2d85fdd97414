package simnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is a stream between two hosts, as TCP gives: what is written at one
// end is read at the other, complete and in order. What its links lose is sent
// again after a time-out, so that loss costs time and never data. It is a
// [net.Conn]; its methods may be called by several goroutines at a time.
//
// It ends with [io.EOF] after the peer's Close or CloseWrite, with
// [syscall.ECONNRESET] after its Reset, and with [syscall.ETIMEDOUT] when the
// peer has acknowledged nothing for [Network.UserTimeout].
type Conn struct {
	host          *Host
	network       string
	local, remote netip.AddrPort
	keys          []netip.AddrPort // in host.tcp, of a dialled stream
	wire          *wire
	peer          *Conn     // the other end, once known
	answer        *Conn     // what a SYN of this end has made
	listener      *Listener // of an accepted stream

	readable, writable sync.Cond
	rd, wd             deadline
	state              state
	err                error // why done
	closed             bool  // by the program
	abort              bool  // Close sends RST, or is about to
	dirty              bool  // in Network.dirty
	touched            time.Duration

	// Sending.
	snd     buffer
	base    uint64    // position of the first byte in snd
	una     uint64    // first position not acknowledged
	sent    uint64    // first position not sent
	granted uint64    // positions below may be sent
	sacked  uint64    // highest position acknowledged out of order
	shut    bool      // the end is at last()
	sending []sending // sent and not acknowledged, in order, from head on
	head    int
	lost    int   // of those, to be sent again
	waiting bool  // in wire.waiting
	hellos  int   // SYN or SYN ACK sent
	probes  uint8 // of a full window

	// Receiving.
	rcv   buffer
	next  uint64 // position expected next
	told  uint64 // window told to the peer
	ahead []span // received beyond next
	ended bool   // the peer's end is at fin
	fin   uint64

	// Time.
	began             time.Duration
	heard             time.Duration // when the peer's silence began
	srtt, rttvar, rto time.Duration
	alarmAt           time.Duration // 0: none
}

// LocalAddr returns the address of this end, a [*net.TCPAddr].
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr returns the address of the other end, a [*net.TCPAddr].
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// Read reads what has arrived, and waits if nothing has. What arrived before
// the stream broke can still be read.
func (c *Conn) Read(p []byte) (int, error) {
	n := c.host.n
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.error("read", net.ErrClosed)
		case c.rd.passed():
			return 0, c.error("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case c.rcv.n > 0:
			k := c.rcv.read(p)
			if c.window() >= c.told+min(2*c.mss(), uint64(c.rcv.limit)/2) {
				n.touch(c) // tell the peer
			}
			return k, nil
		case c.eof():
			return 0, io.EOF
		case c.state == done:
			return 0, c.error("read", c.err)
		}
		c.rd.wait(&c.readable)
	}
}

// Write gives p to the stream, and waits while the send buffer is full: that is
// while the peer does not read, or the link is slow. On an error it returns how
// many bytes the stream took before.
func (c *Conn) Write(p []byte) (int, error) {
	n := c.host.n
	n.mu.Lock()
	defer n.mu.Unlock()
	for k := 0; ; {
		switch {
		case c.closed:
			return k, c.error("write", net.ErrClosed)
		case c.wd.passed():
			return k, c.error("write", os.ErrDeadlineExceeded)
		case c.shut:
			return k, c.error("write", syscall.EPIPE)
		case c.state == done:
			return k, c.error("write", c.err)
		}
		if took := c.snd.write(p[k:]); took > 0 {
			k += took
			n.touch(c)
		}
		if k == len(p) {
			return k, nil
		}
		c.wd.wait(&c.writable)
	}
}

// CloseWrite ends the direction to the peer, who reads [io.EOF] after all that
// was written. The other direction goes on.
func (c *Conn) CloseWrite() error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	switch {
	case c.closed:
		return c.error("close", net.ErrClosed)
	case c.state == done && c.err != nil:
		return c.error("close", c.err)
	}
	c.shutdown()
	return nil
}

func (c *Conn) shutdown() {
	if !c.shut {
		c.shut = true
		c.host.n.touch(c)
		c.writable.Broadcast()
	}
}

// Close ends the stream at this end. What was written still arrives, unless
// this end has not read all that had arrived, or more arrives later: then, as
// in TCP, the peer sees ECONNRESET. Close does not wait. It is idempotent and
// returns nil.
func (c *Conn) Close() error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	c.close(c.abort)
	return nil
}

// Reset ends the stream at once: what is not sent yet is lost, and the peer
// sees ECONNRESET.
func (c *Conn) Reset() error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	c.close(true)
	return nil
}

// SetLinger with zero makes Close do what [Conn.Reset] does; any other value
// makes it the default again, in which Close returns at once and what was
// written is still sent.
func (c *Conn) SetLinger(seconds int) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	c.abort = seconds == 0
	return nil
}

func (c *Conn) close(abort bool) {
	if c.closed {
		return
	}
	c.closed = true
	c.rd.stop()
	c.wd.stop()
	c.free()
	c.readable.Broadcast()
	c.writable.Broadcast()
	if c.state == done {
		return
	}
	if c.abort = abort || c.rcv.n > 0; c.abort {
		c.end(net.ErrClosed)
		c.host.n.touch(c) // to send RST
		return
	}
	c.shutdown()
}

// SetReadBuffer sets how many bytes may wait to be read, and so the window that
// the peer may fill; 256 KiB at first. It must be 1 or more.
func (c *Conn) SetReadBuffer(bytes int) error { return c.setBuffer(&c.rcv, bytes) }

// SetWriteBuffer sets how many bytes may wait to be sent or acknowledged;
// 256 KiB at first. It must be 1 or more.
func (c *Conn) SetWriteBuffer(bytes int) error { return c.setBuffer(&c.snd, bytes) }

func (c *Conn) setBuffer(b *buffer, bytes int) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if bytes <= 0 || bytes > maxSize {
		return c.error("set", os.NewSyscallError("setsockopt", syscall.EINVAL))
	}
	b.limit = bytes
	c.host.n.touch(c) // the window may have opened
	c.writable.Broadcast()
	return nil
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.closed {
		return c.error("set", net.ErrClosed)
	}
	c.rd.at, c.wd.at = t, t
	c.readable.Broadcast()
	c.writable.Broadcast()
	return nil
}

// SetReadDeadline sets when reads, those under way included, fail with
// [os.ErrDeadlineExceeded]; the zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.rd, &c.readable, t) }

// SetWriteDeadline does the same for writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.wd, &c.writable, t) }

func (c *Conn) setDeadline(d *deadline, cond *sync.Cond, t time.Time) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.closed {
		return c.error("set", net.ErrClosed)
	}
	d.at = t
	cond.Broadcast()
	return nil
}

func (c *Conn) error(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: c.network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// backlog is how many streams may wait to be accepted or be half open.
const backlog = 128

// A Listener accepts streams. It is a [net.Listener]; its methods may be called
// by several goroutines at a time. At most 128 streams wait to be accepted; who
// comes then is not answered and tries again, as with TCP.
type Listener struct {
	host    *Host
	network string
	local   netip.AddrPort
	keys    []netip.AddrPort
	cond    sync.Cond
	queue   []*Conn
	opening int // half open
	wait    deadline
	closed  bool
}

var (
	_ net.Conn     = (*Conn)(nil)
	_ net.Listener = (*Listener)(nil)
)

// Addr returns the address that the listener is bound to, a [*net.TCPAddr].
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// Accept waits for the next stream and returns it, a [*Conn].
func (l *Listener) Accept() (net.Conn, error) {
	l.host.n.mu.Lock()
	defer l.host.n.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.error("accept", net.ErrClosed)
		case l.wait.passed():
			return nil, l.error("accept", os.ErrDeadlineExceeded)
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue = l.queue[1:]
			return c, nil
		}
		l.wait.wait(&l.cond)
	}
}

// connected puts a stream that was half open in the queue.
func (l *Listener) connected(c *Conn) {
	l.opening--
	if l.closed {
		c.close(true)
		return
	}
	l.queue = append(l.queue, c)
	l.cond.Broadcast()
}

// SetDeadline sets when Accept fails with [os.ErrDeadlineExceeded]; the zero
// time means never.
func (l *Listener) SetDeadline(t time.Time) error {
	l.host.n.mu.Lock()
	defer l.host.n.mu.Unlock()
	if l.closed {
		return l.error("set", net.ErrClosed)
	}
	l.wait.at = t
	l.cond.Broadcast()
	return nil
}

// Close stops listening: Accept fails with [net.ErrClosed], streams that wait
// to be accepted are reset, those accepted go on. It is idempotent and returns
// nil.
func (l *Listener) Close() error {
	l.host.n.mu.Lock()
	defer l.host.n.mu.Unlock()
	l.close()
	return nil
}

func (l *Listener) close() {
	if l.closed {
		return
	}
	l.closed = true
	unclaim(l.host.tcp, l.keys)
	l.wait.stop()
	for _, c := range l.queue {
		c.close(true)
	}
	l.queue = nil
	l.cond.Broadcast()
}

func (l *Listener) error(op string, err error) error {
	return &net.OpError{Op: op, Net: l.network, Addr: l.Addr(), Err: err}
}

// A buffer is a ring of bytes that grows as needed, up to its limit.
type buffer struct {
	ring  []byte
	start int // of the first byte
	n     int // bytes held
	limit int
}

// write takes as much of p as there is room for.
func (b *buffer) write(p []byte) int {
	p = p[:max(min(len(p), b.limit-b.n), 0)]
	b.reserve(len(p))
	for rest := p; len(rest) > 0; {
		k := copy(b.space(), rest)
		b.n += k
		rest = rest[k:]
	}
	return len(p)
}

// read takes the first bytes out.
func (b *buffer) read(p []byte) int {
	p = b.peek(p[:0], 0, min(len(p), b.n))
	b.discard(len(p))
	return len(p)
}

// peek appends to dst k bytes from position at on; they stay in the buffer.
func (b *buffer) peek(dst []byte, at, k int) []byte {
	for k > 0 {
		piece := b.piece(at, k)
		dst = append(dst, piece...)
		at, k = at+len(piece), k-len(piece)
	}
	return dst
}

// moveFrom appends k bytes of src, from position at on, whatever the limit.
func (b *buffer) moveFrom(src *buffer, at, k int) {
	b.reserve(k)
	for k > 0 {
		took := copy(b.space(), src.piece(at, k))
		b.n += took
		at, k = at+took, k-took
	}
}

// discard takes out k bytes.
func (b *buffer) discard(k int) {
	b.n -= k
	b.start += k
	if b.start >= len(b.ring) {
		b.start -= len(b.ring)
	}
	if b.n == 0 {
		b.start = 0
	}
}

// reserve makes room for k more bytes.
func (b *buffer) reserve(k int) {
	if b.n+k > len(b.ring) {
		ring := make([]byte, max(2*len(b.ring), b.n+k, 2048))
		b.peek(ring[:0], 0, b.n)
		b.ring, b.start = ring, 0
	}
}

// piece returns up to k bytes from position at on that lie together.
func (b *buffer) piece(at, k int) []byte {
	i := b.start + at
	if i >= len(b.ring) {
		i -= len(b.ring)
	}
	return b.ring[i:min(i+k, len(b.ring))]
}

// space returns free room that lies together behind the last byte.
func (b *buffer) space() []byte {
	i := b.start + b.n
	if i >= len(b.ring) {
		i -= len(b.ring)
		return b.ring[i:b.start]
	}
	return b.ring[i:]
}
