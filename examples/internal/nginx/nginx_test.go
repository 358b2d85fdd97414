package nginx

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStart(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("hola"), 0o666))
	addr := Start(t, dir)
	for range 2 {
		resp, err := http.Get("http://" + addr + "/a.txt")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "hola", string(body))
		require.Contains(t, resp.Header.Get("Server"), "nginx")
	}
	http.DefaultClient.CloseIdleConnections()
}
