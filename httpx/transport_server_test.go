package httpx

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// All of it is ours: files, server and transport.
func TestFilesOverTransport(t *testing.T) {
	h, dir := site(t)
	h.List, h.Writable = true, "folder"
	large := strings.Repeat(bigText, 50) // 8 MB: more than the system's buffers
	require.NoError(t, os.WriteFile(filepath.Join(dir, "large"), []byte(large), 0o666))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- server.Serve(t.Context(), ln) }()
	t.Cleanup(func() { server.Close(); <-served })

	tr := new(Transport)
	client := newClient(t, tr)
	base := "http://" + ln.Addr().String()
	ask := func(method, path, body string, field ...string) (*http.Response, string) {
		r, err := http.NewRequest(method, base+path, strings.NewReader(body))
		require.NoError(t, err)
		for i := 0; i < len(field); i += 2 {
			r.Header.Set(field[i], field[i+1])
		}
		resp, err := client.Do(r)
		return resp, readAll(t, resp, err)
	}
	for _, c := range []struct {
		path string
		text string
	}{{"/small.txt", "0123456789"}, {"/big.bin", bigText}, {"/large", large}, {"/empty.txt", ""}} {
		resp, body := ask("GET", c.path, "")
		require.Equal(t, 200, resp.StatusCode)
		require.True(t, c.text == body, c.path)
		require.EqualValues(t, len(c.text), resp.ContentLength)
		resp, body = ask("HEAD", c.path, "")
		require.EqualValues(t, len(c.text), resp.ContentLength)
		require.Empty(t, body)
		if c.text != "" {
			resp, body = ask("GET", c.path, "", "Range", "bytes=3-")
			require.Equal(t, 206, resp.StatusCode)
			require.True(t, c.text[3:] == body, c.path)
			resp, body = ask("GET", c.path, "", "Range", "bytes=0-0,2-3")
			require.Equal(t, 206, resp.StatusCode)
			require.EqualValues(t, len(body), resp.ContentLength)
		}
		resp, _ = ask("GET", c.path, "", "If-None-Match", resp.Header.Get("ETag"))
		require.Equal(t, 304, resp.StatusCode)
	}
	for _, status := range []int{201, 204} {
		resp, _ := ask("PUT", "/folder/new", large, "Expect", "100-continue")
		require.Equal(t, status, resp.StatusCode)
	}
	_, body := ask("GET", "/folder/new", "")
	require.True(t, large == body)
	resp, body := ask("GET", "/folder/", "")
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, body, `<a href="new">`)
	resp, _ = ask("PUT", "/small.txt", "x")
	require.Equal(t, 405, resp.StatusCode)
	require.EqualValues(t, 1, tr.Stats().Dialled, "all of it on one connection")
}

// BenchmarkFiles is what a server does for a small file, without the network.
func BenchmarkFiles(b *testing.B) {
	h, _ := site(b)
	root, err := os.OpenRoot(h.Root.Name())
	require.NoError(b, err)
	defer root.Close()
	for name, handler := range map[string]http.Handler{"ours": h, "net-http": http.FileServerFS(root.FS())} {
		for _, path := range []string{"/small.txt", "/big.bin"} {
			b.Run(fmt.Sprint(name, path), func(b *testing.B) {
				r, err := http.NewRequest("GET", path, nil)
				require.NoError(b, err)
				b.ReportAllocs()
				for b.Loop() {
					handler.ServeHTTP(&nowhere{header: make(http.Header)}, r)
				}
			})
		}
	}
}

// nowhere is a ResponseWriter that throws all away.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header                 { return n.header }
func (n *nowhere) WriteHeader(int)                     {}
func (n *nowhere) Write(p []byte) (int, error)         { return len(p), nil }
func (n *nowhere) ReadFrom(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }
