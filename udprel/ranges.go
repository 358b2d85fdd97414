package udprel

import "slices"

// A span is the numbers from lo to hi-1.
type span struct{ lo, hi uint64 }

// spans is a set of numbers, kept as spans in rising order that neither overlap
// nor touch. It answers which packets have arrived, which bytes of a stream are
// there, and which must be sent again.
type spans []span

// find returns the index of the first span that ends at x or behind it. Most
// questions are about the end of the set, so it looks there first.
func (s spans) find(x uint64) int {
	n := len(s)
	if n == 0 || s[n-1].hi < x {
		return n
	}
	if n == 1 || s[n-2].hi < x {
		return n - 1
	}
	i, _ := slices.BinarySearchFunc(s, x, func(v span, x uint64) int {
		if v.hi < x {
			return -1
		}
		return 1
	})
	return i
}

// add puts lo to hi-1 into the set and returns how many were not in it.
func (s *spans) add(lo, hi uint64) (added uint64) {
	if lo >= hi {
		return 0
	}
	v := *s
	i := v.find(lo)
	j, whole, had := i, span{lo, hi}, uint64(0)
	for ; j < len(v) && v[j].lo <= hi; j++ {
		if l, h := max(lo, v[j].lo), min(hi, v[j].hi); l < h {
			had += h - l
		}
		whole = span{min(whole.lo, v[j].lo), max(whole.hi, v[j].hi)}
	}
	*s = slices.Replace(v, i, j, whole)
	return hi - lo - had
}

// remove takes lo to hi-1 out of the set.
func (s *spans) remove(lo, hi uint64) {
	v := *s
	i := v.find(lo)
	for i < len(v) && v[i].lo < hi && lo < hi {
		switch old := v[i]; {
		case old.hi <= lo: // touches only
			i++
		case old.lo < lo && old.hi > hi:
			v[i].hi = lo
			*s = slices.Insert(v, i+1, span{hi, old.hi})
			return
		case old.lo < lo:
			v[i].hi = lo
			i++
		case old.hi > hi:
			v[i].lo = hi
			i++
		default:
			v = slices.Delete(v, i, i+1)
		}
	}
	*s = v
}

// contains reports whether x is in the set.
func (s spans) contains(x uint64) bool {
	i := s.find(x + 1)
	return i < len(s) && s[i].lo <= x
}

// addMissing puts into s what of lo to hi-1 is not in have.
func (s *spans) addMissing(have spans, lo, hi uint64) {
	for i := have.find(lo + 1); i < len(have) && have[i].lo < hi; i++ {
		s.add(lo, min(have[i].lo, hi))
		lo = max(lo, have[i].hi)
	}
	s.add(lo, hi)
}
