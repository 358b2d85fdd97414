//go:build linux || darwin || freebsd || openbsd || netbsd || dragonfly

package main

import (
	"os"
	"syscall"
)

// lock marks the file as in use and reports whether nobody else had done so.
// The system takes the mark away when the program ends, however it ends.
func lock(file *os.File) bool {
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	locked := false
	err = raw.Control(func(fd uintptr) {
		locked = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	})
	return err == nil && locked
}
