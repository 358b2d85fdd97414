package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-quiet"})
}

func TestBroadcastAddr(t *testing.T) {
	for prefix, want := range map[string]string{
		"127.0.0.1/8":      "127.255.255.255",
		"10.83.4.1/24":     "10.83.4.255",
		"10.83.4.200/25":   "10.83.4.255",
		"10.83.4.100/25":   "10.83.4.127",
		"192.168.7.9/22":   "192.168.7.255",
		"192.168.4.9/22":   "192.168.7.255",
		"172.16.5.4/12":    "172.31.255.255",
		"10.0.0.5/30":      "10.0.0.7",
		"10.0.0.5/0":       "255.255.255.255",
		"128.0.0.0/1":      "255.255.255.255",
		"10.0.0.5/31":      "two addresses",
		"10.0.0.5/32":      "one address",
		"fd00::2/64":       "IPv6",
		"::ffff:1.2.3.4/8": "IPv6",
	} {
		got, why := broadcastAddr(netip.MustParsePrefix(prefix))
		if got.IsValid() {
			require.Equal(t, want, got.String(), prefix)
			require.Empty(t, why)
		} else {
			require.Contains(t, why, want, prefix)
		}
	}
	_, why := broadcastAddr(netip.Prefix{})
	require.NotEmpty(t, why)
}

// For every length of a network: the broadcast address is in it, is its last,
// and the one after is not in it.
func TestBroadcastAddrIsLast(t *testing.T) {
	for bits := range 31 {
		p := netip.PrefixFrom(netip.MustParseAddr("100.100.100.100"), bits)
		got, why := broadcastAddr(p)
		require.Empty(t, why)
		require.True(t, p.Contains(got), p)
		require.False(t, got.Next().IsValid() && p.Contains(got.Next()), p)
	}
}

