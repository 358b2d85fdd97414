package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

// start starts the Internet of package dnstest on this machine and returns the
// flags by which the program finds it.
func start(t *testing.T) []string {
	t.Helper()
	clitest.NeedHost(t, "127.0.0.2")
	in, err := dnstest.Start(dnstest.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { in.Close() })
	hints := filepath.Join(t.TempDir(), "hints")
	require.NoError(t, os.WriteFile(hints, []byte(in.RootHints()), 0o600))
	return []string{"--json", "--root-hints", hints, "--port", strconv.Itoa(int(in.Port()))}
}

// The contract: a command, the common flags, its own, and what it prints.
func TestJSON(t *testing.T) {
	flags := start(t)
	for _, test := range []struct {
		command string // arguments; the flags come after the first
		want    string
	}{
		{"mx -- example.com", `{"status":"ok","reason":"","hosts":[
			{"name":"mail.example.com.","preference":10,"addresses":["2001:db8:53:10::20","127.53.10.20"]},
			{"name":"mail2.example.com.","preference":20,"addresses":["127.53.10.21"]}]}`},
		{"mx -- alias.example.org", `{"status":"ok","reason":"","hosts":[
			{"name":"mail.example.com.","preference":10,"addresses":["2001:db8:53:10::20","127.53.10.20"]},
			{"name":"mail2.example.com.","preference":20,"addresses":["127.53.10.21"]}]}`},
		{"mx --local mail2.example.com --local 192.0.2.1 -- example.com", `{"status":"ok","reason":"","hosts":[
			{"name":"mail.example.com.","preference":10,"addresses":["2001:db8:53:10::20","127.53.10.20"]}]}`},
		{"mx --local 127.53.10.20 -- example.com", `{"status":"permanent","reason":"loop","hosts":[]}`},
		{"mx -- example.net", `{"status":"permanent","reason":"null-mx","hosts":[]}`},
		{"mx -- nothing.example.net", `{"status":"permanent","reason":"no-such-domain","hosts":[]}`},
		{"mx -- txt.example.com", `{"status":"permanent","reason":"no-mail-host","hosts":[]}`},
		{"mx -- badmx.example.org", `{"status":"permanent","reason":"no-usable-host","hosts":[]}`},
		{"mx -- -bad-.example.org", `{"status":"permanent","reason":"bad-name","hosts":[]}`},
		{"mx -- nullandmore.example.org", `{"status":"ok","reason":"","hosts":[
			{"name":"mail.example.com.","preference":10,"addresses":["2001:db8:53:10::20","127.53.10.20"]}]}`},
		{"mx -- twice.example.org", `{"status":"ok","reason":"","hosts":[
			{"name":"mail2.example.com.","preference":10,"addresses":["127.53.10.21"]},
			{"name":"mail.example.com.","preference":20,"addresses":["2001:db8:53:10::20","127.53.10.20"]}]}`},
		{"mx -- implicit.example.org", `{"status":"ok","reason":"","hosts":[
			{"name":"www.example.org.","preference":0,"addresses":["127.53.12.13","127.53.12.12","127.53.12.11"]}]}`},
		{"mx -- laterx.example.org", `{"status":"temporary","reason":"","hosts":[]}`},
		{"mx -- mxloop.example.org", `{"status":"temporary","reason":"","hosts":[]}`},
		{"mx -- dangling.example.org", `{"status":"permanent","reason":"no-such-domain","hosts":[]}`},
		{"mx -- failing.test", `{"status":"temporary","reason":"","hosts":[]}`},
		{"mx -- loop1.example.org", `{"status":"temporary","reason":"","hosts":[]}`},
		{"mx -- [127.53.10.20]", `{"status":"ok","reason":"","hosts":[{"name":"[127.53.10.20]","preference":0,"addresses":["127.53.10.20"]}]}`},
		{"mx -- [IPv6:2001:db8::1]", `{"status":"ok","reason":"","hosts":[{"name":"[IPv6:2001:db8::1]","preference":0,"addresses":["2001:db8::1"]}]}`},

		{"resolve -- ftp.example.com A", `[{"status":"ok","records":[
			{"name":"ftp.example.com.","type":"CNAME","ttl":3600,"data":"www.example.com."},
			{"name":"www.example.com.","type":"A","ttl":3600,"data":"127.53.10.10"}]}]`},
		{"resolve -- www.example.com A nothing.example.com A www.example.com MX www.failing.test A WWW.example.COM a", `[
			{"status":"ok","records":[{"name":"www.example.com.","type":"A","ttl":3600,"data":"127.53.10.10"}]},
			{"status":"nxdomain","records":[]},
			{"status":"nodata","records":[]},
			{"status":"temporary","records":[]},
			{"status":"ok","records":[{"name":"www.example.com.","type":"A","ttl":3600,"data":"127.53.10.10"}]}]`},
		{"resolve -- españa.es MX", `[{"status":"ok","records":[{"name":"xn--espaa-rta.es.","type":"MX","ttl":3600,"data":"10 xn--buzn-sqa.xn--espaa-rta.es."}]}]`},

		{"trace -- www.unizocalo.es A", `{"status":"ok","records":[{"name":"www.unizocalo.es.","type":"A","ttl":3600,"data":"127.53.14.10"}],
			"steps":[{"zone":".","server":"127.53.0.X"},{"zone":"es.","server":"127.53.1.4"},{"zone":"unizocalo.es.","server":"127.53.14.1"}]}`},
		{"trace -- nothing.cs.unizocalo.es A", `{"status":"nxdomain","records":[],
			"steps":[{"zone":".","server":"127.53.0.X"},{"zone":"es.","server":"127.53.1.4"},{"zone":"unizocalo.es.","server":"127.53.14.1"},{"zone":"cs.unizocalo.es.","server":"127.53.14.5"}]}`},

		{"reverse -- 127.53.10.20", `{"status":"ok","names":[{"name":"mail.example.com.","confirmed":true}]}`},
		{"reverse -- 2001:db8:53:10::20", `{"status":"ok","names":[{"name":"mail.example.com.","confirmed":true}]}`},
		{"reverse -- 127.53.99.99", `{"status":"nxdomain","names":[]}`},
	} {
		t.Run(test.command, func(t *testing.T) {
			args := strings.Fields(test.command)
			got := clitest.Run(t, "", append(append([]string{args[0]}, flags...), args[1:]...)...)
			require.Zero(t, got.Status, got.Stderr)
			require.Empty(t, got.Stderr)
			require.Equal(t, 1, strings.Count(got.Stdout, "\n"), "one line")
			require.JSONEq(t, test.want, steady(t, got.Stdout))
		})
	}
}

