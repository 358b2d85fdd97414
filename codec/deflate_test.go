package codec_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
)

// allocated is how many bytes f takes from the heap in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func deflate(t testing.TB, name string, content []byte) []byte {
	t.Helper()
	out, err := lookup(t, name).Encode(content)
	require.NoError(t, err)
	return out
}

// TestBomb: 64 kB that inflate to 64 MiB stop at the limit, in memory of the
// order of the limit, as a function and as a stream, in one piece and in two
// members.
func TestBomb(t *testing.T) {
	const size, limit = 64 << 20, 1 << 20
	for _, name := range []string{"zlib", "gzip"} {
		bomb := deflate(t, name, make([]byte, size))
		require.Less(t, len(bomb), 70_000)
		if name == "gzip" {
			half := deflate(t, name, make([]byte, limit/2))
			bomb = append(append(append(half, half...), half...), bomb...)
		}
		text := lookup(t, name)
		text.MaxSize = limit
		got := allocated(func() {
			_, err := text.Decode(bomb)
			require.ErrorIs(t, err, codec.ErrTooLarge)
		})
		require.Less(t, got, uint64(6*limit), name)
		got = allocated(func() {
			n, err := io.Copy(io.Discard, text.NewReader(bytes.NewReader(bomb)))
			require.ErrorIs(t, err, codec.ErrTooLarge)
			require.EqualValues(t, limit, n, "what is within the limit is given out")
		})
		require.Less(t, got, uint64(limit), name)

		_, err := lookup(t, name).Decode(bomb)
		require.ErrorIs(t, err, codec.ErrTooLarge, "the default is 16 MiB")
		text.MaxSize = -1
		n, err := io.Copy(io.Discard, text.NewReader(bytes.NewReader(bomb)))
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, int64(size))
	}
}

// TestExactLimit: as many bytes as the limit are no error, one more is.
func TestExactLimit(t *testing.T) {
	for _, name := range []string{"zlib", "gzip"} {
		text := lookup(t, name)
		text.MaxSize = 100_000
		out, err := text.Decode(deflate(t, name, make([]byte, 100_000)))
		require.NoError(t, err)
		require.Len(t, out, 100_000)
		_, err = text.Decode(deflate(t, name, make([]byte, 100_001)))
		require.ErrorIs(t, err, codec.ErrTooLarge)
	}
}

// TestManyMembers: a gzip stream of very many empty members takes neither stack
// nor memory for each.
func TestManyMembers(t *testing.T) {
	empty := deflate(t, "gzip", nil)
	full := deflate(t, "gzip", []byte("x"))
	const n = 100_000
	wire := append(bytes.Repeat(empty, n), full...)
	got := allocated(func() {
		out, err := lookup(t, "gzip").Decode(wire)
		require.NoError(t, err)
		require.Equal(t, "x", string(out))
	})
	require.Less(t, got, uint64(16<<20))
}

// TestCut: data that ends too early is found at every byte.
func TestCut(t *testing.T) {
	for _, name := range []string{"zlib", "gzip"} {
		wire := deflate(t, name, []byte("En un lugar de la Mancha"))
		for n := range wire {
			if n == 0 && name == "gzip" {
				continue // nothing is no member, and no error to CPython either
			}
			_, err := lookup(t, name).Decode(wire[:n])
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s cut at %d", name, n)
			require.ErrorIs(t, err, codec.ErrMalformed)
		}
	}
}

// TestAfterTheEnd: more after a zlib stream is an error, not lost in silence;
// after a gzip member it is another member, or zeros.
func TestAfterTheEnd(t *testing.T) {
	wire := deflate(t, "zlib", []byte("a"))
	_, err := lookup(t, "zlib").Decode(append(wire, "x"...))
	require.ErrorIs(t, err, codec.ErrMalformed)
	e, _ := errors.AsType[*codec.Error](err)
	require.EqualValues(t, len(wire), e.Offset)
	gz := lookup(t, "gzip")
	wire = deflate(t, "gzip", []byte("a"))
	out, err := gz.Decode(append(append(append(wire, 0, 0), wire...), 0))
	require.NoError(t, err)
	require.Equal(t, "aa", string(out))
	_, err = gz.Decode(append(wire, "x"...))
	require.ErrorIs(t, err, codec.ErrMalformed)
	e, _ = errors.AsType[*codec.Error](err)
	require.EqualValues(t, len(wire), e.Offset)
}

// TestDeflateAgainstPython: what CPython compresses, whole, damaged in a
// thousand ways and cut, is valid and damaged here too, and what we compress it
// reads.
func TestDeflateAgainstPython(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	contents := [][]byte{nil, []byte("a"), []byte(strings.Repeat("En un lugar de la Mancha, ", 40)), make([]byte, 3000)}
	noise := make([]byte, 700)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	contents = append(contents, noise)
	var made []question
	for _, c := range contents {
		made = append(made,
			question{Op: "deflate", In: hex.EncodeToString(c)},
			question{Op: "gz", Codec: strings.Repeat("a long name ", 100), In: hex.EncodeToString(c)},
			question{Op: "gz", In: hex.EncodeToString(c)})
	}
	var questions []question
	add := func(op string, b []byte) {
		questions = append(questions, question{Op: op, In: hex.EncodeToString(b)})
	}
	for i, a := range ask(t, made) {
		require.NotNil(t, a.Out, a.Error)
		wire, err := hex.DecodeString(*a.Out)
		require.NoError(t, err)
		op := "gzip"
		if made[i].Op == "deflate" {
			op = "zlib"
		}
		add(op, wire)
		add(op, append(wire, 0))
		add(op, append(wire, wire...))
		add(op, append([]byte{0}, wire...))
		for range 200 {
			b := bytes.Clone(wire)
			for range 1 + rnd.IntN(2) {
				b[rnd.IntN(min(len(b), 60))] ^= 1 << rnd.IntN(8)
			}
			add(op, b)
			add(op, wire[:rnd.IntN(len(wire))])
		}
	}
	// Headers that CPython does not write.
	for flags := range 256 {
		var body bytes.Buffer
		w := gzip.NewWriter(&body)
		_, err := w.Write([]byte("abc"))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		head := append([]byte{0x1F, 0x8B, 8, byte(flags), 0, 0, 0, 0, 0, 255, 2, 0, 'x', 'y'}, "name\x00comment\x00\x12\x34"...)
		add("gzip", append(head, body.Bytes()[10:]...))
		add("zlib", append([]byte{byte(flags), byte(31 - flags<<8%31)}, deflate(t, "zlib", []byte("abc"))[2:]...))
		dictionary := bytes.Buffer{}
		z, err := zlib.NewWriterLevelDict(&dictionary, flags%10, []byte("abc"))
		require.NoError(t, err)
		_, err = z.Write([]byte("abcabcabc"))
		require.NoError(t, err)
		require.NoError(t, z.Close())
		add("zlib", dictionary.Bytes())
	}
	for _, c := range contents {
		add("zlib", deflate(t, "zlib", c))
		add("gzip", deflate(t, "gzip", c))
	}
	valid := 0
	for i, a := range ask(t, questions) {
		q := questions[i]
		in, err := hex.DecodeString(q.In)
		require.NoError(t, err)
		out, err := lookup(t, q.Op).Decode(in)
		agree(t, q, a, out, err)
		if err == nil {
			valid++
		} else {
			require.ErrorIs(t, err, codec.ErrMalformed)
		}
	}
	t.Logf("%d streams, %d of them valid, judged alike", len(questions), valid)
}
