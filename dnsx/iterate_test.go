package dnsx_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A lab is the Internet in miniature on a simulated network, with a resolver
// that knows its root.
type lab struct {
	*dnstest.Internet
	network  *simnet.Network
	resolver *dnsx.Iterative

	mu    sync.Mutex
	steps []dnsx.Step
	sent  int
}

// inLab runs f in a bubble of virtual time.
func inLab(t *testing.T, f func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{network: &simnet.Network{Link: simnet.Link{Delay: 5 * time.Millisecond}}}
		var err error
		l.Internet, err = dnstest.Start(dnstest.Config{Network: dnstest.On(l.network.Host)})
		require.NoError(t, err)
		defer l.Close()
		roots, err := dnsx.ParseHints(strings.NewReader(l.RootHints()))
		require.NoError(t, err)
		l.resolver = &dnsx.Iterative{Roots: roots, Port: l.Port(), Client: dnsx.Client{Dial: l.Dial, Trace: &dnsx.Trace{
			Sent: func(dnsx.Packet) { l.mu.Lock(); l.sent++; l.mu.Unlock() },
			Step: func(s dnsx.Step) { l.mu.Lock(); l.steps = append(l.steps, s); l.mu.Unlock() },
		}}}
		f(t, l)
	})
}

// pass lets virtual time go by; outside of a bubble it panics.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// data gives the records as "name type data".
func data(a *dnsx.Answer) (list []string) {
	for _, r := range a.Records {
		list = append(list, r.Name+" "+r.Type.String()+" "+r.Data)
	}
	return list
}

// path gives the zones and outcomes of the main chain.
func (l *lab) path() (list []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.steps {
		if s.Depth == 0 {
			list = append(list, s.Zone+" "+string(s.Outcome))
		}
	}
	l.steps = nil
	return list
}

func TestIterative(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for _, test := range []struct {
			name   string
			typ    dnsx.Type
			status dnsx.Status
			want   []string
		}{
			{"www.example.com.", dnsx.A, dnsx.OK, []string{"www.example.com. A 10.53.10.10"}},
			{"WWW.Example.COM", dnsx.A, dnsx.OK, []string{"www.example.com. A 10.53.10.10"}},
			{"example.com.", dnsx.MX, dnsx.OK, []string{"example.com. MX 10 mail.example.com.", "example.com. MX 20 mail2.example.com."}},
			{"ftp.example.com.", dnsx.A, dnsx.OK, []string{"ftp.example.com. CNAME www.example.com.", "www.example.com. A 10.53.10.10"}},
			{"alias.example.org.", dnsx.MX, dnsx.OK, []string{"alias.example.org. CNAME example.com.", "example.com. MX 10 mail.example.com.", "example.com. MX 20 mail2.example.com."}},
			{"www.old.example.org.", dnsx.A, dnsx.OK, []string{"old.example.org. DNAME example.com.", "www.old.example.org. CNAME www.example.com.", "www.example.com. A 10.53.10.10"}},
			{"ftp.example.com.", dnsx.CNAME, dnsx.OK, []string{"ftp.example.com. CNAME www.example.com."}},
			{"www.cs.unizocalo.es.", dnsx.A, dnsx.OK, nil},
			{"example.com.", dnsx.SRV, dnsx.NoData, nil},
			{"nobody.example.com.", dnsx.A, dnsx.NXDomain, nil},
			{"dangling.example.org.", dnsx.A, dnsx.NXDomain, []string{"dangling.example.org. CNAME nowhere.example.org."}},
			{"no-such-domain.com.", dnsx.MX, dnsx.NXDomain, nil},
			{"no-such-tld.", dnsx.A, dnsx.NXDomain, nil},
			{".", dnsx.NS, dnsx.OK, nil},
			{"com.", dnsx.NS, dnsx.OK, nil},
			{"truncating.test.", dnsx.NS, dnsx.OK, nil},
			{"slow.test.", dnsx.NS, dnsx.OK, nil},
			{"halflame.test.", dnsx.NS, dnsx.OK, nil},
			{"halfsilent.test.", dnsx.NS, dnsx.OK, nil},
			{"big.example.com.", dnsx.TXT, dnsx.OK, nil}, // over TCP
		} {
			a, err := l.resolver.Resolve(t.Context(), test.name, test.typ)
			require.NoError(t, err, test.name)
			require.Equal(t, test.status, a.Status, test.name)
			if test.want != nil {
				require.ElementsMatch(t, test.want, data(a), test.name)
			}
			if a.Status == dnsx.OK {
				require.NotEmpty(t, a.Records)
				require.True(t, a.Authoritative)
				last := a.Records[len(a.Records)-1]
				require.Equal(t, test.typ, last.Type)
				require.True(t, dnsx.EqualNames(a.Canonical, last.Name))
			} else {
				require.NotNil(t, a.SOA, test.name)
			}
		}
	})
}

func TestTrace(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		_, err := l.resolver.Resolve(t.Context(), "www.example.com.", dnsx.A)
		require.NoError(t, err)
		require.Equal(t, []string{". referral", "com. referral", "example.com. answer"}, l.path())

		// Referrals are remembered, answers not.
		_, err = l.resolver.Resolve(t.Context(), "www.example.com.", dnsx.A)
		require.NoError(t, err)
		require.Equal(t, []string{"example.com. answer"}, l.path())

		_, err = l.resolver.Resolve(t.Context(), "alias.example.org.", dnsx.MX)
		require.NoError(t, err)
		require.Equal(t, []string{". referral", "org. referral", "example.org. alias", "example.com. answer"}, l.path())
	})
}

// Nothing that fails for now may be taken for an answer.
func TestIterativeFailures(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		for _, zone := range []string{"silent", "lame", "refusing", "failing", "garbage", "wrongid", "circle-a"} {
			began := time.Now()
			_, err := l.resolver.Resolve(t.Context(), "www."+zone+".test.", dnsx.A)
			require.ErrorIs(t, err, dnsx.ErrTemporary, zone)
			typed, ok := errors.AsType[*dnsx.Error](err)
			require.True(t, ok)
			require.Equal(t, "www."+zone+".test.", typed.Name)
			require.LessOrEqual(t, time.Since(began), 8*time.Second, "virtual time")
		}
		_, err := l.resolver.Resolve(t.Context(), "loop1.example.org.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrLoop)
		require.ErrorIs(t, err, dnsx.ErrTemporary)

		_, err = l.resolver.Resolve(t.Context(), strings.Repeat("a", 64)+".com.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrName)
		require.NotErrorIs(t, err, dnsx.ErrTemporary)

		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err = l.resolver.Resolve(ctx, "www.silent.test.", dnsx.A)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, dnsx.ErrTemporary)
	})
}

// A stranger's zone must not make us work, or others.
func TestWorkIsBounded(t *testing.T) {
	for _, test := range []struct {
		name    string
		limit   bool
		queries int
	}{
		{"www.fanout.test.", true, 20},    // sixty servers to be looked up
		{"far1.example.org.", true, 30},   // forty aliases
		{"www.circle-a.test.", false, 10}, // two zones that lean on each other
	} {
		inLab(t, func(t *testing.T, l *lab) {
			_, err := l.resolver.Resolve(t.Context(), test.name, dnsx.A)
			require.ErrorIs(t, err, dnsx.ErrTemporary, test.name)
			require.Equal(t, test.limit, errors.Is(err, dnsx.ErrLimit), test.name)
			require.LessOrEqual(t, l.sent, test.queries, test.name)
		})
	}
}
