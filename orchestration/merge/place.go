package merge

import (
	"fmt"
	"path"
	"slices"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// output is the merged tree in the making: local's, with what changes.
type output struct {
	local  kptpkg.Tree
	whole  map[string]*kptpkg.File // files taken as a whole; nil: to go
	drafts map[string]*draft
	order  []string // of the drafts' paths
}

// A draft is a file of resources in the making.
type draft struct {
	path    string
	sheets  *sheets
	docs    []*yamldoc.Doc // of local's file; nil: to go
	touched bool
	moved   []*triple // local documents that went to another file
	added   []newDoc
	// joined leads to another draft that an object of this one is in on another
	// side; nil at the end.
	joined *draft
}

// newDoc is a document that a file gets from elsewhere.
type newDoc struct {
	doc  *yamldoc.Doc
	of   *triple
	from *draft // the file of local it was in; nil: it is new
}

func newOutput(local kptpkg.Tree) *output {
	return &output{local: local, whole: map[string]*kptpkg.File{}, drafts: map[string]*draft{}}
}

// put sets a whole file; nil takes it away.
func (o *output) put(name string, f *kptpkg.File) {
	if f != o.local.File(name) {
		o.whole[name] = f
	}
}

// open prepares a file of resources.
func (o *output) open(name string, s *sheets) {
	d := &draft{path: name, sheets: s}
	if s.local != nil {
		d.docs = slices.Clone(s.local.docs)
	}
	o.drafts[name] = d
	o.order = append(o.order, name)
}

// place puts an object where it belongs: where it is locally, or where upstream
// moved it if it is to follow; a new one where it is upstream. nil takes it away.
func (o *output) place(t *triple, doc *yamldoc.Doc, follow bool) {
	var at *draft
	for _, r := range []*resource{t.local, t.base, t.upstream} {
		if r == nil {
			continue
		}
		d := o.drafts[r.path].group()
		if at != nil && at != d {
			at.joined = d
		}
		at = d
	}
	if t.local == nil {
		if doc != nil {
			d := o.drafts[t.upstream.path]
			d.added = append(d.added, newDoc{doc: doc, of: t})
		}
		return
	}
	d := o.drafts[t.local.path]
	i := t.local.index
	if doc != nil && follow {
		to := o.drafts[t.upstream.path]
		to.added = append(to.added, newDoc{doc, t, d})
		d.moved = append(d.moved, t)
		doc = nil
	}
	if d.docs[i] != doc {
		d.docs[i], d.touched = doc, true
	}
}

// tree is the result.
func (o *output) tree() (kptpkg.Tree, error) {
	var files []*kptpkg.File
	var gone []string
	touched := map[*draft]bool{} // groups of files that aren't as they are in base
	for _, name := range o.order {
		if d := o.drafts[name]; !d.pristine() {
			touched[d.group()] = true
		}
	}
	for _, name := range o.order {
		d := o.drafts[name]
		var f *kptpkg.File
		switch {
		case touched[d.group()]:
			f = d.file()
		case d.sheets.upstream != nil:
			f = d.sheets.upstream.file // order and comments between resources too
		}
		switch {
		case f == nil:
			gone = append(gone, name)
		case f != o.local.File(name):
			files = append(files, f)
		}
	}
	for name, f := range o.whole {
		if f == nil {
			gone = append(gone, name)
		} else {
			files = append(files, f)
		}
	}
	out, err := o.local.Without(gone...).With(files...)
	if err != nil {
		return kptpkg.Tree{}, err
	}
	return out, checkNesting(out)
}

// group is the last draft that a draft is joined with.
func (d *draft) group() *draft {
	last := d
	for last.joined != nil {
		last = last.joined
	}
	for d != last {
		d, d.joined = d.joined, last
	}
	return last
}

// pristine says whether local's file is base's, byte by byte.
func (d *draft) pristine() bool {
	base, local := d.sheets.base, d.sheets.local
	if base == nil || local == nil {
		return base == local
	}
	return base.file.Mode() == local.file.Mode() && sameBytes(base.file, local.file)
}

// checkNesting refuses a tree where one side has a file and another a directory
// of the same name.
func checkNesting(t kptpkg.Tree) error {
	for _, p := range t.Paths() {
		for d := path.Dir(p); d != "."; d = path.Dir(d) {
			if t.File(d) != nil {
				return fmt.Errorf("%s is a file on one side and a directory, with %s, on another: rename the local one", d, p)
			}
		}
	}
	return nil
}

// file is the finished file, nil when there is to be none.
func (d *draft) file() *kptpkg.File {
	var local, upstream *kptpkg.File
	if d.sheets.local != nil {
		local = d.sheets.local.file
	}
	if d.sheets.upstream != nil {
		upstream = d.sheets.upstream.file
	}
	left := 0
	if local != nil {
		for _, r := range d.sheets.local.resources {
			if d.docs[r.index] != nil {
				left++
			}
		}
	}
	switch {
	case !d.touched && len(d.added) == 0:
		return d.withMode(local)
	case left == 0 && len(d.added) == 0:
		return nil
	case left == 0:
		if whole := d.wholeFile(upstream); whole != nil {
			return whole
		}
	}
	var docs []*yamldoc.Doc
	for _, doc := range d.docs {
		if doc != nil {
			docs = append(docs, doc)
		}
	}
	slices.SortStableFunc(d.added, func(a, b newDoc) int { return a.of.upstream.index - b.of.upstream.index })
	for _, a := range d.added {
		docs = append(docs, a.doc)
	}
	if local == nil {
		return kptpkg.NewDocs(d.path, docs...)
	}
	return d.withMode(local.WithDocs(docs...))
}

// wholeFile is a file that can be taken over with all that is in it besides the
// resources: upstream's, when all its resources are new, or one of local's that
// moved here with all its resources.
func (d *draft) wholeFile(upstream *kptpkg.File) *kptpkg.File {
	from := d.added[0].from
	for _, a := range d.added {
		if a.from != from {
			return nil
		}
		if from == nil && a.doc != a.of.upstream.doc {
			return nil
		}
	}
	if from == nil {
		if len(d.added) != len(d.sheets.upstream.resources) {
			return nil
		}
		return upstream
	}
	old := from.sheets.local
	if len(d.added) != len(old.resources) || len(from.moved) != len(old.resources) {
		return nil
	}
	docs := slices.Clone(old.docs)
	changed := false
	for _, a := range d.added {
		i := a.of.local.index
		changed = changed || docs[i] != a.doc
		docs[i] = a.doc
	}
	if !changed {
		return old.file.At(d.path)
	}
	return old.file.At(d.path).WithDocs(docs...)
}

// withMode gives a file the executable bit as upstream set it, where it wasn't
// changed locally.
func (d *draft) withMode(f *kptpkg.File) *kptpkg.File {
	s := d.sheets
	if f == nil || s.base == nil || s.local == nil || s.upstream == nil {
		return f
	}
	if was, is := s.base.file.Mode(), s.upstream.file.Mode(); was != is && s.local.file.Mode() == was {
		if text, err := f.Bytes(); err == nil {
			return kptpkg.NewFile(f.Path(), is, text)
		}
	}
	return f
}
