package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

var line = regexp.MustCompile(`(?m)^ *(\d+) +[\d.]+ s +(\d+) +(\d+) +(\d+)  #*$`)

// runs returns found, computed and expected of each run that a client printed.
func runs(t *testing.T, out string) (rows [][3]int) {
	t.Helper()
	for i, found := range line.FindAllStringSubmatch(out, -1) {
		var row [4]int
		for j := range row {
			var err error
			row[j], err = strconv.Atoi(found[j+1])
			require.NoError(t, err)
		}
		require.Equal(t, i+1, row[0])
		rows = append(rows, [3]int(row[1:]))
	}
	return rows
}

// Fewer and fewer are computed, each once, and as many as the formula says.
func TestClient(t *testing.T) {
	got := clitest.Run(t, "", "client", "-requests", "2000", "-work", "0")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, " (embedded)\n")
	rows := runs(t, got.Stdout)
	require.Len(t, rows, 10)
	computed := 0
	for _, row := range rows {
		require.Equal(t, 2000, row[0]+row[1])
		require.InDelta(t, row[2], row[1], 150) // three standard deviations are 60
		computed += row[1]
	}
	require.LessOrEqual(t, computed, 5001, "no number twice")
	require.Less(t, rows[9][1], rows[0][1]/10)
}

func TestExpected(t *testing.T) {
	sum := 0.0
	for i := range 1000 {
		sum += expected(i, 100, 500)
	}
	require.InDelta(t, 500, sum, 1e-6, "in the end all are computed, once")
	require.InDelta(t, 1649, expected(0, 2000, 5001), 0.5, "as in the README")
	require.Equal(t, 1.0, expected(0, 7, 1))
	require.Equal(t, 0.0, expected(1, 7, 1))
}

// Two programs share what one has computed; the values are plain text.
func TestShared(t *testing.T) {
	server := clitest.Start(t, "server", "-port", "0")
	args := []string{"client", "-servers", server.Addr, "-runs", "1", "-requests", "3000", "-largest", "99", "-work", "0"}
	first := runs(t, clitest.Run(t, "", args...).Stdout)
	require.Equal(t, [][3]int{{2900, 100, 100}}, first)
	require.Equal(t, [][3]int{{3000, 0, 100}}, runs(t, clitest.Run(t, "", args...).Stdout))
	client := cache.NewClient(server.Addr)
	defer client.Close()
	value, err := client.Get(t.Context(), "sq:12")
	require.NoError(t, err)
	require.Equal(t, "144", string(value))

	// Somebody else's values are noticed.
	for _, wrong := range []string{"many", "145"} {
		require.NoError(t, client.Set(t.Context(), "sq:0", []byte(wrong), 0))
		got := clitest.Run(t, "", "client", "-servers", server.Addr, "-runs", "1", "-largest", "0")
		require.Equal(t, 1, got.Status)
		require.Regexp(t, `^squares: the cache (has "many" as the value of sq:0, which is no number|says that the square of 0 is 145)\n$`, got.Stderr)
	}
}

func TestRealMemcached(t *testing.T) {
	memcached := interop.Program(t, "memcached", "memcached")
	// It picks a free port, and says in a file which.
	said := filepath.Join(t.TempDir(), "port")
	cmd := exec.CommandContext(t.Context(), memcached, "-u", "root", "-l", "127.0.0.1", "-p", "-1", "-U", "0")
	cmd.Env = append(os.Environ(), "MEMCACHED_PORT_FILENAME="+said)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var addr string
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(said)
		port, found := strings.CutPrefix(string(text), "TCP INET: ")
		addr = "127.0.0.1:" + strings.TrimSpace(port)
		return found && strings.HasSuffix(port, "\n")
	}, clitest.Limit, 10*time.Millisecond)
	got := clitest.Run(t, "", "client", "-servers", addr, "-runs", "2", "-requests", "500", "-largest", "99", "-work", "0")
	require.Equal(t, 0, got.Status, got.Stderr)
	rows := runs(t, got.Stdout)
	require.Len(t, rows, 2)
	require.Less(t, rows[1][1], 20)
}

// A server that is not there, or is none, is one line and status 1.
func TestBadServers(t *testing.T) {
	rude, _ := clitest.Stranger(t, func(c net.Conn, _ <-chan struct{}) {
		bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
	})
	gone := clitest.Start(t, "server", "-port", "0")
	gone.Stop()
	for _, addr := range []string{rude, gone.Addr} {
		got := clitest.Run(t, "", "client", "-servers", addr)
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, addr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	for _, args := range []string{"-servers nowhere", "-runs 0", "-requests 0", "-largest -1", "-work -1s"} {
		got := clitest.Run(t, "", append([]string{"client"}, strings.Fields(args)...)...)
		require.Equal(t, 2, got.Status, args)
	}
}

func TestStopsWhileComputing(t *testing.T) {
	server := clitest.Start(t, "server", "-port", "0")
	client := clitest.StartClient(t, "", "client", "-servers", server.Addr, "-work", "1m")
	client.Stdout.WaitFor(t, "run ")
	status := client.Stop()
	require.Contains(t, []int{0, 130}, status) // 0: Windows has no signals
}
