package cache

import (
	"context"
	"errors"
	"fmt"
)

// A batch travels as one call: at most so many requests, or bytes of them.
const (
	maxBatch      = 256
	maxBatchBytes = 64 << 10
)

// A batch is some of the requests of a GetMulti or SetMulti, for one server.
type batch struct {
	route route
	call  *exchange
	items []int32 // which ones
	err   error
}

// batches collects requests by server and sends a batch as soon as it is full.
type batches struct {
	client *Client
	size   int // how many requests there are in all
	all    []*batch
	open   []*batch // those that are being filled, by route
}

func (c *Client) newBatches(size int) *batches {
	return &batches{client: c, size: size, open: make([]*batch, 2*len(c.nodes))}
}

// add returns the batch to which request i, with this key, is to be added.
func (b *batches) add(ctx context.Context, i int, key string) *batch {
	r := b.client.route(key)
	at := 2 * r.node.index
	if r.standIn {
		at++
	}
	one := b.open[at]
	if one != nil && (len(one.items) >= maxBatch || len(one.call.request) >= maxBatchBytes) {
		one.submit(ctx)
		one = nil
	}
	if one == nil {
		one = &batch{route: r, call: b.client.newExchange(maxBatch, setAnswers), items: make([]int32, 0, min(b.size-i, maxBatch))}
		b.all = append(b.all, one)
		b.open[at] = one
	}
	one.items = append(one.items, int32(i))
	return one
}

func (b *batch) submit(ctx context.Context) {
	if b.call.carries {
		b.route.node.client.written(b.route)
	} else {
		b.call.word("\r\n")
	}
	b.err = b.route.node.submit(ctx, b.call)
}

// finish sends what is not yet sent, waits for all and gives the answers to f,
// with the numbers of their requests; an error of f is one of finish. What
// fails at one server is said once.
func (b *batches) finish(ctx context.Context, op string, f func(i int, n *clientNode, a *answer) error) error {
	for _, one := range b.open {
		if one != nil {
			one.submit(ctx)
		}
	}
	var errs []error
	failed := map[*clientNode]bool{}
	for _, one := range b.all {
		n := one.route.node
		if one.err == nil {
			one.err = one.call.wait(ctx)
		}
		if one.call.carries {
			b.client.written(one.route) // even if it failed, it may have happened
		}
		if one.err != nil {
			if !failed[n] {
				failed[n] = true
				errs = append(errs, fmt.Errorf("cache: %s at %s: %w", op, n.address, one.err))
			}
			continue
		}
		for j, i := range one.items {
			if err := f(int(i), n, &one.call.answers[j]); err != nil {
				errs = append(errs, err)
			}
		}
		b.client.free(one.call)
	}
	return errors.Join(errs...)
}

// GetMulti asks for many keys at a time, each server for its own, and returns
// the values that are there. If something failed the error says what, and the
// map has what came all the same.
func (c *Client) GetMulti(ctx context.Context, keys []string) (map[string][]byte, error) {
	if err := c.init(); err != nil {
		return nil, err
	}
	for _, key := range keys {
		if !validKey(key) {
			return nil, badKey(key)
		}
	}
	b := c.newBatches(len(keys))
	for i, key := range keys {
		// The text protocol has a request for many keys, which costs the
		// server less than many requests.
		call := b.add(ctx, i, key).call
		if len(call.keys) == 0 {
			call.word("get")
		}
		call.word(" ")
		call.word(key)
		call.keys = append(call.keys, key)
	}
	found, misses := make(map[string][]byte, len(keys)), 0
	err := b.finish(ctx, "get", func(i int, _ *clientNode, a *answer) error {
		if a.status == "VA" {
			found[keys[i]] = a.value
		} else {
			misses++
		}
		return nil
	})
	c.hits.Add(uint64(len(found)))
	c.misses.Add(uint64(misses))
	return found, err
}

// SetMulti stores many items at a time, as [Client.SetItem] does one. If an item
// cannot be stored at all ([ErrKey], [ErrTooLarge]) none is; else the error says
// what went wrong, and the other items are stored.
func (c *Client) SetMulti(ctx context.Context, items []Item) error {
	if err := c.init(); err != nil {
		return err
	}
	for i := range items {
		if !validKey(items[i].Key) {
			return badKey(items[i].Key)
		}
		if len(items[i].Value) > c.maxValue() {
			return c.tooLarge("set", &items[i])
		}
	}
	b := c.newBatches(len(items))
	for i := range items {
		item := &items[i]
		one := b.add(ctx, i, item.Key)
		one.call.word("ms ")
		one.call.word(item.Key)
		one.call.item(item, "", c.life(one.route, item.TTL))
	}
	return b.finish(ctx, "set", func(i int, n *clientNode, a *answer) error {
		if err := a.outcome(); err != nil {
			return n.failed("set", items[i].Key, err)
		}
		return nil
	})
}
