package tlsx

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/youmark/pkcs8"
)

// A KeyType names a kind of key pair.
type KeyType string

// The kinds of keys that [NewKey] makes. The empty [KeyType] means ECDSAP256:
// small, quick, and understood by everybody.
const (
	ECDSAP256 KeyType = "ecdsa-p256"
	ECDSAP384 KeyType = "ecdsa-p384"
	Ed25519   KeyType = "ed25519"
	RSA2048   KeyType = "rsa-2048"
	RSA3072   KeyType = "rsa-3072"
	RSA4096   KeyType = "rsa-4096"
)

// NewKey makes a key pair from the system's random numbers. RSA keys take from
// a fraction of a second to several seconds.
func NewKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case ECDSAP256, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("tlsx: no key type %q", t)
}

// ErrPassphrase is in the error of whoever opens an encrypted key with the
// wrong passphrase, or with none.
var ErrPassphrase = errors.New("wrong or missing passphrase")

// Work that is spent on a passphrase. The defaults for writing are those that
// OWASP's cheat sheet on storing passwords recommends; the limits for reading
// bound what a file made by somebody else can cost.
const (
	minRounds = 600_000    // of PBKDF2 with HMAC-SHA-256, by default and at least
	maxRounds = 10_000_000 // some seconds
	scryptN   = 1 << 14    // with r = 8 this takes 16 MiB; OpenSSL refuses more than 32 MiB
	scryptR   = 8
	scryptP   = 5
	maxScrypt = 1 << 28 // bytes of memory, 128·N·r
	maxPasses = 1 << 30 // and 128·N·r·p, the bytes written in all
)

// Encryption says how a private key is protected in its file: PKCS#8 with
// PBES2, AES-256-CBC, and a key derived slowly from the passphrase.
type Encryption struct {
	// Passphrase must not be empty.
	Passphrase string

	// Rounds of PBKDF2 with HMAC-SHA-256: 0 means 600,000; fewer are refused,
	// and so are more than 10,000,000.
	Rounds int

	// Scrypt derives the key with scrypt (N = 16,384, r = 8, p = 5) instead,
	// which costs an attacker memory as well. OpenSSL reads such files, GnuTLS
	// does not.
	Scrypt bool
}

// EncodeKey encodes a private key as PEM of PKCS#8 (RFC 5958), encrypted unless
// enc is nil.
func EncodeKey(key crypto.Signer, enc *Encryption) ([]byte, error) {
	if enc == nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("tlsx: encode key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	}
	rounds := enc.Rounds
	if rounds == 0 {
		rounds = minRounds
	}
	switch {
	case enc.Passphrase == "":
		return nil, fmt.Errorf("tlsx: encode key: the passphrase is empty: %w", ErrPassphrase)
	case rounds < minRounds || rounds > maxRounds:
		return nil, fmt.Errorf("tlsx: encode key: %d rounds of PBKDF2, want %d to %d", rounds, minRounds, maxRounds)
	}
	opts := &pkcs8.Opts{Cipher: pkcs8.AES256CBC}
	if enc.Scrypt {
		opts.KDFOpts = pkcs8.ScryptOpts{
			SaltSize: 16, CostParameter: scryptN, BlockSize: scryptR, ParallelizationParameter: scryptP,
		}
	} else {
		opts.KDFOpts = pkcs8.PBKDF2Opts{SaltSize: 16, IterationCount: rounds, HMACHash: crypto.SHA256}
	}
	der, err := pkcs8.MarshalPrivateKey(key, []byte(enc.Passphrase), opts)
	if err != nil {
		return nil, fmt.Errorf("tlsx: encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads the first private key in PEM text: PKCS#8, encrypted with
// PBES2 or not, and the older forms of RSA (PKCS#1) and elliptic curves
// (SEC 1). The passphrase is used only if the key is encrypted; ErrPassphrase
// is in the error when it does not open the key. A key encrypted in the
// old way of PEM (Proc-Type: 4,ENCRYPTED) is refused: its passphrase is hashed
// once, with MD5. What a passphrase costs to try is limited: 10,000,000 rounds
// of PBKDF2, 256 MiB of scrypt.
func ParseKey(data []byte, passphrase string) (crypto.Signer, error) {
	var others []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			others = append(others, strings.ToLower(block.Type))
			continue
		}
		key, err := parseKeyBlock(block, passphrase)
		if err != nil {
			return nil, fmt.Errorf("tlsx: parse key: %w", err)
		}
		return key, nil
	}
	return nil, fmt.Errorf("tlsx: parse key: %w", noBlock(data, "PRIVATE KEY", others))
}

func parseKeyBlock(block *pem.Block, passphrase string) (crypto.Signer, error) {
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errors.New("encrypted in the old way of PEM (RFC 1423), which protects little: convert it with \"openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 600000\"")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return openKey(block.Bytes, passphrase)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		err = fmt.Errorf("a PEM block %q is not known here", block.Type)
	}
	if err != nil {
		return nil, err
	}
	return signer(key)
}

// openKey decrypts a PKCS#8 EncryptedPrivateKeyInfo, after a look at what the
// attempt may cost.
func openKey(der []byte, passphrase string) (crypto.Signer, error) {
	der, err := boundPBES2(der)
	if err != nil {
		return nil, err
	}
	if passphrase == "" {
		return nil, fmt.Errorf("the key is encrypted: %w", ErrPassphrase)
	}
	key, _, err := pkcs8.ParsePrivateKey(der, []byte(passphrase))
	if err != nil {
		// All that can still go wrong is that the plain text is no key. Whether
		// the passphrase or the file is at fault cannot be told: CBC carries no
		// checksum.
		return nil, fmt.Errorf("the key does not open: %w", ErrPassphrase)
	}
	return signer(key)
}

// signer refuses keys that cannot sign, and such as are too weak to.
func signer(key any) (crypto.Signer, error) {
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", key)
	}
	if err := checkPublicKey(s.Public()); err != nil {
		return nil, err
	}
	return s, nil
}

// checkPublicKey says what is wrong with a key that is to be certified or used.
func checkPublicKey(pub any) error {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
		return fmt.Errorf("an elliptic curve %s is not for TLS", pub.Params().Name)
	case *rsa.PublicKey:
		if n := pub.N.BitLen(); n < 2048 || n > 8192 {
			return fmt.Errorf("an RSA key of %d bits, want 2048 to 8192", n)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("a public key of type %T is not for TLS", pub)
}

// samePublicKey reports whether a certificate's key is that of a private key.
func samePublicKey(cert *x509.Certificate, key crypto.PrivateKey) bool {
	s, ok := key.(crypto.Signer)
	if !ok {
		return false
	}
	pub, ok := s.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && pub.Equal(cert.PublicKey)
}
