package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-idle", "1s", "-stall", "1s", "-clients", "3"})
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"server", "-clients", "0"},
		{"server", "-idle", "soon"},
		{"client", "-port", "0"},
		{"client", "-port", "1060", "-timeout", "0s"},
		{"explain", "one", "two"},
		{"explain", "-max", "0"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q", args)
		require.Empty(t, got.Stdout)
	}
}

// hosts are the addresses of the loopback that this machine has.
func hosts(t *testing.T) []string {
	t.Helper()
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Logf("no IPv6 on this machine, so that only IPv4 is tried: %v", err)
		return []string{"127.0.0.1"}
	}
	ln.Close()
	return []string{"127.0.0.1", "::1"}
}

func TestExchange(t *testing.T) {
	for _, host := range hosts(t) {
		t.Run(host, func(t *testing.T) {
			srv := clitest.Start(t, "server", "-host", host, "-port", "0")
			for _, udp := range []string{"-udp=false", "-udp"} {
				got := clitest.Run(t, "¡hola!\n\nand again\n", "client", "-host", host, "-port", srv.Port(), udp)
				require.Zero(t, got.Status, got.Stderr)
				require.Contains(t, got.Stdout, "sent 7 bytes, the same 7 came back in ")
				require.Contains(t, got.Stdout, "sent 9 bytes, the same 9 came back in ")
				got = clitest.Run(t, "not read\n", "client", "-host", host, "-port", srv.Port(), udp, "-data", "hola")
				require.Zero(t, got.Status, got.Stderr)
				require.Contains(t, got.Stdout, "sent 4 bytes, the same 4 came back in ")
			}
			require.Zero(t, srv.Stop())
			// The empty line is a datagram, but nothing on a stream.
			require.Contains(t, srv.Stdout.String(), "tcp: 2 clients, up to 1 at once, each on a socket of its own; udp: 4 datagrams on one socket\n")
		})
	}
}

func TestLongText(t *testing.T) {
	// More than the buffers of both directions hold together: a client that
	// wrote everything before it read would hang here.
	srv := clitest.Start(t, "server", "-port", "0")
	line := strings.Repeat("x", maxLine)
	got := clitest.Run(t, strings.Repeat(line+"\n", 3), "client", "-port", srv.Port(), "-timeout", "20s")
	require.Zero(t, got.Status, got.Stderr)
	require.Equal(t, 3, strings.Count(got.Stdout, "the same 1048576 came back"))
	got = clitest.Run(t, line+"x\n", "client", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "line 1 of the input is longer than 1048576 bytes")
}

// dial connects to the server for a test that plays the client itself.
func dial(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
	return conn
}

// requireEcho sends text over conn and reads it back.
func requireEcho(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	buf := make([]byte, 64<<10)
	if _, stream := conn.(*net.TCPConn); stream {
		buf = buf[:len(text)]
		_, err = io.ReadFull(conn, buf)
	} else {
		var n int
		n, err = conn.Read(buf)
		buf = buf[:n]
	}
	require.NoError(t, err)
	require.Equal(t, text, string(buf))
}

func TestManyClientsAtOnce(t *testing.T) {
	const many = 100
	srv := clitest.Start(t, "server", "-port", "0")
	for _, network := range []string{"udp", "tcp"} {
		conns := make([]net.Conn, many)
		for i := range conns {
			conns[i] = dial(t, network, srv.Addr)
		}
		// All are open, and none is over, while each has its turn twice.
		for round := range 2 {
			for i, conn := range conns {
				requireEcho(t, conn, fmt.Sprintf("%s client %d round %d", network, i, round))
			}
		}
		for _, conn := range conns {
			require.NoError(t, conn.Close())
		}
	}
	require.Zero(t, srv.Stop())
	require.Contains(t, srv.Stdout.String(), "tcp: 100 clients, up to 100 at once, each on a socket of its own; udp: 200 datagrams on one socket\n")
}

