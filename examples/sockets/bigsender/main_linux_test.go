package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

// A scripted connection gives one error after the other, as a kernel would
// that has heard from a router.
type scripted struct {
	net.Conn
	writes, reads []error
	sent          int
}

func (s *scripted) Write(p []byte) (int, error) {
	err := s.writes[0]
	s.writes = s.writes[1:]
	if err == nil {
		s.sent = len(p)
	}
	return len(p), err
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.reads) == 0 {
		return copy(p, strconv.Itoa(s.sent)), nil
	}
	err := s.reads[0]
	s.reads = s.reads[1:]
	return 0, err
}

func (s *scripted) SetReadDeadline(time.Time) error { return nil }

// One error of the system, EMSGSIZE, means three things. A router's message
// that comes late is reported by the next call, whatever that is about.
func TestMessageTooLong(t *testing.T) {
	tooLong := &net.OpError{Op: "write", Net: "udp", Err: os.NewSyscallError("write", syscall.EMSGSIZE)}
	other := errors.New("no more network")
	for _, test := range []struct {
		name          string
		mtu, n        int
		writes, reads []error
		want          fate
		err           error
	}{
		{"arrives", 1500, 100, []error{nil}, nil, arrived, nil},
		{"the path MTU is known to be less", 1500, 1473, []error{tooLong}, nil, refusedHere, nil},
		{"a router's word", 1500, 1472, []error{nil}, []error{tooLong}, refusedThere, nil},
		{"a router's late word", 1400, 1000, []error{tooLong, nil}, nil, arrived, nil},
		{"this machine says so of another length too", 1400, 1000, []error{tooLong, tooLong}, nil, refusedHere, nil},
		{"lost", 1500, 100, []error{nil}, []error{os.ErrDeadlineExceeded}, lost, nil},
		{"cannot be sent", 1500, 100, []error{other}, nil, 0, other},
		{"cannot be read", 1500, 100, []error{nil}, []error{other}, 0, other},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newProber(&scripted{writes: test.writes, reads: test.reads}, netip.MustParseAddr("192.0.2.1"),
				&cli.Env{Stdout: io.Discard}, func() (int, error) { return test.mtu, nil })
			got, err := p.try(test.n)
			require.Equal(t, test.err, err)
			require.Equal(t, test.want, got)
		})
	}
}

// A lab is three machines in a row, here — router — there, each a network
// namespace of this one. The second link carries shorter packets.
type lab struct {
	ip                  string // the program
	here, router, there string // names of the namespaces
}

// The addresses at the two ends.
var ends = map[string]struct{ here, there string }{
	"IPv4": {"10.83.1.2", "10.83.2.2"},
	"IPv6": {"fd83:1::2", "fd83:2::2"},
}

const (
	firstMTU  = 1500
	secondMTU = 1400
)

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may make network namespaces")
	}
	l := &lab{ip: interop.Program(t, "iproute2", "ip")}
	name := func(role string) string {
		name := fmt.Sprintf("zocalo-s3-%d-%s", os.Getpid(), role)
		if out, err := exec.CommandContext(t.Context(), l.ip, "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces on this machine: %s", out)
		}
		t.Cleanup(func() { exec.Command(l.ip, "netns", "del", name).Run() })
		return name
	}
	l.here, l.router, l.there = name("here"), name("router"), name("there")
	l.link(t, l.here, 1, firstMTU)
	l.link(t, l.there, 2, secondMTU)
	l.shell(t, l.router, "echo 1 > /proc/sys/net/ipv4/ip_forward")
	l.shell(t, l.router, "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	return l
}

// link joins a namespace to the router by network number n.
func (l *lab) link(t *testing.T, ns string, n, mtu int) {
	t.Helper()
	port := fmt.Sprintf("port%d", n)
	l.run(t, "-n", ns, "link", "set", "lo", "up")
	l.run(t, "-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", l.router)
	for _, side := range []struct {
		ns, dev string
		host    int
	}{{ns, "eth0", 2}, {l.router, port, 1}} {
		l.run(t, "-n", side.ns, "link", "set", side.dev, "mtu", strconv.Itoa(mtu), "up")
		l.run(t, "-n", side.ns, "address", "add", fmt.Sprintf("10.83.%d.%d/24", n, side.host), "dev", side.dev)
		// Without the check for duplicates, which takes a second.
		l.run(t, "-n", side.ns, "address", "add", fmt.Sprintf("fd83:%d::%d/64", n, side.host), "dev", side.dev, "nodad")
	}
	l.run(t, "-n", ns, "route", "add", "default", "via", fmt.Sprintf("10.83.%d.1", n))
	l.run(t, "-n", ns, "route", "add", "default", "via", fmt.Sprintf("fd83:%d::1", n))
}

func (l *lab) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), l.ip, args...).CombinedOutput()
	require.NoError(t, err, "ip %v: %s", args, out)
	return string(out)
}

