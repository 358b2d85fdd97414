package mapreduce

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sort by prefixes gives what comparing whole keys gives.
func TestSortRefs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(letters string, most int) []byte {
		k := make([]byte, r.IntN(most))
		for i := range k {
			k[i] = letters[r.IntN(len(letters))]
		}
		return k
	}
	for name, next := range map[string]func() []byte{
		"bytes":    func() []byte { return random("abcdefghijklmnopqrstuvwxyz\x00\xff", 12) },
		"zeros":    func() []byte { return random("\x00\x00\x00\x00\x00\x00a", 40) },
		"same":     func() []byte { return []byte("the same line, of more than eight bytes") },
		"few":      func() []byte { return random("ab", 6) },
		"long":     func() []byte { return append(bytes.Repeat([]byte("x"), 300), random("ab", 20)...) },
		"numbers":  func() []byte { return fmt.Appendf(nil, "%020d", r.IntN(3000)) },
		"prefixes": func() []byte { return []byte(strings.Repeat("prefix", 1+r.IntN(60))) },
	} {
		keys := make([][]byte, 5000)
		var want, got []ref
		for i := range keys {
			keys[i] = next()
			got = append(got, ref{prefixOf(keys[i]), uint64(i)})
		}
		key := func(r ref) []byte { return keys[r.at] }
		want = slices.Clone(got)
		slices.SortFunc(want, func(a, b ref) int {
			return cmp.Or(bytes.Compare(key(a), key(b)), cmp.Compare(a.at, b.at))
		})
		places := func(refs []ref) (at []uint64) {
			for _, r := range refs {
				at = append(at, r.at)
			}
			return at
		}
		sortRefs(got, nil, key)
		require.Equal(t, places(want), places(got), name)
		backwards := func(a, b []byte) int { return bytes.Compare(b, a) }
		sortRefs(got, backwards, key)
		slices.SortFunc(want, func(a, b ref) int {
			return cmp.Or(bytes.Compare(key(b), key(a)), cmp.Compare(a.at, b.at))
		})
		require.Equal(t, places(want), places(got), name)
	}
}
