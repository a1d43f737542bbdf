package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTarget(t *testing.T) {
	const field = "PackageRevision edge: metadata.annotations[stoop.dev/target]: "
	for _, tt := range []struct{ annotation, want, err string }{
		{".", ".", ""},
		{"./", ".", ""},
		{"sites/edge", "sites/edge", ""},
		{"./sites//edge/", "sites/edge", ""},
		{"Sites/edge_1.x", "Sites/edge_1.x", ""},
		{"a/../b", "b", ""},
		{"", "", field + `is empty: write a path, "." for the package that declares the object, or take the annotation off for spec.packageName`},
		{"/sites", "", field + `"/sites" is absolute: write a path below the package that declares it`},
		{"..", "", field + `".." leads out of the package (..): write a path below the package that declares it`},
		{"a/../../b", "", field + `"a/../../b" leads out of the package (..): write a path below the package that declares it`},
		{".git/hooks", "", field + `".git/hooks" has the segment ".git": write letters, digits, -, _ and ., with a letter or digit at both ends`},
		{"a/GIT~1", "", field + `"a/GIT~1" has the segment "GIT~1": write letters, digits, -, _ and ., with a letter or digit at both ends`},
		{"a/.git.", "", field + `"a/.git." has the segment ".git.": write letters, digits, -, _ and ., with a letter or digit at both ends`},
		{`a\b`, "", field + `"a\\b" has the segment "a\\b": write letters, digits, -, _ and ., with a letter or digit at both ends`},
		{"C:/x", "", field + `"C:/x" has the segment "C:": write letters, digits, -, _ and ., with a letter or digit at both ends`},
		{"a\nb", "", field + `"a\nb" has the segment "a\nb": write letters, digits, -, _ and ., with a letter or digit at both ends`},
		{"é", "", field + `"é" has the segment "é": write letters, digits, -, _ and ., with a letter or digit at both ends`},
	} {
		r := decode[*PackageRevision](t, pr(goodInit))
		r.Metadata.Annotations = map[string]string{TargetAnnotation: tt.annotation}
		got, err := r.Target()
		assert.Equal(t, tt.want, got, tt.annotation)
		if tt.err == "" {
			assert.NoError(t, err)
		} else {
			assert.EqualError(t, err, tt.err)
		}
	}
	r := decode[*PackageRevision](t, pr(goodInit))
	got, err := r.Target()
	assert.NoError(t, err)
	assert.Equal(t, "sites/edge", got, "packageName by default")
	r.Spec.PackageName = "../x"
	_, err = r.Target()
	assert.EqualError(t, err, `PackageRevision edge: spec.packageName: "../x" has the segment ..: write a path of plain names`)
}

func TestApplied(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	a, err := ParseApplied("12:" + sum)
	assert.NoError(t, err)
	assert.Equal(t, Applied{12, sum}, a)
	assert.Equal(t, "12:"+sum, a.String())
	for _, bad := range []string{"", "1", ":" + sum, "0:" + sum, "01:" + sum, "-1:" + sum, "+1:" + sum, "1:" + sum[1:], "1:" + strings.ToUpper(sum), "1:" + sum + "\n", " 1:" + sum, "9999999:" + sum} {
		_, err := ParseApplied(bad)
		assert.Error(t, err, bad)
	}
	_, err = ParseApplied("x")
	assert.EqualError(t, err, `"x" isn't a record of applied tasks (<number>:<sha256 in hex>)`)
}

func TestOnConflict(t *testing.T) {
	h := &Header{}
	c, err := h.OnConflict()
	assert.NoError(t, err)
	assert.Equal(t, ConflictFail, c)
	for _, want := range []OnConflict{ConflictFail, ConflictLocal, ConflictUpstream} {
		h.Metadata.Annotations = map[string]string{OnConflictAnnotation: string(want)}
		c, err = h.OnConflict()
		assert.NoError(t, err)
		assert.Equal(t, want, c)
	}
	h.Metadata.Annotations[OnConflictAnnotation] = ""
	_, err = h.OnConflict()
	assert.EqualError(t, err, `metadata.annotations[stoop.dev/on-conflict]: is "": write fail, local or upstream`)
}

func TestIsLocalConfig(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "false": false, "": false, "TRUE": false} {
		h := &Header{Metadata: ObjectMeta{Annotations: map[string]string{LocalConfigAnnotation: value}}}
		assert.Equal(t, want, h.IsLocalConfig(), value)
	}
	assert.False(t, new(Header).IsLocalConfig())
}
