package framing_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/framing"
)

// A subject is a format and what may be expected of it.
type subject struct {
	name   string
	format framing.Format
	// canonical: a message has exactly one wire form.
	canonical bool
	// sized: the size goes first, so that it must be known.
	sized bool
	// fit turns any bytes into a payload that the format carries.
	fit func([]byte) []byte
}

func asIs(p []byte) []byte { return p }

func atLeast(n int) func([]byte) []byte {
	return func(p []byte) []byte { return append(bytes.Repeat([]byte{'h'}, n), p...) }
}

func subjects() []subject {
	list := []subject{
		{"Prefix", framing.Prefix{}, true, true, asIs},
		{"Uvarint", framing.Prefix{Width: framing.Uvarint}, true, true, asIs},
		{"UvarintInclusive", framing.Prefix{Width: framing.Uvarint, Inclusive: true}, true, true, asIs},
		{"UvarintOffset", framing.Prefix{Width: framing.Uvarint, Offset: 1}, true, true, atLeast(1)},
		{"PostgreSQL", framing.Prefix{Offset: 1, Inclusive: true}, true, true, atLeast(1)},
		{"TPKT", framing.Prefix{Offset: 2, Width: 2, Inclusive: true, Adjust: 2}, true, true, atLeast(2)},
		{"HTTP2", framing.Prefix{Width: 3, Adjust: -6}, true, true, atLeast(6)},
		{"Newline", framing.Delimiter{}, true, false, func(p []byte) []byte { return bytes.ReplaceAll(p, []byte("\n"), nil) }},
		{"CRLF", framing.Delimiter{Delim: "\r\n"}, true, false, func(p []byte) []byte { return bytes.ReplaceAll(p, []byte("\r"), nil) }},
		{"Quoted", framing.Delimiter{Escape: '\\'}, true, false, asIs},
		{"QuotedCRLF", framing.Delimiter{Delim: "\r\n", Escape: 0x1B}, true, false, asIs},
		{"QuotedEight", framing.Delimiter{Delim: "abcabcab", Escape: '%'}, true, false, asIs},
		{"Fixed", framing.Fixed(16), true, false, func(p []byte) []byte { return append(p, make([]byte, 16)...)[:16] }},
		{"Netstring", framing.Netstring{}, true, true, asIs},
		{"DotLines", framing.DotLines{}, false, false, fitLines},
		{"SLIP", framing.SLIP{}, false, false, atLeast(1)},
		{"COBS", framing.COBS{}, false, false, asIs},
	}
	for _, little := range []bool{false, true} {
		for _, inclusive := range []bool{false, true} {
			for _, width := range []int{1, 2, 4, 8} {
				f := framing.Prefix{Width: width, LittleEndian: little, Inclusive: inclusive}
				fit := asIs
				if width == 1 {
					fit = func(p []byte) []byte { return p[:min(len(p), 254)] }
				}
				list = append(list, subject{fmt.Sprintf("Prefix%+v", f), f, true, true, fit})
			}
		}
	}
	return list
}

// fitLines makes whole CR LF lines of p.
func fitLines(p []byte) []byte {
	p = bytes.ReplaceAll(p, []byte("\r"), nil)
	if len(p) > 0 && !bytes.HasSuffix(p, []byte("\n")) {
		p = append(p, '\n')
	}
	return bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))
}

