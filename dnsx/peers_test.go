package dnsx

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// plantServer serves the zones that are compared.
func plantServer(t *testing.T) netip.AddrPort {
	server := &Server{}
	for _, origin := range plantZones {
		server.Zones = append(server.Zones, loadZone(t, origin))
	}
	return netip.MustParseAddrPort(startServer(t, server))
}

// plantResolver resolves over one server that has all the zones. Those that
// they delegate further have addresses outside, where nothing is sent.
func plantResolver(server netip.AddrPort) *Iterative {
	return &Iterative{
		Roots: []NameServer{{Name: "ns.plant.test.", Addrs: []netip.Addr{server.Addr()}}},
		Port:  server.Port(),
		Client: Client{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if netip.MustParseAddrPort(address) != server {
				return nil, syscall.ENETUNREACH
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}},
	}
}

// plantQuestions are all names of the zones, names that are not there, and the
// usual types.
func plantQuestions(t *testing.T) (list []Question) {
	seen := make(map[Question]bool)
	for _, origin := range plantZones {
		zone := loadZone(t, origin)
		for r := range zone.Records() {
			for _, name := range []string{r.Name, "no-such." + r.Name} {
				for _, typ := range []Type{A, AAAA, MX, TXT, CNAME, r.Type} {
					q := Question{Name: strings.ToLower(name), Type: typ}
					if !seen[q] && typ != Type(47) { // NSEC
						seen[q] = true
						list = append(list, q)
					}
				}
			}
		}
	}
	return list
}

// summary is what two answers must have in common.
func summary(a *Answer, err error) string {
	if err != nil {
		return "failure"
	}
	var records []string
	for _, r := range a.Records {
		records = append(records, strings.ToLower(fmt.Sprint(r.Name, r.Type, r.Data)))
	}
	slices.Sort(records)
	return fmt.Sprint(a.Status, a.Canonical, records, a.SOA != nil)
}

// Our resolver finds the same over NSD as over our own server.
func TestIterativeOverNSD(t *testing.T) {
	theirs := plantResolver(netip.MustParseAddrPort(startNSD(t)))
	ours := plantResolver(plantServer(t))
	found := 0
	for _, q := range plantQuestions(t) {
		want := summary(ours.Resolve(t.Context(), q.Name, q.Type))
		a, err := theirs.Resolve(t.Context(), q.Name, q.Type)
		for range 3 { // a machine with much to do may starve it
			if err != nil && want != "failure" {
				a, err = theirs.Resolve(t.Context(), q.Name, q.Type)
			}
		}
		require.Equal(t, want, summary(a, err), "%s %s: %v", q.Name, q.Type, err)
		if strings.HasPrefix(want, "ok") {
			found++
		}
	}
	require.Greater(t, found, 20)
}

// Unbound resolves over our server, with letters mixed, and our stub asks it.
func TestStubOverUnbound(t *testing.T) {
	unbound := interop.Program(t, "unbound", "unbound", "/usr/sbin/unbound")
	server := plantServer(t)
	var stub *Stub
	for attempt := 0; stub == nil && attempt < 5; attempt++ {
		stub = startUnbound(t, unbound, server)
	}
	require.NotNil(t, stub, "unbound ends each time")
	ours := plantResolver(server)
	for _, q := range plantQuestions(t) {
		want, err := ours.Resolve(t.Context(), q.Name, q.Type)
		if err != nil || q.Type == ANY {
			continue // what unbound makes of it is its own business
		}
		require.Equal(t, summary(want, nil), summary(stub.Resolve(t.Context(), q.Name, q.Type)), "%s %s", q.Name, q.Type)
	}
}

// startUnbound starts unbound over a server and returns a stub that asks it; nil
// if it ended, because somebody else has taken the port that was free.
func startUnbound(t *testing.T, unbound string, server netip.AddrPort) *Stub {
	pc, ln, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	at := netip.MustParseAddrPort(ln.Addr().String())
	pc.Close()
	ln.Close()
	dir := t.TempDir()
	conf := fmt.Sprintf(`server:
  interface: 127.0.0.1@%d
  do-daemonize: no
  username: ""
  chroot: ""
  directory: %q
  pidfile: ""
  use-syslog: no
  logfile: "%[2]s/log"
  do-not-query-localhost: no
  do-ip6: no
  do-not-query-address: 192.0.2.0/24
  module-config: "iterator"
  use-caps-for-id: yes
  minimal-responses: no
  local-zone: "test." nodefault
remote-control:
  control-enable: no
stub-zone:
  name: "."
  stub-addr: %s@%d
`, at.Port(), dir, server.Addr(), server.Port())
	for _, origin := range plantZones {
		conf += fmt.Sprintf("stub-zone:\n  name: %q\n  stub-addr: %s@%d\n", origin+".", server.Addr(), server.Port())
	}
	file := filepath.Join(dir, "unbound.conf")
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o644))
	cmd := exec.CommandContext(t.Context(), unbound, "-d", "-c", file)
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	stub := &Stub{Servers: []netip.AddrPort{at}, Client: Client{Timeout: time.Second}, Attempts: 10}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := stub.Resolve(t.Context(), "plant.test.", SOA); err == nil {
			return stub
		}
		select {
		case <-ended:
			return nil
		default:
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("unbound does not answer:\n%s", log)
		}
	}
}
