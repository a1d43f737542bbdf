package dag

// limiter is one limit: of a graph, or of a class in a graph.
type limiter struct {
	max, used int
	parked    queue[*lane] // those this limit keeps from starting
}

func (l *limiter) full() bool { return l.used >= l.max }

// lane holds the ready steps that are subject to the same limits. As long as it
// has any, it is among the lanes that may start one, or parked at a limit.
type lane struct {
	limits []*limiter
	steps  queue[ready]
	at     *limiter // where it is parked, nil when it isn't
	pos    int32
}

func (l *lane) before(other *lane) bool { return l.steps.first().before(other.steps.first()) }
func (l *lane) place() *int32           { return &l.pos }

// ready is a step that can be started, beside all that decides which one is
// first: to look at each of many nodes would take most of the time.
type ready struct {
	node        *node
	pos         *int32
	priority    int64
	rank, index int32
}

func (r ready) place() *int32 { return r.pos }

func (r ready) before(other ready) bool {
	if r.priority != other.priority {
		return r.priority > other.priority
	}
	if r.rank != other.rank {
		return r.rank > other.rank
	}
	return r.index < other.index
}

// lanes is what the coordinator may start next.
type lanes struct {
	ready  queue[*lane]
	queued int // steps in all lanes, the parked ones included
}

// home is where a lane with steps is.
func (q *lanes) home(l *lane) *queue[*lane] {
	if l.at != nil {
		return &l.at.parked
	}
	return &q.ready
}

// push puts a step that became ready into its lane.
func (q *lanes) push(n *node) {
	l := n.lane
	l.steps.add(n.ready())
	q.queued++
	switch {
	case l.steps.len() == 1:
		q.ready.add(l)
	case l.at != nil && !l.at.full():
		q.unpark(l) // another lane was woken, which may now be the less urgent one
	default:
		q.home(l).fix(l)
	}
}

// next takes the most urgent step that all its limits allow, and takes a slot
// of each of them. It returns nil when there is none.
func (q *lanes) next() *node {
	for q.ready.len() > 0 {
		l := q.ready.first()
		if full := l.fullLimit(); full != nil {
			q.ready.remove(l)
			l.at = full
			full.parked.add(l)
			q.wake(l) // the slots of its other limits are for somebody else
			continue
		}
		n := l.steps.first().node
		q.take(n)
		for _, lim := range l.limits {
			lim.used++
		}
		return n
	}
	return nil
}

// remove takes a step out that will not start.
func (q *lanes) remove(n *node) {
	q.take(n)
	q.wake(n.lane) // it may have been awake to use a free slot
}

func (q *lanes) take(n *node) {
	l := n.lane
	l.steps.remove(n.ready())
	q.queued--
	if l.steps.len() > 0 {
		q.home(l).fix(l)
		return
	}
	q.home(l).remove(l) // which compares only the others, this one has no first step
	l.at = nil
}

// release gives the slots of a step back.
func (q *lanes) release(l *lane) {
	for _, lim := range l.limits {
		lim.used--
	}
	q.wake(l)
}

// wake lets one parked lane try for each limit of l that isn't reached. One is
// enough: if it doesn't use the slot it wakes the next.
func (q *lanes) wake(l *lane) {
	for _, lim := range l.limits {
		if lim.full() || lim.parked.len() == 0 {
			continue
		}
		q.unpark(lim.parked.first())
	}
}

func (q *lanes) unpark(l *lane) {
	l.at.parked.remove(l)
	l.at = nil
	q.ready.add(l)
}

func (l *lane) fullLimit() *limiter {
	for _, lim := range l.limits {
		if lim.full() {
			return lim
		}
	}
	return nil
}
