package codec_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/zocalo-go/zocalo/codec"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// TestMessagePackGolden pins the bytes of values, and the values of bytes.
func TestMessagePackGolden(t *testing.T) {
	for _, c := range []struct {
		wire string
		want any
		back bool // the wire form is the one that we write
	}{
		{"c0", nil, true},
		{"c2", false, true},
		{"c3", true, true},
		{"00", int64(0), true},
		{"7f", int64(127), true},
		{"ff", int64(-1), true},
		{"e0", int64(-32), true},
		{"cc80", int64(128), true},
		{"d0df", int64(-33), true},
		{"cd0100", int64(256), true},
		{"d18000", int64(-32768), true},
		{"ce00010000", int64(65536), true},
		{"d280000000", int64(math.MinInt32), true},
		{"cf7fffffffffffffff", int64(math.MaxInt64), false}, // the library writes d3
		{"d38000000000000000", int64(math.MinInt64), true},
		{"cfffffffffffffffff", uint64(math.MaxUint64), true},
		{"cc01", int64(1), false},
		{"ca3fc00000", float32(1.5), true},
		{"cb3ff8000000000000", 1.5, true},
		{"a3616263", "abc", true},
		{"a0", "", true},
		{"d903616263", "abc", false},
		{"c403000102", []byte{0, 1, 2}, true},
		{"c400", []byte{}, true},
		{"90", []any{}, true},
		{"93 01 a161 c0", []any{int64(1), "a", nil}, true},
		{"dd00000001 c3", []any{true}, false},
		{"80", map[string]any{}, true},
		{"81 a161 91 02", map[string]any{"a": []any{int64(2)}}, true},
		{"81 01 a161", map[any]any{int64(1): "a"}, true},
		{"82 a161 01 02 03", map[any]any{"a": int64(1), int64(2): int64(3)}, false},
		{"81 c0 c0", map[any]any{nil: nil}, true},
		{"81 81 a161 01 02", nil, false}, // a map as a key
		{"81 c401 61 02", nil, false},    // bytes as a key
		{"d405 61", codec.Ext{Type: 5, Data: []byte("a")}, true},
		{"c703 80 616263", codec.Ext{Type: -128, Data: []byte("abc")}, true},
		{"c700 07", codec.Ext{Type: 7, Data: []byte{}}, true},
		{"91 d6 07 00000001", []any{codec.Ext{Type: 7, Data: []byte{0, 0, 0, 1}}}, true},
		{"d6ff 00000001", time.Unix(1, 0), true},
		{"d7ff 0000000800000001", time.Unix(1, 2), true},
		{"c70cff 00000001 ffffffffffffffff", time.Unix(-1, 1), true},
	} {
		wire := unhex(t, c.wire)
		var got any
		err := codec.MessagePack{}.Unmarshal(wire, &got)
		if c.want == nil && c.wire != "c0" {
			require.ErrorIs(t, err, codec.ErrMalformed, c.wire)
			continue
		}
		require.NoError(t, err, c.wire)
		if want, ok := c.want.(time.Time); ok {
			require.True(t, want.Equal(got.(time.Time)), c.wire)
		} else {
			require.Equal(t, c.want, got, c.wire)
		}
		if c.back {
			out, err := codec.MessagePack{}.Marshal(got)
			require.NoError(t, err)
			require.Equal(t, hex.EncodeToString(wire), hex.EncodeToString(out))
		}
	}
}

