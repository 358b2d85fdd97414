package codec_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
)

// TestByteOrder: the order is said, never assumed.
func TestByteOrder(t *testing.T) {
	for format, wire := range map[string]string{
		"<i": "9d100000", ">i": "0000109d", "!i": "0000109d", "=i": "9d100000", "@i": "9d100000", "i": "9d100000",
		"<q": "9d10000000000000", ">h": "109d", "@l": "9d10000000000000", "=l": "9d100000",
	} {
		b, err := codec.Pack(format, 4253)
		require.NoError(t, err, format)
		require.Equal(t, wire, hex.EncodeToString(b), format)
		back, err := codec.Unpack(format, b)
		require.NoError(t, err, format)
		require.Equal(t, []any{int64(4253)}, back, format)
	}
}

// TestAlignment: with @ the fields stand where the compiler would put them, and
// nowhere else.
func TestAlignment(t *testing.T) {
	for format, size := range map[string]int{
		"@bi": 8, "=bi": 5, "<bi": 5, "ib": 5, "ib0q": 8, "bq": 16, "b3x": 4, "3s4p": 7, "": 0, "<": 0, "bP": 16, "2bh": 4, "be": 4,
	} {
		l, err := codec.Compile(format)
		require.NoError(t, err, format)
		require.Equal(t, size, l.Size(), format)
	}
	b, err := codec.Pack("bi", 1, 2)
	require.NoError(t, err)
	require.Equal(t, "0100000002000000", hex.EncodeToString(b))
}

// TestLayoutErrors: what does not fit is refused, with the place of it.
func TestLayoutErrors(t *testing.T) {
	for format, kind := range map[string]error{
		"k": codec.ErrMalformed, "<n": codec.ErrMalformed, "3": codec.ErrMalformed, "3 i": codec.ErrMalformed,
		"i<": codec.ErrMalformed, " <i": codec.ErrMalformed, "é": codec.ErrMalformed, "\x00": codec.ErrMalformed,
		"99999999999999999999i": codec.ErrTooLarge, "67108865x": codec.ErrTooLarge, "60000000x60000000x": codec.ErrTooLarge,
	} {
		_, err := codec.Compile(format)
		require.ErrorIs(t, err, kind, format)
	}
	for _, c := range []struct {
		format string
		value  any
	}{
		{"b", 128},
		{"b", -129},
		{"B", 256},
		{"B", -1},
		{"<l", int64(1 << 31)},
		{"@L", -1},
		{"q", uint64(1 << 63)},
		{"Q", -1},
		{"i", 1.0},
		{"i", "1"},
		{"i", nil},
		{"i", json.Number("1.0")},
		{"i", json.Number("99999999999999999999")},
		{"q", json.Number("-9223372036854775809")},
		{"c", "ab"},
		{"c", 1},
		{"s", 1},
		{"p", nil},
		{"e", 65520.0},
		{"<f", 1e39},
		{"d", "1"},
		{"d", json.Number("1e400")},
	} {
		_, err := codec.Pack(c.format, c.value)
		require.ErrorIs(t, err, codec.ErrUnfit, "%s of %v", c.format, c.value)
	}
	_, err := codec.Pack("3i", 1, 2, int64(300_000_000_000))
	require.ErrorContains(t, err, "value 2")
	_, err = codec.Pack("ii", 1)
	require.ErrorIs(t, err, codec.ErrUnfit)
	_, err = codec.Unpack("i", make([]byte, 5))
	require.ErrorIs(t, err, codec.ErrMalformed)
}

// TestLayoutMemory: what a format asks for takes no memory before the values
// for it are there.
func TestLayoutMemory(t *testing.T) {
	got := allocated(func() {
		_, err := codec.Pack("16000000i", 1)
		require.Error(t, err)
		_, err = codec.Unpack("16000000i", []byte("1234"))
		require.Error(t, err)
	})
	require.Less(t, got, uint64(64<<10))
}

