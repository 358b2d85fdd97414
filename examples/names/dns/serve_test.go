package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file without $ORIGIN is the zone that it is called after.
func TestOriginFromFileName(t *testing.T) {
	const relative = "$TTL 60\n@ SOA ns hostmaster 1 3600 600 604800 60\n@ NS ns\nns A 127.0.0.1\n"
	for file, want := range map[string]string{
		"example.com":               "example.com.",
		"Example.com.zone":          "example.com.",
		"example.com.db":            "example.com.",
		"db.example.com":            "example.com.",
		"2.0.192.in-addr.arpa.zone": "2.0.192.in-addr.arpa.",
		"españa.es.zone":            "xn--espaa-rta.es.",
		"my.zone":                   "", // it could be called so for any reason
		"db.192.0.2":                "",
		"zone-18":                   "",
	} {
		path := filepath.Join(t.TempDir(), file)
		require.NoError(t, os.WriteFile(path, []byte(relative), 0o600))
		zone, err := readZone(path)
		if want == "" {
			require.ErrorContains(t, err, "$ORIGIN", file)
			continue
		}
		require.NoError(t, err, file)
		require.Equal(t, want, zone.Origin())

		require.NoError(t, os.WriteFile(path, []byte("$ORIGIN example.org.\n"+relative), 0o600))
		zone, err = readZone(path)
		require.NoError(t, err, file)
		require.Equal(t, "example.org.", zone.Origin(), "what the file says counts")
	}
}
