package tlsx

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// NewRequest makes a certificate request (PKCS#10, RFC 2986) for the key of t,
// a new one if that is nil, and returns both. Of t it uses Subject, Names and
// Key; the rest is for the authority to decide. The request is signed
// with the key, which proves that whoever asks has it.
func NewRequest(t Template) (*x509.CertificateRequest, crypto.Signer, error) {
	key, err := t.key()
	if err != nil {
		return nil, nil, fmt.Errorf("tlsx: new request: %w", err)
	}
	if err := checkPublicKey(key.Public()); err != nil {
		return nil, nil, fmt.Errorf("tlsx: new request: %w", err)
	}
	names, err := parseNames(t.Names)
	if err != nil {
		return nil, nil, fmt.Errorf("tlsx: new request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:        t.Subject,
		DNSNames:       names.dns,
		IPAddresses:    names.ips,
		EmailAddresses: names.emails,
		URIs:           names.uris,
	}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("tlsx: new request: %w", err)
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, nil, fmt.Errorf("tlsx: new request: %w", err)
	}
	return req, key, nil
}

// EncodeRequest encodes a request as PEM.
func EncodeRequest(req *x509.CertificateRequest) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: req.Raw})
}

// ParseRequest reads the first request in PEM text and checks that it is
// signed with the key that it names.
func ParseRequest(data []byte) (*x509.CertificateRequest, error) {
	block, err := firstBlock(data, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
	if err != nil {
		return nil, fmt.Errorf("tlsx: parse request: %w", err)
	}
	req, err := x509.ParseCertificateRequest(block)
	if err != nil {
		return nil, fmt.Errorf("tlsx: parse request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("tlsx: parse request: %w", errors.Join(errors.New("not signed with the key that it names"), err))
	}
	return req, nil
}
