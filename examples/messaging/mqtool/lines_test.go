package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseFrames(t *testing.T) {
	for line, want := range map[string][]string{
		`["hola"]`:                    {"hola"},
		` [ "a" , "" ,"ñ\u0000" ] `:   {"a", "", "ñ\x00"},
		`[{"b64":"/wA="},{"b64":""}]`: {"\xff\x00", ""},
		`[{"fill":5},{"fill":0},"x"]`: {"xxxxx", "", "x"},
	} {
		frames, op, err := parse(strings.TrimSpace(line))
		require.NoError(t, err, line)
		require.Nil(t, op)
		require.Len(t, frames, len(want))
		for i := range want {
			require.Equal(t, want[i], string(frames[i]), line)
		}
	}
}

func TestParseOperations(t *testing.T) {
	_, op, err := parse(`{"op":"recv","timeout":250}`)
	require.NoError(t, err)
	require.Equal(t, 250.0, *op.Timeout)
	_, op, err = parse(`{"op":"recv"}`)
	require.NoError(t, err)
	require.Nil(t, op.Timeout)
	_, op, err = parse(`{"op":"subscribe","topic":""}`)
	require.NoError(t, err)
	require.Empty(t, *op.Topic)
	_, op, err = parse(`{"op":"unsubscribe","topic":{"b64":"/w=="}}`)
	require.NoError(t, err)
	require.Equal(t, frame{0xff}, *op.Topic)
	_, op, err = parse(`{"op":"flood","n":3,"size":0}`)
	require.NoError(t, err)
	require.Equal(t, 3, op.N)
}

// What mqtool must refuse, whoever writes its input.
var refused = []string{
	`[]`, `[null]`, `[1]`, `["a"`, `["a"] ["b"]`, `[["a"]]`, `[{}]`, `[{"b64":"*"}]`, `[{"fill":-1}]`, `[{"fill":1073741825}]`,
	`[{"b64":"","fill":1}]`, `[{"fill":"1"}]`,
	`{}`, `{"op":1}`, `{"op":"send"}`, `{"op":"subscribe"}`, `{"op":"subscribe","topic":7}`, `{"op":"unsubscribe","topic":null}`,
	`{"op":"flood","n":-1,"size":1}`, `{"op":"flood","n":1,"size":-1}`, `{"op":"flood","n":1,"size":1073741825}`, `{"op":"stats"`,
	`hola`, `"hola"`, `7`, `null`, "[\"\xff\"]",
}

func TestParseRefuses(t *testing.T) {
	for _, line := range refused {
		_, _, err := parse(line)
		require.Error(t, err, line)
	}
}

func TestPrintedFrames(t *testing.T) {
	for _, test := range []struct {
		frames []string
		want   string
	}{
		{[]string{"hola", ""}, `["hola",""]`},
		{[]string{"\x01topic", "<&>", "ñ", "\""}, `["\u0001topic","<&>","ñ","\""]`},
		{[]string{"\xff\x00"}, `[{"b64":"/wA="}]`},
		{[]string{strings.Repeat("a", 1024)}, `["` + strings.Repeat("a", 1024) + `"]`},
		{
			[]string{strings.Repeat("x", 1025)},
			`[{"len":1025,"sha256":"c6d8e9905300876046729949cc95c2385221270d389176f7234fe7ac00c4e430"}]`,
		},
	} {
		var frames [][]byte
		for _, f := range test.frames {
			frames = append(frames, []byte(f))
		}
		line, err := plain(message(frames))
		require.NoError(t, err)
		require.Equal(t, test.want, string(line))
	}
}

// What is printed of a message that is not long can be sent again.
func FuzzParse(f *testing.F) {
	for _, line := range refused {
		f.Add(line)
	}
	f.Add(`["hola",{"b64":"/wA="},{"fill":3},""]`)
	f.Add(`{"op":"recv","timeout":250}`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "fill") && len(line) > 100 {
			return // many descriptions of long frames take memory, as they should
		}
		frames, op, err := parse(line)
		if err != nil {
			return
		}
		require.True(t, (frames == nil) != (op == nil))
		for _, frame := range frames {
			if len(frame) > longest {
				return
			}
		}
		if op == nil {
			printed, err := plain(message(frames))
			require.NoError(t, err)
			again, _, err := parse(string(printed))
			require.NoError(t, err)
			require.Equal(t, frames, again)
		}
	})
}
