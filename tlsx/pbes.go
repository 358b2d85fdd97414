package tlsx

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// Password-based encryption, PBES2 of RFC 8018: the structures, read before any
// work is done, because they say how much work it will be. The libraries that
// do the work take every number for granted.

// An encryptedKey is an EncryptedPrivateKeyInfo (RFC 5958 section 3).
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2Params struct {
	KDF    pkix.AlgorithmIdentifier
	Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt      []byte
	Rounds    int
	KeyLength int                      `asn1:"optional"`
	PRF       pkix.AlgorithmIdentifier `asn1:"optional"`
}

// shortPBKDF2Params leave out the length of the key, which follows from the
// cipher anyway.
type shortPBKDF2Params struct {
	Salt   []byte
	Rounds int
	PRF    pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParams struct {
	Salt      []byte
	N, R, P   int
	KeyLength int `asn1:"optional"`
}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidPBMAC1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
)

// A blockCipher is one of those that PBES2 names.
type blockCipher struct {
	oid            asn1.ObjectIdentifier
	name           string
	keyLen, ivSize int
}

var blockCiphers = []blockCipher{
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}, "AES-128-CBC", 16, aes.BlockSize},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}, "AES-192-CBC", 24, aes.BlockSize},
	{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, "AES-256-CBC", 32, aes.BlockSize},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}, "DES-EDE3-CBC", 24, 8},
}

// A keyDerivation is what the parameters of PBES2 say of the way from the
// passphrase to the key.
type keyDerivation struct {
	cipher blockCipher
	iv     []byte
	pbkdf2 *pbkdf2Params // one of the two is nil
	scrypt *scryptParams
	prf    func() hash.Hash // of PBKDF2
}

// rounds is the cost in rounds of PBKDF2.
func (k *keyDerivation) rounds() int {
	if k.pbkdf2 == nil {
		return 0
	}
	return k.pbkdf2.Rounds
}

// unmarshal reads DER that must be one value and nothing else.
func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes after the end of the structure", len(rest))
	}
	return nil
}

// readPBES2 reads and bounds an algorithm that must be PBES2.
func readPBES2(alg pkix.AlgorithmIdentifier) (*keyDerivation, error) {
	if !alg.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("encrypted with %v, which is not PBES2: convert it with OpenSSL 3 (\"openssl pkcs8 -topk8\", \"openssl pkcs12\")", alg.Algorithm)
	}
	var params pbes2Params
	if err := unmarshal(alg.Parameters.FullBytes, &params); err != nil {
		return nil, fmt.Errorf("damaged parameters of PBES2: %w", err)
	}
	k := new(keyDerivation)
	for _, c := range blockCiphers {
		if params.Cipher.Algorithm.Equal(c.oid) {
			k.cipher = c
		}
	}
	if k.cipher.name == "" {
		return nil, fmt.Errorf("encrypted with cipher %v, which is not known here", params.Cipher.Algorithm)
	}
	if err := unmarshal(params.Cipher.Parameters.FullBytes, &k.iv); err != nil || len(k.iv) != k.cipher.ivSize {
		return nil, fmt.Errorf("the initial vector of %s must have %d bytes", k.cipher.name, k.cipher.ivSize)
	}
	der := params.KDF.Parameters.FullBytes
	switch {
	case params.KDF.Algorithm.Equal(oidPBKDF2):
		k.pbkdf2 = new(pbkdf2Params)
		if err := unmarshal(der, k.pbkdf2); err != nil {
			return nil, fmt.Errorf("damaged parameters of PBKDF2: %w", err)
		}
		if err := checkRounds(k.pbkdf2.Rounds); err != nil {
			return nil, err
		}
		var err error
		if k.prf, err = hmacHash(k.pbkdf2.PRF.Algorithm); err != nil {
			return nil, err
		}
		if n := k.pbkdf2.KeyLength; n != 0 && n != k.cipher.keyLen {
			return nil, fmt.Errorf("a key of %d bytes for %s", n, k.cipher.name)
		}
	case params.KDF.Algorithm.Equal(oidScrypt):
		s := new(scryptParams)
		k.scrypt = s
		if err := unmarshal(der, s); err != nil {
			return nil, fmt.Errorf("damaged parameters of scrypt: %w", err)
		}
		// Each factor first, so that the product cannot overflow.
		if s.N < 2 || s.N&(s.N-1) != 0 || s.N > maxScrypt/128 || s.R < 1 || s.R > 64 || s.P < 1 || s.P > 64 || 128*s.N*s.R > maxScrypt || 128*s.N*s.R*s.P > maxPasses {
			return nil, fmt.Errorf("scrypt with N=%d, r=%d, p=%d is out of bounds (%d MiB of memory, %d MiB in all passes)", s.N, s.R, s.P, maxScrypt>>20, maxPasses>>20)
		}
		if n := s.KeyLength; n != 0 && n != k.cipher.keyLen {
			return nil, fmt.Errorf("a key of %d bytes for %s", n, k.cipher.name)
		}
	default:
		return nil, fmt.Errorf("the way from the passphrase to the key, %v, is not known here", params.KDF.Algorithm)
	}
	return k, nil
}

