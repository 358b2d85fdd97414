package httpx

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func put(h http.Handler, target, body string, lines ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("PUT", target, strings.NewReader(body))
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ": ")
		r.Header.Add(key, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPutAndDelete(t *testing.T) {
	h, dir := site(t)
	h.Writable, h.MaxUpload = "folder/", 20
	w := put(h, "/folder/new.txt", "one")
	require.Equal(t, 201, w.Code)
	tag := w.Header().Get("ETag")
	got := ask(h, "GET", "/folder/new.txt")
	require.Equal(t, "one", got.Body.String())
	require.Equal(t, tag, got.Header().Get("ETag"))

	require.Equal(t, 412, put(h, "/folder/new.txt", "two", "If-None-Match: *").Code, "only if there is none")
	require.Equal(t, 412, put(h, "/folder/new.txt", "two", `If-Match: "x"`).Code)
	require.Equal(t, 204, put(h, "/folder/new.txt", "two", "If-Match: "+tag).Code)
	require.Equal(t, 412, put(h, "/folder/new.txt", "three", "If-Match: "+tag).Code, "the lost update")
	require.Equal(t, 412, put(h, "/folder/none.txt", "x", "If-Match: *").Code)
	require.Equal(t, "two", ask(h, "GET", "/folder/new.txt").Body.String())

	for _, c := range []struct {
		status       int
		target, body string
		line         string
	}{
		{405, "/small.txt", "x", "A: b"},
		{405, "/new.txt", "x", "A: b"},
		{405, "/folder", "x", "A: b"},
		{405, "/folder2/x", "x", "A: b"},
		{409, "/folder/sub", "x", "A: b"},
		{409, "/folder/sub/", "x", "A: b"},
		{409, "/folder/missing/x", "x", "A: b"},
		{409, "/folder/new.txt/x", "x", "A: b"},
		{409, "/folder/" + strings.Repeat("n", 300), "x", "A: b"},
		{404, "/folder/.hidden", "x", "A: b"},
		{413, "/folder/x", strings.Repeat("x", 21), "A: b"},
		{400, "/folder/x", "x", "Content-Range: bytes 0-0/2"},
		{201, "/folder/x", strings.Repeat("x", 20), "A: b"},
	} {
		require.Equal(t, c.status, put(h, c.target, c.body, c.line).Code, c.target)
	}
	require.Equal(t, 413, put(unknownLength{h}, "/folder/x", strings.Repeat("y", 21)).Code)
	require.Equal(t, 400, put(brokenBody{h}, "/folder/x", "").Code)
	require.Equal(t, strings.Repeat("x", 20), ask(h, "GET", "/folder/x").Body.String(), "untouched")

	require.Equal(t, 412, ask(h, "DELETE", "/folder/new.txt", "If-Match: "+tag).Code)
	require.Equal(t, 204, ask(h, "DELETE", "/folder/new.txt").Code)
	require.Equal(t, 404, ask(h, "DELETE", "/folder/new.txt").Code)
	require.Equal(t, 405, ask(h, "DELETE", "/small.txt").Code)
	require.Equal(t, 409, ask(h, "DELETE", "/folder/sub").Code)
	require.Equal(t, 409, ask(h, "DELETE", "/folder/sub/").Code)
	left, err := filepath.Glob(filepath.Join(dir, "folder", ".upload-*"))
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left of uploads that failed")
}

// unknownLength hides how long a request's body is, as chunks do.
type unknownLength struct{ http.Handler }

func (u unknownLength) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.ContentLength = -1
	u.Handler.ServeHTTP(w, r)
}

// brokenBody breaks a request's body off.
type brokenBody struct{ http.Handler }

func (b brokenBody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), failing{}))
	b.Handler.ServeHTTP(w, r)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Of many who want to make the same file, one succeeds, and nobody ever reads a
// mixture.
func TestPutAtOnce(t *testing.T) {
	h, _ := site(t)
	h.Writable = "."
	made := make(chan string, 20)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			text := strings.Repeat(string(rune('a'+i)), 50_000)
			switch w := put(h, "/contested", text, "If-None-Match: *"); w.Code {
			case 201:
				made <- text
			case 412:
			default:
				t.Errorf("status %d", w.Code)
			}
		})
	}
	wg.Wait()
	require.Len(t, made, 1)
	require.True(t, <-made == ask(h, "GET", "/contested").Body.String())
}

func TestPutForbidden(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("root, and every user of Windows here, may write everywhere")
	}
	h, dir := site(t)
	h.Writable = "."
	folder := filepath.Join(dir, "folder")
	require.NoError(t, os.Chmod(folder, 0o555))
	defer os.Chmod(folder, 0o777) // or it could not be removed
	require.Equal(t, 403, put(h, "/folder/x", "x").Code)
	require.Equal(t, 403, ask(h, "DELETE", "/folder/page.html").Code)
	require.NoError(t, os.Chmod(filepath.Join(dir, "small.txt"), 0))
	require.Equal(t, 403, ask(h, "GET", "/small.txt").Code)
}
