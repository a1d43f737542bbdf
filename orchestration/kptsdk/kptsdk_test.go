package kptsdk_test

import (
	"strings"
	"testing"

	sdk "github.com/GoogleContainerTools/kpt-functions-sdk/go/fn"
	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/kptsdk"
	"github.com/stretchr/testify/require"
)

const list = `apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- apiVersion: kpt.dev/v1
  kind: Kptfile
  metadata:
    name: shop
    annotations:
      internal.config.kubernetes.io/path: Kptfile
- apiVersion: porch.kpt.dev/v1alpha1
  kind: PackageRevision
  metadata:
    name: web
    annotations:
      config.kubernetes.io/local-config: "true"
      internal.config.kubernetes.io/path: web.yaml
  spec:
    packageName: web
    tasks:
    - type: init
      init: {description: The front.}
`

func processor() kptsdk.Processor {
	return kptsdk.Processor{Function: &orchestration.Function{
		Handler: &orchestration.TaskHandler{Runtime: builtin.New(builtin.Compatible)},
	}}
}

func TestProcessor(t *testing.T) {
	out, err := sdk.Run(sdk.ResourceListProcessorFunc(processor().Process), []byte(list))
	require.NoError(t, err)
	require.Contains(t, string(out), "description: The front.")
	require.Contains(t, string(out), "stoop.dev/applied:")

	again, err := sdk.Run(sdk.ResourceListProcessorFunc(processor().Process), out)
	require.NoError(t, err)
	require.Equal(t, string(out), string(again))
}

func TestProcessorFails(t *testing.T) {
	in := strings.Replace(list, "type: init", "type: edit", 1)
	rl, err := sdk.ParseResourceList([]byte(in))
	require.NoError(t, err)
	ok, err := processor().Process(rl)
	require.NoError(t, err)
	require.False(t, ok)
	require.Len(t, rl.Items, 2)
	require.Equal(t, sdk.Error, rl.Results[0].Severity)
	require.Contains(t, rl.Results[0].Message, "type edit but init set")
}
