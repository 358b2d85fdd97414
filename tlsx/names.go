package tlsx

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// altNames are the alternative names of a certificate by kind (RFC 5280 section
// 4.2.1.6). What a name is follows from how it is written.
type altNames struct {
	dns    []string
	ips    []net.IP
	emails []string
	uris   []*url.URL
}

// maxNames bounds the alternative names of one certificate.
const maxNames = 1000

// parseNames sorts and checks the names of a [Template].
func parseNames(names []string) (a altNames, err error) {
	if len(names) > maxNames {
		return a, fmt.Errorf("%d alternative names, more than %d", len(names), maxNames)
	}
	for _, name := range names {
		if err := a.add(name); err != nil {
			return a, fmt.Errorf("alternative name %q: %w", name, err)
		}
	}
	return a, nil
}

// requestNames checks the names that a request asks for. Their kinds stay as they
// are: who looked at the host names alone must not find that a mailbox has
// become another one.
func requestNames(req *x509.CertificateRequest) (a altNames, err error) {
	if n := len(req.DNSNames) + len(req.IPAddresses) + len(req.EmailAddresses) + len(req.URIs); n > maxNames {
		return a, fmt.Errorf("%d alternative names, more than %d", n, maxNames)
	}
	for _, name := range listNames(req.DNSNames, req.IPAddresses, req.EmailAddresses, req.URIs) {
		if err := a.add(name); err != nil {
			return a, fmt.Errorf("alternative name %q: %w", clean(name), err)
		}
	}
	if len(a.dns) != len(req.DNSNames) || len(a.ips) != len(req.IPAddresses) ||
		len(a.emails) != len(req.EmailAddresses) || len(a.uris) != len(req.URIs) {
		return a, errors.New("an alternative name is not of the kind that it claims to be")
	}
	return a, nil
}

func (a *altNames) empty() bool {
	return len(a.dns)+len(a.ips)+len(a.emails)+len(a.uris) == 0
}

func (a *altNames) add(name string) error {
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		if addr.Zone() != "" {
			return errors.New("an address with a zone means something on one machine only")
		}
		a.ips = append(a.ips, addr.Unmap().AsSlice())
		return nil
	}
	switch {
	case strings.Contains(name, "://"):
		u, err := url.Parse(name)
		if err != nil {
			return err
		}
		if err := checkURI(u); err != nil {
			return err
		}
		a.uris = append(a.uris, u)
	case strings.Contains(name, "@"):
		if err := checkEmail(name); err != nil {
			return err
		}
		local, host, _ := strings.Cut(name, "@")
		ascii, err := hostName(host, false)
		if err != nil {
			return err
		}
		a.emails = append(a.emails, local+"@"+ascii)
	default:
		ascii, err := hostName(name, true)
		if err != nil {
			return err
		}
		a.dns = append(a.dns, ascii)
	}
	return nil
}

// hostName checks a host name and returns it in the form in which certificates
// carry it: labels of letters, digits and hyphens, in lower case, others as
// A-labels (RFC 5280 section 7.2, RFC 5891). A first label "*" is allowed if
// wildcard is set.
func hostName(name string, wildcard bool) (string, error) {
	host, star := name, ""
	if rest, ok := strings.CutPrefix(name, "*."); ok && wildcard {
		host, star = rest, "*."
		if !strings.Contains(rest, ".") {
			return "", errors.New("a wildcard for a whole top-level domain")
		}
	}
	if host == "" || strings.HasSuffix(host, ".") {
		return "", errors.New("a host name does not end in a dot and is not empty")
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return "", err
	}
	// An A-label must be one that its own U-label gives, or two spellings
	// of a name would not compare as equal.
	if unicode, err := idna.Lookup.ToUnicode(ascii); err != nil {
		return "", err
	} else if again, err := idna.Lookup.ToASCII(unicode); err != nil || again != ascii {
		return "", fmt.Errorf("%q is no valid internationalised name", host)
	}
	if len(star+ascii) > 253 {
		return "", fmt.Errorf("%d octets, more than 253", len(star+ascii))
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if err := checkLabel(label); err != nil {
			return "", err
		}
	}
	return star + ascii, nil
}

func checkLabel(label string) error {
	if len(label) < 1 || len(label) > 63 {
		return fmt.Errorf("a label of %d octets, want 1 to 63", len(label))
	}
	for i, c := range []byte(label) {
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && (c != '-' || i == 0 || i == len(label)-1) {
			return fmt.Errorf("%q may not stand in label %q", c, label)
		}
	}
	return nil
}

// checkEmail accepts what RFC 5280 calls a mailbox, as far as it is usual: a
// dot-atom before the @.
func checkEmail(name string) error {
	local, _, _ := strings.Cut(name, "@")
	const atom = "!#$%&'*+-/=?^_`{|}~."
	for _, c := range local {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(atom, c)) {
			return fmt.Errorf("%q may not stand before the @ (a name beyond ASCII needs RFC 9598, which is not done here)", c)
		}
	}
	if local == "" || len(local) > 64 || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return errors.New("what stands before the @ is no mailbox")
	}
	return nil
}

// checkURI demands an absolute URI with a host and nothing secret in it.
func checkURI(u *url.URL) error {
	if u.Scheme == "" || u.Hostname() == "" || u.User != nil {
		return errors.New("want a URI with a scheme and a host and without a password")
	}
	for _, c := range u.String() {
		if c > 126 || c < 33 {
			return fmt.Errorf("%q may not stand in a URI", c)
		}
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil
	}
	if ascii, err := hostName(u.Hostname(), false); err != nil || ascii != strings.ToLower(u.Hostname()) {
		return fmt.Errorf("%q is no host name in ASCII", u.Hostname())
	}
	return nil
}

// namesOf lists the alternative names of a certificate as a person would write
// them.
func namesOf(c *x509.Certificate) (names []string) {
	return listNames(c.DNSNames, c.IPAddresses, c.EmailAddresses, c.URIs)
}

func listNames(dns []string, ips []net.IP, emails []string, uris []*url.URL) (names []string) {
	names = append(names, dns...)
	for _, ip := range ips {
		names = append(names, ip.String())
	}
	names = append(names, emails...)
	for _, u := range uris {
		names = append(names, u.String())
	}
	return names
}

// Title is a short name of a certificate for messages: its common name, or its
// first alternative name, or else its serial number.
func Title(c *x509.Certificate) string {
	if s := c.Subject.CommonName; s != "" {
		return clean(s)
	}
	if names := namesOf(c); len(names) > 0 {
		return clean(names[0])
	}
	if s := c.Subject.String(); s != "" {
		return clean(s)
	}
	return fmt.Sprintf("serial %x", c.SerialNumber)
}

// titles joins the titles of certificates, a few of them.
func titles(certs []*x509.Certificate) string {
	const few = 5
	var b strings.Builder
	for i, c := range certs {
		if i == few {
			fmt.Fprintf(&b, " and %d more", len(certs)-few)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", Title(c))
	}
	return b.String()
}

// clean makes text from a certificate safe to print: somebody else chose it,
// and it might steer the terminal. It is cut after 256 bytes.
func clean(s string) string {
	const longest = 256
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= longest {
			b.WriteString("...")
			break
		}
		if r == '\uFFFD' || !printable(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
