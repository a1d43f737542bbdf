package orchestration

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Annotations by which hosts remember what an item was read from. They are
// taken off when a list is opened and put back when it is saved, so that no
// task ever sees or copies them.
const (
	pathAnnotation        = "internal.config.kubernetes.io/path"
	indexAnnotation       = "internal.config.kubernetes.io/index"
	packagePathAnnotation = "internal.config.kubernetes.io/package-path"
	legacyPathAnnotation  = "config.kubernetes.io/path"
	legacyIndexAnnotation = "config.kubernetes.io/index"
	functionAnnotation    = "config.kubernetes.io/function"
	kustomizeIDAnnotation = "kustomize.config.k8s.io/id"
	kptIDAnnotation       = "internal.config.k8s.io/kpt-resource-id"
)

var hostAnnotations = map[string]bool{
	pathAnnotation: true, indexAnnotation: true, packagePathAnnotation: true,
	legacyPathAnnotation: true, legacyIndexAnnotation: true,
	"internal.config.kubernetes.io/seqindent":                         true,
	"internal.config.kubernetes.io/id":                                true,
	"internal.config.kubernetes.io/annotations-migration-resource-id": true,
	"internal.config.kubernetes.io/generatorBehavior":                 true,
	"config.k8s.io/id":    true,
	kptIDAnnotation:       true,
	kustomizeIDAnnotation: true,
}

// Host is who called stoop as a function, as far as the list tells.
type Host int

// The hosts that are answered differently.
const (
	// AnyHost reads items with paths and writes them back: kpt fn eval, docker
	// run, a shell pipe.
	AnyHost Host = iota
	// KptRender is a pipeline of kpt fn render: items carry package-path and
	// the package's pipeline is running.
	KptRender
	// Kustomize is a kustomize build: items are a stream without files, and
	// local objects must not come back.
	Kustomize
)

// Layout remembers how the files of a Tree were items of a list.
type Layout struct {
	Host Host
	// Selected says that the host seems to have left out items, the Kptfile of
	// the declaring package among them.
	Selected bool

	root     string          // package-path of the declaring package, "" without
	byOrigin map[any]*slot   // an item read, by its document's origin
	madeUp   map[string]bool // files that only stand for an item without one
}

// slot is what a list said about one of its items beside its content.
type slot struct {
	item     *fn.Item
	path     string // in the workspace
	index    int
	hasIndex bool
	hasPath  bool
	pkgPath  string       // package-path annotation, "" without
	host     []*yaml.Node // key, value, key, value… of the host's annotations
	at       []int        // where they were among the annotations' entries
	stripped *yamldoc.Doc
}

// OpenList turns the items of a list into files. Items with the same path are
// the documents of one file, in the order of their index annotations; items
// without a path get a file of their own. kustomize says that the host is a
// kustomize build whatever the list looks like.
func OpenList(l *fn.List, kustomize bool) (kptpkg.Tree, *Layout, error) {
	lay := &Layout{byOrigin: map[any]*slot{}, madeUp: map[string]bool{}}
	slots := make([]*slot, len(l.Items))
	kustomizeIDs, kptIDs, anyPath := false, false, false
	for i, it := range l.Items {
		s, err := openItem(it)
		if err != nil {
			return kptpkg.Tree{}, nil, fmt.Errorf("item %d: %w", i, err)
		}
		slots[i] = s
		for j := 0; j < len(s.host); j += 2 {
			switch s.host[j].Value {
			case kustomizeIDAnnotation:
				kustomizeIDs = true
			case kptIDAnnotation, "config.k8s.io/id", "internal.config.kubernetes.io/id":
				kptIDs = true
			}
		}
		anyPath = anyPath || s.hasPath
		if s.pkgPath != "" {
			lay.Host = KptRender
			if lay.root == "" || len(s.pkgPath) < len(lay.root) {
				lay.root = s.pkgPath
			}
		}
	}
	if kustomize || kustomizeIDs || (configAnnotation(l, functionAnnotation) != "" && !anyPath) {
		lay.Host = Kustomize
	}
	if p := configAnnotation(l, packagePathAnnotation); p != "" && lay.Host == KptRender {
		lay.root = p
	}

	files := map[string][]*slot{}
	for _, s := range slots {
		if s.hasPath && lay.Host != Kustomize {
			if err := lay.place(s); err != nil {
				return kptpkg.Tree{}, nil, err
			}
			files[s.path] = append(files[s.path], s)
		}
	}
	for i, s := range slots {
		if !s.hasPath || lay.Host == Kustomize {
			lay.placeLoose(s, i, files)
			lay.madeUp[s.path] = true
			files[s.path] = append(files[s.path], s)
		}
		lay.byOrigin[s.stripped.Origin()] = s
	}
	var all []*kptpkg.File
	for _, p := range slices.Sorted(maps.Keys(files)) {
		docs, err := ordered(files[p])
		if err != nil {
			return kptpkg.Tree{}, nil, err
		}
		all = append(all, kptpkg.NewDocs(p, docs...))
	}
	t, err := kptpkg.NewTree(all...)
	if err != nil {
		return kptpkg.Tree{}, nil, err
	}
	if lay.Host != Kustomize && kptIDs && anyPath && t.File(kptpkg.KptfileName) == nil {
		lay.Selected = true
	}
	return t, lay, nil
}

