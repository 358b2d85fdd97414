package corpus

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/words"
)

func collect(text string) (list []string) {
	for word := range Words([]byte(text)) {
		list = append(list, string(word))
	}
	return list
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		"en un lugar":                          "en un lugar",
		"En un LUGAR de la Mancha, …":          "en un lugar de la mancha",
		"¿Qué—dixo? ÁRBOL ñu":                  "qué dixo árbol ñu",
		"a1b2c_d-e'f":                          "a b c d e f",
		"\xffa\xc3b\xa9c\xf0\x9f":              "a b c",
		"e\u0301a":                             "e a",         // a mark is no letter
		"ΣΑΣ İI ǅ Ⱥ":                           "σας ii ǆ ⱥ",  // each rune on its own: no final sigma
		"日本語 ʰªº x²y ⅷ":                        "日本語 ʰªº x y", // modifiers are letters, numbers not
		"\U00010400\U0001d400 a\ufffdb\x00c\r": "\U00010428\U0001d400 a b c",
	} {
		require.Equal(t, strings.Fields(strings.ReplaceAll(want, "σας", "σασ")), append([]string{}, collect(text)...), "%q", text)
	}
}

func TestWordsLeftEarly(t *testing.T) {
	for _, text := range []string{"a b", "A b", "á b"} {
		n := 0
		for range Words([]byte(text)) {
			n++
			break
		}
		require.Equal(t, 1, n)
	}
}

// slow is [Words] without any haste.
func slow(text string) (list []string) {
	var word []rune
	for i, size := 0, 0; i <= len(text); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(text[i:])
		if unicode.IsLetter(r) {
			word = append(word, unicode.ToLower(r))
			continue
		}
		if word != nil {
			list = append(list, string(word))
		}
		word = nil
		size = max(size, 1)
	}
	return list
}

func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "En un lugar", "¿Qué—dixo? \xffÁ\xc3", "aB\x80c Ⱥé日\u0301"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		require.Equal(t, slow(text), collect(text))
	})
}

func TestZipf(t *testing.T) {
	list := words.Bundled()
	var a, b, c bytes.Buffer
	require.NoError(t, Zipf(&a, list, 500_000, 1))
	require.NoError(t, Zipf(&b, list, 500_000, 1))
	require.NoError(t, Zipf(&c, list, 500_000, 2))
	require.Equal(t, a.Bytes(), b.Bytes())
	require.NotEqual(t, a.Bytes(), c.Bytes())
	require.GreaterOrEqual(t, a.Len(), 500_000)
	require.Less(t, a.Len(), 501_000)
	require.Regexp(t, regexp.MustCompile(`^(\pL+ ){11}\pL+\n`), a.String())

	counts := map[string]int{}
	for word := range Words(a.Bytes()) {
		counts[string(word)]++
	}
	var ranked []int
	for word, n := range counts {
		require.Contains(t, list, word)
		ranked = append(ranked, n)
	}
	slices.Sort(ranked)
	slices.Reverse(ranked)
	require.Greater(t, ranked[0], ranked[9]*2)
	require.Greater(t, ranked[9], ranked[99]*4)
	require.Greater(t, len(ranked), 2000)

	require.Error(t, Zipf(&a, nil, 1, 1))
	require.Error(t, Zipf(full{}, list, 1<<20, 1))
	require.Error(t, Zipf(full{}, list, 1, 1))
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

func BenchmarkWords(b *testing.B) {
	var text bytes.Buffer
	require.NoError(b, Zipf(&text, words.Bundled(), 1<<20, 1))
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		for line := range bytes.Lines(text.Bytes()) {
			for range Words(line) {
			}
		}
	}
}
