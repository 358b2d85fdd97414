package tlsx_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/zocalo-go/zocalo/tlsx"
)

func revoke(certs ...*x509.Certificate) (list []x509.RevocationListEntry) {
	for _, c := range certs {
		list = append(list, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: noon.Add(-time.Hour), ReasonCode: 1})
	}
	return list
}

func TestCRL(t *testing.T) {
	w := theWorld()
	list := func(a *tlsx.Authority, revoked ...*x509.Certificate) *x509.RevocationList {
		t.Helper()
		l, err := a.CRL(3, revoke(revoked...), noon.Add(-time.Hour), noon.Add(time.Hour))
		require.NoError(t, err)
		l, err = tlsx.ParseCRL(tlsx.EncodeCRL(l))
		require.NoError(t, err)
		again, err := tlsx.ParseCRL(l.Raw)
		require.NoError(t, err)
		require.Equal(t, l.Number, again.Number)
		return l
	}
	forged := list(&tlsx.Authority{Cert: w.root.Cert, Key: w.root.Key}, w.intermediate.Cert)
	forged.RawIssuer = w.intermediate.Cert.RawSubject // in its name, but not with its key
	for _, test := range []struct {
		name   string
		lists  []*x509.RevocationList
		now    time.Time
		reason tlsx.Reason
		words  string
	}{
		{"all good", []*x509.RevocationList{list(w.root), list(w.intermediate)}, noon, "", ""},
		{"others revoked", []*x509.RevocationList{list(w.root, w.plain.Leaf), list(w.intermediate, w.client.Leaf)}, noon, "", ""},
		{"leaf revoked", []*x509.RevocationList{list(w.root), list(w.intermediate, w.client.Leaf, w.server.Leaf)}, noon, tlsx.Revoked, "the key was stolen"},
		{"authority revoked", []*x509.RevocationList{list(w.root, w.intermediate.Cert), list(w.intermediate)}, noon, tlsx.Revoked, `"Test Intermediate"`},
		{"a list missing", []*x509.RevocationList{list(w.root)}, noon, tlsx.RevocationUnknown, `no list of "Test Intermediate" is there`},
		{"none", []*x509.RevocationList{}, noon, tlsx.RevocationUnknown, "no list"},
		{"too old", []*x509.RevocationList{list(w.root), list(w.intermediate)}, noon.Add(2 * time.Hour), tlsx.RevocationUnknown, "was good until 2026-06-01T13:00:00Z, now it is 2026-06-01T14:00:00Z"},
		{"forged", []*x509.RevocationList{list(w.root), forged}, noon, tlsx.RevocationUnknown, "not signed by it"},
		{"old list that revokes", []*x509.RevocationList{list(w.root), list(w.intermediate, w.server.Leaf)}, noon.Add(day), tlsx.Revoked, "revoked at"},
	} {
		_, err := tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: test.now, CRLs: test.lists})
		if test.reason == "" {
			require.NoError(t, err, test.name)
			continue
		}
		e := refusal(t, err)
		require.Equal(t, test.reason, e.Reason, "%s: %v", test.name, e)
		require.Contains(t, e.Detail, test.words, test.name)
		require.Equal(t, "RFC 5280 section 6.1.3 (a)(3)", e.Rule)
	}
	early, err := w.intermediate.CRL(4, nil, noon.Add(time.Minute), noon.Add(time.Hour))
	require.NoError(t, err)
	_, err = tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon, CRLs: []*x509.RevocationList{list(w.root), early}})
	require.Contains(t, refusal(t, err).Detail, "begins at")

	_, err = w.root.CRL(1, nil, noon, noon)
	require.ErrorContains(t, err, "not after")
	_, err = (&tlsx.Authority{Cert: w.server.Leaf, Key: w.server.PrivateKey.(crypto.Signer)}).CRL(1, nil, noon, noon.Add(day))
	require.Error(t, err, "a server has nothing to revoke")
	for _, data := range []string{"", "hola", "0\x80", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"} {
		_, err = tlsx.ParseCRL([]byte(data))
		require.Error(t, err)
	}
}

