package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/tlsx"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

// shared is a folder of certificates that the tests only read. Making one
// takes 600,000 rounds of PBKDF2.
var shared = sync.OnceValues(func() (map[string][]byte, error) {
	holders, err := lesson(time.Now(), "")
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, h := range holders {
		list, err := h.files()
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			files[f.name] = f.data
		}
	}
	return files, nil
})

// A folder is one of certificates, as make fills it.
type folder string

func certs(t *testing.T) folder {
	t.Helper()
	files, err := shared()
	require.NoError(t, err)
	dir := t.TempDir()
	for name, data := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return folder(dir)
}

func (d folder) file(name string) string { return filepath.Join(string(d), name) }

// pair are the flags that name a certificate and its key; none for "".
func (d folder) pair(name string) []string {
	if name == "" {
		return nil
	}
	return []string{"--cert", d.file(name + "-chain.pem"), "--key", d.file(name + "-key.pem")}
}

// serve starts a server as the contract writes it.
func (d folder) serve(t *testing.T, name, version string, more ...string) *clitest.Process {
	t.Helper()
	args := append([]string{"serve", "--json", "--listen", "127.0.0.1:0"}, d.pair(name)...)
	return clitest.Start(t, append(append(args, more...), "--min", "1.2", "--max", version)...)
}

// connect runs a client as the contract writes it.
func (d folder) connect(t *testing.T, addr, stdin string, more ...string) clitest.Result {
	t.Helper()
	args := []string{"connect", "--json", "--connect", addr, "--name", "localhost", "--ca", d.file("root.pem")}
	return clitest.Run(t, stdin, append(append(args, more...), "--min", "1.2", "--max", "1.3")...)
}

// requireRefused fails unless a client has printed one line of JSON with this
// reason and failed.
func requireRefused(t *testing.T, got clitest.Result, by string, want tlsx.Reason) refusal {
	t.Helper()
	require.Equal(t, 1, got.Status, "%+v", got)
	require.Empty(t, got.Stderr)
	return parseRefusal(t, got.Stdout, by, want)
}

func parseRefusal(t *testing.T, text, by string, want tlsx.Reason) (r refusal) {
	t.Helper()
	require.Equal(t, 1, strings.Count(text, "\n"), "one line: %q", text)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&r), "%q", text)
	require.Equal(t, want, r.Reason, text)
	require.Equal(t, by, r.By, text)
	require.NotEmpty(t, r.Detail, text)
	require.NotEmpty(t, r.Peer, text)
	return r
}

// requireServerSays waits for a server's line of JSON.
func requireServerSays(t *testing.T, srv *clitest.Process, by string, want tlsx.Reason) {
	t.Helper()
	out := srv.Stdout.WaitFor(t, fmt.Sprintf(`{"reason":%q,"by":%q,`, want, by))
	_, out, _ = strings.Cut(out, "\n") // after "listening on"
	parseRefusal(t, out, by, want)
}

// both runs a test with each version of TLS.
func both(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run("TLS "+version, func(t *testing.T) { test(t, version) })
	}
}

// The faults of servers' certificates and of clients', with their reasons.
var (
	serverFaults = []struct {
		name   string
		reason tlsx.Reason
	}{
		{"expired", tlsx.Expired},
		{"future", tlsx.NotYetValid},
		{"wrongname", tlsx.WrongName},
		{"wronguse", tlsx.WrongUse},
		{"toodeep", tlsx.PathTooLong},
		{"other-server", tlsx.UnknownAuthority},
	}
	clientFaults = []struct {
		name   string
		reason tlsx.Reason
	}{
		{"", tlsx.NoCertificate},
		{"expired-client", tlsx.Expired},
		{"other-client", tlsx.UnknownAuthority},
		{"server", tlsx.WrongUse},
		{"toodeep", tlsx.PathTooLong},
	}
)

