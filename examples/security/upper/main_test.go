package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/tlsx"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-mutual", "-chain", "3"})
}

// certs makes a folder with paths of so many certificates.
func certs(t *testing.T, length int) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, fill(dir, length))
	return dir
}

// say runs a client that sends a text.
func say(t *testing.T, srv *clitest.Process, dir, text string, more ...string) clitest.Result {
	t.Helper()
	return clitest.Run(t, "", append([]string{"client", "-port", srv.Port(), "-dir", dir, "-text", text}, more...)...)
}

func TestExchange(t *testing.T) {
	for _, flags := range [][]string{nil, {"-lines"}, {"-mutual"}, {"-mutual", "-chain", "3"}, {"-chain", "8", "-lines"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "certs")
			srv := clitest.Start(t, append([]string{"server", "-port", "0", "-dir", dir}, flags...)...)
			args := []string{"client", "-port", srv.Port(), "-dir", dir}
			for i, flag := range flags {
				if flag != "-chain" && (i == 0 || flags[i-1] != "-chain") {
					args = append(args, flag)
				}
			}
			got := clitest.Run(t, "¡hola!\n\nñandú", args...)
			require.Equal(t, clitest.Result{Stdout: "¡HOLA!\n\nÑANDÚ\n"}, got)
			srv.Stdout.WaitFor(t, `"ñandú" → "ÑANDÚ"`)
			srv.Stdout.WaitFor(t, "goodbye\n")
			got = clitest.Run(t, "not this", append(args, "-text", "this")...)
			require.Equal(t, clitest.Result{Stdout: "THIS\n"}, got)
		})
	}
}

// A server without -dir says where clients find its authority, and leaves
// nothing behind.
func TestTemporaryFolder(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	out := srv.Stdout.WaitFor(t, "for clients: -dir ")
	_, dir, _ := strings.Cut(out, "-dir ")
	dir = strings.TrimSpace(dir)
	require.Equal(t, "HOLA\n", say(t, srv, dir, "hola").Stdout)
	require.Zero(t, srv.Stop())
	if runtime.GOOS != "windows" { // where Stop kills
		require.NoDirExists(t, dir)
	}
}

// The path that each side proves itself with.
func TestPath(t *testing.T) {
	for length, path := range map[int]string{
		2: "server ← root",
		3: "server ← intermediate 1 ← root",
		5: "server ← intermediate 3 ← intermediate 2 ← intermediate 1 ← root",
	} {
		dir := certs(t, length)
		srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-mutual")
		got := say(t, srv, dir, "hola", "-mutual", "-v")
		require.Equal(t, "HOLA\n", got.Stdout, got.Stderr)
		require.Regexp(t, `^TLS 1\.3, TLS_\w+, path `+path+"\n$", got.Stderr)
		srv.Stdout.WaitFor(t, ", path "+strings.Replace(path, "server", "jose", 1)+"\n")

		chain, err := os.ReadFile(filepath.Join(dir, "server-chain.pem"))
		require.NoError(t, err)
		require.Equal(t, length-1, bytes.Count(chain, []byte("BEGIN CERTIFICATE")), "the root is not sent")
	}
}

func TestFolder(t *testing.T) {
	dir := certs(t, 3)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); strings.HasSuffix(e.Name(), "-key.pem") && runtime.GOOS != "windows" {
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode())
		}
	}
	require.Equal(t, []string{"client-chain.pem", "client-key.pem", "root.pem", "server-chain.pem", "server-key.pem"}, names)
	before, err := os.ReadFile(filepath.Join(dir, "server-key.pem"))
	require.NoError(t, err)
	for _, args := range [][]string{nil, {"-chain", "3"}} {
		srv := clitest.Start(t, append([]string{"server", "-port", "0", "-dir", dir}, args...)...)
		require.Equal(t, "HOLA\n", say(t, srv, dir, "hola").Stdout)
	}
	after, err := os.ReadFile(filepath.Join(dir, "server-key.pem"))
	require.NoError(t, err)
	require.Equal(t, before, after, "a folder that is there is used")
	got := clitest.Run(t, "", "server", "-port", "0", "-dir", dir, "-chain", "2")
	require.Equal(t, 2, got.Status)
	require.Contains(t, got.Stderr, "have 3 certificates, not 2")

	// A folder that lacks something is not completed: whose is the rest?
	require.NoError(t, os.Remove(filepath.Join(dir, "server-chain.pem")))
	got = clitest.Run(t, "", "server", "-port", "0", "-dir", dir)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "root.pem")
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
}

