package mapreduce

import (
	"fmt"
	"slices"
	"time"
)

// A Kind tells the two kinds of task apart.
type Kind string

// The kinds of task.
const (
	MapTask    Kind = "map"
	ReduceTask Kind = "reduce"
)

// An Event is one step in the life of a task, as [Trace] is told of it. Its JSON
// form is a line of a log.
type Event struct {
	Event   string    `json:"event"`   // assign, done, failed or discard
	Kind    Kind      `json:"kind"`    // map or reduce
	Task    int       `json:"task"`    // its number, from 0
	Attempt int       `json:"attempt"` // which execution of the task, from 0
	Worker  string    `json:"worker"`  // its name
	Time    time.Time `json:"-"`       // when it happened
	Reason  string    `json:"-"`       // why it failed
}

// maxFailures is how often a task may fail of its own before the job is given
// up. Workers that are lost do not count: that is not the task's fault.
const maxFailures = 4

// A coordinator decides which worker does what, and what a lost worker costs.
// It is a pure state machine: it has no clock (every call says what time it is),
// no goroutine, and does no input or output; master.go carries out what it
// decides.
//
//	idle --assign--> running --done--> done (counts, or a spare copy)
//	                   |  \--failed---> failed
//	                   \--worker silent or gone--> failed; a later done: discard
type coordinator struct {
	timeout  time.Duration // silence after which a worker counts as lost
	replicas int           // map tasks go to so many workers each, as far as there are
	emit     func(Event)   // may be nil

	maps, reduces []*task
	members       []*member // in order of joining
	err           error     // why the job is given up
}

// A task is one split to map, or one partition to reduce.
type task struct {
	kind     Kind
	number   int
	attempts []*attempt
	copies   []*attempt // finished ones whose result can be had; the first one counts
	failures int        // of its own, not of lost workers
	tried    int        // how many attempts there were at the last of them
	counters Counters   // of an attempt that has finished; they outlive its result
}

// An attempt is one execution of a task by one worker.
type attempt struct {
	task       *task
	number     int
	worker     *member
	state      attemptState
	own        bool // it failed of its own, or its result could not be fetched
	start, end time.Time
}

type attemptState string

const (
	stateRunning   attemptState = "running"
	stateDone      attemptState = "done"
	stateFailed    attemptState = "failed"
	stateDiscarded attemptState = "discarded"
)

// A member is a worker that has joined.
type member struct {
	name  string
	kind  Kind   // the kind of task it does; "" means both
	addr  string // where its map results can be fetched
	heard time.Time
	lost  bool     // silent for too long: may come back
	busy  *attempt // what it works on, even if that is of no use any more
}

func newCoordinator(maps, reduces int, timeout time.Duration, replicas int, emit func(Event)) *coordinator {
	c := &coordinator{timeout: timeout, replicas: max(replicas, 1), emit: emit}
	for i := range maps {
		c.maps = append(c.maps, &task{kind: MapTask, number: i})
	}
	for i := range reduces {
		c.reduces = append(c.reduces, &task{kind: ReduceTask, number: i})
	}
	return c
}

// join makes m known. It gets work from the next call of assign on.
func (c *coordinator) join(now time.Time, m *member) {
	m.heard, m.lost, m.busy = now, false, nil
	c.members = append(c.members, m)
}

// hear notes a sign of life.
func (m *member) hear(now time.Time) {
	m.heard, m.lost = now, false
}

// assign returns a task for m, or nil if there is none for it now.
func (c *coordinator) assign(now time.Time, m *member) *attempt {
	if m.busy != nil || m.lost || c.over() {
		return nil
	}
	var t *task
	if m.kind != ReduceTask {
		t = c.choose(now, m, c.maps, c.replicas)
	}
	if t == nil && m.kind != MapTask && !now.Before(c.reducible(now)) {
		t = c.choose(now, m, c.reduces, 1)
	}
	if t == nil {
		return nil
	}
	a := &attempt{task: t, number: len(t.attempts), worker: m, state: stateRunning, start: now}
	t.attempts = append(t.attempts, a)
	m.busy = a
	c.tell(now, "assign", a, "")
	return a
}

