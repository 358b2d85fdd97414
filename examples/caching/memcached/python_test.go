package main

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/internal/interop"
)

// squares is the course's program: squares that take a millisecond each, and
// are remembered under sq:N. It prints how many of each run were computed.
const squares = `
import sys, time, memcache

cache = memcache.Client(sys.argv[1:], debug=1)
computed = 0

def square(n):
    global computed
    key = "sq:%d" % n
    value = cache.get(key)
    if value is None:
        time.sleep(0.001)
        computed += 1
        value = n * n
        if not cache.set(key, value, time=60):
            sys.exit("not stored")
    return value

number = 1
for run in range(3):
    computed = 0
    for i in range(300):
        number = number * 7919 % 503  # a round trip of all of 1 to 502
        if square(number) != number * number:
            sys.exit("a wrong square")
    print(computed)
found = cache.get_multi(["sq:%d" % n for n in range(1, 503)])
assert found == {"sq:%d" % n: n * n for n in range(1, 503)}, found
assert cache.incr("sq:12") == 145 and cache.delete("sq:13") and cache.get("sq:13") is None
assert cache.set("big", "x" * 900000) and len(cache.get("big")) == 900000
assert cache.set("object", {"a": [1, 2.5, "ñ"]}) and cache.get("object") == {"a": [1, 2.5, "ñ"]}
value, = [int(stats["curr_items"]) for server, stats in cache.get_stats()]
print(value)
`

// The course's program, with the library for Python that it uses.
func TestPythonClient(t *testing.T) {
	python := interop.Python(t)
	if out, err := exec.Command(python, "-c", "import memcache").CombinedOutput(); err != nil {
		interop.Missing(t, "no module memcache (Debian package python3-memcache): %s", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stdout, said := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"-l", "127.0.0.1", "-p", "-1"}, strings.NewReader(""), said, io.Discard)
		said.Close()
	}()
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan())
	addr, ok := cli.ListeningAddr(lines.Text())
	require.True(t, ok, lines.Text())

	out, err := exec.CommandContext(ctx, python, "-c", squares, addr).CombinedOutput()
	require.NoError(t, err, "%s", out)
	numbers := strings.Fields(string(out))
	require.Len(t, numbers, 4, "%s", out)
	first, _ := strconv.Atoi(numbers[0])
	require.Equal(t, 300, first, "nothing was known")
	require.Equal(t, []string{"202", "0"}, numbers[1:3], "502 in all")
	require.Equal(t, "503", numbers[3], "501 squares and two more")

	// Its values are text to other languages.
	client := cache.NewClient(addr)
	defer client.Close()
	value, err := client.Get(t.Context(), "sq:20")
	require.NoError(t, err)
	require.Equal(t, "400", string(value))

	cancel()
	require.False(t, lines.Scan())
	require.Zero(t, <-status)
}
