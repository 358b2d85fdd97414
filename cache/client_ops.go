package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Get returns the value of key; [ErrMiss] if there is none.
func (c *Client) Get(ctx context.Context, key string) ([]byte, error) {
	r, call, err := c.begin("mg ", key, "VA EN")
	if err != nil {
		return nil, err
	}
	call.word(" v")
	call.end()
	a, err := c.finish(ctx, "get", key, r, call)
	c.count(err)
	return a.value, err
}

// GetItem returns the value of key with all that the server keeps about it.
func (c *Client) GetItem(ctx context.Context, key string) (Item, error) {
	r, call, err := c.begin("mg ", key, "VA EN")
	if err != nil {
		return Item{}, err
	}
	call.word(wholeItem)
	call.end()
	a, err := c.finish(ctx, "get", key, r, call)
	c.count(err)
	if err != nil {
		return Item{}, err
	}
	return a.item(key), nil
}

// wholeItem asks for the value, flags, CAS number and time to live.
const wholeItem = " v f c t"

func (a *answer) item(key string) Item {
	return Item{Key: key, Value: a.value, Flags: a.flags, TTL: a.ttl, CAS: a.cas}
}

// Set stores value under key for ttl, rounded up to whole seconds; 0 means
// without end. The server may drop it earlier to make room.
func (c *Client) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return c.store(ctx, "set", "", Item{Key: key, Value: value, TTL: ttl})
}

// SetItem stores an item with its flags. Its CAS number is ignored.
func (c *Client) SetItem(ctx context.Context, item Item) error {
	return c.store(ctx, "set", "", item)
}

// Add stores the item if its key is not there, else the error is [ErrNotStored].
func (c *Client) Add(ctx context.Context, item Item) error {
	return c.store(ctx, "add", " ME", item)
}

// Replace stores the item if its key is there, else the error is [ErrNotStored].
func (c *Client) Replace(ctx context.Context, item Item) error {
	return c.store(ctx, "replace", " MR", item)
}

// Append adds to the end of a value; the error is [ErrNotStored] if there is none.
func (c *Client) Append(ctx context.Context, key string, value []byte) error {
	return c.store(ctx, "append", " MA", Item{Key: key, Value: value})
}

// Prepend adds to the front of a value; the error is [ErrNotStored] if there is none.
func (c *Client) Prepend(ctx context.Context, key string, value []byte) error {
	return c.store(ctx, "prepend", " MP", Item{Key: key, Value: value})
}

// CompareAndSwap stores an item that came from [Client.GetItem] and has been
// changed since. If somebody else has changed it on the server the error is
// [ErrConflict]: get it again, and try again. If it is gone the error is
// [ErrMiss].
func (c *Client) CompareAndSwap(ctx context.Context, item Item) error {
	if item.CAS == 0 { // to a server that means no condition
		return fmt.Errorf("%w: an item %q without a CAS number", ErrConflict, item.Key)
	}
	return c.store(ctx, "cas", casMode, item)
}

const (
	casMode    = " C"
	setAnswers = "HD NS EX NF" // the answers to ms
)

func (c *Client) store(ctx context.Context, op, mode string, item Item) error {
	if len(item.Value) > c.maxValue() {
		return c.tooLarge(op, &item)
	}
	r, call, err := c.begin("ms ", item.Key, setAnswers)
	if err != nil {
		return err
	}
	call.item(&item, mode, c.life(r, item.TTL))
	c.written(r)
	_, err = c.finish(ctx, op, item.Key, r, call)
	c.written(r)
	return err
}

func (c *Client) tooLarge(op string, item *Item) error {
	return fmt.Errorf("%w: %s %q with %d bytes, at most %d", ErrTooLarge, op, item.Key, len(item.Value), c.maxValue())
}

// item writes the rest of a request ms.
func (c *exchange) item(item *Item, mode string, ttl time.Duration) {
	c.arg(" ", uint64(len(item.Value)))
	if mode == casMode {
		c.arg(casMode, item.CAS)
	} else {
		c.word(mode)
	}
	if item.Flags != 0 {
		c.arg(" F", uint64(item.Flags))
	}
	if ttl != 0 {
		c.ttl(ttl)
	}
	c.end()
	c.request = slices.Grow(c.request, len(item.Value)+2)
	c.request = append(c.request, item.Value...)
	c.request = append(c.request, "\r\n"...)
	c.carries = true
}

// Delete removes key; [ErrMiss] if it was not there.
func (c *Client) Delete(ctx context.Context, key string) error {
	r, call, err := c.begin("md ", key, "HD NF")
	if err != nil {
		return err
	}
	call.end()
	c.written(r)
	_, err = c.finish(ctx, "delete", key, r, call)
	return err
}

// Touch gives the item of key a new time to live; 0 means without end.
func (c *Client) Touch(ctx context.Context, key string, ttl time.Duration) error {
	r, call, err := c.begin("mg ", key, "HD EN")
	if err != nil {
		return err
	}
	call.ttl(c.life(r, ttl))
	call.end()
	c.written(r)
	_, err = c.finish(ctx, "touch", key, r, call)
	c.written(r)
	return err
}

