//go:build unix

package repository

import (
	"os"
	"syscall"
)

// A process with STOOP_TEST_KILL in its environment kills itself where that
// says.
func init() {
	if at := os.Getenv("STOOP_TEST_KILL"); at != "" {
		crashPoint = func(step string) {
			if step == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
	}
}
