package codec_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
)

var charsets = []string{"ascii", "utf-8", "utf-16", "utf-16le", "utf-16be", "latin1", "windows-1252"}

func lookup(t testing.TB, name string) codec.Text {
	t.Helper()
	text, err := codec.Lookup(name)
	require.NoError(t, err)
	return text
}

// TestGolden pins the bytes of one text in every encoding.
func TestGolden(t *testing.T) {
	for _, c := range []struct{ name, text, wire string }{
		{"ascii", "caf", "636166"},
		{"utf-8", "café €", "636166c3a920e282ac"},
		{"utf-16", "é𝄞", "fffee90034d81edd"},
		{"utf-16le", "é𝄞", "e90034d81edd"},
		{"utf-16be", "é𝄞", "00e9d834dd1e"},
		{"latin1", "café", "636166e9"},
		{"windows-1252", "café €", "636166e92080"},
		{"base64", "any carnal pleas", hex.EncodeToString([]byte("YW55IGNhcm5hbCBwbGVhcw=="))},
		{"base64url", "\xfb\xff\xfe", hex.EncodeToString([]byte("-__-"))},
		{"base64-mime", strings.Repeat("x", 58), hex.EncodeToString([]byte(strings.Repeat("eHh4", 19) + "\neA==\n"))},
		{"idna", "Niño.ES", hex.EncodeToString([]byte("xn--nio-8ma.es"))},
	} {
		text := lookup(t, c.name)
		require.Equal(t, c.name, text.Name())
		wire, err := text.Encode([]byte(c.text))
		require.NoError(t, err, c.name)
		require.Equal(t, c.wire, hex.EncodeToString(wire), c.name)
		back, err := text.Decode(wire)
		require.NoError(t, err, c.name)
		if c.name == "idna" {
			c.text = "niño.es"
		}
		require.Equal(t, c.text, string(back), c.name)
	}
}

func TestLookup(t *testing.T) {
	for _, name := range codec.Names() {
		require.Equal(t, name, lookup(t, name).Name())
		require.Equal(t, name, lookup(t, strings.ToUpper(name)).Name())
	}
	for alias, name := range map[string]string{
		"ISO-8859-1": "latin1", "iso8859_1": "latin1", "cp1252": "windows-1252", "Windows1252": "windows-1252",
		"US-ASCII": "ascii", "utf8": "utf-8", "UTF_16": "utf-16", "utf-16-le": "utf-16le", "zip": "zlib", "gz": "gzip",
	} {
		require.Equal(t, name, lookup(t, alias).Name())
	}
	_, err := codec.Lookup("ebcdic")
	require.ErrorIs(t, err, codec.ErrUnknown)
	_, err = codec.Lookup(strings.Repeat("x", 1<<20))
	require.ErrorIs(t, err, codec.ErrUnknown)
	require.Less(t, len(err.Error()), 200)
	_, err = codec.LookupCodec("ebcdic")
	require.ErrorIs(t, err, codec.ErrUnknown)
	for _, name := range []string{"json", "msgpack", "gob"} {
		c, err := codec.LookupCodec(strings.ToUpper(name))
		require.NoError(t, err)
		require.Equal(t, name, c.Name())
	}
	require.Equal(t, "utf-8", codec.Text{}.Name())
}

