//go:build !unix

package cputime

import (
	"errors"
	"time"
)

// Process is an error here.
func Process() (time.Duration, error) {
	return 0, errors.New("the processor time of a process isn't measured on this system")
}