// TestGoldenBytes pins what each format puts on the wire.
func TestGoldenBytes(t *testing.T) {
	for _, c := range []struct {
		format framing.Format
		msg    string
		wire   string
	}{
		{framing.Prefix{}, "hi", "\x00\x00\x00\x02hi"},
		{framing.Prefix{}, "", "\x00\x00\x00\x00"},
		{framing.Prefix{Width: 1}, "hi", "\x02hi"},
		{framing.Prefix{Width: 2}, "hi", "\x00\x02hi"},
		{framing.Prefix{Width: 3}, "hi", "\x00\x00\x02hi"},
		{framing.Prefix{Width: 8}, "hi", "\x00\x00\x00\x00\x00\x00\x00\x02hi"},
		{framing.Prefix{Width: 2, LittleEndian: true}, "hi", "\x02\x00hi"},
		{framing.Prefix{LittleEndian: true}, "hi", "\x02\x00\x00\x00hi"},
		{framing.Prefix{Inclusive: true}, "hi", "\x00\x00\x00\x06hi"},
		{framing.Prefix{Width: framing.Uvarint}, strings.Repeat("x", 300), "\xac\x02" + strings.Repeat("x", 300)},
		{framing.Prefix{Width: framing.Uvarint, Inclusive: true}, strings.Repeat("x", 126), "\x7f" + strings.Repeat("x", 126)},
		{framing.Prefix{Width: framing.Uvarint, Inclusive: true}, strings.Repeat("x", 127), "\x81\x01" + strings.Repeat("x", 127)},
		// The first bytes of real protocols: a PostgreSQL query, a TLS record,
		// a TPKT, the frame that acknowledges HTTP/2 settings, an MQTT ping.
		{framing.Prefix{Offset: 1, Inclusive: true}, "Qselect 1\x00", "Q\x00\x00\x00\x0dselect 1\x00"},
		{framing.Prefix{Offset: 3, Width: 2}, "\x15\x03\x03\x02\x28", "\x15\x03\x03\x00\x02\x02\x28"},
		{framing.Prefix{Offset: 2, Width: 2, Inclusive: true, Adjust: 2}, "\x03\x00\x02\xf0\x80", "\x03\x00\x00\x07\x02\xf0\x80"},
		{framing.Prefix{Width: 3, Adjust: -6}, "\x04\x01\x00\x00\x00\x00", "\x00\x00\x00\x04\x01\x00\x00\x00\x00"},
		{framing.Prefix{Width: framing.Uvarint, Offset: 1}, "\xc0", "\xc0\x00"},
		{framing.Delimiter{}, "hi", "hi\n"},
		{framing.Delimiter{Delim: "\r\n"}, "h\ri", "h\ri\r\n"},
		{framing.Delimiter{Escape: '\\'}, "a\nb\\c", "a\\\nb\\\\c\n"},
		{framing.Fixed(2), "hi", "hi"},
		{framing.ToEOF{}, "hi", "hi"},
		{framing.Netstring{}, "hello", "5:hello,"},
		{framing.Netstring{}, "", "0:,"},
		{framing.DotLines{}, "a\r\n.b\r\n", "a\r\n..b\r\n.\r\n"},
		{framing.DotLines{}, "", ".\r\n"},
		{framing.DotLines{Fix: true}, "a\n.b\rc", "a\r\n..b\r\nc\r\n.\r\n"},
		{framing.DotLines{Fix: true}, "a\r", "a\r\n.\r\n"},
		{framing.SLIP{}, "a\xc0b\xdbc", "\xc0a\xdb\xdcb\xdb\xddc\xc0"},
		{framing.COBS{}, "", "\x01\x00"},
		{framing.COBS{}, "\x00", "\x01\x01\x00"},
		{framing.COBS{}, "\x11\x22\x00\x33", "\x03\x11\x22\x02\x33\x00"},
		{framing.COBS{}, "\x11\x00\x00\x00", "\x02\x11\x01\x01\x01\x00"},
		{framing.COBS{}, strings.Repeat("x", 254), "\xff" + strings.Repeat("x", 254) + "\x00"},
		{framing.COBS{}, strings.Repeat("x", 255), "\xff" + strings.Repeat("x", 254) + "\x02x\x00"},
		{framing.COBS{}, strings.Repeat("x", 254) + "\x00", "\xff" + strings.Repeat("x", 254) + "\x01\x01\x00"},
	} {
		wire, err := framing.Append(c.format, []byte("before"), []byte(c.msg))
		require.NoError(t, err, "%#v", c.format)
		require.Equal(t, "before"+c.wire, string(wire), "%#v of %q", c.format, c.msg)
		got, err := framing.NewReader(strings.NewReader(c.wire), c.format).ReadMessage()
		require.NoError(t, err, "%#v", c.format)
		want := c.msg
		if dot, ok := c.format.(framing.DotLines); ok && dot.Fix {
			want = string(fitLines([]byte(strings.ReplaceAll(c.msg, "\r", "\n"))))
		}
		require.Equal(t, want, string(got), "%#v of %q", c.format, c.wire)
	}
}

