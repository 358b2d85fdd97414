package udprel

import (
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/packets.txt")

// packets are one of each kind.
func packets() map[string][]byte {
	h := header{seq: 0x00000107, ack: 0x00000042, bits: 0xfffffffb, connID: 0x1122334455667788, delay: 62, oldest: 5}
	with := func(kind packetType) []byte { h := h; h.kind = kind; return appendHeader(nil, h) }
	token := resetToken([]byte("0123456789abcdef"))
	g := greeting{id: 0x8877665544332211, token: token, streamMax: 4 << 20, messageMax: 4 << 20}
	answer := g
	answer.cookie = []byte("abcdefgh0123456789abcdef")
	first := header{kind: typeHello}
	second := header{seq: 0x100, kind: typeHello}
	r := newReceived(1<<32+1, 0)
	for _, seq := range []uint64{2, 3, 6, 7, 8, 90, 91, 93} {
		r.arrived(1<<32+seq, 0, soon, 0, 0)
	}
	data := with(typeData)
	all := data
	for _, f := range []frame{
		{kind: framePing},
		{kind: frameStream, off: 300, data: []byte("hola")},
		{kind: frameEnd, off: 304},
		{kind: frameMessage, channel: Delivery{Lane: 3, Mode: Unordered}.channel(), id: 7, size: 9, off: 4, data: []byte("adios")},
		{kind: frameChallenge, data: []byte("8 octets")},
		{kind: frameResponse, data: []byte("8 octets")},
		{kind: frameClose, off: uint64(closeAbort)},
	} {
		all = appendFrame(all, f)
	}
	return map[string][]byte{
		"hello":             appendGreeting(appendHeader(nil, first), g),
		"cookie":            append(with(typeCookie), answer.cookie...),
		"hello with cookie": appendFrame(appendGreeting(appendHeader(nil, second), answer), frame{kind: frameStream, data: []byte("hi")}),
		"welcome":           appendGreeting(with(typeWelcome), g),
		"data":              appendFrame(data, frame{kind: frameStream, off: 300, data: []byte("hola")}),
		"acknowledgement":   r.appendState(with(typeData), 100, frame{have: 300, streamMax: 4<<20 + 300, messageMax: 4 << 20}),
		"all frames":        all,
		"reset":             append(with(typeReset), token[:]...),
	}
}

// TestGolden compares the packets with those in testdata, byte by byte.
func TestGolden(t *testing.T) {
	const name = "testdata/packets.txt"
	if *update {
		var b strings.Builder
		b.WriteString("# One packet of each kind, made by TestGolden.\n")
		for _, kind := range []string{"hello", "cookie", "hello with cookie", "welcome", "data", "acknowledgement", "all frames", "reset"} {
			b.WriteString("\n" + kind + "\n")
			for p := packets()[kind]; len(p) > 0; p = p[min(len(p), 32):] {
				b.WriteString("\t" + hex.EncodeToString(p[:min(len(p), 32)]) + "\n")
			}
		}
		require.NoError(t, os.WriteFile(name, []byte(b.String()), 0o644))
	}
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	golden := make(map[string]string)
	kind := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if bytes, ok := strings.CutPrefix(line, "\t"); ok {
			golden[kind] += bytes
		} else if line != "" && line[0] != '#' {
			kind = line
		}
	}
	require.Len(t, golden, len(packets()))
	for kind, b := range packets() {
		require.Equal(t, golden[kind], hex.EncodeToString(b), kind)
	}
}

// TestBitfield reads the three words of the header as the notes do.
func TestBitfield(t *testing.T) {
	r := newReceived(1<<32+10, 0)
	for _, seq := range []uint64{11, 12, 14, 42} {
		r.arrived(1<<32+seq, 0, soon, time.Second, 0)
	}
	var h header
	r.header(&h, time.Second+800*time.Microsecond)
	require.EqualValues(t, 42, h.ack)
	require.EqualValues(t, 50, h.delay)
	require.Equal(t, uint32(1<<27|1<<29|1<<30|1<<31), h.bits) // 14, 12, 11 and 10
	var acked spans
	eachAcked(1<<32+42, h.bits, nil, func(lo, hi uint64) { acked.add(lo-1<<32, hi-1<<32) })
	require.Equal(t, spans{{10, 13}, {14, 15}, {42, 43}}, acked)
}

