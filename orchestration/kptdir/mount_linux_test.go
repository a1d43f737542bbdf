package kptdir

import "golang.org/x/sys/unix"

// mountTiny mounts a file system of one megabyte.
func mountTiny(dir string) error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m") }

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }
