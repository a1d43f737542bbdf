//go:build unix

package kptdir

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock locks the directory itself, so that there is no lock file to leave behind
// and a directory that can't be written can be locked as well.
func lock(root *os.Root) (unlock func() error, err error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &LockedError{Dir: root.Name(), PID: lockHolder(f)}
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return func() error {
		// said expressly: a child process that is being started may still
		// have the descriptor for a moment
		return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
	}, nil
}