// ordered are the documents of one file: by their index, those without one
// behind the others.
func ordered(slots []*slot) ([]*yamldoc.Doc, error) {
	next := 0
	for _, s := range slots {
		if s.hasIndex {
			next = max(next, s.index+1)
		}
	}
	for _, s := range slots {
		if !s.hasIndex {
			s.index = next
			next++
		}
	}
	slices.SortStableFunc(slots, func(a, b *slot) int { return cmp.Compare(a.index, b.index) })
	docs := make([]*yamldoc.Doc, len(slots))
	for i, s := range slots {
		if i > 0 && s.index == slots[i-1].index {
			return nil, itemError(s, fmt.Sprintf("path %q and index %d were given to another item too: the list is inconsistent, remove one of the items or its annotations", s.path, s.index))
		}
		docs[i] = s.stripped
	}
	return docs, nil
}

// placeLoose makes up a file for the i-th item, which has none or is one of
// kustomize, whose paths are made up too.
func (lay *Layout) placeLoose(s *slot, i int, files map[string][]*slot) {
	if lay.Host == Kustomize {
		s.path, s.index, s.hasIndex, s.hasPath = fmt.Sprintf("item-%06d.yaml", i), 0, true, false
		return
	}
	base := fmt.Sprintf("item-%06d", i)
	if head := headOf(mustRoot(s.stripped)); head.Kind != "" && head.Metadata.Name != "" {
		named := strings.ToLower(head.Kind + "_" + head.Metadata.Name)
		if kptpkg.CheckPath(named+".yaml") == nil && !strings.Contains(named, "/") && files[named+".yaml"] == nil {
			base = named
		}
	}
	for s.path = base + ".yaml"; files[s.path] != nil; s.path = base + ".yaml" {
		base += "_"
	}
}

// place gives a slot its path in the workspace.
func (lay *Layout) place(s *slot) error {
	if err := kptpkg.CheckPath(s.path); err != nil {
		return itemError(s, fmt.Sprintf("annotation %s: %v", pathAnnotation, err))
	}
	if s.pkgPath == "" {
		return nil
	}
	rel, ok := below(lay.root, s.pkgPath)
	if !ok {
		return itemError(s, fmt.Sprintf("annotation %s: %q is not below %q, the package being rendered", packagePathAnnotation, s.pkgPath, lay.root))
	}
	s.path = path.Join(rel, s.path)
	if err := kptpkg.CheckPath(s.path); err != nil {
		return itemError(s, fmt.Sprintf("annotation %s: %v", packagePathAnnotation, err))
	}
	return nil
}

