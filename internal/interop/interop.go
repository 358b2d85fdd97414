// Package interop finds the real programs that tests measure our own against.
//
// A test that needs a peer asks for it by name. On a machine without it the
// test is skipped with a message that says what to install; where the
// environment variable INTEROP is set to "require", as in continuous
// integration, a missing peer is a failure instead, so that no comparison is
// ever dropped in silence.
package interop

import (
	"os"
	"os/exec"
	"testing"
)

// Required reports whether a missing peer must fail the test: INTEROP=require.
func Required() bool { return os.Getenv("INTEROP") == "require" }

// Program returns the path of the first of names that is installed. When none
// is, it skips the test, or fails it if [Required]. pkg is the Debian package
// that brings the program, for the message.
func Program(t testing.TB, pkg string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, "no %v on this machine (Debian package %s)", names, pkg)
	return ""
}

// Python returns a Python 3 interpreter. Debian's own is preferred where it
// exists, since that is the one for which Debian's python3-* packages install.
func Python(t testing.TB) string {
	t.Helper()
	return Program(t, "python3", "/usr/bin/python3", "python3", "python")
}

// Missing skips the test, or fails it if [Required].
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if Required() {
		t.Fatalf("INTEROP=require: "+format, args...)
	}
	t.Skipf(format, args...)
}

// Data returns the folder of larger texts that ZOCALO_DATA names, or skips
// the test: those texts are no part of the module.
func Data(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ZOCALO_DATA")
	if dir == "" {
		t.Skip("ZOCALO_DATA names no folder of larger texts")
	}
	return dir
}