func TestServerRefused(t *testing.T) {
	d := certs(t)
	both(t, func(t *testing.T, version string) {
		for _, test := range serverFaults {
			t.Run(test.name, func(t *testing.T) {
				srv := d.serve(t, test.name, version)
				r := requireRefused(t, d.connect(t, srv.Addr, "hola\n"), "client", test.reason)
				require.Equal(t, srv.Addr, r.Peer)
				require.NotEmpty(t, r.Rule)
				requireServerSays(t, srv, "client", test.reason)
			})
		}
	})
}

func TestClientRefused(t *testing.T) {
	d := certs(t)
	both(t, func(t *testing.T, version string) {
		for _, test := range clientFaults {
			t.Run(test.name, func(t *testing.T) {
				srv := d.serve(t, "server", version, "--client-ca", d.file("root.pem"))
				got := d.connect(t, srv.Addr, strings.Repeat("hola\n", 1000), d.pair(test.name)...)
				requireRefused(t, got, "server", test.reason)
				requireServerSays(t, srv, "server", test.reason)
			})
		}
	})
}

// A client that withholds its certificate gets to know why it was refused all
// the same; the server saw none.
func TestWithheld(t *testing.T) {
	d := certs(t)
	both(t, func(t *testing.T, version string) {
		srv := d.serve(t, "server", version, "--client-ca", d.file("root.pem"))
		got := d.connect(t, srv.Addr, "hola\n", append(d.pair("other-client"), "--withhold")...)
		r := requireRefused(t, got, "server", tlsx.UnknownAuthority)
		require.Contains(t, r.Detail, "not even sent")
		requireServerSays(t, srv, "server", tlsx.NoCertificate)
	})
}

func TestEcho(t *testing.T) {
	d := certs(t)
	big := strings.Repeat("¡Hola, Zócalo!\n", 300_000) // far more than all the buffers on the way
	both(t, func(t *testing.T, version string) {
		for _, mutual := range []bool{false, true} {
			var server, client []string
			if mutual {
				server, client = []string{"--client-ca", d.file("root.pem")}, d.pair("client")
			}
			srv := d.serve(t, "server", version, server...)
			for _, text := range []string{"", "hola", "hola\n", "\x00\xff", big} {
				got := d.connect(t, srv.Addr, text, client...)
				require.Zero(t, got.Status, got.Stderr)
				require.True(t, text == got.Stdout, "%d bytes sent, %d came back", len(text), len(got.Stdout))
				require.Empty(t, got.Stderr)
			}
			require.Zero(t, srv.Stop())
			require.Equal(t, "listening on "+srv.Addr+"\n", srv.Stdout.String(), "with -json there are refusals only")
		}
	})
}

// Without -json both sides speak to people.
func TestText(t *testing.T) {
	d := certs(t)
	srv := clitest.Start(t, append([]string{"serve", "-client-ca", d.file("root.pem")}, d.pair("server")...)...)
	args := []string{"connect", "-connect", srv.Addr, "-ca", d.file("root.pem"), "-v"} // the name is the host of -connect
	got := clitest.Run(t, "hola\n", append(args, d.pair("client")...)...)
	require.Equal(t, clitest.Result{Status: 0, Stdout: "hola\n", Stderr: got.Stderr}, got)
	require.Regexp(t, `^TLS 1\.3, TLS_\w+, \w+, the other side is "server"\n$`, got.Stderr)
	out := srv.Stdout.WaitFor(t, "5 bytes sent back, goodbye\n")
	require.Regexp(t, `127\.0\.0\.1:\d+: TLS 1\.3, TLS_\w+, \w+, the other side is "client"\n`, out)

	got = clitest.Run(t, "hola\n", args...)
	require.Equal(t, 1, got.Status)
	require.Empty(t, got.Stdout)
	require.Regexp(t, `^TLS 1\.3, .*\ntlstool: the server refuses: no-certificate: .*\n$`, got.Stderr)
	srv.Stdout.WaitFor(t, "the server refuses: no-certificate: ")

	got = clitest.Run(t, "", append([]string{"connect", "-connect", srv.Addr, "-name", "zocalo.test", "-ca", d.file("root.pem")}, d.pair("client")...)...)
	require.Equal(t, 1, got.Status)
	require.Equal(t, "tlstool: the client refuses: wrong-name: asked for zocalo.test, valid for localhost, server.test, 127.0.0.1 (RFC 9525 section 6.3)\n", got.Stderr)
}