// TestAckRanges: what the bitfield cannot say is in the state frame.
func TestAckRanges(t *testing.T) {
	var sent spans
	r := newReceived(1<<32+1, 0)
	sent.add(1<<32+1, 1<<32+2)
	for seq := uint64(1<<32 + 2); seq < 1<<32+300; seq++ {
		if seq%7 != 0 {
			r.arrived(seq, 0, soon, 0, 0)
			sent.add(seq, seq+1)
		}
	}
	var h header
	r.header(&h, 0)
	f, rest, err := parseFrame(r.appendState(nil, 1000, frame{have: 5, streamMax: 6, messageMax: 7}))
	require.NoError(t, err)
	require.Empty(t, rest)
	require.EqualValues(t, []uint64{5, 6, 7}, []uint64{f.have, f.streamMax, f.messageMax})
	var acked spans
	eachAcked(r.newest, h.bits, f.data, func(lo, hi uint64) { acked.add(lo, hi) })
	require.Equal(t, sent, acked)

	// With little room the newest are named.
	f, _, err = parseFrame(r.appendState(nil, 30, frame{}))
	require.NoError(t, err)
	var some spans
	eachAcked(r.newest, h.bits, f.data, func(lo, hi uint64) { some.add(lo, hi) })
	require.NotEmpty(t, f.data)
	for _, v := range some {
		require.True(t, sent.contains(v.lo) && sent.contains(v.hi-1), "%d to %d", v.lo-1<<32, v.hi-1<<32)
	}
	require.Less(t, some[0].lo, r.newest-50)

	// The sender's "oldest" makes the receiver forget.
	r.arrived(1<<32+300, 1<<32+290, soon, 0, 0)
	require.False(t, r.isNew(1<<32+287), "too old to be asked about")
	require.True(t, r.isNew(1<<32+297), "missing")
}

// TestExpand is the comparison that does not mind the wrap-around.
func TestExpand(t *testing.T) {
	for _, test := range []struct {
		seq        uint32
		near, want uint64
	}{
		{5, 1<<32 + 3, 1<<32 + 5},
		{1, 1<<32 + 3, 1<<32 + 1},
		{2, 1<<33 - 1, 1<<33 + 2},
		{0xfffffffe, 1<<33 + 5, 1<<33 - 2},
		{0x7fffffff, 1 << 33, 1<<33 + 0x7fffffff},
		{0x80000001, 1 << 33, 1<<33 - 0x7fffffff},
	} {
		require.Equal(t, test.want, expand(test.seq, test.near), "%x near %x", test.seq, test.near)
	}
}

// TestRTT follows the rules of RFC 6298 and the peer's delay.
func TestRTT(t *testing.T) {
	var r rttEstimator
	require.Equal(t, 2*initialRTT, r.timeout(0))
	ms := time.Millisecond
	r.update(100*ms, 0)
	require.Equal(t, 100*ms, r.smoothed)
	require.Equal(t, 300*ms, r.timeout(0))
	r.update(180*ms, 80*ms) // the peer has slept, not the path
	require.Equal(t, 100*ms, r.smoothed)
	r.update(110*ms, 80*ms) // that cannot be: it was never below 100
	require.Equal(t, 101250*time.Microsecond, r.smoothed)
	r.update(20*ms, 0)
	require.Equal(t, 20*ms, r.smallest)
}

// FuzzParsePacket: what can be parsed and written again is the same.
func FuzzParsePacket(f *testing.F) {
	for _, b := range packets() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := parseHeader(b)
		if err != nil {
			return
		}
		require.Equal(t, b[:headerSize], appendHeader(nil, h))
		if h.kind == typeHello || h.kind == typeWelcome {
			g, rest, err := parseGreeting(body)
			if err != nil {
				return
			}
			require.Equal(t, body[:len(body)-len(rest)], appendGreeting(nil, g))
			body = rest
		}
		_, ok := scan(body)
		for len(body) > 0 {
			fr, rest, err := parseFrame(body)
			if err != nil {
				require.False(t, ok)
				return
			}
			switch fr.kind {
			case framePadding:
			case frameState:
				eachAcked(1<<33, h.bits, fr.data, func(lo, hi uint64) { require.LessOrEqual(t, lo, hi) })
			default:
				require.Equal(t, body[:len(body)-len(rest)], appendFrame(nil, fr))
			}
			body = rest
		}
		require.True(t, ok)
	})
}

func BenchmarkParsePacket(b *testing.B) {
	p := packets()["all frames"]
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		_, body, err := parseHeader(p)
		if err != nil {
			b.Fatal(err)
		}
		for len(body) > 0 {
			if _, body, err = parseFrame(body); err != nil {
				b.Fatal(err)
			}
		}
	}
}
