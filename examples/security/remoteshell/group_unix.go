//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the program into a process group of its own, so that stopping
// it stops what it has started too.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
