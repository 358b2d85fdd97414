//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// replaceProcess puts program in the place of this process. It returns only
// if that failed.
func replaceProcess(program string, args []string) error {
	return syscall.Exec(program, append([]string{program}, args...), os.Environ())
}

// interrupt asks a child to stop.
func interrupt(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// ownGroup puts a command into a process group of its own and makes the end of
// its context kill the whole group, its children included.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
