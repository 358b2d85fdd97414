package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zocalo-go/zocalo/httpx"
)

// A way is how a browser fetches a page and the objects in it.
type way struct {
	name  string // for -how
	title string
	fetch func(ctx context.Context, b *browser, page string) error
	// rounds is the formula: the round trips to the server for a page with
	// so many objects, by so many connections at a time. Looking up the name
	// comes before, sending the bytes on top.
	rounds func(objects, parallel int) int
	// handshakes is how many connections are opened.
	handshakes func(objects, parallel int) int
}

// ways are those of the exercise. Each begins with the page, since only the
// page says which objects there are: a round trip to connect, another for the
// request.
var ways = []way{
	{
		"one", "non-persistent, one by one", oneByOne,
		func(n, _ int) int { return 2 + 2*n },
		func(n, _ int) int { return 1 + n },
	},
	{
		"parallel", "non-persistent, in parallel", inParallel,
		func(n, k int) int { return 2 + 2*((n+k-1)/k) },
		func(n, _ int) int { return 1 + n },
	},
	{
		"persistent", "persistent", persistent,
		func(n, _ int) int { return 2 + n },
		func(int, int) int { return 1 },
	},
	{
		"pipelined", "persistent, pipelined", pipelined,
		func(n, _ int) int { return 2 + min(n, 1) },
		func(int, int) int { return 1 },
	},
	{
		"both", "persistent, in parallel", persistentParallel,
		bothRounds,
		func(n, k int) int { return max(1, min(n, k)) },
	},
}

// bothRounds counts for persistent connections in parallel: the page's own is
// ready for an object at once, the others have to connect first.
func bothRounds(n, k int) int {
	rounds := 0
	for done := 0; done < n; {
		rounds++
		done++ // by the page's connection
		if rounds > 1 {
			done += k - 1
		}
	}
	return 2 + rounds
}

// A browser fetches over a network of our choice, and counts.
type browser struct {
	dial     func(ctx context.Context) (net.Conn, error)
	host     string // what the field Host says
	parallel int    // connections at a time
	timeout  time.Duration

	connections, requests atomic.Int64
	received              atomic.Int64 // bytes of bodies
}

// maxObject and maxObjects bound what a server can make us read and ask for.
const (
	maxObject  = 16 << 20
	maxObjects = 1000
)

// A connection is one to the server.
type connection struct {
	b    *browser
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
}

// connect opens a connection, which ends with ctx. It takes a round trip: SYN
// and its answer. The third packet of the handshake travels with the request.
func (b *browser) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	conn, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(b.timeout)); err != nil {
		conn.Close()
		return nil, err
	}
	b.connections.Add(1)
	return &connection{b: b, conn: conn, in: bufio.NewReader(conn), out: bufio.NewWriter(conn)}, nil
}

func (c *connection) close() { c.conn.Close() }

// ask sends a request for a path; last announces that no other will follow.
func (c *connection) ask(ctx context.Context, path string, last bool) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.b.host+path, nil)
	if err != nil {
		return nil, err
	}
	r.Close = last
	c.b.requests.Add(1)
	if err := httpx.WriteRequest(c.out, r, false); err != nil {
		return nil, err
	}
	return r, c.out.Flush()
}

// answer reads the response to r to its end.
func (c *connection) answer(r *http.Request) ([]byte, error) {
	response, err := httpx.ReadResponse(c.in, r, &httpx.Limits{MaxBody: maxObject})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: the server answers %s", r.URL, response.Status)
	}
	body, err := io.ReadAll(response.Body)
	c.b.received.Add(int64(len(body)))
	return body, err
}

// get asks and waits for the answer: a round trip.
func (c *connection) get(ctx context.Context, path string, last bool) ([]byte, error) {
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	r, err := c.ask(ctx, path, last)
	if err != nil {
		return nil, err
	}
	return c.answer(r)
}

// getAlone fetches a path by a connection of its own.
func (b *browser) getAlone(ctx context.Context, path string) ([]byte, error) {
	c, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.get(ctx, path, true)
}

var source = regexp.MustCompile(`(?i)<img[^>]* src="(/[^"]*)"`)

// objects finds what else a page consists of.
func objects(page []byte) (paths []string) {
	for _, match := range source.FindAllSubmatch(page, maxObjects) {
		paths = append(paths, string(match[1]))
	}
	return paths
}

// oneByOne: HTTP as it was first. Each object costs a handshake.
func oneByOne(ctx context.Context, b *browser, page string) error {
	body, err := b.getAlone(ctx, page)
	if err != nil {
		return err
	}
	for _, path := range objects(body) {
		if _, err := b.getAlone(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// inParallel: as many connections at a time as b.parallel says.
func inParallel(ctx context.Context, b *browser, page string) error {
	body, err := b.getAlone(ctx, page)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.parallel)
	for _, path := range objects(body) {
		group.Go(func() error {
			_, err := b.getAlone(ctx, path)
			return err
		})
	}
	return group.Wait()
}

// open fetches the page by a connection that stays open, and says what else
// there is to fetch.
func (b *browser) open(ctx context.Context, page string) (c *connection, paths []string, err error) {
	if c, err = b.connect(ctx); err != nil {
		return nil, nil, err
	}
	body, err := c.get(ctx, page, false)
	if err != nil {
		c.close()
		return nil, nil, err
	}
	return c, objects(body), nil
}

// persistent: one connection for all, one request at a time.
func persistent(ctx context.Context, b *browser, page string) error {
	c, paths, err := b.open(ctx, page)
	if err != nil {
		return err
	}
	defer c.close()
	for _, path := range paths {
		if _, err := c.get(ctx, path, false); err != nil {
			return err
		}
	}
	return nil
}

// pipelined: one connection, and all requests for objects at once. A server
// answers in the order of the requests (RFC 9112 section 9.3.2).
func pipelined(ctx context.Context, b *browser, page string) error {
	c, paths, err := b.open(ctx, page)
	if err != nil {
		return err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	asked := make(chan *http.Request, maxObjects)
	group.Go(func() error { // while the answers are read: both sides may have much to send
		defer close(asked)
		for _, path := range paths {
			r, err := c.ask(ctx, path, false)
			if err != nil {
				return err
			}
			asked <- r
		}
		return nil
	})
	group.Go(func() error {
		for r := range asked {
			if _, err := c.answer(r); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// persistentParallel: what browsers do. The page's connection goes on, and
// others are opened beside it.
func persistentParallel(ctx context.Context, b *browser, page string) error {
	first, all, err := b.open(ctx, page)
	if err != nil {
		return err
	}
	defer first.close()
	paths := make(chan string, len(all))
	for _, path := range all {
		paths <- path
	}
	close(paths)
	work := func(ctx context.Context, c *connection) error {
		for path := range paths {
			if _, err := c.get(ctx, path, false); err != nil {
				return err
			}
		}
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return work(ctx, first) })
	for range min(b.parallel, len(all)) - 1 {
		group.Go(func() error {
			c, err := b.connect(ctx)
			if err != nil {
				return err
			}
			defer c.close()
			return work(ctx, c)
		})
	}
	return group.Wait()
}
