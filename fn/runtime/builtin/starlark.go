package builtin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	starlarkjson "go.starlark.net/lib/json"
	starlarkmath "go.starlark.net/lib/math"
	starlarktime "go.starlark.net/lib/time"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// maxSteps bounds a script: some seconds of work. The caller's context bounds
// its time.
const maxSteps = 200_000_000

// The annotations by which a script sees, and may change, where a resource is.
const (
	pathAnnotation        = "internal.config.kubernetes.io/path"
	indexAnnotation       = "internal.config.kubernetes.io/index"
	idAnnotation          = "internal.config.kubernetes.io/id"
	legacyPathAnnotation  = "config.kubernetes.io/path"
	legacyIndexAnnotation = "config.kubernetes.io/index"
	packageAnnotation     = "internal.config.kubernetes.io/package-path"
)

// runStarlark runs a script on the resources, as starlark v0.4 of the catalog
// does. The script sees ctx.resource_list with items, functionConfig and
// results. It can't reach files or the network; it may load krmfn.star,
// math.star, time.star, encoding/json.star and encoding/yaml.star. What it
// prints goes to the call's standard error.
func runStarlark(ctx context.Context, call *fn.Call) error {
	c, err := readConfig(call, "starlark", "StarlarkRun", "ConfigMap")
	if err != nil {
		return err
	}
	field := "source"
	source := text(c.node, "source")
	if c.kind == "ConfigMap" {
		field, source = "data.source", text(c.node, "data", "source")
	}
	if strings.TrimSpace(source) == "" {
		return c.errorf(field, "`%s` should not be empty: expect a Starlark script", field)
	}

	bridge := newBridge()
	list, items, err := bridge.resourceList(call)
	if err != nil {
		return fmt.Errorf("starlark: %w", err)
	}
	var printed printer
	err = execute(ctx, text(c.node, "metadata", "name"), source, list, &printed)
	call.Stderr = printed.text()
	if err != nil {
		if re, ok := errors.AsType[*fn.ResultError](err); ok {
			call.Results = append(call.Results, re.Result)
		}
		return err
	}
	if err := bridge.readItems(call, list, items); err != nil {
		return fmt.Errorf("starlark: %w", err)
	}
	if err := bridge.readResults(call, list); err != nil {
		return fmt.Errorf("starlark: %w", err)
	}
	return nil
}

// execute runs a script with a resource list to work on.
// What it prints goes to printed.
func execute(ctx context.Context, name, source string, list *starlark.Dict, printed *printer) error {
	if name == "" {
		name = "starlark"
	}
	thread := &starlark.Thread{Name: name, Print: printed.print, Load: loadModule}
	thread.SetMaxExecutionSteps(maxSteps)
	defer context.AfterFunc(ctx, func() { thread.Cancel(context.Cause(ctx).Error()) })()

	_, err := starlark.ExecFileOptions(&syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true},
		thread, name, source, starlark.StringDict{
			"ctx":    starlarkstruct.FromStringDict(starlark.String("ctx"), starlark.StringDict{"resource_list": list}),
			"json":   starlarkjson.Module,
			"math":   starlarkmath.Module,
			"time":   starlarktime.Module,
			"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
		})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("starlark: %s: %w", name, ctx.Err())
	}
	var evalErr *starlark.EvalError
	if !errors.As(err, &evalErr) {
		return err // a syntax error, which says its place
	}
	place, failed := scriptPlace(evalErr.CallStack)
	if failed {
		// the words of the result are the script's own, kept as kpt shows them
		return fmt.Errorf("%s: %w", place, &fn.ResultError{Err: err, Result: fn.Result{Message: err.Error(), Severity: fn.Error}})
	}
	return fmt.Errorf("%s: %w", place, err)
}

// maxPrinted bounds what is kept of a script's prints, in bytes.
const maxPrinted = 1 << 20

// printer keeps what a script prints.
type printer struct{ b strings.Builder }