// A faulty pair of ends: what each presents, and why it is refused.
func TestRefused(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now()
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "root"}, NotBefore: now.Add(-365 * day)})
	require.NoError(t, err)
	below, err := root.Intermediate(tlsx.Template{Subject: pkix.Name{CommonName: "below"}, NotBefore: now.Add(-365 * day)})
	require.NoError(t, err)
	tooDeep, err := below.Intermediate(tlsx.Template{Subject: pkix.Name{CommonName: "too deep"}, Faulty: true})
	require.NoError(t, err)
	other, err := tlsx.NewAuthority(tlsx.Template{Subject: pkix.Name{CommonName: "other"}})
	require.NoError(t, err)

	issue := func(a *tlsx.Authority, change func(*tlsx.Template)) *tls.Certificate { return issue(t, a, change) }
	serverUse, clientUse := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, test := range []struct {
		name   string
		issuer *tlsx.Authority
		change func(*tlsx.Template)
		reason tlsx.Reason
	}{
		{"expired", below, func(t *tlsx.Template) { t.NotBefore, t.NotAfter = now.Add(-60*day), now.Add(-30*day) }, tlsx.Expired},
		{"not yet valid", below, func(t *tlsx.Template) { t.NotBefore = now.Add(30 * day) }, tlsx.NotYetValid},
		{"wrong name", below, func(t *tlsx.Template) { t.Names = []string{"bank.test"} }, tlsx.WrongName},
		{"wrong use", below, func(t *tlsx.Template) { t.Uses = swap(t.Uses, serverUse, clientUse) }, tlsx.WrongUse},
		{"path too long", tooDeep, func(t *tlsx.Template) { t.Faulty = true }, tlsx.PathTooLong},
		{"wrong authority", other, func(*tlsx.Template) {}, tlsx.UnknownAuthority},
		{"good", below, func(*tlsx.Template) {}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			faultyServer := issue(test.issuer, func(t *tlsx.Template) { t.Uses = serverUse; test.change(t) })
			faultyClient := issue(test.issuer, func(t *tlsx.Template) { t.Uses = clientUse; test.change(t) })
			good := func(uses []x509.ExtKeyUsage) *tls.Certificate {
				return issue(below, func(t *tlsx.Template) { t.Uses = uses })
			}
			check := func(dir, by string) {
				srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-mutual")
				got := say(t, srv, dir, "hola", "-mutual", "-name", "localhost")
				if test.reason == "" || by == "server" && test.reason == tlsx.WrongName { // nobody looks for a client's name
					require.Equal(t, "HOLA\n", got.Stdout, got.Stderr)
					return
				}
				require.Equal(t, 1, got.Status)
				require.Empty(t, got.Stdout)
				require.Regexp(t, fmt.Sprintf(`^upper: the %s refuses: %s: [^\n]*\n$`, by, test.reason), got.Stderr)
				if by == "server" && test.reason == tlsx.UnknownAuthority {
					// It was withheld, since the server names whom it trusts.
					srv.Stdout.WaitFor(t, ": the server refuses: no-certificate: ")
					return
				}
				srv.Stdout.WaitFor(t, fmt.Sprintf(": the %s refuses: %s: ", by, test.reason))
			}
			check(write(t, root, faultyServer, good(clientUse)), "client")
			check(write(t, root, good(serverUse), faultyClient), "server")
		})
	}
}

