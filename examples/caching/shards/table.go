package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/zocalo-go/zocalo/cache"
)

// A shardedTable is a table of words whose rows are spread over databases that
// do not know each other. The word, which is the primary key, says where a row
// is.
type shardedTable struct {
	dir      string
	selector cache.Selector
	nodes    []cache.Node // names of the databases, as the selector knows them
	shards   []*sql.DB
	pick     func(word string) int
	asked    int // databases, for the question at hand
}

const schema = `CREATE TABLE word (word TEXT PRIMARY KEY, letters INTEGER NOT NULL, ending TEXT NOT NULL) WITHOUT ROWID`

// create makes n empty databases in a folder.
func create(ctx context.Context, dir string, n int, selector cache.Selector) (*shardedTable, error) {
	t := &shardedTable{dir: dir, selector: selector}
	for range n {
		if err := t.add(ctx); err != nil {
			t.close()
			return nil, err
		}
	}
	t.pick = selector(t.nodes)
	return t, nil
}

// add makes one more database. It has no rows until pick says so.
func (t *shardedTable) add(ctx context.Context) error {
	node := nodes(len(t.nodes) + 1)[len(t.nodes)]
	file := filepath.Join(t.dir, node.Addr+".db")
	// It must be new: rows that are there already may be out of place.
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		db.Close()
		return fmt.Errorf("%s: %w", file, err)
	}
	t.nodes, t.shards = append(slices.Clip(t.nodes), node), append(t.shards, db)
	return nil
}

func (t *shardedTable) close() {
	for _, db := range t.shards {
		db.Close()
	}
}

