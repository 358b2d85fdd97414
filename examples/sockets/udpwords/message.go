package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// The two formats.
//
// pairs: the first datagram is the number of words; then for each word come
// two datagrams, its position (from 1) and the word. Numbers are in decimal.
//
//	"12"   "5"  "la"   "1"  "en"   …
//
// single: each datagram is position, "/", number of words, a space, the word.
//
//	"5/12 la"   "1/12 en"   …
const (
	pairs  = "pairs"
	single = "single"
)

// Limits of a message.
const (
	maxWords = 1000
	maxWord  = 1000 // bytes of a word
)

// split returns the words of a text.
func split(text string) ([]string, error) {
	words := strings.Fields(text)
	switch {
	case len(words) == 0:
		return nil, errors.New("there are no words in the message")
	case len(words) > maxWords:
		return nil, fmt.Errorf("the message has %d words; %d are the most", len(words), maxWords)
	}
	for i, word := range words {
		if len(word) > maxWord {
			return nil, fmt.Errorf("word %d has %d bytes; %d are the most", i+1, len(word), maxWord)
		}
	}
	return words, nil
}

// shuffle returns the positions 1 to count, each of them copies times, in
// random order.
func shuffle(count, copies int, rnd *rand.Rand) []int {
	order := make([]int, 0, count*copies)
	for range copies {
		for i := range count {
			order = append(order, i+1)
		}
	}
	rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

// allSent reports whether order has every position of count in it.
func allSent(order []int, count int) bool {
	seen := slices.Clone(order)
	slices.Sort(seen)
	return len(slices.Compact(seen)) == count
}

// datagrams returns what is to be sent for words in this order of positions.
func datagrams(format string, words []string, order []int) [][]byte {
	var all [][]byte
	if format == pairs {
		all = append(all, strconv.AppendInt(nil, int64(len(words)), 10))
	}
	for _, position := range order {
		word := words[position-1]
		if format == pairs {
			all = append(all, strconv.AppendInt(nil, int64(position), 10), []byte(word))
		} else {
			all = append(all, fmt.Appendf(nil, "%d/%d %s", position, len(words), word))
		}
	}
	return all
}

// An assembly puts a message together from datagrams. Its zero value, with a
// format, is ready to use. It knows neither network nor clock.
type assembly struct {
	format string

	words    []string // by position, less one; empty for those still to come
	got      int      // how many have come
	position int      // pairs: the position that the next datagram's word has; 0 if a position is to come next

	repeats int // words dropped since they had come already
	refused int // datagrams that made no sense
}

// receive takes the next datagram and returns in words what it was, nothing if
// there is nothing to say yet. An error says why it was refused: it then
// changed nothing.
func (a *assembly) receive(datagram []byte) (what string, err error) {
	if a.format == pairs {
		what, err = a.receivePairs(string(datagram))
	} else {
		what, err = a.receiveSingle(string(datagram))
	}
	if err != nil {
		a.refused++
	}
	return what, err
}

func (a *assembly) receivePairs(text string) (string, error) {
	switch {
	case a.words == nil:
		count, err := number(text, maxWords)
		if err != nil {
			return "", fmt.Errorf("the number of words should come first: %w", err)
		}
		a.words = make([]string, count)
		return fmt.Sprintf("words to come: %d", count), nil
	case a.position == 0:
		position, err := number(text, len(a.words))
		if err != nil {
			return "", fmt.Errorf("a position should come now: %w", err)
		}
		a.position = position
		return "", nil
	}
	// Whatever comes now is the word: "7" can be one. That the position and
	// the word belong together, nothing in them says.
	if err := checkWord(text); err != nil {
		return "", err
	}
	position := a.position
	a.position = 0
	return a.put(position, text), nil
}

func (a *assembly) receiveSingle(text string) (string, error) {
	head, word, _ := strings.Cut(text, " ")
	of, total, ok := strings.Cut(head, "/")
	if !ok {
		return "", errors.New("it does not begin with position/number")
	}
	count, err := number(total, maxWords)
	if err != nil {
		return "", err
	}
	if a.words != nil && count != len(a.words) {
		return "", fmt.Errorf("it is of a message of %d words, not of %d", count, len(a.words))
	}
	position, err := number(of, count)
	if err != nil {
		return "", err
	}
	if err := checkWord(word); err != nil {
		return "", err
	}
	if a.words == nil {
		a.words = make([]string, count)
	}
	return a.put(position, word), nil
}

// put notes a word and returns what has become of it. The first word for a
// position stays.
func (a *assembly) put(position int, word string) string {
	switch known := a.words[position-1]; known {
	case "":
		a.words[position-1] = word
		a.got++
		return fmt.Sprintf("word %d is %q", position, word)
	case word:
		a.repeats++
		return fmt.Sprintf("word %d is %q: known, dropped", position, word)
	default:
		a.repeats++
		return fmt.Sprintf("word %d is %q: but it was %q, dropped", position, word, known)
	}
}

// whole reports whether no word is missing.
func (a *assembly) whole() bool { return a.words != nil && a.got == len(a.words) }

// text returns the message, with … for each word that is missing.
func (a *assembly) text() string {
	shown := make([]string, len(a.words))
	for i, word := range a.words {
		shown[i] = word
		if word == "" {
			shown[i] = "…"
		}
	}
	return strings.Join(shown, " ")
}

// missing returns the positions of the words that have not come.
func (a *assembly) missing() []int {
	var positions []int
	for i, word := range a.words {
		if word == "" {
			positions = append(positions, i+1)
		}
	}
	return positions
}

// number reads a number from 1 to most, in decimal digits and no other way.
func number(text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%q is no number from 1 to %d", brief(text), most)
	}
	return n, nil
}

// checkWord refuses what split cannot have made.
func checkWord(word string) error {
	switch {
	case word == "":
		return errors.New("an empty word")
	case len(word) > maxWord:
		return fmt.Errorf("a word of %d bytes; %d are the most", len(word), maxWord)
	case strings.ContainsFunc(word, unicode.IsSpace):
		return fmt.Errorf("%q is more than one word", brief(word))
	}
	return nil
}

// brief returns the beginning of what a stranger sent.
func brief(text string) string { return text[:min(len(text), 40)] }
