package mq

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever producers and receivers do at the same time, no message is lost or
// comes twice, those of one peer stay in order, and nobody sleeps through one.
func TestInboxUnderPressure(t *testing.T) {
	const peers, each, receivers = 4, 5000, 5
	var box inbox
	var producers, consumers sync.WaitGroup
	pipes := map[*pipe]int{}
	for i := range peers {
		p := new(pipe)
		pipes[p] = i
		p.in = newQueue(&box, p, 10, false)
		producers.Go(func() {
			for n := 0; n < each; n += 2 {
				batch := []Msg{{binary.BigEndian.AppendUint32(nil, uint32(n))}, {binary.BigEndian.AppendUint32(nil, uint32(n+1))}}
				p.in.put(batch)
			}
		})
	}
	var left atomic.Int64
	left.Store(peers * each)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	seen := map[*pipe]map[uint64]uint32{}
	for p := range pipes {
		seen[p] = map[uint64]uint32{}
	}
	for i := range receivers {
		consumers.Go(func() {
			for left.Load() > 0 {
				wait := ctx
				if i == 0 { // gives up before it has begun, again and again
					ended, end := context.WithCancel(ctx)
					end()
					wait = ended
				}
				a, ok := box.recv(wait)
				if !ok || a.msg == nil {
					continue
				}
				mu.Lock()
				seen[a.from][a.nth] = binary.BigEndian.Uint32(a.msg[0])
				mu.Unlock()
				if left.Add(-1) == 0 {
					stop()
				}
			}
		})
	}
	producers.Wait()
	consumers.Wait()
	for _, got := range seen {
		require.Len(t, got, each)
		for nth, n := range got {
			require.EqualValues(t, nth-1, n)
		}
	}
}

// A receiver whose context ends while it is being woken passes nothing by.
func TestWaitersEndWithContext(t *testing.T) {
	var mu sync.Mutex
	var w waiters
	for range 1000 {
		ctx, end := context.WithCancel(t.Context())
		mu.Lock()
		ch := w.add()
		mu.Unlock()
		var ender sync.WaitGroup
		ender.Go(end)
		ender.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			w.wakeOne()
		})
		w.block(ctx, &mu, ch)
		require.Empty(t, w.list)
		require.Empty(t, ch, "a wake-up that is left over would block the next waker")
		mu.Unlock()
		ender.Wait()
	}
	require.Len(t, w.spare, 1)
}
