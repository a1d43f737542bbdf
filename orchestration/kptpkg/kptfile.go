package kptpkg

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/fn"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// KptfileAPIVersion is the one version of the Kptfile schema that is read.
const KptfileAPIVersion = "kpt.dev/v1"

// Kptfile is what a Kptfile says, as far as anybody here asks: fields it has no
// member for stay in the file and are not looked at. It is read only;
// [Tree.EditKptfile] changes Kptfiles.
type Kptfile struct {
	APIVersion   string        `yaml:"apiVersion"`
	Kind         string        `yaml:"kind"`
	Metadata     Metadata      `yaml:"metadata"`
	Upstream     *Upstream     `yaml:"upstream"`     // nil: the package has none
	UpstreamLock *UpstreamLock `yaml:"upstreamLock"` // nil: never fetched
	Info         Info          `yaml:"info"`
	Pipeline     Pipeline      `yaml:"pipeline"`
	Status       KptfileStatus `yaml:"status"`
}

// Metadata is the part of a Kptfile's metadata that is used.
type Metadata struct {
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Upstream is where a package comes from and how it is to be updated.
type Upstream struct {
	Type           string `yaml:"type"` // git or oci
	Git            *Git   `yaml:"git"`  // nil unless Type is git
	OCI            *OCI   `yaml:"oci"`  // nil unless Type is oci
	UpdateStrategy string `yaml:"updateStrategy"`
}

// Git is a directory of a git repository at a ref.
type Git struct {
	Repo      string `yaml:"repo"`
	Directory string `yaml:"directory"`
	Ref       string `yaml:"ref"`
}

// OCI is a package in an image.
type OCI struct {
	Image string `yaml:"image"`
}

// UpstreamLock is what was fetched from the Upstream last.
type UpstreamLock struct {
	Type string   `yaml:"type"`
	Git  *GitLock `yaml:"git"` // nil unless Type is git
	OCI  *OCI     `yaml:"oci"` // nil unless Type is oci
}

// GitLock is a directory of a git repository at a commit.
type GitLock struct {
	Repo      string `yaml:"repo"`
	Directory string `yaml:"directory"`
	Ref       string `yaml:"ref"`
	Commit    string `yaml:"commit"`
}

// Info describes the package to people.
type Info struct {
	Site           string          `yaml:"site"`
	Description    string          `yaml:"description"`
	Keywords       []string        `yaml:"keywords"`
	ReadinessGates []ReadinessGate `yaml:"readinessGates"`
}

// ReadinessGate names a condition that has to be True before the package may
// be published.
type ReadinessGate struct {
	ConditionType string `yaml:"conditionType"`
}

// Pipeline is what rendering the package runs: the mutators in order, then the
// validators in order.
type Pipeline struct {
	Mutators   []Function `yaml:"mutators"`
	Validators []Function `yaml:"validators"`
}

// Function is one step of a Pipeline, or a function that is run on a package by
// itself.
type Function struct {
	Image      string            `yaml:"image"`      // exactly one of Image and Exec is set
	Exec       string            `yaml:"exec"`       // executable and arguments
	Tag        string            `yaml:"tag"`        // semver constraint on the image's tag
	ConfigPath string            `yaml:"configPath"` // file of the functionConfig, relative to the package
	ConfigMap  map[string]string `yaml:"configMap"`  // data of a ConfigMap as functionConfig, instead of ConfigPath
	Config     *yaml.Node        `yaml:"-"`          // the functionConfig itself, instead of both; never in a Kptfile
	Name       string            `yaml:"name"`       // for messages and merges
	Selectors  []Selector        `yaml:"selectors"`  // the step gets what one of them matches; none: everything
	Exclude    []Selector        `yaml:"exclude"`    // of that, the step doesn't get what one of them matches
	Condition  string            `yaml:"condition"`  // CEL expression that has to be true for the step to run
}

// String is the step's name as messages say it: its own, else that of its image
// or executable.
func (f Function) String() string {
	switch {
	case f.Name != "":
		return f.Name
	case f.Image != "":
		return path.Base(f.Image)
	}
	return f.Exec
}

// Selector matches resources; all fields that are set have to agree, labels and
// annotations being a subset of the resource's.
type Selector struct {
	APIVersion  string            `yaml:"apiVersion"`
	Kind        string            `yaml:"kind"`
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// KptfileStatus is the part of a Kptfile's status that is read back.
type KptfileStatus struct {
	Conditions []Condition `yaml:"conditions"`
}

// Condition is one entry of status.conditions.
type Condition struct {
	Type    string `yaml:"type"`
	Status  string `yaml:"status"` // True, False or Unknown
	Reason  string `yaml:"reason"`
	Message string `yaml:"message"`
}

// ReadKptfile decodes a Kptfile. The first document with content counts. An
// error wraps a [fn.ResultError] that names the file and, where there is one,
// the line: it isn't YAML, isn't a Kptfile of kpt.dev/v1, a field has the wrong
// form, or a step of the pipeline has a field that nobody knows, since a step
// that ignores what it was told does something else than its author meant.
func ReadKptfile(f *File) (*Kptfile, error) {
	fail := func(field, format string, args ...any) error {
		return fmt.Errorf("reading the package: %w", invalid(f.path, field, nil, fmt.Errorf(format, args...)))
	}
	root, line, err := content(f)
	if err != nil {
		return nil, fail("", "%v", err)
	}
	if root == nil {
		return nil, fail("", "is empty: a Kptfile has apiVersion %s and kind Kptfile", KptfileAPIVersion)
	}
	if root.Kind != yaml.MappingNode {
		return nil, fail("", "line %d: is not a mapping: a Kptfile has apiVersion %s and kind Kptfile", root.Line+line, KptfileAPIVersion)
	}
	version, kind := text(field(root, "apiVersion")), text(field(root, "kind"))
	group, v, _ := strings.Cut(version, "/")
	switch {
	case kind != KptfileName:
		return nil, fail("kind", "has kind %q, want Kptfile", kind)
	case group == "kpt.dev" && strings.HasPrefix(v, "v1alpha"):
		return nil, fail("apiVersion", "has an old version (%q) of the Kptfile schema: migrate it to %s as https://kpt.dev/installation/migration tells", v, KptfileAPIVersion)
	case version != KptfileAPIVersion:
		return nil, fail("apiVersion", "has apiVersion %q, want %s", version, KptfileAPIVersion)
	}
	k := new(Kptfile)
	if err := root.Decode(k); err != nil {
		return nil, fail("", "%s", ShiftLines(err.Error(), line))
	}
	if n := unknownField(field(root, "pipeline"), pipelineFields); n != nil {
		// kpt's words: they are what people search for
		return nil, fail("pipeline", "yaml: unmarshal errors:\n  line %d: field %s not found in type v1.Function", n.Line+line, n.Value)
	}
	return k, nil
}

// Kptfile reads the Kptfile of the package at dir. Its errors are those of
// [ReadKptfile], and one when there is no such file.
func (t Tree) Kptfile(dir string) (*Kptfile, error) {
	p := path.Join(dir, KptfileName)
	f := t.File(p)
	if f == nil {
		return nil, fmt.Errorf("reading the package: no Kptfile found at %q", dir)
	}
	return ReadKptfile(f)
}

// ErrNotOfPackage says that a configPath names a file that isn't a resource file
// of the package: one of a subpackage, mostly.
var ErrNotOfPackage = errors.New("not a resource file of the package")

// CheckPipeline says whether the steps of k can be run, k being the Kptfile of
// the package at dir: each names one function and at most one configuration,
// and a configPath is a file of the package, outside its subpackages, with one
// resource in it. The error wraps a [fn.ResultError] that names the Kptfile, the
// field as kpt does, `pipeline.mutators[1].configPath`, and its value; it wraps
// [ErrNotOfPackage] or a [fs.PathError], its path relative to the tree, where
// the configPath is to blame in these ways.
func (t Tree) CheckPipeline(dir string, k *Kptfile) error {
	for _, list := range []struct {
		name, role string
		steps      []Function
	}{{"mutators", "mutator", k.Pipeline.Mutators}, {"validators", "validator", k.Pipeline.Validators}} {
		for i, step := range list.steps {
			name, value, why := t.checkStep(dir, list.role, step)
			if why == nil {
				continue
			}
			at := fmt.Sprintf("pipeline.%s[%d]%s", list.name, i, name)
			return fmt.Errorf("checking the pipeline: %w", invalid(path.Join(dir, KptfileName), at, value, why))
		}
	}
	return nil
}

// CheckFunction says whether f can be run over the package at the root of t, by
// the rules that [Tree.CheckPipeline] has for a step. The error wraps a
// [fn.ResultError] whose field is below f, `configPath`.
func (t Tree) CheckFunction(f Function) error {
	name, value, why := t.checkStep(".", "function", f)
	if why == nil {
		return nil
	}
	r := fn.Result{Message: why.Error(), Severity: fn.Error}
	if name != "" {
		r.Field = &fn.Field{Path: strings.TrimPrefix(name, "."), CurrentValue: value}
	}
	return fmt.Errorf("checking the function: %w", &fn.ResultError{Result: r, Err: why})
}

// imageName is what an image may be called: capitals only in its tag and digest.
var imageName = regexp.MustCompile(`^[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@[A-Za-z0-9:]+)?$`)

// checkStep returns what is wrong with a step, with the field below the step it
// is wrong with and its value; why is nil when nothing is.
func (t Tree) checkStep(dir, role string, s Function) (name string, value any, why error) {
	switch {
	case s.Image == "" && s.Exec == "":
		return "", nil, errors.New("must specify a function (`image` or `exec`) to execute")
	case s.Image != "" && s.Exec != "":
		return "", nil, errors.New("must not specify both `image` and `exec` at the same time")
	case s.Image != "" && !imageName.MatchString(s.Image):
		return ".image", s.Image, fmt.Errorf("function name %q is invalid", s.Image)
	case s.Tag != "" && s.Image == "":
		return ".tag", s.Tag, errors.New("a tag belongs to an `image`")
	case s.ConfigPath != "" && len(s.ConfigMap) > 0:
		return "", nil, errors.New("functionConfig must not specify both `configMap` and `configPath` at the same time")
	case s.Config != nil && (s.ConfigPath != "" || len(s.ConfigMap) > 0):
		return "", nil, errors.New("has a functionConfig of its own and a `configPath` or `configMap`: keep one")
	case s.Config != nil && NotKRM(s.Config) != "":
		return "", nil, errors.New("functionConfig must be a KRM resource: " + NotKRM(s.Config))
	case s.ConfigPath == "":
		return "", nil, nil
	}
	return ".configPath", s.ConfigPath, t.checkConfig(dir, role, s)
}

// checkConfig returns what is wrong with a configPath, in kpt's words.
func (t Tree) checkConfig(dir, role string, s Function) error {
	p := path.Clean(s.ConfigPath)
	switch {
	case strings.TrimSpace(s.ConfigPath) == "":
		return errors.New("path must not be empty")
	case path.IsAbs(p):
		return errors.New("path must be relative")
	case p == ".." || strings.HasPrefix(p, "../"):
		return errors.New("path must not be outside the package")
	}
	file := t.File(path.Join(dir, p))
	if file == nil {
		missing := &fs.PathError{Op: "open", Path: path.Join(dir, p), Err: fs.ErrNotExist}
		return fmt.Errorf("failed to open functionConfig from path %q: %w", s.ConfigPath, missing)
	}
	owner, ok := t.PackageOf(path.Dir(path.Join(dir, p)))
	if !ok || owner != path.Clean(dir) || !file.IsYAML() {
		return notOfPackage(fmt.Sprintf("functionConfig resource for %s %q is missing from path %q, this also occurs if %q is part of a subpackage",
			role, functionName(s), s.ConfigPath, s.ConfigPath))
	}
	var configs []*yaml.Node
	for _, d := range file.Docs() {
		root, err := d.Root()
		if err != nil {
			return fmt.Errorf("functionConfig %q: %w", s.ConfigPath, err)
		}
		if root != nil {
			configs = append(configs, root)
		}
	}
	switch {
	case len(configs) == 0:
		return fmt.Errorf("functionConfig %q must not be empty", s.ConfigPath)
	case len(configs) > 1:
		return fmt.Errorf("functionConfig %q must not contain more than one config, got %d", s.ConfigPath, len(configs))
	}
	if why := NotKRM(configs[0]); why != "" {
		return fmt.Errorf("functionConfig %q must be a KRM resource: %s", s.ConfigPath, why)
	}
	return nil
}

// notOfPackage is an ErrNotOfPackage with a text of its own.
type notOfPackage string

func (e notOfPackage) Error() string        { return string(e) }
func (e notOfPackage) Is(target error) bool { return target == ErrNotOfPackage }

// functionName is what kpt calls a step in errors about it: the image's name
// without registry and tag.
func functionName(s Function) string {
	name, _, _ := strings.Cut(s.String(), "@")
	if s.Name == "" && s.Image != "" {
		name, _, _ = strings.Cut(name, ":")
	}
	return name
}

// NotKRM says why a document is no KRM resource in kpt's sense, in kpt's words;
// empty when it is one: a mapping with apiVersion, kind and metadata.name.
func NotKRM(root *yaml.Node) string {
	switch {
	case root == nil || root.Kind != yaml.MappingNode:
		return "resource must be a mapping"
	case text(field(root, "apiVersion")) == "":
		return "resource must have `apiVersion`"
	case text(field(root, "kind")) == "":
		return "resource must have `kind`"
	case text(field(field(root, "metadata"), "name")) == "":
		return "resource must have `metadata.name`"
	}
	return ""
}

// text is the value of a scalar, empty for anything else.
func text(n *yaml.Node) string {
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == yaml.NodeTagNull {
		return ""
	}
	return n.Value
}

// invalid is a ResultError about a field of a Kptfile.
func invalid(file, field string, value any, why error) error {
	r := fn.Result{Message: why.Error(), Severity: fn.Error, File: &fn.File{Path: file}}
	if field != "" {
		r.Field = &fn.Field{Path: field, CurrentValue: value}
	}
	return &fn.ResultError{Result: r, Err: why}
}

// content is the first document of f with content, nil when there is none, and
// the number of lines above that document.
func content(f *File) (root *yaml.Node, line int, err error) {
	for _, d := range f.Docs() {
		root, err := d.Root()
		if err != nil {
			return nil, line, fmt.Errorf("is not YAML: %s", ShiftLines(err.Error(), line))
		}
		if root != nil {
			return root, line, nil
		}
		b, err := d.Bytes()
		if err != nil {
			return nil, line, err
		}
		line += bytes.Count(b, []byte("\n"))
	}
	return nil, line, nil
}

// ShiftLines adds offset to the line numbers in a message of the YAML decoder,
// which counts from the beginning of a document.
func ShiftLines(message string, offset int) string {
	if offset == 0 {
		return message
	}
	parts := strings.Split(message, "line ")
	for i, p := range parts[1:] {
		digits := len(p) - len(strings.TrimLeft(p, "0123456789"))
		if n, err := strconv.Atoi(p[:digits]); err == nil {
			parts[i+1] = strconv.Itoa(n+offset) + p[digits:]
		}
	}
	return strings.Join(parts, "line ")
}

// fields are the fields a mapping may have; the value of each is what the
// mapping, or the items of the list, below it may have, nil for anything.
type fields map[string]fields

var (
	selectorFields = fields{"apiVersion": nil, "kind": nil, "name": nil, "namespace": nil, "labels": nil, "annotations": nil}
	functionFields = fields{"image": nil, "exec": nil, "tag": nil, "configPath": nil, "configMap": nil, "name": nil,
		"selectors": selectorFields, "exclude": selectorFields, "condition": nil}
	pipelineFields = fields{"mutators": functionFields, "validators": functionFields}
)

// unknownField returns the key of the first field that isn't in known, nil when
// all are.
func unknownField(n *yaml.Node, known fields) *yaml.Node {
	if n == nil || known == nil {
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return unknownField(n.Alias, known)
	}
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			if bad := unknownField(item, known); bad != nil {
				return bad
			}
		}
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		below, ok := known[n.Content[i].Value]
		if !ok && n.Content[i].Value != "<<" {
			return n.Content[i]
		}
		if bad := unknownField(n.Content[i+1], below); bad != nil {
			return bad
		}
	}
	return nil
}

// Matches says whether the selector matches a resource, whatever form that has.
func (s Selector) Matches(r *yaml.RNode) bool {
	root := r.YNode()
	if s.APIVersion != "" && s.APIVersion != text(field(root, "apiVersion")) ||
		s.Kind != "" && s.Kind != text(field(root, "kind")) ||
		s.Name != "" && s.Name != Name(root) ||
		s.Namespace != "" && s.Namespace != Namespace(root) {
		return false
	}
	return (len(s.Labels) == 0 || subset(s.Labels, texts(field(field(root, "metadata"), "labels")))) &&
		(len(s.Annotations) == 0 || subset(s.Annotations, Annotations(root)))
}

func subset(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Selects says whether the step gets a resource: one of its selectors matches,
// or it has none, and no exclusion does.
func (f Function) Selects(r *yaml.RNode) bool {
	matches := func(s Selector) bool { return s.Matches(r) }
	return (len(f.Selectors) == 0 || slices.ContainsFunc(f.Selectors, matches)) && !slices.ContainsFunc(f.Exclude, matches)
}
