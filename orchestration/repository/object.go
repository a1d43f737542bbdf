package repository

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// errNoObject is the answer of an objects that doesn't have one.
var errNoObject = errors.New("object is missing from the repository")

// objects is a place where git objects are read from.
type objects interface {
	// size is the length of an object's content, told without reading it.
	size(plumbing.Hash) (int64, error)
	// read returns an object, unless its content has more than limit bytes.
	// Nobody changes the content afterwards.
	read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error)
}

// maxMeta bounds what is no file: a commit, a tag, a directory.
const maxMeta = 64 << 20

// maxTagChain bounds how many annotated tags may point to one another.
const maxTagChain = 16

// peel follows annotated tags to the commit and returns it with its tree.
func peel(from objects, h plumbing.Hash) (commit, tree plumbing.Hash, err error) {
	for range maxTagChain {
		typ, content, err := from.read(h, maxMeta)
		if err != nil {
			return commit, tree, err
		}
		switch typ {
		case plumbing.CommitObject:
			tree, err := header(content, "tree")
			return h, tree, err
		case plumbing.TagObject:
			if h, err = header(content, "object"); err != nil {
				return commit, tree, err
			}
		default:
			return commit, tree, fmt.Errorf("%w: it is a %s", errNotCommit, typ)
		}
	}
	return commit, tree, fmt.Errorf("%w: too many tags in a row", errNotCommit)
}

var errNotCommit = errors.New("leads to no commit")

// header reads the hash on the first line of a commit or tag.
func header(content []byte, key string) (plumbing.Hash, error) {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	value, ok := strings.CutPrefix(string(line), key+" ")
	if !ok || !plumbing.IsHash(value) || len(value) != 40 {
		return plumbing.ZeroHash, fmt.Errorf("malformed git object: no %s", key)
	}
	return plumbing.NewHash(value), nil
}

// treeEntry is one line of a git tree. The name is as the tree has it: not yet
// checked.
type treeEntry struct {
	name string
	mode uint32
	hash plumbing.Hash
}

// The modes of tree entries, as git writes them.
const (
	modeDir     = 0o040000
	modeSymlink = 0o120000
	modeGitlink = 0o160000
	modeRegular = 0o100000 // in the bits of modeType; the rest are permissions
	modeType    = 0o170000
)

func readTree(from objects, h plumbing.Hash) ([]treeEntry, error) {
	typ, content, err := from.read(h, maxMeta)
	if err != nil {
		return nil, err
	}
	if typ != plumbing.TreeObject {
		return nil, fmt.Errorf("malformed git tree: a directory is a %s", typ)
	}
	return parseTree(content)
}

func parseTree(content []byte) ([]treeEntry, error) {
	const hashLen = len(plumbing.Hash{})
	var entries []treeEntry
	for len(content) > 0 {
		head, rest, ok := bytes.Cut(content, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		bits, err := strconv.ParseUint(mode, 8, 32)
		if !ok || !ok2 || err != nil || len(rest) < hashLen {
			return nil, errors.New("malformed git tree")
		}
		entry := treeEntry{name: name, mode: uint32(bits)}
		copy(entry.hash[:], rest)
		entries = append(entries, entry)
		content = rest[hashLen:]
	}
	return entries, nil
}