func swap(uses, a, b []x509.ExtKeyUsage) []x509.ExtKeyUsage {
	if uses[0] == a[0] {
		return b
	}
	return a
}

func issue(t *testing.T, a *tlsx.Authority, change func(*tlsx.Template)) *tls.Certificate {
	t.Helper()
	template := tlsx.Template{Names: []string{"localhost", "127.0.0.1"}}
	change(&template)
	cert, err := a.Issue(template)
	require.NoError(t, err)
	return cert
}

// write fills a folder.
func write(t *testing.T, root *tlsx.Authority, server, client *tls.Certificate) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, data []byte, err error) {
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	put("root.pem", tlsx.EncodeCertificates(root.Cert), nil)
	for name, cert := range map[string]*tls.Certificate{"server": server, "client": client} {
		chain, err := tlsx.Chain(cert)
		put(name+"-chain.pem", tlsx.EncodeCertificates(chain...), err)
		key, err := tlsx.EncodeKey(cert.PrivateKey.(crypto.Signer), nil)
		put(name+"-key.pem", key, err)
	}
	return dir
}

// A client that proves nothing gets nothing from a server that demands it, and
// a client that could is not asked by a server that does not.
func TestMutual(t *testing.T) {
	dir := certs(t, 3)
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-mutual")
	got := say(t, srv, dir, "hola")
	require.Equal(t, 1, got.Status)
	require.Empty(t, got.Stdout)
	require.Contains(t, got.Stderr, "upper: the server refuses: no-certificate: ")
	srv.Stdout.WaitFor(t, ": the server refuses: no-certificate: ")
	require.Equal(t, "HOLA\n", say(t, srv, dir, "hola", "-mutual").Stdout)

	srv = clitest.Start(t, "server", "-port", "0", "-dir", dir)
	require.Equal(t, "HOLA\n", say(t, srv, dir, "hola", "-mutual").Stdout)
	srv.Stdout.WaitFor(t, "a client that proves nothing\n")
}

func TestIPv6AndNames(t *testing.T) {
	dir := certs(t, 2)
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	for _, name := range []string{"localhost", "server.test", "127.0.0.1", "::1"} {
		require.Equal(t, "HOLA\n", say(t, srv, dir, "hola", "-name", name).Stdout, name)
	}
	clitest.NeedHost(t, "::1")
	srv = clitest.Start(t, "server", "-host", "::1", "-port", "0", "-dir", dir)
	require.Equal(t, "HOLA\n", say(t, srv, dir, "hola", "-host", "::1").Stdout)
}

func TestClientFailures(t *testing.T) {
	dir := certs(t, 2)
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-max", "10")
	oneLine := func(got clitest.Result, status int, says string) {
		t.Helper()
		require.Equal(t, status, got.Status, "%+v", got)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.Contains(t, got.Stderr, says)
	}
	got := clitest.Run(t, "one\nmuch too long\nthree\n", "client", "-port", srv.Port(), "-dir", dir)
	require.Equal(t, "ONE\n", got.Stdout)
	oneLine(got, 1, srv.Addr+" refuses the text: a text may have 10 bytes at most")
	oneLine(say(t, srv, dir, "\xff"), 1, "this is not UTF-8")
	require.Equal(t, "STILL\n", say(t, srv, dir, "still").Stdout)
	oneLine(clitest.Run(t, "", "client", "-port", srv.Port()), 2, "-dir")
	oneLine(clitest.Run(t, "", "client", "-port", "0", "-dir", dir), 2, "-port")
	oneLine(say(t, srv, t.TempDir(), "hola"), 1, "root.pem")
	require.NoError(t, os.Remove(filepath.Join(dir, "client-key.pem")))
	oneLine(say(t, srv, dir, "hola", "-mutual"), 1, "client-key.pem")
	require.Zero(t, srv.Stop())
	oneLine(say(t, srv, dir, "hola"), 1, srv.Addr)
	oneLine(clitest.Run(t, "", "server", "-port", "0", "-chain", "1"), 2, "-chain")
}

