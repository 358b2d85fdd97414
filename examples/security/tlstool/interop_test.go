package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func openssl(t *testing.T) string { return interop.Program(t, "openssl", "openssl") }

// peerServer runs somebody else's server until the test ends, and returns what
// the part of ready in parentheses matched in its output.
func peerServer(t *testing.T, ready, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	in, err := cmd.StdinPipe() // stays open: some end with their input
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	found := make(chan string, 1)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		pattern, said := regexp.MustCompile(ready), false
		lines := bufio.NewScanner(out)
		var all strings.Builder
		for lines.Scan() {
			fmt.Fprintln(&all, lines.Text())
			if m := pattern.FindStringSubmatch(lines.Text()); m != nil && !said {
				said = true
				found <- m[1]
			}
		}
		if !said {
			found <- ""
			t.Logf("%s: %s", program, all.String())
		}
	}()
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		<-drained
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

// sServer starts openssl's server, which sends each line back in reverse.
func (d folder) sServer(t *testing.T, name, version string, more ...string) string {
	t.Helper()
	return peerServer(t, `^ACCEPT (127\.0\.0\.1:\d+)`, openssl(t), append([]string{
		"s_server", "-accept", "127.0.0.1:0", "-rev", "-tls1_" + version[2:],
		"-cert", d.file(name + ".pem"), "-cert_chain", d.file(name + "-chain.pem"), "-key", d.file(name + "-key.pem"),
	}, more...)...)
}

// gnutlsServ starts GnuTLS's server, which sends each line back.
func (d folder) gnutlsServ(t *testing.T, name, version string, more ...string) string {
	t.Helper()
	program := interop.Program(t, "gnutls-bin", "gnutls-serv")
	ln, err := net.Listen("tcp", "127.0.0.1:0") // it cannot choose a port by itself
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	peerServer(t, `(listening on IPv4 .*done)`, program, append([]string{
		"--echo", "--port", port, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS" + version,
		"--x509certfile", d.file(name + "-chain.pem"), "--x509keyfile", d.file(name + "-key.pem"),
	}, more...)...)
	return "127.0.0.1:" + port
}

func TestConnectToOpenSSL(t *testing.T) {
	d := certs(t)
	both(t, func(t *testing.T, version string) {
		for _, test := range serverFaults {
			addr := d.sServer(t, test.name, version)
			requireRefused(t, d.connect(t, addr, "hola\n"), "client", test.reason)
		}
		addr := d.sServer(t, "server", version)
		got := d.connect(t, addr, "hola\nmundo\n")
		require.Equal(t, clitest.Result{Stdout: "aloh\nodnum\n"}, got)

		addr = d.sServer(t, "server", version, "-Verify", "3", "-verify_return_error", "-CAfile", d.file("root.pem"))
		for _, test := range clientFaults {
			if test.name == "toodeep" {
				continue // it is no client's either, and OpenSSL looks at that first
			}
			got := d.connect(t, addr, "hola\n", d.pair(test.name)...)
			requireRefused(t, got, "server", test.reason)
		}
		got = d.connect(t, addr, "hola\n", d.pair("client")...)
		require.Equal(t, clitest.Result{Stdout: "aloh\n"}, got)
	})
}

func TestConnectToGnuTLS(t *testing.T) {
	d := certs(t)
	both(t, func(t *testing.T, version string) {
		for _, test := range serverFaults {
			addr := d.gnutlsServ(t, test.name, version, "--disable-client-cert")
			requireRefused(t, d.connect(t, addr, "hola\n"), "client", test.reason)
		}
		addr := d.gnutlsServ(t, "server", version, "--disable-client-cert")
		got := d.connect(t, addr, "hola\nmundo\n")
		require.Equal(t, clitest.Result{Stdout: "hola\nmundo\n"}, got)

		addr = d.gnutlsServ(t, "server", version, "--require-client-cert", "--verify-client-cert", "--x509cafile", d.file("root.pem"))
		for _, test := range clientFaults {
			if test.name == "server" {
				continue // gnutls-serv does not ask what a client's certificate is for
			}
			got := d.connect(t, addr, "hola\n", d.pair(test.name)...)
			requireRefused(t, got, "server", test.reason)
		}
		got = d.connect(t, addr, "hola\n", d.pair("client")...)
		require.Equal(t, clitest.Result{Stdout: "hola\n"}, got)
	})
}

// A peerClient is somebody else's client.
type peerClient func(t *testing.T, d folder, addr, name, version string) *exec.Cmd

func sClient(t *testing.T, d folder, addr, name, version string) *exec.Cmd {
	args := []string{
		"s_client", "-connect", addr, "-tls1_" + version[2:], "-servername", "localhost",
		"-CAfile", d.file("root.pem"), "-verify_return_error", "-verify_hostname", "localhost", "-quiet", "-no_ign_eof",
	}
	if name != "" {
		args = append(args, "-cert", d.file(name+".pem"), "-cert_chain", d.file(name+"-chain.pem"), "-key", d.file(name+"-key.pem"))
	}
	return exec.CommandContext(t.Context(), openssl(t), args...)
}

