package tlsx_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/tlsx"
)

func TestKeyTypes(t *testing.T) {
	for _, kind := range []tlsx.KeyType{"", tlsx.ECDSAP256, tlsx.ECDSAP384, tlsx.Ed25519, tlsx.RSA2048} {
		key := rsaKey()
		if kind != tlsx.RSA2048 {
			var err error
			key, err = tlsx.NewKey(kind)
			require.NoError(t, err)
		}
		data, err := tlsx.EncodeKey(key, nil)
		require.NoError(t, err)
		require.Contains(t, string(data), "-----BEGIN PRIVATE KEY-----")
		back, err := tlsx.ParseKey(data, "")
		require.NoError(t, err)
		require.Equal(t, key.Public(), back.Public())
		root, err := tlsx.NewAuthority(tlsx.Template{Subject: called("Root"), Key: key})
		require.NoError(t, err)
		leaf, err := root.Issue(tlsx.Template{Names: []string{"a.test"}, Key: key})
		require.NoError(t, err)
		require.Equal(t, key.Public(), leaf.Leaf.PublicKey)
		_, err = tlsx.Verify(chain(t, leaf), tlsx.VerifyOptions{Roots: []*x509.Certificate{root.Cert}, Name: "a.test"})
		require.NoError(t, err)
	}
	_, err := tlsx.NewKey("rot13")
	require.ErrorContains(t, err, `"rot13"`)
}

func TestEncryptedKey(t *testing.T) {
	key, err := tlsx.NewKey("")
	require.NoError(t, err)
	for _, enc := range []*tlsx.Encryption{{Passphrase: "ábrete, sésamo"}, {Passphrase: "ábrete, sésamo", Scrypt: true}} {
		data, err := tlsx.EncodeKey(key, enc)
		require.NoError(t, err)
		require.Contains(t, string(data), "-----BEGIN ENCRYPTED PRIVATE KEY-----")
		back, err := tlsx.ParseKey(data, enc.Passphrase)
		require.NoError(t, err)
		require.Equal(t, key.Public(), back.Public())
		for _, wrong := range []string{"", "abrete, sesamo"} {
			_, err = tlsx.ParseKey(data, wrong)
			require.ErrorIs(t, err, tlsx.ErrPassphrase)
		}
		if !enc.Scrypt {
			continue // each takes its time
		}
		again, err := tlsx.EncodeKey(key, enc)
		require.NoError(t, err)
		require.NotEqual(t, data, again, "salt and initial vector are new each time")
	}
	for _, enc := range []tlsx.Encryption{{}, {Scrypt: true}} {
		_, err = tlsx.EncodeKey(key, &enc)
		require.ErrorIs(t, err, tlsx.ErrPassphrase)
	}
	for _, rounds := range []int{1, 599_999, 10_000_001, -5} {
		_, err = tlsx.EncodeKey(key, &tlsx.Encryption{Passphrase: "x", Rounds: rounds})
		require.ErrorContains(t, err, "rounds")
	}
}

// pbes2 builds an encrypted key that demands some work.
func pbes2(t testing.TB, kdf asn1.ObjectIdentifier, kdfParams any, cipher asn1.ObjectIdentifier, iv []byte, data []byte) []byte {
	marshal := func(v any) asn1.RawValue {
		b, err := asn1.Marshal(v)
		require.NoError(t, err)
		return asn1.RawValue{FullBytes: b}
	}
	type alg struct {
		ID     asn1.ObjectIdentifier
		Params asn1.RawValue
	}
	params := struct{ KDF, Cipher alg }{alg{kdf, marshal(kdfParams)}, alg{cipher, marshal(iv)}}
	der, err := asn1.Marshal(struct {
		Algorithm alg
		Data      []byte
	}{alg{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, marshal(params)}, data})
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
}

