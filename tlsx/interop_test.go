package tlsx_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/tlsx"
)

// The peers, and the folder of files that they read.

func openssl(t testing.TB) string  { return interop.Program(t, "openssl", "openssl") }
func certtool(t testing.TB) string { return interop.Program(t, "gnutls-bin", "certtool") }

// run runs a program to its end and returns all that it printed.
func run(t testing.TB, stdin string, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// works runs a program that must succeed.
func works(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := run(t, "", program, args...)
	require.NoError(t, err, "%s %s\n%s", program, strings.Join(args, " "), out)
	return out
}

// files lays the certificates of a world down in a folder, in the manner of the
// course's tlstool: NAME.pem, NAME-chain.pem, NAME-key.pem.
func files(t testing.TB, w *world) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name string, mode os.FileMode, data []byte) {
		require.NoError(t, tlsx.WriteFile(at(name), data, mode, false))
	}
	putKey := func(name string, key crypto.PrivateKey) {
		data, err := tlsx.EncodeKey(key.(crypto.Signer), nil)
		require.NoError(t, err)
		put(name+"-key.pem", 0o600, data)
	}
	for name, a := range map[string]*tlsx.Authority{"root": w.root, "intermediate": w.intermediate, "toodeep-ca": w.toodeepCA, "other-root": w.other} {
		put(name+".pem", 0o644, tlsx.EncodeCertificates(a.Cert))
		putKey(name, a.Key)
	}
	for name, c := range map[string]*tls.Certificate{
		"server": w.server, "client": w.client, "expired": w.expired, "future": w.future, "wrongname": w.wrongName,
		"wronguse": w.wrongUse, "toodeep": w.toodeep, "expired-client": w.expiredClient, "wronguse-client": w.wrongUseClient,
		"other-server": w.otherServer, "other-client": w.otherClient, "plain": w.plain, "toodeep-client": w.toodeepClient,
	} {
		certs := chain(t, c)
		put(name+".pem", 0o644, tlsx.EncodeCertificates(certs[0]))
		put(name+"-chain.pem", 0o644, tlsx.EncodeCertificates(certs...))
		putKey(name, c.PrivateKey)
	}
	return at
}

// TestOpenSSLVerify: OpenSSL and we agree on every certificate, good and faulty.
func TestOpenSSLVerify(t *testing.T) {
	ssl := openssl(t)
	w := newWorld(t, time.Now())
	at := files(t, w)
	for _, test := range []struct {
		name, purpose string
		words         string // of OpenSSL; "" if it accepts
	}{
		{"server", "sslserver", ""},
		{"client", "sslclient", ""},
		{"plain", "sslserver", ""},
		{"expired", "sslserver", "certificate has expired"},
		{"future", "sslserver", "certificate is not yet valid"},
		{"wrongname", "sslserver", "hostname mismatch"},
		{"wronguse", "sslserver", "purpose"},
		{"toodeep", "sslserver", "path length constraint exceeded"},
		{"other-server", "sslserver", "unable to get local issuer certificate"},
	} {
		args := []string{"verify", "-x509_strict", "-CAfile", at("root.pem"), "-untrusted", at(test.name + "-chain.pem"), "-purpose", test.purpose}
		opts := tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}}
		if test.purpose == "sslclient" {
			opts.Uses = clientUse
		} else {
			args = append(args, "-verify_hostname", "localhost")
			opts.Name = "localhost"
		}
		out, err := run(t, "", ssl, append(args, at(test.name+".pem"))...)
		data, e := tlsx.ReadFile(at(test.name + "-chain.pem"))
		require.NoError(t, e)
		certs, e := tlsx.ParseCertificates(data)
		require.NoError(t, e)
		_, ours := tlsx.Verify(certs, opts)
		if test.words == "" {
			require.NoError(t, err, out)
			require.NoError(t, ours)
			continue
		}
		require.Error(t, err, "%s: openssl accepts it", test.name)
		require.Contains(t, out, test.words)
		require.Error(t, ours)
	}
}

