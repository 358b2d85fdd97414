package mq

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// waiters are goroutines that wait until something has changed. The lock that
// guards it also guards the lists.
type waiters struct {
	list  []chan struct{}
	spare []chan struct{} // for the next that wait
}

func (w *waiters) wakeOne() {
	if len(w.list) > 0 {
		w.list[0] <- struct{}{}
		w.list = slices.Delete(w.list, 0, 1)
	}
}

func (w *waiters) wakeAll() {
	for _, ch := range w.list {
		ch <- struct{}{}
	}
	clear(w.list)
	w.list = w.list[:0]
}

// add enters the caller, who must hold the lock and call block next.
func (w *waiters) add() chan struct{} {
	var ch chan struct{}
	if last := len(w.spare) - 1; last >= 0 {
		ch, w.spare = w.spare[last], w.spare[:last]
	} else {
		ch = make(chan struct{}, 1)
	}
	w.list = append(w.list, ch)
	return ch
}

// block waits, without the lock mu, until ch is woken or ctx ends. It returns
// with the lock held.
func (w *waiters) block(ctx context.Context, mu *sync.Mutex, ch chan struct{}) {
	select {
	case <-ch:
		mu.Lock()
	case <-ctx.Done():
		mu.Lock()
		if i := slices.Index(w.list, ch); i >= 0 {
			w.list = slices.Delete(w.list, i, i+1)
		} else {
			<-ch // somebody has woken us meanwhile
		}
	}
	w.spare = append(w.spare, ch)
}

// A queue holds the messages that came from one peer and were not received yet.
// Producers append to in; receivers take from out, and swap the two when it is
// empty, so that they seldom meet at the lock.
type queue struct {
	box  *inbox
	from *pipe // the receiving socket's pipe; inproc: nil until it is joined

	mu       sync.Mutex
	in       []Msg
	limit    int
	conflate bool   // only the newest message counts
	arrived  uint64 // messages that came so far
	listed   bool   // in the inbox's ready list or rotation
	closed   bool   // nothing more is taken
	room     sync.Cond
	sender   *pipe    // inproc: whom to tell when there is room
	prefix   [][]byte // frames before each message: a ROUTER's name for the peer

	out  []Msg  // under inbox.take
	next int    // first of out that is left
	got  uint64 // messages taken from out so far
}

func newQueue(box *inbox, from *pipe, limit int, conflate bool) *queue {
	q := &queue{box: box, from: from, limit: limit, conflate: conflate}
	q.room.L = &q.mu
	return q
}

// put adds a batch of messages, for which it waits until there is room. A closed
// queue takes nothing.
func (q *queue) put(batch []Msg) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.in) > 0 && len(q.in)+len(batch) > q.limit && !q.conflate && !q.closed {
		q.room.Wait()
	}
	if !q.closed {
		q.add(batch...)
	}
}

// add appends messages; q.mu is held.
func (q *queue) add(batch ...Msg) {
	if q.conflate {
		clear(q.in)
		q.in, batch = q.in[:0], batch[len(batch)-1:]
	}
	q.in = append(q.in, batch...)
	q.arrived += uint64(len(batch))
	q.list()
}

// count returns how many messages have come so far.
func (q *queue) count() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.arrived
}

// roomFor returns how many messages the queue takes now. If that is none, it
// will tell sender when there is room.
func (q *queue) roomFor(sender *pipe) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return 0
	case q.conflate:
		return 1
	case len(q.in) >= q.limit:
		q.sender = sender
		return 0
	}
	return q.limit - len(q.in)
}

// note adds a message that need not wait for room while the queue is shorter
// than limit; it reports whether it was.
func (q *queue) note(m Msg, limit int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.in) >= limit {
		return false
	}
	q.add(m)
	return true
}

// setPrefix lets every message begin with a ROUTER's name for the peer, also
// those that are there already.
func (q *queue) setPrefix(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	old := len(q.prefix)
	q.prefix = [][]byte{[]byte(key)}
	if q.box == nil { // an inproc queue that nobody has received from
		for i, m := range q.in {
			q.in[i] = append(Msg{[]byte(key)}, m[old:]...)
		}
	}
}

