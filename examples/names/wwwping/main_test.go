package main

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestHosts(t *testing.T) {
	for _, test := range []struct {
		args   string
		status int
		want   []string // one line each, of which this is a part
	}{
		{"www.example.com", 0, []string{"www.example.com: success: www.example.com listens on port 80, at "}},
		{"ftp.example.com", 0, []string{"ftp.example.com: success: www.example.com listens on port 80"}},
		{"-port 8080 www.example.com", 0, []string{"listens on port 8080, at "}},
		{"10.53.10.10", 0, []string{"; it says HTTP/1.0 404 Not Found"}},
		{"-as www.example.com 10.53.10.10", 0, []string{"; it says HTTP/1.0 200 OK"}},
		{"four.example.com", 1, []string{"four.example.com: network failure: refused: no program listens there (10.53.10.4:80)"}},
		{"-timeout 300ms 10.53.10.21", 1, []string{"network failure: timed out: no answer came (10.53.10.21:80)"}},
		{"www.example.org", 1, []string{":80, then reset: the other side broke the connection off"}},
		{"www.unizocalo.es", 1, []string{"10.53.14.10:80, then the other side has closed the connection"}},
		{"www.alfa.co.uk", 1, []string{"network failure: unreachable: no way to that network or machine (10.53.15.10:80)"}},
		{"nothing.example.com", 1, []string{"name service failure: the name does not exist, or has no address"}},
		{"txt.example.com", 1, []string{"name service failure: the name does not exist, or has no address"}},
		{"www.failing.test", 1, []string{"name service failure: try again later: "}},
		{"-timeout 300ms www.silent.test", 1, []string{"name service failure: timed out: no answer came"}},
		{"nothing.example.com www.example.com four.example.com", 1, []string{"name service failure", "success", "refused"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := clitest.Run(t, "", strings.Fields(test.args)...)
			require.Equal(t, test.status, got.Status, got.Stderr)
			require.Empty(t, got.Stderr)
			lines := strings.Split(strings.TrimSuffix(got.Stdout, "\n"), "\n")
			require.Len(t, lines, len(test.want), got.Stdout)
			for i, want := range test.want {
				require.Contains(t, lines[i], want)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"a..b"}, {""}, {"com"}, {"-as", "a\r\nb", "www.example.com"}, {"-as", "a b", "www.example.com"}, {"-port", "0", "www.example.com"}, {"http://www.example.com"}, {"www.example.com:80"}, {"[::1]"}, {"-here", "www.example.com"}, {"-server", "x", "www.example.com"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout)
	}
}

// Servers of this machine, on real sockets: one that answers like no web server, and with what could
// steer the terminal; one that never answers; none.
func TestHere(t *testing.T) {
	_, port := clitest.Stranger(t, func(conn net.Conn, over <-chan struct{}) {
		conn.Read(make([]byte, 1000))
		conn.Write([]byte("220 \x1b[31mmail\r\n"))
	})
	got := clitest.Run(t, "", "-here", "-port", port, "127.0.0.1")
	require.Zero(t, got.Status)
	require.Contains(t, got.Stdout, `it says "220 \x1b[31mmail"`)

	_, port = clitest.Stranger(t, func(conn net.Conn, over <-chan struct{}) { <-over })
	got = clitest.Run(t, "", "-here", "-timeout", "200ms", "-port", port, "127.0.0.1")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stdout, "timed out: no answer came")

	_, port = clitest.Stranger(t, func(conn net.Conn, over <-chan struct{}) {
		for range 1000 { // a line that does not end
			if _, err := conn.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	})
	got = clitest.Run(t, "", "-here", "-port", port, "127.0.0.1")
	require.Zero(t, got.Status)
	require.Less(t, len(got.Stdout), 1000)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	require.NoError(t, ln.Close())
	got = clitest.Run(t, "", "-here", "-port", port, "127.0.0.1")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stdout, "refused: no program listens there (127.0.0.1:"+port+")")
}
