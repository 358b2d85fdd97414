package httpx

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// A node is one that a Balancer sends requests to. The balancer's lock guards
// all but b, url and id.
type node struct {
	b      *Balancer
	url    *url.URL
	id     string // in cookies and for hashing
	weight float64
	stop   context.CancelFunc // ends its checks

	draining bool
	checked  bool      // the checks have nothing against it
	good     int       // checks that were well, in a row
	bad      int       // and that were not
	fails    int       // requests that failed in a row
	outUntil time.Time // left out because of them
	ejected  int       // how often in a row
	since    time.Time // it takes part since then

	active int     // requests under way
	given  uint64  // requests it got
	credit float64 // of the smooth weighted round robin
}

// NodeStatus says how a node does.
type NodeStatus struct {
	URL      *url.URL // as it was added
	Weight   float64  // compared with those of the others
	Well     bool     // it gets requests
	Draining bool     // but only what cookies lead to it
	Active   int      // requests under way
	Given    uint64   // requests it got, checks not counted
}

// Add adds a node, or gives one that is there another weight. A weight of 0
// counts as 1.
func (b *Balancer) Add(u *url.URL, weight float64) error {
	b.start()
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("httpx: node %q: not the URL of a server", u.Redacted())
	}
	if weight < 0 || math.IsInf(weight, 0) || math.IsNaN(weight) {
		return fmt.Errorf("httpx: node %s: weight %g", u.Redacted(), weight)
	}
	if weight == 0 {
		weight = 1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return net.ErrClosed
	}
	if n := b.find(u); n != nil {
		n.weight, n.draining = weight, false
		return nil
	}
	h := fnv.New64a()
	io.WriteString(h, u.String())
	n := &node{b: b, url: u, id: strconv.FormatUint(h.Sum64(), 36), weight: weight, checked: true, since: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	b.nodes = append(b.nodes, n)
	if b.Check != nil {
		b.wg.Go(func() { n.check(ctx, *b.Check) })
	}
	return nil
}

// find returns the node with a URL. The lock is held.
func (b *Balancer) find(u *url.URL) *node {
	for _, n := range b.nodes {
		if n.url.String() == u.String() {
			return n
		}
	}
	return nil
}

// Drain lets a node finish what it has and gives it nothing more, except what
// cookies lead to it; it reports whether there is such a node.
func (b *Balancer) Drain(u *url.URL) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.find(u)
	if n != nil {
		n.draining = true
	}
	return n != nil
}

// Remove takes a node away; it reports whether there was such a node. What is
// under way there goes on.
func (b *Balancer) Remove(u *url.URL) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.find(u)
	if n != nil {
		n.stop()
		b.nodes = slices.DeleteFunc(b.nodes, func(o *node) bool { return o == n })
	}
	return n != nil
}

// Nodes returns how the nodes do, in the order in which they were added.
func (b *Balancer) Nodes() (list []NodeStatus) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.nodes {
		list = append(list, NodeStatus{URL: n.url, Weight: n.weight, Well: n.well(now), Draining: n.draining, Active: n.active, Given: n.given})
	}
	return list
}

func (n *node) well(now time.Time) bool { return n.checked && !now.Before(n.outUntil) }

// share returns the weight of n, less while it starts slowly.
func (n *node) share(slow time.Duration, now time.Time) float64 {
	since := n.since
	if n.outUntil.After(since) {
		since = n.outUntil
	}
	if age := now.Sub(since); slow > 0 && age < slow {
		return n.weight * max(0.05, float64(age)/float64(slow))
	}
	return n.weight
}

// nextInTurn is the smooth weighted round robin: every node saves up its
// weight, the richest gets the request and pays for all.
func nextInTurn(nodes []*node, slow time.Duration, now time.Time) *node {
	var best *node
	total := 0.0
	for _, n := range nodes {
		share := n.share(slow, now)
		total += share
		if n.credit += share; best == nil || n.credit > best.credit+1e-9 {
			best = n
		}
	}
	best.credit -= total
	return best
}