// list makes receivers aware of q; q.mu is held.
func (q *queue) list() {
	if !q.listed && q.box != nil && len(q.in) > 0 {
		q.listed = true
		q.box.add(q)
	}
}

// close lets nothing more in. What is there can still be received.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.room.Broadcast()
	q.mu.Unlock()
}

// refill swaps in and out, or takes q off the list if nothing is there. It is
// called with inbox.take held.
func (q *queue) refill() bool {
	q.mu.Lock()
	if len(q.in) == 0 {
		q.listed = false
		q.mu.Unlock()
		return false
	}
	q.in, q.out, q.next = q.out[:0], q.in, 0
	q.room.Signal()
	sender := q.sender
	q.sender = nil
	q.mu.Unlock()
	if sender != nil {
		sender.s.mu.Lock()
		sender.s.room.wakeAll()
		sender.s.mu.Unlock()
	}
	return true
}

// An inbox is the receiving side of a socket: the queues of its peers, from
// which messages are taken in turn.
type inbox struct {
	news    atomic.Bool  // ready is not empty
	waiting atomic.Int32 // receivers that wait

	mu     sync.Mutex
	ready  []*queue // have become non-empty
	wait   waiters
	closed bool

	take     sync.Mutex // held to receive
	rotation []*queue   // those with something in out, and perhaps in
	turn     int
	got      uint64
}

func (b *inbox) add(q *queue) {
	b.mu.Lock()
	b.ready = append(b.ready, q)
	b.news.Store(true)
	b.wait.wakeOne()
	b.mu.Unlock()
}

// An arrival is a message in the inbox.
type arrival struct {
	msg  Msg // nil if there is none
	from *pipe
	nth  uint64 // of the messages from there
}

// next returns the next message, if there is one; take is held.
func (b *inbox) next() arrival {
	if b.news.Load() {
		b.mu.Lock()
		if b.closed {
			b.ready, b.rotation = nil, nil
			b.mu.Unlock()
			return arrival{}
		}
		b.rotation = append(b.rotation, b.ready...)
		clear(b.ready)
		b.ready = b.ready[:0]
		b.news.Store(false)
		b.mu.Unlock()
	}
	for len(b.rotation) > 0 {
		if b.turn >= len(b.rotation) {
			b.turn = 0
		}
		q := b.rotation[b.turn]
		if q.next == len(q.out) && !q.refill() {
			last := len(b.rotation) - 1
			copy(b.rotation[b.turn:], b.rotation[b.turn+1:])
			b.rotation[last] = nil
			b.rotation = b.rotation[:last]
			continue
		}
		m := q.out[q.next]
		q.out[q.next] = nil
		q.next++
		q.got++
		b.got++
		b.turn++
		return arrival{m, q.from, q.got}
	}
	return arrival{}
}

// recv returns the next message, waiting for it until ctx ends (then none, with
// ok) or the inbox is closed (ok is false).
func (b *inbox) recv(ctx context.Context) (a arrival, ok bool) {
	for {
		b.take.Lock()
		if a = b.next(); a.msg != nil {
			more := len(b.rotation) > 0
			b.take.Unlock()
			if more && b.waiting.Load() > 0 {
				b.mu.Lock()
				b.wait.wakeOne()
				b.mu.Unlock()
			}
			return a, true
		}
		b.mu.Lock()
		if len(b.ready) > 0 && !b.closed {
			b.mu.Unlock()
			b.take.Unlock()
			continue
		}
		if b.closed || ctx.Err() != nil {
			ok = !b.closed
			b.mu.Unlock()
			b.take.Unlock()
			return arrival{}, ok
		}
		// Entered before take is given up: whoever takes a message from now on
		// and leaves others sees that somebody waits.
		b.waiting.Add(1)
		ch := b.wait.add()
		b.mu.Unlock()
		b.take.Unlock()
		b.wait.block(ctx, &b.mu, ch)
		b.waiting.Add(-1)
		b.mu.Unlock()
	}
}

func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.news.Store(true) // receivers look
	b.wait.wakeAll()
	b.mu.Unlock()
}
