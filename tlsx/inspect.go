package tlsx

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Text describes every field of a certificate for a person, and likewise of a
// request, a revocation list, a key pair or a public key: *x509.Certificate,
// *x509.CertificateRequest, *x509.RevocationList, and the keys of crypto/ecdsa,
// crypto/ed25519 and crypto/rsa. Of a private key it shows the secret parts
// too. Whatever would steer a terminal is written out. Other values are given
// as fmt.Sprint does.
func Text(v any) string {
	var t text
	switch v := v.(type) {
	case *x509.Certificate:
		t.certificate(v)
	case *x509.CertificateRequest:
		t.request(v)
	case *x509.RevocationList:
		t.crl(v)
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		t.privateKey(v.(crypto.Signer))
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		t.line("public key: %s", keyName(v))
		t.publicKey(v)
	default:
		return clean(fmt.Sprint(v))
	}
	return t.b.String()
}

// Fingerprint is the SHA-256 of a certificate, the 32 octets in hex with
// colons, as other programs show it.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return colons(sum[:])
}

// colons writes octets in hex.
func colons(b []byte) string {
	var s strings.Builder
	for i, c := range b {
		if i > 0 {
			s.WriteByte(':')
		}
		fmt.Fprintf(&s, "%02X", c)
	}
	return s.String()
}

// A text grows line by line.
type text struct {
	b      strings.Builder
	indent int
}

func (t *text) line(format string, args ...any) {
	t.b.WriteString(strings.Repeat("  ", t.indent))
	fmt.Fprintf(&t.b, format, args...)
	t.b.WriteByte('\n')
}

// in writes what f writes one step further in.
func (t *text) in(f func()) {
	t.indent++
	f()
	t.indent--
}

// octets writes a long value, 20 octets a line, at most 1 KiB of it.
func (t *text) octets(b []byte) {
	const most = 1024
	more := 0
	if len(b) > most {
		more, b = len(b)-most, b[:most]
	}
	for chunk := range slices.Chunk(b, 20) {
		t.line("%s", strings.ToLower(colons(chunk)))
	}
	if more > 0 {
		t.line("and %d octets more", more)
	}
}

func (t *text) number(name string, n *big.Int) {
	if n.IsUint64() {
		t.line("%s: %d (0x%x)", name, n, n)
		return
	}
	t.line("%s:", name)
	t.in(func() { t.octets(n.Bytes()) })
}

func (t *text) certificate(c *x509.Certificate) {
	t.line("certificate %q", Title(c))
	t.in(func() {
		t.line("version: %d", c.Version)
		t.line("serial number: %s", serialText(c.SerialNumber))
		t.line("signature algorithm: %v", c.SignatureAlgorithm)
		t.line("issuer: %s", dn(c.RawIssuer, c.Issuer))
		t.line("valid from: %s", stamp(c.NotBefore))
		t.line("valid until: %s (%s)", stamp(c.NotAfter), span(c.NotAfter.Sub(c.NotBefore)))
		t.line("subject: %s", dn(c.RawSubject, c.Subject))
		t.line("public key: %s", keyName(c.PublicKey))
		t.in(func() { t.publicKey(c.PublicKey) })
		if len(c.Extensions) > 0 {
			t.line("extensions:")
			t.in(func() {
				for _, e := range c.Extensions {
					t.extension(c, e)
				}
			})
		}
		t.line("signature:")
		t.in(func() { t.octets(c.Signature) })
		sum := sha1.Sum(c.Raw)
		spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		t.line("fingerprint SHA-256: %s", Fingerprint(c))
		t.line("fingerprint SHA-1: %s", colons(sum[:]))
		t.line("public key SHA-256: %s", colons(spki[:]))
	})
}

func serialText(n *big.Int) string {
	if n.Sign() < 0 {
		return n.String() + " (negative, which RFC 5280 forbids)"
	}
	return colons(n.Bytes())
}

// dn writes a distinguished name. An empty one is said to be empty.
func dn(raw []byte, name pkix.Name) string {
	if s := name.String(); s != "" {
		return clean(s)
	}
	if len(raw) <= 2 {
		return "(empty)"
	}
	return fmt.Sprintf("(%d octets)", len(raw))
}

