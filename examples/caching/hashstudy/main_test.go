package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/words"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

// The formula says how many links are walked to find every word once. The
// table walks them.
func TestFormula(t *testing.T) {
	list := words.Bundled()
	for _, f := range functions {
		for _, m := range []int{1, 2, 100, len(list), 5000} {
			table := fill(f.hash, m, list)
			walked := 0
			for _, word := range list {
				links, found := table.find(word)
				require.True(t, found)
				walked += links
			}
			n := float64(len(list))
			even := (float64(m) + n) * n / (2 * float64(m))
			require.InDelta(t, float64(walked)/even, cache.Quality(table.lengths()), 1e-9, "%s, %d buckets", f.name, m)
			_, found := table.find("no such word")
			require.False(t, found)
		}
	}
}

// What the README says about the functions.
func TestFunctions(t *testing.T) {
	list := words.Bundled()
	n := len(list)
	quality := map[string]float64{}
	for _, f := range functions {
		quality[f.name] = cache.Quality(fill(f.hash, n, list).lengths())
		quality[f.name+" 2^k"] = cache.Quality(fill(f.hash, power(n), list).lengths())
	}
	for _, name := range []string{"own", "djb2", "FNV-1a", "xxHash", "maphash"} {
		require.InDelta(t, cache.Chance(n, n), quality[name], 0.15, name)
	}
	for _, name := range []string{"djb2", "FNV-1a", "xxHash", "maphash"} {
		require.InDelta(t, cache.Chance(n, power(n)), quality[name+" 2^k"], 0.2, name)
	}
	require.Greater(t, quality["own 2^k"], 3.0, "without multiplication the lowest bits are those of a few letters")
	require.Greater(t, quality["sum"], 2.0)
	require.Greater(t, quality["xor"], 15.0)
}

func TestPoisson(t *testing.T) {
	sum := 0.0
	for _, count := range poisson(1000, 500) {
		sum += count
	}
	require.InDelta(t, 500, sum, 1e-9)
	require.InDelta(t, 500*math.Exp(-2), poisson(1000, 500)[0], 1e-9)
	require.Equal(t, []int{2, 1, 0, 0, 0, 0, 0, 1}, histogram([]int{0, 0, 1, 50}))
}

func TestPrimesAndPowers(t *testing.T) {
	for n, want := range map[int][2]int{1: {2, 1}, 2: {2, 2}, 3: {3, 4}, 4: {5, 4}, 9: {11, 16}, 24: {29, 32}, 86014: {86017, 131072}} {
		require.Equal(t, want, [2]int{prime(n), power(n)}, n)
	}
}

// row returns the numbers in the line of a report that begins with name.
func row(t *testing.T, report, name string) (numbers []float64) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(name) + ` +([\d. ]+)$`).FindStringSubmatch(report)
	require.NotNil(t, line, "no line %q in\n%s", name, report)
	for field := range strings.FieldsSeq(line[1]) {
		x, err := strconv.ParseFloat(field, 64)
		require.NoError(t, err)
		numbers = append(numbers, x)
	}
	return numbers
}

func TestStudy(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "list.txt")
	require.NoError(t, os.WriteFile(file, []byte("b\na\nc\nb\n"), 0o600))
	got := clitest.Run(t, "", "study", "-svg", dir, "-buckets", "2", file)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "list: 3 words\n", "a word twice counts once")
	// a, b and c are 97, 98 and 99: as even as can be. Three words in four buckets
	// cannot be quite even.
	require.Equal(t, []float64{1, 1, 1.1429, 3}, row(t, got.Stdout, "sum")[:4])
	_, after, _ := strings.Cut(got.Stdout, "of 2 buckets")
	require.Equal(t, []float64{0, 1, 1, 0, 0, 0, 0, 0, 2}, row(t, after, "sum"))
	for _, name := range []string{"list-quality.svg", "list-buckets.svg"} {
		svg, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Contains(t, string(svg), "<svg")
		require.Contains(t, got.Stdout, fmt.Sprintf("wrote %s\n", filepath.Join(dir, name)))
	}
	// A list of one word is enough, and more files make more reports.
	require.NoError(t, os.WriteFile(file, []byte("solo"), 0o600))
	got = clitest.Run(t, "", "study", "-svg", dir, file, file)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 2, strings.Count(got.Stdout, "list: 1 words"))
}

func TestStudyFailures(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	full := filepath.Join(dir, "full")
	require.NoError(t, os.WriteFile(full, []byte("uno"), 0o600))
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"study", filepath.Join(dir, "none")}, 1, filepath.Join(dir, "none")},
		{[]string{"study", empty}, 1, "no words in it"},
		{[]string{"study", "-svg", filepath.Join(dir, "none"), full}, 1, filepath.Join(dir, "none")},
		{[]string{"study", "-buckets", "-1", full}, 2, "want a number from 0 to 67108864"},
	} {
		got := clitest.Run(t, "", test.args...)
		require.Equal(t, test.status, got.Status, "%v", test.args)
		require.Contains(t, got.Stderr, test.says)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"))
	}
}
