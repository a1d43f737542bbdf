package kptdir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/windows"
)

// lock holds a file that nobody else may open for writing and that the system
// removes when the process lets go of it, however it ends: directories
// themselves can't be locked here.
func lock(root *os.Root) (unlock func() error, err error) {
	name := filepath.Join(root.Name(), lockName)
	f, err := openShared(name, windows.GENERIC_READ|windows.GENERIC_WRITE, windows.FILE_SHARE_READ, windows.OPEN_ALWAYS,
		windows.FILE_ATTRIBUTE_HIDDEN|windows.FILE_FLAG_DELETE_ON_CLOSE|windows.FILE_FLAG_OPEN_REPARSE_POINT)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return nil, &LockedError{Dir: root.Name(), PID: lockHolder(name)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if _, err := f.WriteString(strconv.Itoa(os.Getpid())); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	return f.Close, nil
}

// lockHolder reads the process id that lock wrote; 0 when it isn't there.
func lockHolder(name string) int {
	f, err := openShared(name, windows.GENERIC_READ,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE, windows.OPEN_EXISTING, windows.FILE_FLAG_OPEN_REPARSE_POINT)
	if err != nil {
		return 0
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 20))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return max(pid, 0)
}

func openShared(name string, access, share, create, flags uint32) (*os.File, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(p, access, share, nil, create, flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), name), nil
}
