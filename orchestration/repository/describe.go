package repository

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// description is what an object that a ref points to says: a commit, or tags
// that lead to one.
type description struct {
	commit, tree plumbing.Hash // zero when it leads to no commit
	by           string        // the commit's author
	at           time.Time     // of the commit
	notes        []note        // the tags' first
}

// describe reads what a ref points to.
func (r *gitRepository) describe(h plumbing.Hash) (description, error) {
	var d description
	for range maxTagChain {
		typ, content, err := r.store.read(h, maxMeta)
		if err != nil {
			return d, err
		}
		switch typ {
		case plumbing.TagObject:
			d.notes = append(d.notes, notesIn(content)...)
			if h, err = header(content, "object"); err != nil {
				return d, err
			}
		case plumbing.CommitObject:
			d.notes = append(d.notes, notesIn(content)...)
			d.commit = h
			d.by, _ = signatureIn(content, "author")
			_, d.at = signatureIn(content, "committer")
			d.tree, err = header(content, "tree")
			return d, err
		default:
			return d, nil
		}
	}
	return d, nil
}

// complete adds to a revision, of which the ref is known, what the commit says.
func (d description) complete(r *Revision) {
	r.Commit = d.commit.String()
	for _, n := range d.notes {
		if n.WorkspaceName == "" || n.Package != r.Package && n.Package != r.Directory {
			continue
		}
		if r.IsPublished() && len(n.WorkspaceName) <= 253 && subdomain.MatchString(n.WorkspaceName) {
			r.Workspace = n.WorkspaceName
		}
		r.Labels, r.Annotations = n.Labels, n.Annotations
		break
	}
	if r.IsPublished() {
		r.PublishedBy, r.PublishedAt = d.by, d.at
	}
}

// signatureIn is a person and time in a commit: the address where there is one,
// else the name.
func signatureIn(commit []byte, key string) (string, time.Time) {
	head, _, _ := bytes.Cut(commit, []byte("\n\n"))
	for line := range bytes.Lines(head) {
		text, ok := strings.CutPrefix(string(line), key+" ")
		if !ok {
			continue
		}
		name, rest, _ := strings.Cut(text, "<")
		email, rest, _ := strings.Cut(rest, ">")
		seconds, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		unix, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return cmp.Or(email, strings.TrimSpace(name)), time.Time{}
		}
		return cmp.Or(email, strings.TrimSpace(name)), time.Unix(unix, 0).UTC()
	}
	return "", time.Time{}
}

// parentsOf are a commit's parents.
func parentsOf(commit []byte) []plumbing.Hash {
	var parents []plumbing.Hash
	for line := range bytes.Lines(commit) {
		text, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "parent ")
		switch {
		case ok && len(text) == 40 && plumbing.IsHash(text):
			parents = append(parents, plumbing.NewHash(text))
		case !strings.HasPrefix(string(line), "tree "):
			return parents
		}
	}
	return parents
}

// metadataKey is a published revision: what its tag leads to, in whole paths.
type metadataKey struct{ directory, commit string }

// notedMetadata are the labels and annotations of published revisions that
// commits of the branch note: the newest note on each counts.
type notedMetadata struct {
	tip plumbing.Hash // up to which the branch was read
	of  map[metadataKey]note
}

// walk reads the branch from its tip back to what was read before, by first
// parents: the commits that were made on it.
func (m *notedMetadata) walk(from objects, tip plumbing.Hash) error {
	if tip == m.tip {
		return nil
	}
	found := map[metadataKey]note{}
	at := tip
	for !at.IsZero() && at != m.tip {
		typ, content, err := from.read(at, maxMeta)
		if errors.Is(err, errNoObject) && at != tip && isOnDisk(from) {
			break // where the history of a shallow clone ends
		}
		if err != nil {
			return err
		}
		if typ != plumbing.CommitObject {
			break
		}
		for _, n := range notesIn(content) {
			if n.Commit == "" {
				continue
			}
			key := metadataKey{n.Package, n.Commit}
			if _, newer := found[key]; !newer {
				found[key] = n
			}
		}
		parents := parentsOf(content)
		if at = plumbing.ZeroHash; len(parents) > 0 {
			at = parents[0]
		}
	}
	if at == m.tip && !at.IsZero() {
		for key, n := range m.of {
			if _, newer := found[key]; !newer {
				found[key] = n
			}
		}
	}
	m.tip, m.of = tip, found
	return nil
}

// treeContent reads a git tree as it is.
func treeContent(from objects, h plumbing.Hash) ([]byte, error) {
	typ, content, err := from.read(h, maxMeta)
	if err == nil && typ != plumbing.TreeObject {
		err = fmt.Errorf("malformed git tree: a directory is a %s", typ)
	}
	return content, err
}

// findEntry looks for a name in a git tree; mode 0: it isn't there. Trees are
// large where there are many packages, and one of their entries is wanted.
func findEntry(tree []byte, name string) (mode uint32, h plumbing.Hash) {
	for len(tree) > 0 {
		end := bytes.IndexByte(tree, 0)
		if end < 0 || len(tree) < end+1+len(h) {
			return 0, h
		}
		bits, entry, _ := bytes.Cut(tree[:end], []byte{' '})
		if string(entry) == name {
			n, err := strconv.ParseUint(string(bits), 8, 32)
			if err != nil {
				return 0, h
			}
			copy(h[:], tree[end+1:])
			return uint32(n), h
		}
		tree = tree[end+1+len(h):]
	}
	return 0, h
}

// subtree returns the git tree of a directory, zero when there is none; "" is the
// tree itself.
func subtree(from objects, root plumbing.Hash, dir string) (plumbing.Hash, error) {
	if dir == "" {
		return root, nil
	}
	for seg := range strings.SplitSeq(dir, "/") {
		content, err := treeContent(from, root)
		if err != nil {
			return root, err
		}
		mode, h := findEntry(content, seg)
		if mode&modeType != modeDir {
			return plumbing.ZeroHash, nil
		}
		root = h
	}
	return root, nil
}

// cloneMetadata is a copy that its owner may change.
func cloneMetadata(m map[string]string) map[string]string {
	m = maps.Clone(m)
	delete(m, LatestLabel)
	if len(m) == 0 {
		return nil
	}
	return m
}
