package mapreduce

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A lab is a master and its workers on a network in memory, on virtual time.
type lab struct {
	t      *testing.T
	net    *simnet.Network
	master *Master
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	events  []Event
	changed chan struct{} // closed and replaced with each event
	workers int
}

var masterAddr = netip.MustParseAddrPort("10.0.0.1:9000")

// newLab starts a master; the caller is in a bubble. Everything ends with the test.
func newLab(t *testing.T, m *Master) *lab {
	l := &lab{t: t, net: &simnet.Network{Seed: 1, Link: simnet.Link{Delay: time.Millisecond}}, master: m, changed: make(chan struct{})}
	m.Trace = &Trace{Event: l.event}
	m.TempDir = t.TempDir()
	ln, err := l.net.Host(masterAddr.Addr()).Listen("tcp", masterAddr.String())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.wg.Go(func() { m.Serve(ctx, ln) })
	t.Cleanup(func() {
		cancel()
		l.wg.Wait()
		l.net.Close()
	})
	return l
}

func (l *lab) event(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	close(l.changed)
	l.changed = make(chan struct{})
}

// waitFor waits until there was an event that begins with text, as in "assign
// map 0 1 anna".
func (l *lab) waitFor(text string) {
	l.t.Helper()
	limit := time.After(time.Hour)
	for {
		l.mu.Lock()
		changed, all := l.changed, lines(l.events)
		l.mu.Unlock()
		if slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, text) }) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			require.Fail(l.t, "it did not happen", "%q is not among %q", text, all)
		}
	}
}

func lines(events []Event) []string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s %s %d %d %s", e.Event, e.Kind, e.Task, e.Attempt, e.Worker))
	}
	return all
}

// A hand is a worker of a lab.
type hand struct {
	addr netip.Addr
	stop context.CancelFunc // kills it
	done chan struct{}
	err  error // of Run, after done
}

func (l *lab) worker(w *Worker) *hand {
	l.workers++
	h := &hand{addr: netip.AddrFrom4([4]byte{10, 0, 1, byte(l.workers)}), done: make(chan struct{})}
	host := l.net.Host(h.addr)
	w.Dial = host.DialContext
	w.Listen = func(network, address string) (net.Listener, error) { return host.Listen(network, address) }
	w.TempDir = l.t.TempDir()
	if w.Program == nil {
		w.Program = func(string, map[string]string) (Program, error) { return wordCount(), nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	l.wg.Go(func() {
		defer close(h.done)
		h.err = w.Run(ctx, masterAddr.String())
	})
	l.t.Cleanup(cancel)
	return h
}

// cut takes a worker off the network until the network heals.
func (l *lab) cut(h *hand) { l.net.Partition([]netip.Addr{h.addr}) }

type outcome struct {
	output   string
	counters Counters
	err      error
}

// start runs a job in the background.
func (l *lab) start(p Program, text string) <-chan outcome {
	ch := make(chan outcome, 1)
	l.wg.Go(func() {
		var out bytes.Buffer
		counters, err := l.master.Run(context.Background(), p, Reader("text", strings.NewReader(text)), Writer(&out))
		ch <- outcome{out.String(), counters, err}
	})
	return ch
}

// sequential gives what the job must give, however it is run.
func sequential(t *testing.T, p Program, text string) string {
	var out bytes.Buffer
	_, err := (&Local{Workers: 1, Splits: 1, Reducers: 1, TempDir: t.TempDir()}).Run(t.Context(), p, Reader("text", strings.NewReader(text)), Writer(&out))
	require.NoError(t, err)
	require.NotEmpty(t, out.String())
	return out.String()
}

// someText has n lines.
func someText(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d of the text, %d of %d, %x\n", i, i%7, n, i*i)
	}
	return b.String()
}

func TestMasterAndWorkers(t *testing.T) {
	text := someText(500)
	want := sequential(t, wordCount(), text)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 4, Reducers: 2})
		hands := []*hand{
			l.worker(&Worker{Name: "anna", Kind: MapTask}), l.worker(&Worker{Name: "berta", Kind: MapTask}),
			l.worker(&Worker{Name: "carla", Kind: ReduceTask}),
		}
		for range 2 { // the workers stay for a second job
			got := <-l.start(wordCount(), text)
			require.NoError(t, got.err)
			require.Equal(t, want, got.output)
			require.Equal(t, Counters{"lines": 500, "words": int64(strings.Count(want, "\n"))}, got.counters)
		}
		require.NoError(t, l.master.Close())
		for _, h := range hands {
			<-h.done
			require.NoError(t, h.err, "a worker that is sent home")
		}
		got := <-l.start(wordCount(), text)
		require.ErrorIs(t, got.err, net.ErrClosed)
	})
}

// What a task says it is at reaches the master's trace, once.
func TestStatusOfTasks(t *testing.T) {
	job := wordCount()
	plain := job.Map
	job.Map = func(t *Task, rec Record, emit func(string, int)) error {
		t.Status("at " + string(rec.Data))
		time.Sleep(10 * time.Second)
		return plain(t, rec, emit)
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 1})
		var said []string
		l.master.Trace.Status = func(kind Kind, task int, text string) { said = append(said, fmt.Sprint(kind, task, text)) }
		var progress []int64
		l.master.Trace.Progress = func(done, total int64) { progress = append(progress, done, total) }
		l.worker(&Worker{Name: "w", Program: func(string, map[string]string) (Program, error) { return job, nil }})
		require.NoError(t, (<-l.start(job, "uno\ndos\n")).err)
		require.Equal(t, []string{"map0at uno", "map0at dos"}, said)
		require.Equal(t, []int64{8, 8}, progress)
	})
}
