package task

// Kinds is every type of task. A chain reads left to right.
var Kinds = []Kind{
	// make a new, empty package
	{"init", []Mutation{RequireEmpty, Scaffold, SetMetadata, Render}},
	// copy a package from upstream
	{"clone", []Mutation{RequireEmpty, FetchUpstream, LockUpstream, AddPackageContext, AddMergeKeys, SetMetadata, Render}},
	// make a new revision of a package from a published one
	{"edit", []Mutation{CopyRevision, SetMetadata, Render}},
	// merge a newer upstream revision into a package
	{"upgrade", []Mutation{MergeUpstream, LockUpstream, AddMergeKeys, SetMetadata, Render}},
	// make given resources the package
	{"replace", []Mutation{ReplaceFiles, KeepComments, Render}},
	// carry changed metadata over to the Kptfile
	{"update", []Mutation{PatchKptfile, Render}},
	// run one function on the package
	{"eval", []Mutation{Eval, Render}},
	// run the package's pipeline
	{"render", []Mutation{Render}},
	// run one function as a tool
	{"tool_call", []Mutation{Eval}},
}

// Find returns the kind of that name.
func Find(name string) (Kind, bool) {
	for _, k := range Kinds {
		if k.Name == name {
			return k, true
		}
	}
	return Kind{}, false
}
