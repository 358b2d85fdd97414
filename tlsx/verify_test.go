package tlsx_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

func TestVerifyGood(t *testing.T) {
	w := theWorld()
	roots := []*x509.Certificate{w.root.Cert}
	for _, name := range []string{"", "localhost", "server.test", "SERVER.test", "server.test.", "127.0.0.1", "::1", "[::1]"} {
		path, err := tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: roots, Name: name, Time: noon})
		require.NoError(t, err, name)
		require.Len(t, path, 3)
		require.True(t, path[0].Equal(w.server.Leaf))
		require.True(t, path[2].Equal(w.root.Cert))
	}
	_, err := tlsx.Verify(chain(t, w.client), tlsx.VerifyOptions{Roots: roots, Uses: clientUse, Time: noon})
	require.NoError(t, err)
	_, err = tlsx.Verify(chain(t, w.client), tlsx.VerifyOptions{Roots: roots, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, Time: noon})
	require.NoError(t, err)
	// A root that is trusted is a path of one.
	path, err := tlsx.Verify([]*x509.Certificate{w.root.Cert}, tlsx.VerifyOptions{Roots: roots, Time: noon})
	require.NoError(t, err)
	require.Len(t, path, 1)
	// The others may come in any order, and with strangers.
	certs := chain(t, w.server)
	_, err = tlsx.Verify([]*x509.Certificate{certs[0], w.other.Cert, w.toodeepCA.Cert, certs[1]}, tlsx.VerifyOptions{Roots: roots, Time: noon})
	require.NoError(t, err)
}

// TestReasons: every fault by its reason, with the rule and the values that were
// compared in words.
func TestReasons(t *testing.T) {
	w := theWorld()
	ours := []*x509.Certificate{w.root.Cert}
	at := func(name string) tlsx.VerifyOptions {
		return tlsx.VerifyOptions{Roots: ours, Name: name, Time: noon}
	}
	for _, c := range []struct {
		name    string
		cert    *tls.Certificate
		options tlsx.VerifyOptions
		reason  tlsx.Reason
		rule    string
		words   []string // in the message
	}{
		{"expired", w.expired, at("localhost"), tlsx.Expired, "RFC 5280 section 6.1.3 (a)(2)", []string{`"expired"`, "2026-05-31T12:00:00Z", "2026-06-01T12:00:00Z", "24h0m0s later"}},
		{"future", w.future, at("localhost"), tlsx.NotYetValid, "RFC 5280 section 6.1.3 (a)(2)", []string{`"future"`, "2026-06-06T12:00:00Z", "5 days too early"}},
		{"wrong name", w.wrongName, at("localhost"), tlsx.WrongName, "RFC 9525 section 6.3", []string{"asked for localhost", "valid for elsewhere.test"}},
		{"wrong address", w.server, at("127.0.0.2"), tlsx.WrongName, "RFC 9525 section 6.4", []string{"asked for 127.0.0.2", "localhost, server.test, 127.0.0.1, ::1"}},
		{"no name to look for", w.server, at("schön..test"), tlsx.WrongName, "RFC 9525 section 6.2", []string{"no name to look for"}},
		{"wrong use", w.wrongUse, at("localhost"), tlsx.WrongUse, "RFC 5280 section 4.2.1.12", []string{"is for client authentication", "wanted is server authentication"}},
		{"too deep", w.toodeep, at("localhost"), tlsx.PathTooLong, "RFC 5280 section 6.1.4 (l), (m)", []string{`"Test Intermediate" allows 0 authorities below it, and there are 1: "Too Deep"`}},
		{"other authority", w.otherServer, at("localhost"), tlsx.UnknownAuthority, "RFC 5280 section 6.1.1 (d)", []string{`"other server" is signed by "Other Root"`, `trusted are "Test Root"`}},
		{"nobody trusted", w.server, tlsx.VerifyOptions{Roots: []*x509.Certificate{}, Time: noon}, tlsx.UnknownAuthority, "RFC 5280 section 6.1.1 (d)", []string{`"Test Root"`, "nobody is trusted"}},
		{"intermediate not sent", &tls.Certificate{Certificate: w.server.Certificate[:1]}, at("localhost"), tlsx.UnknownAuthority, "RFC 5280 section 6.1.1 (d)", []string{`signed by "Test Intermediate", whose certificate is neither trusted nor was it sent`}},
		{"signed itself", &tls.Certificate{Certificate: [][]byte{w.other.Cert.Raw}}, at(""), tlsx.UnknownAuthority, "RFC 5280 section 6.1.1 (d)", []string{"has signed itself"}},
		{"root expired", w.server, tlsx.VerifyOptions{Roots: ours, Time: noon.Add(20 * 365 * day)}, tlsx.Expired, "RFC 5280 section 6.1.3 (a)(2)", []string{`"Test Root" was valid until`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tlsx.Verify(chain(t, c.cert), c.options)
			e := refusal(t, err)
			require.Equal(t, c.reason, e.Reason, "%v", e)
			require.Equal(t, c.rule, e.Rule)
			for _, words := range c.words {
				require.Contains(t, e.Error(), words)
			}
			require.NotNil(t, e.Cert)
			require.False(t, e.Remote)
		})
	}
	_, err := tlsx.Verify(nil, tlsx.VerifyOptions{})
	require.Equal(t, tlsx.NoCertificate, refusal(t, err).Reason)
}

