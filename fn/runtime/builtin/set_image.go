package builtin

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// setImage gives containers that run the image called name another name, tag
// or digest, in every field called containers or initContainers, as kustomize
// and set-image v0.1 of the catalog do. A SetImage config has the options below
// `image`, and may list additionalImageFields, whose paths lead to images.
func setImage(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "set-image", "ConfigMap", "SetImage")
	if err != nil {
		return err
	}
	at := "data"
	var more []scalarField
	if c.kind == "SetImage" {
		at = "image"
		t, err := additionalFields(c, "additionalImageFields")
		if err != nil {
			return err
		}
		more = scalarFields(t, false)
	}
	data, err := c.pairs(at)
	if err != nil {
		return err
	}
	s := imageSetter{call: call}
	for _, p := range data {
		switch p.key {
		case "name":
			s.name = p.value
		case "newName":
			s.newName = p.value
		case "newTag":
			s.newTag = p.value
		case "digest":
			s.digest = p.value
		default:
			return c.errorf(at+"."+p.key, "unknown option: expect name, newName, newTag, digest")
		}
	}
	if s.name == "" {
		return c.errorf(at+".name", "`%s.name` should not be empty", at)
	}
	if s.newName == "" && s.newTag == "" && s.digest == "" {
		return c.errorf(at, "expect one of newName, newTag and digest")
	}
	if s.newTag != "" && s.digest != "" {
		return c.errorf(at, "expect newTag or digest, not both")
	}
	for _, o := range call.Items {
		n := root(o.Node)
		if n == nil {
			continue
		}
		s.walk(o, n, "")
		for _, f := range more {
			err := f.parents.visit(o, n, func(m *yaml.Node, path string) error {
				s.set(o, get(m, f.key), f.path(path))
				return nil
			})
			if err != nil {
				return fmt.Errorf("set-image: %w", err)
			}
		}
	}
	return nil
}

type imageSetter struct {
	call                          *fn.Call
	name, newName, newTag, digest string
}

// walk sets the images of all containers below n.
func (s *imageSetter) walk(o *fn.Object, n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, e := range n.Content {
			s.walk(o, e, fmt.Sprintf("%s[%d]", path, i))
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, v := n.Content[i].Value, n.Content[i+1]
			below := strings.TrimPrefix(path+"."+key, ".")
			s.walk(o, v, below)
			if (key == "containers" || key == "initContainers") && v.Kind == yaml.SequenceNode {
				for i, container := range v.Content {
					s.set(o, get(deref(container), "image"), fmt.Sprintf("%s[%d].image", below, i))
				}
			}
		}
	}
}

func (s *imageSetter) set(o *fn.Object, v *yaml.Node, path string) {
	if v == nil || v.Kind != yaml.ScalarNode {
		return
	}
	name, rest := splitReference(v.Value)
	if name != s.name {
		return
	}
	if s.newName != "" {
		name = s.newName
	}
	switch {
	case s.digest != "":
		rest = "@" + s.digest
	case s.newTag != "":
		rest = ":" + s.newTag
	}
	if name+rest == v.Value {
		return
	}
	setScalar(v, name+rest)
	s.call.Add(fn.Info, o, path, fmt.Sprintf("set image to %q", v.Value))
}

// splitReference splits an image into its name and its tag or digest, which
// keep the colon or at sign before them.
func splitReference(image string) (name, rest string) {
	if i := strings.IndexByte(image, '@'); i >= 0 {
		return image[:i], image[i:]
	}
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i], image[i:]
	}
	return image, ""
}
