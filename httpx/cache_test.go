package httpx

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A fakeOrigin answers what a cache asks, without a network.
type fakeOrigin struct {
	answer func(r *http.Request) (*http.Response, error)
	asked  atomic.Int64
}

func (o *fakeOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	o.asked.Add(1)
	return o.answer(r)
}

// reply builds a response; fields are "Name: value".
func reply(r *http.Request, status int, body string, fields ...string) *http.Response {
	h := http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	resp := newStored(r, status, h, int64(len(body)))
	h.Set("Content-Length", fmt.Sprint(len(body)))
	resp.Body = io.NopCloser(strings.NewReader(body))
	return resp
}

// askCache sends a GET through c and returns status, body and our Cache-Status.
func askCache(t *testing.T, c *Cache, target string, fields ...string) (int, string, string) {
	t.Helper()
	status, body, header := askFull(t, c, "GET", target, fields...)
	lines := header["Cache-Status"]
	require.NotEmpty(t, lines)
	return status, body, lines[len(lines)-1]
}

func askFull(t *testing.T, c *Cache, method, target string, fields ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://shop.test"+target, nil)
	require.NoError(t, err)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	resp, err := c.RoundTrip(r)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(body), resp.Header
}

// inBubble runs a test with a cache over an origin, on virtual time.
func inBubble(t *testing.T, answer func(r *http.Request) (*http.Response, error), f func(t *testing.T, c *Cache, o *fakeOrigin)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOrigin{answer: answer}
		c := &Cache{Transport: o}
		defer c.Close()
		f(t, c, o)
	})
}

// pass lets virtual time pass.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestCacheFreshThenValidated(t *testing.T) {
	version := 1
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		tag := fmt.Sprintf(`"v%d"`, version)
		if r.Header.Get("If-None-Match") == tag {
			return reply(r, 304, "", "Etag: "+tag, "Cache-Control: max-age=10"), nil
		}
		return reply(r, 200, "version "+fmt.Sprint(version), "Etag: "+tag, "Cache-Control: max-age=10"), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		_, body, status := askCache(t, c, "/a")
		require.Equal(t, "version 1", body)
		require.Equal(t, "zocalo; fwd=uri-miss; fwd-status=200; stored", status)
		pass(3 * time.Second)
		_, body, status = askCache(t, c, "/a")
		require.Equal(t, "version 1", body)
		require.Equal(t, "zocalo; hit; ttl=7", status)
		pass(8 * time.Second)
		_, body, status = askCache(t, c, "/a")
		require.Equal(t, "version 1", body)
		require.Equal(t, "zocalo; fwd=stale; fwd-status=304", status)
		_, _, status = askCache(t, c, "/a")
		require.Equal(t, "zocalo; hit; ttl=10", status)
		version = 2
		pass(10 * time.Second)
		_, body, _ = askCache(t, c, "/a")
		require.Equal(t, "version 2", body)
		require.EqualValues(t, 3, o.asked.Load())
		require.Equal(t, 1, c.Stats().Entries)
	})
}

// A hundred requests for what is not there reach the origin once.
func TestCacheCollapses(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		elapse(time.Second)
		return reply(r, 200, "the page", "Cache-Control: max-age=10"), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, body, _ := askCache(t, c, "/a")
				require.Equal(t, "the page", body)
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, o.asked.Load())
		require.EqualValues(t, 99, c.Stats().Collapsed)
	})
}

// elapse lets virtual time pass for the goroutine that calls it.
func elapse(d time.Duration) { time.Sleep(d) }

// Who waits for another's answer that is not for sharing asks itself.
func TestCacheDoesNotShareWhatIsPrivate(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		elapse(time.Second)
		return reply(r, 200, "for "+r.Header.Get("Cookie"), "Cache-Control: private, max-age=10"), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_, body, _ := askCache(t, c, "/a", fmt.Sprintf("Cookie: %d", i))
				require.Equal(t, fmt.Sprintf("for %d", i), body)
			})
		}
		wg.Wait()
		require.EqualValues(t, 10, o.asked.Load())
		require.Zero(t, c.Stats().Entries)
	})
}

// A purge counts for what is on its way as well.
func TestCachePurge(t *testing.T) {
	version := atomic.Int64{}
	release, arrived := make(chan struct{}), make(chan struct{})
	o := &fakeOrigin{answer: func(r *http.Request) (*http.Response, error) {
		v := version.Load()
		if v == 1 {
			close(arrived)
			<-release
		}
		return reply(r, 200, fmt.Sprint("version ", v), "Cache-Control: max-age=1000"), nil
	}}
	c := &Cache{Transport: o}
	defer c.Close()
	askCache(t, c, "/a")
	u, _ := url.Parse("http://shop.test/a")
	require.Equal(t, 1, c.Purge(u))
	version.Store(1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, body, _ := askCache(t, c, "/a")
		require.Equal(t, "version 1", body)
	}()
	<-arrived
	require.Zero(t, c.Purge(u))
	version.Store(2)
	close(release)
	<-over
	_, body, _ := askCache(t, c, "/a")
	require.Equal(t, "version 2", body, "what was asked for before the purge has been stored")
}

// A body that breaks off is not kept, and its readers are told.
func TestCacheBrokenBody(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		resp := reply(r, 200, "0123456789", "Cache-Control: max-age=10")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("01234"), failingBody{io.ErrUnexpectedEOF}))
		return resp, nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		for i := range 2 {
			r, _ := http.NewRequest("GET", "http://shop.test/a", nil)
			resp, err := c.RoundTrip(r)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Equal(t, "01234", string(body))
			resp.Body.Close()
			require.EqualValues(t, i+1, o.asked.Load())
		}
		require.Equal(t, CacheStats{Misses: 2}, c.Stats())
	})
}

