package task

import (
	"context"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// PatchKptfile makes the Kptfile say what the revision says: its labels,
// annotations, readiness gates and conditions become equal to the declared
// ones, in the declared order; what the revision leaves unset stays. Condition
// types that stoop owns are left alone.
var PatchKptfile = Mutation{"patch Kptfile", patchKptfile}

func patchKptfile(_ context.Context, j *Job) (kptpkg.Tree, error) {
	rev := j.Revision
	return j.Package.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		if m := rev.Spec.PackageMetadata; m != nil {
			k.ReplaceLabels(m.Labels)
			k.ReplaceAnnotations(m.Annotations)
		}
		k.ReplaceReadinessGates(gateTypes(rev.Spec.ReadinessGates))
		k.ReplaceConditions(conditions(rev.UserConditions()), api.OwnedCondition)
		return nil
	})
}

func conditions(cs []api.Condition) []kptpkg.Condition {
	if cs == nil {
		return nil
	}
	out := make([]kptpkg.Condition, len(cs))
	for i, c := range cs {
		out[i] = kptpkg.Condition{Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: c.Message}
	}
	return out
}
