package tlsx

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Bounds of what is read.
const (
	maxFile  = 4 << 20 // bytes; the system's roots are a quarter megabyte
	maxCerts = 2000    // in one file
)

// EncodeCertificates encodes certificates as PEM, in the order given, which for
// a chain is leaf first.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		// Writing to memory does not fail.
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

// ParseCertificates reads all certificates in PEM text and skips what else is
// there. It is an error if there is none, or one is damaged, or there are more
// than 2,000 or more than 4 MiB.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("tlsx: parse certificates: %d bytes, more than %d", len(data), maxFile)
	}
	var certs []*x509.Certificate
	var others []string
	rest := data
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			others = append(others, strings.ToLower(block.Type))
			continue
		}
		if len(certs) == maxCerts {
			return nil, fmt.Errorf("tlsx: parse certificates: more than %d", maxCerts)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("tlsx: parse certificates: the one at place %d: %w", len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	// A block whose borders or base64 are damaged is passed over by
	// pem.Decode, as if it were a comment. Count what claims to be one.
	if n := bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----")); n > len(certs) {
		return nil, fmt.Errorf("tlsx: parse certificates: %d begin and %d can be read: damaged PEM", n, len(certs))
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("tlsx: parse certificates: %w", noBlock(data, "CERTIFICATE", others))
	}
	return certs, nil
}

// firstBlock returns the bytes of the first PEM block of one of the types.
func firstBlock(data []byte, types ...string) ([]byte, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), maxFile)
	}
	var others []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if slices.Contains(types, block.Type) {
			return block.Bytes, nil
		}
		others = append(others, strings.ToLower(block.Type))
	}
	return nil, noBlock(data, types[0], others)
}

// noBlock says what was found where a PEM block was expected.
func noBlock(data []byte, want string, others []string) error {
	want = strings.ToLower(want)
	switch {
	case len(others) > 3:
		return fmt.Errorf("no %s but %s and others", want, clean(strings.Join(others[:3], ", ")))
	case len(others) > 0:
		return fmt.Errorf("no %s but %s", want, clean(strings.Join(others, ", ")))
	case bytes.Contains(data, []byte("-----BEGIN ")):
		return fmt.Errorf("no %s: damaged PEM", want)
	case len(data) > 1 && data[0] == 0x30 && data[1] >= 0x80:
		return fmt.Errorf("no %s in PEM: this looks like DER, the binary form (\"openssl … -inform DER\" converts it)", want)
	case len(data) == 0:
		return fmt.Errorf("no %s: empty", want)
	}
	return fmt.Errorf("no %s: this is not PEM", want)
}

// Chain returns the certificates of c, leaf first, parsed.
func Chain(c *tls.Certificate) ([]*x509.Certificate, error) {
	if len(c.Certificate) == 0 {
		return nil, errors.New("tlsx: no certificate")
	}
	certs := make([]*x509.Certificate, len(c.Certificate))
	for i, der := range c.Certificate {
		if i == 0 && c.Leaf != nil && bytes.Equal(c.Leaf.Raw, der) {
			certs[0] = c.Leaf
			continue
		}
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("tlsx: certificate %d of a chain: %w", i+1, err)
		}
	}
	return certs, nil
}

// assemble makes a tls.Certificate of a chain and its key, which must fit.
func assemble(chain []*x509.Certificate, key crypto.PrivateKey) (*tls.Certificate, error) {
	if !samePublicKey(chain[0], key) {
		return nil, fmt.Errorf("the key is not the one of certificate %q: %w", Title(chain[0]), ErrMismatch)
	}
	for i, c := range chain[:len(chain)-1] {
		if !signedBy(c, chain[i+1]) {
			return nil, fmt.Errorf("the chain is out of order: %q is not signed by the next, %q (leaf first, then who signed it)", Title(c), Title(chain[i+1]))
		}
	}
	if n := len(chain); n > 1 && selfSigned(chain[n-1]) {
		chain = chain[:n-1] // who does not have the root does not trust it either
	}
	t := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		t.Certificate = append(t.Certificate, c.Raw)
	}
	return t, nil
}

// ErrMismatch is in the error of whoever puts together a certificate and a key
// that do not belong together.
var ErrMismatch = errors.New("certificate and key do not match")

// sortChain orders certificates so that each is signed by the next, starting
// with the first, and drops those that have no place.
func sortChain(certs []*x509.Certificate) []*x509.Certificate {
	chain, rest := certs[:1:1], slices.Clone(certs[1:])
	for len(rest) > 0 && !selfSigned(chain[len(chain)-1]) {
		last := chain[len(chain)-1]
		i := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return signedBy(last, c) })
		if i < 0 {
			break
		}
		chain = append(chain, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return chain
}

// LoadCertificate reads a chain (PEM, leaf first; a root at the end is left
// out) and its key (see [ParseKey]) from files. [ErrMismatch] is in the error
// if they do not belong together.
func LoadCertificate(chainFile, keyFile, passphrase string) (*tls.Certificate, error) {
	data, err := ReadFile(chainFile)
	if err != nil {
		return nil, err
	}
	chain, err := ParseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, chainFile)
	}
	if len(chain) > maxChain {
		return nil, fmt.Errorf("tlsx: load %s: %d certificates, more than %d", chainFile, len(chain), maxChain)
	}
	if data, err = ReadFile(keyFile); err != nil {
		return nil, err
	}
	key, err := ParseKey(data, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, keyFile)
	}
	cert, err := assemble(chain, key)
	if err != nil {
		return nil, fmt.Errorf("tlsx: load %s and %s: %w", chainFile, keyFile, err)
	}
	return cert, nil
}

// ReadFile reads a file of at most 4 MiB.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("tlsx: read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("tlsx: read: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("tlsx: read %s: more than %d bytes", name, maxFile)
	}
	return data, nil
}

// WriteFile writes a file so that nobody ever sees a part of it: into a new
// file in the same folder, which then gets the name. The mode is as given
// whatever the umask; 0600 is right for keys, 0644 for certificates. Unless
// replace is set, a file that is there stays, and the error is an
// [io/fs.ErrExist].
func WriteFile(name string, data []byte, mode fs.FileMode, replace bool) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".tlsx-*") // mode 0600 from the beginning
	if err != nil {
		return fmt.Errorf("tlsx: write: %w", err)
	}
	defer func() {
		// After a rename there is nothing left to remove.
		if e := os.Remove(f.Name()); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
			err = fmt.Errorf("tlsx: write: %w", e)
		}
	}()
	_, err = f.Write(data)
	if e := f.Chmod(mode); err == nil && !errors.Is(e, errors.ErrUnsupported) {
		err = e
	}
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("tlsx: write: %w", err)
	}
	if replace {
		err = os.Rename(f.Name(), name)
	} else {
		err = renameNew(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("tlsx: write: %w", err)
	}
	return nil
}

// renameNew gives a file a second name that must be free. Linking fails, as one
// step, if it is not; on file systems without links we have to look first.
func renameNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}

// printable reports whether a terminal shows r and does nothing else.
func printable(r rune) bool { return unicode.IsPrint(r) }
