package mapreduce

import (
	"errors"
	"fmt"
	"io"
	"iter"
)

// A Job is a map-reduce program over records: keys of type K, values of type V.
// Its functions are called from several goroutines at a time and, on workers,
// from several processes; what they give may depend on their arguments only.
//
// Strings, byte slices, booleans, integers and floats travel between the
// functions in a short form, in which keys keep their natural order. Other types
// do as their encoding.BinaryAppender and BinaryUnmarshaler say, or as JSON.
type Job[K, V any] struct {
	Name   string            // tells workers which job this is
	Params map[string]string // what else a worker must know to build the same job; a Master needs them to fit into a message of 256 KiB

	// Map takes one record and emits any number of keys with values. It may
	// overwrite rec.Data. emit copies what it needs of key and value.
	Map func(t *Task, rec Record, emit func(K, V)) error

	// Combine, if not nil, makes one value of two of the same key, early and
	// as often as the engine likes: a+(b+c) must be exactly (a+b)+c. It may
	// change what a points to, not b. emit keeps slices and maps that are
	// values as they are, but copies []byte.
	Combine func(a, b V) V

	// Reduce takes a key with all its values, in the order of the input, and
	// writes its part of the output to w. A []byte key is valid until Reduce
	// returns, a []byte value until the next one; neither may be changed.
	Reduce func(t *Task, key K, values iter.Seq[V], w io.Writer) error

	// Compare is the order of keys and of the output. Keys for which it gives 0
	// are one key to Reduce. nil means natural order: of numbers by size, of
	// all else by the bytes they travel as.
	Compare func(a, b K) int

	// Partition says which of n reducers a key goes to. nil spreads them by a
	// hash of their bytes. Keys that are equal for Compare must go to the same.
	Partition func(key K, n int) int

	// WholeFiles makes each file one record; otherwise each line is one.
	WholeFiles bool

	// MaxRecord is the longest record in bytes; 0 means 16 MiB.
	MaxRecord int

	// MaxSkipped is how many bad records a map task may skip: those for which
	// Map failed or panicked twice. They are counted in the counter
	// [SkippedRecords]. 0 means 100, negative none.
	MaxSkipped int
}

// SkippedRecords is the name of the counter of bad records that were skipped.
const SkippedRecords = "skipped_records"

// A Record is a piece of input: a line, or a whole file.
type Record struct {
	Source string // the file; one in a folder has its path from there, with slashes
	Offset int64  // where the record begins in its source
	Pos    int64  // where it begins in the whole input, all sources one after another
	Data   []byte // without the line's end; valid until Map returns, which may change it
}

// A Program is a job whose types are known to itself only: what engines run.
// [Job] and [Stream] are programs.
type Program interface {
	compile() (*program, error)
}

// Counters are sums by name, over all tasks of a job. A task that had to be run
// again counts once.
type Counters map[string]int64

func (c Counters) add(o Counters) {
	for name, n := range o {
		c[name] += n
	}
}

// A Task is one run of a part of a job; Map and Reduce count and tell through it.
// It is for the goroutine that it was given to.
type Task struct {
	job        string
	kind       Kind
	number     int // from 0
	attempt    int // from 0
	partitions int // how many reduce tasks there are
	counters   Counters
	pending    Counters // of the record at hand, when it may turn out bad
	status     func(string)
}

// Count adds n to the named counter of the job.
func (t *Task) Count(name string, n int64) {
	if t.pending != nil {
		t.pending[name] += n
		return
	}
	if t.counters == nil {
		t.counters = Counters{}
	}
	t.counters[name] += n
}

// Status says what the task is at, in a few words, for who watches.
func (t *Task) Status(text string) {
	if t.status != nil {
		t.status(text)
	}
}

// A RecordError is a record for which Map failed, with its place.
type RecordError struct {
	Source string // as in [Record]
	Offset int64  // in bytes, as in [Record]
	Err    error  // what Map returned, or a [PanicError]
}

// Error says where the record is and what was wrong.
func (e *RecordError) Error() string {
	return fmt.Sprintf("mapreduce: map %s at byte %d: %v", e.Source, e.Offset, e.Err)
}

// Unwrap gives Map's error; of a panic a [PanicError].
func (e *RecordError) Unwrap() error { return e.Err }

// A PanicError is a panic in a function of a job.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // where, as [runtime/debug.Stack] shows it
}

// Error gives the value only.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ErrTooLong is a record, key or value over its limit.
var ErrTooLong = errors.New("mapreduce: too long")