// pythonValue writes a value for the oracle.
func pythonValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]string{"b": hex.EncodeToString(v)}
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return map[string]string{"f": strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64))}
		}
		return map[string]string{"f": strconv.FormatFloat(v, 'x', -1, 64)}
	}
	return v
}

// readPython reads a value of an answer.
func readPython(t *testing.T, v any, letter byte) any {
	t.Helper()
	switch v := v.(type) {
	case bool:
		return v
	case string:
		if letter >= 'a' {
			n, err := strconv.ParseInt(v, 10, 64)
			require.NoError(t, err)
			return n
		}
		n, err := strconv.ParseUint(v, 10, 64)
		require.NoError(t, err)
		return n
	case map[string]any:
		if b, ok := v["b"].(string); ok {
			out, err := hex.DecodeString(b)
			require.NoError(t, err)
			return out
		}
		x, err := strconv.ParseFloat(v["f"].(string), 64)
		require.NoError(t, err)
		return x
	}
	t.Fatalf("%T", v)
	return nil
}

// TestLayoutsAgainstPython packs and unpacks at random, valid and not, as CPython
// does.
func TestLayoutsAgainstPython(t *testing.T) {
	if size := ask(t, []question{{Op: "size", Format: "@l"}})[0].Size; size != 8 {
		t.Skipf("a C long has %d bytes on this system, and 8 where @ comes from", size)
	}
	rnd := rand.New(rand.NewPCG(9, 10))
	const letters = "xcbB?hHiIlLqQnNefdspP"
	number := func() any {
		edges := []int64{0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, 32768, -32769, 65535, 65536, 1<<31 - 1, 1 << 31, -1<<31 - 1, 1<<32 - 1, 1 << 32, math.MaxInt64, math.MinInt64}
		switch rnd.IntN(4) {
		case 0:
			return rnd.Uint64()
		case 1:
			return rnd.Int64N(300) - 150
		}
		return edges[rnd.IntN(len(edges))]
	}
	real := func() any {
		edges := []float64{0, math.Copysign(0, -1), 1, 65504, 65519.99, 65520, 5.9604644775390625e-08, 2.98e-08, 6.1e-05, 3.4e38, 3.5e38, 1e-45, math.Inf(1), math.Inf(-1), math.NaN(), 2049, 2051, 1.0 / 3}
		switch rnd.IntN(4) {
		case 0:
			return rnd.NormFloat64() * math.Pow(2, float64(rnd.IntN(60)-40))
		case 1:
			return number()
		}
		return edges[rnd.IntN(len(edges))]
	}
	var questions []question
	var values [][]any
	var layouts []string // the letter of each value
	for range 6000 {
		var format, each strings.Builder
		var vs []any
		format.WriteString([]string{"", "<", ">", "!", "=", "@"}[rnd.IntN(6)])
		for range rnd.IntN(6) {
			letter := letters[rnd.IntN(len(letters))]
			count := 1
			if rnd.IntN(3) == 0 {
				count = rnd.IntN(5)
				if letter == 'p' && count == 0 {
					count = 300 // for 0p CPython writes beyond its buffer and fails to read
				}
				fmt.Fprintf(&format, "%d", count)
			}
			format.WriteByte(letter)
			if rnd.IntN(5) == 0 {
				format.WriteString(" \t\n\v\f\r"[rnd.IntN(5):][:1])
			}
			switch letter {
			case 'x':
				count = 0
			case 's', 'p':
				count = 1
			}
			for range count {
				each.WriteByte(letter)
				switch letter {
				case 'c':
					vs = append(vs, make([]byte, 1+rnd.IntN(30)/29))
				case 's', 'p':
					b := make([]byte, rnd.IntN(8))
					if rnd.IntN(20) == 0 {
						b = make([]byte, 270)
					}
					for i := range b {
						b[i] = byte(rnd.Uint32())
					}
					vs = append(vs, b)
				case '?':
					vs = append(vs, []any{true, false, 0, 7, 0.0, []byte{}, []byte{0}}[rnd.IntN(7)])
				case 'e', 'f', 'd':
					vs = append(vs, real())
				default:
					v := number()
					if rnd.IntN(10) != 0 { // mostly one that fits
						v = rnd.Int64N(128)
					}
					vs = append(vs, v)
				}
			}
		}
		if rnd.IntN(20) == 0 {
			format.WriteString([]string{"z", "3", "<", "0s", "2x"}[rnd.IntN(5)])
		}
		if rnd.IntN(20) == 0 {
			vs = append(vs, int64(1))
		}
		q := question{Op: "pack", Format: format.String()}
		for _, v := range vs {
			q.Values = append(q.Values, pythonValue(v))
		}
		questions = append(questions, q)
		values = append(values, vs)
		layouts = append(layouts, each.String())
	}
	answers := ask(t, questions)
	var backs []question
	var which []int
	packed := 0
	for i, a := range answers {
		out, err := codec.Pack(questions[i].Format, values[i]...)
		if a.Out != nil && hasNaN(values[i]) {
			require.NoError(t, err)
			continue // how a NaN is written is the processor's affair
		}
		agree(t, questions[i], a, out, err)
		if err == nil {
			packed++
			for j := range out { // any bytes are values
				if rnd.IntN(4) == 0 {
					out[j] = byte(rnd.Uint32())
				}
			}
			backs = append(backs, question{Op: "unpack", Format: questions[i].Format, In: hex.EncodeToString(out)})
			which = append(which, i)
		}
	}
	for i, a := range ask(t, backs) {
		in, err := hex.DecodeString(backs[i].In)
		require.NoError(t, err)
		got, err := codec.Unpack(backs[i].Format, in)
		require.NoError(t, err)
		require.Empty(t, a.Error, "%+v", backs[i])
		require.Len(t, got, len(a.Values))
		for j, v := range a.Values {
			want := readPython(t, v, append([]byte(layouts[which[i]]), 's')[j])
			if x, ok := want.(float64); ok && math.IsNaN(x) {
				require.True(t, math.IsNaN(got[j].(float64)))
				continue
			}
			require.Equal(t, want, got[j], "%+v value %d", backs[i], j)
		}
	}
	require.Greater(t, packed, 1000)
	t.Logf("%d formats, %d of them packed and unpacked alike", len(questions), packed)
}

