package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A vector has a number for each of some terms.
type vector map[string]int64

// parseVector reads what [vector.join] writes: "term number term number …".
func parseVector(text string) (vector, error) {
	v := vector{}
	for text != "" {
		var term, number string
		term, text, _ = strings.Cut(text, " ")
		number, text, _ = strings.Cut(text, " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no number of the term %q", number, term)
		}
		v[term] += n
	}
	return v, nil
}

// join returns the numbers of some terms as text.
func (v vector) join(terms []string) string {
	var b strings.Builder
	for i, term := range terms {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(term)
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(v[term], 10))
	}
	return b.String()
}

// add adds the numbers of w to those of v.
func (v vector) add(w vector) {
	for term, n := range w {
		v[term] += n
	}
}

// top returns the terms with the n greatest numbers, the greatest first; of
// equal ones the first in the alphabet.
func (v vector) top(n int) []string {
	terms := slices.SortedFunc(maps.Keys(v), func(a, b string) int {
		return cmp.Or(cmp.Compare(v[b], v[a]), cmp.Compare(a, b))
	})
	return terms[:min(n, len(terms))]
}
