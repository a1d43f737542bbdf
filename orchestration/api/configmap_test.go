package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// args is the ConfigMap that kpt makes of key=value arguments.
func args(kv ...string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: function-input}\ndata:\n")
	for _, s := range kv {
		k, v, _ := strings.Cut(s, "=")
		b.WriteString("  " + k + ": '" + v + "'\n")
	}
	return b.String()
}

func TestFromConfigMap(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"clone", []string{"type=clone", "repo=https://example.com/r.git", "ref=1.0", "directory=/pkgs/edge", "target=sites/west_1", "secret=s", "repository=deployments", "workspace=v1"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: sites.west-1
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: sites/west_1
spec:
  packageName: sites/west-1
  repository: deployments
  workspaceName: v1
  tasks:
  - type: clone
    clone:
      upstreamRef:
        git:
          repo: https://example.com/r.git
          ref: "1.0"
          directory: /pkgs/edge
          secretRef:
            name: s
`},
		{"clone of a directory by its name", []string{"type=clone", "repo=r", "ref=v1", "directory=pkgs/Edge"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: edge
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  packageName: edge
  tasks:
  - type: clone
    clone:
      upstreamRef:
        git:
          repo: r
          ref: v1
          directory: pkgs/Edge
`},
		{"clone in place", []string{"type=clone", "repo=https://example.com/team/edge.git/", "ref=v1", "directory=.", "target=."}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: edge
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: .
spec:
  packageName: edge
  tasks:
  - type: clone
    clone:
      upstreamRef:
        git:
          repo: https://example.com/team/edge.git/
          ref: v1
          directory: .
`},
		{"clone of an image", []string{"type=clone", "image=localhost:5000/pkgs/edge:v1@sha256:00"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: edge
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  packageName: edge
  tasks:
  - type: clone
    clone:
      upstreamRef:
        oci:
          image: localhost:5000/pkgs/edge:v1@sha256:00
`},
		{"clone of a registered package", []string{"type=clone", "upstream=blueprints.edge.v1", "package=a/b", "name=mine"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: mine
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  packageName: a/b
  tasks:
  - type: clone
    clone:
      upstreamRef:
        upstreamRef:
          name: blueprints.edge.v1
`},
		{"init", []string{"type=init", "target=a", "description=yes", "keywords=x, y,,", "site=https://example.com", "subpackage=s"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: a
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: a
spec:
  packageName: a
  tasks:
  - type: init
    init:
      subpackage: s
      description: "yes"
      keywords:
      - x
      - "y"
      site: https://example.com
`},
		{"bare init", []string{"type=init", "package=a/b"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: a.b
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  packageName: a/b
  tasks:
  - type: init
    init: {}
`},
		{"edit", []string{"type=edit", "source=r.a.v1", "target=a"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: a
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: a
spec:
  packageName: a
  tasks:
  - type: edit
    edit:
      sourceRef:
        name: r.a.v1
`},
		{"upgrade", []string{"type=upgrade", "oldUpstream=u.a.v1", "newUpstream=u.a.v2", "local=r.a.v1", "strategy=copy-merge", "target=a"}, `apiVersion: porch.kpt.dev/v1alpha1
kind: PackageRevision
metadata:
  name: a
  annotations:
    config.kubernetes.io/local-config: "true"
    stoop.dev/target: a
spec:
  packageName: a
  tasks:
  - type: upgrade
    upgrade:
      oldUpstreamRef:
        name: u.a.v1
      newUpstreamRef:
        name: u.a.v2
      localPackageRevisionRef:
        name: r.a.v1
      strategy: copy-merge
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := FromConfigMap(parse(t, args(tt.args...)))
			require.Empty(t, said(t, err))
			assert.Equal(t, tt.want, marshal(t, Node(r)))
			assert.Equal(t, r, decode[*PackageRevision](t, tt.want))
		})
	}
}

func TestFromConfigMapErrors(t *testing.T) {
	const at = "ConfigMap function-input: "
	const common = "type, target, name, package, repository, workspace"
	for _, tt := range []struct {
		name string
		in   string
		want string
	}{
		{"no type", args("repo=a"), at + "data.type: is missing: write one of init, clone, edit, upgrade"},
		{"unknown type", args("type=clon"), at + `data.type: unknown task type "clon"; did you mean "clone"? (known: init, clone, edit, upgrade)`},
		{"removed type", args("type=update"), at + `data.type: "update": Porch removed tasks of this type; write an upgrade task instead (known: init, clone, edit, upgrade)`},
		{"unknown key", args("type=edit", "source=a", "target=a", "sorce=b", "repo=c"), lines(
			at+"data.repo: unknown key (known for type=edit: "+common+", source)",
			at+`data.sorce: unknown key; did you mean "source"? (known for type=edit: `+common+", source)")},
		{"nothing to clone", args("type=clone", "target=a"), at + "data: names nothing to clone: write repo, ref and directory; or image; or upstream"},
		{"two things to clone", args("type=clone", "repo=a", "image=b"), at + "data: names more than one thing to clone: write either repo, ref and directory; or image; or upstream"},
		{"half a clone", args("type=clone", "repo=r", "target=a"), lines(
			at+"data.ref: is missing: write a branch, tag or commit",
			at+`data.directory: is missing: write the package's path in the repository, "." for its root`)},
		{"upwards", args("type=clone", "repo=r", "ref=v", "directory=../a", "target=../b"), lines(
			at+`data.target: "../b" leads out of the package (..): write a path below the package that declares it`,
			at+`data.directory: "../a" leads upwards (..): write the path from the repository's root`)},
		{"empty target", args("type=init", "package=a", "target="), at + `data.target: is empty: write a path, "." for the package that declares the object, or take the annotation off for spec.packageName`},
		{"no target or package", args("type=init"), at + "data.package: is missing: write target=PATH, where the package is to be, or package=NAME"},
		{"bad names", args("type=init", "package=A", "name=B/c", "repository=C", "workspace=D"), lines(
			at+`data.name: "B/c" `+subdomainRule,
			at+`data.package: "A" has the segment "A", which `+labelRule,
			at+`data.repository: "C" `+labelRule,
			at+`data.workspace: "D" `+labelRule)},
		{"upgrade", args("type=upgrade", "target=a", "strategy=x"), lines(
			at+"data.oldUpstream: is missing: name the PackageRevision that the package was cloned from or last upgraded to",
			at+"data.newUpstream: is missing: name the PackageRevision to upgrade to",
			at+"data.local: is missing: name the PackageRevision to be upgraded",
			at+`data.strategy: is "x" (known: resource-merge, copy-merge, force-delete-replace, fast-forward)`)},
		{"map as value", "{apiVersion: v1, kind: ConfigMap, metadata: {name: function-input}, data: {type: {}}}", at + "data.type: must be a string, is a map"},
		{"foreign field", "{apiVersion: v1, kind: ConfigMap, metadata: {name: function-input}, binaryData: {}}", at + "binaryData: unknown field (known: apiVersion, kind, metadata, data, immutable)"},
		{"other kind", "{apiVersion: v1, kind: Secret}", "Secret: isn't a v1 ConfigMap"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := FromConfigMap(parse(t, tt.in))
			assert.Nil(t, r)
			assert.Equal(t, tt.want, said(t, err))
		})
	}
	_, err := FromConfigMap(nil)
	assert.EqualError(t, err, "isn't a v1 ConfigMap")
}

// Hosts pass a ConfigMap without data when there are no arguments.
func TestFromConfigMapEmpty(t *testing.T) {
	for _, data := range []string{"", "data: {}", "data: null"} {
		r, err := FromConfigMap(parse(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: function-input}\n"+data))
		assert.NoError(t, err)
		assert.Nil(t, r)
	}
}

// Hosts don't all quote what comes from a command line.
func TestFromConfigMapUnquoted(t *testing.T) {
	r, err := FromConfigMap(parse(t, "apiVersion: v1\nkind: ConfigMap\ndata: {type: clone, repo: r, ref: 1.10, directory: 007, target: true}"))
	require.Empty(t, said(t, err))
	assert.Equal(t, &GitPackage{Repo: "r", Ref: "1.10", Directory: "007"}, r.Spec.Tasks[0].Clone.UpstreamRef.Git)
	assert.Equal(t, "true", r.Metadata.Name)
}
