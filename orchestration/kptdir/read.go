package kptdir

import (
	"cmp"
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"golang.org/x/sync/errgroup"
)

// Limits bound what is read from a directory. A directory beyond one of them is
// an error that names the path at which it was reached.
type Limits struct {
	Files      int   // files and directories together; 0 means 500,000
	FileBytes  int64 // of one file; 0 means 64 MiB
	TotalBytes int64 // of all files together; 0 means 1 GiB
}

// maxDepth bounds how deep directories may be nested, and with it how many are
// open at a time.
const maxDepth = 100

// read reads the tree below root.
func read(ctx context.Context, root *os.Root, limits Limits) (kptpkg.Tree, error) {
	r := reader{
		limits: Limits{
			Files:      cmp.Or(limits.Files, 500_000),
			FileBytes:  cmp.Or(limits.FileBytes, 64<<20),
			TotalBytes: cmp.Or(limits.TotalBytes, 1<<30),
		},
		// more than there are processors: a disk answers several at a time
		idle: make(chan struct{}, 4*runtime.GOMAXPROCS(0)),
	}
	top, err := openFolder(root)
	if err != nil {
		return kptpkg.Tree{}, failed("", "open", err)
	}
	defer top.Close()
	if err := r.dir(ctx, top, ""); err != nil {
		return kptpkg.Tree{}, err
	}
	return kptpkg.NewTree(r.files...)
}

// A reader collects the files of one tree.
type reader struct {
	limits Limits
	idle   chan struct{} // has an element for every goroutine besides the first
	seen   atomic.Int64
	bytes  atomic.Int64

	mu    sync.Mutex
	files []*kptpkg.File
}

// dir reads a directory, whose path in the tree is rel. Directories are opened
// one below the other, so no path is walked twice and none leads outside.
func (r *reader) dir(ctx context.Context, in folder, rel string) error {
	files, dirs, err := r.list(ctx, in, rel)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for batch := range slices.Chunk(files, 32) {
		r.spawn(group, func() error { return r.readFiles(ctx, in, rel, batch) })
	}
	for _, d := range dirs {
		r.spawn(group, func() error {
			p := path.Join(rel, d)
			sub, err := in.folder(d)
			if err != nil {
				return failed(p, "open", err)
			}
			defer sub.Close()
			return r.dir(ctx, sub, p)
		})
	}
	return group.Wait()
}

// spawn runs do in a goroutine of group when one is free, else at once.
func (r *reader) spawn(group *errgroup.Group, do func() error) {
	select {
	case r.idle <- struct{}{}:
		group.Go(func() error {
			defer func() { <-r.idle }()
			return do()
		})
	default:
		if err := do(); err != nil {
			group.Go(func() error { return err })
		}
	}
}

// list returns what a directory holds of the tree.
func (r *reader) list(ctx context.Context, in folder, rel string) (files []fs.DirEntry, dirs []string, err error) {
	for {
		entries, err := in.list(1024)
		if err == io.EOF {
			return files, dirs, nil
		}
		if err != nil {
			return nil, nil, failed(rel, "list", err)
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			p := path.Join(rel, e.Name())
			if foreign(e.Name()) {
				if err := refuseUnfinished(in, rel, e); err != nil {
					return nil, nil, err
				}
				continue
			}
			if err := r.admit(p, rel, e); err != nil {
				return nil, nil, err
			}
			if e.IsDir() {
				dirs = append(dirs, e.Name())
			} else {
				files = append(files, e)
			}
		}
	}
}

// admit refuses an entry that a tree can't hold, and one too many.
func (r *reader) admit(p, rel string, e fs.DirEntry) error {
	if err := kptpkg.CheckPath(p); err != nil {
		return refuse(cmp.Or(rel, "."), "%w: rename it on disk", err)
	}
	if r.seen.Add(1) > int64(r.limits.Files) {
		return refuse(p, "more than %d files and directories: give stoop a smaller directory, or a larger --max-files", r.limits.Files)
	}
	switch e.Type() {
	case 0, fs.ModeSymlink:
		return nil
	case fs.ModeDir:
		if strings.Count(p, "/") >= maxDepth {
			return refuse(p, "more than %d directories deep", maxDepth)
		}
		return nil
	}
	return refuse(p, "neither a file, a directory nor a symlink (%s): packages can't hold it, remove it", e.Type())
}

// refuseUnfinished refuses a directory inside the tree that a crash has left
// half written: only an Open of that directory may finish it.
func refuseUnfinished(in folder, rel string, e fs.DirEntry) error {
	if rel == "" || e.Name() != stageName || !e.IsDir() || !in.has(manifestPath) {
		return nil
	}
	return refuse(rel, "a write of this directory was not finished, or still goes on: wait for it, or run stoop on this directory first")
}

// readFiles reads some of the files of one directory.
func (r *reader) readFiles(ctx context.Context, in folder, rel string, entries []fs.DirEntry) error {
	files := make([]*kptpkg.File, 0, len(entries))
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := r.file(in, e, path.Join(rel, e.Name()))
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = append(r.files, files...)
	return nil
}

func (r *reader) file(in folder, e fs.DirEntry, p string) (*kptpkg.File, error) {
	if e.Type() == fs.ModeSymlink {
		target, err := in.readlink(e.Name())
		if err != nil {
			return nil, failed(p, "read link", err)
		}
		if err := r.account(p, int64(len(target))); err != nil {
			return nil, err
		}
		return kptpkg.NewFile(p, kptpkg.Symlink, []byte(filepath.ToSlash(target))), nil
	}
	f, mode, size, err := in.open(e.Name())
	if err != nil {
		return nil, failed(p, "open", err)
	}
	defer f.Close()
	if !mode.IsRegular() {
		return nil, refuse(p, "changed while it was read: run stoop again")
	}
	if err := r.account(p, size); err != nil {
		return nil, err
	}
	content := make([]byte, size+1) // one more, to see that it ends there
	switch n, err := io.ReadAtLeast(f, content, max(int(size), 1)); {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, failed(p, "read", err)
	case int64(n) != size:
		return nil, refuse(p, "changed while it was read: run stoop again")
	}
	return kptpkg.NewFile(p, modeOf(mode), content[:size:size]), nil
}

// account counts the bytes of a file against the limits.
func (r *reader) account(p string, size int64) error {
	if size > r.limits.FileBytes {
		return refuse(p, "has %d bytes, the limit is %d: --max-file-bytes sets another", size, r.limits.FileBytes)
	}
	if r.bytes.Add(size) > r.limits.TotalBytes {
		return refuse(p, "the directory has more than %d bytes: give stoop a smaller one, or a larger --max-total-bytes", r.limits.TotalBytes)
	}
	return nil
}

// modeOf is the mode of a file that is no directory. Like git, it takes a file
// for executable when its owner may execute it.
func modeOf(m fs.FileMode) kptpkg.Mode {
	switch {
	case m&fs.ModeSymlink != 0:
		return kptpkg.Symlink
	case m&0o100 != 0:
		return kptpkg.Executable
	}
	return kptpkg.Regular
}
