package tlsx

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// explain finds the reason for a refusal. It walks the path again, step by step
// as RFC 5280 section 6.1 does it, and returns the first step that fails.
func explain(chain []*x509.Certificate, opts VerifyOptions, cause error) *RefusalError {
	roots, known := opts.Roots, true
	if roots == nil {
		var err error
		roots, err = SystemRoots()
		known = err == nil
	}
	path, end := findPath(chain, roots, opts.now())
	if !end.anchored && known {
		return unknownAuthority(path, roots, end, cause)
	}
	if found := findings(path, opts); len(found) > 0 {
		found[0].Err = cause
		return found[0]
	}
	// What is left needs the work of crypto/x509 itself.
	e := &RefusalError{Reason: BadCertificate, Cert: chain[0], Path: path, Detail: libraryText(cause), Err: cause}
	switch cause := cause.(type) {
	case x509.CertificateInvalidError:
		e.Cert = cmp.Or(cause.Cert, chain[0])
		switch cause.Reason {
		case x509.CANotAuthorizedForThisName, x509.UnconstrainedName, x509.TooManyConstraints:
			e.Reason, e.Rule = Constraint, "RFC 5280 section 6.1.3 (b), (c)"
			e.Detail = constraintDetail(path, cause)
		case x509.Expired:
			e.Reason = Expired
		case x509.TooManyIntermediates:
			e.Reason = PathTooLong
		case x509.IncompatibleUsage, x509.CANotAuthorizedForExtKeyUsage, x509.NotAuthorizedToSign:
			e.Reason = WrongUse
		}
	case x509.UnknownAuthorityError, x509.SystemRootsError:
		e.Reason = UnknownAuthority
	case x509.HostnameError:
		e.Reason = WrongName
	}
	return e
}

// libraryText is what the standard library said, fit to be printed.
func libraryText(err error) string { return clean(strings.TrimPrefix(err.Error(), "x509: ")) }

// constraintDetail names the constraints of the authorities on the path.
func constraintDetail(path []*x509.Certificate, cause x509.CertificateInvalidError) string {
	s := clean(cause.Detail)
	for _, c := range path[1:] {
		if list := constraintsOf(c); len(list) > 0 {
			s += fmt.Sprintf("; %q may certify %s", Title(c), strings.Join(list, ", "))
		}
	}
	return s
}

// constraintsOf lists the name constraints of an authority in words.
func constraintsOf(c *x509.Certificate) (list []string) {
	add := func(what string, names []string) {
		for _, name := range names {
			list = append(list, what+" "+clean(name))
		}
	}
	var permitted, excluded []string
	for _, n := range c.PermittedIPRanges {
		permitted = append(permitted, n.String())
	}
	for _, n := range c.ExcludedIPRanges {
		excluded = append(excluded, n.String())
	}
	add("only DNS", c.PermittedDNSDomains)
	add("only IP", permitted)
	add("only email", c.PermittedEmailAddresses)
	add("only URI", c.PermittedURIDomains)
	add("not DNS", c.ExcludedDNSDomains)
	add("not IP", excluded)
	add("not email", c.ExcludedEmailAddresses)
	add("not URI", c.ExcludedURIDomains)
	return list
}

// A pathEnd is how far a path was found.
type pathEnd struct {
	anchored bool              // at a root
	namesake *x509.Certificate // has the issuer's name, but another key
}

