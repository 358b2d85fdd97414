package udprel

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// This file is about peers that lie, and networks that fail at the worst time.

// opened returns two machines that know each other, with nothing under way.
func opened(t testing.TB, cfg *Config) *duo {
	d := newDuo(t, cfg)
	for range 100 {
		d.exchange()
		if s := d.ends[1]; s != nil && s.phase == phaseOpen && d.ends[0].phase == phaseOpen {
			return d
		}
		d.next(time.Second)
	}
	t.Fatal("no handshake")
	return nil
}

// exchange delivers all that both machines want to send at this time.
func (d *duo) exchange() {
	for d.send(); len(d.flying[0])+len(d.flying[1]) > 0; d.send() {
		for to := range d.flying {
			for len(d.flying[to]) > 0 {
				d.deliver(to, 0)
				d.drop(to, 0)
			}
		}
	}
}

// forge hands the server a packet of the client that holds these frames.
func (d *duo) forge(frames ...frame) {
	c, s := d.ends[0], d.ends[1]
	b := appendHeader(nil, header{seq: uint32(c.sent.next), ack: uint32(s.sent.next - 1), kind: typeData, connID: s.local})
	c.sent.add()
	for _, f := range frames {
		b = appendFrame(b, f)
	}
	h, body, err := parseHeader(b)
	require.NoError(d.t, err)
	s.receive(d.now, h, body, addrA, len(b))
}

// TestLongDial: a dial that waits for a long time keeps asking at a slow pace.
func TestLongDial(t *testing.T) {
	m := newMachine((&Config{HandshakeTimeout: time.Hour}).withDefaults(), true, addrB, 0, [32]byte{1})
	buf := make([]byte, 1<<16)
	hellos := 0
	for now := time.Duration(0); m.phase == phaseHello; now = m.deadline(now) {
		m.timeout(now)
		for n, _ := m.packet(now, buf); n > 0; n, _ = m.packet(now, buf) {
			hellos++
			require.Less(t, hellos, 2000)
		}
	}
	require.ErrorIs(t, m.err, ErrHandshake)
	require.Greater(t, hellos, 1000)
}

// TestLossyLargeMessages: pieces of unreliable messages that will never be whole
// make room for later messages.
func TestLossyLargeMessages(t *testing.T) {
	for _, lanes := range []int{1, 200} {
		in := inMessages{size: 100_000, max: 100_000}
		piece := func(i int, off uint64) {
			c := Delivery{Lane: uint8(i % lanes), Mode: Unreliable}.channel()
			err := in.receive(&frame{kind: frameMessage, channel: c, id: uint64(i / lanes), size: 20_000, off: off, data: make([]byte, 10_000)})
			require.NoError(t, err)
		}
		for i := range 1000 {
			piece(i, 0) // the other half is lost
			require.LessOrEqual(t, in.loose, in.size)
		}
		piece(1000, 0)
		piece(1000, 10_000)
		_, ok := in.next()
		require.True(t, ok, "%d lanes", lanes)
	}
}

// TestEndlessPieces: unreliable messages of which only every other one is begun,
// and none finished, leave nothing behind.
func TestEndlessPieces(t *testing.T) {
	in := inMessages{size: 100_000, max: 100_000}
	c := Delivery{Mode: Unreliable}.channel()
	for id := range uint64(100_000) {
		require.NoError(t, in.receive(&frame{kind: frameMessage, channel: c, id: 2 * id, size: 2, data: []byte{1}}))
	}
	lane := in.lanes[c]
	require.LessOrEqual(t, len(lane.done), maxLoose+1)
	require.LessOrEqual(t, len(lane.partial), maxLoose)
}

// TestLeaveHostile: a peer that keeps talking and never says that it has heard
// of our end does not keep us for ever.
func TestLeaveHostile(t *testing.T) {
	d := opened(t, nil)
	s := d.ends[1]
	for range 1000 { // small messages, each in a packet of its own
		_, err := s.outMsgs.send([]byte{1}, Delivery{})
		require.NoError(t, err)
		s.pacer.next, s.probes = 0, 1
		s.packet(d.now, d.buf)
	}
	s.leave(closeDone)
	start := d.now
	for s.phase != phaseOver {
		for k, _ := s.packet(d.now, d.buf); k > 0; k, _ = s.packet(d.now, d.buf) {
		}
		c := d.ends[0]
		// Alive, and it acknowledges no more than the first packet that is open.
		b := appendHeader(nil, header{seq: uint32(c.sent.next), ack: uint32(s.sent.first), kind: typeData, connID: s.local})
		c.sent.add()
		h, body, err := parseHeader(append(b, byte(framePing)))
		require.NoError(t, err)
		s.receive(d.now, h, body, addrA, len(b)+1)
		d.now += 500 * time.Millisecond
		s.timeout(d.now)
		require.Less(t, d.now-start, time.Minute)
	}
}

