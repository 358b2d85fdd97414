package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	t.Parallel()
	clitest.Conventions(t, []string{"server"}, []string{"server", "-tcp", "-replace", "-clients", "3"})
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"server", "-timeout", "0s"},
		{"server", "-control", "bbr"},
		{"get", "-port", "9"},
		{"get", "-port", "9", "a", "b"},
		{"get", "a"},
		{"get", "-port", "9", "-o", "a/..", "a"},
		{"get", "-port", "9", "-link", "loss=200%", "a"},
		{"put", "-port", "9"},
		{"put", "main.go"},
		{"put", "-port", "9", "-seed", "-1", "main.go"},
		{"compare", "loss=two"},
		{"compare", "rate=1mbit"}, // the common part has one
		{"compare", "-size", "0"},
		{"compare", "-together", "-link", "loss=1%", ""},
		{"server", "-max", "0"},
		{"compare", "-limit", "1ms"},
		{"packets", "-size", "-1"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, cli.BadUsage, got.Status, "%q: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q", got.Stderr)
		require.Empty(t, got.Stdout)
	}
}

// overs are the flags of both transports.
var overs = map[string][]string{"udp": nil, "tcp": {"-tcp"}}

// bothWays runs a test over both transports. args makes a command line of a
// command and what is special about it.
func bothWays(t *testing.T, test func(t *testing.T, args func(...string) []string)) {
	for name, over := range overs {
		t.Run(name, func(t *testing.T) {
			test(t, func(args ...string) []string {
				return append(append([]string{args[0]}, over...), args[1:]...)
			})
		})
	}
}

// content returns bytes that look random, always the same.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

func requireContent(t *testing.T, want []byte, path ...string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "%d bytes, not the %d that were expected", len(got), len(want))
}

func inside(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func requireFails(t *testing.T, got clitest.Result, says string) {
	t.Helper()
	require.Equal(t, cli.Failure, got.Status, "%s%s", got.Stdout, got.Stderr)
	require.Contains(t, got.Stderr, says)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q", got.Stderr)
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, args func(...string) []string) {
		store, here := t.TempDir(), t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(store, "folder"), 0o700))
		srv := clitest.Start(t, args("server", "-port", "0", "-dir", store)...)
		for i, size := range []int{0, 1, 300_000} {
			want := content(size)
			name := fmt.Sprintf("folder/ñ %d", i)
			got := clitest.Run(t, "", args("put", "-port", srv.Port(), "-name", name, write(t, here, "original", want))...)
			require.Zero(t, got.Status, got.Stderr)
			requireContent(t, want, store, "folder", fmt.Sprintf("ñ %d", i))
			got = clitest.Run(t, "", args("get", "-port", srv.Port(), "-progress", "-o", filepath.Join(here, "copy"), "-replace", name)...)
			require.Zero(t, got.Status, got.Stderr)
			require.Equal(t, size > 0, strings.Contains(got.Stderr, "100%"))
			require.Regexp(t, regexp.QuoteMeta(fmt.Sprintf("get %s: %d bytes, SHA-256 ", name, size))+"[0-9a-f]{64} at both ends, in .*Mbit/s\n$", got.Stdout)
			requireContent(t, want, here, "copy")
			srv.Stdout.WaitFor(t, fmt.Sprintf("get %q: %d bytes, SHA-256 ", name, size))
		}
		require.Equal(t, []string{"copy", "original"}, inside(t, here), "nothing is left over")
		require.Len(t, inside(t, filepath.Join(store, "folder")), 3)
	})
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	clitest.NeedHost(t, "::1")
	dir := t.TempDir()
	write(t, dir, "a", content(10_000))
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0", "-dir", dir)
	got := clitest.Run(t, "", "get", "-host", "::1", "-port", srv.Port(), "-link", "loss=5%", "-o", filepath.Join(dir, "b"), "a")
	require.Zero(t, got.Status, got.Stderr)
	requireContent(t, content(10_000), dir, "b")
}

func TestBadLink(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, args func(...string) []string) {
		dir := t.TempDir()
		srv := clitest.Start(t, args("server", "-port", "0", "-dir", dir)...)
		want := content(200_000)
		link := "delay=2ms,loss=10%,dup=5%,reorder=10%,mtu=900"
		got := clitest.Run(t, "", args("put", "-port", srv.Port(), "-link", link, "-name", "a", write(t, t.TempDir(), "x", want))...)
		require.Zero(t, got.Status, got.Stderr)
		requireContent(t, want, dir, "a")
		got = clitest.Run(t, "", args("get", "-port", srv.Port(), "-link", link, "-o", filepath.Join(dir, "b"), "a")...)
		require.Zero(t, got.Status, got.Stderr)
		requireContent(t, want, dir, "b")
		require.Regexp(t, `\nlink: \d+ packets to the server, of them \d+ lost and 0 found the queue full; \d+ packets back, `, "\n"+got.Stdout)
	})
}