// TestEndOfStream tells the clean end from a cut at every single byte.
func TestEndOfStream(t *testing.T) {
	for _, s := range subjects() {
		one, err := framing.Append(s.format, nil, s.fit([]byte("some\\%\x1b\xdb text\x00")))
		require.NoError(t, err, s.name)
		two, err := framing.Append(s.format, one, s.fit([]byte("more")))
		require.NoError(t, err, s.name)
		for cut := range len(two) + 1 {
			r := framing.NewReader(bytes.NewReader(two[:cut]), s.format)
			n := 0
			for err = nil; err == nil; n++ {
				_, err = r.ReadMessage()
			}
			if cut == 0 || cut == len(one) || cut == len(two) || s.name == "SLIP" && cut == 1 || s.name == "SLIP" && cut == len(one)+1 {
				require.Equal(t, io.EOF, err, "%s cut at %d", s.name, cut)
			} else {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s cut at %d", s.name, cut)
			}
			_, again := r.ReadMessage()
			require.Equal(t, err, again, "%s: the end is no longer the end", s.name)
		}
	}
	// To the end of the stream there is always one message and never two.
	for _, wire := range []string{"", "x", strings.Repeat("x", 100_000)} {
		r := framing.NewReader(strings.NewReader(wire), framing.ToEOF{})
		msg, err := r.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, wire, string(msg))
		_, err = r.ReadMessage()
		require.Equal(t, io.EOF, err)
	}
}

// TestMalformed says which bytes are refused, and what becomes of the stream.
func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		format framing.Format
		wire   string
		after  string // the message after the bad one; "" if the stream is lost
	}{
		{framing.Prefix{Inclusive: true}, "\x00\x00\x00\x03hi", ""},
		{framing.Prefix{Width: 1, Inclusive: true}, "\x00", ""},
		{framing.Prefix{Width: 1, Adjust: 5}, "\x04", ""},
		{framing.Prefix{Width: framing.Uvarint}, "\x80\x00", ""},
		{framing.Prefix{Width: framing.Uvarint}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", ""},
		{framing.Prefix{Width: framing.Uvarint}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ""},
		{framing.Prefix{Width: framing.Uvarint, Inclusive: true}, "\x80\x01", ""},
		{framing.Netstring{}, ":,", ""},
		{framing.Netstring{}, "01:x,", ""},
		{framing.Netstring{}, "-1:x,", ""},
		{framing.Netstring{}, "1:xy", ""},
		{framing.Netstring{}, "99999999999999999999:", ""},
		{framing.Delimiter{Escape: '\\'}, "a\\bc\\\nd\nnext\n", "next"},
		{framing.Delimiter{Delim: "\r\n", Escape: '\\'}, "a\rb\\\r\n\r\nnext\r\n", "next"},
		{framing.DotLines{}, "a\nb\r\n.\r\nnext\r\n.\r\n", "next\r\n"},
		{framing.DotLines{}, "a\n.\nb\r\n.\r\nnext\r\n.\r\n", "next\r\n"}, // smuggling
		{framing.DotLines{}, "a\r\n.\rb\r\n.\r\nnext\r\n.\r\n", "next\r\n"},
		{framing.DotLines{}, "a\r\r\n.\r\nnext\r\n.\r\n", "next\r\n"},
		{framing.DotLines{}, ".\nb\r\n.\r\nnext\r\n.\r\n", "next\r\n"},
		{framing.SLIP{}, "\xc0a\xdbb\xdb\xdcc\xc0\xc0next\xc0", "next"},
		{framing.COBS{}, "\x05ab\x00\x05next\x00", "next"},
		{framing.COBS{}, "\x03ab\x09c\x00\x05next\x00", "next"},
	} {
		for _, split := range []int{1, 2, 3, 1 << 20} {
			r := framing.NewReader(&chunks{data: []byte(c.wire), size: func() int { return split }}, c.format)
			_, err := r.ReadMessage()
			var bad *framing.FormatError
			require.ErrorAs(t, err, &bad, "%#v %q", c.format, c.wire)
			require.ErrorIs(t, err, framing.ErrMalformed)
			msg, again := r.ReadMessage()
			if c.after == "" {
				require.Equal(t, err, again, "%#v %q: the same error for ever", c.format, c.wire)
				continue
			}
			require.NoError(t, again, "%#v %q", c.format, c.wire)
			require.Equal(t, c.after, string(msg), "%#v %q", c.format, c.wire)
			_, err = r.ReadMessage()
			require.Equal(t, io.EOF, err)
		}
	}
}