func TestVersions(t *testing.T) {
	d := certs(t)
	srv := clitest.Start(t, append([]string{"serve", "--json", "--min", "1.3"}, d.pair("server")...)...)
	args := []string{"connect", "--json", "--connect", srv.Addr, "--name", "localhost", "--ca", d.file("root.pem")}
	requireRefused(t, clitest.Run(t, "", append(args, "--max", "1.2")...), "server", tlsx.WrongVersion)
	requireServerSays(t, srv, "server", tlsx.WrongVersion)
	got := clitest.Run(t, "", append(args, "-v", "--min", "1.3")...)
	require.Contains(t, got.Stderr, "TLS 1.3, ")

	srv = clitest.Start(t, append([]string{"serve", "--max", "1.2"}, d.pair("server")...)...)
	args[3] = srv.Addr
	got = clitest.Run(t, "", append(args, "-v")...)
	require.Contains(t, got.Stderr, "TLS 1.2, ")
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	d := certs(t)
	srv := clitest.Start(t, append([]string{"serve", "--listen", "[::1]:0"}, d.pair("server")...)...)
	require.Equal(t, "::1", srv.Host())
	got := d.connect(t, srv.Addr, "hola")
	require.Equal(t, "hola", got.Stdout, got.Stderr)
	// Without -name the address is looked for, and this one is not in there.
	got = clitest.Run(t, "", "connect", "--json", "--connect", srv.Addr, "--ca", d.file("root.pem"))
	requireRefused(t, got, "client", tlsx.WrongName)
}

// requireOneLine fails unless got is a failure with this status and one line.
func requireOneLine(t *testing.T, got clitest.Result, status int, contains string) {
	t.Helper()
	require.Equal(t, status, got.Status, "%+v", got)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	require.Contains(t, got.Stderr, contains)
	require.Empty(t, got.Stdout)
}

func TestWrongFlags(t *testing.T) {
	d := certs(t)
	serve := append([]string{"serve"}, d.pair("server")...)
	connect := []string{"connect", "-connect", "127.0.0.1:1"}
	for _, test := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"serve"}, 2, "-cert and -key"},
		{append(serve, "-listen", "127.0.0.1"), 2, "HOST:PORT"},
		{append(serve, "-listen", "127.0.0.1:65536"), 2, "HOST:PORT"},
		{append(serve, "-listen", "127.0.0.1:http"), 2, "HOST:PORT"},
		{append(serve, "-min", "1.1"), 2, "-min"},
		{append(serve, "-max", "1.4"), 2, "-max"},
		{append(serve, "-min", "1.3", "-max", "1.2"), 2, "-min 1.3 is above -max 1.2"},
		{append(serve, "-idle", "0s"), 2, "-idle"},
		{append(serve, "more"), 2, "more"},
		{serve[:3], 2, "go together"},
		{[]string{"serve", "-cert", d.file("none.pem"), "-key", d.file("server-key.pem")}, 1, "none.pem"},
		{[]string{"serve", "-cert", d.file("server-key.pem"), "-key", d.file("server-key.pem")}, 1, "no certificate"},
		{[]string{"serve", "-cert", d.file("client-chain.pem"), "-key", d.file("server-key.pem")}, 1, "the key is not the one"},
		{[]string{"serve", "-cert", d.file("server-chain.pem"), "-key", d.file("encrypted-key.pem")}, 1, "passphrase"},
		{append(serve, "-client-ca", d.file("none.pem")), 1, "none.pem"},
		{append(serve, "-client-ca", d.file("root-key.pem")), 1, "root-key.pem"},
		{append(serve, "-listen", "192.0.2.1:0"), 1, "192.0.2.1"},
		{[]string{"connect"}, 2, "-connect"},
		{append(connect, "-cert", d.file("client-chain.pem")), 2, "go together"},
		{append(connect, "-ca", d.file("none.pem")), 1, "none.pem"},
		{append(connect, "-name", "no name"), 1, ""},
		{append(connect, "-timeout", "-1s"), 2, "-timeout"},
		{[]string{"make"}, 2, "folder"},
		{[]string{"make", "a", "b"}, 2, "folder"},
		{[]string{"make", "-keys", "dsa", t.TempDir()}, 2, "-keys"},
	} {
		requireOneLine(t, clitest.Run(t, "", test.args...), test.status, test.says)
	}
}

