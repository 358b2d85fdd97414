package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

// newShop opens a shop with a cache in this process.
func newShop(t *testing.T) *shop {
	t.Helper()
	db, err := openDatabase(t.Context(), filepath.Join(t.TempDir(), "shop.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return &shop{db: db, store: local{cache.NewLRU(cache.Config[string, []byte]{})}, ttl: time.Hour}
}

// get returns the price of an article and where it came from.
func get(t *testing.T, s *shop, id int64) (price int64, from string) {
	t.Helper()
	a, from, err := s.getArticle(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, id, a.ID)
	require.NotEmpty(t, a.Name)
	require.Positive(t, a.Sold)
	return a.Price, from
}

func TestCacheAside(t *testing.T) {
	s := newShop(t)
	price, from := get(t, s, 3)
	require.Equal(t, "database", from)
	again, from := get(t, s, 3)
	require.Equal(t, "cache", from)
	require.Equal(t, price, again)

	require.NoError(t, s.setPrice(t.Context(), 3, price+1))
	now, from := get(t, s, 3)
	require.Equal(t, "database", from)
	require.Equal(t, price+1, now)

	require.NoError(t, s.sneakPrice(t.Context(), 3, price+2))
	now, from = get(t, s, 3)
	require.Equal(t, "cache", from)
	require.Equal(t, price+1, now, "nobody has told the cache")
	require.NoError(t, s.forget(t.Context(), 3))
	now, _ = get(t, s, 3)
	require.Equal(t, price+2, now)
	require.NoError(t, s.forget(t.Context(), 4), "what is not there can be forgotten")

	s.store = nil
	_, from = get(t, s, 3)
	require.Equal(t, "database", from)

	name, err := s.getName(t.Context(), 3)
	require.NoError(t, err)
	require.Equal(t, "windmill no. 3", name)
}

func TestNoArticle(t *testing.T) {
	s := newShop(t)
	for range 2 {
		_, _, err := s.getArticle(t.Context(), articles+1)
		require.ErrorIs(t, err, errNoArticle)
	}
	require.Equal(t, 2, s.queries, "it is not remembered: somebody may add it")
	require.ErrorIs(t, s.setPrice(t.Context(), articles+1, 5), errNoArticle)
}

// A cache that holds rubbish, or is away, is an error here. (cache.Memo goes on
// without it.)
func TestBadCache(t *testing.T) {
	s := newShop(t)
	require.NoError(t, s.store.Set(t.Context(), articleKey(3), []byte("{"), 0))
	_, _, err := s.getArticle(t.Context(), 3)
	require.ErrorContains(t, err, "article:3 in the cache: ")
	s.store = away{}
	_, _, err = s.getArticle(t.Context(), 3)
	require.ErrorIs(t, err, errAway)
	require.ErrorIs(t, s.setPrice(t.Context(), 3, 5), errAway)
	_, err = s.getName(t.Context(), 3)
	require.ErrorIs(t, err, errAway)
	require.Zero(t, s.queries)
}

var errAway = errors.New("away")

type away struct{}

func (away) Get(context.Context, string) ([]byte, error)              { return nil, errAway }
func (away) Set(context.Context, string, []byte, time.Duration) error { return errAway }
func (away) Delete(context.Context, string) error                     { return errAway }

func TestConsole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shop.db")
	server := clitest.Start(t, "server", "-port", "0")
	args := []string{"console", "-db", file, "-servers", server.Addr}
	got := clitest.Run(t, "get 1\nprice 1 500\nget 1\n\nget 1\nget 999\nprice 999 1\nforget 2\nflush\nget 1\nstats", args...)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "ddcd", answers(got.Stdout))
	require.Contains(t, got.Stdout, "> get 999\n999: no such article\n> price 999 1\n999: no such article\n> forget 2\n> flush\n")
	require.Contains(t, got.Stdout, "1 windmill no. 1, 5.00 €")
	require.Contains(t, got.Stdout, "5 gets: 1 hits, 4 misses; 1 items; the database was asked 4 times\n")

	// The cache is shared, and the database stays.
	got = clitest.Run(t, "get 1\nforget 1\nget 1\n", args...)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, "cd", answers(got.Stdout))
	require.Equal(t, 2, strings.Count(got.Stdout, "1 windmill no. 1, 5.00 €"))
}

func TestConsoleHelps(t *testing.T) {
	wrong := []string{"what", "get", "get x", "get 1 2", "price 1", "flush 1", "wait", "GET 1", "get 1x", "get 99999999999999999999"}
	got := clitest.Run(t, strings.Join(wrong, "\n"), "console")
	require.Equal(t, 0, got.Status, got.Stderr)
	for _, line := range wrong {
		require.Contains(t, got.Stdout, "> "+line+"\nwhat? help shows what you can type\n")
	}
	got = clitest.Run(t, "help\nprice 1 -5\nwait soon\nwait 100h\nwait -5s\n", "console")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, help)
	require.Contains(t, got.Stdout, "a price is not negative\n")
	require.Equal(t, 2, strings.Count(got.Stdout, "want a time such as 1.5s"))
}

func TestCompare(t *testing.T) {
	got := clitest.Run(t, "", "compare", "-requests", "20")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Regexp(t, `no cache +[\d.]+ ms +20 +[\d.]+ ms +20\n +cache in this process +[\d.]+ ms +(\d\d?) +[\d.]+ ms +(\d\d?)\n +memcached`, got.Stdout)
}

func TestFailures(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("no database", 100)), 0o600))
	server := clitest.Start(t, "server", "-port", "0")
	server.Stop()
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"console", "-db", text}, 1, text},
		{[]string{"console", "-db", dir}, 1, dir},
		{[]string{"console", "-servers", server.Addr}, 1, "cannot connect to " + server.Addr},
		{[]string{"compare", "-servers", server.Addr}, 1, "cannot connect to " + server.Addr},
		{[]string{"console", "-ttl", "1ms"}, 2, "want a number from 1s to 24h0m0s"},
		{[]string{"compare", "-requests", "0"}, 2, "want a number from 1 to 1000000"},
	} {
		got := clitest.Run(t, "get 1", test.args...)
		require.Equal(t, test.status, got.Status, "%v", test.args)
		require.Contains(t, got.Stderr, test.says)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	got := clitest.Run(t, strings.Repeat("x", maxLine+1), "console")
	require.Equal(t, 1, got.Status)
}

func TestStops(t *testing.T) {
	console := clitest.StartClient(t, "wait 1m\n", "console")
	console.Stdout.WaitFor(t, "> wait")
	require.Contains(t, []int{0, 130}, console.Stop()) // 0: Windows has no signals
}

// A database that somebody else has begun is taken as it is.
func TestExistingDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `
		CREATE TABLE article (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL);
		INSERT INTO article VALUES (1, 'donkey', 30000)`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	got := clitest.Run(t, "get 1\nget 2", "console", "-db", file)
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "1 donkey, 300.00 €, 0 sold: from the database")
	require.Contains(t, got.Stdout, "2: no such article")
}
