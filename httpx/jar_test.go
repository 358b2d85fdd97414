package httpx

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/publicsuffix"
)

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}

// sent returns the Cookie field that a jar gives for a URL.
func sent(t testing.TB, j http.CookieJar, to string) string {
	t.Helper()
	var parts []string
	for _, c := range j.Cookies(mustURL(t, to)) {
		parts = append(parts, c.Name+"="+c.Value)
	}
	return strings.Join(parts, "; ")
}

func set(t testing.TB, j http.CookieJar, from string, lines ...string) {
	t.Helper()
	j.SetCookies(mustURL(t, from), (&http.Response{Header: http.Header{"Set-Cookie": lines}}).Cookies())
}

func TestJarRules(t *testing.T) {
	for _, test := range []struct {
		name, from, line, to, want string
	}{
		{"host only", "http://shop.test/", "a=1", "http://shop.test/x", "a=1"},
		{"not below", "http://shop.test/", "a=1", "http://www.shop.test/", ""},
		{"a domain and below", "http://www.shop.test/", "a=1; Domain=shop.test", "http://cart.shop.test/", "a=1"},
		{"a dot in front", "http://www.shop.test/", "a=1; Domain=.Shop.test", "http://shop.test/", "a=1"},
		{"another's domain", "http://shop.test/", "a=1; Domain=bank.test", "http://bank.test/", ""},
		{"a likeness", "http://evilshop.test/", "a=1; Domain=shop.test", "http://shop.test/", ""},
		{"a public suffix", "http://a.co.uk/", "a=1; Domain=co.uk", "http://b.co.uk/", ""},
		{"a suffix of its own", "http://co.uk/", "a=1; Domain=co.uk", "http://co.uk/", "a=1"},
		{"a top-level domain", "http://shop.test/", "a=1; Domain=test", "http://bank.test/", ""},
		{"an address", "http://127.0.0.1/", "a=1; Domain=127.0.0.1", "http://127.0.0.1:81/", "a=1"},
		{"part of an address", "http://127.0.0.1/", "a=1; Domain=0.0.1", "http://127.0.0.1/", ""},
		{"the path of the page", "http://shop.test/cart/add", "a=1", "http://shop.test/cart/x", "a=1"},
		{"and not above", "http://shop.test/cart/add", "a=1", "http://shop.test/", ""},
		{"whole parts of a path", "http://shop.test/", "a=1; Path=/cart", "http://shop.test/cartoon", ""},
		{"a path and below", "http://shop.test/", "a=1; Path=/cart", "http://shop.test/cart/x", "a=1"},
		{"secure needs https", "https://shop.test/", "a=1; Secure", "http://shop.test/", ""},
		{"and has it", "https://shop.test/", "a=1; Secure", "https://shop.test/", "a=1"},
		{"secure from http", "http://shop.test/", "a=1; Secure", "https://shop.test/", ""},
		{"expired", "http://shop.test/", "a=1; Max-Age=0", "http://shop.test/", ""},
		{"a past date", "http://shop.test/", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://shop.test/", ""},
		{"__Host- without path", "https://shop.test/", "__Host-a=1; Secure", "https://shop.test/", ""},
		{"__Host- with domain", "https://shop.test/", "__Host-a=1; Secure; Path=/; Domain=shop.test", "https://shop.test/", ""},
		{"__Host-", "https://shop.test/", "__Host-a=1; Secure; Path=/", "https://shop.test/", "__Host-a=1"},
		{"__Secure- over http", "http://shop.test/", "__Secure-a=1; Secure", "https://shop.test/", ""},
		{"ports do not matter", "http://shop.test:8001/", "a=1", "http://shop.test:8002/", "a=1"},
		{"upper case", "http://SHOP.test/", "a=1", "http://shop.TEST./", "a=1"},
		{"too long", "http://shop.test/", "a=" + strings.Repeat("x", 4096), "http://shop.test/", ""},
		{"another scheme", "ftp://shop.test/", "a=1", "http://shop.test/", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var j Jar
			set(t, &j, test.from, test.line)
			require.Equal(t, test.want, sent(t, &j, test.to))
		})
	}
}

