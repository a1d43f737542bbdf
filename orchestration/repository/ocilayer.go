package repository

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Whiteouts are files of a layer that stand for what it takes out of the layers
// below: one file or directory, or all that a directory has.
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
	whiteoutMeta   = ".wh..wh." // other names that begin so are a file system's own notes
)

// layering is a directory in the making: layers are applied to it one by one.
type layering struct {
	limits Limits
	root   *ociNode
	count  int   // files and directories so far
	total  int64 // bytes of files so far
	left   int64 // bytes that layers may still unpack to
}

// ociNode is a directory, or a file when file isn't nil.
type ociNode struct {
	file     *ociFile
	children map[string]*ociNode
}

type ociFile struct {
	mode    kptpkg.Mode
	content []byte
}

// member is an entry of a layer's archive.
type member struct {
	path string
	dir  bool
	link string // of a hard link, the file it is another name of
	file ociFile
}

// apply adds a layer: a tar archive, plain or compressed by gzip. All of it is
// read first, as its whiteouts are for the layers below only.
func (l *layering) apply(ctx context.Context, content []byte) error {
	var archive io.Reader = bytes.NewReader(content)
	switch {
	case bytes.HasPrefix(content, []byte{0x1f, 0x8b}):
		unpacked, err := gzip.NewReader(archive)
		if err != nil {
			return fmt.Errorf("unpacking it: %w", err)
		}
		archive = unpacked
	case bytes.HasPrefix(content, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return errors.New("it is compressed by zstd: write it with gzip, or not compressed")
	}
	bounded := &boundedReader{archive, l.left, l.limits.FetchBytes}
	members, whiteouts, err := l.read(ctx, tar.NewReader(bounded))
	l.left = bounded.left
	if err != nil {
		return err
	}
	for _, w := range whiteouts {
		l.whiteOut(w)
	}
	for _, m := range members {
		if err := l.put(m); err != nil {
			return err
		}
	}
	return nil
}

func (l *layering) read(ctx context.Context, archive *tar.Reader) (members []member, whiteouts []string, err error) {
	for entries := 0; ; entries++ {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		h, err := archive.Next()
		switch {
		case err == io.EOF:
			return members, whiteouts, nil
		case errors.Is(err, errTooBig):
			return nil, nil, err
		case err != nil:
			return nil, nil, fmt.Errorf("it is no tar archive, or a damaged one: %w", err)
		case entries >= l.limits.Files:
			return nil, nil, fmt.Errorf("has more than %d files and directories: --max-files sets another limit", l.limits.Files)
		case h.Typeflag == tar.TypeXGlobalHeader:
			continue
		}
		name, err := memberPath(h.Name)
		if err != nil {
			return nil, nil, err
		}
		base := path.Base(name)
		switch {
		case name == ".": // the package itself
			if h.Typeflag != tar.TypeDir {
				return nil, nil, fmt.Errorf("path %q is no directory", h.Name)
			}
			continue
		case base == whiteoutOpaque || strings.HasPrefix(base, whiteoutPrefix) && !strings.HasPrefix(base, whiteoutMeta):
			whiteouts = append(whiteouts, name)
			continue
		case strings.HasPrefix(base, whiteoutMeta):
			continue
		}
		m := member{path: name}
		switch h.Typeflag {
		case tar.TypeDir:
			m.dir = true
		case tar.TypeSymlink:
			m.file = ociFile{kptpkg.Symlink, []byte(h.Linkname)}
		case tar.TypeLink:
			if m.link, err = memberPath(h.Linkname); err != nil {
				return nil, nil, fmt.Errorf("%s is a hard link: %w", name, err)
			}
		case tar.TypeReg:
			if h.Mode&0o100 != 0 {
				m.file.mode = kptpkg.Executable
			}
			if err := l.limits.checkFile(h.Size, kptpkg.Regular); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			// Before it is read: a sparse file has a size and no content.
			if l.total += h.Size; l.total > l.limits.TotalBytes {
				return nil, nil, fmt.Errorf("its files have more than %s: --max-total-bytes sets another limit", size(l.limits.TotalBytes))
			}
			m.file.content = make([]byte, h.Size)
			if _, err = io.ReadFull(archive, m.file.content); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
		default:
			return nil, nil, fmt.Errorf("%s is neither a file, a directory nor a link (tar type %q): packages can't hold it", name, h.Typeflag)
		}
		if err := l.limits.checkFile(int64(len(m.file.content)), m.file.mode); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		members = append(members, m)
	}
}

// memberPath is the clean path of an archive's member, "." for the archive's own
// directory. Archives write a directory's name with a slash at its end, and all
// names, some of them, with ./ before.
func memberPath(name string) (string, error) {
	clean := strings.TrimSuffix(name, "/")
	for strings.HasPrefix(clean, "./") {
		clean = strings.TrimLeft(clean[len("./"):], "/")
	}
	if clean == "." || clean == "" && strings.HasPrefix(name, ".") {
		return ".", nil
	}
	if len(clean) > maxLocation {
		return "", fmt.Errorf("path %q...: it has more than %d characters", shorten(clean), maxLocation)
	}
	return clean, kptpkg.CheckPath(clean)
}

func (l *layering) whiteOut(name string) {
	dir := l.root
	if at := path.Dir(name); at != "." {
		for seg := range strings.SplitSeq(at, "/") {
			if dir = dir.children[seg]; dir == nil {
				return
			}
		}
	}
	if base := path.Base(name); base == whiteoutOpaque {
		dir.children = nil
	} else {
		delete(dir.children, strings.TrimPrefix(base, whiteoutPrefix))
	}
}

func (l *layering) put(m member) error {
	file := &m.file
	if m.link != "" {
		to := l.find(m.link)
		if to == nil || to.file == nil || to.file.mode == kptpkg.Symlink {
			return fmt.Errorf("%s is a hard link to %q, which is no file of the image", m.path, m.link)
		}
		file = to.file
		if l.total += int64(len(file.content)); l.total > l.limits.TotalBytes {
			return fmt.Errorf("its files have more than %s: --max-total-bytes sets another limit", size(l.limits.TotalBytes))
		}
	}
	segs := strings.Split(m.path, "/")
	if len(segs) > l.limits.Depth {
		return fmt.Errorf("%s: directories are nested more than %d deep", shorten(m.path), l.limits.Depth)
	}
	at := l.root
	for i, seg := range segs {
		next := at.children[seg]
		if next == nil {
			next = &ociNode{}
			if at.children == nil {
				at.children = map[string]*ociNode{}
			}
			at.children[seg] = next
			if l.count++; l.count > l.limits.Files {
				return fmt.Errorf("has more than %d files and directories: --max-files sets another limit", l.limits.Files)
			}
		}
		last := i == len(segs)-1
		switch {
		case !last && next.file != nil:
			return fmt.Errorf("path %q is below %q, which is no directory", m.path, strings.Join(segs[:i+1], "/"))
		case last && m.dir:
			next.file = nil
		case last:
			next.file, next.children = file, nil
		}
		at = next
	}
	return nil
}

func (l *layering) find(p string) *ociNode {
	at := l.root
	for seg := range strings.SplitSeq(p, "/") {
		if at = at.children[seg]; at == nil {
			return nil
		}
	}
	return at
}

// tree is what the layers made.
func (l *layering) tree() (kptpkg.Tree, error) {
	var files []*kptpkg.File
	seen := paths{}
	var walk func(dir *ociNode, at string) error
	walk = func(dir *ociNode, at string) error {
		for _, name := range slices.Sorted(maps.Keys(dir.children)) {
			node, p := dir.children[name], path.Join(at, name)
			if err := seen.add(p); err != nil {
				return err
			}
			if node.file == nil {
				if err := walk(node, p); err != nil {
					return err
				}
				continue
			}
			if err := checkContent(p, node.file.mode, node.file.content); err != nil {
				return err
			}
			files = append(files, kptpkg.NewFile(p, node.file.mode, node.file.content))
		}
		return nil
	}
	if err := walk(l.root, ""); err != nil {
		return kptpkg.Tree{}, err
	}
	return kptpkg.NewTree(files...)
}

// boundedReader fails where a reader gives more than it may.
type boundedReader struct {
	io.Reader
	left, limit int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: the image's layers unpack to more than %s: %s sets another limit", errTooBig, size(b.limit), fetchFlag)
	}
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
