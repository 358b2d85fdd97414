package framing_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/framing"
)

// allocated is how many bytes f takes from the heap in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestClaimTakesNoMemory: a peer that announces gigabytes and sends ten bytes
// costs a constant, even where the limit would allow the gigabytes.
func TestClaimTakesNoMemory(t *testing.T) {
	for _, c := range []struct {
		format framing.Format
		wire   string
	}{
		{framing.Prefix{}, "\x7f\xff\xff\xfften bytes."},
		{framing.Prefix{Width: 8}, "\x00\x00\x00\x00\x7f\xff\xff\xfften bytes."},
		{framing.Netstring{}, "2000000000:ten bytes."},
		{framing.Fixed(2_000_000_000), "ten bytes."},
	} {
		got := allocated(func() {
			r := framing.NewReader(strings.NewReader(c.wire), c.format)
			r.MaxSize = math.MaxInt
			_, err := r.ReadMessage()
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		})
		require.Less(t, got, uint64(256<<10), "%#v", c.format)
	}
}

// TestTooLarge: the limit is exact, both numbers are told, and the stream goes
// on with the next message.
func TestTooLarge(t *testing.T) {
	for _, s := range subjects() {
		if s.name == "Fixed" || strings.Contains(s.name, "Width:1 ") {
			continue
		}
		at, over := s.fit(bytes.Repeat([]byte{'x'}, 5000)), s.fit(bytes.Repeat([]byte{'x'}, 100_000))
		if s.name == "TPKT" || strings.Contains(s.name, "Width:2 ") {
			over = over[:60_000]
		}
		next := s.fit([]byte("next"))
		wire := writeAll(t, s, [][]byte{at, over, next})
		for _, split := range []int{1, 1000, 1 << 20} {
			r := framing.NewReader(&chunks{data: wire, size: func() int { return split }}, s.format)
			r.MaxSize = len(at)
			msg, err := r.ReadMessage()
			require.NoError(t, err, s.name)
			require.Len(t, msg, len(at))
			_, err = r.ReadMessage()
			var size *framing.SizeError
			require.ErrorAs(t, err, &size, s.name)
			require.ErrorIs(t, err, framing.ErrTooLarge)
			require.EqualValues(t, len(at), size.Max)
			require.Greater(t, size.Size, size.Max)
			if s.sized {
				require.EqualValues(t, len(over), size.Size)
			}
			msg, err = r.ReadMessage()
			require.NoError(t, err, "%s: the message after", s.name)
			require.Equal(t, next, msg, s.name)
		}
	}
}

// TestMessagesGoesOn: iteration reports a refused message and goes on, ends
// silently at the end of the stream and after an error that is final.
func TestMessagesGoesOn(t *testing.T) {
	r := framing.NewReader(strings.NewReader("one\nmuch too long\nthree\ncut"), framing.Delimiter{})
	r.MaxSize = 5
	var seen []string
	for msg, err := range r.Messages() {
		switch {
		case errors.Is(err, framing.ErrTooLarge):
			seen = append(seen, "too large")
		case errors.Is(err, io.ErrUnexpectedEOF):
			seen = append(seen, "cut")
		default:
			require.NoError(t, err)
			seen = append(seen, string(msg))
		}
	}
	require.Equal(t, []string{"one", "too large", "three", "cut"}, seen)

	n := 0
	for range framing.NewReader(strings.NewReader("a\nb\nc\n"), framing.Delimiter{}).Messages() {
		if n++; n == 2 {
			break
		}
	}
	require.Equal(t, 2, n)
}