// findPath follows signatures from the first certificate up. It does not ask
// whether an issuer was allowed to sign: that is for the rules.
func findPath(chain, roots []*x509.Certificate, now time.Time) (path []*x509.Certificate, end pathEnd) {
	path = []*x509.Certificate{chain[0]}
	contains := func(list []*x509.Certificate, c *x509.Certificate) bool {
		return slices.ContainsFunc(list, c.Equal)
	}
	for len(path) <= maxChain {
		last := path[len(path)-1]
		if contains(roots, last) {
			end.anchored = true
			return path, end
		}
		end.namesake = nil
		var next *x509.Certificate
		for i, c := range slices.Concat(roots, chain) {
			if !bytes.Equal(last.RawIssuer, c.RawSubject) || contains(path, c) {
				continue
			}
			if !signedBy(last, c) {
				end.namesake = c
				continue
			}
			// Of several the first root that is valid is best, as there are old
			// and new certificates of the same key.
			valid := !now.Before(c.NotBefore) && !now.After(c.NotAfter)
			if next == nil || valid {
				next = c
			}
			if valid && i < len(roots) {
				break
			}
		}
		if next == nil {
			return path, end
		}
		path = append(path, next)
	}
	return path, end
}

// unknownAuthority says who signed and who is trusted.
func unknownAuthority(path, roots []*x509.Certificate, end pathEnd, cause error) *RefusalError {
	last := path[len(path)-1]
	e := &RefusalError{Reason: UnknownAuthority, Cert: last, Path: path, Rule: "RFC 5280 section 6.1.1 (d)", Err: cause}
	trusted := "nobody is trusted"
	if len(roots) > 0 {
		trusted = "trusted are " + titles(roots)
	}
	if weak := weakSignature(last); weak != "" && !selfSigned(last) {
		e.Reason, e.Rule = WeakAlgorithm, "RFC 8446 section 4.4.2.4"
		e.Detail = fmt.Sprintf("%q is signed with %s, which can be forged", Title(last), weak)
		return e
	}
	switch {
	case end.namesake != nil:
		e.Detail = fmt.Sprintf("%q claims to be signed by %q, but not with the key of the %q that is known here", Title(last), issuerTitle(last), Title(end.namesake))
	case selfSigned(last) && len(path) == 1:
		e.Detail = fmt.Sprintf("%q has signed itself; %s", Title(last), trusted)
	case selfSigned(last):
		e.Detail = fmt.Sprintf("the path ends at %q, which has signed itself and is not trusted; %s", Title(last), trusted)
	default:
		e.Detail = fmt.Sprintf("%q is signed by %q, whose certificate is neither trusted nor was it sent; %s", Title(last), issuerTitle(last), trusted)
	}
	return e
}

func issuerTitle(c *x509.Certificate) string {
	return clean(cmp.Or(c.Issuer.CommonName, c.Issuer.String()))
}

// findings checks a path, from its top down, against the rules that need no
// signature, and returns all that is wrong.
func findings(path []*x509.Certificate, opts VerifyOptions) (found []*RefusalError) {
	add := func(reason Reason, c *x509.Certificate, rule, format string, args ...any) {
		found = append(found, &RefusalError{Reason: reason, Cert: c, Path: path, Rule: rule, Detail: fmt.Sprintf(format, args...)})
	}
	now := opts.now()
	for i, c := range slices.Backward(path) {
		title := Title(c)
		switch {
		case now.After(c.NotAfter):
			add(Expired, c, "RFC 5280 section 6.1.3 (a)(2)", "%q was valid until %s, now it is %s, %s later",
				title, stamp(c.NotAfter), stamp(now), span(now.Sub(c.NotAfter)))
		case now.Before(c.NotBefore):
			add(NotYetValid, c, "RFC 5280 section 6.1.3 (a)(2)", "%q is valid from %s, now it is %s, %s too early",
				title, stamp(c.NotBefore), stamp(now), span(c.NotBefore.Sub(now)))
		}
		if len(c.UnhandledCriticalExtensions) > 0 {
			add(BadCertificate, c, "RFC 5280 section 4.2", "%q has the critical extension %v, which is not known here", title, c.UnhandledCriticalExtensions[0])
		}
		if err := checkStrength(c, path); err != nil {
			found = append(found, err.(*RefusalError))
		}
		if i == 0 {
			continue
		}
		below := path[i-1]
		// Version 1 certificates cannot say that they are authorities; as roots
		// they still are.
		if v1root := c.Version < 3 && i == len(path)-1; !v1root {
			if !c.BasicConstraintsValid || !c.IsCA {
				add(WrongUse, c, "RFC 5280 section 6.1.4 (k)", "%q has signed %q but is no authority: its basic constraints say CA:FALSE or nothing", title, Title(below))
			} else if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
				add(WrongUse, c, "RFC 5280 section 6.1.4 (n)", "%q has signed %q but its key is for %s, not for signing certificates", title, Title(below), keyUsageNames(c.KeyUsage))
			}
		}
		if n := i - 1; c.BasicConstraintsValid && c.MaxPathLen >= 0 && n > c.MaxPathLen {
			found = append(found, pathTooLong(path, i, n))
		}
	}
	leaf := path[0]
	if weak := weakSignature(leaf); weak != "" && !selfSigned(leaf) {
		add(WeakAlgorithm, leaf, "RFC 8446 section 4.4.2.4", "%q is signed with %s, which can be forged", Title(leaf), weak)
	}
	if e := wrongName(leaf, opts.Name); e != nil {
		e.Path = path
		found = append(found, e)
	}
	for i, c := range path {
		if e := wrongUse(c, i == 0, opts.uses()); e != nil {
			e.Path = path
			found = append(found, e)
			break
		}
	}
	return found
}

