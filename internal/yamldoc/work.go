package yamldoc

import "sync/atomic"

// work counts what all documents of the process have cost.
var work struct{ parsed, written atomic.Int64 }

// Work returns how many texts have been parsed and how many changed documents
// written since the process began, proofs of an edit included. It is for tests
// and benchmarks: parsing and writing are what YAML tools spend their time on.
func Work() (parsed, written int64) { return work.parsed.Load(), work.written.Load() }
