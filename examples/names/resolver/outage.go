package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// The record that changes. Its TTL is short, so that nobody has to wait long.
const news = `$ORIGIN news.com.
$TTL %d
@	IN SOA	ns hostmaster %d 7200 3600 1209600 300
@	IN NS	ns
ns	IN A	127.53.43.1
www	IN A	127.53.44.%[2]d
`

func stale(fs *flag.FlagSet) cli.Action {
	ttl := cli.Number(fs, "ttl", 2*time.Second, time.Second, time.Hour, "TTL of the record, whole seconds")
	return func(ctx context.Context, env *cli.Env) error {
		w, err := newWorld()
		if err != nil {
			return err
		}
		defer w.Close()
		cache := &dnsx.Cache{Resolver: w.iterative()}
		defer cache.Close()
		publish := func(version int) error {
			return w.SetZone(fmt.Sprintf(news, int64(*ttl/time.Second), version))
		}
		began := time.Now()
		say := func(format string, args ...any) {
			fmt.Fprintf(env.Stdout, "%5.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}
		look := func(who string, r dnsx.Resolver) (string, error) {
			answer, err := r.Resolve(ctx, "www.news.com.", dnsx.A)
			if err != nil {
				return "", err
			}
			record := answer.Records[0]
			say("%s: %s, for %v more", who, record.Data, record.TTL)
			return record.Data, nil
		}
		if err := publish(1); err != nil {
			return err
		}
		old, err := look("the cache", cache)
		if err != nil {
			return err
		}
		if err := publish(2); err != nil {
			return err
		}
		say("the zone's own server has a new address now")
		if _, err := look("from the root, without a cache", w.iterative()); err != nil {
			return err
		}
		for {
			now, err := look("the cache", cache)
			if err != nil {
				return err
			}
			if now != old {
				return nil
			}
			select {
			case <-time.After(min(*ttl/2, time.Minute)):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// What is asked during an outage, the best known first.
var lookups = [...]struct{ name, what string }{
	{"www.example.com.", "a name asked for before"},
	{"mail.example.com.", "another name of that zone"},
	{"www.zocalo-labs.com.", "another zone in .com"},
	{"www.unizocalo.es.", "another top-level domain"},
	{"www.example.org.", "its servers are in .net, as .com is"},
}

func outage(fs *flag.FlagSet) cli.Action {
	patience := cli.Number(fs, "patience", 150*time.Millisecond, time.Millisecond, time.Minute, "take at most so much `time` for an answer")
	return func(ctx context.Context, env *cli.Env) error {
		table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "asked for\t\tno root, cold\twarm\tno .com, cold\twarm")
		var cells [len(lookups)][]string
		for _, level := range []byte{root, topLevel} {
			for _, warm := range []bool{false, true} {
				results, err := withoutLevel(ctx, level, warm, *patience)
				if err != nil {
					return err
				}
				for i, result := range results {
					cells[i] = append(cells[i], result)
				}
			}
		}
		for i, l := range lookups {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", l.name, l.what, cells[i][0], cells[i][1], cells[i][2], cells[i][3])
		}
		return table.Flush()
	}
}

// withoutLevel silences the servers of a level, as a flood of useless queries
// would, and says what can still be looked up: with an empty cache, or with one that
// has answered for the first name before.
func withoutLevel(ctx context.Context, level byte, warm bool, patience time.Duration) (results [len(lookups)]string, err error) {
	w, err := newWorld()
	if err != nil {
		return results, err
	}
	defer w.Close()
	resolver := w.iterative()
	cache := &dnsx.Cache{Resolver: resolver}
	defer cache.Close()
	if warm {
		if _, err := cache.Resolve(ctx, lookups[0].name, dnsx.A); err != nil {
			return results, err
		}
	}
	resolver.Timeout = patience
	for _, addr := range [2]netip.Addr{w.Addr(level, 1), w.Addr(level, 2)} {
		if err := w.SetFault(addr, dnstest.Silent()); err != nil {
			return results, err
		}
	}
	for i, l := range lookups {
		results[i] = "yes"
		if _, err := cache.Resolve(ctx, l.name, dnsx.A); err != nil {
			if ctx.Err() != nil {
				return results, context.Cause(ctx)
			}
			results[i] = "-"
		}
	}
	return results, nil
}
