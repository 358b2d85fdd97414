//go:build unix && !darwin && !ios

package tlsx

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// SystemRoots lists the authorities that the system trusts, from the places
// where crypto/x509 looks too: SSL_CERT_FILE and SSL_CERT_DIR if they are set,
// else the usual files. On Windows and macOS the system checks certificates
// itself and shows no list: there the error is [errors.ErrUnsupported].
func SystemRoots() ([]*x509.Certificate, error) {
	files := []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/ssl/cert.pem",                                 // Alpine, BSD
		"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
	}
	dirs := []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
	if f := os.Getenv("SSL_CERT_FILE"); f != "" {
		files = []string{f}
	}
	if d := os.Getenv("SSL_CERT_DIR"); d != "" {
		dirs = filepath.SplitList(d)
	}
	for _, name := range files {
		data, err := ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return ParseCertificates(data)
	}
	var certs []*x509.Certificate
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // as with the files: there is no such place here
		}
		for _, e := range entries {
			data, err := ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				continue // a folder, or a link to nowhere
			}
			if some, err := ParseCertificates(data); err == nil && len(certs)+len(some) <= maxCerts {
				certs = append(certs, some...)
			}
		}
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("tlsx: system roots: none of the usual files is there: %w", fs.ErrNotExist)
	}
	return certs, nil
}
