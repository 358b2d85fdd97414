package mq

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What 28/REQREP, 29/PUBSUB, 30/PIPELINE and 31/EXPAIR demand, on each
// transport.

func TestRequestReply(t *testing.T) {
	onEach(t, func(b *bench) {
		for _, replierBinds := range []bool{true, false} {
			req, rep := b.socket(REQ), b.socket(REP)
			if replierBinds {
				b.join(rep, req)
			} else {
				b.join(req, rep)
			}
			for _, frames := range [][]string{{"one"}, {""}, {"a", "", "b"}, {"", ""}, {strings.Repeat("x", 1<<20)}} {
				send(b, req, frames...)
				require.Equal(b, frames, recv(b, rep))
				send(b, rep, append([]string{"re"}, frames...)...)
				require.Equal(b, append([]string{"re"}, frames...), recv(b, req))
			}
		}
	})
}

// REQ and REP take turns, and a call out of turn changes nothing.
func TestTurns(t *testing.T) {
	onEach(t, func(b *bench) {
		req, rep := b.socket(REQ), b.socket(REP)
		b.join(rep, req)
		_, err := req.Recv(b.Context())
		require.ErrorIs(b, err, ErrState)
		require.ErrorIs(b, rep.Send(b.Context(), []byte("early")), ErrState)
		send(b, req, "question")
		require.ErrorIs(b, req.Send(b.Context(), []byte("another")), ErrState)
		require.Equal(b, []string{"question"}, recv(b, rep))
		_, err = rep.Recv(b.Context())
		require.ErrorIs(b, err, ErrState)
		send(b, rep, "answer")
		require.ErrorIs(b, rep.Send(b.Context(), []byte("twice")), ErrState)
		require.Equal(b, []string{"answer"}, recv(b, req))
	})
}

// REQ asks its peers in turn; REP answers whom it was asked by.
func TestRequestsInTurn(t *testing.T) {
	onEach(t, func(b *bench) {
		req, first, second := b.socket(REQ), b.socket(REP), b.socket(REP)
		b.join(first, req)
		send(b, req, "1")
		require.Equal(b, []string{"1"}, recv(b, first))
		send(b, first, "one")
		require.Equal(b, []string{"one"}, recv(b, req))
		b.join(second, req)
		asked := map[*Socket]int{}
		for i := range 6 {
			send(b, req, fmt.Sprint(i))
			for _, rep := range []*Socket{first, second} {
				// Only one of them is asked; whoever answers, answers once.
				go func() {
					for m, err := range rep.Messages(b.Context()) {
						if err != nil || rep.Send(b.Context(), append(m, []byte(fmt.Sprintf("%p", rep)))...) != nil {
							return
						}
					}
				}()
			}
			m := recv(b, req)
			require.Equal(b, fmt.Sprint(i), m[0])
			for _, rep := range []*Socket{first, second} {
				if m[1] == fmt.Sprintf("%p", rep) {
					asked[rep]++
				}
			}
		}
		assert.Equal(b, 3, asked[first])
		assert.Equal(b, 3, asked[second])
	})
}

// ROUTER puts the identity before what it receives, and takes it as address.
func TestRouter(t *testing.T) {
	onEach(t, func(b *bench) {
		router := b.socket(ROUTER)
		ann, bob, nobody := b.socket(DEALER, Config{Identity: []byte("ann")}), b.socket(REQ, Config{Identity: []byte("bob")}), b.socket(DEALER)
		b.join(router, ann, bob, nobody)
		send(b, ann, "from ann", "two")
		require.Equal(b, []string{"ann", "from ann", "two"}, recv(b, router))
		send(b, bob, "from bob")
		require.Equal(b, []string{"bob", "", "from bob"}, recv(b, router))
		send(b, nobody, "who am I?")
		m := recv(b, router)
		require.Len(b, m, 2)
		assert.Equal(b, byte(0), m[0][0], "identities that are made up begin with zero")

		send(b, router, "bob", "", "to bob")
		send(b, router, m[0], "you")
		send(b, router, "ann", "to ann", "")
		send(b, router, "eve", "there is no such peer: this is dropped")
		assert.Equal(b, []string{"to bob"}, recv(b, bob))
		assert.Equal(b, []string{"you"}, recv(b, nobody))
		assert.Equal(b, []string{"to ann", ""}, recv(b, ann))
	})
}

func TestMandatory(t *testing.T) {
	onEach(t, func(b *bench) {
		trace, come, _ := meetings()
		router, dealer := b.socket(ROUTER, Config{Mandatory: true, Trace: trace}), b.socket(DEALER, Config{Identity: []byte("d")})
		require.ErrorIs(b, router.Send(b.Context(), Text("d", "x")...), ErrUnroutable)
		b.join(router, dealer)
		assert.Equal(b, "d", string(await(b, come).Identity))
		send(b, router, "d", "x")
		require.Equal(b, []string{"x"}, recv(b, dealer))
	})
}

