package api

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// resolved are the schemas of all kinds, ready to validate.
func resolved(t *testing.T) map[KindName]*jsonschema.Resolved {
	t.Helper()
	out := map[KindName]*jsonschema.Resolved{}
	for _, name := range Kinds() {
		text, err := json.Marshal(SchemaOf(name))
		require.NoError(t, err)
		var s jsonschema.Schema
		require.NoError(t, json.Unmarshal(text, &s))
		out[name], err = s.Resolve(nil)
		require.NoError(t, err, name)
	}
	return out
}

// Every object in the repository is as its schema says, or isn't read.
func TestSchemaOfExamples(t *testing.T) {
	schemas := resolved(t)
	valid, invalid := map[string]int{}, 0
	check := func(where string, text []byte) {
		dec := yaml.NewDecoder(strings.NewReader(string(text)))
		for {
			var doc yaml.Node
			if dec.Decode(&doc) != nil {
				return // the end, or not YAML
			}
			root := content(&doc)
			ref := refOf(root)
			schema := schemas[KindName{ref.APIVersion, ref.Kind}]
			if schema == nil {
				continue
			}
			o, err := Decode(root, 0)
			value, _ := Value(root)
			if err != nil {
				assert.Error(t, schema.Validate(value), "%s: %s isn't read: %v", where, ref.Name, err)
				invalid++
			} else if r, ok := o.(*PackageRevision); ok && len(r.Spec.Tasks) == 0 {
				assert.ErrorContains(t, schema.Validate(value), "tasks", "%s: %s", where, ref.Name)
			} else if o.Validate() == nil {
				assert.NoError(t, schema.Validate(value), "%s: %s", where, ref.Name)
				valid[ref.Kind]++
			}
		}
	}
	check("planExample", []byte(planExample))
	check("exported", []byte(exported))
	for _, tt := range []string{
		task("spec: {type: clone, target: a, clone: {upstreamRef: {type: '{{plan.params.type}}', git: {repo: a, ref: b, directory: c}}}}"),
		task("spec: {type: clone, taget: a}"),
		task("spec: {type: clone, needs: [1]}"),
		task("spec: {type: llm_call, llm_call: {prompt: a, temperature: warm}}"),
		plan("{parallelism: 1.5}"),
		plan("{tasks: [{nam: a}]}"),
	} {
		check(tt, []byte(tt))
	}
	for _, dir := range []string{"../../examples", "../../testdata/script"} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			switch filepath.Ext(path) {
			case ".yaml":
				check(path, text)
			case ".txtar":
				for _, f := range txtar.Parse(text).Files {
					if filepath.Ext(f.Name) == ".yaml" {
						check(path+":"+f.Name, f.Data)
					}
				}
			}
			return err
		}))
	}
	for _, k := range Kinds() {
		assert.Positive(t, valid[k.Kind], "no example of a %s", k.Kind)
	}
	assert.GreaterOrEqual(t, invalid, 5)
}

// Every field that is this package's own is described.
func TestSchemaDescribed(t *testing.T) {
	for _, name := range Kinds() {
		root := SchemaOf(name)
		for def, s := range root.Defs {
			switch def {
			case "Result", "ResourceRef", "Field", "File": // of the function specification
				continue
			}
			assert.NotEmpty(t, s.Description, "%s", def)
			for _, p := range s.Properties {
				assert.NotEmpty(t, p.Schema.Description, "%s.%s", def, p.Name)
			}
		}
	}
	assert.Nil(t, SchemaOf(KindName{"v1", "ConfigMap"}))
	s := SchemaOf(KindName{StoopV1Alpha1, "Task"})
	assert.Equal(t, []string{"apiVersion", "kind"}, s.Required)
	assert.Equal(t, []string{"type"}, s.Defs["TaskSpec"].Required)
	assert.Equal(t, []string{"resource-merge", "copy-merge", "force-delete-replace", "fast-forward"}, s.Defs["UpgradeWork"].Properties.Find("strategy").AnyOf[0].Enum)
	assert.Equal(t, []string{"Continue", "FailFast"}, s.Defs["PlanSpec"].Properties.Find("failurePolicy").Enum, "no binding there")
}
