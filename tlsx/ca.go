package tlsx

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Template says what stands in a certificate that is to be made. The zero
// value makes a certificate without any name; every field has a default that
// is right for a start.
type Template struct {
	// Subject names the holder for people. Programs do not look at it:
	// a common name without an alternative name opens no connection.
	Subject pkix.Name

	// Names are the alternative names, which count: host names, perhaps
	// with "*" as the first label, IP addresses, mail addresses, URIs with a
	// scheme and a host. Host names beyond ASCII become A-labels. Authorities
	// need none.
	Names []string

	// Uses are what a leaf may be used for; nil means
	// x509.ExtKeyUsageServerAuth alone. For an authority they limit what it
	// may certify; nil means no limit.
	Uses []x509.ExtKeyUsage

	// NotBefore is the first moment of validity; zero means five minutes ago,
	// for clocks that are slow.
	NotBefore time.Time

	// NotAfter is the last moment. Zero means, after NotBefore, 90 days for a
	// leaf, five years for an intermediate authority and ten for a root, but
	// no longer than the issuer is valid.
	NotAfter time.Time

	// Key is the key pair that is certified; nil means a new one of type
	// [ECDSAP256].
	Key crypto.Signer

	// KeyUsage is what the key itself may do; 0 means digital signatures for
	// a leaf, signing certificates and revocation lists for an authority.
	KeyUsage x509.KeyUsage

	// PathLen is how many authorities may stand below this one; nil means any
	// number below a root and none below an intermediate. Negative means any
	// number.
	PathLen *int

	// Permitted and Excluded limit the names that an authority may certify.
	Permitted, Excluded Constraints

	// CRLs and OCSP are URLs where revocations can be asked for.
	CRLs, OCSP []string

	// Faulty makes an authority sign what it should refuse: a path that is
	// too long, names that it may not certify, validity beyond its own. For the
	// bad certificates that tests and lessons need.
	Faulty bool
}

// Constraints are subtrees of names (RFC 5280 section 4.2.1.10). IP holds ranges
// of addresses. In DNS, Email and URI an entry "example.com" stands for a domain:
// in DNS for the name and all below it, in Email for the mailboxes on that host,
// in URI for that host; in the last two, ".example.com" stands for every host
// below.
type Constraints struct {
	DNS   []string
	IP    []netip.Prefix
	Email []string
	URI   []string
}

// Default periods of validity.
const (
	leafTime         = 90 * 24 * time.Hour
	intermediateTime = 5 * 365 * 24 * time.Hour
	rootTime         = 10 * 365 * 24 * time.Hour
	backdate         = 5 * time.Minute
)

// An Authority certifies the keys of others. Its methods may be called by many
// goroutines; the fields must not change meanwhile.
type Authority struct {
	Cert    *x509.Certificate   // its own certificate
	Key     crypto.Signer       // the key of Cert
	Issuers []*x509.Certificate // those above, the nearest first, as far as known
}

// A role is what a certificate is made for.
type role int

const (
	leafRole role = iota
	intermediateRole
	rootRole
)

// NewAuthority makes a root: an authority that signs itself and that others
// must decide to trust.
func NewAuthority(t Template) (*Authority, error) {
	cert, key, err := newCertificate(nil, t, rootRole)
	if err != nil {
		return nil, failed("new authority", err)
	}
	return &Authority{Cert: cert, Key: key}, nil
}

// Intermediate makes an authority below a. By default it can certify leaves
// only.
func (a *Authority) Intermediate(t Template) (*Authority, error) {
	cert, key, err := newCertificate(a, t, intermediateRole)
	if err != nil {
		return nil, failed("intermediate", err)
	}
	return &Authority{Cert: cert, Key: key, Issuers: append([]*x509.Certificate{a.Cert}, a.Issuers...)}, nil
}