var (
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidAES256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

type pbkdf2Work struct {
	Salt   []byte
	Rounds int
}

type scryptWork struct {
	Salt    []byte
	N, R, P int
}

// TestKeyWorkBounded: a file that demands hours of work, or all memory, before
// it could turn out to be useless, is refused at once.
func TestKeyWorkBounded(t *testing.T) {
	iv, data := make([]byte, 16), make([]byte, 64)
	for name, file := range map[string][]byte{
		"rounds":            pbes2(t, oidPBKDF2, pbkdf2Work{iv, 2_000_000_000}, oidAES256, iv, data),
		"no rounds":         pbes2(t, oidPBKDF2, pbkdf2Work{iv, 0}, oidAES256, iv, data),
		"negative rounds":   pbes2(t, oidPBKDF2, pbkdf2Work{iv, -1}, oidAES256, iv, data),
		"memory":            pbes2(t, oidScrypt, scryptWork{iv, 1 << 30, 8, 1}, oidAES256, iv, data),
		"passes":            pbes2(t, oidScrypt, scryptWork{iv, 1 << 14, 8, 1 << 20}, oidAES256, iv, data),
		"overflow":          pbes2(t, oidScrypt, scryptWork{iv, 1 << 62, 1 << 10, 1}, oidAES256, iv, data),
		"no power of two":   pbes2(t, oidScrypt, scryptWork{iv, 12345, 8, 1}, oidAES256, iv, data),
		"block size":        pbes2(t, oidScrypt, scryptWork{iv, 2, 1 << 30, 1}, oidAES256, iv, data),
		"short vector":      pbes2(t, oidPBKDF2, pbkdf2Work{iv, 1}, oidAES256, iv[:3], data),
		"no data":           pbes2(t, oidPBKDF2, pbkdf2Work{iv, 1}, oidAES256, iv, nil),
		"half a block":      pbes2(t, oidPBKDF2, pbkdf2Work{iv, 1}, oidAES256, iv, data[:17]),
		"unknown cipher":    pbes2(t, oidPBKDF2, pbkdf2Work{iv, 1}, oidScrypt, iv, data),
		"unknown work":      pbes2(t, oidAES256, pbkdf2Work{iv, 1}, oidAES256, iv, data),
		"parameters broken": pbes2(t, oidPBKDF2, 5, oidAES256, iv, data),
	} {
		_, err := tlsx.ParseKey(file, "x")
		require.Error(t, err, name)
		require.NotErrorIs(t, err, tlsx.ErrPassphrase, name)
	}
	// Within bounds it is only the wrong passphrase.
	_, err := tlsx.ParseKey(pbes2(t, oidPBKDF2, pbkdf2Work{iv, 1000}, oidAES256, iv, data), "x")
	require.ErrorIs(t, err, tlsx.ErrPassphrase)
}

// TestKeyGarbage: damaged PEM, things that are no keys, keys that are too weak.
func TestKeyGarbage(t *testing.T) {
	w := theWorld()
	good, err := tlsx.EncodeKey(rsaKey(), nil)
	require.NoError(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	for words, data := range map[string][]byte{
		"empty":                         nil,
		"not PEM":                       []byte("hola"),
		"damaged PEM":                   good[:len(good)-10],
		"but certificate":               tlsx.EncodeCertificates(w.root.Cert),
		"looks like DER":                w.root.Cert.Raw,
		"old way of PEM":                []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"),
		"not known here":                []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
		"asn1":                          []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"damaged PKCS#8":                []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
		"an RSA key of 1024 bits":       pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(weak)}),
		"an elliptic curve P-224 is no": ecPEM(t, p224),
	} {
		_, err := tlsx.ParseKey(data, "x")
		require.ErrorContains(t, err, words)
		require.True(t, strings.HasPrefix(err.Error(), "tlsx: parse key: "))
	}
	// Other things may stand before it.
	key, err := tlsx.ParseKey(append(tlsx.EncodeCertificates(w.root.Cert), good...), "")
	require.NoError(t, err)
	require.Equal(t, rsaKey().Public(), key.Public())
}

func ecPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func TestPKCS12(t *testing.T) {
	w := theWorld()
	data, err := tlsx.EncodePKCS12(w.server, "opensesame")
	require.NoError(t, err)
	cert, err := tlsx.ParsePKCS12(data, "opensesame")
	require.NoError(t, err)
	require.Equal(t, w.server.Certificate, cert.Certificate)
	require.Equal(t, w.server.PrivateKey, cert.PrivateKey)
	_, err = tlsx.ParsePKCS12(data, "wrong")
	require.ErrorIs(t, err, tlsx.ErrPassphrase)
	_, err = tlsx.EncodePKCS12(w.server, "")
	require.ErrorIs(t, err, tlsx.ErrPassphrase)
	_, err = tlsx.EncodePKCS12(&tls.Certificate{}, "x")
	require.ErrorContains(t, err, "no certificate")
	for at := 0; at < len(data); at += 53 {
		_, err = tlsx.ParsePKCS12(data[:at], "opensesame")
		require.Error(t, err)
	}
	_, err = tlsx.ParsePKCS12(make([]byte, 5<<20), "x")
	require.ErrorContains(t, err, "more than")
}

// TestWriteFile: modes, no overwriting unasked, nothing left behind.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "key.pem")
	require.NoError(t, tlsx.WriteFile(name, []byte("one"), 0o600, false))
	err := tlsx.WriteFile(name, []byte("two"), 0o600, false)
	require.ErrorIs(t, err, fs.ErrExist)
	data, err := tlsx.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "one", string(data))
	require.NoError(t, tlsx.WriteFile(name, []byte("two"), 0o640, true))
	data, err = tlsx.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "two", string(data))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o640), info.Mode())
	}
	err = tlsx.WriteFile(filepath.Join(dir, "none", "key.pem"), nil, 0o600, false)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Error(t, tlsx.WriteFile(dir, nil, 0o600, true), "a folder is not replaced")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, os.WriteFile(name, make([]byte, 4<<20+1), 0o600))
	_, err = tlsx.ReadFile(name)
	require.ErrorContains(t, err, "more than")
}

// TestLoadCertificate: chains and keys that do not fit are told apart.
func TestLoadCertificate(t *testing.T) {
	w := theWorld()
	dir := t.TempDir()
	key, err := tlsx.EncodeKey(w.server.PrivateKey.(crypto.Signer), nil)
	require.NoError(t, err)
	keyFile := filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(keyFile, key, 0o600))
	load := func(data []byte) (*tls.Certificate, error) {
		file := filepath.Join(dir, "chain.pem")
		require.NoError(t, os.WriteFile(file, data, 0o600))
		return tlsx.LoadCertificate(file, keyFile, "")
	}
	certs := chain(t, w.server)
	cert, err := load(tlsx.EncodeCertificates(certs...))
	require.NoError(t, err)
	require.Equal(t, w.server.Certificate, cert.Certificate)
	require.NotNil(t, cert.Leaf)
	cert, err = load(tlsx.EncodeCertificates(append(certs, w.root.Cert)...))
	require.NoError(t, err)
	require.Len(t, cert.Certificate, 2, "the root is left out")

	_, err = load(tlsx.EncodeCertificates(chain(t, w.client)...))
	require.ErrorIs(t, err, tlsx.ErrMismatch)
	_, err = load(tlsx.EncodeCertificates(certs[1], certs[0]))
	require.ErrorIs(t, err, tlsx.ErrMismatch, "the order is wrong")
	_, err = load(tlsx.EncodeCertificates(certs[0], w.other.Cert))
	require.ErrorContains(t, err, "out of order")
	pemText := tlsx.EncodeCertificates(certs...)
	_, err = load(pemText[:len(pemText)-40])
	require.ErrorContains(t, err, "2 begin and 1 can be read: damaged PEM")
	pemText[100] = '!'
	_, err = load(pemText)
	require.ErrorContains(t, err, "damaged PEM")
	_, err = load(key)
	require.ErrorContains(t, err, "no certificate but private key")
	for range 20 {
		certs = append(certs, w.other.Cert)
	}
	_, err = load(tlsx.EncodeCertificates(certs...))
	require.ErrorContains(t, err, "22 certificates, more than 16")
	_, err = tlsx.LoadCertificate(filepath.Join(dir, "none"), keyFile, "")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = tlsx.ParseCertificates(make([]byte, 5<<20))
	require.ErrorContains(t, err, "more than")
}
