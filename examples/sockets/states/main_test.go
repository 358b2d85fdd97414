package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t, []string{"server"}) }

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the states are checked on Linux alone: other systems go through some of them in another way")
	}
}

// hosts runs f for IPv4 and, where there is one, for IPv6.
func hosts(t *testing.T, f func(t *testing.T, host string)) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			if probe, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
				t.Skipf("no %s on this machine: %v", host, err)
			} else {
				probe.Close()
			}
			f(t, host)
		})
	}
}

// Each side's local name is the other's remote one, and the server's sockets
// have the same local name: the four together tell them apart.
func TestNames(t *testing.T) {
	hosts(t, func(t *testing.T, host string) {
		srv := clitest.Start(t, "server", "-host", host, "-port", "0")
		srv.Stdout.WaitFor(t, "\nthe listening socket: local "+srv.Addr+", remote: none (")
		got := clitest.Run(t, "", "client", "-host", host, "-port", srv.Port(), "-n", "20")
		require.Equal(t, 0, got.Status, got.Stderr)
		seen := map[string]bool{}
		for line := range strings.Lines(got.Stdout) {
			names := regexp.MustCompile(`^local (.*), remote (.*)\n$`).FindStringSubmatch(line)
			require.NotNil(t, names, line)
			require.Equal(t, srv.Addr, names[2])
			srv.Stdout.WaitFor(t, fmt.Sprintf("a connection: local %s, remote %s\n", names[2], names[1]))
			srv.Stdout.WaitFor(t, fmt.Sprintf("closed: remote %s: the client has closed its side\n", names[1]))
			seen[names[1]] = true
		}
		require.Len(t, seen, 20)
	})
}

// Another program sees in the system's table what these two do.
func TestWatch(t *testing.T) {
	onLinux(t)
	hosts(t, func(t *testing.T, host string) {
		srv := clitest.Start(t, "server", "-host", host, "-port", "0", "-stay", "200ms")
		watch := clitest.StartClient(t, "", "watch", "-port", srv.Port())
		// Other programs may have had the port at another address.
		require.Regexp(t, `^local +remote +state\n(.*\n)*`+regexp.QuoteMeta(srv.Addr)+` +– +LISTEN\n`, watch.Stdout.WaitFor(t, "LISTEN\n"))

		conn := clitest.Dial(t, srv.Addr)
		here, there := conn.LocalAddr().String(), srv.Addr
		for _, names := range []string{here + " – " + there, there + " – " + here} {
			watch.Stdout.WaitFor(t, names+": ESTABLISHED\n")
		}
		require.NoError(t, conn.CloseWrite())
		watch.Stdout.WaitFor(t, " → FIN-WAIT-2\n") // the ACK may take a moment: FIN-WAIT-1
		watch.Stdout.WaitFor(t, there+" – "+here+": ESTABLISHED → CLOSE-WAIT\n")
		_, err := conn.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		watch.Stdout.WaitFor(t, here+" – "+there+": FIN-WAIT-2 → TIME-WAIT\n")
		watch.Stdout.WaitFor(t, there+" – "+here+": CLOSE-WAIT → CLOSED\n")
	})
}

func TestWatchOnce(t *testing.T) {
	onLinux(t)
	srv := clitest.Start(t, "server", "-port", "0", "-clients", "2")
	client := clitest.StartClient(t, "", "client", "-port", srv.Port(), "-n", "5", "-hold", "1m")
	require.Eventually(t, func() bool { return strings.Count(client.Stdout.String(), "\n") == 5 }, clitest.Limit, time.Millisecond)
	srv.Stdout.WaitFor(t, "a connection: ")
	// Two are served, three are connected all the same: the kernel has done
	// it. Nobody has accepted them (one may be, before the server counts).
	var got clitest.Result
	for began := time.Now(); ; {
		got = clitest.Run(t, "", "watch", "-port", srv.Port(), "-for", "0")
		require.Equal(t, 0, got.Status, got.Stderr)
		if rowsOf(got.Stdout, srv.Addr, established) == 10 {
			break
		}
		require.Less(t, time.Since(began), clitest.Limit, got.Stdout) // one reading may lack a row
	}
	require.Regexp(t, regexp.QuoteMeta(srv.Addr)+` +– +LISTEN +[34] wait to be accepted\n`, got.Stdout)

	// A port that nobody has: the title alone.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	got = clitest.Run(t, "", "watch", "-port", port, "-for", "0")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Regexp(t, `^local +remote +state\n`, got.Stdout)
	require.Zero(t, rowsOf(got.Stdout, ln.Addr().String(), listen))
	require.Zero(t, rowsOf(got.Stdout, ln.Addr().String(), established))
}

