//go:build !unix

package main

import (
	"errors"
	"os"
	"os/exec"
)

// replaceProcess puts program in the place of this process, which only Unix can.
func replaceProcess(string, []string) error { return errors.ErrUnsupported }

// interrupt asks a child to stop. On Windows Ctrl-C has reached it already,
// since the console tells all its processes.
func interrupt(*os.Process) error { return nil }

// ownGroup leaves the command as it is: the end of its context kills it alone.
func ownGroup(*exec.Cmd) {}
