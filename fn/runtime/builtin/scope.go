package builtin

import "strings"

// scopes says of Kubernetes' own kinds whether they live in a namespace. The
// versions of a kind agree on it, so only groups are told apart. A table of our
// own costs nothing; loading the OpenAPI schema would cost more than a whole
// small render.
var scopes = func() map[groupKind]bool {
	m := map[groupKind]bool{}
	for _, g := range []struct{ group, namespaced, cluster string }{
		{"", "ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
			"ComponentStatus Namespace Node PersistentVolume"},
		{"admissionregistration.k8s.io", "", "MutatingWebhookConfiguration ValidatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"},
		{"apiextensions.k8s.io", "", "CustomResourceDefinition"},
		{"apiregistration.k8s.io", "", "APIService"},
		{"apps", "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", ""},
		{"autoscaling", "HorizontalPodAutoscaler Scale", ""},
		{"batch", "CronJob Job", ""},
		{"certificates.k8s.io", "", "CertificateSigningRequest"},
		{"coordination.k8s.io", "Lease", ""},
		{"discovery.k8s.io", "EndpointSlice", ""},
		{"events.k8s.io", "Event", ""},
		{"extensions", "Ingress", ""},
		{"flowcontrol.apiserver.k8s.io", "", "FlowSchema PriorityLevelConfiguration"},
		{"networking.k8s.io", "Ingress NetworkPolicy", "IngressClass"},
		{"node.k8s.io", "", "RuntimeClass"},
		{"policy", "PodDisruptionBudget", "PodSecurityPolicy"},
		{"rbac.authorization.k8s.io", "Role RoleBinding", "ClusterRole ClusterRoleBinding"},
		{"scheduling.k8s.io", "", "PriorityClass"},
		{"storage.k8s.io", "CSIStorageCapacity", "CSIDriver CSINode StorageClass VolumeAttachment"},
	} {
		for _, kind := range strings.Fields(g.namespaced) {
			m[groupKind{g.group, kind}] = true
		}
		for _, kind := range strings.Fields(g.cluster) {
			m[groupKind{g.group, kind}] = false
		}
	}
	return m
}()

// groupKind is a kind of resource without its version.
type groupKind struct{ group, kind string }