// rowsOf counts the rows with that name on either side in that state.
func rowsOf(output, name, state string) (n int) {
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && (fields[0] == name || fields[1] == name) && fields[2] == state {
			n++
		}
	}
	return n
}

// statesOf returns the words in capitals of each line that tells a step.
func statesOf(output string) (list []string) {
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "  ") {
			list = append(list, strings.Join(regexp.MustCompile(`\b[A-Z]+(-[A-Z0-9]+)+\b|\b(CLOSED|LISTEN|ESTABLISHED|CLOSING)\b`).FindAllString(line, -1), " "))
		}
	}
	return list
}

// All eleven states of RFC 9293, in the system's own words.
func TestLife(t *testing.T) {
	onLinux(t)
	hosts(t, func(t *testing.T, host string) {
		got := clitest.Run(t, "", "life", "-host", host)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, []string{
			"CLOSED LISTEN",
			"SYN-SENT CLOSED",
			"ESTABLISHED SYN-RECEIVED",
			"ESTABLISHED ESTABLISHED",

			"ESTABLISHED ESTABLISHED",
			"FIN-WAIT-2 CLOSE-WAIT",
			"TIME-WAIT CLOSED",

			"ESTABLISHED ESTABLISHED",
			"FIN-WAIT-2 CLOSE-WAIT",
			"FIN-WAIT-2 LAST-ACK",
			"TIME-WAIT CLOSED",

			"ESTABLISHED ESTABLISHED",
			"FIN-WAIT-1 ESTABLISHED",
			"FIN-WAIT-1 FIN-WAIT-1",
			"CLOSING FIN-WAIT-2",
			"TIME-WAIT TIME-WAIT",
		}, statesOf(got.Stdout), got.Stdout)
	})
}

func TestTimeWait(t *testing.T) {
	onLinux(t)
	hosts(t, func(t *testing.T, host string) {
		got := clitest.Run(t, "", "timewait", "-host", host)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Regexp(t, `\n\S+ +\S+ +TIME-WAIT +[56]\d\.\d s left\n`, got.Stdout)
		const no = "no: the address is in use by another program"
		require.Regexp(t, `\nwithout +without +`+no+`\nwithout +with +`+no+`\nwith +without +`+no+`\nwith +with +yes\n$`, got.Stdout)
	})
}

// Linux lets one more in than listen says (somaxconn permitting).
func TestBacklog(t *testing.T) {
	onLinux(t)
	hosts(t, func(t *testing.T, host string) {
		for _, n := range []int{0, 2, 7} {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				got := clitest.Run(t, "", "backlog", "-host", host, "-n", fmt.Sprint(n))
				require.Equal(t, 0, got.Status, got.Stderr)
				for client := 1; client <= n+1; client++ {
					require.Regexp(t, fmt.Sprintf(`\nclient %d: connected after \d+\.\d\d ms\n`, client), got.Stdout)
				}
				require.Contains(t, got.Stdout, fmt.Sprintf("\nclient %d: no answer for 150ms\n", n+2))
				require.Regexp(t, fmt.Sprintf(`LISTEN +%d wait to be accepted\n`, n+1), got.Stdout)
				name := regexp.MustCompile(`\n(\S+) +– +LISTEN`).FindStringSubmatch(got.Stdout)[1]
				require.Equal(t, 2*(n+1), rowsOf(got.Stdout, name, established))
				require.Equal(t, 1, rowsOf(got.Stdout, name, synSent))
				require.Regexp(t, fmt.Sprintf(`\nclient %d: connected after [1-9]\d*\.\d\d s, at its second or later SYN\n$`, n+2), got.Stdout)
			})
		}
	})
}