// TestSilentGuess: what other decoders let pass or guess at is an error here,
// with its place, and a replacement only for who asks.
func TestSilentGuess(t *testing.T) {
	for _, c := range []struct {
		codec, wire string
		offset      int64
		kind        error
		replaced    string // "" where there is no replacing
	}{
		{"utf-8", "61c0af", 1, codec.ErrMalformed, "a��"},
		{"utf-8", "61eda080", 1, codec.ErrMalformed, "a���"},
		{"utf-8", "61e282", 1, io.ErrUnexpectedEOF, "a�"},
		{"utf-8", "f4908080", 0, codec.ErrMalformed, "����"},
		{"ascii", "6180", 1, codec.ErrMalformed, "a�"},
		{"windows-1252", "6181", 1, codec.ErrMalformed, "a�"},
		{"utf-16le", "610000d8", 2, io.ErrUnexpectedEOF, "a�"},
		{"utf-16le", "00d86100", 0, codec.ErrMalformed, "�a"},
		{"utf-16be", "dc000061", 0, codec.ErrMalformed, "�a"},
		{"utf-16", "fffe61", 2, io.ErrUnexpectedEOF, "�"},
		{"base64", hex.EncodeToString([]byte("YQ=\n=")), 3, codec.ErrMalformed, ""},
		{"base64", hex.EncodeToString([]byte("YWFhYWFh\nYQ==")), 8, codec.ErrMalformed, ""},
		{"base64", hex.EncodeToString([]byte("YR==")), 2, codec.ErrMalformed, ""},
		{"base64", hex.EncodeToString([]byte("YWFhYQ")), 6, io.ErrUnexpectedEOF, ""},
		{"base64", hex.EncodeToString([]byte("YQ==YQ==")), 4, codec.ErrMalformed, ""},
		{"base64", hex.EncodeToString([]byte("YW-_")), 2, codec.ErrMalformed, ""},
		{"base64url", hex.EncodeToString([]byte("YW+/")), 2, codec.ErrMalformed, ""},
		{"base64-mime", hex.EncodeToString([]byte("YQ==\rYQ==")), 5, codec.ErrMalformed, ""},
		{"base64-mime", hex.EncodeToString([]byte("YWFh YWFh")), 4, codec.ErrMalformed, ""},
		{"base64-mime", hex.EncodeToString([]byte(strings.Repeat("YWFh", 20))), 76, codec.ErrMalformed, ""},
		{"idna", hex.EncodeToString([]byte("a.xn--a.b")), 2, codec.ErrMalformed, ""},
		{"idna", hex.EncodeToString([]byte("a." + strings.Repeat("b", 64))), 2, codec.ErrMalformed, ""},
		{"idna", hex.EncodeToString([]byte("a..b")), 2, codec.ErrMalformed, ""},
		{"idna", hex.EncodeToString([]byte("a.b_c")), 2, codec.ErrMalformed, ""},
	} {
		wire, _ := hex.DecodeString(c.wire)
		text := lookup(t, c.codec)
		_, err := text.Decode(wire)
		require.ErrorIs(t, err, c.kind, "%s of %q", c.codec, wire)
		require.ErrorIs(t, err, codec.ErrMalformed)
		e, ok := errors.AsType[*codec.Error](err)
		require.True(t, ok)
		require.EqualValues(t, c.offset, e.Offset, "%s of %q: %v", c.codec, wire, err)
		require.Equal(t, c.codec, e.Codec)
		text.Replace = true
		out, err := text.Decode(wire)
		if c.replaced == "" {
			require.Error(t, err, "%s of %q", c.codec, wire)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.replaced, string(out), "%s of %q", c.codec, wire)
	}
}

// TestUnfit: what an encoding cannot hold is said to the byte.
func TestUnfit(t *testing.T) {
	for _, c := range []struct {
		codec, text string
		offset      int64
		replaced    string
	}{
		{"ascii", "caf\u00e9!", 3, "caf?!"},
		{"latin1", "10 €", 3, "10 ?"},
		{"windows-1252", "\u0081", 0, "?"},
		{"windows-1252", "a\U0001F600b", 1, "a?b"},
		{"idna", "en un lugar", 0, ""},
		{"idna", "a." + strings.Repeat("ñ", 60) + ".b", 2, ""},
		{"idna", strings.Repeat("a.", 127) + "b", 0, ""},
		{"idna", strings.Repeat("ab ", 100_000), 0, ""},
		{"idna", "example.com.", 12, ""},
		{"idna", "", 0, ""},
		{"idna", "אa.b", 0, ""}, // letters of both directions in one label
	} {
		text := lookup(t, c.codec)
		_, err := text.Encode([]byte(c.text))
		require.ErrorIs(t, err, codec.ErrUnfit, "%s of %.40q", c.codec, c.text)
		e, _ := errors.AsType[*codec.Error](err)
		require.Equal(t, c.offset, e.Offset, "%v", err)
		require.Less(t, len(err.Error()), 400)
		if c.replaced != "" {
			text.Replace = true
			out, err := text.Encode([]byte(c.text))
			require.NoError(t, err)
			require.Equal(t, c.replaced, string(out))
		}
	}
	// What is no text at all is another condition.
	_, err := lookup(t, "idna").Encode([]byte("a.b\xff.c"))
	require.ErrorIs(t, err, codec.ErrMalformed)
	for _, name := range charsets {
		text := lookup(t, name)
		_, err := text.Encode([]byte("ab\xffc"))
		require.ErrorIs(t, err, codec.ErrMalformed, name)
		text.Replace = true
		_, err = text.Encode([]byte("ab\xffc\xe2"))
		require.NoError(t, err, name)
	}
}

