package dnsx

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A book is a Resolver without a network: lines of the form "name TYPE data",
// where the data "!" stands for a lookup that fails for now.
type book map[string]map[Type][]string

func newBook(t testing.TB, text string) book {
	t.Helper()
	b := book{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		require.Len(t, fields, 3, line)
		typ, err := ParseType(fields[1])
		require.NoError(t, err)
		b.add(fields[0], typ, fields[2])
	}
	return b
}

func (b book) add(name string, typ Type, data string) {
	if b[name] == nil {
		b[name] = map[Type][]string{}
	}
	b[name][typ] = append(b[name][typ], data)
}

func (b book) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	name, err := foldName(name)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	a := &Answer{Name: name, Type: typ, Canonical: name}
	for range 10 {
		types := b[a.Canonical]
		data, next := types[typ], types[CNAME]
		switch {
		case len(data) == 1 && data[0] == "!":
			return nil, &Error{Name: name, Type: typ, Err: ErrTemporary}
		case len(data) > 0:
			for _, d := range data {
				a.Records = append(a.Records, Record{a.Canonical, typ, time.Hour, d})
			}
			return a, nil
		case len(next) > 0:
			a.Records = append(a.Records, Record{a.Canonical, CNAME, time.Hour, next[0]})
			a.Canonical = next[0]
		case types == nil:
			a.Status = NXDomain
			return a, nil
		default:
			a.Status = NoData
			return a, nil
		}
	}
	return nil, &Error{Name: name, Type: typ, Err: errors.Join(ErrLoop, ErrTemporary)}
}
