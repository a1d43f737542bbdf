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
	for _, ws := range at {
		slices.SortFunc(ws, func(a, b *work) int { return a.rank - b.rank })
		for i := 1; i < len(ws); i++ {
			b.mustFollow(ws[i], ws[i-1])
		}
	}
	// Tasks on one target come one after another, so of those on a target around
	// it each need only follow the last one before it and precede the first one
	// behind it.
	within := map[*work][]*work{} // by the outer one
	for dir, ws := range at {
		for up := dir; up != "."; {
			up = path.Dir(up)
			outers := at[up]
			for i, w := range ws {
				k := behind(outers, w)
				if k > 0 && (i == 0 || ws[i-1].rank < outers[k-1].rank) {
					b.mustFollow(w, outers[k-1])
				}
				if k < len(outers) && (i == len(ws)-1 || ws[i+1].rank > outers[k].rank) {
					within[outers[k]] = append(within[outers[k]], w)
				}
			}
		}
	}
	for outer, ws := range within {
		b.mustFollow(outer, ws...)
	}
	b.checkJobs(at)
	slices.SortFunc(b.errs, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
}

// behind is the index of the first of some tasks, in the order of their ranks,
// that comes behind another one.
func behind(ws []*work, w *work) int {
	i, _ := slices.BinarySearchFunc(ws, w.rank, func(a *work, rank int) int { return a.rank - rank })
	return i
}

// mustFollow refuses a task that isn't after all of others.
func (b *planner) mustFollow(w *work, others ...*work) {
	if len(others) == 1 && slices.Contains(w.needs, others[0]) {
		return
	}
	b.reach(w, slices.MinFunc(others, func(a, b *work) int { return a.rank - b.rank }).rank)
	for _, before := range others {
		if !b.reached(before) {
			b.refuseBoth(w, before)
		}
	}
}

// refuseBoth refuses tasks that nothing puts in an order.
func (b *planner) refuseBoth(w, before *work) {
	fix := fmt.Sprintf("write needs: [%s] in one of them", before.name)
	if w.plan != before.plan {
		fix = "make them part of one plan, or let one compound task need the other"
	}
	where := fmt.Sprintf("target %q is also that of task %s", w.target(), before.path)
	if w.target() != before.target() {
		where = fmt.Sprintf("target %q overlaps with %q of task %s", w.target(), before.target(), before.path)
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
			w.target(), j.target, j.object.Ref().Kind, j.name(), j.file, j.name())
	}
	if len(b.jobs) == 0 {
		return
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

// reach finds the tasks that have ended when w begins, those inside compounds
// that have ended left out, and those with a rank lower than from.
func (b *planner) reach(w *work, from int) {
	b.reaches++
	queue := b.queue[:0]
	add := func(d *work) {
		if d.reach != b.reaches && d.rank >= from {
			d.reach = b.reaches
			queue = append(queue, d)
		}
	}
	visit := func(a *work) {
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
		visit(a)
	}
	for i := 0; i < len(queue); i++ {
		visit(queue[i])
	}
	b.queue = queue
}

// reached says whether reach has found a task, or one around it: what needs a
// compound needs all in it.
func (b *planner) reached(w *work) bool {
	for ; w != nil; w = w.outer() {
		if w.reach == b.reaches {
			return true
		}
	}
	return false
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
