// C3 rows: rows of a database are kept in a cache beside it (cache-aside). Who
// reads looks in the cache first; who writes removes what is there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/memcached"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "rows",
		Summary: "Database rows in a cache: reading through it, invalidation, expiry.",
		Example: `
go run ./examples/caching/rows console
go run ./examples/caching/rows compare
`,
		Commands: []cli.Command{
			{Name: "console", Summary: "reads and writes rows as standard input says; help shows how", Setup: console},
			{Name: "compare", Summary: "measures a costly and a cheap query without cache and with two", Setup: compare},
			memcached.Command(),
			{Name: "demo", Summary: "plays a console and a comparison", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// withShop gives f a shop whose database is file, or is thrown away afterwards
// if that is empty.
func withShop(ctx context.Context, file string, f func(*shop) error) error {
	if file == "" {
		dir, err := os.MkdirTemp("", "rows")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		file = filepath.Join(dir, "shop.db")
	}
	db, err := openDatabase(ctx, file)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer db.Close()
	return f(&shop{db: db})
}

const help = `get ID          the article, by way of the cache
price ID CENTS  change its price in the database, and remove it from the cache
sneak ID CENTS  change its price in the database and tell nobody
forget ID       remove it from the cache
flush           remove everything from the cache
wait TIME       do nothing for a while, such as 1.5s
stats           what the server has counted
`

// maxLine bounds a line of the console.
const maxLine = 1000

func console(fs *flag.FlagSet) cli.Action {
	servers := memcached.Flag(fs, "one inside this program")
	file := fs.String("db", "", "the database `file`, which is made if need be; without, one that is thrown away")
	ttl := cli.Number(fs, "ttl", time.Minute, time.Second, 24*time.Hour, "how `long` a row stays in the cache")
	return func(ctx context.Context, env *cli.Env) error {
		client, where, stop, err := servers.Connect(ctx)
		if err != nil {
			return err
		}
		defer stop()
		return withShop(ctx, *file, func(s *shop) error {
			s.store, s.ttl = client, *ttl
			fmt.Fprintf(env.Stdout, "memcached: %s; %d articles; help shows what you can type\n", where, articles)
			for line, err := range cli.Lines(ctx, env.Stdin, maxLine) {
				if err != nil {
					return err
				}
				if strings.TrimSpace(line) == "" {
					continue
				}
				fmt.Fprintf(env.Stdout, "> %s\n", line)
				if err := obey(ctx, env.Stdout, s, client, strings.Fields(line)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// obey does what a line of the console says. An error ends the console; what
// was typed wrongly is only told.
func obey(ctx context.Context, out io.Writer, s *shop, client *cache.Client, words []string) error {
	numbers := make([]int64, 0, 2)
	for _, word := range words[1:] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			break
		}
		numbers = append(numbers, n)
	}
	switch command := fmt.Sprintf("%s %d", words[0], len(numbers)); {
	case command == "help 0":
		fmt.Fprint(out, help)
	case command == "get 1":
		start := time.Now()
		a, from, err := s.getArticle(ctx, numbers[0])
		if errors.Is(err, errNoArticle) {
			fmt.Fprintf(out, "%v\n", err)
			return nil
		} else if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d %s, %d.%02d €, %d sold: from the %s in %.2f ms\n",
			a.ID, a.Name, a.Price/100, a.Price%100, a.Sold, from, time.Since(start).Seconds()*1000)
	case command == "price 2" || command == "sneak 2":
		if numbers[1] < 0 {
			fmt.Fprintln(out, "a price is not negative")
			return nil
		}
		set := s.setPrice
		if words[0] == "sneak" {
			set = s.sneakPrice
		}
		err := set(ctx, numbers[0], numbers[1])
		if errors.Is(err, errNoArticle) {
			fmt.Fprintf(out, "%v\n", err)
			return nil
		}
		return err
	case command == "forget 1":
		return s.forget(ctx, numbers[0])
	case command == "flush 0":
		return client.FlushAll(ctx)
	case words[0] == "wait" && len(words) == 2:
		d, err := time.ParseDuration(words[1])
		if err != nil || d > time.Minute {
			fmt.Fprintln(out, "want a time such as 1.5s, up to a minute")
			return nil
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case command == "stats 0":
		servers, err := client.ServerStats(ctx, "")
		if err != nil {
			return err
		}
		for _, stats := range servers {
			fmt.Fprintf(out, "%s gets: %s hits, %s misses; %s items; the database was asked %d times\n",
				stats["cmd_get"], stats["get_hits"], stats["get_misses"], stats["curr_items"], s.queries)
		}
	default:
		fmt.Fprintf(out, "what? help shows what you can type\n")
	}
	return nil
}

func compare(fs *flag.FlagSet) cli.Action {
	servers := memcached.Flag(fs, "one inside this program")
	requests := cli.Number(fs, "requests", 1000, 1, 1_000_000, "how `many` rows are asked for")
	return func(ctx context.Context, env *cli.Env) error {
		client, where, stop, err := servers.Connect(ctx)
		if err != nil {
			return err
		}
		defer stop()
		return withShop(ctx, "", func(s *shop) error {
			s.ttl = time.Minute
			fmt.Fprintf(env.Stdout, "%d times one of %d articles, some more popular than others; memcached: %s\n\n", *requests, articles, where)
			table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintf(table, "\twith its sales\tqueries\tits name alone\tqueries\t\n")
			for _, place := range []struct {
				name  string
				store cache.Store
			}{
				{"no cache", nil},
				{"cache in this process", local{cache.NewLRU(cache.Config[string, []byte]{})}},
				{"memcached", client},
			} {
				fmt.Fprintf(table, "%s\t", place.name)
				s.store = place.store
				for _, get := range []func(context.Context, int64) error{
					func(ctx context.Context, id int64) error { _, _, err := s.getArticle(ctx, id); return err },
					func(ctx context.Context, id int64) error { _, err := s.getName(ctx, id); return err },
				} {
					s.queries = 0
					mean, err := measure(ctx, *requests, get)
					if err != nil {
						return err
					}
					fmt.Fprintf(table, "%.3f ms\t%d\t", mean.Seconds()*1000, s.queries)
				}
				fmt.Fprintln(table)
			}
			return table.Flush()
		})
	}
}

// measure asks for articles as customers do, the popular ones more often, and
// returns the mean time. The row of requests is the same each time.
func measure(ctx context.Context, requests int, get func(context.Context, int64) error) (time.Duration, error) {
	popular := rand.NewZipf(rand.New(rand.NewPCG(1605, 1615)), 1.2, 1, articles-1)
	start := time.Now()
	for range requests {
		if err := get(ctx, int64(popular.Uint64())+1); err != nil {
			return 0, err
		}
	}
	return time.Since(start) / time.Duration(requests), nil
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		input := strings.Join([]string{
			"get 7", "get 7",
			"price 7 250", "get 7", "get 7", // invalidated
			"sneak 7 999", "get 7", // stale …
			"wait 2.1s", "get 7", // … until it expires
			"get 8", "forget 8", "get 8", "flush", "get 7", "get 8",
			"get 9999", "stats",
		}, "\n")
		out, err := env.Play(ctx, input, "console", "-ttl", "2s")
		if err != nil {
			return err
		}
		if got, want := answers(out), "dcdccddddd"; got != want {
			return fmt.Errorf("the answers came from %s, not %s (d: database, c: cache)", got, want)
		}
		_, err = env.Play(ctx, "", "compare", "-requests", "40")
		return err
	}
}

var origin = regexp.MustCompile(`from the (d|c)`)

// answers says where the answers in a console's output came from, a letter for
// each.
func answers(out string) (letters string) {
	for _, found := range origin.FindAllStringSubmatch(out, -1) {
		letters += found[1]
	}
	return letters
}
