package kptdir

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// A folder is an open directory. What is in it is opened by its name there, and
// nothing outside is reached.
type folder struct {
	root *os.Root
	dir  *os.File // to list
}

// openFolder opens the directory of a root.
func openFolder(root *os.Root) (folder, error) { return folder{root: root}.folder(".") }

// folder opens a directory in the folder.
func (f folder) folder(name string) (folder, error) {
	root, err := f.root.OpenRoot(name)
	if err != nil {
		return folder{}, err
	}
	dir, err := root.Open(".")
	if err != nil {
		return folder{}, errors.Join(err, root.Close())
	}
	return folder{root, dir}, nil
}

func (f folder) Close() error { return errors.Join(f.dir.Close(), f.root.Close()) }

// list is the next n entries, io.EOF when there are no more.
func (f folder) list(n int) ([]fs.DirEntry, error) { return f.dir.ReadDir(n) }

// has says whether there is something at a path below the folder.
func (f folder) has(path string) bool {
	_, err := f.root.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// readlink is where a link points.
func (f folder) readlink(name string) (string, error) { return f.root.Readlink(name) }

// open opens a file and says its size in bytes.
func (f folder) open(name string) (_ io.ReadCloser, mode fs.FileMode, size int64, _ error) {
	file, err := f.root.Open(name)
	if err != nil {
		return nil, 0, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, 0, errors.Join(err, file.Close())
	}
	return file, info.Mode(), info.Size(), nil
}
