//go:build !windows

package cli

import "syscall"

// errnos gives the causes of the system's error numbers.
var errnos = []struct {
	errno syscall.Errno
	cause Cause
}{
	{syscall.ECONNREFUSED, Refused},
	{syscall.ETIMEDOUT, TimedOut},
	{syscall.ECONNRESET, Reset},
	{syscall.ECONNABORTED, Reset},
	{syscall.EPIPE, HungUp},
	{syscall.ENOTCONN, Reset}, // it was connected once
	{syscall.EHOSTUNREACH, Unreachable},
	{syscall.ENETUNREACH, Unreachable},
	{syscall.EHOSTDOWN, Unreachable},
	{syscall.ENETDOWN, Unreachable},
	{syscall.EADDRINUSE, AddrInUse},
	{syscall.EADDRNOTAVAIL, AddrNotOurs},
	{syscall.EACCES, Forbidden},
	{syscall.EPERM, Forbidden},
	{syscall.EMSGSIZE, TooLong},
}
