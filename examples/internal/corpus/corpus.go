// Package corpus is what the exercises that count words have in common: what a
// word is, and a text as long as one likes to count them in.
package corpus

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"unicode"
	"unicode/utf8"
)

// Words yields the words of a text: the longest runs of Unicode letters, each
// rune in lower case. All else separates words, such as digits, marks and bytes
// that are not UTF-8. A word is valid until the next one.
func Words(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var changed []byte // a word that had to be written anew
		for i := 0; i < len(text); {
			start := i
			for i < len(text) && 'a' <= text[i] && text[i] <= 'z' {
				i++
			}
			// Most words end here, and are yielded where they stand.
			if i == len(text) || text[i] < utf8.RuneSelf && (text[i] < 'A' || 'Z' < text[i]) {
				if i > start && !yield(text[start:i]) {
					return
				}
				i++
				continue
			}
			changed = append(changed[:0], text[start:i]...)
			for i < len(text) {
				if c := text[i] | 0x20; 'a' <= c && c <= 'z' { // which no other byte becomes by this bit
					changed = append(changed, c)
					i++
					continue
				}
				r, size := utf8.DecodeRune(text[i:])
				i += size
				if !unicode.IsLetter(r) {
					break
				}
				changed = utf8.AppendRune(changed, unicode.ToLower(r))
			}
			if len(changed) > 0 && !yield(changed) {
				return
			}
		}
	}
}

// wordsInLine is how many words a line of [Zipf] has.
const wordsInLine = 12

// Zipf writes a text of lines, at least size bytes long, in which the words of
// list are as frequent as those of a language: the second most frequent comes
// about half as often as the first, the third a third as often and so on, which
// is Zipf's law. Which word is how frequent is drawn too. The same list, size
// and seed give the same text.
func Zipf(w io.Writer, list []string, size int64, seed uint64) error {
	if len(list) == 0 {
		return errors.New("a text needs words")
	}
	random := rand.New(rand.NewPCG(seed, 0))
	list = slices.Clone(list)
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	// The exponent must exceed 1; the second number flattens the head, as
	// Mandelbrot found that real texts do.
	rank := rand.NewZipf(random, 1.05, 2, uint64(len(list)-1))
	b := bufio.NewWriterSize(w, 64<<10)
	for size > 0 {
		for i := range wordsInLine {
			if i > 0 {
				b.WriteByte(' ')
			}
			n, _ := b.WriteString(list[rank.Uint64()])
			size -= int64(n) + 1
		}
		if err := b.WriteByte('\n'); err != nil { // any failed write before it, too
			return err
		}
	}
	return b.Flush()
}
