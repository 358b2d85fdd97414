package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/pyzmq"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"fountain"}, []string{"responder"}, []string{"responder", "-do", "lower"})
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"responder", "-do", "title"},
		{"processor", "-port", "0"},
		{"fountain", "-every", "often"},
		{"all", "-n", "0"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q", args)
	}
	got := clitest.Run(t, "", "processor", "-responder", "nowhere")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "nowhere")
}

// Six programs, started in the wrong order.
func TestPrograms(t *testing.T) {
	upper := clitest.Start(t, "responder", "-port", "0")
	lower := clitest.Start(t, "responder", "-do", "lower", "-port", "0")
	fountain := clitest.Start(t, "fountain", "-port", "0", "-every", "0", "-seed", "1")
	var crew []*clitest.Process
	for _, name := range []string{"1", "2", "3"} {
		crew = append(crew, clitest.StartClient(t, "", "processor", "-name", name, "-n", "20",
			"-port", fountain.Port(), "-responder", upper.Addr, "-responder", lower.Addr))
	}
	for _, p := range crew {
		require.Equal(t, 0, p.Wait(), p.Stderr.String())
		requireBoth(t, p.Stdout.String(), 20)
	}
	require.Zero(t, fountain.Stop())
	require.Zero(t, lower.Stop())
	require.Zero(t, upper.Stop())
}

// requireBoth expects n words in out, half of them in upper case.
func requireBoth(t *testing.T, out string, n int) {
	t.Helper()
	upper, lower := 0, 0
	for _, line := range regexp.MustCompile(`(?m)^processor \S+: (\S+) → (\S+)$`).FindAllStringSubmatch(out, -1) {
		switch line[2] {
		case strings.ToUpper(line[1]):
			upper++
		case strings.ToLower(line[1]):
			lower++
		}
	}
	require.Equal(t, [2]int{n / 2, n / 2}, [2]int{upper, lower}, out)
}

func TestAll(t *testing.T) {
	got := clitest.Run(t, "", "all", "-port", "0", "-every", "1ms", "-n", "60")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 60, strings.Count(got.Stdout, " → "))
	require.Regexp(t, `sent to: +processor +upper +lower\n`, got.Stdout)
}

// A processor does not wait for ever.
func TestNoResponder(t *testing.T) {
	fountain := clitest.Start(t, "fountain", "-port", "0", "-every", "0")
	got := clitest.Run(t, "", "processor", "-port", fountain.Port(), "-wait", "50ms", "-responder", "127.0.0.1:1")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "queuecrazy: no responder has answered within 50ms\n", got.Stderr)
}

// The fountain is finite and nobody is there: it waits, and stops on request.
func TestNobodyDrinks(t *testing.T) {
	fountain := clitest.Start(t, "fountain", "-port", "0", "-n", "1")
	require.Zero(t, fountain.Stop())
}

// A processor of the README between our other parts.
func TestPython(t *testing.T) {
	python := pyzmq.Python(t)
	upper := clitest.Start(t, "responder", "-port", "0")
	lower := clitest.Start(t, "responder", "-do", "lower", "-port", "0")
	fountain := clitest.Start(t, "fountain", "-port", "0", "-every", "0")
	cmd := exec.CommandContext(t.Context(), python, "-c", pyzmq.Program(t, "python", 0,
		"6700", fountain.Port(), "6701", upper.Port(), "6702", lower.Port(), "while True:", "for i in range(20):"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	requireBoth(t, string(out), 20)
}
