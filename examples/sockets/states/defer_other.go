//go:build !linux

package main

import "errors"

// deferAccept is Linux's: other systems do not show a half-open connection.
func deferAccept(uintptr) error { return errors.ErrUnsupported }
