// Package merge merges kpt packages three ways: what upstream changed since
// base goes into local, what was changed locally stays.
//
// Resources are matched by what they are rather than where they stand, and
// merged field by field. Where both sides changed the same thing differently is
// a [Conflict]: nothing is settled silently. The package is pure: trees in, a
// tree out, no I/O.
//
//	merge.go     Merge, its options and result
//	conflict.go  conflicts, who wins, how one side is accepted
//	packages.go  resource-merge of a package and its subpackages
//	replace.go   fast-forward, force-delete-replace and copy-merge
//	rendered.go  what rendering wrote, which is nobody's change
//	nested.go    packages within that have an upstream of their own
//	inventory.go the resources of a tree; identity.go what they are called
//	match.go     which of them belong together; place.go where they go
//	resource.go  one resource; fields.go and lists.go its fields
//	kptfile.go   a Kptfile; files.go everything that isn't a resource
//	node.go      YAML nodes: finding, comparing, quoting
//	schema.go    which lists have items with identity
//	keys.go      the merge keys a clone adds
//
// The rules are kpt's (its update strategies and its merge3) where doc comments
// don't say otherwise.
package merge