// TestInterruptedReadGoesOn: an error that passes loses nothing, wherever in a
// message it comes.
func TestInterruptedReadGoesOn(t *testing.T) {
	for _, s := range subjects() {
		msg := s.fit([]byte("a message of some length\\%\x1b"))
		wire := writeAll(t, s, [][]byte{msg, msg})
		for at := range len(wire) {
			src := io.MultiReader(bytes.NewReader(wire[:at]), &failOnce{err: os.ErrDeadlineExceeded}, bytes.NewReader(wire[at:]))
			r := framing.NewReader(src, s.format)
			failures := 0
			for n := 0; n < 2; {
				got, err := r.ReadMessage()
				if err != nil {
					require.ErrorIs(t, err, os.ErrDeadlineExceeded, s.name)
					failures++
					continue
				}
				require.Equal(t, msg, got, "%s interrupted at %d", s.name, at)
				n++
			}
			require.LessOrEqual(t, failures, 1, s.name)
			_, err := r.ReadMessage()
			require.Equal(t, io.EOF, err)
		}
	}
}

// failOnce fails once and is then at its end.
type failOnce struct{ err error }

func (f *failOnce) Read([]byte) (int, error) {
	err := f.err
	f.err = io.EOF
	return 0, err
}

// TestInterruptedStreaming: the same for Next and Read, in both orders with
// ReadMessage.
func TestInterruptedStreaming(t *testing.T) {
	msg := strings.Repeat("x", 10_000)
	wire, err := framing.Append(framing.Netstring{}, nil, []byte(msg))
	require.NoError(t, err)
	for _, at := range []int{0, 1, 3, 6, 100, 9_000, len(wire) - 1} {
		open := func() *framing.Reader {
			return framing.NewReader(io.MultiReader(bytes.NewReader(wire[:at]), &failOnce{err: os.ErrDeadlineExceeded}, bytes.NewReader(wire[at:])), framing.Netstring{})
		}
		r := open()
		size, err := r.Next()
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			size, err = r.Next()
		}
		require.NoError(t, err)
		require.EqualValues(t, len(msg), size)
		var got []byte
		for {
			part, err := io.ReadAll(r)
			got = append(got, part...)
			if err == nil {
				break
			}
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		require.Equal(t, msg, string(got))

		// A whole read that was interrupted can be taken over by a streamed one.
		r = open()
		if _, err := r.ReadMessage(); err != nil {
			_, err = r.Next()
			require.NoError(t, err)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, msg, string(got), "at %d", at)
		}
	}
}

// TestReadWithoutNext: there is nothing to read but what Next has announced.
func TestReadWithoutNext(t *testing.T) {
	r := framing.NewReader(strings.NewReader("2:hi,5:hello,"), framing.Netstring{})
	n, err := r.Read(make([]byte, 10))
	require.Zero(t, n)
	require.Equal(t, io.EOF, err)
	_, err = r.Next()
	require.NoError(t, err)
	n, err = r.Read(nil)
	require.Zero(t, n)
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "hi", string(got))
	_, err = r.Read(make([]byte, 10))
	require.Equal(t, io.EOF, err, "the next message needs a Next")
}

// TestStreamedCutAndBad: errors inside a streamed message.
func TestStreamedCutAndBad(t *testing.T) {
	r := framing.NewReader(strings.NewReader("10:hello"), framing.Netstring{})
	size, err := r.Next()
	require.NoError(t, err)
	require.EqualValues(t, 10, size)
	got, err := io.ReadAll(r)
	require.Equal(t, "hello", string(got))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	r = framing.NewReader(strings.NewReader("5:hello;"), framing.Netstring{})
	_, err = r.Next()
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, framing.ErrMalformed)
	_, err = r.Read(make([]byte, 1))
	require.ErrorIs(t, err, framing.ErrMalformed)
	_, err = r.Next()
	require.ErrorIs(t, err, framing.ErrMalformed)
}

