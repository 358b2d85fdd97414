//go:build unix

package httpx

import (
	"errors"
	"syscall"
)

// openNonblock keeps the opening of a named pipe from waiting for a writer. For
// a file it means nothing, and saves Go a question to the system.
const openNonblock = syscall.O_NONBLOCK

// outOfFiles reports whether the process or the system has no descriptor left.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// noSpace reports whether the disk, or what we may use of it, is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
