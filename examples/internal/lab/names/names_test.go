package names

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func open(t *testing.T, args ...string) (*Service, error) {
	t.Helper()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	flags := AddFlags(fs, "port")
	require.NoError(t, fs.Parse(args))
	s, err := flags.Open()
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

func TestInMemory(t *testing.T) {
	s, err := open(t)
	require.NoError(t, err)
	require.True(t, s.InMemory())
	resolver := s.Resolver(nil)
	defer resolver.Close()
	answer, err := resolver.Resolve(t.Context(), "www.example.com.", dnsx.A)
	require.NoError(t, err)
	require.Equal(t, "10.53.10.10", answer.Records[0].Data)

	// A host of the network can be talked to.
	ln, err := s.Network.Host(s.Source(us[0])).Listen("tcp", ":80")
	require.NoError(t, err)
	defer ln.Close()
	conn, err := s.Dial(t.Context(), "tcp", "10.53.255.1:80")
	require.NoError(t, err)
	conn.Close()
}

// The others are opened and not asked: their servers are elsewhere.
func TestElsewhere(t *testing.T) {
	hints := filepath.Join(t.TempDir(), "hints")
	require.NoError(t, os.WriteFile(hints, []byte(". NS a.\na. A 192.0.2.1\n"), 0o600))
	s, err := open(t, "-root-hints", hints, "-port", "5353")
	require.NoError(t, err)
	require.False(t, s.InMemory())
	iterative, err := s.Iterative(nil)
	require.NoError(t, err)
	require.EqualValues(t, 5353, iterative.Port)

	s, err = open(t, "-real")
	require.NoError(t, err)
	iterative, err = s.Iterative(nil)
	require.NoError(t, err)
	require.Len(t, iterative.Roots, 13)
	for _, root := range iterative.Roots {
		require.Len(t, root.Addrs, 2, root.Name)
		require.True(t, root.Addrs[0].Is4() && root.Addrs[1].Is6(), root.Name)
	}

	s, err = open(t, "-server", "192.0.2.1", "-port", "5353")
	require.NoError(t, err)
	require.Equal(t, "192.0.2.1:5353", s.stub.Servers[0].String())
	_, err = s.Iterative(nil)
	require.Error(t, err, "a stub does not begin at the root")
}

func TestOpenRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-real", "-server", "system"},
		{"-real", "-root-hints", "x"},
		{"-server", "system", "-root-hints", "x"},
		{"-server", "ns.example"},
	} {
		_, err := open(t, args...)
		var usage *cli.UsageError
		require.ErrorAs(t, err, &usage, "%q", args)
	}
	_, err := open(t, "-root-hints", filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	_, err = open(t, "-root-hints", empty)
	require.ErrorContains(t, err, empty)
}

func TestSetZone(t *testing.T) {
	s, err := Start()
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.SetZone("$ORIGIN more.org.\n$TTL 60\n@ SOA ns1.example.net. hostmaster 1 7200 3600 1209600 300\n@ NS ns1.example.net.\nwww A 10.53.40.1\n"))
	resolver := s.Resolver(nil)
	defer resolver.Close()
	answer, err := resolver.Resolve(t.Context(), "www.more.org.", dnsx.A)
	require.NoError(t, err)
	require.Equal(t, "10.53.40.1", answer.Records[0].Data)
}

func TestShow(t *testing.T) {
	for name, want := range map[string]string{
		"www.example.com.":   "www.example.com",
		"xn--espaa-rta.es.":  "españa.es (xn--espaa-rta.es)",
		"xn--zzzzzzzzzzzz.":  "xn--zzzzzzzzzzzz",
		"[IPv6:2001:DB8::1]": "[IPv6:2001:DB8::1]",
		".":                  ".",
	} {
		require.Equal(t, want, Show(name))
	}
}

func TestParseHost(t *testing.T) {
	for text, want := range map[string]string{
		"www.example.com": "www.example.com.", "WWW.Example.COM.": "www.example.com.", "españa.es": "xn--espaa-rta.es.",
		"com": "com.", "_sip._tcp.example.com": "_sip._tcp.example.com.",
	} {
		name, addr, err := ParseHost(text)
		require.NoError(t, err)
		require.Equal(t, want, name)
		require.False(t, addr.IsValid())
	}
	for _, text := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%7"} {
		name, addr, err := ParseHost(text)
		require.NoError(t, err)
		require.Empty(t, name)
		require.Equal(t, text, addr.String())
	}
	for _, text := range []string{
		"", ".", "a..b", "999.1.1.1", "1.2.3", "http://a.example", "a.example:80", "[::1]", "192.0.2.1:80", "a b.example", "a/b.example",
		"ana@a.example", "a\x1bb.example", "\u202ea.example", "a\\.b.example", "192.0.2.0/24",
	} {
		_, _, err := ParseHost(text)
		require.ErrorContains(t, err, "neither a name nor an address", "%q", text)
	}
}
