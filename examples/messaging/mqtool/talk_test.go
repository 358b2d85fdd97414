package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestRequests(t *testing.T) {
	everywhere(t, func(t *testing.T, any string, a, b start) {
		rep := a(t, "rep", "--bind", any)
		req := b(t, "req", "--connect", at(rep, any))
		req.say(`["hola"]`)
		rep.hear(`["hola"]`)
		req.hear(`["hola"]`)
		req.say(`["a","","b"]`, `[{"b64":"/wA="}]`, `[{"fill":1048576}]`)
		for _, p := range []*peer{req, rep} {
			p.hear(`["a","","b"]`, `[{"b64":"/wA="}]`,
				`[{"len":1048576,"sha256":"8f990ba0b577b51cf009ea049368c16bbda1b21e1b93be07a824758bb253c39b"}]`)
		}
		req.end()
		rep.end()
	})
}

// The one that connects may be the one that answers.
func TestRequestsTheOtherWay(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		req := a(t, "req", "--bind", "tcp://127.0.0.1:*")
		rep := b(t, "rep", "--connect", req.bound)
		req.say(`["hola"]`)
		req.hear(`["hola"]`)
		rep.hear(`["hola"]`)
	})
}

func TestTurns(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		rep := a(t, "rep", "--bind", "tcp://127.0.0.1:*", "--manual")
		req := b(t, "req", "--connect", rep.bound, "--manual")
		req.say(`{"op":"recv","timeout":1000}`)
		req.fails("state")
		rep.say(`["too early"]`)
		rep.fails("state")
		req.say(`["one"]`, `["two"]`)
		req.fails("state")
		rep.say(`{"op":"recv","timeout":20000}`)
		rep.hear(`["one"]`)
		rep.say(`{"op":"recv","timeout":1000}`)
		rep.fails("state")
		req.say(`{"op":"recv","timeout":50}`)
		req.fails("timeout")
		rep.say(`["uno"]`, `["dos"]`)
		rep.fails("state")
		req.say(`{"op":"recv","timeout":20000}`)
		req.hear(`["uno"]`)
	})
}

func TestPipeline(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		push := a(t, "push", "--bind", "tcp://127.0.0.1:*")
		pull := b(t, "pull", "--connect", push.bound)
		for i := range 100 {
			push.say(fmt.Sprintf(`["%d"]`, i))
		}
		for i := range 100 {
			pull.hear(fmt.Sprintf(`["%d"]`, i))
		}
		require.Equal(t, 5000, push.flood(5000, 100))
		for range 5000 {
			pull.hear(`["` + strings.Repeat("x", 100) + `"]`)
		}
		push.end()
		pull.end()
	})
}

func TestPublishing(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		pub := a(t, "pub", "--bind", "tcp://127.0.0.1:*")
		sub := b(t, "sub", "--connect", pub.bound, "--subscribe", "news", "--subscribe=end")
		pub.sayUntil(sub, `["news %d"]`)
		pub.say(`["weather"]`, `["new"]`, `["news","and more"]`, `[""]`, `["end"]`)
		sub.hear(`["news","and more"]`, `["end"]`)
		// Both subscriptions change on the way, so the publisher is asked again.
		sub.say(`{"op":"subscribe","topic":"weather"}`)
		pub.sayUntil(sub, `["weather %d"]`)
		sub.say(`{"op":"unsubscribe","topic":"news"}`, `{"op":"subscribe","topic":"sports"}`)
		pub.sayUntil(sub, `["sports %d"]`)
		pub.say(`["news"]`, `["weather"]`)
		sub.hear(`["weather"]`)
		// A publisher never waits.
		require.Equal(t, 100_000, pub.flood(100_000, 1000))
	})
}

// No subscription, no message.
func TestNoSubscription(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		pub := a(t, "xpub", "--bind", "tcp://127.0.0.1:*")
		sub := b(t, "sub", "--connect", pub.bound)
		pub.say(`["lost"]`)
		pub.goroutines() // it has sent it
		sub.say(`{"op":"subscribe","topic":""}`)
		pub.hear(`["\u0001"]`)
		pub.say(`["found"]`)
		sub.hear(`["found"]`)
	})
}

