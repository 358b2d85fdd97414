package dnsx

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// plantZones are the zones that are compared.
var plantZones = []string{"plant.test", "child.plant.test", "sister.test"}

func loadZone(t testing.TB, origin string) *Zone {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "zones", origin+".zone"))
	require.NoError(t, err)
	defer f.Close()
	z, err := ParseZone(f, origin, filepath.Base(f.Name()))
	require.NoError(t, err)
	return z
}

// startServer serves on loopback and returns the address.
func startServer(t testing.TB, s *Server) string {
	t.Helper()
	pc, ln, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context(), pc, ln) }()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return ln.Addr().String()
}

// startNSD runs NSD on the zones and returns its address.
func startNSD(t *testing.T) string {
	nsd := interop.Program(t, "nsd", "nsd", "/usr/sbin/nsd")
	pc, ln, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	addr := ln.Addr().(*net.TCPAddr)
	pc.Close()
	ln.Close()

	dir := t.TempDir()
	zones, err := filepath.Abs(filepath.Join("testdata", "zones"))
	require.NoError(t, err)
	conf := fmt.Sprintf(`server:
  ip-address: %s@%d
  username: ""
  chroot: ""
  zonesdir: %q
  database: ""
  pidfile: ""
  logfile: "%[4]s/log"
  xfrdfile: "%[4]s/xfrd"
  zonelistfile: "%[4]s/list"
  xfrdir: %[4]q
  minimal-responses: yes
  refuse-any: yes
  rrl-ratelimit: 0
remote-control:
  control-enable: no
`, addr.IP, addr.Port, zones, dir)
	for _, origin := range plantZones {
		conf += fmt.Sprintf("zone:\n  name: %s\n  zonefile: %[1]s.zone\n  provide-xfr: 127.0.0.1 NOKEY\n", origin)
	}
	file := filepath.Join(dir, "nsd.conf")
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o644))
	cmd := exec.CommandContext(t.Context(), nsd, "-d", "-c", file)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	client := dns.Client{Timeout: 100 * time.Millisecond}
	query := new(dns.Msg).SetQuestion("plant.test.", dns.TypeSOA)
	for deadline := time.Now().Add(20 * time.Second); ; {
		if r, _, err := client.Exchange(query, addr.String()); err == nil && r.Rcode == dns.RcodeSuccess {
			return addr.String()
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("nsd does not answer:\n%s", log)
		}
	}
}

// view is what of an answer has to be equal.
func view(m *dns.Msg) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s aa=%v tc=%v rd=%v ra=%v cd=%v ad=%v questions=%d\n", dns.RcodeToString[m.Rcode],
		m.Authoritative, m.Truncated, m.RecursionDesired, m.RecursionAvailable, m.CheckingDisabled, m.AuthenticatedData, len(m.Question))
	section := func(name string, rrs []dns.RR) {
		var lines []string
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				lines = append(lines, fmt.Sprintf("  %s %s\n", name, strings.ToLower(rr.String())))
			}
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(slices.Compact(lines), ""))
	}
	section("answer", m.Answer)
	section("authority", m.Ns)
	// Addresses for mail hosts are a courtesy, glue is not.
	if len(m.Answer) == 0 && len(m.Ns) > 0 && m.Ns[0].Header().Rrtype == dns.TypeNS {
		section("additional", m.Extra)
	}
	if opt := m.IsEdns0(); opt != nil {
		fmt.Fprintf(&b, "  edns version=%d do=%v\n", opt.Version(), opt.Do())
	}
	return b.String()
}

