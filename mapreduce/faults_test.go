package mapreduce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/framing"
)

// Each fault happens to a job of 4 splits and 2 reducers; its output must be
// that of the sequential run, byte for byte.
func TestFaults(t *testing.T) {
	const timeout = 10 * time.Second
	text := someText(500)
	want := sequential(t, wordCount(), text)
	counters := Counters{"lines": 500, "words": int64(strings.Count(want, "\n"))}
	mapper := func(l *lab, name string, slow time.Duration) *hand {
		return l.worker(&Worker{Name: name, Kind: MapTask, Slow: slow})
	}
	reducer := func(l *lab, name string, slow time.Duration) *hand {
		return l.worker(&Worker{Name: name, Kind: ReduceTask, Slow: slow})
	}
	for name, fault := range map[string]struct {
		replicas int
		play     func(t *testing.T, l *lab) // the job is under way
		within   time.Duration              // the job's time, on virtual time
	}{
		"late workers": {play: func(t *testing.T, l *lab) {
			time.Sleep(time.Minute)
			mapper(l, "late", 0)
			time.Sleep(time.Minute)
			reducer(l, "later", 0)
		}, within: 2*time.Minute + time.Second},
		"mapper killed in a task": {play: func(t *testing.T, l *lab) {
			reducer(l, "r", 0)
			m := mapper(l, "m", time.Hour)
			l.waitFor("assign map 0 0 m")
			m.stop()
			mapper(l, "n", 0)
			l.waitFor("failed map 0 0 m")
		}, within: 2 * time.Second},
		"mapper killed after a task": {play: func(t *testing.T, l *lab) {
			m := mapper(l, "m", time.Second)
			l.waitFor("done map 2")
			m.stop()
			l.waitFor("failed map 2")
			mapper(l, "n", 0)
			reducer(l, "r", 0)
			l.waitFor("done map 0 1 n")
		}, within: 5 * time.Second},
		"mapper killed while reducers fetch": {play: func(t *testing.T, l *lab) {
			m := mapper(l, "m", 0)
			reducer(l, "r", time.Second)
			l.waitFor("assign reduce")
			m.stop() // r sleeps yet
			mapper(l, "n", 0)
		}, within: 5 * time.Second},
		"mapper cut off after its tasks": {play: func(t *testing.T, l *lab) {
			m := mapper(l, "m", 0)
			reducer(l, "r", time.Second)
			l.waitFor("assign reduce")
			l.cut(m)
			mapper(l, "n", 0)
		}, within: timeout + 4*time.Second}, // of which r sleeps 3
		"mapper cut off before its turn": {play: func(t *testing.T, l *lab) {
			m := mapper(l, "m", 0)
			reducer(l, "r", timeout+timeout/2) // it has not dialled when m is given up
			l.waitFor("assign reduce")
			l.cut(m)
			mapper(l, "n", 0)
		}, within: 3*(timeout+timeout/2) + 2*time.Second}, // of which r sleeps all but the last
		"reducer killed": {play: func(t *testing.T, l *lab) {
			mapper(l, "m", 0)
			r := reducer(l, "r", time.Hour)
			l.waitFor("assign reduce 0 0 r")
			r.stop()
			l.waitFor("failed reduce 0 0 r")
			reducer(l, "s", 0)
		}, within: 2 * time.Second},
		"straggler": {play: func(t *testing.T, l *lab) {
			mapper(l, "slow", time.Hour)
			l.waitFor("assign map 0 0 slow")
			mapper(l, "m", 0)
			reducer(l, "r", 0)
			l.waitFor("assign map 0 1 m")
		}, within: timeout + 2*time.Second},
		"straggling reducer": {play: func(t *testing.T, l *lab) {
			mapper(l, "m", 0)
			reducer(l, "slow", time.Hour)
			l.waitFor("assign reduce 0 0 slow")
			reducer(l, "r", 0)
			l.waitFor("assign reduce 0 1 r")
		}, within: timeout + 2*time.Second},
		"connection breaks": {play: func(t *testing.T, l *lab) {
			mapper(l, "m", time.Second)
			reducer(l, "r", time.Second)
			l.waitFor("done map 1")
			l.master.mu.Lock()
			conns := slices.Clone(l.master.workers)
			l.master.mu.Unlock()
			for _, c := range conns {
				c.Close()
			}
			l.waitFor("done map 1 1 m") // it has come again
		}, within: 15 * time.Second},
		"partition that heals": {play: func(t *testing.T, l *lab) {
			m := l.worker(&Worker{Name: "m", Kind: MapTask, Slow: 2 * time.Second, Patience: time.Minute})
			l.waitFor("assign map 1")
			time.Sleep(time.Second) // until it has its split
			l.cut(m)
			mapper(l, "n", 4*time.Second)
			reducer(l, "r", 20*time.Second)
			l.waitFor("failed map 1 0 m")
			l.net.Heal()
			l.waitFor("discard map 1 0 m")
		}, within: 2 * time.Minute},
		"all cut off for a while": {play: func(t *testing.T, l *lab) {
			mapper(l, "m", time.Second)
			mapper(l, "n", time.Second)
			reducer(l, "r", time.Second)
			l.waitFor("assign map 2")
			l.net.Partition([]netip.Addr{masterAddr.Addr()})
			l.waitFor("failed map 2")
			l.net.Heal()
		}, within: time.Minute},
		"replicas": {replicas: 3, play: func(t *testing.T, l *lab) {
			mapper(l, "m", time.Second)
			mapper(l, "n", time.Second+1)
			mapper(l, "o", time.Second+2)
			reducer(l, "r", time.Second)
			l.waitFor("discard map 0")
		}, within: time.Minute},
		"replica outlives": {replicas: 2, play: func(t *testing.T, l *lab) {
			m := mapper(l, "m", time.Second)
			mapper(l, "n", time.Second+1)
			l.waitFor("assign map 3 1")
			l.waitFor("discard map 2")
			m.stop()
			reducer(l, "r", time.Second)
		}, within: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, &Master{Splits: 4, Reducers: 2, TaskTimeout: timeout, Replicas: fault.replicas})
				began := time.Now()
				job := l.start(wordCount(), text)
				fault.play(t, l)
				got := <-job
				require.NoError(t, got.err)
				require.Equal(t, want, got.output)
				require.Equal(t, counters, got.counters, "what is done twice counts once")
				require.LessOrEqual(t, time.Since(began), fault.within)
				checkLog(t, l.events, 0)
			})
		})
	}
}

