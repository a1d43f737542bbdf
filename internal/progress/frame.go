package progress

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stoop-dev/stoop/orchestration/dag"
)

// mark is how a state looks in the tree.
type mark struct{ sign, color string }

var marks = [...]mark{
	dag.Pending:   {"·", gray},
	dag.Ready:     {"·", gray},
	dag.Executing: {"▸", cyan},
	dag.Completed: {"✓", green},
	dag.Failed:    {"✗", red},
	dag.Blocked:   {"⊘", yellow},
	dag.Skipped:   {"−", gray},
	dag.Cancelled: {"⊘", yellow},
}

// frame draws the run in at most height lines, or returns none when nothing has
// changed since the last time.
func (l *Live) frame(p painter, height int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.fresh && len(l.active) == 0 {
		return nil
	}
	l.fresh = false
	if l.tree == nil {
		l.tree = newTree(l.paths)
		l.places = make([]int, len(l.tree))
		for at, n := range l.tree {
			l.places[n.item] = at
		}
		l.next = 0
	}
	now := time.Now()
	lines := []string{l.summary(p, now)}
	rows := l.rows(height - 1)
	names := 0
	for _, at := range rows {
		n := l.tree[at]
		names = max(names, 2*n.depth+widthOf(clean(n.name, widestName)))
	}
	for _, at := range rows {
		lines = append(lines, l.row(p, l.tree[at], names, now))
	}
	if more := len(l.tree) - len(rows); more > 0 && height > len(lines) {
		lines = append(lines, p.paint(gray, fmt.Sprintf("  … and %d more", more)))
	}
	return lines
}

// widestName is how much of a name is shown in the tree.
const widestName = 60

// summary is the first line.
func (l *Live) summary(p painter, now time.Time) string {
	ended, all := 0, 0
	for s, n := range l.counts {
		all += n
		if dag.State(s).Ended() {
			ended += n
		}
	}
	parts := []string{fmt.Sprintf("%d of %d tasks ended", ended, all), span(now.Sub(l.begun))}
	for _, s := range []dag.State{dag.Executing, dag.Failed, dag.Blocked, dag.Cancelled, dag.Skipped} {
		if n := l.counts[s]; n > 0 {
			parts = append(parts, p.paint(marks[s].color, fmt.Sprintf("%d %s", n, strings.ToLower(s.String()))))
		}
	}
	return strings.Join(parts, ", ")
}

// row is the line of a task.
func (l *Live) row(p painter, n treeNode, names int, now time.Time) string {
	t := &l.tasks[n.item]
	m := marks[t.state]
	in := strings.Repeat("  ", n.depth+1)
	parts := []string{pad(clean(n.name, widestName), names-2*n.depth)}
	switch {
	case t.state == dag.Executing:
		parts = append(parts, span(now.Sub(t.since)))
	case t.clean:
		parts = append(parts, "nothing to do")
	case t.took > 0:
		parts = append(parts, span(t.took))
	}
	if t.attempts > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", t.attempts))
	}
	if t.note != "" {
		parts = append(parts, t.note)
	}
	text := p.cut(strings.TrimRight(strings.Join(parts, "  "), " "), len(in)+2)
	return in + p.paint(m.color, m.sign) + " " + text
}

// rows are the places in the tree of the tasks that are shown in at most so many
// lines.
func (l *Live) rows(most int) []int {
	if len(l.tree) <= most {
		all := make([]int, len(l.tree))
		for i := range all {
			all[i] = i
		}
		return all
	}
	most-- // for the number of the others
	shown := map[int]bool{}
	add := func(at, most int) bool {
		n := 0
		for up := at; up >= 0 && !shown[up]; up = l.tree[up].parent {
			n++
		}
		if len(shown)+n > most {
			return false
		}
		for up := at; up >= 0 && !shown[up]; up = l.tree[up].parent {
			shown[up] = true
		}
		return true
	}
	for _, i := range slices.Backward(l.failed) {
		if !add(l.places[i], most/3) {
			break
		}
	}
	active := make([]int, 0, len(l.active))
	for i := range l.active {
		active = append(active, l.places[i])
	}
	slices.Sort(active)
	for _, leaf := range []bool{true, false} {
		for _, at := range active {
			if (l.tree[at].size == 0) == leaf && !add(at, most) {
				break
			}
		}
	}
	for l.next < len(l.tree) && l.tasks[l.tree[l.next].item].state.Ended() {
		l.next++
	}
	for at := l.next; at < min(len(l.tree), l.next+8*max(most, 0)); at++ {
		if !l.tasks[l.tree[at].item].state.Ended() && !add(at, most) {
			break
		}
	}
	return slices.Sorted(maps.Keys(shown))
}
