package httpx

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	oldTime = time.Date(2020, 5, 17, 10, 30, 15, 123456789, time.UTC)
	oldDate = "Sun, 17 May 2020 10:30:15 GMT"
	bigText = strings.Repeat("0123456789abcdef", 10_000) // larger than smallFile
)

// oddNames is false where a file's name cannot have a colon or an angle bracket.
const oddNames = runtime.GOOS != "windows"

// site makes a folder with files and a handler for it. Beside the folder lies
// a file that must never be seen.
func site(t testing.TB) (*FileHandler, string) {
	t.Helper()
	above := t.TempDir()
	dir := filepath.Join(above, "www")
	for name, text := range map[string]string{
		"www/index.html":              "<h1>start</h1>",
		"www/small.txt":               "0123456789",
		"www/big.bin":                 bigText,
		"www/empty.txt":               "",
		"www/noextension":             "%PDF-1.7 looks like one",
		"www/folder/page.html":        "<h1>page</h1>",
		"www/folder/a&b <i>.txt":      "odd name",
		"www/folder/c:d":              "colon",
		"www/folder/.hidden":          "hidden",
		"www/folder/sub/x":            "x",
		"www/.git/config":             "secret",
		"www/.well-known/acme":        "known",
		"www/index.html.d/index.html": "folder with a dot",
		"secret.txt":                  "secret outside",
		"www2/secret.txt":             "secret outside",
	} {
		if !oddNames && strings.ContainsAny(name, ":<>") {
			continue
		}
		name = filepath.Join(above, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o777))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o666))
		require.NoError(t, os.Chtimes(name, oldTime, oldTime))
	}
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(func() { root.Close() })
	return &FileHandler{Root: root}, dir
}

// ask gives h a request as a server would. The lines are fields, "Key: value".
func ask(h http.Handler, method, target string, lines ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	r.Method = method
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ": ")
		r.Header.Add(key, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFileGet(t *testing.T) {
	h, _ := site(t)
	for _, c := range []struct{ target, contentType, body string }{
		{"/", "text/html; charset=utf-8", "<h1>start</h1>"},
		{"/index.html", "text/html; charset=utf-8", "<h1>start</h1>"},
		{"//small.txt", "text/plain; charset=utf-8", "0123456789"},
		{"/small.txt?a=b", "text/plain; charset=utf-8", "0123456789"},
		{"/empty.txt", "text/plain; charset=utf-8", ""},
		{"/noextension", "application/pdf", "%PDF-1.7 looks like one"},
		{"/big.bin", "application/octet-stream", bigText},
		{"/folder/c:d", "text/plain; charset=utf-8", "colon"},
		{"/index.html.d/", "text/html; charset=utf-8", "folder with a dot"},
		{"/.well-known/acme", "text/plain; charset=utf-8", "known"},
	} {
		if !oddNames && strings.Contains(c.target, ":") {
			continue
		}
		w := ask(h, "GET", c.target)
		require.Equal(t, 200, w.Code, c.target)
		require.Equal(t, c.body, w.Body.String(), c.target)
		require.Equal(t, c.contentType, w.Header().Get("Content-Type"), c.target)
		require.Equal(t, oldDate, w.Header().Get("Last-Modified"))
		require.Equal(t, "bytes", w.Header().Get("Accept-Ranges"))
		require.Equal(t, int64(len(c.body)), w.Result().ContentLength, c.target)
		require.Regexp(t, `^"[0-9a-z]+-[0-9a-z]+"$`, w.Header().Get("ETag"))

		head := ask(h, "HEAD", c.target)
		require.Equal(t, 200, head.Code)
		require.Equal(t, w.Header(), head.Header(), "HEAD has the fields of GET")
		require.Empty(t, head.Body.String())
	}
}

// Nothing outside the folder is seen, however it is asked for.
func TestFileEscape(t *testing.T) {
	h, dir := site(t)
	h.List, h.Writable = true, "."
	outside, err := filepath.Abs(filepath.Join(dir, "..", "secret.txt"))
	require.NoError(t, err)
	if os.Symlink(outside, filepath.Join(dir, "absolute")) == nil {
		require.NoError(t, os.Symlink("../secret.txt", filepath.Join(dir, "relative")))
		require.NoError(t, os.Symlink("../www2", filepath.Join(dir, "neighbour")))
		require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
		require.NoError(t, os.Symlink("small.txt", filepath.Join(dir, "inside")))
		require.Equal(t, "0123456789", ask(h, "GET", "/inside").Body.String())
	}
	server := httptest.NewServer(h) // decodes what is escaped
	defer server.Close()
	for _, target := range []string{
		"/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/folder/../../secret.txt",
		"/..%5csecret.txt", "/folder%5c..%5c..%5csecret.txt", "/..\\secret.txt", "/.%2e/secret.txt", "/folder/%2e%2e/%2e%2e/secret.txt",
		"/%252e%252e/secret.txt", "/..%c0%afsecret.txt", "/..%ef%bc%8fsecret.txt", "/../www2/secret.txt", "/..",
		"/secret.txt%00.html", "/small.txt%00", "/%00", "//" + strings.TrimPrefix(outside, "/"), "/" + outside, "/C:/secret.txt",
		"/absolute", "/relative", "/neighbour/secret.txt", "/neighbour/", "/loop", "/loop/",
		"/.git/config", "/.git/", "/.git", "/folder/.hidden", "/%2egit/config", "/small.txt/", "/small.txt/x", "/" + strings.Repeat("a", 5000),
		"/" + strings.Repeat("a/", 3000) + "x", "/\xff\xfe",
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE"} {
			// Written by hand: a client would tidy the path up.
			request := method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
			answer := rawAnswer(t, server.Listener.Addr().String(), request)
			if method == "DELETE" && (target == "/absolute" || target == "/relative" || target == "/loop") {
				continue // the link itself is inside
			}
			require.Regexp(t, `^HTTP/1.1 4\d\d `, answer, "%s %s", method, target)
			require.NotContains(t, answer, "secret outside", target)
		}
	}
	text, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "secret outside", string(text))
	matches, err := filepath.Glob(filepath.Join(dir, ".upload-*"))
	require.NoError(t, err)
	require.Empty(t, matches)
}