func hasNaN(values []any) bool {
	for _, v := range values {
		if x, ok := v.(float64); ok && math.IsNaN(x) {
			return true
		}
	}
	return false
}

// TestHalfFloats packs what every half float stands for back to its bits.
func TestHalfFloats(t *testing.T) {
	l, err := codec.Compile(">e")
	require.NoError(t, err)
	for half := range 1 << 16 {
		in := []byte{byte(half >> 8), byte(half)}
		v, err := l.Unpack(in)
		require.NoError(t, err)
		if x := v[0].(float64); math.IsNaN(x) {
			continue
		}
		out, err := l.Pack(v...)
		require.NoError(t, err)
		require.Equal(t, in, out)
	}
}

// TestPackTypes: every Go type for a letter gives the same bytes.
func TestPackTypes(t *testing.T) {
	type celsius int16
	for _, v := range []any{7, int8(7), int16(7), int32(7), int64(7), uint(7), uint8(7), uint16(7), uint32(7), uint64(7), celsius(7), json.Number("7")} {
		for format, wire := range map[string]string{"<h": "0700", ">Q": "0000000000000007", "<d": "0000000000001c40", "?": "01"} {
			out, err := codec.Pack(format, v)
			require.NoError(t, err, "%s %T", format, v)
			require.Equal(t, wire, hex.EncodeToString(out), "%s %T", format, v)
		}
	}
	out, err := codec.Pack("<q?4sf", json.Number("-9223372036854775808"), json.Number("0"), "ab", float32(0.5))
	require.NoError(t, err)
	require.Equal(t, "0000000000000080"+"00"+"61620000"+"0000003f", hex.EncodeToString(out))
	require.True(t, strings.HasSuffix(hex.EncodeToString(out), "3f"))
}
