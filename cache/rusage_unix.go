//go:build unix

package cache

import (
	"syscall"
	"time"
)

// processTimes returns how long the process has been computing.
func processTimes() (user, system time.Duration) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}