// TestUnfit says what each format cannot carry.
func TestUnfit(t *testing.T) {
	for _, c := range []struct {
		format framing.Format
		msg    string
	}{
		{framing.Delimiter{}, "a\nb"},
		{framing.Delimiter{}, "a\n"},
		{framing.Delimiter{Delim: "\r\n"}, "a\r\nb"},
		{framing.Delimiter{Delim: "aa"}, "a"}, // "aaa" would end after nothing
		{framing.Delimiter{Delim: "aba"}, "ab"},
		{framing.Delimiter{Delim: "123456789"}, "too long a delimiter"},
		{framing.Delimiter{Delim: "\\", Escape: '\\'}, "x"},
		{framing.Fixed(3), "no"},
		{framing.Fixed(0), ""},
		{framing.Fixed(-1), ""},
		{framing.Prefix{Offset: 3}, "no"},
		{framing.Prefix{Width: 9}, ""},
		{framing.Prefix{Width: -2}, ""},
		{framing.Prefix{Offset: 256}, ""},
		{framing.Prefix{Adjust: -1}, ""},
		{framing.Prefix{Width: framing.Uvarint, Adjust: -1}, ""},
		{framing.DotLines{}, "no end"},
		{framing.DotLines{}, "bare\nLF\r\n"},
		{framing.DotLines{}, "bare\rCR\r\n"},
		{framing.DotLines{}, "a\r"},
		{framing.SLIP{}, ""},
	} {
		_, err := framing.Append(c.format, nil, []byte(c.msg))
		require.ErrorIs(t, err, framing.ErrUnfit, "%#v of %q", c.format, c.msg)
		require.NotErrorIs(t, err, framing.ErrTooLarge)
	}
	for _, c := range []struct {
		format framing.Format
		size   int
		max    int64
	}{
		{framing.Prefix{Width: 1}, 256, 255},
		{framing.Prefix{Width: 1, Inclusive: true}, 255, 254},
		{framing.Prefix{Width: 1, Offset: 2}, 258, 257},
		{framing.Prefix{Width: 2, LittleEndian: true}, 65536, 65535},
		{framing.Fixed(3), 4, 3},
	} {
		_, err := framing.Append(c.format, nil, make([]byte, c.size))
		require.ErrorIs(t, err, framing.ErrTooLarge, "%#v", c.format)
		var size *framing.SizeError
		require.ErrorAs(t, err, &size)
		require.Equal(t, framing.SizeError{Size: int64(c.size), Max: c.max}, *size)
		fits, err := framing.Append(c.format, nil, make([]byte, c.max))
		require.NoError(t, err, "%#v: its own limit", c.format)
		require.Greater(t, len(fits), int(c.max)-1)
	}
}

// TestHugeLengths: whatever is claimed, no arithmetic overflows, the limit
// holds and both numbers are told.
func TestHugeLengths(t *testing.T) {
	ff := bytes.Repeat([]byte{0xff}, 8)
	for _, c := range []struct {
		format framing.Format
		wire   []byte
		claim  int64
	}{
		{framing.Prefix{}, ff[:4], math.MaxUint32},
		{framing.Prefix{LittleEndian: true}, ff[:4], math.MaxUint32},
		{framing.Prefix{Width: 8}, ff, math.MaxInt64},
		{framing.Prefix{Width: 8, Inclusive: true}, ff, math.MaxInt64 - 8},
		{framing.Prefix{Width: 8, Adjust: -100}, ff, math.MaxInt64},
		{framing.Prefix{Width: 8, Offset: 3}, append([]byte("abc"), ff...), math.MaxInt64},
		{framing.Prefix{Width: framing.Uvarint}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), math.MaxInt64},
		{framing.Prefix{Width: framing.Uvarint, Inclusive: true}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), math.MaxInt64 - 10},
		{framing.Netstring{}, []byte("999999999999999999:"), 999_999_999_999_999_999},
	} {
		r := framing.NewReader(io.MultiReader(bytes.NewReader(c.wire), strings.NewReader("some bytes")), c.format)
		_, err := r.ReadMessage()
		var size *framing.SizeError
		require.ErrorAs(t, err, &size, "%#v", c.format)
		require.Equal(t, framing.SizeError{Size: c.claim, Max: 1 << 20}, *size, "%#v", c.format)
		require.LessOrEqual(t, r.BufferSize(), 64<<10)
		_, err = r.ReadMessage()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%#v: the rest was skipped, and is cut", c.format)
	}
}

