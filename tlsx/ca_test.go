package tlsx_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

// TestDefaults: what a certificate has that nobody asked for anything special.
func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		root, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Root")})
		require.NoError(t, err)
		in, err := root.Intermediate(tlsx.Template{Subject: called("Intermediate")})
		require.NoError(t, err)
		leaf, err := in.Issue(tlsx.Template{Names: []string{"a.test"}})
		require.NoError(t, err)
		begin := now.Add(-5 * time.Minute).Truncate(time.Second)
		for _, test := range []struct {
			cert  *x509.Certificate
			days  int
			ca    bool
			path  int
			usage x509.KeyUsage
		}{
			{root.Cert, 3650, true, -1, x509.KeyUsageCertSign | x509.KeyUsageCRLSign},
			{in.Cert, 1825, true, 0, x509.KeyUsageCertSign | x509.KeyUsageCRLSign},
			{leaf.Leaf, 90, false, -1, x509.KeyUsageDigitalSignature},
		} {
			c := test.cert
			require.True(t, c.NotBefore.Equal(begin))
			require.True(t, c.NotAfter.Equal(begin.AddDate(0, 0, test.days)), "%s until %v", tlsx.Title(c), c.NotAfter)
			require.Equal(t, test.ca, c.IsCA)
			if test.ca {
				require.Equal(t, test.path, c.MaxPathLen)
			}
			require.Equal(t, test.usage, c.KeyUsage)
			require.Equal(t, 3, c.Version)
			require.Equal(t, x509.ECDSAWithSHA256, c.SignatureAlgorithm)
			require.Len(t, c.SubjectKeyId, 20)
			require.Positive(t, c.SerialNumber.Sign())
			require.GreaterOrEqual(t, c.SerialNumber.BitLen(), 64)
			require.LessOrEqual(t, len(c.SerialNumber.Bytes()), 20)
		}
		require.Equal(t, serverUse, leaf.Leaf.ExtKeyUsage)
		require.Equal(t, in.Cert.SubjectKeyId, leaf.Leaf.AuthorityKeyId)
		require.Equal(t, root.Cert.SubjectKeyId, in.Cert.AuthorityKeyId)
		require.Len(t, leaf.Certificate, 2, "leaf first, then the intermediate, no root")
		require.Equal(t, in.Cert.Raw, leaf.Certificate[1])
		again, err := in.Issue(tlsx.Template{Names: []string{"a.test"}})
		require.NoError(t, err)
		require.NotEqual(t, leaf.Leaf.SerialNumber, again.Leaf.SerialNumber)
		require.NotEqual(t, leaf.Leaf.SubjectKeyId, again.Leaf.SubjectKeyId)
	})
}

// TestValidityCut: nobody is certified for longer than who certifies.
func TestValidityCut(t *testing.T) {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Root"), NotBefore: noon, NotAfter: noon.Add(10 * day)})
	require.NoError(t, err)
	leaf, err := root.Issue(tlsx.Template{Names: []string{"a.test"}, NotBefore: noon})
	require.NoError(t, err)
	require.True(t, leaf.Leaf.NotAfter.Equal(noon.Add(10*day)))
	template := tlsx.Template{Names: []string{"a.test"}, NotBefore: noon, NotAfter: noon.Add(11 * day)}
	_, err = root.Issue(template)
	require.ErrorContains(t, err, "longer than its issuer")
	template.Faulty = true
	leaf, err = root.Issue(template)
	require.NoError(t, err)
	require.True(t, leaf.Leaf.NotAfter.Equal(noon.Add(11*day)))
	_, err = root.Issue(tlsx.Template{Names: []string{"a.test"}, NotBefore: noon, NotAfter: noon})
	require.ErrorContains(t, err, "before it begins")
	// A time beyond 2050 is written in another form (RFC 5280 section 4.1.2.5).
	far := time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	root, err = tlsx.NewAuthority(tlsx.Template{Subject: called("Root"), NotBefore: noon, NotAfter: far})
	require.NoError(t, err)
	require.True(t, root.Cert.NotAfter.Equal(far))
}