// TestNamesake: an authority of the right name and the wrong key is told from
// one that is not there.
func TestNamesake(t *testing.T) {
	w := theWorld()
	again, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Test Root"), NotBefore: noon.Add(-day)})
	require.NoError(t, err)
	_, err = tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: []*x509.Certificate{again.Cert}, Time: noon})
	e := refusal(t, err)
	require.Equal(t, tlsx.UnknownAuthority, e.Reason)
	require.Contains(t, e.Detail, "not with the key")
	require.Len(t, e.Path, 2)
}

// TestLeafAsAuthority: a server's certificate cannot certify others, although
// the signature is good.
func TestLeafAsAuthority(t *testing.T) {
	w := theWorld()
	key := w.plain.PrivateKey.(crypto.Signer)
	evil := &tlsx.Authority{Cert: w.plain.Leaf, Key: key, Issuers: []*x509.Certificate{w.root.Cert}}
	template := tlsx.Template{Subject: called("bank"), Names: []string{"bank.test"}, NotBefore: noon}
	_, err := evil.Issue(template)
	require.ErrorContains(t, err, "is no authority")
	template.Faulty = true
	cert, err := evil.Issue(template)
	require.NoError(t, err)
	_, err = tlsx.Verify(chain(t, cert), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Name: "bank.test", Time: noon})
	e := refusal(t, err)
	require.Equal(t, tlsx.WrongUse, e.Reason)
	require.Equal(t, "RFC 5280 section 6.1.4 (k)", e.Rule)
	require.True(t, e.Cert.Equal(w.plain.Leaf))
}

// TestKeyUsage: an authority whose key may not sign certificates.
func TestKeyUsage(t *testing.T) {
	w := theWorld()
	a, err := w.root.Intermediate(tlsx.Template{Subject: called("lists only"), KeyUsage: x509.KeyUsageCRLSign, NotBefore: noon})
	require.NoError(t, err)
	cert, err := a.Issue(tlsx.Template{Names: []string{"a.test"}, NotBefore: noon, Faulty: true})
	require.NoError(t, err)
	_, err = tlsx.Verify(chain(t, cert), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon})
	e := refusal(t, err)
	require.Equal(t, tlsx.WrongUse, e.Reason)
	require.Equal(t, "RFC 5280 section 6.1.4 (n)", e.Rule)
	require.Contains(t, e.Detail, "cRLSign")
}

// TestCommonNameDoesNotCount: the name has to be among the alternative names.
func TestCommonNameDoesNotCount(t *testing.T) {
	w := theWorld()
	_, err := w.intermediate.Issue(tlsx.Template{Subject: called("server.test")})
	require.ErrorContains(t, err, "no alternative name")
	_, err = tlsx.Verify(chain(t, w.client), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Uses: clientUse, Name: "jose", Time: noon})
	e := refusal(t, err)
	require.Equal(t, tlsx.WrongName, e.Reason)
}

