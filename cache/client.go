package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What a [Client] says besides [ErrMiss], [ErrKey] and [ErrDown].
var (
	// ErrNotStored means that the condition for storing was not met: Add
	// found the key, Replace, Append or Prepend did not.
	ErrNotStored = errors.New("cache: not stored")

	// ErrConflict means that somebody else changed the item since it was read.
	ErrConflict = errors.New("cache: changed by somebody else")

	// ErrTooLarge means a value longer than the client or the server allows.
	ErrTooLarge = errors.New("cache: value too large")
)

// A ReplyError is a request that a server refused, in its own words. Where they
// say that the value is too large it is [ErrTooLarge].
type ReplyError struct {
	Reply string // such as "SERVER_ERROR out of memory storing object"
}

// Error says what the server said.
func (e *ReplyError) Error() string { return fmt.Sprintf("the server says %q", e.Reply) }

// Is reports whether target is [ErrTooLarge] and the server says so.
func (e *ReplyError) Is(target error) bool {
	return target == ErrTooLarge && e.Reply == replyServerError+tooLarge
}

// An Item is a value with all that a server keeps about it.
type Item struct {
	Key   string        // 1 to 250 bytes, without spaces and control characters
	Value []byte        // any bytes, see Client.MaxValue
	Flags uint32        // for the use of clients; the server only keeps them
	TTL   time.Duration // how long it lives, in whole seconds; 0 means without end
	CAS   uint64        // changes with the item; see [Client.CompareAndSwap]
}

// A Client keeps values on memcached servers that do not know each other: it
// alone decides, by its [Selector], which of them has a key. It speaks the meta
// protocol (memcached 1.6 or later), and the text protocol for many keys. Set
// its fields before the first call and Close it in the end. Any number of
// goroutines may use it at a time; their requests share a few connections.
//
// Every call ends with its context, or when the server has not answered for
// Timeout. A write that ends so, or whose connection breaks, may have happened
// or not.
type Client struct {
	// Servers share the keys.
	Servers []Node

	// Selector says which server has a key; nil means [Ketama].
	Selector Selector

	// Dial connects to a server; nil means a net.Dialer. For TLS use the
	// DialContext of a tls.Dialer. network is "tcp" or "unix".
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Timeout is how long a server may take to accept a connection, or to
	// answer; then the connection is closed. 0 means one second, negative for
	// ever.
	Timeout time.Duration

	// MaxConns is how many connections to each server may be open; 0 means 2.
	MaxConns int

	// IdleTimeout is how long an unused connection stays open; 0 means one
	// minute, negative for ever.
	IdleTimeout time.Duration

	// MaxValue is the longest value, in bytes, that is sent or received; 0 means
	// 1 MiB.
	MaxValue int

	// Failover lets another server stand in for one that is down: the selector
	// chooses among those that are left. What is stored there lives for
	// Failover at most. If it is 0, calls for keys of a server that is down
	// fail with ErrDown.
	//
	// Nobody reads what is out of date for that: a server is emptied, by
	// flush_all, before it is used again if others stood in for it; and after
	// every change of who is there, no one stands in until what was stored for
	// the last one has expired. (A second client that sees others down can undo
	// that.)
	Failover time.Duration

	// Trace is told what happens to servers; nil means nobody is.
	Trace *ClientTrace

	once   sync.Once
	err    error // why there is nothing to use
	nodes  []*clientNode
	pick   func(key string) int
	stop   chan struct{}  // closed by Close
	wg     sync.WaitGroup // all goroutines; see clientNode for when they may start
	opaque atomic.Uint32  // the last number of a request
	view   atomic.Pointer[view]
	spare  sync.Pool // of *exchange; a shared one would carry channels from bubble to bubble

	hits, misses, dials atomic.Uint64

	mu      sync.Mutex
	closed  bool
	standIn time.Time // when the last value at a stand-in will have expired
}

// A ClientTrace has functions that a [Client] calls as things happen, from
// goroutines of its own. Any may be nil. They must return quickly.
type ClientTrace struct {
	Dialed   func(addr string, err error) // a connection is made, or not
	Ejected  func(addr string, why error) // a server is given up
	Returned func(addr string)            // it answers again
}

// ClientStats are the counts of a [Client] since it was made.
type ClientStats struct {
	Hits, Misses uint64   // keys asked for that were there, and that were not
	Dials        uint64   // attempts to connect
	Conns        int      // connections that are open now
	Down         []string // servers that are ejected now
}