// TestCharsetsAgainstPython decodes every byte, and many sequences of bytes that
// matter, and encodes every character, as CPython does.
func TestCharsetsAgainstPython(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	bad := []byte{0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFE, 0xFF, 0xD8, 0xDB, 0xDC}
	var questions []question
	for _, name := range charsets {
		for _, mode := range []string{"strict", "replace"} {
			add := func(b []byte) {
				questions = append(questions, question{Op: "decode", Codec: name, Errors: mode, In: hex.EncodeToString(b)})
			}
			add(nil)
			for c := range 256 {
				add([]byte{byte(c)})
				add([]byte{byte(c), 0})
			}
			for range 500 {
				b := make([]byte, 1+rnd.IntN(9))
				for i := range b {
					b[i] = bad[rnd.IntN(len(bad))]
				}
				add(b)
			}
		}
		for _, mode := range []string{"strict", "replace"} {
			for _, s := range []string{"", "a", "é€", "\uFEFFx", "\u0081\u008D\u008F\u0090\u009D", "𝄞", "\uFFFD\uFFFF"} {
				questions = append(questions, question{Op: "encode", Codec: name, Errors: mode, In: hex.EncodeToString([]byte(s))})
			}
		}
		for r := rune(0); r <= 0x200; r++ {
			if utf8.ValidRune(r) {
				questions = append(questions, question{Op: "encode", Codec: name, Errors: "strict", In: hex.EncodeToString([]byte(string(r)))})
			}
		}
	}
	// Every character there is, in one text.
	var all []byte
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if utf8.ValidRune(r) {
			all = utf8.AppendRune(all, r)
		}
	}
	for _, name := range charsets {
		questions = append(questions, question{Op: "encode", Codec: name, Errors: "replace", In: hex.EncodeToString(all)})
	}
	answers := ask(t, questions)
	for i, q := range questions {
		in, err := hex.DecodeString(q.In)
		require.NoError(t, err)
		text := lookup(t, q.Codec)
		text.Replace = q.Errors == "replace"
		var out []byte
		if q.Op == "encode" {
			out, err = text.Encode(in)
		} else {
			out, err = text.Decode(in)
		}
		agree(t, q, answers[i], out, err)
	}
	t.Logf("%d questions answered alike", len(questions))
}

// samples are texts for each encoding that it can carry.
func sample(name string, rnd *rand.Rand) []byte {
	n := rnd.IntN(30_000)
	b := make([]byte, 0, n)
	switch name {
	case "base64", "base64url", "base64-mime", "zlib", "gzip":
		for range n {
			b = append(b, byte(rnd.IntN(256)))
		}
	case "idna":
		return []byte("niño.example.es")
	default:
		runes := []rune("abc \n")
		switch name {
		case "utf-8", "utf-16", "utf-16le", "utf-16be":
			runes = []rune("aé€𝄞\uFEFF\u0000")
		case "latin1":
			runes = []rune("aéÿ\u0080")
		case "windows-1252":
			runes = []rune("aé€Ÿ\u00FF")
		}
		for range n {
			b = utf8.AppendRune(b, runes[rnd.IntN(len(runes))])
		}
	}
	return b
}

// TestStreams: however the bytes arrive, streams give what the functions give.
func TestStreams(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, name := range codec.Names() {
		text := lookup(t, name)
		for range 4 {
			in := sample(name, rnd)
			wire, err := text.Encode(in)
			require.NoError(t, err, name)
			back, err := text.Decode(wire)
			require.NoError(t, err, name)
			require.True(t, bytes.Equal(in, back), name)

			var out bytes.Buffer
			w := text.NewWriter(&out)
			for rest := in; len(rest) > 0; {
				n := min(1+rnd.IntN(5000), len(rest))
				wrote, err := w.Write(rest[:n])
				require.NoError(t, err, name)
				require.Equal(t, n, wrote)
				rest = rest[n:]
			}
			require.NoError(t, w.Close())
			require.NoError(t, w.Close(), "closing again")
			if name != "zlib" && name != "gzip" { // where blocks end depends on the writes
				require.True(t, bytes.Equal(wire, out.Bytes()), name)
			}
			for how, r := range map[string]io.Reader{
				"whole":    bytes.NewReader(out.Bytes()),
				"bytes":    iotest.OneByteReader(bytes.NewReader(out.Bytes())),
				"half":     iotest.HalfReader(bytes.NewReader(out.Bytes())),
				"data+EOF": iotest.DataErrReader(bytes.NewReader(out.Bytes())),
			} {
				got, err := io.ReadAll(text.NewReader(r))
				require.NoError(t, err, "%s %s", name, how)
				require.True(t, bytes.Equal(in, got), "%s %s", name, how)
			}
		}
	}
}

