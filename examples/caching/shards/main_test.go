package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/words"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"study", "-servers", "1"},
		{"study", "-servers", "201"},
		{"table", "-shards", "0"},
		{"table", "-by", "maphash"}, // the rows would never be found again
		{"table", "-by", "x"},
		{"table", "a", "b"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout)
	}
	for _, args := range [][]string{{"study", "no-such-file"}, {"table", "no-such-file"}, {"table", "-dir", "no-such-folder"}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status, "%q", args)
		require.Contains(t, got.Stderr, "no-such-f")
	}
}

func find(t *testing.T, name string) method {
	i := slices.IndexFunc(methods, func(m method) bool { return m.name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return methods[i]
}

func TestFirstLetter(t *testing.T) {
	pick := firstLetter(nodes(26))
	for word, want := range map[string]int{
		"a": 0, "Árbol": 0, "zorro": 25, "ñandú": 13, "n": 13, "Über": 20,
		"'tis": 0, "7": 0, "жук": 25, "\xff": 25,
	} {
		require.Equal(t, want, pick(word), "%q", word)
	}
	require.Equal(t, 3, firstLetter(nodes(4))("zorro"))
}

// What the README says about the methods.
func TestBalanceAndMovement(t *testing.T) {
	list := words.Bundled()
	for _, m := range methods {
		most, deviation := spread(m.loads(list, 4))
		joins := m.movement(list, 4, 5)
		middle := m.middle(list, 4)
		switch m.name {
		case "letter":
			require.Greater(t, most, 1.5)
		case "ketama", "bounded":
			require.Less(t, deviation, 0.15, m.name)
		default:
			require.Less(t, deviation, 0.06, m.name)
		}
		switch m.name {
		case "letter":
		case "maphash", "modulo", "md5":
			require.InDelta(t, 0.8, joins, 0.05, m.name)
			require.InDelta(t, 0.75, middle, 0.05, m.name)
		case "jump":
			require.InDelta(t, 0.2, joins, 0.05)
			require.Greater(t, middle, 0.35)
		default:
			require.InDelta(t, 0.2, joins, 0.05, m.name)
			require.InDelta(t, 0.27, middle, 0.05, m.name)
		}
		if m.stable {
			require.Zero(t, m.disagreement(list, 4), m.name)
		} else {
			require.InDelta(t, 0.75, m.disagreement(list, 4), 0.05, m.name)
		}
	}
}

func TestStudy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mine.txt")
	require.NoError(t, os.WriteFile(file, []byte("one\ntwo\none\nthree\n\n"), 0o600))
	got := clitest.Run(t, "", "study", "-servers", "3", "-svg", dir, file)
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "mine: 3 words on 3 servers\n")
	for _, m := range methods {
		require.Equal(t, 2, strings.Count(got.Stdout, " "+m.name+" "), m.name)
	}
	for _, name := range []string{"mine-balance.svg", "mine-movement.svg"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Contains(t, string(text), "<svg")
	}
}

// The table says the same however it is spread, and the same as a list.
func TestTable(t *testing.T) {
	list, _, err := load("")
	require.NoError(t, err)
	letters := 0
	for _, word := range list {
		letters += utf8.RuneCountInString(word)
	}
	ctx := t.Context()
	for _, name := range []string{"letter", "modulo", "ketama"} {
		for _, n := range []int{1, 3} {
			table, err := create(ctx, t.TempDir(), n, find(t, name).selector)
			require.NoError(t, err)
			defer table.close()
			require.NoError(t, table.insert(ctx, list))
			require.NoError(t, table.insert(ctx, list[:10]), "what is there stays")
			for range 3 {
				sums, err := table.sums(ctx)
				require.NoError(t, err)
				require.Equal(t, sum{len(list), letters}, total(sums))
				for i, word := range list {
					if i%50 == 0 {
						found, err := table.has(ctx, word)
						require.NoError(t, err)
						require.True(t, found, word)
						require.Equal(t, 1, table.asked)
					}
				}
				found, err := table.has(ctx, "no such word")
				require.NoError(t, err)
				require.False(t, found)

				longest, err := table.longest(ctx, 100)
				require.NoError(t, err)
				want := slices.Clone(list)
				slices.SortStableFunc(want, func(a, b string) int { return utf8.RuneCountInString(b) - utf8.RuneCountInString(a) })
				require.Equal(t, want[:100], longest)

				endings, err := table.endings(ctx, 100)
				require.NoError(t, err)
				all := 0
				for _, e := range endings {
					all += e.words
				}
				require.Equal(t, len(list), all)
				require.Equal(t, ending{"s", 600}, endings[0])

				moved, err := table.grow(ctx)
				require.NoError(t, err)
				if n++; name == "ketama" {
					require.InDelta(t, 1/float64(n), float64(moved)/float64(len(list)), 0.08)
				}
			}
		}
	}
}

// The mean of the databases' means is not the mean.
func TestMeanOfMeans(t *testing.T) {
	sums := []sum{{1, 3}, {99, 990}}
	require.InDelta(t, 9.93, total(sums).mean(), 1e-9)
	require.Greater(t, math.Abs(total(sums).mean()-(sums[0].mean()+sums[1].mean())/2), 3.0)
}

func TestKeptDatabases(t *testing.T) {
	dir := t.TempDir()
	got := clitest.Run(t, "", "table", "-dir", dir, "-shards", "2", "-by", "jump")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "rows: ")
	files, err := filepath.Glob(filepath.Join(dir, "server?.db"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	got = clitest.Run(t, "", "table", "-dir", dir)
	require.Equal(t, 1, got.Status, "rows of another run may be out of place")
	require.Contains(t, got.Stderr, "server0.db")
}
