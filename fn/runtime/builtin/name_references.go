package builtin

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/stoop-dev/stoop/fn"
)

// reference is a field that names a resource of a kind.
type reference struct {
	target *targetKind
	// group and version are those of the resources that have the field, empty:
	// any.
	group, version string
	// path leads to a name, to a mapping with a name and maybe a namespace, or
	// to a list of either. Lists on the way stand for all of their items.
	path []string
}

// targetKind is a kind that is referred to. An empty group or version is any.
type targetKind struct{ group, version, kind string }

// referenceTable is what refers to what.
type referenceTable struct {
	targets    map[string][]*targetKind // by kind
	references map[string][]reference   // by kind of the resource that has the field
}

// nameReferences are the references that kustomize (api v0.21) fixes by default.
// Each line has the kinds that are referred to, the kinds that refer, both as
// KIND[.GROUP][/VERSION], and the path of the field, where $pod stands for the
// place of the kind's pod. The kinds differ from one field to the next in
// kustomize too. It also lists Ingresses' ingressClassName, but for a group that
// no IngressClass has, and so never changes it.
var nameReferences = sync.OnceValue(func() referenceTable {
	const configured = "Pod/v1,PodTemplate,Deployment,ReplicaSet,DaemonSet,StatefulSet,Job,CronJob"
	const scheduled = "Pod,Deployment,ReplicationController,DaemonSet,StatefulSet,Job,CronJob"
	return newReferenceTable(strings.NewReplacer("$configured", configured, "$scheduled", scheduled, "$rbac", "rbac.authorization.k8s.io").Replace(`
		Deployment,ReplicationController,ReplicaSet,StatefulSet HorizontalPodAutoscaler spec/scaleTargetRef/name

		ConfigMap/v1 $configured $pod/volumes/configMap/name
		ConfigMap/v1 $configured $pod/volumes/projected/sources/configMap/name
		ConfigMap/v1 $configured $pod/containers/env/valueFrom/configMapKeyRef/name
		ConfigMap/v1 $configured $pod/initContainers/env/valueFrom/configMapKeyRef/name
		ConfigMap/v1 $configured $pod/containers/envFrom/configMapRef/name
		ConfigMap/v1 $configured $pod/initContainers/envFrom/configMapRef/name
		ConfigMap/v1 Node spec/configSource/configMap
		ConfigMap/v1 Ingress metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap

		Secret/v1 $configured $pod/volumes/secret/secretName
		Secret/v1 $configured $pod/volumes/projected/sources/secret/name
		Secret/v1 $configured $pod/containers/env/valueFrom/secretKeyRef/name
		Secret/v1 $configured $pod/initContainers/env/valueFrom/secretKeyRef/name
		Secret/v1 $configured $pod/containers/envFrom/secretRef/name
		Secret/v1 $configured $pod/initContainers/envFrom/secretRef/name
		Secret/v1 $configured $pod/imagePullSecrets/name
		Secret/v1 Service.serving.knative.dev/v1 spec/template/spec/containers/env/valueFrom/secretKeyRef/name
		Secret/v1 ServiceAccount imagePullSecrets/name
		Secret/v1 Ingress spec/tls/secretName
		Secret/v1 Ingress metadata/annotations/ingress.kubernetes.io\/auth-secret
		Secret/v1 Ingress metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret
		Secret/v1 Ingress metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret
		Secret/v1 StorageClass parameters/secretName
		Secret/v1 StorageClass parameters/adminSecretName
		Secret/v1 StorageClass parameters/userSecretName
		Secret/v1 StorageClass parameters/secretRef
		Secret/v1 PersistentVolume spec/azureFile/secretName

		ConfigMap/v1,Secret/v1 Role,ClusterRole rules/resourceNames
		PersistentVolume/v1 ClusterRole rules/resourceNames

		Service/v1 StatefulSet.apps spec/serviceName
		Service/v1 Ingress spec/rules/http/paths/backend/serviceName
		Service/v1 Ingress spec/rules/http/paths/backend/service/name
		Service/v1 Ingress spec/backend/serviceName
		Service/v1 Ingress spec/defaultBackend/service/name
		Service/v1 APIService.apiregistration.k8s.io spec/service/name
		Service/v1 ValidatingWebhookConfiguration.admissionregistration.k8s.io webhooks/clientConfig/service
		Service/v1 MutatingWebhookConfiguration.admissionregistration.k8s.io webhooks/clientConfig/service

		Role.$rbac RoleBinding.$rbac roleRef/name
		ClusterRole.$rbac RoleBinding.$rbac,ClusterRoleBinding.$rbac roleRef/name
		ServiceAccount/v1 RoleBinding.$rbac,ClusterRoleBinding.$rbac subjects
		ServiceAccount/v1 $scheduled $pod/serviceAccountName

		PersistentVolumeClaim/v1 $scheduled $pod/volumes/persistentVolumeClaim/claimName
		PersistentVolume/v1 PersistentVolumeClaim spec/volumeName
		StorageClass.storage.k8s.io/v1 PersistentVolume,PersistentVolumeClaim spec/storageClassName
		StorageClass.storage.k8s.io/v1 StatefulSet spec/volumeClaimTemplates/spec/storageClassName
		PriorityClass.scheduling.k8s.io/v1 $scheduled $pod/priorityClassName
		ValidatingAdmissionPolicy.admissionregistration.k8s.io ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io spec/policyName
	`))
})