// change runs f in a transaction on one database.
func change(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// insert adds words that are not there. Each database gets its own in one
// transaction; there is none that spans them.
func (t *shardedTable) insert(ctx context.Context, words []string) error {
	share := make([][]string, len(t.shards))
	for _, word := range words {
		i := t.pick(word)
		share[i] = append(share[i], word)
	}
	all, ctx := errgroup.WithContext(ctx)
	for i, db := range t.shards {
		all.Go(func() error { return insert(ctx, db, share[i]) })
	}
	return all.Wait()
}

// insert adds words to one database; those that are there stay.
func insert(ctx context.Context, db *sql.DB, words []string) error {
	return change(ctx, db, func(tx *sql.Tx) error {
		into, err := tx.PrepareContext(ctx, "INSERT OR IGNORE INTO word VALUES (?, ?, ?)")
		if err != nil {
			return err
		}
		defer into.Close()
		for _, word := range words {
			_, size := utf8.DecodeLastRuneInString(word)
			if _, err := into.ExecContext(ctx, word, utf8.RuneCountInString(word), word[len(word)-size:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// has asks for a row by its key: the one database that can have it.
func (t *shardedTable) has(ctx context.Context, word string) (found bool, err error) {
	t.asked = 1
	err = t.shards[t.pick(word)].QueryRowContext(ctx, "SELECT count(*) FROM word WHERE word = ?", word).Scan(&found)
	return found, err
}

// everywhere asks all databases the same question, at the same time, and
// returns the rows of each.
func everywhere[Row any](ctx context.Context, t *shardedTable, query string, scan func(*sql.Rows) (Row, error)) ([][]Row, error) {
	t.asked = len(t.shards)
	found := make([][]Row, len(t.shards))
	all, ctx := errgroup.WithContext(ctx)
	for i, db := range t.shards {
		all.Go(func() error {
			rows, err := db.QueryContext(ctx, query)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				row, err := scan(rows)
				if err != nil {
					return err
				}
				found[i] = append(found[i], row)
			}
			return rows.Err()
		})
	}
	return found, all.Wait()
}

func scanString(rows *sql.Rows) (s string, err error) { return s, rows.Scan(&s) }

// longest returns the k longest words. Any of them may be in any database, but
// none behind the first k there.
func (t *shardedTable) longest(ctx context.Context, k int) ([]string, error) {
	found, err := everywhere(ctx, t, fmt.Sprintf("SELECT word FROM word ORDER BY letters DESC, word LIMIT %d", k), scanString)
	if err != nil {
		return nil, err
	}
	words := slices.Concat(found...)
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(utf8.RuneCountInString(b)-utf8.RuneCountInString(a), cmp.Compare(a, b))
	})
	return words[:min(k, len(words))], nil
}

// A sum is how many words there are, and letters in them.
type sum struct{ words, letters int }

func (s sum) mean() float64 { return float64(s.letters) / float64(s.words) }

// sums returns the sum of each database.
func (t *shardedTable) sums(ctx context.Context) ([]sum, error) {
	found, err := everywhere(ctx, t, "SELECT count(*), coalesce(sum(letters), 0) FROM word", func(rows *sql.Rows) (s sum, err error) {
		return s, rows.Scan(&s.words, &s.letters)
	})
	return slices.Concat(found...), err
}

// total adds sums. A mean of means would be wrong, as the databases have
// different numbers of rows.
func total(sums []sum) (all sum) {
	for _, s := range sums {
		all.words += s.words
		all.letters += s.letters
	}
	return all
}

// An ending is a last letter and how many words have it.
type ending struct {
	letter string
	words  int
}

// endings returns the k most frequent last letters. Here a database must say
// all: a letter that is nowhere among the first can be so in the sum.
func (t *shardedTable) endings(ctx context.Context, k int) ([]ending, error) {
	found, err := everywhere(ctx, t, "SELECT ending, count(*) FROM word GROUP BY ending", func(rows *sql.Rows) (e ending, err error) {
		return e, rows.Scan(&e.letter, &e.words)
	})
	if err != nil {
		return nil, err
	}
	words := map[string]int{}
	for _, e := range slices.Concat(found...) {
		words[e.letter] += e.words
	}
	var all []ending
	for letter, n := range words {
		all = append(all, ending{letter, n})
	}
	slices.SortFunc(all, func(a, b ending) int { return cmp.Or(b.words-a.words, cmp.Compare(a.letter, b.letter)) })
	return all[:min(k, len(all))], nil
}

// grow adds a database and moves the rows that belong elsewhere now. It returns
// how many those are.
func (t *shardedTable) grow(ctx context.Context) (moved int, err error) {
	if err := t.add(ctx); err != nil {
		return 0, err
	}
	pick := t.selector(t.nodes)
	found, err := everywhere(ctx, t, "SELECT word FROM word", scanString)
	if err != nil {
		return 0, err
	}
	for from, words := range found {
		leaving := make([][]string, len(t.shards))
		for _, word := range words {
			if to := pick(word); to != from {
				leaving[to] = append(leaving[to], word)
			}
		}
		// First a copy at the new place, then the old one goes. Who is
		// interrupted between the two has rows twice, and has not lost any.
		for to, words := range leaving {
			if err := insert(ctx, t.shards[to], words); err != nil {
				return moved, err
			}
			if err := remove(ctx, t.shards[from], words); err != nil {
				return moved, err
			}
			moved += len(words)
		}
	}
	t.pick = pick
	return moved, nil
}

// remove deletes words from one database.
func remove(ctx context.Context, db *sql.DB, words []string) error {
	return change(ctx, db, func(tx *sql.Tx) error {
		from, err := tx.PrepareContext(ctx, "DELETE FROM word WHERE word = ?")
		if err != nil {
			return err
		}
		defer from.Close()
		for _, word := range words {
			if _, err := from.ExecContext(ctx, word); err != nil {
				return err
			}
		}
		return nil
	})
}

// play fills the table, asks it, adds a database and asks again.
func play(ctx context.Context, out io.Writer, t *shardedTable, words []string) error {
	if err := t.insert(ctx, words); err != nil {
		return err
	}
	before, err := ask(ctx, out, t, words)
	if err != nil {
		return err
	}
	moved, err := t.grow(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\none more database: %d rows move, %.1f of 100\n", moved, 100*float64(moved)/float64(len(words)))
	after, err := ask(ctx, out, t, words)
	if err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("the table has changed: it said %q, and now %q", before, after)
	}
	return nil
}

// ask asks all kinds of questions and returns the answers that do not depend on
// where the rows are.
func ask(ctx context.Context, out io.Writer, t *shardedTable, words []string) (answers string, err error) {
	sums, err := t.sums(ctx)
	if err != nil {
		return "", err
	}
	var each []string
	for _, s := range sums {
		each = append(each, fmt.Sprint(s.words))
	}
	fmt.Fprintf(out, "rows: %s\n", strings.Join(each, " + "))
	say := func(question, answer string) {
		answers += answer + "\n"
		fmt.Fprintf(out, "%-20s %-46s databases asked: %d\n", question, answer, t.asked)
	}
	all := total(sums)
	say("how many, how long?", fmt.Sprintf("%d, %.3f letters each", all.words, all.mean()))
	for _, word := range []string{words[len(words)/2], "no such word"} {
		found, err := t.has(ctx, word)
		if err != nil {
			return "", err
		}
		say("is it there?", fmt.Sprintf("%s: %t", word, found))
	}
	longest, err := t.longest(ctx, 2)
	if err != nil {
		return "", err
	}
	say("which are longest?", strings.Join(longest, ", "))
	endings, err := t.endings(ctx, 3)
	if err != nil {
		return "", err
	}
	var frequent []string
	for _, e := range endings {
		frequent = append(frequent, fmt.Sprintf("-%s %d", e.letter, e.words))
	}
	say("how do they end?", strings.Join(frequent, ", "))
	return answers, nil
}