func TestSubscriptionsSeen(t *testing.T) {
	everywhere(t, func(t *testing.T, any string, a, b start) {
		xpub := a(t, "xpub", "--bind", any)
		sub := b(t, "sub", "--connect", at(xpub, any), "--subscribe", "a")
		xpub.hear(`["\u0001a"]`)
		// The second of the same topic is not told, nor its end.
		sub.say(`{"op":"subscribe","topic":"a"}`, `{"op":"unsubscribe","topic":"a"}`, `{"op":"subscribe","topic":"b"}`)
		xpub.hear(`["\u0001b"]`)
		xpub.say(`["abc"]`)
		sub.hear(`["abc"]`)
		sub.say(`{"op":"unsubscribe","topic":"a"}`)
		xpub.hear(`["\u0000a"]`)
		xpub.say(`["abc"]`, `["b"]`)
		sub.hear(`["b"]`)
		sub.end()
		xpub.hear(`["\u0000b"]`) // a subscriber that goes takes its subscriptions along

		xsub := b(t, "xsub", "--connect", at(xpub, any))
		xsub.say(`["\u0001x"]`)
		xpub.hear(`["\u0001x"]`)
		xpub.say(`["xyz","2"]`)
		xsub.hear(`["xyz","2"]`)
		xsub.say(`["\u0000x"]`)
		xpub.hear(`["\u0000x"]`)
	})
}

func TestIdentities(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		router := a(t, "router", "--bind", "tcp://127.0.0.1:*", "--mandatory")
		router.say(`["nobody","hola"]`)
		router.fails("unroutable")
		dealer := b(t, "dealer", "--connect", router.bound, "--identity", "Ana")
		dealer.say(`["hola","router"]`)
		router.hear(`["Ana","hola","router"]`)
		router.say(`["Ana","hola","Ana"]`, `["Eva","hola"]`, `["Ana",""]`)
		router.fails("unroutable")
		dealer.hear(`["hola","Ana"]`, `[""]`)
		// A request has an empty frame before it, which its program does not see.
		req := b(t, "req", "--connect", router.bound, "--identity=Eva")
		req.say(`["pregunta"]`)
		router.hear(`["Eva","","pregunta"]`)
		router.say(`["Eva","","respuesta"]`)
		req.hear(`["respuesta"]`)
	})
}

// Without --mandatory nothing is said of a message that nobody gets.
func TestUnroutableIsDropped(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		router := a(t, "router", "--bind", "tcp://127.0.0.1:*")
		router.say(`["nobody","hola"]`)
		dealer := b(t, "dealer", "--connect", router.bound, "--identity", "Ana")
		dealer.say(`["hola"]`)
		router.hear(`["Ana","hola"]`)
	})
}

func TestPair(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		one := a(t, "pair", "--bind", "tcp://127.0.0.1:*")
		two := b(t, "pair", "--connect", one.bound)
		one.say(`["1"]`)
		two.hear(`["1"]`)
		two.say(`["2"]`, `["3"]`)
		one.hear(`["2"]`, `["3"]`)
	})
}

// The order in which the two ends start does not matter.
func TestConnectFirst(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		endpoint := ipc(t)
		push := a(t, "push", "--connect", endpoint, "--reconnect", "20")
		push.say(`["early"]`)
		pull := b(t, "pull", "--bind", endpoint)
		pull.hear(`["early"]`)
		push.end()
	})
}

// Several endpoints of both kinds, on one socket.
func TestSeveralEndpoints(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		one, other := ipc(t), b(t, "push", "--bind", "tcp://127.0.0.1:*")
		pull := a(t, "pull", "--bind", "tcp://127.0.0.1:*", "--bind", one, "--connect", other.bound)
		first := b(t, "push", "--connect", pull.bound)
		second := b(t, "push", "--connect", one)
		first.say(`["tcp"]`)
		pull.hear(`["tcp"]`)
		second.say(`["ipc"]`)
		pull.hear(`["ipc"]`)
		other.say(`["connected"]`)
		pull.hear(`["connected"]`)
	})
}

// A sender that knows two receivers takes them in turn; a receiver hears all.
func TestTurnsOfPeers(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		pulls := []*peer{b(t, "pull", "--bind", "tcp://127.0.0.1:*"), b(t, "pull", "--bind", "tcp://127.0.0.1:*")}
		push := a(t, "push", "--connect", pulls[0].bound, "--connect", pulls[1].bound)
		for i := range 100 {
			push.say(fmt.Sprintf(`["%d"]`, i))
		}
		for i := range 100 {
			pulls[i%2].hear(fmt.Sprintf(`["%d"]`, i))
		}
	})
}