// TestLies: what a peer may not say ends the connection, and nothing panics.
func TestLies(t *testing.T) {
	cfg := &Config{ReceiveBuffer: 100_000, MessageBuffer: 100_000}
	reliable := Delivery{Mode: Unordered}.channel()
	for _, test := range []struct {
		name   string
		frames []frame
	}{
		{"stream beyond the window", []frame{{kind: frameStream, off: 100_000, data: []byte{1}}}},
		{"stream at the end of numbers", []frame{{kind: frameStream, off: 1<<62 - 1, data: []byte{1, 2}}}},
		{"an end beyond the window", []frame{{kind: frameEnd, off: 1 << 60}}},
		{"two ends", []frame{{kind: frameEnd, off: 10}, {kind: frameEnd, off: 11}}},
		{"an end before data", []frame{{kind: frameStream, data: make([]byte, 10)}, {kind: frameEnd, off: 9}}},
		{"data after the end", []frame{{kind: frameEnd, off: 9}, {kind: frameStream, off: 9, data: []byte{1}}}},
		{"huge message", []frame{{kind: frameMessage, channel: reliable, size: 1<<62 - 1, data: []byte{1}}}},
		{"message of two sizes", []frame{
			{kind: frameMessage, channel: reliable, size: 10, data: []byte{1}},
			{kind: frameMessage, channel: reliable, size: 11, data: []byte{1}},
		}},
		{"messages beyond the window", []frame{
			{kind: frameMessage, channel: reliable, id: 1 << 60, size: 60_000, data: []byte{1}},
			{kind: frameMessage, channel: reliable, id: 1 << 61, size: 60_000, data: []byte{1}},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := opened(t, cfg)
			d.forge(test.frames...)
			require.Equal(t, phaseLeaving, d.ends[1].phase)
			require.ErrorIs(t, d.ends[1].err, ErrProtocol)
			d.exchange()
			require.Equal(t, phaseOver, d.ends[0].phase)
			require.ErrorIs(t, d.ends[0].err, ErrProtocol)
		})
	}
	t.Run("unsent packets acknowledged", func(t *testing.T) {
		d := opened(t, cfg)
		s := d.ends[1]
		bad := s.stats.Malformed
		b := appendHeader(nil, header{seq: uint32(d.ends[0].sent.next), ack: uint32(s.sent.next), bits: 1<<32 - 1, kind: typeData, connID: s.local})
		h, body, err := parseHeader(b)
		require.NoError(t, err)
		s.receive(d.now, h, body, addrA, len(b))
		require.Equal(t, bad+1, s.stats.Malformed)
		require.Equal(t, phaseOpen, s.phase)
	})
}

// TestGaps: a peer that sends every other byte is cut off before its gaps take
// much memory, or much time to look through.
func TestGaps(t *testing.T) {
	d := opened(t, nil)
	s := d.ends[1]
	for off := uint64(1 << 20); s.phase == phaseOpen; off -= 2 {
		require.Positive(t, off)
		d.forge(frame{kind: frameStream, off: off, data: []byte{1}})
	}
	require.ErrorIs(t, s.err, ErrProtocol)
	require.LessOrEqual(t, len(s.in.have), maxGaps+1)
}

// TestHalfOpenMemory: a client that has shown its address only cannot make the
// server keep more than the handshake allows.
func TestHalfOpenMemory(t *testing.T) {
	d := newDuo(t, nil)
	c := d.ends[0]
	d.send()
	d.deliver(1, 0) // hello
	d.drop(1, 0)
	d.deliver(0, 0) // cookie
	d.drop(0, 0)
	require.Equal(t, phaseHalf, c.phase)
	for _, f := range []frame{
		{kind: frameStream, off: 4<<20 - 1, data: []byte{1}},
		{kind: frameMessage, size: 3 << 20, data: []byte{1}},
		{kind: frameMessage, channel: Delivery{Mode: Unreliable}.channel(), size: 3 << 20, data: []byte{1}},
	} {
		d.ends[1] = nil
		b := appendGreeting(appendHeader(nil, header{seq: uint32(c.sent.next), kind: typeHello}), c.greeting(c.hello.cookie))
		c.sent.add()
		d.flying[1] = [][]byte{appendFrame(b, f)}
		d.deliver(1, 0)
		s := d.ends[1]
		require.NotNil(t, s)
		held := len(s.in.buf)
		for _, lane := range s.inMsgs.lanes {
			for _, m := range lane.partial {
				held += len(m.data)
			}
		}
		require.LessOrEqual(t, held, 2*earlyMax)
	}
}

