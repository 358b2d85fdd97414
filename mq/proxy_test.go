package mq

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startProxy runs a proxy, and returns where its result will be.
func (b *bench) startProxy(ctx context.Context, frontend, backend *Socket, cfg *ProxyConfig) <-chan error {
	done := make(chan error, 1)
	go func() { done <- Proxy(ctx, frontend, backend, cfg) }()
	return done
}

// Requests go to whoever is next, answers back to whoever asked.
func TestProxyRequests(t *testing.T) {
	onEach(t, func(b *bench) {
		frontend, backend := b.socket(ROUTER), b.socket(DEALER)
		clients := []*Socket{b.socket(REQ), b.socket(REQ), b.socket(DEALER)}
		b.join(frontend, clients...)
		workers := []*Socket{b.socket(REP), b.socket(REP)}
		b.join(backend, workers...)
		for _, w := range workers {
			go func() {
				for m, err := range w.Messages(b.Context()) {
					if err != nil || w.Send(b.Context(), append(m, []byte("done"))...) != nil {
						return
					}
				}
			}()
		}
		done := b.startProxy(b.Context(), frontend, backend, nil)
		for i := range 10 {
			for j, c := range clients {
				question := []string{fmt.Sprint(j), fmt.Sprint(i)}
				if c.Type() == DEALER {
					question = append([]string{""}, question...)
				}
				send(b, c, question...)
			}
			for j, c := range clients {
				answer := recv(b, c)
				if c.Type() == DEALER {
					answer = answer[1:]
				}
				require.Equal(b, []string{fmt.Sprint(j), fmt.Sprint(i), "done"}, answer)
			}
		}
		require.NoError(b, backend.Close())
		require.ErrorIs(b, await(b, done), net.ErrClosed)
	})
}

// A proxy between XSUB and XPUB passes subscriptions up and messages down.
func TestProxySubscriptions(t *testing.T) {
	onEach(t, func(b *bench) {
		frontend, backend, pub, sub := b.socket(XSUB), b.socket(XPUB), b.socket(XPUB), b.socket(SUB)
		b.join(frontend, pub)
		b.join(backend, sub)
		ctx, cancel := context.WithCancelCause(b.Context())
		done := b.startProxy(ctx, frontend, backend, nil)
		require.NoError(b, sub.Subscribe("a"))
		subscribed(b, pub, "a")
		send(b, pub, "b", "not this")
		send(b, pub, "a", "this")
		require.Equal(b, []string{"a", "this"}, recv(b, sub))
		require.NoError(b, sub.Unsubscribe("a"))
		require.Equal(b, []string{"\x00a"}, recv(b, pub))
		cancel(errNotNow)
		require.ErrorIs(b, await(b, done), errNotNow)
	})
}

// Orders: a proxy that pauses forwards nothing, and loses nothing. The capture
// has all that was forwarded.
func TestProxyControl(t *testing.T) {
	synctest.Test(t, testProxyControl)
}

func testProxyControl(t *testing.T) {
	b := &bench{T: t, transport: "inproc"}
	frontend, backend, push, pull := b.socket(PULL), b.socket(PUSH), b.socket(PUSH), b.socket(PULL)
	b.join(frontend, push)
	b.join(backend, pull)
	capture, captured := b.socket(PUSH), b.socket(PULL)
	b.join(capture, captured)
	control, orders := b.socket(REP), b.socket(REQ)
	b.join(control, orders)
	order := func(word string) {
		send(t, orders, word)
		require.Equal(t, []string{""}, recv(t, orders))
	}
	done := b.startProxy(t.Context(), frontend, backend, &ProxyConfig{Capture: capture, Control: control})
	send(t, push, "1", "one")
	require.Equal(t, []string{"1", "one"}, recv(t, pull))
	require.Equal(t, []string{"1", "one"}, recv(t, captured))
	order("PAUSE")
	order("PAUSE")
	for i := range 10 {
		send(t, push, fmt.Sprint(i))
	}
	order("no such order")
	synctest.Wait() // nobody can do anything more
	nothing(t, pull)
	nothing(t, captured)
	order("RESUME")
	order("RESUME")
	for i := range 10 {
		require.Equal(t, []string{fmt.Sprint(i)}, recv(t, pull))
		require.Equal(t, []string{fmt.Sprint(i)}, recv(t, captured))
	}
	order("PAUSE")
	order("TERMINATE")
	require.NoError(t, await(t, done))
	require.ErrorIs(t, pull.Send(t.Context(), nil), ErrType)
}

func TestProxyOfWrongTypes(t *testing.T) {
	b := &bench{T: t, transport: "inproc"}
	for _, types := range [][2]Type{{PUB, PUB}, {SUB, SUB}, {PUSH, PUSH}, {PULL, SUB}, {PUB, PUSH}} {
		err := Proxy(t.Context(), b.socket(types[0]), b.socket(types[1]), nil)
		assert.ErrorIs(t, err, ErrType, types)
	}
}

// A socket of the proxy that fails ends it with that error.
func TestProxyFails(t *testing.T) {
	b := &bench{T: t, transport: "inproc"}
	for i := range 4 {
		frontend, backend := b.socket(ROUTER), b.socket(DEALER)
		capture, control := b.socket(PUB), b.socket(PAIR)
		closed := []*Socket{frontend, backend, control, capture}[i]
		done := b.startProxy(t.Context(), frontend, backend, &ProxyConfig{Capture: capture, Control: control})
		if closed == capture { // it is noticed when there is something to capture
			client := b.socket(DEALER)
			b.join(frontend, client)
			require.NoError(t, capture.Close())
			send(t, client, "anything")
		}
		require.NoError(t, closed.Close())
		require.ErrorIs(t, await(t, done), net.ErrClosed)
	}
}

// An answer for a client that has gone does not end the proxy.
func TestProxyUnroutable(t *testing.T) {
	b := &bench{T: t, transport: "tcp"}
	trace, _, gone := meetings()
	frontend, backend := b.socket(ROUTER, Config{Mandatory: true, Trace: trace}), b.socket(DEALER)
	worker := b.socket(ROUTER)
	b.join(backend, worker)
	endpoint := b.bind(frontend)
	b.startProxy(t.Context(), frontend, backend, nil)
	var way []string
	for i := range 2 {
		client := b.socket(DEALER)
		require.NoError(t, client.Connect(endpoint))
		send(t, client, "question")
		way = recv(t, worker)
		if i == 0 {
			require.NoError(t, client.Close())
			await(t, gone)
		}
		send(t, worker, way...)
		if i == 1 {
			require.Equal(t, []string{"question"}, recv(t, client))
		}
	}
}
