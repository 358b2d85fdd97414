package httpx

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"slices"
	"sync/atomic"
	"time"
)

// hostConns are the connections to one host. t.mu guards it.
type hostConns struct {
	open    int             // those in use, idle, and being made
	idle    []*clientConn   // the one used last at the end
	waiting []chan struct{} // requests that wait for one of MaxConns; closed to look again
}

// A clientConn is a connection to a server, with at most one request at a time.
type clientConn struct {
	t      *Transport
	id     uint64
	key    hostKey
	raw    net.Conn // below TLS: to close it at once
	nc     net.Conn
	tls    *tls.ConnectionState
	below  *belowTLS // what the last TLS runs on; nil without
	br     *bufio.Reader
	bw     *bufio.Writer
	in     atomic.Int64 // bytes read, without TLS's
	out    atomic.Int64
	used   bool          // has carried a request
	settle *time.Timer   // begins the watch over the idle connection; nil if it begins at once
	parked chan struct{} // closed when the watch has ended
	dead   bool          // what the watch found; read after parked
}

// The connection as br and bw have it: it counts, and each write has its
// deadline.
type countedConn struct{ *clientConn }

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	c.in.Add(int64(n))
	if err == io.EOF && c.below != nil && c.below.ended.Load() {
		err = io.ErrUnexpectedEOF // RFC 9112 section 9.8: a body to the end is not whole
	}
	return n, err
}

func (c countedConn) Write(p []byte) (int, error) {
	if err := c.nc.SetWriteDeadline(deadline(c.t.WriteTimeout, time.Minute)); err != nil {
		return 0, err
	}
	n, err := c.nc.Write(p)
	c.out.Add(int64(n))
	return n, err
}

// get returns a connection for key: an idle one, unless it must be fresh, or a
// new one, as soon as there may be one more.
func (t *Transport) get(ctx context.Context, key hostKey, proxy *url.URL, fresh bool) (*clientConn, error) {
	most := t.MaxConns
	if most == 0 {
		most = 256
	}
	for {
		if ctx.Err() != nil {
			return nil, &TransportError{Op: "dial", Addr: dialAddr(key, proxy), Err: context.Cause(ctx)}
		}
		t.mu.Lock()
		h := t.host(key)
		if n := len(h.idle); n > 0 {
			c := h.idle[n-1]
			h.idle = h.idle[:n-1]
			t.mu.Unlock()
			if c.unpark() && !fresh {
				return c, nil
			}
			t.drop(c)
			continue
		}
		if most < 0 || h.open < most {
			h.open++
			t.ids++
			id := t.ids
			t.mu.Unlock()
			c, err := t.dial(ctx, id, key, proxy)
			if err != nil {
				t.release(key)
			}
			return c, err
		}
		turn := make(chan struct{})
		h.waiting = append(h.waiting, turn)
		t.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			t.mu.Lock()
			if h := t.hosts[key]; h != nil {
				if i := slices.Index(h.waiting, turn); i >= 0 {
					h.waiting = slices.Delete(h.waiting, i, i+1)
				} else {
					h.wake() // it was our turn: the next one's now
				}
			}
			t.mu.Unlock()
		}
	}
}

// host returns the connections for key; t.mu is held.
func (t *Transport) host(key hostKey) *hostConns {
	h := t.hosts[key]
	if h == nil {
		h = new(hostConns)
		if t.hosts == nil {
			t.hosts = make(map[hostKey]*hostConns)
		}
		t.hosts[key] = h
	}
	return h
}

// wake lets the request that has waited for longest look again; t.mu is held.
func (h *hostConns) wake() {
	if len(h.waiting) > 0 {
		close(h.waiting[0])
		h.waiting = h.waiting[1:]
	}
}

// release gives back the place of a connection that is no more.
func (t *Transport) release(key hostKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.releaseLocked(key)
}

func (t *Transport) releaseLocked(key hostKey) {
	h := t.hosts[key]
	h.open--
	h.wake()
	if h.open == 0 && len(h.waiting) == 0 {
		delete(t.hosts, key) // hosts that are never asked again take no memory
	}
}

// drop closes c, which is in nobody's hands.
func (t *Transport) drop(c *clientConn) {
	c.nc.Close() // with TLS's farewell
	t.release(c.key)
}

// put makes c idle, or closes it if there are enough idle ones.
func (t *Transport) put(c *clientConn) {
	most := t.MaxIdle
	if most == 0 {
		most = 32
	}
	t.mu.Lock()
	h := t.hosts[c.key]
	if len(h.idle) >= most && len(h.waiting) == 0 || c.nc.SetReadDeadline(deadline(t.IdleTimeout, 90*time.Second)) != nil {
		t.mu.Unlock()
		t.drop(c)
		return
	}
	c.used = true
	c.parked = make(chan struct{})
	h.idle = append(h.idle, c)
	h.wake()
	if isSystemConn(c.nc) {
		c.settle = time.AfterFunc(settleTime, c.watch)
	} else {
		go c.watch()
	}
	t.mu.Unlock()
}

// settleTime is how long a connection is idle before a goroutine watches it,
// where a look at the moment of its next use does as well until then: on a busy
// one the goroutine would cost more than the request.
const settleTime = 50 * time.Millisecond

// watch waits while c is idle for what ends that: its time, the server, or
// unpark. It is the one goroutine of a connection, and lives only so long.
func (c *clientConn) watch() {
	defer close(c.parked)
	_, err := c.br.Peek(1)
	// A byte that nobody asked for would be taken for the next answer's.
	c.dead = err == nil || !isTimeout(err)
	if c.t.forget(c) {
		c.nc.Close()
	}
}

// forget takes c out of the idle connections, if it is one, and out of the count.
func (t *Transport) forget(c *clientConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[c.key]
	if h == nil {
		return false
	}
	i := slices.Index(h.idle, c)
	if i < 0 {
		return false
	}
	h.idle = slices.Delete(h.idle, i, i+1)
	t.releaseLocked(c.key)
	return true
}

// unpark ends the watch over c, which is no longer among the idle ones, and
// reports whether it can be used.
func (c *clientConn) unpark() bool {
	if c.settle != nil && c.settle.Stop() {
		c.dead = c.br.Buffered() > 0 || !isSilent(c.nc)
	} else {
		_ = c.nc.SetReadDeadline(longAgo)
		<-c.parked
	}
	return !c.dead && c.nc.SetReadDeadline(time.Time{}) == nil
}

// CloseIdleConnections closes the connections that no request uses. Those in
// use are closed, or kept, when they have been used.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	var idle []*clientConn
	for _, h := range t.hosts {
		idle = append(idle, h.idle...)
		h.idle = nil
	}
	t.mu.Unlock()
	for _, c := range idle {
		t.drop(c)
		if c.settle == nil || !c.settle.Stop() {
			<-c.parked
		}
	}
}
