package mapreduce

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A play is a coordinator with a clock and a log.
type play struct {
	*coordinator
	t   *testing.T
	now time.Time
	log []Event
}

func newPlay(t *testing.T, maps, reduces, replicas int) *play {
	p := &play{t: t, now: time.Unix(0, 0)}
	p.coordinator = newCoordinator(maps, reduces, 10*time.Second, replicas, func(e Event) { p.log = append(p.log, e) })
	return p
}

func (p *play) enter(name string, kind Kind) *member {
	m := &member{name: name, kind: kind, addr: name + ":1"}
	p.join(p.now, m)
	return m
}

// give checks that m is given this task now, as in "map 0 1", or "" for none.
func (p *play) give(m *member, want string) *attempt {
	p.t.Helper()
	a := p.assign(p.now, m)
	got := ""
	if a != nil {
		got = fmt.Sprintf("%s %d %d", a.task.kind, a.task.number, a.number)
	}
	require.Equal(p.t, want, got)
	return a
}

func (p *play) done(a *attempt, counts bool) {
	p.t.Helper()
	require.Equal(p.t, counts, p.finish(p.now, a.worker, a, Counters{"n": 1}))
}

// pass lets time pass; the members given show that they are alive.
func (p *play) pass(d time.Duration, alive ...*member) {
	p.now = p.now.Add(d)
	for _, m := range alive {
		m.hear(p.now)
	}
	p.tick(p.now)
}

func (p *play) said(want ...string) {
	p.t.Helper()
	require.Equal(p.t, want, lines(p.log))
}

func TestReducersWaitForAllMaps(t *testing.T) {
	p := newPlay(t, 2, 2, 1)
	m, r, both := p.enter("m", MapTask), p.enter("r", ReduceTask), p.enter("both", "")
	a := p.give(m, "map 0 0")
	p.give(r, "")
	p.give(m, "")
	b := p.give(both, "map 1 0")
	p.done(a, true)
	p.give(r, "")
	p.done(b, true)
	p.give(m, "")
	c, d := p.give(r, "reduce 0 0"), p.give(both, "reduce 1 0")
	p.done(d, true)
	require.False(t, p.over())
	p.done(c, true)
	require.True(t, p.over())
	require.Equal(t, Counters{"n": 4}, p.counters())
	require.NoError(t, p.err)
}

// A worker that is gone takes the results of its finished maps with it.
func TestFinishedMapsAreLostWithTheirWorker(t *testing.T) {
	p := newPlay(t, 2, 1, 1)
	m, o, r := p.enter("m", MapTask), p.enter("o", MapTask), p.enter("r", ReduceTask)
	a := p.give(m, "map 0 0")
	p.done(a, true)
	b := p.give(m, "map 1 0")
	p.done(b, true)
	c := p.give(r, "reduce 0 0")
	p.leave(p.now, m)
	p.fail(p.now, r, c, "cannot fetch", []*attempt{a, b})
	require.Zero(t, c.task.failures, "a lost worker is nobody's fault")
	p.give(r, "")
	p.done(p.give(o, "map 0 1"), true)
	p.done(p.give(o, "map 1 1"), true)
	p.done(p.give(r, "reduce 0 1"), true)
	require.True(t, p.over())
	require.Equal(t, Counters{"n": 3}, p.counters(), "what was done twice counts once")
	p.said("assign map 0 0 m", "done map 0 0 m", "assign map 1 0 m", "done map 1 0 m", "assign reduce 0 0 r",
		"failed map 0 0 m", "failed map 1 0 m", "failed reduce 0 0 r",
		"assign map 0 1 o", "done map 0 1 o", "assign map 1 1 o", "done map 1 1 o", "assign reduce 0 1 r", "done reduce 0 1 r")
}

// A worker that was silent for too long comes back; what it did is too late.
func TestSilentWorkerLosesItsLease(t *testing.T) {
	p := newPlay(t, 1, 1, 1)
	m, o := p.enter("m", MapTask), p.enter("o", MapTask)
	a := p.give(m, "map 0 0")
	p.pass(9*time.Second, o)
	p.give(o, "")
	require.Equal(t, p.now.Add(time.Second), p.wake(p.now), "the lease of m ends first")
	p.pass(time.Second, o)
	require.True(t, m.lost)
	b := p.give(o, "map 0 1")
	p.done(b, true)
	m.hear(p.now)
	p.give(m, "") // it is still busy
	p.done(a, false)
	p.said("assign map 0 0 m", "failed map 0 0 m", "assign map 0 1 o", "done map 0 1 o", "discard map 0 0 m")
}