// TestOpenSSLReads: OpenSSL shows of a certificate, a request, a list and keys
// what we put in.
func TestOpenSSLReads(t *testing.T) {
	ssl := openssl(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, data, 0o600))
		return name
	}
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Root")})
	require.NoError(t, err)
	for _, kind := range []tlsx.KeyType{tlsx.ECDSAP256, tlsx.ECDSAP384, tlsx.Ed25519, tlsx.RSA2048} {
		key := rsaKey()
		if kind != tlsx.RSA2048 {
			key, err = tlsx.NewKey(kind)
			require.NoError(t, err)
		}
		cert, err := root.Issue(tlsx.Template{Subject: called("x"), Names: []string{"a.test", "mañana.test", "192.0.2.7", "2001:db8::7", "jose@a.test", "https://a.test/p"}, Key: key})
		require.NoError(t, err)
		out := works(t, ssl, "x509", "-noout", "-text", "-in", write("x.pem", tlsx.EncodeCertificates(cert.Leaf)))
		require.Contains(t, out, "DNS:a.test, DNS:xn--maana-pta.test, email:jose@a.test, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7, URI:https://a.test/p")
		require.Contains(t, out, "TLS Web Server Authentication")
		fingerprint := works(t, ssl, "x509", "-noout", "-fingerprint", "-sha256", "-in", filepath.Join(dir, "x.pem"))
		require.Contains(t, strings.TrimSpace(fingerprint), tlsx.Fingerprint(cert.Leaf))

		req, _, err := tlsx.NewRequest(tlsx.Template{Subject: called("jose"), Names: []string{"a.test"}, Key: key})
		require.NoError(t, err)
		out = works(t, ssl, "req", "-verify", "-noout", "-text", "-in", write("r.pem", tlsx.EncodeRequest(req)))
		require.Contains(t, out, "DNS:a.test")

		encryptions := []*tlsx.Encryption{nil}
		if kind == tlsx.ECDSAP256 { // what is inside is the same, and slow on purpose
			encryptions = append(encryptions, &tlsx.Encryption{Passphrase: "opensesame"}, &tlsx.Encryption{Passphrase: "opensesame", Scrypt: true})
		}
		for _, enc := range encryptions {
			data, err := tlsx.EncodeKey(key, enc)
			require.NoError(t, err)
			file := write("k.pem", data)
			args := []string{"pkcs8", "-in", file, "-passin", "pass:opensesame"}
			if enc == nil {
				args = append(args, "-nocrypt")
			}
			out = works(t, ssl, args...)
			back, err := tlsx.ParseKey([]byte(out), "")
			require.NoError(t, err)
			require.Equal(t, key.Public(), back.Public())
			if enc != nil {
				_, err := run(t, "", ssl, "pkcs8", "-in", file, "-passin", "pass:wrong")
				require.Error(t, err)
			}
		}
		if kind != tlsx.ECDSAP256 {
			continue
		}
		data, err := tlsx.EncodePKCS12(cert, "opensesame")
		require.NoError(t, err)
		out = works(t, ssl, "pkcs12", "-in", write("x.p12", data), "-passin", "pass:opensesame", "-nodes")
		require.Contains(t, out, "BEGIN PRIVATE KEY")
		require.Contains(t, out, "BEGIN CERTIFICATE")
	}
}

