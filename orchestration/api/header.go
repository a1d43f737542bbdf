package api

import "github.com/stoop-dev/stoop/fn"

// Header is what every object begins with.
type Header struct {
	// APIVersion is the group and version of the object's schema. Required.
	APIVersion string `yaml:"apiVersion,omitempty"`
	// Kind is the name of the object's schema. Required.
	Kind string `yaml:"kind,omitempty"`
	// Metadata names the object.
	Metadata ObjectMeta `yaml:"metadata,omitempty"`
}

// Head returns the header itself, so that every object is an [Object].
func (h *Header) Head() *Header { return h }

// Ref names the object for results and errors.
func (h *Header) Ref() *fn.ResourceRef {
	return &fn.ResourceRef{
		APIVersion: h.APIVersion, Kind: h.Kind,
		Name: h.Metadata.Name, Namespace: h.Metadata.Namespace,
	}
}

// IsLocalConfig reports whether the object says of itself that it is no
// resource for a cluster. Only such objects are orders.
func (h *Header) IsLocalConfig() bool {
	return h.Metadata.Annotations[LocalConfigAnnotation] == "true"
}

// problems returns an empty collection of problems about the object.
func (h *Header) problems() *problems { return &problems{ref: *h.Ref()} }

// validate checks the header of any object.
func (h *Header) validate(p *problems) {
	if h.Metadata.Name == "" {
		p.missing("metadata.name", "results, references and records need the object's name")
	} else if why := checkSubdomain(h.Metadata.Name); why != "" {
		p.addf("metadata.name", "%s %s", quote(h.Metadata.Name), why)
	}
	h.validateAnnotations(p)
}

// ObjectMeta is the metadata of a Kubernetes object. stoop reads name,
// namespace, labels and annotations; the rest is accepted because objects that
// kubectl printed have it.
type ObjectMeta struct {
	// Name is the object's name, a DNS subdomain. Required; set by the user.
	Name string `yaml:"name,omitempty"`
	// GenerateName is a prefix for a name made by an API server. Not used.
	GenerateName string `yaml:"generateName,omitempty"`
	// Namespace is the object's namespace. Default none; set by the user.
	Namespace string `yaml:"namespace,omitempty"`
	// SelfLink was set by old API servers. Not used.
	SelfLink string `yaml:"selfLink,omitempty"`
	// UID is set by the API server. Not used.
	UID string `yaml:"uid,omitempty"`
	// ResourceVersion is set by the API server. Not used.
	ResourceVersion string `yaml:"resourceVersion,omitempty"`
	// Generation is set by the API server. Not used.
	Generation int64 `yaml:"generation,omitempty"`
	// CreationTimestamp is set by the API server. Not used.
	CreationTimestamp string `yaml:"creationTimestamp,omitempty"`
	// DeletionTimestamp is set by the API server. Not used.
	DeletionTimestamp string `yaml:"deletionTimestamp,omitempty"`
	// DeletionGracePeriodSeconds is set by the API server. Not used.
	DeletionGracePeriodSeconds *int64 `yaml:"deletionGracePeriodSeconds,omitempty"`
	// Labels are the user's.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Annotations are the user's, apart from the record that stoop keeps in
	// AppliedAnnotation and ObservedAnnotation.
	Annotations map[string]string `yaml:"annotations,omitempty"`
	// OwnerReferences are set by controllers. Not used.
	OwnerReferences []OwnerReference `yaml:"ownerReferences,omitempty"`
	// Finalizers are set by controllers. Not used.
	Finalizers []string `yaml:"finalizers,omitempty"`
	// ManagedFields are set by the API server. Not used.
	ManagedFields []ManagedFields `yaml:"managedFields,omitempty"`
}

// OwnerReference is a link from an object in a cluster to the one that owns it.
// Not used.
type OwnerReference struct {
	// APIVersion of the owner.
	APIVersion string `yaml:"apiVersion,omitempty"`
	// Kind of the owner.
	Kind string `yaml:"kind,omitempty"`
	// Name of the owner.
	Name string `yaml:"name,omitempty"`
	// UID of the owner.
	UID string `yaml:"uid,omitempty"`
	// Controller says that the owner manages the object.
	Controller *bool `yaml:"controller,omitempty"`
	// BlockOwnerDeletion says that the owner can't go before the object.
	BlockOwnerDeletion *bool `yaml:"blockOwnerDeletion,omitempty"`
}

// ManagedFields is an API server's note of who set which fields. Not used.
type ManagedFields struct {
	// Manager is who set the fields.
	Manager string `yaml:"manager,omitempty"`
	// Operation is Apply or Update.
	Operation string `yaml:"operation,omitempty"`
	// APIVersion is the version the fields were set in.
	APIVersion string `yaml:"apiVersion,omitempty"`
	// Time is when they were last set.
	Time string `yaml:"time,omitempty"`
	// FieldsType is the format of FieldsV1.
	FieldsType string `yaml:"fieldsType,omitempty"`
	// FieldsV1 is the set of fields.
	FieldsV1 map[string]any `yaml:"fieldsV1,omitempty"`
	// Subresource is the one the fields were set through.
	Subresource string `yaml:"subresource,omitempty"`
}
