package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

// ownCache makes the programs of the exercises go into a folder of this test,
// while the go command keeps its own caches.
func ownCache(t *testing.T) {
	t.Helper()
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOENV", "GOPROXY"} {
		t.Setenv(name, goEnv(t, name))
	}
	dir := t.TempDir()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} { // Linux, macOS, Windows
		t.Setenv(name, dir)
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func TestList(t *testing.T) {
	t.Chdir(t.TempDir()) // needs no checkout
	for _, args := range [][]string{nil, {"list"}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Regexp(t, `(?m)^  ✓ S1  udplocal +\S.*$`, got.Stdout)
		require.Regexp(t, `(?m)^  [✓·] Z7  p2pchat +\S.*$`, got.Stdout)
		require.Regexp(t, `(?m)^\d+ of 79 exercises are here`, got.Stdout)
		require.NotContains(t, got.Stdout, "\x1b", "no escape sequences into a pipe")
	}
	got := clitest.Run(t, "", "list", "clocks", "sockets")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, " S1 ")
	require.Contains(t, got.Stdout, " K1 ")
	require.NotContains(t, got.Stdout, " Z1 ")
}

func TestShow(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, key := range []string{"S1", "udplocal"} {
		got := clitest.Run(t, "", "show", key)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.True(t, strings.HasPrefix(got.Stdout, "S1 udplocal\n===========\n\n"), got.Stdout)
		require.NotContains(t, got.Stdout, "```")
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct{ args, stderr string }{
		{"S1", `no command "S1"`},
		{"-x", "flag provided but not defined: -x"},
		{"list nowhere", `no chapter "nowhere"`},
		{"show", "show takes one exercise"},
		{"show S1 S7", "show takes one exercise"},
		{"show S77", `no exercise "S77"`},
		{"run", "run takes an exercise"},
		{"run S77 demo", `no exercise "S77"`},
		{"tour nowhere", `no chapter or exercise "nowhere"`},
		{"tour S1 nowhere", `no chapter or exercise "nowhere"`},
		{"tour -lines -1", "invalid value"},
		{"tour -limit 0s", "invalid value"},
	} {
		got := clitest.Run(t, "", strings.Fields(test.args)...)
		require.Equal(t, 2, got.Status, test.args)
		require.Contains(t, got.Stderr, test.stderr, test.args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout)
	}
	for _, args := range [][]string{{"-h"}, {"list", "-h"}, {"show", "-h"}, {"run", "-h"}, {"tour", "-h"}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 0, got.Status, args)
		require.Contains(t, got.Stdout, "Usage: examples", args)
		require.Contains(t, got.Stdout, "Example:\n", args)
	}
}

// An exercise that is still to come is told from one that nobody knows.
func TestStillToCome(t *testing.T) {
	a := &app{catalogue: &catalogue{}}
	require.NoError(t, a.parse(smallList))
	a.add("sockets/udplocal", "# S1 udplocal\n\nHere.\n")
	_, err := a.existing("S2")
	require.EqualError(t, err, "S2 udpremote is still to come")

	names := func(stops []*exercise, err error) string {
		require.NoError(t, err)
		var ids []string
		for _, e := range stops {
			ids = append(ids, e.id)
		}
		return strings.Join(ids, " ")
	}
	require.Equal(t, "S1", names(a.itinerary(nil)))
	require.Equal(t, "S1", names(a.itinerary([]string{"sockets", "S1", "udplocal"})), "each once")
	require.Empty(t, names(a.itinerary([]string{"web"})))
	_, err = a.itinerary([]string{"W1"})
	require.EqualError(t, err, "W1 wget is still to come")
	a.add("web/wget", "# W1 wget\n\nHere.\n")
	require.Equal(t, "S1 W1", names(a.itinerary([]string{"W1", "S1"})), "in the course's order")
}

// run builds and runs from any folder of the checkout, with the exercise's own
// streams, exit status and signals.
func TestRun(t *testing.T) {
	ownCache(t)
	got := clitest.Run(t, "", "run", "S1", "demo")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "$ udplocal server")

	t.Chdir(filepath.Join("sockets", "udplocal"))
	srv := clitest.Start(t, "run", "udplocal", "server", "-port", "0")
	got = clitest.Run(t, "hola\n", "run", "s1", "client", "-port", srv.Port())
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "sent 4 bytes, answer \"4\"\n")
	srv.Stdout.WaitFor(t, `"hola" (4 bytes)`)
	if runtime.GOOS == "windows" {
		t.Log("Windows has no signals between processes: the clean stop is not checked")
	} else {
		srv.Signal(syscall.SIGTERM)
		require.Zero(t, srv.Wait(), "the signal must reach the exercise, which then stops cleanly")
		srv = clitest.Start(t, "run", "S1", "server", "-port", "0")
		srv.Signal(os.Interrupt)
		require.Zero(t, srv.Wait())
	}
	got = clitest.Run(t, "", "run", "S1", "client", "-port", "99999")
	require.Equal(t, 2, got.Status, "the exercise's own status")
	require.Contains(t, got.Stderr, "udplocal: invalid value")
	got = clitest.Run(t, "", "run", "S1", "-h")
	require.Equal(t, 0, got.Status)
	require.Contains(t, got.Stdout, "Usage: udplocal")
}

