package httpx

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		field string
		want  string // ranges as first+length; "whole", "none"
	}{
		{"bytes=0-0", "0+1"},
		{"bytes=0-99", "0+100"},
		{"bytes=0-100", "0+100"},
		{"bytes=99-", "99+1"},
		{"bytes=-1", "99+1"},
		{"bytes=-100", "0+100"},
		{"bytes=-101", "0+100"},
		{"Bytes=5-6", "5+2"},
		{"bytes=0-0,-1", "0+1 99+1"},
		{"bytes= 0-0 , ,\t5-6 ,", "0+1 5+2"},
		{"bytes=90-,0-1", "90+10 0+2"}, // in the order asked for
		{"bytes=0-0,200-300", "0+1"},
		{"bytes=0-99999999999999999999999", "0+100"},
		{"bytes=100-", "none"},
		{"bytes=99999999999999999999999-", "none"},
		{"bytes=-0", "none"},
		{"bytes=200-300,-0", "none"},
		{"bytes=", "whole"},
		{"bytes=,", "whole"},
		{"bytes", "whole"},
		{"bytes=-", "whole"},
		{"bytes=a-b", "whole"},
		{"bytes=5", "whole"},
		{"bytes=6-5", "whole"},
		{"bytes=0-1,6-5", "whole"},
		{"bytes=+1-2", "whole"},
		{"bytes=1-+2", "whole"},
		{"bytes=--5", "whole"},
		{"bytes=1-2-3", "whole"},
		{"bytes=0x1-2", "whole"},
		{"bytes=1 - 2", "whole"},
		{"items=0-1", "whole"},
		{" bytes=0-1", "whole"},
		{"bytes=0-99,0-99", "whole"}, // more than there is
		{"bytes=" + strings.Repeat("0-0,", 16), strings.TrimSpace(strings.Repeat("0+1 ", 16))},
		{"bytes=" + strings.Repeat("0-0,", 17), "whole"},
	} {
		require.Equal(t, c.want, describe(parseRange([]string{c.field}, 100)), "%q", c.field)
	}
	require.Equal(t, "whole", describe(parseRange([]string{"bytes=0-0", "bytes=1-1"}, 100)))
	require.Equal(t, "whole", describe(parseRange([]string{"bytes=-1"}, 0)))
}

func describe(ranges []byteRange, ok bool) string {
	if !ok {
		return "none"
	}
	if len(ranges) == 0 {
		return "whole"
	}
	var words []string
	for _, r := range ranges {
		words = append(words, fmt.Sprintf("%d+%d", r.first, r.length))
	}
	return strings.Join(words, " ")
}

func TestRanges(t *testing.T) {
	h, _ := site(t)
	w := ask(h, "GET", "/small.txt", "Range: bytes=2-4")
	require.Equal(t, 206, w.Code)
	require.Equal(t, "234", w.Body.String())
	require.Equal(t, "bytes 2-4/10", w.Header().Get("Content-Range"))
	w = ask(h, "GET", "/small.txt", "Range: bytes=10-")
	require.Equal(t, 416, w.Code)
	require.Equal(t, "bytes */10", w.Header().Get("Content-Range"))
	require.Empty(t, w.Header().Get("ETag"), "the page is not the file")

	tag := ask(h, "GET", "/small.txt").Header().Get("ETag")
	require.Equal(t, 206, ask(h, "GET", "/small.txt", "Range: bytes=2-4", "If-Range: "+tag).Code)
	require.Equal(t, 200, ask(h, "GET", "/small.txt", "Range: bytes=2-4", "If-Range: W/"+tag).Code)
	require.Equal(t, 200, ask(h, "GET", "/small.txt", "Range: bytes=2-4", "If-Range: \"x\"").Code)
	require.Equal(t, 200, ask(h, "GET", "/small.txt", "Range: bytes=20-", "If-Range: \"x\"").Code)
	require.Equal(t, 304, ask(h, "GET", "/small.txt", "Range: bytes=2-4", "If-None-Match: "+tag).Code)
	require.Equal(t, 412, ask(h, "GET", "/small.txt", "Range: bytes=2-4", "If-Match: \"x\"").Code)
}

func TestMultipart(t *testing.T) {
	h, _ := site(t)
	for target, text := range map[string]string{"/small.txt": "0123456789", "/big.bin": bigText} {
		w := ask(h, "GET", target, "Range: bytes=-2,0-1,5-5")
		require.Equal(t, 206, w.Code)
		require.Empty(t, w.Header().Get("Content-Range"))
		require.Equal(t, fmt.Sprint(w.Body.Len()), w.Header().Get("Content-Length"))
		kind, params, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, "multipart/byteranges", kind)
		parts := multipart.NewReader(w.Body, params["boundary"])
		size := len(text)
		for _, want := range []struct{ content, where string }{
			{text[size-2:], fmt.Sprintf("bytes %d-%d/%d", size-2, size-1, size)},
			{text[:2], fmt.Sprintf("bytes 0-1/%d", size)},
			{text[5:6], fmt.Sprintf("bytes 5-5/%d", size)},
		} {
			part, err := parts.NextRawPart()
			require.NoError(t, err)
			content, err := io.ReadAll(part)
			require.NoError(t, err)
			require.Equal(t, want.content, string(content))
			require.Equal(t, want.where, part.Header.Get("Content-Range"))
			require.Equal(t, ask(h, "GET", target).Header().Get("Content-Type"), part.Header.Get("Content-Type"))
		}
		_, err = parts.NextRawPart()
		require.ErrorIs(t, err, io.EOF)
	}
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-0,-1", "bytes=5-", "bytes=9999999999999999999-", "bytes=1-2,,", "x=1-2"} {
		f.Add(seed, int64(100))
	}
	f.Fuzz(func(t *testing.T, field string, size int64) {
		if size < 0 {
			return
		}
		ranges, ok := parseRange([]string{field}, size)
		require.LessOrEqual(t, len(ranges), maxRanges)
		require.True(t, ok || len(ranges) == 0)
		var total int64
		for _, r := range ranges {
			require.True(t, r.first >= 0 && r.length > 0 && r.length <= size-r.first, "%+v of %d", r, size)
			total += r.length
		}
		require.LessOrEqual(t, total, size)
	})
}

func FuzzConditions(f *testing.F) {
	f.Add(`"a", W/"b,c"`, `"b,c"`)
	f.Add(`*`, `"x"`)
	f.Add(`"a" "b`, `"b"`)
	f.Fuzz(func(t *testing.T, list, tag string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["If-None-Match"] = []string{list}
		status := precondition(r, tag, oldTime)
		require.Contains(t, []int{0, 304}, status)
		if status == 304 && strings.Trim(list, " \t,") != "*" {
			require.Contains(t, list, tag)
		}
	})
}
