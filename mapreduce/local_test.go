package mapreduce

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReduceFails(t *testing.T) {
	job := wordCount()
	why := errors.New("enough")
	job.Reduce = func(_ *Task, word string, _ iter.Seq[int], _ io.Writer) error {
		if word == "m" {
			return why
		}
		return nil
	}
	path := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
	_, err := (&Local{}).Run(t.Context(), job, Reader("text", strings.NewReader("k l m n o")), File(path))
	require.ErrorIs(t, err, why)
	assert.ErrorContains(t, err, `"m"`)
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "before", string(old))
	assertAlone(t, path)
}

// assertAlone checks that path is the only file of its folder.
func assertAlone(t *testing.T, path string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, filepath.Base(path), left[0].Name())
}

func TestCancel(t *testing.T) {
	why := errors.New("closing time")
	for _, where := range []string{"map", "reduce"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		job := sortLines()
		stop := func(at string) {
			if at == where {
				cancel(why)
			}
		}
		emitAll, writeAll := job.Map, job.Reduce
		job.Map = func(t *Task, rec Record, emit func([]byte, struct{})) error {
			stop("map")
			return emitAll(t, rec, emit)
		}
		job.Reduce = func(t *Task, key []byte, values iter.Seq[struct{}], w io.Writer) error {
			stop("reduce")
			return writeAll(t, key, values, w)
		}
		dir, temp := t.TempDir(), t.TempDir()
		e := Local{TempDir: temp, Memory: 1}
		_, err := e.Run(ctx, job, Reader("text", strings.NewReader(zipf(3000))), File(filepath.Join(dir, "out")))
		require.ErrorIs(t, err, why, where)
		for _, d := range []string{dir, temp} {
			left, err := os.ReadDir(d)
			require.NoError(t, err)
			assert.Empty(t, left)
		}
	}
}

// A fullDisk is an output that has room for n bytes.
type fullDisk struct {
	n                int
	commits, aborted int
}

func (d *fullDisk) Create() (Sink, error) { return d, nil }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.n -= len(p); d.n < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func (d *fullDisk) Commit() error { d.commits++; return nil }
func (d *fullDisk) Abort()        { d.aborted++ }

func TestOutputFails(t *testing.T) {
	for _, room := range []int{0, 100, 1000, 300_000} {
		disk := &fullDisk{n: room}
		_, err := (&Local{Reducers: 3}).Run(t.Context(), sortLines(), Reader("text", strings.NewReader(zipf(20_000))), disk)
		require.ErrorIs(t, err, syscall.ENOSPC)
		assert.Equal(t, []int{0, 1}, []int{disk.commits, disk.aborted})
	}
}

func TestFileIsCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for range 2 { // the second time it is replaced
		_, err := (&Local{}).Run(t.Context(), wordCount(), Reader("text", strings.NewReader("b a\na")), File(path))
		require.NoError(t, err)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "a\t2\nb\t1\n", string(got))
		assertAlone(t, path)
	}
	late := filepath.Join(t.TempDir(), "late")
	sink, err := File(late).Create()
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(late, 0o700)) // while the job runs
	require.Error(t, sink.Commit())
	assertAlone(t, late)

	_, err = (&Local{}).Run(t.Context(), wordCount(), Reader("text", strings.NewReader("a")), File(filepath.Dir(path)))
	assert.ErrorContains(t, err, "not a regular file")
	_, err = (&Local{}).Run(t.Context(), wordCount(), Reader("text", strings.NewReader("a")), File(filepath.Join(path, "out")))
	assert.Error(t, err)
}

// brokenReader fails in the middle.
type brokenReader struct{ io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = syscall.EIO
	}
	return n, err
}

func TestInputFails(t *testing.T) {
	for _, in := range []Input{
		Reader("text", brokenReader{strings.NewReader("a b c")}),
		Files(filepath.Join(t.TempDir(), "missing")),
	} {
		disk := &fullDisk{n: 1000}
		_, err := (&Local{}).Run(t.Context(), wordCount(), in, disk)
		require.Error(t, err)
		assert.Zero(t, disk.commits)
	}
	_, err := (&Local{TempDir: filepath.Join(t.TempDir(), "missing")}).Run(t.Context(), wordCount(), Files(), Writer(io.Discard))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = (&Local{}).Run(t.Context(), &Job[string, int]{Name: "none"}, Files(), Writer(io.Discard))
	assert.ErrorContains(t, err, "none")
}

// With little memory, pairs go to files as sorted runs, more of them than are
// merged at a time; and the fault of one file is the job's.
func TestSpills(t *testing.T) {
	text := zipf(6000)
	e := Local{Workers: 2, Splits: 300, Reducers: 2, Memory: 1, TempDir: t.TempDir()}
	files := func() []string {
		names, err := filepath.Glob(filepath.Join(e.TempDir, "*", "run-*"))
		require.NoError(t, err)
		return names
	}
	job := wordCount()
	job.Combine = nil
	reduce := job.Reduce
	var once sync.Once
	most := 0
	job.Reduce = func(t *Task, word string, counts iter.Seq[int], w io.Writer) error {
		once.Do(func() { most = len(files()) })
		return reduce(t, word, counts, w)
	}
	got, _ := run(t, &e, job, text)
	assert.Equal(t, countWords(text), got)
	assert.Greater(t, most, 2*fanIn)
	assert.Empty(t, files())

	var spoil sync.Once
	job.Map = func(_ *Task, rec Record, emit func(string, int)) error {
		emit(string(rec.Data), 1)
		if int(rec.Pos) > len(text)/2 {
			spoil.Do(func() {
				for _, name := range files() {
					os.Truncate(name, 10)
				}
			})
		}
		return nil
	}
	_, err := e.Run(t.Context(), job, Reader("text", strings.NewReader(text)), Writer(io.Discard))
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Empty(t, files())
}

// What keeps pairs from being written is the job's fault, not the record's at hand.
func TestSpillFails(t *testing.T) {
	e := Local{Splits: 1, Memory: 1, TempDir: t.TempDir()}
	for _, combine := range []func(a, b int) int{nil, func(a, b int) int { return a + b }} {
		job := wordCount()
		job.Combine = combine
		count := job.Map
		job.Map = func(t *Task, rec Record, emit func(string, int)) error {
			if rec.Offset == 0 {
				dirs, _ := filepath.Glob(filepath.Join(e.TempDir, "*"))
				for _, dir := range dirs {
					os.RemoveAll(dir)
				}
			}
			return count(t, rec, emit)
		}
		in := Files(folder(t, map[string]string{"text": zipf(6000)}))
		_, err := e.Run(t.Context(), job, in, Writer(io.Discard))
		assert.ErrorIs(t, err, os.ErrNotExist)
		assert.False(t, isBad(err))
	}
}
