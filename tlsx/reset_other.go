//go:build !windows

package tlsx

import (
	"errors"
	"syscall"
)

// hungUp reports whether an error may come from a peer that has closed, perhaps
// after an alert.
func hungUp(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
