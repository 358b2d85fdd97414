package httpx_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/zocalo-go/zocalo/httpx"
)

// A folder becomes a site: parts of files, conditions, and pages that explain
// what is not there.
func ExampleFileHandler() {
	dir, err := os.MkdirTemp("", "site")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), []byte("Hello, world!"), 0o666); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	files := &httpx.FileHandler{Root: root, List: true}

	ask := func(path string, field ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		if len(field) > 0 {
			r.Header.Set(field[0], field[1])
		}
		w := httptest.NewRecorder()
		files.ServeHTTP(w, r)
		return w
	}
	whole := ask("/hello.txt")
	fmt.Println(whole.Code, whole.Header().Get("Content-Type"), whole.Body)
	part := ask("/hello.txt", "Range", "bytes=7-11")
	fmt.Println(part.Code, part.Header().Get("Content-Range"), part.Body)
	known := ask("/hello.txt", "If-None-Match", whole.Header().Get("ETag"))
	fmt.Println(known.Code, http.StatusText(known.Code), known.Body.Len())
	fmt.Println(ask("/none.txt").Code, ask("/..%2fhello.txt").Code)
	// Output:
	// 200 text/plain; charset=utf-8 Hello, world!
	// 206 bytes 7-11/13 world
	// 304 Not Modified 0
	// 404 400
}

func ExampleErrorPage() {
	diary := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpx.ErrorPage(w, r, http.StatusForbidden, "Only the owner of <this> may see it.")
	})
	w := httptest.NewRecorder()
	diary.ServeHTTP(w, httptest.NewRequest("GET", "/diary", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 403 text/html; charset=utf-8
}