// A view says who can be used. It is replaced as a whole.
type view struct {
	up    []bool               // by the node's index
	nodes []*clientNode        // those that are up
	pick  func(key string) int // among them
	from  time.Time            // no standing in before
}

// NewClient returns a client of the servers with these addresses.
func NewClient(addrs ...string) *Client { return &Client{Servers: Nodes(addrs...)} }

// init prepares the client at the first call.
func (c *Client) init() error {
	c.once.Do(func() {
		c.stop = make(chan struct{})
		if len(c.Servers) == 0 {
			c.err = errors.New("cache: the client has no servers")
			return
		}
		for i, s := range c.Servers {
			network, address := dialAddr(s.Addr)
			c.nodes = append(c.nodes, &clientNode{client: c, index: i, network: network, address: address})
		}
		c.pick = c.selector()(slices.Clone(c.Servers))
		c.look()
	})
	return c.err
}

// look makes a new view of the nodes.
func (c *Client) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := &view{up: make([]bool, len(c.nodes)), from: c.standIn}
	var servers []Node
	for i, n := range c.nodes {
		if v.up[i] = n.isUp(); v.up[i] {
			v.nodes = append(v.nodes, n)
			servers = append(servers, c.Servers[i])
		}
	}
	if c.Failover > 0 && len(servers) > 0 && len(servers) < len(c.nodes) {
		v.pick = c.selector()(servers)
	}
	c.view.Store(v)
}

// Close closes all connections and waits until all goroutines have ended.
// Calls that wait fail with [net.ErrClosed], and so do later ones.
func (c *Client) Close() error {
	_ = c.init() // a client without servers has nothing to close
	for _, n := range c.nodes {
		n.close()
	}
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.stop)
	}
	c.mu.Unlock()
	c.wg.Wait()
	return nil
}

// Stats returns the counts so far.
func (c *Client) Stats() ClientStats {
	s := ClientStats{Hits: c.hits.Load(), Misses: c.misses.Load(), Dials: c.dials.Load()}
	if c.init() != nil {
		return s
	}
	for _, n := range c.nodes {
		n.mu.Lock()
		s.Conns += len(n.pipes)
		if n.down != nil {
			s.Down = append(s.Down, n.address)
		}
		n.mu.Unlock()
	}
	return s
}

// background returns a context for what the client does on its own: it ends
// with the client, and after Timeout. Only goroutines of c.wg may call it.
func (c *Client) background() (context.Context, context.CancelFunc) {
	limit := c.timeout()
	if limit <= 0 {
		limit = time.Hour // a system gives up long before
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	c.wg.Go(func() {
		select {
		case <-c.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// A route is where the calls for a key go.
type route struct {
	node    *clientNode
	standIn bool // not where the key belongs
}

// route finds the server of the key.
func (c *Client) route(key string) route {
	home := 0
	if len(c.nodes) > 1 {
		home = c.pick(key)
	}
	v := c.view.Load()
	if v.up[home] || v.pick == nil || time.Now().Before(v.from) {
		return route{node: c.nodes[home]} // if it is down it will say so
	}
	return route{v.nodes[v.pick(key)], true}
}

// written notes that values at a stand-in may have changed: before a write, and
// again when it is over.
func (c *Client) written(r route) {
	if !r.standIn {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Servers count in seconds, so a value may live for two more.
	c.standIn = time.Now().Add(c.Failover + 2*time.Second)
	for _, n := range c.nodes {
		n.mu.Lock()
		n.missed = n.missed || n.down != nil
		n.mu.Unlock()
	}
}

// life returns how long a value may live there.
func (c *Client) life(r route, ttl time.Duration) time.Duration {
	if r.standIn && (ttl == 0 || ttl > c.Failover) {
		return c.Failover
	}
	return ttl
}

func (c *Client) selector() Selector {
	if c.Selector == nil {
		return Ketama
	}
	return c.Selector
}

func (c *Client) timeout() time.Duration     { return orDefault(c.Timeout, time.Second) }
func (c *Client) idleTimeout() time.Duration { return orDefault(c.IdleTimeout, time.Minute) }
func (c *Client) maxConns() int              { return orDefault(c.MaxConns, 2) }
func (c *Client) maxValue() int              { return orDefault(c.MaxValue, 1<<20) }
