//go:build unix

// Package cputime tells what a process has taken of the processors, which says more
// than the time on the wall where others use them too.
package cputime

import (
	"syscall"
	"time"
)

// Process is the user and system time that this process has taken so far. The error
// says that the system doesn't tell.
func Process() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
