package codec_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"io"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
)

type student struct {
	Name  string
	ID    int
	Phone string
}

// TestGobStandsAlone: each message describes its types, so that any of them can
// be read by itself.
func TestGobStandsAlone(t *testing.T) {
	first, err := codec.Gob{}.Marshal(student{"Ana", 1, "555"})
	require.NoError(t, err)
	second, err := codec.Gob{}.Marshal(student{"Luis", 2, ""})
	require.NoError(t, err)
	var got student
	require.NoError(t, codec.Gob{}.Unmarshal(second, &got))
	require.Equal(t, student{"Luis", 2, ""}, got)
	got = student{}
	require.NoError(t, codec.Gob{}.Unmarshal(first, &got))
	require.Equal(t, student{"Ana", 1, "555"}, got)
}

// TestGobMalformed: cut anywhere, with more after the value, over the limit, of
// another type.
func TestGobMalformed(t *testing.T) {
	msg, err := codec.Gob{}.Marshal(student{"Ana", 1, "555"})
	require.NoError(t, err)
	var v student
	for n := range msg {
		err := codec.Gob{}.Unmarshal(msg[:n], &v)
		require.ErrorIs(t, err, codec.ErrMalformed, "cut at %d", n)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut at %d", n)
	}
	err = codec.Gob{}.Unmarshal(append(msg, msg...), &v)
	require.ErrorIs(t, err, codec.ErrMalformed)
	e, _ := errors.AsType[*codec.Error](err)
	require.EqualValues(t, len(msg), e.Offset)
	require.ErrorIs(t, codec.Gob{MaxSize: len(msg) - 1}.Unmarshal(msg, &v), codec.ErrTooLarge)
	require.NoError(t, codec.Gob{MaxSize: len(msg)}.Unmarshal(msg, &v))
	require.ErrorIs(t, codec.Gob{}.Unmarshal(make([]byte, 256<<10+1), &v), codec.ErrTooLarge)
	var n int
	require.ErrorIs(t, codec.Gob{}.Unmarshal(msg, &n), codec.ErrMalformed)
	for _, wire := range []string{"\x00", "\x80", "\xf0", "\xfe\xff", "\xf8\xff\xff\xff\xff\xff\xff\xff\xff", "\x01\x80", "\x01\x03", "\x02\x03\x00"} {
		require.ErrorIs(t, codec.Gob{}.Unmarshal([]byte(wire), &v), codec.ErrMalformed, "%q", wire)
	}
	_, err = codec.Gob{}.Marshal(make(chan int))
	require.ErrorIs(t, err, codec.ErrUnfit)
}

type node struct{ Next *node }

type tree struct{ Kids []tree }

// gobDeep makes a message as deep as it is long: the types and the beginning of
// a value like first, then unit again and again.
func gobDeep(t *testing.T, value any, unit string, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, gob.NewEncoder(&b).Encode(value))
	wire := b.Bytes()
	last := 0 // where the message with the value begins
	for at := 0; at < len(wire); {
		last = at
		if n := int(wire[at]); n < 0x80 {
			at += 1 + n
		} else {
			require.EqualValues(t, 0xFF, n)
			at += 2 + int(wire[at+1])
		}
	}
	id := wire[last+1 : last+3] // 0xFF and the number of the type
	require.EqualValues(t, 0xFF, id[0])
	body := append([]byte{}, id...)
	room := size - last - 4 - len(body)
	body = append(body, bytes.Repeat([]byte(unit), room/len(unit))...)
	out := append([]byte{}, wire[:last]...)
	out = append(out, 0xFD, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	return append(out, body...)
}

// TestGobDepth: gob goes as deep as a message is long, also through what the
// receiver ignores. At the default limit that stays far from the end of the
// stack, even of a 32-bit system's.
func TestGobDepth(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(250 << 20))
	const size = 256 << 10
	for name, msg := range map[string][]byte{
		"pointers": gobDeep(t, node{}, "\x01", size),
		"slices":   gobDeep(t, tree{}, "\x01\x01", size),
	} {
		require.InDelta(t, size, len(msg), 8, name)
		for _, into := range []any{new(node), new(tree), new(struct{ Other int })} {
			done := make(chan struct{})
			go func() { // a stack of its own
				defer close(done)
				_ = codec.Gob{}.Unmarshal(msg, into)
			}()
			<-done
		}
		long := gobDeep(t, node{}, "\x01", size+100)
		require.ErrorIs(t, codec.Gob{}.Unmarshal(long, new(node)), codec.ErrTooLarge)
	}
}