// A worker leaves when nothing has been heard from the master for a while,
// whether it is gone, cut off, or was never there.
func TestWorkerLeavesWithoutMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{})
		h := l.worker(&Worker{Name: "m"})
		time.Sleep(time.Minute)
		l.cut(h)
		began := time.Now()
		<-h.done
		require.ErrorIs(t, h.err, ErrMasterGone)
		require.LessOrEqual(t, time.Since(began), 15*time.Second)

		l.net.Heal()
		h = l.worker(&Worker{Name: "n"})
		time.Sleep(time.Minute)
		l.net.Host(masterAddr.Addr()) // the same host
		l.cancel()
		<-h.done
		require.NoError(t, h.err, "the master has sent it home")

		began = time.Now()
		h = l.worker(&Worker{Name: "o"})
		<-h.done
		require.ErrorIs(t, h.err, ErrMasterGone)
		require.LessOrEqual(t, time.Since(began), 15*time.Second)

		began = time.Now()
		h = l.worker(&Worker{Name: "p"})
		time.Sleep(11 * time.Second) // refused so far
		l.cut(h)
		<-h.done
		require.ErrorIs(t, h.err, ErrMasterGone)
		require.LessOrEqual(t, time.Since(began), 15*time.Second, "to dial takes no longer than the patience that is left")
	})
}

// The record that makes Map panic is skipped after it has failed twice.
func TestPoisonedRecord(t *testing.T) {
	job := wordCount()
	plain := job.Map
	job.Map = func(t *Task, rec Record, emit func(string, int)) error {
		if strings.Contains(string(rec.Data), "☠") {
			panic("poisoned")
		}
		return plain(t, rec, emit)
	}
	text := someText(100) + "aqua ☠ tofana\n" + someText(100) + "☠\n" + someText(3)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 4})
		l.worker(&Worker{Name: "w", Program: func(string, map[string]string) (Program, error) { return job, nil }})
		got := <-l.start(job, text)
		require.NoError(t, got.err)
		require.Equal(t, sequential(t, wordCount(), someText(100)+someText(100)+someText(3)), got.output)
		require.EqualValues(t, 2, got.counters[SkippedRecords])
		require.EqualValues(t, 203, got.counters["lines"])
	})
}

