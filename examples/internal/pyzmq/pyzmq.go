// Package pyzmq finds what the tests of the messaging exercises play against:
// Python with its binding of libzmq, and the programs of a README.
package pyzmq

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// Python returns a Python 3 that has the module zmq. Without one the test is
// skipped, or fails if [interop.Required].
func Python(t testing.TB) string {
	t.Helper()
	python := interop.Python(t)
	if out, err := exec.Command(python, "-c", "import zmq").CombinedOutput(); err != nil {
		interop.Missing(t, "no module zmq (Debian package python3-zmq): %s", out)
	}
	return python
}

// Program returns the nth program, from 0, in a language ("python", "cpp") of
// the exercise's README, with the texts replaced as by [strings.NewReplacer]:
// what the README shows is what is tested. Each text must be there.
func Program(t testing.TB, language string, n int, replace ...string) string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.Greater(t, len(blocks), n)
	for i := 0; i < len(replace); i += 2 {
		require.Contains(t, blocks[n][1], replace[i])
	}
	return strings.NewReplacer(replace...).Replace(blocks[n][1])
}
