package dnsx_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// Once both servers of a zone are known, the nearer one gets the questions.
func TestNearServerIsPreferred(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		far, near := l.Addr(10, 1), l.Addr(10, 2)
		l.network.SetLink(l.Addr(255, 1), far, simnet.Link{Delay: 100 * time.Millisecond})
		for i := range 20 {
			_, err := l.resolver.Resolve(t.Context(), fmt.Sprintf("h%d.wild.example.com.", i), dnsx.A)
			require.NoError(t, err)
		}
		require.Equal(t, 1, l.Queries(far), "to know how far it is")
		require.Equal(t, 19, l.Queries(near))
	})
}

// A zone moves, and the old servers fall silent before the referral's time is
// over: the zone above is asked again.
func TestZoneMoves(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		zone := `$ORIGIN moving.test.
$TTL 86400
@ IN SOA ns hostmaster 1 7200 3600 1209600 300
@ IN NS ns
ns IN A 127.53.70.%d
www IN A 127.53.71.%[1]d
`
		require.NoError(t, l.SetZone(fmt.Sprintf(zone, 1)))
		a, err := l.resolver.Resolve(t.Context(), "www.moving.test.", dnsx.A)
		require.NoError(t, err)
		require.Equal(t, []string{"www.moving.test. A 10.53.71.1"}, data(a))

		require.NoError(t, l.SetZone(fmt.Sprintf(zone, 2)))
		l.network.SetLink(l.Addr(255, 1), l.Addr(70, 1), simnet.Link{Down: true})
		l.path()
		a, err = l.resolver.Resolve(t.Context(), "www.moving.test.", dnsx.A)
		require.NoError(t, err)
		require.Equal(t, []string{"www.moving.test. A 10.53.71.2"}, data(a))
		require.Equal(t, []string{
			"moving.test. silent", "moving.test. silent", "moving.test. silent", "test. referral", "moving.test. answer",
		}, l.path())
	})
}

// Referrals are forgotten when their time is over.
func TestReferralsEnd(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		ask := func() []string {
			l.path()
			_, err := l.resolver.Resolve(t.Context(), "www.example.com.", dnsx.A)
			require.NoError(t, err)
			return l.path()
		}
		whole := []string{". referral", "com. referral", "example.com. answer"}
		require.Equal(t, whole, ask())
		require.Equal(t, whole[2:], ask())
		pass(25 * time.Hour)
		require.Equal(t, whole, ask())
	})
}

// A server that does not know EDNS is asked without, and that is remembered.
func TestServerWithoutEDNS(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var mu sync.Mutex
		with := 0
		l.evil(t, func(q, r *dnsx.Message) {
			if q.EDNS != nil {
				mu.Lock()
				with++
				mu.Unlock()
				r.Rcode = dnsx.RcodeFormErr
				return
			}
			r.Authoritative = true
			r.Answer = []dnsx.Record{record(q.Questions[0].Name + " A 192.0.2.1")}
		})
		for range 3 {
			a, err := l.resolver.Resolve(t.Context(), "www.evil.test.", dnsx.A)
			require.NoError(t, err)
			require.Equal(t, dnsx.OK, a.Status)
		}
		require.Equal(t, 1, with)
	})
}

// Many at a time, as behind a server.
// One server's name being an alias that never ends is no reason not to try the
// other.
func TestServerNameInALoop(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		require.NoError(t, l.SetZone(`$ORIGIN halfloop.test.
$TTL 3600
@ SOA ns1.example.net. hostmaster 1 7200 3600 1209600 300
@ NS loop1.example.org.
@ NS ns1.example.net.
www A 127.53.30.1
`, l.Addr(2, 2)))
		for range 20 { // it begins with any of them
			r := &dnsx.Iterative{Roots: l.resolver.Roots, Port: l.Port(), Client: l.resolver.Client}
			_, err := r.Resolve(t.Context(), "www.halfloop.test.", dnsx.A)
			require.NoError(t, err)
		}
	})
}

// A server's name may have any number of addresses, all of them a victim's.
func TestManyAddressesOfOneServer(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		var victims strings.Builder
		for i := range 40 {
			fmt.Fprintf(&victims, "many%d A 127.53.77.%d\n", i/20, i+1)
		}
		require.NoError(t, l.SetZone("$ORIGIN hostile.test.\n$TTL 3600\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\nns A 127.53.30.1\n"+victims.String()))
		require.NoError(t, l.SetZone("$ORIGIN attack.test.\n$TTL 3600\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS many0.hostile.test.\n@ NS many1.hostile.test.\n", l.Addr(30, 1)))
		l.resolver.Timeout = time.Minute // not what is to end it
		_, err := l.resolver.Resolve(t.Context(), "www.attack.test.", dnsx.A)
		require.ErrorIs(t, err, dnsx.ErrTemporary)
		asked := map[netip.AddrPort]bool{}
		for _, s := range l.steps {
			if s.Zone == "attack.test." {
				asked[s.Addr] = true
			}
		}
		require.NotEmpty(t, asked)
		require.LessOrEqual(t, len(asked), 16)
	})
}

func TestManyAtATime(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		cache := &dnsx.Cache{Resolver: l.resolver}
		var wg sync.WaitGroup
		for i := range 100 {
			for _, name := range []string{"www.example.com.", fmt.Sprintf("h%d.wild.example.com.", i), "www.example.org.", "www.cs.unizocalo.es.", "www.failing.test."} {
				wg.Go(func() {
					a, err := cache.Resolve(t.Context(), name, dnsx.A)
					if name == "www.failing.test." {
						require.ErrorIs(t, err, dnsx.ErrTemporary)
						return
					}
					require.NoError(t, err, name)
					require.Equal(t, dnsx.OK, a.Status, name)
				})
			}
		}
		wg.Wait()
		stats := cache.Stats()
		require.Equal(t, uint64(500), stats.Hits+stats.Misses+stats.Shared)
		require.Equal(t, uint64(104), stats.Misses)
	})
}

func TestParseHints(t *testing.T) {
	for _, text := range []string{
		"", ". 3600 IN NS a.root.\n", "com. 3600 IN NS a.root.\na.root. 3600 IN A 192.0.2.1\n", "nonsense",
		"$INCLUDE /etc/passwd\n", ". NS a.root.\n$GENERATE 1-5000 a$.root. A 192.0.2.1\n",
	} {
		_, err := dnsx.ParseHints(strings.NewReader(text))
		require.Error(t, err, text)
	}
	roots, err := dnsx.ParseHints(strings.NewReader(`
; as at the registry
.                        3600000      NS    A.ROOT-SERVERS.NET.
A.ROOT-SERVERS.NET.      3600000      A     198.41.0.4
A.ROOT-SERVERS.NET.      3600000      AAAA  2001:503:ba3e::2:30
. NS b.root-servers.net.
`))
	require.NoError(t, err)
	require.Len(t, roots, 2)
	require.Equal(t, "a.root-servers.net.", roots[0].Name)
	require.Len(t, roots[0].Addrs, 2)
	require.Empty(t, roots[1].Addrs)
}