type failingBody struct{ err error }

func (f failingBody) Read([]byte) (int, error) { return 0, f.err }

// However much comes, the cache holds no more than it may.
func TestCacheBound(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		resp := reply(r, 200, strings.Repeat("x", 10_000), "Cache-Control: max-age=10")
		if strings.HasSuffix(r.URL.Path, "endless") {
			resp.ContentLength = -1
			resp.Header.Del("Content-Length")
			resp.Body = io.NopCloser(io.LimitReader(zeros{}, 10<<20))
		}
		return resp, nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		c.MaxBytes = 100_000
		c.MaxObject = 20_000
		for i := range 100 {
			askCache(t, c, fmt.Sprintf("/%d", i))
			require.LessOrEqual(t, c.Stats().Bytes, int64(100_000))
		}
		require.Equal(t, 9, c.Stats().Entries)
		require.EqualValues(t, 91, c.Stats().Evicted)
		_, body, _ := askCache(t, c, "/endless")
		require.Len(t, body, 10<<20)
		require.LessOrEqual(t, c.Stats().Bytes, int64(100_000))
		c.PurgeAll()
		require.Zero(t, c.Stats().Bytes)
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestCacheOnDisk(t *testing.T) {
	dir := t.TempDir()
	o := &fakeOrigin{answer: func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, "from the origin", "Cache-Control: max-age=1000", "Vary: Accept-Language"), nil
	}}
	for i := range 3 {
		store, err := OpenDiskStore(dir)
		require.NoError(t, err)
		c := &Cache{Transport: o, Store: store}
		_, body, _ := askCache(t, c, "/a", "Accept-Language: es")
		require.Equal(t, "from the origin", body)
		require.EqualValues(t, 1, o.asked.Load(), "process %d", i)
		_, _, status := askCache(t, c, "/a", "Accept-Language: es")
		require.True(t, strings.HasPrefix(status, "zocalo; hit"), status)
		require.NoError(t, c.Close())
		require.NoError(t, store.Close())
	}
}

func TestCacheRangesOfWhatIsStored(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, "0123456789", "Cache-Control: max-age=10", `Etag: "a"`), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		askCache(t, c, "/a")
		for _, test := range []struct {
			fields []string
			status int
			body   string
		}{
			{[]string{"Range: bytes=2-4"}, 206, "234"},
			{[]string{"Range: bytes=-2"}, 206, "89"},
			{[]string{"Range: bytes=10-"}, 416, ""},
			{[]string{"Range: bytes=0-1,5-6"}, 200, "0123456789"},
			{[]string{"Range: bytes=2-4", `If-Range: "b"`}, 200, "0123456789"},
			{[]string{`If-None-Match: "x", W/"a"`}, 304, ""},
		} {
			status, body, _ := askCache(t, c, "/a", test.fields...)
			require.Equal(t, test.status, status, test)
			require.Equal(t, test.body, body, test)
		}
		require.EqualValues(t, 1, o.asked.Load())
	})
}

func TestCacheErrorOfTheOrigin(t *testing.T) {
	broken := errors.New("no route")
	fails := false
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		if fails {
			return nil, broken
		}
		return reply(r, 200, "old", "Cache-Control: max-age=10, stale-if-error=20", `Etag: "a"`), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		askCache(t, c, "/a")
		fails = true
		pass(15 * time.Second)
		_, body, status := askCache(t, c, "/a")
		require.Equal(t, "old", body)
		require.Equal(t, "zocalo; hit; ttl=-5", status)
		pass(20 * time.Second)
		r, _ := http.NewRequest("GET", "http://shop.test/a", nil)
		_, err := c.RoundTrip(r)
		require.ErrorIs(t, err, broken)
	})
}

func TestCacheRefreshesInTheBackground(t *testing.T) {
	version := 1
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, fmt.Sprint(version), "Cache-Control: max-age=10, stale-while-revalidate=20"), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		askCache(t, c, "/a")
		version = 2
		pass(15 * time.Second)
		_, body, _ := askCache(t, c, "/a")
		require.Equal(t, "1", body)
		synctest.Wait()
		_, body, status := askCache(t, c, "/a")
		require.Equal(t, "2", body)
		require.Equal(t, "zocalo; hit; ttl=10", status)
		require.EqualValues(t, 2, o.asked.Load())
	})
}

func FuzzCacheControl(f *testing.F) {
	f.Add(`max-age=10, no-cache="Set-Cookie, X", private`)
	f.Add(`max-age="10", , ="x", a=`)
	f.Add(`max-age=99999999999999999999`)
	f.Add(`a;b="c";d=?1, e=:aGk=:`)
	f.Fuzz(func(t *testing.T, line string) {
		p := parsePolicy([]string{line})
		for name := range p {
			require.True(t, isToken(name))
			d, ok := p.seconds(name)
			require.True(t, ok && d >= 0 && d <= maxDelta)
		}
		parseTargeted([]string{line})
		if at, ok := parseDate(line, time.Now()); ok {
			again, ok := parseDate(at.UTC().Format(http.TimeFormat), time.Now())
			require.True(t, ok && again.Equal(at) || at.Year() < 0 || at.Year() > 9999, line)
		}
		varying(http.Header{"A": {line}}, http.Header{"Vary": {line}})
		once := normalField([]string{line})
		require.Equal(t, once, normalField(once), "what is normal stays as it is")
	})
}
