package memcached

import (
	"bytes"
	"context"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func TestFlag(t *testing.T) {
	for text, want := range map[string]string{
		"a:1":                               "",
		"127.0.0.1:1,[::1]:2":               "",
		"":                                  "want addresses such as",
		"a":                                 "want addresses such as",
		":1":                                "want addresses such as",
		"a:1,":                              "want addresses such as",
		strings.Repeat("a:1,", 100) + "a:1": "more than 100",
	} {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		s := Flag(fs, "none")
		err := fs.Parse([]string{"-servers", text})
		if want != "" {
			require.ErrorContains(t, err, want, "%q", text)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, text, s.String())
	}
}

// set and get by way of client.
func use(t *testing.T, client *cache.Client) {
	t.Helper()
	require.NoError(t, client.Set(t.Context(), "key", []byte("value"), 0))
	value, err := client.Get(t.Context(), "key")
	require.NoError(t, err)
	require.Equal(t, "value", string(value))
}

func TestEmbedded(t *testing.T) {
	client, where, stop, err := (&Servers{}).Connect(t.Context())
	require.NoError(t, err)
	require.Contains(t, where, " (embedded)")
	use(t, client)
	stop()
	_, err = client.Get(t.Context(), "key")
	require.Error(t, err)
}

func TestCommand(t *testing.T) {
	program := cli.Program{Name: "test", Commands: []cli.Command{
		Command(),
		{Name: "demo", Setup: func(*flag.FlagSet) cli.Action {
			return func(ctx context.Context, env *cli.Env) error {
				server, err := env.Start(ctx, "server", "-port", "0")
				require.NoError(t, err)
				s := &Servers{}
				require.NoError(t, s.Set(server.Addr))
				client, where, stop, err := s.Connect(ctx)
				require.NoError(t, err)
				require.Equal(t, server.Addr, where)
				use(t, client)
				stop()
				require.NoError(t, server.Stop())
				_, _, _, err = s.Connect(ctx)
				require.ErrorContains(t, err, server.Addr, "it is gone")
				return nil
			}
		}},
	}}
	var out bytes.Buffer
	require.Equal(t, 0, program.Run(t.Context(), []string{"demo"}, nil, &out, &out), "%s", &out)
}
