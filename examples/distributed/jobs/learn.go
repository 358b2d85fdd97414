package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/corpus"
)

// All sums of this file are of integers: those of floating-point numbers depend
// on their order, and then the result would depend on how many machines there
// were and which was the fastest.

const (
	// dimensions of a point. A word belongs to one of them by its hash, so that
	// nobody has to agree on a list of words before.
	dimensions = 128
	// one is the number 1 in fixed point: the length of every document's point.
	one = 1 << 16
	// tooNear is the square of a distance at which two points are the same.
	tooNear = one * one / 10_000
)

// A point is a document, or the middle of many, in fixed point.
type point [dimensions]int64

// place returns the point of a document: how often its words fall into each
// dimension, scaled to the length one, so that long and short texts compare.
func place(text []byte) (p point) {
	for word := range corpus.Words(text) {
		if telling(word) {
			p[hash(word)%dimensions]++
		}
	}
	return p.scaled()
}

// scaled returns the point in the same direction with the length one.
func (p point) scaled() point {
	var square uint64
	for _, x := range p {
		square += uint64(x * x)
	}
	if square == 0 {
		return p
	}
	shift := max(62-bits.Len64(square), 0) / 2 // as many bits behind the point as there is room for
	length := int64(root(square << (2 * shift)))
	for i := range p {
		p[i] = p[i] * one << shift / length
	}
	return p
}

// telling reports whether a word says something about a text. Most of the short
// ones are articles and the like.
func telling(word []byte) bool { return len(word) > 3 }

func hash(word []byte) uint32 {
	h := fnv.New32a()
	h.Write(word)
	return h.Sum32()
}

// root returns the square root of n, rounded down.
func root(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	// Newton's method, from above.
	for x := uint64(1) << ((bits.Len64(n) + 1) / 2); ; {
		y := (x + n/x) / 2
		if y >= x {
			return x
		}
		x = y
	}
}

// distance returns the square of the distance between two points.
func distance(p, q *point) (d int64) {
	for i := range p {
		d += (p[i] - q[i]) * (p[i] - q[i])
	}
	return d
}

// A cloud is some points added up or, with Far above 0, one point that may begin
// a cluster.
type cloud struct {
	N   int64
	Sum point
	Far int64 `json:",omitempty"` // how far it is from the clusters there are
}

// add adds up two clouds. Of two beginnings the farther one stays.
func (c *cloud) add(d cloud) {
	if c.Far > 0 || d.Far > 0 {
		if cmp.Or(cmp.Compare(d.Far, c.Far), slices.Compare(d.Sum[:], c.Sum[:])) > 0 {
			*c = d
		}
		return
	}
	c.N += d.N
	for i, x := range d.Sum {
		c.Sum[i] += x
	}
}

// String returns the cloud as text: how many points, then their middle. It has
// the length one like the points, or large clusters, with short middles, would
// draw in all documents.
func (c cloud) String() string {
	var middle point
	for i, x := range c.Sum {
		middle[i] = x / max(c.N, 1)
	}
	b := strconv.AppendInt(nil, c.N, 10)
	for _, x := range middle.scaled() {
		b = strconv.AppendInt(append(b, ' '), x, 10)
	}
	return string(b)
}

// A middle is that of a cluster.
type middle struct {
	cluster string
	at      point
}

// parseMiddles reads the output of the job kmeans: lines of cluster, tab, and
// what [cloud.String] writes.
func parseMiddles(side string) (list []middle, err error) {
	for line := range strings.Lines(side) {
		cluster, text, _ := strings.Cut(line, "\t")
		fields := strings.Fields(text)
		if len(fields) != 1+dimensions {
			return nil, fmt.Errorf("cluster %q has %d numbers, want %d", cluster, len(fields), 1+dimensions)
		}
		m := middle{cluster: cluster}
		for i := range m.at {
			if m.at[i], err = strconv.ParseInt(fields[1+i], 10, 64); err != nil {
				return nil, fmt.Errorf("cluster %q: %w", cluster, err)
			}
		}
		list = append(list, m)
	}
	return list, nil
}

// nearest returns the cluster whose middle is nearest to p, the first of equals,
// and the square of the distance.
func nearest(p *point, middles []middle) (cluster string, least int64) {
	least = math.MaxInt64
	for i := range middles {
		if d := distance(p, &middles[i].at); d < least {
			cluster, least = middles[i].cluster, d
		}
	}
	return cluster, least
}

