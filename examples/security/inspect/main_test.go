package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/tlsx"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	d := folder(t)
	clitest.Conventions(t, []string{"serve", "-cert", d("shop.pem"), "-key", d("shop-key.pem")})
}

// folder makes the demo's files and returns where each is.
func folder(t *testing.T) func(name string) string {
	t.Helper()
	dir, err := write()
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return func(name string) string { return filepath.Join(dir, name) }
}

// oneLine fails unless a program failed with this status and one line.
func oneLine(t *testing.T, got clitest.Result, status int, says string) {
	t.Helper()
	require.Equal(t, status, got.Status, "%+v", got)
	require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	require.Contains(t, got.Stderr, says)
}

func TestHost(t *testing.T) {
	d := folder(t)
	srv := clitest.Start(t, "serve", "-port", "0", "-cert", d("shop.pem"), "-key", d("shop-key.pem"))
	saved := d("saved.pem")
	got := clitest.Run(t, "", "host", "-name", "shop.test", "-ca", d("roots.pem"), "-save", saved, srv.Addr)
	require.Zero(t, got.Status, got.Stderr)
	require.Empty(t, got.Stderr)
	for _, part := range []string{
		srv.Addr + " sends 2 certificates over TLS 1.3, ",
		"1 of 2: 8 fields, 5 extensions\ncertificate \"shop.test\"\n",
		"2 of 2: 8 fields, 4 extensions\ncertificate \"North Issuing 1\"\n",
		"issuer: CN=North Issuing 1,O=North Trust",
		"DNS shop.test, DNS www.shop.test",
		"hierarchy:\n  North Root (root), until ",
		"\n  └─ North Issuing 1 (authority), until ",
		"\n     └─ shop.test (server authentication), until ",
		"good for shop.test: North Root vouches for it\n",
	} {
		require.Contains(t, got.Stdout, part)
	}
	require.Equal(t, read(t, d("shop.pem")), read(t, saved))
	oneLine(t, clitest.Run(t, "", "host", "-name", "shop.test", "-ca", d("roots.pem"), "-save", saved, srv.Addr), 1, "saved.pem")

	// By its address, which is in no certificate, and by the system's
	// authorities, which do not know it. It is shown all the same.
	got = clitest.Run(t, "", "host", "-short", "-ca", d("roots.pem"), srv.Addr)
	oneLine(t, got, 1, "inspect: refused: wrong-name: asked for 127.0.0.1, valid for shop.test, www.shop.test")
	require.Contains(t, got.Stdout, "  └─ North Issuing 1 (authority)")
	got = clitest.Run(t, "", "host", "-name", "shop.test", srv.Addr)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stdout, `certificate "shop.test"`)
	require.Contains(t, got.Stderr, "unknown-authority")
	oneLine(t, clitest.Run(t, "", "host", "-short", "-use", "client", "-name", "shop.test", "-ca", d("roots.pem"), srv.Addr), 1, "refused: wrong-use: ")
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(data)
}

func TestFile(t *testing.T) {
	d := folder(t)
	for _, test := range []struct {
		file, name string
		says       string // "" for a chain that holds
	}{
		{"shop.pem", "shop.test", ""},
		{"shop.pem", "", ""},
		{"bank.pem", "www.bank.test", ""},
		{"bank.pem", "bank.test", ""},
		{"bank.pem", "www.east.bank.test", "refused: wrong-name: "},
		{"expired.pem", "shop.test", "refused: expired: "},
		{"incomplete.pem", "shop.test", `refused: unknown-authority: "shop.test" is signed by "North Issuing 1", whose certificate is neither trusted nor was it sent`},
		{"roots.pem", "", ""}, // a root vouches for itself
	} {
		args := []string{"file", "-short", "-ca", d("roots.pem")}
		if test.file == "roots.pem" {
			args = append(args, "-use", "any")
		}
		if test.name != "" {
			args = append(args, "-name", test.name)
		}
		got := clitest.Run(t, "", append(args, d(test.file))...)
		require.Contains(t, got.Stdout, "hierarchy:\n")
		if test.says == "" {
			require.Zero(t, got.Status, "%v: %s", test, got.Stderr)
			require.Contains(t, got.Stdout, " vouches for it\n")
		} else {
			oneLine(t, got, 1, "inspect: "+test.says)
		}
	}
}

// The other names of the same thing: DER, which .crt and .cer files often hold,
// and text around the blocks.
func TestForms(t *testing.T) {
	d := folder(t)
	block, _ := pem.Decode([]byte(read(t, d("bank.pem"))))
	require.NoError(t, os.WriteFile(d("bank.crt"), block.Bytes, 0o600))
	require.NoError(t, os.WriteFile(d("notes.pem"), []byte("The bank's:\n\n"+read(t, d("bank.pem"))+"\nand its key:\n"+read(t, d("bank-key.pem"))), 0o600))
	want := clitest.Run(t, "", "file", "-ca", d("roots.pem"), d("bank.pem"))
	require.Zero(t, want.Status, want.Stderr)
	for _, name := range []string{"bank.crt", "notes.pem"} {
		require.Equal(t, want, clitest.Run(t, "", "file", "-ca", d("roots.pem"), d(name)))
	}
}

