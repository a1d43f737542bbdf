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
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	goruntime "runtime"
)

// pkg is a package that is rendered: the root or a subpackage.
type pkg struct {
	dir      string // below the root, "." the root itself
	display  string // the names of the packages on the way: root/db
	kptfile  *kptpkg.Kptfile
	parent   *pkg
	children []*pkg  // by their display names
	own      []*item // resources of the package without those of subpackages
	item     *item   // the Kptfile among them, nil when it is ignored
}

// rel is the directory as kpt's status says it.
func (p *pkg) rel() string {
	if p.dir == "." {
		return "."
	}
	return "./" + p.dir
}

// holds says whether q is p or a package below it.
func (p *pkg) holds(q *pkg) bool {
	for ; q != nil; q = q.parent {
		if q == p {
			return true
		}
	}
	return false
}

// all appends the resources of p and of the packages below it to items.
func (p *pkg) all(items []*item) []*item {
	items = append(items, p.own...)
	for _, c := range p.children {
		items = c.all(items)
	}
	return items
}

// distribute gives items, which is all that p and the packages below it have,
// to the packages they belong to.
func (p *pkg) distribute(items []*item) {
	p.clear()
	for _, it := range items {
		it.owner.own = append(it.owner.own, it)
	}
}

func (p *pkg) clear() {
	p.own = nil
	for _, c := range p.children {
		c.clear()
	}
}

// item is a resource on its way through the pipelines.
type item struct {
	owner *pkg
	path  string // of its file, relative to its owner
	index int    // among the documents with content of that file; -1: see settle
	gone  bool   // a function took it out
	loose bool   // it had the index -1 until settle

	passed bool // a mutator had it

	doc     *yamldoc.Doc // nil when a function made it
	root    *yaml.Node   // the content of doc, shared: never changed; nil when there is a node
	from    location     // of doc in the tree
	node    *yaml.RNode  // what functions made of it; nil when none got it yet
	changed bool         // node isn't what was read; known when it is written
	meta    []string     // the keys of the metadata that was read, nil unless it had no annotations
	problem string       // why it is no resource; strict renders only
}

// location is a document's place in the tree.
type location struct {
	path  string
	index int
}

func (it *item) location() location { return location{path.Join(it.owner.dir, it.path), it.index} }

// view is the resource for reading.
func (it *item) view() *yaml.RNode {
	if it.node != nil {
		return it.node
	}
	return yaml.NewRNode(it.root)
}

// edit is the resource for a function to change.
func (it *item) edit(pack bool) *yaml.RNode {
	if it.node == nil {
		it.set(yaml.NewRNode(yamldoc.CopyNode(it.root)), pack)
	}
	return it.node
}

// set makes the resource what a function has or made of it. Asked to pack it
// does so with what was read.
func (it *item) set(n *yaml.RNode, pack bool) {
	if it.root != nil {
		if meta := fieldOf(it.root, "metadata"); keyIndex(meta, "annotations") < 0 {
			it.meta = keys(meta)
		}
		if pack {
			it.doc.Pack()
		}
		it.root = nil
	}
	it.node = n
}

// read is the resource as it was read, nil when a function made it.
func (it *item) read() *yaml.Node {
	if it.doc == nil {
		return nil
	}
	root, _ := it.doc.Root() // it could be read once
	return root
}

// input is a file that resources are read from.
type input struct {
	file *kptpkg.File
	pkg  *pkg
	rel  string // relative to pkg
	docs []document

	contents int          // documents with content
	carried  map[int]bool // those of them that are carried through
}

// document is one document of an input.
type document struct {
	*yamldoc.Doc
	root  *yaml.Node
	err   error
	index int   // the number of documents with content before it
	item  *item // nil when it is carried through
}

// blank says whether the document has no content.
func (d *document) blank() bool { return d.err == nil && isBlank(d.root) }

func isBlank(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == yaml.NodeTagNull
}

// link joins the packages to a tree.
func (x *execution) link() {
	x.root.display = cmp.Or(x.Name, x.root.kptfile.Metadata.Name, ".")
	for _, dir := range x.tree.Packages() { // sorted, so that parents come first
		if dir == "." {
			continue
		}
		p := x.byDir[dir]
		above, _ := x.tree.PackageOf(path.Dir(dir))
		p.parent = x.byDir[above]
		p.parent.children = append(p.parent.children, p)
		p.display = p.parent.display + "/" + path.Base(dir)
	}
	for _, p := range x.byDir {
		slices.SortFunc(p.children, func(a, b *pkg) int {
			return cmp.Or(strings.Compare(a.display, b.display), strings.Compare(a.dir, b.dir))
		})
	}
}

// large is from how many bytes of YAML on what was read is packed while functions
// change it. Nodes are most of the memory that a render takes, and there would be
// two of each; but for a small package the packing is not worth its time.
const large = 1 << 20

