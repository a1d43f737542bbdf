package orchestration

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/task"
)

// prepare finds out what each order comes to, before anything runs.
func (r *run) prepare() {
	byTarget := map[string][]*job{}
	r.names = map[string][]*job{}
	for _, o := range r.found.orders {
		j := &job{order: o, skip: r.opts.Only != "" && o.file != r.opts.Only}
		r.jobs = append(r.jobs, j)
		prepare := r.prepareReplace
		if j.resources == nil {
			r.names[o.revision.Metadata.Name] = append(r.names[o.revision.Metadata.Name], j)
			prepare = r.prepareOne
		}
		if err := prepare(j); !j.skip {
			j.err = j.about(err)
		}
		j.unmade = j.skip && j.action == ActionCreate
		if key := j.target; key != "" {
			if j.resources != nil {
				key += "\x00" // apart from revisions
			}
			byTarget[key] = append(byTarget[key], j)
		}
	}
	for _, jobs := range byTarget {
		if len(jobs) > 1 {
			link(jobs)
		}
	}
	r.checkWhole()
	for _, j := range r.jobs {
		if j.skip || j.after != nil && j.action == ActionUpdate {
			j.action = ActionNone // only the last of a chain may change the package
		}
		if j.action == ActionReplace && j.err == nil {
			j.err = j.about(r.holderOf(j))
		}
	}
}

// checkWhole refuses to replace a package as a whole while another order has its
// target inside: what that made would be gone, and nothing would make it again.
func (r *run) checkWhole() {
	whole := map[string]*job{}
	for _, j := range r.jobs {
		if j.action == ActionReplace && j.err == nil && !j.skip {
			whole[j.target] = j
		}
	}
	for _, in := range r.jobs {
		for dir := in.target; len(whole) > 0 && dir != "" && dir != "."; {
			dir = path.Dir(dir)
			if j := whole[dir]; j != nil && j.err == nil {
				j.err = j.fail(j.targetField(), fmt.Sprintf("all of target %q is replaced, and target %q of %s %s in %s is inside it: give that one a target elsewhere, or declare one of the two only", j.target, in.target, in.object.Ref().Kind, in.name(), in.file))
			}
		}
	}
}

