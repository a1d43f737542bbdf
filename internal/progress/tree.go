package progress

import "strings"

// tree is paths as a tree, in the order of a walk through it: each before those
// inside it, and those that are beside each other as they were given.
type tree []treeNode

type treeNode struct {
	item   int    // its place among the paths
	name   string // its path without that of the one it is inside
	parent int    // its place in the tree, -1 for none
	depth  int
	size   int // how many follow that are inside it
}

// newTree makes a tree of paths. One whose outer path isn't given is inside the
// next that is.
func newTree(paths []string) tree {
	byPath := make(map[string]int, len(paths))
	for i, p := range paths {
		if _, twice := byPath[p]; !twice {
			byPath[p] = i
		}
	}
	inside := make([][]int, len(paths)+1) // the last: inside none
	names := make([]string, len(paths))
	for i, p := range paths {
		outer := len(paths)
		names[i] = p
		for end := strings.LastIndexByte(p, '/'); end >= 0; end = strings.LastIndexByte(p[:end], '/') {
			if o, ok := byPath[p[:end]]; ok {
				outer, names[i] = o, p[end+1:]
				break
			}
		}
		inside[outer] = append(inside[outer], i)
	}
	t := make(tree, 0, len(paths))
	var walk func(items []int, parent, depth int)
	walk = func(items []int, parent, depth int) {
		for _, i := range items {
			at := len(t)
			t = append(t, treeNode{item: i, name: names[i], parent: parent, depth: depth})
			walk(inside[i], at, depth+1)
			t[at].size = len(t) - at - 1
		}
	}
	walk(inside[len(paths)], -1, 0)
	return t
}
