package api

import (
	"flag"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs.txt")

// TestDocs writes docs.txt from the doc comments with -update, and without
// fails where it isn't up to date.
func TestDocs(t *testing.T) {
	var lines []string
	for _, dir := range []string{".", "../../fn"} {
		lines = append(lines, docsOf(t, dir)...)
	}
	slices.Sort(lines)
	text := strings.Join(lines, "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile("docs.txt", []byte(text), 0o666))
		return
	}
	assert.Empty(t, cmp.Diff(strings.Split(docs, "\n"), strings.Split(text, "\n")), "run `go generate ./orchestration/api`")
}

// Whoever asks what a field is gets an answer.
func TestEveryFieldIsDescribed(t *testing.T) {
	for _, k := range Kinds() {
		s := SchemaOf(k)
		for _, in := range append([]*Schema{s}, slices.Collect(maps.Values(s.Defs))...) {
			for _, p := range in.Properties {
				assert.NotEmpty(t, p.Schema.Description, "%s: %s.%s", k.Kind, in.Title, p.Name)
			}
		}
	}
}

// docsOf are the lines of docs.txt about the types of a package.
func docsOf(t *testing.T, dir string) []string {
	fset := token.NewFileSet()
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range sources {
		if !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, f)
		}
	}
	pkg := files[0].Name.Name
	var lines []string
	for _, f := range files {
		for _, decl := range f.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, spec := range d.Specs {
					lines = append(lines, docsOfType(pkg, d, spec.(*ast.TypeSpec))...)
				}
			}
		}
	}

	// without an importer all but constants is wrong
	config := types.Config{Error: func(error) {}}
	checked, _ := config.Check(pkg, fset, files, nil)
	enums := map[string][]*types.Const{}
	for _, name := range checked.Scope().Names() {
		if c, ok := checked.Scope().Lookup(name).(*types.Const); ok {
			if named, ok := c.Type().(*types.Named); ok && named.Obj().Pkg() == checked && c.Val().Kind() == constant.String {
				enums[named.Obj().Name()] = append(enums[named.Obj().Name()], c)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(enums)) {
		slices.SortFunc(enums[name], func(a, b *types.Const) int { return int(a.Pos() - b.Pos()) })
		var words []string
		for _, c := range enums[name] {
			words = append(words, constant.StringVal(c.Val()))
		}
		lines = append(lines, fmt.Sprintf("%s.%s=\t%s", pkg, name, strings.Join(words, " ")))
	}
	return lines
}

func docsOfType(pkg string, d *ast.GenDecl, spec *ast.TypeSpec) []string {
	s, ok := spec.Type.(*ast.StructType)
	if !ok || !spec.Name.IsExported() {
		return nil
	}
	fields := map[string]string{} // the names in YAML by those in Go
	for _, f := range s.Fields.List {
		if f.Tag == nil || len(f.Names) == 0 {
			continue
		}
		name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml"), ",")
		if name != "" {
			fields[f.Names[0].Name] = name
		}
	}
	if len(fields) == 0 && !strings.HasSuffix(spec.Name.Name, "Work") {
		return nil
	}
	doc := docOf(spec.Doc, d.Doc)
	if spec.Name.Name == "PlanTask" {
		doc = strings.Replace(doc, "PlanTask", "Task", 1) // as the kind is called
	}
	lines := []string{fmt.Sprintf("%s.%s\t%s", pkg, spec.Name, inYAML(doc, fields))}
	for _, f := range s.Fields.List {
		if len(f.Names) == 0 || fields[f.Names[0].Name] == "" || f.Doc == nil {
			continue
		}
		own := f.Names[0].Name
		doc := docOf(f.Doc)
		if rest, ok := strings.CutPrefix(doc, own); ok && !regexp.MustCompile(`^\w`).MatchString(rest) {
			doc = fields[own] + rest
		}
		lines = append(lines, fmt.Sprintf("%s.%s.%s\t%s", pkg, spec.Name, fields[own], inYAML(doc, fields)))
	}
	return lines
}

// docOf is the first comment that there is, in one line.
func docOf(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g != nil {
			return strings.Join(strings.Fields(g.Text()), " ")
		}
	}
	return ""
}

var (
	docLink = regexp.MustCompile(`\[((?:[a-z]+\.)?[A-Z][A-Za-z.]*)\]`)
	docWord = regexp.MustCompile(`[^.:] [A-Z][A-Za-z]*\b( object)?`)
)

// inYAML is a doc comment with the names that fields have in YAML, except at the
// beginning of a sentence, where a word may be just that, and in "Plan object".
func inYAML(doc string, fields map[string]string) string {
	doc = docLink.ReplaceAllString(doc, "$1")
	return docWord.ReplaceAllStringFunc(doc, func(s string) string {
		if name, ok := fields[s[2:]]; ok {
			return s[:2] + name
		}
		return s
	})
}