// holderOf finds the revision whose package an order replaces: the declared one
// on the same target, else one made up, which is a Draft.
func (r *run) holderOf(j *job) error {
	j.revision = &api.PackageRevision{Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision"}}
	j.revision.Metadata.Name, j.revision.Metadata.Namespace = j.name(), j.resources.Metadata.Namespace
	j.revision.Spec.PackageName, j.revision.Spec.Repository = j.resources.Spec.PackageName, j.resources.Spec.Repository
	for _, d := range r.holding(j.target) {
		if d.resources == nil && d.after == nil {
			j.revision = d.revision
		}
	}
	if l := j.revision.Lifecycle(); l != api.Draft {
		return j.fail("", fmt.Sprintf("target %q is held by PackageRevision %s, which is %s: only the content of a Draft can be replaced; set its lifecycle to Draft, or make a new revision (edit)", j.target, j.revision.Metadata.Name, l))
	}
	return nil
}

// prepareReplace finds out what an order to replace a package comes to.
func (r *run) prepareReplace(j *job) error {
	if err := j.resources.Validate(); err != nil {
		return err
	}
	target, err := j.resources.Target()
	if err != nil {
		return err
	}
	if err := j.checkTarget(target); err != nil {
		return err
	}
	if p, err := task.BadPath(j.resources.Spec.Resources); err != nil {
		return j.fail("spec.resources["+p+"]", err.Error())
	}
	j.target = target
	if j.changed, err = j.resources.Changed(); err != nil || !j.changed {
		j.action = ActionNone
		return err
	}
	j.action = ActionReplace
	switch {
	case r.opts.Unseen != nil && !r.opts.Whole[target]:
		return j.fail("", fmt.Sprintf("replacing a package needs all its files, and a host passes only resources: use stoop run, or bring the package in one object (annotation %s: %s)", api.CarrierAnnotation, api.CarrierPackage))
	case target == ".":
		return r.mayWorkInPlace(j)
	}
	return nil
}

// link makes a chain of the orders of one target, or errors for all of them.
func link(jobs []*job) {
	var c []*job
	if jobs[0].resources == nil {
		c = chain(jobs)
	}
	for i, j := range c[min(1, len(c)):] {
		j.before, c[i].after = c[i], j
	}
	for i, j := range jobs {
		if c == nil {
			other := jobs[0]
			if i == 0 {
				other = jobs[1]
			}
			j.err = errors.Join(j.err, j.clash(other))
		}
	}
}

// byName is the declared order of that name, nil when there is none.
func (r *run) byName(namespace, name string) *job { return find(r.names[name], namespace, name) }

// targetField is where an order says its target, when it says so itself.
const targetField = "metadata.annotations[" + api.TargetAnnotation + "]"

// clash is the error for two orders with one target.
func (j *job) clash(other *job) error {
	return j.fail(j.targetField(), fmt.Sprintf("target %q is also that of PackageRevision %s in %s: give each package a target of its own with annotation %s, or let one revision go on from the other (edit.sourceRef, upgrade.localPackageRevisionRef)",
		j.target, other.name(), other.file, api.TargetAnnotation))
}

// targetField is where the order says its target.
func (j *job) targetField() string {
	if _, own := j.object.Head().Metadata.Annotations[api.TargetAnnotation]; own {
		return targetField
	}
	return "spec.packageName"
}

// prepareOne finds out what one order comes to, or what is against it.
func (r *run) prepareOne(j *job) error {
	pr := j.revision
	if err := pr.Validate(); err != nil {
		return err
	}
	target, err := pr.Target()
	if err != nil {
		return err
	}
	if err := j.checkTarget(target); err != nil {
		return err
	}
	j.target = target
	if j.applied, err = pr.Pending(); err != nil {
		return err
	}
	if j.changed, err = pr.Changed(); err != nil {
		return err
	}
	j.action = r.actionOf(j)
	gone := ""
	if r.ws.File(path.Join(target, kptpkg.KptfileName)) == nil {
		gone = fmt.Sprintf("target %q holds no Kptfile any more: put the package back, or remove the annotations %s and %s to make it anew", target, api.AppliedAnnotation, api.ObservedAnnotation)
	}
	switch {
	case j.action == ActionCreate && r.opts.RefuseCreation != "":
		return j.fail("", r.opts.RefuseCreation)
	case j.action == ActionCreate:
		if err := pr.ValidateCreate(); err != nil {
			return err
		}
	case j.action == ActionUpdate && pr.Lifecycle() != api.Draft:
		j.action = ActionNone
		j.note = fmt.Sprintf("the object changed but its lifecycle is %s: the package stays as it is; %s", pr.Lifecycle(), toChange(pr.Lifecycle()))
	case j.action == ActionUpdate && gone != "":
		return j.fail("", gone)
	}
	if j.action == ActionNone && r.opts.RefuseCreation == "" && gone != "" {
		j.note = gone
	}
	if target == "." && (j.action == ActionCreate || j.action == ActionUpdate) {
		return r.mayWorkInPlace(j)
	}
	return nil
}

// toChange is what to do about an object that changed and isn't a Draft.
func toChange(l api.Lifecycle) string {
	if l == api.Proposed {
		return "set spec.lifecycle to Draft to change it"
	}
	return "what is published doesn't change any more: undo that, and make a new revision (a PackageRevision with an edit task)"
}

// checkTarget refuses a target where stoop keeps its own objects, and one that
// holds the order itself.
func (j *job) checkTarget(target string) error {
	switch {
	case target == ordersDir || strings.HasPrefix(target, ordersDir+"/"):
		return j.fail(targetField, fmt.Sprintf("target %q is where stoop keeps objects of its own: choose another", target))
	case strings.HasPrefix(j.file, target+"/"):
		return j.fail(targetField, fmt.Sprintf("the object is inside its own target %q, where it would become content: move the file out, or make the target \".\"", target))
	}
	return nil
}

// mayWorkInPlace says what is against putting a package in place of the
// declaring one.
func (r *run) mayWorkInPlace(j *job) error {
	switch {
	case r.opts.RefuseInPlace != "":
		return j.fail(targetField, r.opts.RefuseInPlace)
	case len(r.found.mixed) > 0:
		return j.fail("", fmt.Sprintf("objects for stoop share files with resources of the package that it is about (%s): move them to files of their own",
			some(slices.Sorted(maps.Keys(r.found.mixed)))))
	}
	return nil
}

// actionOf is what an order comes to by its record.
func (r *run) actionOf(j *job) Action {
	switch {
	case j.applied == 0 && r.alreadyMade(j):
		return ActionRebuild
	case j.applied == 0:
		return ActionCreate
	case j.applied < len(j.revision.Spec.Tasks) || j.changed:
		return ActionUpdate
	}
	return ActionNone
}

// works says whether there is something to do and nothing against it so far.
func (j *job) works() bool { return j.err == nil && j.action != ActionNone }

// alreadyMade says whether the target holds what the order's one task makes:
// its Kptfile is locked to the same place.
func (r *run) alreadyMade(j *job) bool {
	if len(j.revision.Spec.Tasks) != 1 || j.revision.Spec.Tasks[0].Clone == nil || r.opts.Stateless {
		return false
	}
	k, err := r.ws.Kptfile(j.target)
	if err != nil || k.UpstreamLock == nil {
		return false
	}
	from := j.revision.Spec.Tasks[0].Clone.UpstreamRef
	switch lock := k.UpstreamLock; {
	case from.Git != nil && lock.Git != nil:
		return plainRepo(from.Git.Repo) == plainRepo(lock.Git.Repo) && from.Git.Ref == lock.Git.Ref &&
			from.Git.Path() == (&api.GitPackage{Directory: lock.Git.Directory}).Path()
	case from.OCI != nil && lock.OCI != nil:
		return madeOfImage(from.OCI.Image, k)
	}
	return false
}

// madeOfImage says whether a package was made of an image. A lock has the
// image's name and digest, so by which tag that was found is what upstream says.
func madeOfImage(image string, k *kptpkg.Kptfile) bool {
	name, digest, ok := strings.Cut(k.UpstreamLock.OCI.Image, "@")
	wantName, wantDigest, pinned := strings.Cut(image, "@")
	if pinned && wantDigest != digest {
		return false
	}
	return ok && name == withoutTag(wantName) && (pinned || k.Upstream != nil && k.Upstream.OCI != nil && k.Upstream.OCI.Image == image)
}
