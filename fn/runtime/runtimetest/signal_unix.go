//go:build unix

package runtimetest

import (
	"os/signal"
	"syscall"
)

func ignoreRequests() { signal.Ignore(syscall.SIGTERM) }
