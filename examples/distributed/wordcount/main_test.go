package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/corpus"
	"github.com/zocalo-go/zocalo/examples/internal/words"
	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/mapreduce"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"master", "-in", "README.md", "-out", filepath.Join(t.TempDir(), "out")})
}

func TestWrongUsage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		{"master"},
		{"master", "-in", "README.md"},
		{"master", "-in", "README.md", "-out", out, "-mappers", "0"},
		{"master", "-in", "README.md", "-out", out, "-mappers", "2", "-replicas", "3"},
		{"mapper"},
		{"reducer", "-port", "0"},
		{"text"},
		{"text", "-out", out, "-size", "0"},
		{"text", "-out", out, "-from", "README.md", "-words", "README.md"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout)
		require.NoFileExists(t, out)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, args := range [][]string{
		{"master", "-in", "no-such-file", "-out", out},
		{"text", "-out", out, "-from", "no-such-file"},
		{"text", "-out", out, "-words", "no-such-file"},
		{"text", "-out", filepath.Join("no-such-folder", "out")},
		{"text", "-out", out, "-from", empty},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status, "%q", args)
		require.NotContains(t, got.Stdout, "listening")
	}
}

func TestText(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	from := filepath.Join(dir, "from")
	require.NoError(t, os.WriteFile(from, []byte("uno\ndos\n"), 0o600))
	got := clitest.Run(t, "", "text", "-from", from, "-size", "20", "-out", out)
	require.Equal(t, clitest.Result{Stdout: out + ": 24 bytes\n"}, got)
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("uno\ndos\n", 3), string(text))

	got = clitest.Run(t, "", "text", "-from", from, "-size", "10", "-out", from)
	require.Equal(t, clitest.Result{Stdout: from + ": 16 bytes\n"}, got, "a file in place of itself")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, cli.Interrupted, run(ctx, []string{"text", "-from", from, "-out", out}, nil, io.Discard, io.Discard))
	text, err = os.ReadFile(out)
	require.NoError(t, err)
	require.Len(t, text, 24, "as before")

	got = clitest.Run(t, "", "text", "-words", from, "-size", "1000", "-seed", "7", "-out", out)
	require.Zero(t, got.Status, got.Stderr)
	text, err = os.ReadFile(out)
	require.NoError(t, err)
	require.Empty(t, strings.Trim(string(text), "unodsi \n"))
	require.GreaterOrEqual(t, len(text), 1000)
}

func TestPieces(t *testing.T) {
	for mappers, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 100: 50} {
		require.Equal(t, want, pieces(mappers))
	}
}

// A count is a master at work on a text.
type count struct {
	t      *testing.T
	master *clitest.Process
	in     string
	out    string
}

func newCount(t *testing.T, in string, args ...string) *count {
	t.Helper()
	c := &count{t: t, in: in, out: filepath.Join(t.TempDir(), "out")}
	c.master = clitest.Start(t, append([]string{"master", "-in", in, "-out", c.out}, args...)...)
	return c
}

func (c *count) worker(kind, name string, args ...string) *clitest.Process {
	c.t.Helper()
	return clitest.StartClient(c.t, "", append([]string{kind, "-port", c.master.Port(), "-name", name}, args...)...)
}

// finish waits for the end and compares the index with that of one process.
func (c *count) finish() {
	c.t.Helper()
	require.Zero(c.t, c.master.Wait(), "%s", c.master.Stderr)
	require.Contains(c.t, c.master.Stdout.String(), "the index is in "+c.out+"\n")
	alone := filepath.Join(c.t.TempDir(), "alone")
	_, err := (&mapreduce.Local{}).Run(c.t.Context(), corpus.WordCount(), mapreduce.Files(c.in), mapreduce.File(alone))
	require.NoError(c.t, err)
	want, err := os.ReadFile(alone)
	require.NoError(c.t, err)
	require.NotEmpty(c.t, want)
	got, err := os.ReadFile(c.out)
	require.NoError(c.t, err)
	require.True(c.t, string(want) == string(got), "the index differs from that of one process")
}

// zipf makes a text of words that everybody has.
func zipf(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "text")
	f, err := os.Create(name)
	require.NoError(t, err)
	require.NoError(t, corpus.Zipf(f, words.Bundled(), size, 1))
	require.NoError(t, f.Close())
	return name
}

// There are at most half as many pieces as mappers, and the mappers share them.
func TestCount(t *testing.T) {
	for mappers, pieces := range map[int]int{1: 1, 2: 1, 4: 2, 7: 3} {
		t.Run(fmt.Sprint(mappers), func(t *testing.T) {
			c := newCount(t, zipf(t, textSize/10), "-mappers", fmt.Sprint(mappers))
			workers := map[string]*clitest.Process{"r": c.worker("reducer", "r")}
			for i := range mappers {
				name := fmt.Sprint("m", i)
				workers[name] = c.worker("mapper", name)
			}
			c.finish()
			told := c.master.Stdout.String()
			for name, w := range workers {
				if strings.Contains(told, name+" gets ") { // another may have come too late
					require.Zero(t, w.Wait(), "%s", w.Stderr)
				}
			}
			for i := range pieces {
				require.Contains(t, told, fmt.Sprintf(" has finished piece %d\n", i))
			}
			require.NotContains(t, told, fmt.Sprintf("piece %d", pieces))
		})
	}
}

// The whole Quijote, repeated past five million bytes, while a mapper is killed
// that has a piece and another one that has finished one.
func TestQuijote(t *testing.T) {
	quijote := filepath.Join(interop.Data(t), "quijote.txt")
	in := filepath.Join(t.TempDir(), "text")
	require.Zero(t, clitest.Run(t, "", "text", "-from", quijote, "-out", in).Status)
	c := newCount(t, in, "-mappers", "4")
	slow := c.worker("mapper", "slow", "-slow", "1h")
	c.master.Stdout.WaitFor(t, "slow gets piece 0")
	done := c.worker("mapper", "done")
	c.master.Stdout.WaitFor(t, "done has finished piece 1")
	slow.Signal(os.Kill)
	c.master.Stdout.WaitFor(t, "slow has failed with piece 0")
	done.Signal(os.Kill)
	c.master.Stdout.WaitFor(t, "done has failed with piece 1")
	c.worker("mapper", "third")
	c.worker("reducer", "r")
	c.finish()
}

// With replicas a piece is mapped by several, and one of them may die.
func TestReplicas(t *testing.T) {
	c := newCount(t, zipf(t, 100_000), "-mappers", "3", "-replicas", "2")
	first := c.worker("mapper", "first")
	second := c.worker("mapper", "second")
	told := c.master.Stdout.WaitFor(t, "which does not count")
	for _, name := range []string{"first", "second"} {
		require.Contains(t, told, name+" gets piece 0\n")
	}
	first.Signal(os.Kill)
	c.worker("mapper", "third") // takes the dead one's place
	c.worker("reducer", "r")
	c.finish()
	require.Zero(t, second.Wait())
}

// A stopped master leaves no part of an index, and its workers leave.
func TestStopped(t *testing.T) {
	c := newCount(t, zipf(t, 1000))
	m := c.worker("mapper", "m")
	c.master.Stdout.WaitFor(t, "m has finished piece 0")
	c.master.Stop()
	require.NoFileExists(t, c.out)
	m.Wait()
}