func gnutlsCLI(t *testing.T, d folder, addr, name, version string) *exec.Cmd {
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	args := []string{
		"--port", port, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS" + version, "--x509cafile", d.file("root.pem"),
		"--sni-hostname", "localhost", "--verify-hostname", "localhost",
	}
	if name != "" {
		args = append(args, "--x509certfile", d.file(name+"-chain.pem"), "--x509keyfile", d.file(name+"-key.pem"))
	}
	return exec.CommandContext(t.Context(), interop.Program(t, "gnutls-bin", "gnutls-cli"), append(args, host)...)
}

// converses fails unless a line comes back to somebody else's client.
func converses(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, "¡hola, mundo!\n")
	require.NoError(t, err)
	for lines := bufio.NewScanner(out); ; {
		require.True(t, lines.Scan(), "%v: no echo", cmd.Args)
		if lines.Text() == "¡hola, mundo!" {
			break
		}
	}
	require.NoError(t, in.Close())
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
}

func serveTo(t *testing.T, client peerClient) {
	d := certs(t)
	both(t, func(t *testing.T, version string) {
		for _, test := range serverFaults {
			t.Run(test.name, func(t *testing.T) {
				srv := d.serve(t, test.name, "1.3")
				out, err := client(t, d, srv.Addr, "", version).CombinedOutput()
				require.Error(t, err, "%s", out)
				requireServerSays(t, srv, "client", test.reason)
			})
		}
		srv := d.serve(t, "server", "1.3")
		converses(t, client(t, d, srv.Addr, "", version))
		for _, test := range clientFaults {
			t.Run("client "+test.name, func(t *testing.T) {
				srv := d.serve(t, "server", "1.3", "--client-ca", d.file("root.pem"))
				cmd := client(t, d, srv.Addr, test.name, version)
				in, err := cmd.StdinPipe() // stays open: TLS 1.3 tells a client late
				require.NoError(t, err)
				defer in.Close()
				out, err := cmd.CombinedOutput()
				require.Error(t, err, "%s", out)
				requireServerSays(t, srv, "server", test.reason)
			})
		}
		srv = d.serve(t, "server", "1.3", "--client-ca", d.file("root.pem"))
		converses(t, client(t, d, srv.Addr, "client", version))
	})
}

func TestServeToOpenSSL(t *testing.T) { serveTo(t, sClient) }
func TestServeToGnuTLS(t *testing.T)  { serveTo(t, gnutlsCLI) }

// OpenSSL finds the same faults in the files.
func TestOpenSSLVerifies(t *testing.T) {
	d := certs(t)
	program := openssl(t)
	for _, test := range []struct {
		name, purpose, host string
		says                string // "" for no fault
	}{
		{"server", "sslserver", "localhost", ""},
		{"server", "sslserver", "server.test", ""},
		{"client", "sslclient", "", ""},
		{"expired", "sslserver", "localhost", "certificate has expired"},
		{"expired-client", "sslclient", "", "certificate has expired"},
		{"future", "sslserver", "localhost", "certificate is not yet valid"},
		{"wrongname", "sslserver", "localhost", "hostname mismatch"},
		{"wronguse", "sslserver", "localhost", "unsuitable certificate purpose"},
		{"server", "sslclient", "", "unsuitable certificate purpose"},
		{"toodeep", "sslserver", "localhost", "path length constraint exceeded"},
		{"other-server", "sslserver", "localhost", "unable to get local issuer certificate"},
		{"other-client", "sslclient", "", "unable to get local issuer certificate"},
	} {
		args := []string{"verify", "-x509_strict", "-CAfile", d.file("root.pem"), "-untrusted", d.file(test.name + "-chain.pem"), "-purpose", test.purpose}
		if test.host != "" {
			args = append(args, "-verify_hostname", test.host)
		}
		out, err := exec.CommandContext(t.Context(), program, append(args, d.file(test.name+".pem"))...).CombinedOutput()
		if test.says == "" {
			require.NoError(t, err, "%s: %s", test.name, out)
		} else {
			require.Error(t, err, test.name)
			require.Contains(t, string(out), test.says, test.name)
		}
	}
	out, err := exec.CommandContext(t.Context(), program, "pkey", "-in", d.file("encrypted-key.pem"), "-passin", "pass:"+keyPassword, "-pubout").Output()
	require.NoError(t, err)
	want, err := exec.CommandContext(t.Context(), program, "x509", "-in", d.file("server.pem"), "-pubkey", "-noout").Output()
	require.NoError(t, err)
	require.Equal(t, string(want), string(out))
	text, err := exec.CommandContext(t.Context(), program, "asn1parse", "-in", d.file("encrypted-key.pem")).Output()
	require.NoError(t, err)
	for _, word := range []string{"PBES2", "PBKDF2", "aes-256-cbc", "hmacWithSHA256", ":0927C0"} { // 600,000
		require.Contains(t, string(text), word)
	}
}

// GnuTLS reads the encrypted key too.
func TestGnuTLSReadsKey(t *testing.T) {
	d := certs(t)
	program := interop.Program(t, "gnutls-bin", "certtool")
	out, err := exec.CommandContext(t.Context(), program, "--key-info", "--infile", d.file("encrypted-key.pem"), "--password", keyPassword).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "EC/ECDSA")
}
