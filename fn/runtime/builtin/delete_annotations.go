package builtin

import (
	"context"
	"fmt"
	"strings"

	"github.com/stoop-dev/stoop/fn"
)

// deleteAnnotations deletes the annotations that data.annotationKeys names,
// separated by commas. An annotations field that becomes empty goes too.
func deleteAnnotations(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "delete-annotations", "ConfigMap")
	if err != nil {
		return err
	}
	opts, err := c.options("annotationKeys")
	if err != nil {
		return err
	}
	var keys []string
	for key := range strings.SplitSeq(opts["annotationKeys"], ",") {
		if key = strings.TrimSpace(key); key != "" {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return c.errorf("data.annotationKeys", "expect annotation names, separated by commas")
	}
	for _, o := range call.Items {
		metadata := get(root(o.Node), "metadata")
		annotations := get(metadata, "annotations")
		for _, key := range keys {
			if remove(annotations, key) {
				call.Add(fn.Info, o, "metadata.annotations", fmt.Sprintf("deleted annotation %q", key))
			}
		}
		if annotations != nil && len(annotations.Content) == 0 && !isNull(annotations) {
			remove(metadata, "annotations")
		}
	}
	return nil
}
