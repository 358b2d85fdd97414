package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/nginx"
	"github.com/zocalo-go/zocalo/internal/interop"
)

// From nginx we get what curl gets, whole and in two parts.
func TestNginxAndCurl(t *testing.T) {
	curl := interop.Program(t, "curl", "curl")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.txt"), []byte(text), 0o666))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "folder", "index.html"), []byte(text), 0o666))
	base := "http://" + nginx.Start(t, dir)

	newDownload(t).get(t, base+"/x.txt").whole(t)
	d := newDownload(t).get(t, base+"/folder")
	d.whole(t)
	require.Contains(t, d.out, "301 Moved Permanently")
	d.get(t, base+"/none")
	require.Equal(t, 1, d.status)
	require.Contains(t, d.out, "404 Not Found")
	theirs, err := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "*", base+"/x.txt").Output()
	require.NoError(t, err)
	require.True(t, text == string(theirs))

	// curl is cut off, and we go on.
	d = newDownload(t)
	require.NoError(t, exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "*", "-r", "0-9999", "-o", d.file, base+"/x.txt").Run())
	d.get(t, base+"/x.txt", "-continue").whole(t)
	require.Contains(t, d.out, "206 Partial Content")
	d.get(t, base+"/x.txt", "-continue").whole(t)
	require.Contains(t, d.out, "bytes already")
}
