package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"time"

	_ "modernc.org/sqlite" // a database in Go, in a file

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

// A cart is what the shop remembers of a client.
type cart struct {
	Items  []string
	Visits int
}

// maxItems and maxItem bound what one client can make us remember.
const maxItems, maxItem = 100, 100

// A database keeps sessions in SQLite. It is an httpx.SessionStore.
type database struct {
	db  *sql.DB
	now func() time.Time
}

// openDatabase opens the file, or makes it. The key with which ids are signed
// is in it too: without it, nobody would be known after a restart.
func openDatabase(ctx context.Context, file string, now func() time.Time) (*database, []byte, error) {
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(file)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer at a time
	d := &database{db, now}
	var key []byte
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, data BLOB NOT NULL, expires INTEGER NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS secret (key BLOB NOT NULL)`,
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			db.Close()
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	err = db.QueryRowContext(ctx, `SELECT key FROM secret`).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		key = make([]byte, 32)
		rand.Read(key)
		_, err = db.ExecContext(ctx, `INSERT INTO secret (key) VALUES (?)`, key)
	}
	if err == nil {
		_, err = db.ExecContext(ctx, `DELETE FROM session WHERE expires <= ?`, now().Unix())
	}
	if err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return d, key, nil
}

func (d *database) Load(ctx context.Context, id string) (data []byte, ok bool, err error) {
	err = d.db.QueryRowContext(ctx, `SELECT data FROM session WHERE id = ? AND expires > ?`, id, d.now().Unix()).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return data, err == nil, err
}

func (d *database) Save(ctx context.Context, id string, data []byte, expires time.Time) error {
	_, err := d.db.ExecContext(ctx, `INSERT INTO session (id, data, expires) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET data = excluded.data, expires = excluded.expires`, id, data, expires.Unix())
	return err
}

func (d *database) Delete(ctx context.Context, id string) error {
	_, err := d.db.ExecContext(ctx, `DELETE FROM session WHERE id = ?`, id)
	return err
}

// laterFlag declares the flag by which a week passes in a moment.
func laterFlag(fs *flag.FlagSet) func() time.Time {
	later := cli.Number(fs, "later", 0, 0, 10*365*24*time.Hour, "let the clock be ahead by this `time`: 168h is a week")
	return func() time.Time { return time.Now().Add(*later) }
}

func shop(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	name := fs.String("name", "the shop", "what it calls itself")
	file := fs.String("db", "shop.db", "`file` of the database")
	ad := fs.String("ad", "", "`URL` of a picture to have on every page")
	now := laterFlag(fs)
	return func(ctx context.Context, env *cli.Env) error {
		store, key, err := openDatabase(ctx, *file, now)
		if err != nil {
			return err
		}
		defer store.db.Close()
		sessions := &httpx.Sessions[cart]{Store: store, Signer: httpx.Signer{Keys: [][]byte{key}}, Name: "id", Now: now}
		s := &httpx.Server{Handler: shopHandler(*name, *ad, sessions)}
		return env.Serve(ctx, addr.String(), s.Serve)
	}
}

// shopHandler shows the cart at /, puts an item into it at /add?item=…, and
// forgets the client at /forget. (A real shop would want a POST to change
// something; a link is easier to type.)
func shopHandler(name, ad string, sessions *httpx.Sessions[cart]) http.Handler {
	mux := http.NewServeMux()
	with := func(pattern string, f func(s *httpx.Session[cart], w http.ResponseWriter, r *http.Request) (string, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s, err := sessions.Get(r)
			if err != nil {
				httpx.ErrorPage(w, r, http.StatusInternalServerError, "The shop's database does not answer.")
				return
			}
			text, err := f(s, w, r)
			if err != nil {
				httpx.ErrorPage(w, r, http.StatusInternalServerError, "The shop's database does not answer.")
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "private, no-store")
			picture := ""
			if ad != "" {
				picture = fmt.Sprintf("<img src=\"%s\" alt=\"\">\n", html.EscapeString(ad))
			}
			fmt.Fprintf(w, "<!doctype html>\n<title>%s</title>\n<p>%s\n%s", html.EscapeString(name), html.EscapeString(text), picture)
		})
	}
	greet := func(s *httpx.Session[cart]) string {
		switch {
		case s.New:
			return name + ": welcome, stranger"
		case len(s.Data.Items) == 0:
			return fmt.Sprintf("%s: visit %d, your cart is empty", name, s.Data.Visits)
		}
		return fmt.Sprintf("%s: visit %d, in your cart: %s", name, s.Data.Visits, strings.Join(s.Data.Items, ", "))
	}
	with("GET /{$}", func(s *httpx.Session[cart], w http.ResponseWriter, r *http.Request) (string, error) {
		s.Data.Visits++
		text := greet(s)
		return text, s.Save(w, r)
	})
	with("GET /add", func(s *httpx.Session[cart], w http.ResponseWriter, r *http.Request) (string, error) {
		item := r.FormValue("item")
		if item == "" || len(item) > maxItem || len(s.Data.Items) >= maxItems {
			return "nothing was added", nil
		}
		s.Data.Items = append(s.Data.Items, item)
		return "added: " + item, s.Save(w, r)
	})
	with("GET /forget", func(s *httpx.Session[cart], w http.ResponseWriter, r *http.Request) (string, error) {
		return name + ": we do not know you any more", s.Delete(w, r)
	})
	return mux
}

// ads serves a picture and tells what it learns: which visitor was on which
// page. It keeps no database: the browser brings the id, the page itself is in
// the field Referer.
func ads(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	return func(ctx context.Context, env *cli.Env) error {
		s := &httpx.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			visitor := ""
			if c, err := r.Cookie("visitor"); err == nil && len(c.Value) <= 30 {
				visitor = c.Value
			} else {
				visitor = rand.Text()[:8]
				http.SetCookie(w, &http.Cookie{Name: "visitor", Value: visitor, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true})
			}
			fmt.Fprintf(env.Stdout, "visitor %.30q is at %.200q\n", visitor, r.Header.Get("Referer"))
			w.Header().Set("Content-Type", "image/svg+xml")
			w.Header().Set("Cache-Control", "no-store")
			fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
		})}
		return env.Serve(ctx, addr.String(), s.Serve)
	}
}