// An idle worker gets a copy of a task that takes too long, once.
func TestBackupTask(t *testing.T) {
	p := newPlay(t, 2, 1, 1)
	m, o, x, r := p.enter("m", MapTask), p.enter("o", MapTask), p.enter("x", MapTask), p.enter("r", ReduceTask)
	a, b := p.give(m, "map 0 0"), p.give(o, "map 1 0")
	p.pass(2*time.Second, m, o, x, r)
	p.done(b, true) // so that 4 s are long
	p.give(o, "")
	require.Equal(t, p.now.Add(2*time.Second), p.wake(p.now))
	p.pass(2*time.Second, m, o, x, r)
	c := p.give(o, "map 0 1")
	p.pass(9*time.Second, m, o, x, r)
	p.give(x, "") // one backup is enough
	p.done(c, true)
	p.done(a, false)
	require.Len(t, a.task.copies, 2, "the late result is a spare copy")
	p.leave(p.now, o)
	require.Equal(t, []string{"failed map 1 0 o"}, lines(p.log[len(p.log)-1:]), "map 0 has its spare copy")
	p.done(p.give(m, "map 1 1"), true)
	p.done(p.give(r, "reduce 0 0"), true)
	require.Equal(t, Counters{"n": 3}, p.counters())
}

// The first completion of a reduce task counts, however often it comes.
func TestReduceCountsOnce(t *testing.T) {
	p := newPlay(t, 0, 2, 1)
	m, o := p.enter("m", ReduceTask), p.enter("o", ReduceTask)
	a := p.give(m, "reduce 0 0")
	p.done(p.give(o, "reduce 1 0"), true)
	p.pass(5*time.Second, m, o)
	p.pass(5*time.Second, m, o)
	b := p.give(o, "reduce 0 1")
	p.done(b, true)
	p.done(b, false)
	p.done(a, false)
	p.said("assign reduce 0 0 m", "assign reduce 1 0 o", "done reduce 1 0 o", "assign reduce 0 1 o",
		"done reduce 0 1 o", "discard reduce 0 1 o", "discard reduce 0 0 m")
}

// With two replicas each split goes to two mappers and counts once.
func TestReplicas(t *testing.T) {
	p := newPlay(t, 2, 1, 2)
	m, o, r := p.enter("m", MapTask), p.enter("o", MapTask), p.enter("r", ReduceTask)
	a, b := p.give(m, "map 0 0"), p.give(o, "map 0 1")
	p.done(b, true)
	c := p.give(o, "map 1 0")
	p.done(c, true)
	p.give(r, "") // split 1 has not gone to m
	p.done(a, false)
	d := p.give(m, "map 1 1")
	e := p.give(r, "reduce 0 0")
	p.done(d, false)
	p.leave(p.now, o)
	p.done(e, true)
	require.True(t, p.over(), "o's results were not needed")
	require.Equal(t, Counters{"n": 3}, p.counters())
}

// Replicas that nobody is there for are not waited for longer than the timeout.
func TestReplicasWithoutWorkers(t *testing.T) {
	p := newPlay(t, 1, 1, 3)
	m, r := p.enter("m", MapTask), p.enter("r", ReduceTask)
	p.done(p.give(m, "map 0 0"), true)
	p.pass(9*time.Second, m, r)
	p.give(r, "")
	require.Equal(t, p.now.Add(time.Second), p.wake(p.now))
	p.pass(time.Second, m, r)
	p.done(p.give(r, "reduce 0 0"), true)
}

// A task that fails of its own goes to somebody else, and at last ends the job.
func TestTaskFailsOfItsOwn(t *testing.T) {
	p := newPlay(t, 2, 1, 1)
	m, o := p.enter("m", MapTask), p.enter("o", MapTask)
	p.fail(p.now, m, p.give(m, "map 0 0"), "disk full", nil)
	a := p.give(m, "map 1 0") // o should try the other
	b := p.give(o, "map 0 1")
	p.fail(p.now, o, b, "disk full", nil)
	p.fail(p.now, o, p.give(o, "map 0 2"), "disk full", nil)
	p.done(a, true)
	require.NoError(t, p.err)
	p.fail(p.now, m, p.give(m, "map 0 3"), "disk full", nil)
	require.ErrorContains(t, p.err, "map task 0 failed 4 times, the last time on worker m: disk full")
	require.True(t, p.over())
	p.give(o, "")
}

// Reducers that cannot reach a mapper make others map again, but not for ever.
// What a map has counted counts, even if its worker dies when the reducer has
// fetched the result and the task is not done again.
func TestCountersOutliveTheirWorker(t *testing.T) {
	p := newPlay(t, 1, 1, 1)
	m, n, r := p.enter("m", MapTask), p.enter("n", MapTask), p.enter("r", ReduceTask)
	p.done(p.give(m, "map 0 0"), true)
	a := p.give(r, "reduce 0 0")
	p.leave(p.now, m)
	p.give(n, "map 0 1") // in case the reducer misses it
	p.done(a, true)
	require.True(t, p.over())
	require.Equal(t, Counters{"n": 2}, p.counters())
}

