// Package testcert makes certificates for the tests of packages that carry
// their protocol over TLS. Each call makes an authority of its own, valid from
// the test's present for a day, so that it works on virtual time as well.
// Package tlsx does the same for programs; the other packages do not import it.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Server returns the configuration of a server for localhost, 127.0.0.1, ::1
// and names, which are further host names or IP addresses, and the roots that a
// client has to trust to accept it.
func Server(t testing.TB, names ...string) (server *tls.Config, roots *x509.CertPool) {
	t.Helper()
	a := newAuthority(t)
	cert := a.issue(t, append([]string{"localhost", "127.0.0.1", "::1"}, names...), x509.ExtKeyUsageServerAuth)
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, a.pool()
}

// Mutual returns the configurations of such a server, which demands a
// certificate of its clients, and of a client that has one and expects
// localhost.
func Mutual(t testing.TB, names ...string) (server, client *tls.Config) {
	t.Helper()
	server, roots := Server(t, names...)
	a := newAuthority(t) // another one: clients and servers need not know each other's
	server.ClientCAs, server.ClientAuth = a.pool(), tls.RequireAndVerifyClientCert
	return server, &tls.Config{
		RootCAs:      roots,
		ServerName:   "localhost",
		Certificates: []tls.Certificate{a.issue(t, []string{"client.test"}, x509.ExtKeyUsageClientAuth)},
		MinVersion:   tls.VersionTLS12,
	}
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	template := template("Test authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	a := &authority{key: newKey(t)}
	a.cert = create(t, template, template, a.key, a.key)
	return a
}

func (a *authority) issue(t testing.TB, names []string, use x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	template := template(names[0])
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{use}
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, net.IP(addr.AsSlice()))
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(t)
	cert := create(t, template, a.cert, key, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// template has what all certificates have. Without a serial number, they get a
// random one.
func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(24 * time.Hour),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func create(t testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
