package builtin

// The kinds of functionConfig, as [Info] names them.
const (
	configMap = "v1 ConfigMap"
	fnKinds   = "fn.kpt.dev/v1alpha1 "
)

// functions is the table of built-in functions.
func functions() []function {
	return []function{
		{"apply-replacements", patches("v0.1", 1, 1), "copies values from one resource's fields to others'", []string{fnKinds + "ApplyReplacements"}, applyReplacements, false},
		{"apply-setters", patches("v0.2", 0, 2), "sets fields marked with kpt-set comments", []string{configMap}, applySetters, false},
		{"create-setters", patches("v0.1", 0, 0), "marks fields that hold given values with kpt-set comments", []string{configMap}, createSetters, false},
		{"delete-annotations", patches("v0.1", 0, 0), "deletes annotations", []string{configMap}, deleteAnnotations, false},
		{"ensure-name-substring", append(patches("v0.1", 0, 1), patches("v0.2", 0, 0)...), "puts a substring before or behind the names that lack it, and fixes references", []string{configMap, fnKinds + "EnsureNameSubstring"}, ensureNameSubstring, false},
		{"gen-package-context", patches("v0.1", 0, 0), "adds the package-context ConfigMap to packages that lack it", []string{configMap + " (optional)"}, genPackageContext, true},
		{"list-setters", patches("v0.1", 0, 0), "lists setters, their values and how often they are used", nil, listSetters, false},
		{"remove-local-config-resources", patches("v0.1", 0, 0), "removes resources that are marked as local configuration", nil, removeLocalConfig, false},
		{"search-replace", patches("v0.2", 0, 0), "finds fields by path or value and sets values or setter comments", []string{configMap}, searchReplace, false},
		{"set-annotations", patches("v0.1", 4, 4), "sets annotations of resources and their templates", []string{configMap, fnKinds + "SetAnnotations"}, setAnnotations, false},
		{"set-image", patches("v0.1", 0, 1), "sets name, tag or digest of container images", []string{configMap, fnKinds + "SetImage"}, setImage, true},
		{"set-labels", patches("v0.2", 0, 5), "sets labels of resources, their selectors and templates", []string{configMap, fnKinds + "SetLabels"}, setLabels, true},
		{"set-name-prefix", patches("v0.1", 0, 0), "puts a prefix before names, and fixes references", []string{configMap, "builtin PrefixTransformer"}, setNamePrefix, false},
		{"set-namespace", patches("v0.4", 1, 5), "sets the namespace of resources and of what refers to them", []string{configMap, fnKinds + "SetNamespace"}, setNamespace, true},
		{"starlark", append(patches("v0.4", 0, 3), patches("v0.5", 0, 0)...), "runs a Starlark script on the resources", []string{configMap, fnKinds + "StarlarkRun"}, runStarlark, true},
		{"upsert-resource", patches("v0.2", 0, 0), "adds a resource, or replaces the one that has its name", []string{"any resource", "v1 List of resources"}, upsertResource, true},
	}
}
