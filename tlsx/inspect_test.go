package tlsx_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

// TestText: every field of a certificate is there, in words.
func TestText(t *testing.T) {
	w := theWorld()
	a, err := w.root.Intermediate(tlsx.Template{
		Subject:   pkix.Name{CommonName: "Everything", Country: []string{"ES"}, Organization: []string{"UGR"}},
		Names:     []string{"ca.test"},
		NotBefore: noon, NotAfter: noon.Add(30 * day), PathLen: new(3), Uses: serverUse, Faulty: true,
		Permitted: tlsx.Constraints{DNS: []string{"a.test"}, IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Email: []string{"mail.test"}, URI: []string{".uri.test"}},
		Excluded:  tlsx.Constraints{DNS: []string{"b.a.test"}, IP: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}, Email: []string{"x.test"}, URI: []string{"y.test"}},
		CRLs:      []string{"http://crl.test/a.crl"}, OCSP: []string{"http://ocsp.test/"},
	})
	require.NoError(t, err)
	text := tlsx.Text(a.Cert)
	for _, words := range []string{
		`certificate "Everything"`, "version: 3", "serial number: 01:", "signature algorithm: ECDSA-SHA256", "issuer: CN=Test Root",
		"valid from: 2026-06-01T12:00:00Z", "valid until: 2026-07-01T12:00:00Z (30 days)", "subject: CN=Everything,O=UGR,C=ES",
		"public key: ECDSA, curve P-256", "key usage (critical): keyCertSign, cRLSign", "extended key usage: server authentication",
		"basic constraints (critical): authority: true, authorities below: at most 3", "subject key identifier: ", "authority key identifier: ",
		"subject alternative name: DNS ca.test",
		"name constraints (critical): only DNS a.test, only IP 10.0.0.0/8, only email mail.test, only URI .uri.test, not DNS b.a.test, not IP 10.9.0.0/16, not email x.test, not URI y.test",
		"CRL distribution points: http://crl.test/a.crl", "authority information access: OCSP at http://ocsp.test/",
		"fingerprint SHA-256: " + tlsx.Fingerprint(a.Cert), "fingerprint SHA-1: ", "public key SHA-256: ",
	} {
		require.Contains(t, text, words)
	}

	// What it does not know it shows as it is.
	other, err := asn1.Marshal([]asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 8, Bytes: []byte{0x2a, 3, 4}},
		{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: mustMarshal(t, called("dir").ToRDNSequence())},
	})
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 2, 3, 4}}, Policies: []x509.OID{oid(t, 1, 2, 3)},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 2, 3, 5}, Critical: true, Value: make([]byte, 2000)},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 18}, Value: other},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 20}, Value: []byte("damaged")},
		},
	}, w.root.Cert, w.root.Key.Public(), w.root.Key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	text = tlsx.Text(c)
	for _, words := range []string{"1.2.3.5 (critical):\n", "and 976 octets more", "extended key usage: 1.2.3.4", "certificate policies: 1.2.3", "issuer alternative name: of kind 8: 2A:03:04, directory CN=dir", "subject: (empty)", "CRL number:\n"} {
		require.Contains(t, text, words)
	}
	require.Equal(t, "serial 1", tlsx.Title(c))
}

func mustMarshal(t *testing.T, v any) []byte {
	b, err := asn1.Marshal(v)
	require.NoError(t, err)
	return b
}

func oid(t *testing.T, n ...uint64) x509.OID {
	o, err := x509.OIDFromInts(n)
	require.NoError(t, err)
	return o
}

