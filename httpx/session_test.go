package httpx

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func TestSigner(t *testing.T) {
	s := Signer{Keys: [][]byte{newKey(1)}}
	signed, err := s.Sign("cookie", "id.7")
	require.NoError(t, err)
	text, ok := s.Verify("cookie", signed)
	require.True(t, ok)
	require.Equal(t, "id.7", text)
	_, ok = s.Verify("other", signed)
	require.False(t, ok, "a signature for one purpose is none for another")
	for i := range signed {
		b := []byte(signed)
		b[i] ^= 1
		_, ok := s.Verify("cookie", string(b))
		require.False(t, ok, "byte %d changed", i)
	}
	for _, bad := range []string{"", ".", "id", "id.", signed + "=", signed + "A", signed[:len(signed)-1]} {
		_, ok := s.Verify("cookie", bad)
		require.False(t, ok, bad)
	}
	// A new key in front; what the old one has signed is still good, until it goes.
	s.Keys = [][]byte{newKey(2), newKey(1)}
	_, ok = s.Verify("cookie", signed)
	require.True(t, ok)
	s.Keys = s.Keys[:1]
	_, ok = s.Verify("cookie", signed)
	require.False(t, ok)
	for _, keys := range [][][]byte{nil, {[]byte("short")}} {
		_, err := (&Signer{Keys: keys}).Sign("a", "b")
		require.ErrorIs(t, err, ErrKey)
	}
}

type cart struct{ Items []string }

// visit plays one request with the cookies that a client has, and returns what
// it has then.
func visit(t *testing.T, s *Sessions[cart], had []*http.Cookie, secure bool, f func(*Session[cart], http.ResponseWriter, *http.Request)) []*http.Cookie {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	if secure {
		r.TLS = new(tls.ConnectionState)
	}
	for _, c := range had {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	session, err := s.Get(r)
	require.NoError(t, err)
	f(session, w, r)
	if set := w.Result().Cookies(); len(set) > 0 {
		return set
	}
	return had
}

func TestSessions(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	store := &MemorySessions{Now: clock}
	s := &Sessions[cart]{Store: store, Signer: Signer{Keys: [][]byte{newKey(1)}}, Now: clock}
	cookies := visit(t, s, nil, true, func(v *Session[cart], w http.ResponseWriter, r *http.Request) {
		require.True(t, v.New)
		v.Data.Items = []string{"book"}
		require.NoError(t, v.Save(w, r))
	})
	require.Len(t, cookies, 1)
	c := cookies[0]
	require.Equal(t, "__Host-session", c.Name)
	require.True(t, c.HttpOnly && c.Secure && c.Path == "/" && c.SameSite == http.SameSiteLaxMode, "%+v", c)

	now = now.Add(7 * 24 * time.Hour)
	visit(t, s, cookies, true, func(v *Session[cart], w http.ResponseWriter, r *http.Request) {
		require.False(t, v.New)
		require.Equal(t, []string{"book"}, v.Data.Items)
	})
	// Who plants an id, or changes one, is a stranger.
	for _, value := range []string{"x", "x.y", c.Value + "a", strings.ToUpper(c.Value)} {
		visit(t, s, []*http.Cookie{{Name: c.Name, Value: value}}, true, func(v *Session[cart], w http.ResponseWriter, r *http.Request) {
			require.True(t, v.New)
		})
	}
	// After a login the old id is worth nothing.
	renewed := visit(t, s, cookies, true, func(v *Session[cart], w http.ResponseWriter, r *http.Request) {
		require.NoError(t, v.Renew(r.Context()))
		require.NoError(t, v.Save(w, r))
	})
	require.NotEqual(t, c.Value, renewed[0].Value)
	visit(t, s, cookies, true, func(v *Session[cart], w http.ResponseWriter, r *http.Request) { require.True(t, v.New) })
	visit(t, s, renewed, true, func(v *Session[cart], w http.ResponseWriter, r *http.Request) {
		require.Equal(t, []string{"book"}, v.Data.Items)
	})
	now = now.Add(31 * 24 * time.Hour)
	visit(t, s, renewed, true, func(v *Session[cart], w http.ResponseWriter, r *http.Request) { require.True(t, v.New) })

	// Deleted is deleted, at both ends.
	again := visit(t, s, nil, false, func(v *Session[cart], w http.ResponseWriter, r *http.Request) { require.NoError(t, v.Save(w, r)) })
	require.Equal(t, "session", again[0].Name)
	gone := visit(t, s, again, false, func(v *Session[cart], w http.ResponseWriter, r *http.Request) {
		require.False(t, v.New)
		require.NoError(t, v.Delete(w, r))
	})
	require.Negative(t, gone[0].MaxAge)
	visit(t, s, again, false, func(v *Session[cart], w http.ResponseWriter, r *http.Request) { require.True(t, v.New) })

	_, err := (&Sessions[cart]{Store: store}).Get(httptest.NewRequest("GET", "/", nil))
	require.ErrorIs(t, err, ErrKey)
}

func TestMemorySessions(t *testing.T) {
	m := &MemorySessions{Max: 3}
	ctx := context.Background()
	later := time.Now().Add(time.Hour)
	for i := range 5 {
		require.NoError(t, m.Save(ctx, fmt.Sprint(i), []byte("x"), later))
	}
	require.NoError(t, m.Save(ctx, "2", []byte("y"), later)) // the youngest now
	require.NoError(t, m.Save(ctx, "5", []byte("x"), later))
	for id, want := range map[string]bool{"0": false, "1": false, "2": true, "3": false, "4": true, "5": true} {
		_, ok, err := m.Load(ctx, id)
		require.NoError(t, err)
		require.Equal(t, want, ok, id)
	}
	require.NoError(t, m.Delete(ctx, "4"))
	require.NoError(t, m.Delete(ctx, "none"))
	require.Len(t, m.kept, 2)
}

type brokenStore struct{ *MemorySessions }

func (brokenStore) Load(context.Context, string) ([]byte, bool, error) {
	return nil, false, errors.New("no database")
}

// A store that fails makes nobody a stranger.
func TestBrokenStore(t *testing.T) {
	s := &Sessions[cart]{Store: new(MemorySessions), Signer: Signer{Keys: [][]byte{newKey(1)}}}
	cookies := visit(t, s, nil, false, func(v *Session[cart], w http.ResponseWriter, r *http.Request) { require.NoError(t, v.Save(w, r)) })
	s.Store = brokenStore{}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(cookies[0])
	_, err := s.Get(r)
	require.ErrorContains(t, err, "no database")
}
