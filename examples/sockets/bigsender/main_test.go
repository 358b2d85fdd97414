package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"relay"})
}

// Every threshold is found, and with no more tries than halving needs.
func TestLargest(t *testing.T) {
	for hi := 2; hi < 70; hi++ {
		for threshold := 1; threshold < hi; threshold++ {
			tried := 0
			got, err := largest(1, hi, func(n int) (bool, error) {
				tried++
				require.Greater(t, n, 1)
				require.Less(t, n, hi)
				return n <= threshold, nil
			})
			require.NoError(t, err)
			require.Equal(t, threshold, got, "of %d", hi)
			require.LessOrEqual(t, tried, bits.Len(uint(hi-1)))
		}
	}
	cut := errors.New("the cable was cut")
	_, err := largest(1, most4, func(n int) (bool, error) { return n > 30000, cut })
	require.Equal(t, cut, err)
}

func TestFragments(t *testing.T) {
	for _, test := range []struct{ n, headers, mtu, want int }{
		{0, headers4, 1500, 1},
		{1472, headers4, 1500, 1},
		{1473, headers4, 1500, 2},
		{2952, headers4, 1500, 2}, // 2952 + 8 is twice 1480
		{2953, headers4, 1500, 3},
		{65507, headers4, 1500, 45},
		{65507, headers4, 65535, 1},
		{65507, headers4, 0, 1}, // not known
		{65507, headers4, 8, 1}, // not possible
		{1452, headers6, 1500, 1},
		{1453, headers6, 1500, 2}, // each carries 1448 at most
		{2888, headers6, 1500, 2},
		{2889, headers6, 1500, 3},
		{65527, headers6, 65536, 2},
	} {
		require.Equal(t, test.want, fragments(test.n, test.headers, test.mtu), "%+v", test)
	}
}

// simulated searches a path between two hosts of a simulated network, on
// virtual time, and returns what the client printed.
func simulated(t *testing.T, network *simnet.Network, from, to string, mtu int, tries int) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		defer network.Close()
		here, there := netip.MustParseAddr(from), netip.MustParseAddr(to)
		socket, err := network.Host(there).ListenPacket("udp", ":1060")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() {
			if err := serve(ctx, socket, &cli.Env{Stdout: io.Discard, Stderr: io.Discard}); err != nil {
				t.Errorf("the server failed: %v", err)
			}
		})
		client := network.Host(here)
		client.SetMTU(mtu)
		conn, err := client.Dial("udp", net.JoinHostPort(to, "1060"))
		require.NoError(t, err)
		p := newProber(conn, there, &cli.Env{Stdout: &out}, func() (int, error) { return 0, errors.New("not known") })
		p.tries = tries
		require.NoError(t, p.search())
	})
	return out.String()
}

// A link that swallows what is too long, and loses a fifth of all else: to
// lose one size ten times in a row by chance is too rare to happen.
func TestBlackHole(t *testing.T) {
	for _, test := range []struct {
		from, to string
		headers  int
	}{
		{"192.0.2.1", "192.0.2.2", headers4},
		{"2001:db8::1", "2001:db8::2", headers6},
	} {
		for _, mtu := range []int{68, 576, 1280, 1400, 9000} {
			out := simulated(t, &simnet.Network{Seed: 1, Link: simnet.Link{MTU: mtu, Loss: 0.1}}, test.from, test.to, 0, 10)
			require.Contains(t, out, fmt.Sprintf("%s%d bytes of data, %d with", resultLine, mtu-test.headers, mtu))
			require.Contains(t, out, "lost without a word, 10 times in a row")
			require.NotContains(t, out, "not sent")
		}
	}
}

// The interface's own limit is refused at once, before anything is sent.
func TestOwnLimit(t *testing.T) {
	for _, mtu := range []int{576, 1500, 9000} {
		out := simulated(t, &simnet.Network{}, "192.0.2.1", "192.0.2.2", mtu, 3)
		require.Contains(t, out, fmt.Sprintf("%s%d bytes of data, %d with", resultLine, mtu-headers4, mtu))
		require.Contains(t, out, " 65507 bytes: not sent: with headers 65535 bytes, too long for this machine\n")
		require.NotContains(t, out, "lost without")
	}
}

// With a round trip longer than one wait, the answer to the first try comes
// during the second.
func TestLateAnswers(t *testing.T) {
	out := simulated(t, &simnet.Network{Link: simnet.Link{MTU: 1500, Delay: 150 * time.Millisecond}}, "192.0.2.1", "192.0.2.2", 0, 3)
	require.Contains(t, out, resultLine+"1472 bytes")
}

func TestNobodyAnswers(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := conn.LocalAddr().String()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	got := clitest.Run(t, "", "client", "-port", port, "-wait", "10ms", "-tries", "2")
	require.Equal(t, cli.Failure, got.Status)
	require.Contains(t, got.Stdout, "     1 bytes: lost without a word, 2 times in a row\n")
	require.Equal(t, "bigsender: "+addr+" answers not even a datagram of one byte: is a server there?\n", got.Stderr)
	conn.Close()
	got = clitest.Run(t, "", "client", "-port", port)
	require.Equal(t, cli.Failure, got.Status)
	require.Regexp(t, `^bigsender: cannot (read from|send to) 127\.0\.0\.1:`+port+` over udp: (refused: no program listens there|reset: .*)\n$`, got.Stderr)
}

