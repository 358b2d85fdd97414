package corpus

import (
	"fmt"
	"io"
	"iter"

	"github.com/zocalo-go/zocalo/mapreduce"
)

// WordCount is the job that counts words: each word of a line is emitted with a
// one, and these are added up.
func WordCount() *mapreduce.Job[[]byte, int64] {
	return &mapreduce.Job[[]byte, int64]{
		Name: "wordcount",
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func([]byte, int64)) error {
			for word := range Words(rec.Data) {
				emit(word, 1)
			}
			return nil
		},
		Combine: Add,
		Reduce:  WriteSum[[]byte],
	}
}

// Add is the combiner of jobs that count.
func Add(a, b int64) int64 { return a + b }

// WriteSum is the reduce function of jobs that count: it writes the key, a tab and
// the sum of its values as a line.
func WriteSum[K string | []byte](_ *mapreduce.Task, key K, values iter.Seq[int64], w io.Writer) error {
	var sum int64
	for n := range values {
		sum += n
	}
	_, err := fmt.Fprintf(w, "%s\t%d\n", key, sum)
	return err
}
