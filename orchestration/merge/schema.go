package merge

import (
	_ "embed"
	"encoding/json"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A schema says which lists have items with an identity.
type schema interface {
	// field is the schema of a mapping's field.
	field(name string) schema
	// list says what tells the items of a list apart, given the list of all
	// three sides, and the schema of its items. A nil key says that the list is
	// a plain value.
	list(sides ...*yaml.Node) (key keyFunc, item schema)
}

// A keyFunc is the identity of an item within its list, as name=value; ok is
// false when it has none.
type keyFunc func(item *yaml.Node) (key string, ok bool)

// noSchema knows nothing: every list is a plain value.
type noSchema struct{}

func (noSchema) field(string) schema                         { return noSchema{} }
func (noSchema) list(...*yaml.Node) (key keyFunc, of schema) { return nil, noSchema{} }

// ordered says whether the order of a list means something.
func ordered(s schema) bool {
	_, ok := s.(functionList)
	return ok
}

// defaultOf are the values that Kubernetes gives to keys left out.
var defaultOf = map[string]string{"protocol": "TCP"}

// keyBy tells items apart by the values of their fields; no names at all: by
// the items themselves, which are scalars.
func keyBy(names []string) keyFunc {
	return func(item *yaml.Node) (string, bool) {
		if len(names) == 0 {
			return item.Value, item.Kind == yaml.ScalarNode && !isNull(item)
		}
		key, any := "", false
		for i, name := range names {
			v := child(item, name)
			if v != nil && v.Kind != yaml.ScalarNode {
				return "", false
			}
			value := text(v)
			if value != "" {
				any = true
			} else {
				value = defaultOf[name]
			}
			if i > 0 {
				key += ","
			}
			key += name + "=" + value
		}
		return key, any
	}
}

//go:embed builtin.txt
var builtinText string

// builtin is what the OpenAPI schema of Kubernetes and kustomize says of
// lists with identity, and how to get to them. builtin.txt has a line for each
// type: its name, then what it has as
//
//	field=Type  field[key,key]=Type  field[]
//
// and for each kind, as group/Kind: Type.
var builtin = sync.OnceValue(func() (b struct {
	kinds map[[2]string]builtinType
	types map[string]map[string]builtinField
}) {
	b.kinds, b.types = map[[2]string]builtinType{}, map[string]map[string]builtinField{}
	for line := range strings.Lines(builtinText) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] == "#" {
			continue
		}
		if kind, ok := strings.CutSuffix(words[0], ":"); ok {
			g, k, _ := strings.Cut(kind, "/")
			b.kinds[[2]string{g, k}] = builtinType(words[1])
			continue
		}
		fs := map[string]builtinField{}
		for _, w := range words[1:] {
			name, typ, _ := strings.Cut(w, "=")
			f := builtinField{of: builtinType(typ)}
			if n, keys, ok := strings.Cut(strings.TrimSuffix(name, "]"), "["); ok {
				name, f.isList = n, true
				if keys != "" {
					f.keys = strings.Split(keys, ",")
				}
			}
			fs[name] = f
		}
		b.types[words[0]] = fs
	}
	return b
})

// builtinType is the name of a type of Kubernetes' OpenAPI schema, without the
// prefix io.k8s.
type builtinType string

type builtinField struct {
	of     builtinType // empty: a scalar
	isList bool
	keys   []string
}

func (t builtinType) field(name string) schema {
	f, ok := builtin().types[string(t)][name]
	if !ok {
		return noSchema{}
	}
	if f.isList {
		return builtinList(f)
	}
	return f.of
}

func (builtinType) list(...*yaml.Node) (keyFunc, schema) { return nil, noSchema{} }

type builtinList builtinField

func (builtinList) field(string) schema { return noSchema{} }

func (l builtinList) list(...*yaml.Node) (keyFunc, schema) { return keyBy(l.keys), l.of }

// builtinKind is the schema of a built-in kind; ok is false of another.
func builtinKind(group, kind string) (schema, bool) {
	t, ok := builtin().kinds[[2]string{group, kind}]
	if !ok {
		return noSchema{}, false
	}
	return t, true
}