func TestJarReplacesAndOrders(t *testing.T) {
	var j Jar
	set(t, &j, "https://shop.test/", "a=1; Path=/", "b=2; Path=/cart", "c=3; Path=/")
	require.Equal(t, "b=2; a=1; c=3", sent(t, &j, "https://shop.test/cart"))
	set(t, &j, "https://shop.test/", "a=9; Path=/; Secure")
	require.Equal(t, "a=9; c=3", sent(t, &j, "https://shop.test/"))
	set(t, &j, "http://shop.test/", "a=evil; Path=/")
	require.Equal(t, "a=9; c=3", sent(t, &j, "https://shop.test/"), "set over https, replaced over http")
	set(t, &j, "https://shop.test/", "c=; Path=/; Max-Age=-1")
	require.Len(t, j.All(), 2)
	j.Clear()
	require.Empty(t, j.All())
}

func TestJarBounds(t *testing.T) {
	var j Jar
	for i := range 100 {
		set(t, &j, "http://shop.test/", fmt.Sprintf("c%d=1", i))
	}
	require.Len(t, j.All(), 50)
	require.Equal(t, "c50", j.All()[0].Name)
	j.MaxCookies = 60
	for i := range 100 {
		set(t, &j, fmt.Sprintf("http://shop%d.test/", i), "a=1")
	}
	require.Len(t, j.All(), 60)
}

func TestJarFile(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	j := Jar{Now: clock}
	set(t, &j, "http://shop.test/", "id=7; Max-Age=1000000", "visit=1", "short=1; Max-Age=60")
	var file bytes.Buffer
	require.NoError(t, j.Save(&file))
	now = now.Add(7 * 24 * time.Hour)
	again := Jar{Now: clock}
	require.NoError(t, again.Load(bytes.NewReader(file.Bytes())))
	require.Equal(t, "id=7", sent(t, &again, "http://shop.test/"))
	now = now.Add(7 * 24 * time.Hour)
	require.Empty(t, sent(t, &again, "http://shop.test/"))

	for _, bad := range []string{"", "{", `[{"Name":"a","Domain":"","Path":"/"}]`, `[{"Name":"a","Domain":"b","Path":""}]`} {
		require.Error(t, new(Jar).Load(strings.NewReader(bad)), bad)
	}
	j = Jar{Now: clock}
	set(t, &j, "http://shop.test/", "id=7; Max-Age=99999999999999")
	require.LessOrEqual(t, j.All()[0].Expires.Sub(now), maxLife)
}

// Where the standard library's jar has an opinion, ours has the same.
func FuzzJar(f *testing.F) {
	f.Add("http://www.shop.co.uk/a/b", "a=1; Domain=shop.co.uk; Path=/a", "http://shop.co.uk/a/c")
	f.Add("https://127.0.0.1:1/", "a=1; Secure; Max-Age=5", "https://127.0.0.1/")
	f.Add("http://a.b/", "a=\"x y\"; Domain=.b", "http://a.b/")
	f.Fuzz(func(t *testing.T, from, line, to string) {
		u, err := url.Parse(from)
		v, err2 := url.Parse(to)
		if err != nil || err2 != nil {
			return
		}
		cookies := (&http.Response{Header: http.Header{"Set-Cookie": {line}}}).Cookies()
		theirs, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
		require.NoError(t, err)
		ours := new(Jar)
		ours.SetCookies(u, cookies)
		theirs.SetCookies(u, cookies)
		have, want := ours.Cookies(v), theirs.Cookies(v)
		// Ours is stricter, never looser.
		for _, c := range have {
			require.True(t, slices.ContainsFunc(want, func(o *http.Cookie) bool { return o.Name == c.Name && o.Value == c.Value }), "%q %q %q", from, line, to)
		}
		var file bytes.Buffer
		require.NoError(t, ours.Save(&file))
		require.NoError(t, new(Jar).Load(&file))
	})
}