// Nobody holds a connection for ever, and what clients send is of no effect.
func TestBadClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-idle", "300ms")
	reset := clitest.Dial(t, srv.Addr)
	srv.Stdout.WaitFor(t, "remote "+reset.LocalAddr().String())
	require.NoError(t, reset.SetLinger(0))
	require.NoError(t, reset.Close())
	srv.Stdout.WaitFor(t, "closed: remote "+reset.LocalAddr().String()+": reset: ")

	loud := clitest.Dial(t, srv.Addr)
	_, err := loud.Write(bytes.Repeat([]byte("\x1b[2J"), 100_000))
	require.NoError(t, err)
	require.NoError(t, loud.CloseWrite())
	srv.Stdout.WaitFor(t, "closed: remote "+loud.LocalAddr().String()+": the client has closed its side\n")
	require.NotContains(t, srv.Stdout.String(), "\x1b")

	silent := clitest.Dial(t, srv.Addr)
	_, err = silent.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	srv.Stdout.WaitFor(t, "closed: remote "+silent.LocalAddr().String()+": silent for 300ms\n")
}

func TestStopsWithClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-stay", "1h")
	open, half := clitest.Dial(t, srv.Addr), clitest.Dial(t, srv.Addr)
	require.NoError(t, half.CloseWrite())
	srv.Stdout.WaitFor(t, "remote "+open.LocalAddr().String())
	srv.Stdout.WaitFor(t, "remote "+half.LocalAddr().String())
	require.Zero(t, srv.Stop())
	require.NotContains(t, srv.Stdout.String(), "closed:")
}

func TestFailures(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	got := clitest.Run(t, "", "client", "-port", port)
	require.Equal(t, 1, got.Status)
	require.Equal(t, "states: cannot connect to "+ln.Addr().String()+" over tcp: refused: no program listens there\n", got.Stderr)
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-n", "0"},
		{"watch", "-port", "0"},
		{"watch", "-for", "-1s"},
		{"backlog", "-n", "-1"},
		{"backlog", "-port", "80"},
		{"timewait", "-port", "80"},
		{"life", "-port", "80"},
		{"life", "-host", "::"},
		{"life", "now"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
	for _, command := range []string{"life", "timewait", "backlog"} {
		got := clitest.Run(t, "", command, "-host", "192.0.2.1") // RFC 5737: no machine has it
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, "cannot listen on 192.0.2.1:0 over tcp: this machine has no such address\n")
	}
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestParseProc(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the lines below are of a little-endian machine")
	}
	rows, err := parseProc(strings.NewReader(
		`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 41 2 00000000dcc68647 100 0 0 10 0
   1: 0100007F:1F90 0201000A:C350 01 00000010:00000020 01:00000014 00000000     0        0 42 1 00000000dcc68648 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:C351 06 00000000:00000000 03:00001770 00000000     0        0 0 3 00000000dcc68649
   3: 0100007F:1F90 0100007F:C352 0C 00000000:00000000 01:00000063 00000000     0        0 0 3 00000000dcc68649
   4: 00000000000000000000000001000000:0050 B80D01200000000000000000010000AB:FFFF 08 00000000:00000001 00:00000000 00000000     0        0 43 1 00000000dcc6864a 20 4 30 10 -1
   5: 0000000000000000FFFF00000100007F:0051 0000000000000000FFFF00000200007F:0052 0B 00000000:00000000 00:00000000 00000000     0        0 43 1 00000000dcc6864a
   6: 0100007F:1F90 0100007F:C353 0D 00000000:00000000 00:00000000 00000000
   7: 0100007F:1F90 0100007F:1C353 01 00000000:00000000 00:00000000 00000000
   8: 0100:1F90 0100007F:C353 01 00000000:00000000 00:00000000 00000000
   9: 0100007F:1F90 0100007F:C353 01 00000000 00:00000000 00000000
`))
	require.NoError(t, err)
	require.Equal(t, []row{
		{addrPort("127.0.0.1:8080"), addrPort("0.0.0.0:0"), listen, 3, 0, 0},
		{addrPort("127.0.0.1:8080"), addrPort("10.0.1.2:50000"), established, 32, 16, 0},
		{addrPort("127.0.0.1:8080"), addrPort("127.0.0.1:50001"), timeWait, 0, 0, time.Minute},
		{addrPort("127.0.0.1:8080"), addrPort("127.0.0.1:50002"), synReceived, 0, 0, 0},
		{addrPort("[::1]:80"), addrPort("[2001:db8::ab00:1]:65535"), closeWait, 1, 0, 0},
		{addrPort("127.0.0.1:81"), addrPort("127.0.0.2:82"), closing, 0, 0, 0},
	}, rows)
}

