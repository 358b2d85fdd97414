package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/bpf"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

// needCapture skips the test where live capture is not permitted.
func needCapture(t *testing.T) {
	t.Helper()
	tap, err := openTap(1060)
	if err != nil {
		t.Skip(err)
	}
	require.NoError(t, tap.Close())
}

func TestFilter(t *testing.T) {
	vm, err := bpf.NewVM(onlyPort(1060))
	require.NoError(t, err)
	other, err := bpf.NewVM(onlyPort(1061))
	require.NoError(t, err)
	requireFilter := func(data []byte, want bool) {
		t.Helper()
		n, err := vm.Run(data)
		require.NoError(t, err)
		require.Equal(t, want, n > 0)
	}
	for _, name := range captures {
		_, all := records(t, "testdata/"+name+".pcap")
		for _, rec := range all {
			requireFilter(rec.data, true)
			n, err := other.Run(rec.data)
			require.NoError(t, err)
			require.Zero(t, n, "not its port")
			for at, b := range map[int]byte{13: 6, 14 + 9: 1, 14 + 7: 1} { // ARP, ICMP, a later fragment
				changed := bytes.Clone(rec.data)
				changed[at] = b
				requireFilter(changed, false)
			}
			withOptions := append(bytes.Clone(rec.data[:14+20]), 1, 1, 1, 0) // of the IP header
			withOptions = append(withOptions, rec.data[14+20:]...)
			withOptions[14] = 0x46
			requireFilter(withOptions, true)
		}
	}
	ethernet := func(ip []byte) []byte {
		return append([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x86\xdd"), ip...)
	}
	requireFilter(ethernet(udpPacket()), true)
	requireFilter(ethernet(udpPacket([]byte{hopByHop, 0, 0, 0, 0, 0, 0, 0, 0})), true)
	requireFilter(ethernet(udpPacket([]byte{fragment, 0, 0, 0, 1, 0, 0, 0, 7})), true)
	back, away := ethernet(udpPacket()), ethernet(udpPacket())
	copy(back[14+40:], "\x00\x07\x04\x24") // from 7 to 1060
	requireFilter(back, true)
	copy(away[14+40:], "\x00\x07\x00\x08")
	requireFilter(away, false)
	away[14+6] = 58 // ICMPv6
	requireFilter(away, false)
	back[14+6] = protocolTCP
	requireFilter(back, true)
}

func TestLiveCapture(t *testing.T) {
	needCapture(t)
	for _, host := range hosts(t) {
		t.Run(host, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "live.pcap")
			srv := clitest.Start(t, "server", "-host", host, "-port", "0", "-pcap", file)
			for _, more := range []string{"-udp=false", "-udp=false", "-udp"} {
				got := clitest.Run(t, "", "client", "-host", host, "-port", srv.Port(), "-data", "hola", more)
				require.Zero(t, got.Status, got.Stderr)
			}
			// Not for our server: not in the file.
			requireEcho(t, dial(t, "udp", clitest.Start(t, "server", "-port", "0").Addr), "other")
			require.Zero(t, srv.Stop())
			require.Empty(t, srv.Stderr.String())
			require.Contains(t, srv.Stdout.String(), " packets in "+file+"\n")

			got := clitest.Run(t, "", "explain", file)
			require.Zero(t, got.Status, got.Stderr)
			for want, times := range map[string]int{
				"wants to talk":              2,
				"agrees":                     2,
				"the handshake is complete":  2,
				`4 bytes "hola"`:             6,
				"both directions are closed": 2,
				"UDP: 1 client, 2 packets":   1,
				"other":                      0,
				"not in the capture":         0,
				"left out":                   0,
			} {
				require.Equal(t, times, strings.Count(got.Stdout, want), "%q in\n%s", want, got.Stdout)
			}
			requireTcpdumpAgrees(t, file)
		})
	}
}

func TestLiveCaptureByTheClient(t *testing.T) {
	needCapture(t)
	srv := clitest.Start(t, "server", "-port", "0")
	for _, more := range []string{"-udp=false", "-udp"} {
		file := filepath.Join(t.TempDir(), "live.pcap")
		got := clitest.Run(t, "", "client", "-host", "localhost", "-port", srv.Port(), "-data", "hola", "-pcap", file, more)
		require.Zero(t, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, " packets in "+file+"\n")
		got = clitest.Run(t, "", "explain", file)
		require.Zero(t, got.Status, got.Stderr)
		require.Equal(t, 2, strings.Count(got.Stdout, `4 bytes "hola"`))
		requireTcpdumpAgrees(t, file)
	}
	// Refused: the SYN and the RST are captured, the failure is told.
	file := filepath.Join(t.TempDir(), "live.pcap")
	srv.Stop()
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-data", "hola", "-pcap", file)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "refused: no program listens there")
	got = clitest.Run(t, "", "explain", file)
	require.Contains(t, got.Stdout, "breaks the connection off")
}

func TestWithoutThePermission(t *testing.T) {
	// In a user namespace of its own a process has no rights over the
	// network of this one, be it root's.
	cmd := clitest.Command(t, "demo")
	id := syscall.SysProcIDMap{ContainerID: 0, Size: 1}
	uids, gids := id, id
	uids.HostID, gids.HostID = os.Getuid(), os.Getgid()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{uids},
		GidMappings: []syscall.SysProcIDMap{gids},
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Skipf("this system does not give a user namespace: %v", err)
	}
	require.NoError(t, cmd.Wait(), "%s%s", &out, &errs)
	require.Contains(t, out.String(), "server: live capture is not permitted here: it takes root, or the capability CAP_NET_RAW\n")
	require.Contains(t, out.String(), "explain: "+recordedLabel+"\n")
	require.Empty(t, errs.String())
}

func TestExplainReadsTcpdump(t *testing.T) {
	needCapture(t)
	program := interop.Program(t, "tcpdump", "tcpdump", "/usr/sbin/tcpdump", "/usr/bin/tcpdump")
	for _, device := range []string{"lo", "any"} { // Ethernet headers and "cooked" ones
		t.Run(device, func(t *testing.T) {
			srv := clitest.Start(t, "server", "-port", "0")
			file, err := os.Create(filepath.Join(t.TempDir(), "live.pcap"))
			require.NoError(t, err)
			defer file.Close()
			cmd := command(t, program, "-i", device, "--immediate-mode", "-U", "-c", "2", "-w", "-", "udp", "port", srv.Port())
			cmd.Stdout = file
			stderr, err := cmd.StderrPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			said, buf := "", make([]byte, 1000)
			for !strings.Contains(said, "listening on") {
				n, err := stderr.Read(buf)
				said += string(buf[:n])
				require.NoError(t, err, said)
			}
			// On a busy machine tcpdump may miss a packet: echoes until it
			// has seen the two that it waits for.
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			conn, tick := dial(t, "udp", srv.Addr), time.NewTicker(50*time.Millisecond)
			defer tick.Stop()
			for done := false; !done; {
				requireEcho(t, conn, "hola")
				select {
				case err := <-ended:
					require.NoError(t, err)
					done = true
				case <-tick.C:
				}
			}
			got := clitest.Run(t, "", "explain", file.Name())
			require.Zero(t, got.Status, got.Stderr)
			require.Equal(t, 2, strings.Count(got.Stdout, `4 bytes "hola"`))
			require.Contains(t, got.Stdout, "UDP: 1 client, 2 packets")
			requireTcpdumpAgrees(t, file.Name())
		})
	}
}