// Issue makes a leaf with its key. The result has the whole chain, leaf first,
// without the root, ready for [crypto/tls.Config] or [EncodeCertificates].
func (a *Authority) Issue(t Template) (*tls.Certificate, error) {
	cert, key, err := newCertificate(a, t, leafRole)
	if err != nil {
		return nil, failed("issue", err)
	}
	return assemble(append([]*x509.Certificate{cert}, a.Chain()...), key)
}

// Sign makes a leaf for a key that the authority never sees, as a request asks.
// It checks that the sender of the request has the key. Whether the sender is
// entitled to the names is for the caller to know: no signature tells. Subject
// and Names of t take the place of those in the request if they are set; of the
// rest of the request, such as extensions that ask to be an authority,
// nothing is heeded. Key of t is not used. The result is the chain, leaf first,
// without the root.
func (a *Authority) Sign(req *x509.CertificateRequest, t Template) ([]*x509.Certificate, error) {
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("tlsx: sign: the request is not signed with the key that it names: %w", err)
	}
	names, err := parseNames(t.Names)
	if t.Names == nil {
		names, err = requestNames(req)
	}
	if err != nil {
		return nil, failed("sign", err)
	}
	if t.Subject.String() == "" {
		t.Subject = req.Subject
		t.Subject.ExtraNames = nil
	}
	cert, err := sign(a, t, names, leafRole, req.PublicKey, nil)
	if err != nil {
		return nil, failed("sign", err)
	}
	return append([]*x509.Certificate{cert}, a.Chain()...), nil
}

// Chain returns the certificates that a server sends after a leaf of a: a's own
// and those above it, without a root.
func (a *Authority) Chain() []*x509.Certificate {
	all := append([]*x509.Certificate{a.Cert}, a.Issuers...)
	return slices.DeleteFunc(all, selfSigned)
}

func (t *Template) key() (crypto.Signer, error) {
	if t.Key != nil {
		return t.Key, nil
	}
	return NewKey("")
}

// newCertificate makes a certificate and, unless t has one, its key.
func newCertificate(issuer *Authority, t Template, r role) (*x509.Certificate, crypto.Signer, error) {
	names, err := parseNames(t.Names)
	if err != nil {
		return nil, nil, err
	}
	key, err := t.key()
	if err != nil {
		return nil, nil, err
	}
	cert, err := sign(issuer, t, names, r, key.Public(), key)
	return cert, key, err
}

// sign makes one certificate. issuer is nil for a root, which own signs.
func sign(issuer *Authority, t Template, names altNames, r role, pub crypto.PublicKey, own crypto.Signer) (*x509.Certificate, error) {
	if err := checkPublicKey(pub); err != nil {
		return nil, err
	}
	c, err := t.fill(names, r, pub)
	if err != nil {
		return nil, err
	}
	parent, key := c, own
	if issuer != nil {
		parent, key = issuer.Cert, issuer.Key
	}
	if t.NotAfter.IsZero() && parent.NotAfter.Before(c.NotAfter) {
		c.NotAfter = parent.NotAfter
	}
	if !c.NotAfter.After(c.NotBefore) {
		return nil, fmt.Errorf("it would end, %s, before it begins, %s", stamp(c.NotAfter), stamp(c.NotBefore))
	}
	if issuer != nil && !t.Faulty {
		if err := issuer.mayCertify(c); err != nil {
			return nil, err
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if issuer != nil && !t.Faulty {
		if err := issuer.wouldVerify(cert); err != nil {
			return nil, err
		}
	}
	return cert, nil
}

// fill turns a Template into the standard library's form.
func (t *Template) fill(names altNames, r role, pub crypto.PublicKey) (*x509.Certificate, error) {
	if r == leafRole && names.empty() {
		return nil, errors.New("no alternative name: a common name alone is not looked at (RFC 9525 section 2)")
	}
	if r != leafRole && t.Subject.String() == "" {
		return nil, errors.New("an authority needs a subject (RFC 5280 section 4.1.2.6)")
	}
	for _, list := range [][]string{t.CRLs, t.OCSP} {
		for _, s := range list {
			u, err := url.Parse(s)
			if err != nil || checkURI(u) != nil {
				return nil, fmt.Errorf("%q is no URL to ask for revocations", s)
			}
		}
	}
	id, err := keyID(pub)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               t.Subject,
		DNSNames:              names.dns,
		IPAddresses:           names.ips,
		EmailAddresses:        names.emails,
		URIs:                  names.uris,
		NotBefore:             t.NotBefore.Truncate(time.Second),
		NotAfter:              t.NotAfter.Truncate(time.Second),
		KeyUsage:              t.KeyUsage,
		ExtKeyUsage:           t.Uses,
		SubjectKeyId:          id,
		BasicConstraintsValid: r != leafRole,
		IsCA:                  r != leafRole,
		MaxPathLen:            -1,
		CRLDistributionPoints: t.CRLs,
		OCSPServer:            t.OCSP,
	}
	if t.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-backdate).Truncate(time.Second)
	}
	if t.NotAfter.IsZero() {
		c.NotAfter = c.NotBefore.Add(map[role]time.Duration{leafRole: leafTime, intermediateRole: intermediateTime, rootRole: rootTime}[r])
	}
	if r == leafRole {
		return c, t.fillLeaf(c)
	}
	return c, t.fillAuthority(c, r)
}