func checkRounds(n int) error {
	if n < 1 || n > maxRounds {
		return fmt.Errorf("%d rounds of key derivation are out of bounds (1 to %d)", n, maxRounds)
	}
	return nil
}

// hmacHash returns the hash of an HMAC; none means SHA-1, the default of
// PBKDF2.
func hmacHash(oid asn1.ObjectIdentifier) (func() hash.Hash, error) {
	if len(oid) == 0 {
		return sha1.New, nil
	}
	if len(oid) == 6 && oid[:5].Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 2}) {
		switch oid[5] {
		case 7:
			return sha1.New, nil
		case 9:
			return sha256.New, nil
		case 11:
			return sha512.New, nil
		}
	}
	return nil, fmt.Errorf("the hash of PBKDF2, %v, is not known here", oid)
}

// boundPBES2 checks an encrypted PKCS#8 key in front of the library that
// decrypts it, which multiplies and slices without looking, and returns it
// without the length of the key, on which that library stumbles.
func boundPBES2(der []byte) ([]byte, error) {
	var enc encryptedKey
	if err := unmarshal(der, &enc); err != nil {
		return nil, fmt.Errorf("damaged PKCS#8: %w", err)
	}
	k, err := readPBES2(enc.Algorithm)
	if err != nil {
		return nil, err
	}
	if err := k.checkData(enc.Data); err != nil {
		return nil, err
	}
	if k.pbkdf2 == nil || k.pbkdf2.KeyLength == 0 {
		return der, checkPRF(k)
	}
	if err := checkPRF(k); err != nil {
		return nil, err
	}
	var params pbes2Params
	if err := unmarshal(enc.Algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, err
	}
	short := shortPBKDF2Params{k.pbkdf2.Salt, k.pbkdf2.Rounds, k.pbkdf2.PRF}
	b, err := asn1.Marshal(short)
	if err != nil {
		return nil, err
	}
	params.KDF.Parameters = asn1.RawValue{FullBytes: b}
	if b, err = asn1.Marshal(params); err != nil {
		return nil, err
	}
	enc.Algorithm.Parameters = asn1.RawValue{FullBytes: b}
	return asn1.Marshal(enc)
}

// checkPRF refuses what the library for PKCS#8 does not know.
func checkPRF(k *keyDerivation) error {
	if k.pbkdf2 != nil && k.prf().Size() == sha512.Size {
		return errors.New("PBKDF2 with HMAC-SHA-512 is not supported in PKCS#8: convert it with \"openssl pkcs8 -topk8 -v2prf hmacWithSHA256\"")
	}
	return nil
}

// checkData checks the length of a cipher text.
func (k *keyDerivation) checkData(data []byte) error {
	if len(data) == 0 || len(data)%k.cipher.ivSize != 0 {
		return fmt.Errorf("%d encrypted bytes are not whole blocks of %s", len(data), k.cipher.name)
	}
	return nil
}

// decrypt opens a cipher text of AES with a key from PBKDF2.
func (k *keyDerivation) decrypt(data []byte, passphrase string) ([]byte, error) {
	if k.pbkdf2 == nil || k.cipher.ivSize != aes.BlockSize {
		return nil, fmt.Errorf("want AES with PBKDF2, not %s", k.cipher.name)
	}
	if err := k.checkData(data); err != nil {
		return nil, err
	}
	key, err := pbkdf2.Key(k.prf, passphrase, k.pbkdf2.Salt, k.pbkdf2.Rounds, k.cipher.keyLen)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, k.iv).CryptBlocks(plain, data)
	n := int(plain[len(plain)-1])
	if n < 1 || n > aes.BlockSize {
		return nil, ErrPassphrase
	}
	return plain[:len(plain)-n], nil
}
