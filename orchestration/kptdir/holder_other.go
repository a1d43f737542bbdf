//go:build unix && !linux

package kptdir

import "os"

// lockHolder returns 0: these systems don't say who holds a flock.
func lockHolder(*os.File) int { return 0 }