func TestFileFolder(t *testing.T) {
	h, dir := site(t)
	w := ask(h, "GET", "/folder?a=b&c")
	require.Equal(t, 301, w.Code)
	require.Equal(t, "folder/?a=b&c", w.Header().Get("Location"))
	require.Contains(t, w.Body.String(), `<a href="folder/?a=b&amp;c">`)
	require.Equal(t, 403, ask(h, "GET", "/folder/").Code)
	if oddNames {
		require.NoError(t, os.Mkdir(filepath.Join(dir, "x:y"), 0o777))
		require.Equal(t, "./x:y/", ask(h, "GET", "/x:y").Header().Get("Location"), "not a scheme")
	}
	w = ask(http.StripPrefix("/below", h), "GET", "/below/folder")
	require.Equal(t, "folder/", w.Header().Get("Location"), "right with what StripPrefix takes away")

	h.List = true
	w = ask(h, "GET", "/folder/")
	require.Equal(t, 200, w.Code)
	text := w.Body.String()
	if oddNames {
		require.Contains(t, text, `<a href="a&amp;b%20%3Ci%3E.txt">a&amp;b &lt;i&gt;.txt</a><td>8<td>2020-05-17 10:30:15`)
		require.Contains(t, text, `<a href="./c:d">c:d</a>`)
	}
	require.NotContains(t, text, "hidden")
	require.Less(t, strings.Index(text, "../"), strings.Index(text, "sub/"))
	require.Less(t, strings.Index(text, "sub/"), strings.Index(text, "page.html"), "folders first")
	require.NotContains(t, ask(h, "GET", "/index.html.d/").Body.String(), "Index of", "its index.html wins")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "odd"), 0o777))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "odd", "index.html"), 0o777))
	require.Contains(t, ask(h, "GET", "/odd/").Body.String(), "Index of")
	if os.Symlink("../secret.txt", filepath.Join(dir, "odd", "leads-out")) == nil {
		require.NoError(t, os.Symlink("../folder", filepath.Join(dir, "odd", "leads-in")))
		text := ask(h, "GET", "/odd/").Body.String()
		require.NotContains(t, text, "leads-out")
		require.Contains(t, text, `<a href="leads-in/">`)
	}
}

func TestFileMethods(t *testing.T) {
	h, _ := site(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "TRACE", "BREW", "PATCH"} {
		w := ask(h, method, "/small.txt")
		require.Equal(t, 405, w.Code, method)
		require.Equal(t, "GET, HEAD, OPTIONS", w.Header().Get("Allow"))
	}
	w := ask(h, "OPTIONS", "/small.txt")
	require.Equal(t, 204, w.Code)
	require.Equal(t, "GET, HEAD, OPTIONS", w.Header().Get("Allow"))
	require.Equal(t, 204, ask(h, "OPTIONS", "*").Code)
	h.Writable = "folder"
	require.Equal(t, "GET, HEAD, OPTIONS", ask(h, "OPTIONS", "/small.txt").Header().Get("Allow"))
	require.Equal(t, "GET, HEAD, OPTIONS, PUT, DELETE", ask(h, "OPTIONS", "/folder/new").Header().Get("Allow"))
}

