package tlsx

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// CRL makes the list of the certificates that a has revoked (RFC 5280
// section 5). number counts a's lists. Who verifies refuses the list after
// nextUpdate, and with it everything from a: a new list has to be there before.
func (a *Authority) CRL(number int64, revoked []x509.RevocationListEntry, thisUpdate, nextUpdate time.Time) (*x509.RevocationList, error) {
	if !nextUpdate.After(thisUpdate) {
		return nil, fmt.Errorf("tlsx: CRL: the next update, %s, is not after this one, %s", stamp(nextUpdate), stamp(thisUpdate))
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:                    big.NewInt(number),
		ThisUpdate:                thisUpdate.Truncate(time.Second),
		NextUpdate:                nextUpdate.Truncate(time.Second),
		RevokedCertificateEntries: revoked,
	}, a.Cert, a.Key)
	if err != nil {
		return nil, fmt.Errorf("tlsx: CRL: %w", err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("tlsx: CRL: %w", err)
	}
	return list, nil
}

// EncodeCRL encodes a revocation list as PEM.
func EncodeCRL(list *x509.RevocationList) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw})
}

// ParseCRL reads a revocation list, the first in PEM text or DER, as it comes
// over HTTP. Its signature is checked when it is used.
func ParseCRL(data []byte) (*x509.RevocationList, error) {
	der := data
	if bytes.Contains(data, []byte("-----BEGIN ")) || len(data) == 0 || data[0] != 0x30 {
		var err error
		if der, err = firstBlock(data, "X509 CRL"); err != nil {
			return nil, fmt.Errorf("tlsx: parse CRL: %w", err)
		}
	}
	if len(der) > maxFile {
		return nil, fmt.Errorf("tlsx: parse CRL: %d bytes, more than %d", len(der), maxFile)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("tlsx: parse CRL: %w", err)
	}
	return list, nil
}

// checkRevocation looks for every certificate of a verified path but the root
// in the list of its issuer.
func checkRevocation(path []*x509.Certificate, opts VerifyOptions) error {
	if opts.CRLs == nil && opts.OCSP == nil {
		return nil
	}
	for i, c := range path[:len(path)-1] {
		var e *RefusalError
		switch {
		case i == 0 && opts.OCSP != nil:
			e = checkOCSP(c, path[1], opts)
		case opts.CRLs != nil:
			e = checkCRLs(c, path[i+1], opts)
		}
		if e != nil {
			e.Cert, e.Path = c, path
			return e
		}
	}
	return nil
}

const revocationRule = "RFC 5280 section 6.1.3 (a)(3)"

func revocationUnknown(format string, args ...any) *RefusalError {
	return &RefusalError{Reason: RevocationUnknown, Rule: revocationRule, Detail: fmt.Sprintf(format, args...)}
}

// checkCRLs looks for a certificate in the lists of its issuer. Being on any
// list that its issuer signed is enough to be refused, and one current list is
// needed.
func checkCRLs(c, issuer *x509.Certificate, opts VerifyOptions) *RefusalError {
	now := opts.now()
	why := fmt.Sprintf("%q: no list of %q is there", Title(c), Title(issuer))
	current := false
	for _, list := range opts.CRLs {
		if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
			continue
		}
		if err := list.CheckSignatureFrom(issuer); err != nil {
			why = fmt.Sprintf("%q: the list in the name of %q is not signed by it", Title(c), Title(issuer))
			continue
		}
		for _, e := range list.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(c.SerialNumber) == 0 && e.ReasonCode != removeFromCRL {
				return &RefusalError{
					Reason: Revoked, Rule: revocationRule,
					Detail: fmt.Sprintf("%q, serial %x, was revoked at %s (%s), says list %v of %q", Title(c), c.SerialNumber, stamp(e.RevocationTime), reasonText(e.ReasonCode), list.Number, Title(issuer)),
				}
			}
		}
		// Partial and indirect lists, and whatever is yet to be invented, mark
		// themselves with a critical extension (RFC 5280 section 5.2): such a
		// list does not show that a certificate is good.
		partial := slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool { return critical(e.Extensions) })
		switch {
		case partial || critical(list.Extensions):
			why = fmt.Sprintf("%q: list %v of %q covers only a part", Title(c), list.Number, Title(issuer))
		case now.Before(list.ThisUpdate):
			why = fmt.Sprintf("%q: list %v of %q begins at %s, now it is %s", Title(c), list.Number, Title(issuer), stamp(list.ThisUpdate), stamp(now))
		case list.NextUpdate.IsZero() || now.After(list.NextUpdate):
			why = fmt.Sprintf("%q: list %v of %q was good until %s, now it is %s", Title(c), list.Number, Title(issuer), stamp(list.NextUpdate), stamp(now))
		default:
			current = true
		}
	}
	if !current {
		return revocationUnknown("%s", why)
	}
	return nil
}

// removeFromCRL is the reason of entries in a delta list that take one back.
const removeFromCRL = 8

