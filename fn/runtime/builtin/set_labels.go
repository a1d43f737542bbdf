package builtin

import (
	"context"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// labelFields are where labels and the selectors on them are. Labels of a
// template are made only where there is a template.
var labelFields = newFieldTable(`
	* !metadata/labels
	Service.core,ReplicationController.core !spec/selector
	Deployment,ReplicaSet,DaemonSet,StatefulSet.apps !spec/selector/matchLabels
	Job.batch,PodDisruptionBudget.policy spec/selector/matchLabels
	CronJob.batch spec/jobTemplate/spec/selector/matchLabels
	NetworkPolicy.networking.k8s.io spec/podSelector/matchLabels
	NetworkPolicy.networking.k8s.io spec/ingress/from/podSelector/matchLabels
	NetworkPolicy.networking.k8s.io spec/egress/to/podSelector/matchLabels
	ReplicationController.core,Deployment,ReplicaSet,DaemonSet,StatefulSet.apps,Job.batch spec/template/!metadata/labels
	CronJob.batch spec/jobTemplate/!metadata/labels
	CronJob.batch spec/jobTemplate/spec/template/!metadata/labels
	StatefulSet.apps spec/volumeClaimTemplates/!metadata/labels
	Deployment.apps,StatefulSet.apps spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels
	Deployment.apps,StatefulSet.apps spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels
	Deployment.apps,StatefulSet.apps spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels
	Deployment.apps,StatefulSet.apps spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels
	Deployment.apps,StatefulSet.apps spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels
`)

// setLabels sets labels of resources, and of the selectors and templates in
// them, as set-labels v0.2 of the catalog does. Resources marked as local
// configuration stay as they are. A SetLabels config may name further fields,
// as it could in v0.1.
func setLabels(_ context.Context, call *fn.Call) error {
	c, err := readConfig(call, "set-labels", "ConfigMap", "SetLabels")
	if err != nil {
		return err
	}
	from := "data"
	var more fieldTable
	if c.kind == "SetLabels" {
		from = "labels"
		if more, err = additionalFields(c, "additionalLabelFields"); err != nil {
			return err
		}
	}
	labels, err := c.pairs(from)
	if err != nil {
		return err
	}
	if len(labels) == 0 {
		return c.errorf(from, "`%s` should not be empty", from)
	}

	count := 0
	for _, o := range call.Items {
		n := root(o.Node)
		if n == nil || isLocalConfig(n) {
			continue
		}
		set := func(m *yaml.Node, path string) error {
			count += len(labels)
			return setPairs(o, m, path, labels)
		}
		if err := labelFields.visit(o, n, set); err != nil {
			return fmt.Errorf("set-labels: %w", err)
		}
		if text(n, "kind") == "" {
			// a kustomization file: the catalog's function takes it for one of
			// every kind, and makes what these must have
			for _, kind := range [...]string{"Service", "ReplicationController", "Deployment"} {
				if err := labelFields.visitKind(kind, o, n, set); err != nil {
					return fmt.Errorf("set-labels: %w", err)
				}
			}
		}
		if err := more.visit(o, n, set); err != nil {
			return fmt.Errorf("set-labels: %w", err)
		}
	}
	call.Add(fn.Info, nil, "", fmt.Sprintf("set %d labels in total", count))
	return nil
}

// setPairs sets the keys of a mapping.
func setPairs(o *fn.Object, m *yaml.Node, path string, pairs []pair) error {
	for _, p := range pairs {
		if !setText(m, p.key, p.value) {
			return fieldError(o, path+"."+p.key, "expect a string")
		}
	}
	return nil
}