func TestResume(t *testing.T) {
	t.Parallel()
	want := content(100_000)
	for _, c := range []struct {
		name string
		part []byte
		says string
	}{
		{"half", want[:50_000], "the first 50000 from an earlier try"},
		{"all", want, "the first 100000 from an earlier try"},
		{"one byte", want[:1], "the first 1 from an earlier try"},
		{"of another file", content(100_000)[1:50_000], "100000 bytes, SHA-256"},
		{"too long", append(bytes.Clone(want), 'x'), "100000 bytes, SHA-256"},
		{"empty", nil, "100000 bytes, SHA-256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, here := t.TempDir(), t.TempDir()
			write(t, store, "a", want)
			srv := clitest.Start(t, "server", "-port", "0", "-dir", store)

			write(t, here, ".b.part", c.part)
			got := clitest.Run(t, "", "get", "-port", srv.Port(), "-o", filepath.Join(here, "b"), "a")
			require.Zero(t, got.Status, got.Stderr)
			require.Contains(t, got.Stdout, c.says)
			requireContent(t, want, here, "b")
			require.Equal(t, []string{"b"}, inside(t, here))

			write(t, store, ".c.part", c.part)
			got = clitest.Run(t, "", "put", "-port", srv.Port(), "-name", "c", filepath.Join(here, "b"))
			require.Zero(t, got.Status, got.Stderr)
			require.Contains(t, got.Stdout, c.says)
			requireContent(t, want, store, "c")
			require.Equal(t, []string{"a", "c"}, inside(t, store))
		})
	}
}

func TestRefusedNames(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	secret := write(t, outside, "secret", []byte("secret"))
	write(t, dir, "there", []byte("x"))
	write(t, dir, ".hidden", []byte("x"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	mine := write(t, t.TempDir(), "mine", []byte("mine"))
	names := map[string]string{
		"../" + filepath.Base(outside) + "/secret": "is not the name of a file here",
		secret:                     "is not the name of a file here",
		"folder/../there":          "is not the name of a file here",
		".hidden":                  "is not the name of a file here",
		"folder/.hidden":           "is not the name of a file here",
		".":                        "is not the name of a file here",
		"":                         "is not the name of a file here",
		"there/":                   "is not the name of a file here",
		strings.Repeat("x", 4_000): "",
	}
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
		require.NoError(t, os.Symlink(secret, filepath.Join(dir, "file")))
		names["link/secret"] = ""
		names["file"] = ""
	}
	for name, says := range names {
		got := clitest.Run(t, "", "get", "-port", srv.Port(), "-o", filepath.Join(t.TempDir(), "got"), name)
		requireFails(t, got, says)
		if name != "" && name != "file" { // put without a name takes the file's; a link is there already
			requireFails(t, clitest.Run(t, "", "put", "-port", srv.Port(), "-name", name, mine), says)
		}
	}
	requireFails(t, clitest.Run(t, "", "get", "-port", srv.Port(), "-o", filepath.Join(t.TempDir(), "got"), "nowhere"), `there is no file \"nowhere\"`)
	requireFails(t, clitest.Run(t, "", "get", "-port", srv.Port(), "-o", filepath.Join(t.TempDir(), "got"), "folder"), `\"folder\" is no regular file`)
	requireFails(t, clitest.Run(t, "", "put", "-port", srv.Port(), "-name", "there", mine), `there is a file \"there\" already`)
	requireFails(t, clitest.Run(t, "", "put", "-port", srv.Port(), "-name", "nowhere/x", mine), "its disk does not play along")
	requireFails(t, clitest.Run(t, "", "put", "-port", srv.Port(), filepath.Join(dir, "nowhere")), `there is no file "nowhere"`)
	requireFails(t, clitest.Run(t, "", "put", "-port", srv.Port(), dir), "is no regular file")
	requireFails(t, clitest.Run(t, "", "get", "-port", srv.Port(), "-o", mine, "there"), `there is a file "mine" already`)
	requireContent(t, []byte("secret"), secret)
	require.Equal(t, []string{"secret"}, inside(t, outside))
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t, "", "get", "-port", "9", "-timeout", "300ms", "-o", filepath.Join(t.TempDir(), "x"), "x")
	requireFails(t, got, "127.0.0.1:9")
	got = clitest.Run(t, "", "get", "-tcp", "-port", "9", "-timeout", "300ms", "-o", filepath.Join(t.TempDir(), "x"), "x")
	requireFails(t, got, "127.0.0.1:9")
}

