package main

import (
	"hash/maphash"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/zocalo-go/zocalo/cache"
)

// seed makes maphash another function in each run.
var seed = maphash.MakeSeed()

// functions are those of the study, the worst first.
var functions = []struct {
	name string
	hash func(string) uint64
}{
	{"xor", cache.Xor},
	{"sum", cache.Sum},
	{"own", own},
	{"djb2", cache.DJB2},
	{"FNV-1a", cache.FNV1a},
	{"xxHash", xxhash.Sum64String},
	{"maphash", func(s string) uint64 { return maphash.String(seed, s) }},
}

// own is a function of your own: change it and see. This one is xor with one
// idea more: turn what there is by five bits before each letter, so that the
// order of the letters counts.
func own(s string) uint64 {
	var h uint32
	for i := range len(s) {
		h = bits.RotateLeft32(h, 5) ^ uint32(s[i])
	}
	return uint64(h)
}

// A table is a hash table with chains.
type table struct {
	hash    func(string) uint64
	buckets []*link
}

// A link is one word of a chain.
type link struct {
	word string
	next *link
}

// fill returns a table of m buckets, at least one, with the words of list.
func fill(hash func(string) uint64, m int, list []string) *table {
	t := &table{hash, make([]*link, max(1, m))}
	for _, word := range list {
		b := t.bucket(word)
		*b = &link{word, *b}
	}
	return t
}

// bucket returns the beginning of the chain in which word belongs.
func (t *table) bucket(word string) **link {
	return &t.buckets[t.hash(word)%uint64(len(t.buckets))]
}

// find reports whether word is in the table, and how many links it took to see.
func (t *table) find(word string) (links int, found bool) {
	for l := *t.bucket(word); l != nil; l = l.next {
		links++
		if l.word == word {
			return links, true
		}
	}
	return links, false
}

// lengths returns the length of each chain.
func (t *table) lengths() []int {
	lengths := make([]int, len(t.buckets))
	for i, l := range t.buckets {
		for ; l != nil; l = l.next {
			lengths[i]++
		}
	}
	return lengths
}

// prime returns the smallest prime number that is at least n, which is positive.
func prime(n int) int {
	for n = max(2, n); ; n++ {
		d := 2
		for d*d <= n && n%d != 0 {
			d++
		}
		if d*d > n {
			return n
		}
	}
}

// power returns the smallest power of two that is at least n, which is positive.
func power(n int) int { return 1 << bits.Len(uint(n-1)) }
