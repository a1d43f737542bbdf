package builtin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/filters/replacement"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/kustomize/kyaml/utils"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// applyReplacements copies values between fields, as apply-replacements v0.1 of
// the catalog does: with kustomize's replacements.
func applyReplacements(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "apply-replacements", "ApplyReplacements")
	if err != nil {
		return err
	}
	var replacements []types.Replacement
	if n := get(c.node, "replacements"); n != nil {
		if err := n.Decode(&replacements); err != nil {
			return c.errorf("replacements", "expect a list of kustomize replacements: %v", err)
		}
	}
	nodes := make([]*yaml.RNode, 0, len(call.Items))
	for _, o := range call.Items {
		n := root(o.Node)
		if n == nil {
			continue
		}
		// kustomize reads these without looking what they are
		for _, path := range [][]string{{"metadata"}, {"metadata", "labels"}, {"metadata", "annotations"}} {
			if v := get(n, path...); v != nil && v.Kind != yaml.MappingNode && !isNull(v) {
				return fmt.Errorf("apply-replacements: %w", fieldError(o, strings.Join(path, "."), "expect a mapping"))
			}
		}
		nodes = append(nodes, o.Node)
	}
	for i, r := range replacements {
		if err := replace(call, nodes, r, fmt.Sprintf("replacements[%d]", i)); err != nil {
			return c.errorf(fmt.Sprintf("replacements[%d]", i), "%v", err)
		}
	}
	return nil
}

// replace applies one replacement. kustomize, since its version 5, fails when a
// selected resource lacks a target field; apply-replacements v0.1.1 leaves such
// a resource alone, and packages count on that. So kustomize is shown, for one
// field at a time, only the resources that have it.
func replace(call *fn.Call, nodes []*yaml.RNode, r types.Replacement, at string) error {
	if len(r.Targets) == 0 || r.Source == nil {
		_, err := replacement.Filter{Replacements: []types.Replacement{r}}.Filter(nodes)
		return err
	}
	source := map[*yaml.RNode]bool{}
	for _, n := range nodes {
		if resid.FromRNode(n).IsSelectedBy(r.Source.ResId) {
			source[n] = true
		}
	}
	for i, target := range r.Targets {
		if target == nil || target.Select == nil || slices.Contains(target.Reject, nil) {
			return fmt.Errorf("targets[%d]: expect a select, and no empty reject", i)
		}
		selector, err := types.NewTargetSelectorRegex(target)
		if err != nil {
			return fmt.Errorf("targets[%d]: %w", i, err)
		}
		anySelected := slices.ContainsFunc(nodes, func(n *yaml.RNode) bool { return selector.Selects(resid.FromRNode(n)) })
		fieldPaths := target.FieldPaths
		if len(fieldPaths) == 0 {
			fieldPaths = []string{types.DefaultReplacementFieldPath}
		}
		for _, fieldPath := range fieldPaths {
			shown, found := nodes, true
			if target.Options == nil || !target.Options.Create {
				shown, found = nil, false
				path := utils.SmarterPathSplitter(fieldPath, ".")
				for _, n := range nodes {
					has := hasField(n, path)
					found = found || has
					if has || source[n] {
						shown = append(shown, n)
					}
				}
			}
			if !found && anySelected {
				call.Add(fn.Warning, nil, "", fmt.Sprintf("%s.targets[%d]: no resource has the field %q", at, i, fieldPath))
			}
			one := *target
			one.FieldPaths = []string{fieldPath}
			_, err = replacement.Filter{Replacements: []types.Replacement{
				{Source: r.Source, SourceValue: r.SourceValue, Targets: []*types.TargetSelector{&one}},
			}}.Filter(shown)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// hasField says whether a target path leads to anything. Where it can't be
// followed, kustomize is to say why.
func hasField(n *yaml.RNode, path []string) bool {
	found, err := n.Pipe(&yaml.PathMatcher{Path: path})
	return err != nil || found != nil && len(found.YNode().Content) > 0
}
