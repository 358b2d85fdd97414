package main

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/tlsx"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	d := walk(t)
	d.do("revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl")
	clitest.Conventions(t, []string{"ocsp", "-ca", d.file("ca.pem"), "-ca-key", d.file("ca-key.pem"), "-crl", d.file("ca.crl")})
}

// A desk is a folder in which a test works. Arguments that end in .pem, .crl,
// .json or .txt are files in it.
type desk struct {
	t   *testing.T
	dir string
}

func newDesk(t *testing.T) *desk { return &desk{t, t.TempDir()} }

func (d *desk) file(name string) string { return filepath.Join(d.dir, name) }

var fileName = regexp.MustCompile(`^[\w-]+\.(pem|crl|json|txt|der)$`)

func (d *desk) args(args []string) []string {
	args = append([]string{}, args...)
	for i, arg := range args {
		if fileName.MatchString(arg) {
			args[i] = d.file(arg)
		}
	}
	return args
}

// do runs a command that must succeed, and returns what it printed.
func (d *desk) do(args ...string) string {
	d.t.Helper()
	got := clitest.Run(d.t, "", d.args(args)...)
	require.Zero(d.t, got.Status, "%v: %s", args, got.Stderr)
	require.Empty(d.t, got.Stderr)
	return got.Stdout
}

// fail runs a command that must fail with a line that contains says.
func (d *desk) fail(says string, args ...string) {
	d.t.Helper()
	d.status(1, says, args...)
}

