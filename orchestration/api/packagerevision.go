package api

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// PackageRevision orders a package to be created by a task and then kept in
// step with what the object says about it. Schema: porch.kpt.dev/v1alpha1.
type PackageRevision struct {
	Header `yaml:",inline"`
	// Spec is what the user wants.
	Spec PackageRevisionSpec `yaml:"spec,omitempty"`
	// Status is what came of it; set by stoop or Porch.
	Status PackageRevisionStatus `yaml:"status,omitempty"`
}

// PackageRevisionSpec is what the user wants of a package revision.
type PackageRevisionSpec struct {
	// PackageName is the package's path in its repository, DNS labels joined
	// by /. It is the default target and the Kptfile's name. Required; set by
	// the user.
	PackageName string `yaml:"packageName,omitempty"`
	// Repository is the name of the Repository object the package belongs to.
	// Default none; set by the user.
	Repository string `yaml:"repository,omitempty"`
	// WorkspaceName tells the revisions of one package apart until they are
	// published, a DNS label. Default none; set by the user.
	WorkspaceName string `yaml:"workspaceName,omitempty"`
	// Revision counts the published revisions from 1; 0 is none yet and -1 the
	// repository's branch itself. Set by Porch.
	Revision int `yaml:"revision,omitempty"`
	// Parent is the package this one is part of. Deprecated in Porch; it only
	// goes into the package-path of a deployable clone.
	Parent *PackageRevisionRef `yaml:"parent,omitempty"`
	// Lifecycle is how far the revision has come, see [Lifecycle]. Default
	// Draft; set by the user.
	Lifecycle Lifecycle `yaml:"lifecycle,omitempty"`
	// Tasks make the package. A new object has exactly one; tasks appended
	// later are applied in order. Required; set by the user.
	Tasks []Task `yaml:"tasks,omitempty"`
	// ReadinessGates become the Kptfile's, in this order. Default (unset): the
	// Kptfile keeps its own; an empty list takes them all out. Set by the user.
	ReadinessGates []ReadinessGate `yaml:"readinessGates,omitempty"`
	// PackageMetadata becomes the Kptfile's metadata. Default (unset): the
	// Kptfile keeps its own. Set by the user.
	PackageMetadata *PackageMetadata `yaml:"packageMetadata,omitempty"`
}

// Lifecycle is how far a package revision has come.
type Lifecycle string

// The lifecycles of Porch. Content changes in a Draft only.
const (
	Draft            Lifecycle = "Draft"
	Proposed         Lifecycle = "Proposed"
	Published        Lifecycle = "Published"
	DeletionProposed Lifecycle = "DeletionProposed"
)

var lifecycles = []Lifecycle{Draft, Proposed, Published, DeletionProposed}

// PackageRevisionRef names a PackageRevision.
type PackageRevisionRef struct {
	// Name is the metadata.name of the PackageRevision. Set by the user.
	Name string `yaml:"name,omitempty"`
}

// ReadinessGate is a condition that must be True before the package is ready.
type ReadinessGate struct {
	// ConditionType is the condition's type. Required; set by the user.
	ConditionType string `yaml:"conditionType,omitempty"`
}

