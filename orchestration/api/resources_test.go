package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestResources(t *testing.T) {
	load := func(annotations, spec string) *PackageRevisionResources {
		return decode[*PackageRevisionResources](t, "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevisionResources\nmetadata: {name: edge, annotations: {"+annotations+"}}\nspec: {"+spec+"}\n")
	}
	const at = "PackageRevisionResources edge: "
	for _, tt := range []struct{ name, annotations, spec, want string }{
		{"order", "", "packageName: a, resources: {Kptfile: x}", ""},
		{"carrier", "stoop.dev/carrier: files, stoop.dev/target: .", "binaryResources: {a.png: aGk=}", ""},
		{"empty carrier", "stoop.dev/carrier: package", "packageName: a", ""},
		{"order without package", "stoop.dev/target: a", "resources: {Kptfile: x}", at + "spec.packageName: is missing: it names the package to replace"},
		{"carrier without package", "stoop.dev/carrier: files", "", at + "spec.packageName: is missing: a carrier needs it or annotation stoop.dev/target"},
		{"order without files", "", "packageName: a, resources: {}", at + "spec.resources: is empty: it lists every file the package is to have, and what it doesn't name is deleted"},
		{"binary in an order", "", "packageName: a, resources: {a: b}, binaryResources: {c: aGk=}", at + "spec.binaryResources: is for carriers only (annotation stoop.dev/carrier)"},
		{"unknown carrier", "stoop.dev/carrier: yes", "packageName: a", at + `metadata.annotations[stoop.dev/carrier]: is "yes": write files or package, or take it off an order to replace the package's content`},
		{"not base64, twice", "stoop.dev/carrier: files", "packageName: a, resources: {a: b}, binaryResources: {c: a-, a: aGk=}", lines(
			at+"spec.binaryResources.a: is in spec.resources too: keep one",
			at+"spec.binaryResources.c: isn't base64: illegal base64 data at input byte 1")},
		{"bad target and names", "stoop.dev/target: /a", "packageName: A, workspaceName: B, repository: C, resources: {a: b}", lines(
			at+`spec.packageName: "A" has the segment "A", which `+labelRule,
			at+`spec.repository: "C" `+labelRule,
			at+`spec.workspaceName: "B" `+labelRule,
			at+`metadata.annotations[stoop.dev/target]: "/a" is absolute: write a path below the package that declares it`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, said(t, load(tt.annotations, tt.spec).Validate()))
		})
	}

	r := load("stoop.dev/carrier: package, stoop.dev/target: x/y", `packageName: a, resources: {a: b}, binaryResources: {c: "//4="}`)
	c, err := r.Carrier()
	assert.NoError(t, err)
	assert.Equal(t, CarrierPackage, c)
	target, err := r.Target()
	assert.NoError(t, err)
	assert.Equal(t, "x/y", target)
	files, err := r.Files()
	assert.NoError(t, err)
	assert.Equal(t, map[string][]byte{"a": []byte("b"), "c": {0xff, 0xfe}}, files)
	r.Spec.BinaryResources["a"] = ""
	files, err = r.Files()
	assert.Nil(t, files)
	assert.Equal(t, at+"spec.binaryResources.a: is in spec.resources too: keep one", said(t, err))
}
