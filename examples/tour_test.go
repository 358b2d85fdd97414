package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

// demos are the programs of a small course in a checkout of its own.
var demos = map[string]string{
	"fine": `fmt.Println("all well"); fmt.Print("no end")`,
	"long": `for i := range 50 { fmt.Println("line", i) }`,
	"bad":  `for i := range 50 { fmt.Println("line", i) }; fmt.Fprintln(os.Stderr, "it broke"); os.Exit(3)`,
	"args": `if len(os.Args) != 2 || os.Args[1] != "demo" { os.Exit(1) }; fmt.Println("demo it is")`,
	"hang": `fmt.Println("waiting"); select { case <-time.After(time.Hour): }`,
	"typo": `fmt.Printline("does not build")`,
	// A grandchild that outlives the demo and holds its output open.
	"orphan": `if len(os.Args) == 2 { c := exec.Command(os.Args[0], "child", "x"); c.Stdout = os.Stdout; c.Start() }; fmt.Println("up"); select { case <-time.After(time.Hour): }`,
}

// course returns a checkout with those of the demos, and its catalogue.
func course(t *testing.T, names ...string) (*builder, []*exercise) {
	t.Helper()
	goTool, err := exec.LookPath("go")
	require.NoError(t, err)
	root := t.TempDir()
	write := func(name, text string) {
		file := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	write("go.mod", "module "+module+"\n\ngo 1.26.0\n")
	var list strings.Builder
	list.WriteString("chapter: Chapter\n")
	files := fstest.MapFS{}
	for i, name := range names {
		write("examples/chapter/"+name+"/main.go",
			"package main\n\nimport (\n\"fmt\"\n\"os\"\n\"os/exec\"\n\"time\"\n)\n\nvar _, _, _ = os.Exit, time.After, exec.Command\n\nfunc main() { "+demos[name]+" }\n")
		fmt.Fprintf(&list, "\tA%d %s: %s\n", i+1, name, name)
		files["chapter/"+name+"/README.md"] = &fstest.MapFile{Data: fmt.Appendf(nil, "# A%d %s\n\nShows %s.\n", i+1, name, name)}
	}
	c, err := load(list.String(), files)
	require.NoError(t, err)
	bin := t.TempDir()
	temp := filepath.Join(bin, "tmp")
	require.NoError(t, os.Mkdir(temp, 0o755))
	t.Setenv("GOFLAGS", "") // those of this checkout do not fit the small one
	return &builder{goTool: goTool, root: root, bin: bin, temp: temp}, c.chapters[0].exercises
}

var times = regexp.MustCompile(`\d+\.\d s`)

func TestTour(t *testing.T) {
	b, stops := course(t, "fine", "long", "args")
	var out bytes.Buffer
	tour := &tour{out: &out, lines: 3, limit: clitest.Limit}
	require.NoError(t, tour.play(t.Context(), b, stops))
	require.Equal(t, `Building 3 exercises …
… done in N s.

[1/3] A1 fine
    Shows fine.
    all well
    no end
✓ A1 fine (N s)

[2/3] A2 long
    Shows long.
    line 0
    line 1
    line 2
    … 47 lines more
✓ A2 long (N s)

[3/3] A3 args
    Shows args.
    demo it is
✓ A3 args (N s)

3 exercises in N s: 3 ✓, 0 ✗
`, times.ReplaceAllString(out.String(), "N s"))
}

// A demo that fails, one that hangs and one that does not build are told; the
// others are played all the same.
func TestTourFailures(t *testing.T) {
	b, stops := course(t, "typo", "bad", "hang", "fine")
	var out bytes.Buffer
	tour := &tour{out: &out, lines: 2, limit: 500 * time.Millisecond}
	err := tour.play(t.Context(), b, stops)
	require.Equal(t, cli.Status(1), err)
	text := times.ReplaceAllString(out.String(), "N s")
	require.Contains(t, text, "undefined: fmt.Printline")
	require.Contains(t, text, "✗ A1 typo: does not build (N s)\n")
	require.Contains(t, text, `
[2/4] A2 bad
    Shows bad.
    line 0
    line 1
    … 39 lines more
    line 41
    line 42
    line 43
    line 44
    line 45
    line 46
    line 47
    line 48
    line 49
    it broke
✗ A2 bad: exit status 3 (N s)
`)
	require.Contains(t, text, "✗ A3 hang: stopped after 500ms (N s)\n")
	require.Contains(t, text, "    all well\n    no end\n✓ A4 fine (N s)\n")
	require.Contains(t, text, "\n4 exercises in N s: 1 ✓, 3 ✗ (A1 typo, A2 bad, A3 hang)\n")
}

// A demo is stopped with all the processes that it started.
func TestTourStopsGrandchildren(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no process groups that one signal ends")
	}
	b, stops := course(t, "orphan")
	var out bytes.Buffer
	tour := &tour{out: &out, lines: 5, limit: 500 * time.Millisecond}
	require.Equal(t, cli.Status(1), tour.play(t.Context(), b, stops))
	require.Contains(t, out.String(), "✗ A1 orphan: stopped after 500ms")
}

func TestTourInterrupted(t *testing.T) {
	b, stops := course(t, "hang", "fine")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	tour := &tour{out: writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("waiting")) {
			cancel()
		}
		return out.Write(p)
	}), lines: 5, limit: clitest.Limit}
	require.ErrorIs(t, tour.play(ctx, b, stops), context.Canceled)
	require.NotContains(t, out.String(), "A2")
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestTranscript(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"a\nb", "    a\n    b\n"},
		{"a\r\nb\r\n", "    a\n    b\n"},
		{"10 %\r50 %\r100 %\n", "    100 %\n"},
		{"10 %\r", "    10 %\n"},
		{"\x1b[2Jred\a\tñ\xff\n", "    [2Jred\tñ\n"},
		{"a\nb\nc\nd\n", "    a\n    b\n    c\n    … 1 lines more\n"},
		{strings.Repeat("x", 500) + "\n", "    " + strings.Repeat("x", maxLine) + "\n"},
	} {
		for _, pieces := range []int{1, 1000} {
			var out bytes.Buffer
			tr := &transcript{out: &out, limit: 3}
			for in := []byte(test.in); len(in) > 0; {
				n, err := tr.Write(in[:min(pieces, len(in))])
				require.NoError(t, err)
				in = in[n:]
			}
			tr.close(false)
			require.Equal(t, test.want, out.String(), "%q", test.in)
		}
	}
	// However much a demo prints, little of it is kept.
	tr := &transcript{out: io.Discard, limit: 3}
	for range 100_000 {
		tr.Write([]byte("line\n"))
	}
	tr.Write(bytes.Repeat([]byte("x"), 1<<20))
	require.Len(t, tr.last, tail)
	require.LessOrEqual(t, cap(tr.partial), 2*maxLine)
}
