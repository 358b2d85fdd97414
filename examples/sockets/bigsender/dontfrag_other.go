//go:build !linux && !darwin && !windows

package main

import (
	"errors"
	"syscall"
)

var errUnknown = errors.New("not known on this system")

// setDontFragment fails: the search then finds what arrives in any way.
func setDontFragment(uintptr, bool, bool) error { return errUnknown }

// pathMTU fails.
func pathMTU(syscall.RawConn, bool) (int, error) { return 0, errUnknown }