// A model is what naive Bayes has learnt: how often each word came in the texts
// of each class.
type model struct {
	classes []string // sorted, since the first wins a tie
	texts   map[string]int64
	words   map[string]int64  // all words of a class
	counts  map[string]vector // by word, then by class
	all     int64             // texts
}

// parseModel reads the output of the job learn: lines "class word number", with
// tabs between; an empty word counts the texts.
func parseModel(side string) (*model, error) {
	m := &model{texts: map[string]int64{}, words: map[string]int64{}, counts: map[string]vector{}}
	for line := range strings.Lines(side) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 {
			return nil, fmt.Errorf("a model has lines of class, word and number, not %q", line)
		}
		class, word := fields[0], fields[1]
		n, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("a model has lines of class, word and number, not %q", line)
		}
		if word == "" {
			if m.texts[class] == 0 {
				m.classes = append(m.classes, class)
			}
			m.texts[class] += n
			m.all += n
			continue
		}
		if m.counts[word] == nil {
			m.counts[word] = vector{}
		}
		m.counts[word][class] += n
		m.words[class] += n
	}
	if len(m.classes) == 0 {
		return nil, fmt.Errorf("a model without classes: give the output of the job learn")
	}
	return m, nil
}

// classify returns the class in which text is most probable. The probability of
// a text is the product of those of its words; here logarithms are added. A word
// that no text of the class had counts as if it had come once (Laplace), or it
// would rule the class out.
func (m *model) classify(text []byte) string {
	scores := make([]int64, len(m.classes))
	for i, class := range m.classes {
		scores[i] = log2(m.texts[class]) - log2(m.all)
	}
	for word := range corpus.Words(text) {
		counts := m.counts[string(word)]
		if counts == nil {
			continue // never seen: says nothing about any class
		}
		for i, class := range m.classes {
			scores[i] += log2(counts[class]+1) - log2(m.words[class]+int64(len(m.counts)))
		}
	}
	best := 0
	for i, score := range scores {
		if score > scores[best] {
			best = i
		}
	}
	return m.classes[best]
}

// log2 returns the logarithm of n ≥ 1 to the base two, in fixed point: one
// stands for 1. Squaring a number doubles its logarithm, which gives it bit by
// bit.
func log2(n int64) int64 {
	whole := bits.Len64(uint64(n)) - 1
	result := int64(whole) * one
	x := uint64(n) << (63 - whole) >> 32 // from 1 to 2, with 31 bits behind the point
	for bit := int64(one / 2); bit > 0; bit /= 2 {
		x = x * x >> 31
		if x >= 1<<32 {
			x /= 2
			result += bit
		}
	}
	return result
}

// million is the probability 1 in the table of a translation.
const million = 1_000_000

// A dictionary has for each word the words of the other language that it may
// mean, with probabilities in millionths.
type dictionary map[string]vector

// parseDictionary reads the output of the job align: lines "word TAB vector".
func parseDictionary(side string) (dictionary, error) {
	d := dictionary{}
	for line := range strings.Lines(side) {
		word, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		v, err := parseVector(text)
		if err != nil {
			return nil, fmt.Errorf("a dictionary: %w", err)
		}
		d[word] = v
	}
	return d, nil
}

// expect calls emit for each pair of words of two sentences that are
// translations of each other, with how probable it is that the one stands for
// the other, in millionths: every word of to stems from one of from, and what d
// knows says which is how likely. Without any knowledge all are alike. This is
// the first of IBM's models of translation.
func (d dictionary) expect(from, to []byte, emit func(from, to string, millionths int64)) {
	var sources []string
	for word := range corpus.Words(from) {
		sources = append(sources, string(word))
	}
	for word := range corpus.Words(to) {
		var sum int64
		weight := func(source string) int64 {
			if len(d) == 0 {
				return 1
			}
			return d[source][string(word)]
		}
		for _, source := range sources {
			sum += weight(source)
		}
		for _, source := range sources {
			if part := weight(source) * million / max(sum, 1); part > 0 {
				emit(source, string(word), part)
			}
		}
	}
}

// normalise scales a vector so that its numbers are millionths, and leaves out
// those below one in a hundred.
func normalise(v vector) vector {
	var sum int64
	for _, n := range v {
		sum += max(n, 0)
	}
	scaled := vector{}
	for term, n := range v {
		if n <= 0 || sum < n {
			continue // not ours, or the sum has overflowed
		}
		hi, lo := bits.Mul64(uint64(n), million)
		part, _ := bits.Div64(hi, lo, uint64(sum))
		if part >= million/100 {
			scaled[term] = int64(part)
		}
	}
	return scaled
}