// reasonText names a reason for revocation (RFC 5280 section 5.3.1).
func reasonText(code int) string {
	names := []string{
		"no reason given", "the key was stolen", "the authority's key was stolen", "the holder has changed",
		"there is a newer one", "no longer needed", "on hold", "", "taken back", "not entitled any more", "the attributes' authority was broken into",
	}
	if code >= 0 && code < len(names) && names[code] != "" {
		return names[code]
	}
	return fmt.Sprintf("reason %d", code)
}

// NewOCSPRequest makes the question (RFC 6960) whether a certificate has been
// revoked, in DER, to be sent by HTTP to the issuer.
func NewOCSPRequest(cert, issuer *x509.Certificate) ([]byte, error) {
	der, err := ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: crypto.SHA1}) // names the issuer, protects nothing
	if err != nil {
		return nil, fmt.Errorf("tlsx: OCSP request: %w", err)
	}
	return der, nil
}

// AnswerOCSP answers such a question, signed by a: revoked if the certificate is
// among those given, otherwise good; unauthorized if it is none of a's to answer
// for. A serial number that a never issued is good too: a keeps no register.
// The answer may be stapled until nextUpdate.
func (a *Authority) AnswerOCSP(request []byte, revoked []x509.RevocationListEntry, thisUpdate, nextUpdate time.Time) ([]byte, error) {
	if len(request) > 64<<10 {
		return ocsp.MalformedRequestErrorResponse, nil
	}
	req, err := ocsp.ParseRequest(request)
	if err != nil {
		return ocsp.MalformedRequestErrorResponse, nil
	}
	mine, err := NewOCSPRequest(a.Cert, a.Cert)
	if err != nil {
		return nil, err
	}
	me, err := ocsp.ParseRequest(mine)
	if err != nil {
		return nil, fmt.Errorf("tlsx: OCSP: %w", err)
	}
	if req.HashAlgorithm != me.HashAlgorithm || !bytes.Equal(req.IssuerNameHash, me.IssuerNameHash) || !bytes.Equal(req.IssuerKeyHash, me.IssuerKeyHash) {
		return ocsp.UnauthorizedErrorResponse, nil
	}
	answer := ocsp.Response{
		Status:       ocsp.Good,
		SerialNumber: req.SerialNumber,
		ThisUpdate:   thisUpdate.Truncate(time.Second),
		NextUpdate:   nextUpdate.Truncate(time.Second),
		IssuerHash:   crypto.SHA1,
	}
	for _, e := range revoked {
		if e.SerialNumber.Cmp(req.SerialNumber) == 0 {
			answer.Status, answer.RevokedAt, answer.RevocationReason = ocsp.Revoked, e.RevocationTime, e.ReasonCode
		}
	}
	der, err := ocsp.CreateResponse(a.Cert, a.Cert, answer, a.Key)
	if err != nil {
		return nil, fmt.Errorf("tlsx: OCSP: %w", err)
	}
	return der, nil
}

// checkOCSP reads an answer about a certificate.
func checkOCSP(c, issuer *x509.Certificate, opts VerifyOptions) *RefusalError {
	now := opts.now()
	if len(opts.OCSP) > 64<<10 {
		return revocationUnknown("%q: an OCSP answer of %d bytes", Title(c), len(opts.OCSP))
	}
	answer, err := ocsp.ParseResponseForCert(opts.OCSP, c, issuer)
	var refused ocsp.ResponseError
	switch {
	case errors.As(err, &refused):
		return revocationUnknown("%q: its authority does not answer: %v", Title(c), refused.Status)
	case err != nil:
		return revocationUnknown("%q: the OCSP answer is not valid: %s", Title(c), clean(err.Error()))
	case answer.Certificate != nil && !slices.Contains(answer.Certificate.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		// Or every holder of a certificate could answer for its neighbours
		// (RFC 6960 section 4.2.2.2).
		return revocationUnknown("%q: %q has signed the OCSP answer and is not entitled to", Title(c), Title(answer.Certificate))
	case answer.Status == ocsp.Revoked:
		return &RefusalError{
			Reason: Revoked, Rule: "RFC 6960 section 2.2",
			Detail: fmt.Sprintf("%q, serial %x, was revoked at %s (%s), says %q by OCSP", Title(c), c.SerialNumber, stamp(answer.RevokedAt), reasonText(answer.RevocationReason), Title(issuer)),
		}
	case answer.Status != ocsp.Good:
		return revocationUnknown("%q: its authority does not know it", Title(c))
	case now.Before(answer.ThisUpdate) || answer.NextUpdate.IsZero() || now.After(answer.NextUpdate):
		return revocationUnknown("%q: the OCSP answer is good from %s to %s, now it is %s", Title(c), stamp(answer.ThisUpdate), stamp(answer.NextUpdate), stamp(now))
	}
	return nil
}

// critical reports whether one of the extensions must be understood.
func critical(list []pkix.Extension) bool {
	return slices.ContainsFunc(list, func(e pkix.Extension) bool { return e.Critical })
}