// dial connects with crypto/tls alone.
func dial(t *testing.T, dir, addr string) *tls.Conn {
	t.Helper()
	roots, err := authorities(dir)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(roots[0])
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
	return conn
}

// The wire: four bytes, big-endian, say how many bytes follow.
func TestWire(t *testing.T) {
	dir := certs(t, 2)
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir)
	conn := dial(t, dir, srv.Addr)
	_, err := conn.Write([]byte("\x00\x00\x00\x05h\xc3\xb1la")) // "hñla"
	require.NoError(t, err)
	answer := make([]byte, 9)
	_, err = io.ReadFull(conn, answer)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x05H\xc3\x91LA", string(answer))

	// The same length in the machine's own order, as the course sends it
	// from a PC, is 83,886,080 bytes. None of them is waited for, or stored.
	_, err = conn.Write(binary.LittleEndian.AppendUint32(nil, 5))
	require.NoError(t, err)
	_, err = io.ReadFull(conn, answer[:4])
	require.NoError(t, err)
	text := make([]byte, binary.BigEndian.Uint32(answer))
	_, err = io.ReadFull(conn, text)
	require.NoError(t, err)
	require.Equal(t, "error: a text may have 8192 bytes at most", string(text))
}

// Whatever else comes to the port, the server goes on.
func TestBadClients(t *testing.T) {
	dir := certs(t, 2)
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-idle", "200ms")
	plain, err := net.Dial("tcp", srv.Addr)
	require.NoError(t, err)
	defer plain.Close()
	_, err = io.WriteString(plain, "GET / HTTP/1.1\r\n\r\n")
	require.NoError(t, err)
	srv.Stdout.WaitFor(t, ": the server refuses: not-tls: ")
	silent, err := net.Dial("tcp", srv.Addr)
	require.NoError(t, err)
	defer silent.Close()
	srv.Stdout.WaitFor(t, silent.LocalAddr().String()+": ended: timed out")
	idle := dial(t, dir, srv.Addr)
	srv.Stdout.WaitFor(t, idle.LocalAddr().String()+": ended: timed out")
	cut := dial(t, dir, srv.Addr)
	_, err = cut.Write([]byte("\x00\x00\x00\x05ho"))
	require.NoError(t, err)
	require.NoError(t, cut.CloseWrite())
	srv.Stdout.WaitFor(t, cut.LocalAddr().String()+": ended: the other side closed the connection in the middle of a message")
	require.Equal(t, "STILL THERE?\n", say(t, srv, dir, "still there?").Stdout)
}

// A server that proves who it is may command the terminal nevertheless, or
// fall silent, or leave.
func TestBadServers(t *testing.T) {
	dir := certs(t, 2)
	key, err := tls.LoadX509KeyPair(filepath.Join(dir, "server-chain.pem"), filepath.Join(dir, "server-key.pem"))
	require.NoError(t, err)
	serve := func(answer string, leave bool) clitest.Result {
		t.Helper()
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{key}})
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(clitest.Limit))
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, answer)
			if !leave {
				io.Copy(io.Discard, conn)
			}
		})
		defer wg.Wait()
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		return clitest.Run(t, "", "client", "-port", port, "-dir", dir, "-lines", "-text", "hola", "-timeout", "500ms")
	}
	got := serve("\x1b[2JHOLA\x07\n", false)
	require.Equal(t, clitest.Result{Stdout: "[2JHOLA\n"}, got)
	got = serve("", false)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "500ms")
	got = serve("", true)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "no answer from 127.0.0.1:")
}

