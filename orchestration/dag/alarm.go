package dag

import "time"

// alarm is something the coordinator does at some time unless it's set off.
type alarm struct {
	when time.Time
	ring func()
	seq  int   // the order in which alarms of the same time were set
	pos  int32 // among all that are set, -1 when it isn't
}

func (a *alarm) place() *int32 { return &a.pos }

func (a *alarm) before(b *alarm) bool {
	if !a.when.Equal(b.when) {
		return a.when.Before(b.when)
	}
	return a.seq < b.seq
}

// alarms are those that are set. C fires when the first of them is due, or
// before that: it isn't stopped when an alarm is set off.
type alarms struct {
	set   queue[*alarm]
	timer *time.Timer
	next  time.Time // when the timer fires, zero when it doesn't
	seq   int
}

// at sets a to ring. If it was set, it no longer rings when it would have.
func (q *alarms) at(a *alarm, when time.Time, ring func()) {
	q.off(a)
	q.seq++
	a.when, a.ring, a.seq = when, ring, q.seq
	q.set.add(a)
	q.arm()
}

// off lets a not ring.
func (q *alarms) off(a *alarm) {
	if a.pos >= 0 {
		q.set.remove(a)
		a.ring = nil
	}
}

// arm lets the timer fire in time for the first alarm.
func (q *alarms) arm() {
	if q.set.len() == 0 {
		return
	}
	first := q.set.first().when
	if q.next.IsZero() || first.Before(q.next) {
		q.timer.Reset(time.Until(first))
		q.next = first
	}
}

// ring rings all that are due; it is called when the timer has fired.
func (q *alarms) ring() {
	q.next = time.Time{}
	now := time.Now()
	for q.set.len() > 0 && !q.set.first().when.After(now) {
		a := q.set.first()
		ring := a.ring
		q.off(a)
		ring()
	}
	q.arm()
}
