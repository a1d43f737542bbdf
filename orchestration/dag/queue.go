package dag

// item is an element of a queue: it knows which of two comes first, and
// remembers where in the queue it is, -1 when it is in none.
type item[T any] interface {
	before(T) bool
	place() *int32
}

// queue is a priority queue whose elements can be moved and removed: a heap in
// which each element has four below it, which with many elements takes fewer
// looks at distant memory than two would. Unlike container/heap it needs no
// allocation for elements that are more than a pointer.
type queue[T item[T]] struct{ items []T }

const below = 4

func (q *queue[T]) len() int { return len(q.items) }
func (q *queue[T]) first() T { return q.items[0] }

func (q *queue[T]) add(x T) {
	q.items = append(q.items, x)
	q.up(len(q.items)-1, x)
}

func (q *queue[T]) remove(x T) {
	at, last := int(*x.place()), len(q.items)-1
	moved := q.items[last]
	var none T
	q.items[last] = none
	q.items = q.items[:last]
	if at < last {
		q.settle(at, moved)
	}
	*x.place() = -1
}

// fix is called when x may have to be somewhere else.
func (q *queue[T]) fix(x T) { q.settle(int(*x.place()), x) }

// settle puts x where it belongs, given that the place at is free.
func (q *queue[T]) settle(at int, x T) {
	if at > 0 && x.before(q.items[(at-1)/below]) {
		q.up(at, x)
		return
	}
	q.down(at, x)
}

func (q *queue[T]) up(at int, x T) {
	for at > 0 {
		above := (at - 1) / below
		if !x.before(q.items[above]) {
			break
		}
		q.put(at, q.items[above])
		at = above
	}
	q.put(at, x)
}

func (q *queue[T]) down(at int, x T) {
	for {
		first := below*at + 1
		if first >= len(q.items) {
			break
		}
		child := first
		for other := first + 1; other < min(first+below, len(q.items)); other++ {
			if q.items[other].before(q.items[child]) {
				child = other
			}
		}
		if !q.items[child].before(x) {
			break
		}
		q.put(at, q.items[child])
		at = child
	}
	q.put(at, x)
}

func (q *queue[T]) put(at int, x T) {
	q.items[at] = x
	*x.place() = int32(at)
}