func (p *printer) print(_ *starlark.Thread, msg string) {
	if room := maxPrinted - p.b.Len(); len(msg) >= room {
		msg = msg[:max(room-1, 0)]
	}
	if p.b.Len() < maxPrinted-1 {
		p.b.WriteString(msg + "\n")
	}
}

// text is all of it, without the last line feed: as a container's.
func (p *printer) text() string { return strings.TrimSuffix(p.b.String(), "\n") }

// scriptPlace returns the innermost position inside the script, and whether the
// script called fail there.
func scriptPlace(stack starlark.CallStack) (place string, failed bool) {
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i].Pos.Line > 0 {
			return stack[i].Pos.String(), failed
		}
		failed = failed || stack[i].Name == "fail"
	}
	return "starlark", failed
}

// loadModule is the load statement: only modules of this process.
func loadModule(_ *starlark.Thread, module string) (starlark.StringDict, error) {
	switch module {
	case "krmfn.star":
		return starlark.StringDict{"krmfn": &starlarkstruct.Module{Name: "krmfn", Members: starlark.StringDict{
			"match_gvk":       matcher("match_gvk", []string{"apiVersion"}, []string{"kind"}),
			"match_name":      matcher("match_name", []string{"metadata", "name"}),
			"match_namespace": matcher("match_namespace", []string{"metadata", "namespace"}),
		}}}, nil
	case "math.star":
		return starlark.StringDict{"math": starlarkmath.Module}, nil
	case "time.star":
		return starlark.StringDict{"time": starlarktime.Module}, nil
	case "encoding/json.star":
		return starlark.StringDict{"json": &starlarkstruct.Module{Name: "json", Members: starlark.StringDict{
			"loads": starlarkjson.Module.Members["decode"], "decode": starlarkjson.Module.Members["decode"],
			"dumps": starlarkjson.Module.Members["encode"], "encode": starlarkjson.Module.Members["encode"],
		}}}, nil
	case "encoding/yaml.star":
		return starlark.StringDict{"yaml": &starlarkstruct.Module{Name: "yaml", Members: starlark.StringDict{
			"loads": starlark.NewBuiltin("loads", yamlLoads),
			"dumps": starlark.NewBuiltin("dumps", yamlDumps),
		}}}, nil
	}
	return nil, errors.New("not built in: use krmfn.star, math.star, time.star, encoding/json.star or encoding/yaml.star, or the starlark image")
}

// matcher makes a function of a resource and as many strings as there are
// paths: whether the resource has these strings there. Nothing is as good as
// the empty string.
func matcher(name string, paths ...[]string) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var resource *starlark.Dict
		want := make([]string, len(paths))
		targets := []any{&resource}
		for i := range want {
			targets = append(targets, &want[i])
		}
		if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, len(targets), targets...); err != nil {
			return nil, err
		}
		for i, path := range paths {
			var v starlark.Value = resource
			for _, key := range path {
				v = dictValue(v, key)
			}
			if s, _ := starlark.AsString(v); s != want[i] {
				return starlark.False, nil
			}
		}
		return starlark.True, nil
	})
}

func yamlLoads(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var source string
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "source", &source); err != nil {
		return nil, err
	}
	n, err := yaml.Parse(source)
	if err != nil {
		return nil, err
	}
	return newBridge().value(n.YNode(), 0)
}

func yamlDumps(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var v starlark.Value
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "obj", &v); err != nil {
		return nil, err
	}
	n, err := newBridge().node(v, nil, 0)
	if err != nil {
		return nil, err
	}
	// the catalog writes keys sorted
	var plain any
	if err := n.Decode(&plain); err != nil {
		return nil, err
	}
	out, err := yaml.Marshal(plain)
	return starlark.String(out), err
}

