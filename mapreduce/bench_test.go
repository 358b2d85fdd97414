package mapreduce

import (
	"bytes"
	"io"
	"iter"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// wordCountBytes is wordCount without garbage: its keys lie in the record.
func wordCountBytes() *Job[[]byte, int] {
	return &Job[[]byte, int]{
		Map: func(_ *Task, rec Record, emit func([]byte, int)) error {
			for word := range bytes.FieldsSeq(rec.Data) {
				emit(word, 1)
			}
			return nil
		},
		Combine: func(a, b int) int { return a + b },
		Reduce: func(_ *Task, word []byte, counts iter.Seq[int], w io.Writer) error {
			sum := 0
			for n := range counts {
				sum += n
			}
			w.Write(word)
			_, err := io.WriteString(w, "\t"+strconv.Itoa(sum)+"\n")
			return err
		},
	}
}

func benchmark(b *testing.B, e Engine, p Program) {
	text := zipf(100_000)
	in := Files(folder(b, map[string]string{"text": text}))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := e.Run(b.Context(), p, in, Writer(io.Discard))
		require.NoError(b, err)
	}
}

func BenchmarkWordCount(b *testing.B)       { benchmark(b, &Local{}, wordCountBytes()) }
func BenchmarkWordCountString(b *testing.B) { benchmark(b, &Local{}, wordCount()) }
func BenchmarkSort(b *testing.B)            { benchmark(b, &Local{}, sortLines()) }