func (t *Template) fillLeaf(c *x509.Certificate) error {
	if t.Uses == nil {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if t.KeyUsage == 0 {
		// All key exchanges left in TLS 1.3, and the good ones of TLS 1.2,
		// have the key sign; none encrypts with it.
		c.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if t.PathLen != nil || !t.Permitted.empty() || !t.Excluded.empty() {
		return errors.New("a leaf has no path length and no name constraints")
	}
	return nil
}

func (t *Template) fillAuthority(c *x509.Certificate, r role) error {
	if t.KeyUsage == 0 {
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	switch {
	case t.PathLen != nil && *t.PathLen >= 0:
		c.MaxPathLen = *t.PathLen
	case t.PathLen == nil && r == intermediateRole:
		c.MaxPathLen = 0
	}
	c.MaxPathLenZero = c.MaxPathLen == 0
	if c.MaxPathLen == -1 {
		c.MaxPathLen = 0 // which without MaxPathLenZero means none
	}

	var err error
	if c.PermittedDNSDomains, c.PermittedIPRanges, err = t.Permitted.fill(); err != nil {
		return err
	}
	if c.ExcludedDNSDomains, c.ExcludedIPRanges, err = t.Excluded.fill(); err != nil {
		return err
	}
	c.PermittedEmailAddresses, c.PermittedURIDomains = t.Permitted.Email, t.Permitted.URI
	c.ExcludedEmailAddresses, c.ExcludedURIDomains = t.Excluded.Email, t.Excluded.URI
	// RFC 5280 section 4.2.1.10: the extension is critical.
	c.PermittedDNSDomainsCritical = !t.Permitted.empty() || !t.Excluded.empty()
	return nil
}

func (n Constraints) empty() bool {
	return len(n.DNS) == 0 && len(n.IP) == 0 && len(n.Email) == 0 && len(n.URI) == 0
}

func (n Constraints) fill() (dns []string, ips []*net.IPNet, err error) {
	for _, name := range n.DNS {
		ascii, err := hostName(name, false)
		if err != nil {
			return nil, nil, fmt.Errorf("name constraint %q: %w", name, err)
		}
		dns = append(dns, ascii)
	}
	for _, p := range n.IP {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, nil, fmt.Errorf("name constraint %v is no range of addresses", p)
		}
		ips = append(ips, &net.IPNet{
			IP:   p.Masked().Addr().AsSlice(),
			Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		})
	}
	for _, name := range slices.Concat(n.Email, n.URI) {
		host := name
		if i := bytes.IndexByte([]byte(name), '@'); i >= 0 {
			host = name[i+1:]
		} else if len(name) > 0 && name[0] == '.' {
			host = name[1:]
		}
		if ascii, err := hostName(host, false); err != nil || ascii != host {
			return nil, nil, fmt.Errorf("name constraint %q is no domain in ASCII", name)
		}
	}
	return dns, ips, nil
}

// mayCertify says why a should not sign c.
func (a *Authority) mayCertify(c *x509.Certificate) error {
	// Without the extension, as in what "openssl req -x509" makes, a key may be
	// used for everything (RFC 5280 section 4.2.1.3).
	if !a.Cert.IsCA || !a.Cert.BasicConstraintsValid || a.Cert.KeyUsage != 0 && a.Cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%q is no authority: its certificate does not allow it to sign others (RFC 5280 section 4.2.1.9)", Title(a.Cert))
	}
	if c.NotAfter.After(a.Cert.NotAfter) {
		return fmt.Errorf("it would be valid until %s, longer than its issuer %q, until %s", stamp(c.NotAfter), Title(a.Cert), stamp(a.Cert.NotAfter))
	}
	if !c.IsCA {
		return nil
	}
	// An authority of its own could be verified where nothing that it certifies
	// could: it is the last on the path, which does not count.
	path := append([]*x509.Certificate{c, a.Cert}, a.Issuers...)
	for i, p := range path[1:] {
		if p.BasicConstraintsValid && p.MaxPathLen >= 0 && i+1 > p.MaxPathLen {
			return pathTooLong(path, i+1, i+1)
		}
	}
	return nil
}

// wouldVerify verifies a fresh certificate as its users will, from the topmost
// authority known. Whatever they would refuse is refused here first.
func (a *Authority) wouldVerify(c *x509.Certificate) error {
	path := append([]*x509.Certificate{c, a.Cert}, a.Issuers...)
	uses := c.ExtKeyUsage
	if len(uses) == 0 {
		uses = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	}
	at := c.NotBefore
	for _, p := range path {
		if p.NotBefore.After(at) {
			at = p.NotBefore
		}
	}
	for _, use := range uses {
		if _, err := Verify(path[:len(path)-1], VerifyOptions{Roots: path[len(path)-1:], Uses: []x509.ExtKeyUsage{use}, Time: at}); err != nil {
			return err
		}
	}
	return nil
}

// newSerial draws a serial number of 128 random bits, positive and of no more
// than 20 octets (RFC 5280 section 4.1.2.2).
func newSerial() (*big.Int, error) {
	b := make([]byte, 17)
	if _, err := rand.Read(b[1:]); err != nil {
		return nil, err
	}
	b[0] = 1 // so that no serial number is zero or short
	return new(big.Int).SetBytes(b), nil
}

// keyID is the subject key identifier: the first 160 bits of the SHA-256 of the
// public key (RFC 7093 section 2, method 1).
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if err := unmarshal(der, &spki); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki.Key.Bytes)
	return sum[:20], nil
}

