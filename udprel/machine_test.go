package udprel

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	addrA = netip.MustParseAddrPort("10.0.0.1:1")
	addrB = netip.MustParseAddrPort("10.0.0.2:2")
)

// Two machines on a network made of two slices. Nothing moves unless the test
// moves it.
type duo struct {
	t      testing.TB
	now    time.Duration
	gate   gate
	cfg    *Config
	ends   [2]*machine // client, server (nil until it has accepted)
	flying [2][][]byte // towards the client, towards the server
	first  uint32      // the server's first number, if not 0
	buf    []byte
}

func newDuo(t testing.TB, cfg *Config) *duo {
	d := &duo{t: t, cfg: cfg.withDefaults(), buf: make([]byte, 1<<16)}
	d.ends[0] = newMachine(d.cfg, true, addrB, 0, [32]byte{1})
	return d
}

// send lets both machines send all they want.
func (d *duo) send() {
	for i, m := range d.ends {
		for n := 0; m != nil; n++ {
			require.Less(d.t, n, 100_000, "it never ends")
			k, _ := m.packet(d.now, d.buf)
			if k == 0 {
				break
			}
			require.Greater(d.t, k, headerSize, "an empty packet")
			d.flying[1-i] = append(d.flying[1-i], bytes.Clone(d.buf[:k]))
		}
	}
}

// deliver hands over packet i towards an end.
func (d *duo) deliver(to, i int) {
	b := d.flying[to][i]
	h, body, err := parseHeader(b)
	if err != nil {
		return
	}
	if to == 1 && d.ends[1] == nil {
		g, _, err := parseGreeting(body)
		if err != nil || h.kind != typeHello {
			return
		}
		if !d.gate.valid(g.cookie, d.now, addrA, g.id) {
			d.flying[0] = append(d.flying[0], d.gate.appendCookie(nil, d.now, addrA, g.id))
			return
		}
		d.ends[1] = accept(d.cfg, &d.gate, addrA, h, g, len(b), d.now, [32]byte{2})
		if d.first != 0 {
			d.ends[1].sent = newSentLog(firstNumber(d.first))
		}
	}
	d.ends[to].receive(d.now, h, body, [2]netip.AddrPort{addrB, addrA}[to], len(b))
}

func (d *duo) drop(to, i int) { d.flying[to] = append(d.flying[to][:i], d.flying[to][i+1:]...) }

// next moves the clock to the next deadline, at most by limit.
func (d *duo) next(limit time.Duration) {
	at := d.now + limit
	for _, m := range d.ends {
		if m != nil {
			at = min(at, max(m.deadline(d.now), d.now+time.Microsecond))
		}
	}
	d.now = at
	for _, m := range d.ends {
		if m != nil {
			m.timeout(d.now)
		}
	}
}

// TestWrap lets the numbers of both ends wrap around in a transfer.
func TestWrap(t *testing.T) {
	d := newDuo(t, nil)
	d.first = 1<<32 - 5
	d.ends[0].sent = newSentLog(firstNumber(1<<32 - 300))
	data := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	dice := rand.New(rand.NewPCG(1, 1))
	var got []byte
	buf := make([]byte, 1<<16)
	for off := 0; len(got) < len(data); {
		off += d.ends[0].write(data[off:])
		d.send()
		for to := range d.flying {
			for len(d.flying[to]) > 0 {
				if dice.IntN(20) > 0 {
					d.deliver(to, 0)
				}
				d.drop(to, 0)
			}
		}
		if m := d.ends[1]; m != nil {
			for n := m.in.read(buf); n > 0; n = m.in.read(buf) {
				got = append(got, buf[:n]...)
			}
		}
		d.next(10 * time.Millisecond)
		require.Less(t, d.now, time.Minute)
	}
	require.True(t, bytes.Equal(data, got))
	require.Greater(t, d.ends[0].sent.next, uint64(2<<32), "the client's numbers have wrapped")
	require.Greater(t, d.ends[1].sent.next, uint64(2<<32), "and the server's")
}