func TestSendTimeout(t *testing.T) {
	alone(t, func(t *testing.T, a start) {
		push := a(t, "push", "--bind", "tcp://127.0.0.1:*", "--sndtimeo", "20", "--linger", "0")
		push.say(`["nobody is there"]`)
		push.fails("timeout")
		require.Zero(t, push.flood(5, 1))
		push.end()
		// To an endpoint that is connected, be it in vain, messages can queue.
		for _, timeout := range []string{"20", "0"} {
			push = a(t, "push", "--connect", somewhere, "--sndtimeo", timeout, "--sndhwm", "7", "--linger", "0")
			require.Equal(t, 7, push.flood(100, 1))
			push.say(`["one too many"]`)
			push.fails("timeout")
			push.end()
		}
	})
}

// A receiver that does not receive stops its sender, and nothing is lost.
func TestHighWaterMarks(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		pull := b(t, "pull", "--bind", "tcp://127.0.0.1:*", "--rcvhwm", "10", "--manual")
		push := a(t, "push", "--connect", pull.bound, "--sndhwm", "10", "--sndtimeo", "300")
		sent := push.flood(10_000, 100_000)
		require.Less(t, sent, 2000, "the two queues, and what the two systems hold")
		require.GreaterOrEqual(t, sent, 20)
		for range sent {
			pull.say(`{"op":"recv","timeout":20000}`)
			require.Contains(t, pull.next(), `[{"len":100000,`)
		}
		push.say(`["go on"]`)
		pull.say(`{"op":"recv","timeout":20000}`)
		pull.hear(`["go on"]`)
	})
}

// A subscriber that does not receive loses messages; its publisher never waits.
func TestPublisherDrops(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		pub := a(t, "xpub", "--bind", "tcp://127.0.0.1:*", "--sndhwm", "10")
		sub := b(t, "sub", "--connect", pub.bound, "--subscribe", "", "--rcvhwm", "10", "--manual")
		pub.hear(`["\u0001"]`)
		require.Equal(t, 2000, pub.flood(2000, 100_000))
		got := 0
		for {
			sub.say(`{"op":"recv","timeout":300}`)
			if line := sub.next(); !strings.Contains(line, `"len":100000,`) {
				break
			}
			got++
		}
		require.GreaterOrEqual(t, got, 10)
		require.Less(t, got, 2000)
		pub.say(`["go on"]`)
		sub.say(`{"op":"recv","timeout":20000}`)
		sub.hear(`["go on"]`)
	})
}

// Closing waits for what was sent.
func TestLinger(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		endpoint := ipc(t)
		push := a(t, "push", "--connect", endpoint, "--linger", "-1", "--reconnect", "20")
		require.Equal(t, 1000, push.flood(1000, 1025))
		require.NoError(t, push.in.Close())
		pull := b(t, "pull", "--bind", endpoint)
		for range 1000 {
			require.Contains(t, pull.next(), `[{"len":1025,`)
		}
		push.ends()
		// But not longer than it is told to.
		for _, linger := range []string{"0", "50"} {
			push = a(t, "push", "--connect", somewhere, "--linger", linger)
			push.say(`["lost"]`)
			push.end()
		}
	})
}

// A peer that was killed and comes back goes on as if nothing had happened. It
// has left the file of its Unix socket behind.
func TestRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, any string, a, b start) {
		pull := a(t, "pull", "--bind", any)
		endpoint := at(pull, any)
		push := b(t, "push", "--connect", endpoint, "--reconnect", "20")
		push.say(`["one"]`)
		pull.hear(`["one"]`)
		for range 3 {
			pull.kill()
			pull = a(t, "pull", "--bind", endpoint)
			push.sayUntil(pull, `["%d"]`)
		}
		pull.end()
	})
}

// The other way round: what waits for a peer is sent when it is back.
func TestQueueSurvives(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		router := b(t, "router", "--bind", "tcp://127.0.0.1:*")
		endpoint := router.bound
		dealer := a(t, "dealer", "--connect", endpoint, "--reconnect", "20", "--identity", "Ana")
		dealer.say(`["one"]`)
		router.hear(`["Ana","one"]`)
		router.kill()
		// What is said before the end of the connection is noticed may be lost.
		dealer.goroutines()
		_, heard := dealer.within(100 * time.Millisecond)
		require.False(t, heard)
		require.Equal(t, 500, dealer.flood(500, 3))
		router = b(t, "router", "--bind", endpoint)
		for range 500 {
			router.hear(`["Ana","xxx"]`)
		}
	})
}

// After 200 connections to a peer that hangs up, as many goroutines are left as
// at the beginning.
func TestReconnects(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	p := ours(t, "pull", "--connect", "tcp://"+ln.Addr().String(), "--reconnect", "1", "--manual")
	atFirst := 0
	for i := range 201 {
		conn, err := ln.Accept()
		require.NoError(t, err)
		if i == 0 {
			greet(t, conn, "PUSH")
			atFirst = p.goroutines()
		}
		require.NoError(t, conn.Close())
	}
	conn, err := ln.Accept()
	require.NoError(t, err)
	defer conn.Close()
	greet(t, conn, "PUSH")
	settles(p, atFirst+2) // when it was counted, some may not have been started yet
}

