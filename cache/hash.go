package cache

// Xor, Sum, DJB2 and FNV1a are the hash functions of the study in exercise C4,
// from useless to good. They turn a key into a number; the rest of its division
// by the number of buckets, or of servers, says where the key belongs. For
// tables in one process hash/maphash is the better choice: its seed is
// random, so nobody can prepare keys that all meet in one bucket.

// Xor is the exclusive or of the bytes: at most 256 values, the same for "ab"
// and "ba".
func Xor(key string) uint64 {
	var h uint64
	for i := range len(key) {
		h ^= uint64(key[i])
	}
	return h
}

// Sum is the sum of the bytes, the same for all orders of them.
func Sum(key string) uint64 {
	var h uint64
	for i := range len(key) {
		h += uint64(key[i])
	}
	return h
}

// DJB2 is D. J. Bernstein's function of 32 bits: times 33, plus the next byte.
func DJB2(key string) uint64 {
	h := uint32(5381)
	for i := range len(key) {
		h = h*33 + uint32(key[i])
	}
	return uint64(h)
}

// FNV1a is the 64-bit function of G. Fowler, L. C. Noll and K.-P. Vo
// ([RFC 9923]): exclusive or with the next byte, then times a prime.
//
// [RFC 9923]: https://www.rfc-editor.org/rfc/rfc9923
func FNV1a(key string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 0x100000001b3
	}
	return h
}

// Quality says how evenly keys are spread over buckets, given how many there
// are in each. With N keys in M buckets, of which bucket i has L, it is
//
//	sum of L(1+L)/2, divided by (M+N)N/2M
//
// The first is how many links are walked to find every key once in a hash
// table with chains, the second the same if the keys were spread perfectly
// evenly. So 1.0 is perfect, and larger is worse; see [Chance]. (If M does not
// divide N, even the best is a little more.) It is 1 without keys.
func Quality(lengths []int) float64 {
	var walked, n float64
	m := float64(len(lengths))
	for _, l := range lengths {
		walked += float64(l) * float64(l+1) / 2
		n += float64(l)
	}
	if n == 0 {
		return 1
	}
	return walked / ((m + n) * n / (2 * m))
}

// Chance is the [Quality] to expect from a function that puts each of n keys
// into one of m buckets at random: (2m+n-1)/(m+n), which is 1.5 for a large
// n = m. A good hash function comes near this, and not near 1.0. It is 1
// without keys.
func Chance(n, m int) float64 {
	if n == 0 {
		return 1
	}
	return (2*float64(m) + float64(n) - 1) / float64(m+n)
}