// steady takes out of a result what is not the same every time: the text of a
// failure, which of the two root servers was asked, and the order of addresses,
// which name servers rotate.
func steady(t *testing.T, text string) string {
	t.Helper()
	var result any
	require.NoError(t, json.Unmarshal([]byte(text), &result))
	objects, ok := result.([]any)
	if !ok {
		objects = []any{result}
	}
	for _, object := range objects {
		object := object.(map[string]any)
		delete(object, "detail")
		if object["hosts"] == nil {
			if reason, ok := object["reason"]; ok {
				require.NotEmpty(t, reason)
				delete(object, "reason")
			}
		}
		hosts, _ := object["hosts"].([]any)
		for _, host := range hosts {
			addresses := host.(map[string]any)["addresses"].([]any)
			slices.SortFunc(addresses, func(a, b any) int { return -strings.Compare(a.(string), b.(string)) })
		}
		steps, _ := object["steps"].([]any)
		for _, step := range steps {
			step := step.(map[string]any)
			if server := step["server"].(string); strings.HasPrefix(server, "127.53.0.") {
				step["server"] = "127.53.0.X"
			}
		}
	}
	out, err := json.Marshal(result)
	require.NoError(t, err)
	return string(out)
}

// In text, a temporary failure is a failure of the program.
func TestText(t *testing.T) {
	for _, test := range []struct {
		command        string
		status         int
		stdout, stderr string
	}{
		{"mx failing.test", 1, "", "try again later"},
		{"mx a..b", 0, "no mail for a..b: bad-name\n", ""},
		{"resolve www.failing.test A www.example.com A", 1, "www.example.com.\t3600\tIN\tA\t10.53.10.10\n", "www.failing.test. A"},
		{"resolve www.example.com TXT", 0, "www.example.com. TXT: nodata\n", ""},
		{"trace www.failing.test A", 1, "refused", "www.failing.test. A"},
		{"reverse 10.53.99.99", 0, "10.53.99.99 has no name: nxdomain\n", ""},
		{"mx -timeout 1ms silent.test", 1, "", "timed out"},
	} {
		t.Run(test.command, func(t *testing.T) {
			got := clitest.Run(t, "", strings.Fields(test.command)...)
			require.Equal(t, test.status, got.Status, got.Stderr)
			require.Contains(t, got.Stdout, test.stdout)
			require.Contains(t, got.Stderr, test.stderr)
		})
	}
}

