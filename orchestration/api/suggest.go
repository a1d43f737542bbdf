package api

import "strings"

// DidYouMean is `; did you mean "x"?` for the known name closest to what was
// written, empty when none is close.
func DidYouMean(written string, known []string) string {
	if len(written) > maxQuoted {
		return ""
	}
	best, bestD := "", -1
	for _, k := range known {
		d := distance(strings.ToLower(written), strings.ToLower(k))
		if d*3 > max(len(written), len(k)) {
			continue
		}
		if bestD < 0 || d < bestD {
			best, bestD = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + quote(best) + "?"
}

// distance is how many letters must be put in, taken out, replaced or swapped
// with their neighbour to make a into b.
func distance(a, b string) int {
	// three rows of the table over prefixes of a (rows) and b (columns)
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
