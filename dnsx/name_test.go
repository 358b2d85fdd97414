package dnsx

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseName(t *testing.T) {
	l63 := strings.Repeat("a", 63)
	longest := strings.Repeat(l63+".", 3) + strings.Repeat("a", 61) + "."
	for _, test := range []struct{ text, want string }{
		{".", "."},
		{"com", "com."},
		{"www.Example.com", "www.Example.com."},
		{"www.example.com.", "www.example.com."},
		{"_sip._tcp.example.com", "_sip._tcp.example.com."},
		{"españa.es", "xn--espaa-rta.es."},
		{"ESPAÑA.es.", "xn--espaa-rta.es."},
		{"_dmarc.españa.es", "_dmarc.xn--espaa-rta.es."},
		{"bücher。example", "xn--bcher-kva.example."},
		{`a\.b.example`, `a\.b.example.`},
		{`\065\b.example`, "Ab.example."},
		{`\000\255.example`, `\000\255.example.`},
		{"two words.example", `two\ words.example.`},
		{l63 + ".com", l63 + ".com."},
		{longest, longest},
	} {
		got, err := ParseName(test.text)
		require.NoError(t, err, test.text)
		require.Equal(t, test.want, got)
		again, err := ParseName(got)
		require.NoError(t, err)
		require.Equal(t, got, again, "its own form stays")
	}
	for _, text := range []string{
		"", "..", ".com", "a..b", "a." + "." + ".", l63 + "a.com", longest + "a.", "a." + longest,
		strings.Repeat("ñ", 200) + ".es", "xn--a\xff.com", "a\\", strings.Repeat("a", 5000), "\u202eabc.com",
	} {
		_, err := ParseName(text)
		require.ErrorIs(t, err, ErrName, "%.40q", text)
	}
}

func TestInZone(t *testing.T) {
	for _, test := range []struct {
		name, zone string
		want       bool
	}{
		{"example.com.", "example.com.", true},
		{"www.EXAMPLE.com.", "example.COM.", true},
		{"www.example.com.", ".", true},
		{".", ".", true},
		{".", "com.", false},
		{"notexample.com.", "example.com.", false},
		{`not\.example.com.`, "example.com.", false},
		{`not\\.example.com.`, "example.com.", true},
		{`not\\\.example.com.`, "example.com.", false},
		{"com.", "example.com.", false},
		{"example.org.", "example.com.", false},
	} {
		require.Equal(t, test.want, InZone(test.name, test.zone), "%s in %s", test.name, test.zone)
	}
}

func TestNames(t *testing.T) {
	require.True(t, EqualNames("A.b.", "a.B."))
	require.False(t, EqualNames("a.b.", "a.c."))
	require.Equal(t, "example.com.", ParentName("www.example.com."))
	require.Equal(t, "com.", ParentName(`a\.b.com.`))
	require.Equal(t, ".", ParentName("com."))
	require.Equal(t, ".", ParentName("."))
	require.Equal(t, "españa.es", UnicodeName("xn--espaa-rta.es."))
	require.Equal(t, ".", UnicodeName("."))
	require.Equal(t, "xn--a-ecp.ru", UnicodeName("xn--a-ecp.ru."), "not a proper A-label")
}

func TestReverseName(t *testing.T) {
	for _, test := range []struct{ addr, name string }{
		{"192.0.2.1", "1.2.0.192.in-addr.arpa."},
		{"2001:db8::567:89ab", "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."},
	} {
		addr := netip.MustParseAddr(test.addr)
		require.Equal(t, test.name, ReverseName(addr))
		back, ok := ReverseAddr(strings.ToUpper(test.name))
		require.True(t, ok)
		require.Equal(t, addr, back)
	}
	require.Equal(t, "1.2.0.192.in-addr.arpa.", ReverseName(netip.MustParseAddr("::ffff:192.0.2.1")))
	require.Empty(t, ReverseName(netip.Addr{}))
	for _, name := range []string{
		".", "in-addr.arpa.", "2.0.192.in-addr.arpa.", "1.2.0.256.in-addr.arpa.", "01.2.0.192.in-addr.arpa.",
		"1.1.2.0.192.in-addr.arpa.", "ip6.arpa.", "1.ip6.arpa.", strings.Repeat("x.", 32) + "ip6.arpa.", "1.2.0.192.example.",
	} {
		_, ok := ReverseAddr(name)
		require.False(t, ok, name)
	}
}

func FuzzParseName(f *testing.F) {
	for _, seed := range []string{".", "www.example.com", "españa.es", `a\.b\255.x`, "a..b", strings.Repeat("a", 64), `\`, `\25`, "xn--a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := ParseName(text)
		if err != nil {
			require.ErrorIs(t, err, ErrName)
			return
		}
		again, err := ParseName(name)
		require.NoError(t, err)
		require.Equal(t, name, again)
		require.NotEmpty(t, wireName(name))
		require.True(t, strings.HasSuffix(name, "."))
		require.True(t, InZone(name, ParentName(name)))
		require.Equal(t, name == ".", InZone(ParentName(name), name))
		folded, err := foldName(text)
		require.NoError(t, err)
		require.True(t, EqualNames(name, folded))
		require.Equal(t, wireName(name), wireName(folded))
		UnicodeName(name)
		if addr, ok := ReverseAddr(name); ok {
			require.True(t, EqualNames(name, ReverseName(addr)))
		}
	})
}