// FuzzMachines lets the fuzzer be the network and both programs: it decides
// which packet is delivered, lost, repeated, damaged or delayed, what is
// written and read, and how time passes. Nothing may panic, what arrives must
// be what was sent, and memory must stay bounded.
func FuzzMachines(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0, 4, 5, 10, 11, 6, 3}, 40))
	f.Add(bytes.Repeat([]byte{0, 8, 4, 5, 5, 4, 12, 6, 1, 13, 3, 2, 9, 7}, 40))
	dice := rand.NewChaCha8([32]byte{3})
	noise := make([]byte, 3000)
	dice.Read(noise)
	f.Add(noise)
	f.Fuzz(func(t *testing.T, script []byte) {
		cfg := &Config{SendBuffer: 100_000, ReceiveBuffer: 70_000, MessageBuffer: 70_000}
		d := newDuo(t, cfg)
		// Bytes of the stream and messages follow from their places.
		var written, read [2]uint64
		var sent [2]uint32
		got := [2]map[uint32]bool{{}, {}}
		damaged := false
		arg := func() int {
			if len(script) == 0 {
				return 0
			}
			v := int(script[0])
			script = script[1:]
			return v
		}
		at := func(off uint64) byte { return byte(off ^ off>>8 ^ off>>16) }
		buf := make([]byte, 4096)
		for steps := 0; len(script) > 0 && steps < 3000; steps++ {
			op := arg()
			to := op >> 7
			m := d.ends[to]
			packet := func() int { return arg() % max(len(d.flying[to]), 1) }
			if k := op & 15; k >= 4 && k <= 9 && len(d.flying[to]) == 0 {
				d.send()
				continue
			}
			switch op & 15 {
			case 0, 1:
				d.send()
			case 2:
				d.next(time.Duration(arg()) * time.Millisecond)
			case 3:
				d.next(time.Hour)
			case 4, 5:
				d.deliver(to, 0)
				d.drop(to, 0)
			case 6:
				d.drop(to, packet())
			case 7: // late, or twice
				d.deliver(to, packet())
			case 8:
				for len(d.flying[to]) > 0 {
					d.deliver(to, 0)
					d.drop(to, 0)
				}
			case 9: // damage, or an attack
				i := packet()
				b := bytes.Clone(d.flying[to][i])
				b[arg()%len(b)] ^= byte(1 + arg())
				d.flying[to][i] = b
				damaged = true
			case 10, 11:
				if m == nil {
					continue
				}
				p := buf[:arg()*16]
				for i := range p {
					p[i] = at(written[to] + uint64(i))
				}
				if m.out.fin == finOpen {
					written[to] += uint64(m.write(p))
				}
			case 12:
				if m == nil {
					continue
				}
				msg := make([]byte, 4+arg()*arg()/8)
				for i := range msg {
					msg[i] = byte(sent[to])
				}
				binary.BigEndian.PutUint32(msg, sent[to])
				how := arg()
				ok, _ := m.outMsgs.send(msg, Delivery{Lane: uint8(how >> 6), Mode: Mode(how % 3), Repeat: how&8 != 0})
				if ok {
					sent[to]++
				}
			case 13:
				if m == nil {
					continue
				}
				n := m.in.read(buf[:arg()*16])
				for i, b := range buf[:n] {
					if !damaged && b != at(read[to]+uint64(i)) {
						t.Fatalf("byte %d of the stream is wrong", read[to]+uint64(i))
					}
				}
				read[to] += uint64(n)
			case 14:
				if m == nil {
					continue
				}
				if msg, ok := m.inMsgs.next(); ok && !damaged {
					id := binary.BigEndian.Uint32(msg.Data)
					require.False(t, got[to][id], "message %d twice", id)
					got[to][id] = true
					for _, b := range msg.Data[4:] {
						require.Equal(t, byte(id), b)
					}
				}
			case 15:
				if m == nil {
					continue
				}
				switch arg() % 32 {
				case 0:
					m.leave(closeDone)
				case 1:
					m.leave(closeAbort)
				case 2:
					m.closeWrite()
				}
			}
			for _, m := range d.ends {
				if m == nil {
					continue
				}
				require.LessOrEqual(t, len(m.in.buf), 128<<10)
				require.LessOrEqual(t, len(m.out.buf), 128<<10)
				require.LessOrEqual(t, m.inMsgs.loose, 70_000)
				require.LessOrEqual(t, len(m.received.got), maxAckRanges)
				require.GreaterOrEqual(t, m.sent.inFlight, 0)
				require.GreaterOrEqual(t, m.outMsgs.buffered, 0)
			}
			for i := range d.flying {
				if n := len(d.flying[i]); n > 500 {
					d.flying[i] = d.flying[i][n-500:]
				}
			}
		}
		if damaged || d.ends[1] == nil || d.ends[0].phase > phaseOpen || d.ends[1].phase > phaseOpen {
			return
		}
		// From now on the network is perfect: everything must arrive.
		end := d.now + 20*time.Second
		for d.now < end {
			d.send()
			for to := range d.flying {
				for len(d.flying[to]) > 0 {
					d.deliver(to, 0)
					d.drop(to, 0)
				}
				m := d.ends[to]
				for n := m.in.read(buf); n > 0; n = m.in.read(buf) {
					for i, b := range buf[:n] {
						require.Equal(t, at(read[to]+uint64(i)), b)
					}
					read[to] += uint64(n)
				}
				for _, ok := m.inMsgs.next(); ok; _, ok = m.inMsgs.next() {
				}
			}
			if read[0] == written[1] && read[1] == written[0] && d.ends[0].outMsgs.count == 0 && d.ends[1].outMsgs.count == 0 {
				return
			}
			d.next(time.Second)
		}
		t.Fatalf("read %v of %v, messages left %d, %d, phases %d, %d", read, written, d.ends[0].outMsgs.count, d.ends[1].outMsgs.count, d.ends[0].phase, d.ends[1].phase)
	})
}