func TestBadInput(t *testing.T) {
	d := folder(t)
	put := func(name, text string) { require.NoError(t, os.WriteFile(d(name), []byte(text), 0o600)) }
	put("empty.pem", "")
	put("cut.pem", read(t, d("shop.pem"))[:300])
	put("text.pem", "no certificate at all\n")
	put("many.pem", strings.Repeat(read(t, d("shop.pem")), 40))
	put("chain.pem", strings.Repeat(read(t, d("shop.pem")), 10))
	put("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	for name, says := range map[string]string{
		"empty.pem":    "empty",
		"cut.pem":      "damaged PEM",
		"text.pem":     "this is not PEM",
		"many.pem":     "80 certificates: that is no chain",
		"bad.pem":      "the one at place 1",
		"shop-key.pem": "no certificate but private key",
		"none.pem":     "none.pem",
	} {
		oneLine(t, clitest.Run(t, "", "file", "-ca", d("roots.pem"), d(name)), 1, says)
	}
	oneLine(t, clitest.Run(t, "", "file", "-short", "-ca", d("roots.pem"), d("chain.pem")), 1, "20 certificates were sent, more than 16")
	oneLine(t, clitest.Run(t, "", "file", "-ca", d("empty.pem"), d("shop.pem")), 1, "empty.pem")
	for _, args := range [][]string{
		{"file"},
		{"file", "a", "b"},
		{"host"},
		{"host", "a", "b"},
		{"host", ""},
		{"host", "https://shop.test/"},
		{"host", "a:b:"},
		{"host", "-use", "both", "shop.test"},
		{"serve"},
		{"serve", "-cert", d("shop.pem")},
		{"roots", "more"},
	} {
		oneLine(t, clitest.Run(t, "", args...), 2, "inspect: ")
	}
	oneLine(t, clitest.Run(t, "", "serve", "-cert", d("shop.pem"), "-key", d("bank-key.pem")), 1, "not the one")
}

func TestTarget(t *testing.T) {
	for arg, want := range map[string][2]string{
		"shop.test":      {"shop.test:443", "shop.test"},
		"shop.test:8443": {"shop.test:8443", "shop.test"},
		"192.0.2.1":      {"192.0.2.1:443", "192.0.2.1"},
		"::1":            {"[::1]:443", "::1"},
		"[::1]":          {"[::1]:443", "::1"},
		"[::1]:8443":     {"[::1]:8443", "::1"},
	} {
		addr, name, err := target(arg)
		require.NoError(t, err, arg)
		require.Equal(t, want, [2]string{addr, name}, arg)
	}
}

func FuzzTarget(f *testing.F) {
	for _, arg := range []string{"shop.test", "shop.test:443", "::1", "[::1]:443", ":", "[", "a:b:c"} {
		f.Add(arg)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		addr, name, err := target(arg)
		if err != nil {
			return
		}
		host, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		require.Equal(t, name, host)
		require.NotEmpty(t, name)
	})
}

// answer serves one connection.
func answer(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	addr, _ = clitest.Stranger(t, func(conn net.Conn, _ <-chan struct{}) { serve(conn) })
	return addr
}

func TestBadHosts(t *testing.T) {
	addr := answer(t, func(conn net.Conn) { io.WriteString(conn, "SSH-2.0-x\r\n"); io.Copy(io.Discard, conn) })
	oneLine(t, clitest.Run(t, "", "host", addr), 1, addr+" does not speak TLS: it begins with \"SSH-2\"")
	addr = answer(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	oneLine(t, clitest.Run(t, "", "host", "-timeout", "100ms", addr), 1, "no handshake with "+addr)
	addr = answer(t, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 5))
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	})
	oneLine(t, clitest.Run(t, "", "host", addr), 1, "no handshake with "+addr)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln.Close()
	oneLine(t, clitest.Run(t, "", "host", ln.Addr().String()), 1, ln.Addr().String())
}

// A server that wants a certificate from us shows its own all the same.
func TestMutualHost(t *testing.T) {
	d := folder(t)
	key, err := tls.LoadX509KeyPair(d("shop.pem"), d("shop-key.pem"))
	require.NoError(t, err)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		addr := answer(t, func(conn net.Conn) {
			server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{key}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: version})
			server.Handshake()
			io.Copy(io.Discard, conn)
		})
		got := clitest.Run(t, "", "host", "-name", "shop.test", "-ca", d("roots.pem"), addr)
		require.Zero(t, got.Status, got.Stderr)
		require.Contains(t, got.Stdout, "good for shop.test")
	}
}

