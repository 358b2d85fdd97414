package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

var result = regexp.MustCompile(`theory: [^ ]+% of the races, ([0-9.]+) ± ([0-9.]+); the run: ([0-9]+) won`)

// The run does what theory says, within four standard deviations.
func TestRaces(t *testing.T) {
	for _, test := range []struct {
		args string
		odds float64
	}{
		{"-ids sequential -guesses 1 -races 20", 1},
		{"-bits 4 -guesses 16 -races 20", 1}, // all there are
		{"-bits 8 -guesses 16 -races 320", 1. / 16},
		{"-bits 6 -ports 4 -guesses 16 -races 320", 1. / 16},
		{"-bits 2 -mix -guesses 128 -races 320", 1. / 16}, // nine letters
		{"-guesses 64 -races 20", 64. / 65536},
	} {
		for _, seed := range []string{"1", "2"} {
			got := clitest.Run(t, "", strings.Fields("race -seed "+seed+" "+test.args)...)
			require.Equal(t, 0, got.Status, got.Stderr)
			numbers := result.FindStringSubmatch(got.Stdout)
			require.NotNil(t, numbers, got.Stdout)
			words := strings.Fields(test.args)
			races, err := strconv.ParseFloat(words[len(words)-1], 64)
			require.NoError(t, err)
			expected := races * test.odds
			require.Equal(t, fmt.Sprintf("%.1f", expected), numbers[1], test.args)
			won, err := strconv.ParseFloat(numbers[3], 64)
			require.NoError(t, err)
			require.InDelta(t, expected, won, 4*math.Sqrt(expected*(1-test.odds))+0.5, "%s: %s", test.args, got.Stdout)
		}
	}
}

// What an attacker tries is different each time, and all of it is tried.
func TestGuessesAreDistinct(t *testing.T) {
	f, err := newField(t.Context())
	require.NoError(t, err)
	defer f.close()
	for _, mix := range []bool{false, true} {
		r, err := newOldResolver(f.addr, 2, rand.New(rand.NewPCG(1, 1)))
		require.NoError(t, err)
		r.idBits, r.mix, r.bailiwick = 2, mix, true
		s := space{ids: 4, ports: r.ports()}
		name := "r1.bank.test."
		if mix {
			s.letters = countLetters(name)
		}
		odds, err := f.attack(t.Context(), r, s, rand.New(rand.NewPCG(1, 2)), name, 1<<20)
		require.NoError(t, err)
		require.Equal(t, 1.0, odds)
		require.True(t, r.poisoned(), "one of them must be right")
		r.close()
	}
}

func TestBailiwick(t *testing.T) {
	got := clitest.Run(t, "", "bailiwick")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "bailiwick checked: false; the cache believes it\n")
	require.Contains(t, got.Stdout, "bailiwick checked: true; the cache does not take it")
}

func TestGuard(t *testing.T) {
	got := clitest.Run(t, "", "guard", "-races", "30", "-guesses", "64")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, 2, strings.Count(got.Stdout, "the run: 0 won"))
	require.Contains(t, got.Stdout, "240 forged answers came to the right port, 30 questions went over TCP instead")
}

func TestOdds(t *testing.T) {
	got := clitest.Run(t, "", "odds")
	require.Equal(t, 0, got.Status, got.Stderr)
	for _, want := range []string{
		"nothing: ids are counted, one port                       1         100%          0.02 s\n",
		"the id                                           6.554e+04        3.81%         0.356 s\n",
		"id and port                                       1.85e+09    0.000135%      2.85 hours\n",
	} {
		require.Contains(t, got.Stdout, want)
	}
	require.InDelta(t, 0.5, 1-math.Pow(1-0.01, evenOdds(0.01)), 1e-9)
	require.Equal(t, 1.0, evenOdds(1))
}

func TestDNSSEC(t *testing.T) {
	got := clitest.Run(t, "", "dnssec")
	require.Equal(t, 0, got.Status, got.Stderr)
	var validates, not []string
	for line := range strings.Lines(got.Stdout) {
		if text, ok := strings.CutPrefix(line, "  who validates "); ok {
			validates = append(validates, strings.TrimSpace(text))
		}
		if text, ok := strings.CutPrefix(line, "  who does not validate gets "); ok {
			not = append(not, strings.TrimSpace(text))
		}
	}
	require.Equal(t, []string{
		"signed, and the signature holds",
		"refused: " + errSignature.Error(), "refused: " + errUnsigned.Error(), "refused: " + errOtherKey.Error(),
	}, validates)
	require.Equal(t, "192.0.2.1, 192.0.2.2", not[0])
	for _, addrs := range not[1:] {
		require.Contains(t, addrs, evilIP)
	}
}

// The pieces of the chain of trust, each broken by itself.
func TestCheck(t *testing.T) {
	owner, err := newSigner("zocalo-labs.com.")
	require.NoError(t, err)
	zone, err := signZone(startup, owner)
	require.NoError(t, err)
	v := &validator{ds: owner.key.ToDS(dns.SHA256)}
	get := func(name string, typ dnsx.Type) (set []dns.RR, sig *dns.RRSIG) {
		query, err := dnsx.NewQuery(name, typ).Pack()
		require.NoError(t, err)
		m, err := zone.answer(query)
		require.NoError(t, err)
		for _, r := range m.Answer {
			rr, err := dns.NewRR(r.String())
			require.NoError(t, err)
			if s, ok := rr.(*dns.RRSIG); ok {
				sig = s
			} else {
				set = append(set, rr)
			}
		}
		return set, sig
	}
	set, sig := get(startupName, dnsx.A)
	keys, keySig := get("zocalo-labs.com.", typeDNSKEY)
	require.Len(t, set, 2)
	require.NoError(t, v.check(set, sig, keys, keySig))
	require.ErrorIs(t, v.check(set[:1], sig, keys, keySig), errSignature, "one left out")
	require.ErrorIs(t, v.check(set, sig, keys, nil), errUnsigned)
	require.ErrorIs(t, v.check(set, keySig, keys, keySig), errSignature, "the signature of others")
	require.ErrorIs(t, v.check(set, sig, nil, keySig), errOtherKey)
	old := *sig
	old.Expiration = old.Inception + 1
	require.ErrorIs(t, v.check(set, &old, keys, keySig), errSignature, "its time is over")
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"race -bits 17", "race -ids some", "race -ports 0", "odds -rate 0", "guard -races 0", "bailiwick more", "nonsense"} {
		got := clitest.Run(t, "", strings.Fields(args)...)
		require.Equal(t, 2, got.Status, args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}