// TestAsNSD asks NSD and our server the same questions about the same zones.
func TestAsNSD(t *testing.T) {
	theirs := startNSD(t)
	server := &Server{AllowTransfer: func(netip.Addr) bool { return true }}
	names := []string{".", "test.", "elsewhere.test.", "other.test.", "plant.test.example."}
	for _, origin := range plantZones {
		z := loadZone(t, origin)
		server.Zones = append(server.Zones, z)
		for name := range z.nodes {
			text := textName([]byte(name))
			names = append(names, text, "nowhere."+text, "a.b."+text)
			if star := strings.TrimPrefix(text, "*."); star != text {
				names = append(names, "some."+star, "some.more."+star)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	ours := startServer(t, server)

	types := []uint16{
		dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeCNAME, dns.TypeMX, dns.TypeTXT, dns.TypeSRV,
		dns.TypeDNAME, dns.TypeDS, dns.TypeHTTPS, 65280, dns.TypeLOC, dns.TypeCERT,
	}
	connect := func(addr string) *dns.Conn {
		conn, err := dns.DialTimeout("udp", addr, 5*time.Second)
		require.NoError(t, err)
		conn.UDPSize = 4096
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	a, b := connect(theirs), connect(ours)
	ask := func(conn *dns.Conn, q *dns.Msg) *dns.Msg {
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		require.NoError(t, conn.WriteMsg(q))
		r, err := conn.ReadMsg()
		require.NoError(t, err, "%s", q)
		return r
	}
	compare := func(what string, q *dns.Msg) {
		want, got := view(ask(a, q)), view(ask(b, q))
		if want != got {
			t.Errorf("%s\nNSD: %sours: %s", what, want, got)
		}
	}
	for _, name := range names {
		if _, ok := dns.IsDomainName(name); !ok || len(wireName(name)) > 255 {
			continue
		}
		for _, typ := range types {
			q := new(dns.Msg).SetQuestion(name, typ)
			q.RecursionDesired = typ%2 == 0
			q.CheckingDisabled = typ%3 == 0
			if typ != dns.TypeTXT || strings.Contains(name, "toolong") { // NSD compresses less

				q.SetEdns0(1232, typ == dns.TypeMX)
			}
			compare(name+" "+Type(typ).String(), q)
		}
	}

	// Questions that are not so plain.
	odd := map[string]func(*dns.Msg){
		"class chaos":    func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS },
		"class any":      func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassANY },
		"no question":    func(q *dns.Msg) { q.Question = nil },
		"two questions":  func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]); q.RecursionDesired = false },
		"an answer":      func(q *dns.Msg) { q.Answer = loadZone(t, "plant.test").apex.sets[1].rrs },
		"edns version 1": func(q *dns.Msg) { q.SetEdns0(1232, false); q.IsEdns0().SetVersion(1) },
		"edns size 0":    func(q *dns.Msg) { q.SetEdns0(0, false) },
		"two OPT":        func(q *dns.Msg) { q.SetEdns0(1232, false); q.Extra = append(q.Extra, q.Extra[0]) },
		"unknown option": func(q *dns.Msg) {
			q.SetEdns0(1232, false)
			q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}}
		},
		"opcode STATUS": func(q *dns.Msg) { q.Opcode = dns.OpcodeStatus },
		"opcode UPDATE": func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate },
		"opcode 15":     func(q *dns.Msg) { q.Opcode = 15 },
		"AXFR over UDP": func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeAXFR },
		"AXFR below": func(q *dns.Msg) {
			q.Question[0] = dns.Question{Name: "www.plant.test.", Qtype: dns.TypeAXFR, Qclass: 1}
		},
		"MAILA":            func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeMAILA },
		"MAILB":            func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeMAILB },
		"type OPT":         func(q *dns.Msg) { q.Question[0].Qtype = dns.TypeOPT },
		"type 0":           func(q *dns.Msg) { q.Question[0].Qtype = 0 },
		"AA, AD, Z":        func(q *dns.Msg) { q.Authoritative, q.AuthenticatedData, q.Zero = true, true, true },
		"TC":               func(q *dns.Msg) { q.Truncated = true },
		"rcode in query":   func(q *dns.Msg) { q.Rcode = 3 },
		"case":             func(q *dns.Msg) { q.Question[0].Name = "WwW.pLaNt.TeSt." },
		"big without EDNS": func(q *dns.Msg) { q.Question[0] = dns.Question{Name: "big.plant.test.", Qtype: dns.TypeTXT, Qclass: 1} },
	}
	for _, name := range slices.Sorted(maps.Keys(odd)) {
		q := new(dns.Msg).SetQuestion("mail.plant.test.", dns.TypeA)
		odd[name](q)
		compare(name, q)
	}
}
