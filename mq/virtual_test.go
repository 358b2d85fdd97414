package mq

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A lab is a network in memory on which time is virtual: one host for sockets
// under test, others for their peers.
type lab struct {
	*testing.T
	network simnet.Network
}

// inLab runs a test in a bubble. A goroutine left over fails it.
func inLab(t *testing.T, test func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t}
		l.network.Host(here) // it is there before anybody listens
		t.Cleanup(func() { l.network.Close() })
		test(l)
	})
}

var (
	here  = netip.MustParseAddr("10.0.0.1")
	there = netip.MustParseAddr("10.0.0.2")
)

// socket makes a socket on a host.
func (l *lab) socket(at netip.Addr, typ Type, cfg Config) *Socket {
	l.Helper()
	host := l.network.Host(at)
	cfg.Dial = host.DialContext
	cfg.Listen = func(_ context.Context, network, addr string) (net.Listener, error) { return host.Listen(network, addr) }
	s, err := NewSocket(typ, &cfg)
	require.NoError(l, err)
	l.Cleanup(func() { assert.NoError(l, s.Close()) })
	return s
}

const endpoint = "tcp://10.0.0.1:5555"

// bound is a socket that is bound to endpoint.
func (l *lab) bound(typ Type, cfg Config) *Socket {
	l.Helper()
	s := l.socket(here, typ, cfg)
	_, err := s.Bind(l.Context(), endpoint)
	require.NoError(l, err)
	return s
}

// connected is a socket on the other host that is connected to endpoint.
func (l *lab) connected(typ Type, cfg Config) *Socket {
	l.Helper()
	s := l.socket(there, typ, cfg)
	require.NoError(l, s.Connect(endpoint))
	return s
}

// A stranger is a peer of a socket that the test plays byte by byte.
type stranger struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

// dial connects a stranger to endpoint, without a word.
func (l *lab) dial() *stranger {
	l.Helper()
	conn, err := l.network.Host(there).Dial("tcp", "10.0.0.1:5555")
	require.NoError(l, err)
	l.Cleanup(func() { conn.Close() })
	return &stranger{Conn: conn, t: l.T, in: bufio.NewReader(conn)}
}

// meet is dial and a handshake as a peer of version 3.minor.
func (l *lab) meet(typ Type, minor byte) *stranger {
	l.Helper()
	s := l.dial()
	s.say(withByte(greeting("NULL"), greetingMinor, minor), ready("Socket-Type", typ.String()))
	_, err := io.ReadFull(s.in, make([]byte, greetingSize))
	require.NoError(l, err)
	flags, body := s.hear()
	require.EqualValues(l, flagCommand, flags)
	_, err = expect(body, cmdReady)
	require.NoError(l, err)
	return s
}

func (s *stranger) say(parts ...[]byte) {
	s.t.Helper()
	_, err := s.Write(join(parts...))
	require.NoError(s.t, err)
}

// hear returns the next frame.
func (s *stranger) hear() (flags byte, body []byte) {
	s.t.Helper()
	flags, err := s.in.ReadByte()
	require.NoError(s.t, err)
	var size [8]byte
	if flags&flagLong != 0 {
		_, err = io.ReadFull(s.in, size[:])
	} else {
		_, err = io.ReadFull(s.in, size[7:])
	}
	require.NoError(s.t, err)
	body = make([]byte, binary.BigEndian.Uint64(size[:]))
	_, err = io.ReadFull(s.in, body)
	require.NoError(s.t, err)
	return flags &^ flagLong, body
}

// ends waits until the socket ends the connection, and returns how long that
// took.
func (s *stranger) ends() time.Duration {
	s.t.Helper()
	start := time.Now()
	_, err := io.Copy(io.Discard, s.in)
	if err != nil {
		require.ErrorIs(s.t, err, syscall.ECONNRESET)
	}
	return time.Since(start)
}

// stays checks that the connection is there after some time.
func (s *stranger) stays(d time.Duration) {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(d)))
	_, err := io.Copy(io.Discard, s.in)
	require.ErrorIs(s.t, err, os.ErrDeadlineExceeded)
}

