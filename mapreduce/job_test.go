package mapreduce

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wordCount is the job of most tests.
func wordCount() *Job[string, int] {
	return &Job[string, int]{
		Name: "wordcount",
		Map: func(t *Task, rec Record, emit func(string, int)) error {
			for word := range strings.FieldsSeq(string(rec.Data)) {
				emit(word, 1)
			}
			t.Count("lines", 1)
			return nil
		},
		Combine: func(a, b int) int { return a + b },
		Reduce: func(t *Task, word string, counts iter.Seq[int], w io.Writer) error {
			sum := 0
			for n := range counts {
				sum += n
			}
			t.Count("words", 1)
			_, err := fmt.Fprintf(w, "%s\t%d\n", word, sum)
			return err
		},
	}
}

// sortLines keeps each pair: it has no Combine.
func sortLines() *Job[[]byte, struct{}] {
	return &Job[[]byte, struct{}]{
		Name: "sort",
		Map: func(_ *Task, rec Record, emit func([]byte, struct{})) error {
			emit(rec.Data, struct{}{})
			return nil
		},
		Reduce: func(_ *Task, line []byte, times iter.Seq[struct{}], w io.Writer) error {
			for range times {
				if _, err := fmt.Fprintf(w, "%s\n", line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// zipf gives n lines of words, a few of them often and many rarely.
func zipf(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.2, 1, 5000)
	var b strings.Builder
	for range n {
		for range 1 + r.IntN(12) {
			fmt.Fprintf(&b, "w%x ", z.Uint64()*0x9e3779b97f4a7c15>>40)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// run runs a job over a text and returns its output.
func run(t testing.TB, e Engine, p Program, text string) (string, Counters) {
	t.Helper()
	var out strings.Builder
	counters, err := e.Run(t.Context(), p, Reader("text", strings.NewReader(text)), Writer(&out))
	require.NoError(t, err)
	return out.String(), counters
}

// countWords does what wordCount does, in the plainest way.
func countWords(text string) string {
	counts := map[string]int{}
	for word := range strings.FieldsSeq(text) {
		counts[word]++
	}
	var lines []string
	for word, n := range counts {
		lines = append(lines, fmt.Sprintf("%s\t%d\n", word, n))
	}
	slices.SortFunc(lines, func(a, b string) int {
		a, _, _ = strings.Cut(a, "\t")
		b, _, _ = strings.Cut(b, "\t")
		return cmp.Compare(a, b)
	})
	return strings.Join(lines, "")
}

func sortedLines(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// Whatever the number of workers, splits and reducers, and however little memory
// there is: the output has the same bytes.
func TestSameBytesEveryWay(t *testing.T) {
	text := zipf(2000)
	bySize := &Job[string, string]{ // its own order of keys, and the order of values matters
		Compare:   func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) },
		Partition: func(key string, n int) int { return len(key) % n },
		Map: func(_ *Task, rec Record, emit func(string, string)) error {
			for word := range strings.FieldsSeq(string(rec.Data)) {
				emit(word, fmt.Sprintf("%x", rec.Offset))
			}
			return nil
		},
		Reduce: func(_ *Task, key string, values iter.Seq[string], w io.Writer) error {
			_, err := fmt.Fprintln(w, key, strings.Join(slices.Collect(values), " "))
			return err
		},
	}
	joined := *bySize // the same, with a Combine that does not commute
	joined.Combine = func(a, b string) string { return a + " " + b }
	wantBySize, _ := run(t, &Local{Workers: 1, Splits: 1, Reducers: 1}, bySize, text)
	for _, job := range []struct {
		name string
		p    Program
		want string
	}{
		{"combining", wordCount(), countWords(text)},
		{"sorting", sortLines(), sortedLines(text)},
		{"own order", bySize, wantBySize},
		{"joining", &joined, wantBySize},
	} {
		for _, e := range []Local{
			{},
			{Workers: 1, Splits: 1, Reducers: 1},
			{Workers: 3, Splits: 7, Reducers: 1},
			{Workers: 2, Splits: 50, Reducers: 5},
			{Workers: 1, Splits: 3, Reducers: 2, Memory: 1},
			{Workers: 4, Splits: 300, Reducers: 3, Memory: 1}, // more runs than are merged at a time
		} {
			e.TempDir = t.TempDir()
			got, _ := run(t, &e, job.p, text)
			require.Equal(t, job.want, got, "%s %+v", job.name, e)
			left, err := os.ReadDir(e.TempDir)
			require.NoError(t, err)
			require.Empty(t, left, "temporary files")
		}
	}
}

func TestCounters(t *testing.T) {
	_, counters := run(t, &Local{Splits: 3, Reducers: 2}, wordCount(), "a b\nb c\nc d\n")
	assert.Equal(t, Counters{"lines": 3, "words": 4}, counters)
}

// poison is wordCount with a Map that fails for some lines, after it emitted.
func poison(fail func()) *Job[string, int] {
	job := wordCount()
	count := job.Map
	job.Map = func(t *Task, rec Record, emit func(string, int)) error {
		bad := strings.Contains(string(rec.Data), "bad")
		err := count(t, rec, emit)
		for i := range rec.Data {
			rec.Data[i] = 'x' // Map may do so, also before it fails
		}
		if bad {
			fail()
			return errors.New("no good")
		}
		return err
	}
	return job
}

func TestBadRecordsAreSkipped(t *testing.T) {
	text := strings.Repeat("a b\nbad a\nb c\n", 5)
	want := countWords(strings.Repeat("a b\nb c\n", 5))
	for name, fail := range map[string]func(){"error": func() {}, "panic": func() { panic("poisoned") }} {
		for _, combine := range []bool{true, false} {
			job := poison(fail)
			if !combine {
				job.Combine = nil
			}
			got, counters := run(t, &Local{Splits: 2}, job, text)
			assert.Equal(t, want, got, name)
			assert.Equal(t, int64(5), counters[SkippedRecords], name)
			assert.Equal(t, int64(10), counters["lines"], "what a bad record counted does not count")
		}
	}
}

func TestTooManyBadRecords(t *testing.T) {
	for most, lines := range map[int]int{-1: 1, 3: 4, 0: 101} {
		job := poison(func() { panic("poisoned") })
		job.MaxSkipped = most
		text := strings.Repeat("bad\n", lines)
		path := filepath.Join(t.TempDir(), "out")
		_, err := (&Local{Splits: 1}).Run(t.Context(), job, Reader("text", strings.NewReader(text)), File(path))
		bad, ok := errors.AsType[*RecordError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, "text", bad.Source)
		assert.Equal(t, int64(4*(lines-1)), bad.Offset)
		panicked, ok := errors.AsType[*PanicError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, "poisoned", panicked.Value)
		assert.NoFileExists(t, path)
	}
}

// A panic anywhere in a job's functions is an error of the job, not of the process.
func TestPanics(t *testing.T) {
	for name, spoil := range map[string]func(*Job[string, int]){
		"combine": func(j *Job[string, int]) { j.Combine = func(a, b int) int { panic("oh") } },
		"reduce": func(j *Job[string, int]) {
			j.Reduce = func(*Task, string, iter.Seq[int], io.Writer) error { panic("oh") }
		},
		"compare":   func(j *Job[string, int]) { j.Compare = func(a, b string) int { panic("oh") } },
		"partition": func(j *Job[string, int]) { j.Partition = func(key string, n int) int { panic("oh") } },
		"beyond":    func(j *Job[string, int]) { j.Partition = func(key string, n int) int { return n } },
	} {
		job := wordCount()
		job.MaxSkipped = -1
		spoil(job)
		_, err := (&Local{Splits: 2, Reducers: 2}).Run(t.Context(), job, Reader("text", strings.NewReader("a b a\nb c a\n")), Writer(io.Discard))
		_, ok := errors.AsType[*PanicError](err)
		assert.True(t, ok, "%s: %v", name, err)
	}
}

func TestNoInput(t *testing.T) {
	got, _ := run(t, &Local{}, wordCount(), "")
	assert.Empty(t, got)
	var out strings.Builder
	_, err := (&Local{}).Run(t.Context(), wordCount(), Files(), Writer(&out))
	require.NoError(t, err)
	assert.Empty(t, out.String())
}

// A key whose output is larger than a piece stays in its place.
func TestLargeOutput(t *testing.T) {
	text := strings.Repeat("aaa\n", 30_000) + "ccc\n" + strings.Repeat("bbb\n", 30_000)
	got, _ := run(t, &Local{Reducers: 3}, sortLines(), text)
	assert.True(t, sortedLines(text) == got)

	much := strings.Repeat("0123456789", 50_000)
	job := sortLines()
	job.Reduce = func(_ *Task, line []byte, _ iter.Seq[struct{}], w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s%s\n", line, much)
		return err
	}
	got, _ = run(t, &Local{Reducers: 2}, job, "b\na\n")
	assert.True(t, got == "a"+much+"\nb"+much+"\n")
}

func TestValuesThatNobodyReads(t *testing.T) {
	first := &Job[string, int64]{
		Map: func(_ *Task, rec Record, emit func(string, int64)) error {
			emit(string(rec.Data), rec.Pos)
			return nil
		},
		Reduce: func(_ *Task, key string, values iter.Seq[int64], w io.Writer) error {
			if key == "c" {
				return nil
			}
			for v := range values {
				_, err := fmt.Fprintln(w, key, v)
				return err
			}
			return nil
		},
	}
	got, _ := run(t, &Local{}, first, "a\nb\nc\nb\na\nc\nd\n")
	assert.Equal(t, "a 0\nb 2\nd 12\n", got)
}

func TestSteps(t *testing.T) {
	byCount := &Job[int, string]{ // the output of wordCount, by how often
		Map: func(_ *Task, rec Record, emit func(int, string)) error {
			var word string
			var n int
			_, err := fmt.Sscan(string(rec.Data), &word, &n)
			emit(n, word)
			return err
		},
		Compare: func(a, b int) int { return cmp.Compare(b, a) },
		Reduce: func(_ *Task, n int, words iter.Seq[string], w io.Writer) error {
			_, err := fmt.Fprintln(w, n, slices.Collect(words))
			return err
		},
	}
	var out strings.Builder
	counters, err := Steps(t.Context(), &Local{}, Reader("text", strings.NewReader("a b a c\nb a d\n")), Writer(&out), wordCount(), byCount)
	require.NoError(t, err)
	assert.Equal(t, "3 [a]\n2 [b]\n1 [c d]\n", out.String())
	assert.Equal(t, int64(2), counters["lines"])
	bad := poison(func() {})
	bad.MaxSkipped = -1
	_, err = Steps(t.Context(), &Local{}, Reader("text", strings.NewReader("bad")), Writer(io.Discard), wordCount(), bad)
	assert.ErrorContains(t, err, "step 2")
}

func TestTrace(t *testing.T) {
	var events []string
	var states []string
	var last, size int64
	trace := &Trace{
		Event:    func(e Event) { events = append(events, fmt.Sprintf("%s %s %d.%d", e.Event, e.Kind, e.Task, e.Attempt)) },
		Progress: func(done, total int64) { last, size = done, total },
		Status:   func(kind Kind, task int, text string) { states = append(states, fmt.Sprint(kind, task, text)) },
	}
	job := poison(func() {})
	count := job.Map
	job.Map = func(t *Task, rec Record, emit func(string, int)) error {
		t.Status(" at " + string(rec.Data))
		return count(t, rec, emit)
	}
	run(t, &Local{Workers: 1, Splits: 1, Reducers: 1, Trace: trace}, job, "a\nbad\n")
	assert.Equal(t, []string{
		"assign map 0.0", "failed map 0.0", "assign map 0.1", "done map 0.1", "assign reduce 0.0", "done reduce 0.0",
	}, events)
	assert.Equal(t, []string{"map0 at a", "map0 at bad", "map0 at a", "map0 at bad", "map0 at bad"}, states)
	assert.Equal(t, []int64{6, 6}, []int64{last, size})
}

func TestBytesAsKeys(t *testing.T) {
	text := zipf(1000)
	got, _ := run(t, &Local{Memory: 1}, wordCountBytes(), text)
	require.Equal(t, countWords(text), got)
}

// What Combine returns may be the second value, which was only lent.
func TestCombineReturnsLentBytes(t *testing.T) {
	greatest := &Job[string, []byte]{
		Map: func(_ *Task, rec Record, emit func(string, []byte)) error {
			emit("", rec.Data)
			emit("tail", rec.Data[1:])
			return nil
		},
		Combine: func(a, b []byte) []byte {
			if bytes.Compare(a, b) < 0 {
				return b
			}
			return a
		},
	}
	greatest.Reduce = func(_ *Task, key string, values iter.Seq[[]byte], w io.Writer) error {
		var best []byte
		for v := range values {
			best = bytes.Clone(greatest.Combine(best, v))
		}
		_, err := w.Write([]byte(key + " " + string(best) + "\n"))
		return err
	}
	got, _ := run(t, &Local{Splits: 2}, greatest, "a1\nc2\nb3\na4\nb6\nb5\n")
	require.Equal(t, " c2\ntail 6\n", got)
}

// A []byte value may lie in the record, too, with Combine or without.
func TestBytesAsValues(t *testing.T) {
	longest := &Job[string, []byte]{
		Map: func(_ *Task, rec Record, emit func(string, []byte)) error {
			key, value, _ := bytes.Cut(rec.Data, []byte(" "))
			emit(string(key), value)
			clear(rec.Data)
			return nil
		},
		Combine: func(a, b []byte) []byte { return append(append(a, '+'), b...) },
		Reduce: func(_ *Task, key string, values iter.Seq[[]byte], w io.Writer) error {
			var all [][]byte
			for v := range values {
				all = append(all, bytes.Clone(v))
			}
			_, err := w.Write([]byte(key + " " + string(bytes.Join(all, []byte("+"))) + "\n"))
			return err
		},
	}
	text := "a 1\nb 2\na 3\nb 4\nb 5\na 6\n"
	for range 2 {
		for _, memory := range []int64{0, 1} {
			got, _ := run(t, &Local{Splits: 2, Memory: memory}, longest, strings.Repeat(text, 3))
			require.Equal(t, "a 1+3+6+1+3+6+1+3+6\nb 2+4+5+2+4+5+2+4+5\n", got)
		}
		longest.Combine = nil
	}
}
