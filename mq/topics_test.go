package mq

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tree finds what trying each subscription finds, whatever comes and goes.
func TestTopicsAgainstAList(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, rnd.IntN(6))
		for i := range b {
			b[i] = "ab"[rnd.IntN(2)]
		}
		return string(b)
	}
	var tree topics
	list := map[string]int{}
	for range 20_000 {
		topic := word()
		if rnd.IntN(2) == 0 {
			tree.find(topic, true).count++
			list[topic]++
		} else if n := tree.find(topic, false); list[topic] > 0 {
			require.NotNil(t, n, "%q is in the tree", topic)
			n.count--
			if list[topic]--; list[topic] == 0 {
				delete(list, topic)
				tree.prune(topic)
			}
		}
		seek := word()
		want := false
		for prefix := range list {
			want = want || strings.HasPrefix(seek, prefix)
		}
		require.Equal(t, want, tree.has([]byte(seek)), "%q in %v", seek, list)
	}
	var all []string
	tree.each(func(topic string) { all = append(all, topic) })
	require.ElementsMatch(t, slices.Collect(maps.Keys(list)), all)

	for topic := range list {
		tree.find(topic, false).count = 0
		tree.prune(topic)
	}
	require.Empty(t, tree.root.next, "nothing is left of subscriptions that are over")
}

// A message is for a pipe once, however many of its subscriptions match.
func TestTopicsMatch(t *testing.T) {
	var tree topics
	one, two := new(pipe), new(pipe)
	for topic, p := range map[string]*pipe{"": one, "ab": one, "abc": two, "b": two} {
		n := tree.find(topic, true)
		n.pipes = append(n.pipes, p)
	}
	for topic, want := range map[string][]*pipe{
		"": {one}, "a": {one}, "ab": {one, one}, "abcd": {one, one, two}, "abd": {one, one}, "bc": {one, two},
	} {
		var got []*pipe
		tree.match([]byte(topic), func(pipes []*pipe) { got = append(got, pipes...) })
		require.Equal(t, want, got, topic)
	}
}
