package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

// lines returns the lines of a text with single spaces.
func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		list = append(list, strings.Join(strings.Fields(line), " "))
	}
	return list
}

func TestList(t *testing.T) {
	const head = "family type protocol address port scope id"
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"www.example.com", "53"}, []string{
			head,
			"AF_INET6 SOCK_STREAM tcp 2001:db8:53:10::10 53 0",
			"AF_INET6 SOCK_DGRAM udp 2001:db8:53:10::10 53 0",
			"AF_INET SOCK_STREAM tcp 10.53.10.10 53 -",
			"AF_INET SOCK_DGRAM udp 10.53.10.10 53 -",
		}},
		{[]string{"-canonname", "-network", "tcp4", "ftp.example.com", "smtp"}, []string{
			"canonical name: www.example.com", head, "AF_INET SOCK_STREAM tcp 10.53.10.10 25 -",
		}},
		{[]string{"-network", "tcp", "", "80"}, []string{head, "AF_INET6 SOCK_STREAM tcp ::1 80 0", "AF_INET SOCK_STREAM tcp 127.0.0.1 80 -"}},
		{[]string{"-network", "udp4", "-passive", "", "80"}, []string{head, "AF_INET SOCK_DGRAM udp 0.0.0.0 80 -"}},
		{[]string{"-network", "tcp6", "-v4mapped", "-all", "www.example.com", "80"}, []string{
			head, "AF_INET6 SOCK_STREAM tcp 2001:db8:53:10::10 80 0", "AF_INET6 SOCK_STREAM tcp ::ffff:10.53.10.10 80 0",
		}},
		{[]string{"-network", "tcp", "-addrconfig", "-own", "10.0.0.7", "www.example.com", "80"}, []string{head, "AF_INET SOCK_STREAM tcp 10.53.10.10 80 -"}},
		{[]string{"-network", "tcp", "-own", "fe80::7,10.0.0.7", "www.example.com", "80"}, []string{
			head, "AF_INET SOCK_STREAM tcp 10.53.10.10 80 -", "AF_INET6 SOCK_STREAM tcp 2001:db8:53:10::10 80 0",
		}},
		{[]string{"-network", "tcp", "fe80::1%7", "80"}, []string{head, "AF_INET6 SOCK_STREAM tcp fe80::1 80 7"}},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			got := clitest.Run(t, "", append([]string{"list"}, test.args...)...)
			require.Zero(t, got.Status, got.Stderr)
			require.Equal(t, test.want, lines(got.Stdout))
		})
	}
}

func TestErrors(t *testing.T) {
	for command, want := range map[string]struct {
		status int
		stderr string
	}{
		"list":                                                  {2, "a host and a service"},
		"list www.example.com":                                  {2, "a host and a service"},
		"list -own x www.example.com 80":                        {2, "\"x\" is not an address"},
		"connect -lost x www.example.com 80":                    {2, "\"x\" is not an address"},
		"connect -here -lost 10.53.10.10 localhost 80":          {2, "in memory"},
		"connect -network udp www.example.com 80":               {2, "tcp4"},
		"connect www.example.com no-such-service":               {2, "no-such-service"},
		"constants x":                                           {2, "unexpected"},
		"list -network foo www.example.com 80":                  {2, "-network: unknown network foo"},
		"list -numerichost www.example.com 80":                  {1, "is not an address"},
		"list -numericserv www.example.com http":                {1, "is not a number"},
		"list nothing.example.com 80":                           {1, "no such host"},
		"list www.failing.test 80":                              {1, "SERVFAIL"},
		"connect nothing.example.com 80":                        {1, "no such host"},
		"connect www.failing.test 80":                           {1, "SERVFAIL"},
		"connect -timeout 300ms -lost 10.53.10.4 10.53.10.4 80": {1, "cannot connect to 10.53.10.4:80"},
	} {
		got := clitest.Run(t, "", strings.Fields(command)...)
		require.Equal(t, want.status, got.Status, "%s: %s", command, got.Stderr)
		require.Contains(t, got.Stderr, want.stderr, command)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
}

func TestConnect(t *testing.T) {
	got := clitest.Run(t, "", "connect", "-lost", "2001:db8:53:10::10", "www.example.com", "http")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, " A: 10.53.10.10\n")
	require.Contains(t, got.Stdout, "connected to 10.53.10.10:80\n")
	require.Contains(t, got.Stdout, `it says "hello from 10.53.10.10\n"`)
}

func TestServer(t *testing.T) {
	server := clitest.Start(t, "server", "-port", "0")
	conn := clitest.Dial(t, server.Addr)
	said, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Regexp(t, `^you are 127\.0\.0\.1:\d+, (\S+|whose name is not known here)\n$`, string(said))
	server.Stdout.WaitFor(t, conn.LocalAddr().String()+", ")

	// Who never reads and who leaves at once disturb nobody.
	for range 20 {
		clitest.Dial(t, server.Addr).Close()
	}
	got := clitest.Run(t, "", "connect", "-here", "127.0.0.1", server.Port())
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, `it says "you are 127.0.0.1:`)
	require.Zero(t, server.Stop())
}

func TestConstants(t *testing.T) {
	got := clitest.Run(t, "", "constants")
	require.Zero(t, got.Status)
	for _, name := range []string{"AF_INET", "AF_INET6", "AF_UNIX", "SOCK_STREAM", "SOCK_DGRAM", "SOCK_SEQPACKET", "IPPROTO_TCP"} {
		require.Contains(t, got.Stdout, name+" ")
	}
}

// The system's own getaddrinfo, by way of Python, finds the same candidates for
// what needs no name service. It may put them in another order, since it knows
// the machine's addresses, and it may add SOCK_RAW, which is left out here.
func TestSystem(t *testing.T) {
	python := interop.Python(t)
	const ask = `
import json, socket, sys
host, service, family, passive, mapped = sys.argv[1:]
flags = (socket.AI_PASSIVE if passive == "1" else 0) | (socket.AI_V4MAPPED | socket.AI_ALL if mapped == "1" else 0)
family = {"": 0, "4": socket.AF_INET, "6": socket.AF_INET6}[family]
found = socket.getaddrinfo(host or None, service, family=family, flags=flags)
names = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp"}
print(json.dumps(sorted({(names[t], a[0], str(a[1])) for f, t, p, c, a in found if t in names})))
`
	for _, test := range []struct{ host, service, family, passive, mapped string }{
		{"127.0.0.1", "80", "", "0", "0"},
		{"::1", "25", "", "0", "0"},
		{"2001:DB8:0::1", "53", "6", "0", "0"},
		{"127.0.0.1", "53", "6", "0", "1"},
		{"", "1060", "4", "1", "0"},
		{"", "1060", "6", "1", "0"},
		{"", "1060", "4", "0", "0"},
	} {
		out, err := exec.CommandContext(t.Context(), python, "-c", ask, test.host, test.service, test.family, test.passive, test.mapped).CombinedOutput()
		require.NoError(t, err, "%s", out)
		var want [][]string
		require.NoError(t, json.Unmarshal(out, &want))
		got := clitest.Run(t, "", "list", fmt.Sprint("-passive=", test.passive), "-v4mapped="+test.mapped, "-all="+test.mapped, "-network=ip"+test.family, test.host, test.service)
		require.Zero(t, got.Status, got.Stderr)
		var found [][]string
		for _, line := range lines(got.Stdout)[1:] {
			fields := strings.Fields(line)
			require.NotNil(t, net.ParseIP(fields[3]))
			found = append(found, fields[2:5])
		}
		require.ElementsMatch(t, want, found, "%v", test)
	}
}