func TestClientsOverTheLimitWait(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-clients", "1")
	first, second := dial(t, "tcp", srv.Addr), dial(t, "tcp", srv.Addr)
	_, err := io.WriteString(second, "me too")
	require.NoError(t, err)
	requireEcho(t, first, "one")
	requireEcho(t, first, "two") // the other has not disturbed it
	require.NoError(t, first.Close())
	buf := make([]byte, 6)
	_, err = io.ReadFull(second, buf)
	require.NoError(t, err)
	require.Equal(t, "me too", string(buf))
	require.Zero(t, srv.Stop())
	require.Contains(t, srv.Stdout.String(), "up to 1 at once")
}

// largest is the longest datagram that this system sends over IPv4.
func largest() int {
	if runtime.GOOS == "darwin" {
		return 9216 // sysctl net.inet.udp.maxdgram
	}
	return 65507
}

func TestDatagramsOfAllSizes(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	conn := dial(t, "udp", srv.Addr)
	for _, size := range []int{0, 1, 1472, 1473, 8192, largest(), 0} {
		requireEcho(t, conn, strings.Repeat("y", size))
	}
	line := strings.Repeat("z", largest())
	got := clitest.Run(t, line+"\n", "client", "-udp", "-port", srv.Port())
	require.Zero(t, got.Status, got.Stderr)
	got = clitest.Run(t, strings.Repeat("z", 65508)+"\n", "client", "-udp", "-port", srv.Port())
	require.Equal(t, 1, got.Status)
	require.Equal(t, "echo: cannot send 65508 bytes to "+srv.Addr+": a datagram carries at most 65507\n", got.Stderr)
	got = clitest.Run(t, "", "client", "-udp", "-port", srv.Port(), "-data", "")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "sent 0 bytes, the same 0 came back")
	got = clitest.Run(t, "", "client", "-port", srv.Port(), "-data", "")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "sent nothing")
}

func TestHalfClose(t *testing.T) {
	// The client says that it has finished before it has read a byte, and
	// still gets everything, then the end.
	srv := clitest.Start(t, "server", "-port", "0")
	conn := dial(t, "tcp", srv.Addr).(*net.TCPConn)
	text := strings.Repeat("all of it ", 10_000)
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	back, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, text, string(back))
	srv.Stdout.WaitFor(t, "tcp "+conn.LocalAddr().String()+": 100000 bytes back; the client has finished\n")
}

func TestClientThatNeverReads(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-stall", "100ms")
	greedy := dial(t, "tcp", srv.Addr)
	other := dial(t, "tcp", srv.Addr)
	var err error
	for chunk := make([]byte, 64<<10); err == nil; {
		_, err = greedy.Write(chunk) // until the server has had enough
	}
	srv.Stdout.WaitFor(t, "it did not take its echo for too long\n")
	requireEcho(t, other, "served all the same")
	requireEcho(t, dial(t, "udp", srv.Addr), "served all the same")
}

func TestSilentClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-idle", "50ms")
	conn := dial(t, "tcp", srv.Addr)
	_, err := conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	srv.Stdout.WaitFor(t, "0 bytes back; it sent nothing for too long\n")
}

func TestReset(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	conn := dial(t, "tcp", srv.Addr).(*net.TCPConn)
	requireEcho(t, conn, "before")
	require.NoError(t, conn.SetLinger(0)) // Close breaks off instead of finishing
	require.NoError(t, conn.Close())
	srv.Stdout.WaitFor(t, "6 bytes back; reset: the other side broke the connection off\n")
	requireEcho(t, dial(t, "tcp", srv.Addr), "after")
}

func TestStopWithOpenConnections(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes: nothing stops the server cleanly")
	}
	srv := clitest.Start(t, "server", "-port", "0")
	conn := dial(t, "tcp", srv.Addr)
	requireEcho(t, conn, "hola")
	require.Zero(t, srv.Stop())
	_, err := conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.Contains(t, srv.Stdout.String(), "4 bytes back; this server stops\n")
}

