package httpx

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPreconditions(t *testing.T) {
	h, _ := site(t)
	first := ask(h, "GET", "/small.txt")
	tag := first.Header().Get("ETag")
	earlier, later := "Sun, 17 May 2020 10:30:14 GMT", "Sun, 17 May 2020 10:30:16 GMT"
	for _, c := range []struct {
		status int
		lines  []string
	}{
		{304, []string{"If-None-Match: " + tag}},
		{304, []string{"If-None-Match: W/" + tag}},
		{304, []string{`If-None-Match: "a", W/"b,c" ,, ` + tag}},
		{304, []string{`If-None-Match: "a"`, "If-None-Match: " + tag}},
		{304, []string{"If-None-Match: *"}},
		{200, []string{`If-None-Match: "a"`}},
		{200, []string{`If-None-Match: a" ` + tag}}, // no list
		{200, []string{"If-None-Match: " + tag[1:len(tag)-1]}},
		{304, []string{"If-Modified-Since: " + oldDate}},
		{304, []string{"If-Modified-Since: " + later}},
		{200, []string{"If-Modified-Since: " + earlier}},
		{200, []string{"If-Modified-Since: never"}},
		{304, []string{"If-Modified-Since: Sunday, 17-May-20 10:30:15 GMT"}}, // the obsolete forms
		{304, []string{"If-Modified-Since: Sun May 17 10:30:15 2020"}},
		{200, []string{`If-None-Match: "a"`, "If-Modified-Since: " + later}}, // the tag decides alone
		{304, []string{"If-None-Match: " + tag, "If-Modified-Since: " + earlier}},
		{200, []string{"If-Match: " + tag}},
		{200, []string{`If-Match: "a",` + tag}},
		{412, []string{"If-Match: W/" + tag}}, // compared strongly
		{412, []string{`If-Match: "a"`}},
		{412, []string{"If-Unmodified-Since: " + earlier}},
		{200, []string{"If-Unmodified-Since: " + oldDate}},
		{200, []string{"If-Match: " + tag, "If-Unmodified-Since: " + earlier}}, // the tag decides alone
		{412, []string{`If-Match: "a"`, "If-None-Match: " + tag}},              // in this order
		{304, []string{"If-Match: *", "If-None-Match: " + tag}},
		{412, []string{"If-Unmodified-Since: " + earlier, "If-Modified-Since: " + oldDate}},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			w := ask(h, method, "/small.txt", c.lines...)
			require.Equal(t, c.status, w.Code, "%s %q", method, c.lines)
			if c.status == 304 {
				require.Empty(t, w.Body.String())
				require.Equal(t, tag, w.Header().Get("ETag"))
				require.Empty(t, w.Header().Get("Content-Type"))
			}
			if c.status == 412 {
				require.Empty(t, w.Header().Get("ETag"), "the page is not the file")
			}
		}
	}
}

// A file from the future has a tag, and no date.
func TestFutureFile(t *testing.T) {
	h, dir := site(t)
	future := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "small.txt"), future, future))
	w := ask(h, "GET", "/small.txt")
	require.Empty(t, w.Header().Get("Last-Modified"))
	require.Equal(t, 304, ask(h, "GET", "/small.txt", "If-None-Match: "+w.Header().Get("ETag")).Code)
}

// The validator changes with the content, also within one second and with the
// same size.
func TestTagChanges(t *testing.T) {
	h, dir := site(t)
	name := filepath.Join(dir, "small.txt")
	seen := map[string]bool{}
	for i := range 5 {
		require.NoError(t, os.WriteFile(name, []byte("abcdefghij"), 0o666))
		changed := oldTime.Add(time.Duration(i) * time.Millisecond)
		require.NoError(t, os.Chtimes(name, changed, changed))
		seen[ask(h, "GET", "/small.txt").Header().Get("ETag")] = true
	}
	require.Len(t, seen, 5)
}
