package mapreduce_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/zocalo-go/zocalo/mapreduce"
)

// How often does each word occur?
func Example() {
	wordCount := &mapreduce.Job[string, int]{
		Name: "wordcount",
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func(string, int)) error {
			for word := range strings.FieldsSeq(string(rec.Data)) {
				emit(strings.ToLower(word), 1)
			}
			return nil
		},
		Combine: func(a, b int) int { return a + b },
		Reduce: func(_ *mapreduce.Task, word string, counts iter.Seq[int], w io.Writer) error {
			sum := 0
			for n := range counts {
				sum += n
			}
			_, err := fmt.Fprintln(w, word, sum)
			return err
		},
	}
	text := strings.NewReader("To be or not to be\nthat is the question\n")
	var engine mapreduce.Local
	_, err := engine.Run(context.Background(), wordCount, mapreduce.Reader("hamlet", text), mapreduce.Writer(os.Stdout))
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// be 2
	// is 1
	// not 1
	// or 1
	// question 1
	// that 1
	// the 1
	// to 2
}

// mentions is a distributed grep: it keeps the lines that hold a word, in the
// order of the input, since their place is the key.
func mentions(word string) *mapreduce.Job[int64, string] {
	return &mapreduce.Job[int64, string]{
		Name: "mentions",
		Map: func(t *mapreduce.Task, rec mapreduce.Record, emit func(int64, string)) error {
			t.Count("lines", 1)
			if line := string(rec.Data); strings.Contains(line, word) {
				emit(rec.Pos, line)
			}
			return nil
		},
		Reduce: func(_ *mapreduce.Task, _ int64, lines iter.Seq[string], w io.Writer) error {
			for line := range lines {
				if _, err := fmt.Fprintln(w, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

const fable = `a fox saw grapes
the grapes hung high
the fox jumped
sour grapes said the fox
`

func ExampleJob() {
	in := mapreduce.Reader("fable", strings.NewReader(fable))
	counters, err := new(mapreduce.Local).Run(context.Background(), mentions("grapes"), in, mapreduce.Writer(os.Stdout))
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println("of", counters["lines"], "lines")
	// Output:
	// a fox saw grapes
	// the grapes hung high
	// sour grapes said the fox
	// of 4 lines
}

// A Trace shows what becomes of the tasks.
func ExampleLocal() {
	engine := mapreduce.Local{Workers: 1, Splits: 2, Trace: &mapreduce.Trace{
		Event: func(e mapreduce.Event) { fmt.Println(e.Event, e.Kind, e.Task) },
	}}
	in := mapreduce.Reader("fable", strings.NewReader(fable))
	_, err := engine.Run(context.Background(), mentions("high"), in, mapreduce.Writer(os.Stdout))
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// assign map 0
	// done map 0
	// assign map 1
	// done map 1
	// assign reduce 0
	// done reduce 0
	// the grapes hung high
}

// Two jobs, one after the other: the lines that mention both.
func ExampleSteps() {
	in := mapreduce.Reader("fable", strings.NewReader(fable))
	_, err := mapreduce.Steps(context.Background(), &mapreduce.Local{}, in, mapreduce.Writer(os.Stdout), mentions("fox"), mentions("grapes"))
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// a fox saw grapes
	// sour grapes said the fox
}
