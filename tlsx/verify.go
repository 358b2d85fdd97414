package tlsx

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
)

// A Reason says in a word why a certificate or a handshake was refused.
type Reason string

// The reasons that a certificate itself gives.
const (
	Expired           Reason = "expired"
	NotYetValid       Reason = "not-yet-valid"
	WrongName         Reason = "wrong-name"         // valid, but for another name
	WrongUse          Reason = "wrong-use"          // a client's at a server, a leaf that signs
	PathTooLong       Reason = "path-too-long"      // more authorities than one above allows
	UnknownAuthority  Reason = "unknown-authority"  // nobody who is trusted has signed
	NoCertificate     Reason = "no-certificate"     // one is demanded, none was sent
	Constraint        Reason = "constraint"         // an authority may not certify this name
	Revoked           Reason = "revoked"            // its authority took it back
	RevocationUnknown Reason = "revocation-unknown" // demanded, and no current answer
	WeakAlgorithm     Reason = "weak-algorithm"     // a short key, a broken hash
	BadCertificate    Reason = "bad-certificate"    // anything else that is wrong with it
)

// The reasons that a handshake gives besides.
const (
	NotTLS        Reason = "not-tls"        // the other side speaks something else
	WrongVersion  Reason = "wrong-version"  // no version of TLS in common
	WrongProtocol Reason = "wrong-protocol" // no application protocol in common
	CutOff        Reason = "cut-off"        // the connection ended in mid-handshake
	Refused       Reason = "refused"        // the peer's alert says no more
)

// A RefusalError says which certificate was refused, by which rule, and what
// the values were that did not fit.
type RefusalError struct {
	Reason Reason              // in a word
	Cert   *x509.Certificate   // the one at fault; nil if there is none
	Path   []*x509.Certificate // from the leaf up, as far as it was found
	Rule   string              // "RFC 5280 section 6.1.3 (a)(2)"
	Detail string              // the values compared, in words

	// Remote means that the peer refused, and told so by an alert; Alert is its
	// number (RFC 8446 section 6). Inferred means that the alert leaves the
	// reason open, and that it was worked out from our own certificate.
	Remote   bool
	Alert    uint8
	Inferred bool

	Err error // what the standard library said, if it said something
}

// Error is the reason with all that is known.
func (e *RefusalError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tlsx: %s", e.Reason)
	if e.Remote {
		b.WriteString(", says the peer")
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if e.Rule != "" {
		fmt.Fprintf(&b, " (%s)", e.Rule)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *RefusalError) Unwrap() error { return e.Err }

// maxChain bounds the certificates that a peer may send and a path may have.
const maxChain = 16

// VerifyOptions say what [Verify] demands. The zero value demands a server's
// certificate, valid now, from an authority that the system trusts.
type VerifyOptions struct {
	// Roots are the authorities that are trusted; nil means the system's.
	Roots []*x509.Certificate

	// Name is the host name or IP address that the leaf must be valid for;
	// empty means any.
	Name string

	// Uses are what the leaf must be good for, one of them at least; nil means
	// x509.ExtKeyUsageServerAuth, and x509.ExtKeyUsageAny means anything.
	Uses []x509.ExtKeyUsage

	// Time is the moment at which all must be valid; zero means now.
	Time time.Time

	// CRLs are revocation lists; nil means that revocation is not looked at.
	// Otherwise every certificate below the root must be on nobody's list, and
	// its issuer's list must be there and current.
	CRLs []*x509.RevocationList

	// OCSP is an answer about the leaf, as a server staples it; nil means
	// none. It takes the place of the list of the leaf's issuer.
	OCSP []byte
}

func (o *VerifyOptions) now() time.Time {
	if o.Time.IsZero() {
		return time.Now()
	}
	return o.Time
}

// uses are Uses with the default filled in.
func (o *VerifyOptions) uses() []x509.ExtKeyUsage {
	if len(o.Uses) == 0 {
		return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return o.Uses
}

// Verify looks for a path from the first certificate of a chain, over the others
// in any order, to a root, and returns it, leaf first, root last. The
// decision is [crypto/x509.Certificate.Verify]'s and that of the rules below;
// if it is no, the error is a [*RefusalError] that explains it. A chain of more
// than 16 certificates is refused.
//
// Beyond crypto/x509, RSA keys of less than 2048 bits are refused, and
// revocation is looked at if the options say how.
func Verify(chain []*x509.Certificate, opts VerifyOptions) ([]*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, &RefusalError{Reason: NoCertificate, Detail: "no certificate was sent", Rule: "RFC 8446 section 4.4.2"}
	}
	if len(chain) > maxChain {
		return nil, &RefusalError{
			Reason: BadCertificate, Cert: chain[0],
			Detail: fmt.Sprintf("%d certificates were sent, more than %d", len(chain), maxChain),
		}
	}
	if opts.Time.IsZero() {
		opts.Time = time.Now() // the same for all that follows
	}
	name, err := referenceName(opts.Name)
	if err != nil {
		return nil, &RefusalError{Reason: WrongName, Cert: chain[0], Rule: "RFC 9525 section 6.2", Detail: fmt.Sprintf("%q is no name to look for: %v", clean(opts.Name), err)}
	}
	paths, err := chain[0].Verify(x509.VerifyOptions{
		DNSName:       name,
		Intermediates: pool(chain[1:]),
		Roots:         pool(opts.Roots),
		CurrentTime:   opts.Time,
		KeyUsages:     opts.uses(),
	})
	if err != nil {
		return nil, explain(chain, opts, err)
	}
	for _, path := range paths {
		if err = checkMore(path, opts); err == nil {
			return path, nil
		}
	}
	return nil, err
}

// pool makes a pool; nil stays nil, which means the system's roots.
func pool(certs []*x509.Certificate) *x509.CertPool {
	if certs == nil {
		return nil
	}
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// referenceName brings the name to look for into the form that certificates
// have.
func referenceName(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return addr.WithZone("").String(), nil
	}
	name = strings.TrimSuffix(name, ".")
	if !strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		return name, nil // crypto/x509 compares it, and knows what it may hold
	}
	return hostName(name, false)
}

// checkMore checks what crypto/x509 leaves to others, on a path that it found
// good.
func checkMore(path []*x509.Certificate, opts VerifyOptions) error {
	for _, c := range path {
		if err := checkStrength(c, path); err != nil {
			return err
		}
	}
	return checkRevocation(path, opts)
}

func checkStrength(c *x509.Certificate, path []*x509.Certificate) error {
	if s := weakKey(c); s != "" {
		return &RefusalError{
			Reason: WeakAlgorithm, Cert: c, Path: path, Rule: "RFC 9325 section 4.5",
			Detail: fmt.Sprintf("the key of %q is %s, want at least 2048", Title(c), s),
		}
	}
	return nil
}
