package kptdir

import (
	"bytes"
	"slices"
)

// An edit is a run of lines that two texts don't share: a[A0:A1] became b[B0:B1].
type edit struct{ a0, a1, b0, b1 int }

// editsOf compares two texts line by line. Lines that occur once in both texts
// are aligned first, so that what lies between them is short; there it looks
// for the shortest edit, within a bound that gives up on minimality and not on
// time.
func editsOf(a, b [][]byte) []edit {
	x, y := number(a, b)
	c := comparison{a: x, b: y}
	from := pair{}
	for _, p := range append(anchors(x, y), pair{len(x), len(y)}) {
		c.between(from, p)
		from = pair{p.a + 1, p.b + 1}
	}
	return c.edits
}

// pair is a line of each text.
type pair struct{ a, b int }

// number replaces lines by numbers, equal ones by equal ones.
func number(a, b [][]byte) (x, y []int) {
	ids := make(map[string]int, len(a))
	convert := func(lines [][]byte) []int {
		out := make([]int, len(lines))
		for i, l := range lines {
			id, ok := ids[string(l)]
			if !ok {
				id = len(ids)
				ids[string(l)] = id
			}
			out[i] = id
		}
		return out
	}
	return convert(a), convert(b)
}

// anchors returns the longest rising sequence of lines that occur exactly once
// in each text.
func anchors(a, b []int) []pair {
	inA, inB := once(a), once(b)
	var unique []pair // by a
	for i, id := range a {
		if inA[id] == i+1 && inB[id] > 0 {
			unique = append(unique, pair{i, inB[id] - 1})
		}
	}
	// the end of the best sequence of each length, and who comes before whom
	var ends []int
	before := make([]int, len(unique))
	for i, u := range unique {
		n, _ := slices.BinarySearchFunc(ends, u.b, func(e, b int) int { return unique[e].b - b })
		before[i] = -1
		if n > 0 {
			before[i] = ends[n-1]
		}
		if n == len(ends) {
			ends = append(ends, i)
		} else {
			ends[n] = i
		}
	}
	if len(ends) == 0 {
		return nil
	}
	out := make([]pair, len(ends))
	for i, at := len(ends)-1, ends[len(ends)-1]; i >= 0; i, at = i-1, before[at] {
		out[i] = unique[at]
	}
	return out
}

// once maps the numbers that occur once to their index plus one, others that
// occur to -1.
func once(ids []int) map[int]int {
	m := make(map[int]int, len(ids))
	for i, id := range ids {
		if m[id] == 0 {
			m[id] = i + 1
		} else {
			m[id] = -1
		}
	}
	return m
}

// A comparison collects the edits between two texts, from the start to the end.
type comparison struct {
	a, b  []int
	edits []edit
}

// add notes an edit, as part of the one before when they touch.
func (c *comparison) add(e edit) {
	if e.a0 == e.a1 && e.b0 == e.b1 {
		return
	}
	if n := len(c.edits); n > 0 && c.edits[n-1].a1 == e.a0 && c.edits[n-1].b1 == e.b0 {
		c.edits[n-1].a1, c.edits[n-1].b1 = e.a1, e.b1
		return
	}
	c.edits = append(c.edits, e)
}

// between compares the lines from one pair up to another, without it.
func (c *comparison) between(from, to pair) {
	for from.a < to.a && from.b < to.b && c.a[from.a] == c.b[from.b] {
		from.a, from.b = from.a+1, from.b+1
	}
	for from.a < to.a && from.b < to.b && c.a[to.a-1] == c.b[to.b-1] {
		to.a, to.b = to.a-1, to.b-1
	}
	at := from
	for _, p := range shortest(c.a[from.a:to.a], c.b[from.b:to.b]) {
		c.add(edit{at.a, from.a + p.a, at.b, from.b + p.b})
		at = pair{from.a + p.a + 1, from.b + p.b + 1}
	}
	c.add(edit{at.a, to.a, at.b, to.b})
}

// Bounds of the search for the shortest edit: its length, which costs memory in
// the square, and length times lines, which is time.
const (
	maxEdits = 1000
	maxWork  = 1 << 26
)

// shortest returns the pairs of equal lines of a shortest edit (Myers, "An
// O(ND) Difference Algorithm", 1986), none when that one is beyond the bounds.
func shortest(a, b []int) []pair {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return nil
	}
	limit := min(n+m, maxEdits, maxWork/(n+m))
	// far[k] is how far into a the path on diagonal k (index in a less index in
	// b) has come; trace keeps it for every number of edits
	far := make([]int32, 2*limit+3)
	var trace [][]int32
	for d := 0; d <= limit; d++ {
		for k := -d; k <= d; k += 2 {
			at, _ := enter(far[limit+k], far[limit+2+k], k, d)
			i := int(at)
			for i < n && i-k < m && i-k >= 0 && a[i] == b[i-k] {
				i++
			}
			far[limit+1+k] = int32(i)
			if i >= n && i-k >= m {
				return retrace(trace, n, m)
			}
		}
		trace = append(trace, slices.Clone(far[limit-d:limit+3+d]))
	}
	return nil
}

// enter is where a path with d edits enters diagonal k, before it follows equal
// lines, and the diagonal it comes from: the one below, by a removed line, or
// the one above, by an added one, whichever is further.
func enter(below, above int32, k, d int) (i int32, from int) {
	if k == -d || k != d && below < above {
		return above, k + 1
	}
	return below + 1, k - 1
}

// retrace follows the path back from the ends of texts of n and m lines.
func retrace(trace [][]int32, n, m int) []pair {
	var pairs []pair
	i, k := n, n-m
	for d := len(trace); ; d-- {
		start, from := 0, 0
		if d > 0 {
			// trace[d-1] has the diagonals -d to d; the outer ones are unused
			below, above := trace[d-1][max(k-1, -d)+d], trace[d-1][min(k+1, d)+d]
			var at int32
			at, from = enter(below, above, k, d)
			start = int(at)
		}
		for ; i > start; i-- {
			pairs = append(pairs, pair{i - 1, i - 1 - k})
		}
		if d == 0 {
			slices.Reverse(pairs)
			return pairs
		}
		if from < k {
			i--
		}
		k = from
	}
}

// splitLines cuts after each newline; what follows the last one is a line too.
func splitLines(text []byte) [][]byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return lines[:len(lines)-1+min(1, len(lines[len(lines)-1]))]
}