// resourceList is the script's view of a call, and the dictionaries of its
// items.
func (b *bridge) resourceList(call *fn.Call) (*starlark.Dict, map[*starlark.Dict]*fn.Object, error) {
	var items []starlark.Value
	objects := map[*starlark.Dict]*fn.Object{}
	for i, o := range call.Items {
		n := root(o.Node)
		if n == nil {
			return nil, nil, fmt.Errorf("item %d is no mapping", i)
		}
		v, err := b.value(n, 0)
		if err != nil {
			return nil, nil, fieldError(o, "", err.Error())
		}
		d := v.(*starlark.Dict)
		addHostAnnotations(d, o, i)
		objects[d] = o
		items = append(items, d)
	}
	config, err := b.value(root(call.Config), 0)
	if err != nil {
		return nil, nil, fmt.Errorf("functionConfig: %w", err)
	}
	list := starlark.NewDict(5)
	for _, f := range []struct {
		key   string
		value starlark.Value
	}{
		{"apiVersion", starlark.String("config.kubernetes.io/v1")},
		{"kind", starlark.String("ResourceList")},
		{"items", starlark.NewList(items)},
		{"functionConfig", config},
		{"results", starlark.NewList(nil)},
	} {
		if err := list.SetKey(starlark.String(f.key), f.value); err != nil {
			return nil, nil, err
		}
	}
	return list, objects, nil
}

// addHostAnnotations shows the script where a resource is, as hosts do.
func addHostAnnotations(item *starlark.Dict, o *fn.Object, id int) {
	metadata, ok := dictValue(item, "metadata").(*starlark.Dict)
	if !ok {
		return
	}
	annotations, ok := dictValue(metadata, "annotations").(*starlark.Dict)
	if !ok {
		annotations = starlark.NewDict(5)
		setKey(metadata, "annotations", annotations)
	}
	setKey(annotations, idAnnotation, starlark.String(strconv.Itoa(id)))
	if o.Package != "" {
		setKey(annotations, packageAnnotation, starlark.String(path.Join("/", o.Package)))
	}
	if o.Path == "" {
		return
	}
	index := starlark.String(strconv.Itoa(o.Index))
	setKey(annotations, pathAnnotation, starlark.String(o.Path))
	setKey(annotations, indexAnnotation, index)
	setKey(annotations, legacyPathAnnotation, starlark.String(o.Path))
	setKey(annotations, legacyIndexAnnotation, index)
}

// setKey sets a string key of a dictionary that no script has seen yet, which
// can't fail.
func setKey(d *starlark.Dict, key string, v starlark.Value) {
	_ = d.SetKey(starlark.String(key), v)
}

// dictValue returns what a dictionary holds for a string key; nil when nothing
// or when v is no dictionary.
func dictValue(v starlark.Value, key string) starlark.Value {
	d, ok := v.(*starlark.Dict)
	if !ok {
		return nil
	}
	found, _, _ := d.Get(starlark.String(key)) // strings are hashable
	return found
}

// readItems puts the items that the script left into the call. An item is the
// object it was when it still is the same dictionary, or else has its id.
func (b *bridge) readItems(call *fn.Call, list *starlark.Dict, objects map[*starlark.Dict]*fn.Object) error {
	left, ok := dictValue(list, "items").(starlark.Indexable)
	if _, isString := dictValue(list, "items").(starlark.String); !ok || isString {
		return errors.New("the script left no list in ctx.resource_list[\"items\"]")
	}
	taken := map[*fn.Object]bool{}
	found := make([]*fn.Object, left.Len())
	for i := range found {
		if d, ok := left.Index(i).(*starlark.Dict); ok {
			if o := objects[d]; o != nil && !taken[o] {
				found[i], taken[o] = o, true
			}
		}
	}
	items := make([]*fn.Object, 0, left.Len())
	for i := range found {
		d, ok := left.Index(i).(*starlark.Dict)
		if !ok {
			return fmt.Errorf("item %d is a %s: expect a dict, a resource", i, left.Index(i).Type())
		}
		plain, host := b.withoutHostAnnotations(d)
		o := found[i]
		if o == nil {
			if id, err := strconv.Atoi(host[idAnnotation]); err == nil && id >= 0 && id < len(call.Items) && !taken[call.Items[id]] {
				o = call.Items[id]
				taken[o] = true
			}
		}
		var old *yaml.Node
		isNew := o == nil
		if isNew {
			o = &fn.Object{}
		} else {
			old = root(o.Node)
		}
		n, err := b.node(plain, old, 0)
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		if n != old {
			o.Node = yaml.NewRNode(n)
		}
		if err := place(o, host); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		items = append(items, o)
	}
	call.Items = items
	return nil
}

