package mapreduce_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/zocalo-go/zocalo/mapreduce"
)

// A job's steps as Hadoop Streaming would run them, with
// sort between.
func ExampleHadoop() {
	job := &mapreduce.Job[string, int]{
		Name: "lengths",
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func(string, int)) error {
			for word := range strings.FieldsSeq(string(rec.Data)) {
				emit(word, len(word))
			}
			return nil
		},
		Reduce: func(_ *mapreduce.Task, word string, lengths iter.Seq[int], w io.Writer) error {
			_, err := fmt.Fprintln(w, word, slices.Collect(lengths))
			return err
		},
	}
	var pairs strings.Builder
	in := strings.NewReader("en un lugar\nde un lugar\n")
	if err := (mapreduce.Hadoop{Stdin: in, Stdout: &pairs}).Map(context.Background(), job); err != nil {
		fmt.Println(err)
	}
	lines := slices.Sorted(strings.Lines(pairs.String()))
	if err := (mapreduce.Hadoop{Stdin: strings.NewReader(strings.Join(lines, ""))}).Reduce(context.Background(), job); err != nil {
		fmt.Println(err)
	}
	// Output:
	// de [2]
	// en [2]
	// lugar [5 5]
	// un [2 2]
}