func TestUsage(t *testing.T) {
	zone := zoneFile(t, rootZone)
	for _, command := range []string{
		"mx", "mx a b", "mx -local a..b example.com", "mx -local", "mx -port 0 example.com",
		"resolve", "resolve www.example.com", "resolve www.example.com A b", "resolve a..b A", "resolve www.example.com ADDRESS",
		"trace", "trace www.example.com", "trace a A b A", "trace -server 127.0.0.1 www.example.com A",
		"reverse", "reverse www.example.com", "reverse 192.0.2.256",
		"mx -real -server system example.com", "mx -server nobody example.com",
		"serve", "serve -listen 127.0.0.1:0", "serve -zone " + zone, "serve -listen 127.0.0.1 -zone " + zone,
		"serve -listen :53 -zone " + zone, "serve -listen 127.0.0.1:65536 -zone " + zone, "recurse", "recurse -listen x", "recurse -listen 127.0.0.1:0 x",
	} {
		got := clitest.Run(t, "", strings.Fields(command)...)
		require.Equal(t, 2, got.Status, "%s: %s", command, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Empty(t, got.Stdout)
	}
}

// rootZone is a whole Internet in one zone.
const rootZone = `
. 60 IN SOA ns.test. admin.test. 1 7200 3600 1209600 300
. 60 IN NS ns.test.
ns.test. 60 IN A 127.0.0.1
www.test. 60 IN A 192.0.2.1
www.test. 60 IN MX 10 www.test.
`

func zoneFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "zone")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestServe(t *testing.T) {
	other := zoneFile(t, "$ORIGIN example.\n@ 60 IN SOA ns admin 1 7200 3600 1209600 300\n@ 60 IN NS ns\nns 60 IN A 127.0.0.1\n")
	server := clitest.Start(t, "serve", "--listen", "127.0.0.1:0", "--zone", zoneFile(t, rootZone), "--zone", other)
	hints := zoneFile(t, ". 60 NS ns.test.\nns.test. 60 A 127.0.0.1\n")
	got := clitest.Run(t, "", "resolve", "--json", "--root-hints", hints, "--port", server.Port(), "--", "www.test", "A", "ns.example", "A")
	require.Zero(t, got.Status, got.Stderr)
	require.JSONEq(t, `[{"status":"ok","records":[{"name":"www.test.","type":"A","ttl":60,"data":"192.0.2.1"}]},
		{"status":"ok","records":[{"name":"ns.example.","type":"A","ttl":60,"data":"127.0.0.1"}]}]`, got.Stdout)

	// The same server over TCP, and with nobody's recursion.
	client := dnsx.Client{TCP: true}
	answer, err := client.Exchange(t.Context(), netip.MustParseAddrPort(server.Addr), dnsx.NewQuery("www.test.", dnsx.MX))
	require.NoError(t, err)
	require.Len(t, answer.Answer, 1)
	require.True(t, answer.Authoritative)

	again := clitest.Run(t, "", "serve", "-listen", server.Addr, "-zone", zoneFile(t, rootZone))
	require.Equal(t, 1, again.Status)
	require.Contains(t, again.Stderr, "in use")
	stop(t, server, syscall.SIGTERM)
}

// stop ends a server by a signal, as a server should end.
func stop(t *testing.T, server *clitest.Process, sig os.Signal) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	server.Signal(sig)
	require.Zero(t, server.Wait())
	require.Empty(t, server.Stderr.String())
}

func TestServeBadZones(t *testing.T) {
	for text, want := range map[string]string{
		"www.test. 60 IN A 192.0.2.1\n":               "SOA",
		rootZone + "www.test. 60 IN A 192.0.2.256\n":  ":7:",
		rootZone + "www.test. 60 IN CNAME ns.test.\n": "CNAME",
		"$INCLUDE /etc/passwd\n":                      "INCLUDE",
	} {
		got := clitest.Run(t, "", "serve", "-listen", "127.0.0.1:0", "-zone", zoneFile(t, text))
		require.Equal(t, 1, got.Status)
		require.Contains(t, got.Stderr, want)
		require.Empty(t, got.Stdout, "refused before listening")
	}
	got := clitest.Run(t, "", "serve", "-listen", "127.0.0.1:0", "-zone", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, got.Status)
	zone := zoneFile(t, rootZone)
	got = clitest.Run(t, "", "serve", "-listen", "127.0.0.1:0", "-zone", zone, "-zone", zone)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "in another file")
}

func TestRecurse(t *testing.T) {
	flags := start(t)[1:] // without --json
	server := clitest.Start(t, append([]string{"recurse", "--listen", "127.0.0.1:0"}, flags...)...)
	got := clitest.Run(t, "", "mx", "-server", server.Addr, "example.com")
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "10 mail.example.com. [2001:db8:53:10::20 127.53.10.20]")
	got = clitest.Run(t, "", "resolve", "-server", "127.0.0.1", "-port", server.Port(), "www.failing.test", "A")
	require.Equal(t, 1, got.Status)

	t.Run("dig", func(t *testing.T) {
		dig := interop.Program(t, "bind9-dnsutils", "dig")
		for _, mode := range []string{"+notcp", "+tcp"} {
			out, err := exec.CommandContext(t.Context(), dig, "@127.0.0.1", "-p", server.Port(), mode, "+short", "ftp.example.com", "A").CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, "www.example.com.\n127.53.10.10\n", string(out))
		}
	})
	stop(t, server, os.Interrupt)
}