// TestPartialCRL: a list that covers only some certificates shows of none that
// it is good.
func TestPartialCRL(t *testing.T) {
	w := theWorld()
	der, err := x509.CreateRevocationList(nil, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: noon.Add(-time.Hour), NextUpdate: noon.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0x03, 0x81, 0x01, 0xff}}},
	}, w.root.Cert, w.root.Key)
	require.NoError(t, err)
	list, err := tlsx.ParseCRL(der)
	require.NoError(t, err)
	_, err = tlsx.Verify(chain(t, w.plain), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon, CRLs: []*x509.RevocationList{list}})
	e := refusal(t, err)
	require.Equal(t, tlsx.RevocationUnknown, e.Reason)
	require.Contains(t, e.Detail, "covers only a part")
}

func TestOCSP(t *testing.T) {
	w := theWorld()
	question, err := tlsx.NewOCSPRequest(w.server.Leaf, w.intermediate.Cert)
	require.NoError(t, err)
	verify := func(answer []byte, now time.Time) error {
		_, err := tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: now, OCSP: answer})
		return err
	}
	answer := func(a *tlsx.Authority, revoked ...*x509.Certificate) []byte {
		t.Helper()
		der, err := a.AnswerOCSP(question, revoke(revoked...), noon.Add(-time.Minute), noon.Add(time.Hour))
		require.NoError(t, err)
		return der
	}
	good := answer(w.intermediate, w.client.Leaf)
	require.NoError(t, verify(good, noon))
	e := refusal(t, verify(answer(w.intermediate, w.server.Leaf), noon))
	require.Equal(t, tlsx.Revoked, e.Reason)
	require.Equal(t, "RFC 6960 section 2.2", e.Rule)
	for words, err := range map[string]error{
		"good from":       verify(good, noon.Add(2*time.Hour)),
		"does not answer": verify(answer(w.root), noon), // not its certificate
		"not valid":       verify(good[:len(good)-1], noon),
		"65537 bytes":     verify(make([]byte, 65537), noon),
	} {
		e := refusal(t, err)
		require.Equal(t, tlsx.RevocationUnknown, e.Reason)
		require.Contains(t, e.Detail, words)
	}
	for _, bad := range [][]byte{nil, []byte("hola"), make([]byte, 1<<17)} {
		der, err := w.root.AnswerOCSP(bad, nil, noon, noon.Add(day))
		require.NoError(t, err)
		require.Equal(t, ocsp.MalformedRequestErrorResponse, der)
	}
}

// TestOCSPNeighbour: the holder of any certificate of an authority could sign an
// answer with it; only one made for that counts.
func TestOCSPNeighbour(t *testing.T) {
	w := theWorld()
	forge := func(c *tls.Certificate) []byte {
		der, err := ocsp.CreateResponse(w.intermediate.Cert, c.Leaf, ocsp.Response{
			Status: ocsp.Good, SerialNumber: w.server.Leaf.SerialNumber, ThisUpdate: noon, NextUpdate: noon.Add(day), Certificate: c.Leaf,
		}, c.PrivateKey.(crypto.Signer))
		require.NoError(t, err)
		return der
	}
	verify := func(answer []byte) error {
		_, err := tlsx.Verify(chain(t, w.server), tlsx.VerifyOptions{Roots: []*x509.Certificate{w.root.Cert}, Time: noon, OCSP: answer})
		return err
	}
	e := refusal(t, verify(forge(w.client)))
	require.Equal(t, tlsx.RevocationUnknown, e.Reason)
	require.Contains(t, e.Detail, "not entitled")
	responder, err := w.intermediate.Issue(tlsx.Template{Names: []string{"ocsp.test"}, Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, NotBefore: noon.Add(-day)})
	require.NoError(t, err)
	require.NoError(t, verify(forge(responder)))
}

