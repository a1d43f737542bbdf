package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRepositoryValidate(t *testing.T) {
	const at = "Repository r: "
	for _, tt := range []struct{ name, metadata, spec, want string }{
		{"git", "name: r", "git: {repo: https://example.com/r}", ""},
		{"git with type", "name: r", "type: git, git: {repo: r, branch: main, directory: /}", ""},
		{"oci", "name: r", "type: oci, oci: {registry: example.com/p}", ""},
		{"no name", "", "git: {repo: r}", "Repository: metadata.name: is missing: results, references and records need the object's name"},
		{"dotted name", "name: a.b", "git: {repo: r}", `Repository a.b: metadata.name: "a.b" ` + labelRule},
		{"nothing", "name: r", "", at + "spec: names no place: set git (repo) or oci (registry)"},
		{"both", "name: r", "git: {repo: r}, oci: {registry: x}", at + "spec: has git and oci set: keep one"},
		{"type oci, git set", "name: r", "type: oci, git: {repo: r}", at + "spec.type: is oci but git is set: write type: git, or set oci instead"},
		{"type git, oci set", "name: r", "type: git, oci: {registry: r}", at + "spec.type: is git but oci is set: write type: oci, or set git instead"},
		{"unknown type", "name: r", "type: svn", at + `spec.type: is "svn": write git or oci`},
		{"content", "name: r", "content: Function, git: {repo: r}", at + `spec.content: is "Function": write Package, or leave it out`},
		{"no repo", "name: r", "git: {branch: --x, directory: ../a}", lines(
			at+"spec.git.repo: is missing: write the repository's URL",
			at+`spec.git.branch: "--x" begins with -`,
			at+`spec.git.directory: "../a" leads upwards (..): write the path from the repository's root`)},
		{"no registry", "name: r", "oci: {}", at + "spec.oci.registry: is missing: write the registry's address, such as registry.example.com/packages"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := decode[*Repository](t, "apiVersion: config.porch.kpt.dev/v1alpha1\nkind: Repository\nmetadata: {"+tt.metadata+"}\nspec: {"+tt.spec+"}\n")
			assert.Equal(t, tt.want, said(t, r.Validate()))
		})
	}
}
