package codec_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/framing"
)

// FuzzText gives any bytes to every encoding in both directions: functions and
// streams agree, what is decoded is text where it should be, and what has only one
// form comes back as it was.
func FuzzText(f *testing.F) {
	for i, name := range codec.Names() {
		text := lookup(f, name)
		for _, s := range []string{"", "a", "niño.es", "\xff\xfe\x00\xd8", "YQ==", "\x1f\x8b\x08"} {
			f.Add(uint8(i), false, []byte(s))
			if wire, err := text.Encode([]byte(s)); err == nil {
				f.Add(uint8(i), true, wire)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, replace bool, in []byte) {
		name := codec.Names()[int(which)%len(codec.Names())]
		text := lookup(t, name)
		text.Replace = replace
		text.MaxSize = 1 << 20
		isText := slices.Contains(charsets, name) || name == "idna"

		decoded, err := text.Decode(in)
		streamed, streamErr := io.ReadAll(text.NewReader(iotest.OneByteReader(bytes.NewReader(in))))
		require.Equal(t, err == nil, streamErr == nil, "%v, %v", err, streamErr)
		if err == nil {
			require.True(t, bytes.Equal(decoded, streamed))
			require.True(t, !isText || utf8.Valid(decoded))
			again, err := text.Encode(decoded)
			require.NoError(t, err)
			back, err := text.Decode(again)
			require.NoError(t, err)
			require.True(t, replace || bytes.Equal(decoded, back))
			if !replace && slices.Contains([]string{"ascii", "utf-8", "utf-16le", "utf-16be", "latin1", "windows-1252", "base64", "base64url"}, name) {
				require.True(t, bytes.Equal(in, again), "%x", again)
			}
		}

		encoded, err := text.Encode(in)
		var out bytes.Buffer
		w := text.NewWriter(&out)
		_, writeErr := io.Copy(w, iotest.OneByteReader(struct{ io.Reader }{bytes.NewReader(in)}))
		if closeErr := w.Close(); writeErr == nil {
			writeErr = closeErr
		}
		require.Equal(t, err == nil, writeErr == nil, "%v, %v", err, writeErr)
		if err == nil {
			if name != "zlib" && name != "gzip" {
				require.True(t, bytes.Equal(encoded, out.Bytes()))
			}
			back, err := text.Decode(encoded)
			require.NoError(t, err)
			if name != "idna" && !replace {
				require.True(t, bytes.Equal(in, back))
			}
		}
	})
}

// FuzzJSON: what we accept is what encoding/json accepts and no more; what is
// decoded can be encoded, and comes back the same.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\ud83d\ude00",null,true]}`, `"\ud800"`, "\"\xff\"", `[[[[`, `1e400`, ` 1 `, `"\\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c := codec.JSON{MaxDepth: 100}
		err := c.Check(in)
		if err == nil {
			require.True(t, json.Valid(in))
			require.True(t, utf8.Valid(in))
		}
		var v any
		if c.Unmarshal(in, &v) != nil {
			return
		}
		require.NoError(t, err)
		out, err := c.Marshal(v)
		require.NoError(t, err)
		var again any
		require.NoError(t, c.Unmarshal(out, &again))
		require.Equal(t, v, again)
	})
}

// FuzzMessagePack: no bytes make a decoder take memory that they do not pay for,
// and what is decoded, encoded and decoded again is the same value.
func FuzzMessagePack(f *testing.F) {
	for _, s := range []string{
		"\xc0", "\x93\x01\xa1a\xc0", "\x81\xa1a\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "\x81\x01\x02", "\xd4\x05a",
		"\xd6\xff\x00\x00\x00\x01", "\xc7\x0c\xff\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff",
		"\xdf\xff\xff\xff\xff", "\xc4\x03abc", "\xd9\x20", "\xc1", "\x81\xa1m\xd7\x05\x81\xa1x\xdd\x00\x10\x00\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c := codec.MessagePack{MaxDepth: 50}
		checked := c.Check(in)
		var v any
		got := allocated(func() {
			if err := c.Unmarshal(in, &v); checked != nil {
				require.Equal(t, checked, err)
			}
			var typed outer
			_ = c.Unmarshal(in, &typed)
			var m map[any][]any
			_ = c.Unmarshal(in, &m)
		})
		require.Less(t, got, uint64(1<<20+1000*len(in)))
		if checked != nil || v == nil || !comparableTwice(v) {
			return
		}
		out, err := c.Marshal(v)
		require.NoError(t, err)
		var again any
		require.NoError(t, c.Unmarshal(out, &again))
		require.Equal(t, v, again)
	})
}

// comparableTwice says whether a value equals itself: no NaN is in it.
func comparableTwice(v any) bool {
	switch v := v.(type) {
	case float64:
		return !math.IsNaN(v)
	case float32:
		return v == v
	case []any:
		return !slices.ContainsFunc(v, func(x any) bool { return !comparableTwice(x) })
	case map[string]any:
		for _, x := range v {
			if !comparableTwice(x) {
				return false
			}
		}
	case map[any]any:
		for k, x := range v {
			if !comparableTwice(k) || !comparableTwice(x) || reflect.TypeOf(k) != nil && reflect.TypeOf(k).Kind() == reflect.Struct {
				return false
			}
		}
	}
	return true
}

// FuzzGob: any bytes, in place of a message and inside a connection's stream of
// them, are a value or an error.
func FuzzGob(f *testing.F) {
	for _, v := range []any{student{"Ana", 1, "555"}, []student{{}}, map[string]int{"a": 1}, "text", 1, tree{Kids: []tree{{}}}} {
		b, err := codec.Gob{}.Marshal(v)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte{})
	f.Add([]byte("\xf8\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := codec.Gob{MaxSize: 64 << 10}
		for _, into := range []any{new(student), new(tree), new(map[string]int), new(string)} {
			if c.Unmarshal(in, into) == nil {
				_, err := c.Marshal(reflect.ValueOf(into).Elem().Interface())
				require.NoError(t, err)
			}
		}
		good, err := c.Marshal(student{"Ana", 1, "555"})
		require.NoError(t, err)
		s := codec.NewStream[int, student](framing.NewConn(framed(t, good, in, good), nil, nil), c)
		_, err = s.Receive(t.Context())
		require.NoError(t, err)
		failures := 0
		for _, err := range s.Messages(t.Context()) {
			if err != nil {
				failures++
			}
		}
		require.LessOrEqual(t, failures, 1)
	})
}

// FuzzLayout: any format is one or an error, what it unpacks it packs again.
func FuzzLayout(f *testing.F) {
	for _, s := range []string{"<i", ">H4s?", "@bq0l", "=3x2p", "!efd", "c 2h\tP", "99999999999i", "3", "0s0p"} {
		f.Add(s, []byte(strings.Repeat("\x01\x80", 20)))
	}
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		l, err := codec.Compile(format)
		if err != nil || l.Size() > 1<<20 {
			return
		}
		data = append(data, make([]byte, l.Size())...)[:l.Size()]
		values, err := l.Unpack(data)
		require.NoError(t, err)
		require.Len(t, values, l.Values())
		out, err := l.Pack(values...)
		require.NoError(t, err)
		require.Len(t, out, l.Size())
		again, err := l.Unpack(out)
		require.NoError(t, err)
		for i := range values {
			if x, ok := values[i].(float64); !ok || !math.IsNaN(x) {
				require.Equal(t, values[i], again[i])
			}
		}
	})
}
