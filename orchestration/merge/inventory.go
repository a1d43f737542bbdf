package merge

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"sync"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A resource is one object in a file of one side.
type resource struct {
	path  string
	index int // of its document in the file
	doc   *yamldoc.Doc
	root  *yaml.Node
	id    identity
	// unsure says that id's namespace may be another, until settleNamespaces.
	unsure bool
}

// A sheet is a YAML file taken apart.
type sheet struct {
	file      *kptpkg.File
	docs      []*yamldoc.Doc
	resources []*resource // one for each document with content
	// plain says that not every document is a resource: the file is merged as a
	// file. err is what is wrong with it as YAML.
	plain bool
	err   error
	lines []int // above each document, made on first use
}

// line is the line of the file for a line of its i-th document.
func (s *sheet) line(i, line int) int {
	if line <= 0 {
		return 0
	}
	if s.lines == nil {
		s.lines = make([]int, len(s.docs))
		n := 0
		for i, d := range s.docs {
			s.lines[i] = n
			b, _ := d.Bytes()
			n += bytes.Count(b, []byte("\n"))
		}
	}
	return s.lines[i] + line
}

// sheets are the three sides of one path, nil where a side has no such file.
type sheets struct {
	base, local, upstream *sheet
	// plain says that the path is merged as a file: it isn't resources on every
	// side, or there are none.
	plain bool
}

// mergeable says whether a file is one whose resources are merged: a Kptfile
// is merged otherwise, and JSON, as with kpt, as a file.
func mergeable(f *kptpkg.File) bool {
	return f.IsYAML() && path.Base(f.Path()) != kptpkg.KptfileName && path.Ext(f.Path()) != ".json"
}

// readSheets takes the YAML files at paths apart, by path. Documents that two
// sides have in common are shared, and parsed once.
func readSheets(t trees, paths []string) (map[string]*sheets, error) {
	all := make(map[string]*sheets, len(paths))
	var docs []*yamldoc.Doc
	for _, p := range paths {
		s := new(sheets)
		known := map[string]*yamldoc.Doc{}
		for _, side := range []struct {
			tree kptpkg.Tree
			to   **sheet
		}{{t.base, &s.base}, {t.local, &s.local}, {t.upstream, &s.upstream}} {
			f := side.tree.File(p)
			if f == nil || !mergeable(f) {
				continue
			}
			sh := &sheet{file: f}
			for _, d := range f.Docs() {
				text, err := d.Bytes()
				if err != nil {
					return nil, fmt.Errorf("%s: %w", p, err)
				}
				if twin := known[string(text)]; twin != nil {
					d = twin
				} else {
					known[string(text)] = d
					docs = append(docs, d)
				}
				sh.docs = append(sh.docs, d)
			}
			*side.to = sh
		}
		all[p] = s
	}
	parse(docs)
	return all, nil
}

// parse parses documents side by side. Their errors come up when they are used.
func parse(docs []*yamldoc.Doc) {
	workers := min(runtime.GOMAXPROCS(0), (len(docs)+63)/64)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(docs); i += workers {
				_, _ = docs[i].Root()
			}
		})
	}
	wg.Wait()
}

// takeStock finds the resources of a sheet of one side.
func (s *sheet) takeStock(name string) error {
	if s == nil {
		return nil
	}
	p := s.file.Path()
	for i, d := range s.docs {
		root, err := d.Root()
		switch {
		case err != nil:
			s.plain, s.err = true, err
			return nil
		case root == nil:
			continue
		case notResource(root) != "":
			s.plain = true
			return nil
		}
		id, unsure, err := identify(p, root)
		if err != nil {
			var le lineError
			if errors.As(err, &le) {
				return fmt.Errorf("%s side: %s:%d: %s", name, p, s.line(i, le.line), le.msg)
			}
			return fmt.Errorf("%s side: %s: %w", name, p, err)
		}
		s.resources = append(s.resources, &resource{path: p, index: i, doc: d, root: root, id: id, unsure: unsure})
	}
	return nil
}

// stock finds the resources of all three sides.
func (s *sheets) stock() error {
	n := 0
	for _, side := range []struct {
		name string
		*sheet
	}{{"base", s.base}, {"local", s.local}, {"upstream", s.upstream}} {
		if side.sheet == nil {
			continue
		}
		if err := side.takeStock(side.name); err != nil {
			return err
		}
		s.plain = s.plain || side.plain
		n += len(side.resources)
	}
	s.plain = s.plain || n == 0
	return nil
}

// sheetUnchanged says whether a file of local says what base's says, merge keys
// and package context aside.
func sheetUnchanged(base, local *sheet) bool {
	bd, ok1 := base.content()
	ld, ok2 := local.content()
	if !ok1 || !ok2 || len(bd) != len(ld) {
		return false
	}
	for i := range bd {
		if !unchanged(bd[i], ld[i]) {
			return false
		}
	}
	return true
}

// content are the documents with content that aren't package context; ok is
// false when one can't be read.
func (s *sheet) content() (docs []*yamldoc.Doc, ok bool) {
	for _, d := range s.docs {
		root, err := d.Root()
		if err != nil {
			return nil, false
		}
		if root != nil && !isContext(root) {
			docs = append(docs, d)
		}
	}
	return docs, true
}

// sameDocText says whether two documents are the same text, the separator line
// before them aside.
func sameDocText(a, b *yamldoc.Doc) bool {
	if a == b {
		return true
	}
	x, err1 := a.Bytes()
	y, err2 := b.Bytes()
	return err1 == nil && err2 == nil && bare(x) == bare(y)
}

func bare(text []byte) string {
	return strings.TrimRight(strings.TrimPrefix(string(text), "---\n"), "\n")
}