// TestDotLinesAgainstTextproto: what Go's own mail code writes we read, and the
// other way round. (It turns CR LF into LF when reading.)
func TestDotLinesAgainstTextproto(t *testing.T) {
	for _, text := range []string{"", "a\r\n", ".\r\n", "..\r\n.a\r\n\r\n.\r\n", "a.\r\n.b.\r\n"} {
		var theirs bytes.Buffer
		w := textproto.NewWriter(bufio.NewWriter(&theirs))
		dot := w.DotWriter()
		_, err := io.WriteString(dot, text)
		require.NoError(t, err)
		require.NoError(t, dot.Close())
		require.NoError(t, w.W.Flush())
		wire := theirs.String()
		if text == "" { // it completes a line that was never begun
			wire = strings.TrimPrefix(wire, "\r\n")
		}

		ours, err := framing.Append(framing.DotLines{}, nil, []byte(text))
		require.NoError(t, err)
		require.Equal(t, wire, string(ours))

		back, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(ours))).ReadDotBytes()
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(text, "\r\n", "\n"), string(back))
	}
}

// chunks is a stream that arrives in pieces of the sizes given.
type chunks struct {
	data []byte
	size func() int
	err  error // at the end, io.EOF if nil
	got  int   // bytes given out
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), max(c.size(), 1))], c.data)
	c.data = c.data[n:]
	c.got += n
	return n, nil
}

func randomChunks(rng *rand.Rand, data []byte) *chunks {
	return &chunks{data: data, size: func() int { return 1 + rng.IntN(1<<rng.IntN(10)) }}
}

// FuzzRoundTrip: what is encoded in any way is decoded to the same messages,
// whole or streamed, however the stream is split; and memory stays in
// proportion to what has arrived.
func FuzzRoundTrip(f *testing.F) {
	list := subjects()
	for i := range list {
		f.Add(uint8(i), []byte("hello, \\%\x1b world\r\n.\r\n\x00\xc0\xdb\xdc\xdd"), []byte{}, uint64(i))
		f.Add(uint8(i), bytes.Repeat([]byte("abcabcab"), 100), bytes.Repeat([]byte{0xdb, 0}, 700), uint64(i)+1)
	}
	f.Add(uint8(16), bytes.Repeat([]byte{1}, 254), bytes.Repeat([]byte{0}, 300), uint64(3))
	f.Fuzz(func(t *testing.T, index uint8, a, b []byte, seed uint64) {
		s := list[int(index)%len(list)]
		rng := rand.New(rand.NewPCG(seed, 0))
		msgs := [][]byte{s.fit(bytes.Clone(a)), s.fit(bytes.Clone(b)), s.fit(bytes.Clone(a))}
		want := writeAll(t, s, msgs)

		// Streamed writing gives the same bytes.
		var wire bytes.Buffer
		w := framing.NewWriter(&wire, s.format)
		for _, msg := range msgs {
			size := int64(-1)
			if s.sized || rng.IntN(2) == 0 {
				size = int64(len(msg))
			}
			require.NoError(t, w.Begin(size), s.name)
			for rest := msg; len(rest) > 0; {
				n := 1 + rng.IntN(len(rest))
				_, err := w.Write(rest[:n])
				require.NoError(t, err, s.name)
				rest = rest[n:]
			}
			require.NoError(t, w.End(), s.name)
		}
		require.Equal(t, want, wire.Bytes(), "%s: streamed", s.name)

		whole := randomChunks(rng, want)
		r := framing.NewReader(whole, s.format)
		for i, msg := range msgs {
			got, err := r.ReadMessage()
			require.NoError(t, err, "%s: message %d", s.name, i)
			require.True(t, bytes.Equal(msg, got), "%s: message %d: %q, want %q", s.name, i, got, msg)
			require.LessOrEqual(t, r.BufferSize(), 2*whole.got+64<<10)
		}
		_, err := r.ReadMessage()
		require.Equal(t, io.EOF, err, s.name)

		// Streamed reading, leaving some messages half read.
		r = framing.NewReader(randomChunks(rng, want), s.format)
		for i, msg := range msgs {
			size, err := r.Next()
			require.NoError(t, err, "%s: message %d", s.name, i)
			if size >= 0 || s.sized {
				require.EqualValues(t, len(msg), size, s.name)
			}
			if rng.IntN(3) == 0 {
				continue
			}
			got, err := io.ReadAll(&chunks2{r, rng})
			require.NoError(t, err, s.name)
			require.True(t, bytes.Equal(msg, got), "%s: message %d: %q, want %q", s.name, i, got, msg)
		}
		_, err = r.Next()
		require.Equal(t, io.EOF, err, s.name)
	})
}

