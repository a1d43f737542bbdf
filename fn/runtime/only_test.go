package runtime_test

import (
	"context"
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stretchr/testify/require"
)

// known is a runtime that has every function.
type known struct{}

func (known) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	return &runtime.Function{Name: ref.String()}, nil
}

func TestOnly(t *testing.T) {
	for _, test := range []struct {
		pattern string
		ref     runtime.Ref
		allowed bool
	}{
		{"gcr.io/kpt-fn/*", runtime.Ref{Image: "gcr.io/kpt-fn/set-labels:v0.2"}, true},
		{"gcr.io/kpt-fn/set-labels", runtime.Ref{Image: "gcr.io/kpt-fn/set-labels:v0.2"}, true},
		{"gcr.io/kpt-fn/set-labels", runtime.Ref{Image: "gcr.io/kpt-fn/set-labels@sha256:00"}, true},
		{"gcr.io/kpt-fn/set-labels:v0.1", runtime.Ref{Image: "gcr.io/kpt-fn/set-labels:v0.2"}, false},
		{"localhost:5000/a", runtime.Ref{Image: "localhost:5000/a:v1"}, true},
		{"gcr.io/kpt-fn", runtime.Ref{Image: "gcr.io/kpt-fn/set-labels"}, false},
		{"set.labels", runtime.Ref{Image: "set-labels"}, false},
		{runtime.DefaultPrefix + "*", runtime.Ref{Image: "set-labels:v0.2"}, true},
		{"set-labels", runtime.Ref{Image: runtime.DefaultPrefix + "set-labels:v0.2"}, true},
		{"set-labels", runtime.Ref{Image: "gcr.io/kpt-fn/set-labels:v0.2"}, false},
		{runtime.DefaultPrefix + "*", runtime.Ref{Exec: "sed"}, false},
		{"*", runtime.Ref{Image: "a/b"}, true},
		{"/usr/bin/*", runtime.Ref{Exec: "/usr/bin/tool --flag"}, true},
		{"/usr/bin/*", runtime.Ref{Exec: "/opt/tool /usr/bin/x"}, false},
	} {
		_, err := runtime.Only{Runtime: known{}, Functions: []string{test.pattern}, By: "the list"}.Find(context.Background(), test.ref)
		if test.allowed {
			require.NoError(t, err, "%s %s", test.pattern, test.ref)
		} else {
			require.ErrorIs(t, err, runtime.ErrNotAllowed, "%s %s", test.pattern, test.ref)
			require.ErrorContains(t, err, "by the list")
		}
	}
	_, err := runtime.Only{Runtime: known{}}.Find(context.Background(), runtime.Ref{Image: "any"})
	require.NoError(t, err, "an empty list lets everything pass")
}
