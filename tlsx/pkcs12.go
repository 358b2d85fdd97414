package tlsx

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// EncodePKCS12 packs a chain and its key into one file of PKCS#12 (RFC 7292),
// the form that browsers and Windows import. Key and certificates are encrypted
// with AES-256-CBC and 600,000 rounds of PBKDF2 with HMAC-SHA-256.
func EncodePKCS12(cert *tls.Certificate, passphrase string) ([]byte, error) {
	if passphrase == "" {
		return nil, fmt.Errorf("tlsx: encode PKCS#12: the passphrase is empty: %w", ErrPassphrase)
	}
	chain, err := Chain(cert)
	if err != nil {
		return nil, err
	}
	data, err := pkcs12.Modern2023.WithIterations(minRounds).Encode(cert.PrivateKey, chain[0], chain[1:], passphrase)
	if err != nil {
		return nil, fmt.Errorf("tlsx: encode PKCS#12: %w", err)
	}
	return data, nil
}

// ParsePKCS12 unpacks a PKCS#12 file with one key, its certificate and those
// above it; a root is left out. Files encrypted otherwise than with PBES2, such
// as by OpenSSL before version 3, are refused. [ErrPassphrase] is in the error
// when the passphrase is wrong.
func ParsePKCS12(data []byte, passphrase string) (*tls.Certificate, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("tlsx: parse PKCS#12: %d bytes, more than %d", len(data), maxFile)
	}
	if err := boundPKCS12(data, passphrase); err != nil {
		return nil, fmt.Errorf("tlsx: parse PKCS#12: %w", err)
	}
	key, leaf, others, err := pkcs12.DecodeChain(data, passphrase)
	if errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption) {
		err = ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("tlsx: parse PKCS#12: %w", err)
	}
	if _, err := signer(key); err != nil {
		return nil, fmt.Errorf("tlsx: parse PKCS#12: %w", err)
	}
	// The certificates may come in any order; the leaf is the one of the key.
	certs := append([]*x509.Certificate{leaf}, others...)
	for i, c := range certs {
		if samePublicKey(c, key) {
			certs[0], certs[i] = certs[i], certs[0]
		}
	}
	cert, err := assemble(sortChain(certs), key)
	if err != nil {
		return nil, fmt.Errorf("tlsx: parse PKCS#12: %w", err)
	}
	return cert, nil
}

// The structures of RFC 7292 sections 4 and 5, as far as they tell what opening
// the file will cost.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MAC      asn1.RawValue `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		MAC struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt   []byte
		Rounds int `asn1:"optional,default:1"`
	}
	pbmac1Params struct {
		KDF, Scheme pkix.AlgorithmIdentifier
	}
	encryptedData struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Data      []byte `asn1:"tag:0,optional"`
		}
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue   `asn1:"tag:0,explicit"`
		Attributes []asn1.RawValue `asn1:"set,optional"`
	}
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidShroudedKey   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
)

// boundPKCS12 adds up the key derivations that opening the file takes, and
// refuses it if they are too many. The library that opens it does what the
// file says.
func boundPKCS12(data []byte, passphrase string) error {
	var file pfx
	if err := unmarshal(data, &file); err != nil {
		return fmt.Errorf("damaged: %w", err)
	}
	total := 0
	spend := func(rounds int) error {
		if err := checkRounds(rounds); err != nil {
			return err
		}
		total += rounds
		return checkRounds(total)
	}
	if len(file.MAC.FullBytes) == 0 {
		return errors.New("the file is not authenticated: it has no MAC")
	}
	var mac macData
	if err := unmarshal(file.MAC.FullBytes, &mac); err != nil {
		return fmt.Errorf("damaged MAC: %w", err)
	}
	rounds := mac.Rounds
	if mac.MAC.Algorithm.Algorithm.Equal(oidPBMAC1) {
		var params pbmac1Params
		var kdf pbkdf2Params
		if err := unmarshal(mac.MAC.Algorithm.Parameters.FullBytes, &params); err != nil {
			return fmt.Errorf("damaged parameters of PBMAC1: %w", err)
		}
		if err := unmarshal(params.KDF.Parameters.FullBytes, &kdf); err != nil {
			return fmt.Errorf("damaged parameters of PBKDF2: %w", err)
		}
		rounds = kdf.Rounds
	}
	if err := spend(rounds); err != nil {
		return err
	}

	var safe []byte
	var contents []contentInfo
	if err := unmarshal(file.AuthSafe.Content.Bytes, &safe); err != nil || !file.AuthSafe.Type.Equal(oidData) {
		return errors.New("want a file protected by a passphrase")
	}
	if err := unmarshal(safe, &contents); err != nil {
		return fmt.Errorf("damaged: %w", err)
	}
	if len(contents) > 2 {
		return fmt.Errorf("%d parts, more than 2", len(contents))
	}
	for _, content := range contents {
		var plain []byte
		switch {
		case content.Type.Equal(oidData):
			if err := unmarshal(content.Content.Bytes, &plain); err != nil {
				return fmt.Errorf("damaged: %w", err)
			}
		case content.Type.Equal(oidEncryptedData):
			var enc encryptedData
			if err := unmarshal(content.Content.Bytes, &enc); err != nil {
				return fmt.Errorf("damaged: %w", err)
			}
			k, err := readPBES2(enc.Info.Algorithm)
			if err != nil {
				return err
			}
			if err := spend(k.rounds()); err != nil {
				return err
			}
			// A key in here would say its own rounds, so look inside.
			if plain, err = k.decrypt(enc.Info.Data, passphrase); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a part of type %v is not known here", content.Type)
		}
		var bags []safeBag
		if err := unmarshal(plain, &bags); err != nil {
			if content.Type.Equal(oidEncryptedData) {
				return ErrPassphrase
			}
			return fmt.Errorf("damaged: %w", err)
		}
		for _, bag := range bags {
			if !bag.ID.Equal(oidShroudedKey) {
				continue
			}
			var enc encryptedKey
			if err := unmarshal(bag.Value.Bytes, &enc); err != nil {
				return fmt.Errorf("damaged key: %w", err)
			}
			k, err := readPBES2(enc.Algorithm)
			if err != nil {
				return err
			}
			if err := spend(k.rounds()); err != nil {
				return err
			}
		}
	}
	return nil
}