// choose picks the task that m should do: the first that fewer than want
// workers were given, else one that another worker is slow with.
func (c *coordinator) choose(now time.Time, m *member, tasks []*task, want int) *task {
	for _, t := range tasks {
		if given, byM := t.given(m); given < want && !byM && !c.better(m, t) {
			return t
		}
	}
	patience := c.patience(tasks)
	for _, t := range tasks {
		given, byM := t.given(m)
		if !t.done() && !byM && given <= want && now.Sub(t.latest()) >= patience {
			return t // a backup for a straggler
		}
	}
	return nil
}

// better reports whether m has failed with t and there is a worker that has not.
func (c *coordinator) better(m *member, t *task) bool {
	return t.failedBy(m) && slices.ContainsFunc(c.members, func(o *member) bool {
		return !o.lost && (o.kind == "" || o.kind == t.kind) && !t.failedBy(o)
	})
}

// patience is how long a task may run before an idle worker is given it too:
// twice the mean time of those done, within a quarter and the whole of timeout.
func (c *coordinator) patience(tasks []*task) time.Duration {
	var sum, n time.Duration
	for _, t := range tasks {
		for _, a := range t.copies {
			sum, n = sum+a.end.Sub(a.start), n+1
		}
	}
	if n == 0 {
		return c.timeout
	}
	return min(max(2*sum/n, c.timeout/4), c.timeout)
}

// finish notes that m has completed an attempt, and whether it counts. A map
// result that does not count because the task was done already is kept as a
// spare copy.
func (c *coordinator) finish(now time.Time, m *member, a *attempt, counters Counters) bool {
	c.release(m, a)
	if a.state != stateRunning || a.task.kind == ReduceTask && a.task.done() {
		// Too late: its lease ended, or another attempt was faster.
		if a.state == stateRunning {
			a.state, a.end = stateDiscarded, now
		}
		c.tell(now, "discard", a, "")
		return false
	}
	first := !a.task.done()
	a.state, a.end, a.task.counters = stateDone, now, counters
	a.task.copies = append(a.task.copies, a)
	if first {
		c.tell(now, "done", a, "")
	} else {
		c.tell(now, "discard", a, "")
	}
	return first
}

// fail notes that an attempt of m has failed for reason, perhaps because the map
// results lost could not be fetched.
func (c *coordinator) fail(now time.Time, m *member, a *attempt, reason string, lost []*attempt) {
	c.release(m, a)
	if a.state != stateRunning {
		c.tell(now, "discard", a, reason)
		return
	}
	a.state, a.end = stateFailed, now
	c.tell(now, "failed", a, reason)
	known := slices.ContainsFunc(lost, func(l *attempt) bool { return l.state != stateDone })
	for _, l := range lost {
		l.own = true // rather another mapper next time
		c.lose(now, l, "it could not be fetched by "+m.name)
	}
	if known {
		return // a worker was lost meanwhile: nobody's fault
	}
	a.own = true
	t := a.task
	if a.number < t.tried {
		return // a copy that ran when another one failed: that is known
	}
	t.failures, t.tried = t.failures+1, len(t.attempts)
	if t.failures >= maxFailures && c.err == nil {
		c.err = fmt.Errorf("mapreduce: %s task %d failed %d times, the last time on worker %s: %s", t.kind, t.number, t.failures, m.name, reason)
	}
}

// leave notes that m is gone for good, with its results.
func (c *coordinator) leave(now time.Time, m *member) {
	c.drop(now, m, "the worker is gone")
	c.members = slices.DeleteFunc(c.members, func(o *member) bool { return o == m })
}

// tick finds the workers that have been silent for too long and returns them.
func (c *coordinator) tick(now time.Time) (lost []*member) {
	for _, m := range c.members {
		if !m.lost && now.Sub(m.heard) >= c.timeout {
			m.lost = true
			lost = append(lost, m)
			c.drop(now, m, fmt.Sprintf("the worker has been silent for %v", c.timeout))
		}
	}
	return lost
}

