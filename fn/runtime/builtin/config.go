package builtin

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

const fnGroupVersion = "fn.kpt.dev/v1alpha1"

// config reads the functionConfig of one call.
type config struct {
	function string
	// expect says what the function takes, for messages.
	expect string
	node   *yaml.Node
	kind   string
}

// pair is a key and its value. Lists of pairs are sorted by key.
type pair struct{ key, value string }

// readConfig returns the functionConfig of a call if it is a ConfigMap or one
// of the other kinds.
func readConfig(call *fn.Call, function string, kinds ...string) (*config, error) {
	c := &config{function: function}
	var names []string
	for _, kind := range kinds {
		article := "a"
		if strings.ContainsAny(kind[:1], "AEIOU") {
			article = "an"
		}
		names = append(names, fmt.Sprintf("%s %s (%s)", article, kind, apiVersionOf(kind)))
	}
	c.expect = strings.Join(names, " or ")
	if call.Config == nil || root(call.Config) == nil || len(root(call.Config).Content) == 0 {
		return nil, fmt.Errorf("%s: functionConfig is missing: expect %s", function, c.expect)
	}
	c.node = root(call.Config)
	c.kind = text(c.node, "kind")
	apiVersion := text(c.node, "apiVersion")
	if !slices.Contains(kinds, c.kind) || apiVersion != apiVersionOf(c.kind) {
		return nil, c.errorf("kind", "functionConfig is %q of %q: expect %s", c.kind, apiVersion, c.expect)
	}
	return c, nil
}

// apiVersionOf returns the API version a kind of config has.
func apiVersionOf(kind string) string {
	switch kind {
	case "ConfigMap":
		return "v1"
	case "PrefixTransformer":
		return "builtin" // kustomize's
	}
	return fnGroupVersion
}

// errorf is an error about a field of the config.
func (c *config) errorf(field, format string, args ...any) error {
	return &fn.ResultError{Result: fn.Result{
		Message:     c.function + ": " + fmt.Sprintf(format, args...),
		Severity:    fn.Error,
		ResourceRef: refTo(c.node),
		Field:       &fn.Field{Path: field},
	}}
}

// pairs reads the mapping of strings at a field, nil when it is absent.
func (c *config) pairs(field string) ([]pair, error) {
	m := get(c.node, field)
	if m == nil || isNull(m) {
		return nil, nil
	}
	if m.Kind != yaml.MappingNode {
		return nil, c.errorf(field, "expect a mapping of strings")
	}
	var ps []pair
	for i := 0; i+1 < len(m.Content); i += 2 {
		v := deref(m.Content[i+1])
		if v.Kind != yaml.ScalarNode {
			return nil, c.errorf(field+"."+m.Content[i].Value, "expect a string")
		}
		s := v.Value
		if v.Tag == yaml.NodeTagNull {
			s = ""
		}
		ps = append(ps, pair{m.Content[i].Value, s})
	}
	slices.SortFunc(ps, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	return ps, nil
}

// options reads a function's options, which are strings: the data of a
// ConfigMap, else the named fields of the config. Other keys of a ConfigMap are
// errors, so that a misspelt option doesn't change what is done.
func (c *config) options(names ...string) (map[string]string, error) {
	opts := map[string]string{}
	if c.kind == "ConfigMap" {
		ps, err := c.pairs("data")
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			if !slices.Contains(names, p.key) {
				return nil, c.errorf("data."+p.key, "unknown option: expect %s", strings.Join(names, ", "))
			}
			opts[p.key] = p.value
		}
		return opts, nil
	}
	for _, name := range names {
		n := get(c.node, name)
		if n == nil {
			continue
		}
		if n.Kind != yaml.ScalarNode {
			return nil, c.errorf(name, "expect a string")
		}
		opts[name] = text(c.node, name)
	}
	return opts, nil
}
