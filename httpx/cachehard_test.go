package httpx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// silentBody gives its text and then nothing, until it is closed.
func silentBody(text string) io.ReadCloser {
	pr, pw := io.Pipe()
	go pw.Write([]byte(text))
	return pr
}

func openCache(ctx context.Context, t *testing.T, c *Cache) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://shop.test/a", nil)
	require.NoError(t, err)
	resp, err := c.RoundTrip(r)
	require.NoError(t, err)
	return resp
}

// A client that goes ends the reading from an origin that has fallen silent,
// whether the body is stored or not, and nothing of it stays.
func TestCacheClientGoesDuringBody(t *testing.T) {
	for _, control := range []string{"max-age=10", "no-store"} {
		inBubble(t, func(r *http.Request) (*http.Response, error) {
			resp := reply(r, 200, "0123456789", "Cache-Control: "+control)
			body := silentBody("01234")
			context.AfterFunc(r.Context(), func() { body.Close() })
			resp.Body = body
			return resp, nil
		}, func(t *testing.T, c *Cache, o *fakeOrigin) {
			ctx, cancel := context.WithCancel(t.Context())
			resp := openCache(ctx, t, c)
			over := make(chan error, 1)
			go func() {
				_, err := io.ReadAll(resp.Body)
				over <- err
			}()
			synctest.Wait()
			cancel()
			require.Error(t, <-over)
			require.NoError(t, resp.Body.Close())
			synctest.Wait()
			require.Zero(t, c.Stats().Bytes)
			require.Empty(t, c.flights)
		})
	}
}

// A body that is closed while it is read, as a refresh is when the cache closes,
// takes nothing away under the reader.
func TestCacheCloseDuringRead(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		resp := reply(r, 200, "0123456789", "Cache-Control: max-age=10")
		resp.Header.Del("Content-Length")
		resp.ContentLength = -1
		// The read goes on although the body is closed, and comes to an end.
		pr, pw := io.Pipe()
		go func() {
			elapse(time.Second)
			pw.Write([]byte("0123456789"))
			pw.Close()
		}()
		resp.Body = io.NopCloser(pr)
		return resp, nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		resp := openCache(t.Context(), t, c)
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, _ = io.ReadAll(resp.Body)
		}()
		synctest.Wait()
		require.NoError(t, resp.Body.Close())
		<-over
		require.Zero(t, c.Stats().Entries)
		require.Zero(t, c.Stats().Bytes)
		require.Empty(t, c.flights)
	})
}

// What broke off is given to nobody who waited for it, though others still have
// it open.
func TestCacheFollowerOfBrokenBody(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		resp := reply(r, 200, "0123456789", "Cache-Control: max-age=10")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("01234"), failingBody{io.ErrUnexpectedEOF}))
		return resp, nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		resp := openCache(t.Context(), t, c)
		c.mu.Lock()
		f := c.joinable("http://shop.test/a")
		c.mu.Unlock()
		require.NotNil(t, f)
		_, err := io.ReadAll(resp.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		r, _ := http.NewRequest("GET", "http://shop.test/a", nil)
		_, again, err := c.follow(r, f)
		require.NoError(t, err)
		require.True(t, again)
		require.NoError(t, resp.Body.Close())
		require.Zero(t, c.Stats().Bytes)
	})
}

// A body with less than was announced is broken, and what is beyond is no part
// of it, whatever the transport lets through.
func TestCacheWrongLength(t *testing.T) {
	for body, want := range map[string]error{"01234": io.ErrUnexpectedEOF, "0123456789": nil, "0123456789abc": nil} {
		inBubble(t, func(r *http.Request) (*http.Response, error) {
			resp := reply(r, 200, "0123456789", "Cache-Control: max-age=10")
			resp.Body = io.NopCloser(strings.NewReader(body))
			return resp, nil
		}, func(t *testing.T, c *Cache, o *fakeOrigin) {
			resp := openCache(t.Context(), t, c)
			got, err := io.ReadAll(resp.Body)
			require.ErrorIs(t, err, want)
			require.Equal(t, body[:min(10, len(body))], string(got))
			resp.Body.Close()
			if want != nil {
				require.Zero(t, c.Stats().Entries)
			}
		})
	}
}