// peer runs somebody else's program until the test ends and returns what the
// part of ready in parentheses matched in its output.
func peer(t *testing.T, ready, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, args...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	found := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(found)
		pattern, said := regexp.MustCompile(ready), false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if m := pattern.FindStringSubmatch(lines.Text()); m != nil && !said {
				said = true
				found <- m[1]
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		in.Close()
		wg.Wait()
		cmd.Wait()
	})
	select {
	case addr := <-found:
		require.NotEmpty(t, addr, "%s ended before it listened", program)
		return addr
	case <-time.After(clitest.Limit):
		require.Fail(t, "no word from "+program, "it should say %q", ready)
		return ""
	}
}

func versions(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run("TLS "+version, func(t *testing.T) { test(t, version) })
	}
}

// Our client with openssl's server, which sends lines back in reverse, and
// GnuTLS's, which sends them back.
func TestForeignServers(t *testing.T) {
	dir := certs(t, 3)
	file := func(name string) string { return filepath.Join(dir, name) }
	client := func(t *testing.T, addr string, more ...string) clitest.Result {
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		return clitest.Run(t, "hola\nmundo\n", append([]string{"client", "-lines", "-dir", dir, "-port", port}, more...)...)
	}
	versions(t, func(t *testing.T, version string) {
		t.Run("openssl", func(t *testing.T) {
			program := interop.Program(t, "openssl", "openssl")
			addr := peer(t, `^ACCEPT (127\.0\.0\.1:\d+)`, program, "s_server", "-accept", "127.0.0.1:0", "-rev", "-tls1_"+version[2:],
				"-cert", file("server-chain.pem"), "-cert_chain", file("server-chain.pem"), "-key", file("server-key.pem"),
				"-Verify", "3", "-verify_return_error", "-CAfile", file("root.pem"))
			require.Equal(t, clitest.Result{Stdout: "aloh\nodnum\n"}, client(t, addr, "-mutual"))
			got := client(t, addr)
			require.Contains(t, got.Stderr, "the server refuses: no-certificate: ")
			got = client(t, addr, "-name", "bank.test")
			require.Contains(t, got.Stderr, "the client refuses: wrong-name: ")
		})
		t.Run("gnutls", func(t *testing.T) {
			program := interop.Program(t, "gnutls-bin", "gnutls-serv")
			ln, err := net.Listen("tcp", "127.0.0.1:0") // it cannot choose a port by itself
			require.NoError(t, err)
			addr := ln.Addr().String()
			require.NoError(t, ln.Close())
			_, port, _ := net.SplitHostPort(addr)
			peer(t, `(listening on IPv4 .*done)`, program, "--echo", "--port", port, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS"+version,
				"--x509certfile", file("server-chain.pem"), "--x509keyfile", file("server-key.pem"),
				"--require-client-cert", "--verify-client-cert", "--x509cafile", file("root.pem"))
			require.Equal(t, clitest.Result{Stdout: "hola\nmundo\n"}, client(t, addr, "-mutual"))
			got := client(t, addr)
			require.Contains(t, got.Stderr, "the server refuses: no-certificate: ")
		})
	})
}

