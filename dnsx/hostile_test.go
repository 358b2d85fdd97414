package dnsx_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
)

// answering makes a server of a function from queries to responses.
func answering(f func(q, response *dnsx.Message)) dnstest.Fault {
	return func(_ context.Context, _ string, query, _ []byte) [][]byte {
		q, err := dnsx.ParseMessage(query)
		if err != nil {
			return nil
		}
		response := &dnsx.Message{Header: q.Header, Questions: q.Questions}
		response.Response = true
		f(q, response)
		wire, err := response.Pack()
		if err != nil {
			return nil
		}
		return [][]byte{wire}
	}
}

// evil serves the zone evil.test with f.
func (l *lab) evil(t *testing.T, f func(q, response *dnsx.Message)) {
	t.Helper()
	addr := l.Addr(66, 1)
	require.NoError(t, l.SetZone(`$ORIGIN evil.test.
$TTL 3600
@ IN SOA ns hostmaster 1 7200 3600 1209600 300
@ IN NS ns
ns IN A 127.53.66.1
`, addr))
	require.NoError(t, l.SetFault(addr, answering(f)))
}

func record(text string) dnsx.Record {
	words := strings.SplitN(text, " ", 3)
	typ, err := dnsx.ParseType(words[1])
	if err != nil {
		panic(err)
	}
	return dnsx.Record{Name: words[0], Type: typ, TTL: time.Hour, Data: words[2]}
}

// The victim's address must stay what it is, whatever evil.test says.
func TestBailiwick(t *testing.T) {
	for _, test := range []struct {
		name string
		f    func(q, r *dnsx.Message)
	}{
		{"additional records", func(q, r *dnsx.Message) {
			r.Authoritative = true
			r.Answer = []dnsx.Record{record(q.Questions[0].Name + " A 10.66.66.66")}
			r.Authority = []dnsx.Record{record("example.com. NS ns.evil.test."), record("com. NS ns.evil.test.")}
			r.Additional = []dnsx.Record{record("www.example.com. A 10.66.66.66"), record("ns1.example.com. A 10.53.66.1")}
		}},
		{"the target of an alias", func(q, r *dnsx.Message) {
			r.Authoritative = true
			r.Answer = []dnsx.Record{record(q.Questions[0].Name + " CNAME www.example.com."), record("www.example.com. A 10.66.66.66")}
		}},
		{"a DNAME above its zone", func(q, r *dnsx.Message) {
			r.Authoritative = true
			r.Answer = []dnsx.Record{record("test. DNAME evil.test."), record(q.Questions[0].Name + " CNAME www.example.com.")}
		}},
		{"a referral upwards", func(q, r *dnsx.Message) {
			r.Authority = []dnsx.Record{record("com. NS ns.evil.test.")}
			r.Additional = []dnsx.Record{record("ns.evil.test. A 10.53.66.1")}
		}},
		{"a referral aside", func(q, r *dnsx.Message) {
			r.Authority = []dnsx.Record{record("example.com. NS ns.evil.test.")}
			r.Additional = []dnsx.Record{record("ns.evil.test. A 10.53.66.1")}
		}},
		{"glue of another zone", func(q, r *dnsx.Message) {
			r.Authority = []dnsx.Record{record("below.evil.test. NS ns1.example.com.")}
			r.Additional = []dnsx.Record{record("ns1.example.com. A 10.53.66.1")}
		}},
		{"that a name of others does not exist", func(q, r *dnsx.Message) {
			r.Authoritative = true
			r.Rcode = dnsx.RcodeNXDomain
			r.Answer = []dnsx.Record{record(q.Questions[0].Name + " CNAME www.example.com.")}
			r.Authority = []dnsx.Record{record("com. SOA ns.evil.test. x.evil.test. 1 7200 3600 1209600 300")}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.evil(t, test.f)
				cache := &dnsx.Cache{Resolver: l.resolver}
				a, err := cache.Resolve(t.Context(), "www.below.evil.test.", dnsx.A)
				if err == nil {
					for _, r := range a.Records {
						require.False(t, strings.HasSuffix(r.Name, "example.com.") && r.Data == "10.66.66.66", "%v", a)
					}
				}
				a, err = cache.Resolve(t.Context(), "www.example.com.", dnsx.A)
				require.NoError(t, err)
				require.Equal(t, []string{"www.example.com. A 10.53.10.10"}, data(a))
			})
		})
	}
}

// A zone may refer to one below it, which refers to one below it, and so on.
func TestLadder(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.evil(t, func(q, r *dnsx.Message) {
			name := q.Questions[0].Name
			depth := l.Queries(l.Addr(66, 1))
			labels := strings.SplitAfter(name, ".")
			zone := strings.Join(labels[max(0, len(labels)-3-depth):], "")
			r.Authority = []dnsx.Record{record(zone + " NS ns." + zone)}
			r.Additional = []dnsx.Record{record("ns." + zone + " A 10.53.66.1")}
		})
		_, err := l.resolver.Resolve(t.Context(), strings.Repeat("a.", 115)+"evil.test.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrLimit)
		require.Equal(t, 100, l.sent)
	})
}

// A server that lets every question lead to the next, on servers elsewhere.
func TestNestedSearches(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		next := 0
		l.evil(t, func(q, r *dnsx.Message) {
			for range 10 {
				next++
				zone := strings.Join(strings.SplitAfter(q.Questions[0].Name, ".")[1:], "")
				r.Authority = append(r.Authority, record(zone+" NS ns.x"+strings.Repeat("y", next%50)+".evil.test."))
			}
		})
		_, err := l.resolver.Resolve(t.Context(), "www.a.evil.test.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrTemporary)
		require.LessOrEqual(t, l.sent, 100)
	})
}

// A referral may name dozens of addresses that are not name servers at all, but
// somebody whom a flood of queries would harm.
func TestManyTargets(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.resolver.Timeout = time.Hour
		l.evil(t, func(q, r *dnsx.Message) {
			for i := range 60 {
				name := fmt.Sprintf("ns%d.below.evil.test.", i)
				r.Authority = append(r.Authority, record("below.evil.test. NS "+name))
				for j := range 5 {
					r.Additional = append(r.Additional, record(fmt.Sprintf("%s A 10.66.%d.%d", name, j, i)))
				}
			}
		})
		_, err := l.resolver.Resolve(t.Context(), "www.below.evil.test.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrTemporary)
		require.LessOrEqual(t, l.sent, 60)
	})
}

// Who was silent is not waited for as long the next time, but not forgotten.
func TestSilentServerIsAskedAgainLater(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var took [2]time.Duration
		for i := range took {
			began := time.Now()
			_, err := l.resolver.Resolve(t.Context(), "www.silent.test.", dnsx.A)
			require.ErrorIs(t, err, dnsx.ErrTemporary)
			took[i] = time.Since(began)
		}
		require.Greater(t, took[0], 3*time.Second, "virtual time")
		require.Less(t, took[1], 2*time.Second)
		require.NoError(t, l.SetFault(l.Addr(20, 1), nil))
		a, err := l.resolver.Resolve(t.Context(), "www.silent.test.", dnsx.A)
		require.NoError(t, err)
		require.Equal(t, dnsx.OK, a.Status)
	})
}
