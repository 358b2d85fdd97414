package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/nginx"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestCurl(t *testing.T) {
	curl := interop.Program(t, "curl", "curl")
	dir := site(t)
	base := "http://" + start(t, dir, "-writable", "box").Addr
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--max-time", "20", "--path-as-is", "--noproxy", "*"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%q: %s", args, out)
		return string(out)
	}
	status := []string{"-o", os.DevNull, "-w", "%{http_code}"}
	require.True(t, big == run(base+"/big.txt"))
	require.Equal(t, big[:10]+big[len(big)-10:], run("-r", "0-9", base+"/big.txt")+run("-r", "-10", base+"/big.txt"))
	require.Contains(t, run("-r", "0-1,5-6", base+"/big.txt"), "Content-Range: bytes 5-6/330000")
	require.Equal(t, "304", run(append(status, "-z", filepath.Join(dir, "big.txt"), base+"/big.txt")...))
	require.Equal(t, "400", run(append(status, base+"/../secret.txt")...))
	require.Equal(t, "400", run(append(status, base+"/%2e%2e/secret.txt")...))
	require.Contains(t, run("-I", base+"/animals/ape.txt"), "Content-Length: 45\r\n")
	require.Contains(t, run("-L", base+"/animals"), "a b&amp;c.html")
	require.Contains(t, run("-d", "q=monkeys bananas", base+"/buscar"), "2 with")

	// curl asks before it sends a large body (Expect: 100-continue).
	file := filepath.Join(t.TempDir(), "large")
	large := strings.Repeat(big, 10)
	require.NoError(t, os.WriteFile(file, []byte(large), 0o666))
	require.Equal(t, "201", run(append(status, "-T", file, base+"/box/large")...))
	require.True(t, large == run(base+"/box/large"))
	require.Equal(t, "405", run(append(status, "-T", file, base+"/large")...))
	require.Equal(t, "204", run(append(status, "-X", "DELETE", base+"/box/large")...))
	// One connection for several requests.
	count := []string{"-o", os.DevNull, "-w", "%{num_connects} "}
	require.Equal(t, "1 0 ", run(append(append(append(count, base+"/big.txt"), "--next", "-sS"), append(count, base+"/none")...)...))
}

// The wget of everybody else copies the site by its lists.
func TestWget(t *testing.T) {
	wget := interop.Program(t, "wget", "wget")
	dir, to := site(t), t.TempDir()
	addr := start(t, dir).Addr
	cmd := exec.CommandContext(t.Context(), wget, "--no-proxy", "-q", "-r", "-np", "-nH", "-e", "robots=off", "--timeout=20", "--tries=1", "http://"+addr+"/animals/")
	cmd.Dir = to
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range []string{"ape.txt", "bear.html", "bear.bin", "a b&c.html"} {
		want, err := os.ReadFile(filepath.Join(dir, "animals", name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(to, "animals", name))
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}

// The same requests to nginx, over the same folder, have the same answers.
func TestLikeNginx(t *testing.T) {
	dir := site(t)
	theirs, ours := nginx.Start(t, dir), start(t, dir).Addr
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()

	ask := func(addr, method, path string, field ...string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
		require.NoError(t, err)
		for i := 0; i < len(field); i += 2 {
			r.Header.Set(field[i], field[i+1])
		}
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(body)
	}
	past, _ := ask(theirs, "HEAD", "/big.txt")
	changed := past.Header.Get("Last-Modified")
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{"/", "/index.html", "/big.txt", "/animals/ape.txt", "/animals/bear.html", "/animals/bear.bin", "/animals?a=b", "/none", "/animals/none/x", "/index.html/"} {
			for _, field := range [][]string{
				nil,
				{"Range", "bytes=0-4"},
				{"Range", "bytes=5-"},
				{"Range", "bytes=-5"},
				{"Range", "bytes=9999999-"},
				{"Range", "lines=1-2"},
				{"If-Modified-Since", changed},
				{"If-Unmodified-Since", "Sun, 17 May 2020 10:30:14 GMT"},
				{"If-None-Match", "\"x\""},
				{"If-Match", "\"x\""},
				{"Range", "bytes=0-4", "If-Range", changed},
				{"Range", "bytes=0-4", "If-Range", "\"x\""},
			} {
				what := fmt.Sprint(method, " ", path, " ", field)
				want, wantBody := ask(theirs, method, path, field...)
				got, gotBody := ask(ours, method, path, field...)
				if len(field) > 0 && field[0] == "Range" && method == "HEAD" && want.StatusCode/100 != 3 && want.StatusCode != 404 {
					require.Equal(t, 200, got.StatusCode, what) // RFC 9110 section 14.2: only GET has ranges
					continue
				}
				require.Equal(t, want.StatusCode, got.StatusCode, what)
				if want.StatusCode == 301 {
					to, err := got.Location()
					require.NoError(t, err)
					require.Equal(t, want.Header.Get("Location"), to.RequestURI(), what)
				}
				if want.StatusCode/100 != 2 {
					continue // pages of their own
				}
				require.True(t, wantBody == gotBody, what)
				for _, key := range []string{"Content-Type", "Content-Length", "Content-Range", "Last-Modified"} {
					if path != "/animals/bear.bin" || key != "Content-Type" {
						require.Equal(t, want.Header.Get(key), got.Header.Get(key), "%s: %s", what, key)
					}
				}
			}
		}
	}
}
