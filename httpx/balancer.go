package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// A Policy says which node of a [Balancer] gets a request.
type Policy int

const (
	// RoundRobin gives each node its turn, those of more weight more turns,
	// evenly mixed.
	RoundRobin Policy = iota
	// LeastConnections takes the node with the fewest requests under way for
	// its weight.
	LeastConnections
	// HashKey takes the node that [Balancer.Key] leads to: the same as long as
	// that node is there, and when nodes come or go, others keep theirs.
	HashKey
)

// A Balancer spreads requests over nodes that can all answer them. It is an
// http.RoundTripper: put it below a [Proxy], or below a [Cache] below that.
// A node that fails is left out until it is well again, and requests that do
// no harm twice are sent to another. Its zero value has no nodes: see
// [Balancer.Add]. Close it.
type Balancer struct {
	Policy Policy // the zero value is RoundRobin
	// Key is what HashKey goes by; nil means the client's address, as a
	// [Proxy] passes it on, or else the URL.
	Key func(*http.Request) string

	Transport http.RoundTripper // nil means a [Transport] of its own

	// Check asks nodes whether they are well; nil does not.
	Check *HealthCheck
	// MaxFails is after how many failures in a row a node is left out; 0
	// means 2, negative never.
	MaxFails int
	// EjectTime is for how long, if there is no Check to say when it is well;
	// 0 means 5 seconds. It doubles each time, up to sixteen times as much.
	EjectTime time.Duration
	// SlowStart is how long a node that comes back, or is new, takes to get its
	// full share, except by HashKey; 0 means none.
	SlowStart time.Duration

	// MaxTries is how many nodes a request is sent to until one answers; 0
	// means 3. Again goes only what failed to connect, or what has an
	// idempotent method ([RFC 9110 section 9.2.2]) and no body or one that can
	// be had again.
	//
	// [RFC 9110 section 9.2.2]: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
	MaxTries int
	// RetryRatio is how many requests may be sent again, as a part of all, so
	// that a failure of many nodes is no flood for the rest; 0 means 0.2. A
	// hundred more are allowed at any time.
	RetryRatio float64

	// Sticky is the name of a cookie that keeps a client at its node; empty
	// sets none.
	Sticky string

	Trace *BalancerTrace // nil traces nothing

	once sync.Once
	own  *Transport

	mu     sync.Mutex
	nodes  []*node
	budget float64
	closed bool
	stats  BalancerStats
	wg     sync.WaitGroup
}

// A BalancerTrace is told what a [Balancer] does. Its functions are called by
// many goroutines at a time; nil ones are left out.
type BalancerTrace struct {
	Down    func(node *url.URL, why error)                  // a node is left out
	Up      func(node *url.URL)                             // it takes part again
	Retried func(r *http.Request, node *url.URL, err error) // what failed at node goes to another
}

// BalancerStats count what a [Balancer] has done.
type BalancerStats struct {
	Requests uint64 // asked for
	Retried  uint64 // sent again
	Failed   uint64 // got no response
}

// ErrNoNode says that there is no node to send a request to.
var ErrNoNode = errors.New("httpx: no node is available")

func (b *Balancer) start() {
	b.once.Do(func() {
		if b.Transport == nil {
			b.own = new(Transport)
		}
		b.budget = retryReserve
	})
}

func (b *Balancer) transport() http.RoundTripper {
	if b.own != nil {
		return b.own
	}
	return b.Transport
}

// retryReserve is what may be sent again although hardly anything was sent,
// and retryMost bounds what a quiet time saves up.
const (
	retryReserve = 100
	retryMost    = 1000
)

// mayRetry takes a retry off the budget.
func (b *Balancer) mayRetry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.budget < 1 {
		return false
	}
	b.budget--
	b.stats.Retried++
	return true
}

// Stats returns the counters.
func (b *Balancer) Stats() BalancerStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

// Close ends the checks and waits for them. Requests under way go on.
func (b *Balancer) Close() error {
	b.start()
	b.mu.Lock()
	b.closed = true
	for _, n := range b.nodes {
		n.stop()
	}
	b.mu.Unlock()
	b.wg.Wait()
	if b.own != nil {
		b.own.CloseIdleConnections()
	}
	return nil
}