func TestParseNetstat(t *testing.T) {
	rows, err := parseNetstat(strings.NewReader(
		`Active Internet connections (including servers)
Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)
tcp4       0      5  127.0.0.1.8080         127.0.0.1.50000        FIN_WAIT_1
tcp46      3      0  *.8080                 *.*                    LISTEN
tcp4       0      0  *.8081                 10.0.0.1.7             SYN_RCVD
tcp6       0      0  fe80::1%lo0.80         fe80::2%lo0.81         CLOSE_WAIT
udp4       0      0  *.68                   *.*
  Proto  Local Address          Foreign Address        State
  TCP    0.0.0.0:135            0.0.0.0:0              LISTENING
  TCP    [::1]:135              [::1]:50000            SYN_RECEIVED
  UDP    0.0.0.0:500            *:*
tcp        0      0 127.0.0.1:8080          0.0.0.0:*               LISTEN
tcp6       0      0 :::8080                 :::*                    LISTEN
tcp6       0      0 ::1:8080                ::1:50000               FIN_WAIT1
tcp        0      0 127.0.0.1:8080          127.0.0.1               LISTEN
tcp        0      0 127.0.0.1:99999         127.0.0.1:1             LISTEN
tcp        0      0 host:8080               127.0.0.1:1             LISTEN
tcp4       0      0  127.0.0.1.8080         127.0.0.1.50000
tcp
`))
	require.NoError(t, err)
	require.Equal(t, []row{
		{addrPort("127.0.0.1:8080"), addrPort("127.0.0.1:50000"), finWait1, 0, 5, 0},
		{addrPort("0.0.0.0:8080"), addrPort("0.0.0.0:0"), listen, 3, 0, 0},
		{addrPort("0.0.0.0:8081"), addrPort("10.0.0.1:7"), synReceived, 0, 0, 0},
		{addrPort("[fe80::1%lo0]:80"), addrPort("[fe80::2%lo0]:81"), closeWait, 0, 0, 0},
		{addrPort("0.0.0.0:135"), addrPort("0.0.0.0:0"), listen, 0, 0, 0},
		{addrPort("[::1]:135"), addrPort("[::1]:50000"), synReceived, 0, 0, 0},
		{addrPort("127.0.0.1:8080"), addrPort("0.0.0.0:0"), listen, 0, 0, 0},
		{addrPort("[::]:8080"), addrPort("[::]:0"), listen, 0, 0, 0},
		{addrPort("[::1]:8080"), addrPort("[::1]:50000"), finWait1, 0, 0, 0},
	}, rows)
}