// below says where dir is below root; both are a host's, with either slash.
func below(root, dir string) (string, bool) {
	root, dir = path.Clean(strings.ReplaceAll(root, `\`, "/")), path.Clean(strings.ReplaceAll(dir, `\`, "/"))
	if root == dir {
		return ".", true
	}
	rel, ok := strings.CutPrefix(dir, strings.TrimSuffix(root, "/")+"/")
	return rel, ok
}

// itemError is an error about an item.
func itemError(s *slot, msg string) error {
	return &fn.ResultError{Result: fn.Result{Message: msg, Severity: fn.Error, ResourceRef: headOf(mustRoot(s.item.Doc)).Ref()}}
}

// mustRoot is for documents that fn.ReadList has parsed.
func mustRoot(d *yamldoc.Doc) *yaml.Node {
	n, _ := d.Root()
	return n
}

func configAnnotation(l *fn.List, key string) string {
	if l.Config == nil {
		return ""
	}
	_, _, annos := annotationsOf(mustRoot(l.Config))
	for i := 0; annos != nil && i+1 < len(annos.Content); i += 2 {
		if annos.Content[i].Value == key {
			return annos.Content[i+1].Value
		}
	}
	return ""
}

// annotationsOf returns an object's metadata, the place of annotations among
// its entries, and the annotations.
func annotationsOf(root *yaml.Node) (meta *yaml.Node, at int, annos *yaml.Node) {
	if root == nil || root.Kind != yaml.MappingNode {
		return nil, 0, nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "metadata" && root.Content[i+1].Kind == yaml.MappingNode {
			meta = root.Content[i+1]
		}
	}
	if meta == nil {
		return nil, 0, nil
	}
	for i := 0; i+1 < len(meta.Content); i += 2 {
		if meta.Content[i].Value == "annotations" && meta.Content[i+1].Kind == yaml.MappingNode {
			return meta, i, meta.Content[i+1]
		}
	}
	return meta, 0, nil
}

// openItem takes the host's annotations off an item.
func openItem(it *fn.Item) (*slot, error) {
	s := &slot{item: it, stripped: it.Doc}
	root, err := it.Doc.Copy()
	if err != nil {
		return nil, err
	}
	meta, at, annos := annotationsOf(root)
	if annos == nil {
		return s, nil
	}
	var kept []*yaml.Node
	for i := 0; i+1 < len(annos.Content); i += 2 {
		k, v := annos.Content[i], annos.Content[i+1]
		if !hostAnnotations[k.Value] {
			kept = append(kept, k, v)
			continue
		}
		s.host = append(s.host, k, v)
		s.at = append(s.at, i)
		switch k.Value {
		case pathAnnotation:
			s.path, s.hasPath = v.Value, true
		case legacyPathAnnotation:
			if !s.hasPath {
				s.path, s.hasPath = v.Value, true
			}
		case indexAnnotation, legacyIndexAnnotation:
			n, err := strconv.Atoi(v.Value)
			if err != nil || n < 0 {
				return nil, itemError(s, fmt.Sprintf("annotation %s: %q is no index, want 0, 1, 2…", k.Value, v.Value))
			}
			s.index, s.hasIndex = n, true
		case packagePathAnnotation:
			s.pkgPath = v.Value
		}
	}
	if len(s.host) == 0 {
		return s, nil
	}
	annos.Content = kept
	if len(kept) == 0 {
		meta.Content = slices.Delete(meta.Content, at, at+2)
	}
	s.stripped = it.Doc.With(root)
	return s, nil
}

// restore puts an item's host annotations back onto a document.
func (s *slot) restore(d *yamldoc.Doc) (*yamldoc.Doc, error) {
	if len(s.host) == 0 {
		return d, nil
	}
	root, err := d.Copy()
	if err != nil {
		return nil, err
	}
	orig := mustRoot(s.item.Doc)
	meta, _, annos := annotationsOf(root)
	if meta == nil {
		return d, nil // no object any more; the host will say so
	}
	_, origAt, origAnnos := annotationsOf(orig)
	if annos == nil {
		annos = &yaml.Node{Kind: yaml.MappingNode, Tag: yaml.NodeTagMap, Style: origAnnos.Style, LineComment: origAnnos.LineComment}
		key := *mustKey(orig, origAt)
		at := min(origAt, len(meta.Content))
		meta.Content = slices.Insert(meta.Content, at, &key, annos)
	}
	for i := 0; i < len(s.host); i += 2 {
		at := min(s.at[i/2], len(annos.Content))
		annos.Content = slices.Insert(annos.Content, at, s.host[i], s.host[i+1])
	}
	return d.With(root), nil
}

func mustKey(orig *yaml.Node, at int) *yaml.Node {
	meta, _, _ := annotationsOf(orig)
	return meta.Content[at]
}

// SaveList puts the files of t back into the list they were opened from. Items
// that are no longer in t are taken out, new documents are added at the end,
// sorted by path. Files that can't travel as items, see [Layout.Omitted], are
// left out.
func (lay *Layout) SaveList(l *fn.List, t kptpkg.Tree) error {
	type place struct {
		doc   *yamldoc.Doc
		path  string
		index int
	}
	kept := map[*slot]place{}
	var added []place
	for _, p := range t.Paths() {
		f := t.File(p)
		if !lay.travels(f) {
			continue
		}
		next := 0 // the index of the next document that is new to the file
		for _, d := range f.Docs() {
			if s := lay.slotOf(d); s != nil && s.path == p {
				next = max(next, s.index+1)
			}
		}
		for _, d := range f.Docs() {
			root, err := d.Root()
			if err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			if root == nil {
				continue
			}
			s := lay.slotOf(d)
			_, twice := kept[s]
			switch {
			case s == nil || twice:
				added = append(added, place{d, p, next})
			case s.path != p:
				kept[s] = place{d, p, next}
			default:
				kept[s] = place{d, p, s.index}
				continue
			}
			next++
		}
	}
	items := make([]*fn.Item, 0, len(kept)+len(added))
	for _, it := range l.Items {
		s := lay.slotOf(it.Doc)
		pl, ok := kept[s]
		if !ok {
			continue
		}
		if pl.doc != s.stripped || pl.path != s.path {
			d, err := s.restore(pl.doc)
			if err == nil && pl.path != s.path && lay.Host != Kustomize {
				d, err = lay.annotate(d, pl.path, pl.index)
			}
			if err != nil {
				return err
			}
			changed := *it // the list's own items stay as they are
			changed.Doc, it = d, &changed
		}
		items = append(items, it)
	}
	for _, pl := range added {
		d := pl.doc
		if lay.Host != Kustomize {
			var err error
			if d, err = lay.annotate(d, pl.path, pl.index); err != nil {
				return err
			}
		}
		items = append(items, fn.NewItem(d))
	}
	l.Items = items
	return nil
}

// slotOf is what the list said about a document, nil for one that it didn't
// come with.
func (lay *Layout) slotOf(d *yamldoc.Doc) *slot {
	if d.Origin() == nil {
		return nil
	}
	return lay.byOrigin[d.Origin()]
}

// Omitted are the files of t that can't be items of the list.
func (lay *Layout) Omitted(t kptpkg.Tree) []*kptpkg.File {
	var omitted []*kptpkg.File
	for _, p := range t.Paths() {
		if f := t.File(p); !lay.travels(f) {
			omitted = append(omitted, f)
		}
	}
	return omitted
}

// known are results without the files that nobody but stoop knows of.
func (lay *Layout) known(results []fn.Result) []fn.Result {
	out := slices.Clone(results)
	for i, r := range out {
		if r.File != nil && lay.madeUp[r.File.Path] {
			out[i].File = nil
		}
	}
	return out
}

// travels says whether a file can be items of the list: YAML whose documents
// are all either items that the list came with or objects with apiVersion, kind
// and name. Hosts refuse others.
func (lay *Layout) travels(f *kptpkg.File) bool {
	if !f.IsYAML() && f.Text() != nil {
		return false
	}
	any := false
	for _, d := range f.Docs() {
		root, err := d.Root()
		if err != nil {
			return false
		}
		if root == nil {
			continue
		}
		if lay.slotOf(d) == nil && kptpkg.NotKRM(root) != "" {
			return false
		}
		any = true
	}
	return any
}

// annotate gives a document the annotations by which a host will know its file.
func (lay *Layout) annotate(d *yamldoc.Doc, p string, index int) (*yamldoc.Doc, error) {
	root, err := d.Copy()
	if err != nil {
		return nil, err
	}
	n := yaml.NewRNode(root)
	set := map[string]string{
		pathAnnotation: p, legacyPathAnnotation: p,
		indexAnnotation: strconv.Itoa(index), legacyIndexAnnotation: strconv.Itoa(index),
	}
	if lay.root != "" {
		set[packagePathAnnotation] = lay.root
	}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		if err := n.PipeE(yaml.SetAnnotation(k, set[k])); err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
	}
	return yamldoc.FromNode(root), nil
}
