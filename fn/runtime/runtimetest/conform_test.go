package runtimetest_test

import (
	"testing"

	"github.com/stoop-dev/stoop/fn/runtime"
	"github.com/stoop-dev/stoop/fn/runtime/runtimetest"
)

func image(name string) runtime.Ref { return runtime.Ref{Image: name} }

func TestInProcess(t *testing.T) {
	runtimetest.Conform(t, runtimetest.Subject{
		Runtime: runtime.FirstOf{runtimetest.InProcess{}},
		Ref:     image,
		Unknown: image("nobody-has-this"),
	})
}
