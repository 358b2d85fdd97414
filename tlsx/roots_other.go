//go:build !unix || darwin || ios

package tlsx

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// SystemRoots lists the authorities that the system trusts, where that can be
// read from files. On Windows and macOS the system checks certificates
// itself and shows no list: there the error is [errors.ErrUnsupported].
func SystemRoots() ([]*x509.Certificate, error) {
	return nil, fmt.Errorf("tlsx: system roots: the system shows no list: %w", errors.ErrUnsupported)
}
