package words

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBundled(t *testing.T) {
	list, err := Load("")
	require.NoError(t, err)
	require.Equal(t, 2300, len(list))
	seen := map[string]bool{}
	for _, word := range list {
		require.False(t, seen[word], word)
		seen[word] = true
	}
	require.True(t, seen["hablábamos"])
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("uno\r\n\n dos \ntres")
	list, err := Load(file)
	require.NoError(t, err)
	require.Equal(t, []string{"uno", "dos", "tres"}, list)

	write("\n\n")
	_, err = Load(file)
	require.ErrorContains(t, err, "no words in it")
	write(strings.Repeat("x", 1<<20))
	_, err = Load(file)
	require.ErrorContains(t, err, file+": bufio.Scanner: token too long")
	_, err = Load(file + "2")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestInstalled(t *testing.T) {
	for _, file := range Installed() {
		list, err := Load(file)
		require.NoError(t, err)
		require.Greater(t, len(list), 10_000)
	}
}