// TestOddStreams: streams that behave as io.Reader allows, and worse.
func TestOddStreams(t *testing.T) {
	wire := []byte("2:hi,5:hello,")
	for _, src := range []io.Reader{
		iotest.OneByteReader(bytes.NewReader(wire)), iotest.HalfReader(bytes.NewReader(wire)),
		iotest.DataErrReader(bytes.NewReader(wire)),
	} {
		r := framing.NewReader(src, framing.Netstring{})
		for _, want := range []string{"hi", "hello"} {
			msg, err := r.ReadMessage()
			require.NoError(t, err)
			require.Equal(t, want, string(msg))
		}
		_, err := r.ReadMessage()
		require.Equal(t, io.EOF, err)
	}
	for _, f := range []framing.Format{framing.Prefix{}, framing.Netstring{}} {
		_, err := framing.NewReader(stubborn(0), f).ReadMessage()
		require.ErrorIs(t, err, io.ErrNoProgress)
		_, err = framing.NewReader(stubborn(-1), f).ReadMessage()
		require.ErrorContains(t, err, "impossible")
	}
	boom := errors.New("boom")
	r := framing.NewReader(io.MultiReader(strings.NewReader("\x00\x00\x00\x02hi"), iotest.ErrReader(boom)), nil)
	_, err := r.ReadMessage()
	require.NoError(t, err, "what has arrived comes before the error")
	_, err = r.ReadMessage()
	require.Equal(t, boom, err)
}

// stubborn is a stream that returns one count for ever.
type stubborn int

func (s stubborn) Read([]byte) (int, error) { return int(s), nil }

// TestSliceIsReused: a message that is kept must be copied.
func TestSliceIsReused(t *testing.T) {
	r := framing.NewReader(strings.NewReader("\x00\x00\x00\x01a\x00\x00\x00\x01b"), nil)
	r2 := framing.NewReader(iotest.OneByteReader(strings.NewReader("\x00\x00\x00\x01a\x00\x00\x00\x01b")), nil)
	for _, r := range []*framing.Reader{r, r2} {
		kept, err := r.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "a", string(kept))
		require.Equal(t, 1, cap(kept), "appending to it does not spoil the next message")
		_, err = r.ReadMessage()
		require.NoError(t, err)
	}
	big := framing.NewReader(strings.NewReader("9999:"+strings.Repeat("a", 9999)+",9999:"+strings.Repeat("b", 9999)+","), framing.Netstring{})
	kept, err := big.ReadMessage()
	require.NoError(t, err)
	_, err = big.ReadMessage()
	require.NoError(t, err)
	require.Contains(t, string(kept), "b", "the memory is the next message's")
}

// TestMemoryIsGivenBack: one large message does not hold its memory for ever.
func TestMemoryIsGivenBack(t *testing.T) {
	var wire bytes.Buffer
	w := framing.NewWriter(&wire, nil)
	require.NoError(t, w.WriteMessage(make([]byte, 1<<20)))
	r := framing.NewReader(&wire, nil)
	_, err := r.ReadMessage()
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.BufferSize(), 1<<20)
	for range 20 {
		require.NoError(t, w.WriteMessage([]byte("small")))
		_, err := r.ReadMessage()
		require.NoError(t, err)
	}
	require.LessOrEqual(t, r.BufferSize(), 64<<10)
}

// TestNoAllocations: reading and writing small messages takes no memory.
func TestNoAllocations(t *testing.T) {
	for _, s := range subjects() {
		var wire bytes.Buffer
		w, r := framing.NewWriter(&wire, s.format), framing.NewReader(&wire, s.format)
		msg := s.fit(bytes.Repeat([]byte("\\x"), 32))
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if err := w.WriteMessage(msg); err != nil {
				t.Fatal(err)
			}
			if _, err := r.ReadMessage(); err != nil {
				t.Fatal(err)
			}
		}), s.name)
	}
}

// writes records each write.
type writes struct {
	sizes []int
	bytes.Buffer
	err   error
	short bool
}

func (w *writes) Write(p []byte) (int, error) {
	w.sizes = append(w.sizes, len(p))
	if w.err != nil {
		return 0, w.err
	}
	n, _ := w.Buffer.Write(p)
	if w.short {
		n--
	}
	return n, nil
}