// wake returns when tick, or assign for an idle worker, is worth calling even
// if nothing else happens before.
func (c *coordinator) wake(now time.Time) time.Time {
	at := now.Add(c.timeout)
	earlier := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	for _, m := range c.members {
		if !m.lost {
			earlier(m.heard.Add(c.timeout))
		}
	}
	if start := c.reducible(now); start.After(now) {
		earlier(start)
	}
	for _, tasks := range [][]*task{c.maps, c.reduces} {
		patience := c.patience(tasks)
		for _, t := range tasks {
			if late := t.latest().Add(patience); !t.done() && late.After(now) {
				earlier(late)
			}
		}
	}
	return at
}

// drop takes from m what it runs and what it holds: others must do it again.
func (c *coordinator) drop(now time.Time, m *member, reason string) {
	if a := m.busy; a != nil && a.state == stateRunning {
		a.state, a.end = stateFailed, now
		c.tell(now, "failed", a, reason)
	}
	for _, t := range c.maps {
		for _, a := range slices.Clone(t.copies) {
			if a.worker == m {
				c.lose(now, a, reason)
			}
		}
	}
}

// lose notes that the result of a finished map task cannot be had any more.
// Without a spare copy the task must be done again.
func (c *coordinator) lose(now time.Time, a *attempt, reason string) {
	if a.state != stateDone || a.task.kind != MapTask {
		return
	}
	a.state = stateFailed
	a.task.copies = slices.DeleteFunc(a.task.copies, func(o *attempt) bool { return o == a })
	if !a.task.done() {
		c.tell(now, "failed", a, reason)
	}
}

// release notes that m is idle again.
func (c *coordinator) release(m *member, a *attempt) {
	if m.busy == a {
		m.busy = nil
	}
}

// reducible returns when reducers may begin: when all map tasks are done and
// all replicas are given out, but for want of workers not later than timeout
// after that. Until then it is some time after now.
func (c *coordinator) reducible(now time.Time) time.Time {
	at, last, spread := now, time.Time{}, true
	for _, t := range c.maps {
		if !t.done() {
			return now.Add(c.timeout)
		}
		given, _ := t.given(nil)
		spread = spread && given >= c.replicas
		if end := t.copies[0].end; end.After(last) {
			last = end
		}
	}
	if !spread {
		at = last.Add(c.timeout)
	}
	return at
}

// over reports whether there is nothing left to do.
func (c *coordinator) over() bool { return c.err != nil || finished(c.reduces) }

func finished(tasks []*task) bool {
	return !slices.ContainsFunc(tasks, func(t *task) bool { return !t.done() })
}

// counters returns the sums over all tasks that have been done. Of a map whose
// result is lost by now, too: reducers may have it, and then it is not done again.
func (c *coordinator) counters() Counters {
	sums := Counters{}
	for _, tasks := range [][]*task{c.maps, c.reduces} {
		for _, t := range tasks {
			sums.add(t.counters)
		}
	}
	return sums
}

func (c *coordinator) tell(now time.Time, what string, a *attempt, reason string) {
	if c.emit != nil {
		c.emit(Event{Event: what, Kind: a.task.kind, Task: a.task.number, Attempt: a.number, Worker: a.worker.name, Time: now, Reason: reason})
	}
}

func (t *task) done() bool { return len(t.copies) > 0 }

// given returns to how many workers the task has been given that have not
// failed with it, and whether m is one of them.
func (t *task) given(m *member) (n int, byM bool) {
	for _, a := range t.attempts {
		if a.state == stateRunning || a.state == stateDone {
			n++
			byM = byM || a.worker == m
		}
	}
	return n, byM
}

// latest returns when the task was last given to somebody.
func (t *task) latest() time.Time {
	if len(t.attempts) == 0 {
		return time.Time{}
	}
	return t.attempts[len(t.attempts)-1].start
}

// failedBy reports whether m has tried the task in vain.
func (t *task) failedBy(m *member) bool {
	return slices.ContainsFunc(t.attempts, func(a *attempt) bool { return a.worker == m && a.own })
}
