package mq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What holds for all types of socket: order, limits, coming, going, closing.

// All messages between two sockets keep their order, and frames their message,
// however many send.
func TestOrderAndAtomicity(t *testing.T) {
	onEach(t, func(b *bench) {
		push, pull := b.socket(PUSH), b.socket(PULL)
		b.join(pull, push)
		const senders, each = 4, 500
		var wg sync.WaitGroup
		for sender := range senders {
			wg.Go(func() {
				for i := range each {
					m := Text(fmt.Sprint(sender), fmt.Sprint(i), strings.Repeat("x", i), "end")
					if !assert.NoError(b, push.Send(b.Context(), m...)) {
						return
					}
				}
			})
		}
		next := map[string]int{}
		for range senders * each {
			m := recv(b, pull)
			require.Len(b, m, 4)
			require.Equal(b, fmt.Sprint(next[m[0]]), m[1])
			require.Len(b, m[2], next[m[0]])
			require.Equal(b, "end", m[3])
			next[m[0]]++
		}
		wg.Wait()
	})
}

// The order in which sockets bind and connect does not matter.
func TestConnectBeforeBind(t *testing.T) {
	onEach(t, func(b *bench) {
		first := b.socket(PULL)
		endpoint := b.bind(first)
		require.NoError(b, first.Close())

		push, pull := b.socket(PUSH), b.socket(PULL)
		require.NoError(b, push.Connect(endpoint))
		send(b, push, "sent before anybody was there")
		_, err := pull.Bind(b.Context(), endpoint)
		require.NoError(b, err)
		require.Equal(b, []string{"sent before anybody was there"}, recv(b, pull))
	})
}

// One socket, bound and connected to several endpoints.
func TestManyEndpoints(t *testing.T) {
	onEach(t, func(b *bench) {
		pull, bound, connected := b.socket(PULL), b.socket(PUSH), b.socket(PUSH)
		require.NoError(b, connected.Connect(b.bind(pull)))
		require.NoError(b, connected.Connect(b.bind(pull)))
		require.NoError(b, pull.Connect(b.bind(bound)))
		for range 10 {
			send(b, bound, "bound")
			send(b, connected, "connected")
		}
		got := map[string]int{}
		for range 20 {
			got[recv(b, pull)[0]]++
		}
		assert.Equal(b, map[string]int{"bound": 10, "connected": 10}, got)
	})
}

// That a peer leaves is no error of Recv or Send; when one comes back to the
// endpoint, all goes on.
func TestPeerComesAndGoes(t *testing.T) {
	onEach(t, func(b *bench) {
		trace, come, gone := meetings()
		dealer := b.socket(DEALER, Config{Trace: trace})
		endpoint := ""
		for i := range 3 {
			rep := b.socket(REP)
			if i == 0 {
				endpoint = b.bind(rep)
				require.NoError(b, dealer.Connect(endpoint))
			} else {
				_, err := rep.Bind(b.Context(), endpoint)
				require.NoError(b, err)
			}
			await(b, come)
			send(b, dealer, "", fmt.Sprint(i))
			require.Equal(b, []string{fmt.Sprint(i)}, recv(b, rep))
			send(b, rep, "answer")
			require.Equal(b, []string{"", "answer"}, recv(b, dealer))
			require.NoError(b, rep.Close())
			await(b, gone)
			nothing(b, dealer)
		}
	})
}

// Close sends what waits to be sent.
func TestLinger(t *testing.T) {
	onEach(t, func(b *bench) {
		push, pull := b.socket(PUSH, Config{Linger: patience}), b.socket(PULL)
		b.join(pull, push)
		for i := range 500 {
			send(b, push, fmt.Sprint(i))
		}
		require.NoError(b, push.Close())
		for i := range 500 {
			require.Equal(b, []string{fmt.Sprint(i)}, recv(b, pull))
		}
	})
}

// A PUSH blocks when nobody is there, and when all queues are full.
func TestHighWaterBlocks(t *testing.T) {
	onEach(t, func(b *bench) {
		push := b.socket(PUSH, Config{SendHWM: 10, Linger: -1})
		require.ErrorIs(b, push.Send(notWaiting(), []byte("nobody")), errNotNow)
		pull := b.socket(PULL, Config{RecvHWM: 10})
		b.join(pull, push)
		body := make([]byte, 1<<16)
		sent := 0
		for ; sent < 10_000; sent++ { // the system's buffers hold some, too
			ctx, cancel := context.WithTimeoutCause(b.Context(), 50*time.Millisecond, errNotNow)
			err := push.Send(ctx, body)
			cancel()
			if err != nil {
				require.ErrorIs(b, err, errNotNow)
				break
			}
		}
		assert.GreaterOrEqual(b, sent, 10)
		assert.Less(b, sent, 10_000)
		blocked := make(chan error)
		go func() { blocked <- push.Send(b.Context(), []byte("end")) }()
		for i := 0; ; i++ {
			if m := recv(b, pull); m[0] == "end" {
				assert.Equal(b, sent, i, "none is lost")
				break
			}
		}
		require.NoError(b, await(b, blocked))
	})
}