func (d *desk) status(status int, says string, args ...string) {
	d.t.Helper()
	got := clitest.Run(d.t, "", d.args(args)...)
	require.Equal(d.t, status, got.Status, "%v: %+v", args, got)
	require.Contains(d.t, got.Stderr, says)
	require.Equal(d.t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	require.NoError(d.t, os.WriteFile(d.file(name), []byte(text), 0o600))
}

func (d *desk) read(name string) string {
	d.t.Helper()
	data, err := os.ReadFile(d.file(name))
	require.NoError(d.t, err)
	return string(data)
}

// openssl runs openssl, which must succeed.
func (d *desk) openssl(args ...string) string {
	d.t.Helper()
	program := interop.Program(d.t, "openssl", "openssl")
	out, err := exec.CommandContext(d.t.Context(), program, d.args(args)...).CombinedOutput()
	require.NoError(d.t, err, "openssl %v: %s", args, out)
	return string(out)
}

// walk does the course's walk-through; more are flags of sign.
func walk(t *testing.T, more ...string) *desk {
	t.Helper()
	d := newDesk(t)
	d.do("key", "-out", "ca-key.pem")
	d.do("ca", "-key", "ca-key.pem", "-subject", "/C=MX/O=Zocalo/CN=authority", "-out", "ca.pem")
	d.do("key", "-out", "jose-key.pem")
	d.do("request", "-key", "jose-key.pem", "-subject", "/O=Zocalo/CN=jose", "-names", "jose@zocalo.test,jose.zocalo.test", "-out", "request.pem")
	d.do(append([]string{"sign", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-request", "request.pem", "-out", "jose.pem"}, more...)...)
	return d
}

func TestWalk(t *testing.T) {
	d := walk(t, "-use", "both")
	require.Equal(t, d.file("jose.pem")+": OK, path jose ← authority\n", d.do("verify", "-ca", "ca.pem", "jose.pem"))
	d.do("verify", "-ca", "ca.pem", "-use", "client", "jose.pem")
	d.do("verify", "-ca", "ca.pem", "-use", "server", "-name", "jose.zocalo.test", "jose.pem")
	d.fail("wrong-name: asked for ana.zocalo.test, valid for jose.zocalo.test", "verify", "-ca", "ca.pem", "-name", "ana.zocalo.test", "jose.pem")
	d.fail("expired: ", "verify", "-ca", "ca.pem", "-in", "2161h", "jose.pem")
	d.do("verify", "-ca", "ca.pem", "-in", "2159h", "jose.pem")
	d.fail("not-yet-valid: ", "verify", "-ca", "ca.pem", "-in", "-1h", "jose.pem")
	text := d.do("view", "jose.pem")
	for _, word := range []string{"CN=jose", "CN=authority", "jose@zocalo.test", "client authentication, server authentication"} {
		require.Contains(t, text+strings.ReplaceAll(text, "server authentication, client authentication", "client authentication, server authentication"), word)
	}
	if runtime.GOOS != "windows" {
		info, err := os.Stat(d.file("jose-key.pem"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
	other := walk(t)
	d.fail("unknown-authority: ", "verify", "-ca", other.file("ca.pem"), "jose.pem")
	d = walk(t)
	d.fail("wrong-use: ", "verify", "-ca", "ca.pem", "-use", "server", "jose.pem")
}

// What is there is not replaced.
func TestNothingReplaced(t *testing.T) {
	d := walk(t)
	for _, args := range [][]string{
		{"key", "-out", "jose-key.pem"},
		{"ca", "-key", "ca-key.pem", "-subject", "/CN=x", "-out", "ca.pem"},
		{"request", "-key", "jose-key.pem", "-subject", "/CN=x", "-names", "x.test", "-out", "request.pem"},
		{"sign", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-request", "request.pem", "-out", "jose.pem"},
	} {
		file := args[len(args)-1]
		before := d.read(file)
		d.fail("is there already", args...)
		require.Equal(t, before, d.read(file))
	}
}

func TestBadInput(t *testing.T) {
	d := walk(t)
	ca := []string{"-ca", "ca.pem", "-ca-key", "ca-key.pem"}
	sign := func(request string) []string {
		return append(append([]string{"sign"}, ca...), "-request", request, "-out", "new.pem")
	}
	d.write("empty.pem", "")
	d.write("cut.pem", d.read("request.pem")[:200])
	d.fail("empty", sign("empty.pem")...)
	d.fail("damaged PEM", sign("cut.pem")...)
	d.fail("no certificate request but certificate", sign("jose.pem")...)
	d.fail("none.pem", sign("none.pem")...)
	d.fail("is not the key of", append(sign("request.pem"), "-ca-key", "jose-key.pem")...)
	// jose's certificate is no authority's, whatever key is at hand.
	d.fail("no authority", append(sign("request.pem"), "-ca", "jose.pem", "-ca-key", "jose-key.pem")...)
	d.fail("no certificate", "verify", "-ca", "ca.pem", "jose-key.pem")
	d.fail("no-such.pem", "view", "jose.pem", "jose-key.pem", "no-such.pem", "jose-key.pem")
	d.fail("no PEM block", "view", "empty.pem")
	d.status(2, "missing: -out", "key")
	d.status(2, "missing: -key, -subject, -names, -out", "request")
	d.status(2, "want /ATTRIBUTE=VALUE", "ca", "-key", "ca-key.pem", "-subject", "CN=x", "-out", "new.pem")
	d.status(2, "two letters", "ca", "-key", "ca-key.pem", "-subject", "/C=MEX/CN=x", "-out", "new.pem")
	d.status(2, "-type", "key", "-type", "dsa", "-out", "new.pem")
	d.status(2, "-days", "ca", "-days", "0")
	d.status(2, "one file", "verify", "-ca", "ca.pem")
	d.fail("alternative name", "request", "-key", "jose-key.pem", "-subject", "/CN=x", "-names", "not a name", "-out", "new.pem")
	require.NoFileExists(t, d.file("new.pem"))

	// A request in which somebody has changed a name is not signed any more
	// with the key that it names.
	block, _ := pem.Decode([]byte(d.read("request.pem")))
	forged := bytes.Replace(block.Bytes, []byte("jose@zocalo.test"), []byte("luis@zocalo.test"), 1)
	require.NotEqual(t, block.Bytes, forged)
	block.Bytes = forged
	d.write("forged.pem", string(pem.EncodeToMemory(block)))
	d.fail("not signed with the key that it names", sign("forged.pem")...)
}

func TestPassphrase(t *testing.T) {
	d := newDesk(t)
	d.write("right.txt", "opensesame\r\nnot this line\n")
	d.write("wrong.txt", "open sesame\n")
	d.write("empty.txt", "\n")
	d.do("key", "-out", "key.pem")
	for _, more := range [][]string{nil, {"-scrypt"}} {
		d.do(append([]string{"encrypt", "-in", "key.pem", "-out", "locked.pem", "-passphrase-file", "right.txt"}, more...)...)
		require.Contains(t, d.read("locked.pem"), "BEGIN ENCRYPTED PRIVATE KEY")
		d.fail("wrong or missing passphrase", "view", "locked.pem")
		d.fail("wrong or missing passphrase", "view", "-passphrase-file", "wrong.txt", "locked.pem")
		require.Equal(t, d.do("view", "key.pem"), d.do("view", "-passphrase-file", "right.txt", "locked.pem"))
		d.do("decrypt", "-in", "locked.pem", "-out", "again.pem", "-passphrase-file", "right.txt")
		require.Equal(t, d.read("key.pem"), d.read("again.pem"))
		require.NoError(t, os.Remove(d.file("locked.pem")))
		require.NoError(t, os.Remove(d.file("again.pem")))
	}
	d.fail("no passphrase", "key", "-out", "new.pem", "-passphrase-file", "empty.txt")
	require.NoFileExists(t, d.file("new.pem"))
	got := clitest.Run(t, "opensesame\n", d.args([]string{"key", "-out", "new.pem", "-passphrase-file", "-"})...)
	require.Zero(t, got.Status, got.Stderr)
	// A locked key does all that an open one does.
	d.do("ca", "-key", "new.pem", "-passphrase-file", "right.txt", "-subject", "/CN=locked", "-out", "ca.pem")
}

// The authority signs what somebody has checked: this key, this subject, these
// names.
func TestRegister(t *testing.T) {
	d := walk(t)
	sign := func(request, out string) []string {
		return []string{"sign", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-register", "register.json", "-request", request, "-out", out}
	}
	register := func(request, by string) {
		d.do("register", "-request", request, "-register", "register.json", "-by", by, "-how", "his identity card, \"in person\"")
	}
	d.fail("register.json", sign("request.pem", "new.pem")...)
	d.do("key", "-out", "luis-key.pem")
	d.do("request", "-key", "luis-key.pem", "-subject", "/O=Zocalo/CN=luis", "-names", "luis@zocalo.test", "-out", "luis-request.pem")
	register("luis-request.pem", "Ana")
	d.fail("nobody has checked", sign("request.pem", "new.pem")...)
	register("request.pem", "Berta")
	require.Contains(t, d.do(sign("request.pem", "new.pem")...), "Berta has checked it: his identity card, \"in person\"\n")
	require.Equal(t, 2, strings.Count(d.read("register.json"), "\n"))

	// The same name with another key, the same key with another name.
	d.do("request", "-key", "luis-key.pem", "-subject", "/O=Zocalo/CN=jose", "-names", "jose@zocalo.test,jose.zocalo.test", "-out", "thief.pem")
	d.fail("nobody has checked", sign("thief.pem", "thief-cert.pem")...)
	d.do("request", "-key", "jose-key.pem", "-subject", "/O=Zocalo/CN=jose", "-names", "luis@zocalo.test", "-out", "greedy.pem")
	d.fail("nobody has checked", sign("greedy.pem", "greedy-cert.pem")...)
	d.do("request", "-key", "jose-key.pem", "-subject", "/O=Zocalo/CN=rector", "-names", "jose@zocalo.test,jose.zocalo.test", "-out", "proud.pem")
	d.fail("nobody has checked", sign("proud.pem", "proud-cert.pem")...)

	d.write("register.json", "{\"key\": 1}\n")
	d.fail("is damaged", sign("request.pem", "another.pem")...)
}

func TestRevocation(t *testing.T) {
	d := walk(t)
	revoke := func(more ...string) []string {
		return append([]string{"revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl"}, more...)
	}
	verify := []string{"verify", "-ca", "ca.pem", "-crl", "ca.crl", "jose.pem"}
	d.fail("ca.crl", verify...)
	require.Contains(t, d.do(revoke()...), "list 1 with 0 certificates")
	d.do(verify...)
	// A list that is over says nothing any more.
	d.fail("revocation-unknown: ", "verify", "-ca", "ca.pem", "-crl", "ca.crl", "-in", "169h", "jose.pem")
	require.Contains(t, d.do(revoke("-reason", "key-stolen", "jose.pem")...), "list 2 with 1 certificates")
	d.fail("(the key was stolen), says list 2", verify...)
	d.do("verify", "-ca", "ca.pem", "jose.pem") // who does not ask does not know
	require.Contains(t, d.do("view", "ca.crl"), "authority")
	d.fail("already", revoke("jose.pem")...)
	require.Contains(t, d.do(revoke()...), "list 3 with 1 certificates") // the next one, in time
	d.fail("revoked: ", verify...)

	other := walk(t)
	d.fail("none of this authority's", revoke(other.file("jose.pem"))...)
	other.do("revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl")
	// The list of another authority, even of one with the same name.
	d.fail("revocation-unknown: ", "verify", "-ca", "ca.pem", "-crl", other.file("ca.crl"), "jose.pem")
	d.fail("not this authority's list", "revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", other.file("ca.crl"))
}

// responderOf starts the responder of a desk.
func responderOf(d *desk) *clitest.Process {
	d.t.Helper()
	return clitest.Start(d.t, d.args([]string{"ocsp", "-port", "0", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl"})...)
}

func TestOCSP(t *testing.T) {
	d := walk(t)
	revoke := []string{"revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl"}
	d.do(revoke...)
	srv := responderOf(d)
	verify := []string{"verify", "-ca", "ca.pem", "-ocsp", "http://" + srv.Addr, "jose.pem"}
	d.do(verify...)
	srv.Stdout.WaitFor(t, "bytes asked")
	d.do(append(revoke, "jose.pem")...) // and the responder needs no restart
	d.fail("revoked: ", verify...)

	// An authority answers for its own certificates only.
	other := walk(t)
	other.fail("revocation-unknown: ", "verify", "-ca", "ca.pem", "-ocsp", "http://"+srv.Addr, "jose.pem")

	// By GET, as many clients ask.
	chain, err := readCertificates(d.file("jose.pem"))
	require.NoError(t, err)
	issuer, err := readCertificates(d.file("ca.pem"))
	require.NoError(t, err)
	question, err := tlsx.NewOCSPRequest(chain[0], issuer[0])
	require.NoError(t, err)
	get := func(path string) (int, []byte) {
		t.Helper()
		resp, err := http.Get("http://" + srv.Addr + "/" + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, body
	}
	status, answer := get(url.PathEscape(base64.StdEncoding.EncodeToString(question)))
	require.Equal(t, 200, status)
	_, err = tlsx.Verify(chain, tlsx.VerifyOptions{Roots: issuer, Uses: uses["any"], OCSP: answer})
	require.ErrorContains(t, err, "revoked")

	// What is no question gets an answer too, and the next one is served.
	status, _ = get("%25%25")
	require.Equal(t, 400, status)
	status, _ = get("not base64")
	require.Equal(t, 400, status)
	status, _ = get("")
	require.Equal(t, 200, status, "OCSP has its own way to say that a question is malformed")
	resp, err := http.Post("http://"+srv.Addr, "application/ocsp-request", strings.NewReader(strings.Repeat("x", 100_000)))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 400, resp.StatusCode)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+srv.Addr, nil)
	require.NoError(t, err)
	resp, err = http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 400, resp.StatusCode)
	d.fail("revoked: ", verify...)

	// A list that is gone: no answer, and no "good" either.
	require.NoError(t, os.Rename(d.file("ca.crl"), d.file("away.crl")))
	d.fail("503", verify...)
	srv.Stderr.WaitFor(t, "ca.crl")
	require.NoError(t, os.Rename(d.file("away.crl"), d.file("ca.crl")))
	require.Zero(t, srv.Stop())
	d.fail("cannot ask http://"+srv.Addr, verify...)
}

// The responder answers what is not signed by its authority's key, and a list
// that is over: neither passes for good.
func TestOldList(t *testing.T) {
	d := walk(t)
	d.do("revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl")
	srv := responderOf(d)
	d.fail("revocation-unknown: ", "verify", "-ca", "ca.pem", "-ocsp", "http://"+srv.Addr, "-in", "2h", "jose.pem")
}

// numbers are the hexadecimal digits of a text without what separates them.
func numbers(s string) string {
	return strings.ToLower(strings.NewReplacer(":", "", "\n", "", " ", "").Replace(s))
}

// The components of a key, as openssl names them.
func TestComponents(t *testing.T) {
	d := newDesk(t)
	d.do("key", "-type", "rsa-2048", "-out", "rsa.pem")
	ours := d.do("view", "rsa.pem")
	for _, word := range []string{"modulus", "public exponent", "private exponent", "prime 1", "prime 2", "exponent 1", "exponent 2", "coefficient"} {
		require.Contains(t, ours, word)
	}
	theirs := numbers(d.openssl("rsa", "-in", "rsa.pem", "-text", "-noout"))
	part := regexp.MustCompile(`(modulus|private exponent|prime 1|prime 2|coefficient)[^\n]*:\n((?:\s+[0-9a-fA-F:]+\n)+)`).FindAllStringSubmatch(ours, -1)
	require.Len(t, part, 5, ours)
	for _, p := range part {
		require.Contains(t, theirs, numbers(p[2]), p[1])
	}
}

// What we make, openssl accepts.
func TestOpenSSLReads(t *testing.T) {
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"} {
		t.Run(kind, func(t *testing.T) {
			d := newDesk(t)
			d.write("pass.txt", "opensesame\n")
			d.do("key", "-type", kind, "-out", "ca-key.pem", "-passphrase-file", "pass.txt")
			d.do("ca", "-key", "ca-key.pem", "-passphrase-file", "pass.txt", "-subject", "/C=MX/O=Zocalo/CN=authority", "-out", "ca.pem")
			d.do("key", "-type", kind, "-out", "jose-key.pem")
			d.do("request", "-key", "jose-key.pem", "-subject", "/CN=jose", "-names", "jose@zocalo.test", "-out", "request.pem")
			d.do("sign", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-passphrase-file", "pass.txt", "-request", "request.pem", "-out", "jose.pem")
			d.do("revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-passphrase-file", "pass.txt", "-crl", "ca.crl")
			d.do("encrypt", "-in", "jose-key.pem", "-out", "jose-scrypt.pem", "-scrypt", "-passphrase-file", "pass.txt")

			d.openssl("pkey", "-in", "ca-key.pem", "-passin", "pass:opensesame", "-check", "-noout")
			d.openssl("pkey", "-in", "jose-scrypt.pem", "-passin", "pass:opensesame", "-check", "-noout")
			d.openssl("pkcs8", "-in", "ca-key.pem", "-passin", "pass:opensesame", "-out", "open.pem")
			require.Equal(t, d.do("view", "-passphrase-file", "pass.txt", "ca-key.pem"), d.do("view", "open.pem"))
			require.Contains(t, d.openssl("req", "-in", "request.pem", "-verify", "-noout"), "verify OK")
			require.Contains(t, d.openssl("verify", "-x509_strict", "-CAfile", "ca.pem", "-purpose", "sslclient", "jose.pem"), "OK")
			require.Contains(t, d.openssl("verify", "-x509_strict", "-CAfile", "ca.pem", "-CRLfile", "ca.crl", "-crl_check", "jose.pem"), "OK")
			text := d.openssl("x509", "-in", "jose.pem", "-text", "-noout")
			for _, word := range []string{"Subject: CN = jose", "email:jose@zocalo.test", "TLS Web Client Authentication", "Issuer: C = MX, O = Zocalo, CN = authority"} {
				require.Contains(t, text, word)
			}
			require.Equal(t, d.openssl("pkey", "-in", "jose-key.pem", "-pubout"), d.openssl("x509", "-in", "jose.pem", "-pubkey", "-noout"))

			d.do("revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-passphrase-file", "pass.txt", "-crl", "ca.crl", "-reason", "key-stolen", "jose.pem")
			require.Contains(t, d.openssl("crl", "-in", "ca.crl", "-CAfile", "ca.pem", "-text", "-noout"), "Key Compromise")
			program := interop.Program(t, "openssl", "openssl")
			out, err := exec.CommandContext(t.Context(), program, d.args([]string{"verify", "-CAfile", "ca.pem", "-CRLfile", "ca.crl", "-crl_check", "jose.pem"})...).CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), "certificate revoked")
		})
	}
}

// What openssl makes, we accept: the course's walk-through itself.
func TestReadsOpenSSL(t *testing.T) {
	d := newDesk(t)
	d.write("pass.txt", "opensesame\n")
	d.openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-aes256", "-pass", "pass:opensesame", "-out", "ca-key.pem")
	d.openssl("req", "-x509", "-new", "-key", "ca-key.pem", "-passin", "pass:opensesame", "-subj", "/O=Zocalo/CN=authority", "-days", "100",
		"-out", "ca.pem")
	d.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "jose-key.pem") // SEC 1, the old form
	d.openssl("req", "-new", "-key", "jose-key.pem", "-subj", "/CN=jose", "-addext", "subjectAltName=DNS:jose.zocalo.test", "-out", "request.pem")
	d.openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-passin", "pass:opensesame",
		"-CAcreateserial", "-days", "30", "-copy_extensions", "copy", "-out", "jose.pem")

	d.do("verify", "-ca", "ca.pem", "-name", "jose.zocalo.test", "jose.pem")
	d.do("sign", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-passphrase-file", "pass.txt", "-request", "request.pem", "-use", "server", "-days", "30", "-out", "ours.pem")
	d.do("verify", "-ca", "ca.pem", "-use", "server", "-name", "jose.zocalo.test", "ours.pem")
	require.Contains(t, d.openssl("verify", "-CAfile", "ca.pem", "ours.pem"), "OK")
	require.Contains(t, d.do("view", "-passphrase-file", "pass.txt", "ca-key.pem"), "RSA")
	require.Contains(t, d.do("view", "jose-key.pem", "request.pem", "jose.pem"), "jose.zocalo.test")
	d.openssl("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", "600000", "-in", "jose-key.pem", "-passout", "pass:opensesame", "-out", "locked.pem")
	d.do("decrypt", "-in", "locked.pem", "-out", "again.pem", "-passphrase-file", "pass.txt")
	d.fail("protects little", "view", "-passphrase-file", "pass.txt", d.legacy())
}

// legacy has openssl lock a key in the old way of PEM.
func (d *desk) legacy() string {
	d.t.Helper()
	d.openssl("rsa", "-in", "ca-key.pem", "-passin", "pass:opensesame", "-traditional", "-aes256", "-passout", "pass:opensesame", "-out", "old.pem")
	return "old.pem"
}

// openssl's OCSP client with our responder.
func TestOpenSSLAsks(t *testing.T) {
	d := walk(t)
	d.do("revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl")
	srv := responderOf(d)
	ask := func() string {
		return d.openssl("ocsp", "-issuer", "ca.pem", "-CAfile", "ca.pem", "-cert", "jose.pem", "-url", "http://"+srv.Addr, "-no_nonce")
	}
	out := ask()
	require.Contains(t, out, "Response verify OK")
	require.Contains(t, out, "jose.pem: good")
	d.do("revoke", "-ca", "ca.pem", "-ca-key", "ca-key.pem", "-crl", "ca.crl", "-reason", "newer-one", "jose.pem")
	out = ask()
	require.Contains(t, out, "jose.pem: revoked")
	require.Contains(t, out, "superseded")
}

func FuzzSubject(f *testing.F) {
	f.Add("/C=MX/ST=CDMX/L=Coyoacán/O=Zocalo/OU=x/OU=y/CN=jose")
	f.Add("/CN=")
	f.Add("//")
	f.Fuzz(func(t *testing.T, text string) {
		var s subject
		if s.Set(text) != nil {
			require.Empty(t, s.String(), "a text that is refused leaves nothing behind")
			return
		}
		require.NotEmpty(t, s.String())
	})
}

func FuzzView(f *testing.F) {
	a, err := tlsx.NewAuthority(tlsx.Template{Subject: (&subject{}).must("/CN=authority")})
	require.NoError(f, err)
	f.Add(tlsx.EncodeCertificates(a.Cert))
	key, err := tlsx.EncodeKey(a.Key, nil)
	require.NoError(f, err)
	f.Add(key)
	req, _, err := tlsx.NewRequest(tlsx.Template{Names: []string{"a.test"}})
	require.NoError(f, err)
	f.Add(tlsx.EncodeRequest(req))
	list, err := a.CRL(1, nil, time.Now(), time.Now().Add(day))
	require.NoError(f, err)
	f.Add(tlsx.EncodeCRL(list))
	f.Add([]byte("-----BEGIN \x1b[2J-----\n\n-----END \x1b[2J-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		if viewBlocks(&out, data, "") == nil {
			require.NotEmpty(t, out.String())
		}
		require.NotContains(t, out.String(), "\x1b", "nothing in a file steers the terminal")
	})
}

func TestAskOCSPEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, err := tlsx.NewAuthority(tlsx.Template{Subject: (&subject{}).must("/CN=authority")})
	require.NoError(t, err)
	_, err = askOCSP(ctx, "http://127.0.0.1:1/", a.Cert, a.Cert)
	require.ErrorIs(t, err, context.Canceled)
	_, err = askOCSP(t.Context(), "::", a.Cert, a.Cert)
	require.ErrorContains(t, err, "-ocsp")
}

// must returns a subject from text that is right.
func (s *subject) must(text string) pkix.Name {
	if err := s.Set(text); err != nil {
		panic(err)
	}
	return s.name
}
