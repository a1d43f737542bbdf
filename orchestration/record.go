package orchestration

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// record writes into the orders what was done.
func (r *run) record() error {
	ws, err := r.recordedTree(false)
	if err != nil {
		return fmt.Errorf("recording what was done: %w", err)
	}
	r.ws = ws
	return nil
}

// recordedTree is the workspace with what was done written into the orders.
// While the run isn't over that is what is finished.
func (r *run) recordedTree(running bool) (kptpkg.Tree, error) {
	ws := r.store.tree()
	if r.opts.Mock { // nothing of it counts
		ws = r.ws
	}
	var docs []placedDoc
	for _, j := range r.jobs {
		if running && !j.over {
			continue
		}
		if j.record != nil && (j.err == nil || j.status != nil) && !r.opts.Mock {
			docs = append(docs, placedDoc{j.file, j.number, j.record})
		}
	}
	if !r.opts.Mock && !r.opts.Stateless {
		holders, err := r.rendered(running)
		if err != nil {
			return ws, err
		}
		docs = append(docs, holders...)
	}
	if !r.opts.Stateless {
		more, err := r.planDocs(running)
		if err != nil {
			return ws, err
		}
		docs = append(docs, more...)
	}
	ws, err := withDocs(ws, docs)
	if err != nil || running {
		return ws, err
	}
	return r.withGates(ws)
}

// rendered are the PackageRevisions whose packages were replaced, where their
// condition Rendered no longer says how the package was rendered last.
func (r *run) rendered(running bool) ([]placedDoc, error) {
	var docs []placedDoc
	holders := map[*api.PackageRevision]*job{}
	for _, j := range r.jobs {
		if j.resources == nil {
			holders[j.revision] = j
		}
	}
	for _, j := range r.jobs {
		k := holders[j.revision]
		switch {
		case j.resources == nil || k == nil || running && !j.over:
			continue
		case j.outcome == nil || j.outcome.Rendered == nil || j.err != nil && !j.saved:
			continue
		case k.action == ActionUpdate && k.record != nil: // came after
			continue
		}
		now := conditionOf(j.outcome.Rendered.Condition())
		conditions := slices.Clone(k.conditions())
		if i := slices.IndexFunc(conditions, func(c api.Condition) bool { return c.Type == now.Type }); i < 0 {
			conditions = append(conditions, now)
		} else if conditions[i] == now {
			continue
		} else {
			conditions[i] = now
		}
		root, err := cmp.Or(k.record, k.doc).Copy()
		if err != nil {
			return nil, err
		}
		status := api.Node(&api.PackageRevision{Status: api.PackageRevisionStatus{Conditions: conditions}})
		if err := setStatus(yaml.NewRNode(root), yaml.NewRNode(status).Field("status").Value); err != nil {
			return nil, err
		}
		docs = append(docs, placedDoc{k.file, k.number, k.doc.With(root)})
	}
	return docs, nil
}

// recorded is the order's object with what was done.
func (j *job) recorded(done bool) (*yamldoc.Doc, error) {
	if j.resources != nil {
		return j.recordedReplace(done)
	}
	return j.recordedRevision()
}

// recordedReplace is an order to replace a package with the status of the
// render and, when it was carried out, the record.
func (j *job) recordedReplace(done bool) (*yamldoc.Doc, error) {
	root, err := j.doc.Copy()
	if err != nil {
		return nil, err
	}
	n := yaml.NewRNode(root)
	if j.status != nil {
		status := api.Node(&api.PackageRevisionResources{Status: api.PackageRevisionResourcesStatus{RenderStatus: *j.status}})
		if err := setStatus(n, yaml.NewRNode(status).Field("status").Value); err != nil {
			return nil, err
		}
	}
	if done {
		if err := annotate(n, j.resources.Record()); err != nil {
			return nil, err
		}
	}
	return j.doc.With(root), nil
}

// annotate sets annotations in the order of their names.
func annotate(n *yaml.RNode, notes map[string]string) error {
	for _, a := range slices.Sorted(maps.Keys(notes)) {
		if err := n.PipeE(yaml.SetAnnotation(a, notes[a])); err != nil {
			return err
		}
	}
	return nil
}

// recordedRevision is a PackageRevision with the record of applied tasks, the
// upstream lock and the Kptfile's conditions.
func (j *job) recordedRevision() (*yamldoc.Doc, error) {
	k, err := j.pkg.Kptfile(".")
	if err != nil {
		return nil, err
	}
	pr := *j.revision // a copy: the coordinator reads the order's own
	pr.Status.Conditions = j.mirrored(k)
	pr.Status.UpstreamLock = nil
	if l := k.UpstreamLock; l != nil && l.Git != nil {
		git := api.GitLock(*l.Git)
		git.Repo = api.WithoutCredentials(git.Repo)
		pr.Status.UpstreamLock = &api.Lock{Type: l.Type, Git: &git}
	}
	root, err := j.doc.Copy()
	if err != nil {
		return nil, err
	}
	n := yaml.NewRNode(root)
	if st := yaml.NewRNode(api.Node(&api.PackageRevision{Status: pr.Status})).Field("status"); st != nil {
		if err := setStatus(n, st.Value); err != nil {
			return nil, err
		}
	}
	for field, none := range map[string]bool{"conditions": len(pr.Status.Conditions) == 0, "upstreamLock": pr.Status.UpstreamLock == nil} {
		if !none {
			continue
		}
		if err := n.PipeE(yaml.Get("status"), yaml.Clear(field)); err != nil {
			return nil, err
		}
	}
	if err := annotate(n, pr.Record(len(pr.Spec.Tasks))); err != nil {
		return nil, err
	}
	j.mirror = pr.Status.Conditions
	return j.doc.With(root), nil
}

// setStatus makes the fields of status that stoop knows say what st says;
// others stay.
func setStatus(n, st *yaml.RNode) error {
	if old := n.Field("status"); old.IsNilOrEmpty() { // kyaml writes nothing into a null
		if err := n.PipeE(yaml.Clear("status")); err != nil {
			return err
		}
	}
	return st.VisitFields(func(f *yaml.MapNode) error {
		key, err := f.Key.String()
		if err != nil {
			return err
		}
		return n.PipeE(yaml.LookupCreate(yaml.MappingNode, "status"), yaml.SetField(strings.TrimSpace(key), f.Value))
	})
}

// conditions are those of the object as it is recorded.
func (j *job) conditions() []api.Condition {
	if j.record != nil {
		return j.mirror
	}
	return j.revision.Status.Conditions
}

// mirrored are the conditions of the object after j: those of the Kptfile, and
// stoop's own about the render.
func (j *job) mirrored(k *kptpkg.Kptfile) []api.Condition {
	var out []api.Condition
	var rendered *api.Condition
	for _, c := range j.revision.Status.Conditions {
		if c.Type == api.RenderedCondition {
			rendered = &c
		}
	}
	if j.outcome != nil && j.outcome.Rendered != nil {
		c := conditionOf(j.outcome.Rendered.Condition())
		rendered = &c
	}
	for _, c := range k.Status.Conditions {
		if c.Type != api.RenderedCondition {
			out = append(out, conditionOf(c))
		}
	}
	if rendered != nil {
		out = append(out, *rendered)
	}
	return out
}

// conditionOf is a Kptfile's condition as one of a PackageRevision.
func conditionOf(c kptpkg.Condition) api.Condition {
	return api.Condition{Type: c.Type, Status: api.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message}
}