// keyName names the kind of a public key.
func keyName(pub any) string {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA, %d bits", pub.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA, curve " + pub.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case nil:
		return "of an unknown kind"
	}
	return fmt.Sprintf("%T", pub)
}

func (t *text) publicKey(pub any) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		t.number("modulus", pub.N)
		t.number("public exponent", big.NewInt(int64(pub.E)))
	case *ecdsa.PublicKey:
		b, err := pub.Bytes()
		if err != nil {
			t.line("point: %s", clean(err.Error()))
			return
		}
		t.line("point:")
		t.in(func() { t.octets(b) })
	case ed25519.PublicKey:
		t.line("point:")
		t.in(func() { t.octets(pub) })
	}
}

func (t *text) privateKey(key crypto.Signer) {
	t.line("private key: %s", keyName(key.Public()))
	secret := func(b []byte, err error) {
		if err != nil {
			t.line("%s", clean(err.Error()))
			return
		}
		t.octets(b)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		t.publicKey(&key.PublicKey)
		t.number("private exponent", key.D)
		for i, p := range key.Primes {
			t.number("prime "+strconv.Itoa(i+1), p)
		}
		if key.Precomputed.Dp != nil {
			t.number("exponent 1", key.Precomputed.Dp)
			t.number("exponent 2", key.Precomputed.Dq)
			t.number("coefficient", key.Precomputed.Qinv)
		}
	case *ecdsa.PrivateKey:
		t.line("secret number:")
		t.in(func() { secret(key.Bytes()) })
		t.publicKey(&key.PublicKey)
	case ed25519.PrivateKey:
		t.line("seed:")
		t.in(func() { secret(key.Seed(), nil) })
		t.publicKey(key.Public())
	}
}

func (t *text) request(r *x509.CertificateRequest) {
	t.line("certificate request")
	t.in(func() {
		t.line("version: %d", r.Version)
		t.line("subject: %s", dn(r.RawSubject, r.Subject))
		t.line("public key: %s", keyName(r.PublicKey))
		t.in(func() { t.publicKey(r.PublicKey) })
		for _, e := range r.Extensions {
			t.extension(nil, e)
		}
		t.line("signature algorithm: %v", r.SignatureAlgorithm)
		if err := r.CheckSignature(); err != nil {
			t.line("signature: does not fit the key: %s", clean(err.Error()))
		} else {
			t.line("signature: fits the key")
		}
		t.in(func() { t.octets(r.Signature) })
	})
}

func (t *text) crl(l *x509.RevocationList) {
	t.line("revocation list")
	t.in(func() {
		t.line("issuer: %s", dn(l.RawIssuer, l.Issuer))
		t.line("number: %v", l.Number)
		t.line("made: %s", stamp(l.ThisUpdate))
		if l.NextUpdate.IsZero() {
			t.line("next: not said")
		} else {
			t.line("next: %s", stamp(l.NextUpdate))
		}
		t.line("signature algorithm: %v", l.SignatureAlgorithm)
		t.line("revoked: %d", len(l.RevokedCertificateEntries))
		t.in(func() {
			for _, e := range l.RevokedCertificateEntries {
				t.line("%s at %s: %s", serialText(e.SerialNumber), stamp(e.RevocationTime), reasonText(e.ReasonCode))
			}
		})
		for _, e := range l.Extensions {
			t.extension(nil, e)
		}
	})
}

// extensionNames are those of RFC 5280 section 4.2 and a few others.
var extensionNames = map[string]string{
	"2.5.29.9": "subject directory attributes", "2.5.29.14": "subject key identifier", "2.5.29.15": "key usage",
	"2.5.29.17": "subject alternative name", "2.5.29.18": "issuer alternative name", "2.5.29.19": "basic constraints",
	"2.5.29.20": "CRL number", "2.5.29.21": "reason", "2.5.29.27": "delta CRL indicator", "2.5.29.28": "issuing distribution point",
	"2.5.29.30": "name constraints", "2.5.29.31": "CRL distribution points", "2.5.29.32": "certificate policies",
	"2.5.29.33": "policy mappings", "2.5.29.35": "authority key identifier", "2.5.29.36": "policy constraints",
	"2.5.29.37": "extended key usage", "2.5.29.46": "freshest CRL", "2.5.29.54": "inhibit anyPolicy",
	"1.3.6.1.5.5.7.1.1": "authority information access", "1.3.6.1.5.5.7.1.11": "subject information access",
	"1.3.6.1.5.5.7.1.24": "TLS feature", "1.3.6.1.4.1.11129.2.4.2": "certificate transparency: timestamps",
	"1.3.6.1.4.1.11129.2.4.3": "certificate transparency: poison",
}