// place moves an object to where its annotations say. Of the two spellings of
// an annotation the one that was changed counts. An object whose annotations
// are gone stays where it is.
func place(o *fn.Object, host map[string]string) error {
	at := host[pathAnnotation]
	if legacy := host[legacyPathAnnotation]; legacy != "" && legacy != o.Path && (at == "" || at == o.Path) {
		at = legacy
	}
	if dir := host[packageAnnotation]; dir != "" {
		o.Package = cmp.Or(strings.Trim(dir, "/"), ".")
	}
	was := strconv.Itoa(o.Index)
	index := host[indexAnnotation]
	if legacy := host[legacyIndexAnnotation]; legacy != "" && legacy != was && (index == "" || index == was) {
		index = legacy
	}
	if at != "" {
		o.Path = at
	}
	if index != "" {
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 {
			return fmt.Errorf("annotation %s is %q: expect a number", indexAnnotation, index)
		}
		o.Index = i
	}
	return nil
}

// withoutHostAnnotations returns a resource without the annotations that hosts
// use, and these. The script's own values may be frozen, so what changes is
// copied.
func (b *bridge) withoutHostAnnotations(item *starlark.Dict) (*starlark.Dict, map[string]string) {
	host := map[string]string{}
	metadata, ok := dictValue(item, "metadata").(*starlark.Dict)
	if !ok {
		return item, host
	}
	annotations, ok := dictValue(metadata, "annotations").(*starlark.Dict)
	if !ok {
		return item, host
	}
	rest := starlark.NewDict(annotations.Len())
	for _, kv := range annotations.Items() {
		key, _ := starlark.AsString(kv[0])
		switch key {
		case pathAnnotation, indexAnnotation, idAnnotation, legacyPathAnnotation, legacyIndexAnnotation, packageAnnotation:
			if host[key], ok = starlark.AsString(kv[1]); !ok {
				host[key] = kv[1].String()
			}
		default:
			_ = rest.SetKey(kv[0], kv[1]) // it was a key before
		}
	}
	if len(host) == 0 {
		return item, host
	}
	// annotations that only we made are gone altogether
	var replace starlark.Value = rest
	if rest.Len() == 0 && b.origin[annotations] == nil {
		replace = nil
	}
	return b.with(item, "metadata", b.with(metadata, "annotations", replace, annotations), metadata), host
}

// with returns a copy of a dictionary with another value for key, none when it
// is nil. The copies stand for the nodes that the originals came from.
func (b *bridge) with(d *starlark.Dict, key string, v starlark.Value, was *starlark.Dict) *starlark.Dict {
	c := starlark.NewDict(d.Len())
	for _, kv := range d.Items() {
		if kv[0] != starlark.String(key) {
			_ = c.SetKey(kv[0], kv[1]) // it was a key before
		} else if v != nil {
			_ = c.SetKey(kv[0], v)
		}
	}
	if n := b.origin[was]; n != nil && v != nil {
		b.origin[v] = n
	}
	if n := b.origin[d]; n != nil {
		b.origin[c] = n
	}
	return c
}

// readResults adds the results that the script left to the call's.
func (b *bridge) readResults(call *fn.Call, list *starlark.Dict) error {
	left := dictValue(list, "results")
	if left == nil || left == starlark.None {
		return nil
	}
	n, err := b.node(left, nil, 0)
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	var results []fn.Result
	if err := n.Decode(&results); err != nil {
		return fmt.Errorf("results: expect a list of results with message and severity: %w", err)
	}
	call.Results = append(call.Results, results...)
	return nil
}