// TestMessagePackMalformed: every way in which bytes can be no value.
func TestMessagePackMalformed(t *testing.T) {
	for _, c := range []struct {
		wire   string
		kind   error
		offset int64
	}{
		{"", io.ErrUnexpectedEOF, 0},
		{"c1", codec.ErrMalformed, 0},
		{"92c3c1", codec.ErrMalformed, 2},
		{"92c3", io.ErrUnexpectedEOF, 0},
		{"9291c3", io.ErrUnexpectedEOF, 1},
		{"c3c3", codec.ErrMalformed, 1},
		{"a3 6162", io.ErrUnexpectedEOF, 0},
		{"cd01", io.ErrUnexpectedEOF, 0},
		{"dc00", io.ErrUnexpectedEOF, 0},
		{"c70105", io.ErrUnexpectedEOF, 0},
		{"d4", io.ErrUnexpectedEOF, 0},
		{"ddffffffff", io.ErrUnexpectedEOF, 0},
		{"dfffffffff", io.ErrUnexpectedEOF, 0},
		{"dbffffffff", io.ErrUnexpectedEOF, 0},
		{"c9ffffffff05", io.ErrUnexpectedEOF, 0},
		{"91a2c328", codec.ErrMalformed, 2},
		{"d4ff00", codec.ErrMalformed, 0},               // a timestamp of one byte
		{"d7ffffffffff00000000", codec.ErrMalformed, 0}, // of more than a second's nanoseconds
		{"c70cff3b9aca000000000000000000", codec.ErrMalformed, 0},
	} {
		var v any
		err := codec.MessagePack{}.Unmarshal(unhex(t, c.wire), &v)
		require.ErrorIs(t, err, c.kind, c.wire)
		require.ErrorIs(t, err, codec.ErrMalformed, c.wire)
		e, _ := errors.AsType[*codec.Error](err)
		require.Equal(t, c.offset, e.Offset, "%s: %v", c.wire, err)
		require.Nil(t, v)
		require.Equal(t, err, codec.MessagePack{}.Check(unhex(t, c.wire)))
	}
}

// TestFiveBytes: five bytes that announce four thousand million elements make
// the library take memory for all of them at once. Check refuses them, and so
// never lets a decoder see them, in an any as in a type.
func TestFiveBytes(t *testing.T) {
	for _, wire := range []string{"ddffffffff", "ddffffffffc0", "dfffffffff", "91ddffffffff", "81a161ddffffffff", "dbffffffff", "c6ffffffff"} {
		b := unhex(t, wire)
		got := allocated(func() {
			require.ErrorIs(t, codec.MessagePack{}.Check(b), io.ErrUnexpectedEOF)
			var v any
			require.ErrorIs(t, codec.MessagePack{}.Unmarshal(b, &v), io.ErrUnexpectedEOF)
			var list []string
			require.ErrorIs(t, codec.MessagePack{}.Unmarshal(b, &list), io.ErrUnexpectedEOF)
			var m map[string][]int
			require.ErrorIs(t, codec.MessagePack{}.Unmarshal(b, &m), io.ErrUnexpectedEOF)
		})
		require.Less(t, got, uint64(64<<10), wire)
	}
	// The library itself, with what it can still survive: 16 MiB announced.
	got := allocated(func() {
		var v any
		require.Error(t, msgpack.Unmarshal(unhex(t, "dd00100000"), &v))
	})
	require.GreaterOrEqual(t, got, uint64(8<<20), "it has been mended: the walk may go")
}

// nestedEnv makes the test binary decode with the library alone what ends it.
const nestedEnv = "ZOCALO_TEST_NESTED"

