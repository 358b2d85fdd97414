package mapreduce

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The bytes of a run, as the package's notes show them.
func TestRunFormat(t *testing.T) {
	var b bytes.Buffer
	w := runWriter{w: &b}
	value, err := coderOf[int](false).append(nil, 4)
	require.NoError(t, err)
	require.NoError(t, w.write([]byte("be"), value))
	require.NoError(t, w.flush())
	assert.Equal(t, "\x02\x01be\x08", b.String())
}

// A run comes from the network, too. What is read of it, written again, gives
// the same run, as far as lengths were written in the shortest way.
func FuzzRun(f *testing.F) {
	f.Add([]byte("\x02\x01be\x04\x02\x01to\x02"))
	f.Add([]byte("\xff\xff\xff\x1f\x00a"))
	f.Add([]byte{})
	f.Add([]byte("\x80\x00\x01a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &runReader{r: iotest.HalfReader(bytes.NewReader(data)), buf: make([]byte, 0, 16)}
		var again bytes.Buffer
		w := runWriter{w: &again}
		read := 0
		err := r.next()
		for ; err == nil; err = r.next() {
			require.NoError(t, w.write(r.key, r.value))
			read += len(r.key) + len(r.value)
		}
		require.LessOrEqual(t, cap(r.buf), 4*len(data)+64, "memory before bytes")
		require.NoError(t, w.flush())
		if err == io.EOF && again.Len() == len(data) {
			require.Equal(t, string(data), again.String())
		}
		require.LessOrEqual(t, read, len(data))
	})
}

func TestPairTooLong(t *testing.T) {
	long := make([]byte, maxPair+1)
	assert.ErrorIs(t, (&runWriter{w: io.Discard}).write(long, nil), ErrTooLong)
	m := &mapTask{Task: Task{partitions: 1}, program: &program{}}
	assert.ErrorIs(t, m.add(nil, long), ErrTooLong)
	job := &Job[[]byte, int]{
		Map:     func(_ *Task, rec Record, emit func([]byte, int)) error { emit(long, 1); return nil },
		Combine: func(a, b int) int { return a + b },
		Reduce:  wordCountBytes().Reduce,

		MaxSkipped: -1,
	}
	_, err := (&Local{}).Run(t.Context(), job, Reader("text", strings.NewReader("a")), Writer(io.Discard))
	assert.ErrorIs(t, err, ErrTooLong)
}

func TestSpool(t *testing.T) {
	for _, memory := range []int64{0, 10, 1000} {
		dir := t.TempDir()
		s := newSpool(dir, memory)
		for range 10 {
			_, err := s.Write([]byte("0123456789"))
			require.NoError(t, err)
		}
		require.NoError(t, s.finish())
		assert.Equal(t, int64(100), s.n)
		half := make([]byte, 5)
		_, err := io.ReadFull(s.open(), half) // left in the middle: remove closes it
		require.NoError(t, err)
		for range 2 {
			all, err := io.ReadAll(s.open())
			require.NoError(t, err)
			assert.Equal(t, strings.Repeat("0123456789", 10), string(all))
		}
		part, err := io.ReadAll(s.section(95, 100))
		require.NoError(t, err)
		assert.Equal(t, "56789", string(part))
		s.remove()
		assert.Empty(t, s.readers)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
	_, err := newSpool(t.TempDir()+"/missing", 0).Write([]byte("x"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