// Increment adds delta to the value of key, a decimal number of 64 bits that
// wraps around, and returns the result; [ErrMiss] if there is no value.
func (c *Client) Increment(ctx context.Context, key string, delta uint64) (uint64, error) {
	return c.arithmetic(ctx, "increment", " MI", key, delta)
}

// Decrement subtracts delta from the value of key, which stops at 0, and
// returns the result.
func (c *Client) Decrement(ctx context.Context, key string, delta uint64) (uint64, error) {
	return c.arithmetic(ctx, "decrement", " MD", key, delta)
}

func (c *Client) arithmetic(ctx context.Context, op, mode, key string, delta uint64) (uint64, error) {
	r, call, err := c.begin("ma ", key, "VA NF")
	if err != nil {
		return 0, err
	}
	call.word(" v")
	call.word(mode)
	call.arg(" D", delta)
	call.end()
	c.written(r)
	a, err := c.finish(ctx, op, key, r, call)
	if err != nil {
		return 0, err
	}
	n, ok := number(a.value)
	if !ok {
		return 0, r.node.failed(op, key, fmt.Errorf("%w: %.30q is no number", errAnswer, a.value))
	}
	return n, nil
}

// begin finds the server of the key and begins a request to which the server may
// answer with one of the words in expect.
func (c *Client) begin(command, key, expect string) (route, *exchange, error) {
	if err := c.init(); err != nil {
		return route{}, nil, err
	}
	if !validKey(key) {
		return route{}, nil, badKey(key)
	}
	call := c.newExchange(1, expect)
	call.word(command)
	call.word(key)
	return c.route(key), call, nil
}

func badKey(key string) error { return fmt.Errorf("%w: %.60q", ErrKey, key) }

// finish sends the request and returns the answer.
func (c *Client) finish(ctx context.Context, op, key string, r route, call *exchange) (a answer, err error) {
	if err = r.node.submit(ctx, call); err == nil {
		err = call.wait(ctx)
	}
	if err != nil {
		return answer{}, r.node.failed(op, key, err)
	}
	a = call.answers[0]
	c.free(call)
	err = a.outcome()
	if a.status == "" {
		err = r.node.failed(op, key, err)
	}
	return a, err
}

// wait waits for the answers. If ctx ends before, the call is lost to the
// connection and must not be used again.
func (c *exchange) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// outcome says what an answer means to the caller.
func (a *answer) outcome() error {
	switch a.status {
	case "EN", "NF":
		return ErrMiss
	case "NS":
		return ErrNotStored
	case "EX":
		return ErrConflict
	case "":
		return &ReplyError{a.refusal}
	}
	return nil
}

// failed says what was tried, and where.
func (n *clientNode) failed(op, key string, err error) error {
	return fmt.Errorf("cache: %s %q at %s: %w", op, key, n.address, err)
}

func (c *Client) count(err error) {
	switch err {
	case nil:
		c.hits.Add(1)
	case ErrMiss:
		c.misses.Add(1)
	}
}

// FlushAll removes all items from all servers.
func (c *Client) FlushAll(ctx context.Context) error {
	_, err := c.everywhere(ctx, "flush_all", false)
	return err
}

// ServerStats asks all servers for their statistics: the general ones, or those
// that name says, such as "items" or "settings". The first key of the result
// is the server's address, the second the statistic's name.
func (c *Client) ServerStats(ctx context.Context, name string) (map[string]map[string]string, error) {
	request := "stats"
	if name != "" {
		if !validKey(name) {
			return nil, fmt.Errorf("cache: no name of statistics: %.60q", name)
		}
		request += " " + name
	}
	lines, err := c.everywhere(ctx, request, true)
	all := map[string]map[string]string{}
	for addr, lines := range lines {
		one := make(map[string]string, len(lines))
		for _, line := range lines {
			name, value, _ := strings.Cut(line, " ")
			one[name] = value
		}
		all[addr] = one
	}
	return all, err
}

// everywhere sends a request to all servers and returns the lists that they answer.
func (c *Client) everywhere(ctx context.Context, request string, stats bool) (map[string][]string, error) {
	if err := c.init(); err != nil {
		return nil, err
	}
	calls := make([]*exchange, len(c.nodes))
	errs := make([]error, len(c.nodes))
	for i, n := range c.nodes {
		calls[i] = c.newExchange(1, "OK")
		calls[i].want, calls[i].stats = 1, stats
		calls[i].word(request)
		calls[i].word("\r\n")
		errs[i] = n.submit(ctx, calls[i])
	}
	lines := map[string][]string{}
	for i, n := range c.nodes {
		if errs[i] == nil {
			errs[i] = calls[i].wait(ctx)
		}
		if errs[i] == nil {
			errs[i] = calls[i].answers[0].outcome()
			lines[n.address] = calls[i].lines
			c.free(calls[i])
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("cache: %s at %s: %w", request, n.address, errs[i])
		}
	}
	return lines, errors.Join(errs...)
}
