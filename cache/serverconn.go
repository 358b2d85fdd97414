package cache

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

// A connBuf is memory that a connection borrows while it has something to do.
type connBuf [32 << 10]byte

const (
	flushAt = 15 << 10 // an answer that long is sent; what is added before is at most a piece of a value and a line
	maxLine = 2048     // longer command lines are refused; those of get are taken in parts
)

// What a connection is waiting for.
const (
	waitsIdle  = iota // the next command
	waitsMore         // the rest of a command
	waitsWrite        // room for an answer
)

// A conn is the server's end of a connection, or a datagram.
type conn struct {
	s        *Server
	a        *arena
	nc       net.Conn // nil for a datagram
	peer     net.Addr
	listener net.Addr // where it came in
	id       int
	wait     atomic.Int64 // when it began to wait, in Unix nanoseconds, times 4, plus for what

	in      []byte // in[r:w] has been received and not been used
	r, w    int
	full    bool // the last read filled in: there is probably more
	big     *connBuf
	out     []byte // the answers that have not been sent
	outBuf  *connBuf
	sends   int  // how often something was sent
	tooMuch bool // for datagrams

	now   uint32 // Unix seconds, since the last read
	nanos int64

	authenticated bool
	quiet         bool   // noreply: this command is not answered
	closing       bool   // after this command
	err           error  // why, if not for a good reason
	saved         []byte // a command line, while its value comes in

	getting    getCommand // the get at hand
	getExpires uint32
	long       longGet // its line did not fit in the buffer

	meta metaRequest // the meta command at hand

	small [4 << 10]byte
}

func newConn(s *Server, nc net.Conn, listener net.Addr, id int) *conn {
	c := &conn{s: s, a: s.arena, nc: nc, listener: listener, id: id, authenticated: s.Authenticate == nil}
	if nc != nil {
		c.peer = nc.RemoteAddr()
	}
	c.in = c.small[:]
	c.tick()
	c.waitFor(waitsIdle)
	return c
}

// tick looks at the clock, once for all commands that came together.
func (c *conn) tick() {
	now := time.Now()
	c.nanos = now.UnixNano()
	c.now = uint32(c.s.now.unix(now))
	c.s.flushIfDue(c.now)
}

func (c *conn) waitFor(what int64) { c.wait.Store(c.nanos&^3 | what) }

// waiting returns for what the connection has been waiting, and since when.
func (c *conn) waiting() (what int64, since time.Time) {
	w := c.wait.Load()
	return w & 3, time.Unix(0, w&^3)
}

// serve carries out commands until the connection ends.
func (c *conn) serve() error {
	batch := orDefault(c.s.MaxBatch, 20)
	for n := 1; ; n++ {
		line, whole, err := c.line()
		if err == nil {
			c.command(line, whole)
			if len(c.out) >= flushAt || c.closing {
				err = c.send()
			}
			if err == nil {
				err = c.err
			}
		}
		if err != nil || c.closing {
			c.giveBuffers()
			if err == io.EOF {
				return nil
			}
			return err
		}
		if n >= batch {
			n = 0
			if c.r < c.w {
				c.s.count.yields.Add(1)
				runtime.Gosched()
			}
		}
	}
}

// line returns the next command line without its end, or as many whole words of
// it as have come if it is a get with many keys.
func (c *conn) line() (line []byte, whole bool, err error) {
	for {
		b := c.in[c.r:c.w]
		b = b[:min(len(b), maxLine)]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			c.r += i + 1
			if i > 0 && b[i-1] == '\r' {
				i--
			}
			return b[:i], true, nil
		}
		if len(b) == maxLine {
			// Without a space in it, it is no list of keys.
			i := bytes.LastIndexByte(b, ' ')
			if i < 0 || c.long == longNone && !isGet(b) {
				// As memcached: to this there is no answer.
				return nil, false, errors.Join(errLineTooLong, c.send())
			}
			c.r += i + 1
			return b[:i], false, nil
		}
		if err := c.fill(); err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, false, err
		}
	}
}

var errLineTooLong = errors.New("cache: command line too long")

// fill sends what there is to send and waits for more to come.
func (c *conn) fill() error {
	if c.nc == nil {
		return io.EOF // a datagram is all there is
	}
	if err := c.send(); err != nil {
		return err
	}
	what := int64(waitsMore)
	switch {
	case c.r == c.w:
		c.r, c.w = 0, 0
		if len(c.saved) == 0 && c.long == longNone {
			what = waitsIdle
			c.giveBuffers()
		}
		if c.full {
			c.borrow()
		}
	case c.w == len(c.in) && c.r > 0:
		c.w = copy(c.in, c.in[c.r:c.w])
		c.r = 0
	case c.w == len(c.in):
		c.borrow()
	}
	n, err := c.read(c.in[c.w:], what)
	c.full = n == len(c.in)-c.w
	c.w += n
	return err
}

// read reads once, into b. It returns an error only if it has read nothing.
func (c *conn) read(b []byte, what int64) (int, error) {
	if c.nc == nil {
		return 0, io.EOF
	}
	for {
		if what == waitsIdle && c.s.draining.Load() {
			return 0, net.ErrClosed
		}
		c.waitFor(what)
		n, err := c.nc.Read(b)
		if n > 0 {
			c.tick()
			c.s.count.bytesRead.Add(uint64(n))
			return n, nil
		}
		if what == waitsMore && c.s.draining.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			// Shutdown has woken it, but the command has begun.
			err = c.nc.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return 0, err
		}
	}
}

// borrow gives the connection a larger buffer.
func (c *conn) borrow() {
	if c.big == nil {
		c.big = c.s.bufs.Get().(*connBuf)
		c.w = copy(c.big[:], c.in[c.r:c.w])
		c.r = 0
		c.in = c.big[:]
	}
}

// giveBuffers gives back what the connection has borrowed. in must be empty.
func (c *conn) giveBuffers() {
	if c.big != nil {
		c.s.bufs.Put(c.big)
		c.big, c.in = nil, c.small[:]
	}
	if c.outBuf != nil {
		c.s.bufs.Put(c.outBuf)
		c.outBuf, c.out = nil, nil
	}
}

// send sends the answers.
func (c *conn) send() error {
	if c.nc == nil {
		if len(c.out) > maxDatagrams*udpPayload {
			c.out, c.tooMuch, c.closing = c.out[:0], true, true
		}
		return nil
	}
	if len(c.out) == 0 {
		return nil
	}
	c.waitFor(waitsWrite)
	c.sends++
	n, err := c.nc.Write(c.out)
	c.s.count.bytesWritten.Add(uint64(n))
	c.out = c.out[:0]
	return err
}

// need waits until n bytes are in the buffer, which is large enough for them.
func (c *conn) need(n int) error {
	for c.w-c.r < n {
		if len(c.in) < n {
			c.borrow()
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	return nil
}

// skip throws n bytes away.
func (c *conn) skip(n int) error {
	for {
		k := min(n, c.w-c.r)
		c.r += k
		if n -= k; n == 0 {
			return nil
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// output returns out, with room for a short answer.
func (c *conn) output() []byte {
	if c.out == nil {
		c.outBuf = c.s.bufs.Get().(*connBuf)
		c.out = c.outBuf[:0]
	}
	return c.out
}

// reply answers with a line, unless the client wants no answer.
func (c *conn) reply(line string) {
	if !c.quiet {
		c.out = append(append(c.output(), line...), '\r', '\n')
	}
}