func (l *lab) shell(t *testing.T, ns, script string) string {
	t.Helper()
	return l.run(t, "netns", "exec", ns, "sh", "-c", script)
}

// command returns this exercise's program as it would run in a namespace.
func (l *lab) command(t *testing.T, ns string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := clitest.Command(t, args...)
	cmd.Args = append([]string{l.ip, "netns", "exec", ns, cmd.Path}, args...)
	cmd.Path = l.ip
	return cmd
}

// serve starts a server at the far end.
func (l *lab) serve(t *testing.T, host string) {
	t.Helper()
	cmd := l.command(t, l.there, "server", "-host", host, "-port", "1060")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	first, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "listening on "+net.JoinHostPort(host, "1060")+"\n", first)
}

// client runs a client at the near end.
func (l *lab) client(t *testing.T, args ...string) string {
	t.Helper()
	cmd := l.command(t, l.here, append([]string{"client"}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", errs.String())
	return string(out)
}

// fragmentsMade returns how many fragments the near end's kernel has made.
func (l *lab) fragmentsMade(t *testing.T, family string) int {
	t.Helper()
	var names, values []string
	if family == "IPv4" { // a line of names and one of numbers
		for line := range strings.Lines(l.shell(t, l.here, "cat /proc/net/snmp")) {
			if fields := strings.Fields(line); fields[0] == "Ip:" {
				names, values = values, fields
			}
		}
	} else { // a name and a number in each line
		for line := range strings.Lines(l.shell(t, l.here, "cat /proc/net/snmp6")) {
			fields := strings.Fields(line)
			names, values = append(names, fields[0]), append(values, fields[1])
		}
	}
	for i, name := range names {
		if name == "FragCreates" || name == "Ip6FragCreates" {
			n, err := strconv.Atoi(values[i])
			require.NoError(t, err)
			return n
		}
	}
	require.Fail(t, "the kernel does not count fragments")
	return 0
}

// Towards another machine: the interface takes 1,500 bytes, the way only
// 1,400, and the router between says so.
func TestRouter(t *testing.T) {
	for family, end := range ends {
		t.Run(family, func(t *testing.T) {
			l := newLab(t)
			l.serve(t, end.there)
			headers, most := headers4, most4
			if family == "IPv6" {
				headers, most = headers6, most6
			}
			out := l.client(t, "-host", end.there, "-wait", "10s")
			require.Contains(t, out, "path MTU that the kernel knows: 1500 bytes\n")
			require.Contains(t, out, fmt.Sprintf("%6d bytes: not sent: with headers %d bytes, longer than the path MTU of 1500\n", most, most+headers))
			require.Contains(t, out, ": sent; a router on the way says that ")
			require.Equal(t, 1, strings.Count(out, "the kernel has learned a path MTU of 1400 bytes\n"), out)
			require.Contains(t, out, fmt.Sprintf("%s%d bytes of data, 1400 with the headers of IP and UDP\n", resultLine, secondMTU-headers))
			require.NotContains(t, out, "lost without a word")

			// The kernel remembers: who comes next is refused here.
			out = l.client(t, "-host", end.there, "-wait", "10s")
			require.Contains(t, out, "path MTU that the kernel knows: 1400 bytes\n")
			require.NotContains(t, out, "a router on the way says")
			require.Contains(t, out, fmt.Sprintf("%s%d bytes of data, 1400 with", resultLine, secondMTU-headers))
		})
	}
}

// With fragments the longest datagram gets through; as many leave as the
// client says, by the kernel's own count.
func TestRouterFragments(t *testing.T) {
	for family, end := range ends {
		t.Run(family, func(t *testing.T) {
			l := newLab(t)
			l.serve(t, end.there)
			headers, most, mtu := headers4, most4, firstMTU
			if family == "IPv6" {
				// Routers do not cut over IPv6: this end must know that the
				// way is as narrow as its narrowest link.
				headers, most, mtu = headers6, most6, secondMTU
				l.run(t, "-n", l.here, "link", "set", "eth0", "mtu", strconv.Itoa(mtu))
			}
			count := func() int { return l.fragmentsMade(t, family) }
			before := count()
			out := l.client(t, "-host", end.there, "-fragment", "-wait", "10s")
			pieces := fragments(most, headers, mtu)
			require.Contains(t, out, fmt.Sprintf("%s%d bytes of data, %d with the headers of IP and UDP, leaving here in %d fragments\n", resultLine, most, most+headers, pieces))
			require.Equal(t, pieces, count()-before, "fragments that the kernel has made")
		})
	}
}

// Nobody at the far end: the other machine says so.
func TestRouterNobody(t *testing.T) {
	l := newLab(t)
	cmd := l.command(t, l.here, "client", "-host", ends["IPv4"].there, "-wait", "5s")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "bigsender: cannot read from 10.83.2.2:1060 over udp: refused: no program listens there\n")
}
