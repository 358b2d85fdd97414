package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestParseConfig(t *testing.T) {
	list, err := parseConfig(strings.NewReader("# nodes\n[node1]\nhost = 127.0.0.1\nport=8001\n\n[node2]\n; heavy\nhost = ::1\nport = 8002\nweight = 2.5\n"))
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "http://127.0.0.1:8001", list[0].url.String())
	require.Equal(t, "http://[::1]:8002", list[1].url.String())
	require.Equal(t, 2.5, list[1].weight)
	for _, bad := range []string{
		"host = a\n", "[a]\nhost = b\n", "[a]\nport = 1\n", "[a]\nhost = b\nport = 0\n", "[a]\nhost = b\nport = x\n",
		"[a]\nhost = b\nport = 1\nweight = 0\n", "[a]\nhost = b\nport = 1\ncolour = red\n", "[a\n", "[a]\nhost = b\nport = 1\n[c]\n",
		"[a]\nhost = b c\nport = 1\n",
	} {
		_, err := parseConfig(strings.NewReader(bad))
		require.Error(t, err, "%q", bad)
	}
}

func TestBadFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.ini")
	require.NoError(t, os.WriteFile(file, []byte("[a]\n"), 0o600))
	for _, args := range [][]string{
		{}, {"-backend", "127.0.0.1:80"}, {"-backend", "http://a=x"}, {"-backend", "http://a=-1"}, {"-policy", "best", "-backend", "http://a"}, {"-config", file},
	} {
		got := clitest.Run(t, "", append([]string{"-listen", "127.0.0.1:0"}, args...)...)
		require.Equal(t, 2, got.Status, "%v: %+v", args, got)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	got := clitest.Run(t, "", "-config", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, got.Status)
}

// startNodes starts web servers that answer with their names, and returns them
// with the flags that name them.
func startNodes(t *testing.T, weights ...string) (nodes []*clitest.Process, flags []string) {
	t.Helper()
	for i, w := range weights {
		n := clitest.Start(t, "node", "-port", "0", "-name", fmt.Sprint("n", i))
		nodes = append(nodes, n)
		flags = append(flags, "-backend", "http://"+n.Addr+w)
	}
	return nodes, flags
}

// get asks once.
func get(ctx context.Context, addr string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s: %.100s", resp.Status, body)
	}
	return strings.TrimSpace(string(body)), err
}

func count(t *testing.T, addr string, n int) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for range n {
		name, err := get(t.Context(), addr)
		require.NoError(t, err)
		counts[name]++
	}
	return counts
}

func TestPolicies(t *testing.T) {
	_, flags := startNodes(t, "", "=2", "")
	for _, test := range []struct {
		policy string
		want   map[string]int
	}{
		{"rr", map[string]int{"n0": 10, "n1": 20, "n2": 10}},
		{"weighted", map[string]int{"n0": 10, "n1": 20, "n2": 10}},
	} {
		lb := clitest.Start(t, append([]string{"-listen", "127.0.0.1:0", "-policy", test.policy}, flags...)...)
		require.Equal(t, test.want, count(t, lb.Addr, 40))
		require.Zero(t, lb.Stop())
	}
	lb := clitest.Start(t, append([]string{"-listen", "127.0.0.1:0", "-policy", "hash"}, flags...)...)
	require.Len(t, count(t, lb.Addr, 20), 1, "one client, one node")
	lb = clitest.Start(t, append([]string{"-listen", "127.0.0.1:0", "-policy", "leastconn"}, flags...)...)
	require.Len(t, count(t, lb.Addr, 20), 3)
}

// One of three is killed while clients ask: none of them notices. It comes back
// on its port, and gets requests again.
func TestKilledUnderLoad(t *testing.T) {
	nodes, flags := startNodes(t, "", "", "")
	lb := clitest.Start(t, append([]string{"-listen", "127.0.0.1:0", "-check-interval", "100ms"}, flags...)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var asked atomic.Int64
	failures := make(chan error, 100)
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := get(ctx, lb.Addr); err != nil && ctx.Err() == nil {
					select {
					case failures <- err:
					default:
					}
				}
				asked.Add(1)
			}
		})
	}
	upTo := func(n int64) {
		ctx, cancel := context.WithTimeout(ctx, clitest.Limit)
		defer cancel()
		for tick := time.NewTicker(time.Millisecond); asked.Load() < n; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("only %d requests", asked.Load())
			}
		}
	}
	upTo(200)
	nodes[1].Signal(os.Kill)
	nodes[1].Wait()
	lb.Stdout.WaitFor(t, nodes[1].Addr+" is out")
	upTo(asked.Load() + 200)
	clitest.Start(t, "node", "-port", nodes[1].Port(), "-name", "back")
	lb.Stdout.WaitFor(t, nodes[1].Addr+" is back")
	upTo(asked.Load() + 200)
	cancel()
	wg.Wait()
	close(failures)
	for err := range failures {
		t.Errorf("a client noticed: %v", err)
	}
	require.Positive(t, count(t, lb.Addr, 30)["back"])
	require.Zero(t, lb.Stop())
}

// When there is nobody left, the client is told so.
func TestNobodyLeft(t *testing.T) {
	nodes, flags := startNodes(t, "")
	lb := clitest.Start(t, append([]string{"-listen", "127.0.0.1:0", "-check-interval", "50ms"}, flags...)...)
	require.Equal(t, map[string]int{"n0": 3}, count(t, lb.Addr, 3))
	require.Zero(t, nodes[0].Stop())
	lb.Stdout.WaitFor(t, " is out")
	_, err := get(t.Context(), lb.Addr)
	require.ErrorContains(t, err, "status 503")
}