// TestOpenSSLKeys: keys and PKCS#12 files that OpenSSL made are read, in all the
// forms that it makes today; those that protect little are refused.
func TestOpenSSLKeys(t *testing.T) {
	ssl := openssl(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	works(t, ssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", at("ec.pem"))
	works(t, ssl, "genpkey", "-algorithm", "ed25519", "-out", at("ed.pem"))
	works(t, ssl, "genrsa", "-out", at("rsa.pem"), "2048")
	works(t, ssl, "rsa", "-traditional", "-in", at("rsa.pem"), "-out", at("rsa1.pem"))
	for _, name := range []string{"ec.pem", "ed.pem", "rsa.pem", "rsa1.pem"} {
		data, err := tlsx.ReadFile(at(name))
		require.NoError(t, err)
		key, err := tlsx.ParseKey(data, "")
		require.NoError(t, err, name)
		for _, args := range [][]string{
			{"-v2", "aes-256-cbc"},
			{"-v2", "aes-128-cbc", "-iter", "100000"},
			{"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"},
			{"-v2", "des3"},
			{"-scrypt"},
		} {
			out := works(t, ssl, append([]string{"pkcs8", "-topk8", "-in", at(name), "-passout", "pass:opensesame"}, args...)...)
			again, err := tlsx.ParseKey([]byte(out), "opensesame")
			require.NoError(t, err, "%s %v", name, args)
			require.Equal(t, key.Public(), again.Public())
			for _, wrong := range []string{"", "wrong"} {
				_, err = tlsx.ParseKey([]byte(out), wrong)
				require.ErrorIs(t, err, tlsx.ErrPassphrase)
			}
		}
		for _, c := range []struct {
			args  []string
			words string
		}{
			{[]string{"pkcs8", "-topk8", "-v2prf", "hmacWithSHA512"}, "HMAC-SHA-512"},
			{[]string{"pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"}, "not PBES2"},
		} {
			out := works(t, ssl, append(c.args, "-in", at(name), "-passout", "pass:opensesame")...)
			_, err = tlsx.ParseKey([]byte(out), "opensesame")
			require.ErrorContains(t, err, c.words)
		}
	}
	out := works(t, ssl, "rsa", "-traditional", "-aes256", "-in", at("rsa.pem"), "-passout", "pass:opensesame")
	_, err := tlsx.ParseKey([]byte(out), "opensesame")
	require.ErrorContains(t, err, "old way of PEM")

	works(t, ssl, "req", "-x509", "-new", "-key", at("ec.pem"), "-subj", "/CN=x", "-addext", "subjectAltName=DNS:x.test", "-out", at("x.pem"))
	for _, args := range [][]string{{}, {"-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC", "-iter", "5000"}} {
		works(t, ssl, append([]string{"pkcs12", "-export", "-inkey", at("ec.pem"), "-in", at("x.pem"), "-out", at("x.p12"), "-passout", "pass:opensesame"}, args...)...)
		data, err := tlsx.ReadFile(at("x.p12"))
		require.NoError(t, err)
		cert, err := tlsx.ParsePKCS12(data, "opensesame")
		require.NoError(t, err)
		require.Equal(t, []string{"x.test"}, cert.Leaf.DNSNames)
		for _, wrong := range []string{"", "wrong"} {
			_, err = tlsx.ParsePKCS12(data, wrong)
			require.ErrorIs(t, err, tlsx.ErrPassphrase)
		}
	}
	works(t, ssl, "pkcs12", "-export", "-legacy", "-inkey", at("ec.pem"), "-in", at("x.pem"), "-out", at("old.p12"), "-passout", "pass:opensesame")
	data, err := tlsx.ReadFile(at("old.p12"))
	require.NoError(t, err)
	_, err = tlsx.ParsePKCS12(data, "opensesame")
	require.ErrorContains(t, err, "not PBES2")
}

// TestOpenSSLRequest: a request that OpenSSL made is signed, and the reverse.
func TestOpenSSLRequest(t *testing.T) {
	ssl := openssl(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	works(t, ssl, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at("k.pem"), "-out", at("r.pem"),
		"-subj", "/C=ES/O=UGR/CN=jose", "-addext", "subjectAltName=DNS:jose.test,email:jose@jose.test", "-addext", "basicConstraints=CA:TRUE")
	data, err := tlsx.ReadFile(at("r.pem"))
	require.NoError(t, err)
	req, err := tlsx.ParseRequest(data)
	require.NoError(t, err)
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Root")})
	require.NoError(t, err)
	certs, err := root.Sign(req, tlsx.Template{Uses: clientUse})
	require.NoError(t, err)
	require.False(t, certs[0].IsCA, "what the request asks for is not heeded")
	require.Equal(t, []string{"jose.test"}, certs[0].DNSNames)
	require.NoError(t, os.WriteFile(at("root.pem"), tlsx.EncodeCertificates(root.Cert), 0o600))
	require.NoError(t, os.WriteFile(at("c.pem"), tlsx.EncodeCertificates(certs...), 0o600))
	require.Contains(t, works(t, ssl, "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", at("root.pem"), at("c.pem")), "OK")
	_, err = tlsx.LoadCertificate(at("c.pem"), at("k.pem"), "")
	require.NoError(t, err)
}

// TestOpenSSLRevocation: OpenSSL finds our revocations, by list and by OCSP.
func TestOpenSSLRevocation(t *testing.T) {
	ssl := openssl(t)
	now := time.Now()
	w := newWorld(t, now)
	at := files(t, w)
	revoked := []x509.RevocationListEntry{{SerialNumber: w.plain.Leaf.SerialNumber, RevocationTime: now.Add(-time.Minute), ReasonCode: 1}}
	list, err := w.root.CRL(7, revoked, now.Add(-time.Minute), now.Add(time.Hour))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("crl.pem"), tlsx.EncodeCRL(list), 0o600))
	out := works(t, ssl, "crl", "-noout", "-text", "-in", at("crl.pem"), "-CAfile", at("root.pem"))
	require.Contains(t, out, "verify OK")
	require.Contains(t, out, "Key Compromise")
	out, err = run(t, "", ssl, "verify", "-CAfile", at("root.pem"), "-crl_check", "-CRLfile", at("crl.pem"), at("plain.pem"))
	require.Error(t, err)
	require.Contains(t, out, "certificate revoked")

	works(t, ssl, "ocsp", "-issuer", at("root.pem"), "-cert", at("plain.pem"), "-no_nonce", "-reqout", at("q.der"))
	question, err := tlsx.ReadFile(at("q.der"))
	require.NoError(t, err)
	for _, test := range []struct {
		revoked []x509.RevocationListEntry
		words   string
	}{{nil, "plain.pem: good"}, {revoked, "plain.pem: revoked"}} {
		answer, err := w.root.AnswerOCSP(question, test.revoked, now.Add(-time.Minute), now.Add(time.Hour))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(at("a.der"), answer, 0o600))
		out = works(t, ssl, "ocsp", "-issuer", at("root.pem"), "-cert", at("plain.pem"), "-respin", at("a.der"), "-CAfile", at("root.pem"), "-no_nonce")
		require.Contains(t, out, "verify OK")
		require.Contains(t, out, test.words)
	}
}