// load reads the resources of all packages; those of a package that isn't in
// byDir belong to the root. The files are parsed in parallel; everything that
// depends on order is done afterwards.
func (x *execution) load() error {
	resources, err := resourcesOf(x.tree)
	if err != nil {
		return err
	}
	var files []*input
	size := 0
	for _, f := range resources {
		full := f.Path()
		dir, rel := packageIn(x.tree, full)
		in := &input{file: f, pkg: x.byDir[dir], rel: rel}
		if in.pkg == nil {
			in.pkg, in.rel = x.root, full
		}
		files = append(files, in)
		x.inputs[full] = in
		size += len(f.Text())
	}
	slices.SortFunc(files, func(a, b *input) int { return compareWalk(a.file.Path(), b.file.Path()) })
	x.pack = size >= large
	parse(files)
	for _, in := range files {
		if err := x.loadFile(in); err != nil {
			return err
		}
	}
	for i := range x.links.to {
		x.links.to[i].seen = x.inputs[x.links.to[i].target] != nil
	}
	return nil
}

// Seen are the files of a tree that functions see if they hold resources, in the
// order of their paths; a symlink to one is what it leads to. Hosts pass no others.
func Seen(t kptpkg.Tree) ([]*kptpkg.File, error) {
	view, _, _ := follow(t)
	return resourcesOf(view)
}

// resourcesOf are the files named as those with resources are, and by no .krmignore,
// in the order of their paths.
func resourcesOf(t kptpkg.Tree) ([]*kptpkg.File, error) {
	ignored := map[string]ignore{}
	for _, dir := range slices.Concat(t.Packages(), []string{"."}) { // the root need not be one
		ig, err := readIgnore(t.File(path.Join(dir, ignoreName)))
		if err != nil {
			return nil, err
		}
		ignored[dir] = ig
	}
	var files []*kptpkg.File
	for _, full := range t.Paths() {
		f := t.File(full)
		if !f.IsYAML() {
			continue
		}
		if dir, rel := packageIn(t, full); !ignored[dir].match(rel) {
			files = append(files, f)
		}
	}
	return files, nil
}

// packageIn is the package that a file belongs to, "." if there is none, and its
// path there.
func packageIn(t kptpkg.Tree, full string) (dir, rel string) {
	dir, ok := t.PackageOf(path.Dir(full))
	if !ok || dir == "." {
		return ".", full
	}
	return dir, full[len(dir)+1:]
}

// compareWalk orders paths as a walk of the directories finds them: kpt's order.
func compareWalk(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}

func parse(files []*input) {
	var g errgroup.Group
	g.SetLimit(goruntime.GOMAXPROCS(0))
	for part := range slices.Chunk(files, 16) {
		g.Go(func() error {
			for _, in := range part {
				in.docs = make([]document, len(in.file.Docs()))
				for i, d := range in.file.Docs() {
					in.docs[i].Doc = d
					in.docs[i].root, in.docs[i].err = d.Root()
				}
			}
			return nil
		})
	}
	_ = g.Wait() // syntax errors stay with their documents
}

// loadFile turns the documents of a file into resources.
func (x *execution) loadFile(in *input) error {
	for i := range in.docs {
		d := &in.docs[i]
		d.index = in.contents
		if d.blank() {
			continue
		}
		in.contents++
		problem := ""
		switch {
		case d.err != nil:
			problem = "not YAML: " + kptpkg.ShiftLines(d.err.Error(), lines(in.docs[:i]))
			if x.Strict {
				return resultError(fn.Result{Message: problem, File: &fn.File{Path: in.file.Path(), Index: d.index}})
			}
		case !exempt(in.rel) || d.root.Kind != yaml.MappingNode:
			problem = kptpkg.NotKRM(d.root)
		}
		if problem != "" && !x.Strict {
			if in.carried == nil {
				in.carried = map[int]bool{}
			}
			in.carried[d.index] = true
			x.out.Results = append(x.out.Results, fn.Result{
				Severity: fn.Warning, File: &fn.File{Path: in.file.Path(), Index: d.index},
				Message: "carried through untouched, no function sees it: " + problem,
			})
			continue
		}
		d.item = &item{owner: in.pkg, path: in.rel, index: d.index, doc: d.Doc, root: d.root, problem: problem}
		d.item.from = location{in.file.Path(), d.index}
		d.root = nil // the item's from here on
		in.pkg.own = append(in.pkg.own, d.item)
		x.items = append(x.items, d.item)
		if in.rel == kptpkg.KptfileName {
			in.pkg.item = d.item
		}
	}
	return nil
}

// lines is the number of lines of documents.
func lines(docs []document) int {
	n := 0
	for _, d := range docs {
		text, _ := d.Bytes() // as they were read
		n += bytes.Count(text, []byte("\n"))
	}
	return n
}

// exempt says whether functions get the documents of a file even if they are no
// resources: kustomization files, as in kpt.
func exempt(p string) bool {
	switch path.Base(p) {
	case "kustomization.yaml", "kustomization.yml":
		return true
	}
	return false
}

// notKRM is kpt's refusal of what isn't a resource, among the items that go
// into a pipeline or come out of a function. file is relative to owner.
func notKRM(direction string, owner *pkg, file string, index int, why string) error {
	return resultError(fn.Result{
		Message: fmt.Sprintf("%s resource list must contain only KRM resources: %s: %s", direction, file, why),
		File:    &fn.File{Path: path.Join(owner.dir, file), Index: index},
	})
}

func resultError(r fn.Result) error {
	r.Severity = fn.Error
	return &fn.ResultError{Result: r}
}