func TestChoose(t *testing.T) {
	all := []segment{
		{Interface: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8"), Broadcast: netip.MustParseAddr("127.255.255.255")},
		{Interface: "lo", Prefix: netip.MustParsePrefix("::1/128"), Why: "IPv6"},
		{Interface: "eth0", Prefix: netip.MustParsePrefix("fe80::1/64"), Why: "IPv6"},
		{Interface: "eth0", Prefix: netip.MustParsePrefix("10.0.0.1/24"), Broadcast: netip.MustParseAddr("10.0.0.255")},
		{Interface: "tun0", Prefix: netip.MustParsePrefix("10.9.0.1/24"), Why: "a line between two machines"},
	}
	for host, want := range map[string]string{
		"127.0.0.1":       "127.255.255.255",
		"127.0.0.9":       "127.255.255.255",
		"127.255.255.255": "127.255.255.255",
		"10.0.0.1":        "10.0.0.255",
		"10.0.0.255":      "10.0.0.255",
	} {
		got, err := byHost(all, host)
		require.NoError(t, err, host)
		require.Equal(t, want, got.Broadcast.String())
	}
	for host, want := range map[string]string{
		"10.0.0.2":        "no interface of this machine has this address",
		"10.1.0.255":      "no interface of this machine has this address",
		"255.255.255.255": "no interface of this machine has this address",
		"10.9.0.1":        "a line between two machines",
		"::1":             "IPv6",
		"fe80::1":         "IPv6",
	} {
		_, err := byHost(all, host)
		require.ErrorContains(t, err, host)
		require.ErrorContains(t, err, want)
	}
	got, err := byName(all, "eth0")
	require.NoError(t, err)
	require.Equal(t, "10.0.0.255", got.Broadcast.String())
	_, err = byName(all, "tun0")
	require.ErrorContains(t, err, "a line between two machines")
	_, err = byName(all, "eth1")
	require.ErrorContains(t, err, "no broadcast on eth1: no interface of this name is up")
}

const arpTable = `IP address       HW type     Flags       HW address            Mask     Device
10.83.4.3        0x1         0x2         02:00:00:00:00:03     *        br0
10.83.4.4        0x1         0x0         00:00:00:00:00:00     *        br0
10.83.4.5        0x1         0x6         02:00:00:00:00:05     *        eth0
`

func TestParseARP(t *testing.T) {
	require.Equal(t, []neighbour{
		{netip.MustParseAddr("10.83.4.3"), "02:00:00:00:00:03", "br0"},
		{netip.MustParseAddr("10.83.4.5"), "02:00:00:00:00:05", "eth0"},
	}, parseARP(arpTable))
	require.Empty(t, parseARP(""))
	require.Empty(t, parseARP("10.0.0.1 0x1 two 02:00:00:00:00:03 * br0"))
	require.Empty(t, parseARP("10.0.0.1 0x1 0x2 02:00:00:00:00:03 *"))
}

func FuzzParseARP(f *testing.F) {
	f.Add(arpTable)
	f.Add("1.2.3.4 0x1 0x2 a * b\n\n\x00")
	f.Fuzz(func(t *testing.T, table string) {
		found := parseARP(table)
		require.LessOrEqual(t, len(found), strings.Count(table, "\n")+1)
		for _, n := range found {
			require.True(t, n.Addr.IsValid())
			require.NotEmpty(t, n.Interface)
		}
	})
}

// needBroadcast skips the test where the loopback interface has none. Linux
// has it always.
func needBroadcast(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "linux" {
		return
	}
	conn, err := net.ListenPacket("udp4", ":0")
	require.NoError(t, err)
	defer conn.Close()
	to := &net.UDPAddr{IP: net.IPv4(127, 255, 255, 255), Port: conn.LocalAddr().(*net.UDPAddr).Port}
	_, err = conn.WriteTo([]byte("?"), to)
	if err == nil {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _, err = conn.ReadFrom(make([]byte, 1))
	}
	if err != nil {
		t.Skipf("no broadcast on the loopback of this system: %v", err)
	}
}

// crew starts listeners on one port of the loopback.
func crew(t *testing.T, names ...string) (port string, all []*clitest.Process) {
	t.Helper()
	needBroadcast(t)
	port = "0"
	for _, name := range names {
		p := clitest.Start(t, "server", "-port", port, "-name", name)
		port = p.Port()
		all = append(all, p)
	}
	return port, all
}

func TestEverybodyHears(t *testing.T) {
	names := []string{"alice", "bob", "carol", "dave"}
	port, all := crew(t, names...)
	got := clitest.Run(t, "hola\n\n¡adiós!\n", "client", "-port", port, "-expect", "4", "-wait", "20s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	for _, size := range []int{4, 0, 9} {
		for _, name := range names {
			require.Equal(t, 1, strings.Count(got.Stdout, fmt.Sprintf("\"%s heard %d bytes\"\n", name, size)), got.Stdout)
		}
	}
	require.Equal(t, 3, strings.Count(got.Stdout, "answers: 4\n"))
	for _, p := range all {
		said := p.Stdout.WaitFor(t, "(9 bytes)\n")
		require.Regexp(t, `^listening on .*
127\.0\.0\.1:\d+: "hola" \(4 bytes\)
127\.0\.0\.1:\d+: "" \(0 bytes\)
127\.0\.0\.1:\d+: "¡adiós!" \(9 bytes\)
$`, said)
	}
	if runtime.GOOS == "linux" {
		require.Contains(t, got.Stdout, "neighbours on lo before: none known\n")
		require.Contains(t, got.Stdout, "neighbours on lo after: none known\n")
		require.True(t, strings.HasPrefix(all[0].Addr, "127.255.255.255:"), all[0].Addr)
	}
}

// The listeners share the port but not their fate.
func TestListenerLeaves(t *testing.T) {
	port, all := crew(t, "alice", "bob", "carol")
	require.Zero(t, all[1].Stop())
	got := clitest.Run(t, "", "client", "-port", port, "-text", "hola", "-expect", "2", "-wait", "20s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "alice heard")
	require.Contains(t, got.Stdout, "carol heard")

	// A third answer is waited for, and missed.
	got = clitest.Run(t, "", "client", "-port", port, "-text", "hola", "-expect", "3", "-wait", "2s")
	require.Equal(t, cli.Failure, got.Status)
	require.Equal(t, "udpbroadcast: 2 of 3 answers to 127.255.255.255 within 2s\n", got.Stderr)
}

func TestQuiet(t *testing.T) {
	needBroadcast(t)
	p := clitest.Start(t, "server", "-port", "0", "-quiet")
	got := clitest.Run(t, "", "client", "-port", p.Port(), "-text", "\x1b[2J\x07\xff", "-wait", "50ms")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "no answer within 50ms: whether anybody has heard it is not known\n")
	p.Stdout.WaitFor(t, `"\x1b[2J\a\xff" (6 bytes)`+"\n")
}

// What is sent to one address is not a broadcast: the listener's socket has
// another address.
func TestUnicastIsNotHeard(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux binds the socket to the broadcast address")
	}
	port, all := crew(t, "alice")
	conn, err := net.Dial("udp4", "127.0.0.1:"+port)
	require.NoError(t, err)
	defer conn.Close()
	io.WriteString(conn, "for you only")
	clitest.Run(t, "", "client", "-port", port, "-text", "for all", "-expect", "1", "-wait", "20s")
	said := all[0].Stdout.WaitFor(t, "for all")
	require.NotContains(t, said, "for you only")
}

