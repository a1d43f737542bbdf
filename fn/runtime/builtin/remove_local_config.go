package builtin

import (
	"context"

	"github.com/stoop-dev/stoop/fn"
)

// removeLocalConfig removes the resources that are marked as local
// configuration.
func removeLocalConfig(_ context.Context, call *fn.Call) error {
	kept := make([]*fn.Object, 0, len(call.Items))
	for _, o := range call.Items {
		if !isLocalConfig(root(o.Node)) {
			kept = append(kept, o)
		}
	}
	call.Items = kept
	return nil
}
