package codec_test

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
)

// TestJSONStrict: what encoding/json would change in silence is refused.
func TestJSONStrict(t *testing.T) {
	for _, c := range []struct {
		in     string
		kind   error
		offset int64
	}{
		{"\"a\xff\"", codec.ErrMalformed, 2},
		{"\"é\xed\xa0\x80\"", codec.ErrMalformed, 3},
		{`"a\ud800"`, codec.ErrMalformed, 2},
		{`"\udc00"`, codec.ErrMalformed, 1},
		{`"\ud800\ud800\udc00"`, codec.ErrMalformed, 1},
		{`"\ud83d\n\ude00"`, codec.ErrMalformed, 1},
		{`"\\\ud800"`, codec.ErrMalformed, 3},
		{`{"a":1} x`, codec.ErrMalformed, 8},
		{`[1,]`, codec.ErrMalformed, 3},
		{`[01]`, codec.ErrMalformed, 2},
		{`nul`, io.ErrUnexpectedEOF, 3},
		{``, io.ErrUnexpectedEOF, 0},
		{`["a`, io.ErrUnexpectedEOF, 3},
		{`'a'`, codec.ErrMalformed, 0},
		{"\ufeff1", codec.ErrMalformed, 0},
	} {
		var v any
		err := codec.JSON{}.Unmarshal([]byte(c.in), &v)
		require.ErrorIs(t, err, c.kind, "%q", c.in)
		require.ErrorIs(t, err, codec.ErrMalformed)
		e, _ := errors.AsType[*codec.Error](err)
		require.Equal(t, c.offset, e.Offset, "%q: %v", c.in, err)
		require.Equal(t, err.Error(), codec.JSON{}.Check([]byte(c.in)).Error())
		require.Nil(t, v)
	}
	for in, want := range map[string]any{
		`"\ud83d\ude00"`:         "😀",
		`"\\ud800"`:              `\ud800`,
		`"\\\\ud800\u00e9"`:      `\\ud800é`,
		` {"a":[1,null]}` + "\n": map[string]any{"a": []any{1.0, nil}},
		`{"a":1,"a":2}`:          map[string]any{"a": 2.0}, // the RFC leaves it open
		`"` + "\u2028" + `"`:     "\u2028",
		`-0`:                     math.Copysign(0, -1),
	} {
		var v any
		require.NoError(t, codec.JSON{}.Unmarshal([]byte(in), &v), in)
		require.Equal(t, want, v, in)
		require.NoError(t, codec.JSON{}.Check([]byte(in)))
	}
}

// TestJSONNumbers: in an any a number is a float64 and loses digits beyond 2^53;
// a typed field, or json.Number, keeps them. One that no float64 can hold is
// valid JSON and no value.
func TestJSONNumbers(t *testing.T) {
	const big = "9007199254740993"
	var loose any
	require.NoError(t, codec.JSON{}.Unmarshal([]byte(big), &loose))
	require.Equal(t, 9007199254740992.0, loose)
	var typed int64
	require.NoError(t, codec.JSON{}.Unmarshal([]byte(big), &typed))
	require.Equal(t, int64(9007199254740993), typed)
	var number json.Number
	require.NoError(t, codec.JSON{}.Unmarshal([]byte(big), &number))
	require.Equal(t, big, number.String())

	require.NoError(t, codec.JSON{}.Check([]byte("1e400")))
	err := codec.JSON{}.Unmarshal([]byte(`[1e400]`), &loose)
	require.ErrorIs(t, err, codec.ErrMalformed)
	var small int8
	err = codec.JSON{}.Unmarshal([]byte(`300`), &small)
	require.ErrorIs(t, err, codec.ErrMalformed)
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	require.True(t, ok, "the library's own error is underneath")
}

// TestJSONLimits: size and depth.
func TestJSONLimits(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	var v any
	require.NoError(t, codec.JSON{}.Unmarshal(nested(10_000), &v))
	require.ErrorIs(t, codec.JSON{}.Unmarshal(nested(10_001), &v), codec.ErrTooLarge)
	require.ErrorIs(t, codec.JSON{}.Check(nested(1_000_000)), codec.ErrTooLarge)
	require.NoError(t, codec.JSON{MaxDepth: 3}.Unmarshal(nested(3), &v))
	require.ErrorIs(t, codec.JSON{MaxDepth: 3}.Unmarshal(nested(4), &v), codec.ErrTooLarge)
	// Brackets in strings, and beside each other, are not nested.
	require.NoError(t, codec.JSON{MaxDepth: 2}.Unmarshal([]byte(`["[[[[","\"[[[",[],[],{}]`), &v))
	require.NoError(t, codec.JSON{MaxSize: 4}.Unmarshal([]byte(`true`), &v))
	require.ErrorIs(t, codec.JSON{MaxSize: 3}.Unmarshal([]byte(`true`), &v), codec.ErrTooLarge)
	require.ErrorIs(t, codec.JSON{}.Check(make([]byte, 16<<20+1)), codec.ErrTooLarge)
}

// TestJSONMarshal: values that JSON lacks are refused; strings that are not UTF-8
// are changed by the library.
func TestJSONMarshal(t *testing.T) {
	for _, v := range []any{math.NaN(), math.Inf(1), make(chan int), func() {}} {
		_, err := codec.JSON{}.Marshal(v)
		require.ErrorIs(t, err, codec.ErrUnfit)
	}
	out, err := codec.JSON{}.Marshal("a\xff")
	require.NoError(t, err)
	require.Equal(t, `"a\ufffd"`, string(out))
	type cyclic struct{ Next *cyclic }
	c := &cyclic{}
	c.Next = c
	_, err = codec.JSON{}.Marshal(c)
	require.ErrorIs(t, err, codec.ErrUnfit)
}
