package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestGuess(t *testing.T) {
	const (
		spanish = "Rocín flaco y galgo corredor. Una olla de algo más vaca que carnero."
		quoted  = "“Señora —dijo—, ¿cuánto es? 5 €…”"
		czech   = "Příliš žluťoučký kůň úpěl ďábelské ódy."
		greek   = "Ἐν ἀρχῇ ἦν ὁ λόγος, καὶ ὁ λόγος ἦν πρὸς τὸν θεόν."
		russian = "В некотором царстве, в некотором государстве жил-был царь."
		chinese = "道可道,非常道。名可名,非常名。"
		emoji   = "Hola 🙂 mundo 🎉 y más"
	)
	for _, test := range []struct{ encoding, text, want string }{
		{"ascii", "En un lugar de la Mancha", "ascii or utf-8 or latin1 or windows-1252"},
		{"utf-8", "", "ascii or utf-8 or latin1 or windows-1252 or utf-16le or utf-16be"},
		{"utf-8", spanish, "utf-8"},
		{"utf-8", quoted, "utf-8"},
		{"utf-8", czech, "utf-8"},
		{"utf-8", greek, "utf-8"},
		{"utf-8", russian, "utf-8"},
		{"utf-8", chinese, "utf-8"},
		{"utf-8", emoji, "utf-8"},
		{"utf-8", "\uFEFF" + spanish, "utf-8"},
		{"utf-8", "ñ", "utf-8"},
		{"latin1", spanish, "latin1 or windows-1252"},
		{"windows-1252", quoted, "windows-1252"},
		{"utf-16", spanish, "utf-16"},
		{"utf-16", chinese, "utf-16"},
		{"utf-16le", spanish, "utf-16le"},
		{"utf-16be", quoted, "utf-16be"},
		{"utf-16be", russian, "utf-16be"},
		{"base64", spanish, "base64 or base64url of utf-8"},
		{"base64", must(t, "latin1", spanish), "base64 or base64url of latin1 or windows-1252"},
		{"base64", must(t, "base64", spanish), "base64 or base64url of base64 or base64url of utf-8"},
		{"base64-mime", spanish, "base64-mime of utf-8"},
		{"base64", noise(64), "base64 of binary"},
		{"zip", spanish, "zlib of utf-8"},
		{"zip", noise(300), "zlib of binary"},
		{"gzip", must(t, "latin1", spanish), "gzip of latin1 or windows-1252"},
		{"gzip", must(t, "zip", must(t, "base64", spanish)), "gzip of zlib of base64 or base64url of utf-8"},
		{"idna", "señor.quijote.example", "idna"},
	} {
		data := []byte(must(t, test.encoding, test.text))
		list := guesses(data, maxText)
		require.Equal(t, test.want, list[0].name(), "%s: %q", test.encoding, test.text)
		if strings.Contains(test.want, noText) {
			_, err := list[0].decode(data, maxText)
			require.ErrorIs(t, err, codec.ErrMalformed)
			continue
		}
		text, err := list[0].decode(data, maxText)
		require.NoError(t, err)
		require.True(t, utf8.Valid(text))
		if !strings.Contains(test.want, " of ") {
			require.Equal(t, strings.TrimPrefix(test.text, "\uFEFF"), string(text))
		}
	}
	require.Equal(t, noText, guesses([]byte(noise(100)), maxText)[0].name())
	// IBM's code page 437 and the Macintosh's Roman, which are not among ours.
	for _, foreign := range []string{
		"Roc\xa1n flaco y galgo corredor. Una olla de algo m\xa0s vaca que carnero, salpic\xa2n las m\xa0s noches",
		"Roc\x92n flaco y galgo corredor. Una olla de algo m\x87s vaca que carnero, salpic\x97n las m\x87s noches",
	} {
		best := guesses([]byte(foreign), maxText)[0]
		require.Equal(t, unknown, best.name())
		_, err := best.decode([]byte(foreign), maxText)
		require.ErrorIs(t, err, codec.ErrMalformed)
	}
	require.Equal(t, "ascii or utf-8 or latin1 or windows-1252", guesses([]byte("Hola"), maxText)[0].name(), "four letters of base64 are a word all the same")
}

// How sure it is must be worth something: the shares add up to 1, and what is
// called almost sure is right nearly always, also for a few bytes.
func TestConfidence(t *testing.T) {
	var right, wrong, sure, sureWrong int
	try := func(text string) {
		for _, encoding := range []string{"utf-8", "latin1", "windows-1252", "utf-16le", "utf-16be"} {
			list := guesses([]byte(must(t, encoding, text)), maxText)
			var sum float64
			for _, r := range list {
				sum += r.sure
			}
			require.InDelta(t, 1, sum, 1e-9)
			ok := slices.Contains(list[0].names, encoding)
			if ok {
				right++
			} else {
				wrong++
			}
			if list[0].sure > 0.99 {
				sure++
				if !ok {
					sureWrong++
				}
			}
		}
	}
	text := []rune(string(opening))
	for _, size := range []int{4, 10, 40, 200} {
		for piece := range slices.Chunk(text, size) {
			try(string(piece))
		}
	}
	t.Logf("%d of %d right; sure in %d, of which %d wrong", right, right+wrong, sure, sureWrong)
	require.Less(t, wrong, right/100)
	require.Less(t, sureWrong, sure/200)
	require.Greater(t, sure, right/2)
}