// A client that does not read its answer holds up nobody who wants the same,
// also when its length is not known; and gets it whole itself if it is too long
// to be kept.
func TestCacheSlowClient(t *testing.T) {
	for _, size := range []int{1000, 50_000} {
		inBubble(t, func(r *http.Request) (*http.Response, error) {
			resp := reply(r, 200, strings.Repeat("x", size), "Cache-Control: max-age=10")
			resp.Header.Del("Content-Length")
			resp.ContentLength = -1
			return resp, nil
		}, func(t *testing.T, c *Cache, o *fakeOrigin) {
			c.MaxObject = 20_000
			slow := openCache(t.Context(), t, c)
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					_, body, _ := askCache(t, c, "/a")
					require.Len(t, body, size)
				})
			}
			wg.Wait()
			body, err := io.ReadAll(slow.Body)
			require.NoError(t, err)
			require.Len(t, body, size)
			require.NoError(t, slow.Body.Close())
			if size < 20_000 {
				require.EqualValues(t, 1, o.asked.Load())
			}
			c.PurgeAll()
			require.Zero(t, c.Stats().Bytes)
			require.Empty(t, c.flights)
		})
	}
}

// When the client that asked goes before the header, one of those who waited
// asks for all.
func TestCacheLeaderLeavesMany(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(time.Second):
			return reply(r, 200, "here", "Cache-Control: max-age=10"), nil
		case <-r.Context().Done():
			return nil, context.Cause(r.Context())
		}
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			r, _ := http.NewRequestWithContext(ctx, "GET", "http://shop.test/a", nil)
			_, err := c.RoundTrip(r)
			over <- err
		}()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, body, _ := askCache(t, c, "/a")
				require.Equal(t, "here", body)
			})
		}
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-over, context.Canceled)
		wg.Wait()
		require.EqualValues(t, 2, o.asked.Load())
	})
}

// A refresh tells nobody of what comes before its answer: the client's response
// is over.
func TestCacheRefreshWithoutTrace(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
			_ = trace.Got1xxResponse(103, textproto.MIMEHeader{})
		}
		return reply(r, 200, "page", "Cache-Control: max-age=10, stale-while-revalidate=20"), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		told := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(int, textproto.MIMEHeader) error { told++; return nil },
		})
		for range 2 {
			resp := openCache(ctx, t, c)
			_, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			resp.Body.Close()
			pass(15 * time.Second)
		}
		require.EqualValues(t, 2, o.asked.Load())
		require.Equal(t, 1, told)
	})
}

// The host that a client names to a reverse proxy reaches the origin in
// X-Forwarded-Host, and so must not lead to another client's answer.
func TestCacheKeyHasForwardedHost(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, "links to "+r.Header.Get("X-Forwarded-Host"), "Cache-Control: max-age=10"), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		for _, host := range []string{"evil.test", "shop.test", "evil.test"} {
			_, body, _ := askCache(t, c, "/a", "X-Forwarded-Host: "+host)
			require.Equal(t, "links to "+host, body)
		}
		require.EqualValues(t, 2, o.asked.Load())
		u, _ := url.Parse("http://shop.test/a")
		require.Equal(t, 2, c.Purge(u))
	})
}