func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	d := certs(t)
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		srv := d.serve(t, "server", "1.3")
		idle := dialTLS(t, d, srv.Addr) // does not keep the server from stopping
		srv.Signal(sig)
		require.Zero(t, srv.Wait())
		require.Empty(t, srv.Stderr.String())
		_, err := idle.Read(make([]byte, 1))
		require.Error(t, err)
	}
	// A client that waits for its user can be interrupted.
	srv := d.serve(t, "server", "1.3")
	cmd := clitest.Command(t, "connect", "--connect", srv.Addr, "--ca", d.file("root.pem"))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, "hola\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hola\n", line, "an answer comes while the input is still open")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
	require.Equal(t, "tlstool: interrupted\n", errs.String())
}

// dialTLS connects with crypto/tls alone.
func dialTLS(t *testing.T, d folder, addr string) *tls.Conn {
	t.Helper()
	roots := x509.NewCertPool()
	data, err := os.ReadFile(d.file("root.pem"))
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(data))
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
	return conn
}

// Whatever comes to the port, the server says what it was and goes on.
func TestBadClients(t *testing.T) {
	d := certs(t)
	srv := d.serve(t, "server", "1.3", "--idle", "5s")
	clitest.Dial(t, srv.Addr).Close() // knocks, and leaves without a word

	conn := clitest.Dial(t, srv.Addr)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	out := srv.Stdout.WaitFor(t, `{"reason":"not-tls"`)
	require.NotContains(t, out, "cut-off", "who said nothing was not refused")
	require.Contains(t, out, "HTTP")

	conn = clitest.Dial(t, srv.Addr)
	_, err = conn.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1}) // the head of a ClientHello of 512 bytes
	require.NoError(t, err)
	require.NoError(t, conn.CloseWrite())
	srv.Stdout.WaitFor(t, `{"reason":"cut-off","by":"client"`)

	conn = clitest.Dial(t, srv.Addr)
	_, err = conn.Write(append([]byte{22, 3, 1, 0, 200}, bytes.Repeat([]byte{0xff}, 200)...))
	require.NoError(t, err)
	_, err = io.ReadAll(conn) // an alert and the end
	require.NoError(t, err)

	got := d.connect(t, srv.Addr, "still there?")
	require.Equal(t, "still there?", got.Stdout, got.Stderr)
}

// Who says nothing, or stops in the middle, does not stay for ever.
func TestSilentClients(t *testing.T) {
	d := certs(t)
	srv := clitest.Start(t, append([]string{"serve", "-idle", "100ms"}, d.pair("server")...)...)
	half := clitest.Dial(t, srv.Addr)
	_, err := half.Write([]byte{22, 3, 1})
	require.NoError(t, err)
	for _, conn := range []net.Conn{clitest.Dial(t, srv.Addr), half, dialTLS(t, d, srv.Addr)} {
		_, err := io.ReadAll(conn)
		require.False(t, err != nil && os.IsTimeout(err), "the server should have closed the connection: %v", err)
	}
	srv.Stdout.WaitFor(t, "no handshake within 100ms")
	srv.Stdout.WaitFor(t, "timed out")
}

