package framing_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

// TestQuijote sends a real book line by line through every format.
func TestQuijote(t *testing.T) {
	book, err := os.ReadFile(filepath.Join(interop.Data(t), "quijote.txt"))
	require.NoError(t, err)
	lines := bytes.Split(bytes.TrimSuffix(book, []byte("\n")), []byte("\n"))
	require.Greater(t, len(lines), 30_000)
	for _, s := range subjects() {
		if s.name == "Fixed" {
			continue
		}
		var wire bytes.Buffer
		w := framing.NewWriter(&wire, s.format)
		for _, line := range lines {
			require.NoError(t, w.Queue(s.fit(bytes.Clone(line))), s.name)
		}
		require.NoError(t, w.Flush())
		n := 0
		for got, err := range framing.NewReader(&wire, s.format).Messages() {
			require.NoError(t, err, s.name)
			if want := s.fit(bytes.Clone(lines[n])); !bytes.Equal(want, got) {
				t.Fatalf("%s: line %d: %q, want %q", s.name, n+1, got, want)
			}
			n++
		}
		require.Equal(t, len(lines), n, s.name)
	}
}
