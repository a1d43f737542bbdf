package orchestration

import (
	"testing"

	"github.com/stoop-dev/stoop/internal/yamldoc"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/dag"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What an attempt has found out is its own until its step has ended.
func TestRecordIsTheAttempts(t *testing.T) {
	pr := &api.PackageRevision{Header: api.Header{APIVersion: api.PorchV1Alpha1, Kind: "PackageRevision"}}
	pr.Metadata.Name = "web"
	pkg, err := kptpkg.NewTree(kptpkg.NewFile("Kptfile", kptpkg.Regular, []byte(`apiVersion: kpt.dev/v1
kind: Kptfile
metadata:
  name: web
upstreamLock:
  type: git
  git: {repo: https://example.com/r, directory: /web, ref: v1, commit: 0123456789012345678901234567890123456789}
status:
  conditions:
  - {type: Ready, status: "True", reason: Done}
`)))
	require.NoError(t, err)
	of := &job{order: &order{doc: yamldoc.FromNode(api.Node(pr)), object: pr, revision: pr}}
	j := of.draft()
	j.pkg = &pkg
	doc, err := j.recorded(true)
	require.NoError(t, err)
	text, err := doc.Bytes()
	require.NoError(t, err)
	assert.Contains(t, string(text), "reason: Done")
	assert.Empty(t, of.revision.Status)
	assert.Empty(t, of.conditions())

	j.record = doc
	of.last.Store(&j.made)
	of.ended(dag.Completed)
	assert.Equal(t, []api.Condition{{Type: "Ready", Status: api.ConditionTrue, Reason: "Done"}}, of.conditions())
	assert.Empty(t, of.revision.Status)
}
