package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestThereAndBack(t *testing.T) {
	for _, test := range []struct {
		args   string
		status int
		want   []string // one line each, of which this is a part
	}{
		{"mail.example.com", 0, []string{
			"mail.example.com → 2001:db8:53:10::20 → mail.example.com: they agree",
			"mail.example.com → 10.53.10.20 → mail.example.com: they agree",
		}},
		{"MAIL2.Example.COM.", 0, []string{"10.53.10.21 → mail2.example.com: they agree"}},
		{"www.unizocalo.es", 0, []string{"www.unizocalo.es → 10.53.14.10 → web1.unizocalo.es: a lot in common, both belong to unizocalo.es"}},
		// co.uk is a public suffix: equal ends of names say nothing.
		{"www.beta.co.uk", 0, []string{"www.beta.co.uk → 10.53.15.11 → host11.alfa.co.uk: different organisations, beta.co.uk and alfa.co.uk"}},
		{"www.alfa.co.uk", 0, []string{"10.53.15.10 → host10.alfa.co.uk: a lot in common, both belong to alfa.co.uk"}},
		{"host12.alfa.co.uk", 0, []string{
			"10.53.15.12 → host12.alfa.co.uk: they agree",
			"10.53.15.12 → liar.example.com: different organisations, alfa.co.uk and example.com; but that name does not lead back to the address",
		}},
		{"alias.example.org", 0, []string{
			"alias.example.org (alias of example.com) → 2001:db8:53:10::10 → example.com: they agree",
			"alias.example.org (alias of example.com) → 10.53.10.10 → example.com: they agree",
		}},
		{"www.españa.es", 0, []string{"www.españa.es (www.xn--espaa-rta.es) → 10.53.14.11 → www.españa.es (www.xn--espaa-rta.es): they agree"}},
		{"www.halfsilent.test", 0, []string{"www.halfsilent.test → 10.53.30.11 → www.halfsilent.test: they agree"}},
		{"nothing.example.com txt.example.com", 0, []string{
			"nothing.example.com: the name does not exist, or has no address",
			"txt.example.com: the name does not exist, or has no address",
		}},
		{"10.53.10.20", 0, []string{"10.53.10.20 → mail.example.com → 10.53.10.20: they agree"}},
		{"::ffff:10.53.10.20", 0, []string{"::ffff:10.53.10.20 → mail.example.com → 10.53.10.20: they agree"}},
		{"2001:db8:53:10::20", 0, []string{"2001:db8:53:10::20 → mail.example.com → 2001:db8:53:10::20: they agree"}},
		{"10.53.15.12", 0, []string{
			"10.53.15.12 → host12.alfa.co.uk → 10.53.15.12: they agree",
			"10.53.15.12 → liar.example.com: does not lead back",
		}},
		{"10.53.99.99", 0, []string{"10.53.99.99: the address has no name"}},

		// What is not known for now, and then the next one.
		{"www.failing.test mail2.example.com", 1, []string{"www.failing.test: not known for now: ", "they agree"}},
		{"10.53.30.5", 1, []string{"10.53.30.5 → mail.failing.test: not known for now: "}},
		{"-timeout 300ms www.silent.test", 1, []string{"www.silent.test: not known for now: no answer in time"}},
		{"loop1.example.org", 1, []string{"loop1.example.org: not known for now: "}},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := clitest.Run(t, "", strings.Fields(test.args)...)
			require.Equal(t, test.status, got.Status, got.Stdout+got.Stderr)
			require.Empty(t, got.Stderr)
			lines := strings.Split(strings.TrimSuffix(got.Stdout, "\n"), "\n")
			require.Len(t, lines, len(test.want), got.Stdout)
			for _, want := range test.want { // two names of one address come in any order
				require.Contains(t, got.Stdout, want)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"a..b"}, {""}, {"com"}, {"localhost"}, {"http://a.b"}, {"a.b:80"}, {strings.Repeat("a", 64) + ".com"}, {"-timeout", "0s", "a.b"}, {"-server", "x", "a.b"}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout)
	}
}