func TestPortTakenByTheOther(t *testing.T) {
	// A UDP socket does not stand in the way of TCP, but of our server, which
	// wants both.
	for range 20 {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		got := clitest.Run(t, "", "server", "-port", fmt.Sprint(socket.LocalAddr().(*net.UDPAddr).Port))
		require.NoError(t, socket.Close())
		require.Equal(t, 1, got.Status)
		if strings.Contains(got.Stderr, "over tcp") {
			continue // some connection of this machine has that TCP port: another
		}
		require.Contains(t, got.Stderr, "over udp: the address is in use by another program")
		return
	}
	require.Fail(t, "no port that TCP has free and UDP has not")
}

func TestServersDoNotEchoEachOther(t *testing.T) {
	for _, c := range []struct {
		port    uint16
		service bool
	}{{7, true}, {1023, true}, {1024, false}, {1060, true}, {1061, false}, {65535, false}} {
		require.Equal(t, c.service, isService(c.port, 1060), "port %d", c.port)
	}
	srv := clitest.Start(t, "server", "-port", "0")
	server := netip.MustParseAddrPort(srv.Addr)
	// As if another echo server, at the same port of another machine, had
	// been named as the sender.
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), server.Port()))
	twin, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(server))
	if err != nil {
		t.Skipf("this system has no 127.0.0.2: %v", err)
	}
	defer twin.Close()
	_, err = twin.Write([]byte("for ever and ever"))
	require.NoError(t, err)
	srv.Stdout.WaitFor(t, fmt.Sprintf("udp 127.0.0.2:%d: not answered: its port is a server's\n", server.Port()))
	requireEcho(t, dial(t, "udp", srv.Addr), "a client")
}

// badServer is a peer that breaks the rules: answer gets one TCP connection,
// after its first bytes have been read. over is closed when the test ends.
func badServer(t *testing.T, answer func(conn *net.TCPConn, over <-chan struct{})) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	over := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(over); ln.Close(); wg.Wait() })
	wg.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(clitest.Limit))
		conn.Read(make([]byte, 100))
		answer(conn.(*net.TCPConn), over)
	})
	_, port, err = net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	return port
}

func TestClientAgainstBadServers(t *testing.T) {
	// say returns a server that says text and keeps the connection open.
	say := func(text string) func(*net.TCPConn, <-chan struct{}) {
		return func(conn *net.TCPConn, over <-chan struct{}) { io.WriteString(conn, text); <-over }
	}
	for _, c := range []struct {
		name    string
		timeout string
		answer  func(conn *net.TCPConn, over <-chan struct{})
		says    string
	}{
		{"another text", "20s", say("hala"), "this is no echo: byte 2 from"},
		{"too much", "20s", say("hola hola"), "has sent back more than it was sent"},
		{"cut", "20s", func(conn *net.TCPConn, _ <-chan struct{}) { io.WriteString(conn, "ho") }, "has closed the connection after 2 of 4 bytes"},
		{"nothing", "20s", func(*net.TCPConn, <-chan struct{}) {}, "has closed the connection after 0 of 4 bytes"},
		{"reset", "20s", func(conn *net.TCPConn, _ <-chan struct{}) { conn.SetLinger(0) }, "reset: the other side broke the connection off"},
		{"silence", "100ms", say(""), "has sent back 0 of 4 bytes within 100ms"},
		{"no end", "100ms", say("hola"), "has not closed its direction within 100ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := clitest.Run(t, "", "client", "-port", badServer(t, c.answer), "-data", "hola", "-timeout", c.timeout)
			require.Equal(t, 1, got.Status)
			require.Contains(t, got.Stderr, c.says)
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q", got.Stderr)
		})
	}
}