// A peer is a server of another make that runs during a test.
type peer struct {
	addr string
	out  *output
	done chan struct{} // closed when the program has ended
}

// An output keeps what a program prints, and lets tests wait for words in it.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b.Write(p)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

func (o *output) look() (string, chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String(), o.changed
}

// startPeer starts a server and waits until it has said that it listens.
func startPeer(t testing.TB, addr, ready, program string, args ...string) *peer {
	t.Helper()
	p := &peer{addr: addr, out: &output{changed: make(chan struct{})}, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	stdin, err := cmd.StdinPipe() // open: at its end s_server would stop
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	require.NoError(t, cmd.Start())
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		stdin.Close()
	})
	limit := time.After(20 * time.Second)
	for {
		text, changed := p.out.look()
		if strings.Contains(text, ready) {
			return p
		}
		select {
		case <-changed:
		case <-p.done:
			text, _ = p.out.look()
			t.Fatalf("%s %s ended:\n%s", program, strings.Join(args, " "), text)
		case <-limit:
			t.Fatalf("%s %s does not listen:\n%s", program, strings.Join(args, " "), text)
		}
	}
}

// freeAddr is an address that was free a moment ago.
func freeAddr(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return netip.MustParseAddrPort(ln.Addr().String())
}

// A make is another implementation of TLS.
type maker struct {
	name string
	// server starts a server that sends lines back, changed or not; with cas it
	// demands a certificate of clients.
	server func(t testing.TB, at func(string) string, version uint16, cert, cas string) *peer
	// client is the command of a client that checks the server's certificate
	// for localhost, sends "hola" and prints what comes back.
	client func(t testing.TB, at func(string) string, version uint16, addr netip.AddrPort, cert string) (string, []string)
}