// TestPlainAuthority: an authority without key usages, as "openssl req -x509"
// makes it, may sign; one whose key is for something else may not.
func TestPlainAuthority(t *testing.T) {
	for _, test := range []struct {
		usage x509.KeyUsage
		ok    bool
	}{{0, true}, {x509.KeyUsageCertSign, true}, {x509.KeyUsageDigitalSignature, false}} {
		key, err := tlsx.NewKey(tlsx.ECDSAP256)
		require.NoError(t, err)
		plain := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: called("Plain"), NotBefore: noon.Add(-day), NotAfter: time.Now().AddDate(1, 0, 0),
			BasicConstraintsValid: true, IsCA: true, KeyUsage: test.usage,
		}
		der, err := x509.CreateCertificate(rand.Reader, plain, plain, key.Public(), key)
		require.NoError(t, err)
		cert, err := x509.ParseCertificate(der)
		require.NoError(t, err)
		a := &tlsx.Authority{Cert: cert, Key: key}
		leaf, err := a.Issue(tlsx.Template{Names: []string{"a.test"}})
		if !test.ok {
			require.ErrorContains(t, err, "is no authority")
			continue
		}
		require.NoError(t, err)
		_, err = tlsx.Verify([]*x509.Certificate{leaf.Leaf}, tlsx.VerifyOptions{Roots: []*x509.Certificate{cert}, Name: "a.test"})
		require.NoError(t, err)
	}
}

// TestPathLength: an authority counts those below it before it signs.
func TestPathLength(t *testing.T) {
	root, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Root"), PathLen: new(1)})
	require.NoError(t, err)
	a, err := root.Intermediate(tlsx.Template{Subject: called("A"), PathLen: new(-1)})
	require.NoError(t, err)
	require.Equal(t, -1, a.Cert.MaxPathLen)
	_, err = a.Intermediate(tlsx.Template{Subject: called("B")})
	e := refusal(t, err)
	require.Equal(t, tlsx.PathTooLong, e.Reason)
	require.Contains(t, e.Detail, `"Root" allows 1 authorities below it, and there are 2: "B", "A"`)
	b, err := a.Intermediate(tlsx.Template{Subject: called("B"), Faulty: true})
	require.NoError(t, err)
	_, err = b.Issue(tlsx.Template{Names: []string{"a.test"}})
	require.Equal(t, tlsx.PathTooLong, refusal(t, err).Reason)
	_, err = a.Issue(tlsx.Template{Names: []string{"a.test"}})
	require.NoError(t, err)
}

// TestNames: what is a name, and of which kind.
func TestNames(t *testing.T) {
	w := theWorld()
	for _, test := range []struct {
		in    string
		kind  string // "" if it is refused
		value string
	}{
		{"localhost", "dns", "localhost"},
		{"WWW.Example.Test", "dns", "www.example.test"},
		{"mañana.test", "dns", "xn--maana-pta.test"},
		{"xn--maana-pta.test", "dns", "xn--maana-pta.test"},
		{"faß.test", "dns", "xn--fa-hia.test"},
		{"*.example.test", "dns", "*.example.test"},
		{"*.mañana.test", "dns", "*.xn--maana-pta.test"},
		{"127.0.0.1", "ip", "127.0.0.1"},
		{"::ffff:127.0.0.1", "ip", "127.0.0.1"},
		{"[2001:db8::1]", "ip", "2001:db8::1"},
		{"jose@Example.test", "email", "jose@example.test"},
		{"https://example.test:8443/a?b", "uri", "https://example.test:8443/a?b"},
		{"spiffe://example.test/web", "uri", "spiffe://example.test/web"},
		{in: ""},
		{in: "."},
		{in: "a..b"},
		{in: "example.test."},
		{in: "*"},
		{in: "*.test"},
		{in: "a.*.test"},
		{in: "w*.example.test"},
		{in: "-a.test"},
		{in: "a-.test"},
		{in: "under_score.test"},
		{in: "a b.test"},
		{in: "a\x00b.test"},
		{in: "xn--a.test"},
		{in: "0123456789012345678901234567890123456789012345678901234567890123.test"},
		{in: "fe80::1%eth0"},
		{in: "@example.test"},
		{in: "jose@"},
		{in: "jo se@example.test"},
		{in: "jo..se@example.test"},
		{in: "josé@example.test"},
		{in: "a@b@example.test"},
		{in: "https://"},
		{in: "https://user:secret@example.test/"},
		{in: "https://exa mple.test/"},
		{in: "://x"},
	} {
		cert, err := w.intermediate.Issue(tlsx.Template{Names: []string{test.in}, NotBefore: noon})
		if test.kind == "" {
			require.Error(t, err, "%q", test.in)
			continue
		}
		require.NoError(t, err, "%q", test.in)
		c := cert.Leaf
		got := map[string][]string{"dns": c.DNSNames, "email": c.EmailAddresses}
		for _, ip := range c.IPAddresses {
			got["ip"] = append(got["ip"], ip.String())
		}
		for _, u := range c.URIs {
			got["uri"] = append(got["uri"], u.String())
		}
		require.Equal(t, []string{test.value}, got[test.kind], "%q", test.in)
		require.Equal(t, 1, len(got["dns"])+len(got["ip"])+len(got["email"])+len(got["uri"]))
	}
	_, err := w.intermediate.Issue(tlsx.Template{Names: make([]string, 1001)})
	require.ErrorContains(t, err, "1001 alternative names")
}