// selfSigned reports whether a certificate names itself as its issuer, as roots
// do.
func selfSigned(c *x509.Certificate) bool {
	return signedBy(c, c)
}

// signedBy reports whether p has signed c, be it allowed to or not.
func signedBy(c, p *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, p.RawSubject) &&
		(p.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil || weakSignature(c) != "")
}

// failed says what was tried, in front of why it failed.
func failed(op string, err error) error { return &opError{op, err} }

type opError struct {
	op  string
	err error
}

func (e *opError) Error() string {
	return "tlsx: " + e.op + ": " + strings.TrimPrefix(e.err.Error(), "tlsx: ")
}

func (e *opError) Unwrap() error { return e.err }

// stamp writes a time as certificates have it: in UTC, in whole seconds.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// weakSignature names a signature algorithm that counts as broken, and that
// crypto/x509 does not check any more; "" if it does not.
func weakSignature(c *x509.Certificate) string {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return c.SignatureAlgorithm.String()
	}
	return ""
}

// weakKey describes a key that is too short; "" if it is not.
func weakKey(c *x509.Certificate) string {
	if pub, ok := c.PublicKey.(*rsa.PublicKey); ok && pub.N.BitLen() < 2048 {
		return fmt.Sprintf("RSA with %d bits", pub.N.BitLen())
	}
	return ""
}
