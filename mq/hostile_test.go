package mq

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func message(frames ...string) (wire []byte) {
	for i, f := range frames {
		flags := byte(flagMore)
		if i == len(frames)-1 {
			flags = 0
		}
		wire = appendFrame(wire, flags, []byte(f))
	}
	return wire
}

func command(name, data string) []byte {
	return appendFrame(nil, flagCommand, append(appendCommand(nil, name), data...))
}

// Who breaks the rules after the handshake loses the connection; what came
// before counts, and other peers notice nothing.
func TestHostileTraffic(t *testing.T) {
	for _, tt := range []struct {
		name string
		says []byte
		want string // in the error of Disconnected
	}{
		{"reserved flags", []byte{8, 0}, "flags 0x8"},
		{"a command with MORE", []byte{5, 0}, "flags 0x5"},
		{"a frame of 2^63 bytes", []byte("\x02\x80\x00\x00\x00\x00\x00\x00\x00"), "9223372036854775808 bytes"},
		{"a frame of 2^62 bytes", appendHeader(nil, flagLong, 1<<62), "more than is allowed"},
		{"a command of 2^62 bytes", appendHeader(nil, flagCommand, 1<<62), "more than is allowed"},
		{"a frame of 101 bytes", message(string(make([]byte, 101))), "101 bytes are more"},
		{"a message of 20 frames", message(make([]string, 20)...), "more than is allowed"},
		{"an endless message", bytes.Repeat([]byte{flagMore, 0}, 1000), "more than is allowed"},
		{"a command without a name", appendFrame(nil, flagCommand, nil), "without a name"},
		{"a name that is none", appendFrame(nil, flagCommand, []byte("\x02a ")), "command name"},
		{"a PING that is too short", command(cmdPing, "0"), "PING of 1 bytes"},
		{"a PING that is too long", command(cmdPing, string(make([]byte, 19))), "PING of 19 bytes"},
		{"ERROR", command(cmdError, "\x03bad"), "bad"},
		{"half a header", []byte{flagLong, 0, 0}, io.ErrUnexpectedEOF.Error()},
		{"half a frame", appendHeader(nil, 0, 50), io.ErrUnexpectedEOF.Error()},
		{"half a message", appendFrame(nil, flagMore, []byte("first")), io.ErrUnexpectedEOF.Error()},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), "flags 0x47"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				why := make(chan error, 1)
				trace := &Trace{Disconnected: func(_ Peer, err error) { why <- err }}
				pull := l.bound(PULL, Config{MaxFrame: 100, MaxSize: 600, Trace: trace})
				good := l.connected(PUSH, Config{})
				send(l, good, "before")
				require.Equal(l, []string{"before"}, recv(l, pull))

				bad := l.meet(PUSH, 1)
				bad.say(message("last", "words"), tt.says)
				require.NoError(l, bad.Conn.(interface{ CloseWrite() error }).CloseWrite())
				assert.Less(l, bad.ends(), time.Second)
				require.ErrorContains(l, <-why, tt.want)
				require.Equal(l, []string{"last", "words"}, recv(l, pull))
				nothing(l, pull)

				send(l, good, "after")
				require.Equal(l, []string{"after"}, recv(l, pull))
				assert.Len(l, pull.Stats().Peers, 1)
			})
		})
	}
}

// What a peer may say although it means nothing to us.
func TestTolerated(t *testing.T) {
	inLab(t, func(l *lab) {
		pull := l.bound(PULL, Config{})
		s := l.meet(PUSH, 1)
		s.say(
			command("JOIN", "group"), command(cmdSubscribe, "x"), command(cmdPong, ""), command("unknown", ""),
			[]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x02hi"), // a short frame in the long form
		)
		require.Equal(l, []string{"hi"}, recv(l, pull))

		push := l.socket(here, PUSH, Config{})
		_, err := push.Bind(l.Context(), "tcp://10.0.0.1:0")
		require.NoError(l, err)
		pub := l.socket(here, PUB, Config{})
		bound, err := pub.Bind(l.Context(), "tcp://10.0.0.1:0")
		require.NoError(l, err)
		sub := l.socket(there, XSUB, Config{})
		require.NoError(l, sub.Connect(bound))
		require.NoError(l, sub.Subscribe(""))
		send(l, sub, "a PUB does not listen")
		time.Sleep(time.Second)
		send(l, pub, "news")
		require.Equal(l, []string{"news"}, recv(l, sub))
	})
}

