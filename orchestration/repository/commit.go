package repository

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// porch is who commits, and who is the author where nobody else is named. The
// name and address are Porch's, so that histories look alike.
var porch = Author{"Package Orchestration Service", "porch@kpt.dev"}

// note is what a commit's message says to programs: a line kpt: with JSON, in
// Porch's format. Labels and Annotations are stoop's; Porch ignores them.
type note struct {
	Package       string            `json:"package,omitempty"` // its directory in the repository
	WorkspaceName string            `json:"workspaceName,omitempty"`
	Revision      string            `json:"revision,omitempty"` // a number; Porch's type is a string
	Task          json.RawMessage   `json:"task,omitempty"`     // an [api.Task]
	Commit        string            `json:"commit,omitempty"`   // of a published revision that Labels and Annotations are of
	Labels        map[string]string `json:"labels,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// message is a commit's message with its note.
func (n note) message(subject string) (string, error) {
	text, err := json.Marshal(n)
	if err != nil {
		return "", err
	}
	return subject + "\n\nkpt:" + string(text) + "\n", nil
}

// notesIn are the notes in the message of a commit or tag. Anybody can write
// such a line: what isn't a note is text.
func notesIn(object []byte) []note {
	_, message, _ := bytes.Cut(object, []byte("\n\n"))
	if !bytes.Contains(message, []byte("kpt:")) {
		return nil
	}
	var notes []note
	for line := range bytes.Lines(message) {
		raw, ok := bytes.CutPrefix(line, []byte("kpt:"))
		if !ok {
			continue
		}
		var n note
		if err := json.Unmarshal(raw, &n); err == nil || n.Package != "" { // a member of another type is left out
			notes = append(notes, n)
		}
	}
	return notes
}

// encodeTask is a task as notes have it. Whoever can read the repository reads them.
func encodeTask(t api.Task) (json.RawMessage, error) {
	text, err := yaml.Marshal(t.WithoutCredentials())
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, err
	}
	return json.Marshal(values)
}

// decodeTask reads a task of a note.
func decodeTask(raw json.RawMessage) (api.Task, error) {
	var t api.Task
	err := yaml.Unmarshal(raw, &t)
	return t.WithoutCredentials(), err
}

// taskRender is what Porch notes of an update that was no task.
const taskRender api.TaskType = "render"

// subjects are Porch's.
var subjects = map[api.TaskType]string{
	api.TaskInit:    "Creating new empty revision",
	api.TaskClone:   "Creating new revision by cloning",
	api.TaskEdit:    "Creating new revision by copying previous revision",
	api.TaskUpgrade: "Upgrading revision",
	taskRender:      "Rendering package",
}

// isTask says whether a noted task is one that objects can have: a render isn't,
// and neither is what older versions of Porch did.
func isTask(t api.Task) bool { return t.Type != taskRender && subjects[t.Type] != "" }

// builder makes git objects.
type builder struct {
	from    objects // what is there already
	made    memory
	objects []object
	when    time.Time
	author  Author
}

func (b *builder) size(h plumbing.Hash) (int64, error) {
	if n, err := b.made.size(h); err == nil {
		return n, nil
	}
	return b.from.size(h)
}

func (b *builder) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	if _, ok := b.made[h]; ok {
		return b.made.read(h, limit)
	}
	return b.from.read(h, limit)
}

func (b *builder) add(typ plumbing.ObjectType, content []byte) plumbing.Hash {
	h := plumbing.ComputeHash(typ, content)
	if _, ok := b.made[h]; !ok {
		o := object{typ, content}
		b.made[h] = o
		b.objects = append(b.objects, o)
	}
	return h
}

func (b *builder) tree(entries []treeEntry) plumbing.Hash {
	key := func(e treeEntry) string { // git orders directories as if a slash followed
		if e.mode&modeType == modeDir {
			return e.name + "/"
		}
		return e.name
	}
	slices.SortFunc(entries, func(a, b treeEntry) int { return cmp.Compare(key(a), key(b)) })
	var text bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&text, "%o %s\x00", e.mode, e.name)
		text.Write(e.hash[:])
	}
	return b.add(plumbing.TreeObject, text.Bytes())
}

// commit makes a commit whose author is b's.
func (b *builder) commit(tree plumbing.Hash, message string, parents ...plumbing.Hash) plumbing.Hash {
	var text bytes.Buffer
	fmt.Fprintf(&text, "tree %s\n", tree)
	for _, p := range parents {
		if !p.IsZero() {
			fmt.Fprintf(&text, "parent %s\n", p)
		}
	}
	fmt.Fprintf(&text, "author %s\ncommitter %s\n\n%s", b.author.signature(b.when), porch.signature(b.when), message)
	return b.add(plumbing.CommitObject, text.Bytes())
}

// signature is an author as commits have it.
func (a Author) signature(when time.Time) string {
	clean := func(s string) string {
		return strings.Trim(strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == '<' || r == '>' {
				return -1
			}
			return r
		}, s), " .,:;\"'\\")
	}
	return fmt.Sprintf("%s <%s> %d %s", cmp.Or(clean(a.Name), clean(a.Email)), clean(a.Email), when.Unix(), when.Format("-0700"))
}

// files makes the git tree of a package. What couldn't be read back is refused.
func (b *builder) files(pkg kptpkg.Tree) (plumbing.Hash, error) {
	type dir struct {
		entries []treeEntry
		dirs    map[string]*dir
	}
	root, known := &dir{}, paths{}
	for _, p := range pkg.Paths() {
		f := pkg.File(p)
		content, err := f.Bytes()
		if err == nil {
			err = known.add(p)
		}
		if err == nil {
			err = checkContent(p, f.Mode(), content)
		}
		if err != nil {
			return plumbing.ZeroHash, err
		}
		at, rest := root, p
		for {
			name, below, nested := strings.Cut(rest, "/")
			if !nested {
				break
			}
			if at.dirs == nil {
				at.dirs = map[string]*dir{}
			}
			if at.dirs[name] == nil {
				at.dirs[name] = &dir{}
			}
			at, rest = at.dirs[name], below
		}
		e := treeEntry{name: rest, mode: modeRegular | 0o644, hash: b.add(plumbing.BlobObject, content)}
		switch f.Mode() {
		case kptpkg.Executable:
			e.mode = modeRegular | 0o755
		case kptpkg.Symlink:
			e.mode = modeSymlink
		}
		at.entries = append(at.entries, e)
	}
	var write func(*dir) plumbing.Hash
	write = func(d *dir) plumbing.Hash {
		for name, sub := range d.dirs {
			d.entries = append(d.entries, treeEntry{name, modeDir, write(sub)})
		}
		return b.tree(d.entries)
	}
	return write(root), nil
}

// replace returns a git tree with another one at dir; zero removes what is
// there, and directories above it that are empty then. A zero root is an empty
// one.
func (b *builder) replace(root plumbing.Hash, dir string, with plumbing.Hash) (plumbing.Hash, error) {
	if dir == "" {
		return with, nil
	}
	var entries []treeEntry
	if !root.IsZero() {
		var err error
		if entries, err = readTree(b, root); err != nil {
			return root, err
		}
	}
	name, below, _ := strings.Cut(dir, "/")
	i := slices.IndexFunc(entries, func(e treeEntry) bool { return e.name == name })
	var old plumbing.Hash
	if i >= 0 && entries[i].mode&modeType == modeDir {
		old = entries[i].hash
	}
	sub, err := b.replace(old, below, with)
	switch {
	case err != nil:
		return root, err
	case sub.IsZero() && i >= 0:
		entries = slices.Delete(entries, i, i+1)
	case sub.IsZero():
	case i >= 0:
		entries[i] = treeEntry{name, modeDir, sub}
	default:
		entries = append(entries, treeEntry{name, modeDir, sub})
	}
	if len(entries) == 0 {
		return plumbing.ZeroHash, nil
	}
	return b.tree(entries), nil
}

// keepNested puts those of other packages, published by themselves inside dir,
// into the git tree that is to replace the one there, unless it has them. All
// paths are whole.
func (b *builder) keepNested(old, with plumbing.Hash, dir string, packages []string) (plumbing.Hash, error) {
	for _, nested := range packages {
		below, ok := strings.CutPrefix(nested, dir+"/")
		if !ok {
			continue
		}
		have, err := subtree(b, old, below)
		if err != nil {
			return with, err
		}
		var there plumbing.Hash
		if !with.IsZero() {
			if there, err = subtree(b, with, below); err != nil {
				return with, err
			}
		}
		if have.IsZero() || !there.IsZero() {
			continue
		}
		if with, err = b.replace(with, path.Clean(below), have); err != nil {
			return with, err
		}
	}
	return with, nil
}