// The answer to a HEAD that is for one client alone is not put into what all
// get, and a 304 can change by what a response varies.
func TestCacheUpdatesWhatItMay(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		switch {
		case r.Method == "HEAD":
			resp := reply(r, 200, "", `Etag: "a"`, "Cache-Control: private, max-age=100", "Set-Cookie: id=1")
			resp.Header.Del("Content-Length")
			return resp, nil
		case r.Header.Get("If-None-Match") != "":
			return reply(r, 304, "", `Etag: "a"`, "Cache-Control: max-age=10", "Vary: Accept-Language"), nil
		}
		return reply(r, 200, "page", `Etag: "a"`, "Cache-Control: max-age=10"), nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		askCache(t, c, "/a")
		pass(15 * time.Second)
		askCache(t, c, "/a", "Accept-Language: es")
		askCache(t, c, "/a", "Accept-Language: es")
		require.EqualValues(t, 2, o.asked.Load())
		askCache(t, c, "/a", "Accept-Language: en")
		require.EqualValues(t, 3, o.asked.Load(), "the 304 said that it varies")
		pass(15 * time.Second)
		askFull(t, c, "HEAD", "/a", "Accept-Language: en")
		_, _, header := askFull(t, c, "GET", "/a", "Accept-Language: en")
		require.Empty(t, header["Set-Cookie"])
	})
}

// On the disk: no file stays open, bytes come back as they were, and what lost
// its end or was purged does not come back.
func TestDiskStoreRestart(t *testing.T) {
	dir := t.TempDir()
	o := &fakeOrigin{answer: func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, "from the origin", "Cache-Control: max-age=1000", "X-Note: caf\xe9"), nil
	}}
	run := func(f func(c *Cache)) {
		store, err := OpenDiskStore(dir)
		require.NoError(t, err)
		c := &Cache{Transport: o, Store: store}
		f(c)
		require.NoError(t, c.Close())
		require.NoError(t, store.Close())
	}
	run(func(c *Cache) {
		askCache(t, c, "/cut")
		askCache(t, c, "/whole")
		for _, list := range c.entries {
			require.Nil(t, list[0].body.(*diskBody).file)
		}
	})
	require.NoError(t, os.Truncate(dir+"/0000000000000000.body", 3))
	run(func(c *Cache) {
		require.Equal(t, 1, c.Stats().Entries)
		_, body, header := askFull(t, c, "GET", "/whole")
		require.Equal(t, "from the origin", body)
		require.Equal(t, "caf\xe9", header.Get("X-Note"))
		r, _ := http.NewRequest("GET", "http://shop.test/whole", nil)
		resp, err := c.RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, 1, c.PurgeAll()) // while it is read; and then the process is killed
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range left {
			require.False(t, strings.HasSuffix(e.Name(), ".record"), e.Name())
		}
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "from the origin", string(data))
		resp.Body.Close()
		require.Zero(t, c.Stats().Bytes)
	})
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A file that has lost its end while the cache runs gives an error, not a
// short body.
func TestDiskStoreTruncated(t *testing.T) {
	dir := t.TempDir()
	store, err := OpenDiskStore(dir)
	require.NoError(t, err)
	defer store.Close()
	c := &Cache{Store: store, Transport: &fakeOrigin{answer: func(r *http.Request) (*http.Response, error) {
		return reply(r, 200, "from the origin", "Cache-Control: max-age=1000"), nil
	}}}
	defer c.Close()
	askCache(t, c, "/a")
	require.NoError(t, os.Truncate(dir+"/0000000000000000.body", 3))
	resp := openCache(t.Context(), t, c)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestCacheAfterClose(t *testing.T) {
	c := new(Cache)
	require.NoError(t, c.Close())
	r, _ := http.NewRequest("GET", "http://shop.test/a", nil)
	_, err := c.RoundTrip(r)
	require.ErrorIs(t, err, net.ErrClosed)
}

// Addresses that have an address of this machine in them, or a zone, lead
// nowhere.
func TestPublicOnlyForms(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1", "::1", "::ffff:127.0.0.1", "::7f00:1", "10.1.2.3", "169.254.169.254", "fe80::1%lo", "fec0::1",
		"2002:7f00:1::1", "2002:7f00:1::1%lo", "64:ff9b::7f00:1", "2001::7f00:1", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1",
	} {
		require.False(t, isPublic(netip.MustParseAddr(text)), text)
	}
	require.True(t, isPublic(netip.MustParseAddr("93.184.216.34")))
	require.True(t, isPublic(netip.MustParseAddr("2606:4700::1")))
}

