package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fileURL returns the URL by which GOPROXY names a folder.
func fileURL(dir string) string {
	return "file:///" + strings.TrimPrefix(filepath.ToSlash(dir), "/")
}

// publish puts the checkout into a module proxy made of files, as the given
// version: https://go.dev/ref/mod#goproxy-protocol.
func publish(t *testing.T, root, version string) (proxy string) {
	t.Helper()
	proxy = t.TempDir()
	dir := filepath.Join(proxy, filepath.FromSlash(module), "@v")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	write("list", []byte(version+"\n"))
	write(version+".info", fmt.Appendf(nil, `{"Version": %q, "Time": "2026-01-02T03:04:05Z"}`, version))
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	write(version+".mod", mod)

	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if file == root {
				return nil
			}
			if entry.Name() == ".git" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		w, err := z.Create(module + "@" + version + "/" + filepath.ToSlash(name))
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	require.NoError(t, err)
	require.NoError(t, z.Close())
	write(version+".zip", archive.Bytes())
	return proxy
}

// Outside a checkout: go run …/examples@version in an empty folder, without a
// network. The version comes from a proxy made of files; what it depends on,
// from the archives that building this checkout has left in the module cache.
func TestRunVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module archive and two programs from it: not with -short")
	}
	ownCache(t)
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	downloads := filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")

	// What go.mod names must be in the cache, also what no test has needed.
	copied := filepath.Join(t.TempDir(), "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(copied), name), data, 0o644))
	}
	t.Setenv("GOFLAGS", "-modcacherw") // or the temporary module cache could not be removed
	t.Setenv("GOWORK", "off")
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-modfile="+copied)
	download.Dir = root
	out, err := download.CombinedOutput()
	require.NoError(t, err, "%s", out)

	proxy := publish(t, root, "v0.0.1")
	t.Setenv("GOPROXY", fileURL(proxy)+","+fileURL(downloads))
	t.Setenv("GOSUMDB", "off")
	t.Setenv("GONOPROXY", "none")
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Chdir(t.TempDir())
	gorun := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", module + "/examples@v0.0.1"}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	text, err := gorun("run", "S1", "demo")
	require.NoError(t, err, text)
	require.Contains(t, text, "$ udplocal server -port 0\n  server: listening on 127.0.0.1:")

	text, err = gorun("tour", "S1")
	require.NoError(t, err, text)
	require.Contains(t, text, "✓ S1 udplocal")

	text, err = gorun("run", "S1", "client", "-port", "x")
	require.Error(t, err)
	require.Contains(t, text, "udplocal: invalid value \"x\" for flag -port")
}

// In a project of a student's own whose go.mod says "replace … => checkout".
func TestRunReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the catalogue and an exercise from another module: not with -short")
	}
	ownCache(t)
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
	t.Setenv("GOPROXY", "off")
	require.NoError(t, os.WriteFile("go.mod", fmt.Appendf(nil, "module student\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %s => %q\n", module, module, root), 0o644))
	require.NoError(t, os.WriteFile("go.sum", sum, 0o644))
	out, err := exec.CommandContext(t.Context(), "go", "run", module+"/examples", "run", "S1", "demo").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "$ udplocal server -port 0\n")
}
