package render

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// settle gives an index to the items that have none: as in kpt, the last of
// their file, or the one after it for the next. Of two with one index the first
// in items comes first in the file.
func settle(items []*item) {
	if !slices.ContainsFunc(items, func(it *item) bool { return it.index < 0 }) {
		return
	}
	last := map[string]int{} // by file
	for _, it := range items {
		if p := it.location().path; it.index > last[p] {
			last[p] = it.index
		}
	}
	for _, it := range items {
		if it.index < 0 {
			p := it.location().path
			it.index, it.loose = last[p], true
			last[p]++
		}
	}
}

// write is the tree, as functions see it, with what became of the resources;
// items are those that are left. Files in which nothing changed are the same
// Files.
func (x *execution) write(items []*item) (kptpkg.Tree, error) {
	dirty := map[string][]*item{} // by path, the resources that are in it now
	for _, it := range x.items {
		now := it.location()
		it.changed = it.node != nil && it.doc != nil && it.doc.With(it.node.YNode()).Changed()
		switch {
		case it.gone:
			if it.doc != nil {
				dirty[it.from.path] = nil
			}
		case it.doc == nil:
			dirty[now.path] = nil
		case now != it.from || it.changed:
			dirty[it.from.path], dirty[now.path] = nil, nil
		}
	}
	if len(dirty) == 0 {
		return x.tree, nil
	}
	at := make(map[location]*item, len(items))
	for _, it := range items {
		now := it.location()
		if other := at[now]; other != nil && !it.loose && (other.owner != it.owner || path.Ext(now.path) == ".json") {
			return kptpkg.Tree{}, taken(it.view(), now.path, now.index, it.owner.rel()+" and "+other.owner.rel()+" both write it")
		}
		if !it.loose {
			at[now] = it
		}
		if _, ok := dirty[now.path]; ok {
			dirty[now.path] = append(dirty[now.path], it)
		}
	}
	var files []*kptpkg.File
	var gone []string
	for p, items := range dirty {
		docs, err := documents(p, x.inputs[p], items)
		if err != nil {
			return kptpkg.Tree{}, err
		}
		switch in := x.inputs[p]; {
		case len(docs) == 0:
			gone = append(gone, p)
		case in != nil:
			files = append(files, in.file.WithDocs(docs...))
		default:
			files = append(files, kptpkg.NewDocs(p, docs...))
		}
	}
	after, err := x.tree.Without(gone...).With(files...)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return after, nested(after, files)
}

// documents are the documents of a file: the resources that are in it and, in
// their old places among them, the documents that aren't resources. There are
// none when nothing worth a file is left. in is the file as it was, nil for a
// new one.
func documents(p string, in *input, items []*item) ([]*yamldoc.Doc, error) {
	type entry struct {
		index, rank int
		doc         *yamldoc.Doc
	}
	var entries []entry
	worth := len(items) > 0
	if in != nil {
		for i := range in.docs {
			if d := &in.docs[i]; d.item == nil {
				entries = append(entries, entry{d.index, 0, d.Doc})
				worth = worth || !d.blank() || hasText(d.Doc)
			}
		}
	}
	if !worth {
		return nil, nil
	}
	for _, it := range items {
		d, err := it.document(p)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry{it.index, 1, d})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.rank, b.rank)) })
	docs := make([]*yamldoc.Doc, len(entries))
	for i, e := range entries {
		docs[i] = e.doc
	}
	if first, err := withoutSeparator(docs[0], in); err != nil {
		return nil, fmt.Errorf("writing %s: %w", p, err)
	} else {
		docs[0] = first
	}
	return docs, nil
}

// document is the resource as a document of the file p.
func (it *item) document(p string) (*yamldoc.Doc, error) {
	if path.Ext(p) == ".json" && it.from.path != p {
		b, err := toJSON(it.view().YNode())
		if err != nil {
			return nil, fmt.Errorf("writing %s as JSON: %w", p, err)
		}
		return yamldoc.Split(b)[0], nil
	}
	return it.current(), nil
}

// current is the resource as it is now.
func (it *item) current() *yamldoc.Doc {
	switch {
	case it.doc == nil:
		return yamldoc.FromNode(it.node.YNode())
	case it.changed:
		return it.doc.With(it.node.YNode())
	}
	return it.doc
}

// separator is the line between documents.
var separator = []byte("---\n")

// withoutSeparator is doc for the beginning of a file: the separator line that
// stood between it and a document before it is gone, unless the file began with
// one.
func withoutSeparator(doc *yamldoc.Doc, in *input) (*yamldoc.Doc, error) {
	if in != nil && len(in.docs) > 0 {
		if in.docs[0].Doc == doc {
			return doc, nil
		}
		first, err := in.docs[0].Bytes()
		if err != nil || bytes.HasPrefix(first, separator) {
			return doc, err
		}
	}
	text, err := doc.Bytes()
	if err != nil || !bytes.HasPrefix(text, separator) {
		return doc, err
	}
	return yamldoc.Split(bytes.Clone(text[len(separator):]))[0], nil
}

// hasText says whether a document without content says anything, in comments.
func hasText(d *yamldoc.Doc) bool {
	text, err := d.Bytes()
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(text)) {
		switch strings.TrimSpace(line) {
		case "", "---", "...", "null", "--- null", "~":
		default:
			return true
		}
	}
	return false
}

// nested refuses files below a path that is a file too: no directory can hold
// them.
func nested(t kptpkg.Tree, files []*kptpkg.File) error {
	paths := t.Paths()
	slices.SortFunc(files, func(a, b *kptpkg.File) int { return strings.Compare(a.Path(), b.Path()) })
	for _, f := range files {
		other := ""
		for dir := path.Dir(f.Path()); dir != "."; dir = path.Dir(dir) {
			if t.File(dir) != nil {
				other = dir
			}
		}
		if i, _ := slices.BinarySearch(paths, f.Path()+"/"); i < len(paths) && strings.HasPrefix(paths[i], f.Path()+"/") {
			other = paths[i]
		}
		if other != "" {
			return resultError(fn.Result{
				Message: fmt.Sprintf("function must not write %q: %q can't be beside it, one of them would be both a file and a directory", f.Path(), other),
				File:    &fn.File{Path: f.Path()},
			})
		}
	}
	return nil
}