// Messages arrive whole though their bytes come one by one.
func TestByteAtATime(t *testing.T) {
	inLab(t, func(l *lab) {
		pull := l.bound(PULL, Config{})
		s := l.meet(PUSH, 1)
		long := string(bytes.Repeat([]byte("long"), 100))
		go func() {
			for _, b := range message("one", "", long) {
				_, _ = s.Write([]byte{b})
				time.Sleep(time.Millisecond)
			}
		}()
		require.Equal(l, []string{"one", "", long}, recv(l, pull))
		s.stays(time.Second)
	})
}

// Subscriptions come as commands or, from peers of ZMTP 3.0, as messages; they
// are sent in the form that the peer knows.
func TestSubscriptionForms(t *testing.T) {
	inLab(t, func(l *lab) {
		xpub := l.bound(XPUB, Config{})
		for _, minor := range []byte{0, 1} {
			s := l.meet(SUB, minor)
			s.say(command(cmdSubscribe, "cmd"), message("\x01msg"))
			subscribed(l, xpub, "cmd")
			subscribed(l, xpub, "msg")
			send(l, xpub, "cmd")
			send(l, xpub, "msg")
			_, body := s.hear()
			assert.Equal(l, "cmd", string(body))
			_, body = s.hear()
			assert.Equal(l, "msg", string(body))
			s.say(command(cmdCancel, "cmd"), message("\x00msg"))
			require.Equal(l, []string{"\x00cmd"}, recv(l, xpub))
			require.Equal(l, []string{"\x00msg"}, recv(l, xpub))
			s.Close()
		}
	})
	for minor, want := range []string{"\x01a\x00a", "\x09SUBSCRIBEa\x06CANCELa"} {
		inLab(t, func(l *lab) {
			sub := l.bound(SUB, Config{})
			require.NoError(l, sub.Subscribe("a"))
			s := l.meet(PUB, byte(minor))
			flags, first := s.hear()
			assert.EqualValues(l, flagCommand*minor, flags)
			require.NoError(l, sub.Unsubscribe("a"))
			_, second := s.hear()
			assert.Equal(l, want, string(first)+string(second))
		})
	}
}

// However often a peer subscribes, one CANCEL ends it. RFC 37 has one for each,
// but libzmq sends all SUBSCRIBEs of a topic and a CANCEL for the last only.
func TestSubscribeTwice(t *testing.T) {
	inLab(t, func(l *lab) {
		xpub := l.bound(XPUB, Config{})
		s := l.meet(SUB, 1)
		s.say(command(cmdSubscribe, "a"), command(cmdSubscribe, "a"), command(cmdSubscribe, "b"))
		subscribed(l, xpub, "a")
		subscribed(l, xpub, "b")
		s.say(command(cmdCancel, "a"), command(cmdCancel, "a"), command(cmdCancel, "never"))
		require.Equal(l, []string{"\x00a"}, recv(l, xpub))
		send(l, xpub, "a")
		send(l, xpub, "b")
		_, body := s.hear()
		assert.Equal(l, "b", string(body))
		nothing(l, xpub)
	})
}

// A peer has a limited number of subscriptions, of a limited length.
func TestSubscriptionFlood(t *testing.T) {
	for _, tt := range []struct {
		name  string
		topic func(i int) string
	}{
		{"many", func(i int) string { return fmt.Sprint(i) }},
		{"long", func(i int) string { return fmt.Sprintf("%05000d", i) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				why := make(chan error, 1)
				pub := l.bound(PUB, Config{MaxSubscriptions: 1000, Trace: &Trace{Disconnected: func(_ Peer, err error) { why <- err }}})
				s := l.meet(SUB, 1)
				for i := range 1000 {
					if _, err := s.Write(command(cmdSubscribe, tt.topic(i))); err != nil {
						break
					}
				}
				if tt.name == "many" {
					synctest.Wait()
					time.Sleep(time.Second)
					require.Empty(l, why)
					s.say(command(cmdSubscribe, "one more"))
				}
				require.ErrorContains(l, <-why, "more than 1000")
				send(l, pub, "goes on")
			})
		})
	}
}

// An XPUB whose program takes no interest in subscriptions works all the same.
func TestUnreadSubscriptions(t *testing.T) {
	inLab(t, func(l *lab) {
		xpub := l.bound(XPUB, Config{RecvHWM: 10})
		sub := l.connected(SUB, Config{})
		for i := range 5000 {
			require.NoError(l, sub.Subscribe(fmt.Sprint("topic ", i)))
		}
		time.Sleep(time.Second)
		send(l, xpub, "topic 4999")
		require.Equal(l, []string{"topic 4999"}, recv(l, sub))
	})
}