func TestDiskRefuses(t *testing.T) {
	t.Parallel()
	store, here := t.TempDir(), t.TempDir()
	write(t, store, "a", content(1000))
	for _, dir := range []string{store, here} { // where the part should be
		require.NoError(t, os.Mkdir(filepath.Join(dir, ".b.part"), 0o700))
	}
	srv := clitest.Start(t, "server", "-port", "0", "-dir", store)
	got := clitest.Run(t, "", "put", "-port", srv.Port(), "-name", "b", filepath.Join(store, "a"))
	requireFails(t, got, "its disk does not play along")
	srv.Stdout.WaitFor(t, ".b.part, the place of the part, is no regular file")
	got = clitest.Run(t, "", "get", "-port", srv.Port(), "-o", filepath.Join(here, "b"), "a")
	requireFails(t, got, "is no regular file")
}

// waitForPart waits until a part has so many bytes.
func waitForPart(t *testing.T, path string, bytes int64) {
	t.Helper()
	for deadline := time.Now().Add(clitest.Limit); ; runtime.Gosched() {
		if info, err := os.Stat(path); err == nil && info.Size() >= bytes {
			return
		}
		require.True(t, time.Now().Before(deadline), "the transfer does not get so far")
	}
}

// slow is a link that gives a test the time to do something in the middle.
const slow = "rate=20mbit,delay=2ms"

func TestClientKilled(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, args func(...string) []string) {
		store, here := t.TempDir(), t.TempDir()
		want := content(20_000_000)
		original := write(t, store, "a", want)
		hasty := clitest.Start(t, args("server", "-port", "0", "-dir", store, "-timeout", "1500ms")...)
		srv := clitest.Start(t, args("server", "-port", "0", "-dir", store)...)

		client := clitest.StartClient(t, "", args("get", "-port", hasty.Port(), "-link", slow, "-o", filepath.Join(here, "b"), "a")...)
		waitForPart(t, filepath.Join(here, ".b.part"), 300_000)
		client.Signal(os.Kill)
		require.Equal(t, -1, client.Wait())
		require.Equal(t, []string{".b.part"}, inside(t, here), "never under its name")
		got := clitest.Run(t, "", args("get", "-port", srv.Port(), "-o", filepath.Join(here, "b"), "a")...)
		require.Zero(t, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, " from an earlier try")
		requireContent(t, want, here, "b")

		client = clitest.StartClient(t, "", args("put", "-port", hasty.Port(), "-link", slow, "-name", "c", original)...)
		waitForPart(t, filepath.Join(store, ".c.part"), 300_000)
		client.Signal(os.Kill)
		require.Equal(t, -1, client.Wait())
		hasty.Stdout.WaitFor(t, `put "c": failed: `) // it lets go of the part then
		got = clitest.Run(t, "", args("put", "-port", srv.Port(), "-name", "c", original)...)
		require.Zero(t, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, " from an earlier try")
		requireContent(t, want, store, "c")
	})
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, args func(...string) []string) {
		store, here := t.TempDir(), t.TempDir()
		original := write(t, store, "a", content(20_000_000))
		start := func(part string, command ...string) (srv, client *clitest.Process) {
			srv = clitest.Start(t, args("server", "-port", "0", "-dir", store)...)
			line := args(command[0], "-port", srv.Port(), "-link", slow, "-timeout", "1500ms")
			client = clitest.StartClient(t, "", append(line, command[1:]...)...)
			waitForPart(t, part, 300_000)
			return srv, client
		}
		sender, getting := start(filepath.Join(here, ".b.part"), "get", "-o", filepath.Join(here, "b"), "a")
		receiver, putting := start(filepath.Join(store, ".c.part"), "put", "-name", "c", original)
		sender.Signal(os.Kill)
		receiver.Signal(os.Kill)
		for _, client := range []*clitest.Process{getting, putting} {
			require.Equal(t, cli.Failure, client.Wait())
			require.Equal(t, 1, strings.Count(client.Stderr.String(), "\n"), "%q", client.Stderr)
		}
		require.Equal(t, []string{".b.part"}, inside(t, here))
		require.Equal(t, []string{".c.part", "a"}, inside(t, store))
	})
}

func TestStops(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	bothWays(t, func(t *testing.T, args func(...string) []string) {
		store, here := t.TempDir(), t.TempDir()
		write(t, store, "a", content(20_000_000))
		get := func(srv *clitest.Process, name string) *clitest.Process {
			client := clitest.StartClient(t, "", args("get", "-port", srv.Port(), "-link", slow, "-o", filepath.Join(here, name), "a")...)
			waitForPart(t, filepath.Join(here, "."+name+".part"), 300_000)
			return client
		}
		srv := clitest.Start(t, args("server", "-port", "0", "-dir", store)...)
		client := get(srv, "b")
		require.Equal(t, cli.Interrupted, client.Stop())
		require.Equal(t, "udpfile: interrupted\n", client.Stderr.String())
		srv.Stdout.WaitFor(t, `get "a": failed: `)

		client = get(srv, "c")
		require.Zero(t, srv.Stop())
		require.Equal(t, cli.Failure, client.Wait())
		require.Equal(t, []string{".b.part", ".c.part"}, inside(t, here))
	})
}
