package progress

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/dag"
)

// kind is a type of event; the first are the states of tasks.
type kind uint8

const (
	planStarted = kind(dag.Cancelled) + 1 + iota
	planEnded
	revisionAdded
	revisionModified
	revisionDeleted
	kinds
)

// kindNames are the types without what is the same in all.
var kindNames = [kinds]string{
	dag.Pending: "task.pending", dag.Ready: "task.ready", dag.Executing: "task.executing",
	dag.Completed: "task.completed", dag.Failed: "task.failed", dag.Blocked: "task.blocked",
	dag.Skipped: "task.skipped", dag.Cancelled: "task.cancelled",
	planStarted: "plan.started", planEnded: "plan.ended",
	revisionAdded: "packagerevision.added", revisionModified: "packagerevision.modified", revisionDeleted: "packagerevision.deleted",
}

// typeOf is the CloudEvents type.
func (k kind) typeOf() string { return "dev.stoop." + kindNames[k] + ".v1" }

// Filter chooses events. The zero value lets all pass.
type Filter struct {
	types    uint32 // a bit for each kind; 0: all
	subjects []*regexp.Regexp
}

// ParseFilter reads terms with commas between them, such as
//
//	type=failed,type=blocked,task=rollout/*
//
// An event passes if it fits one of the types, where there are any, and one of
// the tasks, where there are any. A type is given by its state (failed, started,
// added), without its frame (task.failed) or in full. A task is the event's
// subject: the path of the task, the name of the plan or of the package revision.
// Both are globs: * is anything but a slash, ** anything, ? one character but a
// slash. Empty text is the zero Filter. The error says which term is wrong, a
// type that no event has included.
func ParseFilter(text string) (Filter, error) {
	var f Filter
	if text == "" {
		return f, nil
	}
	for term := range strings.SplitSeq(text, ",") {
		key, pattern, ok := strings.Cut(strings.TrimSpace(term), "=")
		if !ok || pattern == "" {
			return Filter{}, fmt.Errorf("filter %q: %q is no term: write type=GLOB or task=GLOB, with commas between them", text, term)
		}
		switch key {
		case "type":
			types := typesLike(pattern)
			if types == 0 {
				return Filter{}, fmt.Errorf("filter %q: no event has type %q: the types are %s", text, pattern, strings.Join(kindNames[:], ", "))
			}
			f.types |= types
		case "task":
			f.subjects = append(f.subjects, glob(pattern))
		default:
			return Filter{}, fmt.Errorf("filter %q: there is no %q to filter by: write type=GLOB or task=GLOB", text, key)
		}
	}
	return f, nil
}

// typesLike are the types that a glob fits.
func typesLike(pattern string) uint32 {
	re := glob(strings.ToLower(pattern))
	var types uint32
	for k := range kinds {
		_, state, _ := strings.Cut(kindNames[k], ".")
		if re.MatchString(state) || re.MatchString(kindNames[k]) || re.MatchString(k.typeOf()) {
			types |= 1 << k
		}
	}
	return types
}

func glob(pattern string) *regexp.Regexp {
	var re strings.Builder
	re.WriteString(`(?s)\A`)
	for rest := pattern; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**"):
			re.WriteString(".*")
			rest = rest[2:]
			continue
		case rest[0] == '*':
			re.WriteString("[^/]*")
		case rest[0] == '?':
			re.WriteString("[^/]")
		default:
			n := strings.IndexAny(rest, "*?")
			if n < 0 {
				n = len(rest)
			}
			re.WriteString(regexp.QuoteMeta(rest[:n]))
			rest = rest[n:]
			continue
		}
		rest = rest[1:]
	}
	re.WriteString(`\z`)
	return regexp.MustCompile(strings.ToValidUTF8(re.String(), "\ufffd"))
}

func (f *Filter) passes(k kind, subject string) bool {
	if f.types != 0 && f.types&(1<<k) == 0 {
		return false
	}
	for _, re := range f.subjects {
		if re.MatchString(subject) {
			return true
		}
	}
	return len(f.subjects) == 0
}