// leastBusy takes turns among equals.
func leastBusy(nodes []*node, slow time.Duration, now time.Time) *node {
	var equals []*node
	least := math.Inf(1)
	for _, n := range nodes {
		load := float64(n.active) / n.share(slow, now)
		if load < least {
			least, equals = load, equals[:0]
		}
		if load == least {
			equals = append(equals, n)
		}
	}
	return nextInTurn(equals, slow, now)
}

// highest is rendezvous hashing: key and node make a number, and the node with
// the highest wins. When a node goes, only its keys move; when one comes, it
// takes from each of the others what it is due.
func highest(nodes []*node, key string) *node {
	var best *node
	score := math.Inf(-1)
	for _, n := range nodes {
		h := fnv.New64a()
		io.WriteString(h, n.id)
		h.Write([]byte{0})
		io.WriteString(h, key)
		// Weighted: the logarithm of a number from 0 to 1, divided by the
		// weight, is highest with a probability in proportion to the weight.
		u := (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
		if s := math.Log(u) / n.weight; s > score {
			best, score = n, s
		}
	}
	return best
}

// mix spreads the bits of a hash evenly (the last steps of MurmurHash3): FNV
// leaves those of the last bytes in its lower half.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// request returns r as this node gets it.
func (n *node) request(r *http.Request, again bool) (*http.Request, error) {
	out := r.WithContext(r.Context())
	u := *n.url
	u.Path, u.RawPath = joinPath(n.url, r.URL)
	u.RawQuery, u.ForceQuery = r.URL.RawQuery, r.URL.ForceQuery
	out.URL = &u
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	if again && r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	return out, nil
}

// leave counts a request as over.
func (n *node) leave() {
	n.b.mu.Lock()
	defer n.b.mu.Unlock()
	n.active--
}

// done counts a request as over that got no answer, err being the node's fault.
func (n *node) done(err error) {
	n.leave()
	if err != nil {
		n.answered(err)
	}
}

// answered judges n by the outcome of a request.
func (n *node) answered(failure error) {
	b := n.b
	most := b.MaxFails
	if most == 0 {
		most = 2
	}
	now := time.Now()
	b.mu.Lock()
	if failure == nil {
		n.fails = 0
		if n.well(now) {
			n.ejected = 0
		}
		b.mu.Unlock()
		return
	}
	n.fails++
	out := most > 0 && n.fails >= most && n.well(now)
	if out {
		n.fails = 0
		if b.Check != nil {
			n.checked, n.good = false, 0 // the checks know when it is well
		} else {
			n.outUntil = now.Add(limit(b.EjectTime, 5*time.Second) << min(n.ejected, 4))
			n.ejected++
		}
	}
	b.mu.Unlock()
	if t := b.Trace; out && t != nil && t.Down != nil {
		t.Down(n.url, failure)
	}
}

// check asks n again and again whether it is well. Until it is asked first, it
// is taken to be.
func (n *node) check(ctx context.Context, how HealthCheck) {
	rise, fall := how.Rise, how.Fall
	if rise <= 0 {
		rise = 2
	}
	if fall <= 0 {
		fall = 2
	}
	ticker := time.NewTicker(max(time.Millisecond, limit(how.Interval, 2*time.Second)))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := how.ask(ctx, n.b.transport(), n.url)
		if ctx.Err() != nil {
			return
		}
		n.judge(err, rise, fall)
	}
}

// judge takes n in or out as the checks say, of which one has just ended.
func (n *node) judge(why error, rise, fall int) {
	b := n.b
	b.mu.Lock()
	if why == nil {
		n.good, n.bad = n.good+1, 0
	} else {
		n.good, n.bad = 0, n.bad+1
	}
	up, down := n.good >= rise && !n.checked, n.bad >= fall && n.checked
	if up {
		n.checked, n.fails, n.credit, n.since = true, 0, 0, time.Now()
	} else if down {
		n.checked = false
	}
	b.mu.Unlock()
	t := b.Trace
	switch {
	case t == nil:
	case up && t.Up != nil:
		t.Up(n.url)
	case down && t.Down != nil:
		t.Down(n.url, why)
	}
}
