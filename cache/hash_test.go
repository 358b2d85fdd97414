package cache

import (
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHashes(t *testing.T) {
	for _, test := range []struct {
		key                 string
		xor, sum, djb2, f1a uint64
	}{
		{"", 0, 0, 5381, 0xcbf29ce484222325},
		{"a", 97, 97, 177670, 0xaf63dc4c8601ec8c},
		{"foobar", 'f' ^ 'b' ^ 'a' ^ 'r', 633, 4259602622, 0x85944171f73967e8},
		{"\xff\xff\xff\xff\xff\xff\xff", 255, 7 * 255, 0, 0},
	} {
		require.Equal(t, test.xor, Xor(test.key), "Xor %q", test.key)
		require.Equal(t, test.sum, Sum(test.key), "Sum %q", test.key)
		if test.djb2 != 0 {
			require.Equal(t, test.djb2, DJB2(test.key), "DJB2 %q", test.key)
		}
		if test.f1a != 0 {
			require.Equal(t, test.f1a, FNV1a(test.key), "FNV1a %q", test.key)
		}
		std := fnv.New64a()
		std.Write([]byte(test.key))
		require.Equal(t, std.Sum64(), FNV1a(test.key))
		require.Less(t, DJB2(test.key), uint64(1)<<32)
	}
	require.Equal(t, Xor("stop"), Xor("pots"))
	require.Equal(t, Sum("stop"), Sum("pots"))
	require.NotEqual(t, FNV1a("stop"), FNV1a("pots"))
}

func TestQuality(t *testing.T) {
	require.InDelta(t, 1.0, Quality([]int{1, 1, 1, 1}), 1e-12, "perfectly even")
	require.InDelta(t, 1.0, Quality([]int{3, 3}), 1e-12)
	require.InDelta(t, 10.0/4, Quality([]int{4, 0, 0, 0}), 1e-12, "all in one: 1+2+3+4 links, not 4")
	require.Equal(t, 1.0, Quality([]int{0, 0}))
	require.Equal(t, 1.0, Quality(nil))
	require.Equal(t, 1.0, Chance(0, 0))
	require.InDelta(t, 1.5, Chance(1_000_000, 1_000_000), 1e-6)
}

// TestChance compares functions with what is to be expected of a random one:
// good ones are near 1.5, and not near 1.
func TestChance(t *testing.T) {
	const n = 20_000
	seed := maphash.MakeSeed()
	quality := func(hash func(string) uint64) float64 {
		lengths := make([]int, n)
		for i := range n {
			lengths[hash(fmt.Sprint("key:", i))%n]++
		}
		return Quality(lengths)
	}
	require.InDelta(t, 1.5, Chance(n, n), 1e-4)
	require.InDelta(t, 1.5, quality(func(s string) uint64 { return maphash.String(seed, s) }), 0.05)
	require.InDelta(t, 1.5, quality(FNV1a), 0.1)
	require.Greater(t, quality(Sum), 50.0)
	require.Greater(t, quality(Xor), quality(Sum))
}