func makes() []maker {
	sslVersion := map[uint16]string{tls.VersionTLS12: "-tls1_2", tls.VersionTLS13: "-tls1_3"}
	gnuVersion := map[uint16]string{tls.VersionTLS12: "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.2", tls.VersionTLS13: "--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3"}
	return []maker{{
		name: "openssl",
		server: func(t testing.TB, at func(string) string, version uint16, cert, cas string) *peer {
			addr := freeAddr(t)
			args := []string{"s_server", "-accept", addr.String(), "-cert", at(cert + ".pem"), "-cert_chain", at(cert + "-chain.pem"), "-key", at(cert + "-key.pem"), sslVersion[version], "-rev"}
			if cas != "" {
				args = append(args, "-Verify", "5", "-verify_return_error", "-CAfile", at(cas))
			}
			return startPeer(t, addr.String(), "ACCEPT", openssl(t), args...)
		},
		client: func(t testing.TB, at func(string) string, version uint16, addr netip.AddrPort, cert string) (string, []string) {
			args := []string{"s_client", "-connect", addr.String(), "-servername", "localhost", "-verify_hostname", "localhost", "-verify_return_error", "-CAfile", at("root.pem"), sslVersion[version], "-quiet"}
			if cert != "" {
				args = append(args, "-cert", at(cert+".pem"), "-cert_chain", at(cert+"-chain.pem"), "-key", at(cert+"-key.pem"))
			}
			return openssl(t), args
		},
	}, {
		name: "gnutls",
		server: func(t testing.TB, at func(string) string, version uint16, cert, cas string) *peer {
			addr := freeAddr(t)
			args := []string{"--echo", "--port", fmt.Sprint(addr.Port()), "--x509certfile", at(cert + "-chain.pem"), "--x509keyfile", at(cert + "-key.pem"), gnuVersion[version]}
			if cas != "" {
				args = append(args, "--require-client-cert", "--verify-client-cert", "--x509cafile", at(cas))
			}
			return startPeer(t, addr.String(), "IPv4 0.0.0.0 port "+fmt.Sprint(addr.Port())+"...done", interop.Program(t, "gnutls-bin", "gnutls-serv"), args...)
		},
		client: func(t testing.TB, at func(string) string, version uint16, addr netip.AddrPort, cert string) (string, []string) {
			args := []string{"--port", fmt.Sprint(addr.Port()), "--sni-hostname=localhost", "--verify-hostname=localhost", "--x509cafile", at("root.pem"), gnuVersion[version], "--logfile=" + at("gnutls.log")}
			if cert != "" {
				args = append(args, "--x509certfile", at(cert+"-chain.pem"), "--x509keyfile", at(cert+"-key.pem"))
			}
			return interop.Program(t, "gnutls-bin", "gnutls-cli"), append(args, addr.Addr().String())
		},
	}}
}

