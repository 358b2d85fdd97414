package main

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"text", "-text", "\xff"},
		{"text", "hola"},
		{"text", "-bytes", "0"},
		{"order", "-value", "4294967296"},
		{"order", "-value", "x"},
		{"framing", "-many", "0"},
		{"records", "-many", "0"},
		{"records", "-time", "soon"},
		{"transfer", "-rate", "1"},
		{"answer", "FILE"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
		require.Empty(t, got.Stdout)
	}
}

// row returns the words of the line that begins with name.
func row(t *testing.T, out, name string) []string {
	t.Helper()
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.Fields(rest)
		}
	}
	require.Fail(t, "no such row", "%q in %s", name, out)
	return nil
}

func TestText(t *testing.T) {
	got := clitest.Run(t, "", "text")
	require.Equal(t, 0, got.Status, got.Stderr)
	for name, size := range map[string]string{
		"ascii": "-", "utf-8": "19", "utf-16": "30", "utf-16le": "28", "utf-16be": "28", "latin1": "-", "windows-1252": "14",
		"base64": "28", "base64url": "28", "base64-mime": "29", "idna": "-",
	} {
		require.Equal(t, size, row(t, got.Stdout, name)[0], name)
	}
	for _, name := range codec.Names() {
		row(t, got.Stdout, name)
	}
	require.Contains(t, got.Stdout, "len(s) is 19, the bytes; utf8.RuneCountInString(s) is 14; []rune(s)[0] is '¡', U+00A1, bytes: 2.")

	for _, text := range []string{"", "Señor.EXAMPLE", "日本", "a\tb", strings.Repeat("ñ", 1000)} {
		got := clitest.Run(t, "", "text", "-text", text)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, fmt.Sprint(len(text)), row(t, got.Stdout, "utf-8")[0])
	}
	got = clitest.Run(t, "", "text", "-text", "Señor.EXAMPLE")
	require.Contains(t, got.Stdout, `"xn--seor-hqa.example"  and back it is "señor.example"`)
}

func TestOrder(t *testing.T) {
	got := clitest.Run(t, "", "order")
	require.Equal(t, 0, got.Status, got.Stderr)
	for format, want := range map[string]string{
		">i": "00 00 10 9d", "!i": "00 00 10 9d", "<i": "9d 10 00 00", "@i": "9d 10 00 00", ">h": "10 9d",
		">q": "00 00 00 00 00 00 10 9d", ">d": "40 b0 9d 00 00 00 00 00", ">bi": "07 00 00 10 9d", "@bi": "07 00 00 00 9d 10 00 00",
	} {
		require.True(t, strings.HasPrefix(strings.Join(row(t, got.Stdout, format), " "), want), "%s in %s", format, got.Stdout)
	}
	require.Contains(t, got.Stdout, "Read in the wrong order, 00 00 10 9d is -1659895808.")
	require.Contains(t, got.Stdout, "4253 does not fit 8 bits")
	require.Contains(t, got.Stdout, "back it is 4252: too few bits")
	switch runtime.GOARCH {
	case "amd64", "386", "arm64":
		require.Contains(t, got.Stdout, "This computer is little-endian")
	case "s390x":
		require.Contains(t, got.Stdout, "This computer is big-endian")
	}
	got = clitest.Run(t, "", "order", "-value", "-1")
	require.Equal(t, "ff ff ff ff", strings.Join(row(t, got.Stdout, "<i")[:4], " "))
}

