package builtin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// annotationFields are where annotations are.
var annotationFields = newFieldTable(`
	* !metadata/annotations
	ReplicationController.core,Deployment,ReplicaSet,DaemonSet,StatefulSet,Job.batch !spec/template/metadata/annotations
	CronJob.batch !spec/jobTemplate/metadata/annotations
	CronJob.batch !spec/jobTemplate/spec/template/metadata/annotations
`)

// setAnnotations sets annotations of resources and of the templates in them, as
// set-annotations v0.1.4 of the catalog does. A SetAnnotations config may name
// further fields.
func setAnnotations(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "set-annotations", "ConfigMap", "SetAnnotations")
	if err != nil {
		return err
	}
	from := "data"
	var more fieldTable
	if c.kind == "SetAnnotations" {
		from = "annotations"
		if more, err = additionalFields(c, "additionalAnnotationFields"); err != nil {
			return err
		}
	}
	annotations, err := c.pairs(from)
	if err != nil {
		return err
	}
	if len(annotations) == 0 {
		return c.errorf(from, "`%s` should not be empty", from)
	}
	message, err := json.Marshal(pairMap(annotations))
	if err != nil {
		return fmt.Errorf("set-annotations: %w", err)
	}

	first := len(call.Results)
	said := map[about]bool{}
	for _, o := range call.Items {
		n := root(o.Node)
		if n == nil {
			continue
		}
		set := func(m *yaml.Node, path string) error {
			// once for all items of a list, and for files of one name in several packages
			if at := (about{o.Path, o.Index, path}); !said[at] {
				addAbout(call, o, path, "set annotations: "+string(message))
				said[at] = true
			}
			return setPairs(o, m, path, annotations)
		}
		if err := annotationFields.visit(o, n, set); err != nil {
			return fmt.Errorf("set-annotations: %w", err)
		}
		if err := more.visit(o, n, set); err != nil {
			return fmt.Errorf("set-annotations: %w", err)
		}
	}
	slices.SortStableFunc(call.Results[first:], compareAbout)
	return nil
}

// about is what the catalog's function tells its results by.
type about struct {
	path  string
	index int
	field string
}

func pairMap(pairs []pair) map[string]string {
	m := map[string]string{}
	for _, p := range pairs {
		m[p.key] = p.value
	}
	return m
}

// compareAbout orders results by file, document and field.
func compareAbout(a, b fn.Result) int {
	af, bf := a.File, b.File
	if af == nil {
		af = &fn.File{}
	}
	if bf == nil {
		bf = &fn.File{}
	}
	if c := strings.Compare(af.Path, bf.Path); c != 0 {
		return c
	}
	if af.Index != bf.Index {
		return af.Index - bf.Index
	}
	return strings.Compare(a.Field.Path, b.Field.Path)
}
