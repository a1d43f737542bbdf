//go:build unix

package progress

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// duplicate returns a file of its own for a file descriptor. A write to it fails
// when its reader is gone; to one of the numbers 1 and 2 it would end the
// process, see package os/signal. Neither is handed on to other processes.
func duplicate(fd int, name string) (io.WriteCloser, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return nil, os.NewSyscallError("write", unix.EBADF)
	}
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if fd > 2 {
		unix.CloseOnExec(fd)
	}
	return os.NewFile(uintptr(n), name), nil
}
