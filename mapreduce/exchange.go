package mapreduce

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/zocalo-go/zocalo/framing"
)

// giveResults serves reducers until ctx ends: the tables of a mapper go to them
// directly, not through the master.
func (v *visit) giveResults(ctx context.Context, ln net.Listener) {
	server := framing.Server{Handler: v.give, Logger: v.w.Logger, Grace: -1, Linger: -1, Config: v.fetchConfig()}
	_ = server.Serve(ctx, ln) // the worker's end, or reducers say what they miss
}

// fetchConfig is patient with mappers that are busy: the master tells when one
// is gone. The limits are for those that only this reducer cannot reach.
func (v *visit) fetchConfig() framing.Config {
	limit := 3 * v.timeout
	return framing.Config{MaxSize: maxMessage, IdleTimeout: limit, ReadTimeout: limit, WriteTimeout: limit}
}

// give answers one reducer: it says which table it is ready for, and gets it.
func (v *visit) give(ctx context.Context, c *framing.Conn) error {
	l := link{c}
	for {
		m, _, err := l.receive(ctx)
		if err != nil {
			return err
		}
		if m == nil || m.Type != msgFetch || subtle.ConstantTimeCompare([]byte(m.Token), []byte(v.token)) == 0 {
			return fmt.Errorf("mapreduce: %v is no reducer of this master: %w", l.RemoteAddr(), errMalformed)
		}
		if err := v.giveOne(ctx, l, m); err != nil {
			return err
		}
	}
}

func (v *visit) giveOne(ctx context.Context, l link, m *message) error {
	v.mu.Lock()
	r := v.results[m.ID]
	v.mu.Unlock()
	if r != nil {
		r.mu.RLock()
		defer r.mu.RUnlock()
	}
	if r == nil || r.out == nil || m.Partition < 0 || m.Partition >= r.partitions {
		return l.send(ctx, &message{Type: msgFailed, ID: m.ID, Reason: "there is no such result"})
	}
	if err := l.send(ctx, &message{Type: msgOutput, ID: m.ID}); err != nil {
		return err
	}
	to := newChunkWriter(ctx, l)
	if err := r.out.writeTo(ctx, to, m.Partition); err != nil {
		return err // the reducer sees that the stream is cut
	}
	return to.Close()
}

// A fetchError says which map results a reducer could not get.
type fetchError struct {
	from holder
	err  error
}

func (e *fetchError) Error() string {
	return fmt.Sprintf("mapreduce: fetch from mapper %s: %v", e.from.Addr, e.err)
}

func (e *fetchError) Unwrap() error { return e.err }

const maxFetches = 4 // mappers that a reducer asks at a time

// fetch gets the tables for a partition from all mappers, in the order of the
// splits. Those it gives, with an error too, must be removed.
func (v *visit) fetch(ctx context.Context, m *message) ([]*spool, error) {
	n := 0
	for _, s := range m.Holders {
		n += len(s.Results)
	}
	tables := make([]*spool, n)
	for i := range tables {
		tables[i] = newSpool(v.dir, v.w.memory()/int64(n)+1)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, maxFetches)
	var wg sync.WaitGroup
	for _, s := range m.Holders {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := v.fetchFrom(ctx, s, m, tables); err != nil {
				cancel(err) // the first counts
			}
		})
	}
	wg.Wait()
	return tables, context.Cause(ctx)
}

// fetchFrom gets the tables that one mapper has.
func (v *visit) fetchFrom(ctx context.Context, from holder, m *message, tables []*spool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.mu.Lock()
	if v.gone[from.Addr] {
		cancel() // it was lost before its turn came
	}
	v.fetches[from.Addr] = cancel // the master may tell that the mapper is gone
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		delete(v.fetches, from.Addr)
		v.mu.Unlock()
	}()
	lost := func(err error) error { return &fetchError{from, err} }
	nc, err := v.w.dial(ctx, from.Addr, v.timeout)
	if err != nil {
		return lost(err)
	}
	cfg := v.fetchConfig()
	l := link{framing.NewConn(nc, nil, &cfg)}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for _, id := range from.Results {
		if id.Task < 0 || id.Task >= len(tables) {
			return fmt.Errorf("mapreduce: the master told of map task %d of %d: %w", id.Task, len(tables), errMalformed)
		}
		err := l.send(ctx, &message{Type: msgFetch, ID: id, Partition: m.ID.Task, Token: v.token})
		if err != nil {
			return lost(err)
		}
		head, _, err := l.receive(ctx)
		if err == nil && (head == nil || head.Type != msgOutput) {
			err = errors.New("it does not have the result of the task any more")
		}
		if err != nil {
			return lost(err)
		}
		err = l.receiveStream(ctx, tables[id.Task])
		if _, ours := errors.AsType[*localError](err); ours {
			return err
		}
		if err != nil {
			return lost(err)
		}
		if err := tables[id.Task].finish(); err != nil {
			return err
		}
	}
	return nil
}