func TestTemplateErrors(t *testing.T) {
	w := theWorld()
	for words, template := range map[string]tlsx.Template{
		"no path length":           {Names: []string{"a.test"}, PathLen: new(0)},
		"no name constraints":      {Names: []string{"a.test"}, Permitted: tlsx.Constraints{DNS: []string{"a.test"}}},
		"no URL to ask":            {Names: []string{"a.test"}, CRLs: []string{"not a URL"}},
		"is no URL to ask for rev": {Names: []string{"a.test"}, OCSP: []string{"ocsp.a.test"}},
	} {
		_, err := w.intermediate.Issue(template)
		require.ErrorContains(t, err, words)
	}
	_, err := tlsx.NewAuthority(tlsx.Template{})
	require.ErrorContains(t, err, "needs a subject")
	for _, limits := range []tlsx.Constraints{{DNS: []string{"*.test"}}, {Email: []string{"a@"}}, {URI: []string{"https://a.test/"}}, {IP: nil, DNS: []string{""}}} {
		_, err = w.root.Intermediate(tlsx.Template{Subject: called("x"), Permitted: limits})
		require.ErrorContains(t, err, "name constraint", "%v", limits)
		_, err = w.root.Intermediate(tlsx.Template{Subject: called("x"), Excluded: limits})
		require.ErrorContains(t, err, "name constraint", "%v", limits)
	}
}

// TestRequest: a request made, sent as PEM, checked and signed; the authority
// never sees the key.
func TestRequest(t *testing.T) {
	w := theWorld()
	req, key, err := tlsx.NewRequest(tlsx.Template{Subject: called("jose"), Names: []string{"jose.test", "jose@jose.test", "127.0.0.1", "https://jose.test/"}})
	require.NoError(t, err)
	req, err = tlsx.ParseRequest(tlsx.EncodeRequest(req))
	require.NoError(t, err)
	certs, err := w.intermediate.Sign(req, tlsx.Template{Uses: clientUse, NotBefore: noon.Add(-day)})
	require.NoError(t, err)
	require.Len(t, certs, 2)
	require.Equal(t, key.Public(), certs[0].PublicKey)
	require.Equal(t, "jose", certs[0].Subject.CommonName)
	require.Equal(t, []string{"jose.test"}, certs[0].DNSNames)
	require.Equal(t, []string{"jose@jose.test"}, certs[0].EmailAddresses)
	_, err = tlsx.Verify(certs, tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Uses: clientUse, Time: noon})
	require.NoError(t, err)

	// The authority's word counts more than the request's.
	certs, err = w.intermediate.Sign(req, tlsx.Template{Subject: called("somebody"), Names: []string{"some.test"}})
	require.NoError(t, err)
	require.Equal(t, "somebody", certs[0].Subject.CommonName)
	require.Equal(t, []string{"some.test"}, certs[0].DNSNames)
	require.Empty(t, certs[0].EmailAddresses)

	// A request whose signature does not fit is refused, by both doors.
	bad := bytes.Clone(req.Raw)
	bad[len(bad)-1] ^= 1
	_, err = tlsx.ParseRequest(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: bad}))
	require.ErrorContains(t, err, "not signed with the key")
	parsed, err := x509.ParseCertificateRequest(bad)
	require.NoError(t, err)
	_, err = w.intermediate.Sign(parsed, tlsx.Template{})
	require.ErrorContains(t, err, "not signed with the key")
}

// TestRequestNameKinds: a mailbox in a request that looks like a host name does
// not become one, or who checks the host names alone would be deceived.
func TestRequestNameKinds(t *testing.T) {
	w := theWorld()
	for _, test := range []struct {
		tag  int
		name string
	}{{1, "bank.test"}, {1, "127.0.0.1"}, {2, "jose@bank.test"}, {2, "10.0.0.1"}, {6, "bank.test"}, {2, "a\x00.test"}} {
		san, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: test.tag, Bytes: []byte(test.name)}})
		require.NoError(t, err)
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject:         called("mallory"),
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}},
		}, w.server.PrivateKey)
		require.NoError(t, err)
		req, err := x509.ParseCertificateRequest(der)
		if err != nil {
			continue // refused earlier
		}
		_, err = w.intermediate.Sign(req, tlsx.Template{})
		require.ErrorContains(t, err, "alternative name", "%v", test)
	}
}
