package dag

import "container/heap"

// item is an element of a queue: it knows which of two comes first, and
// remembers where in the queue it is, -1 when it is in none.
type item[T any] interface {
	before(T) bool
	place() *int
}

// queue is a priority queue whose elements can be moved and removed.
type queue[T item[T]] struct{ items slots[T] }

func (q *queue[T]) len() int { return len(q.items) }
func (q *queue[T]) first() T { return q.items[0] }
func (q *queue[T]) add(x T)  { heap.Push(&q.items, x) }
func (q *queue[T]) remove(x T) {
	heap.Remove(&q.items, *x.place())
}

// fix is called when x may have to be somewhere else.
func (q *queue[T]) fix(x T) { heap.Fix(&q.items, *x.place()) }

// slots implements heap.Interface.
type slots[T item[T]] []T

func (s slots[T]) Len() int           { return len(s) }
func (s slots[T]) Less(i, j int) bool { return s[i].before(s[j]) }
func (s slots[T]) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	*s[i].place(), *s[j].place() = i, j
}

func (s *slots[T]) Push(x any) {
	v := x.(T)
	*v.place() = len(*s)
	*s = append(*s, v)
}

func (s *slots[T]) Pop() any {
	last := len(*s) - 1
	v := (*s)[last]
	var none T
	(*s)[last] = none
	*s = (*s)[:last]
	*v.place() = -1
	return v
}