// listen serves one connection with serve.
func listen(t *testing.T, serve func(conn net.Conn)) (addr string) {
	t.Helper()
	addr, _ = clitest.Stranger(t, func(conn net.Conn, _ <-chan struct{}) { serve(conn) })
	return addr
}

func TestBadServers(t *testing.T) {
	d := certs(t)
	key, err := tls.LoadX509KeyPair(d.file("server-chain.pem"), d.file("server-key.pem"))
	require.NoError(t, err)
	cfg := &tls.Config{Certificates: []tls.Certificate{key}}

	// One that speaks in clear.
	addr := listen(t, func(conn net.Conn) { io.WriteString(conn, "220 mail.test ESMTP\r\n"); io.Copy(io.Discard, conn) })
	requireRefused(t, d.connect(t, addr, "hola"), "client", tlsx.NotTLS)
	// One that hangs up in the midst of the handshake.
	addr = listen(t, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 5))
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	})
	requireRefused(t, d.connect(t, addr, "hola"), "server", tlsx.CutOff)
	// One that accepts and says nothing.
	addr = listen(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	got := d.connect(t, addr, "hola", "--timeout", "100ms")
	requireOneLine(t, got, 1, "no handshake within 100ms")
	// One that answers and breaks off: what came is printed, with a warning.
	addr = listen(t, func(conn net.Conn) {
		server := tls.Server(conn, cfg)
		io.WriteString(server, "half an ans")
		io.Copy(io.Discard, server)
	})
	got = d.connect(t, addr, "hola")
	require.Zero(t, got.Status)
	require.Equal(t, "half an ans", got.Stdout)
	require.Contains(t, got.Stderr, addr+" has ended without close_notify")
	addr = listen(t, func(conn net.Conn) {
		server := tls.Server(conn, cfg)
		io.WriteString(server, "half an ans")
		io.ReadFull(server, make([]byte, 4))
		conn.Write([]byte{23, 3, 3, 0, 100, 1, 2, 3}) // 100 bytes announced, 3 sent
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	})
	got = d.connect(t, addr, "hola")
	require.Equal(t, 1, got.Status)
	require.Equal(t, "half an ans", got.Stdout)
	require.Contains(t, got.Stderr, "in the middle of a record")
	// One that never ends.
	addr = listen(t, func(conn net.Conn) {
		server := tls.Server(conn, cfg)
		io.Copy(io.Discard, server)
		io.Copy(io.Discard, conn) // its close_notify is never sent
	})
	requireOneLine(t, d.connect(t, addr, "hola", "--timeout", "100ms"), 1, "nothing more from "+addr)
	// One that leaves first.
	addr = listen(t, func(conn net.Conn) {
		server := tls.Server(conn, cfg)
		io.ReadFull(server, make([]byte, 4))
		server.Close()
		io.Copy(io.Discard, conn)
	})
	cmd := clitest.Command(t, "connect", "--connect", addr, "--ca", d.file("root.pem"))
	in, err := cmd.StdinPipe() // stays open
	require.NoError(t, err)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, "hola")
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	require.Equal(t, "tlstool: "+addr+" has closed the connection before the end of the input\n", errs.String())
	// None at all.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln.Close()
	requireOneLine(t, d.connect(t, ln.Addr().String(), "hola"), 1, ln.Addr().String())
}

// A certificate that is replaced is used without a restart.
func TestReplacedCertificate(t *testing.T) {
	d := certs(t)
	srv := d.serve(t, "server", "1.3")
	require.Equal(t, "hola", d.connect(t, srv.Addr, "hola").Stdout)
	for _, suffix := range []string{"-chain.pem", "-key.pem"} {
		data, err := os.ReadFile(d.file("expired" + suffix))
		require.NoError(t, err)
		require.NoError(t, tlsx.WriteFile(d.file("server"+suffix), data, 0o600, true))
	}
	// The files are looked at once a second.
	deadline := time.Now().Add(clitest.Limit)
	for {
		got := d.connect(t, srv.Addr, "hola")
		if got.Status != 0 {
			requireRefused(t, got, "client", tlsx.Expired)
			return
		}
		require.True(t, time.Now().Before(deadline), "the old certificate is still in use")
	}
}