// about checks that a time is what it should be, but for what passes within a
// network.
func about(t testing.TB, want, got time.Duration) {
	t.Helper()
	assert.InDelta(t, want.Seconds(), got.Seconds(), 0.01)
}

// The pause between attempts doubles, up to a limit, and is shortened at
// random by up to a half. After a success it begins anew.
func TestReconnectBackoff(t *testing.T) {
	inLab(t, func(l *lab) {
		type retry struct {
			at   time.Time
			wait time.Duration
			err  error
		}
		retries := make(chan retry, 100)
		trace, come, gone := meetings()
		trace.Retry = func(at string, err error, wait time.Duration) {
			assert.Equal(l, endpoint, at)
			retries <- retry{time.Now(), wait, err}
		}
		cfg := Config{Trace: trace, ReconnectMin: 100 * time.Millisecond, ReconnectMax: 2 * time.Second}
		push := l.connected(PUSH, cfg)
		var before retry
		random := false
		for i, most := range []time.Duration{100, 200, 400, 800, 1600, 2000, 2000, 2000} {
			r := <-retries
			most *= time.Millisecond
			require.ErrorIs(l, r.err, syscall.ECONNREFUSED)
			assert.LessOrEqual(l, r.wait, most, "attempt %d", i)
			assert.GreaterOrEqual(l, r.wait, most/2, "attempt %d", i)
			random = random || r.wait != most && r.wait != most/2
			if i > 0 {
				about(l, before.wait, r.at.Sub(before.at))
			}
			before = r
		}
		assert.True(l, random)

		pull := l.bound(PULL, Config{})
		<-come
		for len(retries) > 0 {
			<-retries
		}
		time.Sleep(10 * time.Second) // one that is lost at once is no success
		require.NoError(l, pull.Close())
		<-gone
		r := <-retries
		assert.LessOrEqual(l, r.wait, 100*time.Millisecond, "it begins anew")
		require.NoError(l, push.Close())
	})
}

// Who says nothing, or not enough, or too slowly, is left when the time of the
// handshake is over.
func TestHandshakeTimeout(t *testing.T) {
	slowly := func(s *stranger) { // a byte a second is progress, but too little
		for _, b := range join(greeting("NULL"), ready("Socket-Type", "PUSH")) {
			if _, err := s.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	for _, tt := range []struct {
		name string
		says func(*stranger)
	}{
		{"silence", func(*stranger) {}},
		{"half a greeting", func(s *stranger) { s.say(greeting("NULL")[:30]) }},
		{"a greeting", func(s *stranger) { s.say(greeting("NULL")) }},
		{"half a READY", func(s *stranger) { s.say(greeting("NULL"), ready("Socket-Type", "PUSH")[:9]) }},
		{"a byte a second", slowly},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				refused := make(chan error, 1)
				trace := &Trace{Refused: func(_ string, remote net.Addr, err error) {
					assert.Contains(l, remote.String(), there.String())
					refused <- err
				}}
				l.bound(PULL, Config{Trace: trace})
				s := l.dial()
				said := make(chan struct{})
				go func() { tt.says(s); close(said) }()
				about(l, 30*time.Second, s.ends())
				s.Close()
				<-said
				require.ErrorIs(l, <-refused, os.ErrDeadlineExceeded)
			})
			inLab(t, func(l *lab) { // the same from the end that connects
				listener, err := l.network.Host(here).Listen("tcp", ":5555")
				require.NoError(l, err)
				defer listener.Close()
				retries := make(chan error, 100)
				trace := &Trace{Retry: func(_ string, err error, _ time.Duration) { retries <- err }}
				l.connected(PULL, Config{Trace: trace, HandshakeTimeout: 10 * time.Second, Linger: -1})
				conn, err := listener.Accept()
				require.NoError(l, err)
				defer conn.Close()
				s := &stranger{Conn: conn, t: l.T, in: bufio.NewReader(conn)}
				said := make(chan struct{})
				go func() { tt.says(s); close(said) }()
				about(l, 10*time.Second, s.ends())
				s.Close()
				<-said
				require.ErrorIs(l, <-retries, os.ErrDeadlineExceeded)
			})
		})
	}
}

