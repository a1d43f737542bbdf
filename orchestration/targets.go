package orchestration

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/task"
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
		if r := w.spec.Replace; r != nil {
			if p, err := task.BadPath(r.Resources); err != nil {
				b.refuse(w.order, codeConflict, w.field+".replace.resources["+p+"]", "%s", err)
			}
		}
	}
	for _, ws := range at {
		slices.SortFunc(ws, func(a, b *work) int { return a.rank - b.rank })
		for i := 1; i < len(ws); i++ {
			b.mustFollow(ws[i], ws[i-1])
		}
	}
	b.run.worksAt, b.run.workDirs = at, slices.Sorted(maps.Keys(at))
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
	b.checkReaders(at)
	b.checkWhole(at)
	b.checkOrders(at)
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
	where := fmt.Sprintf("target %q is also that of task %s", w.target(), before.path)
	if w.target() != before.target() {
		where = fmt.Sprintf("target %q overlaps with %q of task %s", w.target(), before.target(), before.path)
	}
	b.refuse(w.order, codeConflict, w.field+".target", "%s in %s, and nothing says which comes first: %s, or give each a target of its own", where, before.file, inOrder(w, before))
}

// inOrder says how to give two tasks an order: those of one plan by a need, and else
// what they are in of the innermost plan around both.
func inOrder(w, before *work) string {
	around := map[*plan]*work{}
	for a := w; a != nil; a = a.outer() {
		around[a.plan] = a
	}
	for c := before; c != nil; c = c.outer() {
		a := around[c.plan]
		switch {
		case a == nil || c.plan == nil:
		case a == w && c == before:
			return fmt.Sprintf("write needs: [%s] in one of them", before.name)
		default:
			return fmt.Sprintf("write needs: [%s] in task %s, or needs: [%s] in task %s", c.name, a.path, a.name, c.path)
		}
	}
	return "make them part of one plan, with an order between them"
}

// checkJobs compares the targets of tasks with those of PackageRevisions.
func (b *planner) checkJobs(at map[string][]*work) {
	check := func(w *work, j *job) {
		fix := fmt.Sprintf("write needs: [%s], or give each a target of its own", j.name())
		switch {
		case b.followsJob(w, j):
			return
		case j.resources != nil: // which nothing can need
			fix = "give each a target of its own"
		}
		b.refuse(w.order, codeConflict, w.field+".target", "target %q overlaps with %q of %s %s in %s, and nothing says which comes first: %s",
			w.target(), j.target, j.object.Ref().Kind, j.name(), j.file, fix)
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
			if ws := at[dir]; len(ws) > 0 {
				check(ws[0], j) // the others come after it
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
				i := -1
				if j.action == ActionReplace {
					i = slices.IndexFunc(ws, func(w *work) bool { return w.kind.makes })
				}
				if i < 0 {
					check(ws[0], j) // the others come after it
					continue
				}
				w := ws[i]
				b.refuse(w.order, codeConflict, w.field+".target", "target %q is inside %q, all of which %s %s in %s replaces: choose one elsewhere", dir, up, j.object.Ref().Kind, j.name(), j.file)
			}
		}
	}
}

// checkReaders refuses what copies from a declared revision while a task changes
// that one's target, unless one of them comes after the other: a task in either
// order, a PackageRevision's job, which needs no tasks, only before.
func (b *planner) checkReaders(at map[string][]*work) {
	if len(b.jobs) == 0 {
		return
	}
	dirs := slices.Sorted(maps.Keys(at))
	writers := func(dir string) (all [][]*work) { // each in an order of its own
		for up := dir; ; up = path.Dir(up) {
			all = append(all, at[up])
			if up == "." {
				break
			}
		}
		for _, d := range withPrefix(dirs, dir+"/") {
			all = append(all, at[d])
		}
		return all
	}
	for w := range b.run.allWorks() {
		for _, j := range w.reads {
			if j.target == "" || j.target == w.target() {
				continue // on the same target tasks have an order anyway
			}
			for _, ws := range writers(j.target) {
				ws = slices.DeleteFunc(slices.Clone(ws), func(x *work) bool { return x == w })
				k := behind(ws, w)
				if k > 0 {
					b.mustRead(w, j, w, ws[k-1])
				}
				if k < len(ws) {
					b.mustRead(w, j, ws[k], w)
				}
			}
		}
	}
	for _, j := range b.jobs {
		if !j.works() {
			continue
		}
		for _, name := range j.references() {
			d := b.byName(j.revision.Metadata.Namespace, name)
			if d == nil || d.target == "" || d.target == j.target {
				continue
			}
			for _, ws := range writers(d.target) {
				if len(ws) > 0 && !b.followsJob(ws[0], j) {
					b.refuse(ws[0].order, codeConflict, ws[0].field+".target", "target %q is read by %s %s in %s, which goes on from %s, and nothing says which comes first: write needs: [%s]",
						ws[0].target(), j.object.Ref().Kind, j.name(), j.file, name, j.name())
				}
			}
		}
	}
}