// TestPeerServers: our client with the servers of others, each fault of a
// certificate on either side, TLS 1.2 and 1.3.
func TestPeerServers(t *testing.T) {
	w := newWorld(t, time.Now())
	at := files(t, w)
	talk := func(t *testing.T, p *peer, c *tlsx.Client) error {
		nc, err := net.Dial("tcp", p.addr)
		require.NoError(t, err)
		conn, err := c.Conn(nc)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		if _, err := io.WriteString(conn, "hola\n"); err != nil {
			return err
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && line != "hola\n" && line != "aloh\n" {
			err = fmt.Errorf("the server said %q", line)
		}
		return err
	}
	for _, m := range makes() {
		bothVersions(t, func(t *testing.T, version uint16) {
			for _, test := range []struct {
				cert   string
				reason tlsx.Reason
			}{
				{"server", ""},
				{"expired", tlsx.Expired},
				{"future", tlsx.NotYetValid},
				{"wrongname", tlsx.WrongName},
				{"wronguse", tlsx.WrongUse},
				{"toodeep", tlsx.PathTooLong},
				{"other-server", tlsx.UnknownAuthority},
			} {
				t.Run(m.name+" server "+test.cert, func(t *testing.T) {
					err := talk(t, m.server(t, at, version, test.cert, ""), clientOf(w))
					if test.reason == "" {
						require.NoError(t, err)
						return
					}
					require.Equal(t, test.reason, refusal(t, err).Reason, "%v", err)
				})
			}
			for _, test := range []struct {
				name   string
				cert   *tls.Certificate
				reason tlsx.Reason
				send   bool
			}{
				{"good", w.client, "", false},
				{"none", nil, tlsx.NoCertificate, false},
				{"expired", w.expiredClient, tlsx.Expired, false},
				{"wrong use", w.wrongUseClient, tlsx.WrongUse, false},
				{"too deep", w.toodeepClient, tlsx.PathTooLong, false},
				{"other authority", w.otherClient, tlsx.UnknownAuthority, true},
				{"other authority, withheld", w.otherClient, tlsx.UnknownAuthority, false},
			} {
				t.Run(m.name+" client "+test.name, func(t *testing.T) {
					if m.name == "gnutls" && test.reason == tlsx.WrongUse {
						t.Skip("gnutls-serv does not look at what a client's certificate is for")
					}
					p := m.server(t, at, version, "server", "root.pem")
					c := clientOf(w)
					c.SendUnlisted = test.send
					if test.cert != nil {
						c.Identity = fixed(test.cert)
					}
					err := talk(t, p, c)
					if test.reason == "" {
						require.NoError(t, err)
						return
					}
					e := refusal(t, err)
					require.True(t, e.Remote)
					require.Equal(t, test.reason, e.Reason, "%v", err)
				})
			}
		})
	}
}

// TestPeerClients: our server with the clients of others, likewise.
func TestPeerClients(t *testing.T) {
	w := newWorld(t, time.Now())
	at := files(t, w)
	for _, m := range makes() {
		bothVersions(t, func(t *testing.T, version uint16) {
			serve := func(t *testing.T, s *tlsx.Server, cert string) (printed string, server error) {
				tcp, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				ln, err := s.Listener(tcp)
				require.NoError(t, err)
				defer ln.Close()
				program, args := m.client(t, at, version, netip.MustParseAddrPort(ln.Addr().String()), cert)
				var wg sync.WaitGroup
				wg.Go(func() {
					conn, err := ln.Accept()
					if err != nil {
						server = err
						return
					}
					defer conn.Close()
					conn.SetDeadline(time.Now().Add(20 * time.Second))
					buf := make([]byte, 100)
					n, err := conn.Read(buf)
					if err == nil {
						_, err = conn.Write(bytes.ToUpper(buf[:n]))
					}
					server = err
				})
				out, _ := run(t, "hola\n", program, args...)
				ln.Close()
				wg.Wait()
				return out, server
			}
			for _, test := range []struct {
				name   string
				cert   *tls.Certificate
				reason tlsx.Reason
			}{
				{"server", w.server, ""},
				{"expired", w.expired, tlsx.Expired},
				{"future", w.future, tlsx.NotYetValid},
				{"wrongname", w.wrongName, tlsx.WrongName},
				{"wronguse", w.wrongUse, tlsx.WrongUse},
				{"toodeep", w.toodeep, tlsx.PathTooLong},
				{"other-server", w.otherServer, tlsx.UnknownAuthority},
			} {
				t.Run(m.name+" server "+test.name, func(t *testing.T) {
					out, err := serve(t, serverOf(w, test.cert), "")
					if test.reason == "" {
						require.NoError(t, err, out)
						return
					}
					e := refusal(t, err)
					t.Log(e)
					require.Equal(t, test.reason, e.Reason, "%v\n%s", err, out)
					require.True(t, e.Remote)
				})
			}
			for _, test := range []struct {
				name, cert string
				reasons    []tlsx.Reason
			}{
				{"good", "client", nil},
				{"none", "", []tlsx.Reason{tlsx.NoCertificate}},
				{"expired", "expired-client", []tlsx.Reason{tlsx.Expired}},
				{"wrong use", "wronguse-client", []tlsx.Reason{tlsx.WrongUse}},
				{"too deep", "toodeep-client", []tlsx.Reason{tlsx.PathTooLong}},
				// OpenSSL sends it, GnuTLS withholds it.
				{"other authority", "other-client", []tlsx.Reason{tlsx.UnknownAuthority, tlsx.NoCertificate}},
			} {
				t.Run(m.name+" client "+test.name, func(t *testing.T) {
					s := serverOf(w, w.server)
					s.ClientCAs = []*x509.Certificate{w.root.Cert}
					out, err := serve(t, s, test.cert)
					if test.reasons == nil {
						require.NoError(t, err, out)
						return
					}
					e := refusal(t, err)
					require.False(t, e.Remote)
					require.True(t, slices.Contains(test.reasons, e.Reason), "%v\n%s", err, out)
				})
			}
		})
	}
}

// TestCerttool: GnuTLS verifies our chains, reads our keys and lists, and we
// read its keys.
func TestCerttool(t *testing.T) {
	tool := certtool(t)
	now := time.Now()
	w := newWorld(t, now)
	at := files(t, w)
	out := works(t, tool, "--verify", "--load-ca-certificate", at("root.pem"), "--infile", at("server-chain.pem"), "--verify-hostname", "localhost", "--verify-purpose", "1.3.6.1.5.5.7.3.1")
	require.Contains(t, out, "Chain verification output: Verified.")
	for _, name := range []string{"expired", "future", "wronguse", "toodeep", "other-server", "wrongname"} {
		out, err := run(t, "", tool, "--verify", "--load-ca-certificate", at("root.pem"), "--infile", at(name+"-chain.pem"), "--verify-hostname", "localhost", "--verify-purpose", "1.3.6.1.5.5.7.3.1")
		require.Error(t, err, "%s\n%s", name, out)
	}
	require.Contains(t, works(t, tool, "--certificate-info", "--infile", at("intermediate.pem")), "Path Length Constraint: 0")

	for _, kind := range []tlsx.KeyType{tlsx.ECDSAP256, tlsx.Ed25519, tlsx.RSA2048} {
		key := rsaKey()
		if kind != tlsx.RSA2048 {
			var err error
			key, err = tlsx.NewKey(kind)
			require.NoError(t, err)
		}
		data, err := tlsx.EncodeKey(key, nil)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(at("k.pem"), data, 0o600))
		require.Contains(t, works(t, tool, "--key-info", "--infile", at("k.pem")), "Key Security Level")
		if kind == tlsx.ECDSAP256 { // what is inside is the same, and slow on purpose
			data, err = tlsx.EncodeKey(key, &tlsx.Encryption{Passphrase: "opensesame"})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(at("k8.pem"), data, 0o600))
			require.Contains(t, works(t, tool, "--p8-info", "--infile", at("k8.pem"), "--password", "opensesame"), "600000")
		}
		ciphers := []string{"aes-256"}
		if kind == tlsx.ECDSAP256 {
			ciphers = []string{"aes-128", "aes-192", "aes-256", "3des"}
		}
		for _, cipher := range ciphers {
			out := works(t, tool, "--to-p8", "--load-privkey", at("k.pem"), "--password", "opensesame", "--pkcs-cipher", cipher, "--outfile", at("again.pem"))
			data, err := tlsx.ReadFile(at("again.pem"))
			require.NoError(t, err, out)
			again, err := tlsx.ParseKey(data, "opensesame")
			require.NoError(t, err, cipher)
			require.Equal(t, key.Public(), again.Public())
		}
	}
	data, err := tlsx.EncodePKCS12(w.server, "opensesame")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("x.p12"), data, 0o600))
	require.Contains(t, works(t, tool, "--p12-info", "--inder", "--infile", at("x.p12"), "--password", "opensesame"), "BEGIN CERTIFICATE")
	// GnuTLS gives each certificate a part of its own, of which we read two in all.
	for _, test := range []struct{ certs, words string }{{"server.pem", ""}, {"server-chain.pem", "3 parts, more than 2"}} {
		works(t, tool, "--to-p12", "--outder", "--p12-name", "x", "--load-certificate", at(test.certs), "--load-privkey", at("server-key.pem"), "--password", "opensesame", "--pkcs-cipher", "aes-256", "--outfile", at("y.p12"))
		data, err = tlsx.ReadFile(at("y.p12"))
		require.NoError(t, err)
		cert, err := tlsx.ParsePKCS12(data, "opensesame")
		if test.words != "" {
			require.ErrorContains(t, err, test.words)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, w.server.Certificate[:1], cert.Certificate)
	}

	list, err := w.root.CRL(7, []x509.RevocationListEntry{{SerialNumber: w.plain.Leaf.SerialNumber, RevocationTime: now}}, now.Add(-time.Minute), now.Add(time.Hour))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("crl.pem"), tlsx.EncodeCRL(list), 0o600))
	works(t, tool, "--verify-crl", "--load-ca-certificate", at("root.pem"), "--infile", at("crl.pem"))
	req, _, err := tlsx.NewRequest(tlsx.Template{Subject: called("jose"), Names: []string{"jose.test"}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(at("r.pem"), tlsx.EncodeRequest(req), 0o600))
	require.Contains(t, works(t, tool, "--crq-info", "--infile", at("r.pem")), "jose.test")
}

