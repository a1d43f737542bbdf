package task

// Kinds is every type of task. A chain reads left to right.
var Kinds = []Kind{
	{"init", "make a new, empty package", []Mutation{RequireEmpty, Scaffold, SetMetadata, Render}},
	{"clone", "copy a package from upstream", []Mutation{RequireEmpty, FetchUpstream, LockUpstream, AddPackageContext, AddMergeKeys, SetMetadata, Render}},
	{"update", "carry changed metadata over to the Kptfile", []Mutation{PatchKptfile, Render}},
	{"render", "run the package's pipeline", []Mutation{Render}},
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
