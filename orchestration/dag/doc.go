// Package dag runs a graph of steps: in order, in parallel, within limits, with
// retries, timeouts and cancellation. What a step does is a function to it; of
// packages, tasks and YAML it knows nothing.
//
// # States
//
//	Pending ──▶ Ready ──▶ Executing ──▶ Completed
//	   │          │          ├────────▶ Failed
//	   │          │          ├────────▶ Pending     a retry, held by its Do, or interrupted by a suspension
//	   │          │          └────────▶ Cancelled
//	   │          ├──▶ Completed        a gate: a step that does nothing
//	   │          └──▶ Cancelled
//	   ├──▶ Blocked                     a need can't be met: something before it failed
//	   ├──▶ Skipped                     a condition isn't met
//	   └──▶ Cancelled
//
// [State.CanBecome] is the whole table; a change that is not in it stops the run
// with [BadTransition]. A step is judged once, when all it needs has ended, so
// what becomes of it depends on results and never on who was first.
//
// # The loop
//
// One goroutine, the coordinator, owns all state. It starts what may start, then
// sleeps until an attempt returns, an alarm rings, or its caller cancels or
// suspends:
//
//	      ┌──────────── settle: tell dependents ◀──────────┐
//	      ▼                                                 │
//	ready lanes ── dispatch ──▶ one goroutine an attempt ──▶ receive
//	 ▲       │                                              ▲
//	 └─ parked lanes (a limit is reached)       alarms: retry, grace, deadline
//
// Steps that are subject to the same limits wait in one lane, the most urgent
// first: by priority, then by how many steps hang on it one after another, then
// as declared. The lanes themselves are in a heap by their first steps. A lane
// whose limit is reached is parked at that limit and the next lane gets its
// turn; a slot that falls free wakes one lane. Nothing scans the steps.
//
// A step may be a graph itself. Its steps belong to the same coordinator and
// take a slot in every graph around them, the step that holds them takes none;
// timeouts, cancellation and suspension reach through. Its Do, if it has one, is
// called at the end to make outputs of theirs.
//
// # Ends
//
// A step never has two attempts at work. An attempt that outlives its timeout
// or a cancellation has [Options.Grace] to return, whatever it returns after its
// timeout is discarded, and one that still doesn't return fails for good; it
// keeps its slot, but the run goes on and ends without it, see [Report.Stuck].
//
// When nothing runs and nothing is waited for, the run is over: complete,
// suspended (a held step, or the caller's wish), or, if neither explains what
// is unfinished, failed with [Orchestration] and a list of who waits for what.
//
// Time is package time's. Inside a bubble of testing/synctest that is a fake
// clock, under which a run depends on nothing but its graph.
package dag