// A job that cannot succeed ends with the reason, and the worker goes on.
func TestJobFails(t *testing.T) {
	bad := wordCount()
	bad.Reduce = func(*Task, string, iter.Seq[int], io.Writer) error { return errors.New("no wish to") }
	bad.Name = "bad"
	text := someText(10)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{})
		l.worker(&Worker{Name: "w", Program: func(name string, _ map[string]string) (Program, error) {
			switch name {
			case "bad":
				return bad, nil
			case "wordcount":
				return wordCount(), nil
			}
			return nil, fmt.Errorf("no job %q here", name)
		}})
		got := <-l.start(bad, text)
		require.ErrorContains(t, got.err, "no wish to")
		require.Empty(t, got.output)
		unknown := wordCount()
		unknown.Name = "unknown"
		got = <-l.start(unknown, text)
		require.ErrorContains(t, got.err, `no job "unknown" here`)
		got = <-l.start(wordCount(), text)
		require.NoError(t, got.err)
		require.Equal(t, sequential(t, wordCount(), text), got.output)
	})
}

// A job whose parameters fit into no message ends with the reason.
func TestParamsTooLong(t *testing.T) {
	job := wordCount()
	job.Params = map[string]string{"long": strings.Repeat("x", maxMessage)}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{})
		l.worker(&Worker{Name: "w"})
		got := <-l.start(job, "a b")
		require.ErrorIs(t, got.err, framing.ErrTooLarge)
		require.NoError(t, (<-l.start(wordCount(), "a b")).err, "master and worker go on")
	})
}

// badOutput fails when so many bytes have been written, or at the end.
type badOutput struct {
	room    int
	aborted bool
}

var errFull = errors.New("no space left")

func (b *badOutput) Create() (Sink, error) { return b, nil }
func (b *badOutput) Abort()                { b.aborted = true }
func (b *badOutput) Commit() error         { return errFull }
func (b *badOutput) Write(p []byte) (int, error) {
	if b.room -= len(p); b.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// What goes wrong on the master's side ends the job, not the master.
func TestMasterFails(t *testing.T) {
	text := someText(3_000)
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Memory: minMemory})
		big := wordCount()
		big.Name = "big"
		big.Reduce = func(_ *Task, _ string, _ iter.Seq[int], w io.Writer) error {
			dirs, err := filepath.Glob(filepath.Join(l.master.TempDir, "*"))
			if err != nil {
				return err
			}
			for _, dir := range dirs { // no place for the output
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
			}
			_, err = w.Write(make([]byte, 4*minMemory))
			return err
		}
		l.worker(&Worker{Name: "w", Program: func(name string, _ map[string]string) (Program, error) {
			if name == "big" {
				return big, nil
			}
			return wordCount(), nil
		}})
		full := &badOutput{room: 1000}
		_, err := l.master.Run(t.Context(), wordCount(), Reader("text", strings.NewReader(text)), full)
		require.ErrorIs(t, err, errFull)
		require.True(t, full.aborted)
		_, err = l.master.Run(t.Context(), wordCount(), Reader("text", strings.NewReader(text)), &badOutput{room: 1 << 30})
		require.ErrorIs(t, err, errFull)

		_, err = l.master.Run(t.Context(), wordCount(), Files("."), File(filepath.Join(t.TempDir(), "no", "folder")))
		require.ErrorIs(t, err, fs.ErrNotExist, "at once")
		_, err = l.master.Run(t.Context(), wordCount(), Reader("text", iotest.ErrReader(errFull)), Writer(io.Discard))
		require.ErrorIs(t, err, errFull)

		_, err = l.master.Run(t.Context(), big, Reader("text", strings.NewReader(text)), Writer(io.Discard))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, "output of reduce task 0")

		var out bytes.Buffer
		_, err = l.master.Run(t.Context(), wordCount(), Reader("text", strings.NewReader(text)), Writer(&out))
		require.NoError(t, err)
		require.Equal(t, sequential(t, wordCount(), text), out.String())
	})
}

// An input that cannot be read any more ends the job.
func TestInputVanishes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(path, []byte(someText(1000)), 0o666))
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{Splits: 2})
		l.worker(&Worker{Name: "w", Slow: time.Second})
		failed := make(chan error)
		go func() {
			_, err := l.master.Run(t.Context(), wordCount(), Files(path), Writer(io.Discard))
			failed <- err
		}()
		l.waitFor("assign map 0 0 w")
		time.Sleep(time.Second / 2) // it has its split
		require.NoError(t, os.Truncate(path, 0))
		err := <-failed
		require.ErrorContains(t, err, path)
	})
}

// Run ends with its context, and nothing of the output is seen.
func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, &Master{})
		h := l.worker(&Worker{Name: "w", Slow: time.Hour})
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("enough"))
		defer cancel()
		_, err := l.master.Run(ctx, wordCount(), Reader("text", strings.NewReader("a b")), Writer(nil))
		require.EqualError(t, err, "enough")
		began := time.Now()
		l.master.Close()
		<-h.done
		require.NoError(t, h.err)
		require.Less(t, time.Since(began), time.Second, "a worker that sleeps leaves at once")
	})
}
