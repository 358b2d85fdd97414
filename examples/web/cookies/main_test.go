package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"shop", "-db", filepath.Join(t.TempDir(), "shop.db")}, []string{"ads"})
}

// A client of the test's, with its jar's file.
type susana struct {
	t   *testing.T
	jar string
	at  []string
}

func (s *susana) browse(args ...string) string {
	s.t.Helper()
	got := clitest.Run(s.t, "", append(append([]string{"browse", "-jar", s.jar}, s.at...), args...)...)
	require.Zero(s.t, got.Status, got.Stderr)
	return got.Stdout
}

func TestAWeekLater(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "shop.db")
	shop := clitest.Start(t, "shop", "-port", "0", "-db", db)
	s := &susana{t, filepath.Join(dir, "susana.json"), []string{"-at", "shop.test=" + shop.Addr}}
	require.Contains(t, s.browse("http://shop.test/"), "welcome, stranger")
	s.browse("http://shop.test/add?item=quixote", "http://shop.test/add?item=lamp")
	require.Zero(t, shop.Stop())

	// The shop is another process, and it is a week later for both.
	shop = clitest.Start(t, "shop", "-port", "0", "-db", db, "-later", "168h")
	s.at = []string{"-at", "shop.test=" + shop.Addr}
	require.Contains(t, s.browse("-later", "168h", "http://shop.test/"), "visit 2, in your cart: quixote, lamp")
	// Somebody else is a stranger, and so is she after she was forgotten.
	other := &susana{t, filepath.Join(dir, "other.json"), s.at}
	require.Contains(t, other.browse("http://shop.test/"), "welcome, stranger")
	require.Contains(t, s.browse("http://shop.test/forget", "http://shop.test/"), "welcome, stranger")
	require.Zero(t, shop.Stop())

	// A year later the shop has forgotten, and so has the browser.
	shop = clitest.Start(t, "shop", "-port", "0", "-db", db, "-later", "8760h")
	s.at = []string{"-at", "shop.test=" + shop.Addr}
	out := s.browse("-later", "8760h", "http://shop.test/")
	require.NotContains(t, out, "  Cookie:")
	require.Contains(t, out, "welcome, stranger")
	if runtime.GOOS != "windows" {
		info, err := os.Stat(s.jar)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, "who reads the file is taken for her")
	}
}

// Two shops cannot tell that it is the same client. The third party whose
// picture they both show can, unless the browser keeps its cookie back.
func TestWhoIsWatching(t *testing.T) {
	dir := t.TempDir()
	ads := clitest.Start(t, "ads", "-port", "0")
	s := &susana{t, filepath.Join(dir, "susana.json"), []string{"-at", "ads.test=" + ads.Addr}}
	for _, name := range []string{"books", "shoes"} {
		shop := clitest.Start(t, "shop", "-port", "0", "-name", name, "-db", filepath.Join(dir, name+".db"), "-ad", "http://ads.test/pixel.svg")
		s.at = append(s.at, "-at", name+".test="+shop.Addr)
	}
	out := s.browse("http://books.test/", "http://shoes.test/")
	require.Equal(t, 2, strings.Count(out, "Set-Cookie: id="), "each shop gives an id of its own")
	ads.Stdout.WaitFor(t, `is at "http://shoes.test/"`)
	visitors := func() map[string]bool {
		seen := make(map[string]bool)
		for line := range strings.Lines(ads.Stdout.String()) {
			if who, _, found := strings.Cut(line, " is at "); found {
				seen[who] = true
			}
		}
		return seen
	}
	require.Len(t, visitors(), 1, "one visitor, at both shops")
	private := &susana{t, filepath.Join(dir, "private.json"), s.at}
	private.browse("-no-third-party", "http://books.test/", "http://shoes.test/")
	ads.Stdout.WaitForCount(t, " is at ", 4)
	require.Len(t, visitors(), 3, "two visitors more")
}

// A client that makes up ids or asks for too much gets nothing by it.
func TestHostileClient(t *testing.T) {
	shop := clitest.Start(t, "shop", "-port", "0", "-db", filepath.Join(t.TempDir(), "shop.db"))
	get := func(path, cookie string) string {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+shop.Addr+path, nil)
		require.NoError(t, err)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		return string(body)
	}
	for _, cookie := range []string{"id=x", "id=' OR 1=1 --", "id=", "id=a.b; id=c.d", "id=" + strings.Repeat("x", 4000)} {
		require.Contains(t, get("/", cookie), "welcome, stranger")
	}
	require.Contains(t, get("/add?item=%3Cscript%3E", ""), "&lt;script&gt;")
	require.Contains(t, get("/add?item="+strings.Repeat("x", maxItem+1), ""), "nothing was added")
}

func TestHostileServers(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{}, {"ftp://a/"}, {"-at", "a", "http://a/"}, {"-at", "a=b", "http://a/"}} {
		got := clitest.Run(t, "", append([]string{"browse", "-jar", filepath.Join(dir, "j.json")}, args...)...)
		require.Equal(t, 2, got.Status, "%v %+v", args, got)
	}
	bad := filepath.Join(dir, "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte("{"), 0o600))
	got := clitest.Run(t, "", "browse", "-jar", bad, "http://shop.test/")
	require.Equal(t, 1, got.Status)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
}

// curl with its own jar is known again, too.
func TestCurl(t *testing.T) {
	curl := interop.Program(t, "curl", "curl")
	dir := t.TempDir()
	shop := clitest.Start(t, "shop", "-port", "0", "-db", filepath.Join(dir, "shop.db"))
	run := func(path string) string {
		jar := filepath.Join(dir, "curl.txt")
		out, err := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "*", "-b", jar, "-c", jar, "http://"+shop.Addr+path).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	require.Contains(t, run("/"), "welcome, stranger")
	run("/add?item=quixote")
	require.Contains(t, run("/"), "visit 2, in your cart: quixote")
}
