package api

// EditTask copies another revision of the same package, to be changed.
type EditTask struct {
	// SourceRef is the published PackageRevision to copy, of the same
	// repository and packageName. Required; set by the user.
	SourceRef PackageRevisionRef `yaml:"sourceRef,omitempty"`
}

func (t *EditTask) validate(p *problems, field string) {
	t.SourceRef.validate(p, field+".sourceRef", "the published PackageRevision to copy")
}