// extension writes one extension. c is the certificate that it was read from;
// nil if there is none, or its fields have not been read.
func (t *text) extension(c *x509.Certificate, e pkix.Extension) {
	oid := e.Id.String()
	name := extensionNames[oid]
	if name == "" {
		name = oid
	}
	if e.Critical {
		name += " (critical)"
	}
	values, ok := extensionValues(c, e)
	if !ok {
		t.line("%s:", name)
		t.in(func() { t.octets(e.Value) })
		return
	}
	t.line("%s: %s", name, strings.Join(values, ", "))
}

// extensionValues reads the extensions that it knows.
func extensionValues(c *x509.Certificate, e pkix.Extension) (values []string, ok bool) {
	switch e.Id.String() {
	case "2.5.29.14":
		var id []byte
		if unmarshal(e.Value, &id) != nil {
			return nil, false
		}
		return []string{colons(id)}, true
	case "2.5.29.17", "2.5.29.18":
		return generalNames(e.Value)
	case "2.5.29.20":
		var n *big.Int
		if unmarshal(e.Value, &n) != nil {
			return nil, false
		}
		return []string{n.String()}, true
	}
	if c == nil {
		return nil, false
	}
	switch e.Id.String() {
	case "2.5.29.35":
		if len(c.AuthorityKeyId) == 0 {
			return nil, false
		}
		return []string{colons(c.AuthorityKeyId)}, true
	case "2.5.29.15":
		return []string{keyUsageNames(c.KeyUsage)}, true
	case "2.5.29.37":
		return []string{useNames(c)}, true
	case "2.5.29.19":
		values = []string{fmt.Sprintf("authority: %v", c.IsCA)}
		if c.MaxPathLen >= 0 {
			values = append(values, fmt.Sprintf("authorities below: at most %d", c.MaxPathLen))
		}
		return values, true
	case "2.5.29.30":
		values = constraintsOf(c)
		return values, len(values) > 0
	case "2.5.29.31":
		return cleanAll(c.CRLDistributionPoints), len(c.CRLDistributionPoints) > 0
	case "2.5.29.32":
		for _, p := range c.Policies {
			values = append(values, p.String())
		}
		return values, len(values) > 0
	case "1.3.6.1.5.5.7.1.1":
		for _, s := range c.OCSPServer {
			values = append(values, "OCSP at "+clean(s))
		}
		for _, s := range c.IssuingCertificateURL {
			values = append(values, "issuer's certificate at "+clean(s))
		}
		return values, len(values) > 0
	}
	return nil, false
}

func cleanAll(list []string) []string {
	list = slices.Clone(list)
	for i, s := range list {
		list[i] = clean(s)
	}
	return list
}

// generalNames reads a sequence of names of any kind (RFC 5280 section
// 4.2.1.6).
func generalNames(der []byte) (names []string, ok bool) {
	var seq []asn1.RawValue
	if unmarshal(der, &seq) != nil {
		return nil, false
	}
	for _, v := range seq {
		s := clean(string(v.Bytes))
		switch v.Tag {
		case 1:
			s = "email " + s
		case 2:
			s = "DNS " + s
		case 6:
			s = "URI " + s
		case 7:
			s = "IP " + net.IP(v.Bytes).String()
		case 4:
			var rdn pkix.RDNSequence
			var name pkix.Name
			if unmarshal(v.Bytes, &rdn) == nil {
				name.FillFromRDNSequence(&rdn)
			}
			s = "directory " + clean(name.String())
		default:
			s = fmt.Sprintf("of kind %d: %s", v.Tag, colons(v.Bytes[:min(len(v.Bytes), 64)]))
		}
		names = append(names, s)
	}
	return names, len(names) > 0
}

