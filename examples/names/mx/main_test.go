package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestDomains(t *testing.T) {
	for _, test := range []struct {
		args   string
		status int
		want   string // the whole output without what stands for space
	}{
		// Each host has addresses of its own: the course's transcript has the
		// same one for all of them.
		{"example.com", 0, `example.com says by MX records who takes its mail. In this order:
			10 mail.example.com
			2001:db8:53:10::20
			10.53.10.20
			20 mail2.example.com
			10.53.10.21`},
		{"-local 10.53.10.21 EXAMPLE.com.", 0, `example.com says by MX records who takes its mail. In this order:
			10 mail.example.com
			2001:db8:53:10::20
			10.53.10.20
			20 mail2.example.com: left out: it is this host, or no better than this host`},
		{"-local mail.example.com example.com", 0, `example.com has us for its best host, and we do not know what to do with the message: give it back.
			10 mail.example.com: left out: it is this host, or no better than this host
			20 mail2.example.com: left out: it is this host, or no better than this host`},
		{"example.org", 0, `example.org has no MX records, but an address: it takes its mail itself.
			0 example.org
			2001:db8:53:12::10
			10.53.12.10`},
		{"implicit.example.org", 0, `implicit.example.org is an alias: the mail goes where that of www.example.org goes.
			www.example.org has no MX records, but an address: it takes its mail itself.
			0 www.example.org
			10.53.12.11
			10.53.12.12
			10.53.12.13`},
		{"halfmx.example.org", 0, `halfmx.example.org says by MX records who takes its mail. In this order:
			20 mail.example.com
			2001:db8:53:10::20
			10.53.10.20
			10 nowhere.example.org: left out: has no address`},
		{"example.net", 0, `example.net refuses all mail (null MX): give the message back.`},
		{"nomail.example.org", 0, `nomail.example.org has neither MX records nor an address: give the message back.`},
		{"nothing.example.org", 0, `nothing.example.org does not exist: give the message back.
			(This is the Internet in memory; -real asks the real one.)`},
		{"nohost.example.org", 0, `nohost.example.org has MX records, but no host in them has an address: give the message back.
			10 nowhere.example.org: left out: has no address`},
		{"[192.0.2.1]", 0, `[192.0.2.1] is an address: nobody has to be asked.
			0 [192.0.2.1]
			192.0.2.1`},
		{"failing.test", 1, `failing.test: not known for now; keep the message and try again later.`},
		{"loop1.example.org", 1, `loop1.example.org: not known for now; keep the message and try again later.`},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := clitest.Run(t, "", strings.Fields(test.args)...)
			require.Equal(t, test.status, got.Status, got.Stderr)
			require.Equal(t, test.status == 0, got.Stderr == "", got.Stderr)
			want := strings.Split(test.want, "\n")
			lines := strings.Split(strings.TrimSuffix(got.Stdout, "\n"), "\n")
			require.Len(t, lines, len(want), got.Stdout)
			for i := range want {
				require.Equal(t, strings.Fields(want[i]), strings.Fields(lines[i]))
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"", "a.b c.d", "a..b", "ana@example.com", "192.0.2.1", "[192.0.2.1", "com", "-local a..b example.com", "-server x example.com"} {
		got := clitest.Run(t, "", strings.Fields(args)...)
		require.Equal(t, 2, got.Status, "%s: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout)
	}
}