// A node whose requests fail although its checks are well comes back only when
// as many checks as Rise were well since.
func TestRiseAfterEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &Balancer{Check: &HealthCheck{Interval: time.Second, Rise: 3, Fall: 2}}
		defer b.Close()
		f := newFleet(t, b, 1, 1)
		pass(10*time.Second + time.Millisecond)
		for range 2 {
			b.nodes[0].answered(errors.New("broken"))
		}
		require.False(t, b.Nodes()[0].Well)
		pass(2 * time.Second)
		require.False(t, b.Nodes()[0].Well)
		pass(time.Second)
		require.True(t, b.Nodes()[0].Well)
		require.Empty(t, f.got["none"])
	})
}

// A cookie leads to a node that drains even if it is the last one; and the
// answer with a cookie is for its client alone.
func TestStickyWhileDraining(t *testing.T) {
	b := &Balancer{Sticky: "node"}
	defer b.Close()
	newFleet(t, b, 1)
	resp, err := send(b, "GET", "/")
	require.NoError(t, err)
	require.Contains(t, resp.Header["Cache-Control"], "private")
	cookie := resp.Cookies()[0]
	require.True(t, b.Drain(&url.URL{Scheme: "http", Host: "n0"}))
	_, err = send(b, "GET", "/", "Cookie: node="+cookie.Value)
	require.NoError(t, err)
	_, err = send(b, "GET", "/")
	require.ErrorIs(t, err, ErrNoNode)
	require.EqualValues(t, 2, b.Nodes()[0].Given)
}

// Whatever clients, the origin and purges do at the same time, no reference and
// no byte is left behind.
func TestCacheLeavesNothingBehind(t *testing.T) {
	inBubble(t, func(r *http.Request) (*http.Response, error) {
		dice := rand.Uint32()
		if dice%7 == 0 {
			elapse(time.Millisecond)
		}
		if err := r.Context().Err(); err != nil || dice%11 == 0 {
			return nil, errors.Join(err, io.ErrUnexpectedEOF)
		}
		if r.Header.Get("If-None-Match") != "" && dice%2 == 0 {
			return reply(r, 304, "", `Etag: "a"`, "Cache-Control: max-age=1, stale-while-revalidate=9"), nil
		}
		resp := reply(r, 200, strings.Repeat("x", 3000), `Etag: "a"`, "Cache-Control: max-age=1, stale-while-revalidate=9")
		if dice%3 == 0 {
			resp.Header.Del("Content-Length")
			resp.ContentLength = -1
		}
		if dice%5 == 0 {
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("01234"), failingBody{io.ErrUnexpectedEOF}))
		}
		return resp, nil
	}, func(t *testing.T, c *Cache, o *fakeOrigin) {
		c.MaxBytes = 20_000
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 300 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Microsecond)
					r, _ := http.NewRequestWithContext(ctx, "GET", fmt.Sprint("http://shop.test/", rand.IntN(8)), nil)
					if rand.IntN(20) == 0 {
						c.Purge(r.URL)
					}
					resp, err := c.RoundTrip(r)
					if err == nil {
						if rand.IntN(5) == 0 { // closed while it is read
							wg.Go(func() { resp.Body.Close() })
						}
						_, _ = io.CopyN(io.Discard, resp.Body, rand.Int64N(4000))
						resp.Body.Close()
					}
					cancel()
					if rand.IntN(10) == 0 {
						elapse(time.Second)
					}
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		require.LessOrEqual(t, c.Stats().Bytes, c.MaxBytes)
		c.PurgeAll()
		require.NoError(t, c.Close())
		require.Zero(t, c.Stats().Bytes)
		require.Empty(t, c.flights)
	})
}
