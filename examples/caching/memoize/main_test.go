package main

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

var line = regexp.MustCompile(`(?m)^(.*?) +(\d+) +(\d+) +[\d.]+ ms +[\d.]+ ms$`)

// worked returns how often the functions worked in each scene that a client
// printed.
func worked(t *testing.T, out string) (computed []int) {
	t.Helper()
	for _, found := range line.FindAllStringSubmatch(out, -1) {
		n, err := strconv.Atoi(found[3])
		require.NoError(t, err)
		computed = append(computed, n)
		calls, err := strconv.Atoi(found[2])
		require.NoError(t, err)
		require.LessOrEqual(t, n, calls)
	}
	require.Len(t, computed, 12, out)
	return computed
}

func TestClient(t *testing.T) {
	got := clitest.Run(t, "", "client", "-callers", "50")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "memory: this process\n")
	computed := worked(t, got.Stdout)
	require.Equal(t, []int{100, 20, 10, 1, 20, 4, 10, 1, 50, 1}, computed[:10])
	require.Greater(t, computed[10], 0)
	require.Greater(t, computed[11], 0)
}

// A second program finds in memcached what the first one has stored there.
func TestShared(t *testing.T) {
	server := clitest.Start(t, "server", "-port", "0")
	args := []string{"client", "-servers", server.Addr, "-callers", "10"}
	got := clitest.Run(t, "", args...)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, []int{100, 20, 10, 1, 20, 4, 10, 1, 10, 1}, worked(t, got.Stdout)[:10])
	got = clitest.Run(t, "", args...)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, []int{100, 0, 10, 0, 20, 0, 10, 0, 10, 0}, worked(t, got.Stdout)[:10])
}

func TestNoServer(t *testing.T) {
	server := clitest.Start(t, "server", "-port", "0")
	server.Stop()
	got := clitest.Run(t, "", "client", "-servers", server.Addr)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "cannot connect to "+server.Addr)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"))
}

func TestInterrupted(t *testing.T) {
	client := clitest.StartClient(t, "", "client")
	client.Stdout.WaitFor(t, "longest")
	require.Contains(t, []int{0, 130}, client.Stop()) // 0: Windows has no signals
}

func TestFunctions(t *testing.T) {
	n, err := square(t.Context(), 12)
	require.NoError(t, err)
	require.Equal(t, 144, n)
	for n, want := range map[uint64][]uint64{2: {2}, 12: {2, 2, 3}, 97: {97}, 1_000_003 * 999_983: {999_983, 1_000_003}} {
		primes, err := factors(t.Context(), n)
		require.NoError(t, err)
		require.Equal(t, want, primes)
	}
	km, err := distance(t.Context(), Trip{"Toledo", "Sevilla"})
	require.NoError(t, err)
	require.InDelta(t, 323, math.Round(km), 2)
	_, err = distance(t.Context(), Trip{"Toledo", "Atlantis"})
	require.EqualError(t, err, "from Toledo to Atlantis: no such town")
}