// pathTooLong says that the authority at place i allows fewer than the n just
// below it.
func pathTooLong(path []*x509.Certificate, i, n int) *RefusalError {
	return &RefusalError{
		Reason: PathTooLong, Cert: path[i], Path: path, Rule: "RFC 5280 section 6.1.4 (l), (m)",
		Detail: fmt.Sprintf("%q allows %d authorities below it, and there are %d: %s", Title(path[i]), path[i].MaxPathLen, n, titles(path[i-n:i])),
	}
}

// wrongName checks a leaf against the name that it is asked for.
func wrongName(leaf *x509.Certificate, name string) *RefusalError {
	want, err := referenceName(name)
	if name == "" || err != nil {
		return nil
	}
	if err = leaf.VerifyHostname(want); err == nil {
		return nil
	}
	names := namesOf(leaf)
	const few = 20
	more := ""
	if len(names) > few {
		more = fmt.Sprintf(" and %d more", len(names)-few)
		names = names[:few]
	}
	rule := "RFC 9525 section 6.3"
	if _, err := netip.ParseAddr(want); err == nil {
		rule = "RFC 9525 section 6.4"
	}
	detail := fmt.Sprintf("asked for %s, valid for %s%s", clean(want), clean(strings.Join(names, ", ")), more)
	if len(names) == 0 {
		detail = fmt.Sprintf("asked for %s, valid for no name at all: %q stands in the subject, which is not looked at", clean(want), Title(leaf))
	}
	return &RefusalError{Reason: WrongName, Cert: leaf, Rule: rule, Detail: detail, Err: err}
}

// wrongUse checks what a certificate is for. Authorities without the extension
// are for everything; those with it limit what they certify, by a custom that
// every implementation keeps.
func wrongUse(c *x509.Certificate, leaf bool, want []x509.ExtKeyUsage) *RefusalError {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || slices.Contains(want, x509.ExtKeyUsageAny) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	if slices.ContainsFunc(want, func(u x509.ExtKeyUsage) bool { return slices.Contains(c.ExtKeyUsage, u) }) {
		return nil
	}
	verb := "is for"
	if !leaf {
		verb = "certifies only for"
	}
	return &RefusalError{
		Reason: WrongUse, Cert: c, Rule: "RFC 5280 section 4.2.1.12",
		Detail: fmt.Sprintf("%q %s %s, wanted is %s", Title(c), verb, useNames(c), usesText(want)),
	}
}

// span rounds a time for people.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
	return d.Round(time.Second).String()
}