// A slow handshake that is done in time is as good as another.
func TestSlowHandshake(t *testing.T) {
	inLab(t, func(l *lab) {
		pull := l.bound(PULL, Config{})
		s := l.dial()
		for _, b := range join(greeting("NULL"), ready("Socket-Type", "PUSH"), appendFrame(nil, 0, []byte("at last"))) {
			s.say([]byte{b})
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(l, []string{"at last"}, recv(l, pull))
	})
}

// A peer whose machine has gone answers no PING: it is dead after interval and
// timeout. One that answers stays for ever.
func TestHeartbeat(t *testing.T) {
	inLab(t, func(l *lab) {
		trace, come, gone := meetings()
		cfg := Config{Trace: trace, HeartbeatInterval: 2 * time.Second, HeartbeatTimeout: 3 * time.Second, Linger: -1}
		l.bound(PAIR, cfg)
		l.connected(PAIR, Config{Linger: -1})
		<-come
		time.Sleep(time.Hour)
		require.Empty(l, gone)
		start := time.Now()
		l.network.Partition([]netip.Addr{here}, []netip.Addr{there})
		<-gone
		took := time.Since(start) // the last sign of life was up to an interval ago
		assert.GreaterOrEqual(l, took, 3*time.Second)
		assert.LessOrEqual(l, took, 5*time.Second+10*time.Millisecond)
		l.network.Heal()
	})
}

// Each PING has its answer, with its context, even those of peers that are not
// sent any.
func TestPing(t *testing.T) {
	inLab(t, func(l *lab) {
		l.bound(PULL, Config{HeartbeatInterval: time.Second, HeartbeatTTL: 2500 * time.Millisecond})
		s := l.meet(PUSH, 1)
		flags, body := s.hear()
		assert.EqualValues(l, flagCommand, flags)
		assert.Equal(l, "\x04PING\x00\x19", string(body[:7]))
		s.say(appendFrame(nil, flagCommand, appendPing(nil, 0, []byte("0123456789abcdef"))))
		_, body = s.hear()
		assert.Equal(l, "\x04PONG0123456789abcdef", string(body))

		old := l.meet(PUSH, 0)
		old.say(appendFrame(nil, flagCommand, appendPing(nil, 0, nil)))
		_, body = old.hear()
		assert.Equal(l, "\x04PONG", string(body))
		old.stays(time.Minute) // nobody asks it
		s.ends()
	})
}

// The TTL of a PING ends the connection if nothing at all follows.
func TestPingTTL(t *testing.T) {
	ping := appendFrame(nil, flagCommand, appendPing(nil, 1500*time.Millisecond, nil))
	inLab(t, func(l *lab) {
		pull := l.bound(PULL, Config{})
		s := l.meet(PUSH, 1)
		s.say(ping)
		about(l, 1500*time.Millisecond, s.ends())

		s = l.meet(PUSH, 1)
		s.say(ping)
		time.Sleep(time.Second)
		s.say(appendFrame(nil, 0, []byte("here I am")))
		require.Equal(l, []string{"here I am"}, recv(l, pull))
		s.stays(time.Hour)
	})
}

// Close waits for what cannot be sent as long as linger says, not longer.
func TestLingerTime(t *testing.T) {
	for _, tt := range []struct{ linger, want time.Duration }{{0, time.Second}, {-1, 0}, {7 * time.Second, 7 * time.Second}} {
		inLab(t, func(l *lab) { // nobody is there
			push := l.connected(PUSH, Config{Linger: tt.linger})
			send(l, push, "for nobody")
			start := time.Now()
			require.NoError(l, push.Close())
			about(l, tt.want, time.Since(start))
		})
		inLab(t, func(l *lab) { // somebody is there, but does not read
			push := l.bound(PUSH, Config{Linger: tt.linger})
			l.meet(PULL, 1)
			for range 64 {
				send(l, push, string(make([]byte, 1<<16)))
			}
			start := time.Now()
			require.NoError(l, push.Close())
			about(l, tt.want, time.Since(start))
		})
	}
	inLab(t, func(l *lab) { // all is sent before
		l.network.Link = simnet.Link{Delay: 50 * time.Millisecond}
		push, pull := l.bound(PUSH, Config{Linger: time.Minute}), l.connected(PULL, Config{})
		send(l, push, "last")
		start := time.Now()
		require.NoError(l, push.Close())
		assert.Less(l, time.Since(start), time.Second)
		require.Equal(l, []string{"last"}, recv(l, pull))
	})
}

// Messages that wait for an endpoint we connected survive the loss of the
// connection; what waits for a peer that connected to us goes with it.
func TestQueuesAndLoss(t *testing.T) {
	inLab(t, func(l *lab) {
		trace, come, gone := meetings()
		push := l.connected(PUSH, Config{Trace: trace})
		first := l.bound(PULL, Config{})
		<-come
		require.NoError(l, first.Close())
		<-gone
		for _, text := range []string{"1", "2", "3"} {
			send(l, push, text)
		}
		second := l.bound(PULL, Config{})
		for _, text := range []string{"1", "2", "3"} {
			require.Equal(l, []string{text}, recv(l, second))
		}
	})
	inLab(t, func(l *lab) {
		trace, come, gone := meetings()
		dropped := make(chan int, 10)
		trace.Dropped = func(_ Peer, n int) { dropped <- n }
		push := l.bound(PUSH, Config{Trace: trace})
		s := l.meet(PULL, 1)
		<-come
		body := string(make([]byte, 1<<16))
		for range 64 { // more than the connection takes
			send(l, push, body)
		}
		s.Close()
		<-gone
		assert.Positive(l, <-dropped)
		pull := l.connected(PULL, Config{})
		<-come
		send(l, push, "new")
		require.Equal(l, []string{"new"}, recv(l, pull))
		require.NoError(l, push.Close())
	})
}

// Hundreds of connections later there are no more goroutines than after the
// first, and after Close none: the bubble would fail.
func TestManyReconnects(t *testing.T) {
	inLab(t, func(l *lab) {
		trace, come, gone := meetings()
		req := l.connected(DEALER, Config{Trace: trace, ReconnectMax: 100 * time.Millisecond})
		first := 0
		for i := range 200 {
			rep := l.bound(REP, Config{})
			<-come
			send(l, req, "", "hello")
			require.Equal(l, []string{"hello"}, recv(l, rep))
			send(l, rep, "hello")
			require.Equal(l, []string{"", "hello"}, recv(l, req))
			require.NoError(l, rep.Close())
			<-gone
			synctest.Wait()
			if i == 0 {
				first = runtime.NumGoroutine()
			}
		}
		assert.Less(l, runtime.NumGoroutine(), first+10) // some of the network's come and go
	})
}

// A REQ that has lost the peer it asked may not ask another question before it
// is closed: the answer might still come.
func TestPeerDiesWithQuestion(t *testing.T) {
	inLab(t, func(l *lab) {
		req := l.connected(REQ, Config{})
		rep := l.bound(REP, Config{})
		send(l, req, "question")
		require.Equal(l, []string{"question"}, recv(l, rep))
		require.NoError(l, rep.Close())
		ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
		defer cancel()
		_, err := req.Recv(ctx)
		require.ErrorIs(l, err, context.DeadlineExceeded)

		// REP forgets a question whose asker has gone.
		rep = l.bound(REP, Config{})
		s := l.meet(REQ, 1)
		s.say(appendFrame(nil, flagMore, nil), appendFrame(nil, 0, []byte("question")))
		require.Equal(l, []string{"question"}, recv(l, rep))
		s.Close()
		time.Sleep(time.Second)
		send(l, rep, "answer to nobody")
		s = l.meet(REQ, 1)
		s.say(appendFrame(nil, flagMore, nil), appendFrame(nil, 0, []byte("another")))
		require.Equal(l, []string{"another"}, recv(l, rep))
	})
}