func TestFraming(t *testing.T) {
	got := clitest.Run(t, "", "framing")
	require.Equal(t, 0, got.Status, got.Stderr)
	parts := strings.Split(got.Stdout, "\n\n")
	require.Len(t, parts, 3)
	for name, want := range map[string]struct {
		size, loss string
		awkward    string
	}{
		"to the end of the stream": {"21", `not noticed: "adió"`, "9 bytes 6 bytes 5 bytes 23 bytes"},
		"fixed length, 16 bytes":   {"64", "noticed", `16 bytes 16 bytes wrong: "zero" refused`},
		"delimiter, a line feed":   {"25", "noticed", "refused 7 bytes 6 bytes 24 bytes"},
		`delimiter, quoted by \`:   {"25", "noticed", "11 bytes 8 bytes 6 bytes 24 bytes"},
		"length first, 4 bytes":    {"37", "noticed", "13 bytes 10 bytes 9 bytes 27 bytes"},
		"length first, 2 bytes":    {"29", "noticed", "11 bytes 8 bytes 7 bytes 25 bytes"},
		"length first, base 128":   {"25", "noticed", "10 bytes 7 bytes 6 bytes 24 bytes"},
	} {
		first := row(t, parts[0], name)
		require.Equal(t, want.size, first[0], name)
		require.True(t, strings.HasPrefix(strings.Join(first[1:], " "), want.loss), "%s: %v", name, first)
		require.Equal(t, want.awkward, strings.Join(row(t, parts[1], name), " "), name)
	}
	require.Equal(t, "16390", row(t, parts[2], "length first, 4 bytes")[0])
	require.Equal(t, "16000", row(t, parts[2], "fixed length, 16 bytes")[0])
	got = clitest.Run(t, "", "framing", "-many", "100000") // with the longest messages, which just fit
	require.Equal(t, 0, got.Status, got.Stderr)
}

func TestPrefixes(t *testing.T) {
	got := clitest.Run(t, "", "prefixes")
	require.Equal(t, 0, got.Status, got.Stderr)
	for name, verdict := range map[string]string{
		"gob, a student": "knows its end", "gob, a number": "knows its end",
		"MessagePack, a student": "knows its end", "MessagePack, a number": "knows its end",
		"JSON, a student": "knows its end", "JSON, a number": "needs framing", "struct >IdB": "knows its end",
		"utf-8, a text": "needs framing", "utf-16be, a text": "needs framing", "base64, a text": "needs framing", "zlib, a text": "knows its end",
	} {
		require.True(t, strings.HasSuffix(strings.Join(row(t, got.Stdout, name), " "), verdict), "%s in %s", name, got.Stdout)
	}
}

func TestRecords(t *testing.T) {
	got := clitest.Run(t, "", "records", "-time", "1ms", "-many", "500")
	require.Equal(t, 0, got.Status, got.Stderr)
	size := func(name string) (n int) {
		_, err := fmt.Sscan(row(t, got.Stdout, name)[0], &n)
		require.NoError(t, err)
		return n
	}
	require.Greater(t, size("json"), size("msgpack"))
	require.Greater(t, size("msgpack"), size("gob"))
	require.Greater(t, size("gob"), size("by hand, binary"))
}

// Every notation gives back what it was given, and no damaged one makes it fail
// otherwise than by an error.
func TestNotations(t *testing.T) {
	students := append(class(20), student{Name: "", Grade: math.MaxFloat64}, student{Name: "a,\"b\nñ", Phones: []int64{-1}})
	for _, n := range notations() {
		data, err := n.encode(students)
		require.NoError(t, err, n.name)
		back, err := n.decode(data)
		require.NoError(t, err, n.name)
		require.True(t, same(students, back), n.name)
		for cut := range data {
			if got, err := n.decode(data[:cut]); err == nil {
				require.False(t, same(students, got) && n.name != "CSV", "%s cut at %d", n.name, cut)
			}
		}
	}
	_, err := toBinary([]student{{Name: strings.Repeat("x", 1<<16)}})
	require.Error(t, err)
	_, err = toBinary([]student{{Phones: make([]int64, 256)}})
	require.Error(t, err)
}

func FuzzFromBinary(f *testing.F) {
	data, _ := toBinary(class(2))
	f.Add(data)
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := fromBinary(data)
		if err != nil {
			return
		}
		again, err := toBinary(list)
		require.NoError(t, err)
		back, err := fromBinary(again)
		require.NoError(t, err)
		require.Len(t, back, len(list))
	})
}

// Each row shows the bytes sent, and that the link took no less time than it must.
func TestTransfer(t *testing.T) {
	got := clitest.Run(t, "", "transfer", "-many", "300", "-rate", "200000")
	require.Equal(t, 0, got.Status, got.Stderr)
	slow, fast, _ := strings.Cut(got.Stdout, "\n\n")
	sizes := map[string]float64{}
	for _, name := range []string{"json", "json, zlib", "msgpack", "msgpack, zlib"} {
		words := row(t, slow, name) // the bytes, and then pairs of number and "ms"
		var size, link float64
		_, err := fmt.Sscan(words[0]+" "+words[5], &size, &link)
		require.NoError(t, err)
		require.GreaterOrEqual(t, link, size/200-1, "%s: %v", name, words)
		sizes[name] = size
		row(t, fast, name)
	}
	require.Less(t, sizes["msgpack"], sizes["json"])
	require.Less(t, sizes["json, zlib"], sizes["msgpack"]/2)
	require.Contains(t, fast, "a system call for each  ")
}

func TestBottleneck(t *testing.T) {
	require.Equal(t, "the link", times{encode: 2, link: 3}.bottleneck())
	require.Equal(t, "decoding", times{encode: 2, link: 3, decode: 4}.bottleneck())
	require.Equal(t, "compressing", times{squeeze: 5, link: 3, unsqueeze: 4}.bottleneck())
}

// What would take minutes ends when it is told to.
func TestInterrupted(t *testing.T) {
	for _, args := range [][]string{
		{"transfer", "-rate", "1000", "-many", "10000"},
		{"records", "-time", "1m"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		var out, errs bytes.Buffer
		start := time.Now()
		require.Equal(t, 130, run(ctx, args, strings.NewReader(""), &out, &errs), "%v: %s", args, errs.String())
		cancel()
		require.Less(t, time.Since(start), clitest.Limit)
		require.Equal(t, "codecs: interrupted\n", errs.String())
		require.Empty(t, out.String())
	}
	// A question that never ends keeps the tool no longer than its user wants.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	never, end := io.Pipe()
	defer end.Close() // and with it the goroutine that reads
	require.Equal(t, 130, run(ctx, []string{"answer"}, never, io.Discard, io.Discard))
}

// ask answers questions, one a line.
func ask(t *testing.T, questions ...string) []string {
	t.Helper()
	got := clitest.Run(t, strings.Join(questions, "\n")+"\n", "answer")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Empty(t, got.Stderr)
	lines := strings.Split(strings.TrimSuffix(got.Stdout, "\n"), "\n")
	require.Len(t, lines, len(questions))
	return lines
}

// The contract's own examples, byte for byte, and one of each kind.
func TestAnswers(t *testing.T) {
	tests := [][2]string{
		{`{"codec":"latin1","op":"encode","in":"caf\u00e9"}`, `{"out":"636166e9"}`},
		{`{"codec":"struct","op":"encode","format":"<i","in":[4253]}`, `{"out":"9d100000"}`},
		{`{"codec":"struct","op":"decode","format":"<i","in":"9d100000"}`, `{"out":"[4253]"}`},
		{`{"codec":"ascii","op":"encode","in":"<&>"}`, `{"out":"3c263e"}`},
		{`{"codec":"ascii","op":"decode","in":"3c263e22"}`, `{"out":"<&>\""}`},
		{`{"codec":"utf-8","op":"decode","in":"C3B1"}`, `{"out":"ñ"}`},
		{`{"codec":"utf-8","op":"encode","in":""}`, `{"out":""}`},
		{`{"codec":"utf-16","op":"encode","in":"ñ"}`, `{"out":"fffef100"}`},
		{`{"codec":"utf-16","op":"decode","in":"feff00f1"}`, `{"out":"ñ"}`},
		{`{"codec":"utf-16le","op":"encode","in":"🙂"}`, `{"out":"3dd842de"}`},
		{`{"codec":"utf-16be","op":"decode","in":"d83dde42"}`, `{"out":"🙂"}`},
		{`{"codec":"windows-1252","op":"encode","in":"5 €"}`, `{"out":"352080"}`},
		{`{"codec":"base64","op":"encode","in":"fffe"}`, `{"out":"//4="}`},
		{`{"codec":"base64","op":"decode","in":"//4="}`, `{"out":"fffe"}`},
		{`{"codec":"base64url","op":"encode","in":"fffe"}`, `{"out":"__4="}`},
		{`{"codec":"base64-mime","op":"encode","in":"` + strings.Repeat("00", 58) + `"}`, `{"out":"` + strings.Repeat("A", 76) + `\nAA==\n"}`},
		{`{"codec":"base64-mime","op":"decode","in":"` + strings.Repeat("A", 76) + `\nAA==\n"}`, `{"out":"` + strings.Repeat("00", 58) + `"}`},
		{`{"codec":"idna","op":"encode","in":"Niño.example"}`, `{"out":"xn--nio-8ma.example"}`},
		{`{"codec":"idna","op":"decode","in":"xn--nio-8ma.example"}`, `{"out":"niño.example"}`},
		{`{"codec":"zlib","op":"decode","in":"789ccbc8cf490400042a01a5"}`, `{"out":"686f6c61"}`},
		{`{"codec":"zlib","op":"bomb","limit":4,"in":"789ccbc8cf490400042a01a5"}`, `{"out":"686f6c61"}`},
		{`{"codec":"zlib","op":"bomb","limit":0,"in":"789c030000000001"}`, `{"out":""}`},
		{`{"codec":"zlib","op":"bomb","limit":9223372036854775807,"in":"789c030000000001"}`, `{"out":""}`},
		{`{"codec":"gzip","op":"decode","in":""}`, `{"out":""}`},
		{`{"codec":"struct","op":"encode","format":">Hs?d","in":[65535,"ff",true,0.5]}`, `{"out":"ffffff013fe0000000000000"}`},
		{`{"codec":"struct","op":"encode","format":"2s","in":[{"$hex":"ff"}]}`, `{"out":"ff00"}`},
		{`{"codec":"struct","op":"decode","format":">qQ2s?e","in":"80000000000000007fffffffffffffff00ff013c00"}`, `{"out":"[-9223372036854775808,9223372036854775807,\"00ff\",true,1.0]"}`},
		{`{"codec":"struct","op":"decode","format":"<dddd","in":"000000000000f07f00000000000000800000000084d7d741cdccccccccccf43f"}`, `{"out":"[Infinity,-0.0,1600000000.0,1.3]"}`},
		{`{"codec":"struct","op":"encode","format":"","in":[]}`, `{"out":""}`},
		{`{"codec":"json","op":"accept","in":"5b312c325d"}`, `{"out":"true"}`},
		{`{"codec":"json","op":"accept","in":"{\"a\":[1,2.5e3,null]}"}`, `{"out":"true"}`},
		{`{"codec":"msgpack","op":"decode","in":"93c0c3ff"}`, `{"value":[null,true,-1]}`},
		{`{"codec":"msgpack","op":"decode","in":"82a161c403ff00aaa1620a"}`, `{"value":{"a":{"$hex":"ff00aa"},"b":10}}`},
		{`{"codec":"msgpack","op":"decode","in":"d6ff00000001"}`, `{"value":{"$time":[1,0]}}`},
		{`{"codec":"msgpack","op":"decode","in":"c70cff3b9ac9ffffffffffffffffff"}`, `{"value":{"$time":[-1,999999999]}}`},
		{`{"codec":"msgpack","op":"decode","in":"d4077f"}`, `{"value":{"$ext":[7,"7f"]}}`},
		{`{"codec":"msgpack","op":"decode","in":"81010a"}`, `{"value":{"1":10}}`},
		{`{"codec":"msgpack","op":"decode","in":"82c301c20a"}`, `{"value":{"false":10,"true":1}}`},
		{`{"codec":"msgpack","op":"decode","in":"cfffffffffffffffff"}`, `{"value":18446744073709551615}`},
		{`{"codec":"msgpack","op":"decode","in":"ca3fc00000"}`, `{"value":1.5}`},
		{`{"codec":"msgpack","op":"decode","in":"cb3ff0000000000000"}`, `{"value":1.0}`},
		{`{"codec":"msgpack","op":"decode","in":"ca7f800000"}`, `{"value":{"$float":"Infinity"}}`},
		{`{"codec":"msgpack","op":"decode","in":"a23c3e"}`, `{"value":"<>"}`},
	}
	var questions []string
	for _, test := range tests {
		questions = append(questions, test[0])
	}
	for i, reply := range ask(t, questions...) {
		require.Equal(t, tests[i][1], reply, tests[i][0])
	}
}

func TestAnswerErrors(t *testing.T) {
	tests := [][2]string{
		{``, "no question"},
		{`hola`, "no question"},
		{`[]`, "no question"},
		{`null`, `no "in"`},
		{`{}`, `no "in"`},
		{`{"codec":"utf-8","op":"encode"}`, `no "in"`},
		{`{"codec":"utf-8","op":"encode","in":null}`, `no "in"`},
		{`{"codec":"utf-8","op":"encode","in":7}`, `"in" is no string`},
		{`{"codec":"utf-8","op":"encode","in":"x"} {}`, "no question"},
		{"{\"codec\":\"utf-8\",\"op\":\"encode\",\"in\":\"\xff\"}", "not UTF-8"},
		{`{"codec":"utf-8","op":"encode","in":"\ud800"}`, "half a surrogate pair"},
		{`{"codec":7,"op":"encode","in":"x"}`, "no question"},
		{`{"codec":"klingon","op":"encode","in":"x"}`, `unknown encoding "klingon"`},
		{`{"op":"encode","in":"x"}`, `unknown encoding ""`},
		{`{"codec":"utf-8","op":"translate","in":"x"}`, `no operation "translate" for utf-8`},
		{`{"codec":"utf-8","in":"x"}`, "no operation"},
		{`{"codec":"utf-8","op":"bomb","limit":1,"in":"61"}`, "no operation"},
		{`{"codec":"zlib","op":"encode","in":"61"}`, `no operation "encode" for zlib`},
		{`{"codec":"zlib","op":"bomb","in":"789c030000000001"}`, `no "limit"`},
		{`{"codec":"zlib","op":"bomb","limit":-1,"in":"789c030000000001"}`, "a limit of -1"},
		{`{"codec":"zlib","op":"bomb","limit":1.5,"in":"789c030000000001"}`, "no question"},
		{`{"codec":"zlib","op":"bomb","limit":3,"in":"789ccbc8cf490400042a01a5"}`, "more than"},
		{`{"codec":"zlib","op":"bomb","limit":0,"in":"789c4b040000620062"}`, ""},
		{`{"codec":"zlib","op":"decode","in":"789ccbc8cf49"}`, "too early"},
		{`{"codec":"zlib","op":"decode","in":"789ccbc8cf490400042a01a500"}`, "more after the end"},
		{`{"codec":"utf-8","op":"decode","in":"c0af"}`, "byte 0: "},
		{`{"codec":"utf-8","op":"decode","in":"c3"}`, "byte 0: "},
		{`{"codec":"utf-8","op":"decode","in":"xy"}`, "no bytes in hexadecimal"},
		{`{"codec":"utf-8","op":"decode","in":"616"}`, "no bytes in hexadecimal"},
		{`{"codec":"latin1","op":"encode","in":"€"}`, "it has no '€'"},
		{`{"codec":"windows-1252","op":"decode","in":"81"}`, "0x81 has no character"},
		{`{"codec":"utf-16le","op":"decode","in":"00d8"}`, "byte 0: "},
		{`{"codec":"utf-16le","op":"decode","in":"610000"}`, "byte 2: "},
		{`{"codec":"base64","op":"decode","in":"//5="}`, ""},
		{`{"codec":"base64","op":"decode","in":"//4=\n"}`, ""},
		{`{"codec":"idna","op":"encode","in":"` + strings.Repeat("a", 64) + `"}`, "more than 63"},
		{`{"codec":"idna","op":"encode","in":"a b"}`, ""},
		{`{"codec":"struct","op":"encode","in":[1]}`, `no "format"`},
		{`{"codec":"struct","op":"encode","format":"<y","in":[1]}`, "byte 1: 'y' is no letter of a format"},
		{`{"codec":"struct","op":"encode","format":"<i","in":"1"}`, `"in" is no array`},
		{`{"codec":"struct","op":"encode","format":"<i","in":[2147483648]}`, "does not fit"},
		{`{"codec":"struct","op":"encode","format":"<i","in":[1.0]}`, "no integer"},
		{`{"codec":"struct","op":"encode","format":"<i","in":[1,2]}`, "2 values for a format of 1"},
		{`{"codec":"struct","op":"encode","format":"<i","in":[null]}`, "value 0"},
		{`{"codec":"struct","op":"encode","format":"<d","in":[{"a":1}]}`, "value 0"},
		{`{"codec":"struct","op":"encode","format":"<d","in":[[]]}`, "value 0"},
		{`{"codec":"struct","op":"encode","format":"2s","in":["no hex"]}`, "value 0: no bytes in hexadecimal"},
		{`{"codec":"struct","op":"encode","format":"99999999999999x","in":[]}`, "more than"},
		{`{"codec":"struct","op":"encode","format":"60000000x","in":[]}`, "a struct of 60000000 bytes, more than 16777216"},
		{`{"codec":"struct","op":"decode","format":"<i","in":"00"}`, "1 bytes for a format of 4"},
		{`{"codec":"struct","op":"accept","format":"<i","in":"00"}`, "no operation"},
		{`{"codec":"json","op":"accept","in":"5b312c5d"}`, "byte 3: "},
		{`{"codec":"json","op":"accept","in":"22ff22"}`, "byte 1: the text is not UTF-8"},
		{`{"codec":"json","op":"accept","in":"[1,]"}`, "byte 3: "},
		{`{"codec":"json","op":"accept","in":""}`, ""},
		{`{"codec":"json","op":"accept","in":[1]}`, `"in" is no string`},
		{`{"codec":"json","op":"decode","in":"31"}`, "no operation"},
		{`{"codec":"msgpack","op":"decode","in":"c1"}`, "0xC1 is never used"},
		{`{"codec":"msgpack","op":"decode","in":"ddffffffff"}`, ""},
		{`{"codec":"msgpack","op":"decode","in":"c0c0"}`, "more after the value"},
		{`{"codec":"msgpack","op":"decode","in":"` + strings.Repeat("91", 5000) + `c0"}`, "nested more than 1000 deep"},
		{`{"codec":"msgpack","op":"decode","in":"8201c0a131c0"}`, `two keys of a map are "1" in JSON`},
		{`{"codec":"msgpack","op":"decode","in":"8190c0"}`, ""},
		{`{"codec":"msgpack","op":"encode","in":[1]}`, "no operation"},
	}
	var questions []string
	for _, test := range tests {
		questions = append(questions, test[0])
	}
	for i, reply := range ask(t, questions...) {
		var got map[string]string
		require.NoError(t, json.Unmarshal([]byte(reply), &got), reply)
		require.Len(t, got, 1, reply)
		require.NotEmpty(t, got["error"], "%s: %s", tests[i][0], reply)
		require.Contains(t, got["error"], tests[i][1], tests[i][0])
	}
}

// Each answer comes before the next question is asked.
func TestAnswersAtOnce(t *testing.T) {
	cmd := clitest.Command(t, "answer")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	for i := range 100 {
		_, err := fmt.Fprintf(in, `{"codec":"ascii","op":"encode","in":"%c"}`+"\r\n", 'a'+i%26)
		require.NoError(t, err)
		got, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf(`{"out":"%x"}`+"\n", 'a'+i%26), got)
	}
	// A last line without an end is a question as well.
	_, err = io.WriteString(in, `{"codec":"ascii","op":"encode","in":"z"}`)
	require.NoError(t, err)
	require.NoError(t, in.Close())
	got, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.Equal(t, `{"out":"7a"}`+"\n", string(got))
	require.NoError(t, cmd.Wait())

	require.Empty(t, clitest.Run(t, "", "answer").Stdout, "no question, no answer")
}

// A question that is too long is refused, without memory for it, and the next
// is answered.
func TestLongQuestion(t *testing.T) {
	const good = `{"codec":"ascii","op":"encode","in":"z"}`
	long := strings.Repeat("x", maxLine+1)
	got := clitest.Run(t, long+"\n"+good+"\n"+long, "answer")
	require.Equal(t, 0, got.Status, got.Stderr)
	const refused = `{"error":"the question has more than 16777216 bytes"}` + "\n"
	require.Equal(t, refused+`{"out":"7a"}`+"\n"+refused, got.Stdout)
	// The longest that is answered.
	in := `{"codec":"ascii","op":"decode","in":""}`
	full := strings.Replace(in, `""`, `"`+strings.Repeat("61", (maxLine-len(in))/2)+`"`, 1)
	got = clitest.Run(t, full+"\n", "answer")
	require.Equal(t, len(`{"out":""}`)+(maxLine-len(in))/2+1, len(got.Stdout))
}

// A small question whose answer would be large gets none.
func TestBomb(t *testing.T) {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 17<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	bomb := hex.EncodeToString(b.Bytes())
	for _, reply := range ask(t,
		`{"codec":"zlib","op":"bomb","limit":1048576,"in":"`+bomb+`"}`,
		`{"codec":"zlib","op":"decode","in":"`+bomb+`"}`,
	) {
		require.Contains(t, reply, `"error"`)
		require.Contains(t, reply, "more than")
	}
}

// CPython makes questions and says what it would answer itself: a line with the
// question and one with its own answer, null for an exception.
const pythonJudge = `
import gzip, json, random, struct, sys, zlib
seed = int(sys.argv[1])
rng = random.Random(seed)

def put(question, answer):
    print(json.dumps(question))
    print(json.dumps(answer))

def attempt(f):
    try:
        return f()
    except (UnicodeError, struct.error, zlib.error, EOFError, OSError, OverflowError, ValueError, TypeError):
        return None

charsets = ["ascii", "utf-8", "utf-16", "utf-16le", "utf-16be", "latin1", "windows-1252"]
pools = ["abc \n", "".join(map(chr, range(0x80, 0x100))), "€“”—…šŽ", "ελληνικά привет", "日本語", "🙂𐐨\U0010ffff", "\ufeff\ufffe\u0000\ud7ff\ue000"]
pieces = [b"a", b"\x80", b"\xbf", b"\xc0\xaf", b"\xc3\xb1", b"\xe0\x80\x80", b"\xe2\x82\xac", b"\xed\xa0\x80", b"\xed\x9f\xbf",
    b"\xf0\x9f\x99\x82", b"\xf4\x90\x80\x80", b"\xf5", b"\xff\xfe", b"\xfe\xff", b"\x00\xd8", b"\xd8\x00", b"\x3d\xd8\x42\xde", b"\x81", b"\x9d"]
for name in charsets:
    for c in range(256):
        data = bytes([c])
        put({"codec": name, "op": "decode", "in": data.hex()}, attempt(lambda: data.decode(name)))
    for _ in range(120):
        text = "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randrange(8)))
        put({"codec": name, "op": "encode", "in": text}, attempt(lambda: text.encode(name).hex()))
        data = b"".join(rng.choice(pieces) for _ in range(rng.randrange(6)))
        put({"codec": name, "op": "decode", "in": data.hex()}, attempt(lambda: data.decode(name)))

def damage(data):
    data = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(data)
    if kind == 1:
        return bytes(data[:rng.randrange(len(data) + 1)])
    if kind == 2 and data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)
    return bytes(data) + bytes(rng.randrange(256) for _ in range(rng.randrange(3)))

def inflate(data): # zlib.decompress itself ignores what follows the stream
    d = zlib.decompressobj()
    out = d.decompress(data) + d.flush()
    if not d.eof or d.unused_data:
        raise ValueError
    return out

for _ in range(300):
    plain = bytes(rng.choice(b"abcd") for _ in range(rng.randrange(60)))
    for name, pack, unpack in [("zlib", zlib.compress, inflate), ("gzip", gzip.compress, gzip.decompress)]:
        data = damage(pack(plain, rng.randrange(10)))
        put({"codec": name, "op": "decode", "in": data.hex()}, attempt(lambda: unpack(data).hex()))

def value(letter):
    if letter in "efd":
        return rng.choice([0, 1.5, -0.0, 65504.0, 65520.0, 1e38, 3.5e38, 1e300, -1, 7, 0.1, 2**70, 1e-8, 5.960464477539063e-08])
    if letter == "?":
        return rng.choice([True, False, 0, 7, 0.0, None, 1.5])
    if letter in "csp":
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 1, 1, 2, 5])))
    bits = rng.choice([3, 7, 8, 15, 16, 31, 32, 63, 64, 65])
    return rng.choice([1, -1]) * rng.getrandbits(bits) + rng.choice([0, 0, -1]) if rng.random() < 0.95 else rng.choice([True, 1.0])

