package builtin

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// searchReplace finds the scalars that all of by-path, by-value,
// by-value-regex and by-file-path describe, and sets their value (put-value),
// their comment (put-comment) or neither, as search-replace v0.2 of the catalog
// does. ${1} and so on in what is put stand for the groups of by-value-regex. A
// path is dotted; * stands for one element, ** for any number. With put-value and
// a by-path without stars alone, a last field that is missing is added.
func searchReplace(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "search-replace", "ConfigMap")
	if err != nil {
		return err
	}
	opts, err := c.options("by-path", "by-value", "by-value-regex", "by-file-path", "put-value", "put-comment")
	if err != nil {
		return err
	}
	s := &search{call: call, opts: opts}
	if s.opts["by-value"] != "" && s.opts["by-value-regex"] != "" {
		return c.errorf("data", "expect by-value or by-value-regex, not both")
	}
	if s.opts["by-path"] == "" && s.opts["by-value"] == "" && s.opts["by-value-regex"] == "" {
		return c.errorf("data", "expect one of by-path, by-value and by-value-regex")
	}
	if s.opts["by-path"] != "" {
		s.path = pathElements(s.opts["by-path"])
	}
	if re := s.opts["by-value-regex"]; re != "" {
		if s.regex, err = regexp.Compile(re); err != nil {
			return c.errorf("data.by-value-regex", "%v", err)
		}
	}
	if glob := s.opts["by-file-path"]; glob != "" {
		if _, err := path.Match(glob, ""); err != nil {
			return c.errorf("data.by-file-path", "%q: %v", glob, err)
		}
	}

	first := len(call.Results)
	for _, o := range call.Items {
		n := root(o.Node)
		if glob := s.opts["by-file-path"]; n == nil || glob != "" && !matchFile(glob, o.Path) {
			continue
		}
		s.object = o
		// the places in the path that the root may stand at
		s.walk(n, s.step([]int{0}), "")
	}
	if len(call.Results) == first {
		call.Results = append(call.Results, fn.Result{Message: "no matches"})
	}
	return nil
}

func matchFile(glob, file string) bool {
	ok, _ := path.Match(glob, file) // the pattern was checked
	base, _ := path.Match(glob, path.Base(file))
	return ok || base
}

type search struct {
	call   *fn.Call
	opts   map[string]string
	path   []string // nil: any
	regex  *regexp.Regexp
	object *fn.Object
}

// pathElements splits a.b[0].c into a, b, 0, c. An element in brackets may hold
// dots.
func pathElements(p string) []string {
	var elems []string
	start, inside := 0, false
	flush := func(end int) {
		if e := p[start:end]; e != "" {
			elems = append(elems, e)
		}
		start = end + 1
	}
	for i := 0; i < len(p); i++ {
		switch {
		case p[i] == '[' && !inside:
			flush(i)
			inside = true
		case p[i] == ']' && inside:
			flush(i)
			inside = false
		case p[i] == '.' && !inside:
			flush(i)
		}
	}
	if start < len(p) {
		flush(len(p))
	}
	return elems
}

// step adds to places in the path those that a ** there may be left for. As
// places are a set, a walk costs its fields times the path, whatever stars the
// path has.
func (s *search) step(places []int) []int {
	for i := 0; i < len(places); i++ {
		if p := places[i]; p < len(s.path) && s.path[p] == "**" && !slices.Contains(places, p+1) {
			places = append(places, p+1)
		}
	}
	return places
}

// into follows an element of a field's path from places in the search's path.
func (s *search) into(places []int, elem string) []int {
	var next []int
	for _, p := range places {
		if p >= len(s.path) {
			continue
		}
		switch s.path[p] {
		case "**":
		case "*", elem:
			p++
		default:
			continue
		}
		if !slices.Contains(next, p) {
			next = append(next, p)
		}
	}
	return s.step(next)
}

func (s *search) walk(n *yaml.Node, places []int, at string) {
	if s.path != nil && len(places) == 0 {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		s.add(n, places, at)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			s.walk(n.Content[i+1], s.into(places, key), strings.TrimPrefix(at+"."+key, "."))
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			s.walk(e, s.into(places, fmt.Sprint(i)), fmt.Sprintf("%s[%d]", at, i))
		}
	case yaml.ScalarNode:
		if s.path == nil || slices.Contains(places, len(s.path)) {
			s.found(n, at)
		}
	}
}

// add puts a field that is asked for by name and missing.
func (s *search) add(n *yaml.Node, places []int, at string) {
	last := len(s.path) - 1
	put, ok := s.opts["put-value"]
	if last < 0 || !ok || s.opts["by-value"] != "" || s.regex != nil || strings.Contains(s.opts["by-path"], "*") || !slices.Contains(places, last) {
		return
	}
	if key := s.path[last]; value(n, key) == nil {
		v := &yaml.Node{Kind: yaml.ScalarNode, Value: put}
		n.Content = append(n.Content, stringNode(key), v)
		if put == "" {
			v.Style = yaml.DoubleQuotedStyle
		}
		// the walk comes here next and reports it
	}
}

// group is a reference to a group of by-value-regex.
var group = regexp.MustCompile(`\$\{\d+\}`)

func (s *search) found(n *yaml.Node, at string) {
	if v := s.opts["by-value"]; v != "" && n.Value != v {
		return
	}
	var m []string
	if s.regex != nil {
		if m = s.regex.FindStringSubmatch(n.Value); m == nil {
			return
		}
	}
	expand := func(put string) string {
		if m == nil {
			return put
		}
		return group.ReplaceAllStringFunc(put, func(ref string) string {
			for i := range m {
				if ref == fmt.Sprintf("${%d}", i) {
					return m[i]
				}
			}
			return ref
		})
	}

	put, setValue := s.opts["put-value"]
	comment, setComment := s.opts["put-comment"]
	if setValue {
		if put = expand(put); s.regex != nil {
			put = strings.Replace(n.Value, m[0], put, 1)
		}
		if n.Value != put {
			n.Value, n.Tag = put, "" // the writer finds the type
			if put == "" {
				n.Style = yaml.DoubleQuotedStyle
			}
		}
		addAbout(s.call, s.object, at, fmt.Sprintf("Mutated field value to %q", put))
	}
	if setComment {
		comment = expand(comment)
		n.LineComment = comment
		if comment != "" && !strings.HasPrefix(comment, "#") {
			n.LineComment = "# " + comment
		}
		addAbout(s.call, s.object, at, fmt.Sprintf("Mutated line comment to %q", comment))
	}
	if !setValue && !setComment {
		addAbout(s.call, s.object, at, fmt.Sprintf("Matched field value %q", n.Value))
	}
}
