package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

// rows splits a table into words.
func rows(text string) (list [][]string) {
	for line := range strings.Lines(text) {
		list = append(list, strings.Fields(line))
	}
	return list
}

func TestWalk(t *testing.T) {
	got := clitest.Run(t, "", "walk", "ftp.example.com")
	require.Equal(t, 0, got.Status, got.Stderr)
	lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
	require.Len(t, lines, 6, got.Stdout)
	require.Equal(t, "ftp.example.com. A?", lines[0])
	for i, want := range []string{"referral to com.", "referral to example.com.", "answer"} {
		require.True(t, strings.HasSuffix(lines[i+1], "  "+want), lines[i+1])
	}
	require.Equal(t, "  ftp.example.com. 3600 IN CNAME www.example.com.", lines[4])
	require.Equal(t, "  www.example.com. 3600 IN A 10.53.10.10", lines[5])

	// The addresses of servers without glue are searched first.
	got = clitest.Run(t, "", "walk", "www.example.org", "a")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "  │  ├─ net. ")
	require.Contains(t, got.Stdout, "example.net. A? answer\n")

	got = clitest.Run(t, "", "walk", "example.com", "SRV")
	require.Equal(t, 0, got.Status)
	require.Contains(t, got.Stdout, "example.com. exists, and has no records of type SRV\n")
	got = clitest.Run(t, "", "walk", "no-such.com")
	require.Equal(t, 0, got.Status)
	require.Contains(t, got.Stdout, "no-such.com. does not exist\n")

	got = clitest.Run(t, "", "walk", "www.refusing.test")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stdout, "refused: the server says REFUSED")
	require.Contains(t, got.Stderr, "www.refusing.test. A")
	got = clitest.Run(t, "", "walk", "-timeout", "100ms", "www.silent.test")
	require.Equal(t, 1, got.Status)
}

func TestServer(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for range 2 {
		got := clitest.Run(t, "", "ask", "-port", srv.Port(), "www.example.com")
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, " IN A 10.53.10.10\n")
	}
	got := clitest.Run(t, "", "ask", "-port", srv.Port(), "nobody.example.com", "MX")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "does not exist")
	got = clitest.Run(t, "", "ask", "-port", srv.Port(), "www.failing.test")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "SERVFAIL")
	require.Equal(t, 0, srv.Stop())
	out := srv.Stdout.WaitFor(t, "questions it has answered")
	require.Equal(t, 2, strings.Count(out, " A: NOERROR, "))
	require.Equal(t, 1, strings.Count(out, "  ├─ com. "), "the second answer comes from the cache")
	require.Contains(t, out, "; of 4 questions it has answered 1, 0 of them with")
}

func TestDig(t *testing.T) {
	dig := interop.Program(t, "bind9-dnsutils", "dig")
	srv := clitest.Start(t, "server", "-port", "0")
	for _, transport := range []string{"+notcp", "+tcp"} {
		out, err := exec.CommandContext(t.Context(), dig, "@"+srv.Host(), "-p", srv.Port(), transport, "+short", "alias.example.org", "MX").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "10 mail.example.com.\n20 mail2.example.com.\n")
	}
}

func TestLoad(t *testing.T) {
	got := clitest.Run(t, "", "load", "-clients", "5", "-questions", "20")
	require.Equal(t, 0, got.Status, got.Stderr)
	table := rows(got.Stdout)
	require.Len(t, table, 8, got.Stdout)
	counts := func(row int) (n [3]int) {
		words := table[row]
		_, err := fmt.Sscan(strings.Join(words[len(words)-3:], " "), &n[0], &n[1], &n[2])
		require.NoError(t, err)
		return n
	}
	require.Equal(t, [3]int{100, 100, 100}, counts(2), "iterated")
	require.Equal(t, [3]int{100, 100, 100}, counts(3), "recursive")
	own, one := counts(4), counts(5)
	for level := range own {
		require.Less(t, own[level], 100)
		require.Less(t, one[level], own[level])
	}
	require.LessOrEqual(t, one[2], 12, "there are twelve names")
	require.Contains(t, got.Stdout, "have also sent 200 queries on for others")
}

func TestStale(t *testing.T) {
	got := clitest.Run(t, "", "stale", "-ttl", "1s")
	require.Equal(t, 0, got.Status, got.Stderr)
	lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
	require.Contains(t, lines[0], "the cache: 10.53.44.1, for 1s more")
	require.Contains(t, lines[2], "from the root, without a cache: 10.53.44.2")
	require.Contains(t, lines[3], "the cache: 10.53.44.1", "still")
	require.Contains(t, lines[len(lines)-1], "the cache: 10.53.44.2")
}

func TestOutage(t *testing.T) {
	got := clitest.Run(t, "", "outage", "-patience", "250ms")
	require.Equal(t, 0, got.Status, got.Stderr)
	want := []string{"- yes - yes", "- yes - yes", "- yes - -", "- - yes yes", "- - - -"}
	for i, row := range rows(got.Stdout)[1:] {
		require.Equal(t, want[i], strings.Join(row[len(row)-4:], " "), "%v", row)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{
		"walk", "walk a..b", "walk example.com nonsense", "walk a b c", "ask example.com -port 5300", "ask -port 0 example.com",
		"ask -port 53 -host localhost example.com", "walk -server 127.0.0.1 example.com", "server -entries 0", "stale -ttl 1ms", "load -clients 0",
	} {
		got := clitest.Run(t, "", strings.Fields(args)...)
		require.Equal(t, 2, got.Status, "%s: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}