// Of many connections only as many as allowed are served, the others are closed
// at once; and those that come when there is room again are served.
func TestConnectionFlood(t *testing.T) {
	inLab(t, func(l *lab) {
		pull := l.bound(PULL, Config{MaxConns: 10})
		var silent []*stranger
		for range 10 {
			silent = append(silent, l.dial())
		}
		time.Sleep(time.Second)
		for range 50 {
			assert.Less(l, l.dial().ends(), time.Second)
		}
		push := l.connected(PUSH, Config{ReconnectMax: time.Second})
		send(l, push, "patience")
		for _, s := range silent {
			s.ends() // by the handshake's time-out
		}
		require.Equal(l, []string{"patience"}, recv(l, pull))
	})
}

// Who asks and asks, but does not read the answers, does not get all of them;
// they would fill the memory.
func TestPingFlood(t *testing.T) {
	inLab(t, func(l *lab) {
		pull := l.bound(PULL, Config{})
		s := l.meet(PUSH, 1)
		ping := appendFrame(nil, flagCommand, appendPing(nil, 0, make([]byte, maxContext)))
		for range 100 {
			s.say(bytes.Repeat(ping, 1000))
		}
		s.say(message("still here"))
		require.Equal(l, []string{"still here"}, recv(l, pull))
		answers := 0
		require.NoError(l, s.SetReadDeadline(time.Now().Add(time.Second)))
		for ; ; answers++ {
			if _, err := io.ReadFull(s.in, make([]byte, len(ping)-2)); err != nil {
				break
			}
		}
		assert.Positive(l, answers)
		assert.Less(l, answers, 50_000)
	})
}

// A peer that does not read blocks its own messages, and nobody else's.
func TestPeerThatDoesNotRead(t *testing.T) {
	inLab(t, func(l *lab) {
		trace, come, _ := meetings()
		router := l.bound(ROUTER, Config{SendHWM: 100, Linger: -1, Trace: trace})
		s := l.dial()
		s.say(greeting("NULL"), ready("Socket-Type", "DEALER", "Identity", "slow"))
		<-come
		good := l.connected(DEALER, Config{Identity: []byte("good")})
		<-come
		body := string(make([]byte, 10_000))
		for range 1000 { // far more than fits
			send(l, router, "slow", body)
		}
		send(l, router, "good", "hello")
		require.Equal(l, []string{"hello"}, recv(l, good))
		assert.Positive(l, router.Stats().Dropped)
	})
}

// With CURVE nothing in clear text and nothing forged passes.
func TestHostileCurve(t *testing.T) {
	key := NewCurveKey()
	for name, forge := range map[string]func(c *curveBoxes) []byte{
		"clear text":   func(*curveBoxes) []byte { return message("hello") },
		"a PING":       func(*curveBoxes) []byte { return command(cmdPing, "00") },
		"changed":      func(c *curveBoxes) []byte { b := c.seal(nil, 0, []byte("x")); b[len(b)-1] ^= 1; return b },
		"played again": func(c *curveBoxes) []byte { b := c.seal(nil, 0, []byte("good")); return append(b, b...) },
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				why := make(chan error, 1)
				pull := l.bound(PULL, Config{
					Security: &CurveServer{SecretKey: key},
					Trace:    &Trace{Disconnected: func(_ Peer, err error) { why <- err }},
				})
				s := l.dial()
				_, c, err := handshake(s, &CurveClient{ServerKey: key.Public()}, local{typ: PUSH})
				require.NoError(l, err)
				s.say(c.seal(nil, 0, []byte("first")), forge(c.(*curveBoxes)))
				s.ends()
				bad := new(ProtocolError)
				require.ErrorAs(l, <-why, &bad)
				require.Equal(l, []string{"first"}, recv(l, pull))
				if name == "played again" {
					require.Equal(l, []string{"good"}, recv(l, pull))
				}
				nothing(l, pull)
			})
		})
	}
}

// Every kind of socket lives through garbage, at every stage.
func TestGarbage(t *testing.T) {
	garbage := bytes.Repeat([]byte{0, 1, 2, 3, 4, 5, 6, 7, 0xff, 0x7f}, 500)
	for typ := PAIR; typ <= XSUB; typ++ {
		inLab(t, func(l *lab) {
			s := l.bound(typ, Config{Linger: -1})
			conn := l.dial()
			_, _ = conn.Write(garbage)
			assert.Less(l, conn.ends(), time.Second)
			for peer := PAIR; peer <= XSUB; peer++ {
				if peer.talksTo(typ) {
					conn = l.meet(peer, 1)
					_, _ = conn.Write(garbage)
					assert.Less(l, conn.ends(), time.Second)
				}
			}
			ctx, cancel := context.WithTimeout(l.Context(), time.Second)
			defer cancel()
			for range s.Messages(ctx) { // there may be any
			}
			require.NoError(l, s.Close())
			require.ErrorIs(l, s.Connect(endpoint), net.ErrClosed)
		})
	}
}