// Answers that are too many, too long or rude do no harm.
func TestRudeAnswers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a socket on the broadcast address is had on Linux only")
	}
	conn, err := net.ListenPacket("udp4", "127.255.255.255:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, from, err := conn.ReadFrom(make([]byte, 100))
		if err != nil {
			return
		}
		conn.WriteTo([]byte("\x1b[2J"+strings.Repeat("x", 5000)), from)
		for range 5 * mostAnswers {
			conn.WriteTo(nil, from)
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(t, err)
	got := clitest.Run(t, "", "client", "-port", port, "-text", "hola", "-wait", "1s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, `"\x1b[2Jxxx`)
	require.NotContains(t, got.Stdout, "\x1b")
	require.LessOrEqual(t, strings.Count(got.Stdout, "answer from"), mostAnswers)
	require.Less(t, len(got.Stdout), 100*mostAnswers)
}

func TestFailures(t *testing.T) {
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-host", "127.0.0.1", "-interface", "lo"},
		{"client", "-wait", "0s"},
		{"client", "-expect", "-1"},
		{"client", "hola"},
		{"server", "-name", strings.Repeat("x", 101)},
		{"interfaces", "eth0"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, cli.BadUsage, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
	for problem, args := range map[string][]string{
		"no broadcast on the network of ::1: IPv6 has groups instead, ff02::1 for all nodes":            {"client", "-host", "::1"},
		"no broadcast on the network of 198.51.100.255: no interface of this machine has this address":  {"client", "-host", "198.51.100.255"},
		"no broadcast on the network of 255.255.255.255: no interface of this machine has this address": {"client", "-host", "255.255.255.255"},
		"no broadcast on none7: no interface of this name is up":                                        {"server", "-interface", "none7"},
		"1473 bytes are too many for a broadcast: 1472 fit in one packet":                               {"client", "-text", strings.Repeat("x", maxText+1)},
		"no broadcast on the network of 203.0.113.9: no interface of this machine has this address":     {"server", "-host", "203.0.113.9"},
		"no broadcast on the network of 2001:db8::1: IPv6 has groups instead, ff02::1 for all nodes":    {"server", "-host", "[2001:db8::1]"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, cli.Failure, got.Status, "%v", args)
		require.Equal(t, "udpbroadcast: "+problem+"\n", got.Stderr)
	}
}

func TestInterfaces(t *testing.T) {
	got := clitest.Run(t, "", "interfaces")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Regexp(t, `(?m)^\S+.*\s127\.0\.0\.1/8\s+127\.255\.255\.255$`, got.Stdout)
}

// program returns the nth program in Python of the README, with another port
// in the place of 1060: what the README shows is what is tested.
func program(t *testing.T, n int, port string) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the programs in Python are for Linux: elsewhere sockets are shared by another option, or bound otherwise")
	}
	return clitest.ReadmeProgram(t, n, port)
}

// A listener in Go and one in Python on the same port hear the same message.
func TestPythonListener(t *testing.T) {
	python := interop.Python(t)
	port, all := crew(t, "gopher")
	cmd := exec.CommandContext(t.Context(), python, "-u", "-c", program(t, 0, port))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Wait() }) // t.Context has ended it
	var first string
	_, err = fmt.Fscanln(out, &first)
	require.NoError(t, err)
	require.Equal(t, "ready", first)

	got := clitest.Run(t, "", "client", "-port", port, "-text", "hola", "-expect", "2", "-wait", "20s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, `"gopher heard 4 bytes"`)
	require.Contains(t, got.Stdout, `"python heard 4 bytes"`)
	all[0].Stdout.WaitFor(t, `"hola" (4 bytes)`)
}

func TestPythonBroadcaster(t *testing.T) {
	python := interop.Python(t)
	port, all := crew(t, "alice", "bob")
	out, err := exec.CommandContext(t.Context(), python, "-c", program(t, 1, port)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, p := range all {
		p.Stdout.WaitFor(t, `"¡Hola a todos!" (15 bytes)`)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	require.Len(t, lines, 2)
	require.Contains(t, lines[0], "alice heard 15 bytes")
	require.Contains(t, lines[1], "bob heard 15 bytes")
}