func newReferenceTable(lines string) referenceTable {
	t := referenceTable{map[string][]*targetKind{}, map[string][]reference{}}
	targets := map[targetKind]*targetKind{}
	for line := range strings.Lines(lines) {
		columns := strings.Fields(line)
		if len(columns) == 0 {
			continue
		}
		for spec := range strings.SplitSeq(columns[0], ",") {
			kind := parseKind(spec)
			target := targets[kind]
			if target == nil {
				target = &kind
				targets[kind] = target
				t.targets[kind.kind] = append(t.targets[kind.kind], target)
			}
			for spec := range strings.SplitSeq(columns[1], ",") {
				from := parseKind(spec)
				path := strings.Replace(columns[2], "$pod", podPath(from.kind), 1)
				t.references[from.kind] = append(t.references[from.kind], reference{target, from.group, from.version, splitPath(path)})
			}
		}
	}
	return t
}

// parseKind reads KIND[.GROUP][/VERSION].
func parseKind(spec string) (k targetKind) {
	spec, k.version, _ = strings.Cut(spec, "/")
	k.kind, k.group, _ = strings.Cut(spec, ".")
	return k
}

// podPath is where a kind has its pod's spec.
func podPath(kind string) string {
	switch kind {
	case "Pod":
		return "spec"
	case "PodTemplate":
		return "template/spec"
	case "CronJob":
		return "spec/jobTemplate/spec/template/spec"
	}
	return "spec/template/spec"
}

// selects says whether a kind and API version are those of an apiVersion.
func selects(group, version, apiVersion string) bool {
	return (group == "" || group == groupOf(apiVersion)) && (version == "" || version == versionOf(apiVersion))
}

// referenceTargets are the resources that were renamed, by what they are called
// where they are referred to, with the namespace that a reference to them may
// be given: the one that all of them name, else none.
type referenceTargets map[targetName]string

// targetName is a name that a resource had. Its namespace is what
// effectiveNamespace returns; each resource is also listed under everywhere.
type targetName struct {
	kind            *targetKind
	name, namespace string
}

// No namespace can be called like these.
const (
	noNamespace = "/" // of a cluster-scoped resource
	everywhere  = "*"
)

// effectiveNamespace is the namespace that a resource counts as part of: as in
// kustomize one that names none is in the default namespace, unless its kind is
// known to have none.
func effectiveNamespace(n *yaml.Node) string {
	if namespaced, known := scopes[groupKind{groupOf(text(n, "apiVersion")), text(n, "kind")}]; known && !namespaced {
		return noNamespace
	}
	return cmp.Or(text(n, "metadata", "namespace"), "default")
}