// RoundTrip sends a request to a node, in whose URL the request's scheme and
// host are replaced and its path goes behind the node's own.
func (b *Balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	b.start()
	ratio := b.RetryRatio
	if ratio <= 0 {
		ratio = 0.2
	}
	b.mu.Lock()
	b.stats.Requests++
	b.budget = min(b.budget+ratio, retryMost)
	b.mu.Unlock()

	tries := b.MaxTries
	if tries <= 0 {
		tries = 3
	}
	var tried []*node
	var failed error
	for {
		n, stuck := b.pick(r, tried)
		if n == nil {
			if failed == nil {
				failed = ErrNoNode
			}
			break
		}
		out, err := n.request(r, len(tried) > 0)
		if err != nil {
			n.done(nil)
			failed = err
			break
		}
		resp, err := b.transport().RoundTrip(out)
		if err == nil {
			b.settle(n, resp)
			if b.Sticky != "" && !stuck {
				resp.Header.Add("Set-Cookie", (&http.Cookie{
					Name: b.Sticky, Value: n.id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
				}).String())
				// No cache may give this client's cookie to others.
				resp.Header.Add("Cache-Control", "private")
			}
			return resp, nil
		}
		if r.Context().Err() != nil { // the client's doing, not the node's
			n.done(nil)
			return nil, err
		}
		n.done(err)
		failed = fmt.Errorf("httpx: node %s: %w", n.url.Redacted(), err)
		tried = append(tried, n)
		if len(tried) >= tries || !again(r, err) || !b.mayRetry() {
			break
		}
		if t := b.Trace; t != nil && t.Retried != nil {
			t.Retried(r, n.url, err)
		}
	}
	b.mu.Lock()
	b.stats.Failed++
	b.mu.Unlock()
	closeBody(r)
	return nil, failed
}

// again reports whether a request that failed may be sent to another node.
func again(r *http.Request, err error) bool {
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return false
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return true // not a byte has been sent
	}
	return replayable(r)
}

// settle counts an answer, and the request as under way until its body ends.
func (b *Balancer) settle(n *node, resp *http.Response) {
	var failure error
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		failure = fmt.Errorf("httpx: status %d", resp.StatusCode)
	}
	n.answered(failure)
	counted := &countedBody{ReadCloser: resp.Body, n: n}
	if w, ok := resp.Body.(io.Writer); ok { // a connection that has changed its protocol
		resp.Body = struct {
			*countedBody
			io.Writer
		}{counted, w}
		return
	}
	resp.Body = counted
}

// A countedBody tells its node when it is over.
type countedBody struct {
	io.ReadCloser
	n    *node
	once sync.Once
}

func (c *countedBody) Close() error {
	c.once.Do(c.n.leave)
	return c.ReadCloser.Close()
}

// pick chooses a node, but none of tried, and counts the request as under way
// there. stuck says that the client's cookie chose.
func (b *Balancer) pick(r *http.Request, tried []*node) (n *node, stuck bool) {
	var key string
	if b.Policy == HashKey {
		key = b.key(r)
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Sticky != "" {
		if c, err := r.Cookie(b.Sticky); err == nil {
			if i := slices.IndexFunc(b.nodes, func(n *node) bool { return n.id == c.Value && n.well(now) && !slices.Contains(tried, n) }); i >= 0 {
				b.nodes[i].active++
				b.nodes[i].given++
				return b.nodes[i], true
			}
		}
	}
	usable := b.usable(now, tried)
	if len(usable) == 0 {
		return nil, false
	}
	switch b.Policy {
	case LeastConnections:
		n = leastBusy(usable, b.SlowStart, now)
	case HashKey:
		n = highest(usable, key)
	default:
		n = nextInTurn(usable, b.SlowStart, now)
	}
	n.active++
	n.given++
	return n, false
}

func (b *Balancer) key(r *http.Request) string {
	if b.Key != nil {
		return b.Key(r)
	}
	if client := r.Header.Get("X-Forwarded-For"); client != "" {
		return client
	}
	return r.URL.String()
}

// usable returns the nodes that may be chosen. When all are left out because
// of failures alone, it is better to try one of them than none. The lock is
// held.
func (b *Balancer) usable(now time.Time, tried []*node) (list []*node) {
	for _, n := range b.nodes {
		if n.well(now) && !n.draining && !slices.Contains(tried, n) {
			list = append(list, n)
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, n := range b.nodes {
		if n.checked && !n.draining && !slices.Contains(tried, n) {
			list = append(list, n)
		}
	}
	return list
}

// A HealthCheck asks nodes whether they are well.
type HealthCheck struct {
	Path     string        // asked for, behind that of the node; empty means "/"
	Interval time.Duration // between questions; 0 means 2 seconds
	Timeout  time.Duration // for the answer; 0 means one second
	Rise     int           // good answers in a row that bring a node back; 0 means 2
	Fall     int           // bad ones that take it out; 0 means 2
	// Well judges an answer; nil takes those with a status below 500: a server
	// that has nothing at Path is well all the same.
	Well func(*http.Response) bool
}

// ask asks once.
func (h *HealthCheck) ask(ctx context.Context, t http.RoundTripper, node *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, limit(h.Timeout, time.Second))
	defer cancel()
	path := h.Path
	if path == "" {
		path = "/"
	}
	u := *node
	u.Path, u.RawPath = joinPath(node, &url.URL{Path: path})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "zocalo-check")
	resp, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if h.Well != nil {
		if !h.Well(resp) {
			return fmt.Errorf("httpx: check: not well, status %d", resp.StatusCode)
		}
		return nil
	}
	if resp.StatusCode >= 500 {
		return fmt.Errorf("httpx: check: status %d", resp.StatusCode)
	}
	// Read, so that the connection serves for the next check.
	_, err = io.CopyN(io.Discard, resp.Body, 64<<10)
	if err == io.EOF {
		err = nil
	}
	return err
}