// Two peers of one name: the second is refused, or takes over.
func TestHandover(t *testing.T) {
	onEach(t, func(b *bench) {
		for _, handover := range []bool{false, true} {
			router := b.socket(ROUTER, Config{Handover: handover})
			first, second := b.socket(DEALER, Config{Identity: []byte("d")}), b.socket(DEALER, Config{Identity: []byte("d")})
			endpoint := b.bind(router)
			require.NoError(b, first.Connect(endpoint))
			send(b, first, "first")
			require.Equal(b, []string{"d", "first"}, recv(b, router))
			if !handover {
				send(b, first, "still here")
				require.NoError(b, second.Connect(endpoint))
				require.Equal(b, []string{"d", "still here"}, recv(b, router))
				send(b, router, "d", "to the first")
				require.Equal(b, []string{"to the first"}, recv(b, first))
				continue
			}
			// The first comes back when it has lost its name, and so would take
			// it again.
			require.NoError(b, first.Disconnect(endpoint))
			require.NoError(b, second.Connect(endpoint))
			send(b, second, "second")
			require.Equal(b, []string{"d", "second"}, recv(b, router))
			send(b, router, "d", "to the second")
			require.Equal(b, []string{"to the second"}, recv(b, second))
		}
	})
}

// Envelopes are for the program of a DEALER or ROUTER to make and read.
func TestEnvelopes(t *testing.T) {
	onEach(t, func(b *bench) {
		dealer, rep := b.socket(DEALER), b.socket(REP)
		b.join(rep, dealer)
		send(b, dealer, "way", "back", "", "question", "", "end")
		require.Equal(b, []string{"question", "", "end"}, recv(b, rep))
		send(b, rep, "answer")
		require.Equal(b, []string{"way", "back", "", "answer"}, recv(b, dealer))

		// Without an empty frame there is no question in it.
		send(b, dealer, "no question")
		send(b, dealer, "", "again")
		require.Equal(b, []string{"again"}, recv(b, rep))
		send(b, rep, "answer")
		require.Equal(b, []string{"", "answer"}, recv(b, dealer))

		// REQ drops what is no answer to it.
		req, router := b.socket(REQ, Config{Identity: []byte("r")}), b.socket(ROUTER)
		b.join(router, req)
		send(b, req, "question")
		require.Equal(b, []string{"r", "", "question"}, recv(b, router))
		send(b, router, "r", "no empty frame")
		send(b, router, "r", "", "answer")
		require.Equal(b, []string{"answer"}, recv(b, req))
	})
}

func TestDealerToDealer(t *testing.T) {
	onEach(t, func(b *bench) {
		one, other := b.socket(DEALER), b.socket(DEALER)
		b.join(one, other)
		for range 3 {
			send(b, one, "ping", "1")
			send(b, other, "pong", "2")
		}
		for range 3 {
			assert.Equal(b, []string{"ping", "1"}, recv(b, other))
			assert.Equal(b, []string{"pong", "2"}, recv(b, one))
		}
	})
}

func TestRouterToRouter(t *testing.T) {
	onEach(t, func(b *bench) {
		trace, come, _ := meetings()
		one := b.socket(ROUTER, Config{Identity: []byte("one"), Trace: trace})
		other := b.socket(ROUTER, Config{Identity: []byte("other")})
		b.join(one, other)
		require.Equal(b, "other", string(await(b, come).Identity))
		send(b, one, "other", "hello")
		require.Equal(b, []string{"one", "hello"}, recv(b, other))
		send(b, other, "one", "good", "day")
		require.Equal(b, []string{"other", "good", "day"}, recv(b, one))
	})
}

// PUSH deals its messages out in turn; PULL takes from all in turn.
func TestPipeline(t *testing.T) {
	onEach(t, func(b *bench) {
		trace, come, _ := meetings()
		push := b.socket(PUSH, Config{Trace: trace})
		pulls := []*Socket{b.socket(PULL), b.socket(PULL), b.socket(PULL)}
		b.join(push, pulls...)
		for range pulls {
			await(b, come)
		}
		for i := range 30 {
			send(b, push, fmt.Sprint(i))
		}
		var all []string
		for _, pull := range pulls {
			for range 10 {
				all = append(all, recv(b, pull)...)
			}
			nothing(b, pull)
		}
		slices.Sort(all)
		assert.Len(b, slices.Compact(all), 30)
	})
}

func TestFairQueueing(t *testing.T) {
	onEach(t, func(b *bench) {
		pull := b.socket(PULL)
		endpoint := b.bind(pull)
		pushers := []string{"a", "b", "c"}
		for _, name := range pushers {
			push := b.socket(PUSH)
			require.NoError(b, push.Connect(endpoint))
			for range 300 {
				send(b, push, name)
			}
		}
		// Once all have messages waiting, nobody is served twice as often.
		got := map[string]int{}
		for range 900 {
			got[recv(b, pull)[0]]++
		}
		for _, name := range pushers {
			assert.Equal(b, 300, got[name])
		}
	})
}