// TestStreamErrors: what comes before a mistake is given out first, the offset
// counts from the beginning of the stream, and an error of the stream below that
// passes loses nothing.
func TestStreamErrors(t *testing.T) {
	head := strings.Repeat("é", 20_000)
	r := codec.Text{}.NewReader(strings.NewReader(head + "\xff"))
	got, err := io.ReadAll(r)
	require.ErrorIs(t, err, codec.ErrMalformed)
	e, _ := errors.AsType[*codec.Error](err)
	require.EqualValues(t, len(head), e.Offset)
	require.Equal(t, head, string(got))
	_, again := r.Read(make([]byte, 1))
	require.Equal(t, err, again)

	latin1 := lookup(t, "latin1")
	var out bytes.Buffer
	w := latin1.NewWriter(&out)
	n, err := w.Write([]byte(head))
	require.NoError(t, err)
	require.Equal(t, len(head), n)
	_, err = w.Write([]byte("€"))
	require.ErrorIs(t, err, codec.ErrUnfit)
	e, _ = errors.AsType[*codec.Error](err)
	require.EqualValues(t, len(head), e.Offset)
	require.ErrorIs(t, w.Close(), codec.ErrUnfit)
	require.Equal(t, 20_000, out.Len())
	_, err = w.Write([]byte("x"))
	require.Error(t, err)

	// A character cut at the end is found at Close.
	w = latin1.NewWriter(io.Discard)
	_, err = w.Write([]byte("a\xc3"))
	require.NoError(t, err)
	require.ErrorIs(t, w.Close(), codec.ErrMalformed)

	r = latin1.NewReader(io.MultiReader(strings.NewReader("ab"), iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("cdef")))))
	var text []byte
	timeouts := 0
	for {
		b := make([]byte, 16)
		n, err := r.Read(b)
		text = append(text, b[:n]...)
		if err == io.EOF {
			break
		}
		if errors.Is(err, iotest.ErrTimeout) {
			timeouts++
			continue
		}
		require.NoError(t, err)
	}
	require.Equal(t, 1, timeouts)
	require.Equal(t, "abcdef", string(text))

	for _, name := range codec.Names() {
		text := lookup(t, name)
		_, err := io.ReadAll(text.NewReader(iotest.ErrReader(os.ErrPermission)))
		require.ErrorIs(t, err, os.ErrPermission, name)
		_, err = text.NewReader(liar{}).Read(make([]byte, 10))
		require.Error(t, err, name)
	}
}

// A liar is a reader that claims more than there is room for.
type liar struct{}

func (liar) Read(p []byte) (int, error) { return len(p) + 1, nil }

// TestNoProgress: a reader that gives nothing and no error for ever is given up.
func TestNoProgress(t *testing.T) {
	_, err := codec.Text{}.NewReader(nothing{}).Read(make([]byte, 1))
	require.ErrorIs(t, err, io.ErrNoProgress)
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// TestNameTakesTime: Punycode takes time by the square of the name, so that the
// name is measured first.
func TestNameTakesTime(t *testing.T) {
	var name []byte
	for r := rune(0x4E00); len(name) < 1<<20; r++ {
		if r > 0x9FFF {
			r = 0x4E00
		}
		name = utf8.AppendRune(name, r)
	}
	_, err := lookup(t, "idna").Encode(name)
	require.ErrorIs(t, err, codec.ErrUnfit)
	w := lookup(t, "idna").NewWriter(io.Discard)
	n, err := w.Write(name)
	require.ErrorIs(t, err, codec.ErrUnfit)
	require.Less(t, n, 64<<10, "it stops long before the end")
}

// TestBase64Lines compares the lines of base64-mime with CPython's.
func TestBase64Lines(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var questions []question
	for n := range 130 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		questions = append(questions, question{Op: "lines", In: hex.EncodeToString(b)})
	}
	mime := lookup(t, "base64-mime")
	for i, a := range ask(t, questions) {
		in, _ := hex.DecodeString(questions[i].In)
		out, err := mime.Encode(in)
		agree(t, questions[i], a, out, err)
		crlf := bytes.ReplaceAll(out, []byte("\n"), []byte("\r\n"))
		back, err := mime.Decode(crlf)
		require.NoError(t, err)
		require.True(t, bytes.Equal(in, back))
	}
}

// TestBase64Canonical: of all texts of four letters there is one for each
// content.
func TestBase64Canonical(t *testing.T) {
	const letters = "ABQRg/=\n- é"
	text := lookup(t, "base64")
	valid := 0
	for _, a := range letters {
		for _, b := range letters {
			for _, c := range letters {
				for _, d := range letters {
					wire := fmt.Sprintf("%c%c%c%c", a, b, c, d)
					out, err := text.Decode([]byte(wire))
					if err != nil {
						require.ErrorIs(t, err, codec.ErrMalformed)
						continue
					}
					valid++
					again, err := text.Encode(out)
					require.NoError(t, err)
					require.Equal(t, wire, string(again))
				}
			}
		}
	}
	require.Positive(t, valid)
}