func TestTourCommand(t *testing.T) {
	ownCache(t)
	got := clitest.Run(t, "", "tour", "-lines", "1", "S1")
	require.Equal(t, 0, got.Status, got.Stdout+got.Stderr)
	require.Contains(t, got.Stdout, "[1/1] S1 udplocal\n")
	require.Contains(t, got.Stdout, "    $ udplocal server -port 0\n    … ")
	require.Contains(t, got.Stdout, "✓ S1 udplocal (")
	require.Contains(t, got.Stdout, "1 ✓, 0 ✗\n")
	// No demo is over in a millisecond.
	got = clitest.Run(t, "", "tour", "-limit", "1ms", "udplocal")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stdout, "✗ S1 udplocal: stopped after 1ms")
	require.Empty(t, got.Stderr, "the summary has said it")
}

func TestNoGoCommand(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, args := range [][]string{{"run", "S1", "demo"}, {"tour"}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status)
		require.Equal(t, "examples: no go command on the PATH: it builds the exercises (https://go.dev/dl)\n", got.Stderr)
		require.Empty(t, got.Stdout)
	}
}

// A program built in a checkout and taken elsewhere knows no version to ask for.
func TestNoSource(t *testing.T) {
	t.Chdir(t.TempDir())
	got := clitest.Run(t, "", "run", "S1", "demo")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "examples: no checkout of github.com/zocalo-go/zocalo around this folder")
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
}

// Where the system does not let a process be replaced, and where the streams
// are not the process's own, the exercise runs as a child.
func TestBecomeChild(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	t.Setenv("ZOCALO_EXERCISE_PROGRAM", "1") // the child is this very program
	var out, errs strings.Builder
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
	require.NoError(t, a.become(t.Context(), exe, []string{"list", "clocks"}))
	require.Contains(t, out.String(), " K1 ")
	require.EqualError(t, a.become(t.Context(), exe, []string{"list", "nowhere"}), "exit status 2")
	require.Contains(t, errs.String(), "no chapter")
	require.Error(t, a.become(t.Context(), filepath.Join(t.TempDir(), "none"), nil))
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("zocalo/go.mod", "// comment\nmodule "+module+" // ours\n\ngo 1.26.0\n")
	write("zocalo/bench/go.mod", "module "+module+"/bench\n")
	write("student/go.mod", "module \"student\"\n")
	write("broken/go.mod", "")
	at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	require.NoError(t, os.MkdirAll(at("zocalo/examples/sockets"), 0o755))

	ours := func(m debug.Module) *debug.BuildInfo {
		m.Path = module
		return &debug.BuildInfo{Main: m}
	}
	checkout := ours(debug.Module{Version: "(devel)"})
	released := ours(debug.Module{Version: "v1.2.3", Sum: "h1:x"})
	replaced := ours(debug.Module{Version: "v0.0.0", Replace: &debug.Module{Path: "../zocalo"}})
	for _, test := range []struct {
		name    string
		info    *debug.BuildInfo
		here    string
		root    string
		version string
	}{
		{"top of a checkout", checkout, "zocalo", "zocalo", ""},
		{"inside", checkout, "zocalo/examples/sockets", "zocalo", ""},
		{"nested module", checkout, "zocalo/bench", "zocalo", ""},
		{"stamped by version control", ours(debug.Module{Version: "v1.2.3"}), "zocalo", "zocalo", ""},
		{"elsewhere", checkout, "student", "", ""},
		{"no build information", nil, "zocalo", "zocalo", ""},
		{"no build information, elsewhere", nil, "student", "", ""},
		{"go run with a version", released, "student", "", "v1.2.3"},
		{"go run with a version inside a checkout", released, "zocalo", "", "v1.2.3"},
		{"replaced", replaced, "student", "zocalo", ""},
		{"replaced, absolute", ours(debug.Module{Replace: &debug.Module{Path: at("zocalo")}}), "student", "zocalo", ""},
		{"replaced by nothing of ours", ours(debug.Module{Replace: &debug.Module{Path: "../student"}}), "student", "", ""},
		{"another program", &debug.BuildInfo{Main: debug.Module{Path: "x", Version: "v1.0.0", Sum: "h1:x"}}, "student", "", ""},
	} {
		root, version := source(test.info, at(test.here))
		if test.root != "" {
			test.root = at(test.root)
		}
		require.Equal(t, test.root, root, test.name)
		require.Equal(t, test.version, version, test.name)
	}
}
