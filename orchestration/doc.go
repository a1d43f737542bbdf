// Package orchestration is what happens to packages: it finds the orders in a
// workspace and carries them out.
//
//	bytes ─ codec ─▶ Tree ─▶ discover ─▶ graph of jobs and tasks ─▶ each: a chain of mutations, the last is render ─▶ Tree ─ codec ─▶ bytes
//
// The codecs are [OpenList] and [Layout.SaveList] for a ResourceList, and package
// kptdir for a directory. Whatever the way in, [Run] is the one path.
//
// # Words
//
// A workspace is a [kptpkg.Tree], all that stoop was given; its root is the
// declaring package. An order is an object in it that asks for work: a
// PackageRevision, PackageRevisionResources, a Plan or a Task (package api). A job
// is one of the first two being carried out on its target, a directory of the
// workspace. A task is what a PackageRevision asks for, a Task, or one of a plan's;
// its kind (package task) is a name and a chain of mutations, each a package in, a
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
// Jobs and tasks are steps of one graph (package dag), a plan is a step with a graph
// of its own: plan_build.go makes them of objects, plan_check.go refuses what can't
// work before anything runs, plan_steps.go makes the graph, work.go carries one task
// out, status.go writes what came of it. What they find and leave is in a store; a
// package goes in with the event that ends its step. [Orchestrator] is plans for Go
// programs, [Inspect] what a run would do.
//
// [Engine] does with package revisions in repositories what Porch's engine does:
// each change is a draft that the TaskHandler works on and that is written whole.
// [Publisher] closes what Run made into repositories.
//
// # Where to add
//
//	a task type   its spec and a line in api/plantask.go, a chain of mutations in task/kinds.go or what it does, and its traits, in worktypes.go, a script in testdata/script
//	a function    a file in fn/runtime/builtin and a line in its table
//	a runtime     a file in fn/runtime, an element of the chain that internal/cli makes, a call of runtimetest
//	a source      a file in upstream/, an entry of the Mux that internal/cli makes, a call of upstreamtest
package orchestration
