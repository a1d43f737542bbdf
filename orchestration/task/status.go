package task

import (
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/render"
)

// WriteStatus writes how a render went into the root Kptfile of t, as far as
// the policy wants it there.
func WriteStatus(t kptpkg.Tree, r *render.Rendered, policy StatusPolicy) (kptpkg.Tree, error) {
	if policy == StatusNever {
		return t, nil
	}
	return t.EditKptfile(".", func(k *kptpkg.KptfileEditor) error {
		if policy == StatusAlways || k.HasCondition(r.Condition().Type) {
			k.SetCondition(r.Condition())
		}
		if policy == StatusAlways || k.HasRenderStatus() {
			k.SetRenderStatus(r.RenderStatusNode())
		}
		return nil
	})
}