// The same on a whole book, line by line, of which the model has seen nothing
// but the opening.
func TestConfidenceOnTheBook(t *testing.T) {
	book, err := os.ReadFile(filepath.Join(interop.Data(t), "quijote.txt"))
	require.NoError(t, err)
	counts := map[string][4]int{}
	for i, line := range strings.Split(string(book), "\n") {
		if i%20 != 0 || len(line) < 8 {
			continue
		}
		for _, encoding := range []string{"utf-8", "latin1", "windows-1252", "utf-16le", "utf-16be"} {
			enc, err := codec.Lookup(encoding)
			require.NoError(t, err)
			data, err := enc.Encode([]byte(line))
			if err != nil {
				continue // a dash, and latin1
			}
			best := guesses(data, maxText)[0]
			c := counts[encoding]
			c[0]++
			ok := slices.Contains(best.names, encoding)
			if !ok {
				c[1]++
			}
			if best.sure > 0.99 {
				c[2]++
				if !ok {
					c[3]++
				}
			}
			counts[encoding] = c
		}
	}
	for encoding, c := range counts {
		t.Logf("%s: %d lines, %d wrong; sure of %d, of which %d wrong", encoding, c[0], c[1], c[2], c[3])
		require.Greater(t, c[0], 1000)
		require.Less(t, c[1], c[0]/100, encoding)
		require.Less(t, c[3], c[0]/200, encoding)
	}
}

func TestGuessCommand(t *testing.T) {
	latin1 := write(t, "a.txt", must(t, "latin1", "Rocín flaco y galgo corredor, vivía y así."))
	got := clitest.Run(t, "", "guess", latin1)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, latin1+": latin1 or windows-1252, more than 99 % sure: its bytes above 7F, 3, are letters and signs\n", got.Stdout)
	got = clitest.Run(t, "", "guess", "-all", latin1)
	require.Contains(t, got.Stdout, "     it begins \"Rocín flaco y galgo corredor, vivía y así.\"\n")
	require.Contains(t, got.Stdout, "  or binary, less than 1 %: bytes without meaning\n")
	require.Contains(t, got.Stdout, "  not ascii: byte 3: 0xED is no ASCII\n")
	require.Contains(t, got.Stdout, "  not utf-8: byte 3: ")

	hostile := write(t, "b.txt", "\x1b[2J\x1b[2J")
	got = clitest.Run(t, "", "guess", "-all", hostile)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.NotContains(t, got.Stdout, "\x1b")

	for _, args := range [][]string{{"guess", t.TempDir()}, {"guess", latin1 + ".none"}, {"guess", "-max", "3", latin1}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v", got.Stderr)
	}
}

// A small file that opens to much more than allowed is not opened.
func TestGuessBomb(t *testing.T) {
	list := guesses([]byte(bomb(17<<20)), 1<<20)
	i := slices.IndexFunc(list, func(r *reading) bool { return r.names[0] == "zlib" })
	require.GreaterOrEqual(t, i, 0)
	require.ErrorIs(t, list[i].err, codec.ErrTooLarge)
}

func FuzzGuess(f *testing.F) {
	for _, name := range codec.Names() {
		if enc, err := codec.Lookup(name); err == nil {
			if out, err := enc.Encode([]byte("rocín.example")); err == nil {
				f.Add(out)
			}
		}
	}
	f.Add([]byte(nil))
	f.Add([]byte("\xff\xfe\xff"))
	f.Add([]byte("\xef\xbb\xbf"))
	f.Add([]byte("\x78\x9c\x03\x00\x00\x00\x00\x01"))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("Uk9Dw41O"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 20
		list := guesses(data, limit)
		require.NotEmpty(t, list)
		require.NoError(t, list[0].err)
		before := 1.0
		for _, r := range list {
			require.NotEmpty(t, r.names)
			if r.err != nil {
				continue
			}
			require.LessOrEqual(t, r.sure, before+1e-9)
			before = r.sure
			text, err := r.decode(data, limit)
			inside := r
			for inside.inner != nil {
				inside = inside.inner
			}
			if inside.names[0] == noText || inside.names[0] == unknown {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err)
			require.True(t, utf8.Valid(text))
			require.True(t, strings.HasPrefix(string(text), r.sample))
		}
	})
}