// TestConstraints: an authority that may certify some names only.
func TestConstraints(t *testing.T) {
	w := theWorld()
	limits := tlsx.Constraints{DNS: []string{"example.test"}, IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, Email: []string{"example.test"}, URI: []string{".example.test"}}
	a, err := w.root.Intermediate(tlsx.Template{
		Subject: called("Limited"), NotBefore: noon.Add(-day), Permitted: limits,
		Excluded: tlsx.Constraints{DNS: []string{"secret.example.test"}},
	})
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		good bool
	}{
		{"www.example.test", true},
		{"example.test", true},
		{"10.1.2.3", true},
		{"fd00::7", true},
		{"jose@example.test", true},
		{"https://a.example.test/x", true},
		{"www.secret.example.test", false},
		{"example.com", false},
		{"192.0.2.1", false},
		{"jose@other.test", false},
		{"https://other.test/x", false},
	} {
		template := tlsx.Template{Names: []string{c.name}, NotBefore: noon}
		_, err := a.Issue(template)
		if c.good {
			require.NoError(t, err, c.name)
			continue
		}
		require.Equal(t, tlsx.Constraint, refusal(t, err).Reason, c.name)
		template.Faulty = true
		cert, err := a.Issue(template)
		require.NoError(t, err)
		_, err = tlsx.Verify(chain(t, cert), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon})
		e := refusal(t, err)
		require.Equal(t, tlsx.Constraint, e.Reason, c.name)
		require.Contains(t, e.Detail, `"Limited" may certify only DNS example.test`)
	}
}

// TestUseOfAuthority: an authority for clients cannot certify a server.
func TestUseOfAuthority(t *testing.T) {
	w := theWorld()
	a, err := w.root.Intermediate(tlsx.Template{Subject: called("Clients"), NotBefore: noon.Add(-day), Uses: clientUse})
	require.NoError(t, err)
	_, err = a.Issue(tlsx.Template{Names: []string{"a.test"}, NotBefore: noon})
	require.Equal(t, tlsx.WrongUse, refusal(t, err).Reason)
	cert, err := a.Issue(tlsx.Template{Names: []string{"a.test"}, NotBefore: noon, Faulty: true})
	require.NoError(t, err)
	_, err = tlsx.Verify(chain(t, cert), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon})
	e := refusal(t, err)
	require.Equal(t, tlsx.WrongUse, e.Reason)
	require.Contains(t, e.Detail, `"Clients" certifies only for client authentication`)
}

// TestWeak: a short RSA key and a SHA-1 signature, which the Authority itself
// would never make.
func TestWeak(t *testing.T) {
	w := theWorld()
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	_, err = w.intermediate.Issue(tlsx.Template{Names: []string{"a.test"}, Key: short})
	require.ErrorContains(t, err, "1024 bits")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(5), Subject: called("weak"), DNSNames: []string{"a.test"},
		NotBefore: noon, NotAfter: noon.Add(day), ExtKeyUsage: serverUse,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.root.Cert, short.Public(), w.root.Key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	_, err = tlsx.Verify([]*x509.Certificate{cert}, tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon})
	e := refusal(t, err)
	require.Equal(t, tlsx.WeakAlgorithm, e.Reason)
	require.Contains(t, e.Detail, "1024 bits")

	template.SignatureAlgorithm = x509.ECDSAWithSHA1
	der, err = x509.CreateCertificate(rand.Reader, template, w.root.Cert, w.root.Key.Public(), w.root.Key)
	if err != nil {
		require.ErrorContains(t, err, "SHA1") // the standard library signs no more with it either
		return
	}
	cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	_, err = tlsx.Verify([]*x509.Certificate{cert}, tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon})
	require.Equal(t, tlsx.WeakAlgorithm, refusal(t, err).Reason)
}

// TestHugeChain: a thousand certificates of one name are refused before any
// signature is checked.
func TestHugeChain(t *testing.T) {
	w := theWorld()
	certs := chain(t, w.server)[:1]
	for range 1000 {
		certs = append(certs, w.toodeepCA.Cert)
	}
	_, err := tlsx.Verify(certs, tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon})
	e := refusal(t, err)
	require.Equal(t, tlsx.BadCertificate, e.Reason)
	require.Contains(t, e.Detail, "1001 certificates were sent, more than 16")
}

// TestHostileNames: text from a certificate cannot steer the terminal.
func TestHostileNames(t *testing.T) {
	a, err := tlsx.NewAuthority(tlsx.Template{Subject: called("\x1b[2Jroot\r\n\u202eevil")})
	require.NoError(t, err)
	_, err = tlsx.Verify([]*x509.Certificate{a.Cert}, tlsx.VerifyOptions{Roots: []*x509.Certificate{}})
	for _, s := range []string{tlsx.Title(a.Cert), tlsx.Text(a.Cert), tlsx.Tree([]*x509.Certificate{a.Cert}), refusal(t, err).Error()} {
		require.NotContains(t, s, "\x1b")
		require.NotContains(t, s, "\r")
		require.NotContains(t, s, "\u202e")
		require.Contains(t, s, `\u001b[2Jroot`)
	}
}
