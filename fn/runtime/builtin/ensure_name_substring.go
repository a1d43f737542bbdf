package builtin

import (
	"context"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

// ensureNameSubstring puts a substring before (prepend) or behind (append) every
// name that doesn't contain it, and fixes references, see [renamer] for what is
// renamed. The options are those the catalog documents for ensure-name-substring
// v0.1 and v0.2: a ConfigMap has one of prepend and append; an
// EnsureNameSubstring has substring, editMode and additionalNameFields, field
// specs as kustomize has them, whose fields get the substring as well as
// metadata.name. The field specs may be called fieldSpecs too.
//
// As the catalog's images couldn't be run, three things are uncertain: what
// their results say, whether they leave Kptfiles and local configuration alone
// as is done here, and whether they take the name fieldSpecs.
func ensureNameSubstring(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "ensure-name-substring", "ConfigMap", "EnsureNameSubstring")
	if err != nil {
		return err
	}
	r := renamer{function: c.function, call: call, fields: nameFields}
	var substring, mode string
	if c.kind == "EnsureNameSubstring" {
		opts, err := c.options("substring", "editMode")
		if err != nil {
			return err
		}
		substring, mode = opts["substring"], opts["editMode"]
		if substring == "" {
			return c.errorf("substring", "`substring` should not be empty")
		}
		if mode != "prepend" && mode != "append" {
			return c.errorf("editMode", "unknown edit mode %q: expect prepend or append", mode)
		}
		for _, name := range []string{"additionalNameFields", "fieldSpecs"} {
			more, err := additionalFields(c, name)
			if err != nil {
				return err
			}
			r.fields = append(r.fields[:len(r.fields):len(r.fields)], scalarFields(more, true)...)
		}
	} else {
		data, err := c.options("prepend", "append")
		if err != nil {
			return err
		}
		if len(data) != 1 {
			return c.errorf("data", "expect exactly one of prepend and append")
		}
		for mode, substring = range data {
			if substring == "" {
				return c.errorf("data."+mode, "`data.%s` should not be empty", mode)
			}
		}
	}
	r.rename = func(name string) string {
		switch {
		case strings.Contains(name, substring):
			return name
		case mode == "prepend":
			return substring + name
		}
		return name + substring
	}
	return r.run()
}
