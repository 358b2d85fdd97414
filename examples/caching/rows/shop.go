package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/zocalo-go/zocalo/cache"
)

const (
	articles = 200   // in the shop
	sales    = 3_000 // of them
)

// openDatabase opens the shop's database and fills it if it is new. There is no
// index on the sales: the query that counts them has to read them all, as
// queries of real sites do that nobody has looked after.
func openDatabase(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return nil, err
	}
	if err := fillDatabase(ctx, db); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

func fillDatabase(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if _, err := tx.ExecContext(ctx, `
		CREATE TABLE IF NOT EXISTS article (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL);
		CREATE TABLE IF NOT EXISTS sale (article INTEGER NOT NULL, pieces INTEGER NOT NULL)`); err != nil {
		return err
	}
	var there int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM article").Scan(&there); err != nil {
		return err
	}
	if there == 0 {
		if _, err := tx.ExecContext(ctx, `
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
			INSERT INTO article SELECT i, 'windmill no. ' || i, 100 + i*7919%9900 FROM n`, articles); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?)
			INSERT INTO sale SELECT 1 + i*7919%?, 1 + i%5 FROM n`, sales, articles); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// An Article is a row with what belongs to it, as a page of the shop shows it.
type Article struct {
	ID    int64
	Name  string
	Price int64 // in cents
	Sold  int64
}

var errNoArticle = errors.New("no such article")

// A shop is a database, perhaps with a cache beside it.
type shop struct {
	db      *sql.DB
	store   cache.Store // nil: no cache
	ttl     time.Duration
	queries int // how often the database was asked
}

// getArticle returns an article and whether it comes from the "cache" or the
// "database". It is the get_foo of memcached's documentation: look in the
// cache; if it is not there ask the database, and put the answer into the cache.
func (s *shop) getArticle(ctx context.Context, id int64) (a Article, from string, err error) {
	key := articleKey(id)
	if s.store != nil {
		value, err := s.store.Get(ctx, key)
		if err == nil {
			if err := json.Unmarshal(value, &a); err != nil {
				return a, "", fmt.Errorf("%s in the cache: %w", key, err)
			}
			return a, "cache", nil
		}
		if !errors.Is(err, cache.ErrMiss) {
			return a, "", err
		}
	}
	s.queries++
	err = s.db.QueryRowContext(ctx, `
		SELECT id, name, price, (SELECT ifnull(sum(pieces), 0) FROM sale WHERE sale.article = article.id)
		FROM article WHERE id = ?`, id).Scan(&a.ID, &a.Name, &a.Price, &a.Sold)
	if errors.Is(err, sql.ErrNoRows) {
		return a, "", fmt.Errorf("%d: %w", id, errNoArticle)
	} else if err != nil {
		return a, "", err
	}
	if s.store != nil {
		value, err := json.Marshal(a)
		if err == nil {
			err = s.store.Set(ctx, key, value, s.ttl)
		}
		if err != nil {
			return a, "", err
		}
	}
	return a, "database", nil
}

// articleKey is where an article is in the cache.
func articleKey(id int64) string { return fmt.Sprintf("article:%d", id) }

// getName returns an article's name, a question that the database answers by
// its primary key in no time. Caching that is a mistake; see the README.
func (s *shop) getName(ctx context.Context, id int64) (name string, err error) {
	key := fmt.Sprintf("name:%d", id)
	if s.store != nil {
		value, err := s.store.Get(ctx, key)
		if err == nil || !errors.Is(err, cache.ErrMiss) {
			return string(value), err
		}
	}
	s.queries++
	if err := s.db.QueryRowContext(ctx, "SELECT name FROM article WHERE id = ?", id).Scan(&name); err != nil {
		return "", err
	}
	if s.store != nil {
		err = s.store.Set(ctx, key, []byte(name), s.ttl)
	}
	return name, err
}

// setPrice changes a price: first in the database, then the article is removed
// from the cache. The other way round, somebody could read the old row and put
// it back between the two.
func (s *shop) setPrice(ctx context.Context, id, cents int64) error {
	if err := s.sneakPrice(ctx, id, cents); err != nil {
		return err
	}
	return s.forget(ctx, id)
}

// sneakPrice changes a price and does not tell the cache.
func (s *shop) sneakPrice(ctx context.Context, id, cents int64) error {
	result, err := s.db.ExecContext(ctx, "UPDATE article SET price = ? WHERE id = ?", cents, id)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, fmt.Errorf("%d: %w", id, errNoArticle))
	}
	return nil
}

// forget removes an article from the cache. It need not be there.
func (s *shop) forget(ctx context.Context, id int64) error {
	if err := s.store.Delete(ctx, articleKey(id)); !errors.Is(err, cache.ErrMiss) {
		return err
	}
	return nil
}

// local is a cache in this process as a [cache.Store].
type local struct{ *cache.Local[string, []byte] }

// Get returns the value of key.
func (l local) Get(_ context.Context, key string) ([]byte, error) {
	value, ok := l.Local.Get(key)
	if !ok {
		return nil, cache.ErrMiss
	}
	return value, nil
}

// Set stores value for ttl.
func (l local) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	l.Local.SetFor(key, value, ttl)
	return nil
}

// Delete removes key.
func (l local) Delete(_ context.Context, key string) error {
	l.Local.Delete(key)
	return nil
}