// Our server with openssl's client and GnuTLS's.
func TestForeignClients(t *testing.T) {
	dir, other := certs(t, 3), certs(t, 3)
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-mutual", "-lines")
	versions(t, func(t *testing.T, version string) {
		for name, command := range map[string]func(t *testing.T, roots, client string) *exec.Cmd{
			"openssl": func(t *testing.T, roots, client string) *exec.Cmd {
				args := []string{
					"s_client", "-connect", srv.Addr, "-tls1_" + version[2:], "-servername", "localhost", "-CAfile", filepath.Join(roots, "root.pem"),
					"-verify_return_error", "-verify_hostname", "localhost", "-quiet", "-no_ign_eof",
				}
				if client != "" {
					args = append(args, "-cert", filepath.Join(client, "client-chain.pem"), "-cert_chain", filepath.Join(client, "client-chain.pem"), "-key", filepath.Join(client, "client-key.pem"))
				}
				return exec.CommandContext(t.Context(), interop.Program(t, "openssl", "openssl"), args...)
			},
			"gnutls": func(t *testing.T, roots, client string) *exec.Cmd {
				args := []string{
					"--port", srv.Port(), "--priority", "NORMAL:-VERS-ALL:+VERS-TLS" + version, "--x509cafile", filepath.Join(roots, "root.pem"),
					"--sni-hostname", "localhost", "--verify-hostname", "localhost",
				}
				if client != "" {
					args = append(args, "--x509certfile", filepath.Join(client, "client-chain.pem"), "--x509keyfile", filepath.Join(client, "client-key.pem"))
				}
				return exec.CommandContext(t.Context(), interop.Program(t, "gnutls-bin", "gnutls-cli"), append(args, "127.0.0.1")...)
			},
		} {
			t.Run(name, func(t *testing.T) {
				cmd := command(t, dir, dir)
				in, err := cmd.StdinPipe()
				require.NoError(t, err)
				out, err := cmd.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, cmd.Start())
				_, err = io.WriteString(in, "¡hola, mundo!\n")
				require.NoError(t, err)
				for lines := bufio.NewScanner(out); ; {
					require.True(t, lines.Scan(), "no answer")
					if lines.Text() == "¡HOLA, MUNDO!" {
						break
					}
				}
				require.NoError(t, in.Close())
				_, err = io.Copy(io.Discard, out)
				require.NoError(t, err)
				require.NoError(t, cmd.Wait())

				for _, test := range []struct{ roots, client, reason string }{
					{dir, "", "the server refuses: no-certificate: "},
					{other, dir, "the client refuses: unknown-authority: "},
				} {
					cmd := command(t, test.roots, test.client)
					in, err := cmd.StdinPipe() // stays open: TLS 1.3 tells a client late
					require.NoError(t, err)
					before := strings.Count(srv.Stdout.String(), test.reason)
					out, err := cmd.CombinedOutput()
					require.Error(t, err, "%s", out)
					in.Close()
					srv.Stdout.WaitForCount(t, test.reason, before+1)
				}
			})
		}
	})
}

// The paths are what openssl takes for good ones.
func TestOpenSSLVerifies(t *testing.T) {
	program := interop.Program(t, "openssl", "openssl")
	for _, length := range []int{2, 3, 8} {
		dir := certs(t, length)
		for name, purpose := range map[string]string{"server": "sslserver", "client": "sslclient"} {
			chain := filepath.Join(dir, name+"-chain.pem")
			out, err := exec.CommandContext(t.Context(), program, "verify", "-x509_strict", "-purpose", purpose,
				"-CAfile", filepath.Join(dir, "root.pem"), "-untrusted", chain, chain).CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
	}
}

// pythonClient has the put and get of the course, in the network's byte order.
const pythonClient = `
import socket, ssl, struct, sys

def put(sock, data):
    sock.sendall(struct.pack("!I", len(data)) + data)

def get(sock):
    return exactly(sock, struct.unpack("!I", exactly(sock, 4))[0])

def exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError("closed too early")
        data += more
    return data

folder, port = sys.argv[1], int(sys.argv[2])
context = ssl.create_default_context(cafile=folder + "/root.pem")
context.load_cert_chain(folder + "/client-chain.pem", folder + "/client-key.pem")
with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as sock:
        put(sock, "¡hola, zócalo!".encode())
        print(get(sock).decode())
`

func TestPythonClient(t *testing.T) {
	python := interop.Python(t)
	dir := certs(t, 3)
	srv := clitest.Start(t, "server", "-port", "0", "-dir", dir, "-mutual")
	cmd := exec.CommandContext(t.Context(), python, "-c", pythonClient, dir, srv.Port())
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "¡HOLA, ZÓCALO!\n", strings.ReplaceAll(string(out), "\r\n", "\n"))
}
