package main

import (
	"bytes"
	"context"
	"encoding/gob"
	"flag"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func sizes(fs *flag.FlagSet) cli.Action {
	count := cli.Number(fs, "count", 1000, 1, 1_000_000, "time the encoding and decoding of so `many` answers, five times")
	return func(ctx context.Context, env *cli.Env) error {
		students, err := newRegistry(embedded)
		if err != nil {
			return err
		}
		found := students.answer([]byte("Sofía Ñúñez"))
		missing := students.answer([]byte("Don Quijote"))
		var text strings.Builder
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(table, "codec\trecord\terror\tµs to encode\tµs to decode\t")
		var records [][]byte
		for _, name := range formatNames {
			c, err := lookup(name)
			if err != nil {
				return err
			}
			record, err := c.Marshal(found)
			if err != nil {
				return err
			}
			problem, err := c.Marshal(missing)
			if err != nil {
				return err
			}
			encode, err := timed(ctx, *count, func() error { _, err := c.Marshal(found); return err })
			if err != nil {
				return err
			}
			decode, err := timed(ctx, *count, func() error { var a Answer; return c.Unmarshal(record, &a) })
			if err != nil {
				return err
			}
			fmt.Fprintf(table, "%s\t%d\t%d\t%.1f\t%.1f\t\n", name, len(record), len(problem), encode, decode)
			records = append(records, record)
		}
		stream, err := gobOnOneStream(found)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "gob, second on a stream\t%d\t\t\t\t\n", stream)
		if err := table.Flush(); err != nil {
			return err
		}
		for i, name := range formatNames {
			fmt.Fprintf(&text, "\n%s\n%s", name, dump(records[i]))
		}
		_, err = fmt.Fprint(env.Stdout, text.String())
		return err
	}
}

// timed returns how many microseconds f takes: the mean of the best of five
// rounds, since in the others the machine was doing something else too.
func timed(ctx context.Context, count int, f func() error) (float64, error) {
	best := math.Inf(1)
	for range 5 {
		began := time.Now()
		for range count {
			if err := f(); err != nil {
				return 0, err
			}
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
		}
		best = min(best, time.Since(began).Seconds()*1e6/float64(count))
	}
	return best, nil
}

// gobOnOneStream returns the size of an answer that is not the first on its
// stream: the first has described the types.
func gobOnOneStream(a *Answer) (int, error) {
	var out bytes.Buffer
	enc := gob.NewEncoder(&out)
	if err := enc.Encode(a); err != nil {
		return 0, err
	}
	first := out.Len()
	if err := enc.Encode(a); err != nil {
		return 0, err
	}
	return out.Len() - first, nil
}

// dump shows bytes in lines of sixteen, in hexadecimal and as text.
func dump(b []byte) string {
	var out strings.Builder
	for at := 0; at < len(b); at += 16 {
		line := b[at:min(at+16, len(b))]
		shown := bytes.Clone(line)
		for i, c := range line {
			if c < ' ' || c > '~' {
				shown[i] = '.'
			}
		}
		fmt.Fprintf(&out, "  % -48x %s\n", line, shown)
	}
	return out.String()
}