func TestTextOthers(t *testing.T) {
	w := theWorld()
	req, key, err := tlsx.NewRequest(tlsx.Template{Subject: called("jose"), Names: []string{"jose.test"}})
	require.NoError(t, err)
	text := tlsx.Text(req)
	require.Contains(t, text, "subject: CN=jose")
	require.Contains(t, text, "subject alternative name: DNS jose.test")
	require.Contains(t, text, "signature: fits the key")
	req.Signature[5] ^= 1
	require.Contains(t, tlsx.Text(req), "signature: does not fit the key")

	list, err := w.root.CRL(7, revoke(w.plain.Leaf), noon, noon.Add(day))
	require.NoError(t, err)
	text = tlsx.Text(list)
	require.Contains(t, text, "number: 7")
	require.Contains(t, text, "at 2026-06-01T11:00:00Z: the key was stolen")

	require.Contains(t, tlsx.Text(key), "secret number:")
	require.Contains(t, tlsx.Text(key.Public()), "public key: ECDSA, curve P-256\npoint:\n")
	text = tlsx.Text(rsaKey())
	for _, words := range []string{"private key: RSA, 2048 bits", "modulus:\n", "public exponent: 65537 (0x10001)", "private exponent:\n", "prime 1:\n", "prime 2:\n", "exponent 1:\n", "exponent 2:\n", "coefficient:\n"} {
		require.Contains(t, text, words)
	}
	require.NotContains(t, tlsx.Text(rsaKey().Public()), "prime")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	require.Contains(t, tlsx.Text(ed), "seed:\n")
	require.Contains(t, tlsx.Text(ed.Public()), "Ed25519")
	require.Equal(t, "5", tlsx.Text(5))
}

func TestTree(t *testing.T) {
	w := theWorld()
	certs := []*x509.Certificate{w.toodeep.Leaf, w.server.Leaf, w.root.Cert, w.toodeepCA.Cert, w.intermediate.Cert, w.otherServer.Leaf, w.plain.Leaf}
	require.Equal(t, strings.TrimLeft(`
Test Root (root), until 2036-04-29
├─ Test Intermediate (authority), until 2031-05-01
│  ├─ server.test (server authentication), until 2026-08-30
│  └─ Too Deep (authority), until 2031-05-01
│     └─ toodeep (server authentication), until 2026-08-30
└─ plain (server authentication), until 2026-08-30
(Other Root, not here)
└─ other server (server authentication), until 2026-08-30
`, "\n"), tlsx.Tree(certs))
	require.Empty(t, tlsx.Tree(nil))

	// Two authorities that have signed each other make no endless drawing.
	a, err := tlsx.NewAuthority(tlsx.Template{Subject: called("A")})
	require.NoError(t, err)
	b, err := tlsx.NewAuthority(tlsx.Template{Subject: called("B")})
	require.NoError(t, err)
	ab, err := a.Intermediate(tlsx.Template{Subject: called("B"), Key: b.Key})
	require.NoError(t, err)
	ba, err := b.Intermediate(tlsx.Template{Subject: called("A"), Key: a.Key})
	require.NoError(t, err)
	text := tlsx.Tree([]*x509.Certificate{ab.Cert, ba.Cert})
	require.Equal(t, 2, strings.Count(text, "\n"), text)
}

// TestTreeBounded: two thousand certificates of one name do not take minutes.
func TestTreeBounded(t *testing.T) {
	w := theWorld()
	certs := make([]*x509.Certificate, 2000)
	for i := range certs {
		certs[i] = w.toodeepCA.Cert
	}
	certs[0] = w.intermediate.Cert
	certs[1] = w.toodeep.Leaf
	require.Equal(t, 2000, strings.Count(tlsx.Tree(certs), "until"))
}

// TestSystemRoots reads the list of this machine, or says that there is none.
func TestSystemRoots(t *testing.T) {
	certs, err := tlsx.SystemRoots()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrNotExist) {
		require.Empty(t, certs)
	} else {
		require.NoError(t, err)
		require.NotEmpty(t, certs)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system shows no list of roots")
	}
	w := theWorld()
	dir := t.TempDir()
	bundle := filepath.Join(dir, "bundle.pem")
	require.NoError(t, os.WriteFile(bundle, tlsx.EncodeCertificates(w.root.Cert, w.other.Cert), 0o600))
	t.Setenv("SSL_CERT_FILE", bundle)
	certs, err = tlsx.SystemRoots()
	require.NoError(t, err)
	require.Len(t, certs, 2)
	t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "none"))
	t.Setenv("SSL_CERT_DIR", dir)
	certs, err = tlsx.SystemRoots()
	require.NoError(t, err)
	require.Len(t, certs, 2)
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	_, err = tlsx.SystemRoots()
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestSystemRootsDecide: without roots of its own, Verify trusts the system's,
// and refuses ours.
func TestSystemRootsDecide(t *testing.T) {
	w := theWorld()
	_, err := tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Time: noon})
	require.Equal(t, tlsx.UnknownAuthority, refusal(t, err).Reason)
}