func TestUDPClientAgainstBadServers(t *testing.T) {
	for _, c := range []struct{ answer, says string }{
		{"holas", "this is no echo: 5 bytes came back from"},
		{"holA", "this is no echo: byte 4 from"},
		{"", "this is no echo: 0 bytes came back from"},
	} {
		t.Run(c.says, func(t *testing.T) {
			socket, err := net.ListenPacket("udp", "127.0.0.1:0")
			require.NoError(t, err)
			var wg sync.WaitGroup
			defer wg.Wait()
			defer socket.Close()
			wg.Go(func() {
				if _, peer, err := socket.ReadFrom(make([]byte, 10)); err == nil {
					socket.WriteTo([]byte(c.answer), peer)
				}
			})
			_, port, err := net.SplitHostPort(socket.LocalAddr().String())
			require.NoError(t, err)
			got := clitest.Run(t, "", "client", "-udp", "-port", port, "-data", "hola")
			require.Equal(t, 1, got.Status)
			require.Contains(t, got.Stderr, c.says)
		})
	}
	t.Run("silence, then nobody", func(t *testing.T) {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		_, port, err := net.SplitHostPort(socket.LocalAddr().String())
		require.NoError(t, err)
		got := clitest.Run(t, "", "client", "-udp", "-port", port, "-data", "hola", "-timeout", "50ms")
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, "no echo from 127.0.0.1:"+port+" within 50ms")
		require.NoError(t, socket.Close())
		got = clitest.Run(t, "", "client", "-udp", "-port", port, "-data", "hola")
		require.Equal(t, 1, got.Status)
		require.NotContains(t, got.Stdout, "came back")
	})
}

func TestInterruptedClient(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	asked := make(chan struct{})
	port := badServer(t, func(_ *net.TCPConn, over <-chan struct{}) { close(asked); <-over })
	client := clitest.StartClient(t, "", "client", "-port", port, "-data", "hola", "-timeout", "20s")
	<-asked
	require.Equal(t, 130, client.Stop())
	require.Equal(t, "echo: interrupted\n", client.Stderr.String())
}

func TestPcapThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "no-such-folder", "x.pcap")
	if tap, err := openTap(1060); err != nil {
		t.Skipf("no capture begins here: %v", err)
	} else {
		tap.Close()
	}
	for _, args := range [][]string{{"server", "-port", "0", "-pcap", file}, {"client", "-port", "9", "-pcap", file}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, file)
		require.Empty(t, got.Stdout)
	}
}

// command returns a program that is killed when the test ends or has lasted
// too long.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clitest.Limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	return cmd
}

func TestPythonClients(t *testing.T) {
	python := interop.Python(t)
	srv := clitest.Start(t, "server", "-port", "0")
	for _, network := range []string{"tcp", "udp"} {
		out, err := command(t, python, "testdata/peer.py", "client", network, srv.Port(), "20").Output()
		require.NoError(t, err)
		var want strings.Builder
		for i := range 20 {
			fmt.Fprintf(&want, "¡hola número %d!\n", i)
		}
		require.Equal(t, want.String(), string(out), network)
	}
	require.Zero(t, srv.Stop())
	require.Contains(t, srv.Stdout.String(), "tcp: 20 clients, ")
	require.Contains(t, srv.Stdout.String(), "udp: 20 datagrams on one socket\n")
}

func TestPythonServers(t *testing.T) {
	python := interop.Python(t)
	for _, network := range []string{"tcp", "udp"} {
		peer := command(t, python, "testdata/peer.py", "server", network)
		stdin, err := peer.StdinPipe()
		require.NoError(t, err)
		stdout, err := peer.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, peer.Start())
		var port string
		_, err = fmt.Fscan(stdout, &port)
		require.NoError(t, err)
		got := clitest.Run(t, "¡hola!\nnúmero dos\n", "client", "-port", port, "-udp="+fmt.Sprint(network == "udp"))
		require.Zero(t, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, "sent 7 bytes, the same 7 came back")
		require.Contains(t, got.Stdout, "sent 11 bytes, the same 11 came back")
		require.NoError(t, stdin.Close())
		require.NoError(t, peer.Wait())
	}
}