// chunks2 reads with buffers of all sizes.
type chunks2 struct {
	r   io.Reader
	rng *rand.Rand
}

func (c *chunks2) Read(p []byte) (int, error) {
	return c.r.Read(p[:1+c.rng.IntN(len(p))])
}

func writeAll(t testing.TB, s subject, msgs [][]byte) []byte {
	var wire bytes.Buffer
	var appended []byte
	w := framing.NewWriter(&wire, s.format)
	for i, msg := range msgs {
		var err error
		appended, err = framing.Append(s.format, appended, msg)
		require.NoError(t, err, s.name)
		if i == 1 {
			require.NoError(t, w.WriteMessage(msg), s.name)
		} else {
			require.NoError(t, w.Queue(msg), s.name)
		}
	}
	require.NoError(t, w.Flush())
	require.Equal(t, appended, wire.Bytes(), "%s: Append and Writer differ", s.name)
	return wire.Bytes()
}

// FuzzDecode: any bytes at all give messages or errors, the same ones however
// the stream is split; no panic, no endless loop, memory in proportion; and
// where the format is canonical the messages encode to the bytes they came
// from.
func FuzzDecode(f *testing.F) {
	list := append(subjects(), subject{"ToEOF", framing.ToEOF{}, true, false, asIs})
	for i, s := range list {
		f.Add(uint8(i), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
		f.Add(uint8(i), []byte("\x00\x00\x00\x02hi5:hello,a\\\nb\r\n.\r\n\xc0x\xdb\xdc\xc0"))
		if wire, err := framing.Append(s.format, nil, s.fit([]byte("seed\\\r\n"))); err == nil {
			f.Add(uint8(i), append(wire, wire...))
		}
	}
	f.Fuzz(func(t *testing.T, index uint8, wire []byte) {
		s := list[int(index)%len(list)]
		all, first := decodeAll(t, s, wire, len(wire)+1)
		for _, split := range []int{1, 3} {
			again, err := decodeAll(t, s, wire, split)
			require.Equal(t, all, again, "%s: in pieces of %d", s.name, split)
			require.Equal(t, kind(first), kind(err), "%s: in pieces of %d", s.name, split)
		}
		var back []byte
		for _, msg := range all {
			var err error
			back, err = framing.Append(s.format, back, msg)
			require.NoError(t, err, "%s: %q was decoded and cannot be encoded", s.name, msg)
		}
		if s.canonical && first == io.EOF {
			require.True(t, bytes.Equal(wire, back), "%s: %q is not canonical, but was accepted", s.name, wire)
		}
	})
}

// kind is an error's text without what depends on when it was noticed.
func kind(err error) string {
	if errors.Is(err, framing.ErrTooLarge) {
		return "too large"
	}
	return fmt.Sprint(err)
}

// decodeAll returns the messages on the wire and the first error.
func decodeAll(t testing.TB, s subject, wire []byte, split int) (all [][]byte, first error) {
	src := &chunks{data: wire, size: func() int { return split }}
	r := framing.NewReader(src, s.format)
	r.MaxSize = 1000
	for range 2*len(wire) + 2 {
		msg, err := r.ReadMessage()
		require.LessOrEqual(t, r.BufferSize(), 2*src.got+64<<10)
		if err == nil {
			if s.name == "ToEOF" && len(all) > 0 {
				t.Fatal("two messages to the end of one stream")
			}
			if first == nil {
				all = append(all, bytes.Clone(msg))
			}
			continue
		}
		if first == nil {
			first = err
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return all, first
		}
	}
	if !errors.Is(first, framing.ErrMalformed) {
		t.Fatalf("%s: no end after %d calls: %v", s.name, 2*len(wire)+2, first)
	}
	return all, first
}