// A PUB never waits: what a slow subscriber has no room for is dropped.
func TestPublisherDrops(t *testing.T) {
	onEach(t, func(b *bench) {
		xpub, slow := b.socket(XPUB, Config{SendHWM: 10, Linger: -1}), b.socket(SUB, Config{RecvHWM: 10})
		b.join(xpub, slow)
		require.NoError(b, slow.Subscribe(""))
		subscribed(b, xpub, "")
		body := make([]byte, 1<<16)
		for range 1000 {
			require.NoError(b, xpub.Send(notWaiting(), body))
		}
		stats := xpub.Stats()
		assert.EqualValues(b, 1000, stats.Sent+stats.Dropped)
		assert.Positive(b, stats.Dropped)
		assert.Less(b, stats.Dropped, uint64(1000))
		assert.Len(b, recv(b, slow)[0], len(body))
	})
}

func TestConflate(t *testing.T) {
	onEach(t, func(b *bench) {
		trace, come, _ := meetings()
		push, pull := b.socket(PUSH, Config{Conflate: true, Trace: trace}), b.socket(PULL, Config{Conflate: true})
		b.join(push, pull)
		await(b, come)
		for i := range 1000 {
			send(b, push, fmt.Sprint(i))
		}
		last, count := "", 0
		for ; last != "999"; count++ {
			last = recv(b, pull)[0]
		}
		nothing(b, pull)
		assert.Less(b, count, 1000)
	})
}

// Security changes nothing of all that.
func TestCurveTraffic(t *testing.T) {
	onEach(t, func(b *bench) {
		if b.transport == "inproc" {
			b.Skip("inproc has no handshake")
		}
		server, client := NewCurveKey(), NewCurveKey()
		trace, come, _ := meetings()
		heartbeat := Config{HeartbeatInterval: time.Millisecond, HeartbeatTimeout: patience}
		one, other := heartbeat, heartbeat
		one.Security, one.Trace = &CurveServer{SecretKey: server}, trace
		other.Security = &CurveClient{ServerKey: server.Public(), SecretKey: client}
		pair, peer := b.socket(PAIR, one), b.socket(PAIR, other)
		b.join(pair, peer)
		assert.Equal(b, client.Public().String(), await(b, come).User)
		long := strings.Repeat("long", 1<<18)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 200 {
				_ = peer.Send(b.Context(), Text(fmt.Sprint(i), "", long[:i*i])...)
			}
			_ = peer.Send(b.Context(), Text(long)...)
		}()
		for i := range 200 {
			require.Equal(b, []string{fmt.Sprint(i), "", long[:i*i]}, recv(b, pair))
			send(b, pair, fmt.Sprint(i))
		}
		require.Equal(b, []string{long}, recv(b, pair))
		<-done
		for i := range 200 {
			require.Equal(b, []string{fmt.Sprint(i)}, recv(b, peer))
		}
	})
}

func TestWrongType(t *testing.T) {
	b := &bench{T: t, transport: "inproc"}
	for _, typ := range []Type{SUB, PULL} {
		assert.ErrorIs(t, b.socket(typ).Send(t.Context(), []byte("x")), ErrType, typ)
	}
	for _, typ := range []Type{PUB, PUSH} {
		_, err := b.socket(typ).Recv(t.Context())
		assert.ErrorIs(t, err, ErrType, typ)
	}
	for typ := PAIR; typ <= XSUB; typ++ {
		if typ != SUB && typ != XSUB {
			assert.ErrorIs(t, b.socket(typ).Subscribe(""), ErrType, typ)
			assert.ErrorIs(t, b.socket(typ).Unsubscribe(""), ErrType, typ)
		}
	}
}

// Close ends every call that waits, and what comes after it.
func TestClose(t *testing.T) {
	onEach(t, func(b *bench) {
		push, pull := b.socket(PUSH), b.socket(PULL)
		ended := make(chan error)
		go func() { ended <- push.Send(b.Context(), []byte("nobody is there")) }()
		go func() {
			_, err := pull.Recv(b.Context())
			ended <- err
		}()
		done := make(chan int)
		go func() {
			n := 0
			for range pull.Messages(b.Context()) {
				n++
			}
			done <- n
		}()
		endpoint := b.bind(pull)
		for _, s := range []*Socket{push, pull} {
			require.NoError(b, s.Close())
			require.ErrorIs(b, await(b, ended), net.ErrClosed)
			require.NoError(b, s.Close())
			require.ErrorIs(b, s.Connect(endpoint), net.ErrClosed)
			_, err := s.Bind(b.Context(), b.endpoint())
			require.ErrorIs(b, err, net.ErrClosed)
			require.ErrorIs(b, s.Disconnect(endpoint), net.ErrClosed)
			require.ErrorIs(b, s.Unbind(endpoint), net.ErrClosed)
		}
		assert.Zero(b, await(b, done))
		require.ErrorIs(b, push.Send(b.Context(), []byte("x")), net.ErrClosed)
		_, err := pull.Recv(b.Context())
		require.ErrorIs(b, err, net.ErrClosed)
	})
}