// What a request holds is never part of a page as it stands.
func TestErrorPage(t *testing.T) {
	h, _ := site(t)
	w := ask(h, "GET", "/<script>alert(1)</script>")
	require.Equal(t, 404, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	require.NotContains(t, w.Body.String(), "<script>")
	require.Contains(t, w.Body.String(), "There is nothing with this address here.")
	w = ask(h, "<b>", "/small.txt")
	require.Contains(t, w.Body.String(), "&lt;b&gt;")
	head := ask(h, "HEAD", "/none")
	require.Empty(t, head.Body.String())
	require.Equal(t, 404, head.Code)
	require.NotEmpty(t, head.Header().Get("Content-Length"))
	for status := 400; status < 600; status++ {
		if http.StatusText(status) != "" {
			w := httptest.NewRecorder()
			ErrorPage(w, httptest.NewRequest("GET", "/", nil), status, "because")
			require.Equal(t, status, w.Code)
			require.Contains(t, w.Body.String(), "<p>because</p>")
		}
	}
}

// A pipe among the files must not hold a request up until somebody writes.
func TestFileSpecial(t *testing.T) {
	h, dir := site(t)
	makePipe(t, filepath.Join(dir, "pipe"))
	require.Equal(t, 404, ask(h, "GET", "/pipe").Code)
	h.Writable = "."
	require.Equal(t, 409, ask(h, "PUT", "/pipe").Code)
}

// What net/http's own file server answers, ours does too, but for what is
// listed here.
func TestFileLikeNetHTTP(t *testing.T) {
	h, dir := site(t)
	theirs := http.FileServer(http.Dir(dir))
	tag := ask(h, "GET", "/small.txt").Header().Get("ETag")
	for _, method := range []string{"GET", "HEAD"} {
		for _, target := range []string{"/", "/small.txt", "/big.bin", "/folder/page.html", "/none", "/folder/none", "/small.txt"} {
			for _, lines := range [][]string{
				{},
				{"If-Modified-Since: " + oldDate},
				{"If-Modified-Since: Sun, 17 May 2020 10:30:14 GMT"},
				{"If-Modified-Since: yesterday"},
				{"If-Unmodified-Since: " + oldDate},
				{"If-Unmodified-Since: Sun, 17 May 2020 10:30:14 GMT"},
				{"If-None-Match: *"},
				{"If-None-Match: \"x\"", "If-Modified-Since: " + oldDate},
				{"If-Match: *"},
				{"If-Match: \"x\""},
				{"Range: bytes=0-3"},
				{"Range: bytes=3-"},
				{"Range: bytes=-3"},
				{"Range: bytes=-1000000"},
				{"Range: bytes=5-1000000"},
				{"Range: bytes=99999999-"},
				{"Range: lines=1-2"},
				{"Range: bytes=0-3", "If-Range: " + oldDate},
				{"Range: bytes=0-3", "If-Range: Sun, 17 May 2020 10:30:14 GMT"},
				{"Range: bytes=0-3", "If-Range: \"x\""},
				{"Range: bytes=0-3", "If-Range: W/" + tag},
			} {
				ours, their := ask(h, method, target, lines...), ask(theirs, method, target, lines...)
				what := strings.Join(append([]string{method, target}, lines...), " ")
				if (their.Code == 206 || their.Code == 416) && (method == "HEAD" || strings.Contains(what, "lines=")) {
					// RFC 9110 section 14.2: Range means something in a GET only, and
					// a unit that is not known must be ignored.
					require.Equal(t, 200, ours.Code, what)
					continue
				}
				require.Equal(t, their.Code, ours.Code, what)
				if their.Code >= 400 {
					continue // their pages are plain text
				}
				require.Equal(t, their.Body.String(), ours.Body.String(), what)
				for _, key := range []string{"Content-Type", "Content-Range", "Last-Modified", "Accept-Ranges"} {
					if their.Code == 304 && key != "Last-Modified" {
						continue
					}
					require.Equal(t, their.Header().Get(key), ours.Header().Get(key), "%s: %s", what, key)
				}
				if their.Header().Get("Content-Length") != "" {
					require.Equal(t, their.Header().Get("Content-Length"), ours.Header().Get("Content-Length"), what)
				}
			}
		}
	}
}

// A file that shrinks while it is sent ends the connection: the answer must not
// look whole.
func TestFileShrinks(t *testing.T) {
	h, dir := site(t)
	name := filepath.Join(dir, "big.bin")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(shrinking{w, name}, r)
	}))
	defer server.Close()
	resp, err := http.Get(server.URL + "/big.bin")
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// shrinking truncates a file once its header has been written.
type shrinking struct {
	http.ResponseWriter
	name string
}

func (s shrinking) WriteHeader(status int) {
	s.ResponseWriter.WriteHeader(status)
	if err := os.Truncate(s.name, 100); err != nil {
		panic(err)
	}
}

// rawAnswer sends text to the server at addr and returns all that comes back.
func rawAnswer(t testing.TB, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(answer)
}
