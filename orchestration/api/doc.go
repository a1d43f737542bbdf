// Package api is what a user writes: the objects that order work and describe
// repositories, read strictly and checked before anything runs. It does no I/O.
//
// [Decode] turns a YAML node into the Go object of its kind. A field that the
// schema doesn't have, a value of the wrong type and a key given twice are
// errors; each names the object and the field. Validate, which every [Object]
// has, checks what the schema can't say. Both report all problems they find,
// joined by [errors.Join], each a [fn.ResultError].
//
// The schemas of group porch.kpt.dev and config.porch.kpt.dev are Porch's, so
// an object that kubectl printed decodes; fields that only Porch or the API
// server sets are accepted and left alone.
//
// Plans and their tasks may refer to each other's outputs by a [Binding]. What
// holds one is checked once it has its value: Validate, then [TaskSpec.Bind],
// then [TaskSpec.ValidateBound].
//
// A new kind is a file with its structs and one line in kinds.go. A new task
// type of a PackageRevision is a file like init.go and one line in [Task]'s
// members; one of a [Plan] is a struct in work.go with a field in [TaskSpec], a
// line in works and a case in checkMember. `go generate` carries doc comments
// over to docs.txt, from which [SchemaOf] and stoop explain take them.
package api
