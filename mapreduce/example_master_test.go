package mapreduce_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/mapreduce"
)

// longest finds the longest line of a text, for each of its first letters.
var longest = &mapreduce.Job[string, string]{
	Name: "longest",
	Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func(string, string)) error {
		if line := string(rec.Data); line != "" {
			emit(line[:1], line)
		}
		return nil
	},
	Combine: func(a, b string) string {
		if len(b) > len(a) {
			return b
		}
		return a
	},
	Reduce: func(_ *mapreduce.Task, letter string, lines iter.Seq[string], w io.Writer) error {
		best := ""
		for line := range lines {
			if len(line) > len(best) {
				best = line
			}
		}
		_, err := fmt.Fprintln(w, letter, best)
		return err
	},
}

// A master with two workers; they could as well be on other machines.
func ExampleMaster() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	master := &mapreduce.Master{Splits: 2}
	var wg sync.WaitGroup
	wg.Go(func() { master.Serve(ctx, ln) })
	for _, kind := range []mapreduce.Kind{mapreduce.MapTask, mapreduce.ReduceTask} {
		worker := &mapreduce.Worker{
			Name: string(kind) + "per", Kind: kind,
			Program: func(string, map[string]string) (mapreduce.Program, error) { return longest, nil },
		}
		wg.Go(func() {
			if err := worker.Run(ctx, ln.Addr().String()); err != nil {
				fmt.Println(err)
			}
		})
	}
	text := strings.NewReader("all\nbut\nbravery\nand\nalways\n")
	if _, err := master.Run(ctx, longest, mapreduce.Reader("text", text), mapreduce.Writer(os.Stdout)); err != nil {
		fmt.Println(err)
	}
	master.Close() // sends the workers home
	wg.Wait()
	// Output:
	// a always
	// b bravery
}

// What a worker process does: it knows its jobs by name.
func ExampleWorker() {
	worker := &mapreduce.Worker{
		Name: "anna",
		Kind: mapreduce.MapTask,
		Program: func(name string, params map[string]string) (mapreduce.Program, error) {
			if name == "longest" {
				return longest, nil
			}
			return nil, fmt.Errorf("there is no job %q", name)
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a real one goes on until the master sends it home
	fmt.Println(worker.Run(ctx, "127.0.0.1:4711"))
	// Output: context canceled
}