func TestPublishSubscribe(t *testing.T) {
	onEach(t, func(b *bench) {
		xpub, sub := b.socket(XPUB), b.socket(SUB)
		b.join(xpub, sub)
		require.NoError(b, sub.Subscribe("a"))
		subscribed(b, xpub, "a")
		require.NoError(b, sub.Subscribe("bc"))
		subscribed(b, xpub, "bc")
		for _, topic := range []string{"x", "a", "ab", "b", "bc", "bcd", "", "A"} {
			send(b, xpub, topic, "body of "+topic)
		}
		for _, topic := range []string{"a", "ab", "bc", "bcd"} {
			require.Equal(b, []string{topic, "body of " + topic}, recv(b, sub))
		}
		require.NoError(b, sub.Subscribe("")) // all
		subscribed(b, xpub, "")
		send(b, xpub, "")
		require.Equal(b, []string{""}, recv(b, sub))
		nothing(b, sub)
	})
}

// Subscriptions are counted: as many Unsubscribes as Subscribes end one.
func TestCountedSubscriptions(t *testing.T) {
	onEach(t, func(b *bench) {
		xpub, sub := b.socket(XPUB), b.socket(SUB)
		b.join(xpub, sub)
		require.NoError(b, sub.Subscribe("a"))
		require.NoError(b, sub.Subscribe("a"))
		subscribed(b, xpub, "a")
		require.NoError(b, sub.Unsubscribe("a"))
		send(b, xpub, "a1")
		require.Equal(b, []string{"a1"}, recv(b, sub))
		require.NoError(b, sub.Unsubscribe("a"))
		require.Equal(b, []string{"\x00a"}, recv(b, xpub))
		send(b, xpub, "a2")
		require.NoError(b, sub.Unsubscribe("never subscribed"))
		require.NoError(b, sub.Subscribe("end"))
		subscribed(b, xpub, "end")
		send(b, xpub, "end")
		require.Equal(b, []string{"end"}, recv(b, sub))
	})
}

// An XPUB learns of a topic when the first subscribes and when the last leaves.
func TestManySubscribers(t *testing.T) {
	onEach(t, func(b *bench) {
		xpub := b.socket(XPUB)
		endpoint := b.bind(xpub)
		subs := make([]*Socket, 5)
		for i := range subs {
			subs[i] = b.socket(SUB)
			require.NoError(b, subs[i].Subscribe("all"))
			require.NoError(b, subs[i].Subscribe(fmt.Sprint(i)))
			require.NoError(b, subs[i].Connect(endpoint))
			if i == 0 {
				subscribed(b, xpub, "all")
			}
			subscribed(b, xpub, fmt.Sprint(i))
		}
		send(b, xpub, "all", "together")
		for i := range subs {
			send(b, xpub, fmt.Sprint(i), "alone")
		}
		for i, sub := range subs {
			require.Equal(b, []string{"all", "together"}, recv(b, sub))
			require.Equal(b, []string{fmt.Sprint(i), "alone"}, recv(b, sub))
			nothing(b, sub)
		}
		for i, sub := range subs {
			require.NoError(b, sub.Close())
			left := []string{recv(b, xpub)[0]}
			if i == len(subs)-1 {
				left = append(left, recv(b, xpub)[0])
				slices.Sort(left)
				require.Equal(b, []string{"\x004", "\x00all"}, left)
			} else {
				require.Equal(b, []string{fmt.Sprintf("\x00%d", i)}, left)
			}
		}
	})
}

// What an XSUB sends are subscriptions and messages upstream; an XPUB receives
// both.
func TestXSub(t *testing.T) {
	onEach(t, func(b *bench) {
		xpub, xsub := b.socket(XPUB), b.socket(XSUB)
		b.join(xpub, xsub)
		send(b, xsub, "\x01t")
		subscribed(b, xpub, "t")
		send(b, xpub, "topic")
		require.Equal(b, []string{"topic"}, recv(b, xsub))
		send(b, xsub, "to the publisher")
		require.Equal(b, []string{"to the publisher"}, recv(b, xpub))
		send(b, xsub, "\x00t")
		require.Equal(b, []string{"\x00t"}, recv(b, xpub))
	})
}

func TestPair(t *testing.T) {
	onEach(t, func(b *bench) {
		one, other := b.socket(PAIR), b.socket(PAIR)
		endpoint := b.bind(one)
		require.NoError(b, other.Connect(endpoint))
		send(b, other, "hello", "one")
		require.Equal(b, []string{"hello", "one"}, recv(b, one))
		send(b, one, "hello", "other")
		require.Equal(b, []string{"hello", "other"}, recv(b, other))

		third := b.socket(PAIR, Config{Linger: -1})
		_ = third.Connect(endpoint) // a PAIR has one peer
		_ = third.Send(notWaiting(), []byte("nobody hears this"))
		send(b, one, "to the other")
		require.Equal(b, []string{"to the other"}, recv(b, other))
		nothing(b, one)
		nothing(b, third)
	})
}