// On loopback the limit is that of the datagram, or of the interface.
func TestLoopback(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			clitest.NeedHost(t, host)
			headers, most := headers4, most4
			if host == "::1" {
				headers, most = headers6, most6
			}
			want := most
			if mtu := loopbackMTU(t); mtu-headers < most {
				want = mtu - headers
			}
			srv := clitest.Start(t, "server", "-host", host, "-port", "0")
			got := clitest.Run(t, "", "client", "-host", host, "-port", srv.Port(), "-wait", "5s")
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			n := found(got.Stdout)
			if runtime.GOOS == "linux" {
				require.Equal(t, want, n, got.Stdout)
				require.Contains(t, got.Stdout, "path MTU that the kernel knows: ")
			}
			require.Greater(t, n, 1000)
			srv.Stdout.WaitFor(t, fmt.Sprintf(": %d bytes\n", n))

			got = clitest.Run(t, "", "client", "-host", host, "-port", srv.Port(), "-fragment", "-wait", "5s")
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			require.GreaterOrEqual(t, found(got.Stdout), n)
			if runtime.GOOS == "linux" {
				require.Equal(t, most, found(got.Stdout), got.Stdout)
			}
		})
	}
}

func loopbackMTU(t *testing.T) int {
	t.Helper()
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 {
			return i.MTU
		}
	}
	require.Fail(t, "no loopback interface")
	return 0
}

func TestOneSize(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	for _, size := range []string{"0", "1", "1472"} {
		got := clitest.Run(t, "", "client", "-port", srv.Port(), "-size", size, "-wait", "5s")
		require.Equal(t, cli.OK, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, fmt.Sprintf("%6s bytes: arrived\n", size))
		srv.Stdout.WaitFor(t, ": "+size+" bytes\n")
	}
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-size", "65508")
	require.Equal(t, cli.Failure, got.Status)
	require.Equal(t, "bigsender: cannot send 65508 bytes: too long for UDP, whose datagrams carry at most 65507\n", got.Stderr)
}

func TestRelay(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	hole := clitest.Start(t, "relay", "-port", "0", "-target", srv.Addr, "-mtu", "1280")
	got := clitest.Run(t, "", "client", "-port", hole.Port(), "-size", "1252", "-wait", "5s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	got = clitest.Run(t, "", "client", "-port", hole.Port(), "-size", "1253", "-wait", "20ms")
	require.Equal(t, cli.Failure, got.Status)
	require.Contains(t, got.Stdout, "  1253 bytes: lost without a word, 3 times in a row\n")
	require.Equal(t, "bigsender: 1253 bytes do not get through to "+hole.Addr+"\n", got.Stderr)

	got = clitest.Run(t, "", "relay", "-target", "no port")
	require.Equal(t, cli.Failure, got.Status)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-size", "-1"},
		{"client", "-size", "big"},
		{"client", "-wait", "0s"},
		{"client", "-tries", "0"},
		{"client", "hola"},
		{"relay", "-mtu", "67"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, cli.BadUsage, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
}

// Whatever a false server answers, the client ends, with no wrong number.
func TestFalseServer(t *testing.T) {
	for _, answer := range []string{"", "0", "-1", "65507", strings.Repeat("9", 5000)} {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				_, client, err := conn.ReadFrom(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					conn.WriteTo([]byte(answer), client)
				}
			}
		})
		_, port, err := net.SplitHostPort(conn.LocalAddr().String())
		require.NoError(t, err)
		got := clitest.Run(t, "", "client", "-port", port, "-wait", "20ms", "-tries", "1")
		require.Equal(t, cli.Failure, got.Status, got.Stdout)
		require.NotContains(t, got.Stdout, resultLine)
		require.Contains(t, got.Stderr, "answers not even a datagram of one byte")
		conn.Close()
		wg.Wait()
	}
}

func TestPythonServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 0, "0"))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Wait() }) // t.Context has ended it
	var port string
	_, err = fmt.Fscanf(out, "listening on port %s\n", &port)
	require.NoError(t, err)
	got := clitest.Run(t, "", "client", "-port", port, "-wait", "5s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	if runtime.GOOS == "linux" {
		require.Equal(t, min(most4, loopbackMTU(t)-headers4), found(got.Stdout), got.Stdout)
	}
}

func TestPythonClient(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the program in Python uses the numbers that Linux gives its options")
	}
	srv := clitest.Start(t, "server", "-port", "0")
	out, err := exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 1, srv.Port())).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, fmt.Sprintf("%d bytes arrived, path MTU %d\n", min(most4, loopbackMTU(t)-headers4), min(65535, loopbackMTU(t))), string(out))
}