func TestMaxMessage(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		pull := a(t, "pull", "--bind", "tcp://127.0.0.1:*", "--maxmsg", "1000")
		push := b(t, "push", "--connect", pull.bound, "--reconnect", "20")
		other := b(t, "push", "--connect", pull.bound)
		other.say(`["other"]`)
		pull.hear(`["other"]`)
		push.say(`[{"fill":1000}]`)
		pull.hear(`["` + strings.Repeat("x", 1000) + `"]`)
		push.say(`[{"fill":1001}]`) // its connection ends, and is made again
		push.sayUntil(pull, `["%d"]`)
		other.say(`["other"]`)
		pull.hear(`["other"]`)
	})
}

// greeting returns the first 64 bytes of a peer with the mechanism NULL.
func greeting() []byte {
	g := make([]byte, 64)
	copy(g, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x01NULL")
	return g
}

// greet plays the handshake of a socket of type typ by hand.
func greet(t *testing.T, conn net.Conn, typ string) {
	t.Helper()
	body := "\x05READY\x0bSocket-Type\x00\x00\x00" + string(rune(len(typ))) + typ
	_, err := conn.Write(append(greeting(), "\x04"+string(rune(len(body)))+body...))
	require.NoError(t, err)
	theirs := make([]byte, 64+2)
	_, err = io.ReadFull(conn, theirs)
	require.NoError(t, err)
	require.Equal(t, byte(0x04), theirs[64], "a short command")
	_, err = io.ReadFull(conn, make([]byte, theirs[65]))
	require.NoError(t, err)
}

// A client that does not finish its handshake is sent away.
func TestHandshakeTimeout(t *testing.T) {
	alone(t, func(t *testing.T, a start) {
		rep := a(t, "rep", "--bind", "tcp://127.0.0.1:*", "--handshake", "100")
		for _, said := range [][]byte{nil, greeting()[:11], greeting()} {
			conn := clitest.Dial(t, strings.TrimPrefix(rep.bound, "tcp://"))
			_, err := conn.Write(said)
			require.NoError(t, err)
			io.Copy(io.Discard, conn) // until it is closed; an error if never
			one := make([]byte, 1)
			_, err = conn.Read(one)
			require.Error(t, err)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		}
	})
}

// A peer that no longer answers is found dead.
func TestHeartbeat(t *testing.T) {
	alone(t, func(t *testing.T, a start) {
		router := a(t, "router", "--bind", "tcp://127.0.0.1:*", "--heartbeat", "50", "--heartbeat-timeout", "100")
		conn := clitest.Dial(t, strings.TrimPrefix(router.bound, "tcp://"))
		greet(t, conn, "DEALER")
		ping := make([]byte, 9)
		_, err := io.ReadFull(conn, ping)
		require.NoError(t, err)
		require.Equal(t, "\x04\x07\x04PING", string(ping[:7]))
		_, err = io.WriteString(conn, "\x04\x05\x04PONG")
		require.NoError(t, err)
		_, err = io.ReadFull(conn, ping)
		require.NoError(t, err, "alive")
		_, err = io.Copy(io.Discard, conn)
		require.NoError(t, err, "the connection is closed, since this PING had no answer")

		// One that answers lives.
		dealer := a(t, "dealer", "--connect", router.bound, "--heartbeat=30", "--heartbeat-timeout=5000", "--identity", "Ana")
		for range 5 {
			dealer.say(`["hola"]`)
			router.hear(`["Ana","hola"]`)
			_, quiet := router.within(100 * time.Millisecond)
			require.False(t, quiet)
		}
	})
}

// A frame of 2^62 bytes is announced: nothing is taken for it, nobody suffers.
func TestHugeFrame(t *testing.T) {
	together(t, func(t *testing.T, a, b start) {
		pull := a(t, "pull", "--bind", "tcp://127.0.0.1:*", "--maxmsg=1000000")
		conn := clitest.Dial(t, strings.TrimPrefix(pull.bound, "tcp://"))
		greet(t, conn, "PUSH")
		_, err := io.WriteString(conn, "\x02\x40\x00\x00\x00\x00\x00\x00\x00hola")
		require.NoError(t, err)
		io.Copy(io.Discard, conn)
		push := b(t, "push", "--connect", pull.bound)
		push.say(`["hola"]`)
		pull.hear(`["hola"]`)
	})
}