func TestManyClients(t *testing.T) {
	d := certs(t)
	srv := d.serve(t, "server", "1.3")
	conns := make([]*tls.Conn, 50)
	for i := range conns {
		conns[i] = dialTLS(t, d, srv.Addr)
	}
	var wg sync.WaitGroup
	problems := make(chan error, len(conns))
	for i, conn := range conns {
		wg.Go(func() {
			in := bufio.NewReader(conn)
			for round := range 10 {
				want := fmt.Sprintf("client %d, line %d\n", i, round)
				if _, err := io.WriteString(conn, want); err != nil {
					problems <- err
					return
				}
				if got, err := in.ReadString('\n'); err != nil || got != want {
					problems <- fmt.Errorf("%q: %w", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(problems)
	for err := range problems {
		require.NoError(t, err)
	}
}

// parse reads the certificates of a file.
func (d folder) parse(t *testing.T, name string) []*x509.Certificate {
	t.Helper()
	list, err := authorities(d.file(name))
	require.NoError(t, err)
	return list
}

func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "certs")
	got := clitest.Run(t, "", "make", dir)
	require.Zero(t, got.Status, got.Stderr)
	d := folder(dir)

	leaves := []string{
		"server", "client", "expired", "future", "wrongname", "wronguse", "toodeep", "expired-client",
		"other-server", "other-client",
	}
	authorities := []string{"root", "intermediate", "toodeep-ca", "other-root"}
	want := []string{"encrypted-key.pem"}
	for _, name := range append(leaves, authorities...) {
		want = append(want, name+".pem", name+"-key.pem")
		require.Contains(t, got.Stdout, name+" ")
	}
	for _, name := range leaves {
		want = append(want, name+"-chain.pem")
	}
	slices.Sort(want)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
		if strings.HasSuffix(e.Name(), "-key.pem") && runtime.GOOS != "windows" {
			info, err := e.Info()
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode(), e.Name())
		}
	}
	require.Equal(t, want, there)

	for _, name := range append(leaves, authorities...) {
		list := d.parse(t, name+".pem")
		require.Len(t, list, 1, name)
		require.Equal(t, slices.Contains(authorities, name), list[0].IsCA, name)
		data, err := os.ReadFile(d.file(name + "-key.pem"))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(data), "-----BEGIN PRIVATE KEY-----\n"), "PKCS#8")
		_, err = tls.X509KeyPair(tlsx.EncodeCertificates(list...), data)
		require.NoError(t, err, "%s: certificate and key belong together", name)
	}
	for _, name := range leaves {
		chain := d.parse(t, name+"-chain.pem")
		require.Equal(t, d.parse(t, name+".pem")[0].Raw, chain[0].Raw)
		for i, c := range chain {
			require.NotEqual(t, c.RawSubject, c.RawIssuer, "no root in %s", name)
			if i+1 < len(chain) {
				require.NoError(t, c.CheckSignatureFrom(chain[i+1]))
			}
		}
	}
	require.Len(t, d.parse(t, "server-chain.pem"), 2)
	require.Len(t, d.parse(t, "toodeep-chain.pem"), 3)
	require.Len(t, d.parse(t, "other-client-chain.pem"), 1)

	intermediate := d.parse(t, "intermediate.pem")[0]
	require.True(t, intermediate.MaxPathLen == 0 && intermediate.MaxPathLenZero)
	server := d.parse(t, "server.pem")[0]
	require.Equal(t, []string{"localhost", "server.test"}, server.DNSNames)
	require.Len(t, server.IPAddresses, 1)
	require.Equal(t, "127.0.0.1", server.IPAddresses[0].String())
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, server.ExtKeyUsage)
	require.LessOrEqual(t, server.NotAfter.Sub(server.NotBefore), 825*day)
	client := d.parse(t, "client.pem")[0]
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, client.ExtKeyUsage)
	require.NotEmpty(t, client.DNSNames)

	locked, err := os.ReadFile(d.file("encrypted-key.pem"))
	require.NoError(t, err)
	block, _ := pem.Decode(locked)
	require.Equal(t, "ENCRYPTED PRIVATE KEY", block.Type)
	key, err := tlsx.ParseKey(locked, "opensesame")
	require.NoError(t, err)
	require.True(t, key.Public().(interface{ Equal(x crypto.PublicKey) bool }).Equal(server.PublicKey))
	_, err = tlsx.ParseKey(locked, "open sesame")
	require.ErrorIs(t, err, tlsx.ErrPassphrase)

	// Once made, they stay.
	before, err := os.ReadFile(d.file("root-key.pem"))
	require.NoError(t, err)
	requireOneLine(t, clitest.Run(t, "", "make", dir), 1, "is there already")
	require.NoError(t, os.Remove(d.file("root.pem")))
	requireOneLine(t, clitest.Run(t, "", "make", dir), 1, "root-key.pem is there already")
	require.NoFileExists(t, d.file("root.pem"))
	after, err := os.ReadFile(d.file("root-key.pem"))
	require.NoError(t, err)
	require.Equal(t, before, after)
	got = clitest.Run(t, "", "make", "-force", "-keys", "ed25519", dir)
	require.Zero(t, got.Status, got.Stderr)
	require.Equal(t, "Ed25519", d.parse(t, "root.pem")[0].PublicKeyAlgorithm.String())
}