// TestFreshCookie: a client whose cookie has become too old takes a new one.
func TestFreshCookie(t *testing.T) {
	d := newDuo(t, &Config{HandshakeTimeout: time.Minute})
	d.send()
	d.deliver(1, 0)
	d.drop(1, 0)
	d.deliver(0, 0)
	d.drop(0, 0)
	require.Equal(t, phaseHalf, d.ends[0].phase)
	for d.now < 2*cookieLifetime { // an outage, or a server without room
		d.send()
		d.flying = [2][][]byte{}
		d.next(time.Second)
	}
	for range 50 {
		d.exchange()
		d.next(time.Second)
	}
	require.NotNil(t, d.ends[1])
	require.Equal(t, phaseOpen, d.ends[1].phase)
}

// hosts makes two ends on a simulated network; the second listens.
func hosts(t *testing.T, n *simnet.Network, ca, cb *Config) (a, b *Endpoint, sock *simnet.PacketConn, l *Listener) {
	sock, err := n.Host(addrA.Addr()).ListenPacket("udp", addrA.String())
	require.NoError(t, err)
	pc, err := n.Host(addrB.Addr()).ListenPacket("udp", addrB.String())
	require.NoError(t, err)
	a, b = NewEndpoint(sock, ca), NewEndpoint(pc, cb)
	l, err = b.Listen()
	require.NoError(t, err)
	return a, b, sock, l
}

// A world is two ends on a simulated network, and a connection from a to b.
type world struct {
	n    *simnet.Network
	a, b *Endpoint
	sock *simnet.PacketConn // a's
	l    *Listener          // b's
	c    *Conn
}

// inWorld runs f on virtual time; link is that in both directions.
func inWorld(t *testing.T, link simnet.Link, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{n: &simnet.Network{Seed: 1, Link: link}}
		defer w.n.Close()
		w.a, w.b, w.sock, w.l = hosts(t, w.n, nil, nil)
		defer w.a.Close()
		defer w.b.Close()
		var err error
		w.c, err = w.a.Dial(t.Context(), w.b.Addr())
		require.NoError(t, err)
		f(t, w)
	})
}

// TestEarlyLargeMessage: Send waits for the server's limits before it says that a
// message is too large.
func TestEarlyLargeMessage(t *testing.T) {
	inWorld(t, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		require.NoError(t, w.c.Send(t.Context(), make([]byte, 1<<20), Delivery{}))
		require.ErrorIs(t, w.c.Send(t.Context(), make([]byte, 5<<20), Delivery{}), ErrTooLarge)
		s, err := w.l.AcceptConn(t.Context())
		require.NoError(t, err)
		msg, err := s.Receive(t.Context())
		require.NoError(t, err)
		require.Len(t, msg.Data, 1<<20)
	})
}

// TestDialWhileClosing: an endpoint that closes takes no new connections, which
// would keep it open.
func TestDialWhileClosing(t *testing.T) {
	inWorld(t, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		other, err := w.n.Host(netip.MustParseAddr("10.0.0.3")).ListenPacket("udp", "10.0.0.3:3")
		require.NoError(t, err)
		e := NewEndpoint(other, nil)
		defer e.Close()
		_, err = e.Listen()
		require.NoError(t, err)
		_, err = w.l.AcceptConn(t.Context())
		require.NoError(t, err)
		w.n.Partition([]netip.Addr{addrB.Addr()}) // the farewell takes its time
		closed := make(chan error, 1)
		go func() { closed <- w.a.Close() }()
		time.Sleep(time.Millisecond) // virtual
		_, err = w.a.Dial(t.Context(), e.Addr())
		assert.ErrorIs(t, err, net.ErrClosed)
		_, err = w.a.Listen()
		assert.ErrorIs(t, err, net.ErrClosed)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		select {
		case err := <-closed:
			require.NoError(t, err)
		case <-ctx.Done():
			t.Error("Close hangs")
			w.a.Close()
		}
	})
}

// TestMigrationOutage: an outage right after the client's address has changed
// does not keep the server from following.
func TestMigrationOutage(t *testing.T) {
	inWorld(t, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		s, err := w.l.AcceptConn(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second) // virtual
		w.n.SetLink(addrB.Addr(), addrA.Addr(), simnet.Link{Delay: 10 * time.Millisecond, Loss: 1})
		_, err = w.sock.Rebind(netip.MustParseAddrPort("10.0.0.1:4000"))
		require.NoError(t, err)
		_, err = w.c.Write([]byte("from elsewhere"))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		w.n.SetLink(addrB.Addr(), addrA.Addr(), simnet.Link{Delay: 10 * time.Millisecond})
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 1, s.Stats().Migrations)
		_, err = s.Write([]byte("found you"))
		require.NoError(t, err)
		buf := make([]byte, 9)
		require.NoError(t, w.c.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = w.c.Read(buf)
		require.NoError(t, err)
	})
}

