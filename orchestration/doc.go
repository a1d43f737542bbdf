// Package orchestration is what happens to packages: it finds the orders in a
// workspace and carries them out.
//
//	bytes ─ codec ─▶ Tree ─▶ discover ─▶ jobs ─▶ each: a chain of mutations, the last is render ─▶ Tree ─ codec ─▶ bytes
//
// The codecs are [OpenList] and [Layout.SaveList] for a ResourceList, and package
// kptdir for a directory. Whatever the way in, [Run] is the one path.
//
// # Words
//
// A workspace is a [kptpkg.Tree], all that stoop was given; its root is the
// declaring package. An order is an object in it that asks for work: a
// PackageRevision (package api). A job is an order being carried out on its
// target, a directory of the workspace. A task is what the order asks for; its
// kind (package task) is a name and a chain of mutations, each a package in, a
// package out. A carrier is an object that brings files which can't be items of
// a list.
//
// [TaskHandler] has the three operations of Porch's task handler. What Porch
// sets on its handler is given here at construction:
//
//	SetRuntime                     TaskHandler.Runtime
//	SetRunnerOptionsResolver       TaskHandler.RunnerOptions
//	SetRepoOpener                  TaskHandler.Repositories (registered ones), TaskHandler.Upstream (any)
//	SetCredentialResolver          TaskHandler.Credentials
//	SetReferenceResolver           TaskHandler.References
//	SetRepoOperationRetryAttempts  repository.Git.Attempts, behind TaskHandler.Upstream
//
// [Engine] does with package revisions in repositories what Porch's engine does:
// each change is a draft that the TaskHandler works on and that is written whole.
// [Publisher] closes what Run made into repositories.
//
// # Where to add
//
//	a task type   its spec in api/, its mutations in task/, a line in task/kinds.go, a script in testdata/script
//	a function    a file in fn/runtime/builtin and a line in its table
//	a runtime     a file in fn/runtime, an element of the chain that internal/cli makes, a call of runtimetest
//	a source      a file in upstream/, an entry of the Mux that internal/cli makes, a call of upstreamtest
package orchestration