// Each faulty certificate has the fault it is there for, and no other.
func TestOneFault(t *testing.T) {
	d := certs(t)
	roots := d.parse(t, "root.pem")
	reason := func(name string, opts tlsx.VerifyOptions) tlsx.Reason {
		_, err := tlsx.Verify(d.parse(t, name+"-chain.pem"), opts)
		if err == nil {
			return ""
		}
		return err.(*tlsx.RefusalError).Reason
	}
	good := tlsx.VerifyOptions{Roots: roots, Name: "localhost"}
	cured := map[string]tlsx.VerifyOptions{
		"expired":      {Roots: roots, Name: "localhost", Time: time.Now().Add(-45 * day)},
		"future":       {Roots: roots, Name: "localhost", Time: time.Now().Add(45 * day)},
		"wrongname":    {Roots: roots, Name: "elsewhere.test"},
		"wronguse":     {Roots: roots, Name: "localhost", Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
		"toodeep":      {Roots: d.parse(t, "toodeep-ca.pem"), Name: "localhost"},
		"other-server": {Roots: d.parse(t, "other-root.pem"), Name: "localhost"},
	}
	for _, test := range serverFaults {
		require.Equal(t, test.reason, reason(test.name, good), test.name)
		require.Empty(t, reason(test.name, cured[test.name]), test.name)
	}
	require.Empty(t, reason("server", good))
	clients := tlsx.VerifyOptions{Roots: roots, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	require.Empty(t, reason("client", clients))
	require.Equal(t, tlsx.Expired, reason("expired-client", clients))
	clients.Time = time.Now().Add(-45 * day)
	require.Empty(t, reason("expired-client", clients))
}

// An encrypted key opens with its password, from a file.
func TestEncryptedKey(t *testing.T) {
	d := certs(t)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(keyPassword+"\n"), 0o600))
	srv := clitest.Start(t, "serve", "-cert", d.file("server-chain.pem"), "-key", d.file("encrypted-key.pem"), "-password-file", password)
	require.Equal(t, "hola", d.connect(t, srv.Addr, "hola").Stdout)
}