// mustRead refuses a reader of a revision's target and a task that changes that,
// unless the later of the two comes after the other.
func (b *planner) mustRead(reader *work, j *job, later, earlier *work) {
	b.reach(later, earlier.rank)
	if b.reached(earlier) {
		return
	}
	writer := later
	if writer == reader {
		writer = earlier
	}
	b.refuse(reader.order, codeConflict, reader.field+"."+string(reader.spec.Type), "copies %s %s, whose target %q task %s in %s changes, and nothing says which comes first: %s",
		j.object.Ref().Kind, j.name(), j.target, writer.path, writer.file, inOrder(later, earlier))
}

// checkWhole refuses to replace a package as a whole while another task or a
// PackageRevision makes one inside: that would be gone, and nothing would make it
// again.
func (b *planner) checkWhole(at map[string][]*work) {
	const message = "all of target %q is replaced, and target %q of %s in %s is inside it: give that one a target elsewhere, or declare one of the two only"
	whole := map[string]*work{}
	for dir, ws := range at {
		if i := slices.IndexFunc(ws, func(w *work) bool { return w.spec.Type == api.WorkReplace }); i >= 0 {
			whole[dir] = ws[i]
		}
	}
	if len(whole) == 0 {
		return
	}
	for dir, ws := range at {
		i := slices.IndexFunc(ws, func(w *work) bool { return w.kind.makes })
		if i < 0 {
			continue
		}
		w := ws[i]
		for up := dir; up != "."; {
			up = path.Dir(up)
			if outer := whole[up]; outer != nil {
				b.refuse(outer.order, codeConflict, outer.field+".target", message, up, dir, "task "+w.path, w.file)
			}
		}
	}
	for _, j := range b.jobs {
		for up := j.target; up != "" && up != "."; {
			up = path.Dir(up)
			if outer := whole[up]; outer != nil {
				b.refuse(outer.order, codeConflict, outer.field+".target", message, up, j.target, j.object.Ref().Kind+" "+j.name(), j.file)
			}
		}
	}
}

// checkOrders refuses targets that hold orders: as content they would change with
// each run that notes in them what it did, and what a task did to them would be
// lost. A host that keeps no state notes nothing.
func (b *planner) checkOrders(at map[string][]*work) {
	if b.opts.Stateless {
		return
	}
	refused := map[*work]bool{}
	for _, o := range slices.Concat(b.found.orders, b.found.plans) {
		if ws := at["."]; len(ws) > 0 && b.found.mixed[o.file] && !refused[ws[0]] {
			refused[ws[0]] = true
			b.refuse(ws[0].order, codeConflict, ws[0].field+".target", "%s, which is in target %q, holds objects for stoop beside resources: move them to files of their own", o.file, ".")
		}
		for dir := path.Dir(o.file); dir != "."; dir = path.Dir(dir) {
			if ws := at[dir]; len(ws) > 0 && !refused[ws[0]] {
				refused[ws[0]] = true
				b.refuse(ws[0].order, codeConflict, ws[0].field+".target", "%s holds an object for stoop and is inside target %q, where it would become content: move it out, or make the target \".\"", o.file, dir)
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
