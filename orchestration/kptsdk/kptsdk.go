// Package kptsdk is stoop as a function of the kpt functions SDK, for programs
// that are written with it. It is by itself so that nobody else carries the SDK.
package kptsdk

import (
	"bytes"
	"context"
	"fmt"

	sdk "github.com/GoogleContainerTools/kpt-functions-sdk/go/fn"
	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration"
)

// Processor is a ResourceListProcessor of the SDK that carries out a list's
// orders. The SDK's reader and writer sort items and drop some comments; what
// they leave stoop keeps.
type Processor struct {
	// Function does the work.
	Function *orchestration.Function
	// Context bounds it; nil is context.Background().
	Context context.Context
}

var _ sdk.ResourceListProcessor = Processor{}

// Process implements the SDK's ResourceListProcessor. When it fails it returns
// false with the items as they were; the results say why.
func (p Processor) Process(rl *sdk.ResourceList) (bool, error) {
	ctx := p.Context
	if ctx == nil {
		ctx = context.Background()
	}
	in, err := rl.ToYAML()
	if err != nil {
		return false, fmt.Errorf("reading the SDK's list: %w", err)
	}
	list, err := fn.ReadList(bytes.NewReader(in))
	if err != nil {
		return false, err
	}
	processErr := p.Function.Process(ctx, list)
	out, err := list.Bytes()
	if err != nil {
		return false, err
	}
	back, err := sdk.ParseResourceList(out)
	if err != nil {
		return false, fmt.Errorf("writing the SDK's list: %w", err)
	}
	rl.Items, rl.Results = back.Items, back.Results
	return processErr == nil, nil
}
