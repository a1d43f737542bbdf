package merge

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// Strategy is how an upgrade treats what was changed locally.
type Strategy string

// The strategies of kpt.
const (
	// ResourceMerge merges resources field by field. It is the default.
	ResourceMerge Strategy = "resource-merge"
	// FastForward replaces a package that wasn't changed locally, and refuses
	// one that was.
	FastForward Strategy = "fast-forward"
	// ForceDeleteReplace replaces the package, whatever was changed locally;
	// its Kptfile is merged.
	ForceDeleteReplace Strategy = "force-delete-replace"
	// CopyMerge copies upstream's files over the package and removes those that
	// upstream no longer has; files of the package's own stay, and its Kptfile
	// is merged.
	CopyMerge Strategy = "copy-merge"
)

var strategies = []Strategy{ResourceMerge, FastForward, ForceDeleteReplace, CopyMerge}

// ParseStrategy reads the name of a strategy; empty is [ResourceMerge]. Another
// name is an error, where Porch takes it for resource-merge.
func ParseStrategy(name string) (Strategy, error) {
	if name == "" {
		return ResourceMerge, nil
	}
	if !slices.Contains(strategies, Strategy(name)) {
		return "", fmt.Errorf("unknown strategy %q: use one of %v", name, strategies)
	}
	return Strategy(name), nil
}

// A StrategyError says why a strategy can't merge.
type StrategyError struct {
	Strategy Strategy
	Err      error // the cause, which names no strategy
}

// Error is the cause with the strategy's name before it.
func (e *StrategyError) Error() string { return string(e.Strategy) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StrategyError) Unwrap() error { return e.Err }

// Options say how to merge. The zero value is a resource-merge of a subpackage
// that fails on conflicts.
type Options struct {
	// Strategy is how; empty is [ResourceMerge].
	Strategy Strategy
	// OnConflict settles the conflicts that Resolve doesn't; empty is [Fail].
	OnConflict Policy
	// Resolve settles conflicts place by place, whatever OnConflict says.
	Resolve Resolutions
	// Dir is what comes before the files of conflicts where they are shown to the
	// user: the directory of the package as seen from where the user gives
	// Resolve. Keys of Resolve are without it.
	Dir string
	// Root says that the trees are what is being upgraded, as opposed to a
	// package within it: a resource-merge then leaves the Kptfile's upstream and
	// upstreamLock for the caller to set. Of a package that isn't the root and
	// whose own upstream was changed locally, resource-merge touches nothing.
	Root bool
	// Nested says to merge packages within that have an upstream of their own
	// too, each by its own strategy, as the command `kpt pkg update` does. Such
	// packages are otherwise left as they are locally, as by Porch.
	Nested bool
	// Rendered tells what rendering wrote, which is nobody's change: a merge that
	// would stop for it takes upstream's, so the package has to be rendered
	// afterwards. It is only asked then. nil: all was changed by somebody.
	Rendered Rendered
	// entrywise says to merge a mapping that upstream has no more entry by entry, as
	// it is only asked which of them were added locally.
	entrywise bool
}

// Result is a merged package.
type Result struct {
	Tree kptpkg.Tree
	// Conflicts are all places that both sides changed, those settled included,
	// by file and line.
	Conflicts Conflicts
	// Unused are the keys of Options.Resolve that no conflict asked for, sorted:
	// a typing mistake, mostly.
	Unused []string
	// Skipped are the packages that upstream changed and that are left as they are
	// locally for an upstream of their own, sorted: those within, as Options.Nested
	// says, unless they have another one than in base; the root, as ".", as
	// Options.Root says.
	Skipped []string
	// RenderError is why Options.Rendered had no answer; nil: it had, or wasn't
	// asked. What rendering wrote counts as changed locally then.
	RenderError error
}

// Merge brings what upstream changed since base into local. A side that doesn't
// exist is an empty tree. The error is a [ConflictError] when conflicts are left
// to be settled, then Result has the conflicts and no tree; for wrong options it
// says which; otherwise it is a [StrategyError] that names what can't be merged,
// with file and line: a resource given twice in one file, a malformed merge comment,
// a subpackage added on both sides, a bad Kptfile, or for [FastForward] what was
// changed locally.
func Merge(base, local, upstream kptpkg.Tree, o Options) (Result, error) {
	strategy, err := ParseStrategy(string(o.Strategy))
	if err != nil {
		return Result{}, err
	}
	o.Strategy = strategy
	if err := o.OnConflict.check(); err != nil {
		return Result{}, err
	}
	if o.Rendered != nil {
		return withoutRendered(trees{base, local, upstream}, o)
	}
	return mergeOnce(trees{base, local, upstream}, o, settled{})
}

// mergeOnce merges, whatever rendering wrote.
func mergeOnce(t trees, o Options, s settled) (Result, error) {
	m := &merger{Options: o, used: map[string]bool{}, settled: s}
	tree, err := m.run(t)
	if err != nil {
		return Result{}, &StrategyError{cmp.Or(o.Strategy, ResourceMerge), err}
	}
	m.conflicts.sort()
	res := Result{Tree: tree, Conflicts: m.conflicts, Unused: m.unused(), Skipped: m.skipped}
	if open := m.conflicts.open(); len(open) > 0 {
		res.Tree = kptpkg.Tree{}
		return res, &ConflictError{Conflicts: open}
	}
	return res, nil
}

// merger is a merge at work.
type merger struct {
	Options
	prefix    string // of the paths in conflicts: the directory of the package, with a slash
	conflicts Conflicts
	used      map[string]bool // keys of Resolve that a conflict asked for
	settled   settled
	skipped   []string // as Result has them
}

func (m *merger) run(t trees) (kptpkg.Tree, error) {
	if err := t.checkKptfiles("."); err != nil {
		return kptpkg.Tree{}, err
	}
	merged, err := m.byStrategy(t)
	switch {
	case err != nil || m.Strategy == CopyMerge:
		return merged, err
	case m.Nested:
		return m.nested(t, merged)
	case len(m.skipped) == 0:
		m.skipped, err = t.skipped(merged)
	}
	return merged, err
}

func (m *merger) byStrategy(t trees) (kptpkg.Tree, error) {
	switch m.Strategy {
	case FastForward:
		return m.fastForward(t)
	case ForceDeleteReplace:
		return m.replace(t)
	case CopyMerge:
		return m.copyOver(t)
	}
	return m.resourceMerge(t)
}

// trees are the three sides of a merge.
type trees struct{ base, local, upstream kptpkg.Tree }

// side is a tree with its name in messages.
type side struct {
	name string
	tree kptpkg.Tree
}

func (t trees) sides() []side {
	return []side{{"base", t.base}, {"local", t.local}, {"upstream", t.upstream}}
}

func (t trees) sub(dir string) trees {
	return trees{t.base.Sub(dir), t.local.Sub(dir), t.upstream.Sub(dir)}
}
