package builtin

import (
	"context"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

// setNamePrefix puts a prefix before names and fixes references, as kustomize's
// namePrefix and PrefixTransformer do, see [renamer] for what is renamed. A
// ConfigMap has the option prefix. A PrefixTransformer has prefix and may have
// fieldSpecs, which then say all the fields that get the prefix, metadata/name
// among them or not.
//
// In one thing it differs from kustomize on purpose: a name that has the prefix
// stays as it is. kustomize writes its output elsewhere and adds the prefix every
// time; a package is rendered in place, again and again, and its names would
// grow with every render. No release of the catalog is known to have a function
// of this name.
func setNamePrefix(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "set-name-prefix", "ConfigMap", "PrefixTransformer")
	if err != nil {
		return err
	}
	opts, err := c.options("prefix")
	if err != nil {
		return err
	}
	prefix, at := opts["prefix"], "data.prefix"
	r := renamer{function: c.function, call: call, fields: nameFields}
	if c.kind == "PrefixTransformer" {
		at = "prefix"
		specs, err := additionalFields(c, "fieldSpecs")
		if err != nil {
			return err
		}
		if len(specs) > 0 {
			r.fields = scalarFields(specs, true)
		}
	}
	if prefix == "" {
		return c.errorf(at, "`%s` should not be empty", at)
	}
	r.rename = func(name string) string {
		if strings.HasPrefix(name, prefix) {
			return name
		}
		return prefix + name
	}
	return r.run()
}