// commented lets a comment beside or above a field give its schema, as kyaml
// does: {"$ref":"#/definitions/TYPE"}, or the schema of a list by itself.
func commented(s schema, keys ...*yaml.Node) schema {
	for _, k := range keys {
		if k == nil {
			continue
		}
		for _, c := range []string{k.LineComment, k.HeadComment} {
			c = strings.TrimLeft(c, "# ")
			if !strings.HasPrefix(c, "{") {
				continue
			}
			var doc struct {
				Ref   string   `json:"$ref"`
				Key   string   `json:"x-kubernetes-patch-merge-key"`
				Keys  []string `json:"x-kubernetes-list-map-keys"`
				Items struct {
					Ref string `json:"$ref"`
				} `json:"items"`
			}
			if json.Unmarshal([]byte(c), &doc) != nil {
				continue
			}
			if doc.Key != "" {
				doc.Keys = []string{doc.Key}
			}
			switch {
			case len(doc.Keys) > 0:
				return builtinList{of: definition(doc.Items.Ref), isList: true, keys: doc.Keys}
			case doc.Ref != "":
				return definition(doc.Ref)
			}
		}
	}
	return s
}

func definition(ref string) builtinType {
	return builtinType(strings.TrimPrefix(strings.TrimPrefix(ref, "#/definitions/"), "io.k8s."))
}

// crdSchema is a node of a CustomResourceDefinition's openAPIV3Schema.
type crdSchema struct{ node *yaml.Node }

func (c crdSchema) field(name string) schema {
	if p := child(child(c.node, "properties"), name); p != nil {
		return crdSchema{p}
	}
	if p := child(c.node, "additionalProperties"); p != nil && p.Kind == yaml.MappingNode {
		return crdSchema{p}
	}
	return noSchema{}
}

func (c crdSchema) list(...*yaml.Node) (keyFunc, schema) {
	of := crdSchema{child(c.node, "items")}
	if keys := child(c.node, "x-kubernetes-list-map-keys"); keys != nil && keys.Kind == yaml.SequenceNode && len(keys.Content) > 0 {
		names := make([]string, len(keys.Content))
		for i, k := range keys.Content {
			names[i] = k.Value
		}
		return keyBy(names), of
	}
	if key := text(child(c.node, "x-kubernetes-patch-merge-key")); key != "" {
		return keyBy([]string{key}), of
	}
	if text(child(c.node, "x-kubernetes-list-type")) == "set" {
		return keyBy(nil), noSchema{}
	}
	return nil, noSchema{}
}

// crdKind is what a CustomResourceDefinition defines.
type crdKind struct{ group, kind, version string }

// schemas know the kinds of a package: those built in, and those that a
// CustomResourceDefinition of one of the three sides defines.
type schemas struct {
	crds map[crdKind]crdSchema // version empty: any of the kind's
}

// add learns what a resource defines if it is a CustomResourceDefinition. What
// was learnt first counts.
func (s *schemas) add(root *yaml.Node) {
	if text(child(root, "kind")) != "CustomResourceDefinition" {
		return
	}
	spec := child(root, "spec")
	group, kind := text(child(spec, "group")), text(child(child(spec, "names"), "kind"))
	learn := func(version string, holder *yaml.Node) {
		node := child(child(holder, "schema"), "openAPIV3Schema")
		if node == nil {
			node = child(child(holder, "validation"), "openAPIV3Schema") // apiextensions.k8s.io/v1beta1
		}
		if node == nil {
			return
		}
		for _, v := range []string{version, ""} {
			k := crdKind{group, kind, v}
			if _, known := s.crds[k]; !known {
				if s.crds == nil {
					s.crds = map[crdKind]crdSchema{}
				}
				s.crds[k] = crdSchema{node}
			}
		}
	}
	if versions := child(spec, "versions"); versions != nil {
		for _, v := range versions.Content {
			learn(text(child(v, "name")), v)
		}
	}
	learn(text(child(spec, "version")), spec)
}

// of is the schema of a resource.
func (s *schemas) of(root *yaml.Node) schema {
	version := text(child(root, "apiVersion"))
	group, v, ok := strings.Cut(version, "/")
	if !ok {
		group, v = "", version
	}
	kind := text(child(root, "kind"))
	for _, k := range []crdKind{{group, kind, v}, {group, kind, ""}} {
		if c, ok := s.crds[k]; ok {
			return c
		}
	}
	b, _ := builtinKind(group, kind)
	return b
}
