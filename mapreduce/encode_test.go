package mapreduce

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	celsius float32
	shelf   int8
	page    uint16
	title   string
	place   struct {
		Row, Seat int
	}
)

// A pixel has its own encoding.
type pixel struct{ x, y uint16 }

func (p pixel) AppendBinary(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, p.y), p.x), nil
}

func (p *pixel) UnmarshalBinary(b []byte) error {
	if len(b) != 4 {
		return errors.New("not a pixel")
	}
	*p = pixel{y: binary.BigEndian.Uint16(b), x: binary.BigEndian.Uint16(b[2:])}
	return nil
}

// assertCoded checks that values, which come in ascending order, survive as keys
// and as values, and keep their order as keys.
func assertCoded[T any](t *testing.T, ascending ...T) {
	t.Helper()
	for _, key := range []bool{true, false} {
		c := coderOf[T](key)
		var before []byte
		for i, v := range ascending {
			b, err := c.append([]byte("x"), v)
			require.NoError(t, err)
			require.Equal(t, byte('x'), b[0], "appended")
			b = b[1:]
			got, err := c.decode(b)
			require.NoError(t, err)
			require.Equal(t, v, got)
			if key && i > 0 {
				assert.Equal(t, -1, bytes.Compare(before, b), "%T: %v before %v", v, ascending[i-1], v)
			}
			before = b
		}
	}
}

func TestCoders(t *testing.T) {
	assertCoded(t, "", "a", "a\x00", "ab", "b", "é", "\xff")
	assertCoded(t, []byte(""), []byte("a"), []byte("b"))
	assertCoded(t, title("a"), title("b"))
	assertCoded(t, math.MinInt, -256, -1, 0, 1, 255, 256, math.MaxInt)
	assertCoded(t, int64(math.MinInt64), -1, 0, math.MaxInt64)
	assertCoded(t, int32(math.MinInt32), -1, 0, math.MaxInt32)
	assertCoded(t, shelf(-128), -1, 0, 127)
	assertCoded(t, uint(0), 1, 256, math.MaxUint)
	assertCoded(t, uint64(0), 1, math.MaxUint64)
	assertCoded(t, uint32(0), 1, math.MaxUint32)
	assertCoded(t, page(0), 1, math.MaxUint16)
	assertCoded(t, math.Inf(-1), -1e300, -1, -math.SmallestNonzeroFloat64, 0, 1e-300, 1, math.Inf(1))
	assertCoded(t, celsius(-273.15), 0, 36.6)
	assertCoded(t, struct{}{})
	assertCoded(t, pixel{1, 0}, pixel{0, 1}, pixel{1, 1})
	assertCoded(t, false, true)
	assertCoded(t, place{1, 2}, place{1, 3})
	assertCoded(t, []string{"a", "b"}, []string{"b"})
}

func TestDecodeErrors(t *testing.T) {
	for _, b := range []string{"", "\xff", "\x01\x01", "123456789"} {
		_, err := coderOf[int](true).decode([]byte(b))
		assert.ErrorIs(t, err, errShort)
		_, err = coderOf[int](false).decode([]byte(b))
		assert.ErrorIs(t, err, errShort)
		_, err = coderOf[uint32](false).decode([]byte(b))
		assert.ErrorIs(t, err, errShort)
		_, err = coderOf[celsius](false).decode([]byte(b))
		assert.ErrorIs(t, err, errShort)
		_, err = coderOf[place](false).decode([]byte(b))
		assert.Error(t, err)
	}
}

func TestPrefix(t *testing.T) {
	keys := [][]byte{nil}
	for n := range 10 {
		for _, c := range "\x00az\xff" {
			k := append(bytes.Repeat([]byte("b"), n), byte(c))
			keys = append(keys, k, append(k, 0), append(k, "zzz"...))
		}
	}
	for _, a := range keys {
		for _, b := range keys {
			if c := cmp.Compare(prefixOf(a), prefixOf(b)); c != 0 {
				require.Equal(t, c, bytes.Compare(a, b), "%q %q", a, b)
			}
		}
	}
}