// Whoever connects and says nothing keeps nobody else from being served.
func TestServeSilent(t *testing.T) {
	d := folder(t)
	srv := clitest.Start(t, "serve", "-port", "0", "-cert", d("shop.pem"), "-key", d("shop-key.pem"))
	for range 5 {
		conn, err := net.Dial("tcp", srv.Addr)
		require.NoError(t, err)
		defer conn.Close()
	}
	got := clitest.Run(t, "", "host", "-short", "-name", "shop.test", "-ca", d("roots.pem"), srv.Addr)
	require.Zero(t, got.Status, got.Stderr)
	require.Zero(t, srv.Stop())
}

func TestRoots(t *testing.T) {
	d := folder(t)
	got := clitest.Run(t, "", "roots", "-file", d("roots.pem"))
	require.Zero(t, got.Status, got.Stderr)
	require.Regexp(t, `^authority +key +until +SHA-256\nNorth Root  ECDSA P-256  \d{4}-\d\d-\d\d  ([0-9A-F]{2}:){7}[0-9A-F]{2}…\nSouth Root .*\n2 of 2: 2 ECDSA P-256\n$`, got.Stdout)
	got = clitest.Run(t, "", "roots", "-file", d("roots.pem"), "-match", "south trust")
	require.Contains(t, got.Stdout, "South Root")
	require.NotContains(t, got.Stdout, "North Root")
	require.Contains(t, got.Stdout, "1 of 2: ")
	require.Contains(t, clitest.Run(t, "", "roots", "-file", d("roots.pem"), "-match", "west").Stdout, "0 of 2: none\n")
	require.Contains(t, clitest.Run(t, "", "roots", "-file", d("expired.pem")).Stdout, "; 1 over\n")

	// The system's own, if it shows them: where SSL_CERT_FILE says.
	t.Setenv("SSL_CERT_FILE", d("roots.pem"))
	if _, err := tlsx.SystemRoots(); err != nil {
		oneLine(t, clitest.Run(t, "", "roots"), 1, "shows no list")
		return
	}
	require.Equal(t, clitest.Run(t, "", "roots", "-file", d("roots.pem")), clitest.Run(t, "", "roots"))
	got = clitest.Run(t, "", "file", "-short", "-name", "shop.test", d("shop.pem"))
	require.Zero(t, got.Status, "the system's authorities vouch without -ca: %s", got.Stderr)
	t.Setenv("SSL_CERT_FILE", d("none.pem"))
	t.Setenv("SSL_CERT_DIR", filepath.Dir(d("x"))+"-none")
	oneLine(t, clitest.Run(t, "", "roots"), 1, "-file names one")
}

func TestFields(t *testing.T) {
	require.Equal(t, 8, fields(&x509.Certificate{Version: 3, Extensions: parse(t, "shop.pem")[0].Extensions}))
	require.Equal(t, 7, fields(&x509.Certificate{Version: 3}))
	require.Equal(t, 6, fields(&x509.Certificate{Version: 1}))
}

func parse(t *testing.T, name string) []*x509.Certificate {
	t.Helper()
	certs, err := readCertificates(folder(t)(name))
	require.NoError(t, err)
	return certs
}

// openssl says the same of a certificate, and its server can be looked at.
func TestOpenSSL(t *testing.T) {
	program := interop.Program(t, "openssl", "openssl")
	d := folder(t)
	out, err := exec.CommandContext(t.Context(), program, "x509", "-in", d("shop.pem"), "-noout", "-serial", "-fingerprint", "-sha256", "-enddate", "-ext", "subjectAltName").Output()
	require.NoError(t, err)
	ours := clitest.Run(t, "", "file", "-ca", d("roots.pem"), d("shop.pem")).Stdout
	for _, pattern := range []string{`Fingerprint=(.*)`, `serial=(.*)`} {
		value := regexp.MustCompile(pattern).FindStringSubmatch(string(out))[1]
		require.Contains(t, strings.ReplaceAll(ours, ":", ""), strings.ReplaceAll(value, ":", ""))
	}

	chain, err := readCertificates(d("shop.pem"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(d("above.pem"), tlsx.EncodeCertificates(chain[1:]...), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "s_server", "-accept", "127.0.0.1:0", "-www", "-tls1_2",
		"-cert", d("shop.pem"), "-cert_chain", d("above.pem"), "-key", d("shop-key.pem"))
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cancel()
	var text strings.Builder
	ready := regexp.MustCompile(`(?m)^ACCEPT (127\.0\.0\.1:\d+)$`)
	buf := make([]byte, 4096)
	for !ready.MatchString(text.String()) {
		n, err := pipe.Read(buf)
		require.NoError(t, err, text.String())
		text.Write(buf[:n])
	}
	addr := ready.FindStringSubmatch(text.String())[1]
	got := clitest.Run(t, "", "host", "-name", "shop.test", "-ca", d("roots.pem"), addr)
	require.Zero(t, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "sends 2 certificates over TLS 1.2")
	require.Contains(t, got.Stdout, ours[strings.Index(ours, "certificate \"shop.test\""):strings.Index(ours, "2 of 2")])
}
