package api

import (
	"errors"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// configMap is a v1 ConfigMap as hosts make it of a command line's key=value
// arguments.
type configMap struct {
	Header    `yaml:",inline"`
	Data      map[string]scalarText `yaml:"data,omitempty"`
	Immutable bool                  `yaml:"immutable,omitempty"`
}

// shorthandKey is a key of the shorthand.
type shorthandKey struct {
	name string
	// field is the field of the PackageRevision that the key stands for.
	field string
	set   func(r *PackageRevision, t *Task, value string)
}

// shorthandKeys are those of every type of task.
var shorthandKeys = []shorthandKey{
	{"type", "spec.tasks[0].type", func(_ *PackageRevision, t *Task, v string) { t.Type = TaskType(v) }},
	{"target", annotationField(TargetAnnotation), func(r *PackageRevision, _ *Task, v string) { r.Metadata.Annotations[TargetAnnotation] = v }},
	{"name", "metadata.name", func(r *PackageRevision, _ *Task, v string) { r.Metadata.Name = v }},
	{"package", "spec.packageName", func(r *PackageRevision, _ *Task, v string) { r.Spec.PackageName = v }},
	{"repository", "spec.repository", func(r *PackageRevision, _ *Task, v string) { r.Spec.Repository = v }},
	{"workspace", "spec.workspaceName", func(r *PackageRevision, _ *Task, v string) { r.Spec.WorkspaceName = v }},
}

// taskShorthand are the keys of one type of task.
type taskShorthand struct {
	start func(t *Task) // makes the task's member
	keys  []shorthandKey
}

var taskShorthands = map[TaskType]taskShorthand{
	TaskInit: {func(t *Task) { t.Init = &InitTask{} }, []shorthandKey{
		{"description", "spec.tasks[0].init.description", func(_ *PackageRevision, t *Task, v string) { t.Init.Description = v }},
		{"keywords", "spec.tasks[0].init.keywords", func(_ *PackageRevision, t *Task, v string) { t.Init.Keywords = words(v) }},
		{"site", "spec.tasks[0].init.site", func(_ *PackageRevision, t *Task, v string) { t.Init.Site = v }},
		{"subpackage", "spec.tasks[0].init.subpackage", func(_ *PackageRevision, t *Task, v string) { t.Init.Subpackage = v }},
	}},
	TaskClone: {func(t *Task) { t.Clone = &CloneTask{} }, []shorthandKey{
		{"repo", "spec.tasks[0].clone.upstreamRef.git.repo", func(_ *PackageRevision, t *Task, v string) { t.Clone.git().Repo = v }},
		{"ref", "spec.tasks[0].clone.upstreamRef.git.ref", func(_ *PackageRevision, t *Task, v string) { t.Clone.git().Ref = v }},
		{"directory", "spec.tasks[0].clone.upstreamRef.git.directory", func(_ *PackageRevision, t *Task, v string) { t.Clone.git().Directory = v }},
		{"secret", "spec.tasks[0].clone.upstreamRef.git.secretRef.name", func(_ *PackageRevision, t *Task, v string) { t.Clone.git().SecretRef.Name = v }},
		{"image", "spec.tasks[0].clone.upstreamRef.oci.image", func(_ *PackageRevision, t *Task, v string) {
			t.Clone.UpstreamRef.OCI = &OCIPackage{Image: v}
		}},
		{"upstream", "spec.tasks[0].clone.upstreamRef.upstreamRef.name", func(_ *PackageRevision, t *Task, v string) {
			t.Clone.UpstreamRef.UpstreamRef = &PackageRevisionRef{Name: v}
		}},
	}},
	TaskEdit: {func(t *Task) { t.Edit = &EditTask{} }, []shorthandKey{
		{"source", "spec.tasks[0].edit.sourceRef.name", func(_ *PackageRevision, t *Task, v string) { t.Edit.SourceRef.Name = v }},
	}},
	TaskUpgrade: {func(t *Task) { t.Upgrade = &UpgradeTask{} }, []shorthandKey{
		{"oldUpstream", "spec.tasks[0].upgrade.oldUpstreamRef.name", func(_ *PackageRevision, t *Task, v string) { t.Upgrade.OldUpstreamRef.Name = v }},
		{"newUpstream", "spec.tasks[0].upgrade.newUpstreamRef.name", func(_ *PackageRevision, t *Task, v string) { t.Upgrade.NewUpstreamRef.Name = v }},
		{"local", "spec.tasks[0].upgrade.localPackageRevisionRef.name", func(_ *PackageRevision, t *Task, v string) {
			t.Upgrade.LocalPackageRevisionRef.Name = v
		}},
		{"strategy", "spec.tasks[0].upgrade.strategy", func(_ *PackageRevision, t *Task, v string) { t.Upgrade.Strategy = MergeStrategy(v) }},
	}},
}

// git returns the git member, making it when there is none.
func (t *CloneTask) git() *GitPackage {
	if t.UpstreamRef.Git == nil {
		t.UpstreamRef.Git = &GitPackage{}
	}
	return t.UpstreamRef.Git
}

// words splits a list at commas.
func words(list string) []string {
	var out []string
	for w := range strings.SplitSeq(list, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// FromConfigMap expands the shorthand that hosts pass as function config, a v1
// ConfigMap whose data says type=clone, repo=... and so on, to a local-config
// PackageRevision that passes ValidateCreate. Keys of every type:
//
//	type        init, clone, edit or upgrade; required
//	target      annotation stoop.dev/target; default: as package
//	package     spec.packageName; default: the target, or the last segment of
//	            what is cloned
//	name        metadata.name; default: the target or package, / made .
//	repository  spec.repository
//	workspace   spec.workspaceName
//
// and by type
//
//	init        description, keywords (joined by commas), site, subpackage
//	clone       repo, ref, directory, secret; or image; or upstream
//	edit        source
//	upgrade     oldUpstream, newUpstream, local, strategy
//
// Without data there is no function config: the result is nil and no error,
// because kpt passes an empty ConfigMap when there are no arguments. The error
// joins one [fn.ResultError] a problem, each about a key of data.
func FromConfigMap(node *yaml.Node) (*PackageRevision, error) {
	node = content(node)
	d := newDecoder(node, 0)
	if d.ref.APIVersion != "v1" || d.ref.Kind != "ConfigMap" {
		d.addf("", "isn't a v1 ConfigMap")
		return nil, d.err()
	}
	var c configMap
	d.value(node, reflect.ValueOf(&c).Elem(), nil)
	if err := d.err(); err != nil || len(c.Data) == 0 {
		return nil, err
	}
	return c.expand()
}

func (c *configMap) expand() (*PackageRevision, error) {
	p := c.problems()
	task := Task{Type: TaskType(c.Data["type"])}
	short, ok := taskShorthands[task.Type]
	if !ok {
		// says what is wrong with a type, and nothing more without a member
		task.validate(p, "spec.tasks[0]")
		return nil, c.inData(p.err(), shorthandKeys)
	}
	keys := slices.Concat(shorthandKeys, short.keys)
	short.start(&task)
	r := &PackageRevision{Header: Header{
		APIVersion: PorchV1Alpha1, Kind: "PackageRevision",
		Metadata: ObjectMeta{Annotations: map[string]string{LocalConfigAnnotation: "true"}},
	}}
	for _, k := range keys {
		if v, ok := c.Data[k.name]; ok {
			k.set(r, &task, string(v))
		}
	}
	c.checkKeys(p, task.Type, keys)
	if task.Type == TaskClone {
		checkOneUpstream(p, &task.Clone.UpstreamRef)
	}
	if err := p.err(); err != nil {
		return nil, err
	}

	target := dnsPath(r.Metadata.Annotations[TargetAnnotation])
	if r.Spec.PackageName == "" {
		r.Spec.PackageName = target
	}
	if r.Spec.PackageName == "" && task.Type == TaskClone {
		r.Spec.PackageName = task.Clone.UpstreamRef.packageName()
	}
	if r.Spec.PackageName == "" {
		p.addf("data.package", "is missing: write target=PATH, where the package is to be, or package=NAME")
		return nil, p.err()
	}
	if r.Metadata.Name == "" {
		name := target
		if name == "" {
			name = dnsPath(r.Spec.PackageName)
		}
		r.Metadata.Name = strings.ReplaceAll(name, "/", ".")
	}
	r.Spec.Tasks = []Task{task}
	if err := r.ValidateCreate(); err != nil {
		return nil, c.inData(err, keys)
	}
	return r, nil
}

// checkKeys refuses keys that the task's type doesn't have.
func (c *configMap) checkKeys(p *problems, t TaskType, keys []shorthandKey) {
	known := make([]string, len(keys))
	for i, k := range keys {
		known[i] = k.name
	}
	for _, key := range slices.Sorted(maps.Keys(c.Data)) {
		if !slices.Contains(known, key) {
			p.addf("data"+stepTo(key), "unknown key%s (known for type=%s: %s)", DidYouMean(key, known), t, strings.Join(known, ", "))
		}
	}
}

// checkOneUpstream says in the shorthand's words what [UpstreamRef] asks for.
func checkOneUpstream(p *problems, u *UpstreamRef) {
	const either = "repo, ref and directory; or image; or upstream"
	set := 0
	for _, is := range []bool{u.Git != nil, u.OCI != nil, u.UpstreamRef != nil} {
		if is {
			set++
		}
	}
	switch {
	case set == 0:
		p.addf("data", "names nothing to clone: write %s", either)
	case set > 1:
		p.addf("data", "names more than one thing to clone: write either %s", either)
	}
}

// packageName is a name for what is cloned, empty when nothing suggests one.
func (u *UpstreamRef) packageName() string {
	from := ""
	switch {
	case u.Git != nil && u.Git.Path() != ".":
		from = u.Git.Path()
	case u.Git != nil:
		from = strings.TrimSuffix(strings.TrimRight(u.Git.Repo, "/"), ".git")
	case u.OCI != nil:
		from, _, _ = strings.Cut(path.Base(u.OCI.Image), "@")
		from, _, _ = strings.Cut(from, ":")
	}
	return dnsPath(path.Base(from))
}

// inData makes problems with the fields of the expanded object into problems
// with the keys they came from.
func (c *configMap) inData(err error, keys []shorthandKey) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var out []error
	for _, err := range joined.Unwrap() {
		var re *fn.ResultError
		if errors.As(err, &re) {
			r := re.Result
			r.ResourceRef = c.Ref()
			at := "data"
			for _, k := range keys {
				if r.Field != nil && r.Field.Path == k.field {
					at = "data." + k.name
				}
			}
			r.Field = &fn.Field{Path: at}
			err = &fn.ResultError{Result: r, Err: re.Err}
		}
		out = append(out, err)
	}
	return errors.Join(out...)
}
