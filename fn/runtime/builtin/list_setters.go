package builtin

import (
	"context"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// listSetters reports every setter: those that a Kptfile's apply-setters steps
// give values, and those that comments name. It changes nothing.
func listSetters(_ context.Context, call *fn.Call) error {
	s := setterList{setters: map[string]*setterUse{}}
	configs := map[string]*yaml.Node{}
	for _, o := range call.Items {
		if n := root(o.Node); n != nil && o.Path != "" {
			configs[path.Clean(o.Path)] = n
		}
	}
	for _, o := range call.Items {
		n := root(o.Node)
		if n == nil {
			continue
		}
		if text(n, "kind") == "Kptfile" {
			s.readPipeline(n, path.Dir(o.Path), configs)
		}
		s.walk(n, nil)
	}
	names := map[string]bool{}
	for name := range s.setters {
		names[name] = true
	}
	for _, name := range sortedKeys(names) {
		u := s.setters[name]
		kind := "str"
		if u.list {
			kind = "list"
		}
		call.Add(fn.Info, nil, "", fmt.Sprintf("Name: %s, Value: %s, Type: %s, Count: %d", name, strings.TrimSpace(u.value), kind, u.count))
	}
	if len(names) == 0 {
		call.Add(fn.Info, nil, "", "no setters found")
	}
	return nil
}

type setterList struct {
	setters map[string]*setterUse
}

type setterUse struct {
	value string
	list  bool
	count int
}

func (s *setterList) use(name string) *setterUse {
	if s.setters[name] == nil {
		s.setters[name] = &setterUse{}
	}
	return s.setters[name]
}

// readPipeline reads the values that steps of a Kptfile give to setters.
func (s *setterList) readPipeline(kptfile *yaml.Node, dir string, configs map[string]*yaml.Node) {
	mutators := get(kptfile, "pipeline", "mutators")
	if mutators == nil || mutators.Kind != yaml.SequenceNode {
		return
	}
	for _, step := range mutators.Content {
		step = deref(step)
		name, _, err := splitImage(text(step, "image"))
		if err != nil || name != "apply-setters" {
			continue
		}
		data := get(step, "configMap")
		if file := text(step, "configPath"); file != "" {
			data = get(configs[path.Join(dir, file)], "data")
		}
		if data == nil || data.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(data.Content); i += 2 {
			if v := deref(data.Content[i+1]); v.Kind == yaml.ScalarNode {
				s.use(data.Content[i].Value).value = v.Value
			}
		}
	}
}

func (s *setterList) walk(n, key *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			s.walk(n.Content[i+1], n.Content[i])
		}
	case yaml.SequenceNode:
		if key != nil {
			s.count(key.LineComment, true)
			s.count(n.LineComment, true)
		}
		for _, e := range n.Content {
			s.walk(e, nil)
		}
	case yaml.ScalarNode:
		s.count(n.LineComment, false)
	}
}

func (s *setterList) count(comment string, list bool) {
	pattern, ok := strings.CutPrefix(comment, setterComment)
	if !ok {
		return
	}
	_, names := parseSetters(pattern)
	for _, name := range names {
		u := s.use(name)
		u.count++
		u.list = u.list || list
	}
}
