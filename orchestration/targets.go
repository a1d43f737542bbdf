package orchestration

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// checkTargets refuses tasks whose targets overlap, with one another's or a
// PackageRevision's, unless one comes after the other. Then what a task finds
// never depends on who was faster.
func (b *planner) checkTargets() {
	b.rankAll()
	at := map[string][]*work{}
	for w := range b.run.allWorks() {
		if t := w.target(); t != "" {
			at[t] = append(at[t], w)
		}
	}
	for dir, ws := range at {
		slices.SortFunc(ws, func(a, b *work) int { return a.rank - b.rank })
		for i := 1; i < len(ws); i++ {
			b.mustFollow(ws[i], ws[i-1])
		}
		for up := dir; up != "."; {
			up = path.Dir(up)
			for _, outer := range at[up] {
				for _, w := range ws {
					if outer.rank < w.rank {
						b.mustFollow(w, outer)
					} else {
						b.mustFollow(outer, w)
					}
				}
			}
		}
	}
	b.checkJobs(at)
	slices.SortFunc(b.errs, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
}

// mustFollow refuses a task that isn't after the other one.
func (b *planner) mustFollow(w, before *work) {
	if b.follows(w, before) {
		return
	}
	fix := fmt.Sprintf("write needs: [%s] in one of them", before.name)
	if w.plan != before.plan {
		fix = "make them part of one plan, or let one compound task need the other"
	}
	where := fmt.Sprintf("target %q is also that of task %s", w.spec.Target, before.path)
	if w.target() != before.target() {
		where = fmt.Sprintf("target %q overlaps with %q of task %s", w.spec.Target, before.spec.Target, before.path)
	}
	b.refuse(w.order, codeConflict, w.field+".target", "%s in %s, and nothing says which comes first: %s, or give each a target of its own", where, before.file, fix)
}

// checkJobs compares the targets of tasks with those of PackageRevisions.
func (b *planner) checkJobs(at map[string][]*work) {
	check := func(w *work, j *job) {
		if b.followsJob(w, j) {
			return
		}
		b.refuse(w.order, codeConflict, w.field+".target", "target %q overlaps with %q of %s %s in %s, and nothing says which comes first: write needs: [%s], or give each a target of its own",
			w.spec.Target, j.target, j.object.Ref().Kind, j.name(), j.file, j.name())
	}
	jobsAt := map[string][]*job{}
	for _, j := range b.jobs {
		if j.target == "" {
			continue
		}
		jobsAt[j.target] = append(jobsAt[j.target], j)
		for dir := j.target; ; {
			for _, w := range at[dir] {
				check(w, j)
			}
			if dir == "." {
				break
			}
			dir = path.Dir(dir)
		}
	}
	for dir, ws := range at {
		for up := dir; up != "."; {
			up = path.Dir(up)
			for _, j := range jobsAt[up] {
				for _, w := range ws {
					check(w, j)
				}
			}
		}
	}
}

// rankAll numbers the tasks so that each has a higher number than all it needs.
func (b *planner) rankAll() {
	next := 0
	seen := map[*work]bool{}
	var visit func(w *work)
	visit = func(w *work) {
		// needs first; without recursion along chains, which may be long
		stack := []*work{w}
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			if seen[top] {
				stack = stack[:len(stack)-1]
				continue
			}
			pushed := false
			for _, d := range top.needs {
				if !seen[d] {
					stack = append(stack, d)
					pushed = true
				}
			}
			if pushed {
				continue
			}
			seen[top] = true
			stack = stack[:len(stack)-1]
			if top.inner != nil {
				for _, in := range finallyLast(top.inner.works) {
					visit(in)
				}
			}
			next++
			top.rank = next
		}
	}
	for _, w := range b.run.works {
		visit(w)
	}
	for _, p := range b.run.plans {
		for _, w := range finallyLast(p.works) {
			visit(w)
		}
	}
}

// finallyLast are a plan's tasks with those at the end that start last.
func finallyLast(ws []*work) []*work {
	out := make([]*work, 0, len(ws))
	for _, w := range ws {
		if !w.spec.Finally {
			out = append(out, w)
		}
	}
	for _, w := range ws {
		if w.spec.Finally {
			out = append(out, w)
		}
	}
	return out
}

// follows says whether a task begins after the other one has ended.
func (b *planner) follows(w, before *work) bool {
	if slices.Contains(w.needs, before) {
		return true
	}
	ended := b.before(w)
	for x := before; x != nil; x = x.outer() { // what needs a compound needs all in it
		if ended[x] {
			return true
		}
	}
	return false
}

// before are all tasks that have ended when w begins, those inside compounds
// that have ended left out.
func (b *planner) before(w *work) map[*work]bool {
	if set, ok := b.earlier[w]; ok {
		return set
	}
	set := map[*work]bool{}
	var queue []*work
	add := func(d *work) {
		if !set[d] {
			set[d] = true
			queue = append(queue, d)
		}
	}
	from := func(a *work) {
		for _, d := range a.needs {
			add(d)
		}
		if a.spec.Finally && a.plan != nil {
			for _, d := range a.plan.works {
				if !d.spec.Finally {
					add(d)
				}
			}
		}
	}
	for a := w; a != nil; a = a.outer() {
		from(a)
	}
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		from(a)
	}
	b.earlier[w] = set
	return set
}

// outer is the compound task that the task is in, nil if it isn't in one.
func (w *work) outer() *work {
	if w.plan == nil {
		return nil
	}
	return w.plan.outer
}

// followsJob says whether a task begins after a PackageRevision's job has ended.
func (b *planner) followsJob(w *work, j *job) bool {
	seen := map[*work]bool{w: true}
	queue := []*work{w}
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		for _, d := range a.jobs {
			if d == j || slices.Contains(d.needs, j) {
				return true
			}
		}
		next := a.needs
		if o := a.outer(); o != nil {
			next = append(slices.Clone(next), o)
		}
		for _, d := range next {
			if !seen[d] {
				seen[d] = true
				queue = append(queue, d)
			}
		}
	}
	return false
}