// TestRevokedLive: a revoked client and a revoked server are refused in the
// handshake; the server's by a list or by its stapled answer.
func TestRevokedLive(t *testing.T) {
	w := theWorld()
	list := func(a *tlsx.Authority, revoked ...*x509.Certificate) *x509.RevocationList {
		l, err := a.CRL(3, revoke(revoked...), noon.Add(-time.Hour), noon.Add(time.Hour))
		require.NoError(t, err)
		return l
	}
	bothVersions(t, func(t *testing.T, version uint16) {
		c, s := clientOf(w), serverOf(w, w.server)
		c.MaxVersion, c.Identity = version, fixed(w.client)
		s.ClientCAs = []*x509.Certificate{w.root.Cert}
		clientLists := []*x509.RevocationList{list(w.root), list(w.intermediate)}
		s.CRLs = func() []*x509.RevocationList { return clientLists }
		o := meet(t, c, s)
		require.NoError(t, o.client)
		require.NoError(t, o.server)
		clientLists[1] = list(w.intermediate, w.client.Leaf)
		o = meet(t, c, s)
		require.Equal(t, tlsx.Revoked, refusal(t, o.server).Reason)
		require.Error(t, o.client)

		s = serverOf(w, w.server)
		serverLists := []*x509.RevocationList{list(w.root), list(w.intermediate, w.server.Leaf)}
		c.CRLs = func() []*x509.RevocationList { return serverLists }
		o = meet(t, c, s)
		require.Equal(t, tlsx.Revoked, refusal(t, o.client).Reason)

		serverLists = serverLists[:1]
		question, err := tlsx.NewOCSPRequest(w.server.Leaf, w.intermediate.Cert)
		require.NoError(t, err)
		for _, revoked := range []bool{false, true} {
			stapled := *w.server
			var entries []x509.RevocationListEntry
			if revoked {
				entries = revoke(w.server.Leaf)
			}
			stapled.OCSPStaple, err = w.intermediate.AnswerOCSP(question, entries, noon.Add(-time.Minute), noon.Add(time.Hour))
			require.NoError(t, err)
			o = meet(t, c, serverOf(w, &stapled))
			if revoked {
				require.Equal(t, tlsx.Revoked, refusal(t, o.client).Reason)
			} else {
				require.NoError(t, o.client)
			}
		}
		c.CRLs = func() []*x509.RevocationList { return nil }
		o = meet(t, c, serverOf(w, w.server))
		require.Equal(t, tlsx.RevocationUnknown, refusal(t, o.client).Reason, "lists are wanted and there are none")
	})
}

// TestRevokedResumption: a session does not outlive the certificate that it
// began with, although this is not sent again.
func TestRevokedResumption(t *testing.T) {
	w := theWorld()
	list := func(a *tlsx.Authority, revoked ...*x509.Certificate) *x509.RevocationList {
		l, err := a.CRL(3, revoke(revoked...), noon.Add(-time.Hour), noon.Add(time.Hour))
		require.NoError(t, err)
		return l
	}
	bothVersions(t, func(t *testing.T, version uint16) {
		now := []*x509.RevocationList{list(w.root), list(w.intermediate)}
		c, s := clientOf(w), serverOf(w, w.server)
		c.MaxVersion, c.Identity, c.Sessions = version, fixed(w.client), tls.NewLRUClientSessionCache(8)
		s.ClientCAs, s.CRLs = []*x509.Certificate{w.root.Cert}, func() []*x509.RevocationList { return now }
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ln, err := s.Listener(tcp) // one configuration, whose tickets are good for all its connections
		require.NoError(t, err)
		defer ln.Close()
		try := func() (o outcome, resumed bool) {
			nc, err := net.Dial("tcp", ln.Addr().String())
			require.NoError(t, err)
			cc, err := c.Conn(nc)
			require.NoError(t, err)
			sc, err := ln.Accept()
			require.NoError(t, err)
			o = converse(cc, sc.(*tlsx.Conn))
			return o, cc.ConnectionState().DidResume
		}
		for _, want := range []bool{false, true} {
			o, resumed := try()
			require.NoError(t, o.client)
			require.NoError(t, o.server)
			require.Equal(t, want, resumed)
		}
		now[1] = list(w.intermediate, w.client.Leaf)
		o, _ := try()
		require.Equal(t, tlsx.Revoked, refusal(t, o.server).Reason)
		require.Error(t, o.client)
	})
}