def shown(v):
    return v.hex() if isinstance(v, bytes) else v

for _ in range(3000):
    letters = "".join(rng.choice(["", "", "", "2", "0", "3", " ", "11"]) + rng.choice("xcbB?hHiIlLqQnNefdspP") for _ in range(rng.randrange(4)))
    if rng.random() < 0.03:
        letters += rng.choice("yz7*Z")
    letters = letters.replace("0p", "1p") # at which CPython 3.11 fails with a SystemError
    form = rng.choice(["<", ">", "!", "=", "@", ""]) + letters
    values, count = [], ""
    for c in letters:
        if c.isdigit():
            count += c
        elif c not in " ":
            values += [value(c) for _ in range(0 if c == "x" else 1 if c in "sp" else int(count or 1))]
            count = ""
    if rng.random() < 0.03:
        values = values[1:] + [1, 2]
    packed = attempt(lambda: struct.pack(form, *values))
    if not any(isinstance(v, bytes) and len(letters) and "?" in letters for v in values):
        put({"codec": "struct", "op": "encode", "format": form, "in": [shown(v) for v in values]}, packed and packed.hex() if packed else "" if packed == b"" else None)
    size = attempt(lambda: struct.calcsize(form))
    data = bytes(rng.randrange(256) for _ in range((size or 0) + rng.choice([0] * 20 + [1])))
    got = attempt(lambda: struct.unpack(form, data))
    if got is None or all(v == v for v in got): # a NaN is not equal to itself
        put({"codec": "struct", "op": "decode", "format": form, "in": data.hex()}, None if got is None else json.dumps([shown(v) for v in got], separators=(",", ":")))