// add adds a resource and the name that it had.
func (t referenceTargets) add(n *yaml.Node, name string) {
	apiVersion := text(n, "apiVersion")
	namespace := effectiveNamespace(n)
	named := text(n, "metadata", "namespace")
	for _, kind := range nameReferences().targets[text(n, "kind")] {
		if !selects(kind.group, kind.version, apiVersion) {
			continue
		}
		for _, in := range []string{namespace, everywhere} {
			key := targetName{kind, name, in}
			if have, ok := t[key]; ok && have != named {
				t[key] = ""
			} else {
				t[key] = named
			}
		}
	}
}

// find looks for a resource that was called name. A reference reaches the
// resources of one namespace and those without; where in is noNamespace, the
// place of a cluster-scoped resource, all.
func (t referenceTargets) find(kind *targetKind, name, in string) (namespace string, ok bool) {
	if in == noNamespace {
		in = everywhere
	}
	if namespace, ok = t[targetName{kind, name, in}]; ok {
		return namespace, true
	}
	namespace, ok = t[targetName{kind, name, noNamespace}]
	return namespace, ok
}

// fixReferences changes the references in a resource to those that were
// renamed.
func (r *renamer) fixReferences(o *fn.Object, n *yaml.Node, targets referenceTargets) {
	apiVersion, namespace := text(n, "apiVersion"), effectiveNamespace(n)
	for _, ref := range nameReferences().references[text(n, "kind")] {
		if selects(ref.group, ref.version, apiVersion) {
			f := referenceFixer{renamer: r, object: o, namespace: namespace, ref: ref, targets: targets}
			f.walk(n, 0, "")
		}
	}
}

// referenceFixer changes what one field of a resource holds.
type referenceFixer struct {
	*renamer
	object    *fn.Object
	namespace string // the object's
	ref       reference
	targets   referenceTargets
	been      entered
}

// walk follows the rest of the path from depth on. What has another shape than
// the path is no reference.
func (f *referenceFixer) walk(n *yaml.Node, depth int, at string) {
	n, first := f.been.enter(n, depth)
	switch {
	case !first:
	case n.Kind == yaml.SequenceNode:
		for i, e := range n.Content {
			f.walk(e, depth, at+"["+strconv.Itoa(i)+"]")
		}
	case depth < len(f.ref.path):
		key := f.ref.path[depth]
		if v := value(n, key); v != nil && !(key == "roleRef" && f.otherKind(deref(v))) {
			f.walk(v, depth+1, strings.TrimPrefix(at+"."+key, "."))
		}
	case n.Kind == yaml.ScalarNode:
		if _, ok := f.targets.find(f.ref.target, n.Value, f.namespace); ok {
			f.set(n, at)
		}
	case n.Kind == yaml.MappingNode && !f.otherKind(n):
		f.fixMapping(n, at)
	}
}

// otherKind says whether a reference names its kind and it isn't the one meant.
// kustomize looks at that in a roleRef; in subjects it doesn't, and takes a User
// called like a ServiceAccount for it, which would give rights to somebody else.
func (f *referenceFixer) otherKind(n *yaml.Node) bool {
	kind := text(n, "kind")
	return kind != "" && kind != f.ref.target.kind
}

// fixMapping changes a reference that may name a namespace. As in kustomize,
// one that names none is given that of the resource it means, if that has one.
func (f *referenceFixer) fixMapping(n *yaml.Node, at string) {
	name := get(n, "name")
	if name == nil || name.Kind != yaml.ScalarNode {
		return
	}
	in := text(n, "namespace")
	namespace, ok := f.targets.find(f.ref.target, name.Value, cmp.Or(in, f.namespace))
	if !ok {
		return
	}
	f.set(name, at+".name")
	if in == "" && namespace != "" && setText(n, "namespace", namespace) {
		f.call.Add(fn.Info, f.object, at+".namespace", fmt.Sprintf("set namespace to %q, the %s's", namespace, f.ref.target.kind))
	}
}

// set gives a reference the new name.
func (f *referenceFixer) set(name *yaml.Node, at string) {
	setScalar(name, f.rename(name.Value))
	f.call.Add(fn.Info, f.object, at, fmt.Sprintf("set name of the %s to %q", f.ref.target.kind, name.Value))
}