// PackageMetadata is what becomes of the Kptfile's metadata.
type PackageMetadata struct {
	// Labels replace the Kptfile's. Default (unset): it keeps its own. Set by
	// the user.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Annotations replace the Kptfile's. Default (unset): it keeps its own.
	// Set by the user.
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// TaskType is the type of a [Task].
type TaskType string

// The types of task that make a package.
const (
	TaskInit    TaskType = "init"
	TaskClone   TaskType = "clone"
	TaskEdit    TaskType = "edit"
	TaskUpgrade TaskType = "upgrade"
)

// Task is one step in the making of a package. Exactly the member that Type
// names is set.
type Task struct {
	// Type is init, clone, edit or upgrade. Required; set by the user.
	Type TaskType `yaml:"type,omitempty"`
	// Init makes a new package.
	Init *InitTask `yaml:"init,omitempty"`
	// Clone copies a package from elsewhere and remembers where it came from.
	Clone *CloneTask `yaml:"clone,omitempty"`
	// Edit copies another revision of the same package.
	Edit *EditTask `yaml:"edit,omitempty"`
	// Upgrade merges a newer upstream into the package.
	Upgrade *UpgradeTask `yaml:"upgrade,omitempty"`
}

// removedTasks are the types of task that earlier versions of Porch had, with
// what to do instead.
var removedTasks = map[string]string{
	"patch":  "Porch removed tasks of this type; edit the package's files instead",
	"eval":   "Porch removed tasks of this type; add the function to the Kptfile's pipeline instead",
	"update": "Porch removed tasks of this type; write an upgrade task instead",
}

// fieldHint explains a field that the schema had once.
func (Task) fieldHint(field string) string { return removedTasks[field] }

// taskMember is one of a Task's members.
type taskMember struct {
	name TaskType
	set  bool
	// shape shows how to write the member, for error messages.
	shape string
	// validate checks the member; called only when it is set.
	validate func(p *problems, field string)
}

// members are the task's members in the order of the schema.
func (t *Task) members() []taskMember {
	return []taskMember{
		{TaskInit, t.Init != nil, "init: {}", t.Init.validate},
		{TaskClone, t.Clone != nil, "clone: {upstreamRef: ...}", t.Clone.validate},
		{TaskEdit, t.Edit != nil, "edit: {sourceRef: {name: ...}}", t.Edit.validate},
		{TaskUpgrade, t.Upgrade != nil, "upgrade: {oldUpstreamRef: ..., newUpstreamRef: ..., localPackageRevisionRef: ...}", t.Upgrade.validate},
	}
}

// validate checks the task found at field.
func (t *Task) validate(p *problems, field string) {
	members := t.members()
	var types, set []string
	for _, m := range members {
		types = append(types, string(m.name))
		if m.set {
			set = append(set, string(m.name))
		}
	}
	known := strings.Join(types, ", ")
	i := slices.IndexFunc(members, func(m taskMember) bool { return m.name == t.Type })
	switch hint := removedTasks[string(t.Type)]; {
	case t.Type == "" && len(set) == 1:
		p.addf(field+".type", "is missing: write type: %s", set[0])
	case t.Type == "":
		p.addf(field+".type", "is missing: write one of %s", known)
	case t.Type == "render", t.Type == "push":
		p.addf(field+".type", "%s is a type that Porch notes in commits and isn't ordered by a task: write one of %s", quote(string(t.Type)), known)
	case i < 0 && hint != "":
		p.addf(field+".type", "%s: %s (known: %s)", quote(string(t.Type)), hint, known)
	case i < 0:
		p.addf(field+".type", "unknown task type %s%s (known: %s)", quote(string(t.Type)), DidYouMean(string(t.Type), types), known)
	case len(set) > 1:
		p.addf(field, "has %s set: keep %s, which its type names, and make a task of each other", strings.Join(set, " and "), t.Type)
	case len(set) == 1 && !members[i].set:
		p.addf(field, "has type %s but %s set: write type: %s, or %s", t.Type, set[0], set[0], members[i].shape)
	case !members[i].set:
		p.addf(field+"."+string(t.Type), "is missing: a task of type %s has a member %s", t.Type, members[i].shape)
	default:
		members[i].validate(p, field+"."+string(t.Type))
	}
}

// PackageRevisionStatus is what stoop or Porch says about a package revision.
type PackageRevisionStatus struct {
	// UpstreamLock is where in a git repository the package came from. Unset:
	// from nowhere, or from a registry: Porch's schema has no place for an
	// image, only the Kptfile's upstreamLock names it. Set by stoop and Porch.
	UpstreamLock *Lock `yaml:"upstreamLock,omitempty"`
	// SelfLock is where the package itself is kept. Set by Porch.
	SelfLock *Lock `yaml:"selfLock,omitempty"`
	// PublishedBy is who published the revision. Set by Porch.
	PublishedBy string `yaml:"publishedBy,omitempty"`
	// PublishTimestamp is when it was published, RFC 3339. Set by Porch.
	PublishTimestamp string `yaml:"publishTimestamp,omitempty"`
	// Deployment says that the package is in a deployment repository. Set by
	// Porch.
	Deployment bool `yaml:"deployment,omitempty"`
	// Conditions are those of the Kptfile. stoop owns type Rendered and types
	// that begin with stoop.dev; the others are the user's: the Kptfile's are
	// made equal to them. Unset: the Kptfile keeps its own.
	Conditions []Condition `yaml:"conditions,omitempty"`
}

// Lock is the exact place a package was read from.
type Lock struct {
	// Type is the sort of place: git.
	Type string `yaml:"type,omitempty"`
	// Git is the place in a git repository.
	Git *GitLock `yaml:"git,omitempty"`
}

// GitLock is a directory of a commit.
type GitLock struct {
	// Repo is the repository's URL.
	Repo string `yaml:"repo,omitempty"`
	// Directory is the package's path in the repository; empty is its root.
	Directory string `yaml:"directory,omitempty"`
	// Ref is the branch, tag or commit that was asked for.
	Ref string `yaml:"ref,omitempty"`
	// Commit is the id of the commit that ref stood for.
	Commit string `yaml:"commit,omitempty"`
}

// Condition is one condition of a package.
type Condition struct {
	// Type names the condition; at most one of a type. Required.
	Type string `yaml:"type,omitempty"`
	// Status is True, False or Unknown. Required.
	Status ConditionStatus `yaml:"status,omitempty"`
	// Reason is a word for programs. Default none.
	Reason string `yaml:"reason,omitempty"`
	// Message is a text for people. Default none.
	Message string `yaml:"message,omitempty"`
}

// ConditionStatus is whether a condition holds.
type ConditionStatus string

// The statuses of a condition.
const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// RenderedCondition is the type of the condition that says how the last render
// went; the name is kpt's.
const RenderedCondition = "Rendered"

// OwnedCondition reports whether conditions of the type are stoop's to set:
// Rendered and all that begin with stoop.dev.
func OwnedCondition(conditionType string) bool {
	return conditionType == RenderedCondition || strings.HasPrefix(conditionType, "stoop.dev")
}

// UserConditions are the object's conditions that aren't stoop's own, in order;
// nil when the object doesn't speak of conditions.
func (r *PackageRevision) UserConditions() []Condition {
	if r.Status.Conditions == nil {
		return nil
	}
	own := []Condition{}
	for _, c := range r.Status.Conditions {
		if !OwnedCondition(c.Type) {
			own = append(own, c)
		}
	}
	return own
}

// Lifecycle is spec.lifecycle, Draft when that is unset.
func (r *PackageRevision) Lifecycle() Lifecycle { return cmp.Or(r.Spec.Lifecycle, Draft) }

// IsPublished reports whether the lifecycle is Published or DeletionProposed.
func (r *PackageRevision) IsPublished() bool {
	return r.Spec.Lifecycle == Published || r.Spec.Lifecycle == DeletionProposed
}

// Target is where the package is or will be: a clean path below the package
// that declares the object, "." for that package itself. The error is an
// [fn.ResultError].
func (r *PackageRevision) Target() (string, error) { return r.target(r.Spec.PackageName) }

// Validate implements [Object]. It checks every task but not how many there
// are, see [PackageRevision.ValidateCreate].
func (r *PackageRevision) Validate() error {
	p := r.problems()
	r.validate(p)
	return p.err()
}

// ValidateCreate checks an object that has no record of applied tasks: all that
// Validate does, and that there is exactly one task.
func (r *PackageRevision) ValidateCreate() error {
	p := r.problems()
	switch n := len(r.Spec.Tasks); {
	case n == 0:
		p.addf("spec.tasks", "is missing: a PackageRevision is created from exactly one task (init, clone, edit or upgrade)")
	case n > 1:
		p.addf("spec.tasks", "has %d tasks: a PackageRevision is created from exactly one; append the others once it has been created, they are then applied in order", n)
	}
	r.validate(p)
	return p.err()
}

// ValidateTask checks spec.tasks[i]; i must be below len(spec.tasks).
func (r *PackageRevision) ValidateTask(i int) error {
	p := r.problems()
	r.Spec.Tasks[i].validate(p, taskField(i))
	return p.err()
}

func taskField(i int) string { return fmt.Sprintf("spec.tasks[%d]", i) }

func (r *PackageRevision) validate(p *problems) {
	r.Header.validate(p)
	validatePackage(p, r.Spec.PackageName, r.Spec.Repository, r.Spec.WorkspaceName, r.Spec.Revision)
	if r.Spec.PackageName == "" {
		p.addf("spec.packageName", "is missing: it names the package and is where it is put unless annotation %s says otherwise", TargetAnnotation)
	} else if _, own := r.Metadata.Annotations[TargetAnnotation]; own {
		_, err := r.Target()
		p.join(err)
	}
	if r.Spec.Parent != nil && r.Spec.Parent.Name == "" {
		p.addf("spec.parent.name", "is missing: name the parent, or take parent out")
	}
	if l := r.Lifecycle(); !slices.Contains(lifecycles, l) {
		p.addf("spec.lifecycle", "is %s: write Draft, Proposed, Published or DeletionProposed", quote(string(l)))
	}
	for i := range r.Spec.Tasks {
		r.Spec.Tasks[i].validate(p, taskField(i))
	}
	gates := make(map[string]bool, len(r.Spec.ReadinessGates))
	for i, g := range r.Spec.ReadinessGates {
		field := fmt.Sprintf("spec.readinessGates[%d].conditionType", i)
		if g.ConditionType == "" {
			p.addf(field, "is missing: name the type of condition to wait for")
		} else if gates[g.ConditionType] {
			p.addf(field, "%s is named twice", quote(g.ConditionType))
		}
		gates[g.ConditionType] = true
	}
	types := make(map[string]bool, len(r.Status.Conditions))
	for i, c := range r.Status.Conditions {
		field := fmt.Sprintf("status.conditions[%d]", i)
		if c.Type == "" {
			p.addf(field+".type", "is missing")
		} else if types[c.Type] {
			p.addf(field+".type", "%s is there twice", quote(c.Type))
		}
		types[c.Type] = true
		switch c.Status {
		case ConditionTrue, ConditionFalse, ConditionUnknown:
		case "":
			p.addf(field+".status", "is missing: write True, False or Unknown")
		default:
			p.addf(field+".status", "is %s: write True, False or Unknown", quote(string(c.Status)))
		}
	}
	r.validateRecord(p)
}

// validatePackage checks the fields that say which package and revision an
// object is about, where they are set.
func validatePackage(p *problems, packageName, repository, workspace string, revision int) {
	if packageName != "" {
		if why := checkPackageName(packageName); why != "" {
			p.addf("spec.packageName", "%s %s", quote(packageName), why)
		}
	}
	if repository != "" {
		if why := checkLabel(repository); why != "" {
			p.addf("spec.repository", "%s %s", quote(repository), why)
		}
	}
	if workspace != "" {
		if why := checkLabel(workspace); why != "" {
			p.addf("spec.workspaceName", "%s %s", quote(workspace), why)
		}
	}
	if revision < -1 {
		p.addf("spec.revision", "is %d: revisions count from 1; leave it out of a new object", revision)
	}
}