// TestBatching: small messages share a write, a header never travels alone, a
// large payload is not held back.
func TestBatching(t *testing.T) {
	var out writes
	w := framing.NewWriter(&out, nil)
	for range 1000 {
		require.NoError(t, w.Queue([]byte("small")))
	}
	require.Empty(t, out.sizes)
	require.NoError(t, w.Flush())
	require.Equal(t, []int{9000}, out.sizes)
	require.NoError(t, w.Flush())
	require.Len(t, out.sizes, 1, "nothing to write, nothing written")

	for range 100_000 {
		require.NoError(t, w.Queue([]byte("small")))
	}
	require.Len(t, out.sizes, 1+900_000/(64<<10))
	require.NoError(t, w.Flush())

	for _, size := range []int{0, 1, 4 << 10, 16<<10 - 1} {
		out.sizes = nil
		require.NoError(t, w.WriteMessage(make([]byte, size)))
		require.Equal(t, []int{4 + size}, out.sizes)
	}
	out.sizes = nil
	require.NoError(t, w.WriteMessage(make([]byte, 1<<20)))
	require.Equal(t, []int{4 + 4<<10, 1<<20 - 4<<10}, out.sizes)

	msgs := 0
	for _, err := range framing.NewReader(&out, nil).Messages() {
		require.NoError(t, err)
		msgs++
	}
	require.Equal(t, 1000+100_000+5, msgs)
}

// TestVectoredWrite: over TCP a large payload arrives whole beside its header
// and what was queued before.
func TestVectoredWrite(t *testing.T) {
	near, far := tcpPair(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, f := range []framing.Format{framing.Prefix{}, framing.Netstring{}, framing.Delimiter{}, framing.Delimiter{Escape: '5'}, framing.COBS{}} {
		w := framing.NewWriter(near, f)
		require.True(t, w.Vectored())
		done := make(chan error, 1)
		go func() {
			if err := w.Queue([]byte("queued")); err != nil {
				done <- err
				return
			}
			done <- w.WriteMessage(big)
		}()
		r := framing.NewReader(far, f)
		msg, err := r.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, "queued", string(msg))
		msg, err = r.ReadMessage()
		require.NoError(t, err)
		require.True(t, bytes.Equal(big, msg), "%#v", f)
		require.NoError(t, <-done)
	}
}

// TestRefusedLeavesNothing: a message that the format refuses neither reaches
// the stream nor harms what was queued.
func TestRefusedLeavesNothing(t *testing.T) {
	for _, size := range []int{10, 30_000, 200_000} { // copied, and by reference
		var out writes
		w := framing.NewWriter(&out, framing.Delimiter{})
		require.NoError(t, w.Queue([]byte("one")))
		bad := bytes.Repeat([]byte{'x'}, size)
		bad[size-1] = '\n'
		require.ErrorIs(t, w.WriteMessage(bad), framing.ErrUnfit)
		require.NoError(t, w.Queue([]byte("two")))
		require.NoError(t, w.Flush())
		require.Equal(t, "one\ntwo\n", out.String())
	}
	// Quoted text is written as it comes: a refusal after that is final.
	var out writes
	w := framing.NewWriter(&out, framing.DotLines{})
	require.ErrorIs(t, w.WriteMessage(append(bytes.Repeat([]byte("line\r\n"), 50_000), "no end"...)), framing.ErrUnfit)
	require.ErrorIs(t, w.WriteMessage(nil), framing.ErrUnfit)
}

// TestWriterErrors: an error of the stream is final.
func TestWriterErrors(t *testing.T) {
	boom := errors.New("boom")
	out := writes{err: boom}
	w := framing.NewWriter(&out, nil)
	require.Equal(t, boom, w.WriteMessage([]byte("x")))
	out.err = nil
	require.Equal(t, boom, w.Queue([]byte("x")))
	require.Equal(t, boom, w.Flush())
	require.Equal(t, boom, w.Begin(1))
	_, err := w.Write([]byte("x"))
	require.Equal(t, boom, err)
	require.Equal(t, boom, w.End())

	require.ErrorIs(t, framing.NewWriter(&writes{short: true}, nil).WriteMessage([]byte("x")), io.ErrShortWrite)
	require.Equal(t, boom, framing.NewWriter(&writes{err: boom}, nil).WriteMessage(make([]byte, 1<<20)))
}