// keyUsageNames lists what a key may do, in the words of RFC 5280 section
// 4.2.1.3.
func keyUsageNames(u x509.KeyUsage) string {
	var list []string
	for bit := x509.KeyUsageDigitalSignature; bit <= x509.KeyUsageDecipherOnly; bit <<= 1 {
		if u&bit != 0 {
			list = append(list, bit.String())
		}
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

// useText names a use of RFC 5280 section 4.2.1.12.
func useText(u x509.ExtKeyUsage) string {
	switch u {
	case x509.ExtKeyUsageAny:
		return "anything"
	case x509.ExtKeyUsageServerAuth:
		return "server authentication"
	case x509.ExtKeyUsageClientAuth:
		return "client authentication"
	case x509.ExtKeyUsageCodeSigning:
		return "code signing"
	case x509.ExtKeyUsageEmailProtection:
		return "email protection"
	case x509.ExtKeyUsageTimeStamping:
		return "time stamping"
	case x509.ExtKeyUsageOCSPSigning:
		return "OCSP signing"
	}
	return fmt.Sprintf("use %d", u)
}

func usesText(uses []x509.ExtKeyUsage) string {
	var list []string
	for _, u := range uses {
		list = append(list, useText(u))
	}
	return strings.Join(list, " or ")
}

// useNames lists what a certificate may be used for.
func useNames(c *x509.Certificate) string {
	var list []string
	for _, u := range c.ExtKeyUsage {
		list = append(list, useText(u))
	}
	for _, oid := range c.UnknownExtKeyUsage {
		list = append(list, oid.String())
	}
	return strings.Join(list, ", ")
}

// maxChecks bounds the signatures that Tree checks: anybody can make two
// thousand certificates of the same name.
const maxChecks = 4000

// Tree draws who has signed whom among certificates, each on a line with its
// end of validity, below its issuer. Signatures are checked: a certificate that
// only claims an issuer, or whose issuer is not among them, stands at the left
// with the issuer's name.
func Tree(certs []*x509.Certificate) string {
	checks := 0
	parent := func(i int) int {
		c := certs[i]
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			return -1
		}
		for j, p := range certs {
			if i == j || !bytes.Equal(c.RawIssuer, p.RawSubject) || checks == maxChecks {
				continue
			}
			if checks++; signedBy(c, p) {
				return j
			}
		}
		return -1
	}
	below := make(map[int][]int)
	for i := range certs {
		p := parent(i)
		below[p] = append(below[p], i)
	}
	var b strings.Builder
	seen := make(map[int]bool) // two authorities can have signed each other
	var draw func(i int, lead, branch string)
	draw = func(i int, lead, branch string) {
		c := certs[i]
		fmt.Fprintf(&b, "%s%s%s%s, until %s\n", lead, branch, Title(c), kind(c), c.NotAfter.UTC().Format(time.DateOnly))
		seen[i] = true
		switch branch {
		case "├─ ":
			lead += "│  "
		case "└─ ":
			lead += "   "
		}
		for n, k := range below[i] {
			if seen[k] {
				continue
			}
			if n == len(below[i])-1 {
				draw(k, lead, "└─ ")
			} else {
				draw(k, lead, "├─ ")
			}
		}
	}
	top := func(i int) {
		if c := certs[i]; !bytes.Equal(c.RawIssuer, c.RawSubject) {
			fmt.Fprintf(&b, "(%s, not here)\n", issuerTitle(c))
			draw(i, "", "└─ ")
			return
		}
		draw(i, "", "")
	}
	for _, i := range below[-1] {
		top(i)
	}
	for i := range certs {
		if !seen[i] {
			draw(i, "", "")
		}
	}
	return b.String()
}

// kind says in brackets what a certificate is.
func kind(c *x509.Certificate) string {
	switch {
	case c.IsCA && bytes.Equal(c.RawIssuer, c.RawSubject):
		return " (root)"
	case c.IsCA:
		return " (authority)"
	case len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0:
		return " (" + useNames(c) + ")"
	}
	return ""
}