`

func TestCPythonIsTheJudge(t *testing.T) {
	python := interop.Python(t)
	version, err := exec.CommandContext(t.Context(), python, "-c", "import sys; print(sys.byteorder, sys.maxsize > 2**32, sys.platform)").Output()
	require.NoError(t, err)
	if got := strings.TrimSpace(string(version)); got != "little True linux" {
		t.Skipf("this Python's native layout is another: %s", got)
	}
	for _, seed := range []string{"1", "2", "3"} {
		var problems strings.Builder
		cmd := exec.CommandContext(t.Context(), python, "-c", pythonJudge, seed)
		cmd.Stderr = &problems
		out, err := cmd.Output()
		require.NoError(t, err, problems.String())
		lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		require.Greater(t, len(lines), 10_000)
		var questions, want []string
		for i := 0; i < len(lines); i += 2 {
			questions, want = append(questions, lines[i]), append(want, lines[i+1])
		}
		valid := 0
		for i, reply := range ask(t, questions...) {
			var got map[string]*string
			require.NoError(t, json.Unmarshal([]byte(reply), &got), reply)
			var expected *string
			require.NoError(t, json.Unmarshal([]byte(want[i]), &expected))
			if expected == nil {
				require.NotNil(t, got["error"], "seed %s, %s: CPython raises an exception, ours is %s", seed, questions[i], reply)
				continue
			}
			valid++
			require.NotNil(t, got["out"], "seed %s, %s: CPython says %s, ours is %s", seed, questions[i], want[i], reply)
			require.Equal(t, *expected, *got["out"], "seed %s, %s", seed, questions[i])
		}
		t.Logf("seed %s: %d questions, %d of them valid", seed, len(questions), valid)
		require.Greater(t, valid, len(questions)/3)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"codec":"latin1","op":"encode","in":"caf\u00e9"}`))
	f.Add([]byte(`{"codec":"struct","op":"encode","format":"<i2s?d","in":[4253,"ff",true,0.5]}`))
	f.Add([]byte(`{"codec":"struct","op":"decode","format":"@bn","in":"00000000000000000000000000000000"}`))
	f.Add([]byte(`{"codec":"zlib","op":"bomb","limit":4,"in":"789ccbc8cf490400042a01a5"}`))
	f.Add([]byte(`{"codec":"msgpack","op":"decode","in":"82a161c403ff00aa01d6ff00000001"}`))
	f.Add([]byte(`{"codec":"json","op":"accept","in":"5b5d"}`))
	f.Add([]byte(`{"codec":"idna","op":"decode","in":"xn--nio-8ma"}`))
	f.Add([]byte(`{"codec":"base64-mime","op":"decode","in":"AA==\n"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, line []byte) {
		reply := answer(line)
		require.True(t, json.Valid(reply), "%q", reply)
		require.NotContains(t, string(reply), "\n")
		var got map[string]any
		require.NoError(t, json.Unmarshal(reply, &got))
		require.Len(t, got, 1)
	})
}