// The two ways of reading the table agree, on a system that has both.
func TestProcAgainstNetstat(t *testing.T) {
	onLinux(t)
	netstat := interop.Program(t, "net-tools", "netstat")
	hosts(t, func(t *testing.T, host string) {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		require.NoError(t, err)
		defer ln.Close()
		conn := clitest.Dial(t, ln.Addr().String())
		name := nameOf(ln.Addr())
		// Other programs may have left something of that name behind.
		old := func(r row) bool { return r.state == timeWait }
		ours, err := ofName(t.Context(), name)
		require.NoError(t, err)
		ours = slices.DeleteFunc(ours, old)
		require.Len(t, ours, 3)
		require.Equal(t, established, stateOf(ours, nameOf(conn.LocalAddr()), nameOf(ln.Addr())))

		out, err := exec.CommandContext(t.Context(), netstat, "-ant").Output()
		require.NoError(t, err)
		theirs, err := parseNetstat(bytes.NewReader(out))
		require.NoError(t, err)
		theirs = slices.DeleteFunc(theirs, func(r row) bool { return r.local != name && r.remote != name || old(r) })
		for i := range theirs {
			if theirs[i].state == listen {
				theirs[i].remote = netip.AddrPortFrom(unspecified(theirs[i].local.Addr()), 0)
			}
		}
		for _, r := range theirs {
			require.Contains(t, ours, r)
		}
		for _, r := range ours {
			require.Contains(t, theirs, r)
		}
	})
}

func TestChanges(t *testing.T) {
	a, b, c := addrPort("127.0.0.1:1"), addrPort("127.0.0.1:2"), addrPort("127.0.0.1:3")
	before := []row{{local: a, state: listen}, {local: a, remote: b, state: established}, {local: b, remote: a, state: established}}
	after := []row{{local: a, state: listen}, {local: b, remote: a, state: finWait2}, {local: c, remote: a, state: synSent}}
	require.Equal(t, []string{
		"127.0.0.1:2 – 127.0.0.1:1: ESTABLISHED → FIN-WAIT-2",
		"127.0.0.1:3 – 127.0.0.1:1: SYN-SENT",
		"127.0.0.1:1 – 127.0.0.1:2: ESTABLISHED → CLOSED",
	}, changes(before, after))
	require.Empty(t, changes(after, after))
}

// No table, however strange, does any harm.
func FuzzTable(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000")
	f.Add("tcp46      3      0  *.8080                 *.*                    LISTEN")
	f.Add("  TCP    [::1]:135              [::1]:50000            SYN_RECEIVED")
	f.Add("tcp 0 0 : . x")
	f.Add("0: : : 01 : :")
	f.Fuzz(func(t *testing.T, text string) {
		proc, _ := parseProc(strings.NewReader(text))
		netstat, _ := parseNetstat(strings.NewReader(text))
		for _, r := range slices.Concat(proc, netstat) {
			require.NotEmpty(t, r.state)
			require.GreaterOrEqual(t, r.left, time.Duration(0))
		}
		require.NoError(t, printRows(io.Discard, slices.Concat(proc, netstat)))
	})
}

// pythonServer accepts three connections, says their names and closes first.
const pythonServer = `
import socket
ln = socket.create_server(("127.0.0.1", 0))
ln.settimeout(30)
print("listening on %s:%d" % ln.getsockname(), flush=True)
for _ in range(3):
    conn, address = ln.accept()
    assert conn.getsockname() == ln.getsockname()
    assert conn.getpeername() == address
    print("%s:%d" % address, flush=True)
    conn.close()
`

func TestPythonServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", pythonServer)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var addr string
	_, err = fmt.Fscanf(out, "listening on %s\n", &addr)
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	got := clitest.Run(t, "", "client", "-port", port, "-n", "3")
	require.Equal(t, 0, got.Status, got.Stderr)
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	for peer := range strings.FieldsSeq(string(rest)) {
		require.Contains(t, got.Stdout, "local "+peer+", remote "+addr+"\n")
	}
	require.Equal(t, 3, strings.Count(string(rest), "\n"))
}

const pythonClient = `
import socket, sys
conns = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) for _ in range(3)]
for c in conns:
    print("a connection: local %s:%d, remote %s:%d" % (*c.getpeername(), *c.getsockname()))
    c.shutdown(socket.SHUT_WR)
    assert c.recv(1) == b""
`

func TestPythonClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	out, err := exec.CommandContext(t.Context(), interop.Python(t), "-c", pythonClient, srv.Port()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, 3, bytes.Count(out, []byte("\n")))
	for line := range strings.Lines(string(out)) {
		srv.Stdout.WaitFor(t, line)
	}
}