// TestBeginWriteEnd: the rules of streamed writing.
func TestBeginWriteEnd(t *testing.T) {
	var out writes
	w := framing.NewWriter(&out, nil)
	_, err := w.Write([]byte("x"))
	require.Error(t, err)
	require.Error(t, w.End())
	require.Equal(t, framing.ErrUnknownSize, w.Begin(-1))
	require.NoError(t, w.Begin(3), "a refused Begin leaves the Writer usable")
	require.Error(t, w.Begin(3), "one at a time")
	require.Error(t, w.Queue([]byte("x")), "messages do not mix")
	_, err = w.Write([]byte("abc"))
	require.NoError(t, err)
	require.NoError(t, w.End())
	require.Equal(t, "\x00\x00\x00\x03abc", out.String())

	require.NoError(t, w.Begin(3))
	_, err = w.Write([]byte("abcd"))
	require.ErrorIs(t, err, framing.ErrUnfit, "more than announced")

	w = framing.NewWriter(&out, nil)
	require.NoError(t, w.Begin(3))
	_, err = w.Write([]byte("ab"))
	require.NoError(t, err)
	require.ErrorIs(t, w.End(), framing.ErrUnfit, "less than announced")
	require.ErrorIs(t, w.WriteMessage(nil), framing.ErrUnfit, "and then the stream is lost")

	w = framing.NewWriter(&out, framing.ToEOF{})
	require.NoError(t, w.WriteMessage([]byte("all")))
	require.ErrorIs(t, w.WriteMessage([]byte("more")), framing.ErrUnfit)
}

// lazy is a format whose Encode does nothing.
type lazy struct{ framing.Prefix }

func (lazy) Encode(dst, _ []byte, _ *framing.State) ([]byte, int, error) { return dst, 0, nil }

// TestStuckFormat: a format that makes no progress is an error, not a loop.
func TestStuckFormat(t *testing.T) {
	require.ErrorContains(t, framing.NewWriter(io.Discard, lazy{}).WriteMessage([]byte("x")), "no progress")
	_, err := framing.Append(lazy{}, nil, []byte("x"))
	require.ErrorContains(t, err, "no progress")
}

// TestGigabyte streams a message of 1 GiB through each format in bounded
// memory, on both sides.
func TestGigabyte(t *testing.T) {
	for _, c := range []struct {
		format framing.Format
		size   int64
	}{
		{framing.Prefix{}, 1 << 30},
		{framing.Netstring{}, 1 << 24},
		{framing.Delimiter{}, 1 << 24},
		{framing.Delimiter{Escape: 1}, 1 << 24},
		{framing.Fixed(1 << 24), 1 << 24},
		{framing.ToEOF{}, 1 << 24},
		{framing.SLIP{}, 1 << 24},
		{framing.COBS{}, 1 << 24},
	} {
		size := c.size
		if testing.Short() {
			size = min(size, 1<<24)
		}
		took := allocated(func() {
			pr, pw := io.Pipe()
			done := make(chan error, 1)
			go func() {
				w := framing.NewWriter(pw, c.format)
				err := w.Begin(size)
				if err == nil {
					_, err = io.CopyN(w, zeros{}, size)
				}
				if err == nil {
					err = w.End()
				}
				pw.Close()
				done <- err
			}()
			r := framing.NewReader(pr, c.format)
			_, err := r.Next()
			require.NoError(t, err)
			n, err := io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r})
			require.NoError(t, err)
			require.Equal(t, size, n, "%#v", c.format)
			require.NoError(t, <-done)
			_, err = r.Next()
			require.Equal(t, io.EOF, err)
		})
		require.Less(t, took, uint64(2<<20), "%#v", c.format)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