// TestChallengeBudget: an address that has not answered gets no more than three
// bytes for each that came from it, however often packets come.
func TestChallengeBudget(t *testing.T) {
	d := opened(t, nil)
	c, s := d.ends[0], d.ends[1]
	elsewhere := netip.MustParseAddrPort("10.9.9.9:9")
	got, sent := 0, 0
	s.write(make([]byte, 100_000))
	for range 2000 {
		b := appendHeader(nil, header{seq: uint32(c.sent.next), ack: uint32(s.sent.first), kind: typeData, connID: s.local})
		c.sent.add()
		b = append(b, byte(framePing))
		h, body, err := parseHeader(b)
		require.NoError(t, err)
		s.receive(d.now, h, body, elsewhere, len(b))
		got += len(b)
		for k, to := s.packet(d.now, d.buf); k > 0; k, to = s.packet(d.now, d.buf) {
			if to == elsewhere {
				sent += k
			}
		}
		require.LessOrEqual(t, sent, amplification*got)
		d.now += 10 * time.Millisecond
		s.timeout(d.now)
	}
	require.Positive(t, sent)
	require.Equal(t, addrA, s.path.addr)
}

// TestBareReset: without the token nobody is believed, not even with the id.
func TestBareReset(t *testing.T) {
	inWorld(t, simnet.Link{Delay: 10 * time.Millisecond}, func(t *testing.T, w *world) {
		_, err := w.l.AcceptConn(t.Context())
		require.NoError(t, err)
		other, err := w.n.Host(netip.MustParseAddr("10.0.0.3")).ListenPacket("udp", "10.0.0.3:3")
		require.NoError(t, err)
		for _, body := range [][]byte{nil, make([]byte, 16), bytes.Repeat([]byte{1}, 17)} {
			p := appendHeader(nil, header{kind: typeReset, connID: w.c.m.local})
			_, err := other.WriteTo(append(p, body...), w.a.Addr())
			require.NoError(t, err)
		}
		time.Sleep(time.Second) // virtual
		_, err = w.c.Write([]byte("still here"))
		require.NoError(t, err)
	})
}

// TestNumberJumps: packets whose numbers leap over billions neither take memory
// nor time.
func TestNumberJumps(t *testing.T) {
	d := opened(t, nil)
	s := d.ends[1]
	seq := uint32(s.received.newest)
	for i := range 10_000 {
		seq += 1<<30 + uint32(i)
		b := binary.BigEndian.AppendUint32(nil, seq)
		b = appendHeader(b, header{ack: uint32(s.sent.next - 1), kind: typeData, connID: s.local})
		b = append(b[:4], b[8:]...)
		h, body, err := parseHeader(append(b, byte(framePing)))
		require.NoError(t, err)
		s.receive(d.now, h, body, addrA, len(b)+1)
		for k, _ := s.packet(d.now, d.buf); k > 0; k, _ = s.packet(d.now, d.buf) {
		}
		require.LessOrEqual(t, len(s.received.got), maxAckRanges)
	}
	require.LessOrEqual(t, len(s.sent.slots), 1<<17)
}

// TestRepeatFlood: many repeated messages at once do not go over the window.
func TestRepeatFlood(t *testing.T) {
	inWorld(t, simnet.Link{Rate: 10_000_000, Queue: 25_000, Delay: 20 * time.Millisecond}, func(t *testing.T, w *world) {
		const count = 10_000
		sent := make(chan error, 1)
		go func() {
			for range count {
				if err := w.c.Send(t.Context(), make([]byte, 200), Delivery{Mode: Unordered, Repeat: true}); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		s, err := w.l.AcceptConn(t.Context())
		require.NoError(t, err)
		start := time.Now()
		for range count {
			_, err := s.Receive(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, <-sent)
		link := w.n.Stats(addrA.Addr(), addrB.Addr())
		t.Logf("%v, %d repeats, %d of %d packets dropped", time.Since(start), w.c.Stats().Repeats, link.TailDropped, link.Packets)
		assert.Less(t, float64(link.TailDropped), 0.05*float64(link.Packets))
	})
}

// TestDeadlineOutlives: a deadline far away does not keep a closed connection in
// memory.
func TestDeadlineOutlives(t *testing.T) {
	inWorld(t, simnet.Link{}, func(t *testing.T, w *world) {
		require.NoError(t, w.c.SetDeadline(time.Now().Add(time.Hour)))
		require.NoError(t, w.a.Close())
		require.Nil(t, w.c.rd.timer)
		require.Nil(t, w.c.wd.timer)
	})
}