// TestZlint: the linter of certificates has nothing to say against any that we
// make, by the RFCs.
func TestZlint(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: building zlint takes a while")
	}
	dir := t.TempDir()
	zlint := filepath.Join(dir, "zlint")
	if runtime.GOOS == "windows" {
		zlint += ".exe"
	}
	// A module of its own, so that ours needs nothing of what zlint needs.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module lint\n\ngo 1.26.0\n"), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/zmap/zlint/v3/cmd/zlint@v3.7.1")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		interop.Missing(t, "zlint 3.7.1 cannot be had: %v\n%s", err, out)
	}
	w := newWorld(t, time.Now())
	var certs []*x509.Certificate
	for _, a := range []*tlsx.Authority{w.root, w.intermediate, w.other} {
		certs = append(certs, a.Cert)
	}
	for _, c := range []*tls.Certificate{w.server, w.client, w.plain, w.otherClient} {
		certs = append(certs, c.Leaf)
	}
	limited, err := w.root.Intermediate(tlsx.Template{
		Subject:   called("Limited"),
		Permitted: tlsx.Constraints{DNS: []string{"a.test"}, IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, Email: []string{"a.test"}, URI: []string{".a.test"}},
		Excluded:  tlsx.Constraints{DNS: []string{"b.a.test"}},
		CRLs:      []string{"http://crl.a.test/root.crl"}, OCSP: []string{"http://ocsp.a.test/"},
	})
	require.NoError(t, err)
	certs = append(certs, limited.Cert)
	for _, kind := range []tlsx.KeyType{tlsx.ECDSAP384, tlsx.Ed25519, tlsx.RSA2048} {
		key := rsaKey()
		if kind != tlsx.RSA2048 {
			key, err = tlsx.NewKey(kind)
			require.NoError(t, err)
		}
		a, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Root " + string(kind)), Key: key})
		require.NoError(t, err)
		leaf, err := a.Issue(tlsx.Template{Names: []string{"xn--maana-pta.test", "*.a.test", "españa.test", "10.0.0.1", "fd00::1", "jose@a.test", "https://www.a.test/"}, Key: key})
		require.NoError(t, err)
		certs = append(certs, a.Cert, leaf.Leaf)
	}
	for _, c := range certs {
		file := filepath.Join(dir, "c.pem")
		require.NoError(t, os.WriteFile(file, tlsx.EncodeCertificates(c), 0o600))
		out := works(t, zlint, "-includeSources", "RFC5280,RFC5480,RFC5891,RFC8813", file)
		var results map[string]struct {
			Result  string `json:"result"`
			Details string `json:"details"`
		}
		require.NoError(t, json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &results), out)
		require.Greater(t, len(results), 80)
		passed := 0
		for name, r := range results {
			require.True(t, slices.Contains([]string{"pass", "NA", "NE"}, r.Result), "%s: %s: %s %s", tlsx.Title(c), name, r.Result, r.Details)
			if r.Result == "pass" {
				passed++
			}
		}
		require.Greater(t, passed, 20)
	}
}