// Copies that fail at the same time, of the same record, are one failure.
func TestReplicasFailTogether(t *testing.T) {
	const workers = maxFailures + 1
	p := newPlay(t, 1, 1, workers)
	var attempts []*attempt
	for i := range workers {
		attempts = append(attempts, p.give(p.enter(fmt.Sprint("m", i), MapTask), fmt.Sprint("map 0 ", i)))
	}
	for _, a := range attempts {
		p.fail(p.now, a.worker, a, "poison", nil)
	}
	require.NoError(t, p.err)
	require.Equal(t, 1, p.maps[0].failures, "the next one is careful")
	p.done(p.give(attempts[0].worker, fmt.Sprint("map 0 ", workers)), true)
}

func TestMapperNobodyReaches(t *testing.T) {
	p := newPlay(t, 1, 1, 1)
	m, r := p.enter("m", MapTask), p.enter("r", ReduceTask)
	for i := range maxFailures {
		require.NoError(t, p.err)
		a := p.give(m, fmt.Sprintf("map 0 %d", i))
		p.done(a, true)
		p.fail(p.now, r, p.give(r, fmt.Sprintf("reduce 0 %d", i)), "no route", []*attempt{a})
	}
	require.ErrorContains(t, p.err, "no route")
}

// The task of a mapper whose result cannot be fetched goes to another one.
func TestMapperThatOneCannotReach(t *testing.T) {
	p := newPlay(t, 1, 1, 1)
	m, o, r := p.enter("m", MapTask), p.enter("o", MapTask), p.enter("r", ReduceTask)
	a := p.give(m, "map 0 0")
	p.done(a, true)
	p.fail(p.now, r, p.give(r, "reduce 0 0"), "no route", []*attempt{a})
	p.give(m, "")
	p.done(p.give(o, "map 0 1"), true)
	p.done(p.give(r, "reduce 0 1"), true)
}

// Whatever happens in whatever order, the job comes to its end, each task counts
// once, and every attempt has one outcome at most, but for results that were
// lost after they were done.
func TestCoordinatorAtRandom(t *testing.T) {
	for seed := range uint64(300) {
		dice := rand.New(rand.NewPCG(seed, 0))
		p := newPlay(t, 1+dice.IntN(6), 1+dice.IntN(3), 1+dice.IntN(3))
		var members []*member
		for step := 0; !p.over(); step++ {
			require.Less(t, step, 10_000, "seed %d never ends", seed)
			require.NoError(t, p.err)
			chaos := step < 1000 // then only good things happen
			if len(members) < 2 || chaos && len(members) < 6 && dice.IntN(20) == 0 {
				kind := []Kind{MapTask, ReduceTask, ""}[dice.IntN(3)]
				if len(members) < 2 {
					kind = "" // so that the job can end
				}
				members = append(members, p.enter(fmt.Sprintf("w%d", step), kind))
			}
			i := dice.IntN(len(members))
			m := members[i]
			switch what := dice.IntN(10); {
			case chaos && what == 0 && i >= 2:
				p.leave(p.now, m)
				members = slices.Delete(members, i, i+1)
			case chaos && what == 1: // all but one are heard
				p.pass(4*time.Second, slices.Delete(slices.Clone(members), i, i+1)...)
			case chaos && what == 2 && m.busy != nil && m.busy.task.kind == ReduceTask && len(p.maps[0].copies) > 0:
				a := p.maps[0].copies[0]
				p.leave(p.now, a.worker)
				p.fail(p.now, m, m.busy, "gone", []*attempt{a})
				members = slices.DeleteFunc(members, func(o *member) bool { return o == a.worker })
			case m.busy != nil && what > 5:
				m.hear(p.now)
				p.finish(p.now, m, m.busy, Counters{"n": 1})
			default:
				p.pass(time.Second, members...)
				p.assign(p.now, m)
			}
			require.True(t, p.wake(p.now).After(p.now))
		}
		require.LessOrEqual(t, p.counters()["n"], int64(len(p.maps)+len(p.reduces)))
		checkLog(t, p.log, seed)
	}
}

func checkLog(t *testing.T, log []Event, seed uint64) {
	state := map[string]string{}
	for _, e := range log {
		id := fmt.Sprintf("%s %d %d", e.Kind, e.Task, e.Attempt)
		switch was := state[id]; e.Event {
		case "assign":
			require.Empty(t, was, "seed %d: %s", seed, id)
		case "done":
			require.Equal(t, "assign", was, "seed %d: %s", seed, id)
		case "failed":
			require.Contains(t, "assign done discard", was, "seed %d: %s", seed, id)
		case "discard":
			require.Contains(t, "assign failed", was, "seed %d: %s", seed, id)
		}
		state[id] = e.Event
	}
	require.NotEmpty(t, strings.Join(lines(log), ""))
}