// TestDeepNesting: each byte 0x91 opens an array, and the library goes one call
// deeper for it until the stack ends and the program with it. Check counts.
func TestDeepNesting(t *testing.T) {
	deep := bytes.Repeat([]byte{0x91}, 10<<20)
	deep[len(deep)-1] = 0xC0
	if os.Getenv(nestedEnv) != "" {
		debug.SetMaxStack(32 << 20) // sooner than by itself, and cheaper
		var v any
		fmt.Println("survived", msgpack.Unmarshal(deep, &v))
		return
	}
	var v any
	err := codec.MessagePack{MaxValues: -1}.Unmarshal(deep, &v)
	require.ErrorIs(t, err, codec.ErrTooLarge)
	require.Nil(t, v)
	var typed [][][]any
	require.ErrorIs(t, codec.MessagePack{MaxValues: -1}.Unmarshal(deep, &typed), codec.ErrTooLarge)
	err = codec.MessagePack{}.Unmarshal(append(bytes.Repeat([]byte{0x81}, 2000), bytes.Repeat([]byte{0xC0}, 2001)...), &v) // maps as keys of maps
	require.ErrorIs(t, err, codec.ErrTooLarge)

	at := deep[len(deep)-1001:] // a thousand, and then a nil
	require.NoError(t, codec.MessagePack{}.Unmarshal(at, &v))
	require.ErrorIs(t, codec.MessagePack{}.Unmarshal(deep[len(deep)-1002:], &v), codec.ErrTooLarge)
	require.NoError(t, codec.MessagePack{MaxDepth: 3}.Unmarshal(unhex(t, "919191c0"), &v))
	require.ErrorIs(t, codec.MessagePack{MaxDepth: 3}.Unmarshal(unhex(t, "91919190"), &v), codec.ErrTooLarge)

	if testing.Short() {
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDeepNesting$")
	cmd.Env = append(os.Environ(), nestedEnv+"=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "the library has been mended: %s", out)
	require.Contains(t, string(out), "stack overflow")
}

// TestMapInExtension: where the library wants a map and finds an extension, it
// reads the map out of the extension's content, lengths that nobody has looked
// at included. Ours does not.
func TestMapInExtension(t *testing.T) {
	// A field "m", an extension of 8 bytes: {"x": array of a million}.
	wire := unhex(t, "81 a16d d705 81a178 dd00100000")
	require.NoError(t, codec.MessagePack{}.Check(wire), "as a message it is well")
	type holder struct {
		M map[string]any `msgpack:"m"`
	}
	got := allocated(func() {
		var v holder
		require.Error(t, msgpack.Unmarshal(wire, &v))
	})
	require.GreaterOrEqual(t, got, uint64(8<<20), "it has been mended")
	got = allocated(func() {
		var v holder
		require.ErrorIs(t, codec.MessagePack{}.Unmarshal(wire, &v), codec.ErrMalformed)
	})
	require.Less(t, got, uint64(64<<10))
}

// TestMessagePackLimits: size and number of values.
func TestMessagePackLimits(t *testing.T) {
	list := append([]byte{0xDC, 0x03, 0xE8}, make([]byte, 1000)...)
	var v any
	require.NoError(t, codec.MessagePack{MaxSize: 1003, MaxValues: 1001}.Unmarshal(list, &v))
	require.ErrorIs(t, codec.MessagePack{MaxSize: 1002}.Unmarshal(list, &v), codec.ErrTooLarge)
	require.ErrorIs(t, codec.MessagePack{MaxValues: 1000}.Unmarshal(list, &v), codec.ErrTooLarge)
	many := append([]byte{0xDD, 0x00, 0x20, 0x00, 0x00}, make([]byte, 2<<20)...)
	require.ErrorIs(t, codec.MessagePack{}.Unmarshal(many, &v), codec.ErrTooLarge)
	require.NoError(t, codec.MessagePack{MaxValues: -1}.Check(many))
	require.ErrorIs(t, codec.MessagePack{}.Check(make([]byte, 17<<20)), codec.ErrTooLarge)
}

type inner struct {
	A int8
	B string `msgpack:"b,omitempty"`
}

type outer struct {
	inner // not exported, its fields are
	*Outer2
	Bool   bool
	I8     int8
	I64    int64 `msgpack:"i64,alias:long"`
	U16    uint16
	F32    float32
	F64    float64
	Str    string
	Bytes  []byte
	Arr    [4]byte
	Ints   [2]int
	List   []inner
	Ptr    *inner
	Map    map[string]int
	ByInt  map[int32]string
	Time   time.Time
	Dur    time.Duration
	Ext    codec.Ext
	Any    any
	Anys   []any
	AnyMap map[any]any
	IP     netip.Addr // decodes itself
	Raw    msgpack.RawMessage
	Not    int `msgpack:"-"`
}

type octet byte

type octets []octet

// Outer2 is embedded by pointer.
type Outer2 struct{ Z uint8 }

// TestMessagePackTypes takes every kind of Go value there and back.
func TestMessagePackTypes(t *testing.T) {
	in := outer{
		inner: inner{A: -5, B: "b"}, Outer2: &Outer2{9},
		Bool: true, I8: -128, I64: math.MinInt64, U16: 65535, F32: 1.5, F64: math.Pi, Str: "ñ", Bytes: []byte{0, 255},
		Arr: [4]byte{1, 2, 3, 4}, Ints: [2]int{-1, 1 << 30}, List: []inner{{A: 1}, {A: 2, B: "x"}}, Ptr: &inner{A: 7},
		Map: map[string]int{"a": 1}, ByInt: map[int32]string{-3: "c"}, Time: time.Unix(1700000000, 5), Dur: time.Second,
		Ext: codec.Ext{Type: 3, Data: []byte{1, 2, 3}}, Any: map[any]any{int64(1): codec.Ext{Type: 4, Data: []byte{}}},
		Anys: []any{nil, codec.Ext{Type: 5, Data: []byte{9}}, "x"}, AnyMap: map[any]any{"k": int64(1), true: 1.5},
		IP: netip.MustParseAddr("2001:db8::1"), Raw: msgpack.RawMessage{0x93, 1, 2, 3},
	}
	b, err := codec.MessagePack{}.Marshal(in)
	require.NoError(t, err)
	var got outer
	require.NoError(t, codec.MessagePack{}.Unmarshal(b, &got))
	require.True(t, in.Time.Equal(got.Time))
	got.Time = in.Time
	require.Equal(t, in, got)

	// Bytes of a type of one's own, as bytes and not as a list of numbers.
	var own octets
	require.NoError(t, codec.MessagePack{}.Unmarshal(unhex(t, "c403010203"), &own))
	require.Equal(t, octets{1, 2, 3}, own)
	four := [4]octet{1, 1, 1, 1}
	require.NoError(t, codec.MessagePack{}.Unmarshal(unhex(t, "c4020908"), &four))
	require.Equal(t, [4]octet{9, 8, 0, 0}, four)

	// What the library makes of the same bytes, where it can, is the same.
	type common struct {
		A    int8
		B    string `msgpack:"b"`
		Z    uint8
		Ints [2]int
		List []inner
		I64  int64 `msgpack:"i64"`
	}
	var ours, theirs common
	require.NoError(t, codec.MessagePack{}.Unmarshal(b, &ours))
	require.NoError(t, msgpack.Unmarshal(b, &theirs))
	require.Equal(t, theirs, ours)
	require.Equal(t, int8(-5), ours.A)

	// Unknown names are passed over, an alias found, nil empties.
	got = outer{Str: "old", Ptr: &inner{}}
	require.NoError(t, codec.MessagePack{}.Unmarshal(unhex(t, "84 a4"+hex.EncodeToString([]byte("long"))+"07 a3537472 c0 a3507472 c0 a3"+hex.EncodeToString([]byte("new"))+"92c0 81 a161 c0"), &got))
	require.Equal(t, outer{I64: 7}, got)

	// A struct as an array of its fields.
	var pair struct {
		_msgpack struct{} `msgpack:",as_array"` //nolint:unused // a mark for the library
		X, Y     int
	}
	require.NoError(t, codec.MessagePack{}.Unmarshal(unhex(t, "92 05 06"), &pair))
	require.Equal(t, 5, pair.X)
	require.Equal(t, 6, pair.Y)
	out, err := codec.MessagePack{}.Marshal(pair)
	require.NoError(t, err)
	require.Equal(t, "920506", hex.EncodeToString(out))
	require.Error(t, codec.MessagePack{}.Unmarshal(unhex(t, "91 05"), &pair))
}

type base struct {
	ID   int
	Name string
}

// Self embeds itself.
type Self struct {
	*Self
	N int
}

// TestMessagePackEmbedded: embedded structs come back from where the library
// has put them, also where names collide.
func TestMessagePackEmbedded(t *testing.T) {
	type plain struct {
		base
		X int
	}
	type collides struct {
		Name string
		Base base
	}
	type Exported base
	type shadowed struct {
		Name string
		Exported
	}
	type forced struct {
		Name     string
		Exported `msgpack:",inline"`
	}
	type apart struct {
		Exported `msgpack:"apart,noinline"`
	}
	type pointer struct{ *Exported }
	for _, in := range []any{
		&plain{base{1, "a"}, 2},
		&collides{"a", base{2, "b"}},
		&shadowed{"a", Exported{2, "b"}},
		&forced{"a", Exported{2, ""}},
		&apart{Exported{3, "c"}},
		&pointer{&Exported{4, "d"}},
		&Self{N: 5},
	} {
		if self, ok := in.(*Self); ok { // which the library cannot encode
			out := new(Self)
			require.NoError(t, codec.MessagePack{}.Unmarshal(unhex(t, "81 a14e 05"), out))
			require.Equal(t, self, out)
			continue
		}
		b, err := codec.MessagePack{}.Marshal(in)
		require.NoError(t, err)
		out := reflect.New(reflect.TypeOf(in).Elem()).Interface()
		require.NoError(t, codec.MessagePack{}.Unmarshal(b, out), "%x", b)
		require.Equal(t, in, out, "%x", b)
	}
}

// TestMessagePackMismatch: a value of another kind, or a number that does not fit,
// is an error and never changes in silence.
func TestMessagePackMismatch(t *testing.T) {
	for _, c := range []struct {
		wire string
		into any
	}{
		{"cd0100", new(int8)},
		{"ff", new(uint8)},
		{"cfffffffffffffffff", new(int64)},
		{"cb7fefffffffffffff", new(float32)},
		{"a161", new(int)},
		{"01", new(string)},
		{"01", new(bool)},
		{"c3", new(float64)},
		{"cb3ff0000000000000", new(int)},
		{"a161", new([]int)},
		{"91a161", new([]int)},
		{"90", new(map[string]int)},
		{"93010203", new([2]int)},
		{"c403010203", new([2]byte)},
		{"8101 02", new(map[string]int)},
		{"d40561", new(time.Time)},
		{"01", new(codec.Ext)},
		{"01", new(error)},
		{"01", new(fmt.Stringer)},
		{"01", new(chan int)},
		{"01", new(complex128)},
		{"01", new(netip.Addr)},
		{"a3616263", new(netip.Addr)},
		{"01", new(outer)},
		{"8101 02", new(outer)},
		{"81 9001 02", new(map[any]int)},
		{"c0", nil},
		{"c0", outer{}},
		{"c0", (*int)(nil)},
	} {
		err := codec.MessagePack{}.Unmarshal(unhex(t, c.wire), c.into)
		_, ok := errors.AsType[*codec.Error](err)
		require.True(t, ok, "%s into %T: %v", c.wire, c.into, err)
	}
	err := codec.MessagePack{}.Unmarshal(unhex(t, "92 a131 a3616263"), new([]netip.Addr))
	e, _ := errors.AsType[*codec.Error](err)
	require.EqualValues(t, 1, e.Offset, "%v", err)
}

// TestMessagePackKeeps: nothing of the message is kept, which may be reused.
func TestMessagePackKeeps(t *testing.T) {
	b, err := codec.MessagePack{}.Marshal(map[string]any{"name": []byte("bytes"), "ext": codec.Ext{Type: 1, Data: []byte("data")}})
	require.NoError(t, err)
	var v any
	require.NoError(t, codec.MessagePack{}.Unmarshal(b, &v))
	clear(b)
	require.Equal(t, map[string]any{"name": []byte("bytes"), "ext": codec.Ext{Type: 1, Data: []byte("data")}}, v)
}
