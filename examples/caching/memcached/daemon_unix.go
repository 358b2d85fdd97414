//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// daemonEnv tells a process that it is the one that -d has started.
const daemonEnv = "ZOCALO_MEMCACHED_DAEMON"

func isDaemon() bool { return os.Getenv(daemonEnv) != "" }

// daemonize runs the same command again in a session of its own, so that it
// survives the terminal, and returns when that listens. A Go program cannot fork
// as memcached does: its threads would not come along.
func daemonize(env *cli.Env) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	said, toUs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer said.Close()
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), daemonEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr = toUs, toUs
	err = cmd.Start()
	toUs.Close()
	if err != nil {
		return err
	}
	// What it says ends when it detaches, or when it fails.
	text, err := io.ReadAll(said)
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if _, ok := cli.ListeningAddr(first); !ok {
		return errors.Join(fmt.Errorf("the daemon did not start: %s", first), cmd.Wait())
	}
	if _, err := env.Stdout.Write(text); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// detach lets go of the terminal and of the process that started the daemon.
func detach() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if err := unix.Dup2(int(null.Fd()), int(f.Fd())); err != nil {
			return err
		}
	}
	return nil
}
