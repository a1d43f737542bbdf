//go:build unix

package kptdir

import (
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A folder is an open directory. What is in it is opened by its name there, and
// no link is followed. An [os.Root] would do the same with twice the system
// calls.
type folder struct{ dir *os.File }

// openFolder opens the directory of a root.
func openFolder(root *os.Root) (folder, error) {
	d, err := root.Open(".")
	if err != nil {
		return folder{}, err
	}
	defer d.Close()
	return folder{d}.folder(".")
}

// folder opens a directory in the folder.
func (f folder) folder(name string) (folder, error) {
	fd, err := f.openat(name, unix.O_DIRECTORY)
	if err != nil {
		return folder{}, err
	}
	return folder{os.NewFile(uintptr(fd), name)}, nil
}

func (f folder) openat(name string, flag int) (int, error) {
	return again(func() (int, error) {
		return unix.Openat(int(f.dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flag, 0)
	})
}

// again repeats a system call while signals interrupt it.
func again[T any](call func() (T, error)) (T, error) {
	for {
		if v, err := call(); err != unix.EINTR {
			return v, err
		}
	}
}

func (f folder) Close() error { return f.dir.Close() }

// list is the next n entries, io.EOF when there are no more.
func (f folder) list(n int) ([]fs.DirEntry, error) { return f.dir.ReadDir(n) }

// has says whether there is something at a path below the folder.
func (f folder) has(path string) bool {
	_, err := again(func() (struct{}, error) {
		var st unix.Stat_t
		return struct{}{}, unix.Fstatat(int(f.dir.Fd()), path, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return err != unix.ENOENT
}

// readlink is where a link points.
func (f folder) readlink(name string) (string, error) {
	for b := make([]byte, 256); ; b = make([]byte, 2*len(b)) {
		n, err := again(func() (int, error) { return unix.Readlinkat(int(f.dir.Fd()), name, b) })
		if err != nil {
			return "", err
		}
		if n < len(b) {
			return string(b[:n]), nil
		}
	}
}

// open opens a file and says its size in bytes. It doesn't wait, should the file
// have become a fifo since it was listed.
func (f folder) open(name string) (_ io.ReadCloser, mode fs.FileMode, size int64, _ error) {
	fd, err := f.openat(name, unix.O_NONBLOCK)
	if err != nil {
		return nil, 0, 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return nil, 0, 0, err
	}
	mode = fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		mode |= fs.ModeIrregular
	}
	return rawFile(fd), mode, st.Size, nil
}

// rawFile is the descriptor of an open file.
type rawFile int

func (f rawFile) Read(b []byte) (int, error) {
	n, err := again(func() (int, error) { return unix.Read(int(f), b) })
	switch {
	case err != nil:
		return 0, err
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func (f rawFile) Close() error { return unix.Close(int(f)) }
