package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

// A lab is a real segment: machines, each a network namespace of this one,
// plugged into a switch. Machine i has the address 10.83.4.i.
type lab struct {
	ip       string   // the program
	machines []string // names of the namespaces; machine 0 is the switch
}

func newLab(t *testing.T, machines int) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may make network namespaces")
	}
	l := &lab{ip: interop.Program(t, "iproute2", "ip")}
	for i := range machines + 1 {
		name := fmt.Sprintf("zocalo-s4-%d-%d", os.Getpid(), i)
		if out, err := exec.CommandContext(t.Context(), l.ip, "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces on this machine: %s", out)
		}
		t.Cleanup(func() { exec.Command(l.ip, "netns", "del", name).Run() })
		l.machines = append(l.machines, name)
		l.run(t, "-n", name, "link", "set", "lo", "up")
		if i == 0 {
			l.run(t, "-n", name, "link", "add", "switch", "up", "type", "bridge")
			continue
		}
		port := fmt.Sprintf("port%d", i)
		l.run(t, "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", l.machines[0])
		l.run(t, "-n", l.machines[0], "link", "set", port, "master", "switch", "up")
		l.run(t, "-n", name, "link", "set", "eth0", "up")
		l.run(t, "-n", name, "address", "add", fmt.Sprintf("10.83.4.%d/24", i), "broadcast", "+", "dev", "eth0")
	}
	return l
}

func (l *lab) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), l.ip, args...).CombinedOutput()
	require.NoError(t, err, "ip %v: %s", args, out)
	return string(out)
}

// command returns this exercise's program as it would run on a machine.
func (l *lab) command(t *testing.T, machine int, args ...string) *exec.Cmd {
	t.Helper()
	cmd := clitest.Command(t, args...)
	cmd.Args = append([]string{l.ip, "netns", "exec", l.machines[machine], cmd.Path}, args...)
	cmd.Path = l.ip
	return cmd
}

// listen starts a listener on a machine and returns what it prints after its
// first line.
func (l *lab) listen(t *testing.T, machine int, args ...string) *bufio.Reader {
	t.Helper()
	cmd := l.command(t, machine, append([]string{"server"}, args...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	require.NoError(t, err)
	_, ok := cli.ListeningAddr(first)
	require.True(t, ok, first)
	return lines
}

// output runs a command on a machine to its end.
func (l *lab) output(t *testing.T, machine int, args ...string) string {
	t.Helper()
	cmd := l.command(t, machine, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", errs.String())
	return string(out)
}

// hardware returns the hardware address of a machine.
func (l *lab) hardware(t *testing.T, machine int) string {
	t.Helper()
	m := regexp.MustCompile(`link/ether (\S+)`).FindStringSubmatch(l.run(t, "-n", l.machines[machine], "link", "show", "eth0"))
	require.NotNil(t, m)
	return m[1]
}

// On a real segment every machine hears the broadcast. Nobody has to be known
// for that; the answers make those who give them known.
func TestSegment(t *testing.T) {
	l := newLab(t, 4)
	two := l.listen(t, 2, "-interface", "eth0", "-name", "two")
	three := l.listen(t, 3, "-host", "10.83.4.3", "-name", "three")
	four := l.listen(t, 4, "-interface", "eth0", "-name", "four", "-quiet")
	elsewhere := l.listen(t, 3, "-name", "elsewhere") // on that machine's loopback

	out := l.output(t, 1, "client", "-interface", "eth0", "-text", "hola", "-expect", "2", "-wait", "20s")
	require.True(t, strings.HasPrefix(out, "neighbours on eth0 before: none known\n4 bytes to everybody at 10.83.4.255:1060\n"), out)
	require.Contains(t, out, "answer from 10.83.4.2:1060: \"two heard 4 bytes\"\n")
	require.Contains(t, out, "answer from 10.83.4.3:1060: \"three heard 4 bytes\"\n")
	require.Regexp(t, `neighbours on eth0 after: 10\.83\.4\.\d is at \S+, 10\.83\.4\.\d is at \S+\n$`, out)
	for _, machine := range []int{2, 3} {
		require.Contains(t, out, fmt.Sprintf("10.83.4.%d is at %s", machine, l.hardware(t, machine)))
	}
	for _, lines := range []*bufio.Reader{two, three, four} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Regexp(t, `^10\.83\.4\.1:\d+: "hola" \(4 bytes\)\n$`, line)
	}

	// The listener on the loopback has heard nothing: what it hears first is
	// what is said there.
	l.output(t, 3, "client", "-text", "psst", "-expect", "1", "-wait", "20s")
	line, err := elsewhere.ReadString('\n')
	require.NoError(t, err)
	require.Regexp(t, `^127\.0\.0\.1:\d+: "psst" \(4 bytes\)\n$`, line)
}

// A sender that is not of the segment gets no answer, though its datagram came
// in by the right interface.
func TestForgedSender(t *testing.T) {
	l := newLab(t, 2)
	lines := l.listen(t, 2, "-interface", "eth0", "-name", "two")
	// A second address, of another network, and a route to send from it.
	l.run(t, "-n", l.machines[1], "address", "add", "10.99.0.1/24", "dev", "eth0")
	l.run(t, "-n", l.machines[2], "route", "add", "10.99.0.0/24", "dev", "eth0")
	l.run(t, "-n", l.machines[1], "route", "replace", "broadcast", "10.83.4.255", "dev", "eth0", "table", "local", "src", "10.99.0.1")
	script := `import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind(("10.99.0.1", 0)); s.sendto(b"hola", ("10.83.4.255", 1060))`
	l.run(t, "netns", "exec", l.machines[1], interop.Python(t), "-c", script)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Regexp(t, `^10\.99\.0\.1:\d+: ignored, not from a machine in 10\.83\.4\.0/24\n$`, line)
}

// What is worked out from address and mask is what the system uses.
func TestInterfacesAgree(t *testing.T) {
	l := newLab(t, 1)
	for _, address := range []string{"172.16.5.4/12", "192.168.7.9/22", "10.1.2.3/30", "10.200.0.1/16", "10.7.7.1/25"} {
		l.run(t, "-n", l.machines[1], "address", "add", address, "broadcast", "+", "dev", "eth0")
	}
	for _, address := range []string{"10.2.0.1/31", "10.3.0.1/32"} {
		l.run(t, "-n", l.machines[1], "address", "add", address, "dev", "eth0")
	}
	theirs := l.run(t, "-n", l.machines[1], "-o", "-4", "address", "show", "dev", "eth0")
	ours := l.output(t, 1, "interfaces")
	with := regexp.MustCompile(`inet (\S+) brd (\S+) `).FindAllStringSubmatch(theirs, -1)
	require.Len(t, with, 6)
	for _, m := range with {
		require.Regexp(t, `(?m)^eth0\s+`+regexp.QuoteMeta(m[1])+`\s+`+regexp.QuoteMeta(m[2])+`$`, ours)
	}
	require.Regexp(t, `(?m)^eth0\s+10\.2\.0\.1/31\s+none: `, ours)
	require.Regexp(t, `(?m)^eth0\s+10\.3\.0\.1/32\s+none: `, ours)
}