// Close may come at any time, whatever other goroutines do with the sockets.
func TestCloseInTheMiddle(t *testing.T) {
	onEach(t, func(b *bench) {
		for _, types := range [][2]Type{{PUSH, PULL}, {DEALER, ROUTER}, {XPUB, XSUB}, {REQ, REP}, {PAIR, PAIR}} {
			one, other := b.socket(types[0], Config{Linger: -1}), b.socket(types[1], Config{Linger: -1})
			endpoint := b.bind(one)
			var wg sync.WaitGroup
			busy := make(chan struct{}, 100)
			for _, s := range []*Socket{one, other} {
				for _, do := range []func() error{
					func() error { return s.Send(b.Context(), []byte("some"), []byte("thing")) },
					func() error { _, err := s.Recv(b.Context()); return err },
					func() error { _ = s.Connect(endpoint); return s.Disconnect(endpoint) },
					func() error { _ = s.Stats(); return s.Subscribe("some") },
				} {
					wg.Go(func() {
						for n := range 100 {
							err := do()
							if errors.Is(err, net.ErrClosed) || errors.Is(err, ErrType) {
								return
							}
							if n == 10 {
								busy <- struct{}{}
							}
						}
					})
				}
			}
			await(b, busy) // all is in full swing
			await(b, busy)
			require.NoError(b, other.Close())
			require.NoError(b, one.Close())
			wg.Wait()
		}
	})
}

// A socket that is connected to itself is its own peer.
func TestSelf(t *testing.T) {
	onEach(t, func(b *bench) {
		dealer := b.socket(DEALER)
		b.join(dealer, dealer)
		send(b, dealer, "to myself")
		require.Equal(b, []string{"to myself"}, recv(b, dealer))
	})
}

// Unbind ends listening, not what is connected; Disconnect ends a connection.
func TestUnbindAndDisconnect(t *testing.T) {
	onEach(t, func(b *bench) {
		trace, come, gone := meetings()
		pull, push := b.socket(PULL, Config{Trace: trace}), b.socket(PUSH)
		endpoint := b.bind(pull)
		require.NoError(b, push.Connect(endpoint))
		await(b, come)
		require.NoError(b, pull.Unbind(endpoint))
		require.Error(b, pull.Unbind(endpoint))
		send(b, push, "still connected")
		require.Equal(b, []string{"still connected"}, recv(b, pull))

		other := b.socket(PULL)
		_, err := other.Bind(b.Context(), endpoint) // it is free
		require.NoError(b, err)
		require.NoError(b, push.Disconnect(endpoint))
		require.Error(b, push.Disconnect(endpoint))
		await(b, gone)
		require.ErrorIs(b, push.Send(notWaiting(), []byte("x")), errNotNow)
	})
}

func TestEndpointsThatAreNone(t *testing.T) {
	b := &bench{T: t, transport: "tcp"}
	s := b.socket(DEALER)
	for _, endpoint := range []string{
		"", "tcp", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:x", "tcp://127.0.0.1:65536",
		"udp://127.0.0.1:5555", "pgm://eth0;239.0.0.1:5555", "ipc://", "inproc://", "127.0.0.1:5555",
	} {
		_, err := s.Bind(t.Context(), endpoint)
		assert.Error(t, err, "bind %q", endpoint)
		assert.Error(t, s.Connect(endpoint), "connect %q", endpoint)
	}
	assert.Error(t, s.Connect("tcp://127.0.0.1:*"))
	bound := b.bind(s)
	_, err := s.Bind(t.Context(), bound)
	assert.Error(t, err, "twice")
	assert.ErrorContains(t, err, bound)
}

// That a socket has left its peers by itself is no error.
func TestLeavingIsNoError(t *testing.T) {
	for name, leave := range map[string]func(s *Socket, endpoint string) error{
		"close":      func(s *Socket, _ string) error { return s.Close() },
		"disconnect": (*Socket).Disconnect,
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(b *bench) {
				come, gone := make(chan Peer, 1), make(chan error, 1)
				push := b.socket(PUSH, Config{Trace: &Trace{
					Connected:    func(p Peer) { come <- p },
					Disconnected: func(_ Peer, err error) { gone <- err },
				}})
				endpoint := b.bind(b.socket(PULL))
				require.NoError(b, push.Connect(endpoint))
				await(b, come)
				require.NoError(b, leave(push, endpoint))
				require.NoError(b, await(b, gone))
			})
		})
	}
}

// A ROUTER that connects refuses a second peer of one name, also within the
// process: nothing comes from it, least of all without a name.
func TestSecondOfThatName(t *testing.T) {
	b := &bench{T: t, transport: "inproc"}
	router := b.socket(ROUTER)
	first, second := b.socket(DEALER, Config{Identity: []byte("Ana")}), b.socket(DEALER, Config{Identity: []byte("Ana")})
	for _, s := range []*Socket{first, second} {
		require.NoError(t, router.Connect(b.bind(s)))
	}
	require.ErrorIs(t, second.Send(notWaiting(), []byte("refused")), errNotNow)
	send(t, first, "hola")
	require.Equal(t, []string{"Ana", "hola"}, recv(t, router))
	nothing(t, router)
}
